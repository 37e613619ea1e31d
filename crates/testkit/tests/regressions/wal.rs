//! Series w, the write-ahead log: what is written to it, and what is read back.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use alluvium::env::{Fault, FileKind, MemEnv, Operation as Io, When};
use alluvium::inspect::LogItem;
use alluvium::{Durability, Error, WriteBatch, WriteOptions};
use alluvium_testkit::operation::{DEFAULT_FAMILY, Operation};

use crate::hook::Gate;
use crate::store::*;

/// cockroachdb/pebble#567 and #580, facebook/rocksdb#12918: behind the tail of a log in a recycled
/// file stood whole records of the log before it, and were replayed. No file is recycled here, but
/// a file system may: then deleted keys would be back, with their old values.
#[test]
fn reg_w01_stale_records_behind_the_tail_do_not_return() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    for index in 0..20 {
        put(&db, key(index), value(index, 0), Durability::Disk).unwrap();
    }
    let stale = bytes(&env, newest(&env, FileKind::Wal));
    db.flush().unwrap();
    // As many bytes as before for each write, so that the stale frames lie in their places.
    for index in 0..3 {
        put(&db, key(index), value(index, 1), Durability::Disk).unwrap();
    }
    let mut image = copy(&env);
    for _ in 0..3 {
        let log = newest(&image, FileKind::Wal);
        let mut recycled = bytes(&image, log);
        recycled.extend_from_slice(&stale[recycled.len().min(stale.len())..]);
        image.set_file_bytes(log, recycled);
        let db = open(&image, &calm());
        let mut expected = filled(0..20, 0);
        expected.extend(filled(0..3, 1));
        assert_eq!(all(&db), expected);
        image = copy(&image);
    }
}

/// The store of `image` is refused for its first segment, or ends within that.
fn ends_in_the_first_segment(logs: &Logs, image: &MemEnv, what: &str) {
    match try_open(image, &logs.options) {
        Err(error) => assert!(is_corruption_of(&error, logs.segments[0]), "{what}: {error}"),
        Ok(db) => {
            let behind = logs.behind(&all(&db));
            let last = logs.last_write_in(logs.segments[0]);
            assert!(behind.is_some_and(|write| write < last), "{what}: {behind:?}");
        }
    }
}

/// cockroachdb/pebble#864, facebook/rocksdb#7252: a record of one log did not check, and the logs
/// behind it were replayed all the same. Nothing here was synced, so that the store opens; it must
/// stop before the damage and show nothing of the segments behind it.
#[test]
fn reg_w02_nothing_behind_a_bad_record_is_replayed() {
    let logs = logs(Durability::Os);
    assert!(logs.segments.len() >= 3);
    let length = bytes(&logs.env, logs.segments[0]).len();
    for offset in (48..length).step_by(13) {
        let image = copy(&logs.env);
        flip(&image, logs.segments[0], offset);
        ends_in_the_first_segment(&logs, &image, &format!("byte {offset}"));
    }
}

/// cockroachdb/pebble#864 again, where the data was synced: a store that opens has lost some of it.
/// It must be refused, by the name of the segment.
#[test]
fn reg_w02_a_bad_record_before_synced_ones_is_damage() {
    let logs = logs(Durability::Disk);
    for segment in &logs.segments[..2] {
        let length = bytes(&logs.env, *segment).len();
        for offset in (48..length).step_by(29) {
            let image = copy(&logs.env);
            flip(&image, *segment, offset);
            let error = try_open(&image, &logs.options).expect_err("synced data is gone");
            assert!(is_corruption_of(&error, *segment), "byte {offset}: {error}");
        }
    }
}

/// facebook/rocksdb#7701: an older log was cut exactly between two records, which left nothing in
/// it to fail a check, and the next log was replayed behind the gap.
#[test]
fn reg_w03_a_segment_cut_between_two_records_is_a_hole() {
    for durability in [Durability::Os, Durability::Disk] {
        let logs = logs(durability);
        let first = logs.segments[0];
        let last = logs.last_write_in(first);
        for (write, (_, end)) in logs.lengths[..last - 1].iter().enumerate() {
            let image = copy(&logs.env);
            image.set_file_bytes(first, bytes(&image, first)[..*end].to_vec());
            match (durability, try_open(&image, &logs.options)) {
                (Durability::Disk, opened) => {
                    let error = opened.expect_err("synced data is gone");
                    assert!(is_corruption_of(&error, first), "{error}");
                }
                (_, opened) => {
                    let db = opened.unwrap_or_else(|error| panic!("cut at {end}: {error}"));
                    assert!(all(&db) == logs.states[write + 1], "cut behind write {}", write + 1);
                }
            }
        }
    }
}

