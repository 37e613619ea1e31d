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

/// What a histogram held at one moment, or between two. Durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistogramSnapshot {
    /// Durations recorded.
    pub count: u64,
    /// Their sum.
    pub sum_ns: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Half of them were at most this long.
    pub p50_ns: u64,
    /// 99 in 100 of them were at most this long.
    pub p99_ns: u64,
    /// 999 in 1,000 of them were at most this long.
    pub p999_ns: u64,
    /// The longest. Between two moments: at most the sixteenth part more than the longest.
    pub max_ns: u64,
    /// The buckets that hold any, ascending: the longest duration that falls into the bucket, and
    /// how many did. A bucket is a sixteenth of its durations wide.
    pub buckets: Vec<(u64, u64)>,
}

impl HistogramSnapshot {
    /// From the sum, the longest and the buckets, ascending.
    #[must_use]
    pub(crate) fn new(sum_ns: u64, longest_ns: u64, buckets: Vec<(u64, u64)>) -> HistogramSnapshot {
        let count = buckets.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let Some((top_ns, _)) = buckets.last() else { return HistogramSnapshot::default() };
        let max_ns = longest_ns.min(*top_ns);
        let percentile = |per_mille: u64| {
            let wanted = count.saturating_mul(per_mille).div_ceil(1000).max(1);
            let mut seen = 0_u64;
            let reached = buckets.iter().find(|(_, held)| {
                seen = seen.saturating_add(*held);
                seen >= wanted
            });
            reached.map_or(max_ns, |(top, _)| (*top).min(max_ns))
        };
        HistogramSnapshot {
            count,
            sum_ns,
            mean_ns: sum_ns / count.max(1),
            p50_ns: percentile(500),
            p99_ns: percentile(990),
            p999_ns: percentile(999),
            max_ns,
            buckets,
        }
    }

    /// How many durations were at most `bound_ns` long, to the one bucket that the bound falls
    /// into, which is not counted unless it ends there.
    #[must_use]
    pub fn count_up_to(&self, bound_ns: u64) -> u64 {
        self.buckets.iter().take_while(|(top, _)| *top <= bound_ns).map(|(_, count)| count).sum()
    }

    /// What was recorded since `earlier`, which was taken of the same histogram before.
    #[must_use]
    pub fn since(&self, earlier: &HistogramSnapshot) -> HistogramSnapshot {
        let before = |top: u64| {
            let found = earlier.buckets.binary_search_by_key(&top, |(top, _)| *top);
            found.ok().and_then(|at| earlier.buckets.get(at)).map_or(0, |(_, count)| *count)
        };
        let left =
            self.buckets.iter().map(|(top, count)| (*top, count.saturating_sub(before(*top))));
        let buckets = left.filter(|(_, count)| *count > 0).collect();
        HistogramSnapshot::new(self.sum_ns.saturating_sub(earlier.sum_ns), self.max_ns, buckets)
    }
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
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let held = counts.enumerate().filter(|(_, count)| *count > 0);
        HistogramSnapshot::new(
            self.sum.load(Ordering::Relaxed),
            self.max.load(Ordering::Relaxed),
            held.map(|(index, count)| (bucket_top(index), count)).collect(),
        )
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

    #[test]
    fn what_came_since_is_counted_alone() {
        let histogram = Histogram::default();
        (1..=100).for_each(|value| histogram.record(value));
        let earlier = histogram.snapshot();
        (1..=10).for_each(|_| histogram.record(5_000));
        histogram.record(7);
        let since = histogram.snapshot().since(&earlier);
        assert_eq!((since.count, since.sum_ns), (11, 50_007));
        assert!((5_000..=5_313).contains(&since.p50_ns), "{since:?}");
        assert_eq!(
            (since.count_up_to(6), since.count_up_to(7), since.count_up_to(9_999)),
            (0, 1, 11)
        );
        assert_eq!(earlier.since(&earlier), HistogramSnapshot::default());
    }
}
