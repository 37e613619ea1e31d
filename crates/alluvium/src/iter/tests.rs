//! The iterator stack against a plain list, over memory sources and over tables.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use proptest::prelude::*;

use super::covers::{Covers, GapsAt};
use super::merging::MergingIterator;
use super::visible::VisibleIterator;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo, ValueKind};
use crate::cache::BlockCache;
use crate::env::{Env, MemEnv};
use crate::metrics::Counters;
use crate::ranges::gaps::KnownGaps;
use crate::sstable::{ReadPurpose, Table, TableIterator, TableOptions, TableWriter, spare_chunks};

/// A sorted list of encoded internal keys and values, that fails when it moves `fails_at` times.
#[derive(Debug, Clone)]
struct ListIterator {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    at: Option<usize>,
    moves_left: usize,
}

impl ListIterator {
    fn new(mut entries: Vec<(Vec<u8>, Vec<u8>)>) -> ListIterator {
        entries.sort_by(|a, b| key::compare(&a.0, &b.0));
        ListIterator { entries, at: None, moves_left: usize::MAX }
    }

    fn land(&mut self, at: Option<usize>) -> Result<()> {
        self.moves_left = self.moves_left.saturating_sub(1);
        self.at = at.filter(|&at| at < self.entries.len());
        if self.moves_left == 0 {
            self.at = None;
            return Err(Error::corruption("list", 0, "planned"));
        }
        Ok(())
    }
}

impl InternalIterator for ListIterator {
    fn valid(&self) -> bool {
        self.at.is_some()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.land(Some(0))
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.land(self.entries.len().checked_sub(1))
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let at = self.entries.partition_point(|(k, _)| key::compare(k, target).is_lt());
        self.land(Some(at))
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let at = self.entries.partition_point(|(k, _)| key::compare(k, target).is_le());
        self.land(at.checked_sub(1))
    }
    fn next(&mut self) -> Result<()> {
        self.land(self.at.map(|at| at + 1))
    }
    fn prev(&mut self) -> Result<()> {
        self.land(self.at.and_then(|at| at.checked_sub(1)))
    }
    fn key(&self) -> &[u8] {
        &self.entries[self.at.unwrap()].0
    }
    fn value(&self) -> &[u8] {
        &self.entries[self.at.unwrap()].1
    }
}

/// One write: which source it went to, its key, and a value or a tombstone.
type Write = (usize, Vec<u8>, Option<u8>);

/// Short keys of few letters, behind nothing or behind what brings them to a length at which keys
/// are compared or copied in another way.
fn user_key() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop::sample::select(vec![0u8, b'a', b'b', 0xff]);
    let fronts = vec![0usize, 0, 0, 0, 6, 8, 14, 15, 31];
    (prop::sample::select(fronts), prop::collection::vec(letters, 0..3))
        .prop_map(|(front, rest)| [vec![b'k'; front], rest].concat())
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        user_key().prop_map(Bound::Included),
        user_key().prop_map(Bound::Excluded),
    ]
}

/// Mostly into one source, and mostly plain values: a walk meets some in a row.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let value = prop::option::weighted(0.8, prop_oneof![any::<u8>(), Just(1)]);
    let source = prop_oneof![3 => Just(0usize), 1 => 0usize..4];
    prop::collection::vec((source, user_key(), value), 0..60)
}

/// Mostly steps, of which several go on in the same direction.
fn movement() -> impl Strategy<Value = u8> {
    prop_oneof![1 => 0u8..4, 5 => Just(4), 2 => Just(5)]
}

/// When an entry with this value expires: one in three does.
fn expiry_of(value: u8) -> Option<u64> {
    value.is_multiple_of(3).then_some(u64::from(value))
}

fn sources(writes: &[Write]) -> Vec<ListIterator> {
    let mut lists = vec![Vec::new(); 4];
    for (index, (source, user_key, value)) in writes.iter().enumerate() {
        let (kind, bytes) = match value.map(|value| (value, expiry_of(value))) {
            None => (ValueKind::Delete, Vec::new()),
            Some((value, None)) => (ValueKind::Put, vec![value]),
            Some((value, Some(expiry))) => {
                (ValueKind::PutExpiring, [&expiry.to_le_bytes()[..], &[value]].concat())
            }
        };
        let trailer = key::pack_trailer(SeqNo::new(index as u64 + 1), kind);
        lists[*source].push((key::encode(user_key, trailer), bytes));
    }
    lists.into_iter().map(ListIterator::new).collect()
}

