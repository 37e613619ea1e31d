//! How fast writers may write while background work is behind. Pure: figures in, a wait out.
//!
//! # Strain
//!
//! Everything that writers can outrun (runs of level 0, bytes that wait to be compacted, memtables
//! that wait to be flushed) is put on one scale. The *strain* is 0 where nothing is behind, 1 where
//! writers should go exactly as fast as background work, and grows without bound towards a fence.
//! Its figures are continuous: what a running job has done already counts as done, and the memtable
//! that is being filled counts by how full it is. So no write meets a jump.
//!
//! # The rate
//!
//! Writers are let through at *sustained rate* ÷ *strain*. The sustained rate is what background
//! work has lately kept up with, and is found out by looking: it follows the rate that writers in
//! fact had. Above a strain of 1 that rate is below the sustained one, which sinks (unless the
//! strain is falling: then background work already wins, and old debt must not be held against new
//! writes); under 1 it rises. It comes to rest at a strain of 1, whatever compaction costs on this
//! machine. The strain itself acts at once, the estimate over [`FOLLOW_BYTES`]: the quick half
//! damps
//! the slow one, so that the pair does not swing (the simulation in the tests measures that).
//!
//! # Waits
//!
//! A wait is what the group's bytes cost at that rate, less what is still to the good from waits
//! that overslept. Waits too short to be slept are saved up; none is longer than [`WAIT_MAX`].

use std::time::Duration;

/// The strain never counts for more: at a fence writers wait for the fence, not for the slope.
const STRAIN_MAX: f64 = 64.0;
/// Debt alone, which has no fence, slows writers by this factor at most; the estimate of what can
/// be sustained does the rest.
const DEBT_STRAIN_MAX: f64 = 8.0;
/// The sustained rate before anything was measured, in bytes a second.
const RATE_FIRST: f64 = (32 << 20) as f64;
/// It is never taken to be lower.
const RATE_MIN: f64 = (256 << 10) as f64;
/// The sustained rate follows writers over the time in which it writes this much: about what fills
/// the slope. A slow store answers slowly, and an estimate quicker than it would swing.
const FOLLOW_BYTES: f64 = (512 << 20) as f64;
/// The time over which a strain is looked at to say whether it falls.
const TREND: f64 = 5.0;
/// Rates are measured over this long at least.
const WINDOW: Duration = Duration::from_millis(50);
/// A longer silence says nothing about rates.
const WINDOW_MAX: Duration = Duration::from_secs(1);
/// Shorter waits are saved up: a sleep costs more than it waits.
const WAIT_MIN: Duration = Duration::from_micros(500);
/// A write waits this long, or as long as its own bytes take at the sustained rate.
const WAIT_USUAL: Duration = Duration::from_millis(4);
/// No write waits longer because of the slope.
const WAIT_MAX: Duration = Duration::from_millis(40);
/// What a writer that overslept, or was quiet, has to the good.
const CREDIT_MAX: Duration = Duration::from_millis(2);
/// What a wait that was cut short leaves to later writes.
const CARRY_MAX: Duration = Duration::from_millis(20);

/// What writers are slowed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Level0,
    Debt,
    Memtables,
}

/// How far behind the background work of one column family is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Runs in level 0, and memtables that will become runs, by how full they are.
    pub(crate) runs: f64,
    /// How many of them running compactions have merged, by what they have done.
    pub(crate) runs_merged: f64,
    pub(crate) runs_compact: usize,
    pub(crate) runs_slowdown: usize,
    pub(crate) runs_stop: usize,
    /// Bytes that wait to be compacted, less what running compactions have done.
    pub(crate) debt_bytes: u64,
    /// The debt at which writers should go as fast as background work.
    pub(crate) debt_bytes_slowdown: u64,
    /// Memtables, the active one by how full it is, less what running flushes have written.
    pub(crate) memtables: f64,
    /// Immutable memtables that may wait before writers do.
    pub(crate) memtables_max: usize,
}

/// How hard writers are held back, and by what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Strain {
    pub(crate) value: f64,
    pub(crate) cause: Cause,
}

impl Strain {
    pub(crate) const NONE: Strain = Strain { value: 0.0, cause: Cause::Level0 };

    /// The greater of two.
    pub(crate) fn max(self, other: Strain) -> Strain {
        if other.value > self.value { other } else { self }
    }
}

/// 0 at `start`, 1 at `middle`, without bound towards `end`; continuous and rising.
fn slope(at: f64, start: f64, middle: f64, end: f64) -> f64 {
    let middle = middle.max(start + 0.5);
    let end = end.max(middle + 0.5);
    if at <= start {
        return 0.0;
    }
    let rise = (at - start) / (middle - start);
    let left = (end - at) / (end - middle);
    if left <= rise / STRAIN_MAX { STRAIN_MAX } else { rise / left }
}

