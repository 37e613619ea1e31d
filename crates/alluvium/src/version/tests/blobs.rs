//! Blob files: live as long as a table needs them, or a reader holds one that does.

use super::*;
use crate::base::blob::BlobShare;
use crate::env::{Fault, FaultEnv, FaultRule, FileKind, Operation, When};

fn table_with(number: u64, keys: (&str, &str), shares: &[(u64, u64)]) -> Arc<TableMeta> {
    let facts = facts(number, (keys.0.as_bytes(), keys.1.as_bytes()), (1, 2));
    let share =
        |&(file, bytes): &(u64, u64)| BlobShare { file: FileNumber(file), values: 1, bytes };
    let blobs = shares.iter().map(share).collect();
    Arc::new(TableMeta::new(TableFacts { entries: 10, blobs, ..facts }).unwrap())
}

fn adding_both(tables: &[&Arc<TableMeta>], blobs: &[(u64, u64)]) -> VersionEdit {
    let mut edit = VersionEdit::default();
    tables.iter().for_each(|table| edit.add(DEFAULT, 1, Arc::clone(table)));
    let blob = |&(number, bytes): &(u64, u64)| Arc::new(BlobMeta::new(FileNumber(number), bytes));
    edit.blobs = blobs.iter().map(blob).collect();
    edit
}

fn deleting(numbers: &[u64]) -> VersionEdit {
    let mut edit = VersionEdit::default();
    numbers.iter().for_each(|&number| edit.delete(DEFAULT, 1, FileNumber(number)));
    edit
}

/// Tables 20 and 21, which need blob files 10 and 11, and 21 also 12.
fn store() -> (MemEnv, VersionSet, Arc<ObsoleteFiles>) {
    let (env, queue) = (new_env(), ObsoleteFiles::new());
    let mut set = VersionSet::create(Arc::new(env.clone()), Arc::clone(&queue)).unwrap();
    set.reserve_numbers_from(FileNumber(30));
    let left = table_with(20, ("a", "b"), &[(10, 100), (11, 500)]);
    let right = table_with(21, ("c", "d"), &[(11, 100), (12, 100)]);
    set.apply(adding_both(&[&left, &right], &[(10, 232), (11, 1032), (12, 133)])).unwrap();
    (env, set, queue)
}

fn taken(queue: &ObsoleteFiles) -> Vec<FileId> {
    let mut files = queue.take();
    files.sort_unstable();
    files
}

fn numbers(set: &VersionSet) -> Vec<u64> {
    set.blobs().iter().map(|blob| blob.number.0).collect()
}

#[test]
fn usage_counts_what_tables_need_and_what_is_sparse() {
    let (_, set, _) = store();
    let usage = set.blob_usage(&HashSet::new());
    assert_eq!((usage.files, usage.bytes, usage.needed), (3, 1397, 800));
    assert_eq!(usage.sparse, HashSet::from([FileNumber(10)]), "half of it is needed");
    assert_eq!(usage.sparse_garbage, 100);
    assert!(!usage.is_wasteful(), "an eighth of what is needed");
    let shares = &set.families()[&DEFAULT].version.tables().next().unwrap().blobs;
    assert_eq!(usage.sparse_bytes(shares), 100);
}

#[test]
fn a_blob_file_goes_with_the_last_table_that_needs_it() {
    let (env, mut set, queue) = store();
    set.apply(deleting(&[20])).unwrap();
    assert_eq!(taken(&queue), [FileId::Table(FileNumber(20)), FileId::Blob(FileNumber(10))]);
    assert_eq!(numbers(&set), [11, 12]);
    let usage = set.blob_usage(&HashSet::new());
    assert_eq!((usage.sparse_garbage, usage.needed), (900, 200));
    assert!(usage.is_wasteful());
    set.verify().unwrap();
    assert_eq!(numbers(&recover(&env).unwrap()), [11, 12]);
    set.roll().unwrap();
    let mut again = recover(&env).unwrap();
    assert_eq!(again.blob_usage(&HashSet::new()), usage, "as the snapshot in a manifest has it");
    again.apply(deleting(&[21])).unwrap();
    assert_eq!(numbers(&again), []);
}

