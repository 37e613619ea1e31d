//! One piece of memory: a small one from the allocator, or one of the greatest size.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::env::{PAGES_BYTES, Pages};

/// What small chunks are aligned to: a line of the processor's cache.
const CHUNK_ALIGN: usize = 64;
/// Bytes that chunks grow to.
pub(super) const CHUNK_BYTES_MAX: usize = PAGES_BYTES;

/// A piece of memory that it owns.
#[derive(Debug)]
pub(super) enum Chunk {
    /// From the allocator.
    Small {
        /// Where it starts.
        at: NonNull<u8>,
        /// What it was asked for with.
        layout: Layout,
    },
    /// Of [`CHUNK_BYTES_MAX`].
    Large(Pages),
}

// SAFETY: a chunk is memory that it owns, as a box is, and nothing of it is tied to a thread.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Memory of `bytes` bytes, which are more than 0, not initialized. Where there is none, the
    /// program ends as it does when the allocator has none.
    ///
    /// # Panics
    /// When `bytes` is more than an allocation can have.
    pub(super) fn new(bytes: usize) -> Chunk {
        assert!(bytes > 0);
        let Ok(layout) = Layout::from_size_align(bytes, CHUNK_ALIGN) else {
            panic!("{bytes} bytes are more than an allocation can have");
        };
        let chunk = if bytes == CHUNK_BYTES_MAX {
            Pages::new().map(Chunk::Large)
        } else {
            // SAFETY: the layout's size is not 0.
            let at = NonNull::new(unsafe { alloc(layout) });
            at.map(|at| Chunk::Small { at, layout })
        };
        chunk.unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Where it starts.
    pub(super) fn start(&self) -> NonNull<u8> {
        match self {
            Chunk::Small { at, .. } => *at,
            Chunk::Large(pages) => pages.start(),
        }
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Chunk::Small { layout, .. } => layout.size(),
            Chunk::Large(_) => CHUNK_BYTES_MAX,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Chunk::Small { at, layout } = self {
            // SAFETY: `at` came from `alloc` with this very layout, and is given back once.
            unsafe { dealloc(at.as_ptr(), *layout) };
        }
    }
}
