//! The statistics in Prometheus' text format, version 0.0.4.
//!
//! Names begin with `alluvium_`, units are seconds and bytes, sums end in `_total`. A counter of
//! `metrics` gets its name and its help from there, so that none can be forgotten. Histograms are
//! told at fixed bounds from a microsecond to a minute; a duration within a sixteenth below a bound
//! may be counted at the next one.

use std::fmt::Display;

use crate::db::stats::{FamilyStats, LevelStats, Stats};
use crate::metrics::{COUNTERS, HistogramSnapshot};

/// Bounds of the buckets, in nanoseconds.
const BOUNDS_NS: [u64; 24] = {
    let mut bounds = [0; 24];
    let (mut at, mut power) = (0, 1_000);
    while at + 2 < bounds.len() {
        bounds[at] = power;
        bounds[at + 1] = power * 5 / 2;
        bounds[at + 2] = power * 5;
        at += 3;
        power *= 10;
    }
    bounds
};

const HISTOGRAM_HELP: [(&str, &str, &str); 6] = [
    ("write", "write_latency_seconds", "How long writes took, waiting included."),
    ("get", "get_latency_seconds", "How long point lookups took; one in 64 is timed."),
    ("wal_sync", "wal_sync_seconds", "How long syncs of the log for writers took."),
    ("flush", "flush_duration_seconds", "How long flushes took."),
    ("compaction", "compaction_duration_seconds", "How long compactions took."),
    ("stall", "stall_duration_seconds", "How long writers waited for background work."),
];

/// The text so far.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.trim().replace('\\', "\\\\").replace('\n', " ");
        self.line(&format!("# HELP alluvium_{name} {help}"));
        self.line(&format!("# TYPE alluvium_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut line = format!("alluvium_{name}");
        for (at, (label, of)) in labels.iter().enumerate() {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            line.push_str(&format!("{}{label}=\"{of}\"", if at == 0 { "{" } else { "," }));
        }
        if !labels.is_empty() {
            line.push('}');
        }
        self.line(&format!("{line} {value}"));
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// One metric without labels.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }
}

impl Stats {
    /// Every figure in Prometheus' text exposition format 0.0.4, to be served as
    /// `text/plain; version=0.0.4`.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.put("key", "value")?;
    /// let text = db.stats().to_prometheus();
    /// assert!(text.contains("\nalluvium_write_operations_total 1\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = Text(String::new());
        counters(&mut text, self);
        stalls(&mut text, self);
        histograms(&mut text, self);
        levels(&mut text, self);
        families(&mut text, self);
        store(&mut text, self);
        text.0
    }
}

