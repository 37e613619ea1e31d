//! A bump allocator over chunks that stay where they are until the arena goes.
//!
//! Why: an entry of a memtable is never freed alone, so an allocation is an addition, and dropping
//! a memtable frees some hundred chunks instead of a million nodes. Chunks double from
//! [`CHUNK_BYTES_FIRST`] to [`CHUNK_BYTES_MAX`], so that the memtables of a store with thousands of
//! quiet column families stay tiny. A request that would waste much of a chunk gets one to itself;
//! the current chunk stays in use.
//!
//! Invariants: memory handed out is aligned to [`ALIGN`], not initialized, overlaps no other
//! allocation, and stays valid and in place until the arena is dropped. Pointers are derived from
//! their chunk's allocation and may reach all of their own allocation.
//!
//! Concurrency: one owner at a time. Others may read what was handed out, without a lock, as long
//! as the arena lives; the arena itself never looks into its memory.
//!
//! The road not taken: one large reserved range, with 4-byte offsets instead of pointers. It halves
//! a link, but every memtable must know its greatest size beforehand, and an offset must be added
//! to a base on every step of a search.

#![expect(unsafe_code, reason = "hands out raw memory; the only allocator of the engine")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// What every allocation is aligned to.
pub(super) const ALIGN: usize = 8;
/// Bytes of the first chunk.
pub(super) const CHUNK_BYTES_FIRST: usize = 4 << 10;
/// Bytes that chunks grow to.
pub(super) const CHUNK_BYTES_MAX: usize = 1 << 20;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Arena {
    /// Every chunk with its layout, for giving it back.
    chunks: Vec<(NonNull<u8>, Layout)>,
    /// The first free byte of the current chunk. Dangling while `left` is 0.
    free: NonNull<u8>,
    /// Free bytes from `free` on.
    left: usize,
    chunk_bytes_next: usize,
    allocated_bytes: usize,
}

// SAFETY: the arena owns its chunks, as a `Vec<Box<[u8]>>` would; nothing of it is tied to a
// thread.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena without a chunk.
    pub(super) fn new() -> Arena {
        Arena {
            chunks: Vec::new(),
            free: NonNull::<u64>::dangling().cast(),
            left: 0,
            chunk_bytes_next: CHUNK_BYTES_FIRST,
            allocated_bytes: 0,
        }
    }

    /// Bytes of all chunks, used or not.
    pub(super) fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
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
        assert!(bytes > 0);
        let Ok(layout) = Layout::from_size_align(bytes, ALIGN) else {
            panic!("{bytes} bytes are more than an allocation can have");
        };
        // SAFETY: the layout's size is not 0.
        let chunk = unsafe { alloc(layout) };
        let Some(chunk) = NonNull::new(chunk) else { handle_alloc_error(layout) };
        self.chunks.push((chunk, layout));
        self.allocated_bytes += bytes;
        chunk
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for (chunk, layout) in self.chunks.drain(..) {
            // SAFETY: `chunk` came from `alloc` with this very layout, and is given back once.
            unsafe { dealloc(chunk.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_aligned_and_apart() {
        let mut arena = Arena::new();
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
        assert!(arena.allocated_bytes() >= taken.iter().map(|(_, length)| length).sum());
    }

    #[test]
    fn chunks_double_and_large_requests_leave_the_current_chunk_in_use() {
        let mut arena = Arena::new();
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
}
