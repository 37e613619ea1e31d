//! Internal keys: a user key, the sequence number that wrote it, and what the write was.
//!
//! # On disk and in memory
//!
//! An *encoded internal key* is the user key followed by an 8-byte little-endian *trailer*,
//! `seqno << 8 | kind`. There is one ordering, [`compare`]: user keys ascending by bytes, then
//! trailers descending, so that the newest version of a key comes first.

use std::cmp::Ordering;

/// Bytes of the trailer behind the user key.
pub const TRAILER_BYTES: usize = 8;

/// The trailer of an upper bound that is excluded: such a bound stands behind every entry of
/// smaller user keys, and before every entry of its own.
pub const EXCLUDED_TRAILER: u64 = u64::MAX;

/// A sequence number: the place of one operation in the store's single history. At most 2^56 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqNo(u64);

impl SeqNo {
    /// Before every operation.
    pub const ZERO: SeqNo = SeqNo(0);
    /// The greatest sequence number there can be.
    pub const MAX: SeqNo = SeqNo((1 << 56) - 1);

    /// The sequence number `value`.
    ///
    /// # Panics
    /// When `value` exceeds [`SeqNo::MAX`]; numbers that come from disk are checked by
    /// [`SeqNo::try_new`] first.
    #[must_use]
    pub fn new(value: u64) -> SeqNo {
        assert!(value <= SeqNo::MAX.0, "sequence number {value} out of range");
        SeqNo(value)
    }

    /// The sequence number `value`, or `None` when it exceeds [`SeqNo::MAX`].
    #[must_use]
    pub fn try_new(value: u64) -> Option<SeqNo> {
        (value <= SeqNo::MAX.0).then_some(SeqNo(value))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number `count` operations later.
    #[must_use]
    pub fn plus(self, count: u64) -> SeqNo {
        SeqNo::new(self.0 + count)
    }
}

/// What one operation did. Values are part of the disk format; those without a writer yet are
/// reserved, and a reader that meets one refuses it by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(dead_code, reason = "reserved kinds have their numbers before they have a writer")]
pub enum ValueKind {
    /// A tombstone: hides every older version.
    Delete = 0,
    /// A value.
    Put = 1,
    /// Reserved: an operand for a merge operator.
    Merge = 2,
    /// A range tombstone: hides every older version of every key from its own key up to its value,
    /// which is a key too and excluded. Never among the point entries of a memtable or a table.
    RangeDelete = 3,
    /// Reserved: a tombstone that meets exactly one put.
    SingleDelete = 4,
    /// Where the value lies in a blob file (`base/blob.rs`). In tables only.
    BlobIndex = 5,
    /// A value with an expiry time before it (`base/expiry.rs`).
    PutExpiring = 6,
    /// The same, with an expiry time before it. In tables only.
    BlobIndexExpiring = 7,
}

impl ValueKind {
    /// The kind encoded as `byte`, or `None` when no version of the format has it or it is
    /// reserved.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<ValueKind> {
        match byte {
            0 => Some(ValueKind::Delete),
            1 => Some(ValueKind::Put),
            3 => Some(ValueKind::RangeDelete),
            5 => Some(ValueKind::BlobIndex),
            6 => Some(ValueKind::PutExpiring),
            7 => Some(ValueKind::BlobIndexExpiring),
            _ => None,
        }
    }

    /// Whether the value lies in a blob file: such an entry stands in tables, never in a batch.
    #[must_use]
    #[inline]
    pub fn is_blob(self) -> bool {
        matches!(self, ValueKind::BlobIndex | ValueKind::BlobIndexExpiring)
    }

    /// Whether an expiry time stands before the value.
    #[must_use]
    #[inline]
    pub fn expires(self) -> bool {
        matches!(self, ValueKind::PutExpiring | ValueKind::BlobIndexExpiring)
    }

    /// The kind of the same entry once its value lies in a blob file; `None` where it has none that
    /// could, or it lies there.
    #[must_use]
    pub fn with_blob(self) -> Option<ValueKind> {
        match self {
            ValueKind::Put => Some(ValueKind::BlobIndex),
            ValueKind::PutExpiring => Some(ValueKind::BlobIndexExpiring),
            _ => None,
        }
    }

    /// The kind of the same entry once its value lies beside its key; `None` where it does already,
    /// or there is none.
    #[must_use]
    pub fn without_blob(self) -> Option<ValueKind> {
        match self {
            ValueKind::BlobIndex => Some(ValueKind::Put),
            ValueKind::BlobIndexExpiring => Some(ValueKind::PutExpiring),
            _ => None,
        }
    }

