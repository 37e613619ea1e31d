//! What a store has done and holds.
//!
//! [`Stats`] is plain data: cumulative figures since the store was opened beside what it holds now.
//! [`Stats::since`] makes the figures of an interval of two of them, which print the same table.
//!
//! # Amplification
//!
//! As the field defines it. *Write*: bytes written to log, tables and blob files for each byte that
//! users wrote. *Read*: tables asked for each point lookup. *Space*: bytes of tables and blob files
//! for each byte of live data, which is an estimate: see [`live`].

mod collect;
pub(crate) mod live;
mod prometheus;
mod table;

pub(crate) use collect::collect;

use crate::metrics::{HistogramSnapshot, StallStats};

/// One level of a column family. Sums are since the store was opened, or over an interval.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LevelStats {
    /// Its tables.
    pub tables: usize,
    /// Its sorted runs: what a point lookup may have to ask one table of each.
    pub runs: usize,
    /// Bytes of its tables.
    pub bytes: u64,
    /// How much it wants compacting: due from 1.0.
    pub score: f64,
    /// Bytes of its tables that compactions read.
    pub read_bytes: u64,
    /// Bytes that flushes and compactions wrote to it.
    pub written_bytes: u64,
    /// Bytes that came to it from above and were written here.
    pub arrived_bytes: u64,
    /// Bytes of tables moved to it without being rewritten.
    pub moved_bytes: u64,
    /// Flushes and compactions that wrote to it.
    pub jobs: u64,
    /// Their time, in microseconds.
    pub jobs_us: u64,
    /// Entries that they read.
    pub entries_in: u64,
    /// Entries that they dropped.
    pub entries_dropped: u64,
    /// Entries it holds, tombstones and hidden versions included.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Bytes of its tables' filters.
    pub filter_bytes: u64,
}

impl LevelStats {
    /// Bytes written to the level for each byte that came to it; 0 before any came.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        ratio(self.written_bytes, self.arrived_bytes)
    }
}

/// One column family.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FamilyStats {
    /// Its name.
    pub name: String,
    /// Its levels, 0 first.
    pub levels: Vec<LevelStats>,
    /// Bytes of its active memtable.
    pub active_memtable_bytes: usize,
    /// Its entries.
    pub active_memtable_entries: u64,
    /// Tombstones among them.
    pub active_memtable_tombstones: u64,
    /// Immutable memtables that wait to be flushed.
    pub immutable_memtables: usize,
    /// Bytes of those.
    pub immutable_memtable_bytes: usize,
    /// Bytes of tables that are live, estimated: tables whose keys no lower table covers, less what
    /// tombstones delete. Tables that overlap others count as rewritten keys until compaction has
    /// seen them, so that the estimate is low, never high, where keys are new.
    pub live_bytes: u64,
    /// Bytes that compactions have to work off until no level is due: those over the targets of the
    /// levels, and all of level 0 where it is due.
    pub debt_bytes: u64,
}

/// What a store has done since it was opened, or over an interval, and holds now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// Every column family, by id.
    pub families: Vec<FamilyStats>,
    /// Every counter by name; docs/observability.md says what each counts.
    pub counters: Vec<(&'static str, u64)>,
    /// Latency of writes, waiting included.
    pub write_latency: HistogramSnapshot,
    /// Latency of point lookups, one in 64 of them.
    pub get_latency: HistogramSnapshot,
    /// How long syncs of the log for writers took.
    pub wal_sync_latency: HistogramSnapshot,
    /// How long flushes took.
    pub flush_duration: HistogramSnapshot,
    /// How long compactions took.
    pub compaction_duration: HistogramSnapshot,
    /// How long writers waited for background work, each time that they did.
    pub stall_duration: HistogramSnapshot,
    /// The same by cause.
    pub stalls: Vec<StallStats>,
    /// Bytes of the log segments that exist.
    pub wal_bytes: u64,
    /// Blob files that are live.
    pub blob_files: u64,
    /// Their length together.
    pub blob_bytes: u64,
    /// Bytes of the values in them that tables need; the rest is garbage.
    pub blob_needed_bytes: u64,
    /// Bytes of memory that memtables left to those that come after them.
    pub memtable_pool_bytes: usize,
    /// Bytes in the block cache.
    pub block_cache_bytes: u64,
    /// Bytes of indexes and filters of open tables.
    pub open_tables_bytes: usize,
    /// Tables open.
    pub open_tables: usize,
    /// Live snapshots.
    pub snapshots: usize,
    /// The last sequence number that may be seen.
    pub sequence_number: u64,
    /// Seconds since the store was opened.
    pub uptime_seconds: f64,
    /// Seconds that sums and counters cover: since the store was opened, or those of an interval.
    pub period_seconds: f64,
    /// The failure that background work waits to overcome, that stopped writes, or the damage that
    /// a compaction found.
    pub error: Option<String>,
    /// Flushes and compactions that failed since the store was opened, those that succeeded when
    /// they were tried again included.
    pub background_failures: u64,
    /// The last sixteen of them, oldest first.
    pub recent_failures: Vec<String>,
}

impl Stats {
    /// The counter `name`; 0 where there is none of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }

