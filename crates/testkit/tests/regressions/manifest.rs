//! Series m: the manifest, `CURRENT`, files and the directory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;

use alluvium::env::{
    CrashPolicy, Env, Fault, FileId, FileKind, FileNumber, MemEnv, Operation as Io, When,
};
use alluvium::{Db, Durability, Error, Options, WriteBatch};
use alluvium_testkit::operation::{DEFAULT_FAMILY, Operation};

use crate::hook::{Gate, HookEnv};
use crate::store::*;

/// Runs `body` on a store that crashes at each of its operations, opening included, and shows
/// each crashed world to `check`, with whether the store had been made.
fn crash_at_each(
    options: &Options,
    body: fn(&Db) -> alluvium::Result<()>,
    check: fn(&MemEnv, bool),
) {
    for operation in 0.. {
        let env = MemEnv::new();
        env.crash_at(operation);
        let mut made = false;
        if let Ok(db) = try_open(&env, options) {
            made = true;
            drop(body(&db));
        }
        check(&env, made);
        if !env.crashed() {
            assert!(operation > 30, "{operation} operations only");
            return;
        }
    }
}

/// Flushes, a compaction, a family made and dropped, and a second life: every kind of edit.
fn every_edit(db: &Db) -> alluvium::Result<()> {
    for round in 0..3 {
        for index in 0..6 {
            put(db, key(index), value(index, round).repeat(20), Durability::Os)?;
        }
        db.flush()?;
    }
    db.compact()?;
    let family = db.create_column_family("other", calm().column_family)?;
    family.put("k", "v")?;
    family.flush()?;
    db.drop_column_family("other")?;
    put(db, "last", "1", Durability::Disk)
}

/// facebook/rocksdb#10573, google/leveldb#195: `CURRENT` was renamed and the directory not synced;
/// or the rename came to disk before what it named. At every operation of first opens, reopens and
/// edits, with names that come to disk in any order, there is a store.
#[test]
fn reg_m01_the_switch_of_current_survives_every_order_of_names() {
    crash_at_each(&calm(), every_edit, |env, made| {
        for seed in 0..6 {
            let image = env.crash_image(CrashPolicy::ShuffledNames, seed);
            let options = Options { create_if_missing: !made, ..calm() };
            let db = open(&image, &options);
            drop(db);
            drop(open(&power_cut(&image), &options));
        }
    });
}

/// facebook/rocksdb#14780: a table that recovery wrote was named by the manifest before its name
/// was on disk. At each operation of a recovery the power goes: whatever names there are, the
/// tables that the manifest names are among them.
#[test]
fn reg_m03_recovered_tables_are_on_disk_before_the_manifest_names_them() {
    let logs = logs(Durability::Disk);
    crash_in_open(&on_disk(&logs.env), &logs.options, &mut |image, operation| {
        let report = alluvium::verify_env(Arc::new(image.clone())).unwrap();
        assert!(report.damages.is_empty(), "crash at {operation}: {:?}", report.damages);
    });
}

/// horaedb #394, wiredtiger #1653: a table was named by the manifest before its bytes were on disk.
/// At each operation of flushes and compactions the power goes, and only what was synced is left:
/// every byte of every table that is named must check.
#[test]
fn reg_m04_every_named_table_is_whole_at_every_moment() {
    crash_at_each(&calm(), every_edit, |env, made| {
        for policy in [CrashPolicy::DropUnsynced, CrashPolicy::ObjectPrefix] {
            let image = env.crash_image(policy, 7);
            match alluvium::verify_env(Arc::new(image)) {
                Ok(report) => assert!(report.damages.is_empty(), "{:?}", report.damages),
                Err(error) => assert!(!made, "{error}"),
            }
        }
    });
}

