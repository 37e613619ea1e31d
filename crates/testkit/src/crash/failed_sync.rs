//! Crashes behind a failed sync: a workload runs with its n-th sync failing, for every n; it goes
//! on as far as the store lets it (a store that stopped its writes is opened again, in the same
//! process, every other time), and crashes then at some later operation. Whatever was acknowledged
//! as durable, before or behind the failure, must be there.
//!
//! A disk may make three things of a failed sync (what each file system does: Rebello and others,
//! ATC 2020):
//!
//! - the bytes stay in the cache, count as clean, and are lost with the power; a later sync says
//!   that all is well ([`Outcome::Lost`]);
//! - the bytes are gone at once ([`Outcome::Reverted`]);
//! - nothing is lost, and the next sync does it ([`Outcome::Kept`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alluvium::Error;
use alluvium::env::{FaultEnv, FaultRule, MemEnv, Operation as EnvOperation, When};

use super::{IMAGE_TIME_MAX, Reached, Swept, image, makes_all_durable, policies, worse};
use crate::model::{Model, Survival};
use crate::operation::Operation;
use crate::random::Random;
use crate::runner::{number, panic_text};
use crate::session::{Failure, Session};
use crate::torture::Turn;
use crate::watchdog::Watchdog;
use crate::workloads::{self, Workload};

/// A run ends when its failed writes leave more states than this to tell apart.
const ALTERNATIVES_MAX: usize = 16;

/// What becomes of what was not on the disk when a sync failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It can be read until the crash; later syncs do not bring it back.
    Lost,
    /// It is gone.
    Reverted,
    /// It is as if nobody had asked.
    Kept,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Lost, Outcome::Reverted, Outcome::Kept];
}

/// Sweeps a part of generated workloads, and of the named ones between them in turn, until the turn
/// is over.
pub fn torture(turn: &mut Turn) {
    let named = workloads::all();
    let from = turn.seed() as usize;
    for index in 0_usize.. {
        if !turn.goes_on() {
            return;
        }
        let seed = turn.seed();
        let generated = workloads::generated(seed);
        let next = &named[(from + index / 4) % named.len()];
        let workload = if index.is_multiple_of(4) { next } else { &generated };
        turn.note(sweep_failed_syncs(workload, seed, 10, 2).map(|swept| swept.images()));
    }
}

/// Fails every `step`-th sync of a workload in every way, and crashes the store at its end and at
/// `crashes` operations behind the failure. `ALLUVIUM_FAIL_SYNC` chooses one sync.
///
/// # Errors
///
/// The first image that breaks the promise, with how to see it again.
pub fn sweep_failed_syncs(
    workload: &Workload,
    seed: u64,
    step: u64,
    crashes: u64,
) -> Result<Swept, String> {
    let watchdog = Watchdog::new(IMAGE_TIME_MAX);
    let mut swept = Swept::default();
    let only = number("ALLUVIUM_FAIL_SYNC");
    let first = only.unwrap_or(1 + seed % step);
    for nth in (first..).step_by(step as usize) {
        let mut failed = false;
        for outcome in Outcome::ALL {
            let mut random = Random::for_case(&[seed, nth, outcome as u64]);
            let case = Case { workload, nth, outcome, reopen: random.one_in(2), crash_at: None };
            let (from, to) = case.run(seed, &watchdog, &mut random, &mut swept)?;
            let Some(from) = from else { break };
            failed = true;
            for _ in 0..crashes {
                let operation = from + random.next() % (to - from + 1);
                let case = Case { crash_at: Some(operation), ..case };
                case.run(seed, &watchdog, &mut random, &mut swept)?;
            }
        }
        if !failed || only.is_some() {
            break;
        }
    }
    Ok(swept)
}

/// One way to run a workload.
#[derive(Clone, Copy)]
struct Case<'a> {
    workload: &'a Workload,
    nth: u64,
    outcome: Outcome,
    /// Whether a store that takes no more writes is opened again.
    reopen: bool,
    crash_at: Option<u64>,
}

