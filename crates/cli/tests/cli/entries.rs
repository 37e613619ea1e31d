//! `put`, `get`, `delete`, `scan`, and what goes with them, in every form of keys and values.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::{TempDir, tempdir};

use crate::program::{Ran, command, run};

fn store() -> TempDir {
    tempdir().expect("a directory")
}

/// Keys in byte order, with what the program prints for each.
const KEYS: [(&[u8], &str); 8] = [
    (b"\0", r"\x00"),
    (b"\x1b[2J", r"\x1b[2J"),
    (b"a", "a"),
    (b"a\tb\nc", r"a\tb\nc"),
    (b"back\\slash", r"back\\slash"),
    ("gr\u{fc}\u{df}e".as_bytes(), "gr\u{fc}\u{df}e"),
    (b"\xfe\xff", r"\xfe\xff"),
    (b"\xff", r"\xff"),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn every_key_form_reaches_the_same_bytes() {
    let dir = store();
    for (key, shown) in KEYS {
        // Stored in one form, read in each of the others.
        run(dir.path(), ["put", "--hex", &hex(key), &hex(key)]).ok();
        assert_eq!(run(dir.path(), ["get", "--escaped", shown]).ok(), format!("{shown}\n"));
        let lower = hex(key).to_lowercase();
        assert_eq!(run(dir.path(), ["get", "--hex", &lower]).ok(), format!("{lower}\n"));
        if !key.contains(&0) {
            let raw =
                run(dir.path(), [OsStr::new("get"), "--raw".as_ref(), OsStr::from_bytes(key)]);
            assert_eq!(raw.code, 0, "{raw:?}");
            assert_eq!(raw.raw, key);
        }
    }
    let expected: String = KEYS.iter().map(|(_, shown)| format!("{shown}\t{shown}\n")).collect();
    assert_eq!(run(dir.path(), ["scan"]).ok(), expected);
}

#[test]
fn text_is_stored_byte_for_byte_and_escapes_only_on_request() {
    let dir = store();
    run(dir.path(), ["put", r"a\n", "as it stands"]).ok();
    run(dir.path(), ["put", "--escaped", r"a\n", "a newline"]).ok();
    let not_utf8 = OsString::from_vec(b"\xc3\x28".to_vec());
    run(dir.path(), [OsStr::new("put"), &not_utf8, OsStr::new("")]).ok();
    run(dir.path(), ["put", "--", "--dashes", "-"]).ok();
    assert_eq!(
        run(dir.path(), ["scan"]).ok(),
        "--dashes\t-\na\\n\ta newline\na\\\\n\tas it stands\n\\xc3(\t\n"
    );
}

#[test]
fn a_time_to_live_is_kept_and_shown() {
    let dir = store();
    run(dir.path(), ["put", "--ttl", "30d", "long", "v"]).ok();
    run(dir.path(), ["put", "--ttl", "0s", "none", "v"]).ok();
    run(dir.path(), ["put", "plain", "v"]).ok();
    assert_eq!(run(dir.path(), ["scan"]).ok(), "long\tv\nplain\tv\n");
    assert_eq!(run(dir.path(), ["get", "none"]).code, 1);
    let listed = run(dir.path(), ["scan", "--expiry"]).ok();
    let (long, plain) = listed.split_once('\n').expect("two lines");
    let expires: u64 = long.rsplit('\t').next().and_then(|ms| ms.parse().ok()).expect("a time");
    assert!(expires > 1_700_000_000_000, "{long}");
    assert_eq!(plain, "plain\tv\t-\n");
    assert_eq!(run(dir.path(), ["put", "--ttl", "soon", "k", "v"]).code, 2);
}

#[test]
fn a_deleted_key_is_gone_and_a_missing_one_is_exit_code_1() {
    let dir = store();
    run(dir.path(), ["put", "k\t1", "v"]).ok();
    run(dir.path(), ["put", "k\t1", "w"]).ok();
    assert_eq!(run(dir.path(), ["get", "k\t1"]).ok(), "w\n");
    run(dir.path(), ["delete", "k\t1"]).ok();
    let sentence = run(dir.path(), ["get", "k\t1"]).refused(1);
    assert_eq!(sentence, r"there is no value under the key k\t1");
    run(dir.path(), ["delete", "never there"]).ok();
    assert_eq!(run(dir.path(), ["scan"]).ok(), "");
}

#[test]
fn a_scan_takes_bounds_prefix_direction_and_limit() {
    let dir = store();
    for key in ["a", "b1", "b2", "b3", "c"] {
        run(dir.path(), ["put", key, "v"]).ok();
    }
    let keys = |arguments: &[&str]| -> String {
        let scan = run(dir.path(), [&["scan"], arguments].concat()).ok();
        scan.lines().map(|line| line.split('\t').next().unwrap_or("")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&[]), "a b1 b2 b3 c");
    assert_eq!(keys(&["--from", "b1", "--to", "b3"]), "b1 b2");
    assert_eq!(keys(&["--prefix", "b"]), "b1 b2 b3");
    assert_eq!(keys(&["--prefix", "b", "--from", "b2"]), "b2 b3");
    assert_eq!(keys(&["--reverse"]), "c b3 b2 b1 a");
    assert_eq!(keys(&["--prefix", "b", "--reverse", "--limit", "2"]), "b3 b2");
    assert_eq!(keys(&["--limit", "0"]), "");
    assert_eq!(keys(&["--from", "c", "--to", "a"]), "");
    assert_eq!(keys(&["--hex", "--prefix", "62", "--limit", "1"]), "6231");
}

#[test]
fn column_families_are_apart_and_put_makes_them() {
    let dir = store();
    run(dir.path(), ["put", "k", "default"]).ok();
    run(dir.path(), ["put", "--cf", "other", "k", "other"]).ok();
    assert_eq!(run(dir.path(), ["get", "k"]).ok(), "default\n");
    assert_eq!(run(dir.path(), ["get", "--cf", "other", "k"]).ok(), "other\n");
    run(dir.path(), ["delete", "--cf", "other", "k"]).ok();
    assert_eq!(run(dir.path(), ["scan"]).ok(), "k\tdefault\n");
    for arguments in [
        &["get", "--cf", "none", "k"][..],
        &["delete", "--cf", "none", "k"],
        &["scan", "--cf", "none"],
        &["stats", "--cf", "none"],
        &["compact", "--cf", "none"],
    ] {
        let sentence = run(dir.path(), arguments).refused(1);
        assert!(sentence.contains("no column family") && sentence.contains("none"), "{sentence}");
    }
}

#[test]
fn a_store_is_compacted_verified_and_described() {
    let dir = store();
    assert!(run(dir.path(), ["compact"]).ok().contains("default"), "compact makes the store");
    for i in 0..20 {
        run(dir.path(), ["put", &format!("key{i}"), &"v".repeat(i * 50)]).ok();
    }
    run(dir.path(), ["compact", "--cf", "default"]).ok();
    let verified = run(dir.path(), ["verify"]).ok();
    assert!(verified.starts_with("no damage: "), "{verified}");
    assert!(!run(dir.path(), ["stats"]).ok().is_empty());
    assert_eq!(run(dir.path(), ["scan"]).ok().lines().count(), 20);
}

#[test]
fn a_reader_that_stops_reading_is_no_failure() {
    let dir = store();
    let value = "v".repeat(100_000);
    for i in 0..10 {
        run(dir.path(), ["put", &i.to_string(), &value]).ok();
    }
    let mut scan = command(["scan", "--db"]);
    scan.arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = scan.spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_full_output_device_is_a_failure() {
    let dir = store();
    run(dir.path(), ["put", "k", "v"]).ok();
    let mut scan = command(["scan", "--db"]);
    scan.arg(dir.path()).stdout(std::fs::File::create("/dev/full").expect("Linux has it"));
    let output = scan.output().expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.starts_with("alluvium: cannot write the output: "), "{err}");
    assert_eq!(output.status.code(), Some(1));
}

/// The files of a store with this extension, by name.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the store");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn dump(arguments: &[&str], file: &Path) -> Ran {
    let mut command = command([&["dump"], arguments].concat());
    command.arg(file).output().expect("it starts").into()
}

