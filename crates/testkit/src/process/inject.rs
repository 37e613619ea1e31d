//! Real system calls that fail: strace answers the n-th fsync, write, rename, ... of a writer with
//! an error. The writer must say so or go on, and another process must then find everything that
//! was acknowledged, and of what was refused all or nothing.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::process::channel::{self, Ended};
use crate::process::history::{Heard, History};
use crate::process::looker;
use crate::process::plan::Plan;
use crate::process::scratch::Scratch;
use crate::process::trace;
use crate::random::Random;
use crate::runner::number;
use crate::torture::Turn;

/// What fails, with what, and up to which call it is worth a try.
const FAULTS: &[(&str, &str, u64)] = &[
    ("fsync,fdatasync", "EIO", 120),
    ("fsync,fdatasync", "ENOSPC", 120),
    ("write", "EIO", 160),
    ("write", "ENOSPC", 160),
    ("write", "EDQUOT", 160),
    ("rename", "EIO", 3),
    ("rename", "ENOSPC", 3),
    ("unlink", "EIO", 30),
    ("openat", "EMFILE", 120),
    ("openat", "ENOSPC", 120),
    ("pread64", "EIO", 120),
    ("ftruncate,fallocate", "EIO", 2),
];

/// The writes of each thread.
const WRITES: u32 = 60;

/// One failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    calls: &'static str,
    error: &'static str,
    /// The first call that fails.
    first: u64,
    /// Whether all behind it fail, too.
    for_good: bool,
}

impl Injection {
    /// A failure at random.
    #[must_use]
    pub fn draw(random: &mut Random) -> Injection {
        let (calls, error, most) = *random.pick(FAULTS);
        let first = 1 + random.below(most as usize) as u64;
        Injection { calls, error, first, for_good: random.one_in(4) }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Injection { calls, error, first, for_good } = self;
        write!(f, "inject={calls}:error={error}:when={first}{}", if *for_good { "+" } else { "" })
    }
}

/// What came of injections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// Runs of a writer.
    pub runs: u64,
    /// Runs in which it said that something had failed.
    pub noticed: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
}

/// Injects until the turn is over.
pub fn torture(turn: &mut Turn) {
    if !trace::strace_works() {
        println!("inject: skipped: strace is missing, or may not trace here");
        return;
    }
    while turn.goes_on() {
        let seed = turn.seed();
        let program = std::env::current_exe().map_err(|error| error.to_string());
        let outcome = program.and_then(|program| run(&program, seed, 1));
        turn.note(outcome.map(|injected| injected.runs));
    }
}

/// Injects one failure into each of `lives` lives of a store; needs strace.
///
/// # Errors
///
/// What was wrong behind one of them. `ALLUVIUM_SEED` and a run of the test replay it.
pub fn run(program: &Path, seed: u64, lives: u32) -> Result<Injected, String> {
    let mut random = Random::for_case(&[seed, 6]);
    let scratch = Scratch::new(true).map_err(|error| error.to_string())?;
    let plan = Plan { buffered_one_in: 0, ..Plan::new(seed) };
    let mut history = History::new(plan);
    let mut injected = Injected::default();
    for _ in 0..lives {
        let injection = Injection::draw(&mut random);
        if let Err(text) = live(program, &scratch, &mut history, plan, injection, &mut injected) {
            let life = history.generation();
            let kept = scratch.keep().display().to_string();
            return Err(format!(
                "inject, seed {seed}, plan {plan}, life {life}, {injection}: {text}\n  kept: \
                 {kept}; again: ALLUVIUM_SEED={seed} cargo test -p alluvium-testkit --test process \
                 inject"
            ));
        }
    }
    Ok(injected)
}

fn live(
    program: &Path,
    scratch: &Scratch,
    history: &mut History,
    plan: Plan,
    injection: Injection,
    injected: &mut Injected,
) -> Result<(), String> {
    history.begin();
    let mut command = channel::command(program, "write", &scratch.store());
    let generation = history.generation().to_string();
    command.args([&plan.to_string(), &generation, "--writes", &WRITES.to_string()]);
    let ended = channel::run(under_strace(&command, injection), &[])?;
    let noticed = hear(&ended, history)?;
    injected.runs += 1;
    injected.noticed += u64::from(noticed);
    injected.acknowledged += history.acknowledged() as u64;
    scratch.remember().map_err(|error| error.to_string())?;
    let mut command = channel::command(program, "look", &scratch.store());
    command.arg(plan.to_string());
    let looked = channel::run(command, &[])?;
    if let Some(text) = looked.complaint(&[]) {
        return Err(format!("the looker: {text}"));
    }
    let state = looker::told(&looked.lines)?.ok_or("the looker did not get to its end")?;
    history.resolve(state)
}

fn under_strace(command: &Command, injection: Injection) -> Command {
    let calls = format!("trace={}", injection.calls);
    let injection = injection.to_string();
    let arguments = ["-e", &calls, "-e", &injection];
    trace::traced(command, &arguments, Path::new("/dev/null"))
}

/// Takes in what a writer said; whether it said that anything failed.
fn hear(ended: &Ended, history: &mut History) -> Result<bool, String> {
    let mut noticed = false;
    for line in &ended.lines {
        if line.starts_with("wrong ") {
            return Err(format!("the writer: {line}"));
        }
        noticed |= line.starts_with("refused ") || line.starts_with("failed ");
        noticed |= line.starts_with("stopped ");
        let refused = line.strip_prefix("refused ").map(|rest| {
            let mut words = rest.split(' ').map(str::parse::<u32>);
            (words.next(), words.next())
        });
        match (trace::acknowledged(line), refused) {
            (Some((thread, number)), _) => history.hear(thread, number, Heard::Acknowledged)?,
            (None, Some((Some(Ok(thread)), Some(Ok(number))))) => {
                history.hear(thread as u8, number, Heard::Refused)?;
            }
            _ => {}
        }
    }
    let quiet = !noticed && ended.lines.iter().any(|line| line.starts_with("opened "));
    if ended.hung || ended.signal().is_some() || (quiet && !ended.status.success()) {
        return Err(format!("the writer: {ended}, hung: {}", ended.hung));
    }
    Ok(noticed)
}

/// How many lives a test gives each store.
#[must_use]
pub fn lives() -> u32 {
    number("ALLUVIUM_KILLS").unwrap_or(12) as u32
}
