//! Collecting the figures of an open store. Takes each lock for a moment and never two at a time.

use std::sync::Arc;

use crate::compaction::CompactionPicker;
use crate::db::background::picker;
use crate::db::core::{Core, nanoseconds};
use crate::db::family::Family;
use crate::db::stats::{FamilyStats, LevelStats, Stats, live};

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
    let latencies = &core.latencies;
    let blobs = core.blob_usage.load();
    Stats {
        families: core.families.all().values().map(|family| family_stats(family)).collect(),
        counters: core.counters.snapshot(),
        write_latency: latencies.write.snapshot(),
        get_latency: latencies.get.snapshot(),
        wal_sync_latency: latencies.wal_sync.snapshot(),
        flush_duration: latencies.flush.snapshot(),
        compaction_duration: latencies.compaction.snapshot(),
        stall_duration: latencies.stall.snapshot(),
        stalls: latencies.stalls.snapshot(),
        wal_bytes: core.wal.lock().total_bytes(),
        blob_files: blobs.files,
        blob_bytes: blobs.bytes,
        blob_needed_bytes: blobs.needed,
        memtable_pool_bytes: core.families.pool.bytes(),
        block_cache_bytes: core.tables.block_cache().bytes(),
        open_tables_bytes: core.tables.memory_bytes(),
        open_tables: core.tables.open_tables(),
        snapshots: core.snapshots.sequences().len(),
        sequence_number: core.visible().get(),
        uptime_seconds: elapsed as f64 / 1e9,
        period_seconds: elapsed as f64 / 1e9,
        error: error.map(|error| error.to_string()),
        background_failures: failures.count,
        recent_failures: failures.recent.into(),
    }
}

fn family_stats(family: &Family) -> FamilyStats {
    let current = family.peek();
    let scores = picker(family).scores(&current.version);
    let level_stats = |(index, score)| {
        let level = current.version.level(index);
        let traffic = &family.traffic[index];
        LevelStats {
            tables: level.runs().iter().map(|run| run.tables().len()).sum(),
            runs: level.runs().len(),
            bytes: level.bytes(),
            score,
            read_bytes: traffic.read.get(),
            written_bytes: traffic.written.get(),
            arrived_bytes: traffic.arrived.get(),
            moved_bytes: traffic.moved.get(),
            jobs: traffic.jobs.get(),
            jobs_us: traffic.us.get(),
            entries_in: traffic.entries_in.get(),
            entries_dropped: traffic.entries_dropped.get(),
            entries: level.sums().entries,
            filter_bytes: level.sums().filter_bytes,
            tombstones: level.sums().tombstones,
        }
    };
    let levels: Vec<LevelStats> = scores.into_iter().enumerate().map(level_stats).collect();
    let immutables = &current.immutables;
    FamilyStats {
        name: family.name.clone(),
        debt_bytes: live::debt_bytes(&levels),
        levels,
        active_memtable_bytes: current.active.memory_bytes(),
        active_memtable_entries: current.active.entries(),
        active_memtable_tombstones: current.active.tombstones(),
        immutable_memtables: immutables.len(),
        immutable_memtable_bytes: immutables.iter().map(|one| one.memtable.memory_bytes()).sum(),
        live_bytes: live::live_bytes(&current.version),
    }
}
