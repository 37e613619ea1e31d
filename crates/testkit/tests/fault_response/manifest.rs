//! The manifest and `CURRENT`.

use super::*;

#[test]
fn a_failed_edit_keeps_every_file_and_the_next_goes_to_a_new_manifest() {
    for operation in [Operation::Append, Operation::Sync] {
        let store = Store::new();
        fill(&store.db, 0..10, 0);
        store.db.flush().unwrap();
        fill(&store.db, 10..20, 0);
        let (tables, manifest) = (store.files(FileKind::Table), store.files(FileKind::Manifest));
        store.fail(operation, FileKind::Manifest, When::Nth(1), Fault::Io);
        assert!(is_injected(&store.db.flush(), 1), "{operation:?}");
        for file in tables.iter().chain(&manifest).chain(&store.files(FileKind::Wal)) {
            assert!(store.memory.files().contains(file), "{file} is gone");
        }
        let begun = store.files(FileKind::Table);
        assert!(begun.len() > tables.len(), "the new table stays: the edit may be on disk");
        // Whatever of the edit is on disk, the store is whole.
        for policy in [CrashPolicy::KeepAll, CrashPolicy::ObjectPrefix] {
            let db = store.after(policy);
            check(&db, 0..10, 0);
        }
        check(&store.after(CrashPolicy::KeepAll), 0..20, 0);
        // The next edit does not follow the one that failed.
        store.db.flush().unwrap();
        let after = store.files(FileKind::Manifest);
        assert!(after.len() == 1 && after > manifest, "{after:?}");
        check(&store.db, 0..20, 0);
        check(&store.after(CrashPolicy::DropUnsynced), 0..20, 0);
        assert!(store.db.check_manifest().is_ok());
    }
}

#[test]
fn while_no_manifest_can_be_written_nothing_is_lost_and_nothing_hangs() {
    let store = Store::with(tiny());
    store.fail(Operation::Create, FileKind::Manifest, When::From(1), Fault::Io);
    store.fail(Operation::Append, FileKind::Manifest, When::From(1), Fault::Io);
    let refused = (0..500).find_map(|index| put_os(&store.db, index, 0).err().map(|e| (index, e)));
    let Some((written, error)) = refused else { panic!("memtables without end") };
    assert!(error.to_string().contains("[injected fault"), "{error}");
    check(&store.db, 0..written, 0);
    check(&store.after(CrashPolicy::KeepAll), 0..written, 0);
    assert!(store.db.stats().background_failures > 0);
    store.faults.clear();
    fill(&store.db, written..written + 50, 0);
    store.db.flush().unwrap();
    check(&store.db, 0..written + 50, 0);
}

#[test]
fn current_is_switched_by_a_synced_file_a_rename_and_a_synced_directory() {
    let memory = MemEnv::new();
    let env = FaultEnv::new(Arc::new(memory));
    env.record();
    drop(open(&env, tiny()));
    env.record();
    drop(open(&env, tiny()));
    let steps: Vec<_> = env
        .recorded()
        .into_iter()
        .filter(|(operation, _)| Operation::MUTATING.contains(operation))
        .map(|(operation, file)| (operation, file.map(FileKind::of)))
        .collect();
    let rename = steps.iter().position(|(step, _)| *step == Operation::Rename).unwrap();
    let (temporary, manifest) = (Some(FileKind::Temporary), Some(FileKind::Manifest));
    assert_eq!(
        steps[rename - 7..rename + 3],
        [
            (Operation::Create, manifest),
            (Operation::Append, manifest),
            (Operation::Sync, manifest),
            (Operation::Create, temporary),
            (Operation::Append, temporary),
            (Operation::Sync, temporary),
            (Operation::SyncDirectory, None),
            (Operation::Rename, temporary),
            (Operation::SyncDirectory, None),
            // The old one goes only now.
            (Operation::Remove, manifest),
        ]
    );
}
