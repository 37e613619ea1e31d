//! Series w, recovery: opening a store after a crash, and crashing in that.

use alluvium::env::{CrashPolicy, Fault, FileKind, MemEnv, Operation as Io, When};
use alluvium::{ColumnFamily, Db, Durability, Error, Options, WriteBatch, WriteOptions};

use crate::store::*;

/// cockroachdb/pebble#1212 (cockroachdb/cockroach#68319): a crash while the store opened made the
/// newest log, torn by the crash before, an older one, and its torn end was called corrupt. A torn
/// log; its recovery crashes at every operation, and so does the recovery of that.
#[test]
fn reg_w06_a_crash_in_the_recovery_of_a_torn_log_is_no_damage() {
    let logs = logs(Durability::Os);
    let image = copy(&logs.env);
    let torn = *logs.segments.last().unwrap();
    let length = bytes(&image, torn).len();
    image.set_file_bytes(torn, bytes(&image, torn)[..length - 5].to_vec());
    let expected = &logs.states[logs.states.len() - 2];
    let check = |image: &MemEnv, what: String| {
        let db = open(image, &logs.options);
        assert!(all(&db) == *expected, "{what}");
    };
    let mut images = 0;
    crash_in_open(&on_disk(&image), &logs.options, &mut |first, operation| {
        check(&copy(first), format!("crash at {operation}"));
        images += 1;
        if images % 60 == 0 {
            crash_in_open(&copy(first), &logs.options, &mut |second, again| {
                check(second, format!("crash at {operation}, then at {again}"));
            });
        }
    });
    assert!(images > 100);
}

/// amelie #17, cqlite #1390: a torn tail was not cut off, and what was appended
/// behind it vanished at the next open. A log is torn at each byte of its last frame; then the
/// store is used, killed, and opened again.
#[test]
fn reg_w08_what_is_written_after_a_torn_tail_is_there() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    fill(&db, 0..3, 0);
    let log = newest(&env, FileKind::Wal);
    let begins = bytes(&env, log).len();
    fill(&db, 3..4, 0);
    let ends = bytes(&env, log).len();
    for cut in begins..ends {
        let image = copy(&env);
        image.set_file_bytes(log, bytes(&image, log)[..cut].to_vec());
        let db = open(&image, &calm());
        assert_eq!(all(&db), filled(0..3, 0), "cut at {cut}");
        fill(&db, 4..7, 1);
        let mut expected = filled(0..3, 0);
        expected.extend(filled(4..7, 1));
        let killed = copy(&image);
        assert_eq!(all(&open(&killed, &calm())), expected, "cut at {cut}");
    }
}

/// etcd-io/etcd#14370: a write was acknowledged before the log had it. At every operation of the
/// disk that a write makes: when it was acknowledged, a kill leaves it.
#[test]
fn reg_w21_no_write_is_acknowledged_or_seen_before_the_log_has_it() {
    for durability in [Durability::Os, Durability::Disk] {
        for operation in 0..6 {
            let env = MemEnv::new();
            let db = open(&env, &calm());
            env.crash_at(env.operations() + operation);
            let acknowledged = put(&db, "k", "v", durability).is_ok();
            let image = match durability {
                Durability::Disk => power_cut(&env),
                _ => copy(&env),
            };
            assert!(!acknowledged || open(&image, &calm()).get("k").unwrap().is_some());
            assert_eq!(db.get("k").unwrap().is_some(), acknowledged, "seen, and not in the log");
        }
    }
}

/// cqlite #1391, #1424: a log with a bad record in its middle was replayed as far as it went, and
/// the flush behind that deleted the log with all that might have been saved from it. A store that
/// is refused stays as it is, byte for byte, however often somebody tries.
#[test]
fn reg_w09_a_refused_store_keeps_every_byte_of_the_evidence() {
    let logs = logs(Durability::Disk);
    let image = on_disk(&logs.env);
    flip(&image, logs.segments[1], 100);
    let before = everything(&image);
    for _ in 0..3 {
        let error = try_open(&image, &logs.options).expect_err("synced data is gone");
        assert!(error.is_corruption());
        let after = everything(&image);
        for (file, bytes) in &before {
            assert!(after.get(file) == Some(bytes), "{file} was touched");
        }
    }
    // With the byte put right, all of it is there.
    flip(&image, logs.segments[1], 100);
    assert!(all(&open(&image, &logs.options)) == *logs.last());
}

