//! Opening a store: find it or make it, lock it, recover it, start its workers.
//!
//! # Order
//!
//! 1. Look without changing anything: is there a store, nothing, or something foreign?
//! 2. Take the lock, and look again.
//! 3. Read the manifest, replay the log into tables.
//! 4. Begin a fresh log segment; both are durable, names too.
//! 5. Write a fresh manifest that names the new tables and segment, and switch `CURRENT` to it.
//!    Before this step the store is what it was, after it what it will be.
//! 6. Remove what is not named any more.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::expiry;
use crate::base::file::{FileId, FileNumber};
use crate::base::planted;
use crate::blob::BlobFiles;
use crate::cache::BlockCache;
use crate::db::background;
use crate::db::clock::WallClock;
use crate::db::core::{Core, CoreParts};
use crate::db::events::observed_env::ObservedEnv;
use crate::db::events::{Events, trace};
use crate::db::family::{Families, Family};
use crate::db::memory::{Budget, Held};
use crate::db::recovery::{Recovered, Replay};
use crate::db::retired;
use crate::db::status;
use crate::db::wal_set::{WalSet, sync_directory};
use crate::env::{Env, StoreLock};
use crate::metrics::{Counters, Event};
use crate::options::Options;
use crate::sstable::TableCache;
use crate::version::{ObsoleteFiles, StoreState, VersionEdit, VersionSet, store_exists};

/// A store that is open, and its lock.
pub(crate) struct Opened {
    pub(crate) core: Arc<Core>,
    pub(crate) lock: Box<dyn StoreLock>,
}

/// Opens the store of `env`.
pub(crate) fn open(env: Arc<dyn Env>, options: Options) -> Result<Opened> {
    options.validate()?;
    let began = env.now();
    let _span = trace::span(trace::Of::Open, &env.directory());
    let counters = Arc::new(Counters::default());
    let events = Events::new(Arc::clone(&env), Arc::clone(&counters), &options.listeners);
    let env: Arc<dyn Env> = Arc::new(ObservedEnv::new(env, Arc::clone(&events)));
    look(env.as_ref(), options.create_if_missing)?;
    if options.create_if_missing {
        env.create_directory()
            .map_err(|error| Error::io("create directory", env.directory(), error))?;
    }
    let lock = take_lock(env.as_ref())?;
    let state = look(env.as_ref(), options.create_if_missing)?;

    let tables = table_cache(&env, &options, &counters);
    let obsolete = ObsoleteFiles::new();
    let mut versions = match state {
        StoreState::Present => VersionSet::recover(Arc::clone(&env), Arc::clone(&obsolete))?,
        StoreState::Absent | StoreState::Half => {
            VersionSet::create(Arc::clone(&env), Arc::clone(&obsolete))?
        }
    };
    check_files(env.as_ref(), &versions)?;
    let numbers = versions.file_numbers();
    let clock = begin_clock(&env, &versions);

    let blobs = blob_files(&env, &tables, &options, &counters);
    let replay = Replay {
        blobs: &blobs,
        env: &env,
        options: &options,
        versions: &versions,
        tables: &tables,
        numbers: &numbers,
    };
    let recovered = {
        let _span = trace::span(trace::Of::Recovery, &env.directory());
        replay.run()?
    };
    let log = numbers.take();
    let wal = WalSet::begin(Arc::clone(&env), Arc::clone(&counters), log, recovered.last_seq)
        .and_then(|wal| install(&mut versions, &recovered, log, &clock).map(|()| wal))
        .inspect_err(|_| {
            if !versions.failed_edit_may_count() {
                discard(env.as_ref(), &recovered, log);
            }
        })?;
    let families = build_families(&versions, &options, wal.number());
    remove_unnamed(env.as_ref(), &versions, wal.number(), &counters)?;

    let core = Arc::new(Core::new(CoreParts {
        env,
        options,
        counters,
        families,
        versions,
        tables,
        blobs,
        obsolete,
        wal,
        events,
        clock,
    }));
    begin_life(&core, &recovered, began)?;
    Ok(Opened { core, lock })
}

