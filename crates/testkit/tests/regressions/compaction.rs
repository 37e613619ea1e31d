//! Series c: compaction, snapshots, deletes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use alluvium::env::{Fault, FaultEnv, FileKind, MemEnv, Operation as Io, When};
use alluvium::{Db, Durability, Error, Options, Snapshot, WriteBatch, WriteOptions};
use alluvium_testkit::operation::Operation;
use alluvium_testkit::random::Random;

use crate::hook::Gate;
use crate::store::*;

/// Several levels and many tables from a few hundred writes.
pub fn deep() -> Options {
    let mut options = small();
    options.column_family.memtable_bytes = 6 << 10;
    options.column_family.table_bytes = 1 << 10;
    options.column_family.level1_bytes = 2 << 10;
    options.column_family.level_ratio = 2;
    options.column_family.level0_tables_compact = 2;
    options
}

fn level(db: &Db, level: usize) -> (usize, u64, u64) {
    let stats = &db.stats().families[0].levels[level];
    (stats.tables, stats.entries, stats.tombstones)
}

pub fn entries(db: &Db) -> u64 {
    db.stats().families[0].levels.iter().map(|level| level.entries).sum()
}

/// google/leveldb#320, facebook/rocksdb#993, cockroachdb/pebble#1470: the versions of one key were
/// split over two tables of a level, and the newer ones were pushed down from over the older. A
/// thousand versions of a key, a tenth of them held by snapshots, between tables of 1 KiB.
#[test]
fn reg_c01_a_thousand_versions_of_a_key_stay_in_order() {
    let env = MemEnv::new();
    let db = open(&env, &deep());
    let mut held: Vec<(usize, Snapshot)> = Vec::new();
    for version in 0..1_000 {
        put(&db, "k", value(version, 0).repeat(3), Durability::Os).unwrap();
        if version % 10 == 3 {
            held.push((version, db.snapshot()));
        }
        if version % 100 == 50 {
            put(&db, key(version), "neighbour", Durability::Os).unwrap();
        }
    }
    let check = |held: &[(usize, Snapshot)]| {
        for (version, snapshot) in held {
            assert_eq!(snapshot.get("k").unwrap().unwrap(), value(*version, 0).repeat(3));
        }
        assert_eq!(db.get("k").unwrap().unwrap(), value(999, 0).repeat(3));
    };
    check(&held);
    db.compact().unwrap();
    check(&held);
    while held.len() > 20 {
        held.truncate(held.len() - 20);
        fill(&db, 5_000..5_100, held.len());
        db.compact().unwrap();
        check(&held);
    }
    drop(held);
    put(&db, "k", "last", Durability::Os).unwrap();
    db.compact().unwrap();
    assert_eq!(entries(&db), 1 + 10 + 100, "nobody sees the old versions any more");
}

/// google/leveldb#184 (its test "issue178"), facebook/rocksdb#2722: after half of the keys had been
/// deleted, a compaction brought some of them back.
#[test]
fn reg_c02_deleted_keys_do_not_come_back_in_a_compaction() {
    let env = MemEnv::new();
    let mut options = small();
    options.column_family.memtable_bytes = 64 << 10;
    options.column_family.table_bytes = 8 << 10;
    let db = open(&env, &options);
    let name = |kind: u8, index: usize| format!("my_key_{}{index:06}", kind as char);
    const KEYS: usize = 6_000;
    let mut batch = WriteBatch::new();
    (0..KEYS).for_each(|index| batch.put(name(b'1', index), "value for range 1 key"));
    db.write(batch).unwrap();
    let mut batch = WriteBatch::new();
    (0..KEYS).for_each(|index| batch.put(name(b'2', index), "value for range 2 key"));
    db.write(batch).unwrap();
    let mut batch = WriteBatch::new();
    (0..KEYS).for_each(|index| batch.delete(name(b'2', index)));
    db.write(batch).unwrap();
    assert_eq!(db.scan(..).map(Result::unwrap).count(), KEYS);
    for _ in 0..2 {
        db.compact().unwrap();
        assert_eq!(db.scan(..).map(Result::unwrap).count(), KEYS);
        assert_eq!(db.scan(..).rev().map(Result::unwrap).count(), KEYS);
    }
    assert_eq!(entries(&db), KEYS as u64);
}

