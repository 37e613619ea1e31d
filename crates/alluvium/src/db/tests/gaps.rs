//! What scans remember of stretches in which there is nothing: it saves reading them again, and
//! changes no answer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use crate::base::error::Result;
use crate::db::scan::{KeyRange, View};
use crate::db::{Cursor, Snapshot};
use crate::options::ReadOptions;

/// Nothing is merged that nobody asks for.
fn calm() -> Options {
    let mut options = small();
    options.wal_bytes_max = 1 << 30;
    options.column_family.memtable_bytes = 64 << 20;
    options
}

fn blocks_asked_for(db: &Db) -> u64 {
    let stats = db.stats();
    stats.counter("cache_hits") + stats.counter("cache_misses")
}

#[test]
fn a_queue_is_not_walked_over_again() {
    let db = open(&MemEnv::new(), calm());
    fill(&db, 0..10_100, 0);
    db.flush().unwrap();
    let before = db.snapshot();
    let mut batch = WriteBatch::new();
    (0..10_000).for_each(|index| batch.delete(key(index)));
    db.write(batch).unwrap();
    db.flush().unwrap();
    let scan = |expected: usize| {
        let begun = blocks_asked_for(&db);
        assert_eq!(db.scan(..).count(), expected);
        blocks_asked_for(&db) - begun
    };
    let (first, second) = (scan(100), scan(100));
    assert!(first > 500, "{first}");
    assert!(second < 20, "{second} blocks, {first} the first time");
    let begun = blocks_asked_for(&db);
    assert_eq!(db.scan(..).rev().count(), 100);
    assert!(blocks_asked_for(&db) - begun < 20);

    db.put(key(17), "late").unwrap();
    let third = scan(101);
    assert!(third < 60, "{third} blocks for one new key among those that are gone");
    assert_eq!(db.scan(..).next().unwrap().unwrap().0, key(17));
    assert_eq!(before.scan(..).count(), 10_100, "who looks from before sees what was there");
    db.compact().unwrap();
    assert!(scan(101) < 60 && scan(101) < 60);
}

#[test]
fn whoever_lacks_a_batch_sees_nothing_of_its_deletes_either() {
    let db = open(&MemEnv::new(), calm());
    fill(&db, 0..50, 0);
    let family = db.default_column_family().family().clone();
    let before = family.load();
    db.flush().unwrap();
    let mut batch = WriteBatch::new();
    (0..50).for_each(|index| batch.delete(key(index)));
    batch.put("z", "moved");
    db.write(batch).unwrap();
    let snapshot = db.snapshot();
    assert_eq!(snapshot.scan(..).count(), 1);
    // As one that was put to sleep between its two first steps.
    let view = View::of(db.shared(), &family, &before, None, ReadOptions::default());
    let mut cursor = Cursor::over(db.shared(), before, (..).bounds(), &view).unwrap();
    cursor.seek_to_first().unwrap();
    let mut found = 0;
    while cursor.valid() {
        assert!(cursor.key() != b"z");
        found += 1;
        cursor.next().unwrap();
    }
    assert_eq!(found, 50, "all of the batch or nothing");
}

#[test]
fn a_gap_that_was_filled_is_let_go() {
    let db = open(&MemEnv::new(), calm());
    fill(&db, 0..200, 0);
    (0..200).for_each(|index| db.delete(key(index)).unwrap());
    let snapshot = db.snapshot();
    assert_eq!(snapshot.scan(..).count(), 0);
    let family = db.default_column_family().family().clone();
    let has_gaps = || family.gaps.for_reader(db.core().visible(), u64::MAX).is_some();
    assert!(has_gaps());
    fill(&db, 0..200, 1);
    assert_eq!(db.scan(..).count(), 200);
    assert!(!has_gaps());
}

/// Entries in tables.
fn stored(db: &Db) -> u64 {
    db.stats().families[0].levels.iter().map(|level| level.entries).sum()
}

#[test]
fn a_queue_that_passes_through_one_memtable_leaves_nothing() {
    let db = open(&MemEnv::new(), calm());
    let delete = |range: std::ops::Range<u32>| {
        range.for_each(|index| db.delete(key(index)).unwrap());
    };
    fill(&db, 0..100, 0);
    delete(0..100);
    db.delete_range(key(0), key(100)).unwrap();
    db.flush().unwrap();
    assert_eq!(stored(&db), 0);

    fill(&db, 100..120, 0);
    db.flush().unwrap();
    fill(&db, 120..200, 0);
    delete(110..200);
    db.flush().unwrap();
    assert!(stored(&db) <= 20 + 10, "{} tombstones over nothing", stored(&db) - 30);
    assert_eq!(db.scan(..).count(), 10, "tombstones over what a table holds stay");

    fill(&db, 200..300, 0);
    let before = db.snapshot();
    delete(200..300);
    db.flush().unwrap();
    assert_eq!((db.scan(..).count(), before.scan(..).count()), (10, 110));
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    PutFor(u8, u64),
    Delete(u8, u8),
    DeleteRange(u8, u8),
    Flush,
    Compact,
    Pass(u64),
    Snapshot,
    Forget,
    Scan { low: u8, high: u8, turn: u8, of: usize },
    Pop,
}

const KEYS: u8 = 60;

