//! Long runs: every harness in turn, on all cores, for its share of the time, each case from a new
//! seed. `cargo xtask torture` runs them and prints a line for each.
//!
//! A harness is one row of [`harnesses`]: a name, a share of the time, and a function that runs
//! cases as long as its [`Turn`] lasts. The same cases, fewer of them, run in the ordinary tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{disk, inject, kill, trace};
use crate::random::Random;
use crate::runner::panic_text;
use crate::{crash, damage, fault, fuzz, healing, metamorphic, repair, runner};

/// A turn ends behind this many failures: more of them say nothing new.
pub const FAILURES_MAX: usize = 5;

/// One kind of long run.
#[derive(Debug, Clone, Copy)]
pub struct Harness {
    /// As it is printed, and chosen by `--only`.
    pub name: &'static str,
    /// What one run is.
    pub counts: &'static str,
    /// Its part of the time, beside the shares of the others.
    pub share: u32,
    /// Runs cases until the turn is over.
    pub run: fn(&mut Turn),
}

/// All harnesses.
#[must_use]
pub fn harnesses() -> Vec<Harness> {
    vec![
        Harness { name: "crash", counts: "simulated crashes", share: 4, run: crash::torture },
        Harness {
            name: "sync",
            counts: "crashes behind a failed sync",
            share: 2,
            run: crash::torture_failed_syncs,
        },
        Harness { name: "fault", counts: "runs with a fault", share: 4, run: fault::torture },
        Harness { name: "damage", counts: "damaged stores", share: 2, run: damage::torture },
        Harness { name: "model", counts: "generated runs", share: 1, run: runner::torture },
        Harness {
            name: "metamorphic",
            counts: "scripts, each under 52 sets of options",
            share: 2,
            run: metamorphic::torture,
        },
        Harness { name: "repair", counts: "stores repaired", share: 1, run: repair::torture },
        Harness { name: "healing", counts: "disks healed", share: 1, run: healing::torture },
        Harness { name: "kill", counts: "processes killed", share: 2, run: kill::torture },
        Harness { name: "fuzz", counts: "fuzz executions", share: 4, run: fuzz::torture },
        Harness { name: "inject", counts: "failed system calls", share: 1, run: inject::torture },
        Harness { name: "trace", counts: "crashes of real traces", share: 1, run: trace::torture },
        Harness { name: "disk", counts: "full disks", share: 1, run: disk::torture },
    ]
}

/// The time that a harness has on one thread, its seeds and what it found.
#[derive(Debug)]
pub struct Turn {
    random: Random,
    ends: Instant,
    failures_max: usize,
    runs: u64,
    failures: Vec<String>,
}

impl Turn {
    /// A turn of this length, whose seeds follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, time: Duration) -> Turn {
        Turn {
            random: Random::new(seed),
            ends: Instant::now() + time,
            failures_max: FAILURES_MAX,
            runs: 0,
            failures: Vec::new(),
        }
    }

    /// The turn, ending behind so many failures.
    #[must_use]
    pub fn ending_behind(mut self, failures: usize) -> Turn {
        self.failures_max = failures;
        self
    }

    /// Whether there is time for another case.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.failures.len() < self.failures_max && Instant::now() < self.ends
    }

    /// The seed of the next case. It is small enough to be typed again.
    pub fn seed(&mut self) -> u64 {
        self.random.next() >> 32
    }

    /// Notes what came of a case: how many runs it was, or what went wrong and how to see it again.
    pub fn note(&mut self, outcome: Result<u64, String>) {
        match outcome {
            Ok(runs) => self.runs += runs,
            Err(text) => {
                eprintln!("{text}");
                self.runs += 1;
                self.failures.push(text);
            }
        }
    }
}

/// What a harness came to.
#[derive(Debug)]
pub struct Tally {
    /// Runs, in the unit of [`Harness::counts`].
    pub runs: u64,
    /// What failed.
    pub failures: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Runs `harness` for `time` on `threads` threads, each until it has seen `failures_max` failures.
#[must_use]
pub fn run(
    harness: &Harness,
    seed: u64,
    time: Duration,
    threads: usize,
    failures_max: usize,
) -> Tally {
    let begin = Instant::now();
    let turn = |thread: usize| {
        let seed = Random::for_case(&[seed, thread as u64]).next();
        let mut turn = Turn::new(seed, time).ending_behind(failures_max);
        let result = catch_unwind(AssertUnwindSafe(|| (harness.run)(&mut turn)));
        if let Err(panic) = result {
            turn.note(Err(panic_text(&*panic)));
        }
        turn
    };
    let turns: Vec<Turn> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || turn(thread))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    Tally {
        runs: turns.iter().map(|turn| turn.runs).sum(),
        failures: turns.into_iter().flat_map(|turn| turn.failures).collect(),
        elapsed: begin.elapsed(),
    }
}
