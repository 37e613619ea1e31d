//! Background work: what runs next, who runs it, and what happens when it fails.
//!
//! # Choosing
//!
//! (In `choice`.) Flushes come first: writers wait for them soonest. Then parts of a compaction
//! that is shared out (`db::subjobs`); then compactions: families whose level 0 is due before the
//! rest, the highest score first. Several of one family run at once where they touch none of the
//! same tables. Of several workers one is always left free of compactions, so that a long one never
//! delays a flush; where there is one worker only, it flushes in the midst of a compaction
//! ([`flush_meanwhile`]).
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

mod choice;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::atomic::{AtomicUsize, Ordering};
use crate::base::sync::{Condvar, Mutex};
use crate::batch::ColumnFamilyId;
use crate::compaction::footprint::Footprint;
use crate::compaction::strategy::Strategy;
use crate::compaction::{Busy, Compaction};
use crate::db::core::Core;
use crate::db::events::panic_text;
use crate::db::family::Family;
use crate::db::jobs;
use crate::db::memory;
use crate::db::subjobs::{self, SharedMerge};
use crate::db::super_version::FlushReason;
use crate::env::WorkerThread;
use crate::version::{Digest, Level};
use choice::{compactions_max, next_flush, next_job};
pub(crate) use choice::{is_idle, picker, view};

/// How often workers look whether time has made something due.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// An active memtable with tombstones is flushed when nothing has been written for so long.
const QUIET: Duration = Duration::from_secs(10);

/// The first pause after a failed job; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// A job, with what it holds while it runs.
#[derive(Debug)]
pub(crate) enum Job {
    Flush(Arc<Family>),
    Compact(Arc<Family>, Box<Compaction>),
    /// Work on parts of a compaction that another thread shares out.
    Help(Arc<SharedMerge>),
    /// Remove the files of tables that nobody reads any more.
    Purge,
    /// Create the next segment of the log.
    Segment,
}

#[derive(Debug, Default)]
struct State {
    flushing: HashSet<ColumnFamilyId>,
    busy: Busy,
    /// What running compactions keep others from, by the number of an input.
    footprints: HashMap<FileNumber, (ColumnFamilyId, Footprint)>,
    compactions: usize,
    /// How many remove the files of obsolete tables, which they have taken from the list of those.
    purges: usize,
    /// Parts of compactions that idle workers may take, one entry for each helper that has work.
    offers: VecDeque<Arc<SharedMerge>>,
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

impl State {
    /// Whether a flush, a compaction or the removal of files has begun and not ended.
    fn is_working(&self) -> bool {
        !self.flushing.is_empty() || self.compactions > 0 || self.purges > 0
    }

    /// Forgets the tables in which damage was found and which have left since, and the damage with
    /// the last of them.
    fn forget_damage_that_is_gone(&mut self, core: &Core) {
        if self.set_aside.is_empty() {
            return;
        }
        let families = core.families.all();
        let current: Vec<_> = families.values().map(|family| family.load()).collect();
        let live: HashSet<FileNumber> =
            current.iter().flat_map(|one| one.version.tables()).map(|table| table.number).collect();
        self.set_aside.retain(|number| live.contains(number));
        if self.set_aside.is_empty() {
            self.damage = None;
        }
    }

    /// Forgets the failures so far: a job has succeeded.
    fn overcome(&mut self) {
        self.error = None;
        self.failures = 0;
        self.retry_at = Duration::ZERO;
    }

    /// Takes what `plan` needs; false where it may not run beside one that runs. Their inputs are
    /// disjoint, and nothing in the version tells yet what the other will write.
    fn take(&mut self, family: ColumnFamilyId, plan: &Compaction) -> bool {
        let footprint = Footprint::of(plan);
        let meets = |own: &Footprint| {
            self.footprints.values().any(|(of, other)| *of == family && own.meets(other))
        };
        if footprint.as_ref().is_some_and(meets) {
            return false;
        }
        if let (Some(footprint), Some(first)) = (footprint, plan.tables().next()) {
            self.footprints.insert(first.number, (family, footprint));
        }
        self.busy.extend(plan.tables().map(|table| table.number));
        self.compactions += 1;
        true
    }

    /// Gives back what [`State::take`] took for a plan of these tables.
    fn give_back(&mut self, tables: &[FileNumber]) {
        for table in tables {
            self.busy.remove(table);
            self.footprints.remove(table);
        }
        self.compactions -= 1;
        self.finished += 1;
    }
}

/// Shared state of the workers.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
    work: Condvar,
    progress: Condvar,
    threads: Mutex<Vec<Box<dyn WorkerThread>>>,
    /// How much was written to each active memtable with tombstones, and since when.
    quiet: Mutex<HashMap<ColumnFamilyId, (u64, Duration)>>,
    /// What was visible when a worker looked at the clock last, and since when.
    visible: Mutex<(SeqNo, Duration)>,
    /// How many keep background work from beginning. Changed under the state's lock.
    paused: AtomicUsize,
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

