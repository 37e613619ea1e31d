//! `cargo xtask schedules`: the store and its parts under schedulers that choose the order of its
//! threads (docs/testing.md, "Schedules").
//!
//! Both tools replace the engine's locks and atomics (`base/sync`), so each needs a build of its
//! own. They are kept apart from all else that is built, in `schedules` in the target folder.

mod bugs;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use std::{env, io};

/// Schedules that a scenario has to find a planted bug, unless it is said otherwise.
const PLANTED_SCHEDULES: u64 = 20_000;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request<'a> {
    /// Schedules a scenario, for shuttle.
    iterations: Option<u64>,
    seed: Option<u64>,
    /// A part of the name of one test, or of one bug.
    only: Option<&'a str>,
    /// Whether to plant bugs, one after the other, and see each found.
    planted: bool,
    /// The bug that is planted now.
    bug: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn parse(arguments: &[&'a str]) -> Option<Request<'a>> {
        let mut request = Request::default();
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "--iterations" => request.iterations = Some(words.next()?.parse().ok()?),
                "--seed" => request.seed = Some(words.next()?.parse().ok()?),
                "--only" => request.only = Some(words.next()?),
                "--planted" => request.planted = true,
                _ => return None,
            }
        }
        Some(request)
    }
}

/// What one tool did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Kernels or scenarios.
    tests: u64,
    schedules: u64,
    failures: u64,
}

impl Tally {
    /// Takes note of a line that a test printed; says whether it is one for people.
    fn note(&mut self, tool: &str, line: &str) -> bool {
        if let Some(rest) = line.strip_prefix(tool).and_then(|rest| rest.strip_prefix(": ")) {
            self.tests += 1;
            self.schedules += number_before(rest, " schedules").unwrap_or(0);
            return true;
        }
        if line.starts_with("test result:") {
            self.failures += number_before(line, " failed").unwrap_or(0);
        }
        false
    }
}

/// The number that stands right before `what`.
fn number_before(line: &str, what: &str) -> Option<u64> {
    let (before, _) = line.split_once(what)?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Builds and runs both tools; fails when any schedule did, or when none ran.
pub fn command(root: &Path, arguments: &[&str]) -> Option<ExitCode> {
    let request = Request::parse(arguments)?;
    if request.planted {
        return Some(if plant(root, &request) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let of_loom = request.only.is_none_or(|name| name.starts_with("loom"));
    let of_shuttle = request.only.is_none_or(|name| !name.starts_with("loom"));
    let filter = request.only.unwrap_or("loom_");
    let mut ok = true;
    if of_loom {
        ok &= run(root, &request, "loom", filter);
    }
    if of_shuttle {
        ok &= run(root, &request, "shuttle", request.only.unwrap_or_default());
    }
    Some(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plants every bug in turn; says whether each was found by the test that is named for it, which
/// passes without it.
fn plant(root: &Path, request: &Request<'_>) -> bool {
    let mut ok = true;
    let wanted = |bug: &&bugs::Bug| request.only.is_none_or(|only| bug.name.contains(only));
    for bug in bugs::BUGS.iter().filter(wanted) {
        let iterations = request.iterations.or(Some(PLANTED_SCHEDULES));
        let attempt = Request { bug: Some(bug.name), iterations, ..*request };
        let outcome = build(root, bug.tool)
            .and_then(|()| run_built(root, request, bug.tool, bug.test))
            .and_then(|clean| Ok((clean, run_built(root, &attempt, bug.tool, bug.test)?)));
        let said = match outcome {
            Ok(((clean, passes, _), (tally, passes_too, _))) => {
                let caught = passes && clean.tests > 0 && !passes_too;
                ok &= caught;
                let what = if caught { "found by" } else { "NOT FOUND by" };
                match tally.schedules {
                    0 => format!("{what} {}", bug.test),
                    count => format!("{what} {} after {count} schedules", bug.test),
                }
            }
            Err(error) => {
                ok = false;
                error.to_string()
            }
        };
        println!("planted: {} ({}): {}: {said}", bug.name, bug.what, bug.tool);
    }
    ok
}

/// Runs the tests of one tool whose names contain `filter`, and says how it went.
fn run(root: &Path, request: &Request<'_>, tool: &str, filter: &str) -> bool {
    match build(root, tool).and_then(|()| run_built(root, request, tool, filter)) {
        Ok((tally, succeeded, seconds)) => {
            let Tally { tests, schedules, failures } = tally;
            let what = if tool == "loom" { "kernels" } else { "scenarios" };
            println!(
                "{tool}: {tests} {what}, {schedules} schedules, {failures} failures, {seconds:.1} s"
            );
            succeeded && failures == 0 && tests > 0
        }
        Err(error) => {
            eprintln!("{tool}: {error}");
            false
        }
    }
}

fn cargo(root: &Path, tool: &str) -> Command {
    let tests: &[&str] = match tool {
        "loom" => &["-p", "alluvium", "--lib"],
        _ => &["-p", "alluvium-testkit", "--test", "schedules"],
    };
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--quiet"])
        .args(tests)
        .env("RUSTFLAGS", format!("{flags} --cfg {tool}").trim())
        .env("CARGO_TARGET_DIR", target.join("schedules"))
        .current_dir(root);
    command
}

fn build(root: &Path, tool: &str) -> io::Result<()> {
    let status = cargo(root, tool).arg("--no-run").status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("does not build")) }
}

fn run_built(
    root: &Path,
    request: &Request<'_>,
    tool: &str,
    filter: &str,
) -> io::Result<(Tally, bool, f64)> {
    let mut command = cargo(root, tool);
    command.args(["--", "--nocapture", filter]).stdout(Stdio::piped());
    if let Some(bug) = request.bug {
        command.env("ALLUVIUM_PLANTED", bug).stderr(Stdio::null());
    }
    if let Some(iterations) = request.iterations {
        command.env("ALLUVIUM_SCHEDULES", iterations.to_string());
    }
    if let Some(seed) = request.seed {
        command.env("ALLUVIUM_SEED", seed.to_string());
    }
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            // The harness may have printed a dot or a name before.
            let start = line.find(&format!("{tool}: ")).unwrap_or(0);
            if tally.note(tool, &line[start..]) && !request.planted {
                println!("{}", &line[start..]);
            }
        }
    }
    let succeeded = child.wait()?.success();
    Ok((tally, succeeded, begun.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tests_are_counted() {
        let mut tally = Tally::default();
        assert!(tally.note("loom", "loom: memtable: two writers: 120 schedules"));
        assert!(!tally.note("loom", "running 3 tests"));
        assert!(!tally.note("loom", "test result: FAILED. 2 passed; 1 failed; 0 ignored"));
        assert_eq!(tally, Tally { tests: 1, schedules: 120, failures: 1 });
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let all = ["--iterations", "10", "--only", "loom_x", "--seed", "3"];
        let request = Request::parse(&all).unwrap();
        assert_eq!((request.iterations, request.seed), (Some(10), Some(3)));
        assert_eq!((request.only, request.planted), (Some("loom_x"), false));
        assert!(Request::parse(&["--planted"]).unwrap().planted);
        assert_eq!(Request::parse(&["--iterations", "many"]), None);
        assert_eq!(Request::parse(&["--seed"]), None);
    }
}
