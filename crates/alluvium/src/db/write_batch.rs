//! Operations that are written all together or not at all.

use std::time::Duration;

use crate::base::expiry;
use crate::batch::{BatchBuffer, ColumnFamilyId};
use crate::db::column_family::ColumnFamily;

/// Operations that become visible, and survive a crash, all together or not at all. Later ones win
/// over earlier ones on the same key.
///
/// At most 1 GiB and 268,435,456 operations; a batch, key or value over its limit is refused by the
/// write.
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # use std::sync::Arc;
/// # use alluvium::{Db, Options, WriteBatch, ColumnFamilyOptions, env::MemEnv};
/// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
/// let by_user = db.create_column_family("by_user", ColumnFamilyOptions::default())?;
/// let mut batch = WriteBatch::new();
/// batch.put("2015-05-17T10:05:03", "83.149.9.216 /");
/// batch.put_in(&by_user, "83.149.9.216", "/");
/// db.write(batch)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    buffer: BatchBuffer,
}

impl WriteBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// An empty batch with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> WriteBatch {
        let mut batch = WriteBatch::default();
        batch.buffer.reserve(bytes);
        batch
    }

    /// Sets `key` to `value` in the default column family.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.buffer.put(ColumnFamilyId::DEFAULT, key.as_ref(), value.as_ref());
    }

    /// Removes `key` from the default column family.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.buffer.delete(ColumnFamilyId::DEFAULT, key.as_ref());
    }

    /// Sets `key` to `value` in `family`.
    pub fn put_in(
        &mut self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) {
        self.buffer.put(family.id(), key.as_ref(), value.as_ref());
    }

    /// Sets `key` to `value` in the default column family for as long as `ttl`, counted from the
    /// moment at which the batch is handed to the store. See [`crate::Db::put_with_ttl`].
    pub fn put_with_ttl(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) {
        self.buffer.put_for(ColumnFamilyId::DEFAULT, key.as_ref(), value.as_ref(), ttl);
    }

    /// Sets `key` to `value` in `family` for as long as `ttl`, counted from the moment at which the
    /// batch is handed to the store.
    pub fn put_with_ttl_in(
        &mut self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) {
        self.buffer.put_for(family.id(), key.as_ref(), value.as_ref(), ttl);
    }

    /// Sets `key` to `value` in the default column family until `time`, which counts from the
    /// beginning of 1970; a part of a millisecond counts as a whole one. A time that has passed is
    /// allowed: the write then hides what was there before, as a delete would.
    pub fn put_until(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, time: Duration) {
        let expiry_ms = expiry::milliseconds(time);
        self.buffer.put_until(ColumnFamilyId::DEFAULT, key.as_ref(), value.as_ref(), expiry_ms);
    }

    /// Sets `key` to `value` in `family` until `time`: see [`WriteBatch::put_until`].
    pub fn put_until_in(
        &mut self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time: Duration,
    ) {
        let expiry_ms = expiry::milliseconds(time);
        self.buffer.put_until(family.id(), key.as_ref(), value.as_ref(), expiry_ms);
    }

    /// Removes `key` from `family`.
    pub fn delete_in(&mut self, family: &ColumnFamily, key: impl AsRef<[u8]>) {
        self.buffer.delete(family.id(), key.as_ref());
    }

    /// Removes every key from `start` up to `end`, which is excluded, from the default column
    /// family, at the cost of one operation however many keys there are. What later operations put
    /// into the range stays. A range that is empty or the wrong way round holds no key: nothing is
    /// added.
    ///
    /// ```
    /// # fn main() -> alluvium::Result<()> {
    /// # use std::sync::Arc;
    /// # use alluvium::{Db, Options, WriteBatch, env::MemEnv};
    /// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
    /// db.put("2015-05-17", "old")?;
    /// let mut batch = WriteBatch::new();
    /// batch.delete_range("2015", "2016");
    /// batch.put("2015-12-31", "new");
    /// db.write(batch)?;
    /// assert_eq!(db.get("2015-05-17")?, None);
    /// assert_eq!(db.get("2015-12-31")?.as_deref(), Some(b"new".as_slice()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_range(&mut self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        self.buffer.delete_range(ColumnFamilyId::DEFAULT, start.as_ref(), end.as_ref());
    }

    /// Removes every key from `start` up to `end`, which is excluded, from `family`: see
    /// [`WriteBatch::delete_range`].
    pub fn delete_range_in(
        &mut self,
        family: &ColumnFamily,
        start: impl AsRef<[u8]>,
        end: impl AsRef<[u8]>,
    ) {
        self.buffer.delete_range(family.id(), start.as_ref(), end.as_ref());
    }

    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.count() as usize
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.count() == 0
    }

    /// The size that the batch will have in the log, in bytes.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.buffer.byte_size()
    }

    /// Removes every operation and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    pub(crate) fn into_buffer(self) -> BatchBuffer {
        self.buffer
    }
}