/// facebook/rocksdb#10560: a sync of the newest log left an older one unsynced, and a power cut
/// made a hole. Here several segments hold writes that were never synced, then one sync comes.
#[test]
fn reg_w04_a_sync_syncs_the_older_segments_too() {
    let mut options = small();
    options.column_family.memtables_max = 8;
    let (memory, faults) = faulty();
    let db = open(&faults, &options);
    faults.add(failing(&[Io::Create], FileKind::Table, When::From(1), Fault::Io));
    let mut written = 0;
    while files(&memory, FileKind::Wal).len() < 4 {
        fill(&db, written..written + 1, 0);
        written += 1;
    }
    assert!(all(&open(&power_cut(&memory), &options)).is_empty(), "nothing was synced so far");
    db.sync().unwrap();
    assert_eq!(all(&open(&power_cut(&memory), &options)), filled(0..written, 0));
}

/// facebook/rocksdb#13169: the sync ran while another thread began a new log. Whatever was
/// acknowledged before a sync began must be there after a power cut right behind it.
#[test]
fn reg_w04_a_sync_beside_a_writer_that_rolls_the_log_covers_all_before_it() {
    let watchdog = watch("reg_w04");
    let env = MemEnv::new();
    let mut options = small();
    options.background_threads = 2;
    options.column_family.memtable_bytes = 1 << 10;
    let db = open(&env, &options);
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for index in 0..300 {
                fill(&db, index..index + 1, 0);
                written.store(index + 1, Ordering::Release);
            }
        });
        for round in 0..20 {
            watchdog.step(format!("reg_w04, sync {round}"));
            let before = written.load(Ordering::Acquire);
            db.sync().unwrap();
            let found = all(&open(&power_cut(&env), &options));
            assert!(found.len() >= before, "{} of {before} are left", found.len());
            assert_eq!(found, filled(0..found.len(), 0), "there is a hole");
        }
    });
}

/// facebook/rocksdb#12489: a sync in the background covered the new log and not the old one. Here
/// that is a flush of one family, which makes segments durable that another family shares.
#[test]
fn reg_w05_a_flush_of_one_family_leaves_no_hole_in_the_other() {
    let other = "other";
    let both = |key| write(&[(DEFAULT_FAMILY, key, 40), (other, key, 40)], Durability::Os);
    let flush = |family: &str| Operation::Flush { family: Some(family.to_owned()) };
    let run = vec![
        Operation::CreateFamily { name: other.to_owned() },
        both("a"),
        flush(other),
        both("b"),
        both("a"),
        flush(other),
        both("c"),
        flush(DEFAULT_FAMILY),
        both("b"),
    ];
    let swept = crash_everywhere("one family is flushed, the other waits", calm(), run);
    assert!(swept.crash_points > 30, "{swept:?}");
}

/// cockroachdb/pebble#886: a new log was begun before the old one had ended cleanly, and a crash
/// left garbage at the end of a log that was not the newest.
#[test]
fn reg_w07_a_crash_anywhere_in_a_roll_leaves_a_log_that_replays() {
    let mut options = small();
    options.column_family.memtable_bytes = 1 << 10;
    let mut run = Vec::new();
    for key in ["a", "b", "c", "a", "d"] {
        run.push(write_one(key, 300, Durability::Buffered));
        run.push(write_one(key, 40, Durability::Os));
    }
    run.push(write_one("e", 10, Durability::Disk));
    let swept = crash_everywhere("a roll for every two writes", options, run);
    assert!(swept.crash_points > 40, "{swept:?}");
}

