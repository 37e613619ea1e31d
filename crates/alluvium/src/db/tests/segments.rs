//! Log segments that are there ahead of need: writers use them, nothing is lost by them, and none
//! is left behind.

use super::*;
use crate::base::file::FileNumber;
use crate::db::repair_env;
use crate::db::wal_set::{Ahead, WalSet};
use crate::metrics::Counters;

fn logs(env: &MemEnv) -> Vec<FileId> {
    let mut files = live_files(env);
    files.retain(|file| matches!(file, FileId::Wal(_)));
    files
}

fn one_worker() -> Options {
    Options { background_threads: 1, ..small() }
}

/// Waits until a worker has created the next segment.
fn wait_for_segment(env: &MemEnv) {
    for _ in 0..10_000 {
        if logs(env).len() == 2 {
            return;
        }
        env.sleep(std::time::Duration::from_millis(1));
    }
    panic!("no segment is there ahead of need: {:?}", logs(env));
}

#[test]
fn a_writer_goes_on_in_a_segment_that_is_there_already() {
    let env = MemEnv::new();
    let faults = Arc::new(FaultEnv::new(Arc::new(env.clone())));
    let db = Db::open_env(faults.clone(), one_worker()).unwrap();
    fill(&db, 0..10, 0);
    wait_for_segment(&env);
    let ahead = logs(&env)[1];
    // From here on nobody can create a segment.
    let rule = FaultRule::new(&[Operation::Create], When::From(1), Fault::Io);
    let rule = faults.add(rule.on(FileKind::Wal));
    db.flush().unwrap();
    fill(&db, 10..20, 0);
    assert_eq!(db.core().wal.lock().number(), number_of(ahead));
    // A worker could not create the one behind it, and said so; the next flush needs it.
    assert!(matches!(db.flush(), Err(Error::Io { .. })));
    let noted = db.stats().recent_failures;
    assert!(noted.iter().any(|text| text.contains("ahead of need")), "{noted:?}");
    faults.remove_rule(rule);
    db.flush().unwrap();
    for index in 0..20 {
        assert_eq!(db.get(key(index)).unwrap().as_deref(), Some(&value(index, 0)[..]));
    }
    db.close().unwrap();
    assert_eq!(logs(&env).len(), 1, "only what was begun is left");
    assert!(verify_env(Arc::new(env.clone())).unwrap().damages.is_empty());
}

fn number_of(file: FileId) -> FileNumber {
    match file {
        FileId::Wal(number) => number,
        other => panic!("{other:?} is no segment"),
    }
}

#[test]
fn what_is_there_ahead_of_need_is_nothing_to_recovery() {
    for policy in [CrashPolicy::KeepAll, CrashPolicy::DropUnsynced] {
        let env = MemEnv::new();
        let db = open(&env, one_worker());
        wait_for_segment(&env);
        db.flush().unwrap();
        fill(&db, 0..10, 0);
        db.flush().unwrap();
        wait_for_segment(&env);
        fill(&db, 10..20, 0);
        env.sync_directory().unwrap();
        db.sync().unwrap();
        let image = env.crash_image(policy, 1);
        assert_eq!(logs(&image).len(), 2, "{policy:?}");
        let report = verify_env(Arc::new(image.clone())).unwrap();
        assert!(report.damages.is_empty() && report.notes.is_empty(), "{report:?}");
        let opened = open(&image, small());
        for index in 0..20 {
            assert_eq!(opened.get(key(index)).unwrap().as_deref(), Some(&value(index, 0)[..]));
        }
        opened.close().unwrap();
        assert_eq!(logs(&image).len(), 1, "{policy:?}");
    }
}

#[test]
fn a_torn_tail_before_an_empty_segment_is_no_loss_to_a_repair() {
    let env = MemEnv::new();
    let db = open(&env, one_worker());
    wait_for_segment(&env);
    fill(&db, 0..10, 0);
    let image = env.crash_image(CrashPolicy::KeepAll, 1);
    let log = logs(&image)[0];
    let bytes = image.file_bytes(log).unwrap();
    image.set_file_bytes(log, bytes[..bytes.len() - 3].to_vec());
    let repaired = MemEnv::new();
    let report = repair_env(Arc::new(image), Arc::new(repaired.clone())).unwrap();
    assert!(report.log_losses.is_empty(), "{report}");
    let db = open(&repaired, small());
    assert_eq!(db.get(key(8)).unwrap().as_deref(), Some(&value(8, 0)[..]));
    assert_eq!(db.get(key(9)).unwrap(), None, "its write was torn");
}

#[test]
fn a_segment_that_comes_too_late_is_given_back() {
    let env: Arc<dyn Env> = Arc::new(MemEnv::new());
    env.create_directory().unwrap();
    let counters = Arc::new(Counters::default());
    let first = FileNumber(1);
    let mut wal = WalSet::begin(Arc::clone(&env), counters, first, crate::base::key::SeqNo::ZERO);
    let wal = wal.as_mut().unwrap();
    let create = |number| Ahead::create(env.as_ref(), FileNumber(number)).unwrap();
    let slow = create(2);
    wal.rotate(|| FileNumber(3)).unwrap();
    assert!(wal.put_ahead(slow).is_some(), "segments are numbered in the order of the log");
    assert!(wal.put_ahead(create(4)).is_none());
    assert!(wal.put_ahead(create(5)).is_some(), "one is enough");
    wal.rotate(|| panic!("there is one")).unwrap();
    assert_eq!(wal.number(), FileNumber(4));
    wal.close().unwrap();
    assert!(wal.put_ahead(create(6)).is_some(), "nothing comes behind the end");
}

#[test]
fn a_large_write_that_the_log_refuses_is_told_and_takes_none_with_it() {
    for nth in 1..=2 {
        let env = MemEnv::new();
        let faults = Arc::new(FaultEnv::new(Arc::new(env.clone())));
        let mut options = Options { durability: Durability::Buffered, ..small() };
        options.column_family.memtable_bytes = 1 << 20;
        let db = Db::open_env(faults.clone(), options).unwrap();
        let large = vec![7; 50_000];
        db.put("before", &large).unwrap();
        db.put("before, too", &large).unwrap();
        // Of the head of its frame, or of the value.
        let rule = FaultRule::new(&[Operation::Append], When::Nth(nth), Fault::DiskFull);
        faults.add(rule.on(FileKind::Wal));
        assert!(matches!(db.put("refused", &large), Err(Error::NoSpace { .. })), "{nth}");
        assert_eq!(db.get("refused").unwrap(), None);
        db.put("after", &large).unwrap();
        db.sync().unwrap();
        drop(db);
        let db = open(&env.crash_image(CrashPolicy::DropUnsynced, 0), small());
        assert_eq!(db.get("refused").unwrap(), None);
        for key in ["before", "before, too", "after"] {
            assert_eq!(db.get(key).unwrap().as_deref(), Some(&large[..]), "{nth} {key}");
        }
    }
}
