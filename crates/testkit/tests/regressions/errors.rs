//! Series e: errors, space, locks, and that nothing waits for ever.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use alluvium::env::{CrashPolicy, Fault, FaultEnv, FaultRule, FileKind, MemEnv};
use alluvium::env::{Operation as Io, When};
use alluvium::{Db, Durability, Error, Options, Result};
use alluvium_testkit::configs;

use crate::hook::{Gate, HookEnv};
use crate::store::*;

/// facebook/rocksdb#919, #8217, #9762, #11643: a full disk left the store stuck until it was opened
/// again. The disk is full for each kind of operation on each kind of file, while a flush or a
/// compaction does it; then there is room, and the same handle goes on.
#[test]
fn reg_e01_every_path_goes_on_when_there_is_room_again() {
    let _watchdog = watch("reg_e01");
    let places = [
        (Io::Create, FileKind::Table),
        (Io::Append, FileKind::Table),
        (Io::Sync, FileKind::Table),
        (Io::Append, FileKind::Manifest),
        (Io::Sync, FileKind::Manifest),
        (Io::Append, FileKind::Wal),
        // A compaction begins no segment.
        (Io::Create, FileKind::Wal),
    ];
    for (operation, kind) in places {
        for threads in [0, 2] {
            for compaction in [false, true] {
                if compaction && (operation, kind) == (Io::Create, FileKind::Wal) {
                    continue;
                }
                let (memory, faults) = faulty();
                let db = open(&faults, &Options { background_threads: threads, ..calm() });
                fill(&db, 0..20, 0);
                if compaction {
                    db.flush().unwrap();
                }
                let rule = failing(&[operation], kind, When::From(1), Fault::DiskFull);
                let rule = faults.add(rule);
                // A worker may have created the next segment before the disk was full.
                let rounds = if kind == FileKind::Wal { 3 } else { 1 };
                let refused = (0..rounds).find_map(|_| {
                    let done = if compaction { db.compact() } else { db.flush() };
                    done.and_then(|()| put(&db, key(0), value(0, 0), Durability::Os)).err()
                });
                let error = refused.expect("the disk is full");
                assert!(matches!(error, Error::NoSpace { .. }), "{operation:?} {kind:?}: {error}");
                assert_eq!(db.get(key(7)).unwrap().unwrap(), value(7, 0), "reads go on");
                faults.remove_rule(rule);
                // Background work tries again by itself; a flush that fails meanwhile says so.
                fill(&db, 20..40, 0);
                while db.flush().is_err() {}
                db.compact().unwrap();
                fill(&db, 40..50, 0);
                assert_eq!(all(&db), filled(0..50, 0), "{operation:?} {kind:?}");
                db.sync().unwrap();
                let found = all(&open(&power_cut(&memory), &calm()));
                assert_eq!(found, filled(0..50, 0), "{operation:?} {kind:?}");
            }
        }
    }
}

/// HarperFast/rocksdb-js#730: an error that had long lost its cause was tried again for hours, and
/// named a log that was gone. With the cause the error goes, too; and what it named was there.
#[test]
fn reg_e02_the_error_goes_with_its_cause() {
    let _watchdog = watch("reg_e02");
    for threads in [0, 2] {
        let (memory, faults) = faulty();
        let gate = Gate::default();
        let env = gate.around(faults.clone());
        let db = open(&env, &Options { background_threads: threads, ..calm() });
        fill(&db, 0..20, 0);
        assert_eq!(db.stats().error, None);
        let rule = failing(&[Io::Sync], FileKind::Table, When::From(1), Fault::DiskFull);
        let rule = faults.add(rule);
        for _ in 0..3 {
            assert!(matches!(db.flush(), Err(Error::NoSpace { .. })));
            let error = db.stats().error.expect("an operator sees it");
            assert!(error.contains(".sst"), "{error}");
        }
        if threads > 0 {
            // The flush that succeeds gets no further than to where its data can be seen.
            gate.shut(Io::Remove, FileKind::Wal);
        }
        faults.remove_rule(rule);
        while db.flush().is_err() {}
        let error = db.stats().error;
        if threads > 0 {
            gate.wait_for_somebody();
            gate.open();
        }
        assert_eq!(error, None);
        assert_eq!(files(&memory, FileKind::Table).len(), 1, "failed tables are gone");
    }
}

