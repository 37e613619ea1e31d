//! Finding the data blocks of a table without its index.
//!
//! Blocks stand back to back from the start of the file, and nothing in front of one says how long
//! it is. But each ends with a checksum that is bound to the file's number and to the offset at
//! which the block *begins*, so that a place is a block's end exactly when the checksum before it
//! holds. Trying every end would hash the file thousands of times over; what stands in front of
//! the checksum rules nearly all of them out: the codec's tag, and in a block that is not
//! compressed the restart points, of which the first is always eight zero bytes.
//!
//! Where no end fits, the block is damaged, and the next one's beginning is searched in the same
//! way. The index block is a block, too, and would be taken for data: it is known by its
//! entries, which name the blocks from the file's first byte on, and ends the search. So is the
//! block of range tombstones, which is known by its first entry; the data ends somewhere before it.
//! A filter says by its first bytes how long it is, and is stepped over whole: it may be longer
//! than what is searched behind a damaged block.
//!
//! # Bounds
//! The hashing for one table is bounded ([`HASH_FACTOR`]); where that is used up, the rest of the
//! table is one gap.

use bytes::Bytes;

use crate::base::coding::take_varint;
use crate::base::limits::BLOCK_BYTES_MAX;
use crate::filter::{HEADER_BYTES as FILTER_HEADER_BYTES, block_bytes as filter_bytes};
use crate::ranges::Fragments;
use crate::sstable::block::Block;
use crate::sstable::compression::Codec;
use crate::sstable::format::{BLOCK_TRAILER_BYTES, BlockHandle};
use crate::sstable::index::block_offsets;
use crate::sstable::range_block::{is_range_block, parse};
use crate::sstable::table_file::{TableFile, open_stored};

/// What is looked at first; most blocks are smaller.
const WINDOW_BYTES: usize = 64 << 10;
/// How far the end of a block is searched. A longer one is not found again.
const BLOCK_SEARCH_BYTES: usize = 16 << 20;
/// The same for a compressed block, whose every 64th place must be hashed for.
const COMPRESSED_SEARCH_BYTES: usize = 1 << 20;
/// How far behind a damaged block the next beginning is searched.
const RESYNC_BYTES: usize = 256 << 10;
/// How often, on average, each byte of a file may be hashed.
const HASH_FACTOR: u64 = 1024;
/// What may be hashed in a file of any size.
const HASH_BYTES_MIN: u64 = 256 << 20;
/// No block is shorter: a compressed one has a length and three bytes, however much it stands for.
const STORED_BYTES_MIN: usize = 4 + BLOCK_TRAILER_BYTES;

/// Goes from block to block.
pub(super) struct Carver {
    offset: u64,
    /// No data block ends behind this.
    end: u64,
    /// Whether the data is known to end there.
    certain: bool,
    /// Where the file's first block ends, if that was found.
    first_end: Option<u64>,
    /// Where the last data block ended, once a filter or range tombstones were found behind it.
    behind_data: Option<u64>,
    /// The range tombstones, once they were found.
    ranges: Option<Fragments>,
    hash_bytes_left: Option<u64>,
}

/// A block that was found: where it begins and ends in the bytes that were searched.
struct Place {
    start: usize,
    end: usize,
    contents: Bytes,
}

impl Carver {
    /// Carves from the file's start to `end`, where the data ends.
    pub(super) fn up_to(end: u64) -> Carver {
        Carver {
            offset: 0,
            end,
            certain: true,
            first_end: None,
            behind_data: None,
            ranges: None,
            hash_bytes_left: None,
        }
    }

    /// Carves from the file's start to an end that is not known, in a file of `length` bytes.
    pub(super) fn without_end(length: u64) -> Carver {
        Carver { certain: false, ..Carver::up_to(length) }
    }

    /// The range tombstones in the file, which is searched from `offset` to its end for them.
    pub(super) fn find_ranges(file: &TableFile, offset: u64) -> Option<Fragments> {
        let mut carver = Carver { offset, ..Carver::without_end(file.length) };
        while carver.ranges.is_none() && carver.next(file).is_some() {}
        carver.ranges
    }

