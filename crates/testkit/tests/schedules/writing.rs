//! Writers among themselves, and with readers: groups, visibility, waiting, failures.

use std::sync::Arc;

use alluvium::env::{CrashPolicy, Fault, FaultEnv, FaultRule, FileKind, MemEnv, Operation, When};
use alluvium::{Db, Durability};

use crate::stage::{
    Entry, assert_whole, batch, check_after_crash, draw, explore, go, open, options, pressed,
    settle, value, with,
};

const PAIR: &[&str] = &["pair:a", "pair:b"];

/// Two batches, each over the pair and a key of its own; what was acknowledged.
fn write_pairs(db: &Db, writer: usize) -> Vec<Entry> {
    let mut kept = Vec::new();
    for (round, durability) in [Durability::Disk, Durability::Os].into_iter().enumerate() {
        let (own, text) = (format!("own:{writer}"), format!("{writer}.{round}"));
        let keys = [PAIR[0], own.as_str(), PAIR[1]];
        if db.write_with(batch(&keys, &text), &with(durability)).is_err() {
            break;
        }
        assert_eq!(value(db, &own), Some(text.clone()), "a write is not seen by its writer");
        if durability == Durability::Disk {
            kept.push((own, text));
        }
    }
    kept
}

fn read_pairs(db: &Db) {
    let mut last = 0;
    for _ in 0..3 {
        assert_whole(db, PAIR);
        let snapshot = db.snapshot();
        assert!(snapshot.sequence_number() >= last, "the visible number fell");
        last = snapshot.sequence_number();
        let [a, b] = ["pair:a", "pair:b"].map(|key| snapshot.get(key).expect("a read"));
        assert_eq!(a, b, "half of a batch");
    }
}

#[test]
fn group_commit() {
    explore("group_commit", || {
        let env = MemEnv::new();
        let db = open(&env, options(1));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let db = db.clone();
                go(move || write_pairs(&db, writer))
            })
            .collect();
        let readers = {
            let db = db.clone();
            go(move || read_pairs(&db))
        };
        for writer in writers {
            assert_eq!(writer.join().unwrap().len(), 1);
        }
        readers.join().unwrap();
        let kept: Vec<Entry> = (0..3).map(|w| (format!("own:{w}"), format!("{w}.1"))).collect();
        db.sync().unwrap();
        check_after_crash(&env, CrashPolicy::DropUnsynced, &kept, &[PAIR]);
        db.close().unwrap();
    });
}

#[test]
fn writers_that_wait_for_background_work() {
    explore("writers_that_wait_for_background_work", || {
        let env = MemEnv::new();
        let db = open(&env, pressed(1 + draw(2) as usize));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let db = db.clone();
                go(move || {
                    for round in 0..3 {
                        db.write(batch(&[&format!("{writer}.{round}")], "v")).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        settle(&db, &env);
        assert_eq!(db.scan(..).count(), 9);
        db.close().unwrap();
    });
}

/// facebook/rocksdb#3096: followers of a leader whose write failed were told that all was well.
#[test]
fn a_sync_that_fails() {
    explore("a_sync_that_fails", || {
        let env = MemEnv::new();
        let faulty = FaultEnv::new(Arc::new(env.clone()));
        let rule = FaultRule::new(&[Operation::Sync], When::Nth(2 + draw(4)), Fault::Io);
        let db = Db::open_env(Arc::new(faulty.clone()), options(1)).unwrap();
        faulty.add(rule.on(FileKind::Wal));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let db = db.clone();
                go(move || {
                    let mut kept = Vec::new();
                    for round in 0..2 {
                        let entry = (format!("{writer}.{round}"), "v".to_owned());
                        let written = db.write(batch(&[&entry.0], &entry.1));
                        let seen = value(&db, &entry.0).is_some();
                        assert_eq!(seen, written.is_ok(), "{entry:?} was {written:?}");
                        kept.extend(written.is_ok().then_some(entry));
                    }
                    kept
                })
            })
            .collect();
        let kept: Vec<Entry> = writers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        check_after_crash(&env, CrashPolicy::DropUnsynced, &kept, &[]);
        drop(db);
    });
}

#[test]
fn a_crash_amid_writes() {
    explore("a_crash_amid_writes", || {
        let env = MemEnv::new();
        let db = open(&env, options(1));
        env.crash_at(env.operations() + draw(40));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let db = db.clone();
                go(move || write_until_crash(&db, writer))
            })
            .collect();
        let kept: Vec<Entry> = writers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        drop(db);
        let policies = [
            CrashPolicy::DropUnsynced,
            CrashPolicy::KeepAll,
            CrashPolicy::ObjectPrefix,
            CrashPolicy::ShuffledNames,
            CrashPolicy::TornSectors,
        ];
        let policy = policies[draw(policies.len() as u64) as usize];
        check_after_crash(&env, policy, &kept, &[PAIR]);
    });
}

/// As [`write_pairs`], but reads may fail too.
fn write_until_crash(db: &Db, writer: usize) -> Vec<Entry> {
    let mut kept = Vec::new();
    for round in 0..3 {
        let (own, text) = (format!("own:{writer}.{round}"), format!("{writer}.{round}"));
        let keys = [PAIR[0], own.as_str(), PAIR[1]];
        if db.write_with(batch(&keys, &text), &with(Durability::Disk)).is_ok() {
            kept.push((own, text));
        }
    }
    kept
}
