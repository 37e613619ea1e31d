//! The last fences: where writers wait, however slowly they come. A pure decision; the waiting
//! around it is in `db::write`, and the slope that leads up to it is `db::pacing`.
//!
//! At the stop trigger of level 0, or when a memtable is full and no more may queue for flushing,
//! writers wait until background work has made room.

use std::time::Duration;

/// What the decision rests on, for one column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) level0_runs: usize,
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
    /// Wait this long, once: background work is behind.
    Slow(Duration),
    /// Wait until level 0 has shrunk.
    StopLevel0,
    /// Wait until a memtable has been flushed.
    StopMemtables,
}

/// The fence that a write meets, if any.
pub(crate) fn fence(pressure: &Pressure) -> Stall {
    if pressure.memtable_full && pressure.immutables >= pressure.immutables_max {
        Stall::StopMemtables
    } else if pressure.level0_runs >= pressure.level0_stop {
        Stall::StopLevel0
    } else {
        Stall::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pressure = Pressure {
        level0_runs: 0,
        level0_stop: 36,
        memtable_full: false,
        immutables: 0,
        immutables_max: 3,
    };

    #[test]
    fn a_full_memtable_waits_only_when_the_queue_is_full() {
        let full = Pressure { memtable_full: true, immutables: 2, ..CALM };
        assert_eq!(fence(&full), Stall::None);
        assert_eq!(fence(&Pressure { immutables: 3, ..full }), Stall::StopMemtables);
        assert_eq!(fence(&Pressure { immutables: 9, ..CALM }), Stall::None);
    }

    #[test]
    fn level0_stops_at_its_trigger() {
        assert_eq!(fence(&Pressure { level0_runs: 35, ..CALM }), Stall::None);
        assert_eq!(fence(&Pressure { level0_runs: 36, ..CALM }), Stall::StopLevel0);
    }
}
