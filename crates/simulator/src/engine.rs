//! Time: a writer, background threads and a device, event by event.
//!
//! # The model
//!
//! The writer offers a steady rate. Full memtables are flushed by one job at a time; compactions
//! take what threads are left, one of which is always kept for flushes, as in the engine. Jobs
//! share what the device has beside the log, each at most at the speed of one thread. Before every
//! batch the writer asks the engine how long to wait; a wait that has no end lasts until a job
//! frees it. Between two events (a memtable is full, a job ends) nothing changes.
//!
//! The outputs of a compaction are worked out when it begins, and are in the tree when it ends.

use std::collections::VecDeque;
use std::time::Duration;

use alluvium::simulation::Pause;

use crate::Result;
use crate::figures::{Figures, Sample};
use crate::load::Load;
use crate::settings::Settings;
use crate::store::{Flush, PickTimes, Running, Store};

/// The writer asks before every batch of this size.
const BATCH_BYTES: u64 = 64 << 10;

/// Looks at the whole tree while it is measured.
const SAMPLES: f64 = 200.0;

/// What the device leaves to jobs at least, whatever the log takes.
const JOB_SHARE_MIN: f64 = 0.1;

#[derive(Debug)]
enum Work {
    Flush(Flush),
    Compaction(Box<Running>),
}

#[derive(Debug)]
struct Job {
    work: Work,
    /// Bytes to read and write, in all and left.
    bytes: f64,
    left: f64,
}

impl Job {
    fn new(work: Work, bytes: u64) -> Job {
        Job { work, bytes: bytes.max(1) as f64, left: bytes.max(1) as f64 }
    }

    /// Bytes of its outputs that are on disk already.
    fn written_so_far(&self) -> f64 {
        let all = match &self.work {
            Work::Flush(flush) => flush.written_bytes,
            Work::Compaction(running) => running.written_bytes,
        };
        all as f64 * (1.0 - self.left / self.bytes)
    }
}

/// Runs one store from its beginning to the end of what is measured. Says how long picks took, too:
/// all but that is the same every time.
pub fn simulate(settings: &Settings) -> Result<(Figures, PickTimes)> {
    let load = settings.load();
    let mut store = Store::new(settings, &load)?;
    if settings.read {
        store.tree_mut().expect_reads();
    }
    let mut engine = Engine {
        settings,
        user_per_write: load.mean(|bytes| bytes.user),
        memtable_writes: settings.options.memtable_bytes as f64 / load.mean(|bytes| bytes.memtable),
        load,
        store,
        jobs: Vec::new(),
        active: 0.0,
        waiting: Vec::new(),
        flushing: 0,
        stalled: 0.0,
        clock: 0.0,
        flushed_at: VecDeque::new(),
        overdue_seq: 0,
        figures: Figures::default(),
    };
    engine.write(settings.warm_up * settings.live_bytes as f64)?;
    engine.figures = Figures::default();
    engine.write(settings.turnover * settings.live_bytes as f64)?;
    if !settings.full {
        engine.settle()?;
    }
    engine.sample();
    Ok((engine.figures, engine.store.picks))
}

#[derive(Debug)]
struct Engine<'a> {
    settings: &'a Settings,
    load: Load,
    store: Store,
    user_per_write: f64,
    /// Writes that fill a memtable.
    memtable_writes: f64,
    jobs: Vec<Job>,
    /// Writes in the active memtable.
    active: f64,
    /// Writes in each memtable that waits for its flush.
    waiting: Vec<f64>,
    /// Memtables that are being flushed.
    flushing: usize,
    /// Seconds for which the writer has stood still without a break.
    stalled: f64,
    /// Seconds since the store's beginning.
    clock: f64,
    /// When each flush was written, and its last sequence number; the oldest first.
    flushed_at: VecDeque<(f64, u64)>,
    overdue_seq: u64,
    figures: Figures,
}

/// How fast everything goes until the next event.
#[derive(Debug, Clone, Copy)]
struct Pace {
    writes_per_second: f64,
    bytes_per_second: f64,
    stopped: bool,
}

