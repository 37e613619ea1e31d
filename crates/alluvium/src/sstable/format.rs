//! The frame of a table file: block handles, block trailers and the footer.
//!
//! Drawn in docs/format.md ("Tables"). What this file checks of a footer is all that can be checked
//! without reading further: every handle lies inside the file, the blocks that it names follow each
//! other without a gap, and the last of them ends where the footer begins.

use crate::base::checksum::checksum;
use crate::base::coding::{put_varint, take_bytes, take_u32, take_u64, take_varint};
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::limits::{BLOCK_BYTES_MAX, DICTIONARY_BYTES_MAX};

/// Bytes behind a block: codec and checksum.
pub(super) const BLOCK_TRAILER_BYTES: usize = 9;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 96;
/// The version of the table format that this build writes, and the only one it reads.
pub(super) const FORMAT_VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"ALVMSST\0";
const CHECKED_BYTES: usize = 80;

/// Bytes that are not what their checksum promised: damage, made into an error with file and offset
/// by whoever knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Where a block stands: its offset, and its length without the trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BlockHandle {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl BlockHandle {
    /// The handle of a block that is not there.
    pub(super) const ABSENT: BlockHandle = BlockHandle { offset: 0, length: 0 };

    /// The handle of the block, trailer included, from `offset` up to `end`.
    #[inline]
    pub(super) fn between(offset: u64, end: u64) -> BlockHandle {
        BlockHandle { offset, length: end - offset - BLOCK_TRAILER_BYTES as u64 }
    }

    /// Whether there is a block.
    pub(super) fn is_present(self) -> bool {
        self.length > 0
    }

    /// Bytes in the file, trailer included. For handles that passed [`Self::is_sane`].
    pub(super) fn stored_bytes(self) -> usize {
        self.length as usize + BLOCK_TRAILER_BYTES
    }

    /// The offset behind the block and its trailer.
    pub(super) fn end(self) -> u64 {
        self.offset + self.length + BLOCK_TRAILER_BYTES as u64
    }

    /// Whether the block's length is within the limits, and its end within those of a file: from
    /// there on the handle can be calculated with.
    pub(super) fn is_sane(self) -> bool {
        self.length > 0 && self.length <= BLOCK_BYTES_MAX as u64 && self.offset <= u64::MAX / 2
    }

    pub(super) fn encode_into(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, self.length);
    }

    pub(super) fn decode(input: &mut &[u8]) -> Option<BlockHandle> {
        Some(BlockHandle { offset: take_varint(input)?, length: take_varint(input)? })
    }
}

/// The last bytes of a table: where everything else is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) index: BlockHandle,
    pub(super) filter: BlockHandle,
    pub(super) ranges: BlockHandle,
    pub(super) properties: BlockHandle,
    /// Stands right behind the data blocks; absent in most tables.
    pub(super) dictionary: BlockHandle,
}