/// RocksDB 7.4.5 (HISTORY 1205): after a family was dropped, syncs of the directory were skipped
/// without a word. A family is dropped, then the store goes on, and crashes at every operation.
#[test]
fn reg_m05_the_directory_is_synced_after_a_drop_too() {
    let other = "other".to_owned();
    let mut options = small();
    options.wal_bytes_max = 1 << 10;
    let run = vec![
        Operation::CreateFamily { name: other.clone() },
        write(&[(DEFAULT_FAMILY, "a", 40), ("other", "a", 40)], Durability::Disk),
        Operation::Flush { family: None },
        Operation::DropFamily { name: other },
        write_one("b", 900, Durability::Disk),
        Operation::Flush { family: None },
        write_one("c", 900, Durability::Disk),
        write_one("d", 900, Durability::Disk),
    ];
    let swept = crash_everywhere("a drop, and then writes", options, run);
    assert!(swept.crash_points > 40, "{swept:?}");
}

/// facebook/rocksdb#6316: the disk was full in the middle of a manifest record, and later records
/// were appended behind the half one, where nobody read them. An edit ends after each number of
/// bytes; then there is room again, and the store goes on.
#[test]
fn reg_m06_edits_behind_a_half_written_one_are_not_lost() {
    for written in (0..90).step_by(3) {
        let (memory, faults) = faulty();
        let db = open(&faults, &calm());
        fill(&db, 0..10, 0);
        let short = Fault::ShortAppend { bytes: written };
        faults.add(failing(&[Io::Append], FileKind::Manifest, When::Nth(1), short));
        assert!(db.flush().is_err());
        faults.clear();
        fill(&db, 10..20, 0);
        db.flush().unwrap();
        fill(&db, 20..30, 0);
        db.flush().unwrap();
        db.compact().unwrap();
        for image in [copy(&memory), power_cut(&memory)] {
            assert_eq!(all(&open(&image, &calm())), filled(0..30, 0), "{written} bytes");
        }
    }
}

/// facebook/rocksdb#4990, #5379, #6949: the sync of an edit failed, the files that it added were
/// deleted, and then the edit had survived after all. A flush and a compaction fail so; the edit is
/// there after a kill and gone after a power cut, and all data is there in both.
#[test]
fn reg_m07_a_failed_edit_may_survive_and_may_not() {
    for what in ["flush", "compaction"] {
        let (memory, faults) = faulty();
        let db = open(&faults, &calm());
        for round in 0..3 {
            fill(&db, 0..20, round);
            if round < 2 {
                db.flush().unwrap();
            }
        }
        db.sync().unwrap();
        faults.add(failing(&[Io::Sync], FileKind::Manifest, When::Nth(1), Fault::Io));
        let failed = if what == "flush" { db.flush() } else { db.compact() };
        assert!(failed.is_err(), "{what}");
        let check = |moment: &str| {
            for (policy, seed) in policies() {
                let found = all(&open(&memory.crash_image(policy, seed), &calm()));
                assert_eq!(found, filled(0..20, 2), "{what}, {moment}: {policy:?}");
            }
        };
        check("right after");
        assert_eq!(all(&db), filled(0..20, 2));
        db.flush().unwrap();
        db.compact().unwrap();
        check("when it had succeeded");
    }
}

/// facebook/rocksdb#12865: the error of writing a new manifest was lost; the bad new one and the
/// good old one were both deleted. Each operation of a reopening fails, on manifest, `CURRENT`'s
/// temporary file and the directory: the store opens afterwards, with everything.
#[test]
fn reg_m08_a_new_manifest_that_fails_leaves_the_old_one() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    fill(&db, 0..20, 0);
    db.flush().unwrap();
    fill(&db, 20..30, 0);
    db.sync().unwrap();
    let world = on_disk(&env);
    let mutating = Io::MUTATING;
    let mut failed = 0;
    for nth in 1.. {
        let memory = copy(&world);
        let faults = alluvium::env::FaultEnv::new(Arc::new(memory.clone()));
        faults.add(alluvium::env::FaultRule::new(mutating, When::Nth(nth), Fault::Io));
        let opened = try_open(&faults, &calm());
        failed += u32::from(opened.is_err());
        drop(opened);
        if faults.injected() == 0 {
            break;
        }
        for image in [copy(&memory), power_cut(&memory)] {
            assert_eq!(all(&open(&image, &calm())), filled(0..30, 0), "operation {nth}");
        }
    }
    assert!(failed > 8, "{failed}");
}

