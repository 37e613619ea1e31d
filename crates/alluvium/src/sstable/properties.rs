//! The properties block: what a table holds, in a few numbers.
//!
//! Drawn in docs/format.md ("Properties block"): every field once, in the order of the tags. A
//! reader checks that the numbers can be true of one another; that they are true of the entries is
//! for `verify`.

use std::cmp::Ordering;

use crate::base::blob::{BlobIndex, BlobShare, put_shares, shares_are_consistent, take_shares};
use crate::base::coding::{put_prefixed, put_varint, take_prefixed, take_varint};
use crate::base::key::{self, SeqNo, ValueKind};
use crate::base::limits::{BLOCK_BYTES_MAX, KEY_BYTES_MAX};
use crate::batch::ColumnFamilyId;
use crate::filter::PrefixExtractor;
use crate::sstable::ages::Ages;
use crate::sstable::compression::Codec;
use crate::sstable::format::Malformed;

const ENTRIES: u64 = 1;
const TOMBSTONES: u64 = 2;
const KEY_BYTES: u64 = 3;
const VALUE_BYTES: u64 = 4;
const DATA_BLOCKS: u64 = 5;
const SMALLEST_SEQ: u64 = 6;
const LARGEST_SEQ: u64 = 7;
const SMALLEST: u64 = 8;
const LARGEST: u64 = 9;
const CODEC: u64 = 10;
const COLUMN_FAMILY: u64 = 11;
/// The first of four.
const AGES: u64 = 12;
const RANGE_TOMBSTONES: u64 = 16;
const LARGEST_BLOCK: u64 = 17;
const PREFIX: u64 = 18;
/// Only where there are any.
const BLOBS: u64 = 19;

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties {
    /// Entries, tombstones included.
    pub(crate) entries: u64,
    /// Tombstones.
    pub(crate) tombstones: u64,
    /// Bytes of user keys, not compressed in any way.
    pub(crate) key_bytes: u64,
    /// Bytes of values, uncompressed.
    pub(crate) value_bytes: u64,
    /// Data blocks.
    pub(crate) data_blocks: u64,
    /// The smallest sequence number of an entry or a range tombstone.
    pub(crate) smallest_seq: SeqNo,
    /// The largest sequence number of an entry or a range tombstone.
    pub(crate) largest_seq: SeqNo,
    /// The table's lower bound: the first entry's encoded internal key, or one of a range tombstone
    /// that begins before it.
    pub(crate) smallest: Vec<u8>,
    /// The table's upper bound: the last entry's encoded internal key, or one with
    /// [`key::EXCLUDED_TRAILER`] where a range tombstone ends behind it.
    pub(crate) largest: Vec<u8>,
    /// The codec that was asked for; each block says which it has.
    pub(crate) codec: Codec,
    /// The column family that the table was written for.
    pub(crate) column_family: ColumnFamilyId,
    /// How old its tombstones are, and when its entries expire.
    pub(crate) ages: Ages,
    /// Entries of the range tombstone block: pairs of a fragment and a sequence number.
    pub(crate) range_tombstones: u64,
    /// Bytes of the largest block before compression: data, index or range tombstones.
    pub(crate) largest_block_bytes: u64,
    /// How the prefixes in the filter were cut; `None` when it has none.
    pub(crate) prefix_extractor: Option<PrefixExtractor>,
    /// The blob files in which values of its entries lie, ascending.
    pub(crate) blobs: Vec<BlobShare>,
}

