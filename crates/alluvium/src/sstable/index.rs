//! The index of an open table, in a form made for searching.
//!
//! On disk it is a block like any other. It is read once, checked whole, and kept as four arrays,
//! which take about the same memory as the block did, and sixteen bytes a data block for the way
//! to it in the block cache. The first eight bytes in which separators
//! differ are kept apart as integers ([`Prefixes`]), so that a search touches a few cache lines of
//! one array, and compares keys only among separators that these bytes cannot tell apart.
//!
//! Invariants, checked by [`Index::parse`]: the data blocks fill the file from its start to
//! `data_end`; there is none only where a table holds nothing but range tombstones. From there on
//! nothing here can fail.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::base::key::{compare, split};
use crate::cache::BlockSlots;
use crate::sstable::block::{Block, Entry, Restart};
use crate::sstable::format::{BlockHandle, Malformed};
use crate::sstable::prefixes::{GROUP, Prefixes};
use crate::sstable::separator::common_prefix;

/// Separators and places of the data blocks, in their order.
pub(super) struct Index {
    /// The separators, encoded internal keys, back to back.
    keys: Box<[u8]>,
    /// Where each separator ends in `keys`.
    key_ends: Box<[u32]>,
    /// Where each data block begins, and where the last ends; and the blocks, where they are
    /// cached.
    slots: Arc<BlockSlots>,
    /// Bytes that the user keys of all separators have in common at their front.
    common: usize,
    /// Of each separator's user key, the eight bytes behind the common ones.
    prefixes: Prefixes,
}

impl Index {
    /// Takes the contents of an index block apart, for a file whose data blocks end at `data_end`.
    pub(super) fn parse(block: &Block, data_end: u64) -> Result<Index, Malformed> {
        let entries = block.entries();
        let count = block.restarts();
        let mut keys = Vec::with_capacity(entries.len());
        let mut key_ends = Vec::with_capacity(count);
        let mut offsets = Vec::with_capacity(count + 1);
        let (mut at, mut value_start, mut offset) = (0, 0, 0);
        for position in 0..count {
            let entry = Entry::decode(entries, at)?;
            if entry.shared != 0 || block.restart(position) != (Restart { at, value_start }) {
                return Err(Malformed("an index entry is no restart point"));
            }
            keys.extend_from_slice(entry.suffix(entries));
            key_ends.push(keys.len() as u32);
            let value_end = block.value_end(value_start, entry.value_bytes)?;
            let handle = decode_handle(&block.values()[value_start..value_end])?;
            if handle.offset != offset || handle.end() > data_end {
                return Err(Malformed("the data blocks do not follow each other"));
            }
            offsets.push(offset);
            offset = handle.end();
            (at, value_start) = (entry.end, value_end);
        }
        let ends_meet = at == entries.len() && value_start == block.values().len();
        if !ends_meet || offset != data_end {
            return Err(Malformed("the index does not cover the file"));
        }
        offsets.push(offset);
        let mut index = Index {
            keys: keys.into_boxed_slice(),
            key_ends: key_ends.into_boxed_slice(),
            slots: Arc::new(BlockSlots::new(&offsets)),
            common: 0,
            prefixes: Prefixes::default(),
        };
        index.collect_prefixes()?;
        Ok(index)
    }

    fn collect_prefixes(&mut self) -> Result<(), Malformed> {
        if self.blocks() == 0 {
            return Ok(());
        }
        let (first, _) = split(self.key(0));
        let (last, _) = split(self.key(self.blocks() - 1));
        self.common = common_prefix(first, last);
        let prefixes: Box<[u64]> = (0..self.blocks())
            .map(|position| {
                let (user_key, _) = split(self.key(position));
                prefix_of(user_key.get(self.common..).unwrap_or_default())
            })
            .collect();
        let ordered = (1..self.blocks())
            .all(|position| compare(self.key(position - 1), self.key(position)) == Ordering::Less);
        if !ordered {
            return Err(Malformed("the index is out of order"));
        }
        self.prefixes = Prefixes::new(prefixes);
        Ok(())
    }