/// slatedb/slatedb#1625: recovery wrote a part of the log to a table and noted that the log was not
/// needed up to there, which was too far; a crash right then lost the rest. Several segments, and
/// memtables so small that recovery writes several tables: it crashes at each operation.
#[test]
fn reg_w16_a_crash_between_the_flushes_of_a_recovery_loses_nothing() {
    let logs = logs(Durability::Disk);
    let mut options = logs.options.clone();
    options.column_family.memtable_bytes = 1 << 10;
    let world = on_disk(&logs.env);
    let mut images = 0;
    crash_in_open(&world, &options, &mut |image, operation| {
        images += 1;
        let db = open(image, &options);
        assert!(all(&db) == *logs.last(), "crash at operation {operation} of the recovery");
        drop(db);
        let again = all(&open(&power_cut(image), &options));
        assert!(again == *logs.last(), "after a crash at {operation} and a power cut behind it");
    });
    assert!(images > 200, "{images}");
}

/// Writes the same pair into both families, in one batch.
fn put_both(db: &Db, other: &ColumnFamily, index: usize, round: usize) -> alluvium::Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(key(index), value(index, round));
    batch.put_in(other, key(index), value(index, round));
    db.write_with(batch, &WriteOptions { durability: Durability::Os })
}

/// Both families hold the same.
fn assert_batches_are_whole(image: &MemEnv, options: &Options, what: &str) -> Pairs {
    let db = open(image, options);
    let other = contents(&db.column_family("other").unwrap());
    assert!(all(&db) == other, "{what}: half a batch is there");
    other
}

/// facebook/rocksdb#5856: recovery flushed one family after the other, each with a manifest edit of
/// its own; a crash between two left one family ahead of the log and of the others. Batches over
/// two families stay whole, wherever the recovery crashes.
#[test]
fn reg_w17_a_recovery_installs_all_families_in_one_step() {
    let env = MemEnv::new();
    let mut options = calm();
    let db = open(&env, &options);
    let other = db.create_column_family("other", options.column_family.clone()).unwrap();
    (0..9).for_each(|index| put_both(&db, &other, index % 5, index).unwrap());
    let expected = all(&db);
    options.column_family.memtable_bytes = 1 << 10;
    // What was not synced may go with the power, but whole batches at a time.
    crash_in_open(&copy(&env), &options, &mut |image, operation| {
        let what = format!("crash at {operation}");
        let found = assert_batches_are_whole(image, &options, &what);
        assert_eq!(assert_batches_are_whole(&power_cut(image), &options, &what), found, "{what}");
    });
    crash_in_open(&on_disk(&env), &options, &mut |image, operation| {
        let found = assert_batches_are_whole(image, &options, &format!("crash at {operation}"));
        assert!(found == expected, "crash at {operation} loses what was on disk");
    });
}

/// facebook/rocksdb#7621, cockroachdb/pebble#984: recovery built upon a manifest edit that it saw
/// in the page cache only. A second crash took the edit away, and files that it had made obsolete
/// were gone. The sync of the edit fails, the process dies, a new one starts, the power goes.
#[test]
fn reg_w18_an_edit_that_was_never_synced_is_not_built_upon() {
    for what in ["flush", "compaction"] {
        let (memory, faults) = faulty();
        let db = open(&faults, &calm());
        for round in 0..3 {
            fill(&db, 0..20, round);
            db.sync().unwrap();
            if round < 2 {
                db.flush().unwrap();
            }
        }
        faults.add(failing(&[Io::Sync], FileKind::Manifest, When::Nth(1), Fault::Io));
        let failed = if what == "flush" { db.flush() } else { db.compact() };
        assert!(failed.is_err(), "{what}: the failed sync is an error");
        let restarted = copy(&memory);
        crash_in_open(&restarted, &calm(), &mut |image, operation| {
            let found = all(&open(image, &calm()));
            assert_eq!(found, filled(0..20, 2), "{what}: crash at {operation} of the restart");
        });
        let db = open(&restarted, &calm());
        fill(&db, 20..25, 2);
        db.sync().unwrap();
        assert_eq!(all(&open(&power_cut(&restarted), &calm())), filled(0..25, 2), "{what}");
    }
}

/// fjall-rs/fjall#241, fjall-rs/lsm-tree#286: clearing a partition was no entry of the journal, and
/// its data was back after a restart. A dropped family stays dropped, and one of its name is empty,
/// with the data in the log only, in a table, and in both.
#[test]
fn reg_w19_a_dropped_family_does_not_come_back() {
    let flushes: [fn(&ColumnFamily, usize); 3] = [
        |_, _| {},
        |family, round| assert!(round != 0 || family.flush().is_ok()),
        |family, _| family.flush().unwrap(),
    ];
    for flush in flushes {
        for create_again in [false, true] {
            let env = MemEnv::new();
            let db = open(&env, &calm());
            let old = db.create_column_family("other", calm().column_family).unwrap();
            for round in 0..2 {
                put_both(&db, &old, round, round).unwrap();
                flush(&old, round);
            }
            db.drop_column_family("other").unwrap();
            if create_again {
                db.create_column_family("other", calm().column_family).unwrap();
            }
            db.sync().unwrap();
            for (policy, seed) in policies() {
                let db = open(&env.crash_image(policy, seed), &calm());
                assert_eq!(all(&db).len(), 2);
                match db.column_family("other") {
                    Ok(new) => assert!(create_again && contents(&new).is_empty(), "{policy:?}"),
                    Err(error) => {
                        assert!(
                            matches!(error, Error::ColumnFamilyMissing { .. }) && !create_again
                        );
                    }
                }
            }
        }
    }
}

