//! Floor 2: blob files: large values that stand apart from their keys.
//!
//! A table of large values is rewritten by every merge that its keys take part in, and most of what
//! is read and written then are values that nobody looks at. A family may have its values from some
//! size on written to blob files instead, once, by the flush that first writes them to disk; its
//! tables have an index in their place ([`crate::base::blob::BlobIndex`]), and merges carry that
//! along (Lu et al., WiscKey, 2016).
//!
//! A blob file is a header and values, one behind the other; nothing in it says where one ends or
//! whose it is. The index has all that is needed to read a value and to see that it is whole:
//! place, length and checksum. docs/format.md draws both.
//!
//! So a value may as well lie in a file that was made for something else: a segment of the log that
//! is mostly values becomes a blob file when nothing needs it as a segment any more
//! (`db::retired`), and they are never written again. Until it has its new name it is read by its
//! old one.
//!
//! [`BlobWriter`] writes a file, once, from front to back. [`BlobFiles`] reads values, from the
//! block cache or the disk. Which files are live, and what in them is garbage, is for `version` to
//! know; this module removes nothing.

mod files;
mod spare;
mod writer;

pub(crate) use files::BlobFiles;
pub(crate) use writer::{BlobSummary, BlobWriter};

use crate::base::checksum::checksum;
use crate::base::file::{FileNumber, LOG_MAGIC};

/// The format version of blob files that this build writes and reads.
const BLOB_VERSION: u32 = 1;
/// Bytes of a blob file's header.
pub(crate) const BLOB_HEADER_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"ALVMBLOB";
/// The header's bytes that its checksum covers.
const HEADER_COVERED: usize = BLOB_HEADER_BYTES - 8;

/// The header of blob file `number`.
fn encode_header(number: FileNumber) -> [u8; BLOB_HEADER_BYTES] {
    let mut out = [0; BLOB_HEADER_BYTES];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&BLOB_VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&number.0.to_le_bytes());
    let sum = checksum(&out[..HEADER_COVERED], number.0, 0);
    out[24..32].copy_from_slice(&sum.to_le_bytes());
    out
}

/// What keeps a file from being read as a blob file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadHeader {
    /// The bytes are not those of this blob file.
    Damaged(&'static str),
    /// It is one of another version.
    Version(u32),
}

/// Checks the header of blob file `number`. One of a log says no more of the values in it than that
/// they may be there: each has a checksum, that names file and place.
fn check_header(bytes: &[u8; BLOB_HEADER_BYTES], number: FileNumber) -> Result<(), BadHeader> {
    if bytes[0..8] == LOG_MAGIC {
        return Ok(());
    }
    let expected = encode_header(number);
    if bytes[0..8] != MAGIC {
        return Err(BadHeader::Damaged("this is no blob file of Alluvium"));
    }
    let sum = checksum(&bytes[..HEADER_COVERED], number.0, 0);
    if bytes[24..32] != sum.to_le_bytes() {
        return Err(BadHeader::Damaged("the checksum of the header does not match"));
    }
    if bytes[8..12] != expected[8..12] {
        let version = bytes[8..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        return Err(BadHeader::Version(version));
    }
    match *bytes == expected {
        true => Ok(()),
        false => Err(BadHeader::Damaged("the header is that of another file")),
    }
}

#[cfg(test)]
mod tests;