/// facebook/rocksdb#6426: a new manifest was given a number in use and truncated the live one.
/// Every file that a store makes, over lives, failures and a restart with strange files about, is
/// made under a number that never was before.
#[test]
fn reg_m09_no_file_number_is_given_out_twice() {
    let memory = MemEnv::new();
    let made: Arc<Mutex<Vec<FileId>>> = Arc::default();
    for life in 0..4u64 {
        let seen = Arc::clone(&made);
        let hooked = HookEnv::new(memory.clone(), move |operation, file| {
            if operation == Io::Create {
                seen.lock().unwrap().extend(file);
            }
        });
        let faults = alluvium::env::FaultEnv::new(Arc::new(hooked));
        let db = open(&faults, &calm());
        fill(&db, 0..10, life as usize);
        // The operations fail below the hook, so that a failed creation counts, too.
        faults.add(failing(&[Io::Sync], FileKind::Table, When::Nth(1), Fault::Io));
        assert!(db.flush().is_err());
        faults.add(failing(&[Io::Append], FileKind::Manifest, When::Nth(1), Fault::Io));
        assert!(db.flush().is_err());
        db.flush().unwrap();
        db.compact().unwrap();
        drop(db);
        // What somebody left lying about.
        let stray = FileNumber(100 * (life + 1));
        for file in [FileId::Table(stray), FileId::Manifest(stray), FileId::Temporary(stray)] {
            memory.set_file_bytes(file, b"stray".to_vec());
        }
        made.lock().unwrap().push(FileId::Table(stray));
    }
    let made = made.lock().unwrap();
    let numbers: BTreeSet<_> = made.iter().map(|file| file.number()).collect();
    assert!(made.len() > 30);
    assert_eq!(numbers.len(), made.len(), "{made:?}");
}

/// facebook/rocksdb#6430: the manifest was not written any more, and nobody noticed for two weeks.
/// An operator can ask at any time whether the manifest on disk holds the state of the open store.
#[test]
fn reg_m11_an_operator_can_ask_whether_the_manifest_holds_the_state() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    for round in 0..3 {
        fill(&db, 0..10, round);
        db.flush().unwrap();
        assert!(db.check_manifest().unwrap() > 48);
    }
    let manifest = newest(&env, FileKind::Manifest);
    let whole = bytes(&env, manifest);
    // The last edit never came to the file.
    env.set_file_bytes(manifest, whole[..whole.len() - 60].to_vec());
    let error = db.check_manifest().unwrap_err();
    assert!(is_corruption_of(&error, manifest), "{error}");
}

/// facebook/rocksdb#4645, #14897: a compaction dropped every key, and its edit named a table that
/// did not exist. Everything is deleted and compacted away; then the store opens again.
#[test]
fn reg_m12_a_compaction_that_keeps_nothing_makes_no_table() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    fill(&db, 0..50, 0);
    db.flush().unwrap();
    db.compact().unwrap();
    (0..50).for_each(|index| db.delete(key(index)).unwrap());
    db.compact().unwrap();
    db.wait_idle().unwrap();
    assert!(files(&env, FileKind::Table).is_empty());
    let levels = &db.stats().families[0].levels;
    assert!(levels.iter().all(|level| level.tables == 0), "{levels:?}");
    for image in [copy(&env), power_cut(&env)] {
        assert!(all(&open(&image, &calm())).is_empty());
    }
}

/// facebook/rocksdb#782: a table was removed that the manifest still named. Compactions, scans that
/// hold what they see, and the removal of files, all at once: every table that is read is there,
/// and in the end the files are those that are named.
#[test]
fn reg_m13_no_table_goes_while_it_is_named_or_read() {
    let _watchdog = watch("reg_m13");
    let env = MemEnv::new();
    let mut options = small();
    options.background_threads = 2;
    options.open_tables_max = 8;
    options.column_family.level0_tables_compact = 2;
    let db = open(&env, &options);
    fill(&db, 0..200, 0);
    thread::scope(|scope| {
        scope.spawn(|| (1..8).for_each(|round| fill(&db, 0..200, round)));
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..15 {
                    assert_eq!(db.scan(..).map(Result::unwrap).count(), 200);
                    let snapshot = db.snapshot();
                    assert_eq!(snapshot.scan(..).rev().map(Result::unwrap).count(), 200);
                }
            });
        }
        scope.spawn(|| (0..5).for_each(|_| db.compact().unwrap()));
    });
    db.compact().unwrap();
    assert_eq!(all(&db), filled(0..200, 7));
    db.wait_idle().unwrap();
    let named: usize = db.stats().families[0].levels.iter().map(|level| level.tables).sum();
    assert_eq!(files(&env, FileKind::Table).len(), named);
    db.close().unwrap();
    let report = alluvium::verify_env(Arc::new(env)).unwrap();
    assert!(report.damages.is_empty(), "{:?}", report.damages);
}