fn step() -> impl Strategy<Value = Step> {
    let place = 0..KEYS;
    prop_oneof![
        4 => place.clone().prop_map(Step::Put),
        2 => (place.clone(), 1..40u64).prop_map(|(key, ms)| Step::PutFor(key, ms)),
        5 => (place.clone(), 1..30u8).prop_map(|(key, count)| Step::Delete(key, count)),
        1 => (place.clone(), 1..30u8).prop_map(|(key, count)| Step::DeleteRange(key, count)),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        2 => (0..50u64).prop_map(Step::Pass),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Forget),
        8 => (0..KEYS, 0..=KEYS, 0..KEYS, 0..3usize)
            .prop_map(|(low, high, turn, of)| Step::Scan { low, high, turn, of }),
        2 => Just(Step::Pop),
    ]
}

/// What is in a store: by key, when it expires.
type Model = BTreeMap<Vec<u8>, Option<u64>>;

fn seen(model: &Model, now_ms: u64, range: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<Vec<u8>> {
    let alive = |expiry: &Option<u64>| expiry.is_none_or(|expiry| now_ms < expiry);
    model.range(range.clone()).filter(|(_, at)| alive(at)).map(|(key, _)| key.clone()).collect()
}

fn name(number: u8) -> Vec<u8> {
    key(u32::from(number))
}

fn keys(scan: impl Iterator<Item = Result<(Bytes, Bytes)>>) -> Vec<Vec<u8>> {
    scan.map(|item| item.unwrap().0.to_vec()).collect()
}

/// Some steps forwards from `turn`, then back over them and on to the front.
fn turn_round(mut cursor: Cursor, expected: &[Vec<u8>], turn: &[u8]) {
    cursor.seek(turn).unwrap();
    let at = expected.partition_point(|key| key.as_slice() < turn);
    let there = (at + 3).min(expected.len().saturating_sub(1));
    for key in expected.iter().take(there).skip(at) {
        assert_eq!(cursor.key(), key.as_slice());
        cursor.next().unwrap();
    }
    if at < expected.len() {
        for key in expected[..=there].iter().rev() {
            assert_eq!(cursor.key(), key.as_slice());
            cursor.prev().unwrap();
        }
    }
    assert!(!cursor.valid());
}

/// A store beside what should be in it.
struct Pair {
    env: MemEnv,
    db: Db,
    model: Model,
    now_ms: u64,
    snapshots: Vec<(Snapshot, Model)>,
}

impl Pair {
    fn new() -> Pair {
        let (env, start_ms) = (MemEnv::new(), 1_000_000_000);
        env.set_unix_time(Duration::from_millis(start_ms));
        let db = open(&env, calm());
        Pair { env, db, model: Model::new(), now_ms: start_ms, snapshots: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        let (db, model) = (&self.db, &mut self.model);
        match step {
            Step::Put(key) => {
                db.put(name(key), "value").unwrap();
                model.insert(name(key), None);
            }
            Step::PutFor(key, ms) => {
                db.put_with_ttl(name(key), "value", Duration::from_millis(ms)).unwrap();
                model.insert(name(key), Some(self.now_ms + ms));
            }
            Step::Delete(key, count) => {
                for key in key..key + count {
                    db.delete(name(key)).unwrap();
                    model.remove(&name(key));
                }
            }
            Step::DeleteRange(key, count) => {
                db.delete_range(name(key), name(key + count)).unwrap();
                model.retain(|held, _| *held < name(key) || name(key + count) <= *held);
            }
            Step::Flush => db.flush().unwrap(),
            Step::Compact => db.compact().unwrap(),
            Step::Pass(ms) => {
                self.env.pass_time(Duration::from_millis(ms));
                self.now_ms += ms;
            }
            Step::Snapshot => self.snapshots.push((db.snapshot(), model.clone())),
            Step::Forget => self.snapshots.truncate(1),
            Step::Scan { low, high, turn, of } => self.scan(low, high, &name(turn), of),
            Step::Pop => self.pop(),
        }
    }

    fn scan(&self, low: u8, high: u8, turn: &[u8], of: usize) {
        let lower = match low % 3 {
            0 => Bound::Unbounded,
            1 => Bound::Included(name(low)),
            _ => Bound::Excluded(name(low)),
        };
        let upper = match high % 3 {
            0 => Bound::Unbounded,
            1 => Bound::Included(name(high.max(low) + 1)),
            _ => Bound::Excluded(name(high.max(low) + 1)),
        };
        let range = (lower, upper);
        let snapshot = self.snapshots.get(of);
        let scan = || match snapshot {
            Some((snapshot, _)) => snapshot.scan(range.clone()),
            None => self.db.scan(range.clone()),
        };
        let (cursor, held) = match snapshot {
            Some((snapshot, held)) => (snapshot.cursor(), held),
            None => (self.db.cursor(), &self.model),
        };
        let mut expected = seen(held, self.now_ms, &range);
        assert_eq!(keys(scan()), expected);
        expected.reverse();
        assert_eq!(keys(scan().rev()), expected);
        let all = seen(held, self.now_ms, &(Bound::Unbounded, Bound::Unbounded));
        turn_round(cursor.unwrap(), &all, turn);
    }

    fn pop(&mut self) {
        let first = self.db.scan(..).next().map(|first| first.unwrap().0.to_vec());
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(first.as_ref(), seen(&self.model, self.now_ms, &all).first());
        if let Some(first) = first {
            self.db.delete(&first).unwrap();
            self.model.remove(&first);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 200 }))]

    #[test]
    fn gaps_change_no_answer(steps in prop::collection::vec(step(), 1..80)) {
        let mut pair = Pair::new();
        steps.into_iter().for_each(|step| pair.step(step));
    }
}
