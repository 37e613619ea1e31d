//! The handle that users hold.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::base::planted;
use crate::batch::ColumnFamilyId;
use crate::compaction::KeySpan;
use crate::compaction::strategy::Strategy;
use crate::db::background;
use crate::db::column_family::{self, ColumnFamily};
use crate::db::core::Core;
use crate::db::events::history::HistoryEntry;
use crate::db::family::Family;
use crate::db::open;
use crate::db::pause::BackgroundPause;
use crate::db::scan::{Cursor, KeyRange, Scan};
use crate::db::snapshot::Snapshot;
use crate::db::stats::{self, Stats};
use crate::db::status;
use crate::db::write;
use crate::db::write_batch::WriteBatch;
use crate::env::{Env, PosixEnv, StoreLock};
use crate::metrics::Event;
use crate::options::{
    ColumnFamilyOptions, Durability, Options, RateLimit, ReadOptions, WriteOptions,
};

/// An open store. Clones share it; it closes when [`Db::close`] is called or the last handle
/// ([`Db`], [`ColumnFamily`], [`Snapshot`], [`Scan`], [`Cursor`]) is dropped.
///
/// Keys are byte strings of at most 64 KiB in the order of their bytes; values are byte strings of
/// at most 512 MiB.
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("store");
/// use alluvium::{Db, Options};
///
/// let db = Db::open(&path, Options::default())?;
/// db.put("page:/", "1")?;
/// assert_eq!(db.get("page:/")?.as_deref(), Some(b"1".as_slice()));
/// for entry in db.prefix("page:") {
///     let (key, value) = entry?;
///     println!("{key:?} = {value:?}");
/// }
/// db.close()
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

/// What keeps a store open.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    default: Arc<Family>,
    /// Given free when the last handle goes.
    _lock: Box<dyn StoreLock>,
}

impl Shared {
    /// Stops the workers and ends the log and the manifest in good order. Later calls do nothing.
    fn close(&self) -> Result<()> {
        if !self.core.health.close() {
            return Ok(());
        }
        background::stop(&self.core);
        let result = self.end();
        self.core.events.tell(Event::Closed);
        status::stop(&self.core);
        result
    }

    /// Ends the log and the manifest.
    fn end(&self) -> Result<()> {
        if planted::is("close-without-sync") {
            return Ok(());
        }
        let log = self.core.wal.lock().close();
        let mut versions = self.core.versions.lock();
        // A manifest that ends in good order says that the log does, too.
        match log {
            Ok(()) => versions.close(),
            Err(error) => {
                versions.stop();
                Err(error)
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever wants to know calls `Db::close`. What was acknowledged is safe without it.
        drop(self.close());
    }
}

impl Db {
    /// Opens the store in `directory`, and makes it where there is none (see
    /// [`Options::create_if_missing`]).
    ///
    /// # Errors
    /// [`Error::Locked`] when the store is open elsewhere, [`Error::StoreMissing`] when there is
    /// none and it may not be made, [`Error::Corruption`] and [`Error::UnsupportedFormat`] naming
    /// the file, [`Error::InvalidArgument`] for options that cannot work and for a directory that
    /// holds other files.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<Db> {
        Db::open_env(Arc::new(PosixEnv::new(directory.as_ref())), options)
    }

    /// Opens the store of an environment: a directory, memory, or one that injects faults.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_env(env: Arc<dyn Env>, options: Options) -> Result<Db> {
        let opened = open::open(env, options)?;
        let default = opened.core.families.get(ColumnFamilyId::DEFAULT).ok_or_else(|| {
            Error::corruption(opened.core.env.directory(), 0, "there is no default column family")
        })?;
        let shared = Shared { core: opened.core, default, _lock: opened.lock };
        Ok(Db { shared: Arc::new(shared) })
    }

    /// Closes the store: stops background work, makes every write so far durable, and ends the log
    /// so that any later damage to it is noticed. Other handles then answer writes with
    /// [`Error::Closed`]; reads go on until they are dropped.
    ///
    /// # Errors
    /// What kept the log or the manifest from being ended. The store is closed all the same.
    pub fn close(self) -> Result<()> {
        self.shared.close()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// The column family `default`, which every store has and which the methods of `Db` use.
    #[must_use]
    pub fn default_column_family(&self) -> ColumnFamily {
        ColumnFamily::new(Arc::clone(&self.shared), Arc::clone(&self.shared.default))
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// See [`Db::write_with`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        self.write(batch)
    }

    /// Sets `key` to `value` for as long as `ttl`, counted from now. When that has passed every
    /// read answers as if the key had been deleted, at once; a time to live too long to be counted
    /// is for ever. What a clock that is set does to it is said in docs/expiry.md.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::{sync::Arc, time::Duration};
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let env = MemEnv::new();
    /// # let db = Db::open_env(Arc::new(env.clone()), Options::default())?;
    /// db.put_with_ttl("session", "7", Duration::from_secs(60))?;
    /// assert!(db.get("session")?.is_some());
    /// env.pass_time(Duration::from_secs(60));
    /// assert!(db.get("session")?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Db::write_with`].
    pub fn put_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.put_with_ttl(key, value, ttl);
        self.write(batch)
    }

