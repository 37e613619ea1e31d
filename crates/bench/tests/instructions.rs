//! The guard rail against slow creep: instructions an operation, held against checked-in figures.
//!
//! Timings on a shared machine drift by more than most changes are worth; instructions do not. For
//! each operation, `alluvium-bench instructions` runs twice under valgrind (cachegrind without its
//! caches, its quickest counter), with none and with many operations; the difference, by how many,
//! is its price. One that grows by more than a tenth fails
//! here until `tests/golden/instructions.txt` says so too: a line in a diff that somebody reads.
//!
//! ```sh
//! UPDATE_EXPECT=1 cargo test -p alluvium-bench --test instructions
//! ```
//!
//! That puts down what has grown or shrunk by more than a tenth, and leaves the other lines as they
//! are: else each update would let all of them creep by as much as is borne.
//!
//! What is counted is the build of the tests (`opt-level` 1, assertions on): it sees what an
//! algorithm does, and costs no other build; what only the optimizer no longer does it may miss.
//! The processor is valgrind's own (AVX2), not the machine's, so that figures carry over. Without
//! valgrind, on another architecture or in another build, nothing is checked, and a line on
//! standard error says so. Where `ALLUVIUM_VALGRIND` is `required`, as `.ci/run` sets it wherever
//! valgrind is there or can be installed, a missing valgrind fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The operations: how many are counted (whole rounds of the entries, where all are visited), and
/// one that prepares in the same way, which is run with none. So many that a tenth of them is far
/// above what preparing differs by from run to run (0.2 million instructions seen: a worker that
/// sleeps or goes on).
const OPERATIONS: [(&str, u64, &str); 7] = [
    ("put", 2_000, "put"),
    ("put-batch", 4_000, "put"),
    ("get-fresh", 20_000, "get-fresh"),
    ("get", 4_000, "get"),
    ("seek", 8_000, "get"),
    ("next", 100_000, "get"),
    ("merge", 5_000, "merge"),
];

/// A figure may grow by one in so many, at most.
const TOLERANCE: f64 = 10.0;

#[test]
fn no_operation_takes_a_tenth_more_instructions_than_it_did() {
    if let Some(reason) = unavailable() {
        // Past the capture of the test harness: this is to be seen.
        let line = format!("\nNOT CHECKED: instructions an operation, {reason}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        let required = std::env::var("ALLUVIUM_VALGRIND").is_ok_and(|value| value == "required");
        assert!(!required || reason != NO_VALGRIND, "{reason}, and required");
        return;
    }
    let counted = prices();
    let before = read();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(golden(), text(&updated(&before, &counted))).unwrap();
        return;
    }
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, OPERATIONS.map(|(name, ..)| name), "a line an operation");
    let mut grown = String::new();
    for ((name, before), counted) in before.iter().zip(&counted) {
        if has_grown(*before, *counted) {
            writeln!(grown, "{name}: {counted} instructions, {before} before").unwrap();
        }
    }
    assert!(
        grown.is_empty(),
        "{grown}If that is meant, the top of this file says how to put it down."
    );
}

fn has_grown(before: u64, counted: u64) -> bool {
    counted as f64 > before as f64 * (1.0 + 1.0 / TOLERANCE)
}

fn has_shrunk(before: u64, counted: u64) -> bool {
    (counted as f64) < before as f64 * (1.0 - 1.0 / TOLERANCE)
}

/// The figures to put down: what was there, but for what is off by more than is borne.
fn updated(before: &[(String, u64)], counted: &[u64]) -> Vec<u64> {
    let figure = |((name, ..), counted): (&(&str, u64, &str), &u64)| {
        let before = before.iter().find(|(known, _)| known == name).map(|(_, before)| *before);
        let stays = |before: &u64| !has_grown(*before, *counted) && !has_shrunk(*before, *counted);
        before.filter(stays).unwrap_or(*counted)
    };
    OPERATIONS.iter().zip(counted).map(figure).collect()
}

const NO_VALGRIND: &str = "valgrind is not installed (apt-get install valgrind)";

/// Why nothing can be counted here.
fn unavailable() -> Option<&'static str> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some("the figures are for Linux on x86-64");
    }
    if !cfg!(debug_assertions) {
        return Some("the figures are for the build of `cargo test`, not for a release build");
    }
    if cfg!(feature = "rocksdb") {
        return Some("RocksDB is built for this very processor, and valgrind has another");
    }
    let version = Command::new("valgrind").arg("--version").output();
    let works = version.is_ok_and(|output| output.status.success());
    (!works).then_some(NO_VALGRIND)
}

/// Instructions of one of each operation.
fn prices() -> Vec<u64> {
    let mut runs: Vec<(&str, u64)> =
        OPERATIONS.iter().map(|(name, times, _)| (*name, *times)).collect();
    let mut idle: Vec<(&str, u64)> = OPERATIONS.iter().map(|(.., base)| (*base, 0)).collect();
    idle.dedup();
    runs.append(&mut idle);
    // Two at a time: counts do not mind.
    let half = runs.len().div_ceil(2);
    let counted: BTreeMap<(&str, u64), u64> = std::thread::scope(|scope| {
        let parts: Vec<_> = runs
            .chunks(half)
            .map(|part| {
                scope.spawn(|| part.iter().map(|run| (*run, count(run.0, run.1))).collect())
            })
            .collect();
        let counted: Vec<Vec<_>> = parts.into_iter().map(|part| part.join().unwrap()).collect();
        counted.into_iter().flatten().collect()
    });
    let price = |(name, times, base): &(&'static str, u64, &'static str)| {
        let (many, none) = (counted[&(*name, *times)], counted[&(*base, 0)]);
        assert!(many > none, "{name}: {many} instructions with, {none} without");
        (many - none) / times
    };
    OPERATIONS.iter().map(price).collect()
}

/// Instructions of a whole run with so many operations.
fn count(operation: &str, times: u64) -> u64 {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(env!("CARGO_BIN_EXE_alluvium-bench"))
        .args(["instructions", operation, &times.to_string()])
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{operation}: {said}");
    let count =
        said.lines().filter(|line| line.contains("I ")).find_map(|line| line.split_once("refs:"));
    let (_, number) = count.unwrap_or_else(|| panic!("no count in: {said}"));
    number.trim().replace(',', "").parse().unwrap()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt")
}

/// The lines of the file: operations and their figures.
fn read() -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(golden()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, figure)| (name.to_owned(), figure.trim().parse().unwrap())).collect()
}

fn text(figures: &[u64]) -> String {
    let mut text =
        "# Instructions an operation (an entry, of a batch or a merge): tests/instructions.rs.\n"
            .to_owned();
    for ((name, ..), figure) in OPERATIONS.iter().zip(figures) {
        writeln!(text, "{name:12}{figure:>8}").unwrap();
    }
    text
}

#[test]
fn a_tenth_more_is_borne_and_what_is_above_is_not() {
    assert!(!has_grown(1000, 1100));
    assert!(has_grown(1000, 1101));
    assert!(!has_grown(1000, 10));
}

/// A tenth either way stays as it was, so that many small steps are one large one.
#[test]
fn an_update_puts_down_what_is_off_and_nothing_else() {
    let before: Vec<(String, u64)> =
        OPERATIONS[1..].iter().map(|(name, ..)| ((*name).to_owned(), 1000)).collect();
    let counted = [7, 1100, 1101, 900, 899, 1000, 10];
    assert_eq!(updated(&before, &counted), [7, 1000, 1101, 1000, 899, 1000, 10]);
}
