//! The statistics as a table for people; the columns are those of RocksDB's.

use std::fmt;

use crate::db::stats::{FamilyStats, LevelStats, Stats, ratio};
use crate::metrics::HistogramSnapshot;
use crate::metrics::text::{bytes, micros, time};

/// The heads of the columns. Read is what compactions read *from* the level, everything right of it
/// is what went *to* it.
const HEAD: [&str; 17] = [
    "level",
    "tables",
    "runs",
    "size",
    "score",
    "read",
    "written",
    "moved",
    "w-amp",
    "rd MiB/s",
    "wr MiB/s",
    "sec",
    "jobs",
    "avg sec",
    "keys in",
    "dropped",
    "tombstones",
];

const WIDTHS: [usize; 17] = [7, 7, 5, 11, 7, 11, 11, 11, 7, 10, 10, 9, 7, 9, 12, 11, 11];

fn write_row<T: AsRef<str>>(f: &mut fmt::Formatter<'_>, cells: &[T]) -> fmt::Result {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        let cell = cell.as_ref();
        match at {
            0 => line.push_str(&format!("  {cell:<width$}")),
            _ => line.push_str(&format!("{cell:>width$}")),
        }
    }
    writeln!(f, "{}", line.trim_end())
}

/// Mebibytes a second of job time.
fn speed(bytes: u64, us: u64) -> String {
    let seconds = us as f64 / 1e6;
    if us == 0 { "0.0".to_owned() } else { format!("{:.1}", bytes as f64 / seconds / 1048576.0) }
}

fn cells(name: String, level: &LevelStats) -> Vec<String> {
    let seconds = level.jobs_us as f64 / 1e6;
    vec![
        name,
        level.tables.to_string(),
        level.runs.to_string(),
        bytes(level.bytes),
        format!("{:.2}", level.score),
        bytes(level.read_bytes),
        bytes(level.written_bytes),
        bytes(level.moved_bytes),
        format!("{:.2}", level.write_amplification()),
        speed(level.read_bytes, level.jobs_us),
        speed(level.written_bytes, level.jobs_us),
        format!("{seconds:.2}"),
        level.jobs.to_string(),
        format!("{:.3}", seconds / level.jobs.max(1) as f64),
        level.entries_in.to_string(),
        level.entries_dropped.to_string(),
        level.tombstones.to_string(),
    ]
}

/// The sums of a family's levels. Amplification: all that was written for each byte flushed.
fn sum(levels: &[LevelStats]) -> LevelStats {
    let mut sum = LevelStats::default();
    for level in levels {
        sum.tables += level.tables;
        sum.runs += level.runs;
        sum.bytes += level.bytes;
        sum.score = sum.score.max(level.score);
        sum.read_bytes += level.read_bytes;
        sum.written_bytes += level.written_bytes;
        sum.moved_bytes += level.moved_bytes;
        sum.jobs += level.jobs;
        sum.jobs_us += level.jobs_us;
        sum.entries_in += level.entries_in;
        sum.entries_dropped += level.entries_dropped;
        sum.tombstones += level.tombstones;
    }
    sum.arrived_bytes = levels.first().map_or(0, |level0| level0.arrived_bytes);
    sum
}

fn write_family(f: &mut fmt::Formatter<'_>, family: &FamilyStats) -> fmt::Result {
    writeln!(f, "column family {}", family.name)?;
    write_row(f, &HEAD)?;
    let used = |level: &LevelStats| level.tables > 0 || level.jobs > 0 || level.moved_bytes > 0;
    let last = family.levels.iter().rposition(used);
    for (index, level) in family.levels.iter().enumerate().take(last.map_or(1, |last| last + 1)) {
        write_row(f, &cells(format!("L{index}"), level))?;
    }
    write_row(f, &cells("sum".to_owned(), &sum(&family.levels)))?;
    let total: u64 = family.levels.iter().map(|level| level.bytes).sum();
    writeln!(
        f,
        "  live data {} (estimated), space amplification {:.2}, {} to compact",
        bytes(family.live_bytes),
        ratio(total, family.live_bytes),
        bytes(family.debt_bytes)
    )?;
    writeln!(
        f,
        "  memtables: {} active ({} entries, {} tombstones), {} immutable ({})",
        bytes(family.active_memtable_bytes as u64),
        family.active_memtable_entries,
        family.active_memtable_tombstones,
        family.immutable_memtables,
        bytes(family.immutable_memtable_bytes as u64)
    )
}

fn write_latency(f: &mut fmt::Formatter<'_>, name: &str, of: &HistogramSnapshot) -> fmt::Result {
    if of.count == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "{name}: p50 {}, p99 {}, p99.9 {}, max {} ({} timed)",
        time(of.p50_ns),
        time(of.p99_ns),
        time(of.p999_ns),
        time(of.max_ns),
        of.count
    )
}

impl Stats {
    fn write_work(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            bytes(self.wal_bytes),
            bytes(self.counter("wal_bytes")),
            self.counter("wal_syncs"),
            self.counter("write_groups"),
            self.counter("write_operations")
        )?;
        if self.blob_files > 0 || self.counter("blob_write_bytes") > 0 {
            writeln!(
                f,
                "blob files: {} of {}, {} of that needed; {} written, {} values read, {} found in \
                 the cache",
                self.blob_files,
                bytes(self.blob_bytes),
                bytes(self.blob_needed_bytes),
                bytes(self.counter("blob_write_bytes")),
                self.counter("blob_reads"),
                self.counter("blob_cache_hits")
            )?;
        }
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
        )
    }

    fn write_stalls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stalls:")?;
        let mut before = " ";
        for stall in self.stalls.iter().filter(|stall| stall.count > 0) {
            write!(
                f,
                "{before}{} {} times, {} in all, longest {}",
                stall.cause,
                stall.count,
                micros(stall.us),
                micros(stall.longest_us)
            )?;
            before = "; ";
        }
        writeln!(f, "{}", if before == " " { " none" } else { "" })
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for family in &self.families {
            write_family(f, family)?;
        }
        self.write_work(f)?;
        self.write_stalls(f)?;
        writeln!(
            f,
            "block cache: {}, hit rate {:.1} %; open tables: {} ({}); filters spared {:.1} % of \
             needless lookups ({} spared, {} let through for nothing)",
            bytes(self.block_cache_bytes),
            100.0 * self.cache_hit_rate(),
            self.open_tables,
            bytes(self.open_tables_bytes as u64),
            100.0 * self.filter_usefulness(),
            self.counter("filter_useful"),
            self.counter("filter_false_positives")
        )?;
        write_latency(f, "write latency", &self.write_latency)?;
        write_latency(f, "get latency", &self.get_latency)?;
        write_latency(f, "log sync", &self.wal_sync_latency)?;
        write_latency(f, "flush", &self.flush_duration)?;
        write_latency(f, "compaction", &self.compaction_duration)?;
        write_latency(f, "stall", &self.stall_duration)?;
        write!(
            f,
            "snapshots {}, sequence number {}, open for {:.1} s",
            self.snapshots, self.sequence_number, self.uptime_seconds
        )?;
        if self.period_seconds < self.uptime_seconds {
            write!(f, ", sums of the last {:.1} s", self.period_seconds)?;
        }
        writeln!(f)?;
        if let Some(last) = self.recent_failures.last() {
            writeln!(f, "background failures: {}, the last: {last}", self.background_failures)?;
        }
        match &self.error {
            Some(error) => writeln!(f, "error: {error}"),
            None => Ok(()),
        }
    }
}
