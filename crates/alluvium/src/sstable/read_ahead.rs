//! Reading the blocks of a table in order, many with one call.
//!
//! Two tempers. *Sequential*, for compactions: 256 KiB at once from the first block on, and blocks
//! are slices of that chunk, whose memory is used again once nobody holds a slice. *Adaptive*, for
//! users: a block alone, and the one behind it alone; then two at once, and twice as much each
//! time, up to the same 256 KiB. A block that the cache is to keep has memory of its own: it, or a
//! value in it that the user keeps, must not keep a quarter of a mebibyte. Others are slices here,
//! too.
//!
//! A small chunk outlives its reader: the thread keeps it for the next one. Most cursors read a
//! block or two from each table, and new memory for that, cleared first, would take as long as the
//! copy that the system makes.
//!
//! The road not taken: telling the operating system that the file is read in order. The hint sticks
//! to the open file, which point lookups share.
//!
//! One owner, no sharing. What lies in the chunk is not checked yet.

use std::cell::Cell;
use std::ops::Range;

use bytes::Bytes;

use crate::base::error::Result;
use crate::sstable::format::BlockHandle;
use crate::sstable::table_file::TableFile;

const WINDOW_BYTES_MAX: usize = 256 << 10;
/// A larger block has memory of its own, which goes when the reader does on: what a reader keeps is
/// never more than the largest window.
const LONE_BYTES_MAX: usize = WINDOW_BYTES_MAX / 2;
/// A thread keeps memory for so many small chunks,
const SPARE_MAX: usize = 4;
/// none of them larger than this.
const SPARE_BYTES_MAX: usize = 16 << 10;

thread_local! {
    /// Memory of chunks that are nobody's.
    static SPARE: Cell<[Vec<u8>; SPARE_MAX]> =
        const { Cell::new([const { Vec::new() }; SPARE_MAX]) };
}

/// Bytes of a file read ahead of need.
#[derive(Debug)]
pub(super) struct ReadAhead {
    sequential: bool,
    /// Its memory, of which the front is read.
    chunk: Bytes,
    chunk_start: u64,
    chunk_bytes: usize,
    window: usize,
    /// Where the block behind the last one begins.
    next: u64,
}

impl ReadAhead {
    /// Reads ahead from the first block on, and shares its memory with the blocks handed out.
    pub(super) fn sequential() -> ReadAhead {
        ReadAhead::new(true)
    }

    /// Reads ahead once blocks follow one another, and hands out blocks in their own memory.
    pub(super) fn adaptive() -> ReadAhead {
        ReadAhead::new(false)
    }