/// facebook/rocksdb#6432, #9077, #6799: two compactions wrote the same range of one level. Four
/// workers and two threads that ask for compactions, over a store of many small tables. A level
/// whose tables overlap is refused as it is installed, and would show as the store's error.
#[test]
fn reg_c03_compactions_side_by_side_do_not_overlap() {
    let _watchdog = watch("reg_c03");
    for seed in 0..3 {
        let env = MemEnv::new();
        let db = open(&env, &Options { background_threads: 4, ..deep() });
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..6).for_each(|_| db.compact().unwrap()));
            }
            scope.spawn(|| {
                let mut random = Random::new(seed);
                for _ in 0..1_500 {
                    let index = random.below(300);
                    put(&db, key(index), value(index, 1), Durability::Os).unwrap();
                }
                (0..300).for_each(|index| fill(&db, index..index + 1, 2));
            });
        });
        db.wait_idle().unwrap();
        assert_eq!(db.stats().error, None);
        assert_eq!(all(&db), filled(0..300, 2));
        db.check_manifest().unwrap();
        db.close().unwrap();
        assert_eq!(all(&open(&env, &deep())), filled(0..300, 2));
    }
}

/// RocksDB HISTORY 146: a picker that went round the tables of a level left out inputs that it
/// needed, and an older version came to lie above a newer one. Few keys and many versions over all
/// levels; after each step every key has its newest value.
#[test]
fn reg_c04_every_pick_takes_all_that_overlaps() {
    for seed in 0..4 {
        let db = open(&MemEnv::new(), &deep());
        let mut random = Random::new(seed);
        let mut expected: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut levels = 0;
        for round in 0..1_200 {
            let index = random.below(40);
            // Wide and narrow tables by turns.
            let index = if round % 300 < 150 { index } else { index / 8 + 16 };
            if random.one_in(5) {
                db.delete(key(index)).unwrap();
                expected.insert(key(index), None);
            } else {
                let value = value(index, round).repeat(1 + random.below(40));
                put(&db, key(index), &value, Durability::Os).unwrap();
                expected.insert(key(index), Some(value));
            }
            if round % 25 == 0 {
                for (key, value) in &expected {
                    assert_eq!(db.get(key).unwrap().as_deref(), value.as_deref(), "{round}");
                }
                levels = levels.max((0..7).filter(|index| level(&db, *index).0 > 0).count());
            }
        }
        assert!(levels >= 2, "{levels} levels");
    }
}