    /// The number of data blocks.
    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.key_ends.len()
    }

    /// The separator of data block `position`: at or above all its keys, below all of the next
    /// block's.
    #[inline]
    pub(super) fn key(&self, position: usize) -> &[u8] {
        let start = if position == 0 { 0 } else { self.key_ends[position - 1] as usize };
        &self.keys[start..self.key_ends[position] as usize]
    }

    /// The place of data block `position`.
    #[inline]
    pub(super) fn handle(&self, position: usize) -> BlockHandle {
        let (begin, end) = self.slots.ends(position);
        BlockHandle::between(begin, end)
    }

    /// Where the data blocks are.
    #[inline]
    pub(super) fn slots(&self) -> &Arc<BlockSlots> {
        &self.slots
    }

    /// The first data block that can hold an entry at or behind the target; [`Self::blocks`] when
    /// there is none.
    #[inline]
    pub(super) fn seek(&self, user_key: &[u8], trailer: u64) -> usize {
        let front = &self.keys[..self.common];
        let rest = match user_key.get(..self.common) {
            Some(target_front) if target_front == front => &user_key[self.common..],
            _ => return if user_key < front { 0 } else { self.blocks() },
        };
        let prefix = prefix_of(rest);
        // The blocks' places are fetched meanwhile.
        let low = self.prefixes.before(prefix, |place| self.slots.fetch(place, GROUP));
        let is_before = |position: usize| {
            let (separator, separator_trailer) = split(self.key(position));
            match separator[self.common..].cmp(rest) {
                Ordering::Less => true,
                Ordering::Equal => separator_trailer > trailer,
                Ordering::Greater => false,
            }
        };
        // Most often the prefix tells all separators apart and one comparison settles it.
        if self.prefixes.all().get(low) != Some(&prefix) || !is_before(low) {
            return low;
        }
        let equal = self.prefixes.all()[low..].partition_point(|&p| p == prefix);
        let (mut low, mut high) = (low + 1, low + equal);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.keys.len()
            + size_of_val(&*self.key_ends)
            + self.slots.memory_bytes()
            + self.prefixes.memory_bytes()
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} blocks, {} common bytes)", self.blocks(), self.common)
    }
}

/// Where the data blocks begin, and where the last ends, by an index block that nothing else
/// vouches for; `None` when the block is no index.
pub(super) fn block_offsets(block: &Block) -> Option<Vec<u64>> {
    let entries = block.entries();
    let (mut at, mut value_start, mut offset) = (0, 0, 0);
    let mut offsets = Vec::with_capacity(block.restarts() + 1);
    for position in 0..block.restarts() {
        if at >= entries.len() || block.restart(position) != (Restart { at, value_start }) {
            return None;
        }
        let entry = Entry::decode(entries, at).ok().filter(|entry| entry.shared == 0)?;
        let value_end = block.value_end(value_start, entry.value_bytes).ok()?;
        let handle = decode_handle(&block.values()[value_start..value_end]).ok()?;
        if handle.offset != offset {
            return None;
        }
        offsets.push(offset);
        offset = handle.end();
        (at, value_start) = (entry.end, value_end);
    }
    offsets.push(offset);
    (at == entries.len() && value_start == block.values().len()).then_some(offsets)
}

fn decode_handle(value: &[u8]) -> Result<BlockHandle, Malformed> {
    let mut input = value;
    let handle = BlockHandle::decode(&mut input).filter(|handle| handle.is_sane());
    match handle {
        Some(handle) if input.is_empty() => Ok(handle),
        _ => Err(Malformed("an index entry holds no block handle")),
    }
}

/// The first eight bytes as an integer that orders as the bytes do, where they differ.
#[inline]
fn prefix_of(bytes: &[u8]) -> u64 {
    if let Some((head, _)) = bytes.split_first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(head)
}
