//! The clocks of an environment in memory: those of the system, until a test sets them.
//!
//! Two numbers and no lock, so that the schedules of a modelled build have no more points of choice
//! for it: a test sets the time from one thread.

use std::time::Duration;

use crate::base::sync::tally::{AtomicU64, Ordering};
#[cfg(any(loom, shuttle))]
use crate::env::memory::scheduled::{monotonic_now, unix_time};
#[cfg(not(any(loom, shuttle)))]
use crate::env::posix::{monotonic_now, unix_time};

/// That the time of day is the system's.
const NOT_SET: u64 = u64::MAX;

/// Both clocks. What a test lets pass is added to each.
#[derive(Debug)]
pub(super) struct MemClock {
    /// The time of day in microseconds since 1970, or [`NOT_SET`].
    unix_us: AtomicU64,
    passed_us: AtomicU64,
}

impl Default for MemClock {
    fn default() -> MemClock {
        MemClock { unix_us: AtomicU64::new(NOT_SET), passed_us: AtomicU64::new(0) }
    }
}

impl MemClock {
    pub(super) fn now(&self) -> Duration {
        monotonic_now().saturating_add(self.passed())
    }

    pub(super) fn unix_time(&self) -> Duration {
        match self.unix_us.load(Ordering::Acquire) {
            NOT_SET => unix_time().saturating_add(self.passed()),
            set => Duration::from_micros(set),
        }
    }

    pub(super) fn set(&self, time: Duration) {
        self.unix_us.store(microseconds(time), Ordering::Release);
    }

    pub(super) fn pass(&self, time: Duration) {
        let time = microseconds(time);
        let add = |clock: &AtomicU64| {
            let before = clock.load(Ordering::Acquire);
            clock.store(before.saturating_add(time).min(NOT_SET - 1), Ordering::Release);
        };
        if self.unix_us.load(Ordering::Acquire) != NOT_SET {
            add(&self.unix_us);
        }
        add(&self.passed_us);
    }

    fn passed(&self) -> Duration {
        Duration::from_micros(self.passed_us.load(Ordering::Acquire))
    }
}

/// At most the greatest that is not [`NOT_SET`].
fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(NOT_SET - 1)
}
