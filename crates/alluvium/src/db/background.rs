//! Background work: what runs next, who runs it, and what happens when it fails.
//!
//! # Choosing
//!
//! Flushes come first: writers wait for them soonest. Then compactions, the family with the highest
//! score first. Of several workers one is always left free of compactions, so that a long one never
//! delays a flush.
//!
//! # Failing
//!
//! A job that fails leaves its inputs as they were. The failure is noted for the statistics
//! (`db::health`); the error is kept, shown to writers that would otherwise wait for the job, and
//! the job is tried again after a pause that grows to a second; a full disk therefore heals by
//! itself. Damage in an input is not tried again: its tables are set
//! aside, and everything else goes on. A panic stops all writes.
//!
//! # Without workers
//!
//! With `background_threads` 0 the same jobs are run by the thread that writes, after its write.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::planted;
use crate::base::sync::atomic::Ordering;
use crate::base::sync::{Condvar, Mutex};
use crate::batch::ColumnFamilyId;
use crate::compaction::strategy::Picker;
use crate::compaction::{Ages, Busy, Compaction, CompactionPicker, Debt, View};
use crate::db::core::Core;
use crate::db::events::panic_text;
use crate::db::family::Family;
use crate::db::jobs;
use crate::env::WorkerThread;
use crate::version::Version;

/// The first pause after a failed job; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// A job, with what it holds while it runs.
#[derive(Debug)]
pub(crate) enum Job {
    Flush(Arc<Family>),
    Compact(Arc<Family>, Box<Compaction>),
    /// Remove the files of tables that nobody reads any more.
    Purge,
}

#[derive(Debug, Default)]
struct State {
    flushing: HashSet<ColumnFamilyId>,
    busy: Busy,
    compactions: usize,
    /// Tables of compactions that found damage, and what the last of them found.
    set_aside: Busy,
    damage: Option<Error>,
    error: Option<Error>,
    failures: u32,
    retry_at: Duration,
    stopping: bool,
    /// Counts finished jobs, so that a waiter sees one that ended before it slept.
    finished: u64,
}

/// Shared state of the workers.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
    work: Condvar,
    progress: Condvar,
    threads: Mutex<Vec<Box<dyn WorkerThread>>>,
}

impl Scheduler {
    /// There is something to do. Takes the state's lock for a moment: a worker that has just looked
    /// and found nothing is then asleep, and hears it.
    pub(crate) fn notify_work(&self) {
        drop(self.state.lock());
        self.work.notify_one();
    }

    /// There may be something to do, that can wait for the next job's end. Takes no lock, so that
    /// it may be called wherever a version is let go of.
    pub(crate) fn hint_work(&self) {
        self.work.notify_one();
    }

    /// Something that waiters wait for may have changed.
    pub(crate) fn notify_progress(&self) {
        self.progress.notify_all();
    }

    /// The failure that background work is waiting to overcome, if any.
    pub(crate) fn background_error(&self) -> Option<Error> {
        self.state.lock().error.clone()
    }

    /// The damage that keeps the level 0 of `family` from shrinking, if any.
    pub(crate) fn level0_damage(&self, family: &Family) -> Option<Error> {
        let state = self.state.lock();
        let current = family.peek();
        let mut tables = current.version.level(0).tables().iter();
        let stuck = tables.any(|table| state.set_aside.contains(&table.number));
        if stuck { state.damage.clone() } else { None }
    }

    /// The last damage that a compaction found.
    pub(crate) fn damage(&self) -> Option<Error> {
        self.state.lock().damage.clone()
    }

    /// Waits until a job has ended, at most `timeout`.
    pub(crate) fn wait_progress(&self, timeout: Duration) {
        let state = self.state.lock();
        drop(self.progress.wait_timeout(state, timeout));
    }

