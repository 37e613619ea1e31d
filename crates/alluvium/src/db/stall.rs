//! When writers wait. A pure decision; the waiting around it is in `db::write`.
//!
//! Between the slowdown and the stop trigger of level 0 the rate allowed falls in a straight line,
//! so that writers meet a slope and not a wall. At the stop trigger, or when a memtable is full and
//! no more may queue for flushing, they wait until background work has made room.

use std::time::Duration;

/// Bytes a second let through at the slowdown trigger; it falls to a sixteenth towards the stop.
const RATE_AT_SLOWDOWN: u64 = 64 << 20;
/// One write is never held longer than this by the slope.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// What the decision rests on, for the worst column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) level0_tables: usize,
    pub(crate) level0_slowdown: usize,
    pub(crate) level0_stop: usize,
    /// Whether a memtable is full and must be closed before the next write.
    pub(crate) memtable_full: bool,
    pub(crate) immutables: usize,
    pub(crate) immutables_max: usize,
}

/// What a writer does before its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Go on.
    None,
    /// Wait this long, once: level 0 holds many tables.
    Slow(Duration),
    /// Wait until level 0 has shrunk.
    StopLevel0,
    /// Wait until a memtable has been flushed.
    StopMemtables,
}

/// Decides for a write of `bytes`.
pub(crate) fn decide(pressure: &Pressure, bytes: u64) -> Stall {
    if pressure.memtable_full && pressure.immutables >= pressure.immutables_max {
        return Stall::StopMemtables;
    }
    if pressure.level0_tables >= pressure.level0_stop {
        return Stall::StopLevel0;
    }
    if pressure.level0_tables < pressure.level0_slowdown {
        return Stall::None;
    }
    let span = (pressure.level0_stop - pressure.level0_slowdown).max(1) as u64;
    let over = (pressure.level0_tables - pressure.level0_slowdown) as u64;
    let rate = (RATE_AT_SLOWDOWN * (span - over) / span).max(RATE_AT_SLOWDOWN / 16);
    let delay = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate);
    Stall::Slow(delay.min(DELAY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pressure = Pressure {
        level0_tables: 0,
        level0_slowdown: 20,
        level0_stop: 36,
        memtable_full: false,
        immutables: 0,
        immutables_max: 3,
    };

    #[test]
    fn a_full_memtable_waits_only_when_the_queue_is_full() {
        let full = Pressure { memtable_full: true, immutables: 2, ..CALM };
        assert_eq!(decide(&full, 100), Stall::None);
        assert_eq!(decide(&Pressure { immutables: 3, ..full }, 100), Stall::StopMemtables);
        assert_eq!(decide(&Pressure { immutables: 9, ..CALM }, 100), Stall::None);
    }

    #[test]
    fn level0_slows_at_20_ever_more_and_stops_at_36() {
        let at = |level0_tables| decide(&Pressure { level0_tables, ..CALM }, 1 << 16);
        assert_eq!(at(19), Stall::None);
        assert_eq!(at(36), Stall::StopLevel0);
        let delays: Vec<Duration> = (20..36)
            .map(|tables| match at(tables) {
                Stall::Slow(delay) => delay,
                other => panic!("{other:?} at {tables} tables"),
            })
            .collect();
        assert!(delays.is_sorted() && delays[0] > Duration::ZERO && delays[15] > 10 * delays[0]);
    }
}
