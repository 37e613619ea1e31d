//! The time of day as an open store knows it.
//!
//! The system's clock may be set, forward and back, at any moment. Two clocks follow it here:
//!
//! - What reads go by is the latest time that was ever seen. It never goes back while the store is
//!   open, so that an entry that has expired never comes back to life.
//! - What compactions go by is *cautious*: it follows the first at twice the speed of the monotonic
//!   clock at the most. A clock that jumps years ahead hides entries until the store is opened
//!   again under a right clock, but takes nothing from the disk. A machine that was asleep, which
//!   looks the same, gives space back later, and has caught up after as long a time again.
//!
//! A machine that starts with its clock in the past and learns the time later is told apart: where
//! the clock shows a time before 2026, when there was no store yet, and before all that this one
//! has noted, the cautious one follows at any speed up to the last of these. Elsewhere it does not:
//! what was noted later may have come from a clock that was ahead, and says nothing of the time.

use std::sync::Arc;
use std::time::Duration;

use crate::base::expiry;
use crate::base::sync::Mutex;
use crate::base::sync::tally::{AtomicU64, Ordering};
use crate::env::Env;

/// How far the clocks may be apart when a mark is taken: an hour.
const MARK_SPREAD_MS: u64 = 3_600_000;

/// The clocks of an open store, in milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct WallClock {
    env: Arc<dyn Env>,
    seen_ms: AtomicU64,
    noted_ms: u64,
    cautious: Mutex<Cautious>,
}

#[derive(Debug, Clone, Copy)]
struct Cautious {
    ms: u64,
    /// When it was moved last, by the monotonic clock.
    at: Duration,
}

impl WallClock {
    /// Clocks that begin now. `noted_ms` is a time that is known to have passed.
    pub(crate) fn new(env: Arc<dyn Env>, noted_ms: u64) -> WallClock {
        let ms = whole_milliseconds(env.unix_time());
        let cautious = Mutex::new(Cautious { ms, at: env.now() });
        WallClock { env, seen_ms: AtomicU64::new(ms), noted_ms, cautious }
    }

    /// The time that reads go by: never behind one that it gave before.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = whole_milliseconds(self.env.unix_time());
        let seen = self.seen_ms.load(Ordering::Relaxed);
        if now <= seen {
            return seen;
        }
        self.seen_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// The time that removing goes by: at or behind [`WallClock::now_ms`].
    pub(crate) fn cautious_ms(&self) -> u64 {
        let (seen, at) = (self.now_ms(), self.env.now());
        let mut cautious = self.cautious.lock();
        *cautious = cautious.moved(at, seen, self.noted_ms);
        cautious.ms
    }

    /// The time for a mark of sequence numbers (`version::TimeMark`); `None` while the two clocks
    /// are so far apart that one of them must be wrong. A mark that is not taken makes nothing
    /// older than it is.
    pub(crate) fn mark_ms(&self) -> Option<u64> {
        let cautious = self.cautious_ms();
        let now = self.now_ms();
        (now - cautious <= MARK_SPREAD_MS).then_some(now)
    }

    /// The moment that lies `age` back, as far as removing goes; `None` where that is before 1970.
    pub(crate) fn before_ms(&self, age: Duration) -> Option<u64> {
        self.cautious_ms().checked_sub(expiry::milliseconds(age))
    }
}

impl Cautious {
    fn moved(self, at: Duration, seen_ms: u64, noted_ms: u64) -> Cautious {
        let passed_ms = whole_milliseconds(at.saturating_sub(self.at));
        let reach = self.ms.saturating_add(passed_ms.saturating_mul(2)).max(noted_ms);
        // Parts of a millisecond are kept for the next move.
        let at = if passed_ms == 0 { self.at } else { at };
        Cautious { ms: seen_ms.min(reach).max(self.ms), at }
    }
}

/// Rounded down.
fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(expiry::NEVER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::MemEnv;

    fn clock(unix_ms: u64, noted_ms: u64) -> (MemEnv, WallClock) {
        let env = MemEnv::new();
        env.set_unix_time(Duration::from_millis(unix_ms));
        let clock = WallClock::new(Arc::new(env.clone()), noted_ms);
        (env, clock)
    }

    #[test]
    fn reads_follow_every_jump_forward_and_none_back() {
        let (env, clock) = clock(5_000, 0);
        assert_eq!(clock.now_ms(), 5_000);
        env.set_unix_time(Duration::from_millis(3_000));
        assert_eq!(clock.now_ms(), 5_000);
        env.set_unix_time(Duration::from_secs(4_200_000_000));
        assert_eq!(clock.now_ms(), 4_200_000_000_000);
        env.set_unix_time(Duration::ZERO);
        assert_eq!(clock.now_ms(), 4_200_000_000_000);
    }

    #[test]
    fn no_mark_is_taken_while_the_clocks_are_far_apart() {
        let (env, clock) = clock(9_000_000, 0);
        assert_eq!(clock.mark_ms(), Some(9_000_000));
        assert_eq!(clock.before_ms(Duration::from_secs(1)), Some(8_999_000));
        assert_eq!(clock.before_ms(Duration::from_secs(90_001)), None);
        env.set_unix_time(Duration::from_millis(99_000_000));
        assert_eq!(clock.mark_ms(), None);
        env.pass_time(Duration::from_secs(200_000));
        assert_eq!(clock.mark_ms(), Some(299_000_000));
    }

    #[test]
    fn removing_follows_a_jump_slowly() {
        let begin = Cautious { ms: 1_000, at: Duration::from_millis(10) };
        let moved = |at_ms, seen_ms| begin.moved(Duration::from_millis(at_ms), seen_ms, 0).ms;
        assert_eq!(moved(110, 1_100), 1_100, "as time passes");
        assert_eq!(moved(110, 9_999_999), 1_200, "at twice the speed");
        assert_eq!(moved(110, 1), 1_000, "never back");
        assert_eq!(moved(5, 2_000), 1_000, "nor when the other clock goes back");
        assert_eq!(moved(u64::MAX / 2, u64::MAX), u64::MAX, "saturating");
        let half = begin.moved(Duration::from_micros(10_500), 2_000, 0);
        assert_eq!(half.moved(Duration::from_millis(11), 2_000, 0).ms, 1_002, "parts add up");
    }

    #[test]
    fn a_clock_that_was_wrong_when_the_store_opened_is_followed_to_what_was_noted() {
        let (env, clock) = clock(0, 700_000);
        assert_eq!(clock.cautious_ms(), 0);
        env.set_unix_time(Duration::from_millis(600_000));
        assert_eq!(clock.cautious_ms(), 600_000);
        env.set_unix_time(Duration::from_millis(900_000));
        let cautious = clock.cautious_ms();
        assert!((700_000..800_000).contains(&cautious), "{cautious}");
        env.pass_time(Duration::from_secs(300));
        assert_eq!(clock.cautious_ms(), 1_200_000, "caught up");
    }
}