fn merged(sources: Vec<ListIterator>) -> MergingIterator {
    MergingIterator::new(
        sources.into_iter().map(|s| Box::new(s) as Box<dyn InternalIterator>).collect(),
    )
}

/// A table of the entries of `list`, in blocks of `block_bytes` or little more.
fn table(list: &ListIterator, block_bytes: usize, counters: &Arc<Counters>) -> TableIterator {
    open_table(list, block_bytes, counters).iter(ReadPurpose::User { fill_cache: true })
}

fn open_table(list: &ListIterator, block_bytes: usize, counters: &Arc<Counters>) -> Arc<Table> {
    let (env, number) = (MemEnv::new(), FileNumber(1));
    env.create_directory().unwrap();
    let file = env.create(FileId::Table(number)).unwrap();
    let options = TableOptions { block_bytes, restart_interval: 3, ..TableOptions::default() };
    let mut writer = TableWriter::new(file, number, "table".to_owned(), options);
    for (key, value) in &list.entries {
        writer.add(key, value).unwrap();
    }
    writer.finish().unwrap();
    let file = env.open(FileId::Table(number)).unwrap();
    let (cache, counters) = (Arc::new(BlockCache::new(1 << 16)), Arc::clone(counters));
    Arc::new(Table::open(file, number, "table".to_owned(), cache, counters).unwrap())
}

/// The sources as lists, or as tables with blocks of so many bytes.
fn merged_as(sources: Vec<ListIterator>, block_bytes: Option<usize>) -> MergingIterator {
    let Some(block_bytes) = block_bytes else { return merged(sources) };
    let sources = sources.into_iter().filter(|list| !list.entries.is_empty());
    let counters = Arc::new(Counters::default());
    let table = |s| Box::new(table(&s, block_bytes, &counters)) as Box<dyn InternalIterator>;
    MergingIterator::new(sources.map(table).collect())
}

fn block_bytes() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(None), (1usize..400).prop_map(Some)]
}

/// What a user sees at `seq`, when it is `now`.
fn model(writes: &[Write], seq: usize, now: u64) -> BTreeMap<Vec<u8>, u8> {
    let mut map = BTreeMap::new();
    for (_, user_key, value) in &writes[..seq.min(writes.len())] {
        let expired = |&value: &u8| expiry_of(value).is_some_and(|expiry| expiry <= now);
        match value.filter(|value| !expired(value)) {
            Some(value) => map.insert(user_key.clone(), value),
            None => map.remove(user_key),
        };
    }
    map
}

