//! Where to cut the table of a flush of a leveled tree. Pure.
//!
//! # By what is below
//!
//! Keys that come in no order reach over all that there is. As one table a flush would hang
//! together with all of it (`compaction::clusters`), and go down with all of it at once: that takes
//! as much room beside what it replaces, and holds up whatever else is due there. So it is cut
//! where clusters end, and each part is of one cluster. What there is nothing below to line up with
//! is cut by size, for the next ones to line up with that.
//!
//! # The ends of what nearly ascends
//!
//! Events come nearly in the order of their keys: some are late, a little. Each flush then reaches
//! back over the end of what was written before, and as one table it would be merged with that
//! table as a whole, which had been merged with the one before: every byte is written once more for
//! the few that are late. So the part of a flush that reaches back is kept apart, and the part that
//! the next one will probably reach over; what is between moves down as it is.

use crate::base::key::{KeyEnd, KeyEndBuf};
use crate::compaction::clusters::cluster_ends;
use crate::version::{Level, Version};

/// What is cut by size has so many times the least of a part.
const PARTS_OF_FIRST: u64 = 4;

/// The part that reaches back is this part of the flush at most; else keys do not nearly ascend.
const HEAD_PART_MAX: u64 = 4;

/// The last part is this part of the flush at least, and [`HEAD_PART_MAX`] at most.
const TAIL_PART_MIN: u64 = 32;

/// The last part holds so many entries for each that reaches back: of what is late, a stretch of
/// keys holds less than of what comes in time.
const TAIL_FOR_HEAD: u64 = 64;

/// Decides, key by key, where a flush is cut.
#[derive(Debug)]
pub(super) struct FlushCuts {
    ends: Option<EndCuts>,
    below: ClusterCuts,
}

impl FlushCuts {
    /// For a flush of so many entries over `older`. What is cut by what is below has `part_bytes`
    /// at least.
    pub(super) fn new(older: &Version, entries: u64, part_bytes: u64) -> FlushCuts {
        let below = ClusterCuts::new(older, part_bytes);
        FlushCuts { ends: EndCuts::new(older, entries), below }
    }

    /// Whether to cut before `user_key`, the key of entry number `entry` (from 1 on) and of none
    /// before it, where the table under way has `output_bytes`.
    #[inline]
    pub(super) fn before(&mut self, user_key: &[u8], entry: u64, output_bytes: u64) -> bool {
        let is_below = self.below.before(user_key, output_bytes);
        let Some(ends) = &mut self.ends else { return is_below };
        match ends.before(user_key, entry) {
            Cut::No => is_below,
            Cut::Here => true,
            Cut::NoMore => {
                self.ends = None;
                is_below
            }
        }
    }
}

/// Where a flush is cut by what is below.
#[derive(Debug)]
struct ClusterCuts {
    /// Where clusters end, ascending; but the last.
    ends: Vec<KeyEndBuf>,
    /// The first that is not before the current key.
    at: usize,
    /// What a part has at least.
    part_bytes: u64,
    /// Where a part ends though no cluster does.
    bytes_max: u64,
}

impl ClusterCuts {
    fn new(older: &Version, part_bytes: u64) -> ClusterCuts {
        let base = older.levels().skip(1).find(|level| !level.is_empty());
        let level0 = older.level(0).runs().iter().flat_map(|run| run.tables());
        let base = base.into_iter().flat_map(Level::tables);
        let mut ends = cluster_ends(level0.chain(base));
        let bytes_max =
            if ends.is_empty() { part_bytes.saturating_mul(PARTS_OF_FIRST) } else { u64::MAX };
        ends.pop();
        let ends = ends.into_iter().map(KeyEnd::to_owned).collect();
        ClusterCuts { ends, at: 0, part_bytes, bytes_max }
    }

    #[inline]
    fn before(&mut self, user_key: &[u8], output_bytes: u64) -> bool {
        let mut passed = false;
        while let Some(end) = self.ends.get(self.at)
            && KeyEnd::from(end).is_before(user_key)
        {
            passed = true;
            self.at += 1;
        }
        (passed && output_bytes >= self.part_bytes) || output_bytes >= self.bytes_max
    }
}

/// What to do before a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    No,
    Here,
    /// There is nothing to be cut from here on.
    NoMore,
}

/// Where a flush is cut whose keys nearly ascend.
#[derive(Debug)]
struct EndCuts {
    entries: u64,
    /// Where all that is older ends; `None` once the first part has been cut.
    older_end: Option<KeyEndBuf>,
    /// The entries behind which the last part begins.
    tail_from: u64,
}

impl EndCuts {
    /// For a flush of so many entries over `older`; `None` where there is nothing older.
    fn new(older: &Version, entries: u64) -> Option<EndCuts> {
        let runs = older.levels().flat_map(Level::runs);
        // Tables of a run ascend and do not overlap.
        let ends = runs.filter_map(|run| run.tables().last()).map(|table| table.end());
        let older_end = Some(ends.max()?.to_owned());
        Some(EndCuts { entries, older_end, tail_from: 0 })
    }

    /// What to do before `user_key`, the key of entry number `entry` (from 1 on) and of none before
    /// it.
    #[inline]
    fn before(&mut self, user_key: &[u8], entry: u64) -> Cut {
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
    use crate::compaction::tests::table;

    /// Before which keys a flush over these tables is cut, if each of its keys has 10 bytes.
    fn cuts_below(older: &[(usize, &str, &str)], keys: &str, part_bytes: u64) -> String {
        let tables = (1..).zip(older);
        let tables: Vec<_> = tables
            .map(|(number, &(level, from, to))| (level, table(number, from, to, 9, 0)))
            .collect();
        let older = Version::empty().apply(&tables, &[]).unwrap();
        let (mut cuts, mut bytes) = (ClusterCuts::new(&older, part_bytes), 0);
        let is_cut = |key: &char| {
            let cut = cuts.before(key.to_string().as_bytes(), bytes);
            bytes = if cut { 10 } else { bytes + 10 };
            cut
        };
        keys.chars().filter(is_cut).collect()
    }

    #[test]
    fn a_flush_over_clusters_is_cut_where_they_end() {
        let keys = "abcdefghijklmnopqrstuvwxyz";
        let base = [(6, "b", "f"), (6, "h", "k"), (6, "m", "p")];
        assert_eq!(cuts_below(&base, keys, 20), "gl");
        assert_eq!(cuts_below(&base, keys, 70), "l", "the first part would be too small");
        assert_eq!(cuts_below(&base, "acdqrstz", 20), "q");
        let joined = [&base[..], &[(0, "e", "i")]].concat();
        assert_eq!(cuts_below(&joined, keys, 20), "l", "a table above joins two below");
        let level0 = [(0, "a", "d"), (0, "e", "k"), (0, "l", "z"), (0, "b", "c"), (0, "f", "j")];
        assert_eq!(cuts_below(&level0, keys, 10), "el");
    }

    #[test]
    fn the_first_flush_is_cut_by_size() {
        assert_eq!(cuts_below(&[], "abcdefghijkl", 10), "ei");
        assert_eq!(cuts_below(&[(6, "d", "e")], "abcdefghijkl", 10), "", "there is one cluster");
    }

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
