//! Which entries survive a merge. A pure function of the entries in order.
//!
//! # The rule
//!
//! Live snapshots cut the sequence numbers into *stripes*: two versions of a key in one stripe are
//! told apart by no snapshot, so only the newer one survives. A tombstone in the oldest stripe is
//! itself dropped when nothing older of its key can lie below the output: then it hides nothing.
//!
//! # Expired entries
//!
//! An entry whose time has come is a tombstone with the same sequence number from then on: it goes
//! where a tombstone would, and is written as one where a tombstone must stay. No snapshot and no
//! cursor made later can see the difference, because the store's clock never goes back ([`Now`] is
//! at or behind it); a cursor made before has the inputs, and the time at which it was made.
//!
//! # Young tombstones
//!
//! With a grace period a tombstone younger than that stays, whatever lies below; so does an entry
//! that has expired only within it, with its value.
//!
//! # Why it is safe against snapshots taken later
//!
//! The list is read after the inputs were chosen. A snapshot taken after that has a sequence number
//! at or above everything in the inputs, so it sees the newest version of each key, which always
//! survives (or is a tombstone that nothing older contradicts).

use crate::base::expiry;
use crate::base::key::{SeqNo, ValueKind};
use crate::base::planted;
use crate::compaction::covered::stripe;

/// What a merge knows of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Entries that expired at or before this moment (milliseconds since 1970) have gone.
    pub(crate) expired_ms: Option<u64>,
    /// Tombstones up to this sequence number are old enough to go.
    pub(crate) old_seq: SeqNo,
}

impl Now {
    /// Nothing has expired, and every tombstone may go.
    pub(crate) const UNKNOWN: Now = Now { expired_ms: None, old_seq: SeqNo::MAX };

    fn is_past(self, expiry_ms: u64) -> bool {
        self.expired_ms.is_some_and(|now_ms| expiry::has_come(expiry_ms, now_ms))
    }
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It survives.
    Keep,
    /// It goes: nobody can see it.
    Drop,
    /// It has expired and goes, with what it hides.
    Expire,
    /// It has expired, and a tombstone takes its place.
    Bury,
}

/// Decides, entry by entry, what survives. Entries must come in internal key order.
#[derive(Debug, Clone)]
pub(crate) struct Retain {
    /// Sequence numbers of live snapshots, ascending.
    snapshots: Vec<SeqNo>,
    now: Now,
    user_key: Vec<u8>,
    has_key: bool,
    /// The stripe of the last entry of `user_key`: an index into `snapshots`, or their count.
    stripe: usize,
}

impl Retain {
    /// `snapshots` ascending.
    pub(crate) fn new(snapshots: Vec<SeqNo>, now: Now) -> Retain {
        debug_assert!(snapshots.is_sorted());
        Retain { snapshots, now, user_key: Vec::new(), has_key: false, stripe: 0 }
    }

    /// The live snapshots, ascending.
    pub(crate) fn snapshots(&self) -> &[SeqNo] {
        &self.snapshots
    }

    /// Whether a tombstone of this sequence number is old enough to go.
    pub(crate) fn is_old(&self, seq: SeqNo) -> bool {
        seq <= self.now.old_seq
    }

    /// Whether `user_key` differs from that of the entry before.
    pub(crate) fn is_new_key(&self, user_key: &[u8]) -> bool {
        !self.has_key || self.user_key != user_key
    }

    /// What becomes of the next entry. `value` is as it is stored; it is looked at only where it
    /// holds an expiry time. `is_base` says whether no level below the output can hold the key; it
    /// is asked only for tombstones and what has expired.
    pub(crate) fn judge(
        &mut self,
        user_key: &[u8],
        seq: SeqNo,
        kind: ValueKind,
        value: &[u8],
        is_base: impl FnOnce() -> bool,
    ) -> Verdict {
        let stripe = stripe(&self.snapshots, seq);
        if self.is_new_key(user_key) {
            self.user_key.clear();
            self.user_key.extend_from_slice(user_key);
            self.has_key = true;
        } else if stripe == self.stripe {
            return Verdict::Drop;
        }
        self.stripe = stripe;
        let expired = kind.expires() && self.has_expired(value);
        if kind != ValueKind::Delete && !expired {
            return Verdict::Keep;
        }
        let goes = stripe == 0 && self.is_old(seq) && is_base();
        match (expired, goes) {
            (false, true) => Verdict::Drop,
            (false, false) => Verdict::Keep,
            (true, true) => Verdict::Expire,
            (true, false) if planted::is("expired-entry-uncovers-older") => Verdict::Expire,
            (true, false) => Verdict::Bury,
        }
    }

    fn has_expired(&self, value: &[u8]) -> bool {
        expiry::split(value).is_some_and(|(expiry_ms, _)| self.now.is_past(expiry_ms))
    }
}
