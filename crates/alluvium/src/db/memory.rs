//! One limit for all memory: who holds how much, and what follows for the parts.
//!
//! Who can say exactly what he holds says so: the memtables (their chunks, kept ones included), the
//! open tables (index, filter, properties), the block cache. What only comes and goes (buffers of
//! compactions, of cursors) is charged as an estimate that leans to the high side. The *shares* say
//! how much each may grow to, and the block cache gets whatever the others leave: it shrinks as
//! memtables grow, and grows back.
//!
//! | part | share of the limit | kept by |
//! |---|---|---|
//! | memtables | 3/8 | flushing the largest early, slowing writers |
//! | open tables | 1/4 | closing those that were not used of late |
//! | compaction buffers | 1/8 | beginning fewer compactions, and cutting them into fewer parts |
//! | the program, the allocator | 1/4 and 8 MiB | giving free pages back |
//! | block cache | the rest of all that | its capacity |
//!
//! The first half of the file is pure.

use std::sync::Arc;

use crate::base::sync::tally::{AtomicUsize, Ordering};
use crate::batch::ColumnFamilyId;
use crate::compaction::outputs::OPEN_MAX;
use crate::compaction::{Compaction, TablePlace};
use crate::db::core::Core;
use crate::env::APPEND_BYTES;
use crate::options::ColumnFamilyOptions;

/// What a program with a store in it takes before anything is stored.
const PROGRAM_BYTES: usize = 8 << 20;
/// One input or output stream of a compaction: a chunk that is read ahead or written at once, the
/// block in hand, and one that is being decompressed.
const STREAM_BYTES: usize = APPEND_BYTES + (64 << 10);
/// A key in the making of a filter: its hash, in a list that doubles.
const FILTER_KEY_BYTES: usize = 12;
/// An entry in the making of an index.
const INDEX_ENTRY_BYTES: usize = 48;
/// A table that is written beside others: what it appends at once, and the block in hand.
const WRITER_BYTES: usize = APPEND_BYTES + (64 << 10);
/// What the training of a dictionary takes beside its samples; one is trained at a time.
const TRAINING_BYTES: usize = 10 << 20;
/// Blocks are seldom compressed to less than one part in so many.
const COMPRESSED_RATIO: usize = 8;
/// A source of a cursor: its block, and what it reads ahead.
pub(crate) const CURSOR_SOURCE_BYTES: usize = 96 << 10;

/// How often free memory is given back at most.
const TRIM_MS: usize = 100;

/// What the parts hold now, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    pub(crate) memtables: usize,
    pub(crate) tables: usize,
    pub(crate) jobs: usize,
    pub(crate) cursors: usize,
}

/// A limit, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    limit: usize,
}

/// A memtable that may be flushed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveMemtable {
    pub(crate) family: ColumnFamilyId,
    pub(crate) bytes: usize,
    /// The log segment in which its oldest data is.
    pub(crate) log: u64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Budget {
        Budget { limit }
    }

    /// All memtables together.
    pub(crate) fn memtables(&self) -> usize {
        self.limit / 8 * 3
    }

    /// Indexes and filters of open tables.
    pub(crate) fn tables(&self) -> usize {
        self.limit / 4
    }

    /// Buffers of compactions.
    pub(crate) fn jobs(&self) -> usize {
        self.limit / 8
    }

    /// What the block cache may hold while the others hold what they do.
    pub(crate) fn block_cache(&self, held: &Held) -> usize {
        let usable = (self.limit - self.limit / 4).saturating_sub(PROGRAM_BYTES);
        let others = held.memtables + held.tables + held.jobs + held.cursors;
        usable.saturating_sub(others).max(self.limit / 64)
    }

    /// The memtable to close although it is not full: the largest, of equal ones that with the
    /// oldest data. `unflushed` counts all that no table has yet.
    pub(crate) fn flush_early(
        &self,
        unflushed: usize,
        actives: impl Iterator<Item = ActiveMemtable> + Clone,
    ) -> Option<ColumnFamilyId> {
        let share = self.memtables();
        // What is being flushed goes soon; closing small memtables behind it would gain nothing.
        let active: usize = actives.clone().map(|one| one.bytes).sum();
        if unflushed < share / 2 || active < share / 4 {
            return None;
        }
        let first = actives.max_by_key(|one| (one.bytes, std::cmp::Reverse(one.log)));
        first.map(|one| one.family)
    }

    /// Memtables in units that writers are slowed by: 1 where nobody need wait, 2 at the share.
    pub(crate) fn memtable_load(&self, unflushed: usize) -> f64 {
        2.0 * unflushed as f64 / self.memtables().max(1) as f64
    }
}