/// tikv/rust-rocksdb#818: with too many files open a compaction failed, and writers waited for it
/// for ever. No file can be opened or made any more: writers get the error, and go on after it.
#[test]
fn reg_e03_writers_hear_of_too_many_open_files() {
    let watchdog = watch("reg_e03");
    for threads in [0, 1, 2] {
        for operations in [&[Io::Open][..], &[Io::Create], &[Io::Open, Io::Create]] {
            watchdog.step(format!("reg_e03: {threads} threads, {operations:?}"));
            let (_, faults) = faulty();
            let mut options = small();
            options.background_threads = threads;
            options.column_family.memtable_bytes = 1 << 10;
            options.column_family.level0_tables_compact = 2;
            options.column_family.level0_tables_slowdown = 3;
            options.column_family.level0_tables_stop = 4;
            let db = open(&faults, &options);
            fill(&db, 0..10, 0);
            let rule = FaultRule::new(operations, When::From(1), Fault::TooManyFiles);
            let rule = faults.add(rule);
            let refused =
                (0..200).find_map(|round| put(&db, key(round), "x", Durability::Os).err());
            assert!(matches!(refused, Some(Error::Io { .. })), "{refused:?}");
            faults.remove_rule(rule);
            for index in 0..50 {
                while put(&db, key(index), value(index, 1), Durability::Os).is_err() {}
            }
            assert_eq!(db.scan(..key(50)).map(Result::unwrap).count(), 50);
        }
    }
}

/// Runs `body` on a store whose `nth` operation of this kind on tables panics. The panics' messages
/// are expected.
fn with_panic(threads: usize, nth: u64, operation: Io, body: fn(&Db)) -> MemEnv {
    let memory = MemEnv::new();
    let seen = AtomicU64::new(0);
    let armed = Arc::new(AtomicBool::new(false));
    let fires = Arc::clone(&armed);
    let hooked = HookEnv::new(memory.clone(), move |asked, file| {
        let table = file.is_some_and(|file| FileKind::of(file) == FileKind::Table);
        if fires.load(Ordering::Acquire) && table && asked == operation {
            let count = seen.fetch_add(1, Ordering::AcqRel) + 1;
            assert!(count != nth, "a worker panics (the test wants it)");
        }
    });
    let db = open(&hooked, &Options { background_threads: threads, ..calm() });
    fill(&db, 0..20, 0);
    db.flush().unwrap();
    fill(&db, 0..20, 1);
    db.sync().unwrap();
    armed.store(true, Ordering::Release);
    body(&db);
    armed.store(false, Ordering::Release);
    assert_eq!(all(&db), filled(0..20, 1), "reads go on");
    drop(db);
    memory
}

/// fjall-rs/fjall#157, fjall-rs/lsm-tree#310, slatedb/slatedb#783: a worker panicked, nobody heard
/// of it, and the store went on as if it worked. Writes stop, with the reason; who waits for the
/// worker is told.
#[test]
fn reg_e04_a_panic_of_a_worker_stops_writes_and_is_told() {
    let _watchdog = watch("reg_e04");
    for operation in [Io::Create, Io::Append, Io::Sync] {
        with_panic(2, 1, operation, |db| {
            let error = db.flush().expect_err("the worker panicked");
            assert!(error.to_string().contains("the test wants it"), "{error}");
            let error = put(db, "k", "v", Durability::Os).expect_err("writes are stopped");
            assert!(matches!(error, Error::WriteStopped { .. }), "{error}");
            assert!(db.stats().error.is_some_and(|error| error.contains("panicked")));
            assert!(db.compact().is_err() && db.wait_idle().is_err());
        });
    }
}

