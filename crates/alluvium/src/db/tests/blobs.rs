//! Values that stand apart from their keys, through the public handle.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::compaction::strategy::{Fifo, Strategy};
use crate::db::{Snapshot, repair_env};

const LARGE: usize = 400;

/// Values from 100 bytes on go to blob files.
fn apart() -> Options {
    let mut options = small();
    options.column_family.blob_bytes_min = Some(100);
    options
}

/// Large for keys that are no multiple of five, small for the others.
fn content(index: u32, round: u32) -> Vec<u8> {
    let length = if index.is_multiple_of(5) { 20 } else { LARGE + index as usize };
    format!("value {index} of round {round}, ").bytes().cycle().take(length).collect()
}

fn write(db: &Db, range: std::ops::Range<u32>, round: u32) {
    for index in range {
        let mut batch = WriteBatch::new();
        batch.put(key(index), content(index, round));
        db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
    }
}

/// The same with so much beside it that no segment of the log is mostly large values.
fn write_among_small(db: &Db, range: std::ops::Range<u32>, round: u32) {
    for index in range {
        let mut batch = WriteBatch::new();
        (0..20).for_each(|_| batch.put("small", [7; 90]));
        batch.put(key(index), content(index, round));
        db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
    }
}

fn and_small(mut expected: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    expected.insert(b"small".to_vec(), vec![7; 90]);
    expected
}

fn blobs(env: &MemEnv) -> Vec<FileId> {
    let files = live_files(env).into_iter();
    files.filter(|file| matches!(file, FileId::Blob(_))).collect()
}

fn counter(db: &Db, name: &str) -> u64 {
    let stats = db.stats();
    stats.counters.iter().find(|(known, _)| *known == name).unwrap().1
}

fn check(db: &Db, expected: &BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in expected {
        assert_eq!(db.get(key).unwrap().as_deref(), Some(value.as_slice()));
    }
    let owned = |entry: crate::base::error::Result<(bytes::Bytes, bytes::Bytes)>| {
        let (key, value) = entry.unwrap();
        (key.to_vec(), value.to_vec())
    };
    let forwards: Vec<_> = db.scan(..).map(owned).collect();
    let wanted: Vec<_> = expected.clone().into_iter().collect();
    assert_eq!(forwards, wanted);
    let mut backwards: Vec<_> = db.scan(..).rev().map(owned).collect();
    backwards.reverse();
    assert_eq!(backwards, wanted);
    let mut cursor = db.cursor().unwrap();
    for (key, value) in expected {
        cursor.seek(key).unwrap();
        assert_eq!((cursor.key(), cursor.value()), (key.as_slice(), value.as_slice()));
        assert_eq!(cursor.value_handle(), value.as_slice());
    }
}

fn expected(range: std::ops::Range<u32>, round: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    range.map(|index| (key(index), content(index, round))).collect()
}

#[test]
fn values_are_read_from_blob_files_like_any_other() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 0..300, 0);
    write(&db, 100..200, 1);
    let mut wanted = expected(0..300, 0);
    wanted.extend(expected(100..200, 1));
    check(&db, &wanted);
    db.flush().unwrap();
    assert!(!blobs(&env).is_empty());
    check(&db, &wanted);
    db.compact().unwrap();
    check(&db, &wanted);
    for index in (0..300).step_by(7) {
        db.delete(key(index)).unwrap();
        wanted.remove(&key(index));
    }
    check(&db, &wanted);
    db.close().unwrap();
    assert!(verify_env(Arc::new(env.clone())).unwrap().damages.is_empty());
    check(&open(&env, apart()), &wanted);
    // Whoever opens it without the option reads what is there.
    let db = open(&env, small());
    check(&db, &wanted);
    write(&db, 0..300, 2);
    db.compact().unwrap();
    check(&db, &expected(0..300, 2));
    assert_eq!(blobs(&env), [], "nothing leads there any more");
}

