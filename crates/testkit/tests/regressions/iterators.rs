//! Series f: filters, iterators, memtables.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use alluvium::env::{Fault, FaultEnv, FileKind, MemEnv, Operation as Io, When};
use alluvium::{Bytes, Codec, Db, Durability, FilterPolicy, Options, PerLevel, PrefixExtractor};
use alluvium_testkit::random::Random;

use crate::store::*;

/// A store with entries in a memtable, in level 0 and in level 1: values, tombstones, range
/// tombstones, and all of them over each other. Gives what it holds, too.
fn layered(env: &MemEnv, options: &Options) -> (Db, Pairs) {
    let db = open(env, options);
    let mut expected = Pairs::new();
    for round in 0..4 {
        for index in 0..90 {
            if (index + round) % 3 == 0 {
                put(&db, key(index), value(index, round), Durability::Os).unwrap();
                expected.insert(key(index), value(index, round));
            } else if (index + round) % 7 == 0 {
                db.delete(key(index)).unwrap();
                expected.remove(&key(index));
            }
        }
        let (from, to) = (round * 20 + 5, round * 20 + 12);
        db.delete_range(key(from), key(to)).unwrap();
        expected.retain(|found, _| *found < key(from) || *found >= key(to));
        match round {
            0 => db.compact().unwrap(),
            1 | 2 => db.flush().unwrap(),
            _ => {}
        }
    }
    (db, expected)
}

/// facebook/rocksdb#4024: a filter said that a key was not there, and it was. Every key of tables
/// of all sizes, with filters of all sizes, long keys and keys of one byte.
#[test]
fn reg_f01_no_filter_denies_a_key_that_is_there() {
    for bits in [0.3, 1.0, 2.0, 10.0, 32.0] {
        for keys in [1, 2, 63, 64, 65, 1_000] {
            let mut options = calm();
            options.column_family.filter = FilterPolicy::Uniform { bits_per_key: bits };
            let db = open(&MemEnv::new(), &options);
            let name = |index: usize| value(index, 7).repeat(1 + index % 3);
            for index in 0..keys {
                put(&db, name(index), "v", Durability::Os).unwrap();
            }
            (0..=255u8).for_each(|byte| put(&db, [byte], "one", Durability::Os).unwrap());
            db.flush().unwrap();
            for index in 0..keys {
                assert_eq!(db.get(name(index)).unwrap().unwrap(), "v", "{bits} bits, {keys} keys");
            }
            (0..=255u8).for_each(|byte| assert!(db.get([byte]).unwrap().is_some()));
        }
    }
}

/// RocksDB HISTORY 1444, 2776: reading many keys at once gave another answer than reading them one
/// by one, for keys that were deleted. Every layer, keys that are missing, and keys asked twice.
#[test]
fn reg_f04_many_keys_at_once_answer_as_one_by_one() {
    let (db, expected) = layered(&MemEnv::new(), &calm());
    let mut random = Random::new(4);
    for _ in 0..50 {
        let keys: Vec<_> = (0..random.below(30)).map(|_| key(random.below(100))).collect();
        let found = db.multi_get(&keys).unwrap();
        for (key, found) in keys.iter().zip(found) {
            assert_eq!(found, db.get(key).unwrap());
            assert_eq!(found.as_deref(), expected.get(key).map(Vec::as_slice));
        }
    }
}

