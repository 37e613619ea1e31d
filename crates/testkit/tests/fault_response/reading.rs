//! Reads that fail or do not check, and damage in the inputs of compactions.

use super::*;

/// Two tables of level 0 with the same keys, the cache off.
fn two_tables() -> Store {
    let mut options = calm();
    options.block_cache_bytes = 0;
    let store = Store::with(options);
    for round in 0..2 {
        fill(&store.db, 0..10, round);
        store.db.flush().unwrap();
    }
    store
}

const LIES: [Fault; 5] = [
    Fault::Io,
    Fault::FlipBit { bit: 99 },
    Fault::ShortRead { bytes: 3 },
    Fault::Misdirected { bytes: 64 },
    Fault::Stale,
];

#[test]
fn a_read_that_goes_wrong_once_is_done_again() {
    for fault in LIES {
        let store = two_tables();
        let before = store.db.stats().counter("rereads");
        store.fail(Operation::Read, FileKind::Table, When::Nth(1), fault);
        check(&store.db, 0..1, 1);
        store.faults.clear();
        store.fail(Operation::Read, FileKind::Table, When::Nth(1), fault);
        let last = store.db.scan(..).next_back().unwrap().unwrap();
        assert_eq!((&last.0[..], &last.1[..]), (key(9).as_bytes(), &value(9, 1)[..]));
        assert_eq!(store.faults.injected(), 2);
        let rereads = store.db.stats().counter("rereads") - before;
        assert!(rereads >= 2, "{fault:?}: {rereads}");
    }
}

#[test]
fn a_read_that_goes_wrong_twice_is_an_error_and_never_an_older_value() {
    for fault in LIES {
        let store = two_tables();
        store.fail(Operation::Read, FileKind::Table, When::From(1), fault);
        for index in 0..10 {
            let found = store.db.get(key(index));
            assert!(found.is_err(), "{fault:?}: {found:?}");
            assert!(store.db.multi_get(&[key(index)]).is_err());
        }
        let mut scan = store.db.scan(..);
        assert!(scan.next().is_some_and(|first| first.is_err()), "{fault:?}");
        assert!(scan.all(|entry| entry.is_err()), "{fault:?}: it goes on behind the error");
        let error = store.db.get(key(0)).unwrap_err();
        match fault {
            Fault::Io => assert!(matches!(error, Error::Io { operation: "read", .. })),
            _ => assert!(error.is_corruption(), "{error:?}"),
        }
        assert_eq!(fault == Fault::Io, error.action() == alluvium::Action::Retry);
        store.faults.clear();
        check(&store.db, 0..10, 1);
    }
}

#[test]
fn damage_in_an_input_sets_its_tables_aside_and_everything_else_goes_on() {
    let mut options = calm();
    options.block_cache_bytes = 0;
    options.column_family.level0_tables_compact = 2;
    let store = Store::with(options);
    fill(&store.db, 0..10, 0);
    fill(&store.db, 59..60, 0);
    store.db.flush().unwrap();
    store.db.wait_idle().unwrap();
    let damaged = store.files(FileKind::Table)[0];
    let mut bytes = store.memory.file_bytes(damaged).unwrap();
    bytes[20] ^= 1;
    store.memory.set_file_bytes(damaged, bytes);
    // The second table makes a compaction due, which finds the damage and names the place.
    fill(&store.db, 50..60, 0);
    store.db.flush().unwrap();
    store.db.wait_idle().unwrap();
    let stats = store.db.stats();
    let error = stats.error.as_ref().unwrap();
    assert!(error.contains(&damaged.name()) && error.contains("damaged at byte"), "{error}");
    assert!(stats.recent_failures[0].starts_with("compaction of default: "), "{stats}");
    // It is not tried again for ever.
    let failures = stats.background_failures;
    fill(&store.db, 60..70, 0);
    store.db.flush().unwrap();
    store.db.wait_idle().unwrap();
    assert_eq!(store.db.stats().background_failures, failures);
    check(&store.db, 50..70, 0);
    assert!(store.files(FileKind::Table).contains(&damaged), "kept for whoever can restore it");
    assert!(store.db.get(key(0)).unwrap_err().is_corruption());
    // Another family has all its compactions.
    let other = store.db.create_column_family("other", tiny().column_family).unwrap();
    for round in 0..5 {
        for index in 0..10 {
            other.put(key(index), value(index, round)).unwrap();
        }
        other.flush().unwrap();
    }
    other.compact().unwrap();
    assert_eq!(other.get(key(3)).unwrap().unwrap(), value(3, 4));
}

#[test]
fn a_compaction_whose_input_cannot_be_read_drops_nothing() {
    let store = two_tables();
    let inputs = store.files(FileKind::Table);
    for nth in 1..60 {
        store.fail(Operation::Read, FileKind::Table, When::From(nth), Fault::Io);
        let before = store.faults.injected();
        let compacted = store.db.compact();
        let hit = store.faults.injected() > before;
        store.faults.clear();
        if !hit {
            compacted.unwrap();
            check(&store.db, 0..10, 1);
            assert!(nth > 1);
            return;
        }
        assert!(compacted.is_err(), "read {nth}");
        assert_eq!(store.files(FileKind::Table), inputs, "read {nth}");
        check(&store.db, 0..10, 1);
    }
    panic!("a compaction of two small tables reads without end");
}
