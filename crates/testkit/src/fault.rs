//! The fault sweep: a workload runs with the k-th operation on its disk failing, for every k, every
//! kind of fault, once, for a while, or from then on.
//!
//! What must hold:
//!
//! - an operation of the store fails only when a fault was injected before; it never panics or
//!   hangs;
//! - what it answers in between is right: a fault may cost an answer, never change one;
//! - a write that failed is not visible, and after reopening is there whole or not at all;
//! - with the fault gone the store opens, and holds the model at one write, at or behind the last
//!   that was acknowledged: after a process restart, and after a power cut;
//! - a disk that was full and is not any more takes writes again without reopening.
//!
//! A failed sync loses its pages, as on Linux: who syncs again and believes it loses data here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use alluvium::Durability;
use alluvium::env::{CrashPolicy, Fault, FaultEnv, FaultRule, FileKind, MemEnv, Operation, When};

use crate::model::{Model, Survival};
use crate::operation::{self, Change, DEFAULT_FAMILY};
use crate::runner::{number, panic_text};
use crate::session::{Failure, Session};
use crate::torture::Turn;
use crate::watchdog::Watchdog;
use crate::workloads::{self, Workload};

/// How long one run may take before it counts as hung.
const RUN_TIME_MAX: Duration = Duration::from_secs(30);
/// A run ends when its failed writes leave more states than this to tell apart.
const ALTERNATIVES_MAX: usize = 16;
/// How often a write is tried before the disk counts as full still.
const RESUME_TRIES: usize = 20;

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Once,
    ForThree,
    FromThenOn,
}

/// What fails, and how.
#[derive(Debug, Clone, Copy)]
struct Plan {
    operations: &'static [Operation],
    fault: Fault,
    lasting: Lasting,
}

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
}

const READING: &[Operation] =
    &[Operation::Open, Operation::Read, Operation::Length, Operation::List];

fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for lasting in [Lasting::Once, Lasting::ForThree, Lasting::FromThenOn] {
        let mut add = |operations, fault| plans.push(Plan { operations, fault, lasting });
        add(Operation::MUTATING, Fault::Io);
        add(Operation::MUTATING, Fault::DiskFull);
        add(&[Operation::Append], Fault::ShortAppend { bytes: 7 });
        add(READING, Fault::Io);
        add(&[Operation::Create, Operation::Open], Fault::TooManyFiles);
        if lasting == Lasting::Once {
            add(&[Operation::Read], Fault::FlipBit { bit: 77 });
            add(&[Operation::Read], Fault::ShortRead { bytes: 5 });
            add(&[Operation::Append], Fault::ShortAppend { bytes: 60 });
        }
    }
    plans
}

/// Sweeps generated workloads until the turn is over.
pub fn torture(turn: &mut Turn) {
    while turn.goes_on() {
        let seed = turn.seed();
        let swept = sweep(&workloads::generated(seed), 1);
        turn.note(swept.map(|swept| swept.runs));
    }
}

/// Sweeps a workload: each kind of fault at every `step`-th operation, each beginning at another.
///
/// # Errors
///
/// The first run that breaks the promise, with what failed in it.
pub fn sweep(workload: &Workload, step: usize) -> Result<Swept, String> {
    let watchdog = Watchdog::new(RUN_TIME_MAX);
    let mut swept = Swept::default();
    let only = number("ALLUVIUM_FAULT_AT");
    for (index, plan) in plans().into_iter().enumerate() {
        let first = 1 + (index % step) as u64;
        for nth in (only.unwrap_or(first)..).step_by(step) {
            let label = format!("workload \"{}\", {plan:?}, number {nth}", workload.name);
            watchdog.step(label.clone());
            let run = || Run::new(workload, plan, nth).run();
            let result = catch_unwind(AssertUnwindSafe(run));
            let run = result.unwrap_or_else(|panic| Err(panic_text(&*panic)));
            let run = run.map_err(|text| format!("{label} (ALLUVIUM_FAULT_AT={nth}): {text}"))?;
            if run.injected == 0 {
                break;
            }
            swept.runs += 1;
            swept.injected += run.injected;
            swept.failures += run.failures;
            swept.unnoticed += u64::from(run.failures == 0);
            if only.is_some() {
                break;
            }
        }
    }
    Ok(swept)
}

/// One run of a workload.
struct Run<'a> {
    workload: &'a Workload,
    plan: Plan,
    memory: MemEnv,
    env: FaultEnv,
    session: Session,
    failures: u64,
}

/// What came of a run.
struct Outcome {
    injected: u64,
    failures: u64,
}