    /// Claims the tables of a plan that `pick` makes from what is busy now.
    pub(crate) fn claim(
        &self,
        pick: impl FnOnce(&Busy) -> Option<Compaction>,
    ) -> Option<Compaction> {
        let mut state = self.state.lock();
        let plan = pick(&state.busy)?;
        state.busy.extend(plan.tables().map(|table| table.number));
        state.compactions += 1;
        Some(plan)
    }

    /// Gives the tables of a plan free.
    pub(crate) fn release(&self, plan: &Compaction) {
        let mut state = self.state.lock();
        for table in plan.tables() {
            state.busy.remove(&table.number);
        }
        state.compactions -= 1;
        state.finished += 1;
        drop(state);
        self.progress.notify_all();
        self.work.notify_all();
    }
}

/// Starts the workers.
pub(crate) fn start(core: &Arc<Core>) -> Result<()> {
    for index in 0..core.options.background_threads {
        let worker = Arc::clone(core);
        let name = format!("alluvium-{index}");
        let thread = core
            .env
            .spawn(&name, Box::new(move || work(&worker)))
            .map_err(|error| Error::io("start a thread for", core.env.directory(), error))?;
        core.scheduler.threads.lock().push(thread);
    }
    Ok(())
}

/// Stops the workers and waits for them. Running compactions give up; a running flush finishes.
pub(crate) fn stop(core: &Core) {
    {
        // Under one lock: a worker whose compaction gives up finds that there is no next.
        let mut state = core.scheduler.state.lock();
        state.stopping = true;
        core.closing.store(true, Ordering::Release);
    }
    core.scheduler.work.notify_all();
    core.scheduler.progress.notify_all();
    let threads = std::mem::take(&mut *core.scheduler.threads.lock());
    for thread in threads {
        thread.join();
    }
}

/// A worker's life.
fn work(core: &Arc<Core>) {
    loop {
        let job = {
            let mut state = core.scheduler.state.lock();
            loop {
                if state.stopping {
                    return;
                }
                let now = core.env.now();
                let wait = state.retry_at.saturating_sub(now);
                if wait.is_zero() {
                    if let Some(job) = next_job(core, &mut state) {
                        break job;
                    }
                    state = core.scheduler.work.wait(state);
                } else {
                    state = match planted::is("no-wake-up-after-an-error") {
                        true => core.scheduler.work.wait(state),
                        false => core.scheduler.work.wait_timeout(state, wait).0,
                    };
                }
            }
        };
        run_guarded(core, job);
    }
}

/// Runs jobs on the calling thread until there are none, or one fails.
pub(crate) fn run_inline(core: &Arc<Core>) {
    loop {
        let job = {
            let mut state = core.scheduler.state.lock();
            if state.stopping {
                return;
            }
            next_job(core, &mut state)
        };
        let Some(job) = job else { return };
        if !run_guarded(core, job) {
            return;
        }
    }
}

/// Chooses a job and claims what it needs.
fn next_job(core: &Core, state: &mut State) -> Option<Job> {
    if core.obsolete.has_any() {
        return Some(Job::Purge);
    }
    let families = core.families.all();
    for family in families.values() {
        let waits = !family.peek().immutables.is_empty();
        if waits && state.flushing.insert(family.id) {
            return Some(Job::Flush(Arc::clone(family)));
        }
    }
    let compactions_max = core.options.background_threads.saturating_sub(1).max(1);
    if state.compactions >= compactions_max {
        return None;
    }
    let blocked: Busy = state.busy.union(&state.set_aside).copied().collect();
    let mut due: Vec<(f64, &Arc<Family>)> =
        families.values().map(|family| (score(family), family)).collect();
    due.sort_by(|a, b| b.0.total_cmp(&a.0));
    due.into_iter().find_map(|(_, family)| {
        let current = family.peek();
        let plan = picker(family).pick(&view(core, family, &current.version, &blocked))?;
        state.busy.extend(plan.tables().map(|table| table.number));
        state.compactions += 1;
        Some(Job::Compact(Arc::clone(family), Box::new(plan)))
    })
}

