//! What a damaged store still holds, and what repair makes of it.

use std::sync::Arc;

use alluvium::env::{CrashPolicy, Env as _, FileId, MemEnv};
use alluvium::{Db, Durability, Error, Options, repair_env};
use alluvium_testkit::configs::tiny;
use alluvium_testkit::operation::{Change, DEFAULT_FAMILY, Operation};
use alluvium_testkit::repair::{Harm, Patient, Repaired, check_seed, contents};
use alluvium_testkit::runner::seeds;

const SECOND: &str = "beta";
const FOOTER_BYTES: usize = 96;

fn put(family: &str, key: String, value: String) -> Change {
    let (key, value) = (key.into_bytes(), Some(value.into_bytes()));
    Change { family: family.to_owned(), key, value, end: None }
}

fn delete(family: &str, key: String) -> Change {
    Change { family: family.to_owned(), key: key.into_bytes(), ..Change::default() }
}

fn write(changes: Vec<Change>) -> Operation {
    Operation::Write { changes, durability: Durability::Disk }
}

fn options() -> Options {
    let mut options = tiny();
    options.column_family.memtable_bytes = 64 << 10;
    options.column_family.level0_tables_compact = 12;
    options
}

/// Two families: compacted tables, flushed ones above them with overwrites and deletes, and writes
/// that are in the log alone.
fn operations() -> Vec<Operation> {
    let key = |index: usize| format!("key {index:04}");
    let value =
        |turn: &str, index: usize| format!("{turn} value {index} {}", "x".repeat(index % 60));
    let flush = || Operation::Flush { family: None };
    let mut run = vec![Operation::CreateFamily { name: SECOND.to_owned() }];
    for index in 0..120 {
        let both = vec![
            put(DEFAULT_FAMILY, key(index), value("first", index)),
            put(SECOND, key(index * 2), value("second family", index)),
        ];
        run.push(write(both));
    }
    run.extend([flush(), Operation::Compact { family: None }]);
    for index in (0..120).step_by(3) {
        run.push(write(vec![put(DEFAULT_FAMILY, key(index), value("newer", index))]));
    }
    run.push(flush());
    for index in (0..120).step_by(5) {
        run.push(write(vec![delete(DEFAULT_FAMILY, key(index))]));
    }
    run.push(flush());
    for index in 0..30 {
        run.push(write(vec![put(DEFAULT_FAMILY, format!("log {index:04}"), value("log", index))]));
    }
    run
}

/// Closed in good order, or killed.
fn patient(closed: bool) -> Patient {
    let policy = (!closed).then_some(CrashPolicy::DropUnsynced);
    Patient::build(options(), &operations(), policy).expect("a store")
}

/// Checks what always holds, and gives what came of it.
fn repaired(patient: &Patient, image: &MemEnv) -> Repaired {
    let checked = patient.check(image, Harm::default()).unwrap_or_else(|text| panic!("{text}"));
    checked.expect("a store")
}

fn files(image: &MemEnv, wanted: impl Fn(FileId) -> bool) -> Vec<FileId> {
    let found: Vec<FileId> = image.files().into_iter().filter(|file| wanted(*file)).collect();
    assert!(!found.is_empty());
    found
}

fn is_table(file: FileId) -> bool {
    matches!(file, FileId::Table(_))
}

fn is_log(file: FileId) -> bool {
    matches!(file, FileId::Wal(_))
}

fn is_manifest(file: FileId) -> bool {
    matches!(file, FileId::Manifest(_))
}

fn change(image: &MemEnv, file: FileId, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = image.file_bytes(file).expect("the file");
    change(&mut bytes);
    image.set_file_bytes(file, bytes);
}

/// Where the index block of a table begins, and its length.
fn index_block(bytes: &[u8]) -> (usize, usize) {
    let footer = &bytes[bytes.len() - FOOTER_BYTES..];
    let word = |at: usize| {
        u64::from_le_bytes(footer[at..at + 8].try_into().expect("eight bytes")) as usize
    };
    (word(0), word(8))
}

#[test]
fn an_undamaged_store_is_given_back_as_it_was() {
    for closed in [true, false] {
        let patient = patient(closed);
        let Repaired { report, state, .. } = repaired(&patient, &patient.image());
        assert!(report.is_complete(), "{report}");
        assert!(report.damages.is_empty() && report.notes.is_empty(), "{report}");
        assert_eq!(state, patient.expected);
        assert_eq!((report.tables_salvaged, report.tables_lost), (0, 0));
        assert!(report.tables_whole >= 4 && report.log_batches == 30, "{report}");
    }
}