/// cockroachdb/pebble#751: a snapshot read the sequence number, and was in the list of snapshots
/// only a moment later; a compaction in between dropped what it was to see. Snapshots are taken all
/// the time while the pair that they look at is overwritten, flushed and compacted.
#[test]
fn reg_c09_a_snapshot_is_registered_as_it_is_taken() {
    let _watchdog = watch("reg_c09");
    let db = open(&MemEnv::new(), &Options { background_threads: 2, ..deep() });
    let write_both = |round: usize| {
        let mut batch = WriteBatch::new();
        batch.put("left", value(0, round));
        batch.put("right", value(0, round));
        db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
    };
    write_both(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let snapshot = db.snapshot();
                    let left = snapshot.get("left").unwrap().expect("left is there");
                    thread::yield_now();
                    let right = snapshot.get("right").unwrap().expect("right is there");
                    assert_eq!(left, right, "half a batch, or a version that is gone");
                }
            });
        }
        for round in 1..600 {
            write_both(round);
            if round % 5 == 0 {
                db.flush().unwrap();
            }
            if round % 20 == 0 {
                db.compact().unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
}

/// facebook/rocksdb#9648: a snapshot was taken while a flush, its list of snapshots read already,
/// waited for a lock; the flush dropped what the snapshot was to see. A flush stops with its list
/// read; then a snapshot is taken, and what it sees is overwritten, flushed and compacted.
#[test]
fn reg_c10_a_snapshot_taken_while_a_flush_runs_keeps_its_versions() {
    let _watchdog = watch("reg_c10");
    let gate = Gate::default();
    let options = Options { background_threads: 2, ..calm() };
    let db = open(&gate.around(MemEnv::new()), &options);
    fill(&db, 0..10, 0);
    fill(&db, 0..10, 1);
    gate.shut(Io::Create, FileKind::Table);
    let snapshot = thread::scope(|scope| {
        let flush = scope.spawn(|| db.flush());
        gate.wait_for_somebody();
        let snapshot = db.snapshot();
        fill(&db, 0..10, 2);
        gate.open();
        flush.join().unwrap().unwrap();
        snapshot
    });
    let check = || {
        let seen: Pairs =
            snapshot.scan(..).map(|e| e.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
        assert_eq!(seen, filled(0..10, 1));
    };
    check();
    db.flush().unwrap();
    check();
    db.compact().unwrap();
    check();
    assert_eq!(all(&db), filled(0..10, 2));
}

/// cockroachdb/pebble#6085: a snapshot was taken while a write had its sequence number and was not
/// yet visible; later it saw the write all the same. A synced write stops before its sync; the
/// snapshot taken then never shows it.
#[test]
fn reg_c11_a_snapshot_does_not_see_a_write_that_was_under_way() {
    let _watchdog = watch("reg_c11");
    for operation in [Io::Append, Io::Sync] {
        let gate = Gate::default();
        let db = open(&gate.around(MemEnv::new()), &Options { background_threads: 2, ..calm() });
        put(&db, "k", "old", Durability::Disk).unwrap();
        gate.shut(operation, FileKind::Wal);
        let (snapshot, scan) = thread::scope(|scope| {
            let write = scope.spawn(|| put(&db, "k", "new", Durability::Disk));
            gate.wait_for_somebody();
            let seen = (db.snapshot(), db.scan(..));
            assert_eq!(db.get("k").unwrap().unwrap(), "old", "not acknowledged");
            gate.open();
            write.join().unwrap().unwrap();
            seen
        });
        assert_eq!(db.get("k").unwrap().unwrap(), "new");
        assert_eq!(snapshot.get("k").unwrap().unwrap(), "old");
        let values: Vec<_> = scan.map(|entry| entry.unwrap().1).collect();
        assert_eq!(values, ["old"]);
        db.compact().unwrap();
        assert_eq!(snapshot.get("k").unwrap().unwrap(), "old", "after a compaction");
    }
}

/// facebook/rocksdb#1816, #6973 (cockroachdb/cockroach#50182): a read took its sequence number
/// first and the state of the store after; a flush in between had dropped the only version that
/// the read could see. A key is overwritten and flushed all the time; no read misses it, and none
/// goes back.
#[test]
fn reg_c12_a_read_beside_flushes_finds_the_key() {
    let _watchdog = watch("reg_c12");
    let db = open(&MemEnv::new(), &Options { background_threads: 2, ..deep() });
    put(&db, "k", 0u64.to_be_bytes(), Durability::Os).unwrap();
    let done = AtomicBool::new(false);
    let number = |value: &[u8]| u64::from_be_bytes(value.try_into().unwrap());
    thread::scope(|scope| {
        for reader in 0..3 {
            let (db, done) = (&db, &done);
            scope.spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let found = match reader {
                        0 => db.get("k").unwrap(),
                        1 => db.scan("k"..="k").next().map(|entry| entry.unwrap().1),
                        _ => db.multi_get(&["k"]).unwrap().remove(0),
                    };
                    let found = number(&found.expect("the key is there"));
                    assert!(found >= last, "{found} after {last}");
                    last = found;
                }
            });
        }
        for version in 1..1_000u64 {
            put(&db, "k", version.to_be_bytes(), Durability::Os).unwrap();
            if version % 3 == 0 {
                db.flush().unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
}

/// facebook/rocksdb#13155, #2183: sequence number 0 meant "none", so that a snapshot of an empty
/// store saw what came later. The first snapshot there can be, held over writes and compactions.
#[test]
fn reg_c13_a_snapshot_of_the_empty_store_stays_empty() {
    let db = open(&MemEnv::new(), &calm());
    let empty = db.snapshot();
    assert_eq!(empty.sequence_number(), 0);
    let check = || {
        assert_eq!(empty.scan(..).count(), 0);
        assert_eq!(empty.scan(..).rev().count(), 0);
        assert_eq!(empty.get(key(0)).unwrap(), None);
    };
    fill(&db, 0..10, 0);
    check();
    db.flush().unwrap();
    check();
    (0..5).for_each(|index| db.delete(key(index)).unwrap());
    db.compact().unwrap();
    check();
    assert_eq!(all(&db), filled(5..10, 0));
}

/// facebook/rocksdb#4890, #8608, #9060: a snapshot was released in the middle of a compaction that
/// had decided by it, and an entry was dropped or kept that another one needed otherwise. A
/// compaction stops at each of its steps; one of three snapshots goes; it goes on.
#[test]
fn reg_c14_a_snapshot_released_in_a_compaction_takes_nothing_with_it() {
    let _watchdog = watch("reg_c14");
    let steps =
        [(Io::Create, FileKind::Table), (Io::Append, FileKind::Table), (Io::Sync, FileKind::Table)];
    for (operation, kind) in steps.into_iter().chain([(Io::Append, FileKind::Manifest)]) {
        for released in 0..3 {
            let gate = Gate::default();
            let options = Options { background_threads: 2, ..calm() };
            let db = open(&gate.around(MemEnv::new()), &options);
            let mut snapshots = Vec::new();
            for round in 0..4 {
                fill(&db, 0..10, round);
                if round % 2 == 1 {
                    db.delete(key(9)).unwrap();
                }
                db.flush().unwrap();
                snapshots.push((round, db.snapshot()));
            }
            snapshots.pop();
            gate.shut(operation, kind);
            thread::scope(|scope| {
                let compaction = scope.spawn(|| db.compact());
                gate.wait_for_somebody();
                snapshots.remove(released);
                gate.open();
                compaction.join().unwrap().unwrap();
            });
            for (round, snapshot) in &snapshots {
                let count = snapshot.scan(..).map(Result::unwrap).count();
                assert_eq!(count, 10 - round % 2, "{operation:?}, round {round}");
                assert_eq!(snapshot.get(key(3)).unwrap().unwrap(), value(3, *round));
            }
            assert_eq!(all(&db).len(), 9);
        }
    }
}

/// cockroachdb/pebble#392: a flush changed sequence numbers, and a crash before its log was removed
/// replayed the log over them. A flush that crashes at each operation; then the log is replayed or
/// not, and the newest value wins.
#[test]
fn reg_c15_a_log_that_was_flushed_is_not_replayed_over_newer_data() {
    let mut run = Vec::new();
    for durability in [Durability::Os, Durability::Disk] {
        for key in ["a", "b", "a"] {
            run.push(write_one(key, 20 + run.len() * 8, durability));
        }
        run.push(Operation::Flush { family: None });
        run.push(write_one("a", 400 + run.len() * 8, durability));
    }
    run.push(Operation::Compact { family: None });
    let swept = crash_everywhere("flushes of one key", calm(), run);
    assert!(swept.crash_points > 40, "{swept:?}");
}

/// facebook/rocksdb#5958, #6245, #10922, cockroachdb/pebble#161: after a merge of some runs of
/// level 0 into one that stays there, an older run was read before a newer one. Small runs over a
/// large base are merged among themselves, and everybody has to see the newest.
#[test]
fn reg_c16_a_merge_within_level_0_leaves_its_runs_in_order() {
    let env = MemEnv::new();
    let mut options = calm();
    options.column_family.level0_tables_compact = 3;
    options.column_family.level1_bytes = 64 << 10;
    options.memory_limit = Some(16 << 20);
    let mut db = open(&env, &options);
    fill(&db, 0..2_000, 0);
    db.compact().unwrap();
    let mut expected = filled(0..2_000, 0);
    let mut held: Vec<(Pairs, Snapshot)> = Vec::new();
    for round in 1..60 {
        // Old and new keys, over the whole range, some of them in every round.
        for index in [0, 1_999, round, 2_000 - round, 2_000 + round % 7] {
            put(&db, key(index), value(index, round), Durability::Os).unwrap();
            expected.insert(key(index), value(index, round));
        }
        let gone = key(1_000 + round % 5);
        db.delete(&gone).unwrap();
        expected.remove(&gone);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        for (key, value) in &expected {
            assert_eq!(db.get(key).unwrap().unwrap(), value, "round {round}");
        }
        assert_eq!(db.get(&gone).unwrap(), None, "round {round}");
        assert_eq!(all(&db), expected, "round {round}");
        if round % 10 == 4 {
            held.push((expected.clone(), db.snapshot()));
        }
        for (then, snapshot) in &held {
            let seen: Pairs = snapshot
                .scan(..)
                .map(Result::unwrap)
                .map(|(k, v)| (k.to_vec(), v.to_vec()))
                .collect();
            assert_eq!(seen, *then, "round {round}");
        }
        if round % 20 == 0 {
            held.clear();
            drop(db);
            db = open(&env, &options);
            assert_eq!(all(&db), expected, "opened behind round {round}");
        }
    }
    let merges = db.history().iter().filter(|entry| entry.text.contains("many small runs")).count();
    assert!(merges >= 3, "{merges} merges within level 0: {:#?}", db.history());
}

/// RocksDB HISTORY 2117, 2147: a key that is the beginning of another one was ordered wrongly, and
/// a reverse scan missed it. Keys that begin each other, with the bytes that could be taken for
/// the end, in memory and in tables of one entry a block.
#[test]
fn reg_c18_keys_that_begin_each_other_are_in_order() {
    let mut options = calm();
    options.column_family.block_bytes = 1;
    let db = open(&MemEnv::new(), &options);
    let mut expected = Pairs::new();
    for round in 0..3 {
        for start in [&b"a"[..], b"", b"\xff", b"\0"] {
            for end in [&b""[..], b"\0", b"\0\0", b"\xff", b"\x01", b"b", b"\xff\xff", b"bc"] {
                let key = [start, end].concat();
                put(&db, &key, value(round, key.len()), Durability::Os).unwrap();
                expected.insert(key.clone(), value(round, key.len()));
            }
        }
        let check = || {
            assert_eq!(all(&db), expected);
            let backwards: Vec<Vec<u8>> =
                db.scan(..).rev().map(|entry| entry.unwrap().0.to_vec()).collect();
            assert!(backwards.iter().eq(expected.keys().rev()));
            let mut cursor = db.cursor().unwrap();
            for (key, value) in &expected {
                assert_eq!(db.get(key).unwrap().unwrap(), *value);
                cursor.seek_for_prev(key).unwrap();
                assert_eq!(cursor.key(), key);
                let begun = expected.keys().filter(|one| one.starts_with(key)).count();
                assert_eq!(db.prefix(key).count(), begun, "{key:?}");
            }
        };
        check();
        db.flush().unwrap();
        check();
        if round == 1 {
            db.compact().unwrap();
            check();
        }
    }
}

/// slatedb/slatedb#1769: a compaction that failed and was taken up again left out entries at the
/// border of a table. A compaction fails at each of its writes, is tried again, and loses nothing,
/// with a snapshot held over all of it.
#[test]
fn reg_c20_a_compaction_that_fails_and_is_repeated_skips_nothing() {
    let watchdog = watch("reg_c20");
    let mutating = [Io::Create, Io::Append, Io::Sync];
    for nth in 1.. {
        watchdog.step(format!("reg_c20, failure at {nth}"));
        let (memory, faults) = faulty();
        let mut options = calm();
        options.column_family.table_bytes = 1 << 10;
        let db = open(&faults, &options);
        fill(&db, 0..60, 0);
        let snapshot = db.snapshot();
        db.flush().unwrap();
        fill(&db, 20..60, 1);
        db.flush().unwrap();
        faults.add(failing(&mutating, FileKind::Table, When::Nth(nth), Fault::Io));
        let failed = db.compact().is_err();
        let mut expected = filled(0..20, 0);
        expected.extend(filled(20..60, 1));
        assert_eq!(all(&db), expected, "after the failure at {nth}");
        db.compact().unwrap();
        assert_eq!(all(&db), expected, "after the repetition of {nth}");
        assert_eq!(snapshot.scan(..).map(Result::unwrap).count(), 60);
        assert_eq!(entries(&db), 100);
        drop((snapshot, db));
        assert_eq!(all(&open(&memory, &options)), expected);
        if !failed {
            assert!(nth > 10, "{nth}");
            break;
        }
    }
}

/// splinterdb #454: when the limit of an output was reached, the rest was dropped without a word.
/// Entries that go into a compaction come out of it, or are counted as dropped, whatever the size
/// of tables and values.
#[test]
fn reg_c21_entries_in_are_entries_out_and_entries_dropped() {
    for (table_bytes, repeat) in [(1 << 10, 1), (1 << 10, 100), (4 << 10, 3), (1 << 20, 10)] {
        let mut options = calm();
        options.column_family.table_bytes = table_bytes;
        let db = open(&MemEnv::new(), &options);
        for round in 0..4 {
            for index in (0..200).filter(|index| index % (round + 1) == 0) {
                let value = value(index, round).repeat(repeat);
                put(&db, key(index), value, Durability::Os).unwrap();
            }
            (0..200).step_by(7).for_each(|index| db.delete(key(index + round)).unwrap());
            db.flush().unwrap();
        }
        // Tombstones that pay for it are merged without being asked.
        let dropped = || db.stats().counter("compaction_dropped_entries");
        let before = entries(&db) + dropped();
        db.compact().unwrap();
        let dropped = dropped();
        assert!(dropped > 100);
        assert_eq!(before, entries(&db) + dropped, "tables of {table_bytes}");
        assert_eq!(all(&db).len() as u64, entries(&db), "each key once, no tombstone");
    }
}

/// bitcask #82, scylla #1181, palantir/cassandra #573: a merge of some files dropped a tombstone
/// while an older value lay in a file that was not part of it. A value in level 2, its tombstone
/// comes to level 1; the store is opened again, and the key stays deleted.
#[test]
fn reg_c22_a_tombstone_stays_over_what_it_hides() {
    let env = MemEnv::new();
    let mut options = deep();
    options.column_family.level0_tables_compact = 1;
    options.column_family.memtable_bytes = 64 << 20;
    let db = open(&env, &options);
    for index in 0..30 {
        put(&db, key(index), value(index, 0).repeat(20), Durability::Os).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    assert!((2..7).any(|index| level(&db, index).1 > 0), "{}", db.stats());
    // Few enough that they do not pay for being merged with what they hide.
    (0..30).step_by(10).for_each(|index| db.delete(key(index)).unwrap());
    db.flush().unwrap();
    db.wait_idle().unwrap();
    assert_eq!(level(&db, 0).0, 0, "the tombstones went through a compaction");
    let check = |db: &Db| {
        for index in 0..30 {
            assert_eq!(db.get(key(index)).unwrap().is_some(), index % 10 != 0, "{index}");
        }
        assert_eq!(db.scan(..).map(Result::unwrap).count(), 27);
    };
    check(&db);
    let tombstones: u64 = (1..7).map(|index| level(&db, index).2).sum();
    assert!(tombstones > 0, "nothing was hidden any more: {}", db.stats());
    drop(db);
    let db = open(&env, &options);
    check(&db);
    db.compact().unwrap();
    check(&db);
    assert_eq!(entries(&db), 27);
}

/// fjall-rs/fjall#230, fjall-rs/fjall#112: with more than one worker some inserts were lost. Four
/// workers, several writers, tiny memtables; every key is there, now and after a restart.
#[test]
fn reg_c23_many_workers_lose_no_insert() {
    let _watchdog = watch("reg_c23");
    for _ in 0..3 {
        let env = MemEnv::new();
        let db = open(&env, &Options { background_threads: 4, ..deep() });
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let from = next.fetch_add(100, Ordering::Relaxed);
                        if from >= 4_000 {
                            return;
                        }
                        fill(&db, from..from + 100, 0);
                    }
                });
            }
        });
        assert_eq!(all(&db), filled(0..4_000, 0));
        drop(db);
        assert_eq!(all(&open(&env, &small())), filled(0..4_000, 0));
    }
}