    /// Once nothing is left: where it is not known whether more data followed. Asked once.
    pub(super) fn take_uncertain_end(&mut self) -> Option<u64> {
        let end = self.behind_data.unwrap_or(self.offset);
        (!std::mem::replace(&mut self.certain, true)).then_some(end)
    }

    /// The next block, or bytes that are none; `None` at the end of the data.
    pub(super) fn next(
        &mut self,
        file: &TableFile,
    ) -> Option<(BlockHandle, Result<Block, String>)> {
        let left = self.end.min(file.length).checked_sub(self.offset).filter(|&left| left > 0)?;
        if self.hash_bytes_left.is_none() {
            let allowed = file.length.saturating_mul(HASH_FACTOR).max(HASH_BYTES_MIN);
            self.hash_bytes_left = Some(allowed);
        }
        if let Some(end) = self.filter_end(file, left) {
            self.behind_data.get_or_insert(self.offset);
            self.offset = end;
            return self.next(file);
        }
        let found = self.search(file, left);
        let searched = self.offset;
        let start = self.behind_data.unwrap_or(searched);
        let Some(place) = found else {
            self.offset = searched + left;
            return self.gap(start, self.offset);
        };
        let begins = searched + place.start as u64;
        let ends = searched + place.end as u64;
        let block = Block::from_disk(place.contents);
        if let Ok(block) = &block
            && self.ranges.is_none()
            && is_range_block(block)
        {
            self.ranges = parse(block).ok();
            (self.offset, self.behind_data) = (ends, Some(start));
            return self.next(file);
        }
        self.behind_data = None;
        if let Some(end) = block.as_ref().ok().and_then(|block| self.data_end(block, begins)) {
            (self.offset, self.end, self.certain) = (end.max(start), end, true);
            return self.gap(start, end);
        }
        if begins > searched {
            // The block itself is found again at the next call.
            self.offset = begins;
            return self.gap(start, begins);
        }
        self.offset = ends;
        if begins == 0 {
            self.first_end = Some(ends);
        }
        let handle = BlockHandle::between(begins, ends);
        Some((handle, block.map_err(|malformed| malformed.0.to_owned())))
    }

    /// Where the data ends, if `block`, which stands at `offset`, is the index: its entries name
    /// the blocks from the first on, and all of them stand before it.
    fn data_end(&self, block: &Block, offset: u64) -> Option<u64> {
        let offsets = block_offsets(block)?;
        let first_fits = self.first_end.is_none_or(|end| offsets.get(1) == Some(&end));
        offsets.last().copied().filter(|&end| first_fits && end > 0 && end <= offset)
    }

    /// The bytes between, as a block that is none. Fewer than a block's trailer are nothing.
    fn gap(&self, start: u64, end: u64) -> Option<(BlockHandle, Result<Block, String>)> {
        if end <= start + BLOCK_TRAILER_BYTES as u64 {
            return None;
        }
        let detail = "no block was found here, and the index is damaged".to_owned();
        Some((BlockHandle::between(start, end), Err(detail)))
    }

    /// The end of the filter block at the offset, if a sound one stands there; `left` bytes do.
    fn filter_end(&mut self, file: &TableFile, left: u64) -> Option<u64> {
        let (mut header, mut tag) = ([0; FILTER_HEADER_BYTES], [0]);
        let length = left.checked_sub(BLOCK_TRAILER_BYTES as u64)?;
        if length < FILTER_HEADER_BYTES as u64 {
            return None;
        }
        file.read_into(self.offset, &mut header).ok()?;
        let length = filter_bytes(header).filter(|&bytes| bytes <= length)?;
        let handle = BlockHandle { offset: self.offset, length };
        file.read_into(handle.offset + length, &mut tag).ok()?;
        if !handle.is_sane() || Codec::from_tag(tag[0]) != Some(Codec::None) {
            return None;
        }
        let allowed = self.hash_bytes_left.as_mut()?;
        *allowed = allowed.checked_sub(length)?;
        // Values may begin as a filter does, and make a block as long.
        let contents = file.read_plain_block(handle).ok()?;
        Block::from_disk(contents).is_err().then_some(handle.end())
    }