#[test]
fn without_current_the_newest_manifest_counts() {
    let patient = patient(false);
    for garbage in [None, Some(&b""[..]), Some(b"alluvium 2 manifest 000001 nonsense\n")] {
        let image = patient.image();
        match garbage {
            None => image.remove(FileId::Current).expect("it is there"),
            Some(garbage) => image.set_file_bytes(FileId::Current, garbage.to_vec()),
        }
        let Repaired { report, state, .. } = repaired(&patient, &image);
        assert_eq!(report.damages.len(), 1, "{report}");
        assert!(report.is_complete(), "{report}");
        assert_eq!(state, patient.expected);
    }
}

#[test]
fn without_the_manifest_the_tables_say_what_there_was() {
    for closed in [true, false] {
        let patient = patient(closed);
        let image = patient.image();
        for manifest in files(&image, is_manifest) {
            image.remove(manifest).expect("it is there");
        }
        let Repaired { report, state, .. } = repaired(&patient, &image);
        assert!(report.manifest.is_none() && !report.is_complete(), "{report}");
        assert_eq!((report.table_losses.len(), report.log_losses.len()), (0, 0), "{report}");
        assert_eq!(state[DEFAULT_FAMILY], patient.expected[DEFAULT_FAMILY]);
        let second = state.iter().find(|(name, _)| *name != DEFAULT_FAMILY).expect("a second");
        assert_eq!(*second.1, patient.expected[SECOND], "{report}");
    }
}

#[test]
fn with_nothing_but_tables_their_rows_are_there() {
    let patient = patient(true);
    let image = patient.image();
    for file in files(&image, |file| !is_table(file)) {
        image.remove(file).expect("it is there");
    }
    let Repaired { report, state, .. } = repaired(&patient, &image);
    let flushed: Vec<_> =
        patient.expected[DEFAULT_FAMILY].iter().filter(|(key, _)| key[0] == b'k').collect();
    assert_eq!(state[DEFAULT_FAMILY].iter().collect::<Vec<_>>(), flushed, "{report}");
}

/// A damaged manifest is no reason to lose a row: what its edits put in and took out is on disk.
#[test]
fn a_manifest_that_is_cut_or_flipped_anywhere_costs_no_row() {
    let patient = patient(false);
    for manifest in files(&patient.image(), is_manifest) {
        let length = patient.image().file_bytes(manifest).expect("it").len();
        for at in (0..length).step_by(3) {
            for cut in [false, true] {
                let image = patient.image();
                change(&image, manifest, |bytes| match cut {
                    true => bytes.truncate(at),
                    false => bytes[at] ^= 0x10,
                });
                let Repaired { report, state, .. } = repaired(&patient, &image);
                let what = format!("{manifest} at {at}, cut: {cut}\n{report}");
                assert_eq!(state[DEFAULT_FAMILY], patient.expected[DEFAULT_FAMILY], "{what}");
                let second = state.iter().find(|(name, _)| *name != DEFAULT_FAMILY);
                assert_eq!(*second.expect(&what).1, patient.expected[SECOND], "{what}");
            }
        }
    }
}

#[test]
fn a_missing_table_costs_its_own_rows() {
    let patient = patient(true);
    for table in files(&patient.image(), is_table) {
        let image = patient.image();
        image.remove(table).expect("it is there");
        let Repaired { report, .. } = repaired(&patient, &image);
        assert_eq!(report.tables_lost, 1, "{report}");
        assert!(report.table_losses[0].file.ends_with(&table.name()), "{report}");
        assert!(report.manifest.is_some() && !report.is_complete());
    }
}

/// `Patient::check` sees to it that every row outside of the keys that the report names is there.
#[test]
fn a_flipped_byte_of_a_table_costs_one_block() {
    let patient = patient(true);
    for table in files(&patient.image(), is_table) {
        let bytes = patient.image().file_bytes(table).expect("it");
        let (index, length) = index_block(&bytes);
        for at in (0..bytes.len()).step_by(11) {
            let image = patient.image();
            change(&image, table, |bytes| bytes[at] ^= 0x04);
            let Repaired { report, .. } = repaired(&patient, &image);
            let lost: u64 = report.table_losses.iter().map(|loss| loss.bytes).sum();
            assert!(lost <= 700, "{table} byte {at}: {report}");
            assert_eq!(report.tables_lost, 0, "{table} byte {at}: {report}");
            if (index..index + length).contains(&at) || at >= bytes.len() - FOOTER_BYTES {
                assert!(report.is_complete(), "{table} byte {at}: {report}");
            }
        }
    }
}

#[test]
fn a_table_without_its_end_gives_the_blocks_before() {
    let patient = patient(true);
    for table in files(&patient.image(), is_table) {
        let bytes = patient.image().file_bytes(table).expect("it");
        let (index, _) = index_block(&bytes);
        for cut in [bytes.len() - 1, index, index / 2, index / 3, 40, 0] {
            let image = patient.image();
            change(&image, table, |bytes| bytes.truncate(cut));
            let Repaired { report, .. } = repaired(&patient, &image);
            assert_eq!(report.is_complete(), cut >= index, "{table} cut to {cut}: {report}");
        }
    }
}