#[test]
fn each_kind_of_file_can_be_looked_at() {
    let dir = store();
    run(dir.path(), ["put", "k\t1", "first"]).ok();
    run(dir.path(), ["delete", "gone"]).ok();
    run(dir.path(), ["compact"]).ok();
    run(dir.path(), ["put", "k2", "second"]).ok();

    let logs: String =
        files(dir.path(), "wal").iter().map(|file| dump(&["wal"], file).ok()).collect();
    assert!(logs.contains("put\tcf 0\tk2\tsecond\n"), "{logs}");
    assert!(logs.contains("end, closed in good order"), "{logs}");
    let tables = files(dir.path(), "sst");
    let table: String = tables.iter().map(|file| dump(&["sst"], file).ok()).collect();
    assert!(table.contains("put\tcf 0\tk\\t1\tfirst\n"), "{table}");
    assert!(table.contains("entries: "), "{table}");
    let hex = dump(&["sst", "--hex", "--limit", "1"], &tables[0]).ok();
    assert!(hex.contains("6b0931\t6669727374\n"), "{hex}");
    let manifest = files(dir.path(), "manifest").pop().expect("a manifest");
    let edits = dump(&["manifest"], &manifest).ok();
    assert!(edits.contains("edit\n") && edits.contains("default"), "{edits}");

    // A file of another kind, a missing one, and one that is cut in the middle of a frame.
    assert!(dump(&["wal"], &manifest).refused(2).contains("not named like"));
    dump(&["wal"], &dir.path().join("999999.wal")).refused(1);
    let bytes = std::fs::read(&manifest).expect("the manifest");
    let copy = store();
    let cut = copy.path().join(manifest.file_name().expect("a name"));
    std::fs::write(&cut, &bytes[..bytes.len() - 3]).expect("a copy");
    let torn = dump(&["manifest"], &cut);
    assert!(torn.out.contains("edit\n"), "{torn:?}");
    assert!(torn.refused(1).contains("breaks off at byte"));
}
