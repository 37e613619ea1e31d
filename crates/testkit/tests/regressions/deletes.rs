//! Series c, range deletes: where they end, what they hide, and damage to them.

use alluvium::env::{FileKind, MemEnv};
use alluvium::{Db, Durability};

use crate::compaction::{deep, entries};
use crate::store::*;

/// facebook/rocksdb#1778, #2752, #2833, #2989, #4879: a range tombstone lost its effect, or had
/// more than it should, where it met the border of a table. Tables of a few keys, and range deletes
/// from and to every place between them, in every layer and through compactions.
#[test]
fn reg_c05_range_deletes_end_where_they_should_at_the_borders_of_tables() {
    for length in [1, 7, 20, 60] {
        let env = MemEnv::new();
        let options = deep();
        let db = open(&env, &options);
        fill(&db, 0..200, 0);
        db.compact().unwrap();
        let mut expected = filled(0..200, 0);
        let check = |db: &Db, expected: &Pairs, begin: usize| {
            assert_eq!(&all(db), expected, "{length} from {begin}");
            let backwards = db.scan(..).rev().map(|entry| entry.unwrap().0.to_vec());
            assert!(backwards.eq(expected.keys().rev().cloned()), "{length} from {begin}");
            for index in [begin.saturating_sub(1), begin, begin + length - 1, begin + length] {
                let found = db.get(key(index)).unwrap();
                assert_eq!(found.as_deref(), expected.get(&key(index)).map(Vec::as_slice));
                let next = db.scan(key(index)..).next().map(|entry| entry.unwrap().0.to_vec());
                assert_eq!(next.as_ref(), expected.range(key(index)..).next().map(|(key, _)| key));
            }
        };
        for (round, begin) in (0..200).step_by(3).enumerate() {
            db.delete_range(key(begin), key(begin + length)).unwrap();
            expected.retain(|found, _| *found < key(begin) || *found >= key(begin + length));
            check(&db, &expected, begin);
            if round % 2 == 0 {
                db.flush().unwrap();
                check(&db, &expected, begin);
                db.wait_idle().unwrap();
                check(&db, &expected, begin);
            }
            // Newer keys under older tombstones.
            fill(&db, begin..begin + 3, round);
            expected.extend(filled(begin..begin + 3, round));
        }
        drop(db);
        let db = open(&env, &options);
        check(&db, &expected, 100);
        db.compact().unwrap();
        check(&db, &expected, 100);
        assert_eq!(entries(&db), expected.len() as u64);
    }
}

/// facebook/rocksdb#3059: tables were dropped because all of their keys were deleted, and with them
/// the tombstones that hid older keys below. Tables are dropped here, too, and a merge leaves out
/// what a range tombstone covers: what the tombstones in there hid stays hidden.
#[test]
fn reg_c06_what_is_dropped_or_left_out_brings_nothing_back() {
    let env = MemEnv::new();
    let mut options = deep();
    options.column_family.level0_tables_compact = 1;
    options.column_family.memtable_bytes = 64 << 20;
    let db = open(&env, &options);
    let settle = || {
        db.flush().unwrap();
        db.wait_idle().unwrap();
    };
    for index in 0..200 {
        put(&db, key(index), value(index, 0).repeat(20), Durability::Os).unwrap();
    }
    settle();
    // Point and range tombstones a level or two higher, not worth being merged down.
    (0..200).step_by(50).for_each(|index| db.delete(key(index)).unwrap());
    db.delete_range(key(60), key(63)).unwrap();
    settle();
    // Deletes those tombstones and what they hide, and nothing else.
    db.delete_range(key(40), key(110)).unwrap();
    let gone = |index: usize| index.is_multiple_of(50) || (40..110).contains(&index);
    let check = |db: &Db| {
        for index in 0..200 {
            assert_eq!(db.get(key(index)).unwrap().is_none(), gone(index), "{index}");
        }
        let found = db.scan(..).map(|entry| entry.unwrap().0.to_vec());
        assert!(found.eq((0..200).filter(|&index| !gone(index)).map(key)));
    };
    check(&db);
    for _ in 0..4 {
        settle();
        check(&db);
        // Moves what is in the upper levels on.
        (110..140).filter(|index| index % 50 != 0).for_each(|index| {
            put(&db, key(index), value(index, 1).repeat(20), Durability::Os).unwrap();
        });
    }
    // From here on keys may be gone, but nothing older is there in their place.
    let check_dropped = |db: &Db| {
        for index in 0..200 {
            let newest = usize::from((110..140).contains(&index));
            if let Some(found) = db.get(key(index)).unwrap() {
                assert!(!gone(index) && found == value(index, newest).repeat(20), "{index}");
            }
        }
        assert!(db.scan(..).all(|entry| db.get(entry.unwrap().0).unwrap().is_some()));
    };
    let mut freed = 0;
    for (from, to) in [(105, 145), (35, 115), (10, 190), (0, 200)] {
        freed += db.drop_tables_in(key(from)..key(to)).unwrap();
        check_dropped(&db);
        settle();
        check_dropped(&db);
    }
    assert!(freed > 0);
    drop(db);
    let db = open(&env, &options);
    check_dropped(&db);
    db.compact().unwrap();
    check_dropped(&db);
}

/// RocksDB HISTORY 2525: a block of range tombstones that could not be read was passed over, and
/// the deleted keys were back. Every byte of the table that holds them is flipped: a read says that
/// it is damaged, or gives what it should.
#[test]
fn reg_c25_a_damaged_range_tombstone_brings_nothing_back() {
    let env = MemEnv::new();
    let options = calm();
    let db = open(&env, &options);
    fill(&db, 0..60, 0);
    db.flush().unwrap();
    db.delete_range(key(10), key(50)).unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let table = newest(&env, FileKind::Table);
    let length = bytes(&env, table).len();
    for at in 0..length {
        let copy = copy(&env);
        flip(&copy, table, at);
        let Ok(db) = try_open(&copy, &options) else { continue };
        for index in [9, 10, 30, 49, 50] {
            match db.get(key(index)) {
                Ok(found) => assert_eq!(found.is_none(), (10..50).contains(&index), "byte {at}"),
                Err(error) => assert!(error.is_corruption(), "byte {at}: {error}"),
            }
        }
        for entry in db.scan(..) {
            let Ok((found, _)) = entry else { break };
            assert!(found < key(10) || found >= key(50), "byte {at}");
        }
    }
}
