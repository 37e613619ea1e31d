//! A block in memory: values, entries with prefix-compressed keys, restart points into both.
//!
//! Drawn in docs/format.md ("Data block and index block"). Values stand apart from keys, so that a
//! search reads a few neighbouring cache lines of keys and then one value, in place of a line or
//! two for each entry that it passes: a block in the cache is seldom in the processor's.
//!
//! Prefixes are shared between *user keys* and the trailer stands whole behind each, for two
//! reasons. At a restart point the encoded internal key lies in the block in one piece. And a
//! search can follow the sharing: with `matched` the bytes that the target has in common with the
//! entry before (which is below the target), an entry that shares more than that is below it as
//! well, one that shares less is above it, and only one that shares exactly as much is looked at,
//! from there on. No key is put together on the way. That needs `shared` to be the *whole* common
//! prefix, which the writer keeps and `verify` checks.
//!
//! Blocks come here with their checksum checked, which says that they are what was written, not
//! that the writer meant well: every length is held against the block's end before it is used.

use std::cmp::Ordering;
use std::ops::{Deref, Range};

use bytes::{Buf, Bytes};

use crate::base::blob::BLOB_INDEX_BYTES;
use crate::base::coding::{take_varint, take_varint32};
use crate::base::expiry::EXPIRY_BYTES;
use crate::base::key::{TRAILER_BYTES, ValueKind, is_put, order_prefix_of, trailer_kind};
use crate::sstable::format::Malformed;
use crate::sstable::separator::common_prefix;

const RESTART_BYTES: usize = 8;
/// Behind the restart points: the length of the values, the count of restart points.
const TAIL_BYTES: usize = 8;
const NO_ENTRY: Malformed = Malformed("an entry does not fit its block");
const BAD_RESTARTS: Malformed = Malformed("the restart points do not fit their block");

/// One entry as it stands among a block's entries. Its value follows that of the entry before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Bytes of the user key shared with that of the entry before.
    pub(super) shared: usize,
    /// Where the rest of the user key begins. The trailer follows it.
    pub(super) key_start: usize,
    /// Where the trailer ends and the next entry begins.
    pub(super) end: usize,
    /// Bytes of the value.
    pub(super) value_bytes: usize,
}

impl Entry {
    /// Decodes the entry at `at` of `entries`, which must not be behind their end.
    #[inline]
    pub(super) fn decode(entries: &[u8], at: usize) -> Result<Entry, Malformed> {
        // No entry is shorter than its three lengths and a trailer.
        let Some((head, _)) = entries[at..].split_first_chunk::<3>() else {
            return Err(NO_ENTRY);
        };
        let [shared, unshared, value_bytes] = *head;
        if shared | unshared | value_bytes >= 0x80 {
            return Entry::decode_long(entries, at);
        }
        let key_start = at + 3;
        let end = key_start + usize::from(unshared) + TRAILER_BYTES;
        if end > entries.len() {
            return Err(NO_ENTRY);
        }
        let (shared, value_bytes) = (usize::from(shared), usize::from(value_bytes));
        Ok(Entry { shared, key_start, end, value_bytes })
    }

    #[inline(never)]
    fn decode_long(entries: &[u8], at: usize) -> Result<Entry, Malformed> {
        let decode = || {
            let mut input = &entries[at..];
            let shared = take_varint32(&mut input)? as usize;
            let unshared = take_varint32(&mut input)? as usize;
            let value_bytes = usize::try_from(take_varint(&mut input)?).ok()?;
            let key_start = entries.len() - input.len();
            let end = key_start.checked_add(unshared)?.checked_add(TRAILER_BYTES)?;
            (end <= entries.len()).then_some(Entry { shared, key_start, end, value_bytes })
        };
        decode().ok_or(NO_ENTRY)
    }

    /// The unshared end of the key with its trailer, of an entry decoded from `entries`.
    #[inline]
    pub(super) fn suffix(self, entries: &[u8]) -> &[u8] {
        &entries[self.key_start..self.end]
    }

