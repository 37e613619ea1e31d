//! Which tables are open: a bounded number, each reached without a lock.
//!
//! Every live table has one [`TableHandle`], owned by the version that names it, and the handle has
//! a slot for the open [`Table`]. The fast path loads the slot; no map, no lock. Opening takes the
//! handle's own lock, so that one thread opens a table while others wait for it, and then the
//! clock's.
//!
//! The bound is one on their number, and may be one on their memory too. Beyond it the clock closes
//! a table that has not been used since its hand last passed: it empties the slot. Readers that
//! still hold the `Arc` go on with it, and the file is closed with the last of them; so the bound
//! is one on slots, and files open beyond it are those of tables in use or just being opened. The
//! clock knows handles weakly: a table that no version names any longer closes by itself.
//!
//! Invariant, under the clock's lock: a slot is full if and only if the clock has its handle.

use std::io;
use std::sync::{Arc, Weak};

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::tally::{AtomicU64, AtomicUsize};
use crate::base::sync::{ArcSwapOption, Guard, Mutex};
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
    /// Held while the table is being opened: whether it ever was.
    opening: Mutex<bool>,
    /// Tombstones that scans have stepped over. The open table has it too.
    tombstones_walked: Arc<AtomicU64>,
}

impl TableHandle {
    /// The table `number`, whose footer has this checksum.
    pub(crate) fn new(number: FileNumber, footer_checksum: u64) -> TableHandle {
        TableHandle {
            number,
            footer_checksum,
            slot: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            opening: Mutex::new(false),
            tombstones_walked: Arc::default(),
        }
    }

    /// The table's file number.
    #[cfg(test)]
    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    /// How many of its tombstones scans have stepped over, about, in this life of the store.
    pub(crate) fn tombstones_walked(&self) -> u64 {
        self.tombstones_walked.load(Ordering::Relaxed)
    }

    /// As if scans had stepped over so many tombstones more.
    #[cfg(test)]
    pub(crate) fn walk_tombstones(&self, count: u64) {
        self.tombstones_walked.fetch_add(count, Ordering::Relaxed);
    }

    /// The table if it is open, marked as used.
    #[inline]
    fn opened(&self) -> Option<Arc<Table>> {
        let table = self.slot.load_full()?;
        self.note_use();
        Some(table)
    }

