//! The life of a manifest: written, read, rolled, closed; and what a directory can look like.

use expect_test::expect_file;

use super::*;
use crate::base::limits::EDIT_BYTES_MAX;
use crate::env::{FaultEnv, Operation};
use crate::wal::frame::LOG_HEADER_BYTES;
use crate::wal::tests::hexdump;

fn dump(env: &MemEnv, file: FileId) -> String {
    hexdump(&env.file_bytes(file).unwrap())
}

#[test]
fn the_bytes_of_a_manifest_and_of_current_are_pinned() {
    let env = new_env();
    let mut set = create(&env);
    add_next(&mut set, 0, "a", "m").unwrap();
    let id = set.create_family("events", FileNumber(2)).unwrap();
    let mut edit = VersionEdit { dropped: vec![id], ..VersionEdit::default() };
    edit.delete(DEFAULT, 0, FileNumber(3));
    set.apply(edit).unwrap();
    set.close().unwrap();
    expect_file!["../../../tests/golden/manifest.hex"].assert_eq(&dump(&env, manifest_of(&set)));
    expect_file!["../../../tests/golden/current.hex"].assert_eq(&dump(&env, FileId::Current));
}

#[test]
fn a_store_reads_back_as_it_was_left() {
    let env = new_env();
    let mut set = create(&env);
    assert_eq!(show(&set), "0 \"default\"\n");
    add_next(&mut set, 0, "a", "m").unwrap();
    add_next(&mut set, 1, "a", "b").unwrap();
    let id = set.create_family("events", FileNumber(4)).unwrap();
    let (state, number) = (show(&set), set.new_file_number());

    for closed in [false, true] {
        let recovered = recover(&env).unwrap();
        let report = recovered.report().unwrap();
        assert_eq!(show(&recovered), state);
        assert_eq!(recovered.families()[&id].log_number, FileNumber(4));
        assert_eq!(recovered.last_sequence(), set.last_sequence());
        assert_eq!((report.manifest, report.edits), (set.manifest_number(), 4));
        assert_eq!((report.closed, &report.torn_tail), (closed, &None));
        let bytes = env.file_bytes(manifest_of(&set)).unwrap().len() as u64;
        assert_eq!(report.bytes, bytes);
        assert!(recovered.new_file_number() >= number);
        set.close().unwrap();
    }
    assert!(matches!(set.apply(VersionEdit::default()), Err(Error::Closed)));
    assert!(matches!(set.roll(), Err(Error::Closed)));
}

#[test]
fn recovery_writes_nothing() {
    let env = new_env();
    let mut set = create(&env);
    add_next(&mut set, 0, "a", "m").unwrap();
    let before = env.operations();
    let mut recovered = recover(&env).unwrap();
    recovered.close().unwrap();
    assert_eq!(env.operations(), before);
}

/// facebook/rocksdb#7621: what the page cache showed is built upon, and a second crash takes it
/// away.
#[test]
fn reg_w18_the_first_edit_after_recovery_goes_to_a_new_manifest() {
    let env = new_env();
    let old = manifest_of(&create(&env));
    let bytes = env.file_bytes(old).unwrap();
    let mut recovered = recover(&env).unwrap();
    add_next(&mut recovered, 0, "a", "b").unwrap();
    assert_ne!(manifest_of(&recovered), old);
    assert_eq!(env.file_bytes(old), None, "the old one is removed, {} bytes", bytes.len());
    assert_eq!(env.files(), [manifest_of(&recovered), FileId::Current]);
}

