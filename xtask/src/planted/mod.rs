//! `cargo xtask planted`: are the bugs that the engine can be built with found by a harness each?
//!
//! The harnesses are built once with `--cfg alluvium_planted`, into a folder of their own. Each
//! must pass for a while without a bug; then each bug is planted, by a variable, in a process of
//! its own, and the harnesses named for it run until one fails: a failure, a panic and an end by
//! the watchdog all count. What is printed is the table in `docs/testing.md`.

mod list;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use list::{BUGS, Bug};

/// How long each harness has for one bug, unless it is said otherwise.
const SECONDS: u64 = 60;
/// How long each harness must pass without a bug.
const CLEAN_SECONDS: u64 = 10;
/// What a harness may take beyond its time: its watchdog has to see a hang.
const GRACE: Duration = Duration::from_secs(90);

/// What is wanted.
struct Request {
    only: Option<String>,
    seconds: u64,
    threads: String,
}

/// What came of a harness.
enum Outcome {
    Passed,
    /// How often it had run, where it could say so.
    Caught(Option<String>),
    NoEnd,
}

/// Runs the command in the workspace `root`.
pub fn command(root: &Path, arguments: &[&str]) -> ExitCode {
    let result = parse(arguments).and_then(|request| run(root, &request));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[&str]) -> Result<Request, String> {
    let mut request = Request { only: None, seconds: SECONDS, threads: "2".to_owned() };
    let mut arguments = arguments.iter();
    while let Some(&name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name}: no option, or without a value"))?;
        match name {
            "--only" => request.only = Some((*value).to_owned()),
            "--threads" => request.threads = (*value).to_owned(),
            "--seconds" => {
                request.seconds =
                    value.parse().map_err(|_| format!("{name} {value}: no number"))?;
            }
            _ => return Err(format!("{name}: no such option")),
        }
    }
    Ok(request)
}

/// Whether every bug was caught.
fn run(root: &Path, request: &Request) -> Result<bool, String> {
    check_list(root)?;
    let wanted = |bug: &&Bug| request.only.as_deref().is_none_or(|only| only == bug.name);
    let bugs: Vec<&Bug> = BUGS.iter().filter(wanted).collect();
    if bugs.is_empty() {
        return Err("there is no bug of this name".to_owned());
    }
    let program = build(root)?;
    let harnesses: BTreeSet<&str> = bugs.iter().flat_map(|bug| bug.harnesses).copied().collect();
    let mut unsound = BTreeSet::new();
    for harness in harnesses {
        let outcome = torture(&program, harness, "", CLEAN_SECONDS, &request.threads)?;
        if !matches!(outcome, Outcome::Passed) {
            unsound.insert(harness);
        }
    }
    println!("| planted bug | caught by | after |\n|---|---|---|");
    let mut missed = 0;
    for bug in bugs {
        let caught = hunt(&program, bug, &unsound, request)?;
        missed += usize::from(!caught);
    }
    if missed > 0 {
        eprintln!("{missed} bugs were not caught");
    }
    for harness in &unsound {
        let output = output_of(&program, harness, "");
        eprintln!("{harness} fails without a bug, which is one: see {}", output.display());
    }
    Ok(missed == 0 && unsound.is_empty())
}

/// Runs the harnesses for one bug until one fails; prints the bug's row. Those that fail without a
/// bug show nothing with one.
fn hunt(
    program: &Path,
    bug: &Bug,
    unsound: &BTreeSet<&str>,
    request: &Request,
) -> Result<bool, String> {
    let (useless, useful): (Vec<&str>, Vec<&str>) =
        bug.harnesses.iter().partition(|harness| unsound.contains(**harness));
    for harness in useful {
        let begun = Instant::now();
        let outcome = torture(program, harness, bug.name, request.seconds, &request.threads)?;
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Outcome::Caught(runs) => {
                let runs = runs.map_or_else(|| "it ended the process".to_owned(), |n| n + " runs");
                println!("| `{}`: {} | {harness} | {runs}, {seconds:.1} s |", bug.name, bug.what);
                return Ok(true);
            }
            Outcome::NoEnd => eprintln!("{}: {harness} does not end", bug.name),
            Outcome::Passed => {}
        }
    }
    let why = match useless.join(", ") {
        none if none.is_empty() => none,
        failing => format!(" ({failing} fails without a bug)"),
    };
    println!("| `{}`: {} | **nothing**{why} | |", bug.name, bug.what);
    Ok(false)
}

