//! What all parts of an open store share, and the lock order.
//!
//! # Locks, in the order in which they may be taken
//!
//! 1. `versions`: the manifest. Held over its sync.
//! 2. `wal`: the log. Held by a commit leader from its first append to its publishing.
//! 3. `Family::install`, `Families::change`: swaps of one pointer.
//! 4. `scheduler` state.
//! 5. `SnapshotList`, `Health`, `Events`, `RunningJobs`, the limiter, the pacer: leaves; nothing is
//!    called under them.
//!
//! `visible` is stored by the commit leader after its group is in the memtables (release) and
//! loaded by readers after they took the super version (acquire).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::base::sync::tally::AtomicU64 as TallyU64;
use crate::base::sync::{ArcSwap, Mutex};
use crate::blob::BlobFiles;
use crate::compaction::{Debt, Level0};
use crate::db::background::Scheduler;
use crate::db::clock::WallClock;
use crate::db::commit::CommitQueue;
use crate::db::events::Events;
use crate::db::family::{Families, Family};
use crate::db::health::Health;
use crate::db::limiter::{Conditions, DEBT_STRAIN, Limiter, Sample};
use crate::db::memory::{self, Accounts};
use crate::db::pacing::{self, Cause, Load, Pacer, Strain};
use crate::db::progress::RunningJobs;
use crate::db::retired::RetiredSegments;
use crate::db::snapshot_list::SnapshotList;
use crate::db::status::StatusWriter;
use crate::db::wal_set::WalSet;
use crate::env::Env;
use crate::metrics::{Counters, Latencies, StallCause};
use crate::options::Options;
use crate::sstable::TableCache;
use crate::version::{BlobUsage, FileNumbers, ObsoleteFiles, TimeMarks, VersionSet};

/// The strain of writers is measured this often at most.
const STRAIN_LOOK_NS: u64 = 1_000_000;

/// The sequence number up to which everything may be seen.
#[derive(Debug)]
pub(crate) struct Visible(AtomicU64);

impl Visible {
    pub(crate) fn new(seq: SeqNo) -> Visible {
        Visible(AtomicU64::new(seq.get()))
    }

    /// Whoever gets a number sees everything that was inserted before it was published.
    #[inline]
    pub(crate) fn get(&self) -> SeqNo {
        SeqNo::new(self.0.load(Ordering::Acquire))
    }

    /// Call it in the order of the numbers, when all up to `seq` is inserted.
    pub(crate) fn publish(&self, seq: SeqNo) {
        let relaxed = planted::in_order("visible-number-relaxed");
        self.0.store(seq.get(), if relaxed { Ordering::Relaxed } else { Ordering::Release });
    }
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) options: Options,
    pub(crate) counters: Arc<Counters>,
    pub(crate) latencies: Latencies,
    pub(crate) families: Families,
    pub(crate) versions: Mutex<VersionSet>,
    pub(crate) numbers: Arc<FileNumbers>,
    pub(crate) tables: Arc<TableCache>,
    pub(crate) blobs: BlobFiles,
    /// How much of the blob files is needed; follows the version set.
    pub(crate) blob_usage: ArcSwap<BlobUsage>,
    pub(crate) obsolete: Arc<ObsoleteFiles>,
    pub(crate) retired: RetiredSegments,
    pub(crate) queue: CommitQueue,
    pub(crate) wal: Mutex<WalSet>,
    /// The number of the segment that is written; follows `wal`.
    pub(crate) current_log: AtomicU64,
    pub(crate) snapshots: SnapshotList,
    pub(crate) scheduler: Scheduler,
    pub(crate) health: Health,
    pub(crate) events: Arc<Events>,
    pub(crate) status: StatusWriter,
    pub(crate) running: RunningJobs,
    pub(crate) limiter: Limiter,
    pub(crate) pacer: Mutex<Pacer>,
    pub(crate) memory: Accounts,
    /// The strain of the worst family, as the bits of an `f64`, and when it was looked at.
    strain: TallyU64,
    strain_at_ns: TallyU64,
    /// What it comes from: a place in [`StallCause::ALL`].
    strain_cause: TallyU64,
    /// Whether a worker is to create the next segment of the log.
    segment_wanted: AtomicBool,
    /// Tells running jobs to give up.
    pub(crate) closing: AtomicBool,
    /// Whether some family has memtables full or level 0 near its triggers, so that writers must
    /// look closely.
    pub(crate) pressed: AtomicBool,
    visible: Visible,
    /// The time of day.
    pub(crate) clock: WallClock,
    /// When sequence numbers were written; follows the version set.
    time_marks: ArcSwap<TimeMarks>,
    pub(crate) opened_at_ns: u64,
}

