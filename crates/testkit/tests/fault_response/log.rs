//! The write-ahead log: appends, syncs, and what recovery makes of what they leave.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use alluvium::Action;

use super::*;

#[test]
fn after_a_failed_append_the_segment_is_never_written_again() {
    for fault in [Fault::Io, Fault::ShortAppend { bytes: 9 }, Fault::ReadOnly] {
        let store = Store::new();
        store.db.put("a", "1").unwrap();
        store.fail(Operation::Append, FileKind::Wal, When::Nth(1), fault);
        assert!(is_injected(&store.db.put("b", "2"), 1));
        let appends = store.faults.count_on(Operation::Append, FileKind::Wal);
        for _ in 0..3 {
            let refused = store.db.put("c", "3").unwrap_err();
            assert!(matches!(refused, Error::WriteStopped { .. }), "{refused}");
            assert_eq!(refused.action(), Action::Reopen);
        }
        assert_eq!(store.faults.count_on(Operation::Append, FileKind::Wal), appends);
        assert_eq!(store.db.get("b").unwrap(), None, "not visible before reopening");
        assert!(store.db.stats().error.unwrap().contains("[injected fault 1:"));
        let db = store.after(CrashPolicy::KeepAll);
        assert_eq!(db.get("a").unwrap().unwrap(), "1");
        assert_eq!(db.get("b").unwrap(), None, "{fault:?}");
        assert_eq!(db.get("c").unwrap(), None, "a refused write never comes");
    }
}

#[test]
fn every_writer_of_a_failed_group_gets_the_error() {
    let store = Store::new();
    store.db.put("a", "1").unwrap();
    store.fail(Operation::Append, FileKind::Wal, When::From(1), Fault::DiskFull);
    let writers: Vec<_> = (0..8)
        .map(|index| {
            let db = store.db.clone();
            thread::spawn(move || put_os(&db, index, 0))
        })
        .collect();
    for writer in writers {
        assert!(matches!(writer.join().unwrap(), Err(Error::NoSpace { .. })));
    }
    store.faults.clear();
    assert_eq!(store.db.scan(..).count(), 1, "no failed write is visible");
    put_os(&store.db, 100, 0).unwrap();
    assert_eq!(store.db.scan(..).count(), 2);
}

#[test]
fn the_sequence_numbers_of_a_failed_write_are_never_given_out_again() {
    let store = Store::new();
    store.db.put("a", "1").unwrap();
    let before = store.db.stats().sequence_number;
    store.fail(Operation::Append, FileKind::Wal, When::Nth(1), Fault::DiskFull);
    let mut batch = WriteBatch::new();
    (0..5).for_each(|index| batch.put(key(index), "x"));
    assert!(store.db.write(batch).is_err());
    assert_eq!(store.db.stats().sequence_number, before, "not visible");
    store.db.put("b", "2").unwrap();
    assert_eq!(store.db.stats().sequence_number, before + 6);
    let db = store.after(CrashPolicy::KeepAll);
    db.put("c", "3").unwrap();
    assert_eq!(db.stats().sequence_number, before + 7);
}

#[test]
fn a_failed_sync_of_the_log_is_not_tried_again() {
    let store = Store::new();
    store.db.put("a", "1").unwrap();
    store.fail(Operation::Sync, FileKind::Wal, When::Nth(1), Fault::Io);
    assert!(is_injected(&store.db.put("b", "2"), 1));
    let syncs = store.faults.count_on(Operation::Sync, FileKind::Wal);
    assert!(matches!(store.db.put("c", "3"), Err(Error::WriteStopped { .. })));
    assert!(matches!(store.db.sync(), Err(Error::WriteStopped { .. })));
    assert!(store.db.clone().close().is_err(), "closing can't promise what the sync could not");
    assert_eq!(store.faults.count_on(Operation::Sync, FileKind::Wal), syncs);
    assert_eq!(store.db.get("a").unwrap().unwrap(), "1", "reads go on");
    let db = store.after(CrashPolicy::DropUnsynced);
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert_eq!(db.get("c").unwrap(), None);
}

/// A read cannot see what a power cut then takes, where the write asked for the disk.
#[test]
fn a_write_to_disk_is_not_visible_before_its_sync_is_done() {
    let store = Store::new();
    store.db.put("a", "1").unwrap();
    let (db, lossy) = (store.db.clone(), store.memory.clone());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    store.faults.observe(move |injection| {
        note.lock().unwrap().push(db.get("b").unwrap().is_some());
        lossy.lose_unsynced(injection.file.unwrap());
    });
    store.fail(Operation::Sync, FileKind::Wal, When::Nth(1), Fault::Io);
    assert!(store.db.put("b", "2").is_err());
    assert_eq!(*seen.lock().unwrap(), [false], "asked at the moment of the sync");
    assert_eq!(store.db.get("b").unwrap(), None);
    store.faults.observe(|_| {});
}

