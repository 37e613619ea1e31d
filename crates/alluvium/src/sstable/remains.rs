//! What is left of the parts of a damaged table that stand behind its data blocks.
//!
//! The parts lead to one another: the footer to all, the dictionary to what the blocks hold, and to
//! the range tombstones among them. So that one damaged place costs little, each is looked for in
//! a second way as well:
//!
//! - a footer in which one byte is wrong is put right by its own checksum;
//! - the dictionary stands where the data end, and begins with bytes of its own; where it ends is
//!   where a checksum says so;
//! - range tombstones are carved out as blocks are.
//!
//! Nothing is believed that is not under a checksum. In particular a footer that does not check
//! cannot say that there were no range tombstones: what they deleted must not come back in silence.

use crate::base::checksum::RunningChecksum;
use crate::base::error::{Error, Result};
use crate::base::limits::DICTIONARY_BYTES_MAX;
use crate::ranges::Fragments;
use crate::sstable::block::Block;
use crate::sstable::carve::Carver;
use crate::sstable::compression::Codec;
use crate::sstable::dictionary;
use crate::sstable::format::{BLOCK_TRAILER_BYTES, BlockHandle, FOOTER_BYTES, Footer};
use crate::sstable::index::block_offsets;
use crate::sstable::properties::Properties;
use crate::sstable::range_block;
use crate::sstable::reader::{read_dictionary, read_footer, read_properties};
use crate::sstable::salvage::Gap;
use crate::sstable::table_file::TableFile;

/// What is read at a time where a dictionary is searched for.
const SEARCH_BYTES: usize = 1 << 20;
/// In so many places that begin as a dictionary does an end is searched.
const PLACES_MAX: usize = 64;

/// The parts that could be read. The dictionary is in the file's unpacker.
pub(super) struct Remains {
    pub(super) properties: Option<Properties>,
    /// Where the data blocks begin, and where the last ends, by an index that is whole.
    pub(super) offsets: Option<Vec<u64>>,
    /// Where the data end, where that is certain without the index.
    pub(super) data_end: Option<u64>,
    /// The range tombstones; a gap where there were some, or may have been, and they cannot be
    /// read.
    pub(super) ranges: std::result::Result<Fragments, Gap>,
    /// The checksum in the footer, where it holds, or does but for one byte.
    pub(super) footer_checksum: Option<u64>,
}

impl Remains {
    /// Looks for the parts, and leaves `file` with the table's dictionary. `range_tombstones` is
    /// how many there were, where that is known from elsewhere.
    ///
    /// # Errors
    /// A format that this build does not read.
    pub(super) fn find(file: &mut TableFile, range_tombstones: Option<u64>) -> Result<Remains> {
        let (footer, footer_checksum) = find_footer(file)?;
        let sound = footer.filter(|_| footer_checksum.is_some());
        let properties = footer.map(|footer| footer.properties).filter(|handle| handle.is_sane());
        let properties = properties.and_then(|handle| read_properties(file, handle).ok());
        let offsets = footer.and_then(|footer| read_offsets(file, footer.index));
        let data_end = offsets.as_ref().and_then(|offsets| offsets.last().copied());
        let place = match (sound, &properties) {
            (Some(footer), _) => Some(footer.dictionary),
            (None, Some(properties)) if properties.codec != Codec::ZstdDictionary => None,
            _ => find_dictionary(file, footer, data_end),
        };
        let place = place.filter(|place| place.is_present());
        file.unpacker.dictionary =
            place.and_then(|place| read_dictionary(file, place).ok().flatten());
        let behind_data = place.map(BlockHandle::end).or(data_end);
        let count = properties.as_ref().map(|p| p.range_tombstones).or(range_tombstones);
        let ranges = match sound {
            Some(footer) => read_ranges(file, footer.ranges, true),
            None => find_ranges(file, footer, count, behind_data.unwrap_or(0)),
        };
        let data_end = sound.map(|footer| footer.data_end()).or(place.map(|place| place.offset));
        Ok(Remains { properties, offsets, data_end, ranges, footer_checksum })
    }
}

/// The footer with its checksum, where it checks or can be put right; else its fields, each of
/// which is right or wrong by itself.
fn find_footer(file: &TableFile) -> Result<(Option<Footer>, Option<u64>)> {
    match read_footer(file) {
        Ok((footer, sum)) => return Ok((Some(footer), Some(sum))),
        Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
        Err(_) => {}
    }
    let mut bytes = [0; FOOTER_BYTES];
    let offset = file.length.checked_sub(FOOTER_BYTES as u64);
    let Some(offset) = offset.filter(|&offset| file.read_into(offset, &mut bytes).is_ok()) else {
        return Ok((None, None));
    };
    let corrected = Footer::corrected(&bytes, file.number, offset);
    match corrected.map(|bytes| Footer::decode(&bytes, file.number, &file.name, offset)) {
        Some(Ok((footer, sum))) => Ok((Some(footer), Some(sum))),
        Some(Err(error @ Error::UnsupportedFormat { .. })) => Err(error),
        _ => Ok((Footer::guess(&bytes), None)),
    }
}

