//! The state of each column family, and the map of them all.
//!
//! # Concurrency
//!
//! `current` is read without a lock. It is changed under `install`, by rotation (which holds the
//! log lock) and by the installation of a version (which holds the version-set lock, so that
//! versions are installed in the order in which the manifest has them).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::limits::LEVELS;
use crate::base::planted;
use crate::base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::base::sync::tally::{AtomicU64 as TallyU64, AtomicUsize};
use crate::base::sync::{ArcSwap, Guard, Mutex};
use crate::batch::ColumnFamilyId;
use crate::compaction::strategy::Strategy;
use crate::compaction::{CompactionPicker, Debt, Level0};
use crate::db::reading::Reading;
use crate::db::super_version::{FlushReason, Immutable, SuperVersion};
use crate::memtable::ChunkPool;
use crate::metrics::LevelTraffic;
use crate::options::ColumnFamilyOptions;
use crate::ranges::gaps::KnownGaps;
use crate::version::Version;

/// One column family.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) id: ColumnFamilyId,
    pub(crate) name: String,
    pub(crate) options: ColumnFamilyOptions,
    /// How its tables are merged now; `options` has what it was opened with.
    strategy: ArcSwap<Strategy>,
    /// Memory that one memtable leaves to the next.
    pool: Arc<ChunkPool>,
    current: ArcSwap<SuperVersion>,
    install: Mutex<()>,
    /// Where scans have found nothing.
    pub(crate) gaps: Arc<KnownGaps>,
    dropped: AtomicBool,
    /// A drop has begun, or has failed in a way that may come true at the next start.
    in_doubt: AtomicBool,
    /// The log segment in which the active memtable's writes begin, or a later one may.
    active_log: AtomicU64,
    /// Runs of level 0 and bytes of compaction debt in the current version: a look without it.
    runs: AtomicUsize,
    debt_bytes: TallyU64,
    reading: Reading,
    /// What background work moved, by level.
    pub(crate) traffic: [LevelTraffic; LEVELS],
}

impl Family {
    pub(crate) fn new(
        id: ColumnFamilyId,
        name: String,
        options: ColumnFamilyOptions,
        version: Arc<Version>,
        active_log: FileNumber,
        pool: Arc<ChunkPool>,
    ) -> Family {
        let debt = options.picker(&options.strategy, Level0::Lean).debt(&version);
        Family {
            id,
            name,
            strategy: ArcSwap::from_pointee(options.strategy),
            options,
            runs: AtomicUsize::new(debt.runs),
            debt_bytes: TallyU64::new(debt.bytes),
            reading: Reading::default(),
            current: ArcSwap::from_pointee(SuperVersion::new(version, &pool)),
            pool,
            install: Mutex::new(()),
            gaps: Arc::default(),
            dropped: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            active_log: AtomicU64::new(active_log.0),
            traffic: Default::default(),
        }
    }

    /// How its tables are merged.
    pub(crate) fn strategy(&self) -> Strategy {
        *self.strategy.load_full()
    }

    /// The next pick follows `strategy`.
    pub(crate) fn set_strategy(&self, strategy: Strategy) {
        self.strategy.store(Arc::new(strategy));
        self.note_debt(&self.peek().version);
    }

    /// The super version, for a reader that keeps it.
    pub(crate) fn load(&self) -> Arc<SuperVersion> {
        self.current.load_full()
    }

    /// The super version, for a short look.
    #[inline]
    pub(crate) fn peek(&self) -> Guard<Arc<SuperVersion>> {
        self.current.load()
    }

    /// Closes the active memtable. The caller holds the log lock: no write is under way.
    pub(crate) fn rotate(&self, next_log: FileNumber, last_seq: SeqNo, reason: FlushReason) {
        let _guard = self.install.lock();
        let next = self.current.load().rotated(next_log, last_seq, reason, &self.pool);
        self.current.store(Arc::new(next));
    }

