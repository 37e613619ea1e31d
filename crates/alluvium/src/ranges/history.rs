//! The sequence numbers of the tombstones over one fragment, newest first: a list whose tails are
//! shared, because a new tombstone over many fragments is one more number for each.

use std::sync::Arc;

use crate::base::key::SeqNo;

/// Memory of one number, its counts included.
pub(super) const NODE_BYTES: usize = size_of::<History>() + 16;

/// One number, and those that are older.
#[derive(Debug)]
pub(super) struct History {
    seq: SeqNo,
    count: u64,
    older: Option<Arc<History>>,
}

impl History {
    /// One number alone.
    pub(super) fn alone(seq: SeqNo) -> Arc<History> {
        Arc::new(History { seq, count: 1, older: None })
    }

    /// `older` with `seq` before it; `older` itself where it has the number already.
    pub(super) fn newer(seq: SeqNo, older: &Arc<History>) -> Arc<History> {
        debug_assert!(seq >= older.seq, "tombstones come in the order of their numbers");
        if older.seq == seq {
            return Arc::clone(older);
        }
        Arc::new(History { seq, count: older.count + 1, older: Some(Arc::clone(older)) })
    }

    /// The numbers given newest first; `None` where there are none or they do not descend.
    pub(super) fn newest_first(seqs: &[SeqNo]) -> Option<Arc<History>> {
        if seqs.windows(2).any(|pair| pair[0] <= pair[1]) {
            return None;
        }
        let (last, newer) = seqs.split_last()?;
        let oldest = History::alone(*last);
        Some(newer.iter().rev().fold(oldest, |older, seq| History::newer(*seq, &older)))
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The numbers, newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = SeqNo> {
        std::iter::successors(Some(self), |node| node.older.as_deref()).map(|node| node.seq)
    }
}

impl PartialEq for History {
    fn eq(&self, other: &History) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for History {}

impl Drop for History {
    /// One by one: a long list dropped link within link would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.older.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|mut node| node.older.take());
        }
    }
}