#[test]
fn what_was_replayed_is_on_disk_before_the_store_is_open() {
    let store = Store::new();
    fill(&store.db, 0..10, 0);
    // The process dies: what it wrote is in the page cache only.
    let image = store.memory.crash_image(CrashPolicy::KeepAll, 1);
    let db = open(&FaultEnv::new(Arc::new(image.clone())), tiny());
    check(&db, 0..10, 0);
    // The power goes before anything else is written.
    let image = image.crash_image(CrashPolicy::DropUnsynced, 1);
    check(&open(&FaultEnv::new(Arc::new(image)), tiny()), 0..10, 0);
}

#[test]
fn recovery_installs_what_it_replayed_before_it_removes_the_log() {
    let store = Store::new();
    fill(&store.db, 0..10, 0);
    let image = store.memory.crash_image(CrashPolicy::KeepAll, 1);
    let env = FaultEnv::new(Arc::new(image));
    env.record();
    let db = open(&env, tiny());
    let recorded = env.recorded();
    let place = |operation: Operation, kind: Option<FileKind>| {
        recorded
            .iter()
            .position(|(done, file)| *done == operation && file.map(FileKind::of) == kind)
    };
    let table = place(Operation::Sync, Some(FileKind::Table)).unwrap();
    let manifest = place(Operation::Sync, Some(FileKind::Manifest)).unwrap();
    let switch = place(Operation::Rename, Some(FileKind::Temporary)).unwrap();
    let removed = place(Operation::Remove, Some(FileKind::Wal)).unwrap();
    assert!(table < manifest && manifest < switch && switch < removed, "{recorded:?}");
    let names = |range: std::ops::Range<usize>| {
        recorded[range].iter().any(|(done, _)| *done == Operation::SyncDirectory)
    };
    assert!(names(table..switch) && names(switch..removed), "{recorded:?}");
    check(&db, 0..10, 0);
}

#[test]
fn bytes_that_do_not_hold_are_a_torn_tail_or_damage_by_what_is_behind_them() {
    let store = Store::new();
    for index in 0..5 {
        store.db.put(key(index), value(index, 0)).unwrap();
    }
    let flipped = |from_end: bool| {
        let image = store.memory.crash_image(CrashPolicy::KeepAll, 1);
        let log = store.files(FileKind::Wal)[0];
        let mut bytes = image.file_bytes(log).unwrap();
        let place = if from_end { bytes.len() - 3 } else { bytes.len() / 2 };
        bytes[place] ^= 1;
        image.set_file_bytes(log, bytes);
        (image, log, place as u64)
    };
    // In the middle: frames behind it say that they were synced, so it is damage, with its place.
    let (image, log, place) = flipped(false);
    match Db::open_env(Arc::new(image), tiny()) {
        Err(Error::Corruption { file, offset, .. }) => {
            assert!(file.ends_with(&log.name()) && offset <= place, "{file} {offset} {place}");
        }
        other => panic!("{other:?}"),
    }
    // In the last frame: like a write that a crash tore. It is dropped, and the segment with it.
    let (image, log, _) = flipped(true);
    let db = Db::open_env(Arc::new(image.clone()), tiny()).unwrap();
    check(&db, 0..4, 0);
    assert_eq!(db.get(key(4)).unwrap(), None);
    assert!(!image.files().contains(&log), "nothing is ever appended behind a torn tail");
}

/// A panic in the thread that writes for a group: its batches may be in the log, and in memory by
/// half.
#[test]
fn a_panic_of_a_writer_stops_the_store_and_releases_the_others() {
    let store = Store::new();
    store.db.put("a", "1").unwrap();
    store.faults.observe(|_| panic!("planted"));
    store.fail(Operation::Append, FileKind::Wal, When::Nth(1), Fault::Io);
    assert!(catch_unwind(AssertUnwindSafe(|| store.db.put("b", "2"))).is_err());
    let others: Vec<_> = (0..4)
        .map(|index| {
            let db = store.db.clone();
            thread::spawn(move || put_os(&db, index, 0))
        })
        .collect();
    for other in others {
        assert!(matches!(other.join().unwrap(), Err(Error::WriteStopped { .. })));
    }
    assert_eq!(store.db.get("a").unwrap().unwrap(), "1", "reads go on");
    assert_eq!(store.after(CrashPolicy::KeepAll).get("a").unwrap().unwrap(), "1");
}
