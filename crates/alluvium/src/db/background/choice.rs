//! What a worker does next.

use std::sync::Arc;

use super::{Job, State, is_quiet};
use crate::base::key::SeqNo;
use crate::compaction::strategy::{Picker, TimeWindows};
use crate::compaction::{Ages, Busy, Compaction, CompactionPicker, Level0, View, blobs, order};
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::jobs;
use crate::db::memory::job_bytes;
use crate::version::Version;

/// Chooses a job and claims what it needs.
pub(super) fn next_job(core: &Core, state: &mut State) -> Option<Job> {
    // Removing large files takes its time, and what is paused has no need of a segment yet.
    if core.wants_segment() && !core.scheduler.is_paused() {
        return Some(Job::Segment);
    }
    if core.obsolete.has_any() {
        state.purges += 1;
        return Some(Job::Purge);
    }
    if core.scheduler.is_paused() {
        return None;
    }
    if let Some(job) = next_flush(core, state) {
        return Some(job);
    }
    if state.compactions >= compactions_max(core) {
        return None;
    }
    if let Some(merge) = state.offers.pop_front() {
        state.compactions += 1;
        return Some(Job::Help(merge));
    }
    let families = core.families.all();
    let reads = core.counters.reads();
    families.values().for_each(|family| family.reading().look(reads));
    let blocked: Busy = state.busy.union(&state.set_aside).copied().collect();
    let mut due: Vec<((bool, f64), &Arc<Family>)> =
        families.values().map(|family| (urgency(family), family)).collect();
    due.sort_by(|((a0, a), _), ((b0, b), _)| b0.cmp(a0).then(b.total_cmp(a)));
    let emptying = |state: &mut State| {
        families.values().find_map(|family| {
            let plan = pick_emptying(core, family, &blocked)?;
            take_compaction(core, state, family, plan)
        })
    };
    let urgent = core.blob_usage.load().is_urgent().then(|| emptying(state)).flatten();
    let merging = |state: &mut State| {
        due.into_iter().find_map(|(_, family)| {
            let plan = pick(core, family, &picker(family), &state.busy, &state.set_aside)?;
            take_compaction(core, state, family, plan)
        })
    };
    // What only space is won by comes behind all else, while that is not all too much.
    urgent.or_else(|| merging(state)).or_else(|| emptying(state))
}

/// What `picker` would do, where jobs hold the tables of `busy`, and damage was found in those of
/// `set_aside`: they are not read again. They may go as a whole: what outgrew a bound would else
/// stay for ever, with all that is newer and lies over it.
fn pick(
    core: &Core,
    family: &Family,
    picker: &Picker,
    busy: &Busy,
    set_aside: &Busy,
) -> Option<Compaction> {
    let current = family.peek();
    let seen = view(core, family, &current.version, busy);
    if set_aside.is_empty() {
        return picker.pick(&seen);
    }
    let blocked: Busy = busy.union(set_aside).copied().collect();
    picker.pick_drop(&seen).or_else(|| {
        let seen = view(core, family, &current.version, &blocked);
        picker.pick(&seen)
    })
}

/// A rewrite of a table of `family` for what is garbage in blob files.
fn pick_emptying(core: &Core, family: &Family, blocked: &Busy) -> Option<Compaction> {
    let usage = core.blob_usage.load();
    if !usage.is_wasteful() {
        return None;
    }
    let current = family.peek();
    let view = view(core, family, &current.version, blocked);
    let windows = family.strategy().windows().map(TimeWindows::split);
    blobs::pick_emptying(&view, &usage, family.options.table_bytes, windows)
}

/// The job for a plan, where there is memory for it and nothing in its way.
fn take_compaction(
    core: &Core,
    state: &mut State,
    family: &Arc<Family>,
    plan: Compaction,
) -> Option<Job> {
    let fits = state.compactions == 0 || core.memory.admits(job_bytes(&plan, &family.options));
    if !fits || !order::may_drop(&family.peek().version, &plan) {
        return None;
    }
    state.take(family.id, &plan).then(|| Job::Compact(Arc::clone(family), Box::new(plan)))
}

/// A memtable to be flushed.
pub(super) fn next_flush(core: &Core, state: &mut State) -> Option<Job> {
    core.families.all().values().find_map(|family| {
        let waits = !family.peek().immutables.is_empty();
        (waits && state.flushing.insert(family.id)).then(|| Job::Flush(Arc::clone(family)))
    })
}

/// How many compactions, parts of one included, may run at once.
pub(super) fn compactions_max(core: &Core) -> usize {
    core.options.background_threads.saturating_sub(1).max(1)
}

/// Whether nothing runs and nothing is due, where somebody is about to read.
pub(crate) fn is_idle(core: &Core) -> bool {
    let state = core.scheduler.state.lock();
    let running = state.is_working();
    let due = core.families.all().values().any(|family| {
        let picker = family.options.picker(&family.strategy(), Level0::Lean);
        let plan = || pick(core, family, &picker, &Busy::default(), &state.set_aside);
        let emptying = || pick_emptying(core, family, &state.set_aside).is_some();
        !family.peek().immutables.is_empty() || plan().is_some() || emptying()
    });
    !running && !due && !core.obsolete.has_any()
}

/// The picker of a family.
pub(crate) fn picker(family: &Family) -> Picker {
    family.options.picker(&family.strategy(), family.level0())
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
    // As a job sees it: what it would keep is no garbage either.
    let now_ms = core.clock.before_ms(family.options.gc_grace).unwrap_or(0);
    let overdue = core.written_before(family.options.tombstone_age);
    let outlived = family.strategy().age_max().map_or(SeqNo::ZERO, |age| core.written_before(age));
    let quiet = is_quiet(core);
    View { version, busy, now_ms, ages: Ages { droppable, overdue, outlived, quiet } }
}

/// Whether level 0 is due, and the highest score.
fn urgency(family: &Family) -> (bool, f64) {
    let scores = picker(family).scores(&family.peek().version);
    (scores[0] >= 1.0, scores.into_iter().fold(0.0, f64::max))
}
