//! The crash sweep: a workload is crashed at every mutating operation that it makes; every image
//! that such a crash may leave is opened, compared with the model, used, closed and opened again.
//!
//! What must hold of each image:
//!
//! - it opens (where the store had been made: without making it anew);
//! - its contents are the model at one write, at or behind the last that was acknowledged as
//!   durable enough, batches whole across families;
//! - it takes writes, closes, verifies, opens again and has all of them; no file is left over.
//!
//! For a sample of the images the recovery itself is crashed at every operation, and what that
//! leaves must hold the same; once a recovery has ended, its state never falls back.
//!
//! Everything follows from the seed, but for workloads with worker threads. A failure names the
//! workload, the operation, the policy and the seed; `ALLUVIUM_SEED` and `ALLUVIUM_CRASH_AT` run
//! just that again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use alluvium::Durability;
use alluvium::env::{CrashPolicy, Env, FileId, MemEnv};

use crate::model::{Model, Survival};
use crate::operation::{Change, Operation};
use crate::random::Random;
use crate::runner::{number, panic_text};
use crate::session::{Failure, Session};
use crate::torture::Turn;
use crate::watchdog::Watchdog;
use crate::workloads::{self, Workload};

/// How long one image may take before it counts as hung.
const IMAGE_TIME_MAX: Duration = Duration::from_secs(30);

/// Puts an environment around the one that crashes, to see what the sweep makes of it.
pub type Wrap = fn(MemEnv) -> Arc<dyn Env>;

/// How much to sweep.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Where every random choice comes from.
    pub seed: u64,
    /// Images for each random policy and crash point.
    pub draws: u64,
    /// The recovery of one image in this many is crashed too; 0 for none.
    pub nested_one_in: usize,
    /// See [`Wrap`].
    pub wrap: Wrap,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { seed: 0, draws: 1, nested_one_in: 100, wrap: |env| Arc::new(env) }
    }
}

/// What was swept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Operations that the workload was crashed at.
    pub crash_points: u64,
    /// Images opened and compared.
    pub images: u64,
    /// Of these, images of a crash in a recovery.
    pub nested: u64,
}

/// Where in a sweep something is.
#[derive(Clone)]
struct Place {
    workload: String,
    operation: u64,
    site: String,
    policy: CrashPolicy,
    seed: u64,
    nested: Option<(u64, String, CrashPolicy)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { workload, operation, site, policy, seed, nested } = self;
        write!(
            f,
            "workload \"{workload}\", crash at operation {operation} ({site}), {policy:?}, image \
             seed {seed}"
        )?;
        if let Some((operation, site, policy)) = nested {
            write!(f, "; then at operation {operation} of the recovery ({site}), {policy:?}")?;
        }
        Ok(())
    }
}

/// What a workload had come to when it crashed.
#[derive(Clone)]
struct Reached {
    model: Model,
    /// Whether opening the store had succeeded, ever.
    made: bool,
}

/// Sweeps a workload.
///
/// # Errors
///
/// The first image that breaks the promise, with where it is and how to see it again.
pub fn sweep(workload: &Workload, sweep: &Sweep) -> Result<Swept, String> {
    let watchdog = Watchdog::new(IMAGE_TIME_MAX);
    let mut swept = Swept::default();
    let only = number("ALLUVIUM_CRASH_AT");
    for operation in only.unwrap_or(0).. {
        watchdog.step(format!("workload \"{}\" up to operation {operation}", workload.name));
        let env = MemEnv::new();
        env.crash_at(operation);
        let reached = run_workload(workload, (sweep.wrap)(env.clone()), &env)?;
        swept.crash_points += 1;
        check_crash_point(workload, sweep, operation, &env, &reached, &watchdog, &mut swept)?;
        if only.is_some() || !env.crashed() {
            break;
        }
    }
    Ok(swept)
}

/// Sweeps generated workloads, and the named ones between them, until the turn is over.
pub fn torture(turn: &mut Turn) {
    let named = workloads::all();
    for index in 0.. {
        if !turn.goes_on() {
            return;
        }
        let seed = turn.seed();
        let generated = workloads::generated(seed);
        let workload =
            if index % 4 == 0 { &named[seed as usize % named.len()] } else { &generated };
        turn.note(sweep(workload, &Sweep { seed, ..Sweep::default() }).map(|swept| swept.images));
    }
}

