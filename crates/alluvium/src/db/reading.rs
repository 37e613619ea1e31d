//! How much a store is read beside what is written: whether level 0 may gather.
//!
//! Decided flush by flush: few reads beside the entries since the flush before, and the next
//! compactions of level 0 wait for more ([`Level0::Gathering`]). Reads that come meanwhile end it
//! as soon as they are more than a share of what the flush held; a worker looks whenever it chooses
//! a job, and once a second while it has none. Without workers that is behind a write, a flush, or
//! a call that waits for all work. To begin takes twice as few reads as to go on, so that a steady
//! load between the two changes nothing. Counters are compared and no times.
//!
//! Counters are the store's, and each column family has its own decision: where one family is read
//! much, none gathers. What a stale figure costs is a compaction early or late.

use crate::base::sync::tally::{AtomicU64, Ordering};
use crate::compaction::Level0;

/// So many entries written for each read, or more, and level 0 goes on gathering.
const WRITES_FOR_A_READ: u64 = 16;

/// It begins where there are so many.
const WRITES_FOR_A_READ_FIRST: u64 = 32;

/// What one column family knows of the store's reads.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The store's reads at the last flush.
    at_flush: AtomicU64,
    /// Level 0 gathers until the store has read so often; 0 where it does not.
    gathers_until: AtomicU64,
}

impl Reading {
    /// How soon level 0 is merged down.
    pub(crate) fn level0(&self) -> Level0 {
        match self.gathers_until.load(Ordering::Relaxed) {
            0 => Level0::Lean,
            _ => Level0::Gathering,
        }
    }

    /// A flush of `entries` entries ends, and the store has read `reads` times so far.
    pub(crate) fn note_flush(&self, reads: u64, entries: u64) {
        let since = reads.saturating_sub(self.at_flush.swap(reads, Ordering::Relaxed));
        let allowed = match self.level0() {
            Level0::Lean => entries / WRITES_FOR_A_READ_FIRST,
            Level0::Gathering => entries / WRITES_FOR_A_READ,
        };
        let few = entries / WRITES_FOR_A_READ;
        let until = if since <= allowed { reads.saturating_add(few).saturating_add(1) } else { 0 };
        self.gathers_until.store(until, Ordering::Relaxed);
    }

    /// The store has read `reads` times so far.
    pub(crate) fn look(&self, reads: u64) {
        if reads >= self.gathers_until.load(Ordering::Relaxed) {
            self.expect_reads();
        }
    }

    /// Reads are about to come: level 0 gathers no more until the next flush.
    pub(crate) fn expect_reads(&self) {
        self.gathers_until.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level0_gathers_while_reads_are_few() {
        let reading = Reading::default();
        assert_eq!(reading.level0(), Level0::Lean, "before the first flush");
        reading.note_flush(6, 160);
        assert_eq!(reading.level0(), Level0::Lean, "six for 160");
        reading.note_flush(11, 160);
        assert_eq!(reading.level0(), Level0::Gathering, "a read for 32 writes");
        reading.look(21);
        assert_eq!(reading.level0(), Level0::Gathering);
        reading.note_flush(21, 160);
        assert_eq!(reading.level0(), Level0::Gathering, "ten for 160 go on");
        reading.look(32);
        assert_eq!(reading.level0(), Level0::Lean, "more than that since");
        reading.note_flush(32, 160);
        assert_eq!(reading.level0(), Level0::Lean, "eleven for 160");
        reading.note_flush(32, 160);
        assert_eq!(reading.level0(), Level0::Gathering, "none since");
        reading.expect_reads();
        assert_eq!(reading.level0(), Level0::Lean);
    }

    #[test]
    fn one_read_ends_what_a_tiny_flush_began() {
        let reading = Reading::default();
        reading.note_flush(0, 1);
        assert_eq!(reading.level0(), Level0::Gathering);
        reading.look(1);
        assert_eq!(reading.level0(), Level0::Lean);
        reading.note_flush(u64::MAX, u64::MAX);
        assert_eq!(reading.level0(), Level0::Lean);
    }
}
