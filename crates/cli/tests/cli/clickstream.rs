//! `ingest`, `report`, `history` and `demo`, end to end on a made log.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::clicks::{Clicks, Random};
use crate::program::{Ran, command, run, run_with_input};

fn clicks(lines: u64) -> Clicks {
    Clicks::make(&mut Random(7), lines)
}

fn ingest(db: &Path, arguments: &[&str]) -> Ran {
    run(db, [&["ingest"], arguments].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn report(db: &Path, arguments: &[&str]) -> Value {
    let out = run(db, [&["report", "--json"], arguments].concat()).ok();
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn the_report_is_what_is_in_the_log() {
    let dir = tempdir().expect("a directory");
    let (db, log) = (dir.path().join("db"), dir.path().join("access.log"));
    let rejects = dir.path().join("rejects");
    let clicks = clicks(3000);
    fs::write(&log, clicks.text()).expect("the log");

    let said = ingest(&db, &["--reject-file", text(&rejects), text(&log)]).ok();
    assert!(
        said.contains(&format!(
            "{},{:03} events",
            clicks.events.len() / 1000,
            clicks.events.len() % 1000
        )),
        "{said}"
    );
    assert!(said.contains(&format!("{} lines rejected", clicks.rejected)), "{said}");
    assert_eq!(report(&db, &["--top", "5"]), clicks.expected(5));

    let rejected = fs::read_to_string(&rejects).expect("the reject file");
    for line in clicks.lines.iter().filter(|line| line.contains("no time at all")) {
        assert!(rejected.contains(line.as_str()), "{line} is not in the reject file");
    }

    // The same again changes nothing.
    ingest(&db, &[text(&log)]).ok();
    assert_eq!(report(&db, &["--top", "5"]), clicks.expected(5));
    run(&db, ["verify"]).ok();
}

#[test]
fn a_history_is_in_time_order_and_ties_in_input_order() {
    let dir = tempdir().expect("a directory");
    let (db, log) = (dir.path().join("db"), dir.path().join("access.log"));
    let clicks = clicks(3000);
    fs::write(&log, clicks.text()).expect("the log");
    ingest(&db, &[text(&log)]).ok();

    let user = "10.0.0.0";
    let expected = clicks.history(user);
    assert!(expected.len() > 30, "the log has a busy user");
    let json: Value =
        serde_json::from_str(&run(&db, ["history", "--json", user]).ok()).expect("JSON");
    let found: Vec<(String, String)> = json
        .as_array()
        .expect("an array")
        .iter()
        .map(|event| {
            let field = |name: &str| event[name].as_str().expect("a text").to_owned();
            (field("time"), field("path"))
        })
        .collect();
    assert_eq!(found, expected);

    let table = run(&db, ["history", user, "--limit", "3"]).ok();
    for (_, path) in &expected[..3] {
        assert!(table.contains(path.as_str()), "{table}");
    }
    let nobody = run(&db, ["history", "nobody"]).refused(1);
    assert!(nobody.contains("nobody"), "{nobody}");
}

#[test]
fn a_report_can_be_cut_to_a_range_and_printed_for_people() {
    let dir = tempdir().expect("a directory");
    let (db, log) = (dir.path().join("db"), dir.path().join("access.log"));
    let clicks = clicks(3000);
    fs::write(&log, clicks.text()).expect("the log");
    ingest(&db, &[text(&log)]).ok();

    let (from, to) = (3600, 7200);
    let mut cut = clicks.clone();
    cut.events.retain(|click| (from..to).contains(&click.second));
    let found = report(&db, &["--from", "2015-05-01T01:00:00Z", "--to", "1430445600"]);
    let expected = cut.expected(10);
    for key in ["events", "first", "last", "hours", "top_users", "top_paths", "status", "bytes"] {
        assert_eq!(found[key], expected[key], "{key}");
    }

    let page = run(&db, ["report", "--top", "3"]).ok();
    for part in ["2015-05-01 01:00", "█", "/page/0?q=0", "10.0.0.0", "404"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn named_fields_and_standard_input_are_read() {
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("db");
    let lines = "{\"at\":1431857100000,\"who\":{\"id\":7},\"tag\":\"A\",\"id\":\"x\"}\n\
                 {\"at\":1431857101000,\"who\":{\"id\":7},\"tag\":\"B\",\"id\":\"y\"}\n";
    let mut arguments = vec!["ingest", "--db", text(&db), "--format", "ndjson", "--time", "at"];
    arguments.extend(["--user", "who.id", "--path", "{tag}#{id}", "-"]);
    run_with_input(&arguments, lines.as_bytes()).ok();
    let report = report(&db, &[]);
    assert_eq!(report["events"], 2);
    assert_eq!(report["top_users"], json!([["7", 2]]));
    assert_eq!(report["top_paths"], json!([["A#x", 1], ["B#y", 1]]));
    assert_eq!(report["missing_bytes"], 2);
}

#[test]
fn a_named_pipe_is_opened_once() {
    let dir = tempdir().expect("a directory");
    let (db, pipe) = (dir.path().join("db"), dir.path().join("pipe"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is part of every Unix").success());
    let clicks = clicks(3000);
    let (writer, target) = (clicks.text(), pipe.clone());
    let writer = thread::spawn(move || fs::write(target, writer));
    ingest(&db, &[text(&pipe)]).ok();
    writer.join().expect("no panic").expect("everything was read");
    assert_eq!(report(&db, &["--top", "5"]), clicks.expected(5));
}

#[test]
fn stop_on_error_keeps_what_came_before() {
    let dir = tempdir().expect("a directory");
    let (db, log) = (dir.path().join("db"), dir.path().join("access.log"));
    let clicks = clicks(2000);
    fs::write(&log, clicks.text()).expect("the log");
    let sentence = ingest(&db, &["--on-error", "stop", text(&log)]).refused(1);
    let first = clicks.lines.iter().position(|line| line.contains("no time")).expect("one");
    assert!(sentence.contains(&format!("line {}", first + 1)), "{sentence}");
    assert_eq!(report(&db, &[])["events"], first);
    // And it can be picked up from there.
    ingest(&db, &[text(&log)]).ok();
    assert_eq!(report(&db, &[])["events"], clicks.events.len());
}

#[test]
fn times_that_no_store_can_hold_are_malformed_lines() {
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("db");
    let line = |time: &str| format!("{{\"time\":\"{time}\",\"user\":\"u\",\"path\":\"p\"}}\n");
    let times = ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2262-04-11T23:47:16Z"];
    let log: String = times.iter().map(|time| line(time)).collect();
    let log = log + &line("2262-04-12T00:00:00Z") + &line("never");
    let said = run_with_input(["ingest", "--db", text(&db), "-"], log.as_bytes()).ok();
    assert!(said.contains("time out of range  2") && said.contains("bad time  "), "{said}");
    let report = report(&db, &[]);
    assert_eq!((&report["first"], &report["last"]), (&json!(times[1]), &json!(times[2])));
    assert_eq!((&report["events"], &report["rejected"]), (&json!(2), &json!(3)));
    let page = run(&db, ["report"]).ok();
    assert!(page.contains("without events") && page.contains("2262-04-11 23:00"), "{page}");
    for time in ["1969-12-31", "2263-01-01"] {
        let sentence = run(&db, ["report", "--from", time]).refused(2);
        assert!(sentence.contains("not between 1970-01-01 and 2262-04-11"), "{sentence}");
    }
}

#[test]
fn the_demo_makes_ingests_and_reports() {
    let ran: Ran = command(["demo", "--events", "20000"]).output().expect("it starts").into();
    let page = ran.ok();
    for part in ["20,000 events", "events/s", "█", "Top users", "Top paths", "level"] {
        assert!(page.to_lowercase().contains(&part.to_lowercase()), "{part} is not in\n{page}");
    }
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("kept");
    run(&db, ["demo", "--events", "20000"]).ok();
    assert_eq!(report(&db, &[])["events"], 20_000);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let dir = tempdir().expect("a directory");
    let stores = || fs::read_dir(dir.path()).expect("a directory").flatten().collect::<Vec<_>>();
    let mut demo = command(["demo", "--events", "1000000000"]);
    demo.env("TMPDIR", dir.path()).stdout(Stdio::null());
    let mut demo = demo.spawn().expect("it starts");
    // Once there is a log, the engine is at work in the directory.
    let at_work = |store: &fs::DirEntry| {
        let mut files = fs::read_dir(store.path()).into_iter().flatten().flatten();
        files.any(|file| file.path().extension().is_some_and(|found| found == "wal"))
    };
    while !stores().iter().any(at_work) {
        assert!(demo.try_wait().expect("a child").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(10));
    }
    let pid = demo.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success()
    );
    assert_eq!(demo.wait().expect("it ends").code(), Some(130));
    assert!(stores().is_empty(), "{:?}", stores());
}
