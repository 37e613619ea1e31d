//! The store through its public handle, in memory. The model, crash and damage runners are in the
//! testkit crate; here stand single stories.

mod blobs;
mod drops;
mod families;
mod gaps;
mod memory;
mod pace;
mod ranges;
mod reading;
mod segments;
mod windows;

use std::sync::Arc;

use crate::base::error::Error;
use crate::base::file::FileId;
use crate::db::{Db, WriteBatch, verify_env};
use crate::env::{CrashPolicy, Env, Fault, FaultEnv, FaultRule, FileKind, MemEnv, Operation, When};
use crate::options::{ColumnFamilyOptions, Durability, Options, PerLevel, WriteOptions};
use crate::sstable::Codec;

/// Options under which a few hundred writes make many tables on several levels.
fn small() -> Options {
    Options {
        background_threads: 0,
        block_cache_bytes: 1 << 16,
        column_family: ColumnFamilyOptions {
            memtable_bytes: 12 << 10,
            table_bytes: 4 << 10,
            level1_bytes: 16 << 10,
            block_bytes: 256,
            codecs: PerLevel::new([Codec::None, Codec::Lz4]),
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    }
}

fn open(env: &MemEnv, options: Options) -> Db {
    Db::open_env(Arc::new(env.clone()), options).unwrap()
}

fn key(index: u32) -> Vec<u8> {
    format!("key{index:06}").into_bytes()
}

fn fill(db: &Db, range: std::ops::Range<u32>, round: u32) {
    for index in range {
        let mut batch = WriteBatch::new();
        batch.put(key(index), format!("value {index} of round {round}"));
        db.write_with(batch, &WriteOptions { durability: Durability::Os }).unwrap();
    }
}

fn value(index: u32, round: u32) -> Vec<u8> {
    format!("value {index} of round {round}").into_bytes()
}

fn live_files(env: &MemEnv) -> Vec<FileId> {
    let mut files = env.list().unwrap();
    files.sort();
    files
}

#[test]
fn what_is_written_is_read_across_memtables_levels_and_reopens() {
    let env = MemEnv::new();
    let db = open(&env, small());
    for round in 0..5 {
        fill(&db, 0..400, round);
    }
    for index in (0..400).step_by(3) {
        db.delete(key(index)).unwrap();
    }
    let check = |db: &Db| {
        for index in 0..400 {
            let expected = (index % 3 != 0).then(|| value(index, 4));
            assert_eq!(db.get(key(index)).unwrap().map(|v| v.to_vec()), expected, "{index}");
        }
        let forwards: Vec<_> = db.scan(..).map(|e| e.unwrap().0.to_vec()).collect();
        let expected: Vec<_> = (0..400).filter(|index| index % 3 != 0).map(key).collect();
        assert_eq!(forwards, expected);
        let mut backwards: Vec<_> = db.scan(..).rev().map(|e| e.unwrap().0.to_vec()).collect();
        backwards.reverse();
        assert_eq!(backwards, expected);
    };
    check(&db);
    let stats = db.stats();
    assert!(stats.counter("flushes") > 5 && stats.counter("compactions") > 1, "{stats}");
    let deeper = stats.families[0].levels[1..].iter().map(|level| level.tables).sum::<usize>();
    assert!(deeper > 0, "{stats}");
    db.close().unwrap();
    let db = open(&env, small());
    check(&db);
    db.compact().unwrap();
    check(&db);
    let entries: u64 = db.stats().families[0].levels.iter().map(|level| level.entries).sum();
    assert_eq!(entries, 266, "after a full compaction each key stands once, no tombstone");
}

#[test]
fn only_named_files_remain() {
    let env = MemEnv::new();
    let db = open(&env, small());
    for round in 0..4 {
        fill(&db, 0..300, round);
    }
    db.compact().unwrap();
    fill(&db, 0..1, 9);
    let tables: usize = db.stats().families[0].levels.iter().map(|level| level.tables).sum();
    let files = live_files(&env);
    let count = |wanted: fn(&FileId) -> bool| files.iter().filter(|file| wanted(file)).count();
    assert_eq!(count(|file| matches!(file, FileId::Table(_))), tables, "{files:?}");
    assert_eq!(count(|file| matches!(file, FileId::Wal(_))), 1, "{files:?}");
    assert_eq!(count(|file| matches!(file, FileId::Manifest(_))), 1, "{files:?}");
    assert_eq!(count(|file| matches!(file, FileId::Temporary(_))), 0, "{files:?}");
}

#[test]
fn a_scan_keeps_what_it_sees_while_tables_are_compacted_away_under_it() {
    let env = MemEnv::new();
    let db = open(&env, small());
    fill(&db, 0..300, 0);
    db.flush().unwrap();
    let mut scan = db.scan(..);
    assert_eq!(scan.next().unwrap().unwrap().1, value(0, 0));
    let snapshot = db.snapshot();
    for round in 1..5 {
        fill(&db, 0..300, round);
    }
    db.compact().unwrap();
    for index in 1..300 {
        assert_eq!(scan.next().unwrap().unwrap().1, value(index, 0));
    }
    assert!(scan.next().is_none());
    drop(scan);
    assert_eq!(snapshot.get(key(7)).unwrap().unwrap(), value(7, 0));
    assert_eq!(db.get(key(7)).unwrap().unwrap(), value(7, 4));
    drop(snapshot);
    db.compact().unwrap();
    fill(&db, 0..1, 4);
    let tables: usize = db.stats().families[0].levels.iter().map(|level| level.tables).sum();
    let on_disk = live_files(&env).iter().filter(|file| matches!(file, FileId::Table(_))).count();
    assert_eq!(on_disk, tables, "files go when the last reader has");
}

#[test]
fn a_scan_from_both_ends_gives_each_entry_once() {
    let db = open(&MemEnv::new(), small());
    fill(&db, 0..10, 0);
    let mut scan = db.scan(key(2)..key(8));
    let mut seen = Vec::new();
    for turn in 0.. {
        let item = if turn % 3 == 0 { scan.next_back() } else { scan.next() };
        match item {
            Some(entry) => seen.push(entry.unwrap().0.to_vec()),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, (2..8).map(key).collect::<Vec<_>>());
    assert!(scan.next().is_none() && scan.next_back().is_none());
}

/// cberner/redb 2.6.3, RocksDB history line 2127: a range whose end is before its start.
#[test]
fn reg_f11_an_inverted_range_is_empty() {
    let db = open(&MemEnv::new(), small());
    fill(&db, 0..10, 0);
    assert_eq!(db.scan(key(5)..key(3)).count(), 0);
    assert_eq!(db.scan(key(5)..key(5)).rev().count(), 0);
    assert_eq!(db.scan(key(5)..=key(5)).count(), 1);
    assert_eq!(db.prefix([0xff, 0xff]).count(), 0);
}

#[test]
fn families_are_apart_and_a_batch_over_them_is_one() {
    let env = MemEnv::new();
    let db = open(&env, small());
    let users = db.create_column_family("users", ColumnFamilyOptions::default()).unwrap();
    let mut batch = WriteBatch::new();
    batch.put("k", "default");
    batch.put_in(&users, "k", "users");
    db.write(batch).unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "default");
    assert_eq!(users.get("k").unwrap().unwrap(), "users");
    assert!(matches!(
        db.create_column_family("users", ColumnFamilyOptions::default()),
        Err(Error::ColumnFamilyExists { .. })
    ));
    drop(users);
    db.close().unwrap();
    let db = open(&env, small());
    assert_eq!(db.column_families(), ["default", "users"]);
    let users = db.column_family("users").unwrap();
    assert_eq!(users.get("k").unwrap().unwrap(), "users");
    db.drop_column_family("users").unwrap();
    assert!(matches!(users.put("k", "v"), Err(Error::ColumnFamilyMissing { .. })));
    assert_eq!(users.get("k").unwrap().unwrap(), "users", "a handle goes on reading");
    assert!(db.drop_column_family("default").is_err());
    drop(users);
    drop(db);
    let db = open(&env, small());
    assert_eq!(db.column_families(), ["default"]);
    assert_eq!(db.get("k").unwrap().unwrap(), "default");
}

/// fjall-rs/fjall#288, facebook/rocksdb#3145: one idle family kept every log segment for ever.
#[test]
fn reg_w20_an_idle_family_does_not_pin_the_log() {
    let env = MemEnv::new();
    let options = Options { wal_bytes_max: 64 << 10, ..small() };
    let db = open(&env, options);
    let idle = db.create_column_family("idle", small().column_family).unwrap();
    idle.put("k", "once").unwrap();
    for round in 0..40 {
        fill(&db, 0..100, round);
        let bytes = db.stats().wal_bytes;
        assert!(bytes < 96 << 10, "{bytes} bytes of log in round {round}");
    }
    assert_eq!(idle.get("k").unwrap().unwrap(), "once");
}

#[test]
fn durability_is_what_it_is_named() {
    let written = |durability: Durability| {
        let env = MemEnv::new();
        let db = open(&env, small());
        let mut batch = WriteBatch::new();
        batch.put("k", "v");
        db.write_with(batch, &WriteOptions { durability }).unwrap();
        let after = |policy: CrashPolicy| {
            let image = env.crash_image(policy, 1);
            open(&image, small()).get("k").unwrap().is_some()
        };
        (after(CrashPolicy::KeepAll), after(CrashPolicy::DropUnsynced))
    };
    assert_eq!(written(Durability::Buffered), (false, false));
    assert_eq!(written(Durability::Os), (true, false));
    assert_eq!(written(Durability::Disk), (true, true));
}

#[test]
fn sync_makes_everything_before_it_durable_over_several_segments() {
    let env = MemEnv::new();
    let db = open(&env, Options { wal_bytes_max: 1 << 30, ..small() });
    fill(&db, 0..500, 0);
    db.sync().unwrap();
    let image = env.crash_image(CrashPolicy::DropUnsynced, 1);
    assert_eq!(open(&image, small()).scan(..).count(), 500);
}

#[test]
fn a_store_is_locked_missing_foreign_or_there() {
    let env = MemEnv::new();
    let strict = Options { create_if_missing: false, ..small() };
    let missing = Db::open_env(Arc::new(env.clone()), strict.clone());
    assert!(matches!(missing, Err(Error::StoreMissing { .. })));
    let db = open(&env, small());
    let second = Db::open_env(Arc::new(env.clone()), small());
    assert!(matches!(second, Err(Error::Locked { .. })));
    db.close().unwrap();
    assert!(Db::open_env(Arc::new(env), strict).is_ok());
    let photos = MemEnv::new();
    photos.create_directory().unwrap();
    photos.add_foreign("photo.jpg");
    let foreign = Db::open_env(Arc::new(photos.clone()), small());
    assert!(matches!(foreign, Err(Error::InvalidArgument { .. })), "{foreign:?}");
    assert!(photos.files().is_empty(), "nothing was added to it");
}

/// facebook/rocksdb#919, #9762: a full disk left the store stuck until it was reopened.
#[test]
fn reg_e01_a_full_disk_is_a_state_and_not_an_end() {
    let env = MemEnv::new();
    let db = open(&env, small());
    fill(&db, 0..100, 0);
    env.set_capacity(Some(env.used_bytes() + 20));
    let mut batch = WriteBatch::new();
    batch.put("big", vec![7; 200]);
    let os = WriteOptions { durability: Durability::Os };
    let refused = db.write_with(batch.clone(), &os);
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    assert_eq!(db.get("big").unwrap(), None, "a failed write is not visible");
    assert_eq!(db.get(key(7)).unwrap().unwrap(), value(7, 0), "reads go on");
    env.set_capacity(None);
    db.write_with(batch, &os).unwrap();
    fill(&db, 100..400, 0);
    let image = env.crash_image(CrashPolicy::KeepAll, 1);
    for db in [db, open(&image, small())] {
        assert_eq!(db.get("big").unwrap().unwrap(), vec![7; 200]);
        assert_eq!(db.scan(key(0)..key(999)).count(), 400);
    }
}

/// facebook/rocksdb#12995 and the fsync study of 2020: a failed sync must not be tried again.
#[test]
fn a_failed_sync_stops_writes_until_the_store_is_reopened() {
    let memory = MemEnv::new();
    let faults = FaultEnv::new(Arc::new(memory.clone()));
    let db = Db::open_env(Arc::new(faults.clone()), small()).unwrap();
    db.put("a", "1").unwrap();
    faults.add(FaultRule::new(&[Operation::Sync], When::Nth(1), Fault::Io));
    assert!(matches!(db.put("b", "2"), Err(Error::Io { .. })));
    let after = db.put("c", "3");
    assert!(matches!(after, Err(Error::WriteStopped { .. })), "{after:?}");
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert_eq!(db.get("b").unwrap(), None, "not visible before the store is reopened");
    drop(db);
    let db = open(&memory, small());
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert_eq!(db.get("c").unwrap(), None);
}

#[test]
fn background_workers_do_the_same_work() {
    let env = MemEnv::new();
    let db = open(&env, Options { background_threads: 2, ..small() });
    for round in 0..5 {
        fill(&db, 0..400, round);
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    for index in 0..400 {
        assert_eq!(db.get(key(index)).unwrap().unwrap(), value(index, 4));
    }
    assert!(db.stats().families[0].levels[0].score < 1.0, "{}", db.stats());
    db.close().unwrap();
    assert_eq!(open(&env, small()).scan(..).count(), 400);
}

#[test]
fn many_writers_lose_nothing_and_share_groups() {
    let env = MemEnv::new();
    let db = open(&env, Options { background_threads: 2, ..small() });
    let threads: Vec<_> = (0..4u32)
        .map(|writer| {
            let db = db.clone();
            let body = move || fill(&db, writer * 1_000..writer * 1_000 + 500, writer);
            env.spawn("writer", Box::new(body)).unwrap()
        })
        .collect();
    for thread in threads {
        thread.join();
    }
    assert_eq!(db.scan(..).count(), 2_000);
    assert_eq!(db.stats().counter("write_operations"), 2_000);
}

#[test]
fn after_close_every_write_is_refused_and_reads_go_on() {
    let db = open(&MemEnv::new(), small());
    db.put("a", "1").unwrap();
    let family = db.default_column_family();
    db.close().unwrap();
    assert!(matches!(family.put("b", "2"), Err(Error::Closed)));
    assert_eq!(family.get("a").unwrap().unwrap(), "1");
}

#[test]
fn verify_finds_nothing_in_a_whole_store_and_names_a_flipped_byte() {
    let env = MemEnv::new();
    let db = open(&env, small());
    fill(&db, 0..300, 0);
    db.close().unwrap();
    let report = verify_env(Arc::new(env.clone())).unwrap();
    assert!(report.damages.is_empty() && report.entries >= 300, "{report:?}");
    let table = live_files(&env).into_iter().find(|f| matches!(f, FileId::Table(_))).unwrap();
    let mut bytes = env.file_bytes(table).unwrap();
    bytes[100] ^= 1;
    env.set_file_bytes(table, bytes);
    let before = live_files(&env);
    let report = verify_env(Arc::new(env.clone())).unwrap();
    let [Error::Corruption { file, .. }] = &report.damages[..] else { panic!("{report:?}") };
    assert!(file.contains(&table.name()), "{file}");
    assert_eq!(live_files(&env), before, "verify writes nothing");
}

/// Damage in one family's part of the log, below what another family's tables reach to.
#[test]
fn damage_is_not_hidden_by_the_tables_of_another_family() {
    let env = MemEnv::new();
    let db = open(&env, Options::default());
    let other = db.create_column_family("other", ColumnFamilyOptions::default()).unwrap();
    for index in 0..50 {
        other.put(key(index), value(index, 0)).unwrap();
    }
    fill(&db, 0..50, 0);
    db.default_column_family().flush().unwrap();
    let image = env.crash_image(CrashPolicy::KeepAll, 1);
    let log = live_files(&image).into_iter().find(|f| matches!(f, FileId::Wal(_))).unwrap();
    let mut bytes = image.file_bytes(log).unwrap();
    bytes[1_000] ^= 1;
    image.set_file_bytes(log, bytes);
    let opened = Db::open_env(Arc::new(image), Options::default());
    assert!(matches!(opened, Err(Error::Corruption { .. })), "{opened:?}");
}

/// A refused group's sequence numbers count as durable to nobody.
#[test]
fn a_torn_tail_after_a_full_disk_is_no_damage() {
    let env = MemEnv::new();
    let db = open(&env, Options::default());
    for index in 0..5 {
        db.put(key(index), value(index, 0)).unwrap();
    }
    env.set_capacity(Some(env.used_bytes()));
    let mut batch = WriteBatch::new();
    (0..9).for_each(|index| batch.put(key(index), "refused"));
    assert!(db.write(batch).is_err());
    env.set_capacity(None);
    db.sync().unwrap();
    fill(&db, 10..12, 0);
    let image = env.crash_image(CrashPolicy::KeepAll, 1);
    // The last may be there ahead of need, and empty.
    let logs = live_files(&image).into_iter().filter(|f| matches!(f, FileId::Wal(_)));
    let (log, mut bytes) = logs
        .map(|log| (log, image.file_bytes(log).unwrap()))
        .rfind(|(_, bytes)| !bytes.is_empty())
        .unwrap();
    bytes[60] ^= 1;
    image.set_file_bytes(log, bytes);
    let db = open(&image, Options::default());
    assert_eq!(db.scan(..).count(), 5, "the unsynced writes are gone, the others are there");
}

#[test]
fn without_workers_writes_go_on_once_the_disk_has_healed() {
    let memory = MemEnv::new();
    let faults = FaultEnv::new(Arc::new(memory));
    let db = Db::open_env(Arc::new(faults.clone()), small()).unwrap();
    let broken = FaultRule::new(&[Operation::Append], When::From(1), Fault::DiskFull);
    let rule = faults.add(broken.on(FileKind::Table));
    let os = WriteOptions { durability: Durability::Os };
    let mut refused = None;
    for index in 0..2_000 {
        let mut batch = WriteBatch::new();
        batch.put(key(index), value(index, 0));
        if let Err(error) = db.write_with(batch, &os) {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(Error::NoSpace { .. })), "{refused:?}");
    faults.remove_rule(rule);
    fill(&db, 5_000..5_100, 0);
}

#[test]
fn a_damaged_table_of_level0_is_told_of_and_stops_nobody() {
    let env = MemEnv::new();
    let mut options = small();
    options.column_family.level0_tables_compact = 2;
    options.column_family.level0_tables_slowdown = 3;
    options.column_family.level0_tables_stop = 4;
    let db = open(&env, options.clone());
    fill(&db, 0..20, 0);
    db.flush().unwrap();
    db.close().unwrap();
    let table = live_files(&env).into_iter().find(|f| matches!(f, FileId::Table(_))).unwrap();
    let mut bytes = env.file_bytes(table).unwrap();
    bytes[20] ^= 1;
    env.set_file_bytes(table, bytes);
    let db = open(&env, options);
    let os = WriteOptions { durability: Durability::Os };
    for index in 100..5_000 {
        let mut batch = WriteBatch::new();
        batch.put(key(index), value(index, 0));
        db.write_with(batch, &os).unwrap();
    }
    // What is newer is merged beside it: reads meet few runs, and writers no stop.
    let stats = db.stats();
    assert!(stats.error.as_ref().is_some_and(|error| error.contains("damaged")), "{stats}");
    let moved = stats.counter("compactions") + stats.counter("trivial_moves");
    assert!(moved > 5 && stats.counter("stalls") == 0, "{stats}");
    assert_eq!(db.get(key(4_999)).unwrap().unwrap(), value(4_999, 0));
}

#[test]
fn a_cursors_error_stays_until_the_next_seek() {
    let memory = MemEnv::new();
    let faults = FaultEnv::new(Arc::new(memory));
    let options = Options { block_cache_bytes: 0, ..small() };
    let db = Db::open_env(Arc::new(faults.clone()), options).unwrap();
    fill(&db, 0..300, 0);
    db.flush().unwrap();
    let mut cursor = db.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    faults.add(FaultRule::new(&[Operation::Read], When::From(1), Fault::Io));
    let failed = (0..400).find_map(|_| cursor.next().err());
    assert!(matches!(failed, Some(Error::Io { .. })), "{failed:?}");
    assert!(!cursor.valid() && cursor.next().is_err() && cursor.prev().is_err());
    faults.clear();
    cursor.seek(key(7)).unwrap();
    assert_eq!(cursor.key(), key(7));
}

#[test]
fn what_only_a_snapshot_kept_goes_once_it_is_released_at_the_bottom_too() {
    let mut options = small();
    // Tables so small that some lie within the range that is dropped.
    options.column_family.codecs = PerLevel::all(Codec::None);
    let db = open(&MemEnv::new(), options);
    fill(&db, 0..200, 0);
    let snapshot = db.snapshot();
    fill(&db, 0..200, 1);
    db.compact().unwrap();
    let entries =
        || -> u64 { db.stats().families[0].levels.iter().map(|level| level.entries).sum() };
    assert_eq!(entries(), 400);
    assert_eq!(snapshot.get(key(7)).unwrap().unwrap(), value(7, 0));
    drop(snapshot);
    db.compact_range(key(0)..key(100)).unwrap();
    assert!((200..400).contains(&entries()), "{}", entries());
    db.compact().unwrap();
    assert_eq!(entries(), 200);
    fill(&db, 200..2_000, 0);
    db.compact().unwrap();
    assert!(db.drop_tables_in(key(500)..key(1_500)).unwrap() > 0);
    let left = db.scan(..).count();
    assert!((1_000..1_900).contains(&left) && db.get(key(7)).unwrap().is_some(), "{left}");
    assert_eq!(db.drop_tables_in(key(50)..key(50)).unwrap(), 0);
}

#[test]
fn a_cursor_that_goes_has_counted_every_entry_it_handed_out() {
    let db = open(&MemEnv::new(), small());
    fill(&db, 0..150, 0);
    let counted = || db.stats().counter("cursor_entries");
    let before = counted();
    let mut cursor = db.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        cursor.next().unwrap();
    }
    cursor.seek(key(7)).unwrap();
    drop(cursor);
    assert_eq!(counted() - before, 151);
}

/// Tombstones over nothing pay for no merge: they go because scans have to step over them.
fn tombstones_go_once_they_were_scanned(scan: impl Fn(&Db) -> usize) {
    let mut options = small();
    options.column_family.memtable_bytes = 4 << 20;
    options.column_family.level1_bytes = 64 << 20;
    let db = open(&MemEnv::new(), options);
    // Else the flush would leave out what deletes nothing.
    let before = db.snapshot();
    // Where nothing is left between them, the second scan would not step over them.
    let (rows, live) = (12_000u32, 12_000 / 64 + 2);
    let mut batch = WriteBatch::new();
    for index in 0..rows {
        if index % 64 == 0 { batch.put(key(index), "there") } else { batch.delete(key(index)) }
    }
    batch.put(key(rows), "there");
    db.write(batch).unwrap();
    db.flush().unwrap();
    drop(before);
    let entries =
        || -> u64 { db.stats().families[0].levels.iter().map(|level| level.entries).sum() };
    let settle = || {
        db.put("wakes", "who works").unwrap();
        db.wait_idle().unwrap();
    };
    settle();
    assert_eq!(entries(), u64::from(rows) + 1);
    assert_eq!(scan(&db), live + 1);
    settle();
    assert_eq!(entries(), u64::from(rows) + 1, "one scan is less work than the merge");
    assert_eq!(scan(&db), live + 1);
    settle();
    assert_eq!(entries(), live as u64);
    assert_eq!(db.scan(..).count(), live + 1);
}

#[test]
fn tombstones_go_once_they_were_scanned_often_enough() {
    tombstones_go_once_they_were_scanned(|db| db.scan(..).count());
    tombstones_go_once_they_were_scanned(|db| db.scan(..).rev().count());
}

#[test]
fn the_block_cache_holds_nothing_of_tables_that_are_gone() {
    let db = open(&MemEnv::new(), small());
    fill(&db, 0..2_000, 0);
    db.flush().unwrap();
    (0..2_000).for_each(|index| assert!(db.get(key(index)).unwrap().is_some()));
    assert!(db.stats().block_cache_bytes > 0);
    (0..2_000).for_each(|index| db.delete(key(index)).unwrap());
    db.compact().unwrap();
    assert_eq!(db.stats().families[0].levels.iter().map(|level| level.tables).sum::<usize>(), 0);
    assert_eq!(db.stats().block_cache_bytes, 0);
}
