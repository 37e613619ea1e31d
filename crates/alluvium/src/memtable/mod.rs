//! Floor 2: the memtable: the newest entries of a column family, sorted, in memory.
//!
//! A skip list in arenas (`skiplist`, `arena`) that maps encoded internal keys to values. Entries
//! are added, never changed or removed; a memtable goes as a whole, when the last who holds it lets
//! go of it.
//!
//! # Concurrency
//!
//! [`Memtable::writer`] takes a lock that only writers take. Readers take none and never wait. What
//! was inserted through a writer is visible to every reader when the writer has been dropped, and
//! may be before; so sequence numbers are published after that. A reader that meets entries newer
//! than its sequence number skips them.

mod arena;
mod iter;
mod skiplist;

use std::sync::Arc;

use crate::base::key::{self, SeqNo, ValueKind};
use crate::base::sync::fine_atomic::{AtomicU64, Ordering};
pub use arena::ChunkPool;
pub use iter::MemtableIterator;
use skiplist::{Cursor, SkipList, Writer};

/// See the module's documentation.
#[derive(Debug)]
pub struct Memtable {
    list: Arc<SkipList>,
    tombstones: AtomicU64,
}

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable::new()
    }
}

impl Memtable {
    /// An empty memtable.
    #[must_use]
    pub fn new() -> Memtable {
        Memtable::with_list(SkipList::new(b"", None))
    }

    /// An empty memtable that takes memory from `pool`, and leaves it there, for keys most of which
    /// begin with `common_prefix`. It is faster then than one that was not told so, and slower if
    /// it was told wrong; see [`Memtable::common_prefix`].
    #[must_use]
    pub fn in_pool(pool: &Arc<ChunkPool>, common_prefix: &[u8]) -> Memtable {
        Memtable::with_list(SkipList::new(common_prefix, Some(Arc::clone(pool))))
    }

    fn with_list(list: SkipList) -> Memtable {
        Memtable { list: Arc::new(list), tombstones: AtomicU64::new(0) }
    }

    /// The right to insert. Waits for the writer before this one to be dropped.
    pub fn writer(&self) -> MemtableWriter<'_> {
        MemtableWriter { writer: self.list.writer(), tombstones: &self.tombstones }
    }

    /// The newest entry at or behind `lookup`, an encoded internal key, that has the same user key:
    /// its trailer and its value.
    #[must_use]
    #[inline]
    pub fn get(&self, lookup: &[u8]) -> Option<(u64, &[u8])> {
        let (found, value) = self.list.first_from(lookup)?;
        let (user_key, trailer) = key::split(found);
        (user_key == key::user_key(lookup)).then_some((trailer, value))
    }

    /// An iterator, not positioned yet.
    #[must_use]
    pub fn iter(self: &Arc<Self>) -> MemtableIterator {
        MemtableIterator(Cursor::new(Arc::clone(&self.list)))
    }

    /// What every user key begins with, as far as the entries inserted so far tell. The keys of the
    /// next memtable of a column family mostly begin like those of this one.
    #[must_use]
    pub fn common_prefix(&self) -> Vec<u8> {
        let mut cursor = Cursor::new(Arc::clone(&self.list));
        cursor.seek_to_first();
        if !cursor.valid() {
            return Vec::new();
        }
        let first = key::user_key(cursor.key()).to_vec();
        cursor.seek_to_last();
        let last = key::user_key(cursor.key());
        first.iter().zip(last).take_while(|(a, b)| a == b).map(|(a, _)| *a).collect()
    }

    /// Bytes of memory taken for entries: whole chunks, used or not.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.list.memory_bytes()
    }

    /// Entries inserted, tombstones among them.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.list.entries()
    }

    /// Whether nothing was inserted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// Tombstones inserted.
    #[must_use]
    pub fn tombstones(&self) -> u64 {
        self.tombstones.load(Ordering::Relaxed)
    }
}

/// The right to insert into a [`Memtable`]. Drop it to make sure that readers see all.
#[derive(Debug)]
pub struct MemtableWriter<'a> {
    writer: Writer<'a>,
    tombstones: &'a AtomicU64,
}

impl MemtableWriter<'_> {
    /// Inserts an entry. No two entries have the same key and sequence number.
    ///
    /// # Panics
    /// When `key` or `value` has 2^32 bytes or more, far beyond what a batch accepts.
    #[inline]
    pub fn insert(&mut self, seq: SeqNo, kind: ValueKind, key: &[u8], value: &[u8]) {
        self.writer.insert(key, key::pack_trailer(seq, kind), value);
        if kind == ValueKind::Delete {
            // Only the holder of the writer's lock stores.
            let tombstones = self.tombstones.load(Ordering::Relaxed) + 1;
            self.tombstones.store(tombstones, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
mod schedules;
#[cfg(test)]
mod tests;
