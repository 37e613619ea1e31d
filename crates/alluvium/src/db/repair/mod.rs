//! Repair: everything that a damaged store still holds, in a new one.
//!
//! What is promised stands in docs/durability.md ("Repair"). The source is only read
//! ([`source::Source`] refuses anything else); the destination is an empty directory, and is a
//! store only once its `CURRENT` is written, which comes last.
//!
//! # Two roads
//!
//! *By the manifest*, where it reads whole: each table stays in its level. One that is sound is
//! copied under its own number (its checksums are bound to it), of a damaged one the entries that
//! are left are written to a new one in its place. The log comes on top of them, as it does when a
//! store is opened.
//!
//! *By the files*, where it does not: of a table alone nobody knows its level, or whether it was
//! still part of the store. But each entry carries its sequence number, so that all tables and all
//! of the log are merged into one sorted run for each family, of every key the newest entry; what
//! was written twice (a table and those that it was merged from) comes out once.
//!
//! | file | does |
//! |---|---|
//! | `source` | reads the damaged store, pages that the disk refuses included |
//! | `tables` | keeps, salvages and merges tables |
//! | `log` | replays the log, holes and all |
//! | `report` | says what came of it |

mod log;
mod report;
mod source;
mod tables;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::base::sync::atomic::AtomicBool;
use crate::batch::ColumnFamilyId;
use crate::blob::BlobFiles;
use crate::cache::BlockCache;
use crate::compaction::blobs::Emptied;
use crate::compaction::job::JobContext;
use crate::db::open::take_lock;
use crate::db::repair::source::Source;
use crate::db::verify::verify_env;
use crate::env::{Env, PosixEnv, StoreLock, lies_within};
use crate::metrics::Counters;
use crate::options::Options;
use crate::sstable::TableCache;
use crate::version::{
    FileNumbers, ObsoleteFiles, Survey, SurveyedState, VersionEdit, VersionSet, is_plausible,
};

pub use report::{LogLoss, RepairReport, RepairedFamily, TableLoss};

/// The name of the family that every store has.
const DEFAULT_FAMILY_NAME: &str = "default";
/// Tables of the destination that are open at a time.
const OPEN_TABLES_MAX: usize = 64;

/// Writes everything that the store in `from` still holds to a new store in `to`, a directory that
/// is empty or not there. The store in `from` must not be open, and is not changed.
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # let place = tempfile::tempdir().unwrap();
/// # let (damaged, repaired) = (place.path().join("damaged"), place.path().join("repaired"));
/// # let db = alluvium::Db::open(&damaged, alluvium::Options::default())?;
/// # db.put("key", "value")?;
/// # db.close()?;
/// # std::fs::remove_file(damaged.join("CURRENT")).unwrap();
/// let report = alluvium::repair(&damaged, &repaired)?;
/// print!("{report}");
/// assert!(report.is_complete());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::StoreMissing`] and [`Error::Locked`] as for [`crate::verify`], `InvalidArgument` for a
/// destination that holds something, a format that this build does not read, and whatever keeps the
/// destination from being written. Damage is no error: it is in the report.
pub fn repair(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<RepairReport> {
    let (from, to) = (from.as_ref(), to.as_ref());
    if lies_within(to, from) {
        let detail = "the repaired store must not lie within the damaged one, which is not changed";
        return Err(Error::invalid(detail));
    }
    repair_env(Arc::new(PosixEnv::new(from)), Arc::new(PosixEnv::new(to)))
}

/// Repairs the store of one environment into another.
///
/// # Errors
/// See [`repair`].
pub fn repair_env(from: Arc<dyn Env>, to: Arc<dyn Env>) -> Result<RepairReport> {
    let source = Arc::new(Source::new(from));
    look_at_source(source.as_ref())?;
    let source_lock = lock_source(source.as_ref())?;
    let destination_lock = prepare_destination(to.as_ref())?;
    let survey = Survey::of(source.as_ref())?;
    let mut work = Work::new(&source, &to, survey)?;
    let state = work.survey.state.take();
    match state {
        Some(state) if work.is_believed(&state)? => work.by_manifest(&state)?,
        _ => work.by_files()?,
    }
    work.found_store()?;
    work.report.notes.extend(source.unreadable());
    work.report.unreadable_places = source.unreadable_places();
    drop((source_lock, destination_lock));
    check_result(to)?;
    Ok(work.report)
}

fn look_at_source(source: &dyn Env) -> Result<()> {
    let files = match source.list() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Error::io("list", source.directory(), error))?,
    };
    let is_data = |file: &FileId| {
        let about = matches!(file, FileId::Lock | FileId::Status | FileId::StatusTemporary);
        !about && !matches!(file, FileId::Temporary(_))
    };
    if files.iter().any(is_data) {
        return Ok(());
    }
    Err(Error::StoreMissing { directory: source.directory() })
}

