//! What one child measured: the line of JSON between it and the parent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One engine, one workload, one round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
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
    #[serde(default)]
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
    #[serde(default)]
    pub written_bytes: u64,
    /// Bytes that the store's directory takes on disk.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Bytes that the store's directory takes on disk, by the bytes of the live entries.
    pub space_amplification: f64,
    /// The most memory that the process had since the timed phase began, MiB.
    pub peak_memory_mib: f64,
    /// Figures of this workload only, such as the rate of the writer beside the readers.
    pub extra: BTreeMap<String, f64>,
}
