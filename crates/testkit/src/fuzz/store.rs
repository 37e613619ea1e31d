//! Whole stores, one file of which is made of bytes.

use std::sync::{Arc, OnceLock};

use alluvium::env::{CrashPolicy, FileId, MemEnv};
use alluvium::fuzzing::{seal_log, tables};
use alluvium::{Db, Durability, Error, Options};

use crate::configs::tiny;
use crate::fuzz::input::Input;
use crate::model::{Model, State, differences};
use crate::operation::{Change, DEFAULT_FAMILY, Operation};
use crate::session::{Failure, Session};

/// Bytes of a log's header.
const LOG_HEADER_BYTES: usize = 48;
/// Bytes of a table's footer.
const FOOTER_BYTES: usize = 96;

/// A store in memory, left open by a crash: tables in two levels, a log with writes in it.
fn image() -> &'static MemEnv {
    static IMAGE: OnceLock<MemEnv> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let env = MemEnv::new();
        let mut session = Session::new(Arc::new(env.clone()), options(), Model::default());
        let write = |family: &str, key: &str, value: Option<&str>| Operation::Write {
            changes: vec![Change {
                family: family.to_owned(),
                key: key.as_bytes().to_vec(),
                value: value.map(|value| value.as_bytes().to_vec()),
                end: None,
            }],
            durability: Durability::Disk,
        };
        let mut run = vec![Operation::CreateFamily { name: "beta".to_owned() }];
        for round in ["one", "two", "three"] {
            for key in ["apple", "banana", "cherry"] {
                run.push(write(DEFAULT_FAMILY, key, Some(round)));
                run.push(write("beta", &format!("{key} {round}"), Some(key)));
            }
            run.push(write("beta", "apple one", None));
            if round != "three" {
                run.push(Operation::Flush { family: None });
            }
            if round == "one" {
                run.push(Operation::Compact { family: None });
            }
        }
        session.open().unwrap_or_else(|failure| panic!("{failure}"));
        for operation in &run {
            session.step(operation).unwrap_or_else(|failure| panic!("{operation:?}: {failure}"));
        }
        env.crash_image(CrashPolicy::DropUnsynced, 0)
    })
}

fn options() -> Options {
    let mut options = tiny();
    // No flush but those that the image asks for.
    options.column_family.memtable_bytes = 256 << 10;
    options
}

/// The newest file of a kind in the image.
fn newest(wanted: fn(&FileId) -> bool) -> FileId {
    let files = image().files().into_iter().filter(wanted);
    files.max().unwrap_or_else(|| panic!("the image lacks a kind of file"))
}

pub(super) fn wal_file() -> FileId {
    newest(|file| matches!(file, FileId::Wal(_)))
}

pub(super) fn manifest_file() -> FileId {
    newest(|file| matches!(file, FileId::Manifest(_)))
}

pub(super) fn table_file() -> FileId {
    newest(|file| matches!(file, FileId::Table(_)))
}

/// Every file of the image.
pub(super) fn files() -> Vec<(FileId, Vec<u8>)> {
    let bytes = |file: FileId| (file, image().file_bytes(file).unwrap_or_default());
    image().files().into_iter().map(bytes).collect()
}

fn number(file: FileId) -> u64 {
    file.number().map_or(0, |number| number.0)
}

/// Recovers a store whose newest log segment is these bytes, as they are and sealed.
///
/// # Panics
///
/// When recovery does not end in an error of damage or in a store that works, and stays as it is.
pub(super) fn wal(bytes: &[u8]) {
    let file = wal_file();
    check_store(file, bytes.to_vec(), true);
    let mut sealed = bytes.to_vec();
    seal_log(&mut sealed, number(file));
    check_store(file, sealed, false);
}

/// The same with the manifest.
///
/// # Panics
///
/// As [`wal`].
pub(super) fn manifest(bytes: &[u8]) {
    let file = manifest_file();
    check_store(file, bytes.to_vec(), true);
    let mut sealed = bytes.to_vec();
    seal_log(&mut sealed, number(file));
    check_store(file, sealed, false);
}

