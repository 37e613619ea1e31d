//! A latency histogram: logarithmic buckets, lock-free to record.
//!
//! Sixteen linear buckets to each power of two: a percentile is exact to one part in sixteen. The
//! layout is that of HDR histograms (Tene), at a fixed precision of four bits.

use crate::base::sync::tally::{AtomicU64, Ordering};

const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_BUCKETS;

/// Records durations, in nanoseconds, from any number of threads.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

/// What a histogram held at one moment. Durations in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistogramSnapshot {
    /// Durations recorded.
    pub count: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Half of them were at most this long.
    pub p50_ns: u64,
    /// 99 in 100 of them were at most this long.
    pub p99_ns: u64,
    /// 999 in 1,000 of them were at most this long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Histogram {
    /// Records one duration.
    #[inline]
    pub fn record(&self, nanoseconds: u64) {
        self.buckets[bucket_of(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
        if nanoseconds > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(nanoseconds, Ordering::Relaxed);
        }
    }

    /// What has been recorded so far.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        if count == 0 {
            return HistogramSnapshot::default();
        }
        let max_ns = self.max.load(Ordering::Relaxed);
        let percentile = |per_mille: u64| {
            let wanted = (count * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            for (index, bucket) in counts.iter().enumerate() {
                seen += bucket;
                if seen >= wanted {
                    return bucket_top(index).min(max_ns);
                }
            }
            max_ns
        };
        HistogramSnapshot {
            count,
            mean_ns: self.sum.load(Ordering::Relaxed) / count,
            p50_ns: percentile(500),
            p99_ns: percentile(990),
            p999_ns: percentile(999),
            max_ns,
        }
    }
}

/// The bucket that holds `value`.
#[inline]
fn bucket_of(value: u64) -> usize {
    if value < SUB_BUCKETS as u64 {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let shift = exponent - SUB_BITS;
    let sub = (value >> shift) as usize & (SUB_BUCKETS - 1);
    (shift as usize + 1) * SUB_BUCKETS + sub
}

/// The greatest value that falls into bucket `index`.
fn bucket_top(index: usize) -> u64 {
    if index < SUB_BUCKETS {
        return index as u64;
    }
    let shift = (index / SUB_BUCKETS - 1) as u32;
    let sub = (index % SUB_BUCKETS + SUB_BUCKETS) as u64;
    (sub << shift) + ((1u64 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_ends_at_or_behind_it() {
        for value in (0..100_000).chain([u64::MAX, u64::MAX / 2, 1 << 40, (1 << 40) - 1]) {
            let top = bucket_top(bucket_of(value));
            assert!(top >= value && top - value <= value / 16, "{value} in a bucket up to {top}");
        }
    }

    #[test]
    fn percentiles_are_within_a_sixteenth() {
        let histogram = Histogram::default();
        for value in 1..=10_000 {
            histogram.record(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count, snapshot.max_ns), (10_000, 10_000));
        assert!((5_000..=5_313).contains(&snapshot.p50_ns), "{snapshot:?}");
        assert!((9_900..=10_000).contains(&snapshot.p99_ns), "{snapshot:?}");
    }
}