    /// Whether a value stands behind the key in a batch.
    #[must_use]
    pub fn has_value(self) -> bool {
        matches!(self, ValueKind::Put | ValueKind::RangeDelete | ValueKind::PutExpiring)
    }

    /// The kind in a word or two, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::Put => "put",
            ValueKind::Delete => "delete",
            ValueKind::RangeDelete => "delete range",
            ValueKind::PutExpiring => "put expiring",
            ValueKind::BlobIndex => "put, value in a blob file",
            ValueKind::BlobIndexExpiring => "put expiring, value in a blob file",
            _ => "reserved",
        }
    }
}

/// Packs a sequence number and a kind into a trailer.
#[must_use]
pub fn pack_trailer(seq: SeqNo, kind: ValueKind) -> u64 {
    seq.0 << 8 | kind as u64
}

/// The greatest trailer of sequence number `seq`: as a seek target it stands before every entry of
/// the same user key that `seq` may see, and behind every entry that it may not.
#[must_use]
pub fn seek_trailer(seq: SeqNo) -> u64 {
    seq.0 << 8 | 0xff
}

/// The sequence number in a trailer.
#[must_use]
pub fn trailer_seq(trailer: u64) -> SeqNo {
    SeqNo(trailer >> 8)
}

/// Whether the trailer is that of a plain put, as most are.
#[must_use]
#[inline]
pub fn is_put(trailer: u64) -> bool {
    trailer & 0xff == ValueKind::Put as u64
}

/// The kind in the trailer of a point entry, or `None` when it is unknown, reserved, or that of a
/// range tombstone, which stands apart from the point entries.
#[must_use]
pub fn trailer_kind(trailer: u64) -> Option<ValueKind> {
    let kind = ValueKind::from_byte((trailer & 0xff) as u8);
    kind.filter(|kind| *kind != ValueKind::RangeDelete)
}

/// Whether a table's lower bound may have this trailer: that of an entry, or of a range tombstone
/// that begins there.
#[must_use]
pub fn is_lower_bound(trailer: u64) -> bool {
    ValueKind::from_byte((trailer & 0xff) as u8).is_some()
}

/// Whether a table's upper bound may have this trailer: that of an entry, or
/// [`EXCLUDED_TRAILER`] where a range tombstone ends there.
#[must_use]
pub fn is_upper_bound(trailer: u64) -> bool {
    trailer == EXCLUDED_TRAILER || trailer_kind(trailer).is_some()
}

/// Appends the encoded internal key to `out`.
pub fn encode_into(out: &mut Vec<u8>, user_key: &[u8], trailer: u64) {
    out.extend_from_slice(user_key);
    out.extend_from_slice(&trailer.to_le_bytes());
}

/// The encoded internal key.
#[must_use]
pub fn encode(user_key: &[u8], trailer: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(user_key.len() + TRAILER_BYTES);
    encode_into(&mut out, user_key, trailer);
    out
}

/// Splits an encoded internal key into user key and trailer; `None` when it is too short.
#[must_use]
pub fn try_split(encoded: &[u8]) -> Option<(&[u8], u64)> {
    let (user_key, trailer) = encoded.split_last_chunk::<TRAILER_BYTES>()?;
    Some((user_key, u64::from_le_bytes(*trailer)))
}

/// Splits an encoded internal key that is known to be one.
///
/// # Panics
/// When `encoded` is shorter than a trailer. Bytes from disk go through [`try_split`] first.
#[must_use]
#[inline]
pub fn split(encoded: &[u8]) -> (&[u8], u64) {
    match try_split(encoded) {
        Some(parts) => parts,
        None => panic!("internal key of {} bytes has no trailer", encoded.len()),
    }
}

/// The user key of an encoded internal key. Panics as [`split`] does.
#[must_use]
#[inline]
pub fn user_key(encoded: &[u8]) -> &[u8] {
    split(encoded).0
}

/// The trailer of an encoded internal key. Panics as [`split`] does.
#[must_use]
#[inline]
pub fn trailer(encoded: &[u8]) -> u64 {
    split(encoded).1
}

/// The first eight bytes of the user key as an integer that orders as the keys do: a smaller key
/// never has a greater one. Zeros stand behind a shorter key, so equal integers decide nothing.
/// Panics as [`split`] does.
#[must_use]
#[inline]
pub fn order_prefix(encoded: &[u8]) -> u64 {
    order_prefix_of(user_key(encoded))
}

