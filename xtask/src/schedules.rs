//! `cargo xtask schedules`: the store and its parts under schedulers that choose the order of its
//! threads (docs/testing.md, "Schedules").
//!
//! Both tools replace the engine's locks and atomics (`base/sync`), so each needs a build of its
//! own. They are kept apart from all else that is built, in `schedules` in the target folder.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use std::{env, io};

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request<'a> {
    /// Schedules a scenario, for shuttle.
    iterations: Option<u64>,
    seed: Option<u64>,
    /// A part of the name of one test.
    only: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn parse(arguments: &[&'a str]) -> Option<Request<'a>> {
        let mut request = Request::default();
        for pair in arguments.chunks(2) {
            match *pair {
                ["--iterations", n] => request.iterations = Some(n.parse().ok()?),
                ["--seed", n] => request.seed = Some(n.parse().ok()?),
                ["--only", name] => request.only = Some(name),
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
    let of_loom = request.only.is_none_or(|name| name.starts_with("loom"));
    let of_shuttle = request.only.is_none_or(|name| !name.starts_with("loom"));
    let filter = request.only.unwrap_or("loom_");
    let mut ok = true;
    if of_loom {
        ok &= run(root, &request, "loom", &["-p", "alluvium", "--lib", filter]);
    }
    if of_shuttle {
        let only = request.only.unwrap_or_default();
        let tests = ["-p", "alluvium-testkit", "--test", "schedules", only];
        ok &= run(root, &request, "shuttle", &tests);
    }
    Some(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests of one tool, and says how it went.
fn run(root: &Path, request: &Request<'_>, tool: &str, tests: &[&str]) -> bool {
    let tests: Vec<&str> = tests.iter().copied().filter(|word| !word.is_empty()).collect();
    match build(root, tool, &tests).and_then(|()| run_built(root, request, tool, &tests)) {
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

fn cargo(root: &Path, tool: &str, tests: &[&str]) -> Command {
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

fn build(root: &Path, tool: &str, tests: &[&str]) -> io::Result<()> {
    let status = cargo(root, tool, tests).arg("--no-run").status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("does not build")) }
}

fn run_built(
    root: &Path,
    request: &Request<'_>,
    tool: &str,
    tests: &[&str],
) -> io::Result<(Tally, bool, f64)> {
    let mut command = cargo(root, tool, tests);
    command.args(["--", "--nocapture"]).stdout(Stdio::piped());
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
            if tally.note(tool, &line[start..]) {
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
        let request = Request { iterations: Some(10), seed: Some(3), only: Some("loom_x") };
        assert_eq!(Request::parse(&all), Some(request));
        assert_eq!(Request::parse(&["--iterations", "many"]), None);
        assert_eq!(Request::parse(&["--seed"]), None);
    }
}