/// RocksDB HISTORY 1283: an option that decides how filters are made was changed on a store that
/// had some. A store is reopened with other filters, blocks, codecs and sizes, again and again, and
/// each table is read by what it says of itself.
#[test]
fn reg_f05_other_options_change_no_answer() {
    let env = MemEnv::new();
    let mut expected = Pairs::new();
    let codecs = [Codec::ZstdDictionary, Codec::Lz4, Codec::Zstd, Codec::Snappy];
    for life in 0..12usize {
        let mut options = small();
        let family = &mut options.column_family;
        family.filter = [
            FilterPolicy::default(),
            FilterPolicy::None,
            FilterPolicy::MonkeyBytes { bytes: 200 },
            FilterPolicy::Uniform { bits_per_key: 30.0 },
        ][life % 4];
        family.prefix_extractor =
            [None, Some(PrefixExtractor::Fixed(3)), Some(PrefixExtractor::Fixed(2))][life % 3];
        family.block_bytes = [256, 1, 4096][life % 3];
        family.restart_interval = [1, 16, 1000][life / 2 % 3];
        family.codecs = PerLevel::all(codecs[life % 4]);
        family.table_bytes = [1 << 10, 64 << 10][life % 2];
        let db = open(&env, &options);
        assert_eq!(all(&db), expected, "life {life}");
        for (key, value) in &expected {
            assert_eq!(db.get(key).unwrap().unwrap(), *value);
            assert_eq!(db.get([&key[..], b"x"].concat()).unwrap(), None);
        }
        fill(&db, life * 10..life * 10 + 40, life);
        expected.extend(filled(life * 10..life * 10 + 40, life));
        db.flush().unwrap();
        if life % 5 == 4 {
            db.compact().unwrap();
        }
        db.close().unwrap();
    }
}

/// facebook/rocksdb#9736 (tikv #17272): after an upgrade no filter was recognised any more, and
/// all were left aside without a word. A store opened anew, with another filter size, still spares
/// its reads.
#[test]
fn reg_f06_filters_work_after_a_restart_with_other_options() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    fill(&db, 0..500, 0);
    db.flush().unwrap();
    db.close().unwrap();
    for bits_per_key in [10.0, 1.0, 0.0] {
        let mut options = calm();
        options.column_family.filter = FilterPolicy::Uniform { bits_per_key };
        let db = open(&env, &options);
        for index in 0..400 {
            assert_eq!(db.get([&key(index)[..], b"x"].concat()).unwrap(), None);
        }
        let useful = db.stats().counter("filter_useful");
        assert!(useful > 350, "{useful} of 400 reads spared");
    }
}

/// cockroachdb/pebble#586 (cockroachdb/cockroach#96685): the key or value of an iterator changed
/// under its reader when the iterator moved. Everything that a scan and a cursor hand out is kept;
/// cache, tables and store go; it still says the same.
#[test]
fn reg_f07_what_was_handed_out_does_not_change() {
    for cache in [0, 1 << 10, 1 << 20] {
        let options = Options { block_cache_bytes: cache, ..calm() };
        let (db, expected) = layered(&MemEnv::new(), &options);
        let mut kept: Vec<(Bytes, Bytes)> = db.scan(..).map(Result::unwrap).collect();
        kept.extend(db.scan(..).rev().map(Result::unwrap));
        let mut cursor = db.cursor().unwrap();
        cursor.seek_to_first().unwrap();
        while cursor.valid() {
            kept.push((Bytes::copy_from_slice(cursor.key()), cursor.value_handle()));
            cursor.next().unwrap();
        }
        for key in expected.keys() {
            kept.push((Bytes::copy_from_slice(key), db.get(key).unwrap().unwrap()));
        }
        drop(cursor);
        fill(&db, 0..90, 9);
        db.compact().unwrap();
        assert_eq!(all(&db).len(), 90);
        drop(db);
        assert_eq!(kept.len(), 4 * expected.len());
        for (key, value) in kept {
            assert_eq!(value, expected[&key[..]]);
        }
    }
}