    #[inline]
    fn note_use(&self) {
        // Read before writing: a cache line that is only read is shared between cores.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

/// A table if it is open, held for a short look.
pub(crate) type OpenTable = Guard<Option<Arc<Table>>>;

/// Opens tables and bounds how many are.
#[derive(Debug)]
pub(crate) struct TableCache {
    env: Arc<dyn Env>,
    cache: Arc<BlockCache>,
    counters: Arc<Counters>,
    clock: Mutex<Clock>,
    /// What the clock's tables hold: a look without its lock.
    bytes: AtomicUsize,
}

impl TableCache {
    /// At most `open_tables_max` tables (at least 1) are kept open.
    pub(crate) fn new(
        env: Arc<dyn Env>,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
        open_tables_max: usize,
    ) -> TableCache {
        let clock = Clock {
            ring: Vec::new(),
            hand: 0,
            capacity: open_tables_max.max(1),
            bytes: 0,
            bytes_max: usize::MAX,
        };
        TableCache { env, cache, counters, clock: Mutex::new(clock), bytes: AtomicUsize::new(0) }
    }

    /// Keeps open no more than what holds `bytes_max` of memory, one table at least.
    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.clock.lock().bytes_max = bytes_max;
    }

    /// The open table of `handle`.
    #[inline]
    pub(crate) fn open(&self, handle: &Arc<TableHandle>) -> Result<Arc<Table>> {
        match handle.opened() {
            Some(table) => Ok(table),
            None => self.open_slow(handle),
        }
    }

    /// The table of `handle` if it is open: for a short look, that counts no reference.
    #[inline]
    pub(crate) fn peek(&self, handle: &TableHandle) -> OpenTable {
        handle.note_use();
        handle.slot.load()
    }

    #[cold]
    fn open_slow(&self, handle: &Arc<TableHandle>) -> Result<Arc<Table>> {
        let mut was_open = handle.opening.lock();
        if let Some(table) = handle.opened() {
            return Ok(table);
        }
        let table = Arc::new(self.open_file(handle)?);
        table.set_alone(!std::mem::replace(&mut *was_open, true));
        let closed = {
            let mut clock = self.clock.lock();
            let closed = clock.admit(handle, table.memory_bytes());
            self.bytes.store(clock.bytes, Ordering::Relaxed);
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
        let mut table = Table::open(file, handle.number, name, cache, counters)?;
        if table.footer_checksum() != handle.footer_checksum {
            let detail = "the file is not the table that the manifest names";
            return Err(Error::corruption(table.name(), 0, detail));
        }
        table.tombstones_walked = Arc::clone(&handle.tombstones_walked);
        Ok(table)
    }

    /// The block cache that the tables share.
    pub(crate) fn block_cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// Closes table `number` if it is open: its file is about to be removed.
    pub(crate) fn forget(&self, number: FileNumber) {
        let closed = {
            let mut clock = self.clock.lock();
            let closed = clock.remove(number);
            self.bytes.store(clock.bytes, Ordering::Relaxed);
            closed
        };
        drop(closed);
    }

    /// Tables in the cache now.
    pub(crate) fn open_tables(&self) -> usize {
        self.clock.lock().open().count()
    }

    /// Bytes of memory that the tables in the cache hold: indexes, filters and properties.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A handle whose slot is full.
#[derive(Debug)]
struct Place {
    number: FileNumber,
    handle: Weak<TableHandle>,
    /// Memory of the open table.
    bytes: usize,
}

impl Place {
    /// Empties the slot.
    fn close(self) -> Option<Arc<Table>> {
        let table = self.handle.upgrade()?.slot.swap(None)?;
        // Somebody may go on with it, and somebody else open it again.
        table.set_alone(false);
        Some(table)
    }
}

/// The handles whose slots are full, in a ring.
#[derive(Debug)]
struct Clock {
    ring: Vec<Place>,
    hand: usize,
    capacity: usize,
    /// Memory of all open tables, and the bound on it.
    bytes: usize,
    bytes_max: usize,
}

impl Clock {
    /// Takes in a handle; beyond the bounds others' tables are closed and handed back.
    fn admit(&mut self, handle: &Arc<TableHandle>, bytes: usize) -> Vec<Arc<Table>> {
        let mut closed = Vec::new();
        while !self.ring.is_empty()
            && (self.ring.len() >= self.capacity || self.bytes + bytes > self.bytes_max)
        {
            closed.extend(self.evict().and_then(Place::close));
        }
        self.bytes += bytes;
        self.ring.push(Place { number: handle.number, handle: Arc::downgrade(handle), bytes });
        closed
    }

    /// Takes out one that has not been used since the hand last passed.
    fn evict(&mut self) -> Option<Place> {
        // Ends at the latest when the hand has cleared every bit and comes round again; users may
        // set them anew meanwhile, so after two rounds the next one goes, used or not.
        for _ in 0..2 * self.ring.len() {
            let used = match self.ring[self.hand].handle.upgrade() {
                Some(other) => other.used.swap(false, Ordering::Relaxed),
                None => false,
            };
            if !used {
                break;
            }
            self.hand = (self.hand + 1) % self.ring.len();
        }
        self.take(self.hand)
    }

    /// Takes out the one at `place`; the last comes to stand there, so that the hand goes on.
    fn take(&mut self, place: usize) -> Option<Place> {
        if place >= self.ring.len() {
            return None;
        }
        let taken = self.ring.swap_remove(place);
        self.bytes -= taken.bytes;
        if self.hand >= self.ring.len() {
            self.hand = 0;
        }
        Some(taken)
    }

    fn remove(&mut self, number: FileNumber) -> Option<Arc<Table>> {
        let place = self.ring.iter().position(|place| place.number == number)?;
        self.take(place)?.close()
    }

    fn open(&self) -> impl Iterator<Item = Arc<Table>> {
        self.ring.iter().filter_map(|place| place.handle.upgrade()?.slot.load_full())
    }
}