/// Runs the workload until it ends or the environment crashes.
fn run_workload(
    workload: &Workload,
    env: Arc<dyn Env>,
    memory: &MemEnv,
) -> Result<Reached, String> {
    let mut session = Session::new(env, workload.options.clone(), Model::default());
    let mut made = false;
    let mut body = |session: &mut Session| -> Result<(), (String, Failure)> {
        session.open().map_err(|failure| ("opening".to_owned(), failure))?;
        made = true;
        for operation in &workload.run {
            session.step(operation).map_err(|failure| (format!("{operation:?}"), failure))?;
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
        (Ok(_), Ok(())) => return Ok(Reached { model, made }),
    };
    Err(format!("workload \"{}\" itself: {failure}", workload.name))
}

fn check_crash_point(
    workload: &Workload,
    sweep: &Sweep,
    operation: u64,
    env: &MemEnv,
    reached: &Reached,
    watchdog: &Watchdog,
    swept: &mut Swept,
) -> Result<(), String> {
    let mut random = Random::for_case(&[sweep.seed, operation]);
    for (policy, seed) in policies(&mut random, env.operations(), sweep.draws) {
        let image = env.crash_image(policy, seed);
        let mut place = Place {
            workload: workload.name.clone(),
            operation,
            site: site(env),
            policy,
            seed,
            nested: None,
        };
        watchdog.step(place.to_string());
        if sweep.nested_one_in > 0 && random.one_in(sweep.nested_one_in) {
            check_recovery(workload, sweep, &image, reached, &mut place, watchdog, swept)?;
            place.nested = None;
        }
        swept.images += 1;
        check_image(workload, sweep, &image, reached.clone(), survival(policy))
            .map_err(|text| describe(&place, sweep, &text))?;
    }
    Ok(())
}

/// Crashes the recovery of `image` at each of its operations.
fn check_recovery(
    workload: &Workload,
    sweep: &Sweep,
    image: &MemEnv,
    reached: &Reached,
    place: &mut Place,
    watchdog: &Watchdog,
    swept: &mut Swept,
) -> Result<(), String> {
    let first = survival(place.policy);
    for operation in 0.. {
        let env = image.crash_image(CrashPolicy::KeepAll, 0);
        env.crash_at(env.operations() + operation);
        let mut reached = reached.clone();
        let mut worst = first;
        let opened = {
            let wrapped = (sweep.wrap)(env.clone());
            let mut session = open_recovered(workload, wrapped, &reached);
            let opened = session.open().and_then(|()| session.read_all());
            if let Ok(actual) = &opened
                && !env.crashed()
            {
                session.model.recover(actual, first).map_err(|text| {
                    place.nested = None;
                    describe(place, sweep, &text)
                })?;
                reached = Reached { model: session.model.clone(), made: true };
            }
            opened.and_then(|_| session.close())
        };
        if let (Err(failure), false) = (&opened, env.crashed()) {
            return Err(describe(place, sweep, &failure.to_string()));
        }
        for (policy, seed) in policies(&mut Random::for_case(&[place.seed]), env.operations(), 1) {
            if survival(policy) == Survival::Power {
                worst = Survival::Power;
            }
            place.nested = Some((operation, site(&env), policy));
            watchdog.step(place.to_string());
            let image = env.crash_image(policy, seed);
            swept.images += 1;
            swept.nested += 1;
            check_image(workload, sweep, &image, reached.clone(), worst)
                .map_err(|text| describe(place, sweep, &text))?;
            worst = first;
        }
        if !env.crashed() {
            return Ok(());
        }
    }
    Ok(())
}

fn open_recovered(workload: &Workload, env: Arc<dyn Env>, reached: &Reached) -> Session {
    let mut options = workload.options.clone();
    options.create_if_missing = !reached.made;
    Session::new(env, options, reached.model.clone())
}

/// Opens the image, compares, uses it, closes, opens again and compares again.
fn check_image(
    workload: &Workload,
    sweep: &Sweep,
    image: &MemEnv,
    reached: Reached,
    survival: Survival,
) -> Result<(), String> {
    let body = || -> Result<(), Failure> {
        let mut session = open_recovered(workload, (sweep.wrap)(image.clone()), &reached);
        session.open()?;
        let actual = session.read_all()?;
        session.model.recover(&actual, survival).map_err(Failure::Mismatch)?;
        session.check_all()?;
        for operation in &aftermath(&session.model, image.operations()) {
            session.step(operation)?;
        }
        session.check_all()?;
        session.verify()?;
        session.check_all()?;
        check_files(image)?;
        session.close()
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

/// What every recovered store must still be able to do; a little different for each `variant`.
fn aftermath(model: &Model, variant: u64) -> Vec<Operation> {
    let families: Vec<String> = model.state().into_keys().collect();
    let change = |family: &String, key: &str, value: Option<&str>| Change {
        family: family.clone(),
        key: key.as_bytes().to_vec(),
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    let write = |changes: Vec<Change>| Operation::Write { changes, durability: Durability::Disk };
    let mut run = vec![
        write(families.iter().map(|family| change(family, "after", Some("1"))).collect()),
        write(families.iter().map(|family| change(family, "a", Some("after"))).collect()),
        write(families.iter().map(|family| change(family, "b", None)).collect()),
    ];
    match variant % 4 {
        0 => run.insert(2, Operation::Flush { family: None }),
        1 => run.push(Operation::Compact { family: None }),
        _ => {}
    }
    run
}

/// The files that no store in good order has.
fn check_files(image: &MemEnv) -> Result<(), Failure> {
    let files = image.files();
    let manifests = files.iter().filter(|file| matches!(file, FileId::Manifest(_))).count();
    let temporary = files.iter().any(|file| matches!(file, FileId::Temporary(_)));
    if manifests == 1 && !temporary {
        return Ok(());
    }
    Err(Failure::Mismatch(format!("files are left over: {files:?}")))
}

fn survival(policy: CrashPolicy) -> Survival {
    if policy == CrashPolicy::KeepAll { Survival::Process } else { Survival::Power }
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

fn site(env: &MemEnv) -> String {
    env.crash_site().unwrap_or_else(|| "the end".to_owned())
}

fn describe(place: &Place, sweep: &Sweep, text: &str) -> String {
    format!(
        "{place}: {text}\n(replay: ALLUVIUM_SEED={} ALLUVIUM_CRASH_AT={})",
        sweep.seed, place.operation
    )
}
