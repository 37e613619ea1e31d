//! Each fault does what it says, when it says, and is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::base::file::FileNumber;
use crate::env::{CrashPolicy, MemEnv};

fn wal(number: u64) -> FileId {
    FileId::Wal(FileNumber(number))
}

fn table(number: u64) -> FileId {
    FileId::Table(FileNumber(number))
}

fn new_env() -> (MemEnv, FaultEnv) {
    let memory = MemEnv::new();
    memory.create_directory().unwrap();
    (memory.clone(), FaultEnv::new(Arc::new(memory)))
}

/// Which of eight appends fail under a rule.
fn failures(when: When) -> Vec<u64> {
    let (_, env) = new_env();
    let file = env.create(wal(1)).unwrap();
    env.add(FaultRule::new(&[Operation::Append], when, Fault::Io));
    (1..=8).filter(|_| file.append(b"x").is_err()).collect()
}

#[test]
fn rules_fire_when_they_say() {
    assert_eq!(failures(When::Nth(3)), [3]);
    assert_eq!(failures(When::From(6)), [6, 7, 8]);
    assert_eq!(failures(When::Window { first: 2, count: 3 }), [2, 3, 4]);
    assert_eq!(failures(When::Window { first: 2, count: 0 }), []);
    assert_eq!(failures(When::Every(3)), [3, 6]);
    assert_eq!(failures(When::Every(1)).len(), 8);
    assert_eq!(failures(When::Every(0)), []);
    assert_eq!(failures(When::Nth(0)), []);
}

#[test]
fn rules_look_at_their_kind_of_file_and_operation_only() {
    let (_, env) = new_env();
    env.add(FaultRule::new(Operation::MUTATING, When::Nth(2), Fault::Io).on(FileKind::Table));
    let log = env.create(wal(1)).unwrap();
    let table_file = env.create(table(2)).unwrap(); // 1
    log.append(b"x").unwrap();
    env.open(table(2)).unwrap();
    env.sync_directory().unwrap();
    assert!(table_file.append(b"x").is_err()); // 2
    assert_eq!(env.count(Operation::Create), 2);
    assert_eq!(env.count_on(Operation::Create, FileKind::Table), 1);
    assert_eq!(env.count(Operation::Append), 2);
    assert_eq!(env.count_on(Operation::SyncDirectory, FileKind::Wal), 0);
    assert_eq!(env.count_all(), 6);

    env.clear();
    env.add(FaultRule::new(&[Operation::Rename], When::Nth(1), Fault::Io).on(FileKind::Current));
    assert!(env.rename(wal(1), FileId::Current).is_err(), "a rename is on both of its files");
    env.rename(wal(1), FileId::Current).unwrap();
}

#[test]
fn every_operation_can_fail_and_then_does_not_happen() {
    let (memory, env) = new_env();
    let writer = env.create(wal(1)).unwrap();
    writer.append(b"abc").unwrap();
    let reader = env.open(wal(1)).unwrap();
    let before = memory.operations();
    let rule = env.add(FaultRule::new(Operation::ALL, When::Every(1), Fault::Io));
    let mut failed = 0;
    let mut fails = |result: io::Result<()>| {
        let text = result.unwrap_err().to_string();
        failed += 1;
        assert!(text.contains(&format!("injected fault {failed}:")), "{text}");
    };
    fails(env.create(wal(2)).map(drop));
    fails(env.open(wal(1)).map(drop));
    fails(env.rename(wal(1), wal(2)));
    fails(env.remove(wal(1)));
    fails(env.list().map(drop));
    fails(env.list_foreign().map(drop));
    fails(env.sync_directory());
    fails(env.create_directory());
    fails(env.lock().map(drop));
    fails(env.spawn("never", Box::new(|| ())).map(drop));
    fails(writer.append(b"x"));
    fails(writer.sync());
    fails(reader.read_at(0, &mut [0; 3]).map(drop));
    fails(reader.length().map(drop));
    assert_eq!(memory.operations(), before);
    assert_eq!(env.injected(), 14);
    let seen: std::collections::BTreeSet<_> =
        env.injections().iter().map(|injection| injection.operation).collect();
    assert_eq!(seen.len(), Operation::ALL.len());
    assert!(env.remove_rule(rule) && !env.remove_rule(rule));
    assert_eq!(reader.length().unwrap(), 3);
    assert!(env.lock().is_ok());
}

#[test]
fn errors_are_of_their_kind() {
    let (_, env) = new_env();
    env.add(FaultRule::new(&[Operation::Create], When::Nth(1), Fault::DiskFull));
    env.add(FaultRule::new(&[Operation::Create], When::Nth(2), Fault::TooManyFiles));
    env.add(FaultRule::new(&[Operation::Create], When::Nth(3), Fault::Io));
    let create = || env.create(wal(1)).map(drop).unwrap_err();
    assert_eq!(create().kind(), io::ErrorKind::StorageFull);
    assert_eq!(create().raw_os_error(), Some(24));
    assert_eq!(create().kind(), io::ErrorKind::Other);
}

#[test]
fn a_short_append_writes_its_part() {
    let (memory, env) = new_env();
    let file = env.create(wal(1)).unwrap();
    let short = |bytes| Fault::ShortAppend { bytes };
    env.add(FaultRule::new(&[Operation::Append], When::Nth(1), short(2)));
    env.add(FaultRule::new(&[Operation::Append], When::Nth(2), short(99)));
    assert!(file.append(b"abc").is_err());
    assert_eq!(memory.file_bytes(wal(1)).unwrap(), b"ab");
    assert!(file.append(b"def").is_err(), "an error even where all was written");
    assert_eq!(memory.file_bytes(wal(1)).unwrap(), b"abdef");
}

