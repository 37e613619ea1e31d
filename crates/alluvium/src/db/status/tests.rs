//! `STATUS`: there and back, damaged, over the lives of a store, and without power over it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileId;
use crate::db::status::{decode, encode};
use crate::db::{Db, Status, status_env, verify_env};
use crate::env::{Env, Fault, FaultEnv, FaultRule, FileKind, MemEnv, Operation, When};
use crate::options::{ColumnFamilyOptions, Options};

fn options(threads: usize) -> Options {
    Options {
        background_threads: threads,
        status_interval: Some(Duration::from_millis(1)),
        column_family: ColumnFamilyOptions {
            memtable_bytes: 4 << 10,
            level0_tables_compact: 2,
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    }
}

fn env_of(env: &MemEnv) -> Arc<dyn Env> {
    Arc::new(env.clone())
}

fn read(env: &MemEnv) -> Status {
    status_env(&env_of(env)).unwrap().unwrap()
}

fn a_store() -> (MemEnv, Db) {
    let env = MemEnv::new();
    let db = Db::open_env(env_of(&env), options(0)).unwrap();
    db.create_column_family("a \"name\" \\ with spaces", ColumnFamilyOptions::default()).unwrap();
    // Not in order, which would leave nothing to merge.
    for key in (0..1_200_u32).map(|index| index * 163 % 400) {
        db.put(key.to_be_bytes(), [1; 50]).unwrap();
        db.get(key.to_be_bytes()).unwrap();
    }
    (env, db)
}

#[test]
fn every_figure_comes_back_as_it_was() {
    let (_, db) = a_store();
    let mut stats = db.stats();
    stats.error = Some("one line\nand \\another\r".to_owned());
    stats.recent_failures = vec!["first".to_owned(), String::new()];
    let mut status = Status { written_unix_ms: 5, is_open: true, stats, history: db.history() };
    assert!(status.history.len() > 3 && status.stats.counter("compactions") > 0);
    assert_eq!(decode(&encode(&mut status.clone()), "STATUS").unwrap(), status);
    status.is_open = false;
    assert!(!decode(&encode(&mut status), "STATUS").unwrap().is_open);
}

#[test]
fn every_flipped_bit_is_noticed_by_whoever_looks_and_by_nobody_else() {
    let (env, db) = a_store();
    db.close().unwrap();
    let bytes = env.file_bytes(FileId::Status).unwrap();
    for at in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        decode(&damaged, "STATUS").unwrap_err();
        decode(&bytes[..at], "STATUS").unwrap_err();
    }
    for damaged in [Vec::new(), bytes[..9].to_vec(), vec![0xff; 100]] {
        env.set_file_bytes(FileId::Status, damaged);
        let error = status_env(&env_of(&env)).unwrap_err();
        assert!(error.is_corruption(), "{error}");
        let report = verify_env(env_of(&env)).unwrap();
        assert!(report.damages.is_empty() && report.notes.len() == 1, "{report:?}");
        let db = Db::open_env(env_of(&env), options(0)).unwrap();
        assert_eq!(db.get(3_u32.to_be_bytes()).unwrap().unwrap().len(), 50);
        assert!(db.history().iter().all(|entry| entry.kind != "flush"), "nothing came from it");
    }
    env.remove(FileId::Status).unwrap();
    assert_eq!(status_env(&env_of(&env)).unwrap(), None);
    assert!(verify_env(env_of(&env)).unwrap().notes.is_empty());
}

#[test]
fn lists_are_no_longer_than_the_lines_there_are() {
    let mut status = Status::default();
    let text = String::from_utf8(encode(&mut status)).unwrap();
    let body = text.split_once('\n').unwrap().1.replace("history 0", "history 99999999999999");
    let sum = crate::base::checksum::checksum(body.as_bytes(), 0, 0);
    let bytes = format!("alluvium status 1 checksum {sum:016x}\n{body}");
    let history = decode(bytes.as_bytes(), "STATUS").unwrap().history;
    assert!(history.len() <= body.lines().count());
    let newer = bytes.replace("status 1", "status 7");
    let error = decode(newer.as_bytes(), "STATUS").unwrap_err();
    assert!(error.to_string().contains('7'), "{error}");
}

#[test]
fn the_history_goes_on_over_the_lives_of_a_store() {
    let env = MemEnv::new();
    for life in 1..4 {
        for threads in [0, 2] {
            let db = Db::open_env(env_of(&env), options(threads)).unwrap();
            db.put("key", "value").unwrap();
            db.flush().unwrap();
            db.close().unwrap();
            let status = read(&env);
            let closed = status.history.iter().filter(|entry| entry.kind == "closed").count();
            assert_eq!(closed, 2 * life - usize::from(threads == 0));
            assert!(!status.is_open && status.history.is_sorted_by_key(|entry| entry.number));
            assert!(!env.list().unwrap().contains(&FileId::StatusTemporary));
        }
    }
}

#[test]
fn an_open_store_tells_of_itself_and_a_killed_one_has_told() {
    let env = MemEnv::new();
    let db = Db::open_env(env_of(&env), options(1)).unwrap();
    db.put("key", "value").unwrap();
    db.flush().unwrap();
    let told = || {
        let status = status_env(&env_of(&env)).unwrap();
        status.filter(|one| one.history.iter().any(|entry| entry.kind == "flush"))
    };
    // Bounded by the watchdog of the tests alone: the thread will write.
    let status = loop {
        match told() {
            Some(status) => break status,
            None => env.sleep(Duration::from_millis(1)),
        }
    };
    assert!(status.is_open && status.stats.counter("flushes") == 1);
    std::mem::forget(db);
}

#[test]
fn that_it_cannot_be_written_fails_nothing() {
    for operation in [Operation::Create, Operation::Append, Operation::Rename, Operation::Remove] {
        let memory = MemEnv::new();
        memory.create_directory().unwrap();
        memory.set_file_bytes(FileId::StatusTemporary, b"left behind".to_vec());
        let env = FaultEnv::new(Arc::new(memory.clone()));
        env.add(FaultRule::new(&[operation], When::From(1), Fault::Io).on(FileKind::Status));
        let db = Db::open_env(Arc::new(env.clone()), options(0)).unwrap();
        db.put("key", "value").unwrap();
        db.flush().unwrap();
        let core = Arc::clone(db.core());
        db.close().unwrap();
        let failures = core.counters.status_failures.get();
        assert_eq!(failures, 1, "{operation:?}");
        drop(core);
        let db = Db::open_env(Arc::new(memory), options(0)).unwrap();
        assert!(db.get("key").unwrap().is_some());
    }
}
