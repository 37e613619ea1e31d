//! Reading the blocks of a table in order, many with one call.
//!
//! Two tempers. *Sequential*, for compactions: 256 KiB at once from the first block on, and blocks
//! are slices of that chunk, whose memory is used again once nobody holds a slice. *Adaptive*, for
//! users: a block alone, until the blocks asked for follow one another; then twice as much each
//! time, up to the same 256 KiB. A block that the cache is to keep is copied out of the chunk: it,
//! or a value in it that the user keeps, must not keep a quarter of a mebibyte. Others are slices
//! here, too.
//!
//! The road not taken: telling the operating system that the file is read in order. The hint sticks
//! to the open file, which point lookups share.
//!
//! One owner, no sharing. What lies in the chunk is not checked yet.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::base::error::Result;
use crate::sstable::format::BlockHandle;
use crate::sstable::table_file::TableFile;

const WINDOW_BYTES_MIN: usize = 16 << 10;
const WINDOW_BYTES_MAX: usize = 256 << 10;

/// Bytes of a file read ahead of need.
#[derive(Debug)]
pub(super) struct ReadAhead {
    sequential: bool,
    chunk: Bytes,
    chunk_start: u64,
    window: usize,
    /// Where the block behind the last one begins.
    next: u64,
}

impl ReadAhead {
    /// Reads ahead from the first block on, and shares its memory with the blocks handed out.
    pub(super) fn sequential() -> ReadAhead {
        ReadAhead { sequential: true, ..ReadAhead::adaptive() }
    }

    /// Reads ahead once blocks follow one another, and hands out blocks in their own memory.
    pub(super) fn adaptive() -> ReadAhead {
        ReadAhead {
            sequential: false,
            chunk: Bytes::new(),
            chunk_start: 0,
            window: 0,
            next: u64::MAX,
        }
    }

    /// Whether so much was read in order that more is to come.
    pub(super) fn is_long(&self) -> bool {
        self.window == WINDOW_BYTES_MAX
    }

    /// Whether the block at `handle` has been read.
    pub(super) fn has(&self, handle: BlockHandle) -> bool {
        self.place_in_chunk(handle).is_some()
    }

    /// The block at `handle` as it is stored, unchecked; in memory of its own unless it may be
    /// `lent`. Nothing is read from `limit` on, which is at or behind the block's end and within
    /// the file.
    pub(super) fn stored(
        &mut self,
        file: &TableFile,
        handle: BlockHandle,
        limit: u64,
        lent: bool,
    ) -> Result<Bytes> {
        let follows = handle.offset == self.next;
        self.next = handle.end();
        if let Some(stored) = self.in_chunk(handle, lent) {
            return Ok(stored);
        }
        self.window = match (self.sequential, follows) {
            (true, _) => WINDOW_BYTES_MAX,
            (false, true) => (self.window * 2).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX),
            (false, false) => 0,
        };
        let wanted = handle.stored_bytes();
        let left = usize::try_from(limit.saturating_sub(handle.offset)).unwrap_or(usize::MAX);
        let ahead = self.window.min(left);
        if ahead > wanted {
            match self.fill(file, handle.offset, ahead) {
                Ok(()) => {
                    if let Some(stored) = self.in_chunk(handle, lent) {
                        return Ok(stored);
                    }
                }
                Err(_) => file.note_reread(),
            }
        }
        // Alone: no reading ahead, or something behind the block cannot be read.
        self.chunk = Bytes::new();
        let mut stored = vec![0; wanted];
        file.read_into(handle.offset, &mut stored)?;
        Ok(Bytes::from(stored))
    }

    fn place_in_chunk(&self, handle: BlockHandle) -> Option<Range<usize>> {
        let start = usize::try_from(handle.offset.checked_sub(self.chunk_start)?).ok()?;
        let end = start.checked_add(handle.stored_bytes())?;
        (end <= self.chunk.len()).then_some(start..end)
    }

    fn in_chunk(&self, handle: BlockHandle, lent: bool) -> Option<Bytes> {
        let place = self.place_in_chunk(handle)?;
        Some(if lent {
            self.chunk.slice(place)
        } else {
            Bytes::copy_from_slice(&self.chunk[place])
        })
    }

    /// Reads `length` bytes at `offset` into the chunk, in the memory of the one before where
    /// nobody holds a part of it.
    fn fill(&mut self, file: &TableFile, offset: u64, length: usize) -> Result<()> {
        let mut buffer = match std::mem::take(&mut self.chunk).try_into_mut() {
            Ok(mut buffer) if buffer.capacity() >= length => {
                buffer.resize(length, 0);
                buffer
            }
            _ => BytesMut::zeroed(length),
        };
        file.read_into(offset, &mut buffer)?;
        self.chunk = buffer.freeze();
        self.chunk_start = offset;
        Ok(())
    }
}