/// Without index, footer and manifest nothing says where blocks begin, and one is damaged besides.
#[test]
fn blocks_are_found_without_an_index_behind_a_damaged_one() {
    let patient = patient(true);
    let image = patient.image();
    for file in files(&image, |file| is_manifest(file) || file == FileId::Current) {
        image.remove(file).expect("it is there");
    }
    let tables = files(&image, is_table);
    for table in &tables {
        change(&image, *table, |bytes| {
            let (index, _) = index_block(bytes);
            bytes.truncate(index + 5);
            bytes[index / 2] ^= 1;
        });
    }
    let before = contents(&image);
    let to = MemEnv::new();
    let report = repair_env(Arc::new(image.clone()), Arc::new(to)).expect("a repair");
    assert_eq!(contents(&image), before);
    let entries: u64 = report.families.iter().map(|family| family.entries).sum();
    assert!(report.tables_salvaged as usize >= tables.len() - 1, "{report}");
    assert!(entries > 200, "{report}");
}

#[test]
fn batches_behind_a_hole_in_the_log_are_given_back() {
    let patient = patient(false);
    let log = *files(&patient.image(), is_log).last().expect("a log");
    let image = patient.image();
    change(&image, log, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    assert!(Db::open_env(Arc::new(patient.image()), options()).is_ok());
    let Repaired { report, state, .. } = repaired(&patient, &image);
    let [loss] = &report.log_losses[..] else { panic!("one loss: {report}") };
    assert_eq!(loss.before, Some(loss.after + 2), "one batch of one operation: {report}");
    let missing: Vec<&Vec<u8>> = patient.expected[DEFAULT_FAMILY]
        .keys()
        .filter(|key| !state[DEFAULT_FAMILY].contains_key(*key))
        .collect();
    assert_eq!(missing.len(), 1, "{report}");
    assert_eq!((report.log_batches, report.is_complete()), (29, false));
}

#[test]
fn a_missing_segment_that_the_manifest_needs_is_reported() {
    let patient = patient(false);
    let image = patient.image();
    for log in files(&image, is_log) {
        image.remove(log).expect("it is there");
    }
    let harm = Harm { log_shortened: true, ..Harm::default() };
    let Repaired { report, .. } = patient.check(&image, harm).expect("a repair").expect("a store");
    assert_eq!(report.log_losses.len(), 1, "{report}");
}

#[test]
fn what_is_no_place_for_the_new_store_is_refused() {
    let patient = patient(true);
    let image = patient.image();
    let before = contents(&image);
    for occupied in [FileId::Current, FileId::Lock] {
        let to = MemEnv::new();
        to.set_file_bytes(occupied, b"x".to_vec());
        let refused = repair_env(Arc::new(image.clone()), Arc::new(to.clone()));
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
        assert_eq!(contents(&to).len(), 1);
    }
    let to = MemEnv::new();
    to.add_foreign("letter.txt");
    assert!(repair_env(Arc::new(image.clone()), Arc::new(to)).is_err());
    let refused = repair_env(Arc::new(image.clone()), Arc::new(image.clone()));
    assert!(matches!(refused, Err(Error::InvalidArgument { .. } | Error::Locked { .. })));
    let missing = repair_env(Arc::new(MemEnv::new()), Arc::new(MemEnv::new()));
    assert!(matches!(missing, Err(Error::StoreMissing { .. })), "{missing:?}");
    assert_eq!(contents(&image), before);

    let db = Db::open_env(Arc::new(image.clone()), options()).expect("the store");
    let refused = repair_env(Arc::new(image), Arc::new(MemEnv::new()));
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    drop(db);
}

#[test]
fn sequence_numbers_go_on_behind_those_that_were_given() {
    let patient = patient(true);
    let image = patient.image();
    for file in files(&image, |file| is_manifest(file) || file == FileId::Current) {
        image.remove(file).expect("it is there");
    }
    let Repaired { env, .. } = repaired(&patient, &image);
    let db = Db::open_env(Arc::new(env), options()).expect("the store");
    assert!(db.stats().sequence_number >= 334, "{}", db.stats().sequence_number);
}

#[test]
fn every_few_bytes_of_every_file() {
    for closed in [true, false] {
        let patient = patient(closed);
        for (file, bytes) in contents(&patient.image()) {
            for at in (0..bytes.len()).step_by(37) {
                let image = patient.image();
                change(&image, file, |bytes| bytes[at] = !bytes[at]);
                let checked = patient.check(&image, Harm::default());
                checked.unwrap_or_else(|text| panic!("{file} byte {at}: {text}"));
            }
        }
    }
}

#[test]
fn generated_stores_under_several_damages() {
    for seed in seeds(12) {
        check_seed(seed).unwrap_or_else(|text| panic!("ALLUVIUM_SEED={seed}: {text}"));
    }
}