/// cberner/redb 4.3.0: a panic that was caught left pages marked as used for ever. Workers panic at
/// each step of a flush; the store is opened again, and has the files that it names, and no other.
#[test]
fn reg_e14_a_panic_leaks_no_file() {
    let _watchdog = watch("reg_e14");
    for threads in [0, 2] {
        for (operation, nth) in [(Io::Create, 1), (Io::Append, 1), (Io::Append, 2), (Io::Sync, 1)] {
            let memory = with_panic(threads, nth, operation, |db| drop(db.flush()));
            let db = open(&memory, &calm());
            assert_eq!(all(&db), filled(0..20, 1));
            db.compact().unwrap();
            db.wait_idle().unwrap();
            assert_eq!(files(&memory, FileKind::Table).len(), 1);
            assert_eq!(files(&memory, FileKind::Manifest).len(), 1);
            assert_eq!(files(&memory, FileKind::Wal).len(), 1);
        }
    }
}

/// facebook/rocksdb#2495, redis #8111, cberner/redb#299: the result of an fsync was not looked at.
/// Every sync of a run, of files and of the directory, fails in turn: the call that needed it says
/// so, with the very error.
#[test]
fn reg_e05_every_failed_sync_is_told() {
    for nth in 1.. {
        let (memory, faults) = faulty();
        let sync = [Io::Sync, Io::SyncDirectory];
        faults.add(FaultRule::new(&sync, When::Nth(nth), Fault::Io));
        let run = || -> Result<()> {
            let db = try_open(&faults, &calm())?;
            put(&db, "a", "1", Durability::Disk)?;
            put(&db, "b", "1", Durability::Os)?;
            db.sync()?;
            db.flush()?;
            put(&db, "a", "2", Durability::Disk)?;
            db.compact()?;
            let family = db.create_column_family("other", calm().column_family)?;
            family.put("k", "v")?;
            db.drop_column_family("other")?;
            put(&db, "c", "1", Durability::Disk)?;
            drop(family);
            db.close()
        };
        let outcome = run();
        let Some(injection) = faults.injections().pop() else {
            outcome.unwrap();
            assert!(nth > 15, "{nth}");
            return;
        };
        let error = outcome.expect_err("a sync failed");
        assert!(error.to_string().contains(&injection.token()), "{injection}: {error}");
        faults.clear();
        drop(open(&memory, &calm()));
    }
}

/// Not a test: the other process of `reg_e06`. Tells in its exit code whether the store was locked.
#[test]
#[ignore = "run by reg_e06 in a process of its own"]
fn other_process_of_reg_e06() {
    let Ok(path) = std::env::var("ALLUVIUM_REG_E06") else { return };
    let code = match Db::open(path, calm()) {
        Err(Error::Locked { .. }) => 42,
        Ok(_) => 43,
        Err(_) => 44,
    };
    std::process::exit(code);
}

/// facebook/rocksdb#1780, #3993, google/leveldb#126, #55: a second open in one process took the
/// lock away from the first, or nobody looked at it. Tried in this process, by another path to the
/// same directory, and in another process, before and after an open that failed.
#[test]
fn reg_e06_a_store_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let other_path = directory.path().join("link");
    let other_process = || {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--exact", "errors::other_process_of_reg_e06", "--ignored"];
        let mut command = Command::new(program);
        let status = command.args(arguments).env("ALLUVIUM_REG_E06", &path).output().unwrap();
        status.status.code().unwrap()
    };
    let db = Db::open(&path, calm()).unwrap();
    std::os::unix::fs::symlink(&path, &other_path).unwrap();
    for _ in 0..2 {
        for path in [&path, &other_path, &directory.path().join("./link/../store")] {
            let second = Db::open(path, calm());
            assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        }
        assert!(matches!(alluvium::verify(&path), Err(Error::Locked { .. })));
        assert_eq!(other_process(), 42, "the other process must find it locked");
    }
    // A snapshot keeps the store open, whatever becomes of the handle.
    let snapshot = db.snapshot();
    drop(db);
    assert_eq!(other_process(), 42);
    drop(snapshot);
    assert_eq!(other_process(), 43, "free again");
    drop(Db::open(&path, calm()).unwrap());
}

