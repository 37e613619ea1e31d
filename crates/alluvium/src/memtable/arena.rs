//! A bump allocator over chunks that stay where they are until the arena goes.
//!
//! Why: an entry of a memtable is never freed alone, so an allocation is an addition, and dropping
//! a memtable frees some dozens of chunks instead of a million nodes. Chunks double from
//! [`CHUNK_BYTES_FIRST`] to [`CHUNK_BYTES_MAX`], so that the memtables of a store with thousands of
//! quiet column families stay tiny. A request that would waste much of a chunk gets one to itself;
//! the current chunk stays in use.
//!
//! The first touch of a page costs more than all the rest of inserting in ascending order. Chunks
//! of the greatest size therefore go through a [`ChunkPool`], which hands those of one memtable to
//! the next, and where the system allows it they are huge pages: a search jumps about in 100 MB,
//! and with pages of 4 KiB most of its jumps miss the processor's page table cache too.
//!
//! Invariants: memory handed out is aligned to [`ALIGN`], not initialized, overlaps no other
//! allocation, and stays valid and in place until the arena is dropped. Pointers are derived from
//! their chunk's allocation.
//!
//! Concurrency: one owner at a time. Others may read what was handed out, without a lock, as long
//! as the arena lives; the arena itself never looks into its memory. A pool is shared freely.
//!
//! The road not taken: one large reserved range, with 4-byte offsets instead of pointers. It
//! shortens a link, but every memtable must know its greatest size beforehand, and an offset must
//! be added to a base on every step of a search.

#![expect(unsafe_code, reason = "hands out raw memory; the only allocator of the engine")]

mod chunk;

use std::ptr::NonNull;
use std::sync::Arc;

use crate::base::sync::Mutex;
use crate::base::sync::tally::{AtomicUsize, Ordering};
use chunk::{CHUNK_BYTES_MAX, Chunk};

/// What every allocation is aligned to.
pub(super) const ALIGN: usize = 8;
/// Bytes of the first chunk.
const CHUNK_BYTES_FIRST: usize = 4 << 10;

/// Chunks of the greatest size that dropped memtables left for later ones.
#[derive(Debug)]
pub struct ChunkPool {
    chunks: Mutex<Vec<Chunk>>,
    chunks_max: usize,
    /// Bytes in arenas that take from here, of whatever size their chunks are, kept ones, and what
    /// memtables hold beside their arenas.
    live_bytes: AtomicUsize,
}

