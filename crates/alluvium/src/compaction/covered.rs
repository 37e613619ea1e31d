//! What range tombstones do to a merge: which entries they cover, and which of them survive. Pure.
//!
//! # The rules
//!
//! Live snapshots cut the sequence numbers into stripes (see [`super::retain`]). An entry goes when
//! a newer range tombstone of its stripe covers it: no snapshot lies between the two. Of the
//! tombstones over one piece of the key space the newest of each stripe survives, and that of the
//! oldest stripe only where something older may lie below the output (else it hides nothing), or
//! where it is young (see [`super::retain`]).
//!
//! The tombstones that survive are handed to the outputs as these are cut: each output takes what
//! lies before its end, and nothing behind it, so that no table reaches over its neighbour.

use bytes::Bytes;

use crate::base::key::SeqNo;
use crate::base::planted;
use crate::compaction::retain::{Retain, Verdict};
use crate::ranges::{Fragment, Fragments};
use crate::version::TableMeta;

/// The stripe of `seq` among `snapshots`, which ascend.
pub(super) fn stripe(snapshots: &[SeqNo], seq: SeqNo) -> usize {
    snapshots.partition_point(|&snapshot| snapshot < seq)
}

/// The range tombstones of a merge.
#[derive(Debug)]
pub(crate) struct Covered {
    snapshots: Vec<SeqNo>,
    all: Fragments,
    surviving: Fragments,
    /// Up to where `surviving` was handed out.
    cut: Option<Vec<u8>>,
}

impl Covered {
    /// `all` of the inputs; `retain` knows the snapshots and which tombstones are young.
    /// `may_hold_older` says whether anything older than a sequence number may lie between two keys
    /// (the second excluded) and stay behind the output.
    pub(crate) fn new(
        all: Fragments,
        retain: &Retain,
        may_hold_older: impl Fn(&[u8], &[u8], SeqNo) -> bool,
    ) -> Covered {
        let snapshots = retain.snapshots().to_vec();
        let must_stay = |fragment: &Fragment, seq: SeqNo| {
            !retain.is_old(seq) || may_hold_older(fragment.start(), fragment.end(), seq)
        };
        let mut surviving = Fragments::default();
        for fragment in all.iter() {
            let kept = surviving_seqs(fragment, &snapshots, must_stay);
            // Only the pieces of which nothing survives are not pushed.
            surviving.push(fragment.start(), fragment.end(), &kept);
        }
        Covered { snapshots, all, surviving, cut: None }
    }

    /// Whether the entry may go for a range tombstone that covers it.
    #[inline]
    pub(crate) fn covers(&self, user_key: &[u8], seq: SeqNo) -> bool {
        if self.all.is_empty() {
            return false;
        }
        let newer = self.all.oldest_above(user_key, seq);
        newer.is_some_and(|newer| {
            stripe(&self.snapshots, newer) == stripe(&self.snapshots, seq)
                || planted::is("range-tombstone-passes-a-snapshot")
        })
    }

    /// What becomes of an entry of which `verdict` was said for all that is not a range tombstone.
    #[inline]
    pub(crate) fn judge(&self, verdict: Verdict, user_key: &[u8], seq: SeqNo) -> Verdict {
        if verdict != Verdict::Drop && self.covers(user_key, seq) { Verdict::Drop } else { verdict }
    }

    /// Whether every entry of `table` may go, and none of it need be read.
    pub(crate) fn hides(&self, table: &TableMeta) -> bool {
        if self.all.is_empty() {
            return false;
        }
        let oldest = stripe(&self.snapshots, table.smallest_seq);
        let mut at = Bytes::copy_from_slice(table.smallest_user_key());
        for fragment in self.all.clipped(Some(table.smallest_user_key()), None) {
            let newer = fragment.oldest_above(table.largest_seq);
            if fragment.start() != at
                || newer.is_none_or(|newer| stripe(&self.snapshots, newer) != oldest)
            {
                return false;
            }
            if table.end().is_before(fragment.end()) {
                return true;
            }
            at = Bytes::copy_from_slice(fragment.end());
        }
        false
    }

    /// The tombstones from the last cut up to `end`, excluded, which is the next cut; all that are
    /// left without one.
    pub(crate) fn take_before(&mut self, end: Option<&[u8]>) -> Vec<Fragment> {
        if self.surviving.is_empty() {
            return Vec::new();
        }
        let from = std::mem::replace(&mut self.cut, end.map(<[u8]>::to_vec));
        let to = if planted::is("range-tombstone-not-cut") { None } else { end };
        self.surviving.clipped(from.as_deref(), to).collect()
    }
}

fn surviving_seqs(
    fragment: &Fragment,
    snapshots: &[SeqNo],
    must_stay: impl Fn(&Fragment, SeqNo) -> bool,
) -> Vec<SeqNo> {
    let mut kept: Vec<SeqNo> = Vec::new();
    let mut last = None;
    for seq in fragment.seqs() {
        let stripe = stripe(snapshots, seq);
        if last.replace(stripe) == Some(stripe) {
            continue;
        }
        if stripe > 0 || must_stay(fragment, seq) {
            kept.push(seq);
        }
    }
    kept
}