fn lock_source(source: &Source) -> Result<Option<Box<dyn StoreLock>>> {
    source.lock_if_there().map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked { directory: source.directory() },
        _ => Error::io("lock", source.directory(), error),
    })
}

/// Makes the destination's directory, and refuses one that holds anything.
fn prepare_destination(to: &dyn Env) -> Result<Box<dyn StoreLock>> {
    let listed = |error| Error::io("list", to.directory(), error);
    to.create_directory().map_err(|error| Error::io("create directory", to.directory(), error))?;
    let found = to.list().map_err(listed)?.into_iter().map(FileId::name);
    let found: Vec<String> = found.chain(to.list_foreign().map_err(listed)?).collect();
    if let Some(name) = found.first() {
        let directory = to.directory();
        return Err(Error::invalid(format!(
            "{directory} is not empty ({name:?} and {} more): name a new directory for the \
             repaired store",
            found.len() - 1
        )));
    }
    take_lock(to)
}

/// Reads the new store back.
fn check_result(to: Arc<dyn Env>) -> Result<()> {
    match verify_env(to)?.damages.into_iter().next() {
        None => Ok(()),
        Some(damage) => Err(damage),
    }
}

/// A column family of the new store.
struct FamilyWork {
    name: String,
    name_is_known: bool,
    /// Its data in logs before this one is all in tables.
    log_number: FileNumber,
}

/// A repair under way.
struct Work {
    source: Arc<Source>,
    to: Arc<dyn Env>,
    options: Options,
    /// Tables of the destination.
    tables: Arc<TableCache>,
    /// Blob files of the source.
    blobs: BlobFiles,
    numbers: FileNumbers,
    survey: Survey,
    /// Ids below this were given out by the manifest that is believed; 0 where none is.
    known_below: ColumnFamilyId,
    families: BTreeMap<ColumnFamilyId, FamilyWork>,
    last_sequence: SeqNo,
    /// The tables of the new store.
    edit: VersionEdit,
    report: RepairReport,
}

impl Work {
    fn new(source: &Arc<Source>, to: &Arc<dyn Env>, mut survey: Survey) -> Result<Work> {
        let (cache, counters) = (Arc::new(BlockCache::new(0)), Arc::new(Counters::default()));
        let numbers = FileNumbers::new(survey.next_file_number);
        for number in list_numbers(source.as_ref())? {
            numbers.reserve_from(FileNumber(number.0 + 1));
        }
        let damages = std::mem::take(&mut survey.damages);
        Ok(Work {
            source: Arc::clone(source),
            to: Arc::clone(to),
            options: Options::default(),
            blobs: BlobFiles::new(
                Arc::clone(source) as Arc<dyn Env>,
                Arc::clone(&cache),
                Arc::clone(&counters),
                OPEN_TABLES_MAX,
            ),
            tables: Arc::new(TableCache::new(Arc::clone(to), cache, counters, OPEN_TABLES_MAX)),
            numbers,
            known_below: ColumnFamilyId(0),
            families: BTreeMap::new(),
            last_sequence: survey.last_sequence,
            survey,
            edit: VersionEdit::default(),
            report: RepairReport { damages, ..RepairReport::default() },
        })
    }

    fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// Runs something that writes tables of the new store.
    fn with_context<T>(&self, run: impl FnOnce(&JobContext<'_>) -> T) -> T {
        let never = AtomicBool::new(false);
        run(&JobContext {
            env: &self.to,
            tables: &self.tables,
            new_number: &|| self.numbers.take(),
            cancelled: &never,
            pace: &|_| Ok(()),
            // Values are read where the damaged store has them, and written anew.
            blobs: &self.blobs,
            emptied: Emptied::All,
            in_log: None,
        })
    }

    /// Whether a manifest's state is what the store was. Its last edit may be damaged so that it
    /// looks torn, or be gone altogether: then tables or a log are missing that it took out, and
    /// tables are there that it put in.
    fn is_believed(&self, state: &SurveyedState) -> Result<bool> {
        let on_disk = list_tables(self.source.as_ref())?;
        let named: HashSet<FileNumber> =
            state.tables.iter().map(|added| added.table.number).collect();
        let some_missing = named.iter().any(|number| !on_disk.contains(number))
            || !log::is_whole(self.source.as_ref(), state.oldest_log())?;
        let is_strange =
            |number: &FileNumber| !named.contains(number) && !self.survey.deleted.contains(number);
        let some_strange = on_disk.iter().any(is_strange);
        Ok(match (state.closed, state.torn) {
            (true, _) => true,
            (false, false) => !(some_missing && some_strange),
            (false, true) => !(some_missing || some_strange),
        })
    }

    fn by_manifest(&mut self, state: &SurveyedState) -> Result<()> {
        self.report.manifest = Some(state.manifest.0);
        self.known_below = state.next_family;
        for (id, name, log_number) in &state.families {
            let (name, log_number) = (name.clone(), *log_number);
            self.families.insert(*id, FamilyWork { name, name_is_known: true, log_number });
        }
        if state.torn {
            let name = self.source.display(FileId::Manifest(state.manifest));
            self.report.manifest_is_torn = true;
            self.note(format!("{name}: its last edit was never finished, or is damaged"));
        }
        for added in &state.tables {
            self.keep_table(added.family, added.level, &added.table)?;
        }
        for (family, table) in log::Replay::run(self, Some(state.oldest_log()), state.closed)? {
            self.edit.add(family, 0, table);
        }
        Ok(())
    }

    fn by_files(&mut self) -> Result<()> {
        self.note(
            "which tables counted is not known: all that were found are merged; rows that were \
             deleted may be back, and a table that is missing altogether is not noticed"
                .to_owned(),
        );
        self.meet(ColumnFamilyId::DEFAULT);
        for id in self.survey.names.keys().copied().collect::<Vec<_>>() {
            if !self.survey.is_dropped(id) {
                self.meet(id);
            }
        }
        let from_log = log::Replay::run(self, None, false)?;
        self.merge_tables(from_log)
    }

    /// Whether an operation of the log that names family `id` belongs into the new store.
    fn takes(&mut self, id: ColumnFamilyId, segment: FileNumber) -> bool {
        if self.is_dropped(id) {
            return false;
        }
        self.meet(id).is_none_or(|log_number| segment >= log_number)
    }

    fn is_dropped(&self, id: ColumnFamilyId) -> bool {
        if id < self.known_below {
            return !self.families.contains_key(&id);
        }
        self.survey.is_dropped(id)
    }

    /// Makes sure that there is a family of this id; gives the log that its data begins with.
    fn meet(&mut self, id: ColumnFamilyId) -> Option<FileNumber> {
        if let Some(family) = self.families.get(&id) {
            return Some(family.log_number);
        }
        let known = match id {
            ColumnFamilyId::DEFAULT => Some(DEFAULT_FAMILY_NAME.to_owned()),
            _ => self.survey.names.get(&id).cloned(),
        };
        let is_taken = |name: &String| self.families.values().any(|family| family.name == *name);
        let known = known.filter(|name| !is_taken(name));
        let name_is_known = known.is_some();
        let name = known.unwrap_or_else(|| {
            let mut name = format!("recovered-{}", id.0);
            while is_taken(&name) || self.survey.names.values().any(|known| *known == name) {
                name.push('+');
            }
            name
        });
        let log_number = FileNumber(0);
        self.families.insert(id, FamilyWork { name, name_is_known, log_number });
        None
    }

    /// Writes the manifest and `CURRENT` of the new store.
    fn found_store(&mut self) -> Result<()> {
        let beyond = self.families.keys().map(|id| id.0.saturating_add(1)).max().unwrap_or(1);
        let in_tables = self.edit.added.iter().map(|added| added.table.largest_seq);
        self.last_sequence = in_tables.fold(self.last_sequence, SeqNo::max);
        let next_family = beyond.max(self.survey.next_family.0).max(self.known_below.0);
        self.edit.next_family = Some(ColumnFamilyId(next_family));
        self.edit.last_sequence = Some(self.last_sequence);
        self.edit.next_file_number = Some(self.numbers.next());
        for (id, family) in &self.families {
            self.edit.created.push((*id, family.name.clone()));
            let tables = self.edit.added.iter().filter(|added| added.family == *id);
            self.report.families.push(RepairedFamily {
                id: id.0,
                name: family.name.clone(),
                name_is_known: family.name_is_known,
                entries: tables.map(|added| added.table.entries).sum(),
            });
        }
        let obsolete = ObsoleteFiles::new();
        VersionSet::create_from(Arc::clone(&self.to), obsolete, &self.edit)?.close()
    }
}

/// The files that a store may have given these numbers, of every kind.
fn list_numbers(env: &dyn Env) -> Result<Vec<FileNumber>> {
    let files = env.list().map_err(|error| Error::io("list", env.directory(), error))?;
    Ok(files.into_iter().filter_map(FileId::number).filter(|&n| is_plausible(n)).collect())
}

/// The tables in the directory.
fn list_tables(env: &dyn Env) -> Result<HashSet<FileNumber>> {
    let files = env.list().map_err(|error| Error::io("list", env.directory(), error))?;
    let tables = files.into_iter().filter_map(|file| match file {
        FileId::Table(number) if is_plausible(number) => Some(number),
        _ => None,
    });
    Ok(tables.collect())
}
