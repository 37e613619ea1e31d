//! The crash sweep: a workload is crashed at every mutating operation that it makes; every image
//! that such a crash may leave is opened, compared with the model, used, closed and opened again.
//!
//! What must hold of each image is said in `crash/image.rs`. For a sample of them the recovery
//! itself is crashed at every operation, and for a sample of what that leaves the next recovery too
//! ([`DEPTH_MAX`] crashes in all); once a recovery has ended, its state never falls back.
//!
//! Everything follows from the seed, but for workloads with worker threads. A failure names the
//! workload, the seed and the [`Route`], and prints the command that runs just that image again.

mod failed_sync;
mod image;
mod route;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use alluvium::Durability;
use alluvium::env::{CrashPolicy, Env, MemEnv};

pub use crate::crash::failed_sync::{Outcome, sweep_failed_syncs, torture as torture_failed_syncs};
pub use crate::crash::route::{Route, Step};
use crate::model::{Model, Survival};
use crate::operation::Operation;
use crate::random::Random;
use crate::runner::panic_text;
use crate::session::{Failure, Session};
use crate::torture::Turn;
use crate::watchdog::Watchdog;
use crate::workloads::{self, Workload};

/// How long one image may take before it counts as hung.
const IMAGE_TIME_MAX: Duration = Duration::from_secs(30);

/// How many crashes there are within each other at most: of the workload, of the recovery, and of
/// the recovery from that.
pub const DEPTH_MAX: usize = 3;

/// Puts an environment around the one that crashes, to see what the sweep makes of it.
pub type Wrap = fn(MemEnv) -> Arc<dyn Env>;

/// How much to sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Where every random choice comes from.
    pub seed: u64,
    /// Images for each random policy and crash point.
    pub draws: u64,
    /// The recovery of one image in this many is crashed too; 0 for none.
    pub nested_one_in: usize,
    /// The workload is crashed at one operation in this many, at least 1: from which on, the seed
    /// says.
    pub operation_one_in: u64,
    /// What to run of it; nothing in it for all.
    pub only: Route,
    /// See [`Wrap`].
    pub wrap: Wrap,
}

impl Default for Sweep {
    fn default() -> Sweep {
        let (wrap, only): (Wrap, Route) = (|env| Arc::new(env), Route::default());
        Sweep { seed: 0, draws: 1, nested_one_in: 100, operation_one_in: 1, only, wrap }
    }
}

/// What was swept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Operations that the workload was crashed at.
    pub crash_points: u64,
    /// Images opened and compared, by how many crashes it took to make them.
    pub images: [u64; DEPTH_MAX],
}

impl Swept {
    /// All images.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.images.iter().sum()
    }
}

/// One crash on the way to an image.
#[derive(Clone)]
struct Crash {
    step: Step,
    site: String,
    policy: CrashPolicy,
    seed: u64,
}

/// What a workload had come to when it crashed.
#[derive(Clone)]
struct Reached {
    model: Model,
    /// Whether opening the store had succeeded, ever.
    made: bool,
    /// The sequence number at the last time when all before it was durable.
    sequence: u64,
}

/// Sweeps a workload.
///
/// # Errors
///
/// The first image that breaks the promise, with where it is and how to see it again.
pub fn sweep(workload: &Workload, sweep: &Sweep) -> Result<Swept, String> {
    let watchdog = Watchdog::new(IMAGE_TIME_MAX);
    let crashes = Vec::with_capacity(DEPTH_MAX);
    let mut explorer = Explorer { workload, sweep, watchdog, crashes, swept: Swept::default() };
    let first = match sweep.only.step(0) {
        Some(step) => step.operation,
        None => prelude_operations(workload)? + sweep.seed % sweep.operation_one_in,
    };
    for operation in (first..).step_by(sweep.operation_one_in as usize) {
        explorer.watchdog.step(format!("\"{}\" up to operation {operation}", workload.name));
        let env = MemEnv::new();
        env.crash_at(operation);
        let reached = run_workload(workload, (sweep.wrap)(env.clone()), &env)?;
        explorer.swept.crash_points += 1;
        explorer.check_images(&env, operation, &reached, Survival::Process)?;
        if sweep.only.step(0).is_some() || !env.crashed() {
            break;
        }
    }
    Ok(explorer.swept)
}

/// Sweeps generated workloads, and the named ones between them, until the turn is over. The named
/// ones come one after the other, from any on: a long turn has them all. Of each a part of the
/// crashes: many workloads say more than one whole.
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
        let part = Sweep { seed, operation_one_in: 10, ..Sweep::default() };
        let swept = sweep(workload, &part);
        turn.note(swept.map(|swept| swept.images()));
    }
}