/// The same with a table, whose footer stays: the manifest knows it.
///
/// # Panics
///
/// As [`wal`].
pub(super) fn table(bytes: &[u8]) {
    let file = table_file();
    let original = image().file_bytes(file).unwrap_or_default();
    let blocks_end = original.len() - FOOTER_BYTES;
    let mut bytes = bytes.to_vec();
    bytes.resize(original.len(), 0);
    bytes[blocks_end..].copy_from_slice(&original[blocks_end..]);
    tables::seal_table(&mut bytes, number(file));
    check_store(file, bytes, false);
}

/// Opens the image with these bytes in `file`, reads and writes it, and opens it again.
///
/// Bytes that were sealed may lie (a manifest of the bounds of its tables), and lookups and scans
/// then differ; those that check by themselves are `honest`.
fn check_store(file: FileId, bytes: Vec<u8>, honest: bool) {
    let env = image().crash_image(CrashPolicy::DropUnsynced, 0);
    env.set_file_bytes(file, bytes);
    let open = |env: &MemEnv| Db::open_env(Arc::new(env.clone()), options());
    let db = match open(&env) {
        Ok(db) => db,
        Err(error) => {
            assert_damage(&error);
            // Which of several damages it names may differ.
            match open(&env) {
                Ok(_) => panic!("opens the second time, and said the first: {error}"),
                Err(error) => assert_damage(&error),
            }
            return;
        }
    };
    let found = read(&db, honest);
    drop(db);
    let env = env.crash_image(CrashPolicy::DropUnsynced, 0);
    let db = open(&env).unwrap_or_else(|error| panic!("opens once, and then: {error}"));
    let again = read(&db, honest);
    if let (Some(found), Some(again)) = (&found, &again) {
        assert!(found == again, "what was recovered changes:{}", differences(found, again));
    }
    assert_eq!(found.is_some(), again.is_some(), "readable once, and then not, or the reverse");
    write(&db);
    settle(alluvium::verify_env(Arc::new(env.crash_image(CrashPolicy::KeepAll, 0))).map(drop));
}

/// Everything in the store; `None` where some of it is damaged.
fn read(db: &Db, honest: bool) -> Option<State> {
    let mut state = State::new();
    let mut whole = true;
    for name in db.column_families() {
        let family = db.column_family(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut pairs = crate::model::Pairs::new();
        for pair in family.scan(..) {
            match pair {
                Ok((key, value)) => drop(pairs.insert(key.to_vec(), value.to_vec())),
                Err(error) => {
                    assert_damage(&error);
                    whole = false;
                    break;
                }
            }
        }
        if whole && honest {
            check_reads(&family, &pairs);
        }
        state.insert(name, Arc::new(pairs));
    }
    whole.then_some(state)
}

/// Lookups and the way back agree with the scan, as far as they get.
fn check_reads(family: &alluvium::ColumnFamily, pairs: &crate::model::Pairs) {
    for (key, value) in pairs {
        match family.get(key) {
            Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "a lookup of {key:?}"),
            Err(error) => assert_damage(&error),
        }
    }
    let mut backwards = Vec::new();
    for pair in family.scan(..).rev() {
        match pair {
            Ok((key, value)) => backwards.push((key.to_vec(), value.to_vec())),
            Err(error) => return assert_damage(&error),
        }
    }
    let forwards = pairs.iter().rev().map(|(key, value)| (key.clone(), value.clone()));
    assert!(forwards.eq(backwards), "a scan backwards differs");
}

/// Writes to the store, and does what the background does.
fn write(db: &Db) {
    let put = db.put("apple", "last");
    let written = put.is_ok();
    settle(put);
    match db.get("apple") {
        Ok(found) if written => assert_eq!(found.as_deref(), Some(&b"last"[..])),
        other => settle(other.map(drop)),
    }
    settle(db.flush());
    settle(db.compact());
}