#[test]
fn merges_leave_values_where_they_are() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    for index in 0..300 {
        // Spread over all keys, so that every merge meets all tables.
        let index = index * 7919 % 300;
        write_among_small(&db, index..index + 1, 0);
    }
    db.flush().unwrap();
    let written = counter(&db, "blob_write_bytes");
    let large: usize = (0..300).filter(|i| i % 5 != 0).map(|i| content(i, 0).len()).sum();
    assert!((large as u64..large as u64 + 10_000).contains(&written), "{written} for {large}");
    let (files, before) = (blobs(&env), counter(&db, "compactions"));
    db.compact().unwrap();
    assert!(counter(&db, "compactions") > before);
    assert_eq!((counter(&db, "blob_write_bytes"), counter(&db, "blob_reads")), (written, 0));
    assert_eq!(blobs(&env), files);
    check(&db, &and_small(expected(0..300, 0)));
}

#[test]
fn large_values_that_lie_beside_their_keys_leave_them_when_they_are_merged() {
    let env = MemEnv::new();
    let db = open(&env, small());
    write(&db, 0..100, 0);
    db.close().unwrap();
    assert_eq!(blobs(&env), []);
    let db = open(&env, apart());
    write(&db, 0..1, 0);
    db.compact().unwrap();
    assert!(!blobs(&env).is_empty());
    check(&db, &expected(0..100, 0));
}

fn blob_bytes(env: &MemEnv) -> u64 {
    blobs(env).into_iter().map(|file| env.open(file).unwrap().length().unwrap()).sum()
}

#[test]
fn what_is_overwritten_and_deleted_leaves_the_disk() {
    for threads in [0, 2] {
        let env = MemEnv::new();
        let db = open(&env, Options { background_threads: threads, ..apart() });
        write(&db, 0..400, 0);
        let mut wanted = expected(0..400, 0);
        for round in 1..6 {
            // Some of each file stays.
            for index in (0..400).filter(|index| index % 4 != 0) {
                write(&db, index..index + 1, round);
                wanted.insert(key(index), content(index, round));
            }
        }
        db.flush().unwrap();
        db.compact().unwrap();
        db.wait_idle().unwrap();
        let live: u64 = wanted.values().filter(|v| v.len() >= 100).map(|v| v.len() as u64).sum();
        let kept = blob_bytes(&env);
        assert!(kept <= live * 9 / 4, "{kept} bytes for {live}, {threads} threads");
        check(&db, &wanted);
        for index in 0..390 {
            db.delete(key(index)).unwrap();
            wanted.remove(&key(index));
        }
        db.compact().unwrap();
        db.wait_idle().unwrap();
        let live: u64 = wanted.values().filter(|v| v.len() >= 100).map(|v| v.len() as u64).sum();
        let kept = blob_bytes(&env);
        assert!(kept <= live * 9 / 4, "{kept} bytes for {live}, {threads} threads");
        check(&db, &wanted);
        db.close().unwrap();
        assert!(verify_env(Arc::new(env.clone())).unwrap().damages.is_empty());
        check(&open(&env, apart()), &wanted);
    }
}

#[test]
fn values_shorter_than_a_header_are_not_moved_for_ever() {
    let mut options = apart();
    options.column_family.blob_bytes_min = Some(0);
    let env = MemEnv::new();
    let db = open(&env, options);
    for round in 0..3u8 {
        for index in 0..20 {
            let mut batch = WriteBatch::new();
            batch.put(key(index), vec![round; index as usize % 3]);
            db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
            db.flush().unwrap();
        }
    }
    db.compact().unwrap();
    db.wait_idle().unwrap();
    for index in 0..20 {
        assert_eq!(db.get(key(index)).unwrap().unwrap(), vec![2; index as usize % 3]);
    }
}

#[test]
fn snapshots_and_cursors_keep_what_they_see() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 0..50, 0);
    db.compact().unwrap();
    let snapshot: Snapshot = db.snapshot();
    let mut cursor = db.cursor().unwrap();
    cursor.seek(key(1)).unwrap();
    write(&db, 0..50, 1);
    db.compact().unwrap();
    for index in 0..50 {
        assert_eq!(snapshot.get(key(index)).unwrap().unwrap(), content(index, 0));
    }
    drop(snapshot);
    db.compact().unwrap();
    db.wait_idle().unwrap();
    // The tables of the first round have left the store; the cursor has them, and their values.
    for index in 1..50 {
        assert_eq!((cursor.key(), cursor.value()), (&key(index)[..], &content(index, 0)[..]));
        cursor.next().unwrap();
    }
    let before = blobs(&env).len();
    drop(cursor);
    db.wait_idle().unwrap();
    assert!(blobs(&env).len() < before, "they go with the cursor");
    check(&db, &expected(0..50, 1));
}

