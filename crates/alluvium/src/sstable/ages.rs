//! How old the tombstones of a table are, and when its entries expire.
//!
//! A compaction is picked by it: a table in which all has expired, or whose tombstones are old, is
//! found without a byte of it being read. Drawn in docs/format.md ("Properties block").

use crate::base::coding::put_varint;
use crate::base::expiry;
use crate::base::key::{SeqNo, ValueKind};

/// What the entries of a table say of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ages {
    /// The smallest sequence number of a tombstone; zero where there is none.
    pub(crate) oldest_tombstone: SeqNo,
    /// Entries that expire.
    pub(crate) expiring: u64,
    /// The earliest expiry time, in milliseconds since 1970; zero where no entry expires.
    pub(crate) first_expiry_ms: u64,
    /// The latest expiry time, in milliseconds since 1970; zero where no entry expires.
    pub(crate) last_expiry_ms: u64,
}

impl Ages {
    /// Takes an entry in.
    #[inline]
    pub(super) fn note(&mut self, kind: ValueKind, seq: SeqNo, value: &[u8]) {
        match kind {
            ValueKind::Put | ValueKind::BlobIndex => {}
            ValueKind::PutExpiring | ValueKind::BlobIndexExpiring => self.note_expiry(value),
            _ => self.note_tombstone(seq),
        }
    }

    /// Takes a tombstone in, one of a key or of a range.
    pub(super) fn note_tombstone(&mut self, seq: SeqNo) {
        let oldest = self.oldest_tombstone;
        let first = oldest == SeqNo::ZERO;
        self.oldest_tombstone = if first { seq } else { oldest.min(seq) };
    }

    fn note_expiry(&mut self, value: &[u8]) {
        let Some((expiry_ms, _)) = expiry::split(value) else { return };
        let first = if self.expiring == 0 { expiry_ms } else { self.first_expiry_ms };
        self.first_expiry_ms = first.min(expiry_ms);
        self.last_expiry_ms = self.last_expiry_ms.max(expiry_ms);
        self.expiring += 1;
    }

    /// Appends the fields of tag `first_tag` and the three that follow.
    pub(super) fn encode_into(&self, out: &mut Vec<u8>, first_tag: u64) {
        let oldest = self.oldest_tombstone.get();
        let fields = [oldest, self.expiring, self.first_expiry_ms, self.last_expiry_ms];
        for (tag, value) in (first_tag..).zip(fields) {
            put_varint(out, tag);
            put_varint(out, value);
        }
    }

    /// Reads the same, with `take_field` for each tag.
    pub(super) fn take(
        first_tag: u64,
        mut take_field: impl FnMut(u64) -> Option<u64>,
    ) -> Option<Ages> {
        Some(Ages {
            oldest_tombstone: SeqNo::try_new(take_field(first_tag)?)?,
            expiring: take_field(first_tag + 1)?,
            first_expiry_ms: take_field(first_tag + 2)?,
            last_expiry_ms: take_field(first_tag + 3)?,
        })
    }

    /// Whether this can be true of a table with entries, tombstones and range tombstones of these
    /// numbers.
    pub(super) fn is_consistent(&self, entries: u64, tombstones: u64, ranges: u64) -> bool {
        let expiry = match self.expiring {
            0 => (self.first_expiry_ms, self.last_expiry_ms) == (0, 0),
            _ => self.first_expiry_ms <= self.last_expiry_ms,
        };
        let oldest = tombstones > 0 || ranges > 0 || self.oldest_tombstone == SeqNo::ZERO;
        expiry && oldest && self.expiring <= entries.saturating_sub(tombstones)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_tombstone_and_the_bounds_of_expiry_are_kept() {
        let mut ages = Ages::default();
        let note = |ages: &mut Ages, kind, seq, expiry_ms: u64| {
            ages.note(kind, SeqNo::new(seq), &expiry_ms.to_le_bytes());
        };
        note(&mut ages, ValueKind::Put, 1, 0);
        assert_eq!(ages, Ages::default());
        note(&mut ages, ValueKind::Delete, 9, 0);
        note(&mut ages, ValueKind::Delete, 7, 0);
        note(&mut ages, ValueKind::Delete, 8, 0);
        note(&mut ages, ValueKind::PutExpiring, 3, 500);
        note(&mut ages, ValueKind::PutExpiring, 4, u64::MAX);
        note(&mut ages, ValueKind::PutExpiring, 5, 400);
        assert_eq!((ages.oldest_tombstone, ages.expiring), (SeqNo::new(7), 3));
        assert_eq!((ages.first_expiry_ms, ages.last_expiry_ms), (400, u64::MAX));
        ages.note_tombstone(SeqNo::new(8));
        assert_eq!(ages.oldest_tombstone, SeqNo::new(7));
        assert!(ages.is_consistent(7, 3, 0) && ages.is_consistent(7, 0, 1));
        assert!(!ages.is_consistent(5, 3, 0) && !ages.is_consistent(7, 0, 0));
    }
}
