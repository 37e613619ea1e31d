//! Flushes and compactions under writers, snapshots and cursors.

use alluvium::Error;
use alluvium::env::{CrashPolicy, MemEnv};

use crate::stage::{
    Entry, assert_whole, batch, check_after_crash, everything, explore, go, open, options, settle,
    value,
};

const KEYS: &[&str] = &["k0", "k1", "k2"];

#[test]
fn flush_and_compact() {
    explore("flush_and_compact", || {
        let env = MemEnv::new();
        let db = open(&env, options(2));
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let db = db.clone();
                go(move || {
                    for round in 0..3 {
                        let (own, text) = (format!("own:{writer}"), format!("{writer}.{round}"));
                        db.write(batch(&[&own], &text)).unwrap();
                        assert_eq!(value(&db, &own), Some(text), "a write is not seen");
                    }
                })
            })
            .collect();
        let (flushed, compacted) = (db.clone(), db.clone());
        let flush = go(move || flushed.flush().unwrap());
        let compact = go(move || compacted.compact().unwrap());
        for thread in writers.into_iter().chain([flush, compact]) {
            thread.join().unwrap();
        }
        settle(&db, &env);
        let kept: Vec<Entry> = (0..2).map(|w| (format!("own:{w}"), format!("{w}.2"))).collect();
        assert_eq!(everything(&db.default_column_family()), kept);
        check_after_crash(&env, CrashPolicy::DropUnsynced, &kept, &[]);
        db.close().unwrap();
    });
}

/// cockroachdb/pebble#751, facebook/rocksdb#9648: a compaction dropped what a snapshot that was
/// just being taken could see.
#[test]
fn snapshots_under_compactions() {
    explore("snapshots_under_compactions", || {
        let env = MemEnv::new();
        let db = open(&env, options(1));
        db.write(batch(KEYS, "0")).unwrap();
        let (written, compacted) = (db.clone(), db.clone());
        let writer = go(move || {
            for round in 1..4 {
                written.write(batch(KEYS, &round.to_string())).unwrap();
            }
        });
        let compact = go(move || compacted.compact().unwrap());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let db = db.clone();
                go(move || {
                    let snapshot = db.snapshot();
                    let first = snapshot.get("k0").unwrap();
                    assert!(first.is_some(), "the snapshot lost its version");
                    for _ in 0..2 {
                        let all: Vec<_> = snapshot.scan(..).map(|one| one.unwrap().1).collect();
                        assert_eq!(all, vec![first.clone().unwrap(); KEYS.len()]);
                        assert_eq!(snapshot.get("k2").unwrap(), first);
                    }
                })
            })
            .collect();
        for thread in readers.into_iter().chain([writer, compact]) {
            thread.join().unwrap();
        }
        settle(&db, &env);
        assert_eq!(db.stats().snapshots, 0);
        db.close().unwrap();
    });
}

/// facebook/rocksdb#782: a file that was in use was removed.
#[test]
fn cursors_over_tables_that_go() {
    explore("cursors_over_tables_that_go", || {
        let env = MemEnv::new();
        let mut few = options(1);
        few.open_tables_max = 8;
        few.block_cache_bytes = 0;
        let db = open(&env, few);
        for round in 0..2 {
            db.write(batch(KEYS, &format!("old {round}"))).unwrap();
        }
        let (written, compacted) = (db.clone(), db.clone());
        let writer = go(move || {
            for round in 0..2 {
                written.write(batch(KEYS, &format!("new {round}"))).unwrap();
            }
        });
        let compact = go(move || compacted.compact().unwrap());
        let readers: Vec<_> = [false, true]
            .map(|backwards| {
                let db = db.clone();
                go(move || {
                    let scan = db.scan(..);
                    let found: Vec<_> = if backwards {
                        scan.rev().map(|entry| entry.unwrap()).collect()
                    } else {
                        scan.map(|entry| entry.unwrap()).collect()
                    };
                    assert_eq!(found.len(), KEYS.len());
                    assert!(found.iter().all(|(_, value)| *value == found[0].1), "{found:?}");
                })
            })
            .into();
        for thread in readers.into_iter().chain([writer, compact]) {
            thread.join().unwrap();
        }
        settle(&db, &env);
        db.close().unwrap();
    });
}

#[test]
fn a_pause_beside_manual_compactions() {
    explore("a pause beside manual compactions", || {
        let env = MemEnv::new();
        let db = open(&env, options(1));
        for value in ["1", "2", "3"] {
            db.write(batch(&["a", "b"], value)).unwrap();
            db.flush().unwrap();
        }
        let compactor = {
            let db = db.clone();
            go(move || match db.compact() {
                Ok(()) | Err(Error::InvalidArgument { .. }) => {}
                Err(error) => panic!("{error}"),
            })
        };
        // It waits for what runs to end, the removal of files that the compaction does itself, too.
        drop(db.pause_background());
        compactor.join().unwrap();
        assert_whole(&db, &["a", "b"]);
    });
}