#[test]
fn values_that_expire_stand_apart_and_go() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    let hour = Duration::from_secs(3600);
    for index in 0..40 {
        let mut batch = WriteBatch::new();
        batch.put_with_ttl(key(index), content(index, 0), hour * (1 + index % 2));
        db.write(batch).unwrap();
    }
    db.compact().unwrap();
    let mut wanted = expected(0..40, 0);
    check(&db, &wanted);
    let mut cursor = db.cursor().unwrap();
    cursor.seek(key(1)).unwrap();
    assert!(cursor.expires().is_some() && cursor.value() == content(1, 0));
    drop(cursor);
    env.pass_time(hour + Duration::from_secs(1));
    wanted.retain(|key, _| key.last().unwrap() % 2 == 1);
    check(&db, &wanted);
    db.compact().unwrap();
    check(&db, &wanted);
    env.pass_time(hour);
    db.compact().unwrap();
    db.wait_idle().unwrap();
    assert_eq!(db.scan(..).count(), 0);
    assert_eq!(blobs(&env), []);
}

#[test]
fn a_dropped_family_takes_its_blob_files_with_it() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    let other = db.create_column_family("other", apart().column_family).unwrap();
    for index in 0..40 {
        other.put(key(index), content(index, 0)).unwrap();
    }
    other.flush().unwrap();
    assert!(!blobs(&env).is_empty());
    drop(other);
    db.drop_column_family("other").unwrap();
    db.wait_idle().unwrap();
    assert_eq!(blobs(&env), []);
}

/// Changes a byte of a file.
fn harm(env: &MemEnv, file: FileId, at: impl FnOnce(usize) -> usize) {
    let old = env.open(file).unwrap();
    let mut bytes = vec![0; old.length().unwrap() as usize];
    old.read_at(0, &mut bytes).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    env.remove(file).unwrap();
    env.create(file).unwrap().append(&bytes).unwrap();
}

#[test]
fn damage_is_told_verified_and_repaired_around() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 0..60, 0);
    db.compact().unwrap();
    db.close().unwrap();
    let file = blobs(&env)[0];
    harm(&env, file, |length| length - 1);
    let damages = verify_env(Arc::new(env.clone())).unwrap().damages;
    assert!(damages.len() == 1 && damages[0].to_string().contains(".blob"), "{damages:?}");

    let db = open(&env, apart());
    let failed: Vec<u32> = (0..60).filter(|&index| db.get(key(index)).is_err()).collect();
    let &[lost] = failed.as_slice() else { panic!("{failed:?}") };
    let mut cursor = db.cursor().unwrap();
    let error = cursor.seek(key(lost)).expect_err("the value is damaged");
    assert!(error.is_corruption() && !cursor.valid());
    assert!(cursor.next().is_err(), "the error stays");
    cursor.seek(key(0)).unwrap();
    assert_eq!(cursor.value(), content(0, 0));
    drop(cursor);
    db.close().unwrap();

    let repaired = MemEnv::new();
    let report = repair_env(Arc::new(env.clone()), Arc::new(repaired.clone())).unwrap();
    assert!(!report.is_complete());
    let loss = &report.table_losses[0];
    assert!(loss.file.contains(".blob") && loss.from.as_deref() == Some(&key(lost)[..]));
    let mut wanted = expected(0..60, 0);
    wanted.remove(&key(lost));
    check(&open(&repaired, apart()), &wanted);
}

#[test]
fn a_store_without_one_of_its_blob_files_is_refused_and_repaired() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 0..60, 0);
    db.compact().unwrap();
    db.close().unwrap();
    let files = blobs(&env);
    env.remove(files[0]).unwrap();
    let refused = Db::open_env(Arc::new(env.clone()), apart()).unwrap_err();
    assert!(refused.to_string().contains("the blob file is missing"), "{refused}");
    assert_eq!(verify_env(Arc::new(env.clone())).unwrap().damages.len(), 1);
    let repaired = MemEnv::new();
    let report = repair_env(Arc::new(env.clone()), Arc::new(repaired.clone())).unwrap();
    assert!(!report.is_complete());
    let db = open(&repaired, apart());
    for (index, value) in (0..60).map(|index| (index, content(index, 0))) {
        let found = db.get(key(index)).unwrap();
        assert!(found.is_none() || found.unwrap() == value);
    }
    assert_eq!(db.get(key(5)).unwrap().unwrap(), content(5, 0), "small ones are all there");

    // Without a manifest, too.
    env.remove(FileId::Current).unwrap();
    let repaired = MemEnv::new();
    repair_env(Arc::new(env), Arc::new(repaired.clone())).unwrap();
    assert_eq!(open(&repaired, apart()).get(key(5)).unwrap().unwrap(), content(5, 0));
}