/// Whether nothing runs and nothing is due.
pub(crate) fn is_idle(core: &Core) -> bool {
    let state = core.scheduler.state.lock();
    let running = !state.flushing.is_empty() || state.compactions > 0;
    let due = core.families.all().values().any(|family| {
        let current = family.peek();
        let plan = || picker(family).pick(&view(core, family, &current.version, &state.set_aside));
        !current.immutables.is_empty() || plan().is_some()
    });
    !running && !due && !core.obsolete.has_any()
}

/// The picker of a family.
pub(crate) fn picker(family: &Family) -> Picker {
    family.options.picker(&family.strategy())
}

/// What a picker sees of `version`, one of `family`, now. What a job would keep for its grace
/// period is no garbage: it would be rewritten again and again.
pub(crate) fn view<'a>(
    core: &Core,
    family: &Family,
    version: &'a Version,
    busy: &'a Busy,
) -> View<'a> {
    let oldest_snapshot = core.snapshots.oldest();
    let droppable = oldest_snapshot.unwrap_or_else(|| core.visible());
    let droppable = droppable.min(jobs::old_enough(core, family));
    View { version, busy, now_ms: 0, ages: Ages { droppable, ..Ages::default() } }
}

/// How far behind the compaction of a family is.
pub(crate) fn debt(family: &Family) -> Debt {
    picker(family).debt(&family.peek().version)
}

fn score(family: &Family) -> f64 {
    picker(family).scores(&family.peek().version).into_iter().fold(0.0, f64::max)
}

/// Runs one job and keeps its outcome. Says whether to go on at once.
fn run_guarded(core: &Arc<Core>, job: Job) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| match &job {
        Job::Flush(family) => jobs::flush(core, family),
        Job::Compact(family, plan) => jobs::compact(core, family, plan),
        Job::Purge => {
            jobs::purge(core);
            Ok(())
        }
    }));
    let result = outcome.unwrap_or_else(|panic| {
        let error = Error::Panicked { detail: panic_text(panic.as_ref()) };
        core.health.stop(error.clone());
        Err(error)
    });
    let succeeded = result.is_ok();
    match job {
        Job::Flush(family) => {
            note_failure(core, "flush", &family, &result);
            if succeeded || !planted::is("failed-flush-never-retried") {
                core.scheduler.state.lock().flushing.remove(&family.id);
            }
            keep_outcome(core, result, None);
        }
        Job::Compact(family, plan) => {
            note_failure(core, "compaction", &family, &result);
            core.scheduler.release(&plan);
            keep_outcome(core, result, Some(&plan));
        }
        Job::Purge => {}
    }
    let mut state = core.scheduler.state.lock();
    state.finished += 1;
    drop(state);
    core.scheduler.progress.notify_all();
    core.scheduler.work.notify_all();
    core.events.deliver();
    succeeded
}

fn note_failure(core: &Core, job: &str, family: &Family, result: &Result<()>) {
    match result {
        Ok(()) | Err(Error::Closed) => {}
        Err(error) => core.health.note_failure(&format!("{job} of {}", family.name), error),
    }
}

fn keep_outcome(core: &Core, result: Result<()>, plan: Option<&Compaction>) {
    let mut state = core.scheduler.state.lock();
    match result {
        Ok(()) => {
            state.error = None;
            state.failures = 0;
            state.retry_at = Duration::ZERO;
        }
        Err(Error::Closed) => {}
        Err(_) if planted::is("background-error-swallowed") => {}
        Err(error) => {
            if let (true, Some(plan)) = (error.is_corruption(), plan) {
                // Trying again would find the same; everything else goes on.
                state.set_aside.extend(plan.tables().map(|table| table.number));
                state.damage = Some(error);
                return;
            }
            let pause = RETRY_FIRST.saturating_mul(1 << state.failures.min(16)).min(RETRY_LAST);
            state.failures = state.failures.saturating_add(1);
            state.retry_at = core.env.now() + pause;
            state.error = Some(error);
        }
    }
}