/// Every counter but those of stalls, which are told by cause.
fn counters(text: &mut Text, stats: &Stats) {
    for (name, help) in COUNTERS {
        if name.starts_with("stall") {
            continue;
        }
        let value = stats.counter(name);
        match name.strip_suffix("_us") {
            Some(of) => {
                let name = format!("{of}_seconds_total");
                text.one(&name, "counter", help, seconds(value));
            }
            None => text.one(&format!("{name}_total"), "counter", help, value),
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn stalls(text: &mut Text, stats: &Stats) {
    text.head("stalls_total", "counter", "Waits of writers for background work.");
    for stall in &stats.stalls {
        text.sample("stalls_total", &[("cause", &stall.cause)], stall.count);
    }
    text.head("stall_seconds_total", "counter", "Time that writers waited.");
    for stall in &stats.stalls {
        text.sample("stall_seconds_total", &[("cause", &stall.cause)], seconds(stall.us));
    }
    text.head("stall_longest_seconds", "gauge", "The longest wait since the store was opened.");
    for stall in &stats.stalls {
        let longest = seconds(stall.longest_us);
        text.sample("stall_longest_seconds", &[("cause", &stall.cause)], longest);
    }
}

fn histograms(text: &mut Text, stats: &Stats) {
    for (name, of) in stats.histograms() {
        if let Some((_, name, help)) = HISTOGRAM_HELP.iter().find(|(known, _, _)| *known == name) {
            histogram(text, name, help, of);
        }
    }
}

fn histogram(text: &mut Text, name: &str, help: &str, of: &HistogramSnapshot) {
    text.head(name, "histogram", help);
    let bucket = format!("{name}_bucket");
    for bound in BOUNDS_NS {
        let le = (bound as f64 / 1e9).to_string();
        text.sample(&bucket, &[("le", &le)], of.count_up_to(bound));
    }
    text.sample(&bucket, &[("le", "+Inf")], of.count);
    text.sample(&format!("{name}_sum"), &[], of.sum_ns as f64 / 1e9);
    text.sample(&format!("{name}_count"), &[], of.count);
}

/// A metric of every level: name, kind, help, value.
type OfLevel = (&'static str, &'static str, &'static str, fn(&LevelStats) -> f64);

const LEVELS: [OfLevel; 15] = [
    ("level_tables", "gauge", "Tables of the level.", |level| level.tables as f64),
    ("level_runs", "gauge", "Sorted runs of the level.", |level| level.runs as f64),
    ("level_size_bytes", "gauge", "Bytes of the level's tables.", |level| level.bytes as f64),
    ("level_score", "gauge", "How much it wants compacting: due from 1.", |level| level.score),
    ("level_entries", "gauge", "Entries of the level.", |level| level.entries as f64),
    ("level_tombstones", "gauge", "Tombstones of the level.", |level| level.tombstones as f64),
    ("level_filter_bytes", "gauge", "Bytes of the filters of the level's tables.", |level| {
        level.filter_bytes as f64
    }),
    ("level_read_bytes_total", "counter", "Bytes compactions read from the level.", |level| {
        level.read_bytes as f64
    }),
    ("level_written_bytes_total", "counter", "Bytes jobs wrote to the level.", |level| {
        level.written_bytes as f64
    }),
    ("level_arrived_bytes_total", "counter", "Bytes that came from above.", |level| {
        level.arrived_bytes as f64
    }),
    ("level_moved_bytes_total", "counter", "Bytes moved there without a rewrite.", |level| {
        level.moved_bytes as f64
    }),
    ("level_jobs_total", "counter", "Jobs that wrote to the level.", |level| level.jobs as f64),
    ("level_job_seconds_total", "counter", "Their time.", |level| seconds(level.jobs_us)),
    ("level_job_entries_total", "counter", "Entries that they read.", |level| {
        level.entries_in as f64
    }),
    ("level_job_dropped_entries_total", "counter", "Entries that they dropped.", |level| {
        level.entries_dropped as f64
    }),
];

fn levels(text: &mut Text, stats: &Stats) {
    for (name, kind, help, value) in LEVELS {
        text.head(name, kind, help);
        for family in &stats.families {
            for (index, level) in family.levels.iter().enumerate() {
                let labels = [("family", family.name.as_str()), ("level", &index.to_string())];
                text.sample(name, &labels, value(level));
            }
        }
    }
}

/// A metric of every column family: name, help, value.
type OfFamily = (&'static str, &'static str, fn(&FamilyStats) -> u64);

const FAMILIES: [OfFamily; 7] = [
    ("live_bytes", "Bytes of tables that are live, estimated.", |family| family.live_bytes),
    ("debt_bytes", "Bytes that compactions have to work off.", |family| family.debt_bytes),
    ("active_memtable_bytes", "Bytes of the memtable that takes writes.", |family| {
        family.active_memtable_bytes as u64
    }),
    ("active_memtable_entries", "Its entries.", |family| family.active_memtable_entries),
    ("active_memtable_tombstones", "Tombstones among them.", |family| {
        family.active_memtable_tombstones
    }),
    ("immutable_memtables", "Memtables that wait to be flushed.", |family| {
        family.immutable_memtables as u64
    }),
    ("immutable_memtable_bytes", "Bytes of those.", |family| {
        family.immutable_memtable_bytes as u64
    }),
];

fn families(text: &mut Text, stats: &Stats) {
    for (name, help, value) in FAMILIES {
        text.head(name, "gauge", help);
        for family in &stats.families {
            text.sample(name, &[("family", &family.name)], value(family));
        }
    }
}

/// What is of the whole store.
fn store(text: &mut Text, stats: &Stats) {
    let failed = u64::from(stats.error.is_some());
    for (name, help, value) in [
        ("wal_size_bytes", "Bytes of the log segments that exist.", stats.wal_bytes),
        ("blob_files", "Blob files that are live.", stats.blob_files),
        ("blob_size_bytes", "Their length together.", stats.blob_bytes),
        ("blob_needed_bytes", "Bytes in them that tables need.", stats.blob_needed_bytes),
        ("memory_bytes", "Memtables, block cache, open tables.", stats.memory_bytes()),
        ("memtable_pool_bytes", "Memory kept for coming memtables.", {
            stats.memtable_pool_bytes as u64
        }),
        ("block_cache_bytes", "Bytes in the block cache.", stats.block_cache_bytes),
        ("open_tables", "Tables open.", stats.open_tables as u64),
        ("open_tables_bytes", "Indexes and filters of those.", stats.open_tables_bytes as u64),
        ("snapshots", "Live snapshots.", stats.snapshots as u64),
        ("sequence_number", "The last that may be seen.", stats.sequence_number),
        ("failed", "1 while background work or writing is stopped by a failure.", failed),
    ] {
        text.one(name, "gauge", help, value);
    }
    let failures = stats.background_failures;
    text.one("background_failures_total", "counter", "Jobs that failed.", failures);
    for (name, help, value) in [
        ("write_amplification", "Bytes written for each of the user's.", {
            stats.write_amplification()
        }),
        ("read_amplification", "Tables asked for each point lookup.", stats.read_amplification()),
        ("space_amplification", "Bytes of tables for each live byte, estimated.", {
            stats.space_amplification()
        }),
        ("uptime_seconds", "Since the store was opened.", stats.uptime_seconds),
    ] {
        text.one(name, "gauge", help, value);
    }
}