#[test]
fn a_repair_of_a_whole_store_keeps_every_value() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 0..120, 0);
    db.compact().unwrap();
    write(&db, 0..40, 1);
    db.close().unwrap();
    let mut wanted = expected(0..120, 0);
    wanted.extend(expected(0..40, 1));
    for with_manifest in [true, false] {
        if !with_manifest {
            env.remove(FileId::Current).unwrap();
        }
        let repaired = MemEnv::new();
        let report = repair_env(Arc::new(env.clone()), Arc::new(repaired.clone())).unwrap();
        assert!(report.table_losses.is_empty(), "{report}");
        check(&open(&repaired, apart()), &wanted);
    }
}

#[test]
fn a_failure_at_any_point_of_writing_values_loses_nothing_and_leaves_nothing() {
    for operation in [Operation::Create, Operation::Append, Operation::Sync] {
        let memory = MemEnv::new();
        let faults = FaultEnv::new(Arc::new(memory.clone()));
        let db = Db::open_env(Arc::new(faults.clone()), apart()).unwrap();
        write_among_small(&db, 0..4, 0);
        let rule = FaultRule::new(&[operation], When::From(1), Fault::DiskFull);
        let rule = faults.add(rule.on(FileKind::Blob));
        assert!(matches!(db.flush(), Err(Error::NoSpace { .. })), "{operation:?}");
        let wanted = and_small(expected(0..4, 0));
        check(&db, &wanted);
        faults.remove_rule(rule);
        while db.flush().is_err() {}
        check(&db, &wanted);
        assert_eq!(blobs(&memory).len(), 1, "{operation:?}");
        db.sync().unwrap();
        let after = memory.crash_image(CrashPolicy::DropUnsynced, 0);
        check(&open(&after, apart()), &wanted);
    }
}

#[test]
fn values_stay_in_the_log_where_it_is_mostly_values() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 0..300, 0);
    db.flush().unwrap();
    let kept = blobs(&env);
    assert!(kept.len() > 3, "{kept:?}");
    check(&db, &expected(0..300, 0));
    db.compact().unwrap();
    check(&db, &expected(0..300, 0));
    assert_eq!((counter(&db, "blob_write_bytes"), counter(&db, "removals_failed")), (0, 0));
    assert_eq!(blobs(&env), kept);
    db.sync().unwrap();
    let after = env.crash_image(CrashPolicy::DropUnsynced, 0);
    check(&open(&after, apart()), &expected(0..300, 0));
    db.close().unwrap();
    check(&open(&env, apart()), &expected(0..300, 0));
    assert!(verify_env(Arc::new(env.clone())).unwrap().damages.is_empty());
    // They go like any other blob file.
    let db = open(&env, apart());
    for index in 0..300 {
        db.delete(key(index)).unwrap();
    }
    db.compact().unwrap();
    db.wait_idle().unwrap();
    assert_eq!(blobs(&env), []);
    assert_eq!(counter(&db, "removals_failed"), 0);
}