/// The strain of one column family.
pub(crate) fn strain(load: &Load) -> Strain {
    let (compact, slowdown, stop) =
        (load.runs_compact as f64, load.runs_slowdown as f64, load.runs_stop as f64);
    // While a compaction merges some runs, as many gather above it: about twice the runs that are
    // left by this count stand in level 0 just before it ends.
    let smooth =
        slope(load.runs - load.runs_merged, compact, f64::midpoint(compact, slowdown), stop);
    let guard = slope(load.runs, slowdown, f64::midpoint(slowdown, stop), stop);
    let level0 = smooth.max(guard);
    let debt = load.debt_bytes as f64 / load.debt_bytes_slowdown.max(1) as f64;
    // One memtable at work and one being flushed is how it should be.
    let most = load.memtables_max as f64 + 1.0;
    let memtables = slope(load.memtables, 1.0, f64::midpoint(1.0, most), most);
    Strain { value: level0, cause: Cause::Level0 }
        .max(Strain { value: (debt * debt).min(DEBT_STRAIN_MAX), cause: Cause::Debt })
        .max(Strain { value: memtables, cause: Cause::Memtables })
}

/// The strain of all memtables together, by their share of the memory: at 1 nobody need wait, at 2
/// the share is used up. Readers may keep it from shrinking, so that it never stops writers alone.
pub(crate) fn memory_strain(load: f64) -> Strain {
    Strain { value: slope(load, 1.0, 1.5, 2.0), cause: Cause::Memtables }
}

/// Lets writers through at a rate. One for the store: writes of all column families wait in line.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes a second that background work seems to keep up with.
    sustained: f64,
    /// When all that was let through so far has been paid for.
    paid: Duration,
    window: Option<Window>,
    /// The strain of late.
    trend: f64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Duration,
    bytes: u64,
    waited: Duration,
}

impl Default for Pacer {
    fn default() -> Pacer {
        Pacer { sustained: RATE_FIRST, paid: Duration::ZERO, window: None, trend: 0.0 }
    }
}

impl Pacer {
    /// How long a group of `bytes` has to wait at a strain of `strain`, now.
    pub(crate) fn admit(&mut self, now: Duration, bytes: u64, strain: f64) -> Duration {
        self.follow(now, bytes, strain);
        let since = now.saturating_sub(CREDIT_MAX);
        if strain <= 0.0 {
            self.paid = self.paid.min(now);
            return Duration::ZERO;
        }
        let cost = seconds(bytes as f64 * strain / self.sustained);
        self.paid = self.paid.max(since) + cost;
        let due = self.paid.saturating_sub(now);
        if due < WAIT_MIN {
            return Duration::ZERO;
        }
        let own = seconds(bytes as f64 / self.sustained).max(WAIT_USUAL);
        let longest = own.mul_f64((strain / 2.0).max(1.0)).min(WAIT_MAX);
        let wait = due.min(longest);
        self.paid = self.paid.min(now + wait + CARRY_MAX);
        wait
    }

    /// A writer has waited: by the slope, or at a fence.
    pub(crate) fn waited(&mut self, time: Duration) {
        if let Some(window) = &mut self.window {
            window.waited += time;
        }
    }

    /// The sustained rate in bytes a second.
    #[cfg(test)]
    pub(crate) fn sustained(&self) -> f64 {
        self.sustained
    }

    /// Lets the sustained rate follow what writers did since the window began.
    fn follow(&mut self, now: Duration, bytes: u64, strain: f64) {
        let fresh = Window { began: now, bytes, waited: Duration::ZERO };
        let Some(window) = &mut self.window else {
            self.window = Some(fresh);
            return;
        };
        let passed = now.saturating_sub(window.began);
        if passed < WINDOW {
            window.bytes += bytes;
            return;
        }
        let elapsed = passed.as_secs_f64();
        let rate = window.bytes as f64 / elapsed;
        let waited = (2.0 * window.waited.as_secs_f64() / elapsed).min(1.0);
        self.window = Some(fresh);
        if passed > WINDOW_MAX {
            self.trend = strain;
            return;
        }
        let falls = strain < self.trend;
        self.trend += (strain - self.trend) * elapsed / (TREND + elapsed);
        // Writers that were slower of their own accord say nothing about what could be sustained.
        let weight = match rate > self.sustained {
            true => 1.0,
            false if falls => return,
            false => waited,
        };
        let over = FOLLOW_BYTES / self.sustained;
        let share = weight * elapsed / (over + elapsed);
        self.sustained = (self.sustained + (rate - self.sustained) * share).max(RATE_MIN);
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
}

#[cfg(test)]
mod tests;