    /// Bytes of the user key, where the one before has what it shares.
    #[inline]
    pub(super) fn user_key_bytes(self) -> usize {
        self.shared + self.end - self.key_start - TRAILER_BYTES
    }

    /// The unshared end of the user key.
    #[inline]
    fn user_suffix(self, entries: &[u8]) -> &[u8] {
        &entries[self.key_start..self.end - TRAILER_BYTES]
    }

    /// The [`order_prefix_of`] the user key, where `before` is that of the entry before, which has
    /// what this one shares.
    #[inline]
    pub(super) fn order_prefix(self, before: u64, entries: &[u8]) -> u64 {
        if self.shared >= 8 {
            return before;
        }
        let shared_bits = 8 * self.shared as u32;
        let own = order_prefix_of(self.user_suffix(entries)) >> shared_bits;
        before & !(u64::MAX >> shared_bits) | own
    }

    /// Whether the user key is that of the entry before, the encoded internal key `before`.
    #[inline]
    pub(super) fn repeats(self, before: &[u8], entries: &[u8]) -> bool {
        let suffix = self.user_suffix(entries);
        if self.shared + suffix.len() + TRAILER_BYTES != before.len() {
            return false;
        }
        // Only a restart point shares less than it could: elsewhere the first byte decides.
        match suffix.first() {
            None => true,
            Some(first) if before.get(self.shared) != Some(first) => false,
            Some(_) => before[self.shared..before.len() - TRAILER_BYTES] == *suffix,
        }
    }

    /// The trailer. Fails on a kind of write that this version does not know.
    #[inline]
    pub(super) fn trailer(self, entries: &[u8]) -> Result<u64, Malformed> {
        let trailer = self.raw_trailer(entries).ok_or(NO_ENTRY)?;
        if is_put(trailer) { Ok(trailer) } else { self.check_kind(trailer) }
    }

    /// The trailer, whatever it says.
    #[inline]
    pub(super) fn raw_trailer(self, entries: &[u8]) -> Option<u64> {
        let bytes = entries[..self.end].last_chunk::<TRAILER_BYTES>();
        bytes.map(|bytes| u64::from_le_bytes(*bytes))
    }

    #[inline(never)]
    fn check_kind(self, trailer: u64) -> Result<u64, Malformed> {
        match trailer_kind(trailer) {
            None => Err(Malformed("an entry of a kind that this version does not know")),
            Some(ValueKind::PutExpiring) if self.value_bytes < EXPIRY_BYTES => {
                Err(Malformed("an entry that expires, and says not when"))
            }
            Some(ValueKind::BlobIndex) if self.value_bytes != BLOB_INDEX_BYTES => {
                Err(Malformed("an entry whose value lies in a blob file, and says not where"))
            }
            Some(ValueKind::BlobIndexExpiring)
                if self.value_bytes != EXPIRY_BYTES + BLOB_INDEX_BYTES =>
            {
                Err(Malformed("an entry whose value lies in a blob file, and says not where"))
            }
            Some(_) => Ok(trailer),
        }
    }
}

/// Where a restart point leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Restart {
    /// Where the entry begins among the entries.
    pub(super) at: usize,
    /// Where its value begins among the values.
    pub(super) value_start: usize,
}

/// The first entry at or behind a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) entry: Entry,
    /// Where the entry begins.
    pub(super) at: usize,
    /// Its value's bytes in the block.
    pub(super) value_start: usize,
    pub(super) value_end: usize,
    pub(super) trailer: u64,
    /// Whether its user key is the target's.
    pub(super) same_user_key: bool,
}

/// A block: its bytes, and where their parts are. `Block<&[u8]>` is one that is only looked into.
#[derive(Clone, Default)]
pub(super) struct Block<D = Bytes> {
    data: D,
    /// The values end and the entries begin here.
    values_end: usize,
    /// The entries end and the restart points begin here.
    entries_end: usize,
    restarts: usize,
}

