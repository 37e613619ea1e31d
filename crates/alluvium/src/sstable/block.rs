//! A block in memory: entries with prefix-compressed keys, and the restart points into them.
//!
//! Drawn in docs/format.md ("Data block and index block"). Prefixes are shared between *user keys*
//! and the trailer stands whole behind each, for two reasons: at a restart point the encoded
//! internal key lies in the block in one piece, and a search can follow the sharing: with `matched`
//! the bytes that the target has in common with the entry before (which is below the target), an
//! entry that shares more than that is below it as well, one that shares less is above it, and only
//! one that shares exactly as much is looked at, from there on. No key is put together on the way.
//! That needs `shared` to be the *whole* common prefix, which the writer keeps and `verify` checks.
//!
//! Blocks come here with their checksum checked, which says that they are what was written, not
//! that the writer meant well: every length is held against the block's end before it is used.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::{Buf, Bytes};

use crate::base::coding::{take_varint, take_varint32};
use crate::base::key::{TRAILER_BYTES, trailer_kind};
use crate::sstable::format::Malformed;
use crate::sstable::separator::common_prefix;

const RESTART_BYTES: usize = 4;
const NO_ENTRY: Malformed = Malformed("an entry does not fit its block");

/// One entry as it stands in a block: offsets into its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Bytes of the user key shared with that of the entry before.
    pub(super) shared: usize,
    /// Where the rest of the user key begins. The trailer follows it.
    pub(super) key_start: usize,
    /// Where the value begins: right behind the trailer.
    pub(super) value_start: usize,
    /// Where the value ends and the next entry begins.
    pub(super) end: usize,
}

impl Entry {
    /// Decodes the entry at `at` of `entries`, which must not be behind their end.
    #[inline]
    pub(super) fn decode(entries: &[u8], at: usize) -> Result<Entry, Malformed> {
        // No entry is shorter than its three lengths and a trailer.
        let Some((head, _)) = entries[at..].split_first_chunk::<3>() else {
            return Err(NO_ENTRY);
        };
        let [shared, unshared, value] = *head;
        if shared | unshared | value >= 0x80 {
            return Entry::decode_long(entries, at);
        }
        let key_start = at + 3;
        let value_start = key_start + unshared as usize + TRAILER_BYTES;
        let end = value_start + value as usize;
        if end > entries.len() {
            return Err(NO_ENTRY);
        }
        Ok(Entry { shared: shared as usize, key_start, value_start, end })
    }

    #[cold]
    #[inline(never)]
    fn decode_long(entries: &[u8], at: usize) -> Result<Entry, Malformed> {
        let decode = || {
            let mut input = &entries[at..];
            let shared = take_varint32(&mut input)? as usize;
            let unshared = take_varint32(&mut input)? as usize;
            let value = usize::try_from(take_varint(&mut input)?).ok()?;
            let key_start = entries.len() - input.len();
            let value_start = key_start.checked_add(unshared)?.checked_add(TRAILER_BYTES)?;
            let end = value_start.checked_add(value)?;
            (end <= entries.len()).then_some(Entry { shared, key_start, value_start, end })
        };
        decode().ok_or(NO_ENTRY)
    }

    /// The unshared end of the user key, of an entry decoded from `entries`.
    #[inline]
    fn suffix(self, entries: &[u8]) -> &[u8] {
        &entries[self.key_start..self.value_start - TRAILER_BYTES]
    }

    /// The trailer. Fails on a kind of write that this version does not know.
    #[inline]
    pub(super) fn trailer(self, entries: &[u8]) -> Result<u64, Malformed> {
        let bytes = entries[..self.value_start].last_chunk::<TRAILER_BYTES>();
        let trailer = u64::from_le_bytes(*bytes.ok_or(NO_ENTRY)?);
        if trailer_kind(trailer).is_none() {
            return Err(Malformed("an entry of a kind that this version does not know"));
        }
        Ok(trailer)
    }
}

/// The first entry at or behind a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) entry: Entry,
    /// Where the entry begins.
    pub(super) at: usize,
    /// Whether its user key is the target's.
    pub(super) same_user_key: bool,
}

/// A block: its bytes, and where its entries end.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    data: Bytes,
    entries_end: usize,
    restarts: usize,
}

impl Block {
    /// Takes the bytes of a block that was checked before, as when it entered the block cache.
    #[inline]
    pub(super) fn new(data: Bytes) -> Result<Block, Malformed> {
        let damaged = Malformed("the restart points do not fit their block");
        let count = data.last_chunk::<RESTART_BYTES>().ok_or(damaged)?;
        let restarts = u32::from_le_bytes(*count) as usize;
        let table = restarts.checked_add(1).and_then(|words| words.checked_mul(RESTART_BYTES));
        let entries_end = table.and_then(|table| data.len().checked_sub(table)).ok_or(damaged)?;
        Ok(Block { data, entries_end, restarts })
    }