    /// Removes `key`. Removing a key that is not there is no error.
    ///
    /// # Errors
    /// See [`Db::write_with`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete(key);
        self.write(batch)
    }

    /// Removes every key from `start` up to `end`, which is excluded, at the cost of one write
    /// however many keys there are: see docs/deletes.md. An empty range, or one the wrong way
    /// round, removes nothing.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// for user in ["user:1", "user:2", "zebra"] {
    ///     db.put(user, "")?;
    /// }
    /// db.delete_range("user:", "user;")?;
    /// assert_eq!(db.scan(..).count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Db::write_with`]. Both ends have the limits of a key.
    pub fn delete_range(&self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete_range(start, end);
        self.write(batch)
    }

    /// Writes a batch, all or nothing, with the durability of [`Options::durability`].
    ///
    /// # Errors
    /// See [`Db::write_with`].
    pub fn write(&self, batch: WriteBatch) -> Result<()> {
        write::write(self.core(), batch.into_buffer(), self.core().options.durability)
    }

    /// Writes a batch, all or nothing.
    ///
    /// # Errors
    /// A write that returns an error is not visible. After the store is next opened it may be there
    /// or not, whole either way. [`Error::NoSpace`]: later writes try again by themselves.
    /// [`Error::WriteStopped`]: reopen the store.
    pub fn write_with(&self, batch: WriteBatch, options: &WriteOptions) -> Result<()> {
        write::write(self.core(), batch.into_buffer(), options.durability)
    }

    /// The value of `key`, without a copy where its block is in the block cache.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corruption`] where the value, or whether there is one, cannot be
    /// told. Never an older value instead.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.get_with(key, &ReadOptions::default())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// See [`Db::get`].
    pub fn get_with(&self, key: impl AsRef<[u8]>, options: &ReadOptions) -> Result<Option<Bytes>> {
        let shared = &self.shared;
        crate::db::read::get(&shared.core, &shared.default, key.as_ref(), None, options)
    }

    /// The values of `keys`, in their order, all as of one moment.
    ///
    /// # Errors
    /// See [`Db::get`]; the first error is the answer.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        self.default_column_family().multi_get(keys)
    }

    /// The entries whose keys lie in `range`, ascending; `.rev()` gives them descending.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.put("a", "1")?;
    /// db.put("b", "2")?;
    /// let last = db.scan("a"..).next_back().transpose()?;
    /// assert_eq!(last.map(|(key, _)| key).as_deref(), Some(b"b".as_slice()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, range: impl KeyRange) -> Scan {
        self.default_column_family().scan(range)
    }

    /// The entries whose keys begin with `prefix`, ascending.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.default_column_family().prefix(prefix)
    }

    /// A cursor over the whole column family, as of now.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corruption`] when a table cannot be opened.
    pub fn cursor(&self) -> Result<Cursor> {
        self.default_column_family().cursor()
    }

    /// A view of the store, all column families, as of now. It costs nothing to keep but the space
    /// of what is overwritten meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.shared), Arc::clone(&self.shared.default))
    }

    /// The column family `name`.
    ///
    /// # Errors
    /// [`Error::ColumnFamilyMissing`].
    pub fn column_family(&self, name: &str) -> Result<ColumnFamily> {
        column_family::find(self.shared(), name)
    }

    /// Makes the column family `name`. It is there, whatever happens, once this returns.
    ///
    /// Options are not stored: at the next open they are those that [`Options`] has for the name.
    ///
    /// # Errors
    /// [`Error::ColumnFamilyExists`]; [`Error::InvalidArgument`] for a name or options that cannot
    /// be.
    pub fn create_column_family(
        &self,
        name: &str,
        options: ColumnFamilyOptions,
    ) -> Result<ColumnFamily> {
        let created = column_family::create(self.shared(), name, options);
        self.core().events.deliver();
        created
    }

    /// Drops the column family `name` with everything in it. It is gone, whatever happens, once
    /// this returns; its files go when the last reader has let go of them.
    ///
    /// # Errors
    /// [`Error::ColumnFamilyMissing`]; [`Error::InvalidArgument`] for `default`; a failure of the
    /// disk. After that the family is there and can be used, or dropped again; while it is not
    /// certain that the next open finds it, its writes fail with what keeps it from being certain.
    pub fn drop_column_family(&self, name: &str) -> Result<()> {
        let dropped = column_family::drop_family(self.shared(), name);
        self.core().events.deliver();
        dropped
    }

    /// The names of all column families, ascending.
    #[must_use]
    pub fn column_families(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.core().families.all().values().map(|family| family.name.clone()).collect();
        names.sort();
        names
    }

    /// Writes what is in the memtables of every column family to tables, and waits for it.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn flush(&self) -> Result<()> {
        for family in self.core().families.all().values() {
            unless_dropped(family, crate::db::jobs::flush_now(self.core(), family))?;
        }
        Ok(())
    }

    /// Makes every write so far, whatever its durability was, survive a power cut.
    ///
    /// # Errors
    /// See [`Db::write_with`].
    pub fn sync(&self) -> Result<()> {
        write::write(self.core(), WriteBatch::new().into_buffer(), Durability::Disk)
    }

    /// Changes how the tables of the default column family are merged, from the next compaction on.
    /// Nothing is rewritten at once. The options of the next open say how it goes on then.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for numbers that cannot work, [`Error::Closed`].
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, Strategy, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.set_strategy(Strategy::Tiered { ratio: 4 })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_strategy(&self, strategy: Strategy) -> Result<()> {
        self.default_column_family().set_strategy(strategy)
    }

    /// Flushes, and compacts every column family into the fewest sorted runs that its strategy
    /// knows: what is deleted or overwritten, and seen by no snapshot, gives its space back.
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn compact(&self) -> Result<()> {
        for family in self.core().families.all().values() {
            unless_dropped(
                family,
                crate::db::manual::compact_now(self.core(), family, &KeySpan::ALL),
            )?;
        }
        Ok(())
    }

    /// Flushes the default column family and compacts what lies in `range`, as far as its strategy
    /// works by parts: whole tables that meet the range are taken along.
    ///
    /// # Errors
    /// What keeps it from being done.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.compact_range("user:1".."user:2")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn compact_range(&self, range: impl KeyRange) -> Result<()> {
        self.default_column_family().compact_range(range)
    }

    /// Takes out of the default column family every table all of whose keys lie in `range`, by one
    /// edit of the manifest, and says how many bytes that freed. What else the range holds stays:
    /// delete it first, or live with it. A table over older data that stays is not taken.
    ///
    /// Not a delete: snapshots and scans made later do not see what went, whatever their age.
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn drop_tables_in(&self, range: impl KeyRange) -> Result<u64> {
        self.default_column_family().drop_tables_in(range)
    }

    /// Waits until no flush or compaction is due or running.
    ///
    /// # Errors
    /// What keeps background work from getting on.
    pub fn wait_idle(&self) -> Result<()> {
        crate::db::jobs::wait_idle(self.core())
    }

    /// Pauses flushes and compactions until what this returns is dropped; waits for those that run.
    /// [`BackgroundPause`] says what happens to writers meanwhile.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// let pause = db.pause_background();
    /// // The files of the store stay as they are here, but for the log.
    /// db.put("written", "meanwhile")?;
    /// pause.resume();
    /// # Ok(())
    /// # }
    /// ```
    pub fn pause_background(&self) -> BackgroundPause {
        BackgroundPause::begin(&self.shared)
    }

    /// Sets another limit on background work, at once, in place of [`Options::rate_limit`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a limit that cannot be.
    pub fn set_rate_limit(&self, limit: RateLimit) -> Result<()> {
        let core = self.core();
        Options { rate_limit: limit, ..Options::default() }.validate()?;
        core.limiter.set(core.env.now(), limit);
        Ok(())
    }

    /// Reads the manifest back and compares it with the state of the open store; returns the bytes
    /// read. A cheap watch over what everything else relies on, for an operator to run by the hour.
    ///
    /// # Errors
    /// [`Error::Corruption`] naming the manifest where the two differ.
    pub fn check_manifest(&self) -> Result<u64> {
        self.core().versions.lock().verify()
    }

    /// What the store has done and holds. Its `Display` is the level table for people;
    /// [`Stats::since`] makes the figures of an interval, [`Stats::to_prometheus`] those for a
    /// monitor.
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats::collect(self.core())
    }

    /// What happened in the store last, oldest first, each with its reason in words: flushes,
    /// compactions, stalls, failures. At most 256 entries; stalls and moves that come in swarms are
    /// gathered. With [`Options::status_interval`] it goes on where the last process ended.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.put("key", "value")?;
    /// db.flush()?;
    /// db.wait_idle()?; // The worker takes its note behind the flush itself.
    /// let history = db.history();
    /// let flush = history.iter().find(|entry| entry.kind == "flush").unwrap();
    /// assert!(flush.text.starts_with("flush of default because somebody asked for it: "));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.core().events.history()
    }
}

/// What is to be said of one family among all: that it was dropped meanwhile is no failure.
fn unless_dropped(family: &Family, result: Result<()>) -> Result<()> {
    match result {
        Err(Error::ColumnFamilyMissing { .. })
            if family.is_dropped() && !planted::in_order("dropped-family-fails-all") =>
        {
            Ok(())
        }
        other => other,
    }
}
