//! Ranges deleted through the handle: what reading past them costs, and what becomes of the space.

use std::time::Duration;

use super::*;
use crate::base::event_time::EventTime;
use crate::compaction::strategy::{Fifo, Strategy, TimeWindows};
use crate::filter::{FilterPolicy, PrefixExtractor};

/// Fills `range` in large batches.
fn fill_fast(db: &Db, range: std::ops::Range<u32>) {
    let keys: Vec<u32> = range.collect();
    for chunk in keys.chunks(1_000) {
        let mut batch = WriteBatch::new();
        for &index in chunk {
            batch.put(key(index), value(index, 0));
        }
        db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
    }
}

fn blocks_asked_for(db: &Db) -> u64 {
    let stats = db.stats();
    stats.counter("cache_hits") + stats.counter("cache_misses")
}

/// Tables and entries in all levels.
fn held(db: &Db) -> (usize, u64) {
    let stats = db.stats();
    let levels = || stats.families[0].levels.iter();
    (levels().map(|level| level.tables).sum(), levels().map(|level| level.entries).sum())
}

/// Windows of an hour; keys begin with their time.
fn windows() -> Strategy {
    Strategy::TimeWindows(TimeWindows::new(Duration::from_secs(3_600), EventTime::big_endian_ms(0)))
}

/// Nothing is merged that nobody asks for.
fn calm() -> Options {
    let mut options = small();
    options.wal_bytes_max = 1 << 30;
    options.column_family.memtable_bytes = 64 << 20;
    options.column_family.level0_tables_compact = 1_000;
    options.column_family.level0_tables_slowdown = 1_000;
    options.column_family.level0_tables_stop = 1_001;
    options
}

#[test]
fn a_scan_over_a_deleted_stretch_does_not_read_it() {
    let mut options = calm();
    options.column_family.table_bytes = 256 << 10;
    options.column_family.block_bytes = 4 << 10;
    let db = open(&MemEnv::new(), options);
    fill_fast(&db, 0..200_000);
    db.compact().unwrap();
    let begun = blocks_asked_for(&db);
    assert_eq!(db.scan(..).count(), 200_000);
    let whole = blocks_asked_for(&db) - begun;
    assert!(whole > 1_000, "{whole} blocks");
    db.delete_range(key(10), key(199_990)).unwrap();
    for flushed in [false, true] {
        if flushed {
            db.flush().unwrap();
            assert_eq!(held(&db).1, 200_000, "the deleted keys still lie below");
        }
        for forward in [true, false] {
            let begun = blocks_asked_for(&db);
            let found = if forward { db.scan(..).count() } else { db.scan(..).rev().count() };
            let read = blocks_asked_for(&db) - begun;
            assert_eq!(found, 20);
            assert!(read * 100 <= whole, "{read} of {whole}, forward: {forward}, {flushed}");
        }
    }
    db.compact().unwrap();
    assert_eq!(held(&db).1, 20);
}

#[test]
fn a_table_that_a_prefix_filter_leaves_out_still_deletes() {
    for filter in [FilterPolicy::default(), FilterPolicy::None] {
        let mut options = calm();
        options.column_family.filter = filter;
        options.column_family.table_bytes = 16 << 20;
        options.column_family.prefix_extractor = Some(PrefixExtractor::UpToByte(b'/'));
        let db = open(&MemEnv::new(), options);
        // So many that merging them with the range tombstone would not pay.
        let mut batch = WriteBatch::new();
        (0..10_000).for_each(|index| batch.put(format!("b/{index:04}"), "old"));
        db.write(batch).unwrap();
        db.flush().unwrap();
        // The second table reaches over all of them and holds none.
        db.put("a/", "new").unwrap();
        db.put("c/", "new").unwrap();
        db.delete_range("b/0005", "b/0010").unwrap();
        db.flush().unwrap();
        let found = (db.prefix("b/").count(), db.prefix("b/").rev().count());
        assert_eq!((found, held(&db).0), ((9_995, 9_995), 2));
        let counters = |name| db.stats().counter(name);
        let asked = (counters("prefix_filter_useful"), counters("prefix_filter_passed"));
        // A table without a filter is asked nothing.
        let expected = if filter == FilterPolicy::None { (0, 0) } else { (2, 2) };
        assert_eq!(asked, expected, "{filter:?}");
    }
}