/// How many operations of the environment the workload's prelude makes.
fn prelude_operations(workload: &Workload) -> Result<u64, String> {
    if workload.prelude == 0 {
        return Ok(0);
    }
    let env = MemEnv::new();
    let run = workload.run[..workload.prelude].to_vec();
    let prelude = Workload { run, close: false, ..workload.clone() };
    let mut operations = 0;
    run_counted(&prelude, Arc::new(env.clone()), &env, &mut |env| operations = env.operations())?;
    Ok(operations)
}

/// Runs the workload until it ends or the environment crashes.
fn run_workload(
    workload: &Workload,
    env: Arc<dyn Env>,
    memory: &MemEnv,
) -> Result<Reached, String> {
    run_counted(workload, env, memory, &mut |_| {})
}

fn run_counted(
    workload: &Workload,
    env: Arc<dyn Env>,
    memory: &MemEnv,
    behind_each: &mut dyn FnMut(&MemEnv),
) -> Result<Reached, String> {
    let model = Model::with_clock(memory);
    let mut session = Session::new(env, workload.options.clone(), model);
    let (mut made, mut sequence) = (false, 0);
    let mut body = |session: &mut Session| -> Result<(), (String, Failure)> {
        session.open().map_err(|failure| ("opening".to_owned(), failure))?;
        made = true;
        for operation in &workload.run {
            session.step(operation).map_err(|failure| (format!("{operation:?}"), failure))?;
            if makes_all_durable(operation) {
                sequence = session.db().stats().sequence_number;
            }
            behind_each(memory);
        }
        if workload.close {
            session.close().map_err(|failure| ("closing".to_owned(), failure))?;
        }
        Ok(())
    };
    let result = catch_unwind(AssertUnwindSafe(|| body(&mut session)));
    let model = session.model.clone();
    // Dropping the store behind a crash must neither hang nor panic.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(session)));
    let failure = match (result, dropped) {
        (Err(panic), _) | (_, Err(panic)) => panic_text(&*panic),
        (Ok(Err((what, Failure::Store(error)))), _) if !memory.crashed() => {
            format!("{what} failed without a crash: {error}")
        }
        (Ok(Err((what, Failure::Mismatch(text)))), _) => format!("{what}: {text}"),
        (Ok(_), Ok(())) => return Ok(Reached { model, made, sequence }),
    };
    Err(format!("workload \"{}\" itself: {failure}", workload.name))
}

/// Whether everything before the end of `operation` is on the disk then.
fn makes_all_durable(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Write { durability: Durability::Disk, .. }
            | Operation::Flush { family: None }
            | Operation::Sync
            | Operation::Reopen
    )
}

/// Walks over the images of one workload.
struct Explorer<'a> {
    workload: &'a Workload,
    sweep: &'a Sweep,
    watchdog: Watchdog,
    /// The crashes that lead to the image at hand.
    crashes: Vec<Crash>,
    swept: Swept,
}