    /// Bytes of all tables.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.families.iter().flat_map(|family| &family.levels).map(|level| level.bytes).sum()
    }

    /// Bytes of tables that are live, estimated: see [`FamilyStats::live_bytes`].
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.families.iter().map(|family| family.live_bytes).sum()
    }

    /// Bytes that compactions have to work off: see [`FamilyStats::debt_bytes`].
    #[must_use]
    pub fn debt_bytes(&self) -> u64 {
        self.families.iter().map(|family| family.debt_bytes).sum()
    }

    /// Bytes of memory in memtables, block cache, and indexes and filters of open tables.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let memtables = self.families.iter().map(|family| {
            family.active_memtable_bytes as u64 + family.immutable_memtable_bytes as u64
        });
        memtables.sum::<u64>()
            + self.memtable_pool_bytes as u64
            + self.block_cache_bytes
            + self.open_tables_bytes as u64
    }

    /// Bytes written to log, tables and blob files for each byte that users wrote; 0 before the
    /// first write.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        let written = self.counter("wal_bytes")
            + self.counter("flush_bytes")
            + self.counter("compaction_write_bytes")
            + self.counter("blob_write_bytes");
        ratio(written, self.counter("write_user_bytes"))
    }

    /// Tables asked for each point lookup, those that a filter spared not counted.
    #[must_use]
    pub fn read_amplification(&self) -> f64 {
        let asked = self.counter("table_lookups").saturating_sub(self.counter("filter_useful"));
        ratio(asked, self.counter("gets"))
    }

    /// Bytes of tables and blob files for each byte of live data, estimated; 0 without tables.
    #[must_use]
    pub fn space_amplification(&self) -> f64 {
        let live = self.live_bytes() + self.blob_needed_bytes;
        ratio(self.table_bytes() + self.blob_bytes, live)
    }

    /// The share of blocks that were found in the cache.
    #[must_use]
    pub fn cache_hit_rate(&self) -> f64 {
        let hits = self.counter("cache_hits");
        ratio(hits, hits + self.counter("cache_misses"))
    }

    /// The share of table lookups without a result that filters spared.
    #[must_use]
    pub fn filter_usefulness(&self) -> f64 {
        let useful = self.counter("filter_useful");
        ratio(useful, useful + self.counter("filter_false_positives"))
    }

    /// A sum over the period, a second; 0 where no time has passed.
    #[must_use]
    pub fn per_second(&self, sum: u64) -> f64 {
        if self.period_seconds > 0.0 { sum as f64 / self.period_seconds } else { 0.0 }
    }

    /// What happened between `earlier` and this: sums, counters and latencies are those of the time
    /// between, the rest is as it is here. Where the store was opened anew in between, it is what
    /// happened since then.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.put("a", "1")?;
    /// let earlier = db.stats();
    /// db.put("b", "2")?;
    /// assert_eq!(db.stats().counter("write_operations"), 2);
    /// assert_eq!(db.stats().since(&earlier).counter("write_operations"), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Stats) -> Stats {
        let reopened = self.uptime_seconds < earlier.uptime_seconds
            || self.counters.iter().any(|(name, count)| *count < earlier.counter(name));
        if reopened {
            return self.clone();
        }
        let mut interval = self.clone();
        for (name, count) in &mut interval.counters {
            *count -= earlier.counter(name);
        }
        for family in &mut interval.families {
            let before = earlier.families.iter().find(|known| known.name == family.name);
            for (at, level) in family.levels.iter_mut().enumerate() {
                if let Some(before) = before.and_then(|family| family.levels.get(at)) {
                    subtract(level, before);
                }
            }
        }
        for stall in &mut interval.stalls {
            if let Some(before) = earlier.stalls.iter().find(|known| known.cause == stall.cause) {
                stall.count = stall.count.saturating_sub(before.count);
                stall.us = stall.us.saturating_sub(before.us);
            }
        }
        let histograms = interval.histograms_mut().into_iter().zip(earlier.histograms());
        for ((_, of), (_, before)) in histograms {
            *of = of.since(before);
        }
        interval.background_failures -= earlier.background_failures.min(self.background_failures);
        interval.period_seconds = self.uptime_seconds - earlier.uptime_seconds;
        interval
    }

    /// Every histogram with its name.
    #[must_use]
    pub fn histograms(&self) -> [(&'static str, &HistogramSnapshot); 6] {
        [
            ("write", &self.write_latency),
            ("get", &self.get_latency),
            ("wal_sync", &self.wal_sync_latency),
            ("flush", &self.flush_duration),
            ("compaction", &self.compaction_duration),
            ("stall", &self.stall_duration),
        ]
    }

    pub(crate) fn histograms_mut(&mut self) -> [(&'static str, &mut HistogramSnapshot); 6] {
        [
            ("write", &mut self.write_latency),
            ("get", &mut self.get_latency),
            ("wal_sync", &mut self.wal_sync_latency),
            ("flush", &mut self.flush_duration),
            ("compaction", &mut self.compaction_duration),
            ("stall", &mut self.stall_duration),
        ]
    }
}

/// Takes the sums of `before` off a level's.
fn subtract(level: &mut LevelStats, before: &LevelStats) {
    for (sum, before) in [
        (&mut level.read_bytes, before.read_bytes),
        (&mut level.written_bytes, before.written_bytes),
        (&mut level.arrived_bytes, before.arrived_bytes),
        (&mut level.moved_bytes, before.moved_bytes),
        (&mut level.jobs, before.jobs),
        (&mut level.jobs_us, before.jobs_us),
        (&mut level.entries_in, before.entries_in),
        (&mut level.entries_dropped, before.entries_dropped),
    ] {
        *sum = sum.saturating_sub(before);
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
