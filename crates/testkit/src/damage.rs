//! The damage sweep: every byte of every file of a small store is changed, one at a time, and all
//! of the store is read. Each answer must be right, or an error that names the damaged file.
//!
//! Files are also cut, grown, swapped, stale and missing, and their sectors gone or out of place
//! ([`Victim::sweep_shapes`]).
//!
//! Loss is allowed only where nobody can tell it from a crash: of the last write of a log that was
//! not closed, when a flip is within its frame; of the last writes, when the end of a log that was
//! not closed is gone; of the last edits, when the end of a manifest is gone. Damage in a table, in
//! `CURRENT`, and in a log that was closed must also be found by `verify`; in a blob file, where it
//! is in a value.
//! Nothing may panic, hang (a watchdog ends the process) or allocate what a damaged length asks for
//! (the tests count what is allocated).

mod shapes;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use alluvium::env::{CrashPolicy, Env as _, FileId, MemEnv};
use alluvium::{ColumnFamily, Db, Error, Options};

use self::shapes::Shapes;
use crate::configs::tiny;
use crate::model::{Model, Pairs, State};
use crate::operation::{Change, DEFAULT_FAMILY, Operation, Short};
use crate::random::Random;
use crate::runner::panic_text;
use crate::session::Session;
use crate::torture::Turn;
use crate::watchdog::Watchdog;

/// How long one mutant may take before it counts as hung.
const MUTANT_TIME_MAX: Duration = Duration::from_secs(20);

/// A small store in memory, to be damaged.
#[derive(Debug)]
pub struct Victim {
    env: MemEnv,
    options: Options,
    expected: State,
    closed: bool,
    /// What held after each operation.
    history: Vec<State>,
    /// What files held before they grew or went.
    older: Vec<(FileId, Vec<u8>)>,
    /// Where the last frame of the newest log begins and what holds without it, where it may be
    /// lost.
    last_write: Option<(FileId, u64, State)>,
}

/// What a sweep saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Stores damaged and read.
    pub mutants: u64,
    /// Those that were refused at opening.
    pub refused: u64,
    /// Those where at least one read failed.
    pub failed: u64,
    /// Those that lost the last write, as allowed.
    pub shortened: u64,
    /// Those where every read succeeded.
    pub unharmed: u64,
}

/// Damages bytes of a closed store and of one left open until the turn is over.
pub fn torture(turn: &mut Turn) {
    const STEP: usize = 251;
    let apart = |options: &mut Options| options.column_family.blob_bytes_min = Some(8);
    let victims = [
        Victim::build(true, |_| {}),
        Victim::build(false, |_| {}),
        Victim::build(true, apart),
        Victim::build(false, apart),
    ];
    for victim in &victims {
        turn.note(victim.sweep_shapes(1).map(|seen| seen.mutants));
    }
    while turn.goes_on() {
        let mut random = Random::new(turn.seed());
        let flips = [Flip::Xor(1 << random.below(8)), Flip::Set(random.next() as u8)];
        let swept = random.pick(&victims).sweep_bytes(random.below(STEP), STEP, &flips);
        turn.note(swept.map(|seen| seen.mutants));
    }
}

/// A change of one byte.
#[derive(Debug, Clone, Copy)]
pub enum Flip {
    /// Exclusive or with these bits.
    Xor(u8),
    /// This value.
    Set(u8),
}

impl Flip {
    fn of(self, byte: u8) -> u8 {
        match self {
            Flip::Xor(bits) => byte ^ bits,
            Flip::Set(value) => value,
        }
    }
}

