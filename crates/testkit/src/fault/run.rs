//! One run of a fault sweep: the work under a fault, then what must hold with the fault gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium::env::{CrashPolicy, Fault, FaultEnv, FileKind, MemEnv, Operation};
use alluvium::{Db, Durability, Error};

use super::ledger::{Ledger, Tokens};
use super::plan::{Phase, Plan};
use crate::model::{Model, Survival};
use crate::operation::{self, Change, DEFAULT_FAMILY};
use crate::session::{Failure, Session};
use crate::workloads::Workload;

/// A run ends when its failed writes leave more states than this to tell apart.
const ALTERNATIVES_MAX: usize = 16;
/// How soon a store must take writes again once its disk has room.
const RESUME_TIME_MAX: Duration = Duration::from_secs(5);
/// How often it may refuse them in that time, without workers: each call tries.
const RESUME_TRIES: usize = 5;
/// How often a store is opened while its disk still fails.
const OPEN_TRIES: usize = 3;

/// What came of a run.
pub(super) struct Outcome {
    pub(super) injected: u64,
    pub(super) failures: u64,
    pub(super) tokens: Tokens,
}

/// Where the runs of one workload take place.
pub(super) struct Stage<'a> {
    workload: &'a Workload,
    /// What the workload leaves when nothing fails: the store, still open, and its disk.
    left: Option<(MemEnv, Session)>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(workload: &'a Workload) -> Stage<'a> {
        Stage { workload, left: None }
    }

    /// One run.
    pub(super) fn run(&mut self, plan: Plan, nth: u64) -> Result<Outcome, String> {
        match plan.phase {
            Phase::Work => {
                let memory = MemEnv::new();
                let model = Model::with_clock(&memory);
                let mut run = Run::new(self.workload, plan, nth, memory, model);
                run.work()?;
                run.finish(nth)
            }
            Phase::Recovery => {
                let (policy, survival) = match nth % 2 {
                    0 => (CrashPolicy::KeepAll, Survival::Process),
                    _ => (CrashPolicy::ObjectPrefix, Survival::Power),
                };
                let (memory, session) = self.left()?;
                let image = memory.crash_image(policy, nth);
                let model = session.model.clone();
                let mut run = Run::new(self.workload, plan, nth, image, model);
                run.recover(survival)?;
                run.finish(nth)
            }
        }
    }

    fn left(&mut self) -> Result<&(MemEnv, Session), String> {
        if self.left.is_none() {
            let memory = MemEnv::new();
            let options = self.workload.options.clone();
            let mut session =
                Session::new(Arc::new(memory.clone()), options, Model::with_clock(&memory));
            let mut work = || -> Result<(), Failure> {
                session.open()?;
                self.workload.run.iter().try_for_each(|operation| session.step(operation))
            };
            work().map_err(|failure| format!("without a fault: {failure}"))?;
            self.left = Some((memory, session));
        }
        self.left.as_ref().ok_or_else(|| "nothing is left".to_owned())
    }
}

struct Run<'a> {
    workload: &'a Workload,
    plan: Plan,
    memory: MemEnv,
    env: FaultEnv,
    session: Session,
    ledger: Ledger,
    failures: u64,
}

