//! Which tables are open: a bounded number, each reached without a lock.
//!
//! Every live table has one [`TableHandle`], owned by the version that names it, and the handle has
//! a slot for the open [`Table`]. The fast path loads the slot; no map, no lock. Opening takes the
//! handle's own lock, so that one thread opens a table while others wait for it, and then the
//! clock's.
//!
//! Beyond the bound the clock closes a table that has not been used since its hand last passed: it
//! empties the slot. Readers that still hold the `Arc` go on with it, and the file is closed with
//! the last of them; so the bound is one on slots, and files open beyond it are those of tables in
//! use or just being opened. The clock knows handles weakly: a table that no version names any
//! longer closes by itself.
//!
//! Invariant, under the clock's lock: a slot is full if and only if the clock has its handle.

use std::io;
use std::sync::{Arc, Weak};

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::{ArcSwapOption, Mutex};
use crate::cache::BlockCache;
use crate::env::Env;
use crate::metrics::Counters;
use crate::sstable::reader::Table;

/// One live table, open or not.
#[derive(Debug)]
pub(crate) struct TableHandle {
    number: FileNumber,
    footer_checksum: u64,
    slot: ArcSwapOption<Table>,
    /// Set by use, cleared by the clock's hand.
    used: AtomicBool,
    /// Held while the table is being opened.
    opening: Mutex<()>,
}

impl TableHandle {
    /// The table `number`, whose footer has this checksum.
    pub(crate) fn new(number: FileNumber, footer_checksum: u64) -> TableHandle {
        TableHandle {
            number,
            footer_checksum,
            slot: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            opening: Mutex::new(()),
        }
    }

    /// The table's file number.
    #[cfg(test)]
    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    /// The table if it is open, marked as used.
    #[inline]
    fn opened(&self) -> Option<Arc<Table>> {
        let table = self.slot.load_full()?;
        // Read before writing: a cache line that is only read is shared between cores.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(table)
    }
}

/// Opens tables and bounds how many are.
#[derive(Debug)]
pub(crate) struct TableCache {
    env: Arc<dyn Env>,
    cache: Arc<BlockCache>,
    counters: Arc<Counters>,
    clock: Mutex<Clock>,
}

impl TableCache {
    /// At most `open_tables_max` tables (at least 1) are kept open.
    pub(crate) fn new(
        env: Arc<dyn Env>,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
        open_tables_max: usize,
    ) -> TableCache {
        let clock = Clock { ring: Vec::new(), hand: 0, capacity: open_tables_max.max(1) };
        TableCache { env, cache, counters, clock: Mutex::new(clock) }
    }

    /// The open table of `handle`.
    #[inline]
    pub(crate) fn open(&self, handle: &Arc<TableHandle>) -> Result<Arc<Table>> {
        match handle.opened() {
            Some(table) => Ok(table),
            None => self.open_slow(handle),
        }
    }

    #[cold]
    fn open_slow(&self, handle: &Arc<TableHandle>) -> Result<Arc<Table>> {
        let _opening = handle.opening.lock();
        if let Some(table) = handle.opened() {
            return Ok(table);
        }
        let table = Arc::new(self.open_file(handle)?);
        let closed = {
            let mut clock = self.clock.lock();
            let closed = clock.admit(handle);
            handle.slot.store(Some(Arc::clone(&table)));
            handle.used.store(true, Ordering::Relaxed);
            closed
        };
        // Closing a file may take a while: not under the lock.
        drop(closed);
        Ok(table)
    }

    fn open_file(&self, handle: &TableHandle) -> Result<Table> {
        let id = FileId::Table(handle.number);
        let name = self.env.display(id);
        let file = self.env.open(id).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::corruption(name.as_str(), 0, "the table is missing"),
            _ => Error::io("open", name.as_str(), source),
        })?;
        let (cache, counters) = (Arc::clone(&self.cache), Arc::clone(&self.counters));
        let table = Table::open(file, handle.number, name, cache, counters)?;
        if table.footer_checksum() != handle.footer_checksum {
            let detail = "the file is not the table that the manifest names";
            return Err(Error::corruption(table.name(), 0, detail));
        }
        Ok(table)
    }

    /// The block cache that the tables share.
    pub(crate) fn block_cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// Closes table `number` if it is open: its file is about to be removed.
    pub(crate) fn forget(&self, number: FileNumber) {
        let closed = self.clock.lock().remove(number);
        drop(closed);
    }

    /// Tables in the cache now.
    pub(crate) fn open_tables(&self) -> usize {
        self.clock.lock().open().count()
    }

    /// Bytes of memory that the tables in the cache hold: indexes, filters and properties.
    pub(crate) fn memory_bytes(&self) -> usize {
        let clock = self.clock.lock();
        clock.open().map(|table| table.memory_bytes()).sum()
    }
}

/// The handles whose slots are full, in a ring.
#[derive(Debug)]
struct Clock {
    ring: Vec<Weak<TableHandle>>,
    hand: usize,
    capacity: usize,
}

impl Clock {
    /// Takes in a handle; beyond the capacity another's table is closed and handed back.
    fn admit(&mut self, handle: &Arc<TableHandle>) -> Option<Arc<Table>> {
        let newcomer = Arc::downgrade(handle);
        if self.ring.len() < self.capacity {
            self.ring.push(newcomer);
            return None;
        }
        // Ends at the latest when the hand has cleared every bit and comes round again; users may
        // set them anew meanwhile, so after two rounds the next one goes, used or not.
        for _ in 0..2 * self.ring.len() {
            let place = self.hand;
            self.hand = (place + 1) % self.ring.len();
            match self.ring[place].upgrade() {
                Some(other) if other.used.swap(false, Ordering::Relaxed) => {}
                other => return self.replace(place, other, newcomer),
            }
        }
        let other = self.ring[self.hand].upgrade();
        self.replace(self.hand, other, newcomer)
    }

    fn replace(
        &mut self,
        place: usize,
        other: Option<Arc<TableHandle>>,
        newcomer: Weak<TableHandle>,
    ) -> Option<Arc<Table>> {
        self.ring[place] = newcomer;
        other?.slot.swap(None)
    }

    fn remove(&mut self, number: FileNumber) -> Option<Arc<Table>> {
        let is_wanted = |handle: &Weak<TableHandle>| {
            handle.upgrade().is_some_and(|handle| handle.number == number)
        };
        let place = self.ring.iter().position(is_wanted)?;
        let handle = self.ring.swap_remove(place).upgrade();
        if self.hand >= self.ring.len() {
            self.hand = 0;
        }
        handle?.slot.swap(None)
    }

    fn open(&self) -> impl Iterator<Item = Arc<Table>> {
        self.ring.iter().filter_map(|handle| handle.upgrade()?.slot.load_full())
    }
}
