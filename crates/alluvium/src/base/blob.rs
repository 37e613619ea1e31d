//! Where a large value lies that stands apart from its key.
//!
//! An entry of kind `BlobIndex` has in the place of its value an index: the file, the place in it,
//! the length and the checksum of the value, 28 bytes in all. One of kind `BlobIndexExpiring` has
//! its expiry time before that.
//!
//! ```text
//! offset  size  field
//!      0     8  number of the blob file
//!      8     8  offset of the value in it
//!     16     4  length of the value
//!     20     8  checksum of the value, bound to file and offset
//! ```

use crate::base::coding::{put_varint, take_u32, take_u64, take_varint};
use crate::base::expiry::EXPIRY_BYTES;
use crate::base::file::FileNumber;
use crate::base::key::ValueKind;
use crate::base::limits::VALUE_BYTES_MAX;

/// Bytes of an encoded index.
pub const BLOB_INDEX_BYTES: usize = 28;

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobIndex {
    /// The blob file.
    pub file: FileNumber,
    /// Where in it the value begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u32,
    /// Its checksum, bound to file and offset.
    pub checksum: u64,
}

/// Where in a segment of the log a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// The segment.
    pub file: FileNumber,
    /// Where in it the value begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u32,
}

impl LogPlace {
    /// Where it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.bytes))
    }
}

impl BlobIndex {
    /// Appends the index's bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.file.0.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    /// Reads an index. `None` where the bytes can be none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<BlobIndex> {
        let mut input = bytes;
        let index = BlobIndex {
            file: FileNumber(take_u64(&mut input)?),
            offset: take_u64(&mut input)?,
            bytes: take_u32(&mut input)?,
            checksum: take_u64(&mut input)?,
        };
        let file = FileNumber(1)..=FileNumber::MAX;
        let ends = index.offset.checked_add(u64::from(index.bytes));
        let may_be = input.is_empty()
            && file.contains(&index.file)
            && index.bytes as usize <= VALUE_BYTES_MAX
            && ends.is_some();
        may_be.then_some(index)
    }

    /// The index in `stored`, the value of an entry of `kind` as a table has it; `None` where the
    /// kind has none, or the bytes are none.
    #[must_use]
    pub fn of_entry(kind: ValueKind, stored: &[u8]) -> Option<BlobIndex> {
        match kind {
            ValueKind::BlobIndex => BlobIndex::decode(stored),
            ValueKind::BlobIndexExpiring => BlobIndex::decode(stored.get(EXPIRY_BYTES..)?),
            _ => None,
        }
    }
}

/// How much of a blob file a table needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobShare {
    /// The blob file.
    pub file: FileNumber,
    /// Entries of the table whose values lie there.
    pub values: u64,
    /// Bytes of those values.
    pub bytes: u64,
}

/// Appends how many `shares` there are, and each: file, values, bytes.
pub fn put_shares(out: &mut Vec<u8>, shares: &[BlobShare]) {
    put_varint(out, shares.len() as u64);
    for share in shares {
        put_varint(out, share.file.0);
        put_varint(out, share.values);
        put_varint(out, share.bytes);
    }
}

/// Reads the same. Whether it can be true is for [`shares_are_consistent`].
pub fn take_shares(input: &mut &[u8]) -> Option<Vec<BlobShare>> {
    let count = take_varint(input)?;
    // Each takes three bytes at least: no memory for what cannot be there.
    if count > input.len() as u64 / 3 {
        return None;
    }
    let take = |input: &mut &[u8]| {
        Some(BlobShare {
            file: FileNumber(take_varint(input)?),
            values: take_varint(input)?,
            bytes: take_varint(input)?,
        })
    };
    (0..count).map(|_| take(input)).collect()
}

/// Whether a table of so many entries with values can need these.
#[must_use]
pub fn shares_are_consistent(shares: &[BlobShare], entries: u64) -> bool {
    let files = FileNumber(1)..=FileNumber::MAX;
    let values = shares.iter().fold(0u64, |sum, share| sum.saturating_add(share.values));
    let each = |share: &BlobShare| {
        let bytes_max = share.values.saturating_mul(VALUE_BYTES_MAX as u64);
        files.contains(&share.file) && share.values > 0 && share.bytes <= bytes_max
    };
    values <= entries && shares.iter().all(each) && shares.is_sorted_by(|a, b| a.file < b.file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: BlobIndex =
        BlobIndex { file: FileNumber(7), offset: 4096, bytes: 65_536, checksum: 0x0123_4567 };

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let mut stored = 99u64.to_le_bytes().to_vec();
        INDEX.encode_into(&mut stored);
        assert_eq!(BlobIndex::of_entry(ValueKind::BlobIndexExpiring, &stored), Some(INDEX));
        let index = &stored[EXPIRY_BYTES..];
        assert_eq!(index.len(), BLOB_INDEX_BYTES);
        assert_eq!(BlobIndex::of_entry(ValueKind::BlobIndex, index), Some(INDEX));
        assert_eq!(BlobIndex::of_entry(ValueKind::Put, index), None);
    }

    #[test]
    fn bytes_that_are_no_index_are_refused() {
        let refused = |index: BlobIndex| {
            let mut bytes = Vec::new();
            index.encode_into(&mut bytes);
            BlobIndex::decode(&bytes).is_none()
        };
        assert!(refused(BlobIndex { file: FileNumber(0), ..INDEX }));
        assert!(refused(BlobIndex { file: FileNumber(1 << 56), ..INDEX }));
        assert!(refused(BlobIndex { bytes: u32::MAX, ..INDEX }));
        assert!(refused(BlobIndex { offset: u64::MAX, ..INDEX }));
        let mut bytes = Vec::new();
        INDEX.encode_into(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(BlobIndex::decode(&bytes[..length]), None);
        }
        bytes.push(0);
        assert_eq!(BlobIndex::decode(&bytes), None);
    }
}