/// [`order_prefix`] of a user key.
#[must_use]
#[inline]
pub fn order_prefix_of(user_key: &[u8]) -> u64 {
    if let Some(chunk) = user_key.first_chunk::<8>() {
        return u64::from_be_bytes(*chunk);
    }
    let mut padded = [0; 8];
    padded[..user_key.len()].copy_from_slice(user_key);
    u64::from_be_bytes(padded)
}

/// The one ordering of encoded internal keys: user key ascending, then newest first.
/// Panics as [`split`] does.
#[must_use]
#[inline]
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a_key, a_trailer) = split(a);
    let (b_key, b_trailer) = split(b);
    a_key.cmp(b_key).then_with(|| b_trailer.cmp(&a_trailer))
}

/// [`compare`] of two keys that have the same [`order_prefix`]. Panics as [`split`] does.
#[must_use]
#[inline]
pub fn compare_alike(a: &[u8], b: &[u8]) -> Ordering {
    let (a_key, a_trailer) = split(a);
    let (b_key, b_trailer) = split(b);
    let keys = match (a_key.first_chunk::<16>(), b_key.first_chunk::<16>()) {
        // Of keys of 8 bytes or more the prefixes are all of those.
        (Some(a_front), Some(b_front)) => u128::from_be_bytes(*a_front)
            .cmp(&u128::from_be_bytes(*b_front))
            .then_with(|| compare_rests(&a_key[16..], &b_key[16..])),
        _ => a_key.cmp(b_key),
    };
    keys.then_with(|| b_trailer.cmp(&a_trailer))
}

/// The ordering of what mostly is nothing at all.
#[inline]
fn compare_rests(a: &[u8], b: &[u8]) -> Ordering {
    if a.is_empty() && b.is_empty() { Ordering::Equal } else { a.cmp(b) }
}

/// Whether two user keys are the same. Short keys, and those that differ at either end, are told
/// apart without a call.
#[must_use]
#[inline]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ends = (a.first_chunk::<8>(), a.last_chunk::<8>());
    a.len() == b.len()
        && ends == (b.first_chunk::<8>(), b.last_chunk::<8>())
        && ((8..=16).contains(&a.len()) || a == b)
}

/// Makes `to` a copy of the user key `from`. A key of 8 to 32 bytes that is as long as what was
/// there is copied without a call.
#[inline]
pub fn copy_into(to: &mut Vec<u8>, from: &[u8]) {
    if to.len() == from.len() {
        let ends = (from.first_chunk::<8>(), from.last_chunk::<8>());
        if let ((8..=16), (Some(first), Some(last))) = (from.len(), ends) {
            to[..8].copy_from_slice(first);
            let end = to.len() - 8;
            to[end..].copy_from_slice(last);
            return;
        }
        let ends = (from.first_chunk::<16>(), from.last_chunk::<16>());
        if let ((17..=32), (Some(first), Some(last))) = (from.len(), ends) {
            to[..16].copy_from_slice(first);
            let end = to.len() - 16;
            to[end..].copy_from_slice(last);
            return;
        }
    }
    to.clear();
    to.extend_from_slice(from);
}

/// Where a range of user keys ends. Of two ends at one key the excluded one comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEnd<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Whether the key itself belongs to the range.
    pub included: bool,
}

impl KeyEnd<'_> {
    /// Whether the range ends before `user_key`, which is then not in it.
    #[must_use]
    #[inline]
    pub fn is_before(self, user_key: &[u8]) -> bool {
        if self.included { self.key < user_key } else { self.key <= user_key }
    }

    /// The same end, owned.
    #[must_use]
    pub fn to_owned(self) -> KeyEndBuf {
        KeyEndBuf { key: self.key.to_vec(), included: self.included }
    }
}

impl<'a, K: AsRef<[u8]> + ?Sized> From<&'a K> for KeyEnd<'a> {
    /// The key is included.
    #[inline]
    fn from(key: &'a K) -> KeyEnd<'a> {
        KeyEnd { key: key.as_ref(), included: true }
    }
}

impl<'a> From<&'a KeyEndBuf> for KeyEnd<'a> {
    #[inline]
    fn from(end: &'a KeyEndBuf) -> KeyEnd<'a> {
        KeyEnd { key: &end.key, included: end.included }
    }
}

/// A [`KeyEnd`] that owns its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEndBuf {
    key: Vec<u8>,
    included: bool,
}

/// Where a table of this upper bound, an encoded internal key, ends. Panics as [`split`] does.
#[must_use]
#[inline]
pub fn end_of(upper_bound: &[u8]) -> KeyEnd<'_> {
    let (key, trailer) = split(upper_bound);
    KeyEnd { key, included: trailer != EXCLUDED_TRAILER }
}

#[cfg(test)]
mod tests;
