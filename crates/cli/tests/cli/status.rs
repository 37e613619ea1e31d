//! `stats` and `explain` of a store that another process has open, or had.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use tempfile::tempdir;

use crate::program::{Ran, command, run};

fn at<'a>(db: &'a Path, arguments: &[&'a str]) -> Ran {
    let mut command = command([arguments[0]]);
    command.arg(db).args(&arguments[1..]);
    command.output().expect("the program starts").into()
}

#[test]
fn a_store_that_no_process_has_open_explains_itself() {
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("store");
    let refused = at(&db, &["explain"]).refused(1);
    assert!(refused.contains("has no file STATUS"), "{refused}");
    for round in 0..3 {
        run(&db, ["put", "key", &round.to_string()]).ok();
    }
    run(&db, ["compact"]).ok();
    let told = at(&db, &["explain"]).ok();
    assert!(told.contains("closed, written "), "{told}");
    assert!(told.contains("compaction of default level 0 -> 6 because it was asked for"), "{told}");
    assert!(told.contains("the store was opened in "), "{told}");
    let told = at(&db, &["explain", "--kind", "compaction", "--limit", "1"]).ok();
    assert_eq!(told.lines().count(), 2, "{told}");
    let last = at(&db, &["stats", "--last"]).ok();
    assert!(last.starts_with("as of its file STATUS: closed, written "), "{last}");
    assert!(last.contains("compactions 1 "), "{last}");
    // What only looks changes nothing of it.
    at(&db, &["stats"]).ok();
    assert_eq!(at(&db, &["stats", "--last"]).ok(), last);
    let text = at(&db, &["stats", "--last", "--prometheus"]).ok();
    assert!(text.contains("\nalluvium_compactions_total 1\n"), "{text}");
    let watched = at(&db, &["stats", "--watch"]).ok();
    assert!(watched.lines().count() == 1 && watched.contains(" closed writes/s "), "{watched}");

    fs::write(db.join("STATUS"), "not one").expect("a file");
    let refused = at(&db, &["explain"]).refused(1);
    assert!(refused.contains("STATUS"), "{refused}");
    assert!(run(&db, ["verify"]).ok().starts_with("note: "), "no damage to the store");
    assert_eq!(run(&db, ["get", "key"]).ok(), "2\n");
}

#[test]
fn a_store_that_another_process_has_open_can_be_watched() {
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("store");
    let mut ingest = command(["ingest", "--format", "ndjson", "--db"]);
    ingest.arg(&db).args(["--time", "t", "--user", "u", "--path", "p", "-"]);
    ingest.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut ingest = ingest.spawn().expect("the program starts");
    let mut input = ingest.stdin.take().expect("a pipe");
    writeln!(input, r#"{{"t":1,"u":"a","p":"/"}}"#).expect("it reads");
    input.flush().expect("it reads");
    let told = || fs::read_to_string(db.join("STATUS")).is_ok_and(|text| text.contains(" by_user"));
    while !told() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let told = at(&db, &["stats"]).ok();
    assert!(told.starts_with("as of its file STATUS: open, written "), "{told}");
    assert!(told.contains("column family events"), "{told}");
    assert!(at(&db, &["explain"]).ok().contains("the store was opened"));
    assert_eq!(at(&db, &["stats", "--watch", "--frames", "1"]).ok().lines().count(), 1);

    // A watch that goes on until the store is closed.
    let mut watch = command(["stats", "--watch"]);
    let mut watch = watch.arg(&db).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.contains(" open writes/s "), "{first}");
    drop(input);
    assert!(ingest.wait().expect("it ends").success());
    let last = lines.map(|line| line.expect("text")).last().expect("a line");
    assert!(last.contains(" closed writes/s "), "{last}");
    assert!(watch.wait().expect("it ends").success());
}