/// The parts that opening makes.
pub(crate) struct CoreParts {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) options: Options,
    pub(crate) counters: Arc<Counters>,
    pub(crate) families: Families,
    pub(crate) versions: VersionSet,
    pub(crate) tables: Arc<TableCache>,
    pub(crate) blobs: BlobFiles,
    pub(crate) obsolete: Arc<ObsoleteFiles>,
    pub(crate) wal: WalSet,
    pub(crate) events: Arc<Events>,
    pub(crate) clock: WallClock,
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Core {
        let last_seq = parts.wal.last_seq;
        let current_log = parts.wal.number();
        let memory = Accounts::new(parts.options.memory_limit);
        let core = Core {
            blobs: parts.blobs,
            blob_usage: ArcSwap::from_pointee(parts.versions.blob_usage(&HashSet::new())),
            opened_at_ns: nanoseconds(parts.env.as_ref()),
            clock: parts.clock,
            time_marks: ArcSwap::from_pointee(TimeMarks::clone(&parts.versions.time_marks())),
            env: parts.env,
            options: parts.options,
            counters: parts.counters,
            latencies: Latencies::default(),
            families: parts.families,
            numbers: parts.versions.file_numbers(),
            versions: Mutex::new(parts.versions),
            tables: parts.tables,
            obsolete: parts.obsolete,
            retired: RetiredSegments::default(),
            queue: CommitQueue::default(),
            wal: Mutex::new(parts.wal),
            current_log: AtomicU64::new(current_log.0),
            snapshots: SnapshotList::default(),
            scheduler: Scheduler::default(),
            health: Health::new(Arc::clone(&parts.events)),
            events: parts.events,
            status: StatusWriter::default(),
            running: RunningJobs::default(),
            limiter: Limiter::default(),
            pacer: Mutex::default(),
            memory,
            strain: TallyU64::new(0),
            strain_at_ns: TallyU64::new(0),
            strain_cause: TallyU64::new(0),
            segment_wanted: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            pressed: AtomicBool::new(false),
            visible: Visible::new(last_seq),
        };
        core.limiter.set(core.env.now(), core.options.rate_limit);
        if let Some(budget) = core.memory.budget {
            core.tables.set_bytes_max(budget.tables());
        }
        core.note_pressure();
        core.want_segment();
        core
    }

    /// The sequence number up to which everything may be seen.
    #[inline]
    pub(crate) fn visible(&self) -> SeqNo {
        self.visible.get()
    }

    /// Publishes everything up to `seq`. Only the commit leader calls this, holding the log lock.
    pub(crate) fn publish(&self, seq: SeqNo) {
        self.visible.publish(seq);
    }

    /// Takes over the time marks of the version set.
    pub(crate) fn note_time_marks(&self, versions: &VersionSet) {
        self.time_marks.store(versions.time_marks());
    }

    /// Takes over from the version set how much of the blob files is needed.
    pub(crate) fn note_blobs(&self, versions: &VersionSet) {
        self.blob_usage.store(Arc::new(versions.blob_usage(&self.blobs.unreadable())));
    }

    /// The newest sequence number that is known to have been written `age` ago or earlier; zero
    /// where none is.
    pub(crate) fn written_before(&self, age: Duration) -> SeqNo {
        let before = self.clock.before_ms(age);
        before.map_or(SeqNo::ZERO, |before_ms| self.time_marks.load().written_by(before_ms))
    }

    /// Notes the failure of a new manifest that the last edit did without.
    pub(crate) fn note_put_off(&self, versions: &mut VersionSet) {
        if let Some(error) = versions.take_put_off() {
            self.health.note_failure("a new manifest", &error);
        }
    }

    pub(crate) fn new_number(&self) -> FileNumber {
        self.numbers.take()
    }

    /// A segment of the log was begun: where there are workers, one creates the next ahead of need.
    pub(crate) fn want_segment(&self) {
        self.segment_wanted.store(self.options.background_threads > 0, Ordering::Release);
    }

    /// Whether the next segment of the log is wanted and nobody has begun to create it.
    pub(crate) fn wants_segment(&self) -> bool {
        self.segment_wanted.load(Ordering::Acquire)
    }

    /// Takes it upon the caller to create the next segment; false where there is no need.
    pub(crate) fn take_segment_wanted(&self) -> bool {
        self.segment_wanted.swap(false, Ordering::AcqRel)
    }

    /// Looks whether writers must look closely. Called after each change of a super version.
    pub(crate) fn note_pressure(&self) {
        let pressed = self.families.all().values().any(|family| {
            let Debt { runs, bytes } = family.debt();
            runs >= family.level0_due()
                || bytes > family.options.compaction_debt_bytes / 8
                || !family.peek().immutables.is_empty()
        });
        self.measure_strain();
        self.pressed.store(pressed, Ordering::Release);
    }

    /// How long a group of `bytes` has to wait before it is written.
    pub(crate) fn pace_write(&self, bytes: u64) -> Duration {
        if self.scheduler.is_paused() {
            // Nothing gets better by waiting.
            return Duration::ZERO;
        }
        self.look_at_strain();
        let now = self.env.now();
        self.pacer.lock().admit(now, bytes, Conditions::strain(self))
    }

    /// What writers are slowed by.
    pub(crate) fn slope_cause(&self) -> StallCause {
        let place = self.strain_cause.load(Ordering::Relaxed) as usize;
        StallCause::ALL.get(place).copied().unwrap_or(StallCause::Level0Slowdown)
    }

    /// Measures the strain unless that was done a moment ago.
    pub(crate) fn look_at_strain(&self) {
        let now = nanoseconds(self.env.as_ref());
        let before = self.strain_at_ns.load(Ordering::Relaxed);
        if now.saturating_sub(before) >= STRAIN_LOOK_NS {
            self.strain_at_ns.store(now, Ordering::Relaxed);
            self.measure_strain();
        }
    }

    fn measure_strain(&self) {
        memory::rebalance(self);
        let all = self.families.all();
        let worst = all.values().map(|family| pacing::strain(&self.load_of(family)));
        let worst = worst.fold(Strain::NONE, Strain::max).max(self.memory_strain());
        self.strain.store(worst.value.to_bits(), Ordering::Relaxed);
        let cause = match worst.cause {
            Cause::Level0 => StallCause::Level0Slowdown,
            Cause::Debt => StallCause::DebtSlowdown,
            Cause::Memtables => StallCause::MemtablesSlowdown,
        };
        self.strain_cause.store(cause as u64, Ordering::Relaxed);
        if worst.value >= DEBT_STRAIN {
            self.limiter.look_again();
        }
    }

    /// How near the memtables of all families are to their share of the memory.
    fn memory_strain(&self) -> Strain {
        let Some(budget) = self.memory.budget else { return Strain::NONE };
        pacing::memory_strain(budget.memtable_load(memory::unflushed(self)))
    }

    /// How far background work for `family` is behind.
    fn load_of(&self, family: &Family) -> Load {
        let Debt { runs, bytes } = family.debt();
        let done = self.running.done(family.id);
        let current = family.peek();
        let options = &family.options;
        let filled = current.active.memory_bytes() as f64 / options.memtable_bytes as f64;
        // A chunk of the arena may be larger than a whole memtable: an empty one is not full.
        let active = if current.active.is_empty() { 0.0 } else { filled.min(1.0) };
        let memtables = current.immutables.len() as f64 + active;
        Load {
            runs: runs as f64 + memtables,
            runs_merged: done.runs,
            // In either mode: a backlog that was let grow is not held against writers when reads
            // begin.
            runs_compact: options.level0_due(&family.strategy(), Level0::Gathering),
            runs_slowdown: options.level0_tables_slowdown,
            runs_stop: options.level0_tables_stop,
            debt_bytes: bytes.saturating_sub(done.bytes),
            debt_bytes_slowdown: options.compaction_debt_bytes,
            memtables: (memtables - done.memtables).max(0.0),
            memtables_max: options.memtables_max,
        }
    }

    /// Fails when the store was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}

impl Conditions for Core {
    fn strain(&self) -> f64 {
        f64::from_bits(self.strain.load(Ordering::Relaxed))
    }

    /// Also while somebody waits for jobs to end, to pause.
    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.scheduler.is_paused()
    }

    fn sample(&self) -> Sample {
        let counters = &self.counters;
        Sample {
            user_bytes: counters.write_user_bytes.get(),
            background_bytes: counters.flush_bytes.get()
                + counters.compaction_read_bytes.get()
                + counters.compaction_write_bytes.get()
                + counters.blob_write_bytes.get(),
        }
    }
}

/// The clock as an integer.
pub(crate) fn nanoseconds(env: &dyn Env) -> u64 {
    u64::try_from(env.now().as_nanos()).unwrap_or(u64::MAX)
}
