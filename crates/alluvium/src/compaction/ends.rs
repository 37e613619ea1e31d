//! Where to cut the table of a flush whose keys nearly ascend. Pure.
//!
//! Events come nearly in the order of their keys: some are late, a little. Each flush then reaches
//! back over the end of what was written before, and as one table it would be merged with that
//! table as a whole, which had been merged with the one before: every byte is written once more for
//! the few that are late. So the part of a flush that reaches back is kept apart, and the part that
//! the next one will probably reach over; what is between moves down as it is
//! (`compaction::clusters`).

use crate::base::key::{KeyEnd, KeyEndBuf};
use crate::version::{Level, Version};

/// The part that reaches back is this part of the flush at most; else keys do not nearly ascend.
const HEAD_PART_MAX: u64 = 4;

/// The last part is this part of the flush at least, and [`HEAD_PART_MAX`] at most.
const TAIL_PART_MIN: u64 = 32;

/// The last part holds so many entries for each that reaches back: of what is late, a stretch of
/// keys holds less than of what comes in time.
const TAIL_FOR_HEAD: u64 = 64;

/// What to do before a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    No,
    Here,
    /// There is nothing to be cut from here on.
    NoMore,
}

/// Decides, key by key, where a flush is cut.
#[derive(Debug)]
pub(super) struct EndCuts {
    entries: u64,
    /// Where all that is older ends; `None` once the first part has been cut.
    older_end: Option<KeyEndBuf>,
    /// The entries behind which the last part begins.
    tail_from: u64,
}

impl EndCuts {
    /// For a flush of so many entries over `older`; `None` where there is nothing older.
    pub(super) fn new(older: &Version, entries: u64) -> Option<EndCuts> {
        let runs = older.levels().flat_map(Level::runs);
        // Tables of a run ascend and do not overlap.
        let ends = runs.filter_map(|run| run.tables().last()).map(|table| table.end());
        let older_end = Some(ends.max()?.to_owned());
        Some(EndCuts { entries, older_end, tail_from: 0 })
    }

    /// What to do before `user_key`, the key of entry number `entry` (from 1 on) and of none before
    /// it.
    #[inline]
    pub(super) fn before(&mut self, user_key: &[u8], entry: u64) -> Cut {
        let behind = entry - 1;
        let Some(end) = &self.older_end else {
            let is_tail = behind >= self.tail_from;
            return if is_tail { self.end() } else { Cut::No };
        };
        if behind > self.entries / HEAD_PART_MAX {
            return Cut::NoMore;
        }
        if !KeyEnd::from(end).is_before(user_key) {
            return Cut::No;
        }
        if behind == 0 {
            return Cut::NoMore;
        }
        let most = self.entries / HEAD_PART_MAX;
        let tail = behind.saturating_mul(TAIL_FOR_HEAD).max(self.entries / TAIL_PART_MIN).min(most);
        self.tail_from = self.entries - tail;
        self.older_end = None;
        Cut::Here
    }

    /// The last cut.
    fn end(&mut self) -> Cut {
        self.tail_from = u64::MAX;
        Cut::Here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts_of(older_end: u32, keys: impl Iterator<Item = u32>, entries: u64) -> Vec<u32> {
        let end = KeyEnd { key: &older_end.to_be_bytes(), included: true }.to_owned();
        let mut cuts = EndCuts { entries, older_end: Some(end), tail_from: 0 };
        let mut found = Vec::new();
        for (entry, key) in (1..).zip(keys) {
            match cuts.before(&key.to_be_bytes(), entry) {
                Cut::No => {}
                Cut::Here => found.push(key),
                Cut::NoMore => break,
            }
        }
        found
    }

    #[test]
    fn both_ends_are_kept_apart_where_few_keys_reach_back() {
        assert_eq!(cuts_of(1_009, 1_000..2_000, 1_000), [1_010, 1_750], "a quarter at most");
        assert_eq!(cuts_of(1_001, 1_000..2_000, 1_000), [1_002, 1_872], "64 for each");
        assert_eq!(cuts_of(10, 10..64_010, 64_000), [11, 62_010], "a thirty-second at least");
    }

    #[test]
    fn nothing_is_cut_where_none_or_many_reach_back() {
        for older_end in [0, 999, 1_251, 2_000, u32::MAX] {
            assert_eq!(cuts_of(older_end, 1_000..2_000, 1_000), [], "{older_end}");
        }
        assert!(EndCuts::new(&Version::empty(), 7).is_none());
    }
}