/// What one worker holds for its part of `plan`, about.
pub(crate) fn job_bytes(plan: &Compaction, options: &ColumnFamilyOptions) -> usize {
    let entries: u64 = plan.tables().map(|table| table.entries).sum();
    let entry_bytes = (plan.input_bytes() / entries.max(1)).max(1);
    let output = plan.table_bytes.min(plan.input_bytes());
    let table = TableMade {
        keys: usize::try_from(output / entry_bytes).unwrap_or(usize::MAX),
        bytes: usize::try_from(output).unwrap_or(usize::MAX),
    };
    let all = usize::try_from(plan.input_bytes()).unwrap_or(usize::MAX);
    let contents = all.saturating_mul(COMPRESSED_RATIO);
    writing_bytes(table, contents, plan.place, plan.windows.is_some(), options)
        .saturating_add((plan.inputs.len() + 1) * STREAM_BYTES)
        .saturating_add(if options.blob_bytes_min.is_some() { WRITER_BYTES } else { 0 })
}

/// What a flush of so many entries holds beside the memtables, about. `bytes` is what these take.
pub(crate) fn flush_bytes(
    entries: u64,
    bytes: usize,
    place: TablePlace,
    windows: bool,
    options: &ColumnFamilyOptions,
) -> usize {
    let table = TableMade { keys: usize::try_from(entries).unwrap_or(usize::MAX), bytes };
    // Each value that may stay in the log is noted, and each that does.
    let survey = match options.blob_bytes_min {
        Some(_) => WRITER_BYTES + table.keys.min(bytes >> 6).saturating_mul(128),
        None => 0,
    };
    writing_bytes(table, bytes, place, windows, options).saturating_add(STREAM_BYTES + survey)
}

/// A table in the making, as it will be when it is full.
#[derive(Debug, Clone, Copy)]
struct TableMade {
    keys: usize,
    bytes: usize,
}

/// What is held for tables in the making beside one stream: filters, indexes, what waits for a
/// dictionary; where windows are kept apart there are many tables at a time, of which the filters
/// and indexes are together those of one. `contents` is all that is written, uncompressed.
fn writing_bytes(
    table: TableMade,
    contents: usize,
    place: TablePlace,
    windows: bool,
    options: &ColumnFamilyOptions,
) -> usize {
    let hashes = 1 + usize::from(options.prefix_extractor.is_some());
    let filter = table.keys.saturating_mul(hashes * FILTER_KEY_BYTES);
    let blocks = table.bytes / options.block_bytes.max(1);
    let made = filter.saturating_add(blocks.saturating_mul(INDEX_ENTRY_BYTES));
    let writers = if windows { OPEN_MAX } else { 1 };
    let written = options.table_options(place, ColumnFamilyId::DEFAULT);
    let gathered = written.gather_bytes_max().min(contents);
    let training = if gathered > 0 { TRAINING_BYTES + gathered } else { 0 };
    let open = (writers - 1) * WRITER_BYTES + writers.saturating_mul(gathered);
    made.saturating_add(open.min(contents)).saturating_add(training)
}

/// Bytes charged to something until it goes.
#[derive(Debug)]
pub(crate) struct Charge {
    to: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(to: &Arc<AtomicUsize>, bytes: usize) -> Charge {
        to.fetch_add(bytes, Ordering::Relaxed);
        Charge { to: Arc::clone(to), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.to.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The accounts of a store.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) budget: Option<Budget>,
    pub(crate) jobs: Arc<AtomicUsize>,
    pub(crate) cursors: Arc<AtomicUsize>,
    /// The capacity that the block cache was given last.
    capacity: AtomicUsize,
    /// What memtables held when the families were last looked at.
    memtables: AtomicUsize,
    /// When free pages were given back last: milliseconds by the monotonic clock.
    trimmed_ms: AtomicUsize,
}

impl Accounts {
    pub(crate) fn new(limit: Option<usize>) -> Accounts {
        Accounts { budget: limit.map(Budget::new), ..Accounts::default() }
    }

