//! Floor 2: the memtable: the newest entries of a column family, sorted, in memory.
//!
//! A tree in arenas (`tree`, `arena`) that maps encoded internal keys to values. Entries are added,
//! never changed or removed; a memtable goes as a whole, when the last who holds it lets go of it.
//!
//! Range tombstones stand beside the tree, as [`Fragments`] that each new one replaces: there are
//! few of them. Whoever looks a key up asks for both.
//!
//! # Concurrency
//!
//! [`Memtable::writer`] takes a lock; lookups and iterators never wait. What was inserted through a
//! writer is visible to every lookup and every iterator that begins when the writer has been
//! dropped, and may be before; so sequence numbers are published after that. A reader that meets
//! entries newer than its sequence number skips them. The same holds for range tombstones; a
//! memtable without any costs a reader one load to see that.

mod arena;
mod iter;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::blob::LogPlace;
use crate::base::key::{self, SeqNo, ValueKind};
use crate::base::sync::fine_atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::base::sync::{ArcSwap, Mutex};
use crate::ranges::Fragments;
pub use arena::ChunkPool;
pub use iter::MemtableIterator;
use tree::{Cursor, Tree, Writer};

/// See the module's documentation.
#[derive(Debug)]
pub struct Memtable {
    tree: Arc<Tree>,
    /// Where what it holds beside the tree is counted.
    pool: Option<Arc<ChunkPool>>,
    tombstones: AtomicU64,
    ranges: ArcSwap<Fragments>,
    /// How many range tombstones were inserted; raised after `ranges` has the last of them.
    range_tombstones: AtomicU64,
    /// Memory of `ranges`.
    range_bytes: AtomicUsize,
    /// Where in the log the large values lie, of a family that sets those apart.
    places: Mutex<Vec<(SeqNo, LogPlace)>>,
    /// Memory of `places`.
    place_bytes: AtomicUsize,
    /// The newest sequence number in the tree, as of the last writer that was dropped.
    newest: AtomicU64,
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
        Memtable::with_pool(None, b"")
    }

    /// An empty memtable that takes memory from `pool`, and leaves it there, for keys most of which
    /// begin with `common_prefix`. It is faster then than one that was not told so, and slower if
    /// it was told wrong; see [`Memtable::common_prefix`].
    #[must_use]
    pub fn in_pool(pool: &Arc<ChunkPool>, common_prefix: &[u8]) -> Memtable {
        Memtable::with_pool(Some(Arc::clone(pool)), common_prefix)
    }

    fn with_pool(pool: Option<Arc<ChunkPool>>, common_prefix: &[u8]) -> Memtable {
        Memtable {
            tree: Arc::new(Tree::new(common_prefix, pool.clone())),
            pool,
            tombstones: AtomicU64::new(0),
            ranges: ArcSwap::default(),
            range_tombstones: AtomicU64::new(0),
            range_bytes: AtomicUsize::new(0),
            places: Mutex::default(),
            place_bytes: AtomicUsize::new(0),
            newest: AtomicU64::new(0),
        }
    }

    /// The right to insert. Waits for the writer before this one to be dropped.
    pub fn writer(&self) -> MemtableWriter<'_> {
        MemtableWriter { writer: self.tree.writer(), memtable: self, newest: SeqNo::ZERO }
    }

    /// Asks the processor for what an insertion of the key will need, for who knows of one before
    /// it is due.
    #[inline]
    pub(crate) fn prefetch(&self, user_key: &[u8]) {
        self.tree.prefetch(user_key);
    }

    /// The newest entry at or behind `lookup`, an encoded internal key, that has the same user key:
    /// its trailer and its value.
    #[must_use]
    #[inline]
    pub fn get(&self, lookup: &[u8]) -> Option<(u64, &[u8])> {
        self.tree.get(lookup)
    }

    /// The newest range tombstone over `user_key` at or below `at`; [`SeqNo::ZERO`] where there is
    /// none.
    #[must_use]
    #[inline]
    pub fn covering(&self, user_key: &[u8], at: SeqNo) -> SeqNo {
        if self.range_tombstones() == 0 {
            return SeqNo::ZERO;
        }
        self.ranges.load().covering(user_key, at)
    }

    /// The range tombstones so far; `None` where there are none.
    #[must_use]
    pub(crate) fn ranges(&self) -> Option<Arc<Fragments>> {
        (self.range_tombstones() > 0).then(|| self.ranges.load_full())
    }

    /// An iterator over the point entries, not positioned yet.
    #[must_use]
    pub fn iter(self: &Arc<Self>) -> MemtableIterator {
        MemtableIterator { cursor: Cursor::new(Arc::clone(&self.tree)), memtable: Arc::clone(self) }
    }

    /// The newest sequence number of a point entry; [`SeqNo::ZERO`] where there is none. What a
    /// writer inserts counts when it is dropped.
    #[must_use]
    pub(crate) fn newest(&self) -> SeqNo {
        SeqNo::new(self.newest.load(Ordering::Acquire))
    }

    /// What every user key begins with, as far as the entries inserted so far tell. The keys of the
    /// next memtable of a column family mostly begin like those of this one.
    #[must_use]
    pub fn common_prefix(&self) -> Vec<u8> {
        let mut cursor = Cursor::new(Arc::clone(&self.tree));
        cursor.seek_to_first();
        if !cursor.valid() {
            return Vec::new();
        }
        let first = key::user_key(cursor.key()).to_vec();
        cursor.seek_to_last();
        let last = key::user_key(cursor.key());
        first.iter().zip(last).take_while(|(a, b)| a == b).map(|(a, _)| *a).collect()
    }

    /// Where in the log large values lie, as far as somebody noted it: those that `wanted` takes.
    #[must_use]
    pub fn places(&self, wanted: impl Fn(&LogPlace) -> bool) -> HashMap<SeqNo, LogPlace> {
        let places = self.places.lock();
        places.iter().filter(|(_, place)| wanted(place)).copied().collect()
    }

    /// Bytes of memory filled, with entries and range tombstones. Chunks that were begun take up to
    /// twice that of a small memtable, and 2 MiB each of a large one.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tree.memory_bytes()
            + self.range_bytes.load(Ordering::Relaxed)
            + self.place_bytes.load(Ordering::Relaxed)
    }

    /// Point entries inserted, tombstones among them.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.tree.entries()
    }

    /// Whether nothing was inserted, neither an entry nor a range tombstone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries() == 0 && self.range_tombstones() == 0
    }

    /// Range tombstones inserted.
    #[must_use]
    #[inline]
    pub fn range_tombstones(&self) -> u64 {
        self.range_tombstones.load(Ordering::Acquire)
    }

    /// Tombstones inserted.
    #[must_use]
    pub fn tombstones(&self) -> u64 {
        self.tombstones.load(Ordering::Relaxed)
    }

    /// Whether something in it hides what may be on disk.
    #[must_use]
    pub fn holds_tombstones(&self) -> bool {
        self.tombstones() > 0 || self.range_tombstones() > 0
    }

    /// Of what is held beside the tree one part takes `bytes` now. Only the writer calls this.
    fn note_beside(&self, part: &AtomicUsize, bytes: usize) {
        let before = part.swap(bytes, Ordering::Relaxed);
        if let Some(pool) = &self.pool
            && before != bytes
        {
            pool.recharge(before, bytes);
        }
    }
}