impl Engine<'_> {
    /// Writes `user_bytes` and does what background work comes up meanwhile.
    fn write(&mut self, user_bytes: f64) -> Result<()> {
        let end = self.figures.user_bytes + user_bytes;
        let between = user_bytes / SAMPLES;
        let mut next_sample = self.figures.user_bytes;
        while self.figures.user_bytes + self.user_per_write < end {
            self.begin_jobs()?;
            if self.figures.user_bytes >= next_sample {
                self.sample();
                next_sample += between;
            }
            let left = (end - self.figures.user_bytes) / self.user_per_write;
            let pace = self.pace();
            if pace.stopped && self.jobs.is_empty() {
                return Err(
                    "writers wait, and no background work is due: the picker is stuck".into()
                );
            }
            let room = (self.memtable_writes - self.active).max(0.0).min(left);
            let until_full =
                if pace.stopped { f64::INFINITY } else { room / pace.writes_per_second };
            self.advance(pace, until_full)?;
        }
        Ok(())
    }

    /// Flushes the memtable and does all background work that is due where somebody waits for it.
    fn settle(&mut self) -> Result<()> {
        self.store.tree_mut().expect_reads();
        if self.active >= 1.0 {
            self.waiting.push(std::mem::take(&mut self.active));
        }
        loop {
            self.begin_jobs()?;
            if self.jobs.is_empty() {
                return Ok(());
            }
            let idle = Pace { writes_per_second: 0.0, stopped: true, ..self.pace() };
            self.advance(idle, f64::INFINITY)?;
        }
    }

    /// Starts what threads are free for.
    fn begin_jobs(&mut self) -> Result<()> {
        if self.flushing == 0 && !self.waiting.is_empty() {
            let writes: f64 = self.waiting.iter().sum();
            self.flushing = self.waiting.len();
            self.waiting.clear();
            let content = self.load.next(writes);
            let flush = self.store.flush(&self.load, content, writes);
            self.flushed_at.push_back((self.clock, self.store.last_seq()));
            let bytes = flush.written_bytes;
            self.jobs.push(Job::new(Work::Flush(flush), bytes));
        }
        let compactions_max = self.settings.threads.saturating_sub(1).max(1);
        let is_compaction = |job: &&Job| matches!(job.work, Work::Compaction(_));
        while self.jobs.iter().filter(is_compaction).count() < compactions_max {
            let overdue = self.overdue();
            let Some(running) = self.store.compact(&self.load, overdue)? else { break };
            let bytes = running.read_bytes + running.written_bytes;
            self.jobs.push(Job::new(Work::Compaction(Box::new(running)), bytes));
        }
        Ok(())
    }

    fn pace(&mut self) -> Pace {
        let offered = self.settings.write_bytes_per_second;
        let filled = (self.active + 0.5) / self.memtable_writes;
        let immutables = self.waiting.len() + self.flushing;
        let mut rate = offered;
        let mut stopped = false;
        let now = Duration::from_secs_f64(self.clock.max(0.0));
        match self.store.tree_mut().pause(now, filled, immutables, BATCH_BYTES) {
            Pause::None => {}
            Pause::Slow(delay) => {
                let seconds = delay.as_secs_f64();
                self.figures.stall_longest = self.figures.stall_longest.max(seconds);
                rate = BATCH_BYTES as f64 / (BATCH_BYTES as f64 / offered + seconds);
            }
            Pause::Stop => {
                stopped = true;
                rate = 0.0;
            }
        }
        let per_write = self.load.mean(|bytes| bytes.log) / self.user_per_write;
        let device = self.settings.device_bytes_per_second;
        let for_jobs = (device - rate * per_write).max(device * JOB_SHARE_MIN);
        let each = for_jobs / self.jobs.len().max(1) as f64;
        Pace {
            writes_per_second: rate / self.user_per_write,
            bytes_per_second: each.min(self.settings.thread_bytes_per_second),
            stopped,
        }
    }

    /// Lets time pass until the next event: `until_full` seconds, or the first job's end.
    fn advance(&mut self, pace: Pace, until_full: f64) -> Result<()> {
        let first = self.jobs.iter().map(|job| job.left).fold(f64::INFINITY, f64::min);
        let seconds = until_full.min(first / pace.bytes_per_second);
        self.figures.seconds += seconds;
        self.clock += seconds;
        if pace.stopped {
            self.stalled += seconds;
            self.figures.stalled += seconds;
        } else {
            self.stalled = 0.0;
            let writes = pace.writes_per_second * seconds;
            self.active += writes;
            self.figures.user_bytes += writes * self.user_per_write;
            self.figures.log_bytes += writes * self.load.mean(|bytes| bytes.log);
        }
        self.figures.stall_longest = self.figures.stall_longest.max(self.stalled);
        self.jobs.iter_mut().for_each(|job| job.left -= pace.bytes_per_second * seconds);
        self.close_memtable();
        let done: Vec<Job> = self.jobs.extract_if(.., |job| job.left <= 0.5).collect();
        if !done.is_empty() {
            self.note_space(&done);
        }
        done.into_iter().try_for_each(|job| self.finish(job))
    }

    /// A full memtable joins the queue, if there is room.
    fn close_memtable(&mut self) {
        let immutables = self.waiting.len() + self.flushing;
        let full = self.active + 0.5 >= self.memtable_writes;
        if full && immutables < self.settings.options.memtables_max {
            self.waiting.push(std::mem::take(&mut self.active));
        }
    }

    fn finish(&mut self, job: Job) -> Result<()> {
        match job.work {
            Work::Flush(flush) => {
                self.flushing = 0;
                self.figures.flushes += 1;
                self.figures.flush_bytes += flush.written_bytes as f64;
                self.store.finish_flush(flush)?;
            }
            Work::Compaction(running) => {
                self.figures.compactions += 1;
                self.figures.compaction_read += running.read_bytes as f64;
                self.figures.compaction_written += running.written_bytes as f64;
                let largest = &mut self.figures.compaction_largest;
                *largest = largest.max(running.read_bytes as f64);
                self.store.finish(*running)?;
            }
        }
        self.close_memtable();
        Ok(())
    }

    /// What the disk holds now, outputs under way and those of jobs that have just ended included.
    fn note_space(&mut self, done: &[Job]) {
        let under_way: f64 = self.jobs.iter().chain(done).map(Job::written_so_far).sum();
        let bytes = self.store.bytes as f64 + under_way;
        let live = self.load.live_table_bytes().max(1.0);
        self.figures.space_peak = self.figures.space_peak.max(bytes / live);
    }

    /// The last sequence number that is older than the age at which tombstones are merged anyway.
    fn overdue(&mut self) -> u64 {
        let age = self.settings.options.tombstone_age.as_secs_f64();
        let before = self.clock - age;
        while let Some((_, seq)) = self.flushed_at.pop_front_if(|(at, _)| *at <= before) {
            self.overdue_seq = seq;
        }
        self.overdue_seq
    }

    /// Looks at the whole tree.
    fn sample(&mut self) {
        let debt = self.store.tree().debt_bytes() as f64;
        let sample = Sample::of(&self.store, &self.load, self.settings, debt);
        let sample = Sample { user_bytes: self.figures.user_bytes, ..sample };
        self.figures.add(sample);
    }
}
