//! What one child measured: the line of JSON between it and the parent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// One engine, one workload, one round. Every field is there: a line of an older version, which
/// lacks some, is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run of the parent that this belongs to: rounds of one run are compared, no others.
    pub run: String,
    /// What it ran with: what was asked for, and what the workload fixes.
    pub settings: Settings,
    /// The engine, with its version.
    pub engine: String,
    /// The workload.
    pub workload: String,
    /// The round, from 1.
    pub round: u32,
    /// Operations of the timed phase.
    pub operations: u64,
    /// How long it took.
    pub seconds: f64,
    /// Operations a second of the timed phase.
    pub rate: f64,
    /// Operations a second, the time until background work was idle included.
    pub settled_rate: f64,
    /// Processor time of the whole process in the timed phase, microseconds an operation.
    pub cpu_us: f64,
    /// The same with the time until background work was idle.
    pub cpu_settled_us: f64,
    /// Latencies of one call (a batch, where batches are written), microseconds.
    pub p50_us: f64,
    /// 99 in 100 calls were at most this long.
    pub p99_us: f64,
    /// 999 in 1,000 calls were at most this long.
    pub p999_us: f64,
    /// The longest call: the longest pause.
    pub max_us: f64,
    /// Seconds from the end of the timed phase until background work was idle.
    pub settle_seconds: f64,
    /// Bytes that the kernel counts as written by the process, by the bytes handed in. Background
    /// work included; none for a workload that only reads.
    pub write_amplification: Option<f64>,
    /// The same by the engine's own account, where it keeps one.
    pub write_amplification_own: Option<f64>,
    /// Bytes that the kernel counts as written by the process, until background work was idle.
    pub written_bytes: u64,
    /// Bytes that the store's directory takes on disk.
    pub disk_bytes: u64,
    /// Bytes that the store's directory takes on disk, by the bytes of the live entries.
    pub space_amplification: f64,
    /// The most memory that the process had since the timed phase began, MiB.
    pub peak_memory_mib: f64,
    /// Figures of this workload only, such as the rate of the writer beside the readers.
    pub extra: BTreeMap<String, f64>,
}

impl Record {
    /// When it was measured, as far as comparing goes: the run and the round.
    pub fn moment(&self) -> (&str, u32) {
        (&self.run, self.round)
    }

    /// The engine's name without its version.
    pub fn name(&self) -> &str {
        self.engine.split(' ').next().unwrap_or_default()
    }

    /// A record of a test: an engine, a workload, a round and a rate.
    #[cfg(test)]
    pub fn sample(engine: &str, workload: &str, round: u32, rate: f64) -> Record {
        Record {
            run: "run".to_owned(),
            settings: Settings::small(100),
            engine: engine.to_owned(),
            workload: workload.to_owned(),
            round,
            operations: 100,
            seconds: 100.0 / rate,
            rate,
            settled_rate: rate,
            cpu_us: 1e6 / rate,
            cpu_settled_us: 1e6 / rate,
            p50_us: 1.0,
            p99_us: 2.0,
            p999_us: 3.0,
            max_us: 4.0,
            settle_seconds: 0.0,
            write_amplification: None,
            write_amplification_own: None,
            written_bytes: 0,
            disk_bytes: 1,
            space_amplification: 1.0,
            peak_memory_mib: 1.0,
            extra: BTreeMap::new(),
        }
    }
}
