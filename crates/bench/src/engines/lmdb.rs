//! LMDB 0.9.70, through the crate `heed` 0.23.1: a copy-on-write B+-tree in a memory map.
//!
//! - **Durability.** `Disk` is its default: every commit writes its pages, syncs, and writes and
//!   syncs the page that makes them valid. `Os` is `MDB_WRITEMAP | MDB_NOSYNC`: transactions change
//!   the pages of the file in the page cache, through the map, the one that makes them valid last.
//!   So the end of the process loses nothing, and the end of power may lose or break all (its
//!   header says so; the other engines lose the last writes at most). A stray pointer of the
//!   program may write into the store, and the header calls it slower for more data than memory.
//!   It is what LMDB is fastest with that outlives the process: two to four times as fast as
//!   `MDB_NOSYNC` alone, and up to a fifth faster than `MDB_WRITEMAP | MDB_MAPASYNC` (500,000 keys
//!   in random order). `Buffered` is the same: LMDB has nothing weaker.
//! - **`MDB_NOMEMINIT`** is set: it spares the zeroing of memory that is overwritten at once.
//! - **Memory.** There is none to set: it reads out of the page cache, through the map. So it has
//!   all memory of the machine, where the others have a cache of their own; its pages count in its
//!   peak. The map's size is an address range, not memory.
//! - **Codec.** None.
//! - **Reads.** A reader keeps its transaction for many reads (`renewing.rs`). A new one for each
//!   lookup costs an allocation, which LMDB's documents advise to avoid by keeping one, and `heed`
//!   has no call that renews one in place.
//! - **Writes.** One writer at a time: others wait for its lock. A batch is a transaction.
//!   Ascending keys are not announced (`MDB_APPEND`): no engine here is told of the order.
//! - **Settling** is a sync; there is no background work.

use std::ops::Bound;
use std::path::Path;

use ::heed::types::Bytes;
use ::heed::{
    CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, Error, RoTxn, RwTxn, WithoutTls,
};

use super::renewing::Renewing;
use super::{Batch, Engine, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{DurabilityName, Settings};

/// The range of addresses, more than any run writes; with `WRITE_MAP` the length of the file, too,
/// most of which is a hole.
const MAP_BYTES: usize = 1 << 38;

type Tree = Database<'static, Bytes, Bytes>;

struct Lmdb {
    // Left open when the engine is closed: the process is about to end, and a tree borrows it.
    environment: &'static Env<WithoutTls>,
    tree: Tree,
}

/// Opens the store in `dir`.
pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let mut flags = EnvFlags::NO_MEM_INIT;
    if settings.durability != DurabilityName::Disk {
        flags |= EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP;
    }
    let environment: &'static _ = Box::leak(Box::new(environment(dir, flags)?));
    let transaction = environment.write_txn()?;
    let tree = environment
        .create_databases_and_commit(transaction, |creator, transaction: &mut RwTxn<'_>| {
            let tree = creator.create_database::<Bytes, Bytes>(transaction, None)?;
            Ok::<_, Error>(CommitOrAbort::<Tree, ()>::Commit(tree))
        })?
        .unwrap_commit();
    Ok(Box::new(Lmdb { environment, tree }))
}

#[expect(unsafe_code, reason = "LMDB maps a file, whose contents no compiler can vouch for")]
fn environment(dir: &Path, flags: EnvFlags) -> Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES);
    // SAFETY: `NO_SYNC` endangers what a failing power supply leaves, and no run of the bench reads
    // a store after that. `NO_MEM_INIT` writes stale memory of this process to a file that is
    // removed with its directory. Neither concerns this process's memory. `WRITE_MAP` makes the
    // map writable: no code of the bench has a pointer into it but the slices that `heed` lends for
    // reading.
    unsafe { options.flags(flags) };
    // SAFETY: the file lies in a directory that was made for this process. The one other process
    // that knows it, the parent, writes to it before this one starts and reads it after this one
    // has ended: nothing changes it beneath the map. It is on a local disk, the lock file is not
    // touched, and no lock is switched off.
    Ok(unsafe { options.open(dir) }?)
}

impl Engine for Lmdb {
    fn write(&self, batch: &Batch) -> Result<()> {
        let mut transaction = self.environment.write_txn()?;
        for (key, value) in batch.operations() {
            match value {
                Some(value) => self.tree.put(&mut transaction, key, value)?,
                None => drop(self.tree.delete(&mut transaction, key)?),
            }
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let Lmdb { environment, tree } = *self;
        Ok(Box::new(LmdbReader { environment, tree, transaction: Renewing::new() }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.environment.force_sync()?)
    }

    fn written_bytes(&self) -> Option<u64> {
        None
    }

    fn statistics(&self) -> String {
        format!("{:?}", self.environment.info())
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}

struct LmdbReader {
    environment: &'static Env<WithoutTls>,
    tree: Tree,
    transaction: Renewing<RoTxn<'static, WithoutTls>>,
}

impl LmdbReader {
    fn transaction(&mut self) -> Result<&RoTxn<'static, WithoutTls>> {
        let environment = self.environment;
        self.transaction.get(|| Ok(environment.read_txn()?))
    }
}

impl Reader for LmdbReader {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let tree = self.tree;
        let value = tree.get(self.transaction()?, key)?;
        Ok(value.map(stamp_of))
    }

    fn refresh(&mut self) {
        drop(self.transaction.end());
    }

    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        if entries == 0 {
            return Ok(walked);
        }
        let tree = self.tree;
        let from = (Bound::Included(key.as_slice()), Bound::Unbounded);
        for entry in tree.range(self.transaction()?, &from)? {
            let (key, value) = entry?;
            walked.count(key, value);
            if walked.entries == entries {
                break;
            }
        }
        Ok(walked)
    }
}