    /// The first block at the offset or behind it.
    fn search(&mut self, file: &TableFile, left: u64) -> Option<Place> {
        let mut window = WINDOW_BYTES;
        let mut seen = 0;
        loop {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(window);
            let mut bytes = vec![0; size];
            file.read_into(self.offset, &mut bytes).ok()?;
            let bytes = Bytes::from(bytes);
            let found = self.find_end(file, &bytes, 0, seen);
            if found.is_some() {
                return found;
            }
            if size < window || window >= BLOCK_SEARCH_BYTES {
                return self.find_next(file, bytes);
            }
            (seen, window) = (size, window * 4);
        }
    }

    /// The block that begins at `start` of `bytes` and ends behind `seen`.
    fn find_end(
        &mut self,
        file: &TableFile,
        bytes: &Bytes,
        start: usize,
        seen: usize,
    ) -> Option<Place> {
        let first = seen.max(start + STORED_BYTES_MIN);
        (first..=bytes.len()).find_map(|end| self.try_place(file, bytes, start, end))
    }

    /// The first block that begins behind the first byte of `bytes`.
    fn find_next(&mut self, file: &TableFile, mut bytes: Bytes) -> Option<Place> {
        bytes.truncate(RESYNC_BYTES);
        for end in STORED_BYTES_MIN..=bytes.len() {
            if !is_plausible_end(&bytes[..end], 0) {
                continue;
            }
            for start in 1..=end - STORED_BYTES_MIN {
                if let Some(place) = self.try_place(file, &bytes, start, end) {
                    return Some(place);
                }
            }
        }
        None
    }

    fn try_place(
        &mut self,
        file: &TableFile,
        bytes: &Bytes,
        start: usize,
        end: usize,
    ) -> Option<Place> {
        let stored = &bytes[start..end];
        if !is_plausible_end(&bytes[..end], start) || !is_plausible_start(stored) {
            return None;
        }
        let left = self.hash_bytes_left.as_mut()?;
        *left = left.checked_sub(stored.len() as u64)?;
        let begins = self.offset + start as u64;
        let handle = BlockHandle::between(begins, begins + stored.len() as u64);
        let contents =
            open_stored(bytes.slice(start..end), handle, file.number, &file.unpacker).ok()?;
        Some(Place { start, end, contents })
    }
}

/// Whether a block that begins at `start` or behind may end where `bytes` do.
fn is_plausible_end(bytes: &[u8], start: usize) -> bool {
    let Some((before, _)) = bytes.split_last_chunk::<8>() else { return false };
    let Some((&tag, contents)) = before.split_last() else { return false };
    match Codec::from_tag(tag) {
        None => false,
        Some(Codec::None) => {
            let Some((rest, tail)) = contents.split_last_chunk::<8>() else { return false };
            let words = u64::from_le_bytes(*tail);
            let (values, restarts) = (words as u32 as usize, (words >> 32) as usize);
            let points = restarts.saturating_mul(8);
            let room = rest.len().saturating_sub(start);
            restarts > 0
                && points.saturating_add(values) < room
                && rest[rest.len() - points..].starts_with(&[0; 8])
        }
        Some(_) => bytes.len() - start <= COMPRESSED_SEARCH_BYTES,
    }
}

/// Whether a block may begin as `stored` does: a compressed one with a length before compression
/// that makes compressing it worth while.
fn is_plausible_start(stored: &[u8]) -> bool {
    let Some(&tag) = stored.len().checked_sub(BLOCK_TRAILER_BYTES).and_then(|at| stored.get(at))
    else {
        return false;
    };
    if Codec::from_tag(tag) == Some(Codec::None) {
        return true;
    }
    let mut input = stored;
    let length = take_varint(&mut input).unwrap_or(0);
    let compressed = (stored.len() - BLOCK_TRAILER_BYTES) as u64;
    length <= BLOCK_BYTES_MAX as u64 && compressed < length
}
