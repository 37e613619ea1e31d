//! Why writers wait, and how often and how long they have.

use crate::base::sync::tally::{AtomicU64, Ordering};
use crate::metrics::Counter;

/// What a writer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StallCause {
    /// Level 0 holds many runs: writes are slowed, each by some milliseconds.
    Level0Slowdown,
    /// Much waits to be compacted: writes are slowed, each by some milliseconds.
    DebtSlowdown,
    /// Memtables wait to be flushed: writes are slowed, each by some milliseconds.
    MemtablesSlowdown,
    /// Level 0 is at its stop trigger: writes wait.
    Level0Stop,
    /// As many memtables wait to be flushed as may: writes wait.
    Memtables,
}

impl StallCause {
    /// Every cause.
    pub const ALL: &[StallCause] = &[
        StallCause::Level0Slowdown,
        StallCause::DebtSlowdown,
        StallCause::MemtablesSlowdown,
        StallCause::Level0Stop,
        StallCause::Memtables,
    ];

    /// Its name in statistics and Prometheus labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StallCause::Level0Slowdown => "level0_slowdown",
            StallCause::DebtSlowdown => "debt_slowdown",
            StallCause::MemtablesSlowdown => "memtables_slowdown",
            StallCause::Level0Stop => "level0_stop",
            StallCause::Memtables => "memtables",
        }
    }
}

/// The stalls of one cause.
#[derive(Debug, Default)]
struct Tally {
    count: Counter,
    us: Counter,
    longest_us: AtomicU64,
}

/// The stalls of every cause.
#[derive(Debug)]
pub struct StallTallies(Vec<Tally>);

impl Default for StallTallies {
    fn default() -> StallTallies {
        StallTallies(StallCause::ALL.iter().map(|_| Tally::default()).collect())
    }
}

/// What writers waited for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StallStats {
    /// The cause's name.
    pub cause: String,
    /// Waits that have ended.
    pub count: u64,
    /// Their sum, in microseconds.
    pub us: u64,
    /// The longest of them since the store was opened, in microseconds.
    pub longest_us: u64,
}

impl StallTallies {
    /// Notes a wait of `us` microseconds.
    pub fn record(&self, cause: StallCause, us: u64) {
        let at = StallCause::ALL.iter().position(|known| *known == cause);
        if let Some(tally) = at.and_then(|at| self.0.get(at)) {
            tally.count.add(1);
            tally.us.add(us);
            tally.longest_us.fetch_max(us, Ordering::Relaxed);
        }
    }

    /// What was noted, for every cause.
    #[must_use]
    pub fn snapshot(&self) -> Vec<StallStats> {
        let one = |(cause, tally): (&StallCause, &Tally)| StallStats {
            cause: cause.name().to_owned(),
            count: tally.count.get(),
            us: tally.us.get(),
            longest_us: tally.longest_us.load(Ordering::Relaxed),
        };
        StallCause::ALL.iter().zip(&self.0).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_kept_by_cause_with_the_longest() {
        let tallies = StallTallies::default();
        for us in [3, 9, 4] {
            tallies.record(StallCause::Level0Stop, us);
        }
        tallies.record(StallCause::Memtables, 1);
        let found: Vec<_> =
            tallies.snapshot().iter().map(|one| (one.count, one.us, one.longest_us)).collect();
        assert_eq!(found, [(0, 0, 0), (0, 0, 0), (0, 0, 0), (3, 16, 9), (1, 1, 1)]);
    }
}
