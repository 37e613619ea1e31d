//! A full disk is a state and not an end: with room again every path goes on by itself.

use std::thread;
use std::time::Duration;

use alluvium::Action;
use alluvium_testkit::watchdog::Watchdog;

use super::*;

/// A path of the engine that writes, and the file that finds the disk full.
const PATHS: [(&str, FileKind); 3] = [
    ("the log alone", FileKind::Wal),
    ("a flush or compaction", FileKind::Table),
    ("the manifest", FileKind::Manifest),
];

/// Writes until the store refuses, which it must; returns how many it took.
fn fill_until_refused(db: &Db) -> u32 {
    for index in 0..3_000 {
        match put_os(db, index, 0) {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
                assert_eq!(error.action(), Action::FreeSpace);
                return index;
            }
        }
    }
    panic!("a full disk, and every write is taken");
}

#[test]
fn reg_e01_every_path_resumes_by_itself_without_workers() {
    for (path, kind) in PATHS {
        let store = Store::with(tiny());
        fill(&store.db, 5_000..5_030, 0);
        store
            .faults
            .add(FaultRule::new(Operation::MUTATING, When::From(1), Fault::DiskFull).on(kind));
        let written = fill_until_refused(&store.db);
        check(&store.db, 0..written, 0);
        store.faults.clear();
        // The first call that tries finds the room.
        put_os(&store.db, 9_000, 0).unwrap_or_else(|error| panic!("{path}: {error}"));
        store.db.compact().unwrap_or_else(|error| panic!("{path}: {error}"));
        check(&store.db, 0..written, 0);
        assert_eq!(store.db.stats().error, None, "{path}");
        check(&store.after(CrashPolicy::DropUnsynced), 0..written, 0);
    }
}

#[test]
fn reg_e01_every_path_resumes_by_itself_with_workers() {
    let watchdog = Watchdog::new(Duration::from_secs(60));
    for (path, kind) in PATHS {
        watchdog.step(path);
        let mut options = tiny();
        options.background_threads = 2;
        options.column_family.memtable_bytes = 2 << 10;
        let store = Store::with(options);
        store
            .faults
            .add(FaultRule::new(Operation::MUTATING, When::From(1), Fault::DiskFull).on(kind));
        let written = fill_until_refused(&store.db);
        store.faults.clear();
        // A worker tries again within a second; 5 s are what is promised.
        let mut tries = 0;
        while let Err(error) = put_os(&store.db, 9_000, 0) {
            assert!(matches!(error, Error::NoSpace { .. }), "{path}: {error:?}");
            tries += 1;
            assert!(tries < 500, "{path}: not within 5 s of tries");
            thread::sleep(Duration::from_millis(10));
        }
        store.db.compact().unwrap_or_else(|error| panic!("{path}: {error}"));
        // A job that failed beside all that has its next try before it, too.
        while let Err(error) = store.db.wait_idle() {
            assert!(matches!(error, Error::NoSpace { .. }), "{path}: {error:?}");
            tries += 1;
            assert!(tries < 500, "{path}: not within 5 s of tries");
            thread::sleep(Duration::from_millis(10));
        }
        check(&store.db, 0..written, 0);
        check(&store.after(CrashPolicy::KeepAll), 0..written, 0);
    }
}

/// The room itself runs out, in the middle of whatever is being written.
#[test]
fn a_disk_that_fills_up_at_any_byte_loses_nothing_and_goes_on() {
    for room in (0..24_000).step_by(517) {
        let store = Store::with(tiny());
        store.memory.set_capacity(Some(store.memory.used_bytes() + room));
        let written = fill_until_refused(&store.db);
        check(&store.db, 0..written, 0);
        let full = store.memory.crash_image(CrashPolicy::KeepAll, room);
        store.memory.set_capacity(None);
        put_os(&store.db, written, 0).unwrap();
        store.db.compact().unwrap();
        check(&store.db, 0..written + 1, 0);
        // Opening writes what the log holds: without room it refuses and changes nothing.
        let opened = Db::open_env(Arc::new(full.clone()), tiny());
        assert!(matches!(opened, Err(Error::NoSpace { .. })), "{opened:?}");
        full.set_capacity(None);
        check(&open(&FaultEnv::new(Arc::new(full)), tiny()), 0..written, 0);
    }
}
