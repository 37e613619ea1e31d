//! A full disk, in memory.

use std::sync::Arc;

use alluvium::env::{CrashPolicy, MemEnv};
use alluvium::{Db, Durability, Error, Options};
use alluvium_testkit::configs;

fn options() -> Options {
    let mut options = configs::tiny();
    options.durability = Durability::Os;
    options.wal_bytes_max = 1 << 20;
    options
}

/// A store of which much is in its log only, as a kill leaves it, opened on a disk with almost no
/// room again and again: no try may cost space that the next one needs.
#[test]
fn an_open_that_fails_on_a_full_disk_leaves_nothing_behind() {
    let env = MemEnv::new();
    let mut unflushed = options();
    unflushed.column_family.memtable_bytes = 1 << 20;
    let db = Db::open_env(Arc::new(env.clone()), unflushed).unwrap();
    for number in 0..400 {
        db.put(format!("{number:04}"), [7; 100]).unwrap();
    }
    let killed = env.crash_image(CrashPolicy::KeepAll, 0);
    let used = killed.used_bytes();
    let mut failures = 0;
    for room in (0..used * 2).step_by(512) {
        let image = killed.crash_image(CrashPolicy::KeepAll, 0);
        image.set_capacity(Some(used + room));
        match Db::open_env(Arc::new(image.clone()), options()) {
            Ok(db) => assert_eq!(db.scan(..).count(), 400),
            Err(Error::NoSpace { .. }) => {
                failures += 1;
                assert_eq!(image.used_bytes(), used, "with room for {room} bytes");
                image.set_capacity(None);
                let db = Db::open_env(Arc::new(image), options()).unwrap();
                assert_eq!(db.scan(..).count(), 400);
            }
            Err(error) => panic!("with room for {room} bytes: {error}"),
        }
    }
    assert!(failures > 20, "the log is {used} bytes long");
}