#[test]
fn a_reader_holds_the_blob_files_of_its_tables() {
    let (_, mut set, queue) = store();
    let reader = Arc::clone(&set.families()[&DEFAULT].version);
    // Its values go elsewhere: the table that needs them is another.
    let new = table_with(22, ("a", "b"), &[(13, 600)]);
    let mut edit = adding_both(&[&new], &[(13, 700)]);
    edit.delete(DEFAULT, 1, FileNumber(20));
    set.apply(edit).unwrap();
    assert_eq!(taken(&queue), []);
    assert_eq!(numbers(&set), [11, 12, 13]);
    drop(reader);
    assert_eq!(taken(&queue), [FileId::Table(FileNumber(20)), FileId::Blob(FileNumber(10))]);
}

#[test]
fn a_table_that_moves_needs_what_it_needed() {
    let (env, mut set, queue) = store();
    let version = Arc::clone(&set.families()[&DEFAULT].version);
    let table = Arc::clone(version.tables().next().unwrap());
    let before = set.blob_usage(&HashSet::new());
    let mut edit = VersionEdit::default();
    edit.delete(DEFAULT, 1, table.number);
    edit.add(DEFAULT, 2, table);
    set.apply(edit).unwrap();
    assert_eq!(set.blob_usage(&HashSet::new()), before);
    assert_eq!(taken(&queue), []);
    assert_eq!(recover(&env).unwrap().blob_usage(&HashSet::new()), before);
}

#[test]
fn edits_that_cannot_be_are_refused() {
    let (_, mut set, _) = store();
    let before = set.blob_usage(&HashSet::new());
    let refused = |set: &mut VersionSet, edit: VersionEdit| {
        let error = set.apply(edit).expect_err("it cannot be").to_string();
        assert_eq!(set.blob_usage(&HashSet::new()), before);
        error
    };
    let missing = table_with(22, ("x", "y"), &[(14, 1)]);
    assert!(refused(&mut set, adding_both(&[&missing], &[])).contains("not there"));
    let more = table_with(22, ("x", "y"), &[(10, 233)]);
    assert!(refused(&mut set, adding_both(&[&more], &[])).contains("more of it than there is"));
    let plain = table(22, "x", "y");
    assert!(refused(&mut set, adding_both(&[&plain], &[(14, 5)])).contains("needed by no table"));
    let needs = table_with(22, ("x", "y"), &[(10, 1)]);
    assert!(refused(&mut set, adding_both(&[&needs], &[(10, 5)])).contains("there already"));
    let beyond = table_with(22, ("x", "y"), &[(99, 1)]);
    assert!(refused(&mut set, adding_both(&[&beyond], &[(99, 5)])).contains("not given out"));
}

#[test]
fn blob_files_of_an_edit_that_failed_wait_for_a_manifest_that_settles_it() {
    let memory = new_env();
    let faults = FaultEnv::new(Arc::new(memory.clone()));
    let queue = ObsoleteFiles::new();
    let mut set = VersionSet::create(Arc::new(faults.clone()), Arc::clone(&queue)).unwrap();
    set.reserve_numbers_from(FileNumber(30));
    let rule = FaultRule::new(&[Operation::Sync], When::From(1), Fault::Io);
    let rule = faults.add(rule.on(FileKind::Manifest));
    let new = table_with(22, ("a", "b"), &[(13, 600)]);
    set.apply(adding_both(&[&new], &[(13, 700)])).unwrap_err();
    drop(new);
    assert_eq!(taken(&queue), [], "the edit may be on disk");
    faults.remove_rule(rule);
    set.roll().unwrap();
    assert_eq!(taken(&queue), [FileId::Table(FileNumber(22)), FileId::Blob(FileNumber(13))]);
    assert_eq!(numbers(&recover(&memory).unwrap()), []);
}