    fn new(sequential: bool) -> ReadAhead {
        let chunk = Bytes::new();
        ReadAhead { sequential, chunk, chunk_start: 0, chunk_bytes: 0, window: 0, next: u64::MAX }
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
        let wanted = handle.stored_bytes();
        self.window = match (self.sequential, follows) {
            (true, _) => WINDOW_BYTES_MAX,
            // At first a block, and what others may be longer; then two of them.
            (false, true) => (self.window * 2).max(wanted + wanted / 4).min(WINDOW_BYTES_MAX),
            (false, false) => 0,
        };
        let left = usize::try_from(limit.saturating_sub(handle.offset)).unwrap_or(usize::MAX);
        let ahead = self.window.min(left);
        // With no room for another block, what is read behind this one is of no use.
        if ahead / 2 >= wanted {
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
        if lent && wanted <= LONE_BYTES_MAX {
            self.fill(file, handle.offset, wanted)?;
            if let Some(stored) = self.in_chunk(handle, lent) {
                return Ok(stored);
            }
        }
        self.let_go();
        let mut stored = vec![0; wanted];
        file.read_into(handle.offset, &mut stored)?;
        Ok(Bytes::from(stored))
    }

    fn place_in_chunk(&self, handle: BlockHandle) -> Option<Range<usize>> {
        let start = usize::try_from(handle.offset.checked_sub(self.chunk_start)?).ok()?;
        let end = start.checked_add(handle.stored_bytes())?;
        (end <= self.chunk_bytes).then_some(start..end)
    }

    fn in_chunk(&self, handle: BlockHandle, lent: bool) -> Option<Bytes> {
        let place = self.place_in_chunk(handle)?;
        Some(if lent {
            self.chunk.slice(place)
        } else {
            Bytes::copy_from_slice(&self.chunk[place])
        })
    }

    /// Reads `length` bytes at `offset` into the chunk, in memory that was used before where there
    /// is some that nobody holds a part of.
    fn fill(&mut self, file: &TableFile, offset: u64, length: usize) -> Result<()> {
        let mut memory = self.take_chunk();
        if memory.len() < length {
            keep_spare(memory);
            memory = take_spare(length).unwrap_or_else(|| vec![0; length]);
        }
        file.read_into(offset, &mut memory[..length])?;
        self.chunk = Bytes::from(memory);
        (self.chunk_start, self.chunk_bytes) = (offset, length);
        Ok(())
    }

    /// The chunk's memory, unless somebody holds a part of it. There is no chunk then.
    fn take_chunk(&mut self) -> Vec<u8> {
        self.chunk_bytes = 0;
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_unique() { Vec::from(chunk) } else { Vec::new() }
    }

    fn let_go(&mut self) {
        keep_spare(self.take_chunk());
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Memory of at least `bytes` bytes; what is in it is of no meaning.
fn take_spare(bytes: usize) -> Option<Vec<u8>> {
    if bytes > SPARE_BYTES_MAX {
        return None;
    }
    // A thread that is at its end has kept nothing.
    let mut spare = SPARE.try_with(Cell::take).ok()?;
    let found = spare.iter_mut().find(|memory| memory.len() >= bytes).map(std::mem::take);
    let _gone = SPARE.try_with(|kept| kept.set(spare));
    found
}

/// Keeps memory for those who come, if it is small, in the place of the least.
fn keep_spare(memory: Vec<u8>) {
    if memory.is_empty() || memory.len() > SPARE_BYTES_MAX {
        return;
    }
    let _gone = SPARE.try_with(|kept| {
        let mut spare = kept.take();
        if let Some(least) = spare.iter_mut().min_by_key(|place| place.len())
            && least.len() < memory.len()
        {
            *least = memory;
        }
        kept.set(spare);
    });
}

/// How many small chunks the thread keeps.
#[cfg(test)]
pub(crate) fn spare_chunks() -> usize {
    let spare = SPARE.take();
    let kept = spare.iter().filter(|memory| !memory.is_empty()).count();
    SPARE.set(spare);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io;
    use std::sync::{Arc, Mutex};

    use crate::base::file::FileNumber;
    use crate::env::ReadableFile;
    use crate::metrics::Counters;

    const BLOCK: u64 = 4_105;

    /// A file whose bytes follow from their places, and which remembers what was read.
    #[derive(Debug, Default)]
    struct Remembering(Mutex<Vec<usize>>);

    fn bytes(handle: BlockHandle) -> Vec<u8> {
        (handle.offset..handle.end()).map(|at| (at % 251) as u8).collect()
    }

    impl ReadableFile for Remembering {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(buffer.len());
            let places = (offset..).zip(buffer.iter_mut());
            places.for_each(|(at, byte)| *byte = (at % 251) as u8);
            Ok(buffer.len())
        }

        fn length(&self) -> io::Result<u64> {
            Ok(100 * BLOCK)
        }
    }

    struct Reader {
        file: TableFile,
        reads: Arc<Remembering>,
    }

    impl Reader {
        fn new() -> Reader {
            let reads = Arc::new(Remembering::default());
            let file: Arc<dyn ReadableFile> = Arc::<Remembering>::clone(&reads);
            let counters = Arc::new(Counters::default());
            let file = TableFile::new(file, FileNumber(1), "file".to_owned(), counters).unwrap();
            Reader { file, reads }
        }

        fn read(&self, ahead: &mut ReadAhead, block: u64, lent: bool) -> Bytes {
            let handle = BlockHandle::between(block * BLOCK, (block + 1) * BLOCK);
            let stored = ahead.stored(&self.file, handle, 100 * BLOCK, lent).unwrap();
            assert_eq!(stored, bytes(handle), "block {block}");
            stored
        }

        fn lengths(&self) -> Vec<usize> {
            std::mem::take(&mut *self.reads.0.lock().unwrap())
        }
    }

    #[test]
    fn two_blocks_come_alone_and_then_ever_more_at_once() {
        for lent in [false, true] {
            let reader = Reader::new();
            let mut ahead = ReadAhead::adaptive();
            for block in 0..16 {
                drop(reader.read(&mut ahead, block, lent));
            }
            let block = BLOCK as usize;
            let window = block + block / 4;
            let windows = [2 * window, 4 * window, 8 * window];
            assert_eq!(reader.lengths(), [&[block, block], &windows[..]].concat());
            drop(reader.read(&mut ahead, 70, lent));
            assert_eq!(reader.lengths(), [block], "elsewhere");
        }
    }

    /// What is held of a chunk stays as it is, whoever reads on, and in whatever memory.
    #[test]
    fn memory_is_used_again_when_nobody_holds_any_of_it() {
        let reader = Reader::new();
        let mut ahead = ReadAhead::adaptive();
        let held = reader.read(&mut ahead, 3, true);
        let other = reader.read(&mut ahead, 50, true);
        assert_ne!(held.as_ptr(), other.as_ptr());
        let place = other.as_ptr();
        drop(other);
        let again = reader.read(&mut ahead, 60, true);
        assert_eq!(again.as_ptr(), place);
        drop(again);
        drop(ahead);
        // The thread keeps it for the next reader.
        let mut next = ReadAhead::adaptive();
        let first = reader.read(&mut next, 7, true);
        assert_eq!(first.as_ptr(), place);
        drop(next);
        let mut another = ReadAhead::adaptive();
        assert_ne!(reader.read(&mut another, 8, true).as_ptr(), place, "it is held still");
        assert_eq!(held, bytes(BlockHandle::between(3 * BLOCK, 4 * BLOCK)));
        assert_eq!(first, bytes(BlockHandle::between(7 * BLOCK, 8 * BLOCK)));
    }

    /// A table with a few very large blocks, and many readers over it.
    #[test]
    fn a_large_block_is_not_kept_by_whoever_read_it() {
        let reader = Reader::new();
        for mut ahead in [ReadAhead::sequential(), ReadAhead::adaptive()] {
            for blocks in [40, 90, 99] {
                let handle = BlockHandle::between(0, blocks * BLOCK);
                let stored = ahead.stored(&reader.file, handle, 100 * BLOCK, true).unwrap();
                assert_eq!(stored, bytes(handle));
                assert!(ahead.chunk.len() <= WINDOW_BYTES_MAX, "{} bytes", ahead.chunk.len());
            }
        }
    }

    #[test]
    fn a_thread_keeps_little() {
        let keep = |bytes: usize| keep_spare(vec![0; bytes]);
        keep(SPARE_BYTES_MAX + 1);
        assert_eq!(take_spare(1), None);
        (1..=SPARE_MAX + 1).for_each(|times| keep(times * 1_000));
        let kept: Vec<usize> =
            std::iter::from_fn(|| take_spare(1)).map(|memory| memory.len()).collect();
        assert_eq!(kept.len(), SPARE_MAX);
        assert!(kept.contains(&((SPARE_MAX + 1) * 1_000)), "the larger ones: {kept:?}");
        assert_eq!(take_spare(SPARE_BYTES_MAX + 1), None);
    }
}
