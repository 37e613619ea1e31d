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
/// The lives of a store in a long run.
const LIVES: u32 = 8;

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

/// The fewest and the most file handles of a writer that has too few: its own three, the lock, the
/// log, the manifest and a table or two need some ten.
const HANDLES: (u64, u64) = (6, 32);

/// Gives writers few file handles: what needs one more fails, and nothing acknowledged is lost.
/// Needs no strace.
///
/// # Errors
///
/// What was wrong behind one of them.
pub fn run_with_few_handles(program: &Path, seed: u64, lives: u32) -> Result<Injected, String> {
    let mut store = Store::new(program, seed)?;
    for _ in 0..lives {
        let (least, most) = HANDLES;
        let handles = least + store.random.below((most - least) as usize) as u64;
        let mut command = store.writer();
        command.args(["--nofile", &handles.to_string()]);
        if let Err(text) = store.live(command) {
            return Err(store.complain(&format!("{handles} file handles"), &text));
        }
    }
    Ok(store.injected)
}

/// Injects until the turn is over. One store in four only has few file handles, and all have, where
/// strace is missing.
pub fn torture(turn: &mut Turn) {
    let traces = trace::strace_works();
    if !traces {
        println!("inject: few file handles only: strace is missing, or may not trace here");
    }
    let program = std::env::current_exe().unwrap_or_default();
    while turn.goes_on() {
        let seed = turn.seed();
        let outcome = if traces && !seed.is_multiple_of(4) {
            run(&program, seed, LIVES)
        } else {
            run_with_few_handles(&program, seed, LIVES)
        };
        turn.note(outcome.map(|injected| injected.runs));
    }
}

/// Injects one failure into each of `lives` lives of a store; needs strace.
///
/// # Errors
///
/// What was wrong behind one of them. `ALLUVIUM_SEED` and a run of the test replay it.
pub fn run(program: &Path, seed: u64, lives: u32) -> Result<Injected, String> {
    let mut store = Store::new(program, seed)?;
    for _ in 0..lives {
        let injection = Injection::draw(&mut store.random);
        let command = under_strace(&store.writer(), injection);
        if let Err(text) = store.live(command) {
            return Err(store.complain(&injection.to_string(), &text));
        }
    }
    Ok(store.injected)
}

/// A store over the lives of its writers.
struct Store<'a> {
    program: &'a Path,
    seed: u64,
    plan: Plan,
    random: Random,
    scratch: Scratch,
    history: History,
    injected: Injected,
}

impl Store<'_> {
    fn new(program: &Path, seed: u64) -> Result<Store<'_>, String> {
        let random = Random::for_case(&[seed, 6]);
        let scratch = Scratch::new(true).map_err(|error| error.to_string())?;
        let plan = Plan { buffered_one_in: 0, ..Plan::new(seed) };
        let history = History::new(plan);
        let injected = Injected::default();
        Ok(Store { program, seed, plan, random, scratch, history, injected })
    }

    /// The command of the next writer.
    fn writer(&mut self) -> Command {
        self.history.begin();
        let mut command = channel::command(self.program, "write", &self.scratch.store());
        let generation = self.history.generation().to_string();
        command.args([&self.plan.to_string(), &generation, "--writes", &WRITES.to_string()]);
        command
    }

    /// Runs a writer, and looks what it left.
    fn live(&mut self, writer: Command) -> Result<(), String> {
        let ended = channel::run(writer, &[])?;
        let noticed = hear(&ended, &mut self.history)?;
        self.injected.runs += 1;
        self.injected.noticed += u64::from(noticed);
        self.injected.acknowledged += self.history.acknowledged() as u64;
        self.scratch.remember().map_err(|error| error.to_string())?;
        let mut command = channel::command(self.program, "look", &self.scratch.store());
        command.arg(self.plan.to_string());
        let looked = channel::run(command, &[])?;
        if let Some(text) = looked.complaint(&[]) {
            return Err(format!("the looker: {text}"));
        }
        let state = looker::told(&looked.lines)?.ok_or("the looker did not get to its end")?;
        self.history.resolve(state)
    }

    fn complain(self, failing: &str, text: &str) -> String {
        let Store { seed, plan, .. } = self;
        let life = self.history.generation();
        let kept = self.scratch.keep().display().to_string();
        format!(
            "inject, seed {seed}, plan {plan}, life {life}, {failing}: {text}\n  kept: {kept}; \
             again: ALLUVIUM_SEED={seed} cargo test -p alluvium-testkit --test process"
        )
    }
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