/// RocksDB HISTORY 854: a read error in a later table of a run ended the run for the compaction,
/// which dropped the rest. Each read of a compaction fails in turn: with an error, with a short
/// read, with a flipped bit. It fails, or is right; nothing is lost.
#[test]
fn reg_c24_a_read_error_in_a_compaction_drops_nothing() {
    let memory = MemEnv::new();
    let mut options = calm();
    options.block_cache_bytes = 0;
    options.column_family.table_bytes = 1 << 10;
    let db = open(&memory, &options);
    for round in 0..2 {
        fill(&db, 0..80, round);
        db.compact().unwrap();
    }
    fill(&db, 0..80, 2);
    db.flush().unwrap();
    db.close().unwrap();
    for fault in [Fault::Io, Fault::ShortRead { bytes: 3 }, Fault::FlipBit { bit: 100 }] {
        let mut failed = 0;
        for nth in 1.. {
            let image = copy(&memory);
            let faults = FaultEnv::new(Arc::new(image.clone()));
            let db = open(&faults, &options);
            let read = [Io::Read, Io::Open, Io::Length];
            faults.add(failing(&read, FileKind::Table, When::Nth(nth), fault));
            let outcome = db.compact();
            failed += usize::from(outcome.is_err());
            assert_eq!(all(&db), filled(0..80, 2), "{fault:?} at {nth}");
            assert!(outcome.is_ok() || faults.injected() > 0);
            drop(db);
            assert_eq!(all(&open(&image, &options)), filled(0..80, 2), "{fault:?} at {nth}");
            if faults.injected() == 0 {
                break;
            }
        }
        assert!(failed > 5, "{fault:?}: {failed}");
    }
}