impl Drop for Memtable {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            let beside = [&self.range_bytes, &self.place_bytes];
            pool.recharge(beside.iter().map(|part| part.load(Ordering::Relaxed)).sum(), 0);
        }
    }
}

/// The right to insert into a [`Memtable`]. Drop it to make sure that readers see all.
#[derive(Debug)]
pub struct MemtableWriter<'a> {
    writer: Writer<'a>,
    memtable: &'a Memtable,
    /// The newest sequence number that was inserted into the tree.
    newest: SeqNo,
}

impl MemtableWriter<'_> {
    /// Inserts an operation. No two have the same key and sequence number, and range tombstones
    /// come in the order of their sequence numbers.
    ///
    /// # Panics
    /// When `key` or `value` has 2^32 bytes or more, far beyond what a batch accepts.
    #[inline]
    pub fn insert(&mut self, seq: SeqNo, kind: ValueKind, key: &[u8], value: &[u8]) {
        // Only the holder of the writer's lock stores: each store below is of one thread.
        let memtable = self.memtable;
        if kind == ValueKind::RangeDelete {
            return self.insert_range(seq, key, value);
        }
        self.newest = self.newest.max(seq);
        self.writer.insert(key, key::pack_trailer(seq, kind), value);
        if kind == ValueKind::Delete {
            let tombstones = memtable.tombstones.load(Ordering::Relaxed) + 1;
            memtable.tombstones.store(tombstones, Ordering::Relaxed);
        }
    }

    /// Takes note that the value that was inserted as `seq` lies there in the log, too.
    pub fn note_place(&self, seq: SeqNo, place: LogPlace) {
        let mut places = self.memtable.places.lock();
        places.push((seq, place));
        let bytes = places.capacity() * size_of::<(SeqNo, LogPlace)>();
        self.memtable.note_beside(&self.memtable.place_bytes, bytes);
    }

    #[cold]
    fn insert_range(&mut self, seq: SeqNo, start: &[u8], end: &[u8]) {
        let memtable = self.memtable;
        let mut ranges = Fragments::clone(&memtable.ranges.load());
        ranges.insert(start, end, seq);
        memtable.note_beside(&memtable.range_bytes, ranges.memory_bytes());
        memtable.ranges.store(Arc::new(ranges));
        let tombstones = memtable.range_tombstones.load(Ordering::Relaxed) + 1;
        memtable.range_tombstones.store(tombstones, Ordering::Release);
    }
}

impl Drop for MemtableWriter<'_> {
    fn drop(&mut self) {
        let newest = &self.memtable.newest;
        if self.newest.get() > newest.load(Ordering::Relaxed) {
            newest.store(self.newest.get(), Ordering::Release);
        }
    }
}

#[cfg(all(test, loom))]
mod schedules;
#[cfg(test)]
mod tests;