impl ChunkPool {
    /// A pool that keeps at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> ChunkPool {
        ChunkPool {
            chunks: Mutex::new(Vec::new()),
            chunks_max: bytes_max / CHUNK_BYTES_MAX,
            live_bytes: AtomicUsize::new(0),
        }
    }

    /// Bytes kept just now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.lock().len() * CHUNK_BYTES_MAX
    }

    /// Bytes of all memtables that take from here, those that only readers still hold and the
    /// chunks that are kept included.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.live_bytes.load(Ordering::Relaxed)
    }

    /// A memtable holds `now` bytes beside its arena, that held `before`.
    pub(super) fn recharge(&self, before: usize, now: usize) {
        self.live_bytes.fetch_add(now, Ordering::Relaxed);
        self.live_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Chunk> {
        self.chunks.lock().pop()
    }

    /// Keeps those of `chunks` that have the greatest size, as far as there is room.
    fn give(&self, chunks: Vec<Chunk>) {
        let given: usize = chunks.iter().map(Chunk::bytes).sum();
        let mut kept = self.chunks.lock();
        let room = self.chunks_max.saturating_sub(kept.len());
        let of_greatest_size = chunks.into_iter().filter(|c| c.bytes() == CHUNK_BYTES_MAX);
        let before = kept.len();
        kept.extend(of_greatest_size.take(room));
        let kept_bytes = (kept.len() - before) * CHUNK_BYTES_MAX;
        self.live_bytes.fetch_sub(given - kept_bytes, Ordering::Relaxed);
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Arena {
    pool: Option<Arc<ChunkPool>>,
    chunks: Vec<Chunk>,
    /// The first free byte of the current chunk. Dangling while there is none.
    free: NonNull<u8>,
    /// Free bytes from `free` on.
    left: usize,
    chunk_bytes_next: usize,
    allocated_bytes: usize,
}

// SAFETY: `free` points into a chunk that the arena owns; nothing of it is tied to a thread.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena without a chunk.
    pub(super) fn new(pool: Option<Arc<ChunkPool>>) -> Arena {
        Arena {
            pool,
            chunks: Vec::new(),
            free: NonNull::<u64>::dangling().cast(),
            left: 0,
            chunk_bytes_next: CHUNK_BYTES_FIRST,
            allocated_bytes: 0,
        }
    }

    /// Bytes of all chunks, used or not.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
    }

    /// Bytes of all chunks but for what is left of the current one, which nobody has touched yet.
    #[inline]
    pub(super) fn filled_bytes(&self) -> usize {
        self.allocated_bytes - self.left
    }

    /// `bytes` bytes of uninitialized memory, aligned to [`ALIGN`], valid until `self` is dropped.
    ///
    /// # Panics
    /// When `bytes` is more than an allocation can have.
    #[inline]
    pub(super) fn allocate(&mut self, bytes: usize) -> NonNull<u8> {
        let Some(rounded) = bytes.checked_next_multiple_of(ALIGN) else {
            panic!("{bytes} bytes are more than an allocation can have");
        };
        if rounded > self.left {
            return self.allocate_from_new_chunk(rounded);
        }
        self.bump(rounded)
    }

    /// Cuts `rounded` bytes, which must be left, off the current chunk.
    #[inline]
    fn bump(&mut self, rounded: usize) -> NonNull<u8> {
        assert!(rounded <= self.left);
        let start = self.free;
        // SAFETY: `left` bytes from `free` on lie inside the current chunk, and `rounded` is at
        // most `left`, so that the result is inside the chunk or one past its end. (With no chunk,
        // `left` and `rounded` are 0.)
        self.free = unsafe { start.add(rounded) };
        self.left -= rounded;
        start
    }

    #[cold]
    fn allocate_from_new_chunk(&mut self, rounded: usize) -> NonNull<u8> {
        let bytes = self.chunk_bytes_next;
        self.chunk_bytes_next = (bytes * 2).min(CHUNK_BYTES_MAX);
        if rounded > bytes / 4 {
            return self.add_chunk(rounded);
        }
        self.free = self.add_chunk(bytes);
        self.left = bytes;
        self.bump(rounded)
    }

    /// A chunk of `bytes` bytes, more than 0.
    fn add_chunk(&mut self, bytes: usize) -> NonNull<u8> {
        let pooled = match &self.pool {
            Some(pool) if bytes == CHUNK_BYTES_MAX => pool.take(),
            _ => None,
        };
        if let (Some(pool), None) = (&self.pool, &pooled) {
            pool.live_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let chunk = pooled.unwrap_or_else(|| Chunk::new(bytes));
        let at = chunk.start();
        self.chunks.push(chunk);
        self.allocated_bytes += bytes;
        at
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give(std::mem::take(&mut self.chunks));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_aligned_and_apart() {
        let mut arena = Arena::new(None);
        let sizes = [0, 1, 7, 8, 9, 500, 1024, 1025, 4096, 100_000, 3, 2_000_000, 64];
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for size in sizes.iter().cycle().take(400) {
            let start = arena.allocate(*size).addr().get();
            assert_eq!(start % ALIGN, 0);
            for &(other, length) in &taken {
                assert!(start + size <= other || other + length <= start, "{size} overlaps");
            }
            if *size > 0 {
                taken.push((start, *size));
            }
        }
        let asked: usize = taken.iter().map(|(_, length)| length).sum();
        assert!((asked..=arena.allocated_bytes()).contains(&arena.filled_bytes()));
    }

    #[test]
    fn chunks_double_and_large_requests_leave_the_current_chunk_in_use() {
        let mut arena = Arena::new(None);
        assert_eq!(arena.allocated_bytes(), 0);
        let first = arena.allocate(16).addr().get();
        assert_eq!(arena.allocated_bytes(), CHUNK_BYTES_FIRST);
        arena.allocate(50_000);
        assert_eq!(arena.allocated_bytes(), CHUNK_BYTES_FIRST + 50_000);
        assert_eq!(arena.allocate(16).addr().get(), first + 16);
        for _ in 0..CHUNK_BYTES_FIRST / 16 {
            arena.allocate(16);
        }
        // The next chunk: the large one counted as a step of the doubling.
        assert_eq!(arena.allocated_bytes(), 5 * CHUNK_BYTES_FIRST + 50_000);
    }

    #[test]
    fn a_pool_hands_chunks_on_and_keeps_no_more_than_told() {
        let pool = Arc::new(ChunkPool::new(2 * CHUNK_BYTES_MAX + 1));
        let fill = || {
            let mut arena = Arena::new(Some(Arc::clone(&pool)));
            while arena.allocated_bytes() < 6 * CHUNK_BYTES_MAX {
                arena.allocate(CHUNK_BYTES_FIRST / 8);
            }
            arena
        };
        let arena = fill();
        assert_eq!(pool.bytes(), 0);
        assert_eq!(pool.live_bytes(), arena.allocated_bytes());
        drop(arena);
        assert_eq!(pool.bytes(), 2 * CHUNK_BYTES_MAX);
        assert_eq!(pool.live_bytes(), pool.bytes());
        let arena = fill();
        assert_eq!(pool.bytes(), 0);
        drop(fill());
        drop(arena);
        assert_eq!(pool.bytes(), 2 * CHUNK_BYTES_MAX);
    }
}