impl Explorer<'_> {
    /// Checks every image of a crash of `env` at `operation`.
    fn check_images(
        &mut self,
        env: &MemEnv,
        operation: u64,
        reached: &Reached,
        survival: Survival,
    ) -> Result<(), String> {
        let depth = self.crashes.len();
        let only = self.sweep.only.step(depth).and_then(|step| step.image);
        // A longer list of draws begins as a shorter one.
        let draws = only.map_or(self.sweep.draws, |image| self.sweep.draws.max(image + 1));
        let draws = if depth == 0 { draws } else { draws.min(only.map_or(1, |image| image + 1)) };
        let mut random = self.random(operation);
        for (image, (policy, seed)) in (0..).zip(policies(&mut random, env.operations(), draws)) {
            if only.is_none_or(|only| only == image) {
                let site = env.crash_site().unwrap_or_else(|| "the end".to_owned());
                let step = Step { operation, image: Some(image) };
                self.crashes.push(Crash { step, site, policy, seed });
                let result = self.check_image(env, reached, worse(survival, policy));
                self.crashes.pop();
                result?;
            }
        }
        Ok(())
    }

    /// The random choices at this place: they do not depend on what else is swept.
    fn random(&self, operation: u64) -> Random {
        let before = self.crashes.iter().flat_map(|crash| {
            [crash.step.operation, crash.step.image.unwrap_or_default() + (1 << 32)]
        });
        let parts: Vec<u64> = [self.sweep.seed].into_iter().chain(before).collect();
        Random::for_case(&[&parts[..], &[operation]].concat())
    }

    /// Checks the image that the last of the crashes leaves of `env`, and perhaps the recovery.
    fn check_image(
        &mut self,
        env: &MemEnv,
        reached: &Reached,
        survival: Survival,
    ) -> Result<(), String> {
        let depth = self.crashes.len();
        let Some(Crash { policy, seed, .. }) = self.crashes.last().cloned() else { return Ok(()) };
        self.watchdog.step(self.place());
        let image = env.crash_image(policy, seed);
        let nested = match self.sweep.only.is_empty() {
            true => {
                let one_in = self.sweep.nested_one_in;
                let mut random = self.random(u64::MAX);
                depth < DEPTH_MAX && one_in > 0 && random.one_in(one_in)
            }
            false => self.sweep.only.step(depth).is_some(),
        };
        if nested {
            self.crash_recovery(&image, reached, survival)?;
        }
        if self.sweep.only.step(depth).is_some() {
            return Ok(());
        }
        self.watchdog.step(self.place());
        self.swept.images[depth - 1] += 1;
        image::check(self.workload, self.sweep.wrap, &image, reached.clone(), survival)
            .map_err(|text| self.describe(&text))
    }

    /// Crashes the recovery of `image` at each of its operations.
    fn crash_recovery(
        &mut self,
        image: &MemEnv,
        reached: &Reached,
        survival: Survival,
    ) -> Result<(), String> {
        let only = self.sweep.only.step(self.crashes.len());
        for operation in only.map_or(0, |step| step.operation).. {
            let env = image.crash_image(CrashPolicy::KeepAll, 0);
            env.crash_at(env.operations() + operation);
            let reached = self.recover(&env, reached, survival)?;
            self.check_images(&env, operation, &reached, survival)?;
            if only.is_some() || !env.crashed() {
                break;
            }
        }
        Ok(())
    }

    /// Opens and closes the store, as far as it gets.
    fn recover(
        &self,
        env: &MemEnv,
        reached: &Reached,
        survival: Survival,
    ) -> Result<Reached, String> {
        let mut after = reached.clone();
        let mut body = || -> Result<(), Failure> {
            let wrapped = (self.sweep.wrap)(env.clone());
            let mut session = image::open_recovered(self.workload, wrapped, reached);
            session.open()?;
            let actual = session.read_all()?;
            if env.crashed() {
                return Ok(());
            }
            session.model.recover(&actual, survival).map_err(Failure::Mismatch)?;
            let sequence = session.db().stats().sequence_number;
            after = Reached { model: session.model.clone(), made: true, sequence };
            session.close()
        };
        match catch_unwind(AssertUnwindSafe(&mut body)) {
            Err(panic) => Err(self.describe(&panic_text(&*panic))),
            Ok(Err(Failure::Mismatch(text))) => Err(self.describe(&text)),
            Ok(Err(Failure::Store(error))) if !env.crashed() => {
                Err(self.describe(&format!("recovering: {error}")))
            }
            Ok(_) => Ok(after),
        }
    }

    fn place(&self) -> String {
        let mut text = format!("workload \"{}\"", self.workload.name);
        for (depth, Crash { step, site, policy, seed }) in self.crashes.iter().enumerate() {
            let what = if depth == 0 { "crash at" } else { "then in the recovery at" };
            let operation = step.operation;
            text += &format!(", {what} operation {operation} ({site}), {policy:?}, seed {seed}");
        }
        text
    }

    fn describe(&self, text: &str) -> String {
        let route = Route::new(self.crashes.iter().map(|crash| crash.step).collect());
        format!(
            "{}: {text}\n(replay: ALLUVIUM_WORKLOAD='{}' ALLUVIUM_SEED={} \
             ALLUVIUM_CRASH_AT={route} cargo test -p alluvium-testkit --test crash_sweep replay -- \
             --ignored)",
            self.place(),
            self.workload.name,
            self.sweep.seed
        )
    }
}

/// What is left when a crash of this kind follows on one that left as much as `before`.
fn worse(before: Survival, policy: CrashPolicy) -> Survival {
    if policy == CrashPolicy::KeepAll { before } else { Survival::Power }
}

/// Each policy with the seeds of its images.
fn policies(random: &mut Random, operations: u64, draws: u64) -> Vec<(CrashPolicy, u64)> {
    let mut policies = vec![(CrashPolicy::DropUnsynced, 0), (CrashPolicy::KeepAll, 0)];
    for _ in 0..draws {
        policies.push((CrashPolicy::GlobalPrefix(random.next() % (operations + 1)), 0));
        for policy in [
            CrashPolicy::ObjectPrefix,
            CrashPolicy::ShuffledNames,
            CrashPolicy::TornSectors,
            CrashPolicy::LengthFirst,
        ] {
            policies.push((policy, random.next()));
        }
    }
    policies
}
