//! The live snapshots, for compaction to spare what they see.
//!
//! Taking a snapshot reads the visible sequence number and registers it under one lock, and a
//! compaction reads the list under the same lock: a snapshot is either in the list, or at or above
//! everything that was visible when the list was read.

use std::collections::BTreeMap;

use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::Mutex;

/// Counts the snapshots at each sequence number.
#[derive(Debug, Default)]
pub(crate) struct SnapshotList(Mutex<BTreeMap<SeqNo, usize>>);

impl SnapshotList {
    /// Registers a snapshot at what `visible` returns, read under the lock.
    pub(crate) fn acquire(&self, visible: impl FnOnce() -> SeqNo) -> SeqNo {
        if planted::in_order("snapshot-taken-outside-the-lock") {
            let seq = visible();
            *self.0.lock().entry(seq).or_insert(0) += 1;
            return seq;
        }
        let mut list = self.0.lock();
        let seq = visible();
        *list.entry(seq).or_insert(0) += 1;
        seq
    }

    /// Gives back one snapshot at `seq`.
    pub(crate) fn release(&self, seq: SeqNo) {
        let mut list = self.0.lock();
        if let Some(count) = list.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                list.remove(&seq);
            }
        }
    }

    /// The oldest sequence number that a snapshot is at.
    pub(crate) fn oldest(&self) -> Option<SeqNo> {
        self.0.lock().keys().next().copied()
    }

    /// The sequence numbers, ascending, each once.
    pub(crate) fn sequences(&self) -> Vec<SeqNo> {
        self.0.lock().keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_stays_until_its_last_snapshot_goes() {
        let list = SnapshotList::default();
        let seq = list.acquire(|| SeqNo::new(5));
        assert_eq!(list.acquire(|| SeqNo::new(5)), seq);
        list.acquire(|| SeqNo::new(3));
        assert_eq!(list.sequences(), [SeqNo::new(3), SeqNo::new(5)]);
        list.release(seq);
        assert_eq!(list.sequences().len(), 2);
        list.release(seq);
        assert_eq!(list.sequences(), [SeqNo::new(3)]);
    }
}