    /// Whether a compaction that holds `bytes` may begin: the first always.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        let held = self.jobs.load(Ordering::Relaxed);
        self.budget.is_none_or(|budget| held == 0 || held + bytes <= budget.jobs())
    }

    /// Whether a merge of so many runs of level 0 holds no more than compactions may.
    pub(crate) fn takes_merge_of(&self, runs: usize) -> bool {
        // With the level below, and what is written.
        let bytes = runs.saturating_add(2).saturating_mul(STREAM_BYTES);
        self.budget.is_none_or(|budget| bytes <= budget.jobs())
    }

    /// Into how many parts a plan may be cut whose first part is charged already.
    pub(crate) fn parts_max(&self, bytes: usize, wanted: usize) -> usize {
        let Some(budget) = self.budget else { return wanted };
        let room = budget.jobs().saturating_sub(self.jobs.load(Ordering::Relaxed));
        wanted.min(1 + room / bytes.max(1))
    }
}

/// What the parts of an open store hold.
pub(crate) fn held(core: &Core) -> Held {
    Held {
        memtables: core.families.pool.live_bytes(),
        tables: core.tables.memory_bytes(),
        jobs: core.memory.jobs.load(Ordering::Relaxed),
        cursors: core.memory.cursors.load(Ordering::Relaxed),
    }
}

/// Gives the block cache what the others leave. Takes no lock but the cache's own.
pub(crate) fn rebalance(core: &Core) {
    let Some(budget) = core.memory.budget else { return };
    let wanted = budget.block_cache(&held(core));
    let given = core.memory.capacity.load(Ordering::Relaxed);
    // Down at once, up when it is worth it.
    if wanted < given || wanted > given + budget.limit / 64 {
        core.memory.capacity.store(wanted, Ordering::Relaxed);
        core.tables.block_cache().set_capacity(wanted);
    }
}

/// Bytes in memtables that no table has yet.
pub(crate) fn unflushed(core: &Core) -> usize {
    let all = core.families.all();
    let of = |family: &Arc<crate::db::family::Family>| {
        let current = family.peek();
        let immutables = current.immutables.iter().map(|one| one.memtable.memory_bytes());
        current.active.memory_bytes() + immutables.sum::<usize>()
    };
    all.values().map(of).sum()
}

/// Gives back to the system what the allocator holds free, where there is a limit to keep: every
/// [`TRIM_MS`], by whichever job comes along. The block cache makes room for memtables a block at a
/// time, and jobs for one another; without this the process would hold the most that each ever had.
pub(crate) fn trim(core: &Core) {
    if core.memory.budget.is_none() {
        return;
    }
    let now_ms = core.env.now().as_millis() as usize;
    let last_ms = core.memory.trimmed_ms.load(Ordering::Relaxed);
    if now_ms.saturating_sub(last_ms) < TRIM_MS {
        return;
    }
    // One of those that come at the same time does it.
    let exchanged = core.memory.trimmed_ms.fetch_max(now_ms, Ordering::Relaxed);
    if exchanged == last_ms {
        core.env.trim_memory();
    }
}