#[test]
fn a_manifest_that_outgrew_its_state_is_replaced() {
    let env = new_env();
    let mut set = create(&env);
    let first = set.manifest_number();
    let key = |count: u64| format!("{count:05}{}", "x".repeat(20_000));
    let mut rolls = 0;
    let mut largest = 0;
    for count in 0..200 {
        let before = set.manifest_number();
        add_next(&mut set, 1, &key(count), &key(count)).unwrap();
        if count > 0 {
            let number = set.families()[&DEFAULT].version.level(1).tables()[0].number;
            let mut edit = VersionEdit::default();
            edit.delete(DEFAULT, 1, number);
            set.apply(edit).unwrap();
        }
        rolls += u32::from(set.manifest_number() != before);
        largest = largest.max(env.file_bytes(manifest_of(&set)).unwrap().len());
        assert_eq!(env.files().len(), 2);
    }
    assert!(set.manifest_number() > first);
    assert_eq!(rolls, 7, "8 MB of edits, replaced at 1 MiB");
    assert!(largest < (1 << 20) + 100_000);
    assert_eq!(show(&recover(&env).unwrap()), show(&set));
}

/// A set of 1,200 tables whose state is about 20 MB.
fn large_edit(set: &VersionSet) -> VersionEdit {
    let mut edit = VersionEdit::default();
    for count in 0..1200 {
        let key = |end: &str| format!("{count:05}{}{end}", "x".repeat(8_000));
        edit.add(DEFAULT, 1, table(set.new_file_number().0, &key("a"), &key("b")));
    }
    edit
}

#[test]
fn a_state_and_an_edit_larger_than_any_frame_are_written_and_read() {
    let env = new_env();
    let mut set = create(&env);
    let (first, edit) = (set.manifest_number(), large_edit(&set));
    assert!(edit.encode().len() > EDIT_BYTES_MAX);
    set.apply(edit).unwrap();
    assert!(set.manifest_number() > first, "it does not fit a frame, so it is a new state");
    let recovered = recover(&env).unwrap();
    assert_eq!(recovered.report().unwrap().edits, 1);
    assert_eq!(show(&recovered), show(&set));
    assert_eq!(set.verify().unwrap(), env.file_bytes(manifest_of(&set)).unwrap().len() as u64);
}

#[test]
fn a_directory_is_told_apart_by_what_is_in_it() {
    let env = MemEnv::new();
    assert_eq!(store_exists(&env).unwrap(), StoreState::Absent);
    env.create_directory().unwrap();
    assert_eq!(store_exists(&env).unwrap(), StoreState::Absent);
    env.set_file_bytes(FileId::Lock, vec![]);
    assert_eq!(store_exists(&env).unwrap(), StoreState::Absent);
    env.set_file_bytes(FileId::Manifest(FileNumber(1)), vec![]);
    assert_eq!(store_exists(&env).unwrap(), StoreState::Half);
    for file in [FileId::Wal(FileNumber(3)), FileId::Table(FileNumber(4))] {
        let env = env.crash_image(crate::env::CrashPolicy::KeepAll, 0);
        env.set_file_bytes(file, vec![0; LOG_HEADER_BYTES + 1]);
        let error = store_exists(&env).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains("CURRENT"), "{error}");
        assert!(VersionSet::create(Arc::new(env), ObsoleteFiles::new()).is_err());
    }
    // The log of an open whose own `CURRENT` was not on the disk yet.
    env.set_file_bytes(FileId::Wal(FileNumber(3)), vec![0; LOG_HEADER_BYTES]);
    assert_eq!(store_exists(&env).unwrap(), StoreState::Half);
    assert!(VersionSet::create(Arc::new(env.clone()), ObsoleteFiles::new()).is_ok());
    env.set_file_bytes(FileId::Current, vec![]);
    assert_eq!(store_exists(&env).unwrap(), StoreState::Present);
    assert!(VersionSet::create(Arc::new(env), ObsoleteFiles::new()).is_err());
}