/// facebook/rocksdb#7369, #11955: two purges met over one file, and the second failed, or one was
/// deleted that was in use again. A file that cannot be removed fails nobody; it goes at the next
/// open, and not before.
#[test]
fn reg_m14_a_file_that_cannot_be_removed_fails_nobody() {
    let (memory, faults) = faulty();
    let db = open(&faults, &calm());
    faults.add(alluvium::env::FaultRule::new(&[Io::Remove], When::From(1), Fault::Io));
    for round in 0..4 {
        fill(&db, 0..20, round);
        db.flush().unwrap();
        db.compact().unwrap();
    }
    assert!(faults.injected() > 3);
    let left = files(&memory, FileKind::Table).len();
    assert!(left > 1);
    db.close().unwrap();
    faults.clear();
    let db = open(&faults, &calm());
    assert_eq!(all(&db), filled(0..20, 3));
    assert_eq!(files(&memory, FileKind::Table).len(), 1);
    assert_eq!(files(&memory, FileKind::Wal).len(), 1);
}

/// slatedb/slatedb#604: the garbage collector deleted what a running compaction was reading. A
/// compaction stops at its first read; meanwhile other work ends and files are purged; it goes on.
#[test]
fn reg_m15_a_running_compaction_keeps_its_inputs() {
    let _watchdog = watch("reg_m15");
    let memory = MemEnv::new();
    let gate = Gate::default();
    let mut options = calm();
    options.background_threads = 2;
    options.block_cache_bytes = 0;
    let db = open(&gate.around(memory.clone()), &options);
    for round in 0..3 {
        fill(&db, 0..50, round);
        db.flush().unwrap();
    }
    let inputs = files(&memory, FileKind::Table);
    let other = db.create_column_family("other", options.column_family.clone()).unwrap();
    other.put("k", "v").unwrap();
    other.flush().unwrap();
    gate.shut_for(Io::Read, inputs[0]);
    thread::scope(|scope| {
        let compaction = scope.spawn(|| db.default_column_family().compact());
        gate.wait_for_somebody();
        // More tables, and some to purge: those of a family that goes.
        fill(&db, 50..60, 2);
        db.default_column_family().flush().unwrap();
        db.drop_column_family("other").unwrap();
        drop(other);
        other_family_flushes(&db);
        let left = files(&memory, FileKind::Table);
        assert!(inputs.iter().all(|file| left.contains(file)), "{inputs:?}, {left:?}");
        gate.open();
        compaction.join().unwrap().unwrap();
    });
    assert_eq!(all(&db), filled(0..60, 2));
}

/// Gives the workers something to do, so that what is to be purged is purged.
fn other_family_flushes(db: &Db) {
    let family = db.create_column_family("third", calm().column_family).unwrap();
    for _ in 0..3 {
        family.put("k", "v").unwrap();
        family.flush().unwrap();
    }
}

