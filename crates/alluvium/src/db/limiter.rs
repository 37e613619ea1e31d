//! The limit on background work: bytes and operations a second, in order of priority.
//!
//! Jobs ask for leave before each [`crate::compaction::pace::QUANTUM_BYTES`] that they read or
//! write, and are held until the buckets have it. Reads and writes of users never ask. While
//! background work is behind ([`DEBT_STRAIN`]) nobody is held: a limit that lets debt grow ends in
//! writers that wait. Nor is anybody while the store closes.
//!
//! The arithmetic (`Bucket`, `follow`) is pure: the time is handed in.
//!
//! Its lock is a leaf, and no lock is held by those who wait here.

use std::time::Duration;

use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::{Condvar, Mutex};
use crate::env::Env;
use crate::options::RateLimit;

/// From this strain on background work is not limited.
pub(crate) const DEBT_STRAIN: f64 = 0.3;
/// A bucket that was not drawn from lets this much time's worth through at once.
const BURST: Duration = Duration::from_millis(20);
/// The longest that a job sleeps before it looks again.
const LOOK: Duration = Duration::from_millis(100);
/// Every so many grants the lowest priority has its turn, so that none starves.
const FAIR_TURN: u64 = 8;
/// The automatic limit looks at the store this often.
const SAMPLE: Duration = Duration::from_millis(500);
/// The automatic limit is never lower, in bytes a second.
const AUTO_MIN: f64 = (4 << 20) as f64;
/// The automatic limit allows this much more than was needed of late.
const AUTO_HEADROOM: f64 = 1.25;

/// Which work goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Flush = 0,
    Level0 = 1,
    Rest = 2,
}

/// A token bucket, as the time at which all that was drawn is paid for.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// 0: without bound.
    per_second: u64,
    paid: Duration,
}

impl Bucket {
    /// Sets another rate. What was drawn stays drawn, but no further back than a second.
    fn set(&mut self, now: Duration, per_second: u64) {
        self.per_second = per_second;
        self.paid = self.paid.min(now + Duration::from_secs(1));
    }

    /// When the next draw may be made.
    fn ready(&self) -> Duration {
        if self.per_second == 0 { Duration::ZERO } else { self.paid }
    }

    fn draw(&mut self, now: Duration, amount: u64) {
        if self.per_second > 0 {
            let cost = amount as f64 / self.per_second as f64;
            let cost = Duration::try_from_secs_f64(cost).unwrap_or(Duration::from_secs(3_600));
            self.paid = self.paid.max(now.saturating_sub(BURST)) + cost;
        }
    }
}

/// What the automatic limit follows: sums since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sample {
    /// Bytes that users wrote.
    pub(crate) user_bytes: u64,
    /// Bytes that flushes and compactions read and wrote.
    pub(crate) background_bytes: u64,
}

/// What the automatic limit remembers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Auto {
    sampled: Duration,
    sample: Sample,
    /// Bytes a second that users wrote of late.
    user_rate: f64,
    /// The limit now.
    limit: f64,
}

/// The automatic limit after another look: the work that the users' writes make, and some more.
fn follow(auto: &Auto, now: Duration, sample: Sample, strain: f64, most: u64) -> Auto {
    let elapsed = now.saturating_sub(auto.sampled).as_secs_f64().max(1e-3);
    let written = sample.user_bytes.saturating_sub(auto.sample.user_bytes) as f64;
    // Up at once, down over some ten seconds: work comes after the writes that made it.
    let rate = written / elapsed;
    let share = if rate > auto.user_rate { 1.0 } else { elapsed / (10.0 + elapsed) };
    let user_rate = auto.user_rate + (rate - auto.user_rate) * share;
    let amplification =
        (sample.background_bytes as f64 / sample.user_bytes.max(1) as f64).clamp(4.0, 60.0);
    let wanted = user_rate * amplification * AUTO_HEADROOM * (1.0 + strain / DEBT_STRAIN);
    let limit = wanted.max(AUTO_MIN).min(most.max(1) as f64);
    Auto { sampled: now, sample, user_rate, limit }
}

