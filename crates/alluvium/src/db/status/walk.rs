//! The fields of a [`Status`], by name, for [`archive`](super::archive).

use crate::db::events::history::HistoryEntry;
use crate::db::stats::{FamilyStats, LevelStats, Stats};
use crate::db::status::Status;
use crate::db::status::archive::{Archive, list};
use crate::metrics::{COUNTERS, HistogramSnapshot, StallStats};

/// Walks over everything.
pub(super) fn status(archive: &mut dyn Archive, status: &mut Status) {
    archive.number("written_unix_ms", &mut status.written_unix_ms);
    let mut open = u64::from(status.is_open);
    archive.number("open", &mut open);
    status.is_open = open == 1;
    archive.enter("stats");
    stats(archive, &mut status.stats);
    archive.leave();
    list(archive, "history", &mut status.history, history);
}

fn history(archive: &mut dyn Archive, entry: &mut HistoryEntry) {
    archive.number("number", &mut entry.number);
    archive.number("unix_ms", &mut entry.unix_ms);
    archive.text("kind", &mut entry.kind);
    archive.text("text", &mut entry.text);
}

fn stats(archive: &mut dyn Archive, stats: &mut Stats) {
    if stats.counters.is_empty() {
        stats.counters = COUNTERS.iter().map(|(name, _)| (*name, 0)).collect();
    }
    archive.enter("counter");
    for (name, value) in &mut stats.counters {
        archive.number(name, value);
    }
    archive.leave();
    list(archive, "family", &mut stats.families, family);
    list(archive, "stall", &mut stats.stalls, stall);
    archive.enter("histogram");
    for (name, of) in stats.histograms_mut() {
        archive.enter(name);
        histogram(archive, of);
        archive.leave();
    }
    archive.leave();
    archive.number("wal_bytes", &mut stats.wal_bytes);
    archive.number("blob_files", &mut stats.blob_files);
    archive.number("blob_bytes", &mut stats.blob_bytes);
    archive.number("blob_needed_bytes", &mut stats.blob_needed_bytes);
    archive.size("memtable_pool_bytes", &mut stats.memtable_pool_bytes);
    archive.number("block_cache_bytes", &mut stats.block_cache_bytes);
    archive.size("open_tables_bytes", &mut stats.open_tables_bytes);
    archive.size("open_tables", &mut stats.open_tables);
    archive.size("snapshots", &mut stats.snapshots);
    archive.number("sequence_number", &mut stats.sequence_number);
    archive.real("uptime_seconds", &mut stats.uptime_seconds);
    archive.real("period_seconds", &mut stats.period_seconds);
    let mut error = stats.error.take().unwrap_or_default();
    archive.text("error", &mut error);
    stats.error = (!error.is_empty()).then_some(error);
    archive.number("background_failures", &mut stats.background_failures);
    list(archive, "recent_failure", &mut stats.recent_failures, |archive, text| {
        archive.text("text", text);
    });
}

fn stall(archive: &mut dyn Archive, stall: &mut StallStats) {
    archive.text("cause", &mut stall.cause);
    archive.number("count", &mut stall.count);
    archive.number("us", &mut stall.us);
    archive.number("longest_us", &mut stall.longest_us);
}

/// The buckets stand on one line, `top:count` each; the rest follows from them.
fn histogram(archive: &mut dyn Archive, of: &mut HistogramSnapshot) {
    archive.number("sum_ns", &mut of.sum_ns);
    archive.number("max_ns", &mut of.max_ns);
    let pairs: Vec<String> = of.buckets.iter().map(|(top, n)| format!("{top}:{n}")).collect();
    let mut line = pairs.join(" ");
    archive.text("buckets", &mut line);
    let pair = |pair: &str| {
        let (top, count) = pair.split_once(':')?;
        Some((top.parse().ok()?, count.parse().ok()?))
    };
    let mut buckets: Vec<(u64, u64)> = line.split(' ').filter_map(pair).collect();
    buckets.sort_unstable();
    *of = HistogramSnapshot::new(of.sum_ns, of.max_ns, buckets);
}

fn family(archive: &mut dyn Archive, family: &mut FamilyStats) {
    archive.text("name", &mut family.name);
    list(archive, "level", &mut family.levels, level);
    archive.size("active_memtable_bytes", &mut family.active_memtable_bytes);
    archive.number("active_memtable_entries", &mut family.active_memtable_entries);
    archive.number("active_memtable_tombstones", &mut family.active_memtable_tombstones);
    archive.size("immutable_memtables", &mut family.immutable_memtables);
    archive.size("immutable_memtable_bytes", &mut family.immutable_memtable_bytes);
    archive.number("live_bytes", &mut family.live_bytes);
    archive.number("debt_bytes", &mut family.debt_bytes);
}

fn level(archive: &mut dyn Archive, level: &mut LevelStats) {
    archive.size("tables", &mut level.tables);
    archive.size("runs", &mut level.runs);
    archive.real("score", &mut level.score);
    for (name, value) in [
        ("bytes", &mut level.bytes),
        ("read_bytes", &mut level.read_bytes),
        ("written_bytes", &mut level.written_bytes),
        ("arrived_bytes", &mut level.arrived_bytes),
        ("moved_bytes", &mut level.moved_bytes),
        ("jobs", &mut level.jobs),
        ("jobs_us", &mut level.jobs_us),
        ("entries_in", &mut level.entries_in),
        ("entries_dropped", &mut level.entries_dropped),
        ("entries", &mut level.entries),
        ("tombstones", &mut level.tombstones),
        ("filter_bytes", &mut level.filter_bytes),
    ] {
        archive.number(name, value);
    }
}
