//! Families that are dropped and stores that are closed while they are used.

use alluvium::env::{CrashPolicy, MemEnv};
use alluvium::{ColumnFamilyOptions, Db, Error, WriteBatch};

use crate::stage::{
    Entry, batch, check_after_crash, everything, explore, go, open, options, settle, unless_closed,
};

/// The answer of a call about a family that may have been dropped.
fn unless_dropped<T>(answer: alluvium::Result<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(Error::ColumnFamilyMissing { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_family_that_is_dropped() {
    explore("a_family_that_is_dropped", || {
        let env = MemEnv::new();
        let db = open(&env, options(1));
        let side = db.create_column_family("side", small()).unwrap();
        let writer = {
            let (db, side) = (db.clone(), side.clone());
            go(move || {
                let mut kept: Vec<Entry> = Vec::new();
                for round in 0..3 {
                    let key = format!("k{round}");
                    let mut batch = WriteBatch::new();
                    batch.put(&key, "v");
                    batch.put_in(&side, &key, "v");
                    if unless_dropped(db.write(batch)).is_some() {
                        kept.push((key, "v".to_owned()));
                    }
                }
                kept
            })
        };
        let flush = {
            let (db, side) = (db.clone(), side.clone());
            go(move || {
                unless_dropped(side.flush());
                db.flush().expect("a family that is dropped is no failure of the others");
                unless_dropped(side.compact());
            })
        };
        let dropper = {
            let db = db.clone();
            go(move || {
                db.drop_column_family("side").unwrap();
                let again = db.create_column_family("side", small()).unwrap();
                assert_eq!(everything(&again), []);
            })
        };
        let kept = writer.join().unwrap();
        flush.join().unwrap();
        dropper.join().unwrap();
        drop(side);
        settle(&db, &env);
        assert_eq!(everything(&db.default_column_family()), kept);
        assert_eq!(db.column_families(), ["default", "side"]);
        db.check_manifest().unwrap();
        check_after_crash(&env, CrashPolicy::DropUnsynced, &kept, &[]);
        db.close().unwrap();
    });
}

fn small() -> ColumnFamilyOptions {
    options(0).column_family
}

#[test]
fn a_store_that_is_closed() {
    explore("a_store_that_is_closed", || {
        let env = MemEnv::new();
        let db = open(&env, options(1));
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let db = db.clone();
                go(move || write_until_closed(&db, writer))
            })
            .collect();
        let chores: Vec<_> = [flush, compact, make_family]
            .map(|chore| {
                let db = db.clone();
                go(move || chore(&db))
            })
            .into();
        db.close().unwrap();
        let kept: Vec<Entry> = writers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        for chore in chores {
            chore.join().unwrap();
        }
        check_after_crash(&env, CrashPolicy::KeepAll, &kept, &[]);
        check_after_crash(&env, CrashPolicy::DropUnsynced, &kept, &[]);
    });
}

fn write_until_closed(db: &Db, writer: usize) -> Vec<Entry> {
    let mut kept = Vec::new();
    for round in 0..2 {
        let entry = (format!("{writer}.{round}"), "v".to_owned());
        if unless_closed(db.write(batch(&[&entry.0], &entry.1))).is_some() {
            kept.push(entry);
        }
    }
    kept
}

fn flush(db: &Db) {
    unless_closed(db.flush());
}

fn compact(db: &Db) {
    unless_closed(db.compact());
}

fn make_family(db: &Db) {
    unless_closed(db.create_column_family("side", small()));
    unless_closed(db.sync());
}