    /// Installs `version`. The caller holds the version-set lock.
    pub(crate) fn install(&self, version: Arc<Version>, flushed: &[Arc<Immutable>]) {
        let unlocked = planted::in_order("installed-without-the-lock");
        let _guard = (!unlocked).then(|| self.install.lock());
        self.note_debt(&version);
        let next = self.current.load().installed(version, flushed);
        self.current.store(Arc::new(next));
    }

    /// How far compaction is behind in the current version.
    pub(crate) fn debt(&self) -> Debt {
        Debt {
            runs: self.runs.load(Ordering::Relaxed),
            bytes: self.debt_bytes.load(Ordering::Relaxed),
        }
    }

    /// How soon its level 0 is merged down.
    pub(crate) fn level0(&self) -> Level0 {
        self.reading.level0()
    }

    /// The runs of level 0 that are due to be merged.
    pub(crate) fn level0_due(&self) -> usize {
        self.options.level0_due(&self.strategy(), self.level0())
    }

    /// How much the store reads beside what is written.
    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    fn note_debt(&self, version: &Version) {
        let debt = self.options.picker(&self.strategy(), self.level0()).debt(version);
        self.runs.store(debt.runs, Ordering::Relaxed);
        self.debt_bytes.store(debt.bytes, Ordering::Relaxed);
    }

    /// The oldest segment that the active memtable may need.
    pub(crate) fn active_log(&self) -> FileNumber {
        FileNumber(self.active_log.load(Ordering::Acquire))
    }

    /// The active memtable is empty and a segment begins. The caller holds the log lock.
    pub(crate) fn set_active_log(&self, number: FileNumber) {
        self.active_log.store(number.0, Ordering::Release);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    pub(crate) fn set_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    /// Whether the next start may find the family dropped. The caller of
    /// [`Family::set_in_doubt`] holds the versions' lock.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Acquire)
    }

    pub(crate) fn set_in_doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::Release);
    }

    /// Fails when the family has been dropped.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_dropped() {
            return Err(Error::ColumnFamilyMissing { name: self.name.clone() });
        }
        Ok(())
    }

    /// Whether nothing of the family is in memory only.
    pub(crate) fn is_clean(&self) -> bool {
        let current = self.peek();
        current.immutables.is_empty() && current.active.is_empty()
    }
}

/// All column families by id. Read without a lock.
#[derive(Debug)]
pub(crate) struct Families {
    map: ArcSwap<BTreeMap<ColumnFamilyId, Arc<Family>>>,
    change: Mutex<()>,
    /// Memory that memtables leave to those that come after them, in any family.
    pub(crate) pool: Arc<ChunkPool>,
}

impl Families {
    /// No families yet; memtables leave `pool_bytes` at most to those that come after them.
    pub(crate) fn new(pool_bytes: usize) -> Families {
        Families {
            map: ArcSwap::default(),
            change: Mutex::new(()),
            pool: Arc::new(ChunkPool::new(pool_bytes)),
        }
    }

    pub(crate) fn all(&self) -> Arc<BTreeMap<ColumnFamilyId, Arc<Family>>> {
        self.map.load_full()
    }

    /// The families, for a short look.
    #[inline]
    pub(crate) fn peek(&self) -> Guard<Arc<BTreeMap<ColumnFamilyId, Arc<Family>>>> {
        self.map.load()
    }

    pub(crate) fn get(&self, id: ColumnFamilyId) -> Option<Arc<Family>> {
        self.map.load().get(&id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Family>> {
        self.map.load().values().find(|family| family.name == name).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.map.load().len()
    }

    pub(crate) fn insert(&self, family: Arc<Family>) {
        self.update(|map| {
            map.insert(family.id, family);
        });
    }

    pub(crate) fn remove(&self, id: ColumnFamilyId) {
        self.update(|map| {
            map.remove(&id);
        });
    }

    fn update(&self, change: impl FnOnce(&mut BTreeMap<ColumnFamilyId, Arc<Family>>)) {
        let _guard = self.change.lock();
        let mut next = BTreeMap::clone(&self.map.load());
        change(&mut next);
        self.map.store(Arc::new(next));
    }
}