proptest! {
    #[test]
    fn the_merge_is_the_sorted_union_in_both_directions_with_turns(
        writes in writes(), steps in prop::collection::vec(any::<bool>(), 0..80)
    ) {
        let mut all: Vec<Vec<u8>> =
            sources(&writes).into_iter().flat_map(|s| s.entries).map(|e| e.0).collect();
        all.sort_by(|a, b| key::compare(a, b));
        let mut iterator = merged(sources(&writes));
        iterator.seek_to_first().unwrap();
        let mut at = 0;
        for forward in steps {
            prop_assert_eq!(iterator.valid(), at < all.len());
            if !iterator.valid() {
                break;
            }
            prop_assert_eq!(iterator.key(), all[at].as_slice());
            if forward {
                iterator.next().unwrap();
                at += 1;
            } else {
                iterator.prev().unwrap();
                at = at.checked_sub(1).unwrap_or(all.len());
            }
        }
    }

    #[test]
    fn what_is_visible_is_what_the_model_says(
        writes in writes(),
        seq in 0usize..60,
        now in 0u64..300,
        lower in bound(),
        upper in bound(),
        block_bytes in block_bytes(),
        targets in prop::collection::vec((movement(), user_key()), 0..60),
    ) {
        let bounds = (lower.clone(), upper.clone());
        let expected: Vec<(Vec<u8>, u8)> =
            model(&writes, seq, now).into_iter().filter(|(key, _)| bounds.contains(key)).collect();
        let mut iterator = VisibleIterator::new(
            merged_as(sources(&writes), block_bytes), SeqNo::new(seq as u64), now, lower, upper);
        let mut at: Option<usize> = None;
        for (movement, target) in targets {
            match movement {
                0 => {
                    iterator.seek_to_first().unwrap();
                    at = (!expected.is_empty()).then_some(0);
                }
                1 => {
                    iterator.seek_to_last().unwrap();
                    at = expected.len().checked_sub(1);
                }
                2 => {
                    iterator.seek(&target).unwrap();
                    at = expected.iter().position(|(key, _)| *key >= target);
                }
                3 => {
                    iterator.seek_for_prev(&target).unwrap();
                    at = expected.iter().rposition(|(key, _)| *key <= target);
                }
                4 => {
                    iterator.next().unwrap();
                    at = at.map(|at| at + 1).filter(|at| *at < expected.len());
                }
                _ => {
                    iterator.prev().unwrap();
                    at = at.and_then(|at| at.checked_sub(1));
                }
            }
            prop_assert_eq!(iterator.valid(), at.is_some());
            if let Some(at) = at {
                prop_assert_eq!(iterator.key(), expected[at].0.as_slice());
                prop_assert_eq!(iterator.value(), &[expected[at].1][..]);
                prop_assert_eq!(&iterator.value_handle()[..], &[expected[at].1][..]);
                prop_assert_eq!(iterator.expiry_ms(), expiry_of(expected[at].1));
            }
        }
    }
}

/// A key with many versions is passed by seeking, in both directions, newer and older than the
/// view.
#[test]
fn very_many_versions_of_one_key_hide_nothing_else() {
    let mut writes: Vec<Write> = vec![(0, b"a".to_vec(), Some(1)), (1, b"c".to_vec(), Some(3))];
    writes.extend((0..200u8).map(|i| (usize::from(i) % 4, b"b".to_vec(), Some(i))));
    let in_blocks = |seq| [None, Some(60), Some(9_000)].map(|block_bytes| (seq, block_bytes));
    for (seq, block_bytes) in (0..=203).flat_map(in_blocks) {
        let mut iterator = VisibleIterator::new(
            merged_as(sources(&writes), block_bytes),
            SeqNo::new(seq),
            100,
            Bound::Unbounded,
            Bound::Unbounded,
        );
        let expected: Vec<_> = model(&writes, seq as usize, 100).into_iter().collect();
        let mut forwards = Vec::new();
        iterator.seek_to_first().unwrap();
        while iterator.valid() {
            forwards.push((iterator.key().to_vec(), iterator.value()[0]));
            iterator.next().unwrap();
        }
        assert_eq!(forwards, expected, "at {seq}");
        let mut backwards = Vec::new();
        iterator.seek_to_last().unwrap();
        while iterator.valid() {
            backwards.push((iterator.key().to_vec(), iterator.value()[0]));
            iterator.prev().unwrap();
        }
        backwards.reverse();
        assert_eq!(backwards, expected, "backwards at {seq}");
    }
}

/// Of very many versions of one key a scan reads few: it searches behind them.
#[test]
fn a_walk_searches_its_way_out_of_very_many_versions() {
    let mut writes: Vec<Write> = vec![(0, b"a".to_vec(), Some(1)), (0, b"c".to_vec(), Some(2))];
    writes.extend((0..20_000u32).map(|i| (0, b"b".to_vec(), Some((i % 200) as u8))));
    let source = sources(&writes).remove(0);
    for seq in [2u64, 3, 10_000, 19_960, 30_000] {
        let counters = Arc::new(Counters::default());
        let table = Box::new(table(&source, 200, &counters)) as Box<dyn InternalIterator>;
        let mut iterator = VisibleIterator::new(
            MergingIterator::new(vec![table]),
            SeqNo::new(seq),
            0,
            Bound::Unbounded,
            Bound::Unbounded,
        );
        iterator.seek_to_first().unwrap();
        let mut keys = Vec::new();
        while iterator.valid() {
            keys.push(iterator.key().to_vec());
            iterator.next().unwrap();
        }
        let expected: Vec<_> = model(&writes, seq as usize, 0).into_keys().collect();
        assert_eq!(keys, expected, "at {seq}");
        let blocks = counters.cache_hits.get() + counters.cache_misses.get();
        assert!(blocks < 200, "{blocks} blocks of a thousand read at {seq}");
    }
}

