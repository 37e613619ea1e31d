//! One merge on several workers: its parts are handed out, and come back as one output.
//!
//! The thread that has the plan cuts it (`compaction::cut`) for itself and for the workers that are
//! idle, offers the parts, and works on them like everybody else; so it waits for nobody but for
//! parts that others have begun. Nothing is installed here: the caller gets one output and makes
//! one edit of it.
//!
//! When a part fails, the others give up at their next step; every table that any part wrote is
//! removed, and the first failure is the answer.

use std::sync::Arc;

use crate::base::error::{Error, Result};

use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::{Condvar, Mutex};
use crate::compaction::blobs::Emptied;
use crate::compaction::cut::cut;
use crate::compaction::job::{self, JobContext, JobOutput, Part, Work, check_counts};
use crate::compaction::pace::Step;
use crate::compaction::retain::Retain;
use crate::compaction::{Compaction, shape};
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::jobs;
use crate::db::memory::{Charge, job_bytes};
use crate::db::progress::{Pacing, Running};
use crate::sstable::TableOptions;
use crate::version::{BlobUsage, Version};

/// A merge that is shared out.
#[derive(Debug)]
pub(crate) struct SharedMerge {
    plan: Compaction,
    version: Arc<Version>,
    retain: Retain,
    options: TableOptions,
    /// Which blob files are emptied: the same for all parts, and where `options` come from.
    usage: Arc<BlobUsage>,
    parts: Vec<Part>,
    running: Arc<Running>,
    failed: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next part that nobody has begun.
    next: usize,
    /// Parts that have ended, well or not.
    ended: usize,
    outputs: Vec<(usize, JobOutput)>,
    error: Option<Error>,
}

/// Merges as `plan` says, with the help of idle workers. On an error every output is removed.
pub(crate) fn run(
    core: &Arc<Core>,
    family: &Family,
    plan: &Compaction,
    running: &Arc<Running>,
) -> Result<JobOutput> {
    let version = family.load().version.clone();
    let retain = jobs::retain(core, family);
    let options = family.options.table_options(plan.place, family.id);
    let usage = core.blob_usage.load_full();
    let moved = plan.tables().map(|table| usage.sparse_bytes(&table.blobs));
    let options = options.of_job(moved.fold(plan.input_bytes(), u64::saturating_add));
    let mut options = options.with_event_time(plan.windows.map(|windows| windows.time));
    let shape = shape::of_compaction(&version, plan, family.options.level_ratio);
    options.filter_bits_per_key = family.options.filter_bits_per_key(&shape);
    let buffers = job_bytes(plan, &family.options);
    let parts_max = core.memory.parts_max(buffers, 1 + core.scheduler.idle_slots(core));
    let parts = cut(plan, parts_max, plan.table_bytes.max(1));
    // The first part's are charged with the job.
    let _buffers = Charge::new(&core.memory.jobs, buffers * (parts.len() - 1));
    let merge = Arc::new(SharedMerge {
        plan: plan.clone(),
        version,
        retain,
        options,
        usage,
        parts,
        running: Arc::clone(running),
        failed: AtomicBool::new(false),
        state: Mutex::new(State::default()),
        ended: Condvar::new(),
    });
    if merge.parts.len() > 1 {
        core.counters.compaction_parts.add(merge.parts.len() as u64 - 1);
        core.scheduler.offer(&merge, merge.parts.len() - 1);
    }
    help(core, &merge);
    core.scheduler.withdraw(&merge);
    merge.collect(core)
}

/// Works on parts until none is left to begin.
pub(crate) fn help(core: &Arc<Core>, merge: &Arc<SharedMerge>) {
    while let Some(place) = merge.begin() {
        let mut ends = Ends { merge, place, result: None };
        ends.result = Some(merge.run_part(core, place));
    }
}

impl SharedMerge {
    fn begin(&self) -> Option<usize> {
        let mut state = self.state.lock();
        if state.next == self.parts.len() || self.failed.load(Ordering::Acquire) {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn run_part(&self, core: &Arc<Core>, place: usize) -> Result<JobOutput> {
        let pacing = Pacing::of_plan(core, &self.plan, &self.running);
        let pace = |step: Step| {
            if self.failed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            pacing.step(step)
        };
        let work = Work {
            plan: &self.plan,
            version: &self.version,
            retain: &self.retain,
            table_options: &self.options,
        };
        jobs::with_context(core, &pace, |context| {
            let emptied = Emptied::Some(&self.usage.sparse);
            job::run(&JobContext { emptied, ..*context }, work, &self.parts[place])
        })
    }

    /// Waits for the parts that others have begun, and puts all together.
    fn collect(&self, core: &Core) -> Result<JobOutput> {
        let mut state = self.state.lock();
        while state.ended < state.next {
            state = self.ended.wait(state);
        }
        let mut outputs = std::mem::take(&mut state.outputs);
        let error = state.error.take();
        drop(state);
        outputs.sort_by_key(|(place, _)| *place);
        let mut all = JobOutput::default();
        for (_, output) in outputs {
            all.absorb(output);
        }
        let result = error.map_or_else(|| check_counts(&self.plan, &all), Err);
        if result.is_err() {
            jobs::discard(core, &all);
        }
        result.map(|()| all)
    }
}

/// Notes how a part ended, also when it ends in a panic: whoever has the plan waits for it.
struct Ends<'a> {
    merge: &'a SharedMerge,
    place: usize,
    result: Option<Result<JobOutput>>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| {
            Err(Error::Panicked { detail: "a part of a compaction panicked".to_owned() })
        });
        let mut state = self.merge.state.lock();
        state.ended += 1;
        match result {
            Ok(output) => state.outputs.push((self.place, output)),
            Err(error) => {
                self.merge.failed.store(true, Ordering::Release);
                state.error.get_or_insert(error);
            }
        }
        drop(state);
        self.merge.ended.notify_all();
    }
}
