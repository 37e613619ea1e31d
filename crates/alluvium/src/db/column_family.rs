//! Handles to column families, and their creation and end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::planted;
use crate::base::sync::atomic::Ordering;
use crate::batch::ColumnFamilyId;
use crate::compaction::KeySpan;
use crate::compaction::strategy::Strategy;
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::handle::Shared;
use crate::db::read;
use crate::db::scan::{Cursor, KeyRange, Scan};
use crate::db::write;
use crate::db::write_batch::WriteBatch;
use crate::db::{jobs, manual};
use crate::options::validate::validate_family_name;
use crate::options::{ColumnFamilyOptions, ReadOptions};

/// A column family of an open store: its own keys, tables and options, one log and one history with
/// the others, so that a batch over several is atomic.
///
/// A handle of a dropped family goes on reading what was there; its writes fail.
#[derive(Debug, Clone)]
pub struct ColumnFamily {
    shared: Arc<Shared>,
    family: Arc<Family>,
}

impl ColumnFamily {
    pub(crate) fn new(shared: Arc<Shared>, family: Arc<Family>) -> ColumnFamily {
        ColumnFamily { shared, family }
    }

    pub(crate) fn family(&self) -> &Arc<Family> {
        &self.family
    }

    pub(crate) fn id(&self) -> ColumnFamilyId {
        self.family.id
    }

    /// The family's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.family.name
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// See [`crate::Db::write_with`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.put_in(self, key, value);
        write::write(&self.shared.core, batch.into_buffer(), self.shared.core.options.durability)
    }

    /// Sets `key` to `value` for as long as `ttl`, counted from now: see
    /// [`crate::Db::put_with_ttl`].
    ///
    /// # Errors
    /// See [`crate::Db::write_with`].
    pub fn put_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.put_with_ttl_in(self, key, value, ttl);
        write::write(&self.shared.core, batch.into_buffer(), self.shared.core.options.durability)
    }

    /// Removes `key`.
    ///
    /// # Errors
    /// See [`crate::Db::write_with`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete_in(self, key);
        write::write(&self.shared.core, batch.into_buffer(), self.shared.core.options.durability)
    }

    /// Removes every key from `start` up to `end`, which is excluded: see
    /// [`crate::Db::delete_range`].
    ///
    /// # Errors
    /// See [`crate::Db::write_with`].
    pub fn delete_range(&self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete_range_in(self, start, end);
        write::write(&self.shared.core, batch.into_buffer(), self.shared.core.options.durability)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// See [`crate::Db::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.get_with(key, &ReadOptions::default())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// See [`crate::Db::get`].
    pub fn get_with(&self, key: impl AsRef<[u8]>, options: &ReadOptions) -> Result<Option<Bytes>> {
        read::get(&self.shared.core, &self.family, key.as_ref(), None, options)
    }

    /// The values of `keys`, in their order, all as of one moment.
    ///
    /// # Errors
    /// See [`crate::Db::get`]; the first error is the answer.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        let core = &self.shared.core;
        let current = self.family.load();
        let seq = core.visible();
        core.counters.gets.add(keys.len() as u64);
        let options = ReadOptions::default();
        let now_ms = core.clock.now_ms();
        let get = |key: &K| read::get_at(core, &current, key.as_ref(), seq, &|| now_ms, &options);
        keys.iter().map(get).collect()
    }

    /// The entries whose keys lie in `range`, ascending; `.rev()` gives them descending.
    pub fn scan(&self, range: impl KeyRange) -> Scan {
        Scan::new(&self.shared, &self.family, range.bounds(), None, ReadOptions::default())
    }

    /// The entries whose keys lie in `range`.
    pub fn scan_with(&self, range: impl KeyRange, options: &ReadOptions) -> Scan {
        Scan::new(&self.shared, &self.family, range.bounds(), None, *options)
    }

    /// The entries whose keys begin with `prefix`, ascending.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        let bounds = crate::db::scan::prefix_bounds(prefix.as_ref());
        Scan::new(&self.shared, &self.family, bounds, None, ReadOptions::default())
    }

    /// A cursor over the whole family, as of now.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corruption`] when a table cannot be opened.
    pub fn cursor(&self) -> Result<Cursor> {
        Cursor::open(&self.shared, &self.family, (..).bounds(), None, ReadOptions::default())
    }

    /// Writes what is in the family's memtables to tables, and waits for it.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn flush(&self) -> Result<()> {
        jobs::flush_now(&self.shared.core, &self.family)
    }

    /// Changes how the family's tables are merged, from the next compaction on. Nothing is
    /// rewritten at once. The options of the next open say how it goes on then.
    ///
    /// # Errors
    /// `InvalidArgument` for numbers that cannot work; [`Error::ColumnFamilyMissing`] when the
    /// family was dropped, [`Error::Closed`].
    pub fn set_strategy(&self, strategy: Strategy) -> Result<()> {
        if let Some(breach) = strategy.breach() {
            return Err(Error::invalid(breach));
        }
        self.shared.core.check_open()?;
        self.family.check()?;
        self.family.set_strategy(strategy);
        self.shared.core.note_pressure();
        self.shared.core.scheduler.notify_work();
        Ok(())
    }

    /// Flushes, and compacts the family into the fewest sorted runs that its strategy knows.
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn compact(&self) -> Result<()> {
        manual::compact_now(&self.shared.core, &self.family, &KeySpan::ALL)
    }

    /// See [`crate::Db::compact_range`].
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn compact_range(&self, range: impl KeyRange) -> Result<()> {
        let (lower, upper) = range.bounds();
        manual::compact_now(&self.shared.core, &self.family, &KeySpan { lower, upper })
    }

    /// See [`crate::Db::drop_tables_in`].
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn drop_tables_in(&self, range: impl KeyRange) -> Result<u64> {
        let (lower, upper) = range.bounds();
        manual::drop_tables_now(&self.shared.core, &self.family, &KeySpan { lower, upper })
    }
}