/// facebook/rocksdb#4751, HISTORY 2523: writers waited for a flush, the flush for level 0, level 0
/// for a compaction that waited for writers. The narrowest options there are, with no worker, one
/// and two, with flushes and compactions asked for meanwhile.
#[test]
fn reg_e07_the_narrowest_options_do_not_wait_in_a_circle() {
    let watchdog = watch("reg_e07");
    for threads in [0, 1, 2] {
        watchdog.step(format!("reg_e07: {threads} threads"));
        let mut options = small();
        options.background_threads = threads;
        options.wal_bytes_max = 1;
        options.column_family.memtable_bytes = 1 << 10;
        options.column_family.memtables_max = 1;
        options.column_family.level0_tables_compact = 1;
        options.column_family.level0_tables_slowdown = 1;
        options.column_family.level0_tables_stop = 2;
        let db = open(&MemEnv::new(), &options);
        thread::scope(|scope| {
            for writer in 0..3 {
                let db = &db;
                scope.spawn(move || fill(db, writer * 100..writer * 100 + 60, 0));
            }
            scope.spawn(|| (0..5).for_each(|_| db.flush().unwrap()));
            scope.spawn(|| (0..5).for_each(|_| db.compact().unwrap()));
        });
        db.wait_idle().unwrap();
        assert_eq!(all(&db).len(), 180);
    }
}

/// facebook/rocksdb#13280, #607, #1235, #8125: a flush or compaction that was asked for waited for
/// ever: on an empty store, for a family that was dropped, beside a close, after writes had been
/// stopped. All of these, under every set of options.
#[test]
fn reg_e08_what_is_asked_for_ends() {
    let watchdog = watch("reg_e08");
    for config in configs::all() {
        watchdog.step(format!("reg_e08: {}", config.name));
        let faults = FaultEnv::new(Arc::new(MemEnv::new()));
        let db = open(&faults, &config.options);
        let ask = |db: &Db| [db.flush(), db.compact(), db.wait_idle(), db.flush()];
        ask(&db).into_iter().for_each(|outcome| outcome.unwrap());
        let family = db.create_column_family("other", small().column_family).unwrap();
        for index in 0..30 {
            put(&db, key(index % 7), value(index, 0).repeat(9), Durability::Os).unwrap();
            family.put(key(index % 3), value(index, 0)).unwrap();
        }
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| ask(&db).into_iter().for_each(|outcome| outcome.unwrap()));
            }
            fill(&db, 0..30, 1);
        });
        family.put("late", "v").unwrap();
        db.drop_column_family("other").unwrap();
        assert!(matches!(family.flush(), Err(Error::ColumnFamilyMissing { .. })));
        assert!(matches!(family.compact(), Err(Error::ColumnFamilyMissing { .. })));
        ask(&db).into_iter().for_each(|outcome| outcome.unwrap());
        // Writes are stopped with something left to flush.
        fill(&db, 0..3, 2);
        let rule = faults.add(failing(&[Io::Sync], FileKind::Wal, When::From(1), Fault::Io));
        assert!(put(&db, "k", "v", Durability::Disk).is_err());
        drop(ask(&db));
        faults.remove_rule(rule);
        assert!(db.flush().is_err(), "{}: writes are stopped", config.name);
        // And a close beside others.
        let family = db.default_column_family();
        thread::scope(|scope| {
            scope.spawn(|| drop((family.flush(), family.compact(), family.flush())));
            drop(db.close());
        });
        assert!(matches!(family.flush(), Err(Error::Closed)), "{}", config.name);
    }
}