/// facebook/rocksdb#7405, yugabyte #20852: cached blocks were keyed by something that a later file
/// had again, so that a read got a block of another file. Families that share one cache, with
/// tables alike to the byte in their sizes, made and dropped over and over.
#[test]
fn reg_m17_a_cached_block_is_never_another_files() {
    let env = MemEnv::new();
    let mut options = calm();
    options.block_cache_bytes = 8 << 20;
    let db = open(&env, &options);
    for round in 0..10 {
        let name = format!("family{}", round % 3);
        drop(db.drop_column_family(&name));
        let family = db.create_column_family(&name, options.column_family.clone()).unwrap();
        let text = |index: usize| format!("{round:03} {index:03}").repeat(8);
        for index in 0..40 {
            family.put(key(index), text(index)).unwrap();
        }
        family.flush().unwrap();
        for index in 0..40 {
            assert_eq!(family.get(key(index)).unwrap().unwrap(), text(index), "round {round}");
        }
        if round % 4 == 3 {
            db.compact().unwrap();
            assert_eq!(contents(&family).len(), 40);
            assert_eq!(family.get(key(7)).unwrap().unwrap(), text(7));
        }
    }
}

/// RocksDB HISTORY 1774: a copy of a store still wrote to the log directory of the original. A
/// directory is copied; both stores are used, and neither sees the other.
#[test]
fn reg_m18_a_copied_store_is_a_store_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let db = Db::open(&first, calm()).unwrap();
    db.put("both", "1").unwrap();
    db.close().unwrap();
    std::fs::create_dir(&second).unwrap();
    for entry in std::fs::read_dir(&first).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), second.join(entry.file_name())).unwrap();
    }
    let one = Db::open(&first, calm()).unwrap();
    let two = Db::open(&second, calm()).unwrap();
    one.put("first", "1").unwrap();
    two.put("second", "1").unwrap();
    one.flush().unwrap();
    two.flush().unwrap();
    one.close().unwrap();
    two.close().unwrap();
    for (path, own) in [(first, "first"), (second, "second")] {
        let db = Db::open(path, calm()).unwrap();
        let keys: Vec<Vec<u8>> = all(&db).into_keys().collect();
        assert_eq!(keys, [b"both".to_vec(), own.as_bytes().to_vec()]);
    }
}

/// RocksDB HISTORY 108: a family with an empty name was made and never written down, and its data
/// was gone. A name is refused, or it is there after a power cut with all its data.
#[test]
fn reg_m19_a_family_name_is_refused_or_kept() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    let long = "x".repeat(256);
    let kept = ["a", " ", "a b", "../../etc/passwd", "CURRENT", "Größe", "日本", "\u{200b}", &long];
    let too_long = "x".repeat(257);
    for name in ["", "\0", "a\nb", "\u{7f}", &too_long] {
        let refused = db.create_column_family(name, calm().column_family);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{name:?}");
    }
    for name in kept {
        let family = db.create_column_family(name, calm().column_family).unwrap();
        family.put("name", name).unwrap();
    }
    let db = open(&power_cut(&env), &calm());
    assert_eq!(db.column_families().len(), kept.len() + 1);
    for name in kept {
        assert_eq!(db.column_family(name).unwrap().get("name").unwrap().unwrap(), name);
    }
}

/// sled #1527, #1533: a half-written temporary file kept the store from opening. One of each kind
/// is left behind, empty and half-written; the store opens, and they go.
#[test]
fn reg_m20_files_left_behind_do_not_block_the_way() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    fill(&db, 0..10, 0);
    db.close().unwrap();
    for content in [Vec::new(), b"half".to_vec(), vec![0; 4096]] {
        for number in [1, 5, 6, 7, 40] {
            let number = FileNumber(number);
            for file in [FileId::Temporary(number), FileId::Table(number)] {
                if !env.files().contains(&file) {
                    env.set_file_bytes(file, content.clone());
                }
            }
        }
        env.set_file_bytes(FileId::Manifest(FileNumber(41)), content);
        let db = open(&env, &calm());
        assert_eq!(all(&db), filled(0..10, 0));
        let mut batch = WriteBatch::new();
        batch.put(key(0), value(0, 0));
        db.write(batch).unwrap();
        db.compact().unwrap();
        db.wait_idle().unwrap();
        assert_eq!(files(&env, FileKind::Temporary), []);
        assert_eq!(files(&env, FileKind::Manifest).len(), 1);
        assert_eq!(files(&env, FileKind::Table).len(), 1);
        assert!(Env::list(&env).unwrap().contains(&FileId::Current));
        db.close().unwrap();
    }
}