/// What is handed out at once lies in memory that the source reads into again; dropped after it, it
/// kept that from the thread's next cursor.
#[test]
fn a_cursor_dropped_among_its_rows_leaves_the_thread_its_memory() {
    let writes: Vec<Write> = (0..40u8).map(|key| (0, vec![key], Some(1))).collect();
    let source = sources(&writes).remove(0);
    let table = open_table(&source, 400, &Arc::new(Counters::default()));
    for passed in [1, 2, 3, 30] {
        let source = Arc::clone(&table).iter(ReadPurpose::User { fill_cache: false });
        let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
        let mut iterator = VisibleIterator::new(source, SeqNo::new(99), 0, lower, upper);
        iterator.seek_to_first().unwrap();
        (0..passed).for_each(|_| iterator.next().unwrap());
        assert_eq!(iterator.key(), [passed]);
        assert_eq!(spare_chunks(), 0, "in use");
        drop(iterator);
        assert_eq!(spare_chunks(), 1, "{passed} entries on");
    }
}

/// cberner/redb 4.3.0: an iterator went on after an error and skipped what it could not read.
#[test]
fn reg_f10_an_error_stays_until_the_next_seek() {
    let writes: Vec<Write> = (0..20u8).map(|i| (usize::from(i) % 4, vec![i], Some(i))).collect();
    let mut failing = sources(&writes);
    failing[2].moves_left = 3;
    let mut iterator = merged(failing);
    iterator.seek_to_first().unwrap();
    let mut error = None;
    for _ in 0..20 {
        if let Err(found) = iterator.next() {
            error = Some(found);
            break;
        }
    }
    assert!(error.is_some_and(|error| error.is_corruption()));
    assert!(!iterator.valid());
    assert!(iterator.next().is_err() && iterator.prev().is_err());
}

/// A gap ends at the first entry that is there, though the source that handed it out with others is
/// further on.
#[test]
fn a_gap_ends_where_the_first_of_the_rows_stands() {
    let writes: Vec<Write> =
        (0u16..420).map(|n| (0, n.to_be_bytes().to_vec(), (n % 400 < 20).then_some(1))).collect();
    let known = Arc::new(KnownGaps::default());
    let source = sources(&writes).swap_remove(0);
    let table = table(&source, 40_000, &Arc::new(Counters::default()));
    let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
    let mut iterator = VisibleIterator::new(table, SeqNo::new(999), 1, lower, upper)
        .leaving_gaps(Arc::clone(&known));
    iterator.seek_to_first().unwrap();
    let first_behind = 400u16.to_be_bytes();
    (0..20).for_each(|_| iterator.next().unwrap());
    assert_eq!((iterator.key(), known.left()), (&first_behind[..], 1));
    let mut covers = Covers::new(
        vec![Box::new(GapsAt { gaps: known.for_reader(SeqNo::new(999), 1).unwrap(), now_ms: 1 })],
        SeqNo::new(999),
    );
    assert!(covers.newest(&399u16.to_be_bytes()).unwrap() > SeqNo::ZERO);
    assert_eq!(covers.newest(&first_behind).unwrap(), SeqNo::ZERO);
}

#[test]
fn a_scan_over_many_short_gaps_leaves_few() {
    let writes: Vec<Write> = (0u32..82_000)
        .map(|number| (0, number.to_be_bytes().to_vec(), number.is_multiple_of(41).then_some(1)))
        .collect();
    let known = Arc::new(KnownGaps::default());
    let list = sources(&writes).swap_remove(0);
    let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
    let mut all = VisibleIterator::new(list, SeqNo::new(82_000), 1, lower, upper)
        .leaving_gaps(Arc::clone(&known));
    all.seek_to_first().unwrap();
    let mut rows = 0;
    while all.valid() {
        rows += 1;
        all.next().unwrap();
    }
    assert_eq!(rows, 2_000);
    // Eight for each size up to the forty that all stretches have.
    assert!((8..=32).contains(&known.left()), "{} gaps", known.left());
}
