//! Which tables of a sorted run a scan between two bounds has to look at.
//!
//! A table whose keys all lie outside of the bounds cannot give the scan anything, and is not even
//! opened. Where all keys between the bounds begin with the same prefix, the filters of the tables
//! that are left are asked for it, unless there are many of them: of a run only the first and the
//! last can lack a prefix that lies between them.
//!
//! What range tombstones delete does not hang on this: a scan asks those of every table
//! (`range_sources` in `scan.rs`), also of one that is left out here.

use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::db::core::Core;
use crate::db::scan::Bounds;
use crate::filter::PrefixExtractor;
use crate::version::{Run, TableMeta};

/// As many tables of a run are asked for a prefix.
const TABLES_ASKED_MAX: usize = 2;

/// The keys that a scan may give.
#[derive(Debug)]
pub(crate) struct Reach<'a> {
    bounds: &'a Bounds,
    /// What all of them have as their prefix, and how it is cut.
    prefix: Option<(PrefixExtractor, Vec<u8>)>,
}

impl<'a> Reach<'a> {
    pub(crate) fn new(bounds: &'a Bounds, extractor: Option<PrefixExtractor>) -> Reach<'a> {
        let prefix = extractor.and_then(|extractor| {
            let shared = shared_front(bounds);
            extractor.prefix(&shared).map(|prefix| (extractor, prefix.to_vec()))
        });
        Reach { bounds, prefix }
    }

    /// The tables of `run` that may hold one of the keys.
    pub(crate) fn within(&self, run: &Run) -> Range<usize> {
        let tables = run.tables();
        let first = match &self.bounds.0 {
            Bound::Unbounded => 0,
            Bound::Included(low) | Bound::Excluded(low) => run.first_ending_at_or_behind(low),
        };
        let behind = match &self.bounds.1 {
            Bound::Unbounded => tables.len(),
            Bound::Included(high) => {
                tables.partition_point(|table| table.smallest_user_key() <= &high[..])
            }
            Bound::Excluded(high) => {
                tables.partition_point(|table| table.smallest_user_key() < &high[..])
            }
        };
        let mut range = first..behind.max(first);
        // The lower bound itself may be all that the first table has of the range.
        if let (Bound::Excluded(low), Some(table)) = (&self.bounds.0, tables.get(first))
            && table.largest_user_key() == &low[..]
        {
            range.start = (first + 1).min(range.end);
        }
        range
    }

    /// The same, without those at the ends whose filters deny the prefix of all the keys.
    pub(crate) fn within_filtered(&self, core: &Core, run: &Run) -> Range<usize> {
        let mut range = self.within(run);
        let Some((extractor, prefix)) = &self.prefix else { return range };
        if range.len() > TABLES_ASKED_MAX {
            return range;
        }
        let denies = |table: &Arc<TableMeta>| {
            // A table that cannot be opened fails when the scan comes to it.
            let opened = core.tables.open(&table.handle).ok();
            let answer = opened.and_then(|open| open.may_hold_prefix(*extractor, prefix));
            match answer {
                None => {}
                Some(true) => core.counters.prefix_filter_passed.add(1),
                Some(false) => core.counters.prefix_filter_useful.add(1),
            }
            answer == Some(false)
        };
        while !range.is_empty() && denies(&run.tables()[range.start]) {
            range.start += 1;
        }
        while range.len() > 1 && denies(&run.tables()[range.end - 1]) {
            range.end -= 1;
        }
        range
    }
}

/// The longest front that every key between the bounds is sure to have.
fn shared_front(bounds: &Bounds) -> Vec<u8> {
    let (Bound::Included(low) | Bound::Excluded(low)) = &bounds.0 else { return Vec::new() };
    let (high, excluded) = match &bounds.1 {
        Bound::Unbounded => return Vec::new(),
        Bound::Included(high) => (high, false),
        Bound::Excluded(high) => (high, true),
    };
    let mut shared = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    // Below `ab`, excluded, and not below `aa`, every key begins with `aa`; and where `aa` goes on
    // with bytes of 255, every key goes on with them, too.
    let next = |byte: Option<&u8>| byte.and_then(|byte| byte.checked_add(1));
    if excluded && high.len() == shared + 1 && next(low.get(shared)) == Some(high[shared]) {
        shared += 1;
        shared += low[shared..].iter().take_while(|&&byte| byte == 0xff).count();
    }
    low[..shared].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::scan::prefix_bounds;
    use proptest::prelude::*;

    #[test]
    fn all_keys_of_a_prefix_share_it() {
        for prefix in [&b"abc"[..], b"a\xff", b"a\xff\xff", b"ab\xffc", b"a"] {
            assert_eq!(shared_front(&prefix_bounds(prefix)), prefix);
        }
        assert!(shared_front(&prefix_bounds(b"\xff")).is_empty(), "there is no end to them");
        assert!(shared_front(&prefix_bounds(b"")).is_empty());
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        let key = || prop::collection::vec(prop::sample::select(vec![0, 1, 2, 0xfe, 0xff]), 0..5);
        prop_oneof![
            Just(Bound::Unbounded),
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn no_key_between_the_bounds_begins_otherwise(
            bounds in (bound(), bound()),
            keys in prop::collection::vec(
                prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 0xfe, 0xff]), 0..6),
                64,
            ),
        ) {
            use std::ops::RangeBounds;
            let shared = shared_front(&bounds);
            for key in keys.iter().filter(|key| bounds.contains(*key)) {
                prop_assert!(key.starts_with(&shared), "{key:?} in {bounds:?}: {shared:?}");
            }
        }
    }
}
