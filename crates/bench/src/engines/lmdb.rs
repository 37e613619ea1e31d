//! LMDB 0.9.70, through the crate `heed` 0.23.1: a copy-on-write B+-tree in a memory map.
//!
//! - **Durability.** `Disk` is its default: every commit writes its pages, syncs, and writes and
//!   syncs the page that makes them valid. `Os` is `MDB_NOSYNC`: every commit writes its pages and
//!   then that page to the operating system, so that the end of the process loses nothing, and the
//!   end of power may lose or break all (its header says so; the other engines lose the last writes
//!   at most). `Buffered` is the same: LMDB has nothing weaker.
//! - **No `MDB_WRITEMAP`.** It survives the end of the process as well, but lets a stray pointer
//!   of the program write into the store, and leaves the system no hint of when to write: its
//!   header advises against it beside `MDB_NOSYNC`.
//! - **`MDB_NOMEMINIT`** is set: it spares the zeroing of memory that is overwritten at once.
//! - **Memory.** There is none to set: it reads out of the page cache, through the map. So it has
//!   all memory of the machine, where the others have a cache of their own; its pages count in its
//!   peak. The map's size is an address range, not memory.
//! - **Codec.** None.
//! - **Reads.** As with redb, a reader renews its transaction every [`RENEW_AFTER`] operations. A
//!   new one for each lookup costs an allocation, which LMDB's documents advise to avoid by keeping
//!   one, and `heed` has no call that renews one in place.
//! - **Writes.** One writer at a time: others wait for its lock. A batch is a transaction.
//! - **Settling** is a sync; there is no background work.

use std::ops::Bound;
use std::path::Path;

use ::heed::types::Bytes;
use ::heed::{
    CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, Error, RoTxn, RwTxn, WithoutTls,
};

use super::{Batch, Engine, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{DurabilityName, Settings};

/// Reads that one read transaction serves.
const RENEW_AFTER: u32 = 1000;

/// The range of addresses, more than any run writes.
const MAP_BYTES: usize = 1 << 40;

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
        flags |= EnvFlags::NO_SYNC;
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
    // removed with its directory. Neither concerns this process's memory.
    unsafe { options.flags(flags) };
    // SAFETY: the file lies in a directory that was made for this process and that no other one
    // knows, so nothing changes it beneath the map. It is on a local disk, the lock file is not
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
        Ok(Box::new(LmdbReader { environment, tree, transaction: None, left: 0 }))
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
    transaction: Option<RoTxn<'static, WithoutTls>>,
    left: u32,
}

impl LmdbReader {
    fn transaction(&mut self) -> Result<&RoTxn<'static, WithoutTls>> {
        if self.left == 0 || self.transaction.is_none() {
            self.transaction = None;
            self.left = RENEW_AFTER;
            self.transaction = Some(self.environment.read_txn()?);
        }
        self.left -= 1;
        self.transaction.as_ref().ok_or_else(|| "the transaction was just begun".into())
    }
}

impl Reader for LmdbReader {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let tree = self.tree;
        let value = tree.get(self.transaction()?, key)?;
        Ok(value.map(stamp_of))
    }

    fn refresh(&mut self) {
        self.transaction = None;
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