#[test]
fn a_segment_that_two_families_need_stays_for_both() {
    for first in [0, 1] {
        let env = MemEnv::new();
        let db = open(&env, apart());
        let names = ["one", "two"];
        let families =
            names.map(|name| db.create_column_family(name, apart().column_family).unwrap());
        for index in 0..8 {
            families[0].put(key(index), vec![1; 1800]).unwrap();
            families[1].put(key(index), vec![2; 300]).unwrap();
        }
        // The log is mostly values of the first; both need it until both are flushed.
        let flush = |which: usize| families[which].flush().unwrap();
        flush(first);
        let check = |db: &Db| {
            for (name, value) in [("one", vec![1; 1800]), ("two", vec![2; 300])] {
                let family = db.column_family(name).unwrap();
                for index in 0..8 {
                    assert_eq!(family.get(key(index)).unwrap().unwrap(), value);
                }
            }
        };
        check(&db);
        let after = env.crash_image(CrashPolicy::KeepAll, 0);
        check(&open(&after, apart()));
        // Its values have gone before the log lets go of it.
        for index in 0..8 {
            families[0].delete(key(index)).unwrap();
        }
        families[0].compact().unwrap();
        db.wait_idle().unwrap();
        flush(1);
        for index in 0..8 {
            assert_eq!(families[1].get(key(index)).unwrap().unwrap(), vec![2; 300]);
            assert!(families[0].get(key(index)).unwrap().is_none());
        }
        families[1].compact().unwrap();
        db.wait_idle().unwrap();
        drop(families);
        assert_eq!(counter(&db, "removals_failed"), 0);
        db.close().unwrap();
        assert!(verify_env(Arc::new(env.clone())).unwrap().damages.is_empty());
        let db = open(&env, apart());
        let two = db.column_family("two").unwrap();
        assert_eq!(two.get(key(7)).unwrap().unwrap(), vec![2; 300]);
    }
}

#[test]
fn a_segment_that_cannot_get_its_new_name_is_found_by_its_old_one() {
    let memory = MemEnv::new();
    let faults = FaultEnv::new(Arc::new(memory.clone()));
    let db = Db::open_env(Arc::new(faults.clone()), apart()).unwrap();
    let rule = FaultRule::new(&[Operation::Rename], When::From(1), Fault::Io);
    let rule = faults.add(rule.on(FileKind::Wal));
    write(&db, 0..50, 0);
    db.flush().unwrap();
    assert_eq!(blobs(&memory), []);
    check(&db, &expected(0..50, 0));
    db.close().unwrap();
    let db = Db::open_env(Arc::new(faults.clone()), apart()).unwrap();
    check(&db, &expected(0..50, 0));
    db.close().unwrap();
    faults.remove_rule(rule);
    assert!(verify_env(Arc::new(memory.clone())).unwrap().damages.is_empty());
    let db = open(&memory, apart());
    assert!(!blobs(&memory).is_empty(), "the next open tries again");
    check(&db, &expected(0..50, 0));
}

#[test]
fn values_survive_every_power_cut() {
    for policy in [CrashPolicy::DropUnsynced, CrashPolicy::KeepAll] {
        let env = MemEnv::new();
        let db = open(&env, apart());
        for round in 0..4 {
            write(&db, 0..60, round);
            db.compact().unwrap();
            db.sync().unwrap();
            let after = env.crash_image(policy, u64::from(round));
            check(&open(&after, apart()), &expected(0..60, round));
        }
    }
}

#[test]
fn a_fifo_family_counts_its_values_wherever_they_lie() {
    let mut options = apart();
    let bytes_max = 100 << 10;
    options.column_family.strategy = Strategy::Fifo(Fifo { bytes_max, age_max: None });
    let env = MemEnv::new();
    let db = open(&env, options);
    for index in 0..1_000 {
        write(&db, index..index + 1, 0);
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let kept: usize = db.scan(..).map(|entry| entry.unwrap().1.len()).sum();
    assert!((bytes_max as usize / 3..=bytes_max as usize).contains(&kept), "{kept}");
    let on_disk = blob_bytes(&env);
    assert!(on_disk <= 2 * bytes_max, "{on_disk}");
}

#[test]
fn a_value_that_cannot_be_read_stands_in_the_way_of_nothing() {
    for threads in [0, 2] {
        let env = MemEnv::new();
        let options = Options { background_threads: threads, ..apart() };
        let db = open(&env, options.clone());
        write(&db, 0..60, 0);
        db.compact().unwrap();
        db.close().unwrap();
        let file = blobs(&env)[0];
        harm(&env, file, |length| length - 1);
        let db = open(&env, options.clone());
        let lost: Vec<u32> = (0..60).filter(|&index| db.get(key(index)).is_err()).collect();
        let &[lost] = lost.as_slice() else { panic!("{lost:?}") };
        // The file is sparse now, and would be emptied.
        for index in (0..60).filter(|index| *index != lost && index % 10 != 1) {
            write(&db, index..index + 1, 1);
        }
        db.compact().unwrap();
        db.wait_idle().unwrap();
        assert!(db.stats().background_failures > 0 && db.stats().error.is_none());
        assert!(db.get(key(lost)).unwrap_err().is_corruption());
        for index in (0..60).filter(|index| *index != lost) {
            let round = u32::from(index % 10 != 1);
            assert_eq!(db.get(key(index)).unwrap().unwrap(), content(index, round));
        }
        // Who writes it anew, or deletes it, is rid of it.
        write(&db, lost..lost + 1, 1);
        db.compact().unwrap();
        db.wait_idle().unwrap();
        assert_eq!(db.get(key(lost)).unwrap().unwrap(), content(lost, 1));
        db.close().unwrap();
        assert!(verify_env(Arc::new(env.clone())).unwrap().damages.is_empty());
    }
}

#[test]
fn a_log_of_values_that_were_overwritten_is_not_kept() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    for round in 0..15 {
        write(&db, 1..2, round);
    }
    db.flush().unwrap();
    let kept = blob_bytes(&env);
    assert!(kept < 2 * content(1, 0).len() as u64, "{kept} bytes");
    assert_eq!(db.get(key(1)).unwrap().unwrap(), content(1, 14));
}