/// facebook/rocksdb#3096: the leader of a group commit got the error, its followers got "OK". One
/// write stops in its append until seven others have queued up behind it; the append of their group
/// fails. Whoever was told "OK" can see its write, and finds it after a kill.
#[test]
fn reg_w10_every_writer_of_a_failed_group_hears_of_it() {
    let _watchdog = watch("reg_w10");
    for fault in [Fault::Io, Fault::DiskFull] {
        let (memory, faults) = faulty();
        let gate = Gate::default();
        let db = open(&gate.around(faults.clone()), &calm());
        faults.add(failing(&[Io::Append], FileKind::Wal, When::Nth(2), fault));
        gate.shut(Io::Append, FileKind::Wal);
        let outcomes: Vec<(usize, bool)> = thread::scope(|scope| {
            let write = |index: usize| {
                let db = &db;
                move || (index, put(db, key(index), value(index, 0), Durability::Os).is_ok())
            };
            let first = scope.spawn(write(0));
            gate.wait_for_somebody();
            let others: Vec<_> = (1..8).map(|index| scope.spawn(write(index))).collect();
            // They need not be there by then; with all of them the test is at its sharpest.
            thread::sleep(Duration::from_millis(50));
            gate.open();
            [first].into_iter().chain(others).map(|thread| thread.join().unwrap()).collect()
        });
        assert!(outcomes[0].1 && outcomes.iter().any(|(_, succeeded)| !succeeded));
        let kept = all(&open(&copy(&memory), &calm()));
        for (index, succeeded) in outcomes {
            assert_eq!(db.get(key(index)).unwrap().is_some(), succeeded, "visible: {index}");
            assert!(!succeeded || kept.contains_key(&key(index)), "{index} is lost");
        }
    }
}

/// facebook/rocksdb#12873, #15193: the sequence numbers of a failed write were given to the next
/// one. Both stood in the log, and which of them won at the next open was chance.
#[test]
fn reg_w11_the_sequence_numbers_of_a_failed_write_are_burnt() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    put(&db, "k", "old", Durability::Disk).unwrap();
    let before = db.snapshot().sequence_number();
    let mut refused = WriteBatch::new();
    (0..3).for_each(|index| refused.put(key(index), "refused"));
    refused.put("k", "refused");
    // Room for the whole frame but its last byte: all four operations stand in the file.
    env.set_capacity(Some(env.used_bytes() + refused.byte_size() as u64 + 19));
    let error = db.write_with(refused, &WriteOptions { durability: Durability::Os }).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    env.set_capacity(None);
    put(&db, "k", "new", Durability::Disk).unwrap();
    assert_eq!(db.snapshot().sequence_number(), before + 5);
    for (policy, seed) in policies() {
        let db = open(&env.crash_image(policy, seed), &calm());
        assert_eq!(db.get("k").unwrap().unwrap(), "new", "{policy:?}");
        assert!(db.get(key(0)).unwrap().is_none_or(|value| value == "refused"));
    }
}

/// facebook/rocksdb#12448: after a failed append the log was written on, behind whatever the
/// failure had left. The disk is full at every byte of a frame; then there is room again.
#[test]
fn reg_w12_a_segment_that_failed_is_never_written_again() {
    for room in 0..70 {
        let env = MemEnv::new();
        let db = open(&env, &calm());
        fill(&db, 0..3, 0);
        let failed_log = newest(&env, FileKind::Wal);
        env.set_capacity(Some(env.used_bytes() + room));
        assert!(put(&db, key(3), value(3, 0).repeat(3), Durability::Os).is_err());
        let length = bytes(&env, failed_log).len();
        env.set_capacity(None);
        fill(&db, 4..8, 0);
        assert_eq!(bytes(&env, failed_log).len(), length, "room for {room}");
        assert!(newest(&env, FileKind::Wal) > failed_log);
        let mut expected = filled(0..8, 0);
        expected.remove(&key(3));
        assert_eq!(all(&open(&copy(&env), &calm())), expected, "room for {room}");
        db.sync().unwrap();
        assert_eq!(all(&open(&power_cut(&env), &calm())), expected, "room for {room}");
    }
}