/// Builds the harnesses with the bugs in them; says where the program is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = target.join("planted");
    let flags = env::var("RUSTFLAGS").unwrap_or_default() + " --cfg alluvium_planted";
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--package", "alluvium-testkit"])
        .args(["--bin", "alluvium-torture"])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", flags.trim())
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err("the harnesses do not build".to_owned());
    }
    Ok(target.join("release/alluvium-torture"))
}

/// Runs one harness with one bug, or with none.
fn torture(
    program: &Path,
    harness: &str,
    bug: &str,
    seconds: u64,
    threads: &str,
) -> Result<Outcome, String> {
    let minutes = (seconds as f64 / 60.0).to_string();
    let output = output_of(program, harness, bug);
    let file = fs::File::create(&output).map_err(|error| error.to_string())?;
    let errors = file.try_clone().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["--only", harness, "--minutes", &minutes, "--threads", threads])
        .args(["--seed", "1", "--failures", "1"])
        .env("ALLUVIUM_PLANTED", bug)
        .env("ALLUVIUM_SHRINK", "0")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    let deadline = Instant::now() + Duration::from_secs(seconds) + GRACE;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            drop(child.wait());
            return Ok(Outcome::NoEnd);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()).into_owned();
    match status.code() {
        Some(0) => Ok(Outcome::Passed),
        Some(2) => Err(text),
        _ => Ok(Outcome::Caught(runs_in(&text, harness))),
    }
}

/// Where what a harness prints is kept.
fn output_of(program: &Path, harness: &str, bug: &str) -> PathBuf {
    program.with_extension(format!("{}.out", if bug.is_empty() { harness } else { bug }))
}

/// The number of runs in what a harness printed.
fn runs_in(text: &str, harness: &str) -> Option<String> {
    let tallies = text.lines().filter_map(|line| line.strip_prefix(harness)?.strip_prefix(": "));
    let mut runs = tallies.filter_map(|tally| Some(tally.split_once(" runs, ")?.0.to_owned()));
    runs.next_back()
}

/// The list names what the engine's source has, and nothing else.
fn check_list(root: &Path) -> Result<(), String> {
    let mut planted = BTreeSet::new();
    collect(&root.join("crates/alluvium/src"), &mut planted)?;
    let listed: BTreeSet<String> = BUGS.iter().map(|bug| bug.name.to_owned()).collect();
    let odd: Vec<&String> = planted.symmetric_difference(&listed).collect();
    if !odd.is_empty() {
        return Err(format!("in the engine or in the list, not in both: {odd:?}"));
    }
    Ok(())
}

/// Every name that a source file below `folder` asks for.
fn collect(folder: &Path, names: &mut BTreeSet<String>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            collect(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(fail)?;
            let calls = text.split("planted::is(").skip(1);
            let name = |call: &str| Some(call.split_once('"')?.1.split_once('"')?.0.to_owned());
            names.extend(calls.filter_map(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_what_the_engine_has() {
        check_list(&crate::workspace_root()).unwrap();
        assert!(BUGS.len() >= 30);
    }

    #[test]
    fn the_runs_of_the_harness_asked_for_are_read() {
        let text =
            "seed 1, 2 threads\nmodel: 7 runs, 0 failures, 1 s\ncrash: 12 runs, 1 failures, 0 s";
        assert_eq!(runs_in(text, "crash").as_deref(), Some("12"));
        assert_eq!(runs_in(text, "fault"), None);
    }
}
