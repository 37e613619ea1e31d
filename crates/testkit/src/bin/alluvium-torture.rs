//! Runs the harnesses for as long as it is told and prints `NAME: N runs, F failures, S s` for
//! each; `cargo xtask torture` builds and starts it. As `alluvium-torture child ...` it is one of
//! the processes that the harnesses of `process` start.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alluvium_testkit::process;
use alluvium_testkit::torture::{self, Harness};

const USAGE: &str = "\
usage: alluvium-torture [--minutes N] [--only NAME,NAME] [--seed N] [--threads N]
                        [--failures N]

  --minutes  how long all of it takes together (5)
  --only     the harnesses to run, each with its share of the time
  --seed     where every random choice begins; a new one each time otherwise
  --threads  threads for each harness (one for each core)
  --failures how many of them end a thread's turn (5)";

struct Request {
    minutes: f64,
    only: Vec<String>,
    seed: u64,
    threads: usize,
    failures: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "child"
    {
        return ExitCode::from(process::child(rest));
    }
    match parse(&arguments).and_then(|request| chosen(&request).map(|chosen| (request, chosen))) {
        Ok((request, chosen)) => run(&request, &chosen),
        Err(text) => {
            eprintln!("{text}\n\n{USAGE}\n\nharnesses:");
            for Harness { name, counts, .. } in torture::harnesses() {
                eprintln!("  {name:<12} counts {counts}");
            }
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut request = Request {
        minutes: 5.0,
        only: Vec::new(),
        seed: since.as_secs(),
        threads,
        failures: torture::FAILURES_MAX,
    };
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name}: no option, or without a value"))?;
        let no_number = || format!("{name} {value}: not a number");
        match name.as_str() {
            "--minutes" => request.minutes = value.parse().map_err(|_| no_number())?,
            "--seed" => request.seed = value.parse().map_err(|_| no_number())?,
            "--threads" => request.threads = value.parse().map_err(|_| no_number())?,
            "--failures" => request.failures = value.parse().map_err(|_| no_number())?,
            "--only" => request.only = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("{name}: no such option")),
        }
    }
    if !(request.minutes > 0.0 && request.minutes < 1e6) {
        return Err(format!("--minutes {}: more than 0, less than a million", request.minutes));
    }
    request.threads = request.threads.max(1);
    Ok(request)
}

fn chosen(request: &Request) -> Result<Vec<Harness>, String> {
    let all = torture::harnesses();
    let known = |name: &String| all.iter().any(|harness| harness.name == name);
    if let Some(name) = request.only.iter().find(|name| !known(name)) {
        return Err(format!("--only {name}: no such harness"));
    }
    let wanted = |name: &str| request.only.is_empty() || request.only.iter().any(|n| n == name);
    Ok(all.iter().filter(|harness| wanted(harness.name)).copied().collect())
}

fn run(request: &Request, chosen: &[Harness]) -> ExitCode {
    println!("seed {}, {} threads", request.seed, request.threads);
    let shares: u32 = chosen.iter().map(|harness| harness.share).sum();
    let mut failed = false;
    for harness in chosen {
        let part = f64::from(harness.share) / f64::from(shares.max(1));
        let time = Duration::from_secs_f64(request.minutes * 60.0 * part);
        let tally = torture::run(harness, request.seed, time, request.threads, request.failures);
        failed |= !tally.failures.is_empty();
        println!(
            "{}: {} runs, {} failures, {} s",
            harness.name,
            tally.runs,
            tally.failures.len(),
            tally.elapsed.as_secs()
        );
    }
    ExitCode::from(u8::from(failed))
}