impl<'a> Run<'a> {
    fn new(workload: &'a Workload, plan: Plan, nth: u64, memory: MemEnv, model: Model) -> Run<'a> {
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let lossy = memory.clone();
        env.observe(move |injection| {
            if let (Operation::Sync, Some(file)) = (injection.operation, injection.file) {
                lossy.lose_unsynced(file);
            }
        });
        env.add(plan.rule(nth));
        let session = Session::new(Arc::new(env.clone()), workload.options.clone(), model);
        let workers = workload.options.background_threads > 0;
        let ledger = Ledger::new(env.clone(), workers);
        Run { workload, plan, memory, env, session, ledger, failures: 0 }
    }

    /// Does the workload, opening again after what ended the store.
    fn work(&mut self) -> Result<(), String> {
        let opened = self.session.open();
        self.settle("opening", opened)?;
        let workload = self.workload;
        for operation in &workload.run {
            if *operation == operation::Operation::DropAndReopen && self.session.is_open() {
                self.abandon()?;
            }
            if !self.session.is_open() && !self.open_again(Survival::Process)? {
                continue;
            }
            if *operation != operation::Operation::DropAndReopen {
                let done = self.session.step(operation);
                self.settle(operation, done)?;
            }
            if self.session.model.alternatives() > ALTERNATIVES_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Opens what a crash has left, a few times while the fault lasts.
    fn recover(&mut self, survival: Survival) -> Result<(), String> {
        for _ in 0..OPEN_TRIES {
            if self.open_again(survival)? {
                return Ok(());
            }
        }
        self.env.clear();
        let opened = self.session.open_again(survival);
        opened.map_err(|failure| format!("opening with the fault gone: {failure}"))
    }

    /// Opens the store and compares; false where the fault kept it from that.
    fn open_again(&mut self, survival: Survival) -> Result<bool, String> {
        let opened = self.session.open_again(survival);
        let succeeded = opened.is_ok();
        self.settle("opening again", opened)?;
        if !succeeded {
            self.abandon()?;
        }
        Ok(succeeded)
    }

    fn abandon(&mut self) -> Result<(), String> {
        self.ledger.settle(None, self.db().as_ref())?;
        self.session.abandon();
        self.ledger.dropped();
        Ok(())
    }

    fn db(&self) -> Option<Db> {
        self.session.is_open().then(|| self.session.db().clone())
    }

    /// What a call came to: a failure is due when a fault was injected, a wrong answer never is,
    /// and no injected error is lost.
    fn settle(
        &mut self,
        what: impl std::fmt::Debug,
        done: Result<(), Failure>,
    ) -> Result<(), String> {
        let error = match done {
            Ok(()) => None,
            Err(Failure::Store(error)) if self.env.injected() > 0 => Some(error),
            Err(failure) => return Err(format!("{what:?}: {failure}{}", self.injected_text())),
        };
        self.failures += u64::from(error.is_some());
        let settled = self.ledger.settle(error.as_ref(), self.db().as_ref());
        settled.map_err(|text| format!("{what:?}: {text}{}", self.injected_text()))
    }

    fn injected_text(&self) -> String {
        let injections = self.env.injections();
        let lines: Vec<_> = injections.iter().take(5).map(|one| format!("\n  {one}")).collect();
        format!("\ninjected {}:{}", injections.len(), lines.concat())
    }

    /// With the fault gone. Which images of a crash are looked at goes round with `nth`.
    fn finish(mut self, nth: u64) -> Result<Outcome, String> {
        self.env.clear();
        if let Some(db) = self.db() {
            if self.workload.options.background_threads > 0 {
                self.check_flushes_alone(&db)?;
                drop(db.wait_idle());
            }
            self.ledger.finish(Some(&db))?;
            let read = self.session.check_all();
            read.map_err(|failure| format!("reading with the fault gone: {failure}"))?;
        }
        self.check_resumed()?;
        let (policy, survival) = match nth % 3 {
            0 => (CrashPolicy::KeepAll, Survival::Process),
            1 => (CrashPolicy::DropUnsynced, Survival::Power),
            _ => (CrashPolicy::ObjectPrefix, Survival::Power),
        };
        let thorough = nth.is_multiple_of(8);
        let image = self.memory.crash_image(policy, nth);
        self.check_image(image, survival, thorough)
            .map_err(|text| format!("{policy:?}: {text}"))?;
        // The process goes on, too: closing and opening again.
        match self.session.close() {
            Err(Failure::Store(_)) if self.env.injected() > 0 => self.failures += 1,
            closed => closed.map_err(|failure| format!("closing: {failure}"))?,
        }
        self.session.abandon();
        self.check_image(self.memory.clone(), Survival::Process, thorough)
            .map_err(|text| format!("after closing: {text}"))?;
        let (injected, tokens) = (self.env.injected(), self.ledger.tokens);
        Ok(Outcome { injected, failures: self.failures, tokens })
    }

    /// Workers get over a fault that has gone without being called.
    fn check_flushes_alone(&self, db: &Db) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let stats = db.stats();
            let waits = stats.families.iter().any(|family| family.immutable_memtables > 0);
            let stopped = stats.error.as_ref().is_some_and(|error| error.contains("are stopped"));
            if !waits || stopped {
                return Ok(());
            }
            if begun.elapsed() > RESUME_TIME_MAX {
                let error = stats.error.unwrap_or_default();
                return Err(format!("the fault has gone and no worker flushes: {error:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether a full disk may have ended the store: a sync of the log that fails is final, and so
    /// is what happens to writes that were acknowledged and lay in memory still.
    fn may_have_stopped(&self) -> bool {
        let buffered = self.workload.run.iter().any(|operation| {
            matches!(
                operation,
                operation::Operation::Write { durability: Durability::Buffered, .. }
            )
        });
        let final_sync = |operation, kind| match operation {
            Operation::Sync => kind == Some(FileKind::Wal),
            operation => operation == Operation::SyncDirectory,
        };
        buffered
            || self
                .env
                .injections()
                .iter()
                .any(|one| final_sync(one.operation, one.file.map(FileKind::of)))
    }

    /// With room on the disk again, a store that only ever met a full disk takes writes, flushes
    /// and compacts.
    fn check_resumed(&mut self) -> Result<(), String> {
        if self.plan.fault != Fault::DiskFull || !self.session.is_open() || self.may_have_stopped()
        {
            return Ok(());
        }
        let steps = [
            put("resumed"),
            operation::Operation::Flush { family: None },
            operation::Operation::Compact { family: None },
        ];
        let workers = self.workload.options.background_threads > 0;
        let begun = Instant::now();
        for step in &steps {
            for tried in 1.. {
                match self.session.step(step) {
                    Ok(()) => break,
                    Err(Failure::Mismatch(text)) => return Err(text),
                    Err(Failure::Store(error)) => {
                        let late = if workers {
                            std::thread::sleep(Duration::from_millis(10));
                            begun.elapsed() > RESUME_TIME_MAX
                        } else {
                            tried == RESUME_TRIES
                        };
                        if late || matches!(error, Error::WriteStopped { .. }) {
                            return Err(format!(
                                "the disk has room again, and {step:?} fails: {error}{}",
                                self.injected_text()
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens an image and holds it against the model; a `thorough` look verifies every byte, too.
    fn check_image(&self, image: MemEnv, survival: Survival, thorough: bool) -> Result<(), String> {
        let model = self.session.model.clone();
        let mut session = Session::new(Arc::new(image), self.workload.options.clone(), model);
        let body = |session: &mut Session| -> Result<(), Failure> {
            session.open_again(survival)?;
            session.step(&put("after"))?;
            if thorough {
                session.check_all()?;
                session.verify()?;
                session.check_all()?;
                session.close()?;
            }
            Ok(())
        };
        body(&mut session).map_err(|failure| failure.to_string())
    }
}

fn put(key: &str) -> operation::Operation {
    operation::Operation::Write {
        changes: vec![Change {
            family: DEFAULT_FAMILY.to_owned(),
            key: key.as_bytes().to_vec(),
            value: Some(b"1".to_vec()),
            end: None,
        }],
        durability: Durability::Disk,
    }
}