/// An error is one that damage can cause.
fn settle(result: Result<(), Error>) {
    if let Err(error) = result {
        assert_damage(&error);
    }
}

fn assert_damage(error: &Error) {
    match error {
        Error::Corruption { .. } | Error::UnsupportedFormat { .. } => {}
        Error::WriteStopped { reason } => assert_damage(reason),
        error => panic!("bytes cannot cause this: {error:?}"),
    }
}

/// Makes writes from bytes, then cuts their log or changes one byte of it, and opens the store.
///
/// Every write is durable, so there is one right answer to each change: a log that is cut holds the
/// writes that are whole in it; one whose last write is damaged holds the others; any other damage
/// is an error, because the write behind it says that it was durable.
///
/// # Panics
///
/// When the answer is another.
pub(super) fn log_replay(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (cut, place, byte) = (input.byte() & 1 == 0, usize::from(input.word()), input.byte());
    let env = MemEnv::new();
    let mut session = Session::new(Arc::new(env.clone()), options(), Model::default());
    session.open().unwrap_or_else(|failure| panic!("{failure}"));
    let file = env.files().into_iter().filter(|file| matches!(file, FileId::Wal(_))).max();
    let file = file.unwrap_or_else(|| panic!("a new store has no log"));
    let length = || env.file_bytes(file).unwrap_or_default().len();
    // What there is behind each write, and where its frame ends.
    let mut states = vec![session.model.state()];
    let mut ends = vec![LOG_HEADER_BYTES];
    while !input.is_empty() && states.len() < 20 {
        let operation = one_write(&mut input);
        session.step(&operation).unwrap_or_else(|failure| panic!("{operation:?}: {failure}"));
        states.push(session.model.state());
        ends.push(length());
    }
    let writes = states.len() - 1;
    let image = env.crash_image(CrashPolicy::DropUnsynced, 0);
    drop(session);
    let mut log = image.file_bytes(file).unwrap_or_default();
    let expected = if cut || log.is_empty() {
        log.truncate(place % (log.len() + 1));
        Some(ends.partition_point(|end| *end <= log.len()).saturating_sub(1))
    } else {
        let at = place % log.len();
        let damaged = log[at] != byte;
        log[at] = byte;
        let frame = ends.partition_point(|end| *end <= at);
        match frame {
            _ if !damaged => Some(writes),
            _ if frame == writes => Some(frame.saturating_sub(1)),
            0 if writes <= 1 => Some(0),
            _ => None,
        }
    };
    image.set_file_bytes(file, log);
    let mut session = Session::new(Arc::new(image), options(), Model::default());
    match (session.open(), expected) {
        (Ok(()), Some(write)) => {
            let found = session.read_all().unwrap_or_else(|failure| panic!("{failure}"));
            let state = &states[write];
            assert!(found == *state, "not the state behind {write}:{}", differences(state, &found));
        }
        (Err(Failure::Store(error)), None) => assert_damage(&error),
        (Ok(()), None) => panic!("durable writes were lost without a word"),
        (Err(failure), _) => panic!("{failure}"),
    }
}

fn one_write(input: &mut Input<'_>) -> Operation {
    let shape = input.byte();
    let changes = (0..1 + usize::from(shape & 3))
        .map(|_| {
            let key = input.bytes(2).to_vec();
            let length = input.byte();
            let value = (!length.is_multiple_of(4)).then(|| vec![shape; usize::from(length)]);
            Change { family: DEFAULT_FAMILY.to_owned(), key, value, end: None }
        })
        .collect();
    Operation::Write { changes, durability: Durability::Disk }
}

/// The input itself, for targets whose seeds are files of the image.
pub(super) fn seed_of(file: FileId) -> Vec<Vec<u8>> {
    let bytes = image().file_bytes(file).unwrap_or_default();
    let half = bytes[..bytes.len() / 2].to_vec();
    vec![bytes, half]
}