impl<'a> Run<'a> {
    fn new(workload: &'a Workload, plan: Plan, nth: u64) -> Run<'a> {
        let memory = MemEnv::new();
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let lossy = memory.clone();
        env.observe(move |injection| {
            if let (Operation::Sync, Some(file)) = (injection.operation, injection.file) {
                lossy.lose_unsynced(file);
            }
        });
        let when = match plan.lasting {
            Lasting::Once => When::Nth(nth),
            Lasting::ForThree => When::Window { first: nth, count: 3 },
            Lasting::FromThenOn => When::From(nth),
        };
        env.add(FaultRule::new(plan.operations, when, plan.fault));
        let session =
            Session::new(Arc::new(env.clone()), workload.options.clone(), Model::default());
        Run { workload, plan, memory, env, session, failures: 0 }
    }

    fn run(mut self) -> Result<Outcome, String> {
        self.work()?;
        self.env.clear();
        if self.session.is_open() {
            let read = self.session.check_all();
            read.map_err(|failure| format!("reading with the fault gone: {failure}"))?;
        }
        self.check_resumed()?;
        for (policy, survival) in [
            (CrashPolicy::KeepAll, Survival::Process),
            (CrashPolicy::DropUnsynced, Survival::Power),
            (CrashPolicy::ObjectPrefix, Survival::Power),
        ] {
            let image = self.memory.crash_image(policy, self.env.injected());
            self.check_image(image, survival).map_err(|text| format!("{policy:?}: {text}"))?;
        }
        // The process goes on, too: closing and opening again.
        if let Err(failure) = self.session.close() {
            self.allow("closing", failure)?;
        }
        self.session.abandon();
        self.check_image(self.memory.clone(), Survival::Process)
            .map_err(|text| format!("after closing: {text}"))?;
        Ok(Outcome { injected: self.env.injected(), failures: self.failures })
    }

    /// Does the workload, opening again after what ended the store.
    fn work(&mut self) -> Result<(), String> {
        if let Err(failure) = self.session.open() {
            self.allow("opening", failure)?;
        }
        for operation in &self.workload.run {
            if !self.session.is_open()
                && let Err(failure) = self.session.open_again(Survival::Process)
            {
                self.allow("opening again", failure)?;
                self.session.abandon();
                continue;
            }
            if let Err(failure) = self.session.step(operation) {
                self.allow(&format!("{operation:?}"), failure)?;
            }
            if self.session.model.alternatives() > ALTERNATIVES_MAX {
                break;
            }
        }
        Ok(())
    }

    /// A failure is due when a fault was injected; a wrong answer never is.
    fn allow(&mut self, what: &str, failure: Failure) -> Result<(), String> {
        self.failures += 1;
        match failure {
            Failure::Store(_) if self.env.injected() > 0 => Ok(()),
            failure => {
                let injections = self.env.injections();
                let first: Vec<_> = injections.iter().take(3).map(ToString::to_string).collect();
                Err(format!("{what}: {failure} (injected {}: {first:?})", injections.len()))
            }
        }
    }

    /// With room on the disk again, a store that only ever met a full disk takes writes.
    fn check_resumed(&mut self) -> Result<(), String> {
        let full = self.plan.fault == Fault::DiskFull
            && self.env.injections().iter().all(|injection| {
                // What a failed sync or a half-done manifest means is another matter.
                matches!(injection.operation, Operation::Append | Operation::Create)
                    && injection.file.is_some_and(|file| FileKind::of(file) == FileKind::Wal)
            });
        let buffered = self.workload.run.iter().any(|operation| {
            matches!(
                operation,
                operation::Operation::Write { durability: Durability::Buffered, .. }
            )
        });
        if !full || buffered || !self.session.is_open() {
            return Ok(());
        }
        let write = operation::Operation::Write {
            changes: vec![Change {
                family: DEFAULT_FAMILY.to_owned(),
                key: b"resumed".to_vec(),
                value: Some(b"1".to_vec()),
            }],
            durability: Durability::Disk,
        };
        for _ in 0..RESUME_TRIES {
            match self.session.step(&write) {
                Ok(()) => return Ok(()),
                Err(Failure::Mismatch(text)) => return Err(text),
                Err(Failure::Store(_)) => {}
            }
        }
        Err("the disk has room again, and the store takes no writes".to_owned())
    }

    fn check_image(&self, image: MemEnv, survival: Survival) -> Result<(), String> {
        let model = self.session.model.clone();
        let mut session = Session::new(Arc::new(image), self.workload.options.clone(), model);
        let body = |session: &mut Session| -> Result<(), Failure> {
            session.open_again(survival)?;
            session.check_all()?;
            session.step(&operation::Operation::Write {
                changes: vec![Change {
                    family: DEFAULT_FAMILY.to_owned(),
                    key: b"after".to_vec(),
                    value: Some(b"1".to_vec()),
                }],
                durability: Durability::Disk,
            })?;
            session.verify()?;
            session.check_all()?;
            session.close()
        };
        body(&mut session).map_err(|failure| failure.to_string())
    }
}