impl Victim {
    /// Builds a store of two families with tables on two levels, deletes, and writes in the log;
    /// closed in good order, or left as a crash would leave it.
    ///
    /// # Panics
    ///
    /// When the store does not work even without damage.
    #[must_use]
    pub fn build(closed: bool, change_options: impl FnOnce(&mut Options)) -> Victim {
        let mut options = tiny();
        options.column_family.block_bytes = 128;
        options.column_family.memtable_bytes = 64 << 10;
        change_options(&mut options);
        let env = MemEnv::new();
        let mut session = Session::new(Arc::new(env.clone()), options.clone(), Model::default());
        let (mut last_write, mut history, mut older) = (None, vec![State::new()], Vec::new());
        let run = victim_run();
        session.open().unwrap_or_else(|failure| panic!("{failure}"));
        for (index, operation) in run.iter().enumerate() {
            if index + 1 == run.len() && !closed {
                let newest = newest_log(&env);
                let length = env.file_bytes(newest).unwrap_or_default().len() as u64;
                last_write = Some((newest, length, session.model.state()));
            }
            let before = contents(&env);
            session.step(operation).unwrap_or_else(|failure| panic!("{operation:?}: {failure}"));
            history.push(session.model.state());
            let after = contents(&env);
            older.extend(before.into_iter().filter(|(file, bytes)| after.get(file) != Some(bytes)));
        }
        let expected = session.model.state();
        if closed {
            session.close().unwrap_or_else(|failure| panic!("{failure}"));
        }
        let env = env.crash_image(CrashPolicy::DropUnsynced, 0);
        Victim { env, options, expected, closed, history, older, last_write }
    }

    /// The files and their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(FileId, usize)> {
        let length = |file| self.env.file_bytes(file).map_or(0, |bytes| bytes.len());
        self.env.files().into_iter().map(|file| (file, length(file))).collect()
    }

    /// Changes bytes `offset`, `offset + step`, ... of every file, each with every one of `flips`.
    ///
    /// # Errors
    ///
    /// The first mutant that answers wrongly.
    pub fn sweep_bytes(&self, first: usize, step: usize, flips: &[Flip]) -> Result<Seen, String> {
        let watchdog = Watchdog::new(MUTANT_TIME_MAX);
        let mut seen = Seen::default();
        for (file, length) in self.files() {
            let original = self.env.file_bytes(file).unwrap_or_default();
            for offset in (first..length).step_by(step) {
                for flip in flips {
                    let byte = flip.of(original[offset]);
                    if byte == original[offset] {
                        continue;
                    }
                    let label =
                        format!("{file}: byte {offset} {:#04x} -> {byte:#04x}", original[offset]);
                    watchdog.step(label.clone());
                    let mut bytes = original.clone();
                    bytes[offset] = byte;
                    let allowed: Vec<&State> =
                        self.allowed_loss(file, offset as u64).into_iter().collect();
                    let found = matches!(file, FileId::Table(_));
                    self.check(&[(file, Some(bytes))], &allowed, found, &mut seen)
                        .map_err(|text| format!("{label}: {text}"))?;
                }
            }
        }
        Ok(seen)
    }

    /// Cuts, grows, swaps, removes and takes back files, and zeroes and moves their sectors; cuts
    /// to every `step`-th length.
    ///
    /// # Errors
    ///
    /// The first mutant that answers wrongly.
    pub fn sweep_shapes(&self, step: usize) -> Result<Seen, String> {
        let watchdog = Watchdog::new(MUTANT_TIME_MAX);
        let mut seen = Seen::default();
        let mut files = contents(&self.env);
        files.remove(&FileId::Lock);
        let shapes = Shapes { files: &files, older: &self.older, step };
        shapes.each(&mut |mutant| {
            watchdog.step(mutant.label.clone());
            let in_manifest =
                mutant.changes.iter().any(|(file, _)| matches!(file, FileId::Manifest(_)));
            let in_log = mutant.changes.iter().any(|(file, _)| matches!(file, FileId::Wal(_)));
            let may_be_short = in_manifest || in_log && !self.closed;
            // What was a segment of the log has bytes that mean nothing any more.
            let in_values = mutant.changes.iter().any(|(file, _)| matches!(file, FileId::Blob(_)));
            let allowed: Vec<&State> =
                if may_be_short { self.history.iter().collect() } else { Vec::new() };
            let found = !may_be_short && !in_values;
            self.check(&mutant.changes, &allowed, found, &mut seen)
                .map_err(|text| format!("{}: {text}", mutant.label))
        })?;
        Ok(seen)
    }

    /// Opens and reads the store with these files changed. Beside the right answers those of an
    /// `allowed` state will do.
    fn check(
        &self,
        changes: &[(FileId, Option<Vec<u8>>)],
        allowed: &[&State],
        verify_finds_it: bool,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let env = self.env.crash_image(CrashPolicy::DropUnsynced, 0);
        for (file, bytes) in changes {
            match bytes {
                Some(bytes) => env.set_file_bytes(*file, bytes.clone()),
                None => env.remove(*file).map_err(|error| error.to_string())?,
            }
        }
        seen.mutants += 1;
        let damaged: Vec<FileId> = changes.iter().map(|(file, _)| *file).collect();
        let options = Options { create_if_missing: false, ..self.options.clone() };
        if verify_finds_it {
            must_verify(&env, &damaged)?;
        }
        let body = || match Db::open_env(Arc::new(env), options) {
            Err(error) => must_name(&error, &damaged).map(|()| Answers::Refused),
            Ok(db) => {
                read_everything(&db, &damaged, &self.expected)?.judge(&self.expected, allowed)
            }
        };
        match catch_unwind(AssertUnwindSafe(body)).map_err(|panic| panic_text(&*panic))?? {
            Answers::Refused => seen.refused += 1,
            Answers::Failed => seen.failed += 1,
            Answers::Shortened => seen.shortened += 1,
            Answers::Unharmed => seen.unharmed += 1,
        }
        Ok(())
    }

    /// What may hold instead when byte `offset` of `file` is damaged.
    fn allowed_loss(&self, file: FileId, offset: u64) -> Option<&State> {
        let (newest, begins, without) = self.last_write.as_ref()?;
        (*newest == file && offset >= *begins).then_some(without)
    }
}

