//! A panic in a worker.

use std::thread;
use std::time::Duration;

use alluvium::Action;
use alluvium_testkit::watchdog::Watchdog;

use super::*;

fn with_workers() -> Options {
    let mut options = tiny();
    options.background_threads = 2;
    options.column_family.memtable_bytes = 1 << 10;
    options.column_family.memtables_max = 1;
    options
}

/// fjall-rs/fjall#157: a panic in the background was ignored, and writers waited for ever.
#[test]
fn reg_e04_a_panic_of_a_worker_stops_writes_and_wakes_every_waiter() {
    let watchdog = Watchdog::new(Duration::from_secs(60));
    for (operation, kind) in [
        (Operation::Create, FileKind::Table),
        (Operation::Sync, FileKind::Table),
        (Operation::Append, FileKind::Manifest),
    ] {
        watchdog.step(format!("a panic in {operation:?} on {kind:?}"));
        let store = Store::with(with_workers());
        store.faults.observe(|_| panic!("planted"));
        store.fail(operation, kind, When::From(1), Fault::Io);
        let writers: Vec<_> = (0..4u32)
            .map(|writer| {
                let db = store.db.clone();
                let keys = writer * 1_000..(writer + 1) * 1_000;
                thread::spawn(move || {
                    keys.clone().find_map(|index| put_os(&db, index, 0).err().map(|e| (index, e)))
                })
            })
            .collect();
        let flushing = {
            let db = store.db.clone();
            thread::spawn(move || db.flush())
        };
        let mut written = Vec::new();
        for (writer, thread) in writers.into_iter().enumerate() {
            let (index, error) = thread.join().unwrap().unwrap_or_else(|| panic!("no error"));
            assert!(
                matches!(&error, Error::WriteStopped { reason }
                    if matches!(**reason, Error::Panicked { .. }))
                    || matches!(&error, Error::Panicked { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("planted"), "{error}");
            assert!(matches!(error.action(), Action::Reopen | Action::Report));
            written.push(writer as u32 * 1_000..index);
        }
        store.faults.clear();
        // It may have been asked when there was nothing to flush.
        drop(flushing.join().unwrap());
        assert!(store.db.flush().is_err());
        assert!(store.db.wait_idle().is_err());
        assert!(store.db.stats().error.unwrap().contains("planted"));
        for range in &written {
            check(&store.db, range.clone(), 0);
        }
        let db = store.after(CrashPolicy::KeepAll);
        for range in written {
            check(&db, range, 0);
        }
    }
}

#[test]
fn a_panic_without_workers_stops_writes_too() {
    let store = Store::new();
    fill(&store.db, 0..10, 0);
    store.faults.observe(|_| panic!("planted"));
    store.fail(Operation::Create, FileKind::Table, When::From(1), Fault::Io);
    let failed = store.db.flush().unwrap_err();
    assert!(failed.to_string().contains("planted"), "{failed}");
    assert!(matches!(store.db.put("a", "1"), Err(Error::WriteStopped { .. })));
    check(&store.db, 0..10, 0);
    check(&store.after(CrashPolicy::KeepAll), 0..10, 0);
}
