//! Jobs that run, how far they are, and what holds them back.
//!
//! What they have done is what writers' strain is told ([`RunningJobs::done`]); [`Pacing`] is what
//! each job calls as it goes: it counts, asks the limiter, and where there is one worker only, lets
//! a flush that has come up go before the compaction that runs.
//!
//! A job counts what it has done with relaxed additions; whoever asks gets figures that are a
//! moment old, which is all that pacing needs.

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::sync::Mutex;
use crate::base::sync::tally::{AtomicU64, Ordering};
use crate::batch::ColumnFamilyId;
use crate::compaction::Compaction;
use crate::compaction::pace::{QUANTUM_BYTES, Step};
use crate::db::background;
use crate::db::core::Core;
use crate::db::jobs;
use crate::db::limiter::{Priority, Request};
use crate::db::memory;

/// What a job is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// A flush of this many memtables.
    Flush { memtables: usize },
    /// A compaction that leaves this many runs fewer in level 0, and reads so many bytes.
    Compact { runs: usize, bytes: u64 },
}

/// A job that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) family: ColumnFamilyId,
    pub(crate) task: Task,
    entries: u64,
    done: AtomicU64,
}

impl Running {
    pub(crate) fn new(family: ColumnFamilyId, task: Task, entries: u64) -> Running {
        Running { family, task, entries, done: AtomicU64::new(0) }
    }

    /// Counts entries that are dealt with.
    pub(crate) fn advance(&self, entries: u64) {
        self.done.fetch_add(entries, Ordering::Relaxed);
    }

    /// The share that is done, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let done = self.done.load(Ordering::Relaxed).min(self.entries);
        done as f64 / self.entries.max(1) as f64
    }
}

/// What a plan is about.
pub(crate) fn task_of(plan: &Compaction) -> Task {
    let read = plan.inputs.iter().filter(|input| input.level == 0).count();
    let written = usize::from(plan.place.level == 0);
    Task::Compact { runs: read.saturating_sub(written), bytes: plan.input_bytes() }
}

/// How much of a memtable counts as flushed when all of it has been written: its memory is free
/// only after the table was synced and checked, which takes about as long again on a busy disk.
const FLUSH_CREDIT: f64 = 0.5;

/// The jobs that run now. Its lock is a leaf.
#[derive(Debug, Default)]
pub(crate) struct RunningJobs(Mutex<Vec<Arc<Running>>>);

/// Keeps a job in the list.
#[derive(Debug)]
pub(crate) struct RunningGuard<'a> {
    jobs: &'a RunningJobs,
    pub(crate) job: Arc<Running>,
}

impl RunningJobs {
    /// Lists a job until the guard goes.
    pub(crate) fn begin(&self, job: Running) -> RunningGuard<'_> {
        let job = Arc::new(job);
        self.0.lock().push(Arc::clone(&job));
        RunningGuard { jobs: self, job }
    }

    /// What running jobs of `family` have done.
    pub(crate) fn done(&self, family: ColumnFamilyId) -> Done {
        let mut done = Done::default();
        for job in self.0.lock().iter().filter(|job| job.family == family) {
            let share = job.share();
            match job.task {
                Task::Flush { memtables } => {
                    done.memtables += FLUSH_CREDIT * share * memtables as f64;
                }
                Task::Compact { runs, bytes } => {
                    done.runs += share * runs as f64;
                    done.bytes += (share * bytes as f64) as u64;
                }
            }
        }
        done
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.jobs.0.lock().retain(|job| !Arc::ptr_eq(job, &self.job));
    }
}

/// What a job calls as it goes.
#[derive(Debug)]
pub(crate) struct Pacing<'a> {
    core: &'a Arc<Core>,
    running: &'a Running,
    priority: Priority,
}

impl<'a> Pacing<'a> {
    pub(crate) fn of_flush(core: &'a Arc<Core>, running: &'a Running) -> Pacing<'a> {
        Pacing { core, running, priority: Priority::Flush }
    }

    pub(crate) fn of_plan(
        core: &'a Arc<Core>,
        plan: &Compaction,
        running: &'a Running,
    ) -> Pacing<'a> {
        let level0 = plan.inputs.iter().any(|input| input.level == 0);
        let priority = if level0 { Priority::Level0 } else { Priority::Rest };
        Pacing { core, running, priority }
    }

    /// Counts a step, and waits where background work is limited. The caller holds no lock.
    pub(crate) fn step(&self, step: Step) -> Result<()> {
        let core = self.core;
        self.running.advance(step.entries);
        core.look_at_strain();
        memory::trim(core);
        let request = Request {
            priority: self.priority,
            bytes: step.bytes,
            operations: step.bytes.div_ceil(QUANTUM_BYTES),
        };
        let waited = core.limiter.pass(core.env.as_ref(), request, core.as_ref());
        core.counters.background_limited_us.add(waited.as_micros() as u64);
        if self.priority != Priority::Flush && core.wants_segment() {
            jobs::create_segment(core);
        }
        if core.options.background_threads == 1 && self.priority != Priority::Flush {
            background::flush_meanwhile(core);
        }
        Ok(())
    }
}

/// What running jobs have done that no version shows yet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Done {
    pub(crate) memtables: f64,
    pub(crate) runs: f64,
    pub(crate) bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_count_for_their_family_by_what_they_have_done() {
        let jobs = RunningJobs::default();
        let family = ColumnFamilyId(7);
        let compact = Task::Compact { runs: 4, bytes: 1_000 };
        let first = jobs.begin(Running::new(family, compact, 100));
        let second = jobs.begin(Running::new(family, Task::Flush { memtables: 2 }, 10));
        let _other = jobs.begin(Running::new(ColumnFamilyId(8), compact, 0));
        first.job.advance(25);
        second.job.advance(11);
        assert_eq!(jobs.done(family), Done { memtables: 1.0, runs: 1.0, bytes: 250 });
        drop(first);
        assert_eq!(jobs.done(family), Done { memtables: 1.0, ..Done::default() });
        assert_eq!(jobs.done(ColumnFamilyId(8)), Done::default());
    }
}