/// The bytes of every file.
fn contents(env: &MemEnv) -> BTreeMap<FileId, Vec<u8>> {
    let bytes = |file| env.file_bytes(file).unwrap_or_default();
    env.files().into_iter().map(|file| (file, bytes(file))).collect()
}

/// How a mutant answered.
enum Answers {
    Refused,
    Failed,
    Shortened,
    Unharmed,
}

/// Every answer that a mutant gave.
#[derive(Default)]
struct Reading {
    /// Each value that some read gave, or that it said was missing.
    found: BTreeMap<(String, Vec<u8>), Option<Vec<u8>>>,
    failures: u64,
}

impl Reading {
    /// Notes an answer; two different ones for a key are wrong whatever the truth is.
    fn note(&mut self, family: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let value = value.map(<[u8]>::to_vec);
        let before = self.found.insert((family.to_owned(), key.to_vec()), value.clone());
        match before {
            Some(before) if before != value => {
                Err(format!("two answers for {family} {}", Short(key)))
            }
            _ => Ok(()),
        }
    }

    fn judge(&self, expected: &State, allowed: &[&State]) -> Result<Answers, String> {
        let Err(text) = self.agrees(expected) else {
            let unharmed = self.failures == 0;
            return Ok(if unharmed { Answers::Unharmed } else { Answers::Failed });
        };
        match allowed.iter().any(|state| self.agrees(state).is_ok()) {
            true => Ok(Answers::Shortened),
            false => Err(text),
        }
    }

    fn agrees(&self, expected: &State) -> Result<(), String> {
        for ((family, key), value) in &self.found {
            let truth = expected.get(family).and_then(|pairs| pairs.get(key));
            if truth != value.as_ref() {
                let found = value.as_ref().map(|value| Short(value).to_string());
                return Err(format!("{family} {} reads as {found:?}", Short(key)));
            }
        }
        Ok(())
    }
}

fn read_everything(db: &Db, damaged: &[FileId], expected: &State) -> Result<Reading, String> {
    let mut reading = Reading::default();
    for (name, pairs) in expected {
        let family = match db.column_family(name) {
            Ok(family) => family,
            // As it was before the family was made: right or wrong by what is allowed.
            Err(Error::ColumnFamilyMissing { .. }) => {
                pairs.keys().try_for_each(|key| reading.note(name, key, None))?;
                continue;
            }
            Err(error) => return Err(format!("family {name}: {error}")),
        };
        let neighbours = pairs.keys().map(|key| [&key[..], b"\0"].concat());
        for key in pairs.keys().cloned().chain(neighbours) {
            match family.get(&key) {
                Ok(value) => reading.note(name, &key, value.as_deref())?,
                Err(error) => {
                    reading.failures += 1;
                    must_name(&error, damaged)?;
                }
            }
        }
        scan_both_ways(&family, damaged, pairs, &mut reading)?;
    }
    Ok(reading)
}