impl Footer {
    /// The footer's bytes at `offset` of file `number`, and the checksum in them.
    pub(super) fn encode(&self, number: FileNumber, offset: u64) -> ([u8; FOOTER_BYTES], u64) {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        for handle in [self.index, self.filter, self.ranges, self.properties] {
            out.extend_from_slice(&handle.offset.to_le_bytes());
            out.extend_from_slice(&handle.length.to_le_bytes());
        }
        out.extend_from_slice(&number.0.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.dictionary.length as u32).to_le_bytes());
        let sum = checksum(&out, number.0, offset);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        let mut bytes = [0; FOOTER_BYTES];
        bytes.copy_from_slice(&out);
        (bytes, sum)
    }

    /// Reads the footer that stands at `offset` of file `number`, named `name` in messages; also
    /// returns the checksum in it.
    pub(super) fn decode(
        bytes: &[u8],
        number: FileNumber,
        name: &str,
        offset: u64,
    ) -> Result<(Footer, u64)> {
        let damaged = |detail: &str| Error::corruption(name, offset, detail);
        let raw = RawFooter::take(bytes).ok_or_else(|| damaged("the file is too short"))?;
        if raw.magic != MAGIC {
            return Err(damaged("the file does not end as a table does: it is none, or cut short"));
        }
        let checked = &bytes[..CHECKED_BYTES];
        if raw.checksum != checksum(checked, number.0, offset) {
            if raw.checksum == checksum(checked, raw.number, offset) {
                return Err(damaged("this is another table, moved under this name"));
            }
            return Err(damaged("the footer's checksum does not match"));
        }
        if raw.version != FORMAT_VERSION {
            return Err(Error::UnsupportedFormat {
                file: name.to_owned(),
                found: raw.version,
                supported: FORMAT_VERSION,
            });
        }
        if raw.number != number.0 {
            return Err(damaged("the footer's fixed fields are not as they are written"));
        }
        let footer = raw
            .footer()
            .ok_or_else(|| damaged("a dictionary that is too long, or begins before the file"))?;
        if !footer.chains_to(offset) {
            return Err(damaged("the blocks that the footer names do not fill the file"));
        }
        Ok((footer, raw.checksum))
    }

    /// The bytes of a footer as they were written, where those that are there differ from them in
    /// one byte, or in the magic alone. The footer's own checksum says so: that another change of
    /// one byte fits it as well happens once in 2^50 tables.
    pub(super) fn corrected(
        bytes: &[u8; FOOTER_BYTES],
        number: FileNumber,
        offset: u64,
    ) -> Option<[u8; FOOTER_BYTES]> {
        let mut fixed = *bytes;
        fixed[CHECKED_BYTES + 8..].copy_from_slice(&MAGIC);
        let mut checked = *bytes.first_chunk::<CHECKED_BYTES>()?;
        let stored = u64::from_le_bytes(*bytes[CHECKED_BYTES..].first_chunk()?);
        let sum = checksum(&checked, number.0, offset);
        // As many bits as differ stand in one byte, if any do.
        let differs = sum ^ stored;
        if differs == 0 || differs >> (differs.trailing_zeros() / 8 * 8) <= 0xff {
            fixed[CHECKED_BYTES..CHECKED_BYTES + 8].copy_from_slice(&sum.to_le_bytes());
            return Some(fixed);
        }
        for at in 0..CHECKED_BYTES {
            let was = checked[at];
            for byte in 0..=u8::MAX {
                checked[at] = byte;
                if checksum(&checked, number.0, offset) == stored {
                    fixed[at] = byte;
                    return Some(fixed);
                }
            }
            checked[at] = was;
        }
        None
    }

    /// The handles in bytes that look like a footer and do not check; each may be wrong.
    pub(super) fn guess(bytes: &[u8]) -> Option<Footer> {
        let raw = RawFooter::take(bytes)?;
        raw.footer().or_else(|| RawFooter { dictionary_bytes: 0, ..raw }.footer())
    }

    /// Where the data blocks end and the others begin.
    pub(super) fn data_end(&self) -> u64 {
        if self.dictionary.is_present() { self.dictionary.offset } else { self.after_dictionary() }
    }

    /// Where the first block behind data and dictionary begins.
    fn after_dictionary(&self) -> u64 {
        if self.filter.is_present() { self.filter.offset } else { self.filter_end() }
    }

    /// Where the filter block ends, or would.
    fn filter_end(&self) -> u64 {
        if self.ranges.is_present() { self.ranges.offset } else { self.properties.offset }
    }

    /// The dictionary's handle, where it is known that the data blocks end at `data_end`.
    fn dictionary_behind(&self, data_end: u64) -> Option<BlockHandle> {
        let end = self.after_dictionary();
        let bytes = end.checked_sub(data_end)?.checked_sub(BLOCK_TRAILER_BYTES as u64)?;
        let fits = (1..=DICTIONARY_BYTES_MAX as u64).contains(&bytes);
        fits.then_some(BlockHandle { offset: data_end, length: bytes })
    }

    fn chains_to(&self, footer_offset: u64) -> bool {
        let fits = |block: BlockHandle, end: u64| {
            block == BlockHandle::ABSENT || (block.is_sane() && block.end() == end)
        };
        fits(self.ranges, self.properties.offset)
            && fits(self.filter, self.filter_end())
            && self.properties.is_sane()
            && self.properties.end() == self.index.offset
            && self.index.is_sane()
            && self.index.end() == footer_offset
    }
}

/// The footer's fields, nothing about them checked.
struct RawFooter {
    handles: [BlockHandle; 4],
    number: u64,
    version: u32,
    dictionary_bytes: u32,
    checksum: u64,
    magic: [u8; 8],
}

impl RawFooter {
    fn take(bytes: &[u8]) -> Option<RawFooter> {
        if bytes.len() != FOOTER_BYTES {
            return None;
        }
        let mut input = bytes;
        let mut handles = [BlockHandle::ABSENT; 4];
        for handle in &mut handles {
            *handle = BlockHandle { offset: take_u64(&mut input)?, length: take_u64(&mut input)? };
        }
        let number = take_u64(&mut input)?;
        let version = take_u32(&mut input)?;
        let dictionary_bytes = take_u32(&mut input)?;
        let checksum = take_u64(&mut input)?;
        let magic = *take_bytes(&mut input, MAGIC.len())?.first_chunk()?;
        Some(RawFooter { handles, number, version, dictionary_bytes, checksum, magic })
    }

    /// The handles; `None` when no dictionary of that length can stand where it would have to.
    fn footer(&self) -> Option<Footer> {
        let [index, filter, ranges, properties] = self.handles;
        let dictionary = BlockHandle::ABSENT;
        let mut footer = Footer { index, filter, ranges, properties, dictionary };
        if self.dictionary_bytes > 0 {
            let stored = u64::from(self.dictionary_bytes) + BLOCK_TRAILER_BYTES as u64;
            let offset = footer.after_dictionary().checked_sub(stored)?;
            footer.dictionary = footer.dictionary_behind(offset)?;
        }
        Some(footer)
    }
}