/// Where the data blocks begin, and where the last ends, as the index block at `handle` has it.
fn read_offsets(file: &TableFile, handle: BlockHandle) -> Option<Vec<u64>> {
    if !handle.is_sane() {
        return None;
    }
    let block = Block::from_disk(file.read_block(handle).ok()?).ok()?;
    let offsets = block_offsets(&block)?;
    offsets.last().is_some_and(|&end| end <= handle.offset).then_some(offsets)
}

/// The dictionary's place, by a footer that does not check: where that says, where the data end,
/// or where it begins as dictionaries do.
fn find_dictionary(
    file: &TableFile,
    guess: Option<Footer>,
    data_end: Option<u64>,
) -> Option<BlockHandle> {
    let by_footer = guess.map(|footer| footer.dictionary).filter(|place| {
        place.is_sane() && read_dictionary(file, *place).is_ok_and(|found| found.is_some())
    });
    by_footer.or_else(|| match data_end {
        Some(data_end) => dictionary_at(file, data_end),
        None => search_dictionary(file),
    })
}

/// The place of a dictionary, searched from the file's end on.
fn search_dictionary(file: &TableFile) -> Option<BlockHandle> {
    let first = dictionary::MAGIC[0];
    let mut end = file.length;
    let mut places_left = PLACES_MAX;
    while end > 0 {
        let start = end.saturating_sub(SEARCH_BYTES as u64);
        // What begins in one part may go on in the next.
        let behind = (end + dictionary::MAGIC.len() as u64 - 1).min(file.length);
        let mut bytes = vec![0; usize::try_from(behind - start).ok()?];
        file.read_into(start, &mut bytes).ok()?;
        let begins = |at: &usize| bytes[*at..].starts_with(&dictionary::MAGIC);
        let all = (0..(end - start) as usize).rev().filter(|&at| bytes[at] == first);
        for at in all.filter(begins) {
            if let Some(place) = dictionary_at(file, start + at as u64) {
                return Some(place);
            }
            places_left = places_left.checked_sub(1)?;
        }
        end = start;
    }
    None
}

/// The place of the dictionary that begins at `offset`, if one does: its end is where the checksum
/// of all bytes before says so.
fn dictionary_at(file: &TableFile, offset: u64) -> Option<BlockHandle> {
    let most = DICTIONARY_BYTES_MAX + BLOCK_TRAILER_BYTES;
    let left = usize::try_from(file.length.checked_sub(offset)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(most)];
    file.read_into(offset, &mut bytes).ok()?;
    if !bytes.starts_with(&dictionary::MAGIC) {
        return None;
    }
    let mut running = RunningChecksum::new(file.number.0, offset);
    let mut passed = 0;
    let tag = Codec::None.tag();
    let length = (dictionary::MAGIC.len()..bytes.len()).find(|&at| {
        let Some(sum) = bytes[at + 1..].first_chunk() else { return false };
        if bytes[at] != tag {
            return false;
        }
        running.update(&bytes[passed..=at]);
        passed = at + 1;
        running.value() == u64::from_le_bytes(*sum)
    })?;
    Some(BlockHandle { offset, length: length as u64 })
}

/// The range tombstones at `handle`; `checks` says whether that is known to be right.
fn read_ranges(
    file: &TableFile,
    handle: BlockHandle,
    checks: bool,
) -> std::result::Result<Fragments, Gap> {
    if checks && !handle.is_present() {
        return Ok(Fragments::default());
    }
    let found = if handle.is_sane() { range_block::read(file, handle).ok() } else { None };
    let (offset, bytes) =
        if checks { (handle.offset, handle.stored_bytes() as u64) } else { (0, 0) };
    found.ok_or_else(|| Gap {
        offset,
        bytes,
        after: None,
        before: None,
        detail: "the range tombstones cannot be read: what they deleted is there again".to_owned(),
    })
}

/// The range tombstones of a table whose footer does not check, and which had `count` of them,
/// where that is known. From `offset` on they are searched for.
fn find_ranges(
    file: &TableFile,
    guess: Option<Footer>,
    count: Option<u64>,
    offset: u64,
) -> std::result::Result<Fragments, Gap> {
    if count == Some(0) {
        return Ok(Fragments::default());
    }
    let handle = guess.map_or(BlockHandle::ABSENT, |footer| footer.ranges);
    read_ranges(file, handle, false).or_else(|gap| {
        Carver::find_ranges(file, offset).ok_or_else(|| match count {
            Some(_) => gap,
            None => {
                let detail = "the table's end cannot be read, nor whether there were range \
                              tombstones: what they deleted is there again";
                Gap { detail: detail.to_owned(), ..gap }
            }
        })
    })
}