    /// Forgets that failure: a job has succeeded. Where others see what it did before it has ended,
    /// this comes first, so that nobody finds the data in place and the failure with it.
    pub(crate) fn overcome(&self) {
        self.state.lock().overcome();
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

    /// Whether background work is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire) > 0
    }

    /// Keeps jobs from beginning, until as many calls of [`Scheduler::resume`].
    pub(crate) fn pause(&self) {
        let _state = self.state.lock();
        self.paused.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends one pause.
    pub(crate) fn resume(&self) {
        let state = self.state.lock();
        self.paused.fetch_sub(1, Ordering::AcqRel);
        drop(state);
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// Waits until no job runs, or the store closes.
    pub(crate) fn wait_for_jobs(&self) {
        let mut state = self.state.lock();
        while state.is_working() && !state.stopping {
            state = self.progress.wait(state);
        }
    }

    /// Workers that could take part in a compaction now.
    pub(crate) fn idle_slots(&self, core: &Core) -> usize {
        let state = self.state.lock();
        if self.is_paused() || state.stopping || core.options.background_threads == 0 {
            return 0;
        }
        compactions_max(core).saturating_sub(state.compactions)
    }

    /// Offers parts of a merge to `helpers` workers.
    pub(crate) fn offer(&self, merge: &Arc<SharedMerge>, helpers: usize) {
        let mut state = self.state.lock();
        state.offers.extend((0..helpers).map(|_| Arc::clone(merge)));
        drop(state);
        self.work.notify_all();
    }

    /// Takes back what was offered and not taken.
    pub(crate) fn withdraw(&self, merge: &Arc<SharedMerge>) {
        self.state.lock().offers.retain(|offer| !Arc::ptr_eq(offer, merge));
    }

    /// Claims the tables of a plan that `pick` makes from what is busy now.
    pub(crate) fn claim(
        &self,
        family: ColumnFamilyId,
        pick: impl FnOnce(&Busy) -> Option<Compaction>,
    ) -> Option<Claim<'_>> {
        let mut state = self.state.lock();
        let plan = pick(&state.busy)?;
        if self.is_paused() {
            return None;
        }
        // A claim that is made is given back when it goes: none may be made here that was not
        // taken.
        if !state.take(family, &plan) {
            return None;
        }
        Some(Claim { scheduler: self, plan })
    }

    /// Gives the tables of a plan free. The plan has gone by then: whoever waits for all work to
    /// end is to find the files that it held on to among those that are to be removed.
    pub(crate) fn release(&self, tables: &[FileNumber]) {
        self.state.lock().give_back(tables);
        self.progress.notify_all();
        self.work.notify_all();
    }
}

/// A plan whose tables are claimed until this goes, whatever way its job ends.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    scheduler: &'a Scheduler,
    pub(crate) plan: Compaction,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let tables = self.plan.numbers();
        self.plan.inputs.clear();
        self.plan.grandparents.clear();
        self.scheduler.release(&tables);
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
    core.limiter.look_again();
    let threads = std::mem::take(&mut *core.scheduler.threads.lock());
    for thread in threads {
        thread.join();
    }
}

/// Closes the active memtables that hold tombstones and to which nothing has come for a while: what
/// they hide is on disk until they are flushed.
fn close_quiet(core: &Core) {
    let now = core.env.now();
    note_visible(core, now);
    let mut quiet = core.scheduler.quiet.lock();
    let mut due = Vec::new();
    for family in core.families.all().values() {
        let current = family.peek();
        if !current.active.holds_tombstones() {
            quiet.remove(&family.id);
            continue;
        }
        let writes = current.active.entries() + current.active.range_tombstones();
        let seen = quiet.entry(family.id).or_insert((0, now));
        if seen.0 != writes {
            *seen = (writes, now);
        } else if now.saturating_sub(seen.1) >= QUIET {
            due.push(family.id);
        }
    }
    drop(quiet);
    if !due.is_empty() && core.health.check().is_ok() {
        let mut wal = core.wal.lock();
        // One that fails is tried again at the next look.
        if let Err(error) = crate::db::write::rotate(core, &mut wal, &due, FlushReason::Quiet) {
            core.health.note_failure("a quiet memtable", &error);
        }
    }
}

/// Takes note whether anything has been written since the last look.
fn note_visible(core: &Core, now: Duration) {
    let visible = core.visible();
    let mut seen = core.scheduler.visible.lock();
    if seen.0 != visible {
        *seen = (visible, now);
    }
}

