//! What a store has done and holds, and the level table for people.
//!
//! Amplification, as the field defines it: *write*: bytes written to log and tables for each byte
//! that users wrote; *read*: tables asked for each point lookup; *space*: bytes of tables for each
//! byte in the deepest level that holds any, where every key stands once.

use std::fmt;
use std::sync::Arc;

use crate::compaction::CompactionPicker;
use crate::db::background::picker;
use crate::db::core::{Core, nanoseconds};
use crate::db::family::Family;
use crate::metrics::HistogramSnapshot;

/// One level of a column family.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelStats {
    /// Its tables.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How much it wants compacting: due from 1.0.
    pub score: f64,
    /// Bytes read from it by compactions since the store was opened.
    pub read_bytes: u64,
    /// Bytes written to it by flushes and compactions since the store was opened.
    pub written_bytes: u64,
    /// Entries, tombstones and hidden versions included.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
}

/// One column family.
#[derive(Debug, Clone, PartialEq)]
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
}

/// What a store has done since it was opened, and holds now.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Every column family, by id.
    pub families: Vec<FamilyStats>,
    /// Every counter by name; the names are those of the store's metrics.
    pub counters: Vec<(&'static str, u64)>,
    /// Latency of writes, waiting included.
    pub write_latency: HistogramSnapshot,
    /// Latency of point lookups, one in 64 of them.
    pub get_latency: HistogramSnapshot,
    /// Bytes of the log segments that exist.
    pub wal_bytes: u64,
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

    /// Bytes written to log and tables for each byte that users wrote; 0 before the first write.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        let written = self.counter("wal_bytes")
            + self.counter("flush_bytes")
            + self.counter("compaction_write_bytes");
        ratio(written, self.counter("write_user_bytes"))
    }

    /// Tables asked for each point lookup, those that a filter spared not counted.
    #[must_use]
    pub fn read_amplification(&self) -> f64 {
        let asked = self.counter("table_lookups").saturating_sub(self.counter("filter_useful"));
        ratio(asked, self.counter("gets"))
    }

    /// Bytes of tables for each byte in the deepest level of each family; 0 without tables.
    #[must_use]
    pub fn space_amplification(&self) -> f64 {
        let deepest = |family: &FamilyStats| {
            family.levels.iter().rev().map(|level| level.bytes).find(|bytes| *bytes > 0)
        };
        ratio(self.table_bytes(), self.families.iter().filter_map(deepest).sum())
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
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Collects the figures.
pub(crate) fn collect(core: &Arc<Core>) -> Stats {
    let error = core
        .health
        .check()
        .err()
        .or_else(|| core.scheduler.background_error())
        .or_else(|| core.scheduler.damage());
    let failures = core.health.failures();
    let elapsed = nanoseconds(core.env.as_ref()).saturating_sub(core.opened_at_ns);
    Stats {
        families: core.families.all().values().map(|family| family_stats(family)).collect(),
        counters: core.counters.snapshot(),
        write_latency: core.latencies.write.snapshot(),
        get_latency: core.latencies.get.snapshot(),
        wal_bytes: core.wal.lock().total_bytes(),
        memtable_pool_bytes: core.families.pool.bytes(),
        block_cache_bytes: core.tables.block_cache().bytes(),
        open_tables_bytes: core.tables.memory_bytes(),
        open_tables: core.tables.open_tables(),
        snapshots: core.snapshots.sequences().len(),
        sequence_number: core.visible().get(),
        uptime_seconds: elapsed as f64 / 1e9,
        error: error.map(|error| error.to_string()),
        background_failures: failures.count,
        recent_failures: failures.recent.into(),
    }
}

fn family_stats(family: &Family) -> FamilyStats {
    let current = family.peek();
    let scores = picker(family).scores(&current.version);
    let levels = scores
        .into_iter()
        .enumerate()
        .map(|(index, score)| {
            let level = current.version.level(index);
            LevelStats {
                tables: level.tables().len(),
                bytes: level.bytes(),
                score,
                read_bytes: family.traffic[index].read.get(),
                written_bytes: family.traffic[index].written.get(),
                entries: level.tables().iter().map(|table| table.entries).sum(),
                tombstones: level.tables().iter().map(|table| table.tombstones).sum(),
            }
        })
        .collect();
    let immutables = &current.immutables;
    FamilyStats {
        name: family.name.clone(),
        levels,
        active_memtable_bytes: current.active.memory_bytes(),
        active_memtable_entries: current.active.entries(),
        active_memtable_tombstones: current.active.tombstones(),
        immutable_memtables: immutables.len(),
        immutable_memtable_bytes: immutables.iter().map(|one| one.memtable.memory_bytes()).sum(),
    }
}

/// Bytes for people: `12.3 MiB`.
fn bytes_text(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// Nanoseconds for people: `1.2 ms`.
fn time_text(nanoseconds: u64) -> String {
    match nanoseconds {
        0..=999 => format!("{nanoseconds} ns"),
        1_000..=999_999 => format!("{:.1} us", nanoseconds as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.2} s", nanoseconds as f64 / 1e9),
    }
}

fn write_family(f: &mut fmt::Formatter<'_>, family: &FamilyStats) -> fmt::Result {
    writeln!(f, "column family {}", family.name)?;
    writeln!(
        f,
        "  {:<7}{:>7}{:>12}{:>8}{:>12}{:>12}{:>13}{:>12}",
        "level", "tables", "size", "score", "read", "written", "entries", "tombstones"
    )?;
    let last = family.levels.iter().rposition(|level| level.tables > 0 || level.written_bytes > 0);
    for (index, level) in family.levels.iter().enumerate().take(last.map_or(1, |last| last + 1)) {
        writeln!(
            f,
            "  {:<7}{:>7}{:>12}{:>8.2}{:>12}{:>12}{:>13}{:>12}",
            format!("L{index}"),
            level.tables,
            bytes_text(level.bytes),
            level.score,
            bytes_text(level.read_bytes),
            bytes_text(level.written_bytes),
            level.entries,
            level.tombstones
        )?;
    }
    writeln!(
        f,
        "  memtables: {} active ({} entries, {} tombstones), {} immutable ({})",
        bytes_text(family.active_memtable_bytes as u64),
        family.active_memtable_entries,
        family.active_memtable_tombstones,
        family.immutable_memtables,
        bytes_text(family.immutable_memtable_bytes as u64)
    )
}

fn write_latency(f: &mut fmt::Formatter<'_>, name: &str, of: &HistogramSnapshot) -> fmt::Result {
    writeln!(
        f,
        "{name} latency: p50 {}, p99 {}, p99.9 {}, max {} ({} timed)",
        time_text(of.p50_ns),
        time_text(of.p99_ns),
        time_text(of.p999_ns),
        time_text(of.max_ns),
        of.count
    )
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for family in &self.families {
            write_family(f, family)?;
        }
        writeln!(
            f,
            "amplification: write {:.2}, read {:.2}, space {:.2}",
            self.write_amplification(),
            self.read_amplification(),
            self.space_amplification()
        )?;
        writeln!(
            f,
            "log: {} in segments, {} written, {} syncs, {} groups for {} operations",
            bytes_text(self.wal_bytes),
            bytes_text(self.counter("wal_bytes")),
            self.counter("wal_syncs"),
            self.counter("write_groups"),
            self.counter("write_operations")
        )?;
        writeln!(
            f,
            "flushes {}, compactions {} ({} of level 0, {} for size, {} manual), trivial moves {}, \
             entries dropped {}",
            self.counter("flushes"),
            self.counter("compactions"),
            self.counter("compactions_level0"),
            self.counter("compactions_size"),
            self.counter("compactions_manual"),
            self.counter("trivial_moves"),
            self.counter("compaction_dropped_entries")
        )?;
        writeln!(
            f,
            "stalls: {} (level 0 slowdown {}, level 0 stop {}, memtables {})",
            self.counter("stalls"),
            time_text(self.counter("stall_level0_slowdown_us").saturating_mul(1_000)),
            time_text(self.counter("stall_level0_stop_us").saturating_mul(1_000)),
            time_text(self.counter("stall_memtables_us").saturating_mul(1_000))
        )?;
        writeln!(
            f,
            "block cache: {}, hit rate {:.1} %; open tables: {} ({}); filters spared {:.1} % of \
             needless lookups",
            bytes_text(self.block_cache_bytes),
            100.0 * self.cache_hit_rate(),
            self.open_tables,
            bytes_text(self.open_tables_bytes as u64),
            100.0 * self.filter_usefulness()
        )?;
        write_latency(f, "write", &self.write_latency)?;
        write_latency(f, "get", &self.get_latency)?;
        writeln!(
            f,
            "snapshots {}, sequence number {}, open for {:.1} s",
            self.snapshots, self.sequence_number, self.uptime_seconds
        )?;
        if let Some(last) = self.recent_failures.last() {
            writeln!(f, "background failures: {}, the last: {last}", self.background_failures)?;
        }
        match &self.error {
            Some(error) => writeln!(f, "error: {error}"),
            None => Ok(()),
        }
    }
}
