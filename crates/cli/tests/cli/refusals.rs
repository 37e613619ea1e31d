//! Bad input and bad luck: one clear sentence, a non-zero exit, and nothing lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tempfile::{TempDir, tempdir};
use xxhash_rust::xxh3::xxh3_64;

use crate::clicks::{Clicks, Random};
use crate::program::{Ran, command, run, run_with_input};

/// A store with one value in it, and a log beside it.
struct Place {
    directory: TempDir,
    db: PathBuf,
    log: PathBuf,
    clicks: Clicks,
}

impl Place {
    fn new() -> Place {
        let directory = tempdir().expect("a directory");
        let (db, log) = (directory.path().join("db"), directory.path().join("access.log"));
        let clicks = Clicks::make(&mut Random(11), 500);
        fs::write(&log, clicks.text()).expect("the log");
        run(&db, ["put", "before", "kept"]).ok();
        Place { directory, db, log, clicks }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).expect("the file");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Ingests a file that must be refused, and checks that the store is as it was.
    fn refuse(&self, arguments: &[&str]) -> String {
        let before = run(&self.db, ["scan"]).ok();
        let sentence = run(&self.db, [&["ingest"], arguments].concat()).refused(1);
        assert_eq!(run(&self.db, ["scan"]).ok(), before);
        assert_eq!(run(&self.db, ["get", "before"]).ok(), "kept\n");
        sentence
    }
}