/// What stands in the log: each batch's first sequence number and its operations.
fn log_items(env: &MemEnv) -> Vec<(u64, usize)> {
    let directory = tempfile::tempdir().unwrap();
    let mut batches = Vec::new();
    for file in files(env, FileKind::Wal) {
        let path = directory.path().join(file.name());
        std::fs::write(&path, bytes(env, file)).unwrap();
        alluvium::inspect::log(&path, |item| {
            match item {
                LogItem::Batch { operations, .. } => {
                    batches.push((operations[0].sequence_number, operations.len()));
                }
                LogItem::Bad { offset, detail } => panic!("{file} at {offset}: {detail}"),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    batches
}

/// Every operation stands in the log once, in order, from 1 to `count`.
fn assert_log_is_whole(env: &MemEnv, count: usize) {
    let mut next = 1;
    for (first, operations) in log_items(env) {
        assert_eq!(first, next, "an operation is missing, or stands twice");
        next += operations as u64;
    }
    assert_eq!(next, count as u64 + 1);
}

/// facebook/rocksdb#7576: a flush of the log's buffer beside a writer that synced wrote the buffer
/// twice. Buffered writers, and syncs beside them: each operation stands in the log once.
#[test]
fn reg_w13_a_buffer_is_written_once_however_many_syncs_there_are() {
    let _watchdog = watch("reg_w13");
    let env = MemEnv::new();
    let db = open(&env, &calm());
    thread::scope(|scope| {
        for writer in 0..3 {
            let db = db.clone();
            scope.spawn(move || {
                for index in 0..200 {
                    let index = writer * 1_000 + index;
                    put(&db, key(index), value(index, 0), Durability::Buffered).unwrap();
                }
            });
        }
        for index in 0..100 {
            db.sync().unwrap();
            put(&db, key(9_000 + index), "disk", Durability::Disk).unwrap();
        }
    });
    db.sync().unwrap();
    assert_log_is_whole(&env, 700);
}

/// facebook/rocksdb#1339: with threads that wrote with and without the log, a synced write lost
/// what stood before it. Three writers, one for each durability; each finds its writes up to the
/// last that was durable enough, and what is there is without a hole.
#[test]
fn reg_w14_writers_of_mixed_durability_lose_nothing_that_was_durable() {
    let _watchdog = watch("reg_w14");
    let levels = [Durability::Buffered, Durability::Os, Durability::Disk];
    let mut options = small();
    options.background_threads = 2;
    let env = MemEnv::new();
    let db = open(&env, &options);
    let acknowledged: [AtomicUsize; 3] = Default::default();
    let check = |image: MemEnv, before: [usize; 3], sure: fn(Durability) -> bool| {
        let found = all(&open(&image, &options));
        for (writer, durability) in levels.iter().enumerate() {
            let range = writer * 1_000..(writer + 1) * 1_000;
            let count = found.range(key(range.start)..key(range.end)).count();
            let contiguous = filled(range.start..range.start + count, 0);
            assert!(contiguous.keys().all(|key| found.contains_key(key)), "{durability:?}: a hole");
            assert!(!sure(*durability) || count >= before[writer], "{durability:?}: {count}");
        }
    };
    thread::scope(|scope| {
        for (writer, durability) in levels.into_iter().enumerate() {
            let (db, acknowledged) = (db.clone(), &acknowledged[writer]);
            scope.spawn(move || {
                for index in 0..150 {
                    let number = writer * 1_000 + index;
                    put(&db, key(number), value(number, 0), durability).unwrap();
                    acknowledged.store(index + 1, Ordering::Release);
                }
            });
        }
        for _ in 0..10 {
            let before = [0, 1, 2].map(|writer| acknowledged[writer].load(Ordering::Acquire));
            check(copy(&env), before, |durability| durability >= Durability::Os);
            let before = [0, 1, 2].map(|writer| acknowledged[writer].load(Ordering::Acquire));
            check(power_cut(&env), before, |durability| durability == Durability::Disk);
        }
    });
}

/// google/leveldb#203, facebook/rocksdb HISTORY (records of two threads in one): two threads wrote
/// into the log at the same time, and their bytes mixed.
#[test]
fn reg_w15_records_of_many_threads_stand_one_behind_the_other() {
    let _watchdog = watch("reg_w15");
    let env = MemEnv::new();
    let db = open(&env, &calm());
    thread::scope(|scope| {
        for writer in 0..8 {
            let db = db.clone();
            scope.spawn(move || {
                for index in 0..40 {
                    let mut batch = WriteBatch::new();
                    let size = (index * 37 + writer * 11) % 500;
                    (0..3).for_each(|part| batch.put(key(writer * 1_000 + part), vec![7; size]));
                    db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
                }
            });
        }
    });
    assert_log_is_whole(&env, 8 * 40 * 3);
}
