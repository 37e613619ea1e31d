//! The long run: all targets in turn, each with mutants of its inputs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fuzz::{Mutator, Target, targets};
use crate::torture::Turn;
use crate::watchdog::Watchdog;

/// How long a target goes on for each of its shares before the next has its turn.
const SLICE: Duration = Duration::from_millis(250);
/// Executions between two looks at the clock.
const BATCH: u64 = 64;
/// A batch that takes longer hangs.
const BATCH_TIME_MAX: Duration = Duration::from_secs(60);
/// One thread prints its counts at a time.
static PRINTING: Mutex<()> = Mutex::new(());

/// Runs every target with mutants until the turn is over.
pub fn torture(turn: &mut Turn) {
    let watchdog = Watchdog::new(BATCH_TIME_MAX);
    let mut runs: Vec<Course> = targets().into_iter().map(Course::new).collect();
    while turn.goes_on() {
        for run in &mut runs {
            run.slice(turn, &watchdog);
        }
    }
    let _alone = PRINTING.lock().unwrap_or_else(PoisonError::into_inner);
    let counts: String = runs
        .iter()
        .map(|run| {
            let rate = run.executions as f64 / run.elapsed.as_secs_f64().max(1e-9);
            format!("\n  {:<16}{:>12} executions{rate:>12.0}/s", run.target.name, run.executions)
        })
        .collect();
    eprintln!("fuzz, one thread:{counts}");
}

/// A target and how far it has come.
struct Course {
    target: Target,
    inputs: Vec<Vec<u8>>,
    executions: u64,
    elapsed: Duration,
}

impl Course {
    fn new(target: Target) -> Course {
        let mut inputs: Vec<Vec<u8>> =
            target.inputs().into_iter().map(|(_, bytes)| bytes).collect();
        inputs.push(Vec::new());
        Course { target, inputs, executions: 0, elapsed: Duration::ZERO }
    }

    fn slice(&mut self, turn: &mut Turn, watchdog: &Watchdog) {
        let seed = turn.seed();
        let name = self.target.name;
        watchdog.step(format!("fuzz target {name}, mutants of seed {seed}"));
        let mut mutator = Mutator::new(seed, self.target.bytes_max);
        let begin = Instant::now();
        let time = SLICE * self.target.share;
        let mut batches: u32 = 0;
        while turn.goes_on() && begin.elapsed() < time {
            for _ in 0..BATCH {
                let bytes = mutator.mutant(&self.inputs);
                if let Err(text) = self.target.try_run(bytes) {
                    turn.note(Err(self.target.keep_failure(bytes, &text)));
                    return;
                }
            }
            batches += 1;
            if batches.is_multiple_of(64) {
                watchdog.step(format!("fuzz target {name}, mutants of seed {seed}"));
            }
            turn.note(Ok(BATCH));
            self.executions += BATCH;
        }
        self.elapsed += begin.elapsed();
    }
}