#[derive(Debug, Default)]
struct State {
    config: RateLimit,
    bytes: Bucket,
    operations: Bucket,
    auto: Auto,
    /// Who waits, by priority.
    waiting: [usize; 3],
    grants: u64,
}

/// What a job asks leave for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) priority: Priority,
    pub(crate) bytes: u64,
    pub(crate) operations: u64,
}

/// What the limiter is told of the store.
pub(crate) trait Conditions {
    /// How far background work is behind.
    fn strain(&self) -> f64;
    /// Whether the store is closing.
    fn closing(&self) -> bool;
    fn sample(&self) -> Sample;
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Whether there is a limit at all: a look without the lock.
    limits: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

impl Limiter {
    /// Sets another limit, at once.
    pub(crate) fn set(&self, now: Duration, config: RateLimit) {
        let mut state = self.state.lock();
        let (bytes, operations) = match config {
            RateLimit::None => (0, 0),
            RateLimit::Fixed { bytes_per_second, operations_per_second } => {
                (bytes_per_second, operations_per_second)
            }
            RateLimit::Auto { bytes_per_second_max } => {
                state.auto = Auto { sampled: now, ..Auto::default() };
                (bytes_per_second_max, 0)
            }
        };
        state.config = config;
        state.bytes.set(now, bytes);
        state.operations.set(now, operations);
        self.limits.store(config != RateLimit::None, Ordering::Release);
        drop(state);
        self.wake.notify_all();
    }

    /// The limit that was set.
    #[cfg(test)]
    pub(crate) fn config(&self) -> RateLimit {
        self.state.lock().config
    }

    /// Lets those who wait look again whether they must.
    pub(crate) fn look_again(&self) {
        if self.limits.load(Ordering::Acquire) {
            drop(self.state.lock());
            self.wake.notify_all();
        }
    }

    /// Waits until `request` may go on. The caller holds no lock. Returns the time waited.
    pub(crate) fn pass(
        &self,
        env: &dyn Env,
        request: Request,
        conditions: &dyn Conditions,
    ) -> Duration {
        if !self.limits.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let begun = env.now();
        let mut state = self.state.lock();
        loop {
            let now = env.now();
            let strain = conditions.strain();
            if conditions.closing() || strain >= DEBT_STRAIN {
                break;
            }
            state.look(now, strain, conditions);
            let place = request.priority as usize;
            let ready = state.bytes.ready().max(state.operations.ready());
            let has_turn = state.waiting[..place].iter().all(|count| *count == 0)
                || state.grants % FAIR_TURN == FAIR_TURN - 1;
            if ready <= now && has_turn {
                state.bytes.draw(now, request.bytes);
                state.operations.draw(now, request.operations);
                state.grants += 1;
                break;
            }
            let wait = ready.saturating_sub(now).clamp(Duration::from_millis(1), LOOK);
            state.waiting[place] += 1;
            state = self.wake.wait_timeout(state, wait).0;
            state.waiting[place] -= 1;
        }
        let others = state.waiting.iter().any(|count| *count > 0);
        drop(state);
        if others {
            self.wake.notify_all();
        }
        env.now().saturating_sub(begun)
    }
}

impl State {
    /// Lets the automatic limit follow the store.
    fn look(&mut self, now: Duration, strain: f64, conditions: &dyn Conditions) {
        let RateLimit::Auto { bytes_per_second_max } = self.config else { return };
        if now.saturating_sub(self.auto.sampled) < SAMPLE && self.auto.limit > 0.0 {
            return;
        }
        self.auto = follow(&self.auto, now, conditions.sample(), strain, bytes_per_second_max);
        self.bytes.set(now, self.auto.limit as u64);
    }
}

#[cfg(test)]
mod tests;