#[test]
fn a_merge_does_not_read_tables_that_a_range_tombstone_hides() {
    let db = open(&MemEnv::new(), calm());
    fill_fast(&db, 0..20_000);
    db.compact().unwrap();
    db.delete_range(key(100), key(19_900)).unwrap();
    db.flush().unwrap();
    let before = db.stats().counter("block_read_bytes");
    let stored: u64 = db.stats().families[0].levels.iter().map(|level| level.bytes).sum();
    db.compact().unwrap();
    let read = db.stats().counter("block_read_bytes") - before;
    assert!(read * 10 < stored, "{read} of {stored} bytes");
    assert_eq!((held(&db).1, db.scan(..).count()), (200, 200));
}

#[test]
fn a_snapshot_keeps_what_was_deleted_after_it() {
    let db = open(&MemEnv::new(), small());
    fill(&db, 0..300, 0);
    db.compact().unwrap();
    let snapshot = db.snapshot();
    db.delete_range(key(50), key(250)).unwrap();
    db.compact().unwrap();
    assert_eq!((db.scan(..).count(), snapshot.scan(..).count()), (100, 300));
    assert_eq!(snapshot.get(key(100)).unwrap().unwrap(), value(100, 0));
    drop(snapshot);
    db.compact().unwrap();
    assert_eq!((held(&db).1, db.scan(..).rev().count()), (100, 100));
}

#[test]
fn range_tombstones_alone_go_under_every_strategy_and_are_not_merged_for_ever() {
    let fifo = Fifo { bytes_max: 1 << 30, age_max: None };
    for strategy in [
        Strategy::Leveled,
        Strategy::Tiered { ratio: 4 },
        Strategy::LazyLeveling { ratio: 4 },
        windows(),
        Strategy::Fifo(fifo),
    ] {
        let mut options = small();
        options.column_family.strategy = strategy;
        let db = open(&MemEnv::new(), options);
        db.delete_range("a", "c").unwrap();
        db.flush().unwrap();
        db.delete_range("b", "d").unwrap();
        db.flush().unwrap();
        db.wait_idle().unwrap();
        assert_eq!(held(&db), (0, 0), "{strategy:?}");
    }
}

#[test]
fn windows_give_back_what_a_range_delete_covers() {
    let mut options = small();
    options.column_family.strategy = windows();
    let db = open(&MemEnv::new(), options);
    let stamped = |index: u64| (index * 60_000).to_be_bytes();
    for index in 0..3_000 {
        db.put(stamped(index), [b'v'; 40]).unwrap();
    }
    db.delete(stamped(2_999)).unwrap();
    db.delete_range(stamped(100), stamped(2_900)).unwrap();
    db.flush().unwrap();
    db.wait_idle().unwrap();
    assert_eq!(db.scan(..).count(), 199);
    let (_, entries) = held(&db);
    assert!(entries <= 1_000, "{entries} entries");
}

#[test]
fn deletes_that_nobody_writes_after_give_their_space_back() {
    for of_a_range in [false, true] {
        let env = MemEnv::new();
        let db = open(&env, Options { background_threads: 1, ..small() });
        fill_fast(&db, 0..1_000);
        db.compact().unwrap();
        db.wait_idle().unwrap();
        // The worker sleeps, and there is nothing that it would wake up for.
        env.sleep(Duration::from_millis(100));
        let flushes = || db.stats().counter("flushes");
        let before = flushes();
        if of_a_range {
            db.delete_range(key(0), key(1_000)).unwrap();
        } else {
            db.delete(key(0)).unwrap();
        }
        for _ in 0..1_000 {
            if flushes() > before {
                break;
            }
            // A worker looks at the clock once a second of its own.
            env.pass_time(Duration::from_secs(15));
            env.sleep(Duration::from_millis(20));
        }
        assert_eq!(flushes(), before + 1, "of a range: {of_a_range}");
        assert_eq!(db.scan(..).count(), if of_a_range { 0 } else { 999 });
    }
}
