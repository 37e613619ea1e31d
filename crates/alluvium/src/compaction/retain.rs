//! Which entries survive a merge. A pure function of the entries in order.
//!
//! # The rule
//!
//! Live snapshots cut the sequence numbers into *stripes*: two versions of a key in one stripe are
//! told apart by no snapshot, so only the newer one survives. A tombstone in the oldest stripe is
//! itself dropped when nothing older of its key can lie below the output: then it hides nothing.
//!
//! # Why it is safe against snapshots taken later
//!
//! The list is read after the inputs were chosen. A snapshot taken after that has a sequence number
//! at or above everything in the inputs, so it sees the newest version of each key, which always
//! survives (or is a tombstone that nothing older contradicts).

use crate::base::key::{SeqNo, ValueKind};

/// Decides, entry by entry, what survives. Entries must come in internal key order.
#[derive(Debug)]
pub(crate) struct Retain {
    /// Sequence numbers of live snapshots, ascending.
    snapshots: Vec<SeqNo>,
    user_key: Vec<u8>,
    has_key: bool,
    /// The stripe of the last entry of `user_key`: an index into `snapshots`, or their count.
    stripe: usize,
}

impl Retain {
    /// `snapshots` ascending.
    pub(crate) fn new(snapshots: Vec<SeqNo>) -> Retain {
        debug_assert!(snapshots.is_sorted());
        Retain { snapshots, user_key: Vec::new(), has_key: false, stripe: 0 }
    }

    /// Whether `user_key` differs from that of the entry before.
    pub(crate) fn is_new_key(&self, user_key: &[u8]) -> bool {
        !self.has_key || self.user_key != user_key
    }

    /// Whether the next entry survives. `is_base` says whether no level below the output can hold
    /// the key; it is asked only for tombstones.
    pub(crate) fn keep(
        &mut self,
        user_key: &[u8],
        seq: SeqNo,
        kind: ValueKind,
        is_base: impl FnOnce() -> bool,
    ) -> bool {
        let stripe = self.snapshots.partition_point(|&snapshot| snapshot < seq);
        if self.is_new_key(user_key) {
            self.user_key.clear();
            self.user_key.extend_from_slice(user_key);
            self.has_key = true;
        } else if stripe == self.stripe {
            return false;
        }
        self.stripe = stripe;
        !(kind == ValueKind::Delete && stripe == 0 && is_base())
    }
}
