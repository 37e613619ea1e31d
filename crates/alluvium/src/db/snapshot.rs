//! Views of the store as of one moment.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::Result;
use crate::base::key::SeqNo;
use crate::db::column_family::ColumnFamily;
use crate::db::family::Family;
use crate::db::handle::Shared;
use crate::db::read;
use crate::db::scan::{Cursor, KeyRange, Scan, prefix_bounds};
use crate::options::ReadOptions;

/// The store as it was when the snapshot was taken, over all column families. Clones are the same
/// view.
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # use std::sync::Arc;
/// # use alluvium::{Db, Options, env::MemEnv};
/// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
/// db.put("k", "old")?;
/// let before = db.snapshot();
/// db.put("k", "new")?;
/// assert_eq!(before.get("k")?.as_deref(), Some(b"old".as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Snapshot {
    registered: Arc<Registered>,
}

/// A place in the list of live snapshots; given back when the last clone goes.
#[derive(Debug)]
struct Registered {
    shared: Arc<Shared>,
    default: Arc<Family>,
    seq: SeqNo,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.core.snapshots.release(self.seq);
    }
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>, default: Arc<Family>) -> Snapshot {
        let seq = shared.core.snapshots.acquire(|| shared.core.visible());
        Snapshot { registered: Arc::new(Registered { shared, default, seq }) }
    }

    /// The sequence number that the view ends at.
    #[must_use]
    pub fn sequence_number(&self) -> u64 {
        self.registered.seq.get()
    }

    /// The value of `key` in the default column family.
    ///
    /// # Errors
    /// See [`crate::Db::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.get_from(&self.registered.default, key.as_ref())
    }

    /// The value of `key` in `family`.
    ///
    /// # Errors
    /// See [`crate::Db::get`].
    pub fn get_in(&self, family: &ColumnFamily, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.get_from(family.family(), key.as_ref())
    }

    fn get_from(&self, family: &Family, key: &[u8]) -> Result<Option<Bytes>> {
        let seq = Some(self.registered.seq);
        read::get(&self.registered.shared.core, family, key, seq, &ReadOptions::default())
    }

    /// The entries of the default column family whose keys lie in `range`, ascending.
    pub fn scan(&self, range: impl KeyRange) -> Scan {
        self.scan_from(&self.registered.default, range)
    }

    /// The entries of `family` whose keys lie in `range`, ascending.
    pub fn scan_in(&self, family: &ColumnFamily, range: impl KeyRange) -> Scan {
        self.scan_from(family.family(), range)
    }

    /// The entries of the default column family whose keys begin with `prefix`, ascending.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan_from(&self.registered.default, prefix_bounds(prefix.as_ref()))
    }

    /// The entries of `family` whose keys begin with `prefix`, ascending.
    pub fn prefix_in(&self, family: &ColumnFamily, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan_from(family.family(), prefix_bounds(prefix.as_ref()))
    }

    /// A cursor over the default column family.
    ///
    /// # Errors
    /// See [`crate::Db::cursor`].
    pub fn cursor(&self) -> Result<Cursor> {
        self.cursor_from(&self.registered.default)
    }

    /// A cursor over `family`.
    ///
    /// # Errors
    /// See [`crate::Db::cursor`].
    pub fn cursor_in(&self, family: &ColumnFamily) -> Result<Cursor> {
        self.cursor_from(family.family())
    }

    fn scan_from(&self, family: &Arc<Family>, range: impl KeyRange) -> Scan {
        let shared = &self.registered.shared;
        let options = ReadOptions::default();
        Scan::new(shared, family, range.bounds(), Some(self.registered.seq), options)
    }

    fn cursor_from(&self, family: &Arc<Family>) -> Result<Cursor> {
        let shared = &self.registered.shared;
        let seq = Some(self.registered.seq);
        Cursor::open(shared, family, (..).bounds(), seq, ReadOptions::default())
    }
}