/// cockroachdb/pebble#457, #1947 and #2087: an iterator that was used again kept something of its
/// last use, its bounds, or a place from which it thought that stepping on was enough. One cursor
/// is sent about; a fresh one is always where it is.
#[test]
fn reg_f08_a_cursor_that_is_used_again_has_no_memory() {
    let (db, expected) = layered(&MemEnv::new(), &calm());
    let mut cursor = db.cursor().unwrap();
    let mut random = Random::new(8);
    for step in 0..2_000 {
        let target = [&key(random.below(95))[..], &b"x"[..random.below(2)]].concat();
        let at_or_behind = expected.range(target.clone()..).next();
        let range = (Bound::Unbounded, Bound::Included(target.clone()));
        let at_or_before = expected.range::<Vec<u8>, _>(range).next_back();
        let due = match random.below(4) {
            0 => cursor.seek_for_prev(&target).map(|()| at_or_before),
            1 if cursor.valid() => {
                let here = cursor.key().to_vec();
                let range = (Bound::Excluded(here), Bound::Unbounded);
                cursor.next().map(|()| expected.range::<Vec<u8>, _>(range).next())
            }
            2 if cursor.valid() => {
                let here = cursor.key().to_vec();
                cursor.prev().map(|()| expected.range(..here).next_back())
            }
            _ => cursor.seek(&target).map(|()| at_or_behind),
        };
        let found = cursor.valid().then(|| (cursor.key().to_vec(), cursor.value().to_vec()));
        let due = due.unwrap().map(|(key, value)| (key.clone(), value.clone()));
        assert_eq!(found, due, "step {step}");
    }
}

/// cockroachdb/pebble#2087, #2036: an iterator that was sought forwards thought that it could step
/// on from where it was, and could not: a filter had left out a table. Rising seeks, to keys that
/// are there and keys that are not, over tables of a few entries.
#[test]
fn reg_f09_rising_seeks_land_where_a_fresh_cursor_does() {
    let mut options = calm();
    options.column_family.table_bytes = 1 << 10;
    let (db, expected) = layered(&MemEnv::new(), &options);
    for step in 1..12 {
        let mut cursor = db.cursor().unwrap();
        for index in (0..95).step_by(step) {
            let target = [&key(index)[..], &b"x"[..index % 2]].concat();
            cursor.seek(&target).unwrap();
            let due = expected.range(target.clone()..).next();
            let found = cursor.valid().then(|| cursor.key().to_vec());
            assert_eq!(found.as_ref(), due.map(|(key, _)| key));
            if let Some((_, value)) = due {
                assert_eq!(cursor.value(), value);
            }
        }
    }
}

/// cberner/redb 3.0.1 and 2.6.3, RocksDB HISTORY 2127: a range whose end is before its start was
/// taken for one without an end. Every kind of bound, in a store with something to give away.
#[test]
fn reg_f11_no_bound_turns_an_empty_range_into_a_full_one() {
    let (db, expected) = layered(&MemEnv::new(), &calm());
    let bounds =
        |index: usize| [Bound::Included(key(index)), Bound::Excluded(key(index)), Bound::Unbounded];
    for (low, high) in [(50, 20), (50, 49), (30, 30), (20, 50), (200, 100), (0, 0)] {
        for lower in bounds(low) {
            for upper in bounds(high) {
                let within = |key: &[u8]| {
                    let above = match &lower {
                        Bound::Included(low) => key >= &low[..],
                        Bound::Excluded(low) => key > &low[..],
                        Bound::Unbounded => true,
                    };
                    above
                        && match &upper {
                            Bound::Included(high) => key <= &high[..],
                            Bound::Excluded(high) => key < &high[..],
                            Bound::Unbounded => true,
                        }
                };
                let due = expected.keys().filter(|key| within(key)).count();
                let range = || (lower.clone(), upper.clone());
                assert_eq!(db.scan(range()).map(Result::unwrap).count(), due, "{:?}", range());
                assert_eq!(db.scan(range()).rev().map(Result::unwrap).count(), due);
                assert_eq!(db.snapshot().scan(range()).map(Result::unwrap).count(), due);
            }
        }
    }
}