/// RocksDB HISTORY 1089: of two memtables the older one's flush failed and was tried again after
/// the newer one's, so that old data came to lie over new. The first flushes fail; then two
/// memtables, both with the same keys, are flushed.
#[test]
fn reg_c26_a_flush_that_is_repeated_keeps_the_order() {
    let _watchdog = watch("reg_c26");
    for threads in [0, 2] {
        for fails in [1, 2, 3] {
            let (memory, faults) = faulty();
            let options = Options { background_threads: threads, ..small() };
            let db = open(&faults, &options);
            let once = When::Window { first: 1, count: fails };
            faults.add(failing(&[Io::Sync], FileKind::Table, once, Fault::DiskFull));
            for round in 0..12 {
                for index in 0..20 {
                    // A writer that had to wait for the flush hears of its failure.
                    while let Err(error) = put(&db, key(index), value(index, round), Durability::Os)
                    {
                        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                    }
                }
            }
            while db.flush().is_err() {}
            assert_eq!(faults.injected(), fails);
            assert_eq!(all(&db), filled(0..20, 11));
            db.compact().unwrap();
            assert_eq!(all(&db), filled(0..20, 11));
            drop(db);
            assert_eq!(all(&open(&memory, &small())), filled(0..20, 11));
        }
    }
}