/// Scans forward and backward until the end or the first error. Keys that a scan passes over count
/// as answers too.
fn scan_both_ways(
    family: &ColumnFamily,
    damaged: &[FileId],
    expected: &Pairs,
    reading: &mut Reading,
) -> Result<(), String> {
    let name = family.name().to_owned();
    for backward in [false, true] {
        let mut scan = family.scan(..);
        let mut keys: Vec<&Vec<u8>> = expected.keys().collect();
        if backward {
            keys.reverse();
        }
        let mut unseen = keys.into_iter().peekable();
        let passed = |key: &[u8], next: &[u8]| if backward { key > next } else { key < next };
        loop {
            let item = if backward { scan.next_back() } else { scan.next() };
            match item {
                None => {
                    for key in unseen {
                        reading.note(&name, key, None)?;
                    }
                    break;
                }
                Some(Err(error)) => {
                    reading.failures += 1;
                    must_name(&error, damaged)?;
                    break;
                }
                Some(Ok((key, value))) => {
                    while let Some(skipped) = unseen.next_if(|unseen| passed(unseen, &key)) {
                        reading.note(&name, skipped, None)?;
                    }
                    unseen.next_if(|unseen| unseen[..] == key[..]);
                    reading.note(&name, &key, Some(&value))?;
                }
            }
        }
    }
    Ok(())
}

/// An error about damage says which file is damaged.
fn must_name(error: &Error, damaged: &[FileId]) -> Result<(), String> {
    let is_one = |name: &str| damaged.iter().any(|file| name.ends_with(&file.name()));
    let leads_on = |file: &FileId| matches!(file, FileId::Manifest(_) | FileId::Current);
    match error {
        Error::Corruption { file, .. } | Error::UnsupportedFormat { file, .. } if is_one(file) => {
            Ok(())
        }
        // The last edit of a manifest that was not closed can't be told from one that a crash tore.
        // The edits before it name files that are gone, and so does an older `CURRENT`; or the log
        // names a family that they don't know yet.
        Error::Corruption { detail, .. }
            if damaged.iter().any(leads_on)
                && ["missing", "never was"].iter().any(|what| detail.contains(what)) =>
        {
            Ok(())
        }
        _ => Err(format!("an error that names none of {damaged:?}: {error}")),
    }
}

fn must_verify(env: &MemEnv, damaged: &[FileId]) -> Result<(), String> {
    match alluvium::verify_env(Arc::new(env.clone())) {
        Err(error) => must_name(&error, damaged),
        Ok(report) if report.damages.is_empty() => Err("verify finds nothing".to_owned()),
        Ok(report) => report.damages.iter().try_for_each(|error| must_name(error, damaged)),
    }
}

fn newest_log(env: &MemEnv) -> FileId {
    let logs = env.files().into_iter().filter(|file| matches!(file, FileId::Wal(_)));
    logs.max().unwrap_or(FileId::Lock)
}

/// What the victim is made of: the last operation is one write.
fn victim_run() -> Vec<Operation> {
    let write = |changes: &[(&str, &str, Option<&str>)]| Operation::Write {
        changes: changes
            .iter()
            .map(|(family, key, value)| Change {
                family: (*family).to_owned(),
                key: key.as_bytes().to_vec(),
                value: value.map(|value| value.as_bytes().to_vec()),
                end: None,
            })
            .collect(),
        durability: alluvium::Durability::Disk,
    };
    let (one, two) = (DEFAULT_FAMILY, "beta");
    let long = "long value ".repeat(20);
    let flush = || Operation::Flush { family: None };
    vec![
        Operation::CreateFamily { name: two.to_owned() },
        write(&[(one, "apple", Some("1")), (one, "banana", Some(&long)), (two, "x", Some("1"))]),
        write(&[(one, "cherry", Some("2")), (one, "date", Some("2")), (two, "y", Some("2"))]),
        flush(),
        Operation::Compact { family: None },
        write(&[(one, "apple", Some("3")), (one, "banana", None), (one, "elder", Some(&long))]),
        flush(),
        write(&[(one, "cherry", Some("4")), (two, "x", None)]),
        write(&[(one, "fig", Some("5")), (two, "z", Some("5"))]),
        write(&[(one, "apple", Some("6"))]),
    ]
}

/// The most address space that this process ever had, in bytes: an allocation shows here even where
/// its memory was never touched. 0 where the system does not say.
#[must_use]
pub fn virtual_bytes_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    kilobytes.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}