impl Properties {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, value) in [
            (ENTRIES, self.entries),
            (TOMBSTONES, self.tombstones),
            (KEY_BYTES, self.key_bytes),
            (VALUE_BYTES, self.value_bytes),
            (DATA_BLOCKS, self.data_blocks),
            (SMALLEST_SEQ, self.smallest_seq.get()),
            (LARGEST_SEQ, self.largest_seq.get()),
        ] {
            put_varint(&mut out, tag);
            put_varint(&mut out, value);
        }
        for (tag, internal_key) in [(SMALLEST, &self.smallest), (LARGEST, &self.largest)] {
            put_varint(&mut out, tag);
            put_prefixed(&mut out, internal_key);
        }
        put_varint(&mut out, CODEC);
        put_varint(&mut out, u64::from(self.codec.tag()));
        put_varint(&mut out, COLUMN_FAMILY);
        put_varint(&mut out, u64::from(self.column_family.0));
        self.ages.encode_into(&mut out, AGES);
        put_varint(&mut out, RANGE_TOMBSTONES);
        put_varint(&mut out, self.range_tombstones);
        put_varint(&mut out, LARGEST_BLOCK);
        put_varint(&mut out, self.largest_block_bytes);
        put_varint(&mut out, PREFIX);
        PrefixExtractor::encode_into(self.prefix_extractor, &mut out);
        if !self.blobs.is_empty() {
            put_varint(&mut out, BLOBS);
            put_shares(&mut out, &self.blobs);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Properties, Malformed> {
        let mut input = bytes;
        let properties = Properties::take(&mut input)
            .filter(|_| input.is_empty())
            .ok_or(Malformed("the properties are not as they are written"))?;
        if !properties.is_consistent() {
            return Err(Malformed("the properties contradict one another"));
        }
        Ok(properties)
    }

    fn take(input: &mut &[u8]) -> Option<Properties> {
        Some(Properties {
            entries: take_field(input, ENTRIES)?,
            tombstones: take_field(input, TOMBSTONES)?,
            key_bytes: take_field(input, KEY_BYTES)?,
            value_bytes: take_field(input, VALUE_BYTES)?,
            data_blocks: take_field(input, DATA_BLOCKS)?,
            smallest_seq: SeqNo::try_new(take_field(input, SMALLEST_SEQ)?)?,
            largest_seq: SeqNo::try_new(take_field(input, LARGEST_SEQ)?)?,
            smallest: take_key(input, SMALLEST, key::is_lower_bound)?,
            largest: take_key(input, LARGEST, key::is_upper_bound)?,
            codec: Codec::from_tag(u8::try_from(take_field(input, CODEC)?).ok()?)?,
            column_family: ColumnFamilyId(u32::try_from(take_field(input, COLUMN_FAMILY)?).ok()?),
            ages: Ages::take(AGES, |tag| take_field(input, tag))?,
            range_tombstones: take_field(input, RANGE_TOMBSTONES)?,
            largest_block_bytes: take_field(input, LARGEST_BLOCK)?,
            prefix_extractor: take_prefix_extractor(input)?,
            blobs: take_blobs(input)?,
        })
    }

    fn is_consistent(&self) -> bool {
        let point_bounds = key::trailer_kind(key::trailer(&self.smallest)).is_some()
            && key::trailer(&self.largest) != key::EXCLUDED_TRAILER;
        let data_blocks = u64::from(self.entries > 0)..=self.entries;
        let may_be_so = self.range_tombstones > 0 || (self.entries > 0 && point_bounds);
        may_be_so
            && self.tombstones <= self.entries
            && data_blocks.contains(&self.data_blocks)
            && self.smallest_seq <= self.largest_seq
            && self.largest_block_bytes <= BLOCK_BYTES_MAX as u64
            && key::compare(&self.smallest, &self.largest) != Ordering::Greater
            && self.ages.is_consistent(self.entries, self.tombstones, self.range_tombstones)
            && shares_are_consistent(&self.blobs, self.entries.saturating_sub(self.tombstones))
    }
}

/// Takes in an entry of `kind`, a blob index, with what stands in the place of its value.
pub(super) fn note_blob(shares: &mut Vec<BlobShare>, kind: ValueKind, stored: &[u8]) {
    let Some(index) = BlobIndex::of_entry(kind, stored) else { return };
    let at = shares.binary_search_by_key(&index.file, |share| share.file).unwrap_or_else(|at| {
        shares.insert(at, BlobShare { file: index.file, values: 0, bytes: 0 });
        at
    });
    shares[at].values += 1;
    shares[at].bytes += u64::from(index.bytes);
}

fn take_blobs(input: &mut &[u8]) -> Option<Vec<BlobShare>> {
    if input.is_empty() {
        return Some(Vec::new());
    }
    if take_varint(input)? != BLOBS {
        return None;
    }
    take_shares(input).filter(|shares| !shares.is_empty())
}

fn take_field(input: &mut &[u8], tag: u64) -> Option<u64> {
    if take_varint(input)? != tag {
        return None;
    }
    take_varint(input)
}

#[expect(clippy::option_option, reason = "the outer one says whether the bytes are any")]
fn take_prefix_extractor(input: &mut &[u8]) -> Option<Option<PrefixExtractor>> {
    if take_varint(input)? != PREFIX {
        return None;
    }
    PrefixExtractor::decode(input)
}

fn take_key(input: &mut &[u8], tag: u64, may_bound: fn(u64) -> bool) -> Option<Vec<u8>> {
    if take_varint(input)? != tag {
        return None;
    }
    let internal_key = take_prefixed(input)?;
    let (user_key, trailer) = key::try_split(internal_key)?;
    (may_bound(trailer) && user_key.len() <= KEY_BYTES_MAX).then(|| internal_key.to_vec())
}
