//! Floor 1: counters as plain atomics, latency histograms, and the events that a store tells of.
//!
//! A [`Counters`] is shared by every part of one store. Counting is one relaxed addition; reading
//! is a snapshot that is not atomic over all counters, which is what figures for people need.
//! [`event`] has what listeners hear; who calls them, and when, is in `db::events`.

pub(crate) mod event;
pub(crate) mod histogram;
pub(crate) mod stall;
pub(crate) mod text;
pub(crate) mod traffic;

use crate::base::sync::tally::{AtomicU64, Ordering};

pub use event::{
    CompactionBegun, CompactionEnded, Event, EventListener, FlushBegun, FlushEnded, Listeners,
    Stalled, TableInfo, TablesMoved,
};
pub use histogram::{Histogram, HistogramSnapshot};
pub use stall::{StallCause, StallStats, StallTallies};
pub use traffic::LevelTraffic;

/// How long things take, and how long writers wait.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Writes, waiting included.
    pub write: Histogram,
    /// Point lookups, one in 64 of them.
    pub get: Histogram,
    /// Syncs of the log for writers.
    pub wal_sync: Histogram,
    /// Flushes that succeeded.
    pub flush: Histogram,
    /// Compactions that succeeded.
    pub compaction: Histogram,
    /// Waits of writers.
    pub stall: Histogram,
    /// The same by cause.
    pub stalls: StallTallies,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds `count` to what only the caller's thread changes now, because it holds a lock.
    #[inline]
    pub(crate) fn add_alone(&self, count: u64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    /// Adds `count` and gives the sum.
    #[inline]
    pub(crate) fn add_and_get(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed) + count
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters of one store.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Counter,)*
        }

        /// Every counter's name with what it counts, in the order of [`Counters::snapshot`].
        pub const COUNTERS: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),*)),)*];

        impl Counters {
            /// Every counter with its name, in a fixed order.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Operations written (puts and deletes).
    write_operations,
    /// Bytes of keys and values handed in by writers.
    write_user_bytes,
    /// Commit groups: writes to the log that served one or more writers.
    write_groups,
    /// Bytes written to the log.
    wal_bytes,
    /// Syncs of the log.
    wal_syncs,
    /// Point lookups.
    gets,
    /// Point lookups that found a value.
    gets_found,
    /// Bytes of values returned by point lookups.
    get_bytes,
    /// Cursors made.
    cursors,
    /// Entries that cursors stepped to and handed out; a cursor adds its own by the 64, and when it
    /// goes.
    cursor_entries,
    /// Values read from blob files.
    blob_reads,
    /// Bytes of those.
    blob_read_bytes,
    /// Values of blob files that the block cache had.
    blob_cache_hits,
    /// Bytes written to blob files.
    blob_write_bytes,
    /// Tables asked for a key in point lookups.
    table_lookups,
    /// Filters that said a table does not hold a key: the lookups that were saved.
    filter_useful,
    /// Filters that let a lookup through.
    filter_passed,
    /// Lookups let through by a filter that found nothing in the table.
    filter_false_positives,
    /// Blocks found in the block cache.
    cache_hits,
    /// Blocks read from a file because the block cache did not hold them.
    cache_misses,
    /// Bytes of blocks read from files, as stored.
    block_read_bytes,
    /// Blocks of tables read a second time because the first read failed or did not check.
    rereads,
    /// Obsolete files that could not be removed and wait for the next open.
    removals_failed,
    /// Flushes done.
    flushes,
    /// Bytes of tables written by flushes.
    flush_bytes,
    /// Compactions done, trivial moves not counted.
    compactions,
    /// Compactions of level 0 because it held many tables.
    compactions_level0,
    /// Compactions of a deeper level because it was over its size.
    compactions_size,
    /// Compactions for the space that tombstones and expired entries hold.
    compactions_reclaim,
    /// Compactions that somebody asked for.
    compactions_manual,
    /// Parts, beyond the first, that compactions were cut into for several workers.
    compaction_parts,
    /// Tables moved to the next level without being rewritten.
    trivial_moves,
    /// Tables taken out whole, because all that was in them had expired or was dropped.
    tables_dropped,
    /// Bytes of tables read by compactions.
    compaction_read_bytes,
    /// Bytes of tables written by compactions.
    compaction_write_bytes,
    /// Entries that compactions dropped because newer ones hide them.
    compaction_dropped_entries,
    /// Entries that flushes and compactions removed, or made into tombstones, because their time
    /// had come.
    expired_entries,
    /// Data blocks that flushes and compactions stored compressed.
    blocks_compressed,
    /// Data blocks that were stored as they are because compressing them did not save an eighth.
    blocks_incompressible,
    /// Data blocks that were stored as they are without a try, because those before had been
    /// incompressible.
    blocks_not_tried,
    /// Tables that scans skipped because their filters deny the prefix of the bounds.
    prefix_filter_useful,
    /// Tables that scans asked for the prefix of their bounds and went on to read.
    prefix_filter_passed,
    /// Microseconds that flushes and compactions were held by the limit on background work.
    background_limited_us,
    /// Microseconds that writers were slowed because background work is behind.
    stall_level0_slowdown_us,
    /// Microseconds that writers waited because level 0 was full.
    stall_level0_stop_us,
    /// Microseconds that writers waited for immutable memtables to be flushed.
    stall_memtables_us,
    /// Times that a writer was slowed or stopped.
    stalls,
    /// Listeners that panicked, and are not called any more.
    listener_panics,
    /// Times that the file STATUS could not be written.
    status_failures,
}

impl Counters {
    /// What has been read: keys that were looked up, cursors, and entries that cursors handed out.
    pub(crate) fn reads(&self) -> u64 {
        let counts = [&self.gets, &self.cursors, &self.cursor_entries];
        counts.into_iter().map(Counter::get).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_names_every_counter_in_order() {
        let counters = Counters::default();
        counters.wal_bytes.add(3);
        counters.wal_bytes.add(4);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot[0], ("write_operations", 0));
        assert!(snapshot.contains(&("wal_bytes", 7)));
        assert!(snapshot.iter().map(|(name, _)| name).eq(COUNTERS.iter().map(|(name, _)| name)));
        assert_eq!(COUNTERS[0].1, " Operations written (puts and deletes).");
    }
}
