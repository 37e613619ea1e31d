//! New tables, the outputs of jobs that fail, and files that nobody needs any more.

use super::*;

#[test]
fn a_new_table_is_synced_named_and_read_back_before_the_manifest_names_it() {
    let store = Store::new();
    for job in ["flush", "compaction"] {
        fill(&store.db, 0..10, 0);
        store.faults.record();
        if job == "flush" { store.db.flush() } else { store.db.compact() }.unwrap();
        let recorded = store.faults.recorded();
        let edit = recorded
            .iter()
            .rposition(|(done, file)| {
                *done == Operation::Append && file.map(FileKind::of) == Some(FileKind::Manifest)
            })
            .unwrap();
        let created = |(done, file): &(Operation, Option<FileId>)| {
            file.filter(|file| *done == Operation::Create && FileKind::of(*file) == FileKind::Table)
        };
        let table = recorded[..edit].iter().rev().find_map(created).unwrap();
        let place = |wanted: (Operation, Option<FileId>)| {
            recorded[..edit].iter().rposition(|step| *step == wanted).unwrap()
        };
        let synced = place((Operation::Sync, Some(table)));
        assert!(synced < place((Operation::SyncDirectory, None)), "{job}: {recorded:?}");
        assert!(synced < place((Operation::Open, Some(table))), "{job}: {recorded:?}");
        assert!(synced < place((Operation::Read, Some(table))), "{job}: {recorded:?}");
    }
}

#[test]
fn a_new_table_that_does_not_read_back_is_written_again_and_never_named() {
    let store = Store::new();
    fill(&store.db, 0..10, 0);
    let flip = Fault::FlipBit { bit: 5 };
    store.fail(Operation::Read, FileKind::Table, When::From(1), flip);
    let failed = store.db.flush().unwrap_err();
    assert!(matches!(failed, Error::Io { operation: "read back", .. }), "{failed:?}");
    assert_eq!(store.files(FileKind::Table), [], "what was written is removed");
    check(&store.after(CrashPolicy::KeepAll), 0..10, 0);
    store.faults.clear();
    store.db.flush().unwrap();
    // The same for a compaction, whose inputs were read: it is no damage of theirs.
    fill(&store.db, 0..10, 1);
    store.db.flush().unwrap();
    check(&store.db, 0..10, 1);
    let reads = 40;
    let tables = store.files(FileKind::Table);
    for nth in 1..reads {
        let window = When::Window { first: nth, count: 2 };
        let rule = FaultRule::new(&[Operation::Read], window, flip).on(FileKind::Table);
        store.faults.add(rule);
        match store.db.compact() {
            Err(Error::Io { operation: "read back", .. }) => {
                store.faults.clear();
                assert_eq!(store.files(FileKind::Table), tables, "the inputs, and no more");
                store.db.compact().unwrap();
                check(&store.db, 0..10, 1);
                assert_eq!(store.db.stats().error, None);
                return;
            }
            other => assert!(nth < reads - 1, "no read of an output was hit: {other:?}"),
        }
        store.faults.clear();
    }
}

#[test]
fn the_output_of_a_job_that_failed_is_removed_and_the_job_done_again() {
    for operation in [Operation::Create, Operation::Append, Operation::Sync] {
        let store = Store::new();
        fill(&store.db, 0..10, 0);
        store.fail(operation, FileKind::Table, When::Nth(1), Fault::Io);
        assert!(is_injected(&store.db.flush(), 1), "{operation:?}");
        assert_eq!(store.files(FileKind::Table), []);
        store.db.flush().unwrap();
        let number = store.files(FileKind::Table);
        store.faults.clear();
        fill(&store.db, 0..10, 1);
        store.db.flush().unwrap();
        let inputs = store.files(FileKind::Table);
        store.fail(operation, FileKind::Table, When::Nth(1), Fault::Io);
        assert!(is_injected(&store.db.compact(), 2), "{operation:?}");
        assert_eq!(store.files(FileKind::Table), inputs, "the inputs, and no more");
        check(&store.db, 0..10, 1);
        store.db.compact().unwrap();
        check(&store.db, 0..10, 1);
        let output = store.files(FileKind::Table);
        assert!(output > number, "a number is used once: {output:?} after {number:?}");
        check(&store.after(CrashPolicy::DropUnsynced), 0..10, 1);
    }
}

#[test]
fn a_failure_that_a_second_try_overcame_is_counted_and_kept() {
    let store = Store::new();
    fill(&store.db, 0..10, 0);
    store.fail(Operation::Sync, FileKind::Table, When::Nth(1), Fault::Io);
    assert!(store.db.flush().is_err());
    assert!(store.db.stats().error.is_some());
    store.db.flush().unwrap();
    let stats = store.db.stats();
    assert_eq!((stats.error.as_ref(), stats.background_failures), (None, 1));
    let [kept] = &stats.recent_failures[..] else { panic!("{:?}", stats.recent_failures) };
    assert!(kept.starts_with("flush of default: ") && kept.contains("[injected fault 1:"));
    assert!(stats.to_string().contains("background failures: 1, the last: flush of default"));
    // Only the last sixteen are kept, all are counted.
    store.fail(Operation::Create, FileKind::Table, When::From(1), Fault::Io);
    put_os(&store.db, 1, 1).unwrap();
    for _ in 0..20 {
        assert!(store.db.flush().is_err());
    }
    let stats = store.db.stats();
    assert_eq!((stats.background_failures, stats.recent_failures.len()), (21, 16));
    assert!(stats.recent_failures[15].contains("[injected fault 21:"));
}

#[test]
fn a_file_that_cannot_be_removed_waits_for_the_next_open() {
    let store = Store::new();
    for round in 0..3 {
        fill(&store.db, 0..10, round);
        store.db.flush().unwrap();
    }
    let obsolete = store.files(FileKind::Table);
    store.faults.add(FaultRule::new(&[Operation::Remove], When::From(1), Fault::Io));
    store.db.compact().unwrap();
    store.db.wait_idle().unwrap();
    check(&store.db, 0..10, 2);
    let kept = store.files(FileKind::Table);
    assert!(obsolete.iter().all(|file| kept.contains(file)), "{kept:?}");
    assert!(store.db.stats().counter("removals_failed") >= obsolete.len() as u64);
    store.faults.clear();
    let Store { memory, faults, db } = store;
    db.close().unwrap();
    let db = open(&faults, tiny());
    check(&db, 0..10, 2);
    let files = memory.files();
    assert!(obsolete.iter().all(|file| !files.contains(file)), "{files:?}");
}