/// The table cache, over a block cache of the size that the options lead to.
fn table_cache(env: &Arc<dyn Env>, options: &Options, counters: &Arc<Counters>) -> Arc<TableCache> {
    let blocks = options.memory_limit.map(|limit| Budget::new(limit).block_cache(&Held::default()));
    let cache = Arc::new(BlockCache::new(blocks.unwrap_or(options.block_cache_bytes)));
    Arc::new(TableCache::new(Arc::clone(env), cache, Arc::clone(counters), options.open_tables_max))
}

/// The blob files, over the block cache of the tables.
fn blob_files(
    env: &Arc<dyn Env>,
    tables: &TableCache,
    options: &Options,
    counters: &Arc<Counters>,
) -> BlobFiles {
    let cache = Arc::clone(tables.block_cache());
    BlobFiles::new(Arc::clone(env), cache, Arc::clone(counters), options.open_tables_max)
}

/// Starts what a store does by itself.
fn begin_life(core: &Arc<Core>, recovered: &Recovered, began: Duration) -> Result<()> {
    status::inherit(core);
    let weak = Arc::downgrade(core);
    core.obsolete.set_waker(move || {
        if let Some(core) = weak.upgrade() {
            core.scheduler.hint_work();
        }
    });
    if let Err(error) = background::start(core) {
        // The workers that did start must not outlive the lock.
        background::stop(core);
        return Err(error);
    }
    tell_opened(core, recovered, began);
    status::start(core);
    Ok(())
}

fn tell_opened(core: &Core, recovered: &Recovered, began: Duration) {
    let families = core.families.all();
    let tables = families.values().map(|family| family.peek().version.tables().count());
    let took = core.env.now().saturating_sub(began);
    core.events.tell(Event::Opened {
        recovered_tables: recovered.tables.len(),
        tables: tables.sum(),
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    });
}

/// What is in the directory; refuses what is no place for a store. Changes nothing.
pub(crate) fn look(env: &dyn Env, create: bool) -> Result<StoreState> {
    let state = store_exists(env)?;
    if state == StoreState::Present {
        return Ok(state);
    }
    if !create {
        return Err(Error::StoreMissing { directory: env.directory() });
    }
    let foreign = match env.list_foreign() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Error::io("list", env.directory(), error))?,
    };
    match foreign.first() {
        Some(name) => Err(Error::invalid(format!(
            "{} holds no store, but other files ({name:?} and {} more): choose an empty directory",
            env.directory(),
            foreign.len() - 1
        ))),
        None => Ok(state),
    }
}

/// What [`planted`] holds instead of a lock.
#[derive(Debug)]
struct Unlocked;

impl StoreLock for Unlocked {}

pub(crate) fn take_lock(env: &dyn Env) -> Result<Box<dyn StoreLock>> {
    if planted::is("lock-not-taken") {
        return Ok(Box::new(Unlocked));
    }
    env.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { directory: env.directory() },
        _ => Error::io("lock", env.directory(), error),
    })
}

/// Every table and every blob file that the manifest names is there.
fn check_files(env: &dyn Env, versions: &VersionSet) -> Result<()> {
    let files = env.list().map_err(|error| Error::io("list", env.directory(), error))?;
    let present: HashSet<FileId> = files.into_iter().collect();
    for number in live_tables(versions) {
        if !present.contains(&FileId::Table(number)) {
            let name = env.display(FileId::Table(number));
            return Err(Error::corruption(name, 0, "the table is missing"));
        }
    }
    for blob in versions.blobs() {
        let names = [FileId::Blob(blob.number), FileId::Wal(blob.number)];
        if !names.iter().any(|name| present.contains(name)) {
            let name = env.display(FileId::Blob(blob.number));
            return Err(Error::corruption(name, 0, "the blob file is missing"));
        }
    }
    Ok(())
}

fn live_tables(versions: &VersionSet) -> HashSet<FileNumber> {
    let tables = versions.families().values().flat_map(|family| family.version.tables());
    tables.map(|table| table.number).collect()
}

/// The start of 2026, when there was no such store yet, in milliseconds since 1970.
const FIRST_STORE_MS: u64 = 1_767_225_600_000;

