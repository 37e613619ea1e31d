//! Single pieces of damage and bad luck that recovery must not take for a crash.

use std::sync::Arc;

use alluvium::env::{
    CrashPolicy, Env as _, Fault, FaultEnv, FaultRule, FileId, FileKind, MemEnv, Operation, When,
};
use alluvium::{Db, Durability, Error, Options, WriteOptions};

fn options() -> Options {
    Options { background_threads: 0, ..Options::default() }
}

fn open(env: &MemEnv) -> alluvium::Result<Db> {
    Db::open_env(Arc::new(env.clone()), options())
}

/// The logs of a store, ascending.
fn logs(env: &MemEnv) -> Vec<FileId> {
    env.files().into_iter().filter(|file| matches!(file, FileId::Wal(_))).collect()
}

fn with_flip(env: &MemEnv, file: FileId, offset: usize) -> MemEnv {
    let image = env.crash_image(CrashPolicy::KeepAll, 0);
    let mut bytes = image.file_bytes(file).unwrap();
    bytes[offset] ^= 0x10;
    image.set_file_bytes(file, bytes);
    image
}

fn must_be_damage(result: alluvium::Result<Db>, file: FileId) {
    match result {
        Err(Error::Corruption { file: named, .. }) => assert!(named.ends_with(&file.name())),
        other => panic!("{file} is damaged: {other:?}"),
    }
}

/// The tables of one family reach further than the damage in the log of the other.
#[test]
fn damage_to_the_beginning_of_a_log_is_seen_though_another_family_was_flushed() {
    let env = MemEnv::new();
    let db = open(&env).unwrap();
    let meta = db.create_column_family("meta", options().column_family).unwrap();
    meta.put("only", "in the log").unwrap();
    let os = WriteOptions { durability: Durability::Os };
    for number in 0..100_u32 {
        let mut batch = alluvium::WriteBatch::new();
        batch.put(format!("key {number}"), "value");
        db.write_with(batch, &os).unwrap();
    }
    db.column_family("default").unwrap().flush().unwrap();
    db.put("behind", "the flush").unwrap();
    let image = env.crash_image(CrashPolicy::KeepAll, 0);
    let oldest = logs(&image)[0];
    assert!(logs(&image).len() > 1, "the family meta needs the first log");
    let first_frame = 48;
    for offset in [8, first_frame + 2, first_frame + 20] {
        must_be_damage(open(&with_flip(&image, oldest, offset)), oldest);
    }
    let whole = open(&image).unwrap();
    assert!(whole.column_family("meta").unwrap().get("only").unwrap().is_some());
}

/// A closed store whose log is cut between two frames, down to nothing.
#[test]
fn a_closed_store_whose_log_ends_early_is_damaged() {
    let env = MemEnv::new();
    let db = open(&env).unwrap();
    let mut ends = Vec::new();
    for key in ["a", "b", "c"] {
        db.put(key, key).unwrap();
        ends.push(env.file_bytes(logs(&env)[0]).unwrap().len());
    }
    db.close().unwrap();
    let log = logs(&env)[0];
    for end in ends.into_iter().chain([48, 0]) {
        let image = env.crash_image(CrashPolicy::KeepAll, 0);
        let bytes = image.file_bytes(log).unwrap();
        image.set_file_bytes(log, bytes[..end].to_vec());
        let found = alluvium::verify_env(Arc::new(image.clone())).unwrap();
        assert!(!found.damages.is_empty(), "cut to {end}");
        let to = Arc::new(MemEnv::new());
        let report = alluvium::repair_env(Arc::new(image.clone()), to).unwrap();
        assert!(!report.is_complete(), "cut to {end}: {report}");
        must_be_damage(open(&image), log);
    }
    assert_eq!(open(&env).unwrap().get("c").unwrap().as_deref(), Some(&b"c"[..]));
}

/// Without `CURRENT`, and with no data yet: what the manifest knows must not be made anew.
#[test]
fn a_manifest_that_knows_a_family_shows_that_there_was_a_store() {
    let env = MemEnv::new();
    let db = open(&env).unwrap();
    db.create_column_family("users", options().column_family).unwrap();
    let image = env.crash_image(CrashPolicy::KeepAll, 0);
    image.remove(FileId::Current).unwrap();
    let before = image.files();
    must_be_damage(open(&image), FileId::Current);
    let manifests =
        |files: &[FileId]| files.iter().filter(|f| f.name().contains("manifest")).count();
    assert_eq!(manifests(&image.files()), manifests(&before));
}

#[test]
fn an_obsolete_file_that_stays_does_not_keep_the_store_from_opening() {
    let env = MemEnv::new();
    let db = open(&env).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
    let old = logs(&env)[0];
    let fault = FaultEnv::new(Arc::new(env.clone()));
    let rule = FaultRule::new(&[Operation::Remove], When::From(1), Fault::Io);
    fault.add(rule.on(FileKind::Wal));
    let db = Db::open_env(Arc::new(fault), options()).unwrap();
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    assert!(logs(&env).contains(&old));
    db.close().unwrap();
    drop(open(&env).unwrap());
    assert!(!logs(&env).contains(&old), "the next open removes it");
}