/// The family to flush although its memtable is not full. The caller holds the log lock; cheap
/// while no memtable has grown by a chunk.
pub(crate) fn flush_early(core: &Core) -> Option<ColumnFamilyId> {
    let budget = core.memory.budget?;
    let live = core.families.pool.live_bytes();
    if core.memory.memtables.swap(live, Ordering::Relaxed) == live {
        return None;
    }
    rebalance(core);
    let all = core.families.all();
    let actives = all.values().map(|family| ActiveMemtable {
        family: family.id,
        bytes: family.peek().active.memory_bytes(),
        log: family.active_log().0,
    });
    budget.flush_early(unflushed(core), actives)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 256 << 20;
    const MIB: usize = 1 << 20;

    fn active(family: u32, mib: usize, log: u64) -> ActiveMemtable {
        ActiveMemtable { family: ColumnFamilyId(family), bytes: mib * MIB, log }
    }

    #[test]
    fn all_parts_together_keep_to_the_limit_whatever_each_holds() {
        for limit in [crate::base::limits::MEMORY_LIMIT_BYTES_MIN, 64 * MIB, LIMIT, 8 << 30] {
            let budget = Budget::new(limit);
            let most = Held {
                memtables: budget.memtables(),
                tables: budget.tables(),
                jobs: budget.jobs(),
                cursors: 0,
            };
            for held in [Held::default(), most, Held { cursors: limit / 16, ..most }] {
                let parts = held.memtables + held.tables + held.jobs + held.cursors;
                let all = parts + budget.block_cache(&held);
                assert!(all <= limit - limit / 64, "{all} of {limit} with {held:?}");
                assert!(budget.block_cache(&held) >= limit / 64);
            }
        }
    }

    #[test]
    fn the_largest_memtable_goes_first_and_none_while_there_is_room() {
        let budget = Budget::new(LIMIT);
        let early = |unflushed: usize, actives: &[ActiveMemtable]| {
            budget.flush_early(unflushed * MIB, actives.iter().copied()).map(|id| id.0)
        };
        let three = [active(1, 10, 7), active(2, 20, 9), active(3, 20, 8)];
        assert_eq!(early(50, &three), Some(3), "of equal ones that with the older data");
        assert_eq!(early(40, &three), None, "there is room");
        assert_eq!(early(90, &[active(1, 10, 7)]), None, "what is being flushed goes soon");
        assert_eq!(early(90, &[active(1, 30, 7)]), Some(1));
        assert!((budget.memtable_load(48 * MIB) - 1.0).abs() < 1e-9);
    }

    fn flushed(options: &ColumnFamilyOptions, windows: bool) -> usize {
        flush_bytes(1_000_000, 64 * MIB, TablePlace::FLUSHED, windows, options)
    }

    #[test]
    fn what_waits_for_a_dictionary_counts_for_each_table_in_the_making() {
        let plain = ColumnFamilyOptions::default();
        let mut trained = ColumnFamilyOptions {
            codecs: crate::options::PerLevel::new([crate::sstable::Codec::ZstdDictionary]),
            ..ColumnFamilyOptions::default()
        };
        let waiting = 100 * trained.zstd.dictionary_bytes as usize;
        assert_eq!(flushed(&trained, false), flushed(&plain, false) + 2 * waiting + TRAINING_BYTES);
        let beside = flushed(&plain, true) - flushed(&plain, false);
        assert_eq!(beside, (OPEN_MAX - 1) * WRITER_BYTES);
        let many = flushed(&trained, true);
        assert!(many >= flushed(&plain, true) + OPEN_MAX * waiting, "{many}");
        let few = flush_bytes(10, MIB, TablePlace::FLUSHED, true, &trained);
        assert!(few < 4 * MIB + TRAINING_BYTES, "{few} for a megabyte");
        // A quarter of a table waits at the most.
        trained.table_bytes = MIB as u64;
        let small = flushed(&trained, false);
        assert_eq!(small, flushed(&plain, false) + 2 * (MIB / 4) + TRAINING_BYTES);
    }

    #[test]
    fn prefixes_in_a_filter_count_as_keys() {
        let plain = ColumnFamilyOptions::default();
        let prefixes = ColumnFamilyOptions {
            prefix_extractor: Some(crate::filter::PrefixExtractor::Fixed(4)),
            ..ColumnFamilyOptions::default()
        };
        let more = flushed(&prefixes, false) - flushed(&plain, false);
        assert_eq!(more, 1_000_000 * FILTER_KEY_BYTES);
    }

    #[test]
    fn a_charge_is_given_back_and_compactions_are_bounded() {
        let accounts = Accounts::new(Some(LIMIT));
        assert!(accounts.admits(1 << 40), "the first always");
        let charge = Charge::new(&accounts.jobs, 30 * MIB);
        assert!(accounts.admits(2 * MIB) && !accounts.admits(3 * MIB));
        assert_eq!(accounts.parts_max(MIB, 8), 3);
        drop(charge);
        assert_eq!(accounts.jobs.load(Ordering::Relaxed), 0);
        assert_eq!(Accounts::new(None).parts_max(MIB, 8), 8);
        assert!(Accounts::new(None).admits(1 << 40));
    }
}
