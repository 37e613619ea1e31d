//! What all parts of an open store share, and the lock order.
//!
//! # Locks, in the order in which they may be taken
//!
//! 1. `versions`: the manifest. Held over its sync.
//! 2. `wal`: the log. Held by a commit leader from its first append to its publishing.
//! 3. `Family::install`, `Families::change`: swaps of one pointer.
//! 4. `scheduler` state.
//! 5. `SnapshotList`, `Health`, `Events`: leaves; nothing is called under them.
//!
//! `visible` is stored by the commit leader after its group is in the memtables (release) and
//! loaded by readers after they took the super version (acquire).

use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::base::sync::{ArcSwap, Mutex};
use crate::db::background::{Scheduler, debt};
use crate::db::clock::WallClock;
use crate::db::commit::CommitQueue;
use crate::db::events::Events;
use crate::db::family::Families;
use crate::db::health::Health;
use crate::db::snapshot_list::SnapshotList;
use crate::db::status::StatusWriter;
use crate::db::wal_set::WalSet;
use crate::env::Env;
use crate::metrics::{Counters, Latencies};
use crate::options::Options;
use crate::sstable::TableCache;
use crate::version::{FileNumbers, ObsoleteTables, TimeMarks, VersionSet};

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
    pub(crate) obsolete: Arc<ObsoleteTables>,
    pub(crate) queue: CommitQueue,
    pub(crate) wal: Mutex<WalSet>,
    /// The number of the segment that is written; follows `wal`.
    pub(crate) current_log: AtomicU64,
    pub(crate) snapshots: SnapshotList,
    pub(crate) scheduler: Scheduler,
    pub(crate) health: Health,
    pub(crate) events: Arc<Events>,
    pub(crate) status: StatusWriter,
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
    pub(crate) obsolete: Arc<ObsoleteTables>,
    pub(crate) wal: WalSet,
    pub(crate) events: Arc<Events>,
    pub(crate) clock: WallClock,
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Core {
        let last_seq = parts.wal.last_seq;
        let current_log = parts.wal.number();
        let core = Core {
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
            queue: CommitQueue::default(),
            wal: Mutex::new(parts.wal),
            current_log: AtomicU64::new(current_log.0),
            snapshots: SnapshotList::default(),
            scheduler: Scheduler::default(),
            health: Health::new(Arc::clone(&parts.events)),
            events: parts.events,
            status: StatusWriter::default(),
            closing: AtomicBool::new(false),
            pressed: AtomicBool::new(false),
            visible: Visible::new(last_seq),
        };
        core.note_pressure();
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

    /// Looks whether writers must look closely. Called after each change of a super version.
    pub(crate) fn note_pressure(&self) {
        let pressed = self.families.all().values().any(|family| {
            let current = family.peek();
            debt(family).runs >= family.options.level0_tables_slowdown
                || current.immutables.len() >= family.options.memtables_max
        });
        self.pressed.store(pressed, Ordering::Release);
    }

    /// Fails when the store was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}

/// The clock as an integer.
pub(crate) fn nanoseconds(env: &dyn Env) -> u64 {
    u64::try_from(env.now().as_nanos()).unwrap_or(u64::MAX)
}