/// fjall-rs/fjall#317: the journal that recovery began had a name that the next recovery did not
/// look for. Many lives, each ended by a kill: what each wrote is there in the last one.
#[test]
fn reg_w22_the_log_begun_by_a_recovery_is_found_by_the_next() {
    let mut env = MemEnv::new();
    for life in 0..8 {
        let db = open(&env, &calm());
        assert_eq!(all(&db), filled(0..life, 0), "life {life}");
        put(&db, key(life), value(life, 0), Durability::Disk).unwrap();
        env = if life % 2 == 0 { copy(&env) } else { power_cut(&env) };
    }
}

/// fjall-rs/fjall#317 again: the journal was gone, and the store opened without a word.
#[test]
fn reg_w22_a_missing_log_is_named() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    put(&db, "k", "v", Durability::Disk).unwrap();
    let image = copy(&env);
    let log = newest(&image, FileKind::Wal);
    alluvium::env::Env::remove(&image, log).unwrap();
    let error = try_open(&image, &calm()).expect_err("the log is gone");
    assert!(is_corruption_of(&error, log), "{error}");
}

/// cberner/redb#1290: recovery found a slot that a crash had torn, and wrote it again with a
/// checksum that held. A torn batch of five operations stays invisible, whatever crashes behind it.
#[test]
fn reg_w23_a_torn_batch_never_becomes_valid() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    put(&db, "before", "1", Durability::Disk).unwrap();
    let log = newest(&env, FileKind::Wal);
    let begins = bytes(&env, log).len();
    let mut batch = WriteBatch::new();
    (0..5).for_each(|index| batch.put(key(index), value(index, 0)));
    db.write(batch).unwrap();
    let ends = bytes(&env, log).len();
    for cut in (begins + 1..ends).step_by(9) {
        let image = on_disk(&env);
        image.set_file_bytes(log, bytes(&env, log)[..cut].to_vec());
        crash_in_open(&image, &calm(), &mut |second, operation| {
            let db = open(second, &calm());
            let found: Vec<Vec<u8>> = all(&db).into_keys().collect();
            assert_eq!(found, [b"before".to_vec()], "cut at {cut}, crash at {operation}");
        });
    }
}

/// fjall-rs/fjall#68: recovery took what stood in the journal for UTF-8, and panicked over it. Keys
/// and values of every byte go through the log and through tables.
#[test]
fn reg_w25_keys_and_values_that_are_no_text_survive_the_log() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    let mut expected = Pairs::new();
    for byte in 0..=255u8 {
        for key in [vec![byte], vec![byte; 3], vec![0xc3, byte], vec![byte, 0], vec![0xff, byte]] {
            put(&db, &key, [&key[..], &[byte, 0xff]].concat(), Durability::Os).unwrap();
            expected.insert(key.clone(), [&key[..], &[byte, 0xff]].concat());
        }
    }
    put(&db, "", "empty key", Durability::Disk).unwrap();
    expected.insert(Vec::new(), b"empty key".to_vec());
    let image = copy(&env);
    let db = open(&image, &calm());
    assert_eq!(all(&db), expected, "from the log");
    db.close().unwrap();
    assert_eq!(all(&open(&image, &calm())), expected, "from a table");
}

/// facebook/rocksdb#12995: after a failed write of the log the store resumed by flushing one family
/// only; the other half of a batch was in the failed log alone. The disk is full in the middle of a
/// batch, the store goes on by itself, one family is flushed, and the power goes.
#[test]
fn reg_w27_going_on_after_a_full_disk_keeps_batches_whole() {
    for room in [0, 1, 30, 60, 90] {
        let env = MemEnv::new();
        let options = calm();
        let db = open(&env, &options);
        let other = db.create_column_family("other", options.column_family.clone()).unwrap();
        (0..5).for_each(|index| put_both(&db, &other, index, 0).unwrap());
        env.set_capacity(Some(env.used_bytes() + room));
        assert!(put_both(&db, &other, 5, 0).is_err());
        env.set_capacity(None);
        (6..9).for_each(|index| put_both(&db, &other, index, 0).unwrap());
        other.flush().unwrap();
        (9..12).for_each(|index| put_both(&db, &other, index, 0).unwrap());
        for (policy, seed) in policies() {
            let what = format!("room for {room}, {policy:?}");
            let image = env.crash_image(policy, seed);
            let found = assert_batches_are_whole(&image, &options, &what);
            assert!(policy != CrashPolicy::KeepAll || found.len() == 11, "{what}: {found:?}");
        }
    }
}
