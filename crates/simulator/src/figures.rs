//! What a simulation measured: amplifications, debt, stalls.
//!
//! *Write*: bytes of log and tables for each byte of the user's. *Space*: bytes of tables for each
//! byte that tables of the live entries alone would take. *Read, worst*: sorted runs that hold a
//! range around one key. *Read, mean*: blocks that a lookup reads where filters are in memory and
//! blocks are not: `1` for the block that holds the entry, and a filter's error for each run that
//! is asked in vain.

use crate::load::Load;
use crate::settings::Settings;
use crate::store::Store;

/// The tree at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Written by the user since measuring began.
    pub user_bytes: f64,
    /// Bytes that compactions will read before nothing is due, as the picker estimates.
    pub debt: f64,
    /// Space amplification without outputs under way.
    pub space: f64,
    /// Sorted runs.
    pub runs: usize,
    /// Sorted runs that a lookup may touch.
    pub depth: usize,
    /// Block reads of a lookup that finds its key.
    pub hit: f64,
    /// Block reads of a lookup that does not, with the same bits for every key.
    pub miss: f64,
    /// The same with as many bits given out by Monkey's formula.
    pub miss_monkey: f64,
}

/// What was measured over a run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub user_bytes: f64,
    pub log_bytes: f64,
    pub flush_bytes: f64,
    pub compaction_read: f64,
    pub compaction_written: f64,
    /// The most bytes that one compaction read.
    pub compaction_largest: f64,
    pub flushes: u64,
    pub compactions: u64,
    pub space_peak: f64,
    /// Seconds, in the store's own time.
    pub seconds: f64,
    /// Seconds for which writers stood still.
    pub stalled: f64,
    /// The longest of those times, or the longest that a single batch was held.
    pub stall_longest: f64,
    pub samples: Vec<Sample>,
}

impl Figures {
    /// Bytes written for each byte of the user's, the log included.
    pub fn write_amplification(&self) -> f64 {
        let written = self.log_bytes + self.flush_bytes + self.compaction_written;
        written / self.user_bytes.max(1.0)
    }

    /// The worst sample of what `of` looks at.
    pub fn worst(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).fold(0.0, f64::max)
    }

    /// The mean over all samples of what `of` looks at.
    pub fn mean(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).sum::<f64>() / self.samples.len().max(1) as f64
    }

    /// The last sample.
    pub fn last(&self) -> Sample {
        self.samples.last().copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.space_peak = self.space_peak.max(sample.space);
        self.samples.push(sample);
    }
}

impl Sample {
    /// Looks at `store`.
    pub fn of(store: &Store, load: &Load, settings: &Settings, debt: f64) -> Sample {
        let runs = store.runs();
        let live = load.live_entries().max(1.0);
        let space = if load.kind.is_ordered() { None } else { Some(()) };
        let all: f64 = runs.iter().map(|run| run.keys_covered as f64).fold(0.0, f64::max);
        let bits = settings.entry.filter_bits;
        let uniform = error_of(bits);
        let monkey = monkey(&runs.iter().map(|run| run.entries as f64).collect::<Vec<_>>(), bits);
        let (mut miss, mut miss_monkey, mut hit, mut unfound) = (0.0, 0.0, 0.0, 1.0);
        for (run, monkey) in runs.iter().zip(monkey) {
            // Keys in order lie side by side: a run covers its share of all keys and no more.
            let covered = match space {
                Some(()) => 1.0,
                None => (run.keys_covered as f64 / all.max(1.0)).min(1.0),
            };
            miss += uniform * covered;
            miss_monkey += monkey * covered;
            let found = unfound * (run.entries as f64 / live).min(1.0);
            hit += found + (unfound - found) * uniform * covered;
            unfound -= found;
        }
        Sample {
            user_bytes: 0.0,
            debt,
            space: store.bytes as f64 / load.live_table_bytes().max(1.0),
            runs: runs.len(),
            depth: store.depth_max(),
            hit: hit + unfound,
            miss,
            miss_monkey,
        }
    }
}

/// The share of absent keys that a Bloom filter of so many bits for each key lets through.
fn error_of(bits: f64) -> f64 {
    (-bits * std::f64::consts::LN_2.powi(2)).exp()
}

/// The errors of filters over runs of `entries` that have `bits` for each entry between them, given
/// out so that a lookup of an absent key reads least: in proportion to the entries, and no filter
/// where that would be 1 or more (Dayan and others, "Monkey", SIGMOD 2017).
pub fn monkey(entries: &[f64], bits: f64) -> Vec<f64> {
    let log2 = std::f64::consts::LN_2.powi(2);
    let memory: f64 = entries.iter().sum::<f64>() * bits;
    let mut filtered: Vec<bool> = entries.iter().map(|entries| *entries > 0.0).collect();
    loop {
        let chosen = || entries.iter().zip(&filtered).filter(|(_, on)| **on).map(|(n, _)| *n);
        let sum: f64 = chosen().sum();
        if sum <= 0.0 {
            return vec![1.0; entries.len()];
        }
        // Σ n · -ln(c·n) / ln²2 = memory, for the constant c.
        let weighted: f64 = chosen().map(|n| n * n.ln()).sum();
        let constant = ((-memory * log2 - weighted) / sum).exp();
        let over = |index: usize| filtered[index] && constant * entries[index] > 1.0;
        if let Some(index) = (0..entries.len()).find(|&index| over(index)) {
            filtered[index] = false;
            continue;
        }
        let errors = entries.iter().zip(&filtered);
        return errors.map(|(n, on)| if *on { constant * n } else { 1.0 }).collect();
    }
}