impl Case<'_> {
    /// Runs the workload and checks what its crash leaves. Returns the number of the operation at
    /// which the sync failed, if it did, and that of the end.
    fn run(
        &self,
        seed: u64,
        watchdog: &Watchdog,
        random: &mut Random,
        swept: &mut Swept,
    ) -> Result<(Option<u64>, u64), String> {
        watchdog.step(self.describe(seed));
        let memory = MemEnv::new();
        memory.crash_at(self.crash_at.unwrap_or(u64::MAX));
        let (env, failed_at) = self.environment(&memory);
        let mut run = Run {
            case: *self,
            survival: Survival::Process,
            session: Session::new(
                Arc::new(env.clone()),
                self.workload.options.clone(),
                Model::with_clock(&memory),
            ),
            memory: memory.clone(),
            env,
            made: false,
            sequence: 0,
        };
        if self.outcome == Outcome::Reverted {
            // What only the operating system had may go with the failure.
            run.survival = Survival::Power;
        }
        let describe = |text: String| format!("{}: {text}", self.describe(seed));
        let result = catch_unwind(AssertUnwindSafe(|| run.work()));
        result.map_err(|panic| describe(panic_text(&*panic)))?.map_err(describe)?;
        let reached =
            Reached { model: run.session.model.clone(), made: run.made, sequence: run.sequence };
        let Run { env, survival, session, .. } = run;
        let at = (env.injected() > 0).then(|| failed_at.load(Ordering::Relaxed));
        if at.is_none() {
            return Ok((None, memory.operations()));
        }
        swept.crash_points += 1;
        for (policy, image_seed) in policies(random, memory.operations(), 1) {
            watchdog.step(self.describe(seed));
            let image = memory.crash_image(policy, image_seed);
            swept.images[0] += 1;
            let wrap: super::Wrap = |env| Arc::new(env);
            let survival = worse(survival, policy);
            image::check(self.workload, wrap, &image, reached.clone(), survival)
                .map_err(|text| describe(format!("{policy:?}, seed {image_seed}: {text}")))?;
        }
        drop(session);
        Ok((at, memory.operations()))
    }

    /// The environment whose sync fails, and where the number of the operation will stand at which
    /// it did.
    fn environment(&self, memory: &MemEnv) -> (FaultEnv, Arc<AtomicU64>) {
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let failed_at = Arc::new(AtomicU64::new(0));
        let (memory, outcome, noted) = (memory.clone(), self.outcome, Arc::clone(&failed_at));
        env.observe(move |injection| {
            noted.store(memory.operations(), Ordering::Relaxed);
            match (injection.file, outcome) {
                (Some(file), Outcome::Lost) => memory.lose_unsynced(file),
                (Some(file), Outcome::Reverted) => memory.revert_unsynced(file),
                _ => {}
            }
        });
        let operations = &[EnvOperation::Sync, EnvOperation::SyncDirectory];
        let fault = alluvium::env::Fault::Io;
        env.add(FaultRule::new(operations, When::Nth(self.nth), fault));
        (env, failed_at)
    }

    fn describe(&self, seed: u64) -> String {
        let Case { workload, nth, outcome, reopen, crash_at } = self;
        let crash = crash_at.map_or("the end".to_owned(), |at| format!("operation {at}"));
        format!(
            "workload \"{0}\", sync {nth} fails ({outcome:?}), reopened: {reopen}, crash at \
             {crash} (replay: ALLUVIUM_WORKLOAD='{0}' ALLUVIUM_SEED={seed} \
             ALLUVIUM_FAIL_SYNC={nth} cargo test -p alluvium-testkit --test crash_sweep \
             replay_a_failed_sync -- --ignored)",
            workload.name
        )
    }
}

/// A workload under way.
struct Run<'a> {
    case: Case<'a>,
    survival: Survival,
    memory: MemEnv,
    env: FaultEnv,
    session: Session,
    made: bool,
    sequence: u64,
}

impl Run<'_> {
    /// Does the workload until its end or the crash.
    fn work(&mut self) -> Result<(), String> {
        for operation in &self.case.workload.run {
            if !self.open()? {
                continue;
            }
            let result = match operation {
                Operation::Reopen => self.session.close(),
                Operation::DropAndReopen => {
                    self.session.abandon();
                    Ok(())
                }
                operation => self.session.step(operation),
            };
            match result {
                Ok(()) if makes_all_durable(operation) && self.session.is_open() => {
                    self.sequence = self.session.db().stats().sequence_number;
                }
                Ok(()) => {}
                Err(failure) => {
                    let stopped = matches!(failure, Failure::Store(Error::WriteStopped { .. }));
                    self.allow(&format!("{operation:?}"), failure)?;
                    if stopped && self.case.reopen {
                        self.session.abandon();
                    }
                }
            }
            if self.memory.crashed() || self.session.model.alternatives() > ALTERNATIVES_MAX {
                return Ok(());
            }
        }
        if self.open()?
            && self.case.workload.close
            && let Err(failure) = self.session.close()
        {
            self.allow("closing", failure)?;
        }
        Ok(())
    }

    /// Opens the store where it is not open; says whether it is now.
    fn open(&mut self) -> Result<bool, String> {
        if self.memory.crashed() || self.session.is_open() {
            return Ok(!self.memory.crashed());
        }
        let opened = match self.made {
            true => self.session.open_again(self.survival),
            false => self.session.open(),
        };
        match opened {
            Ok(()) => {
                self.made = true;
                Ok(true)
            }
            Err(failure) => {
                self.session.abandon();
                self.allow("opening", failure)?;
                Ok(false)
            }
        }
    }

    /// A failure is due behind the failed sync, and behind the crash; a wrong answer never is.
    fn allow(&self, what: &str, failure: Failure) -> Result<(), String> {
        match failure {
            Failure::Store(_) if self.memory.crashed() || self.env.injected() > 0 => Ok(()),
            failure => Err(format!("{what}: {failure}")),
        }
    }
}