#[test]
fn where_there_is_no_store_only_writers_make_one() {
    let dir = tempdir().expect("a directory");
    for db in [dir.path().join("nowhere"), dir.path().to_owned()] {
        for arguments in [
            &["get", "k"][..],
            &["delete", "k"],
            &["scan"],
            &["stats"],
            &["verify"],
            &["report"],
            &["history", "u"],
        ] {
            let sentence = run(&db, arguments).refused(1);
            assert!(sentence.starts_with("there is no store in "), "{sentence}");
            assert!(sentence.contains(db.to_str().expect("UTF-8")), "{sentence}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing was made");
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let place = Place::new();
    let foreign = place.directory.path().join("foreign");
    fs::create_dir(&foreign).expect("a directory");
    fs::write(foreign.join("letter.txt"), "dear").expect("a file");
    let log = place.log.to_str().expect("UTF-8");
    for arguments in [&["put", "k", "v"][..], &["compact"], &["get", "k"], &["ingest", log]] {
        let sentence = run(&foreign, arguments).refused(1);
        assert!(sentence.contains("foreign"), "{sentence}");
    }
    assert_eq!(fs::read_dir(&foreign).expect("a directory").count(), 1, "nothing was added");
    let sentence = run(&foreign.join("letter.txt"), ["put", "k", "v"]).refused(1);
    assert!(sentence.contains("letter.txt"), "{sentence}");
    assert_eq!(fs::read(foreign.join("letter.txt")).expect("it is there"), b"dear");
}

#[test]
fn a_file_that_is_no_log_is_named() {
    let place = Place::new();
    let noise: Vec<u8> =
        (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes, part) in [
        ("empty.log", &b""[..], "empty"),
        ("noise.bin", &noise, "no log"),
        ("image.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no log"),
        ("letter.txt", b"Dear Sir,\n\nthank you for your letter.\n", "format"),
    ] {
        let path = place.file(name, bytes);
        let sentence = place.refuse(&[&path]);
        assert!(sentence.contains(name) && sentence.contains(part), "{name}: {sentence}");
    }
    let missing = place.directory.path().join("missing.log");
    let sentence = place.refuse(&[missing.to_str().expect("UTF-8")]);
    assert!(sentence.contains("cannot open") && sentence.contains("missing.log"), "{sentence}");
    let sentence = place.refuse(&[place.directory.path().to_str().expect("UTF-8")]);
    assert!(sentence.contains("is a directory"), "{sentence}");
    let log = place.log.to_str().expect("UTF-8");
    let sentence = place.refuse(&["--format", "ndjson", log]);
    assert!(sentence.contains("access.log"), "{sentence}");
    let sentence = place.refuse(&["--reject-file", "/nowhere/at/all", log]);
    assert!(sentence.contains("/nowhere/at/all"), "{sentence}");
}

#[test]
fn a_log_of_which_no_line_is_an_event_is_no_success() {
    let place = Place::new();
    let ran = run(&place.db, ["ingest", "--format", "common", place.log.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("holds no event: 500 lines malformed"), "{ran:?}");
}

#[test]
fn a_missing_file_makes_no_store() {
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("db");
    run(&db, ["ingest", "/no/such/file.log"]).refused(1);
    assert!(!db.exists());
}

#[test]
fn the_good_files_beside_a_bad_one_are_stored() {
    let place = Place::new();
    let bad = place.file("letter.txt", b"Dear Sir,\n");
    let log = place.log.to_str().expect("UTF-8");
    let ran = run(&place.db, ["ingest", &bad, log]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("letter.txt"), "{ran:?}");
    let report = run(&place.db, ["report", "--json"]).ok();
    assert!(
        report.contains(&format!("\"events\":{}", place.clicks.events.len()))
            || report.contains(&format!("\"events\": {}", place.clicks.events.len())),
        "{report}"
    );
}

#[test]
fn a_cut_archive_is_stored_up_to_the_cut_and_continued_when_whole() {
    let place = Place::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(place.clicks.text().as_bytes()).expect("memory");
    let packed = packed.finish().expect("memory");
    let path = place.file("access.log.gz", &packed[..packed.len() * 2 / 3]);
    let sentence = run(&place.db, ["ingest", &path]).refused(1);
    assert!(sentence.contains("access.log.gz") && sentence.contains("cut off"), "{sentence}");
    let events = || -> serde_json::Value {
        let report = run(&place.db, ["report", "--json"]).ok();
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        report["events"].clone()
    };
    let part = events().as_u64().expect("a number");
    assert!(part > 0 && part < place.clicks.events.len() as u64, "{part}");
    place.file("access.log.gz", &packed);
    run(&place.db, ["ingest", &path]).ok();
    assert_eq!(events(), place.clicks.events.len());
}

#[test]
fn a_line_of_many_megabytes_is_one_malformed_line() {
    let place = Place::new();
    let mut text = place.clicks.lines[..100].join("\n").into_bytes();
    text.push(b'\n');
    text.resize(text.len() + (20 << 20), b'x');
    text.push(b'\n');
    text.extend(place.clicks.events[0].line().bytes());
    text.push(b'\n');
    let path = place.file("long.log", &text);
    let said = run(&place.db, ["ingest", &path]).ok();
    assert!(said.contains("rejected"), "{said}");
    let report = run(&place.db, ["report", "--json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let good = place.clicks.lines[..100].iter().filter(|l| !l.contains("no time at all")).count();
    assert_eq!(report["events"], good + 1);
}

#[test]
fn a_store_that_another_process_holds_is_not_touched() {
    let place = Place::new();
    let current = || fs::read(place.db.join("CURRENT")).expect("CURRENT");
    let before = current();
    let mut holder = command(["ingest", "--format", "combined", "--db"]);
    holder.arg(&place.db).arg("-").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut holder = holder.spawn().expect("it starts");
    // The holder reads its input until that is closed. Opening the store has written CURRENT anew.
    while current() == before {
        assert!(holder.try_wait().expect("a child").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(10));
    }
    for arguments in [&["get", "before"][..], &["put", "k", "v"], &["verify"]] {
        let sentence = run(&place.db, arguments).refused(1);
        assert!(sentence.contains("open elsewhere"), "{sentence}");
    }
    let mut stdin = holder.stdin.take().expect("a pipe");
    stdin.write_all(place.clicks.text().as_bytes()).expect("the holder reads");
    drop(stdin);
    assert!(holder.wait().expect("it ends").success());
    assert_eq!(run(&place.db, ["get", "before"]).ok(), "kept\n");
}

#[test]
fn damage_is_named_by_verify_and_never_read_as_data() {
    let place = Place::new();
    run(&place.db, ["put", "other", &"value ".repeat(3000)]).ok();
    run(&place.db, ["compact"]).ok();
    let table = files(&place.db, "sst").pop().expect("a table");
    let good = fs::read(&table).expect("the table");
    let mut bad = good.clone();
    bad[100] ^= 1;
    fs::write(&table, &bad).expect("the table");
    let name = table.file_name().expect("a name").to_str().expect("UTF-8");
    let ran = run(&place.db, ["verify"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains(name) && ran.err.contains("damaged place"), "{ran:?}");
    let sentence = run(&place.db, ["get", "other"]).refused(1);
    assert!(sentence.contains(name) && sentence.contains("damaged"), "{sentence}");
    fs::write(&table, &good).expect("the table");
    run(&place.db, ["verify"]).ok();
    assert_eq!(run(&place.db, ["get", "before"]).ok(), "kept\n");
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let place = Place::new();
    let current = place.db.join("CURRENT");
    let good = fs::read_to_string(&current).expect("CURRENT");
    fs::write(&current, newer(&good)).expect("CURRENT");
    let before = contents(&place.db);
    for arguments in [&["get", "before"][..], &["put", "k", "v"]] {
        let sentence = run(&place.db, arguments).refused(1);
        assert!(sentence.contains("CURRENT") && sentence.contains("version 3"), "{sentence}");
        assert!(sentence.contains("up to 2"), "{sentence}");
    }
    assert_eq!(contents(&place.db), before, "nothing was altered");
    fs::write(&current, good).expect("CURRENT");
    assert_eq!(run(&place.db, ["get", "before"]).ok(), "kept\n");
}

/// `CURRENT` as a build with format version 3 would write it: its checksum is good.
fn newer(current: &str) -> String {
    let (covered, sum) = current.trim_end().split_once(" checksum ").expect("a checksum");
    let sum = u64::from_str_radix(sum, 16).expect("hexadecimal");
    // A checksum is the hash of the bytes, XORed with a constant of their place.
    let place = sum ^ xxh3_64(covered.as_bytes());
    let covered = covered.replacen("alluvium 2 ", "alluvium 3 ", 1);
    let sum = xxh3_64(covered.as_bytes()) ^ place;
    format!("{covered} checksum {sum:016x}\n")
}

#[test]
fn a_store_without_events_has_no_report() {
    let place = Place::new();
    for arguments in [&["report"][..], &["history", "u"]] {
        let sentence = run(&place.db, arguments).refused(1);
        assert!(sentence.contains("holds no events"), "{sentence}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let place = Place::new();
    let log = place.log.to_str().expect("UTF-8");
    for arguments in [
        &["get"][..],
        &["frobnicate"],
        &["scan", "--limit", "many"],
        &["scan", "--hex", "--from", "6"],
        &["get", "--escaped", r"\q"],
        &["get", "--hex", "--escaped", "00"],
        &["ingest"],
        &["ingest", "--format", "xml", log],
        &["ingest", "--durability", "hope", log],
        &["ingest", "--on-error", "pray", log],
        &["ingest", "-", "-"],
        &["report", "--from", "yesterday"],
        &["demo", "--events", "some"],
    ] {
        run(&place.db, arguments).refused(2);
    }
    let no_store: Ran = command(["stats"]).output().expect("it starts").into();
    assert!(no_store.refused(2).contains("STORE"));
    let help: Ran = command(["put", "--help"]).output().expect("it starts").into();
    assert!(help.ok().contains(r"\xNN"));
}

#[test]
fn standard_input_is_judged_like_a_file() {
    let dir = tempdir().expect("a directory");
    let db = dir.path().join("db");
    let db = db.to_str().expect("UTF-8");
    let sentence = run_with_input(["ingest", "--db", db, "-"], b"").refused(1);
    assert!(sentence.contains("empty"), "{sentence}");
    run_with_input(["ingest", "--db", db, "-"], &[0, 1, 2, 3, 0, 0]).refused(1);
}

/// Runs a shell script as the root of a mount namespace of its own, with the program as `$1`, the
/// log as `$2` and an empty directory as `$3`. `None` where the system does not allow that.
fn in_own_mounts(place: &Place, script: &str) -> Option<String> {
    let mount = place.directory.path().join("mount");
    fs::create_dir(&mount).expect("a directory");
    let unshare = |script: &str| {
        std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(env!("CARGO_BIN_EXE_alluvium"))
            .args([&place.log, &mount])
            .output()
            .ok()
    };
    if !unshare("mount -t tmpfs none \"$3\"").is_some_and(|output| output.status.success()) {
        println!("skipped: no mount namespaces here");
        return None;
    }
    let output = unshare(script)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn a_full_disk_is_said_and_the_work_goes_on_when_there_is_room() {
    let mut place = Place::new();
    place.clicks = Clicks::make(&mut Random(5), 20_000);
    fs::write(&place.log, place.clicks.text()).expect("the log");
    let script = r#"
        set -e
        mount -t tmpfs -o size=1m none "$3"
        "$1" put --db "$3/db" before kept
        if "$1" ingest --db "$3/db" "$2" 2>&1; then echo "it fitted"; fi
        mount -o remount,size=256m "$3"
        echo "value: $("$1" get --db "$3/db" before)"
        "$1" ingest --db "$3/db" "$2"
        "$1" report --json --db "$3/db" | tr -d ' \n'
    "#;
    let Some(said) = in_own_mounts(&place, script) else { return };
    let sentence = said.lines().next().unwrap_or_default();
    assert!(sentence.starts_with("alluvium: cannot ") && sentence.contains("full"), "{said}");
    assert!(said.contains("value: kept\n"), "{said}");
    let events = format!("\"events\":{},", place.clicks.events.len());
    assert!(said.contains(&events), "{said}");
}

#[test]
fn a_read_only_disk_is_said_and_nothing_is_lost() {
    let place = Place::new();
    let script = r#"
        set -e
        mount -t tmpfs none "$3"
        "$1" put --db "$3/db" before kept
        mount -o remount,ro "$3"
        if "$1" put --db "$3/db" k v 2>&1; then echo "it was written"; fi
        if "$1" ingest --db "$3/db" "$2" 2>&1; then echo "it was written"; fi
        if "$1" ingest --db "$3/new" "$2" 2>&1; then echo "it was written"; fi
        mount -o remount,rw "$3"
        echo "value: $("$1" get --db "$3/db" before)"
    "#;
    let Some(said) = in_own_mounts(&place, script) else { return };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    for sentence in &lines[..3] {
        assert!(sentence.starts_with("alluvium: cannot "), "{sentence}");
        assert!(sentence.contains("Read-only file system"), "{sentence}");
    }
    assert_eq!(lines[3], "value: kept");
}

fn files(db: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(db)
        .expect("the store")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Every file of a store but its lock.
fn contents(db: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(db)
        .expect("the store")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs::read(&path).expect("a file")))
        .collect()
}
