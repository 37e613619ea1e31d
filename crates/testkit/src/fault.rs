//! The fault sweep: a workload runs with the k-th operation on its disk failing, for every k, every
//! kind of fault, once, for a while, or from then on; and so does opening what it has left.
//!
//! What must hold:
//!
//! - an operation of the store fails only when a fault was injected before; it never panics or
//!   hangs;
//! - every injected error comes to light (`ledger`);
//! - what it answers in between is right: a fault may cost an answer, never change one;
//! - a write that failed is not visible, and after reopening is there whole or not at all;
//! - with the fault gone the store opens, and holds the model at one write, at or behind the last
//!   that was acknowledged: after a process restart, and after a power cut;
//! - a disk that was full and is not any more takes writes, flushes and compacts again without
//!   reopening.
//!
//! A failed sync loses its pages, as on Linux: who syncs again and believes it loses data here.

mod ledger;
mod plan;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::runner::{number, panic_text};
use crate::torture::Turn;
use crate::watchdog::Watchdog;
use crate::workloads::{self, Workload};
pub use ledger::Tokens;
pub use plan::{Lasting, Phase, Plan};
use run::Stage;

/// How long one run may take before it counts as hung.
const RUN_TIME_MAX: Duration = Duration::from_secs(30);
/// In a long run each kind of fault hits every operation with this distance to the one before;
/// where it begins differs from seed to seed.
const TORTURE_STEP: usize = 13;
/// The same for workloads with worker threads.
const WORKERS_STEP: usize = 67;

/// What was swept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Runs with a fault in them.
    pub runs: u64,
    /// Faults injected.
    pub injected: u64,
    /// Operations of the store that failed for it.
    pub failures: u64,
    /// Runs that no operation noticed: the store did without what failed.
    pub unnoticed: u64,
    /// How the faults came to light.
    pub tokens: Tokens,
}

/// Sweeps generated workloads, and the named ones between them, until the turn is over.
pub fn torture(turn: &mut Turn) {
    let named = workloads::all();
    for index in 0.. {
        if !turn.goes_on() {
            return;
        }
        let seed = turn.seed();
        let workload = match index % 64 {
            2 => workloads::with_workers(seed),
            0 | 16 | 32 | 48 => named[seed as usize % named.len()].clone(),
            1 | 17 | 33 | 49 => workloads::generated(seed),
            _ => workloads::short(seed),
        };
        // Workers wait in real time for what heals: a few of those say as much as many.
        let workers = workload.options.background_threads > 0;
        let step = if workers { WORKERS_STEP } else { TORTURE_STEP };
        let swept = sweep(&workload, step, seed as usize);
        turn.note(swept.map(|swept| swept.runs));
    }
}

/// Sweeps a workload: each kind of fault at every `step`-th operation, each beginning at another;
/// `begin` shifts them all.
///
/// # Errors
///
/// The first run that breaks the promise, with what failed in it and the command that runs it
/// again.
pub fn sweep(workload: &Workload, step: usize, begin: usize) -> Result<Swept, String> {
    let watchdog = Watchdog::new(RUN_TIME_MAX);
    let mut swept = Swept::default();
    let only = number("ALLUVIUM_FAULT_AT");
    let only_plan = number("ALLUVIUM_FAULT_PLAN").map(|plan| plan as usize);
    let mut stage = Stage::new(workload);
    for (index, plan) in Plan::all().into_iter().enumerate() {
        if only_plan.is_some_and(|only| only != index) {
            continue;
        }
        let first = 1 + ((begin + index) % step) as u64;
        for nth in (only.unwrap_or(first)..).step_by(step) {
            let label = || {
                let replay = replay(workload, index, nth);
                format!("workload \"{}\", {plan:?}, operation {nth}: {replay}", workload.name)
            };
            watchdog.step(label());
            let result = catch_unwind(AssertUnwindSafe(|| stage.run(plan, nth)));
            let result = result.unwrap_or_else(|panic| Err(panic_text(&*panic)));
            let run = result.map_err(|text| format!("{}\n{text}", label()))?;
            if run.injected == 0 {
                break;
            }
            swept.runs += 1;
            swept.injected += run.injected;
            swept.failures += run.failures;
            swept.unnoticed += u64::from(run.failures == 0);
            swept.tokens.add(&run.tokens);
            if only.is_some() {
                break;
            }
        }
    }
    Ok(swept)
}

/// The command that does one run again.
fn replay(workload: &Workload, plan: usize, nth: u64) -> String {
    let (which, test) = match workload.name.split_once(' ') {
        Some(("generated", seed)) => (format!("ALLUVIUM_SEED={seed}"), "in_generated"),
        Some(("short", seed)) => (format!("ALLUVIUM_SEED={seed}"), "in_short"),
        Some(("workers", seed)) => (format!("ALLUVIUM_SEED={seed}"), "beside_workers"),
        _ => (format!("ALLUVIUM_WORKLOAD=\"{}\"", workload.name), "every_fault_is"),
    };
    format!(
        "ALLUVIUM_FAULT_PLAN={plan} ALLUVIUM_FAULT_AT={nth} {which} \
         cargo test -p alluvium-testkit --test fault_sweep {test}"
    )
}