#[test]
fn a_repair_takes_the_copy_whose_value_can_be_read() {
    let env = MemEnv::new();
    let db = open(&env, apart());
    write(&db, 1..5, 0);
    db.compact().unwrap();
    let first = blobs(&env);
    // It holds the old table and its values while the one that stays is written anew.
    let reader = db.cursor().unwrap();
    write(&db, 2..5, 1);
    db.compact().unwrap();
    db.wait_idle().unwrap();
    db.sync().unwrap();
    let image = env.crash_image(CrashPolicy::KeepAll, 0);
    let last = blobs(&image).into_iter().max().unwrap();
    assert!(last > *first.iter().max().unwrap(), "the value has been moved");
    drop(reader);
    let is_manifest = |file: &FileId| matches!(file, FileId::Manifest(_) | FileId::Current);
    for file in live_files(&image).into_iter().filter(is_manifest).chain(first) {
        image.remove(file).unwrap();
    }
    let repaired = MemEnv::new();
    let report = repair_env(Arc::new(image), Arc::new(repaired.clone())).unwrap();
    let db = open(&repaired, apart());
    assert_eq!(db.get(key(1)).unwrap().as_deref(), Some(&content(1, 0)[..]), "{report}");
    let mut wanted = expected(2..5, 1);
    wanted.insert(key(1), content(1, 0));
    check(&db, &wanted);
    assert!(report.table_losses.is_empty(), "{report}");
}

/// A job has to go over `bytes` to make a blob file.
fn apart_from(bytes: u64) -> Options {
    let mut options = apart();
    options.column_family.memtable_bytes = 1 << 20;
    options.column_family.table_bytes = 64 * bytes;
    options
}

#[test]
fn small_flushes_make_no_blob_files() {
    let env = MemEnv::new();
    for round in 0..30 {
        let db = open(&env, apart_from(8 << 10));
        write(&db, 3 * round..3 * round + 3, 0);
        db.flush().unwrap();
        assert!(round > 0 || blobs(&env).is_empty());
        db.close().unwrap();
    }
    let bytes = 90 * 450;
    assert!(blobs(&env).len() < 1 + bytes / (8 << 10), "{:?}", blobs(&env));
    let db = open(&env, apart_from(8 << 10));
    db.compact().unwrap();
    assert!(!blobs(&env).is_empty(), "a merge over all of it is large enough");
    check(&db, &expected(0..90, 0));
}

#[test]
fn the_few_values_that_are_left_of_a_blob_file_go_back_to_their_keys() {
    let env = MemEnv::new();
    let db = open(&env, apart_from(16 << 10));
    write(&db, 0..100, 0);
    db.flush().unwrap();
    db.compact().unwrap();
    assert!(!blobs(&env).is_empty());
    (0..97).for_each(|index| db.delete(key(index)).unwrap());
    db.compact().unwrap();
    db.wait_idle().unwrap();
    assert_eq!(blobs(&env), []);
    check(&db, &expected(97..100, 0));
    db.close().unwrap();
    check(&open(&env, apart_from(16 << 10)), &expected(97..100, 0));
}