#[test]
fn reads_flip_and_shorten() {
    let (memory, env) = new_env();
    memory.set_file_bytes(wal(1), vec![0; 4]);
    let file = env.open(wal(1)).unwrap();
    env.add(FaultRule::new(&[Operation::Read], When::Nth(1), Fault::FlipBit { bit: 9 }));
    env.add(FaultRule::new(&[Operation::Read], When::Nth(2), Fault::FlipBit { bit: 32 }));
    env.add(FaultRule::new(&[Operation::Read], When::Nth(3), Fault::FlipBit { bit: 5 }));
    env.add(FaultRule::new(&[Operation::Read], When::Nth(4), Fault::ShortRead { bytes: 3 }));
    let mut buffer = [0; 8];
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
    assert_eq!(buffer, [0, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
    assert_eq!(buffer[..4], [1, 0, 0, 0], "counted modulo the length of what was read");
    assert_eq!(file.read_at(4, &mut buffer).unwrap(), 0, "nothing to flip at the end");
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 3);
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
    assert_eq!(memory.file_bytes(wal(1)).unwrap(), [0; 4]);
}

#[test]
fn what_came_of_a_read_done_again_is_known() {
    let (_, env) = new_env();
    let file = env.create(wal(1)).unwrap();
    file.append(b"abcd").unwrap();
    let reader = env.open(wal(1)).unwrap();
    let read = |offset| reader.read_at(offset, &mut [0; 2]).is_ok();
    let window = When::Window { first: 1, count: 3 };
    env.add(FaultRule::new(&[Operation::Read], window, Fault::Io));
    assert!(!read(0) && !read(0), "1, and 2 when done again");
    assert!(!read(2), "3, at another place: 2 was not done again");
    // Another thread's read of that place is not the one that failed, done again.
    std::thread::scope(|scope| assert!(scope.spawn(|| read(2)).join().unwrap()));
    assert_eq!(env.repeat_of(3), None);
    assert!(read(2) && read(2));
    assert_eq!(env.repeat_of(1), Some(Repeat::Hit(2)));
    assert_eq!(env.repeat_of(2), None);
    assert_eq!(env.repeat_of(3), Some(Repeat::Succeeded));
    env.clear();
    env.add(FaultRule::new(&[Operation::Read], When::Nth(1), Fault::Io));
    assert!(!read(0));
    env.forget_failed_read();
    assert!(read(0));
    assert_eq!(env.repeat_of(4), None, "it is over");
}

#[test]
fn the_first_rule_that_fires_decides_and_all_count() {
    let (_, env) = new_env();
    let file = env.create(wal(1)).unwrap();
    env.add(FaultRule::new(&[Operation::Append], When::Nth(1), Fault::DiskFull));
    env.add(FaultRule::new(&[Operation::Append], When::Window { first: 1, count: 2 }, Fault::Io));
    let kind = || file.append(b"x").map_err(|error| error.kind());
    assert_eq!(kind(), Err(io::ErrorKind::StorageFull));
    assert_eq!(kind(), Err(io::ErrorKind::Other));
    assert_eq!(kind(), Ok(()));
    assert_eq!(env.injected(), 2);
}

#[test]
fn an_observer_lets_a_failed_sync_lose_its_pages() {
    let (memory, env) = new_env();
    let observed = Arc::new(AtomicU64::new(0));
    let (lossy, count) = (memory.clone(), Arc::clone(&observed));
    env.observe(move |injection| {
        count.fetch_add(1, Ordering::Relaxed);
        if let (Operation::Sync, Some(file)) = (injection.operation, injection.file) {
            lossy.lose_unsynced(file);
        }
    });
    let file = env.create(wal(1)).unwrap();
    file.append(b"abc").unwrap();
    env.sync_directory().unwrap();
    env.add(FaultRule::new(&[Operation::Sync], When::Nth(1), Fault::Io));
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(observed.load(Ordering::Relaxed), 1);
    let image = memory.crash_image(CrashPolicy::DropUnsynced, 0);
    assert_eq!(image.file_bytes(wal(1)).unwrap(), [0; 3], "a second fsync that says Ok lies");
}

#[test]
fn an_astray_or_stale_read_succeeds_with_other_bytes() {
    let (memory, env) = new_env();
    memory.set_file_bytes(table(1), b"an older table".to_vec());
    memory.set_file_bytes(table(2), b"0123456789abcdefgh".to_vec());
    let read = |offset: u64, length: usize, fault: Fault| {
        env.clear();
        env.add(FaultRule::new(&[Operation::Read], When::Nth(1), fault));
        let mut buffer = vec![b'?'; length];
        let file = env.open(table(2)).unwrap();
        let count = file.read_at(offset, &mut buffer).unwrap();
        buffer.truncate(count);
        String::from_utf8(buffer).unwrap()
    };
    let astray = Fault::Misdirected { bytes: 4 };
    assert_eq!(read(8, 3, astray), "456");
    assert_eq!(read(2, 3, astray), "012");
    assert_eq!(read(0, 3, astray), "456");
    assert_eq!(read(16, 9, astray), "cd", "no longer than what is there");
    assert_eq!(read(1, 3, Fault::Stale), "\0\0\0", "nothing was removed yet");
    env.add(FaultRule::new(&[Operation::Read], When::Nth(100), Fault::Stale));
    env.remove(table(1)).unwrap();
    assert_eq!(read(3, 8, Fault::Stale), "older ta");
    assert_eq!(read(10, 8, Fault::Stale), "able\0\0\0\0", "zeros behind its end");
    assert!(!astray.is_error() && Fault::ReadOnly.is_error());
}