    /// Takes the bytes of a block as they left the disk: the restart points are checked too. The
    /// entries are as they are decoded.
    pub(super) fn from_disk(data: Bytes) -> Result<Block, Malformed> {
        let block = Block::new(data)?;
        let offsets = || (0..block.restarts).map(|index| block.restart(index));
        let sound = block.restarts > 0
            && block.restart(0) == 0
            && offsets().is_sorted_by(|a, b| a < b)
            && offsets().all(|offset| offset < block.entries_end);
        sound.then_some(block).ok_or(Malformed("the restart points do not fit their block"))
    }

    /// The entries, without the restart points.
    #[inline]
    pub(super) fn entries(&self) -> &[u8] {
        &self.data[..self.entries_end]
    }

    /// The number of restart points.
    pub(super) fn restarts(&self) -> usize {
        self.restarts
    }

    /// The offset that restart point `index` names.
    #[inline]
    pub(super) fn restart(&self, index: usize) -> usize {
        let (offsets, _) = self.data[self.entries_end..].as_chunks::<RESTART_BYTES>();
        u32::from_le_bytes(offsets[index]) as usize
    }

    /// The part of the block's memory in `range`, sharing it.
    pub(super) fn slice(&self, range: Range<usize>) -> Bytes {
        self.data.slice(range)
    }

    /// As [`Self::slice`], giving up the rest: one count of references fewer.
    #[inline]
    pub(super) fn into_slice(self, range: Range<usize>) -> Bytes {
        let mut data = self.data;
        data.truncate(range.end);
        data.advance(range.start);
        data
    }

    /// The entry that restart point `index` names.
    #[inline]
    fn restart_entry(&self, index: usize) -> Result<(usize, Entry), Malformed> {
        let at = self.restart(index);
        if at >= self.entries_end {
            return Err(NO_ENTRY);
        }
        let entry = Entry::decode(self.entries(), at)?;
        if entry.shared != 0 {
            return Err(Malformed("the entry at a restart point shares its key's front"));
        }
        Ok((at, entry))
    }

    /// The first entry at or behind the internal key of `user_key` and `trailer`; `None` when all
    /// entries are before it.
    #[inline]
    pub(super) fn seek(&self, user_key: &[u8], trailer: u64) -> Result<Option<Found>, Malformed> {
        let entries = self.entries();
        // The first restart point at or behind the target.
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            let (_, entry) = self.restart_entry(middle)?;
            if self.is_before(entry, user_key, trailer)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let limit = if low < self.restarts { self.restart(low) } else { self.entries_end };
        if low > 0
            && let Some(found) = self.scan(self.restart(low - 1), limit, user_key, trailer)?
        {
            return Ok(Some(found));
        }
        if low == self.restarts {
            return Ok(None);
        }
        let (at, entry) = self.restart_entry(low)?;
        entry.trailer(entries)?;
        Ok(Some(Found { entry, at, same_user_key: entry.suffix(entries) == user_key }))
    }

    /// Whether an entry at a restart point stands before the target.
    #[inline]
    fn is_before(&self, entry: Entry, user_key: &[u8], trailer: u64) -> Result<bool, Malformed> {
        let entries = self.entries();
        match entry.suffix(entries).cmp(user_key) {
            Ordering::Less => Ok(true),
            Ordering::Greater => Ok(false),
            Ordering::Equal => Ok(entry.trailer(entries)? > trailer),
        }
    }

    /// The first entry at or behind the target among those from `at` (a restart point before the
    /// target) up to `limit`.
    #[inline]
    fn scan(
        &self,
        mut at: usize,
        limit: usize,
        user_key: &[u8],
        trailer: u64,
    ) -> Result<Option<Found>, Malformed> {
        let entries = self.entries();
        // Bytes that the target has in common with the entry before.
        let mut matched = 0;
        while at < limit {
            let entry = Entry::decode(entries, at)?;
            if entry.shared < matched {
                entry.trailer(entries)?;
                return Ok(Some(Found { entry, at, same_user_key: false }));
            }
            if entry.shared == matched {
                let suffix = entry.suffix(entries);
                let rest = &user_key[matched..];
                let common = common_prefix(suffix, rest);
                let order = suffix.get(common).cmp(&rest.get(common));
                let same_user_key = order == Ordering::Equal;
                let reached = match order {
                    Ordering::Less => false,
                    Ordering::Equal => entry.trailer(entries)? <= trailer,
                    Ordering::Greater => {
                        entry.trailer(entries)?;
                        true
                    }
                };
                if reached {
                    return Ok(Some(Found { entry, at, same_user_key }));
                }
                matched += common;
            }
            at = entry.end;
        }
        Ok(None)
    }
}
