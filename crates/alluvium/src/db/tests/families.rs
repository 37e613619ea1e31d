//! Column families that are dropped: what a failure leaves, and what handles go on reading.

use std::sync::mpsc;
use std::thread;

use super::*;
use crate::metrics::{Event, EventListener, Listeners};

/// The manifest cannot be written while a family is dropped, once or for longer. What is written to
/// the family afterwards and acknowledged is there after a crash, and after a close in good order.
#[test]
fn a_family_whose_drop_failed_keeps_what_is_written_to_it() {
    for operation in [Operation::Append, Operation::Sync] {
        for (when, lasts) in [(When::Nth(1), false), (When::From(1), true)] {
            let memory = MemEnv::new();
            let faults = FaultEnv::new(Arc::new(memory.clone()));
            let db = Db::open_env(Arc::new(faults.clone()), small()).unwrap();
            let family = db.create_column_family("x", small().column_family).unwrap();
            family.put("before", "1").unwrap();
            db.flush().unwrap();
            let put = |key: &str| {
                let mut batch = WriteBatch::new();
                batch.put_in(&family, key, "1");
                db.write_with(batch, &WriteOptions { durability: Durability::Disk })
            };
            let rule = FaultRule::new(&[operation], when, Fault::Io).on(FileKind::Manifest);
            let rule = faults.add(rule);
            assert!(db.drop_column_family("x").is_err());
            assert_eq!(family.get("before").unwrap().unwrap(), "1");
            if lasts {
                assert!(put("during").is_err(), "the next start may find the family gone");
                assert!(db.sync().is_err() && family.flush().is_err(), "and all that is in it");
            } else {
                put("during").unwrap();
            }
            faults.remove_rule(rule);
            put("after").unwrap();
            let holds = |env: &MemEnv| {
                let db = open(env, small());
                let family = db.column_family("x").unwrap();
                for (key, is_there) in [("before", true), ("during", !lasts), ("after", true)] {
                    let found = family.get(key).unwrap();
                    assert_eq!(found.is_some(), is_there, "{operation:?} {when:?}: {key}");
                }
            };
            holds(&memory.crash_image(CrashPolicy::KeepAll, 1));
            holds(&memory.crash_image(CrashPolicy::DropUnsynced, 1));
            drop(family);
            db.close().unwrap();
            holds(&memory);
        }
    }
}

/// Nothing is written after the failure: closing makes it certain that the family is there.
#[test]
fn a_close_in_good_order_leaves_nothing_in_doubt() {
    let memory = MemEnv::new();
    let faults = FaultEnv::new(Arc::new(memory.clone()));
    let db = Db::open_env(Arc::new(faults.clone()), small()).unwrap();
    db.create_column_family("x", small().column_family).unwrap();
    let rule = FaultRule::new(&[Operation::Sync], When::From(1), Fault::Io);
    let rule = faults.add(rule.on(FileKind::Manifest));
    assert!(db.drop_column_family("x").is_err());
    faults.remove_rule(rule);
    db.close().unwrap();
    assert!(open(&memory, small()).column_family("x").is_ok());
}

/// Stops the first flush that begins until it is told to go on.
struct Stops {
    begun: mpsc::SyncSender<()>,
    goes_on: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl EventListener for Stops {
    fn on_event(&self, event: &Event) {
        if let Event::FlushBegun(flush) = event
            && flush.family == "x"
        {
            self.begun.send(()).unwrap();
            self.goes_on.lock().unwrap().recv().unwrap();
        }
    }
}

#[test]
fn a_handle_of_a_family_that_is_dropped_during_a_flush_reads_the_newest_values() {
    let (begun, has_begun) = mpsc::sync_channel(1);
    let (go_on, goes_on) = mpsc::sync_channel(1);
    let stops = Arc::new(Stops { begun, goes_on: std::sync::Mutex::new(goes_on) });
    let options = Options { listeners: Listeners::from(stops), ..small() };
    let db = open(&MemEnv::new(), options);
    let family = db.create_column_family("x", small().column_family).unwrap();
    family.put("k", "old").unwrap();
    go_on.send(()).unwrap();
    family.flush().unwrap();
    has_begun.recv().unwrap();
    family.put("k", "new").unwrap();
    family.put("other", "new").unwrap();
    let before = db.snapshot();
    thread::scope(|scope| {
        let flushes = scope.spawn(|| family.flush());
        has_begun.recv().unwrap();
        db.drop_column_family("x").unwrap();
        go_on.send(()).unwrap();
        let flushed = flushes.join().unwrap();
        let is_missing = matches!(flushed, Err(Error::ColumnFamilyMissing { .. }));
        assert!(flushed.is_ok() || is_missing, "{flushed:?}");
    });
    for key in ["k", "other"] {
        assert_eq!(family.get(key).unwrap().unwrap(), "new");
        assert_eq!(before.get_in(&family, key).unwrap().unwrap(), "new");
    }
    assert_eq!(family.scan(..).count(), 2);
}

/// A write has passed every look but the last when a drop of its family begins, which fails: it is
/// not acknowledged as long as the next start may find the family gone.
#[test]
fn a_write_beside_a_drop_that_fails_is_not_acknowledged() {
    let memory = MemEnv::new();
    let faults = FaultEnv::new(Arc::new(memory.clone()));
    let db = Db::open_env(Arc::new(faults.clone()), small()).unwrap();
    let family = db.create_column_family("x", small().column_family).unwrap();
    let rule = FaultRule::new(&[Operation::Sync], When::From(1), Fault::Io);
    let rule = faults.add(rule.on(FileKind::Manifest));
    let put = || {
        let mut batch = WriteBatch::new();
        batch.put_in(&family, "k", "v");
        db.write_with(batch, &WriteOptions { durability: Durability::Disk })
    };
    thread::scope(|scope| {
        let log = db.core().wal.lock();
        let writes = scope.spawn(put);
        memory.sleep(std::time::Duration::from_millis(50));
        let drops = scope.spawn(|| db.drop_column_family("x"));
        while !family.family().is_in_doubt() {
            thread::yield_now();
        }
        drop(log);
        assert!(drops.join().unwrap().is_err());
        assert!(writes.join().unwrap().is_err());
    });
    faults.remove_rule(rule);
    put().unwrap();
    let db = open(&memory.crash_image(CrashPolicy::DropUnsynced, 1), small());
    assert_eq!(db.column_family("x").unwrap().get("k").unwrap().unwrap(), "v");
}