/// The clock of the store. Where it shows a time before there were stores, and before all that the
/// manifest has noted, as one does that has lost its battery, what was noted last has passed. Where
/// it shows any other it is believed: what was noted later may be of a clock that was ahead.
fn begin_clock(env: &Arc<dyn Env>, versions: &VersionSet) -> WallClock {
    let marks = versions.time_marks();
    let now_ms = expiry::milliseconds(env.unix_time());
    let is_certainly_behind =
        now_ms < FIRST_STORE_MS && marks.all().first().is_some_and(|first| now_ms < first.ms);
    let passed = marks.last().filter(|_| is_certainly_behind);
    WallClock::new(Arc::clone(env), passed.map_or(0, |mark| mark.ms))
}

/// Puts everything that was recovered, and the new segment, into a fresh manifest.
fn install(
    versions: &mut VersionSet,
    recovered: &Recovered,
    log: FileNumber,
    clock: &WallClock,
) -> Result<()> {
    let mut edit = VersionEdit::default();
    edit.blobs = recovered.blobs.clone();
    for (family, table) in &recovered.tables {
        edit.add(*family, 0, Arc::clone(table));
    }
    for &family in versions.families().keys() {
        edit.logs.push((family, log));
    }
    edit.last_sequence = Some(recovered.last_seq);
    edit.mark(recovered.last_seq, clock.mark_ms());
    versions.apply(edit)
}

/// Removes what an open has made that failed before anything could name it. A disk that is full
/// would otherwise lose a little more space with each try.
fn discard(env: &dyn Env, recovered: &Recovered, log: FileNumber) {
    for (_, table) in &recovered.tables {
        drop(env.remove(FileId::Table(table.number)));
    }
    for blob in &recovered.blobs {
        drop(env.remove(FileId::Blob(blob.number)));
    }
    drop(env.remove(FileId::Wal(log)));
}

fn build_families(versions: &VersionSet, options: &Options, log: FileNumber) -> Families {
    let budget = options.memory_limit.map(Budget::new);
    let kept = options.column_family.memtable_bytes;
    // Kept chunks are memtable memory that nobody uses just now.
    let kept = budget.map_or(kept, |budget| kept.min(budget.memtables() / 4));
    let families = Families::new(kept);
    for state in versions.families().values() {
        families.insert(Arc::new(Family::new(
            state.id,
            state.name.clone(),
            options.family(&state.name).clone(),
            Arc::clone(&state.version),
            log,
            Arc::clone(&families.pool),
        )));
    }
    families
}

/// Removes every file of the store that nothing names. One that can't be removed stays, and is
/// tried again by the next open.
fn remove_unnamed(
    env: &dyn Env,
    versions: &VersionSet,
    log: FileNumber,
    counters: &Counters,
) -> Result<()> {
    let live = live_tables(versions);
    let list = || env.list().map_err(|error| Error::io("list", env.directory(), error));
    let blobs = versions.blobs();
    retired::rename_all(env, &blobs, &list()?.into_iter().collect());
    let blobs: HashSet<FileNumber> = blobs.iter().map(|blob| blob.number).collect();
    let files: HashSet<FileId> = list()?.into_iter().collect();
    let is_renamed = |number: &FileNumber| files.contains(&FileId::Blob(*number));
    let by_old_name: HashSet<FileNumber> =
        blobs.iter().copied().filter(|number| !is_renamed(number)).collect();
    for file in files {
        let named = match file {
            FileId::Wal(number) => number >= log || by_old_name.contains(&number),
            FileId::Table(number) if planted::is("open-removes-a-live-table") => {
                live.contains(&number) && live.iter().max() != Some(&number)
            }
            FileId::Table(number) => live.contains(&number),
            FileId::Blob(number) => blobs.contains(&number),
            FileId::Manifest(number) => number == versions.manifest_number(),
            FileId::Temporary(_) | FileId::StatusTemporary => false,
            FileId::Current | FileId::Lock | FileId::Status => true,
        };
        if !named && env.remove(file).is_err() {
            counters.removals_failed.add(1);
        }
    }
    sync_directory(env)
}