impl<D: Deref<Target = [u8]>> Block<D> {
    /// Takes the bytes of a block that was checked before, as when it entered the block cache.
    #[inline]
    pub(super) fn new(data: D) -> Result<Block<D>, Malformed> {
        let (rest, tail) = data.split_last_chunk::<TAIL_BYTES>().ok_or(BAD_RESTARTS)?;
        let (values_end, restarts) = two_words(*tail);
        let table = restarts.checked_mul(RESTART_BYTES).ok_or(BAD_RESTARTS)?;
        let entries_end = rest.len().checked_sub(table).ok_or(BAD_RESTARTS)?;
        if values_end > entries_end {
            return Err(BAD_RESTARTS);
        }
        Ok(Block { data, values_end, entries_end, restarts })
    }

    /// Takes the bytes of a block as they left the disk: the restart points are checked too. The
    /// entries are as they are decoded.
    pub(super) fn from_disk(data: D) -> Result<Block<D>, Malformed> {
        let block = Block::new(data)?;
        let points = || (0..block.restarts).map(|index| block.restart(index));
        let sound = block.restarts > 0
            && block.restart(0) == Restart { at: 0, value_start: 0 }
            && points().is_sorted_by(|a, b| a.at < b.at && a.value_start <= b.value_start)
            && points().all(|point| {
                point.at < block.entries().len() && point.value_start <= block.values_end
            });
        sound.then_some(block).ok_or(BAD_RESTARTS)
    }

    /// Where in the block a search looks first, once it knows the block's parts.
    pub(super) fn first_look(&self) -> usize {
        let middle = if self.restarts > 0 { self.restart(self.restarts / 2).at } else { 0 };
        self.values_end + middle
    }

    /// The entries: keys, without values.
    #[inline]
    pub(super) fn entries(&self) -> &[u8] {
        &self.data[self.values_end..self.entries_end]
    }

    /// The values. They begin where the block does.
    #[inline]
    pub(super) fn values(&self) -> &[u8] {
        &self.data[..self.values_end]
    }

    /// Where a value ends that begins at `start`.
    #[inline]
    pub(super) fn value_end(&self, start: usize, value_bytes: usize) -> Result<usize, Malformed> {
        match start.checked_add(value_bytes) {
            Some(end) if end <= self.values_end => Ok(end),
            _ => Err(NO_ENTRY),
        }
    }

    /// The number of restart points.
    pub(super) fn restarts(&self) -> usize {
        self.restarts
    }

    /// Restart point `index`.
    #[inline]
    pub(super) fn restart(&self, index: usize) -> Restart {
        let (points, _) = self.data[self.entries_end..].as_chunks::<RESTART_BYTES>();
        let (at, value_start) = two_words(points[index]);
        Restart { at, value_start }
    }

    /// Whether the first entry, where there is one, shares nothing with one before.
    pub(super) fn check_front(&self) -> Result<(), Malformed> {
        if self.restarts > 0 { self.restart_entry(0).map(|_| ()) } else { Ok(()) }
    }

    /// The entry that restart point `index` names.
    #[inline]
    fn restart_entry(&self, index: usize) -> Result<(Restart, Entry), Malformed> {
        let point = self.restart(index);
        let entries = self.entries();
        if point.at >= entries.len() {
            return Err(NO_ENTRY);
        }
        let entry = Entry::decode(entries, point.at)?;
        if entry.shared != 0 {
            return Err(Malformed("the entry at a restart point shares its key's front"));
        }
        Ok((point, entry))
    }