/// The family `name`.
pub(crate) fn find(shared: &Arc<Shared>, name: &str) -> Result<ColumnFamily> {
    match shared.core.families.by_name(name) {
        Some(family) => Ok(ColumnFamily::new(Arc::clone(shared), family)),
        None => Err(Error::ColumnFamilyMissing { name: name.to_owned() }),
    }
}

/// Makes the family `name`.
pub(crate) fn create(
    shared: &Arc<Shared>,
    name: &str,
    options: ColumnFamilyOptions,
) -> Result<ColumnFamily> {
    let core = &shared.core;
    validate_family_name(name)?;
    options.validate()?;
    core.health.check()?;
    let mut versions = core.versions.lock();
    if core.families.by_name(name).is_some() {
        return Err(Error::ColumnFamilyExists { name: name.to_owned() });
    }
    // What is written to the family goes to this segment or a later one.
    let log = FileNumber(core.current_log.load(Ordering::Acquire));
    let created = versions.create_family(name, log);
    core.note_put_off(&mut versions);
    let id = created?;
    let version = Arc::clone(&versions.families()[&id].version);
    let family = Arc::new(Family::new(
        id,
        name.to_owned(),
        options,
        version,
        log,
        Arc::clone(&core.families.pool),
    ));
    core.families.insert(Arc::clone(&family));
    Ok(ColumnFamily::new(Arc::clone(shared), family))
}

/// A family that is in doubt, if any.
pub(crate) fn doubtful(core: &Core) -> Option<Arc<Family>> {
    core.families.all().values().find(|family| family.is_in_doubt()).cloned()
}

/// Waits for the end of a drop of `family` that is going on. Where one has failed, makes it certain
/// that the family is there: its writes wait for that. The caller holds no lock.
///
/// # Errors
/// The failure of the disk that keeps it from being certain.
#[cold]
pub(crate) fn end_doubt(core: &Core, family: &Family) -> Result<()> {
    let mut versions = core.versions.lock();
    if versions.is_in_doubt() {
        versions.roll()?;
    }
    family.set_in_doubt(false);
    Ok(())
}

/// Drops the family `name`.
pub(crate) fn drop_family(shared: &Arc<Shared>, name: &str) -> Result<()> {
    let core = &shared.core;
    core.health.check()?;
    let mut versions = core.versions.lock();
    let Some(family) = core.families.by_name(name) else {
        return Err(Error::ColumnFamilyMissing { name: name.to_owned() });
    };
    if family.id == ColumnFamilyId::DEFAULT {
        return Err(Error::invalid("the column family default cannot be dropped"));
    }
    if !planted::is("family-drop-not-persisted") {
        // From here on nothing is logged for it before the end of this, whichever it is: whoever is
        // at it has the log's lock.
        family.set_in_doubt(true);
        drop(core.wal.lock());
        let dropped = versions.drop_family(family.id);
        core.note_blobs(&versions);
        core.note_put_off(&mut versions);
        if let Err(error) = dropped {
            // It is there, and goes on: the next start must not find it gone, with what is written
            // from now on.
            family.set_in_doubt(versions.is_in_doubt() && versions.roll().is_err());
            return Err(error);
        }
        family.set_in_doubt(false);
    }
    family.set_dropped();
    core.families.remove(family.id);
    drop(versions);
    jobs::remove_old_segments(core);
    Ok(())
}