/// crossbeam #1023: `get` of a skip map found nothing while its key was being overwritten. Readers
/// of one key, and of its neighbours, while it is overwritten in one memtable.
#[test]
fn reg_f13_a_key_that_is_overwritten_is_always_there() {
    let _watchdog = watch("reg_f13");
    let db = open(&MemEnv::new(), &calm());
    fill(&db, 0..20, 0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    assert!(db.get(key(7)).unwrap().is_some());
                    assert_eq!(db.scan(key(5)..key(10)).map(Result::unwrap).count(), 5);
                }
            });
        }
        (1..3_000).for_each(|round| fill(&db, 7..8, round));
        done.store(true, Ordering::Release);
    });
    assert_eq!(db.get(key(7)).unwrap().unwrap(), value(7, 2_999));
}

/// agatedb #195, wickdb #85: the arena of a memtable grew and moved while readers pointed into it.
/// A cursor stands on a value in memory, while megabytes are written behind it.
#[test]
fn reg_f15_a_memtable_that_grows_moves_nothing() {
    let db = open(&MemEnv::new(), &calm());
    fill(&db, 0..10, 0);
    let mut cursor = db.cursor().unwrap();
    cursor.seek(key(3)).unwrap();
    let (at_key, at_value) = (cursor.key(), cursor.value());
    for index in 100..1_100 {
        put(&db, key(index), vec![7; 4_000], Durability::Os).unwrap();
        assert_eq!((at_key, at_value), (&key(3)[..], &value(3, 0)[..]));
    }
    let rest = (4..10).map(|index| (key(index), value(index, 0)));
    for (key, value) in rest {
        cursor.next().unwrap();
        assert_eq!((cursor.key(), cursor.value()), (&key[..], &value[..]));
    }
    cursor.next().unwrap();
    assert!(!cursor.valid(), "what was written later is not seen");
}

/// facebook/rocksdb#6387, #12486 and HISTORY 533: a read error was swallowed on the way, and the
/// answer was "not found" or an older value. Each read of a table fails in turn, for good, under
/// every kind of read: the answer is the error, or right.
#[test]
fn reg_f16_no_read_error_becomes_an_answer() {
    let memory = MemEnv::new();
    let mut options = calm();
    options.block_cache_bytes = 0;
    options.open_tables_max = 8;
    let (db, expected) = layered(&memory, &options);
    db.close().unwrap();
    let keys: Vec<Vec<u8>> = (0..95).step_by(4).map(key).collect();
    let mut failures = 0;
    for nth in 1..60 {
        let image = copy(&memory);
        let faults = FaultEnv::new(std::sync::Arc::new(image));
        let db = open(&faults, &options);
        let read = [Io::Read, Io::Open, Io::Length];
        faults.add(failing(&read, FileKind::Table, When::From(nth), Fault::Io));
        for key in &keys {
            match db.get(key) {
                Ok(found) => assert_eq!(found.as_deref(), expected.get(key).map(Vec::as_slice)),
                Err(_) => failures += 1,
            }
        }
        match db.multi_get(&keys) {
            Ok(found) => {
                for (key, found) in keys.iter().zip(found) {
                    assert_eq!(found.as_deref(), expected.get(key).map(Vec::as_slice));
                }
            }
            Err(_) => failures += 1,
        }
        for backwards in [false, true] {
            let mut due: Vec<_> = expected.iter().collect();
            let scan = db.scan(..);
            let found: Vec<_> = if backwards { scan.rev().collect() } else { scan.collect() };
            if backwards {
                due.reverse();
            }
            let failed = found.last().is_some_and(Result::is_err);
            failures += usize::from(failed);
            assert!(failed || found.len() == due.len(), "a scan that ends early says so");
            for (entry, (key, value)) in found.into_iter().zip(due) {
                let Ok((k, v)) = entry else { break };
                assert_eq!((&k[..], &v[..]), (&key[..], &value[..]));
            }
        }
    }
    assert!(failures > 100, "{failures}");
}
