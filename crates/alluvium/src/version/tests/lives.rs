//! When a table is obsolete, and that its number is reported exactly then.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn taken(queue: &ObsoleteFiles) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        { queue.take().into_iter() }.map(|file| file.number().unwrap().0).collect();
    numbers.sort_unstable();
    numbers
}

/// A store with tables 20 and 21 in level 1, and its queue.
fn store() -> (MemEnv, VersionSet, Arc<ObsoleteFiles>) {
    let (env, queue) = (new_env(), ObsoleteFiles::new());
    let mut set = VersionSet::create(Arc::new(env.clone()), Arc::clone(&queue)).unwrap();
    set.reserve_numbers_from(FileNumber(30));
    set.apply(adding(&[(1, &table(20, "a", "b")), (1, &table(21, "c", "d"))])).unwrap();
    (env, set, queue)
}

fn version(set: &VersionSet) -> Arc<Version> {
    Arc::clone(&set.families()[&DEFAULT].version)
}

/// facebook/rocksdb#782: the file of a table that somebody reads is removed.
#[test]
fn reg_m13_a_deleted_table_is_obsolete_when_its_last_reader_has_gone() {
    let (_, mut set, queue) = store();
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&woken);
    queue.set_waker(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });

    let (first, second) = (version(&set), version(&set));
    let mut edit = VersionEdit::default();
    edit.delete(DEFAULT, 1, FileNumber(20));
    set.apply(edit).unwrap();
    assert_eq!(taken(&queue), []);
    drop(first);
    assert_eq!(taken(&queue), []);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    drop(second);
    assert_eq!(taken(&queue), [20]);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn the_new_files_of_a_refused_edit_go_and_no_others() {
    let (_, mut set, queue) = store();
    let known = Arc::clone(&version(&set).level(1).tables()[0]);
    for number in [22, 23] {
        // It overlaps table 20, in the same level.
        let mut edit = adding(&[(1, &table(number, "a", "c")), (1, &known)]);
        edit.blobs = vec![Arc::new(BlobMeta::new(FileNumber(number + 5), 1_000))];
        assert!(matches!(set.apply(edit), Err(Error::InvalidArgument { .. })));
        assert_eq!(taken(&queue), [number, number + 5]);
    }
    assert!(!known.is_obsolete());
    set.apply(adding(&[(1, &table(24, "e", "f"))])).unwrap();
    drop((known, set));
    assert_eq!(taken(&queue), []);
}

#[test]
fn a_table_that_moves_stays_the_one_that_readers_hold() {
    let (env, mut set, queue) = store();
    let reader = version(&set);
    // The engine may describe a table that moves by a new value.
    let mut edit = adding(&[(2, &table(20, "a", "b"))]);
    edit.delete(DEFAULT, 1, FileNumber(20));
    set.apply(edit).unwrap();
    let moved = Arc::clone(&version(&set).level(2).tables()[0]);
    assert!(Arc::ptr_eq(&moved, &reader.level(1).tables()[0]));
    drop((moved, reader));
    assert_eq!(taken(&queue), []);
    assert!(show(&recover(&env).unwrap()).contains("level 2: a..b"));
}

#[test]
fn closing_a_store_makes_no_table_obsolete() {
    let (_, mut set, queue) = store();
    set.close().unwrap();
    drop(set);
    assert_eq!(taken(&queue), []);
}

/// fjall-rs/fjall#241: what a drop took away is back after a restart.
#[test]
fn reg_w19_the_tables_of_a_dropped_family_go_with_its_last_reader() {
    let (env, mut set, queue) = store();
    let id = set.create_family("other", FileNumber(3)).unwrap();
    let mut edit = VersionEdit::default();
    edit.add(id, 0, table(25, "x", "y"));
    edit.add(id, 3, table(26, "x", "y"));
    set.apply(edit).unwrap();
    assert_eq!(set.oldest_log_needed(), FileNumber(0));
    let reader = Arc::clone(&set.families()[&id].version);
    set.drop_family(id).unwrap();
    assert_eq!(taken(&queue), []);
    drop(reader);
    assert_eq!(taken(&queue), [25, 26]);
    assert!(set.family_named("other").is_none());
    assert_eq!(show(&recover(&env).unwrap()), show(&set));
}

#[test]
fn a_table_whose_file_could_not_be_removed_can_be_given_back() {
    let queue = ObsoleteFiles::new();
    queue.push(FileId::Table(FileNumber(7)));
    assert_eq!(taken(&queue), [7]);
    assert_eq!(taken(&queue), []);
}