/// cberner/redb 4.2.0: the check of a file dropped data that was not yet durable, and panicked. A
/// store that is whole, torn, or damaged: verifying it changes no byte and makes no file.
#[test]
fn reg_e11_verify_writes_nothing() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    fill(&db, 0..50, 0);
    db.flush().unwrap();
    fill(&db, 20..60, 1);
    let killed = copy(&env);
    let torn = copy(&env);
    let log = newest(&torn, FileKind::Wal);
    torn.set_file_bytes(log, bytes(&torn, log)[..200].to_vec());
    let damaged = copy(&env);
    flip(&damaged, newest(&damaged, FileKind::Table), 30);
    flip(&damaged, newest(&damaged, FileKind::Manifest), 60);
    let no_current = copy(&env);
    flip(&no_current, alluvium::env::FileId::Current, 3);
    let unsynced = env.crash_image(CrashPolicy::LengthFirst, 5);
    db.close().unwrap();
    for image in [env, killed, torn, damaged, no_current, unsynced] {
        let before = everything(&image);
        let hooked = HookEnv::new(image.clone(), |operation, file| {
            assert!(!Io::MUTATING.contains(&operation), "{operation:?} {file:?}");
        });
        for _ in 0..2 {
            drop(alluvium::verify_env(Arc::new(hooked.clone())));
        }
        let after = everything(&image);
        let lock = alluvium::env::FileId::Lock;
        let without_lock = |files: &std::collections::BTreeMap<_, _>| {
            let mut files = files.clone();
            files.remove(&lock);
            files
        };
        assert!(without_lock(&before) == without_lock(&after));
    }
}

/// cberner/redb 4.3.0: an operation on a table's name failed half way, and the half could still be
/// committed. Each operation of the disk fails while a family is made or dropped: it is there or it
/// is not, the same for all who ask, now and after a restart, and the other families are untouched.
#[test]
fn reg_e13_a_family_is_made_and_dropped_whole_or_not_at_all() {
    for drops in [false, true] {
        for nth in 1.. {
            let (memory, faults) = faulty();
            let db = open(&faults, &calm());
            let twin = db.create_column_family("twin", calm().column_family).unwrap();
            let mut family = None;
            if drops {
                family = Some(db.create_column_family("other", calm().column_family).unwrap());
            }
            for one in family.iter().chain([&twin]) {
                one.put("k", "v").unwrap();
                one.flush().unwrap();
            }
            faults.add(FaultRule::new(Io::MUTATING, When::Nth(nth), Fault::Io));
            let failed = match drops {
                true => db.drop_column_family("other").is_err(),
                false => db.create_column_family("other", calm().column_family).is_err(),
            };
            faults.clear();
            let done = !failed;
            let is_there = db.column_family("other").is_ok();
            assert_eq!(is_there, drops != done, "number {nth}");
            assert_eq!(db.column_families().contains(&"other".to_owned()), is_there);
            if let Some(family) = &family {
                assert_eq!(family.put("k", "v").is_ok(), is_there);
            }
            for (policy, seed) in policies() {
                let db = open(&memory.crash_image(policy, seed), &calm());
                let other = db.column_family("other");
                assert!(failed || other.is_ok() != drops, "acknowledged: {policy:?}");
                if let Ok(other) = other {
                    assert_eq!(other.get("k").unwrap().is_some(), drops, "{policy:?}");
                }
                let twin = db.column_family("twin").unwrap();
                assert_eq!(twin.get("k").unwrap().unwrap(), "v");
            }
            // The other half of it, at the second try.
            match drops {
                true if is_there => db.drop_column_family("other").unwrap(),
                false if !is_there => {
                    drop(db.create_column_family("other", calm().column_family).unwrap());
                }
                _ => {}
            }
            assert_eq!(twin.get("k").unwrap().unwrap(), "v");
            if faults.injected() == 0 {
                assert!(nth > 2);
                break;
            }
        }
    }
}