/// Whether nothing has been written for a while, and nobody is held up who would. Never so where no
/// worker looks at the clock.
fn is_quiet(core: &Core) -> bool {
    let (visible, since) = *core.scheduler.visible.lock();
    visible == core.visible()
        && visible > SeqNo::ZERO
        && core.env.now().saturating_sub(since) >= QUIET
        && !core.pressed.load(Ordering::Relaxed)
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
                    if looks_at_the_clock(core) {
                        let (back, timed_out) = core.scheduler.work.wait_timeout(state, CLOCK_LOOK);
                        state = back;
                        if timed_out {
                            drop(state);
                            close_quiet(core);
                            state = core.scheduler.state.lock();
                        }
                    } else {
                        state = core.scheduler.work.wait(state);
                    }
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

/// Whether something may become due by the passing of time alone.
fn looks_at_the_clock(core: &Core) -> bool {
    core.families.all().values().any(|family| {
        // What a snapshot kept may go when that has: nobody is told of it.
        let waits = |digest: &Digest| {
            digest.has_tombstones
                || digest.first_expiry_ms < u64::MAX
                || digest.oldest_hidden < u64::MAX
        };
        let strategy = family.strategy();
        strategy.age_max().is_some()
            || strategy.windows().is_some_and(|windows| windows.ttl.is_some())
            || family.peek().version.levels().map(Level::digest).any(waits)
            || family.peek().active.holds_tombstones()
            || (strategy == Strategy::Leveled && !family.peek().version.level(0).is_empty())
    })
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

/// Flushes what waits, from the midst of a compaction on the only worker. Its failure is kept and
/// tried again like any other.
pub(crate) fn flush_meanwhile(core: &Arc<Core>) {
    let job = {
        let mut state = core.scheduler.state.lock();
        let now = core.env.now();
        if state.stopping || core.scheduler.is_paused() || state.retry_at > now {
            return;
        }
        next_flush(core, &mut state)
    };
    if let Some(job) = job {
        run_guarded(core, job);
    }
}

/// [`jobs::purge`] on the thread that asks, which counts as work meanwhile.
pub(crate) fn purge_now(core: &Core) {
    let purging = Purging(&core.scheduler);
    purging.0.state.lock().purges += 1;
    jobs::purge(core);
}

/// Counts as a purge until it goes, and tells whoever waits for all work to end: while work is
/// paused no other job may come that would.
struct Purging<'a>(&'a Scheduler);

impl Drop for Purging<'_> {
    fn drop(&mut self) {
        self.0.state.lock().purges -= 1;
        self.0.progress.notify_all();
    }
}

/// Runs one job and keeps its outcome. Says whether to go on at once.
fn run_guarded(core: &Arc<Core>, job: Job) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| match &job {
        Job::Flush(family) => jobs::flush(core, family),
        Job::Compact(family, plan) => jobs::compact(core, family, plan).map(drop),
        Job::Help(merge) => {
            subjobs::help(core, merge);
            Ok(())
        }
        Job::Purge => {
            jobs::purge(core);
            Ok(())
        }
        Job::Segment => {
            // Whoever was woken for a flush may be this one.
            core.scheduler.hint_work();
            jobs::create_segment(core);
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
            let id = family.id;
            drop(family);
            if succeeded || !planted::is("failed-flush-never-retried") {
                core.scheduler.state.lock().flushing.remove(&id);
            }
            keep_outcome(core, result, &[]);
        }
        Job::Compact(family, plan) => {
            note_failure(core, "compaction", &family, &result);
            let tables = plan.numbers();
            // The family too: where it has been dropped it has tables as long as somebody has it.
            drop((plan, family));
            core.scheduler.release(&tables);
            keep_outcome(core, result, &tables);
        }
        Job::Help(merge) => {
            // With its plan, where it is the last to hold it.
            drop(merge);
            core.scheduler.state.lock().compactions -= 1;
        }
        Job::Purge => core.scheduler.state.lock().purges -= 1,
        Job::Segment => {}
    }
    let mut state = core.scheduler.state.lock();
    state.finished += 1;
    drop(state);
    core.scheduler.progress.notify_all();
    core.scheduler.work.notify_all();
    core.events.deliver();
    memory::trim(core);
    succeeded
}

fn note_failure(core: &Core, job: &str, family: &Family, result: &Result<()>) {
    match result {
        Ok(()) | Err(Error::Closed) => {}
        Err(error) => core.health.note_failure(&format!("{job} of {}", family.name), error),
    }
}

/// Keeps how a job ended, whose inputs were `tables`.
fn keep_outcome(core: &Core, result: Result<()>, tables: &[FileNumber]) {
    let mut state = core.scheduler.state.lock();
    match result {
        Ok(()) => {
            state.overcome();
            state.forget_damage_that_is_gone(core);
        }
        Err(Error::Closed) => {}
        Err(_) if planted::is("background-error-swallowed") => {}
        Err(error) => {
            if error.is_corruption() && !tables.is_empty() {
                // Trying again would find the same; everything else goes on.
                state.set_aside.extend(tables);
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