/// facebook/rocksdb#6426, sled #1527 (m09, m20): files left behind take the number of a new one, or
/// block the way.
#[test]
fn reg_m09_numbers_of_files_that_lie_about_are_never_given_out() {
    let env = new_env();
    for number in 1..6 {
        env.set_file_bytes(FileId::Manifest(FileNumber(number)), b"half".to_vec());
        env.set_file_bytes(FileId::Temporary(FileNumber(number + 2)), b"half".to_vec());
    }
    let mut set = create(&env);
    assert_eq!(set.manifest_number(), FileNumber(8));
    assert_eq!(env.files(), [manifest_of(&set), FileId::Current], "the rest was swept away");

    add_next(&mut set, 0, "a", "b").unwrap();
    env.set_file_bytes(FileId::Manifest(FileNumber(50)), b"half".to_vec());
    env.set_file_bytes(FileId::Wal(FileNumber(60)), b"".to_vec());
    env.set_file_bytes(FileId::Temporary(FileNumber(70)), b"half".to_vec());
    let mut recovered = recover(&env).unwrap();
    assert_eq!(recovered.new_file_number(), FileNumber(71));
    recovered.reserve_numbers_from(FileNumber(100));
    recovered.reserve_numbers_from(FileNumber(90));
    recovered.roll().unwrap();
    assert_eq!(recovered.manifest_number(), FileNumber(100));
    let left = [FileId::Wal(FileNumber(60)), manifest_of(&recovered), FileId::Current];
    assert_eq!(env.files(), left);
    assert_eq!(recover(&env).unwrap().new_file_number(), FileNumber(102));
}

#[test]
fn a_file_with_an_impossible_number_is_named() {
    let env = new_env();
    drop(create(&env));
    env.set_file_bytes(FileId::Table(FileNumber::MAX), vec![]);
    let error = recover(&env).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains(".sst"), "{error}");
}

#[test]
fn a_missing_manifest_and_a_missing_store_are_told_apart() {
    let env = new_env();
    assert!(matches!(recover(&env), Err(Error::StoreMissing { .. })));
    let manifest = manifest_of(&create(&env));
    env.remove(manifest).unwrap();
    match recover(&env) {
        Err(Error::Corruption { file, .. }) => assert!(file.ends_with(&manifest.name())),
        other => panic!("{other:?}"),
    }
}

/// facebook/rocksdb#6430: the manifest stops being written and nobody notices.
#[test]
fn reg_m11_a_manifest_that_does_not_hold_the_state_is_noticed() {
    let env = new_env();
    let mut set = create(&env);
    let earlier = env.file_bytes(manifest_of(&set)).unwrap();
    add_next(&mut set, 0, "a", "b").unwrap();
    let _taken = set.new_file_number();
    let bytes = set.verify().unwrap();
    assert_eq!(bytes, env.file_bytes(manifest_of(&set)).unwrap().len() as u64);
    env.set_file_bytes(manifest_of(&set), earlier);
    assert!(set.verify().unwrap_err().is_corruption());
}

#[test]
fn an_edit_is_one_append_and_one_sync() {
    let env = FaultEnv::new(Arc::new(new_env()));
    let mut set = VersionSet::create(Arc::new(env.clone()), ObsoleteFiles::new()).unwrap();
    let counts = || {
        let operations = [Operation::Append, Operation::Sync, Operation::SyncDirectory];
        operations.map(|operation| env.count(operation))
    };
    let before = counts();
    add_next(&mut set, 0, "a", "b").unwrap();
    let after = counts();
    assert_eq!([0, 1, 2].map(|index| after[index] - before[index]), [1, 1, 1]);
    // A segment that is named as the first that is needed has to be there as well.
    set.apply(VersionEdit { logs: vec![(DEFAULT, FileNumber(1))], ..VersionEdit::default() })
        .unwrap();
    let named = counts();
    assert_eq!([0, 1, 2].map(|index| named[index] - after[index]), [1, 1, 1]);
    // No new name.
    set.apply(VersionEdit { last_sequence: Some(SeqNo::new(9)), ..VersionEdit::default() })
        .unwrap();
    let last = counts();
    assert_eq!([0, 1, 2].map(|index| last[index] - named[index]), [1, 1, 0]);
}