    /// The first entry at or behind the internal key of `user_key` and `trailer`; `None` when all
    /// entries are before it.
    #[inline]
    pub(super) fn seek(&self, user_key: &[u8], trailer: u64) -> Result<Option<Found>, Malformed> {
        let entries = self.entries();
        let front = user_key.first_chunk::<8>().map(|front| u64::from_be_bytes(*front));
        // The first restart point at or behind the target.
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            let (_, entry) = self.restart_entry(middle)?;
            let other = entry.user_suffix(entries).first_chunk::<8>();
            let is_before = match (other.map(|other| u64::from_be_bytes(*other)), front) {
                (Some(other), Some(front)) if other != front => other < front,
                _ => is_before(entries, entry, user_key, trailer)?,
            };
            if is_before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low > 0 {
            let limit = if low < self.restarts { self.restart(low).at } else { entries.len() };
            let found = self.scan(self.restart(low - 1), limit, user_key, trailer)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        if low == self.restarts {
            return Ok(None);
        }
        let (point, entry) = self.restart_entry(low)?;
        let same_user_key = entry.user_suffix(entries) == user_key;
        self.found(entry, point, same_user_key).map(Some)
    }

    #[inline]
    fn found(&self, entry: Entry, place: Restart, same: bool) -> Result<Found, Malformed> {
        Ok(Found {
            entry,
            at: place.at,
            value_start: place.value_start,
            value_end: self.value_end(place.value_start, entry.value_bytes)?,
            trailer: entry.trailer(self.entries())?,
            same_user_key: same,
        })
    }

    /// The first entry at or behind the target among those from `place` (a restart point before
    /// the target) up to `limit`.
    #[inline]
    fn scan(
        &self,
        mut place: Restart,
        limit: usize,
        user_key: &[u8],
        trailer: u64,
    ) -> Result<Option<Found>, Malformed> {
        let entries = self.entries();
        // Bytes that the target has in common with the entry before.
        let mut matched = 0;
        while place.at < limit {
            let entry = Entry::decode(entries, place.at)?;
            if entry.shared < matched {
                return self.found(entry, place, false).map(Some);
            }
            if entry.shared == matched {
                let suffix = entry.user_suffix(entries);
                let rest = &user_key[matched..];
                match (suffix.first(), rest.first()) {
                    // Most entries part from the target at once.
                    (Some(a), Some(b)) if a < b => {}
                    (Some(a), Some(b)) if a > b => {
                        return self.found(entry, place, false).map(Some);
                    }
                    _ => {
                        let common = common_prefix(suffix, rest);
                        match suffix.get(common).cmp(&rest.get(common)) {
                            Ordering::Less => {}
                            Ordering::Equal if entry.trailer(entries)? > trailer => {}
                            order => return self.found(entry, place, order.is_eq()).map(Some),
                        }
                        matched += common;
                    }
                }
            }
            place.at = entry.end;
            // Sums that leave the block are refused when they are used.
            place.value_start = place.value_start.saturating_add(entry.value_bytes);
        }
        Ok(None)
    }
}

impl Block {
    /// As [`Self::from_disk`], where a block without entries is one too: the index of a table
    /// without data blocks.
    pub(super) fn index_from_disk(data: Bytes) -> Result<Block, Malformed> {
        let block = Block::new(data.clone())?;
        if block.restarts == 0 && block.entries_end == 0 {
            return Ok(block);
        }
        Block::from_disk(data)
    }

    /// The whole block, sharing its memory.
    pub(super) fn contents(&self) -> Bytes {
        self.data.clone()
    }

    /// The value in `range`, sharing the block's memory.
    pub(super) fn value_handle(&self, range: Range<usize>) -> Bytes {
        self.data.slice(range)
    }

    /// As [`Self::value_handle`], giving up the rest: one count of references fewer.
    #[inline]
    pub(super) fn into_value(self, range: Range<usize>) -> Bytes {
        let mut data = self.data;
        data.truncate(range.end);
        data.advance(range.start);
        data
    }
}

impl<D: Deref<Target = [u8]>> std::fmt::Debug for Block<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({} bytes, {} restart points)", self.data.len(), self.restarts)
    }
}

/// Whether an entry at a restart point stands before the target.
#[inline]
fn is_before(
    entries: &[u8],
    entry: Entry,
    user_key: &[u8],
    trailer: u64,
) -> Result<bool, Malformed> {
    match entry.user_suffix(entries).cmp(user_key) {
        Ordering::Less => Ok(true),
        Ordering::Greater => Ok(false),
        Ordering::Equal => Ok(entry.trailer(entries)? > trailer),
    }
}

#[inline]
fn two_words(bytes: [u8; 8]) -> (usize, usize) {
    let words = u64::from_le_bytes(bytes);
    (words as u32 as usize, (words >> 32) as usize)
}
