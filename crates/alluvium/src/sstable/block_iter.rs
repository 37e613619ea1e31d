//! A cursor over the entries of one block.
//!
//! The current key is put together in one buffer that is kept from entry to entry and from block to
//! block; the value stays where it is. Entries can only be decoded forwards, so a step back decodes
//! again from the restart point before, and keeps what it passed on a stack for the steps back that
//! follow.

use bytes::Bytes;

use crate::base::key::TRAILER_BYTES;
use crate::sstable::block::{Block, Entry, Restart};
use crate::sstable::format::Malformed;

/// A stack of passed entries is let go when its keys exceed this: a stranger's block could make
/// them many times its own size.
const PASSED_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a suffix, its trailer among them, that are copied as if they were so many.
const SHORT_SUFFIX_BYTES: usize = 32;

/// An entry on the stack. It and its value end where those of the one above it begin.
#[derive(Debug, Clone, Copy)]
struct Passed {
    at: usize,
    value_start: usize,
    key_start: usize,
}

/// A cursor over a block.
#[derive(Debug, Default)]
pub(super) struct BlockIter {
    block: Block,
    valid: bool,
    key: Vec<u8>,
    /// Where the current entry begins, where it ends, and the same of its value.
    at: usize,
    end: usize,
    value_start: usize,
    value_end: usize,
    /// The entries right before the current one, the nearest on top.
    passed: Vec<Passed>,
    passed_keys: Vec<u8>,
}

impl BlockIter {
    /// Takes another block; the cursor is not positioned.
    pub(super) fn load(&mut self, block: Block) {
        self.unload();
        self.block = block;
    }

    /// Lets the block go.
    pub(super) fn unload(&mut self) {
        self.invalidate();
        self.block = Block::default();
    }

    /// Leaves the cursor on no entry.
    pub(super) fn invalidate(&mut self) {
        self.valid = false;
        self.forget_passed();
    }

    #[inline]
    pub(super) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        &self.block.values()[self.value_start..self.value_end]
    }

    pub(super) fn value_handle(&self) -> Bytes {
        self.block.value_handle(self.value_start..self.value_end)
    }

    pub(super) fn seek_to_first(&mut self) -> Result<(), Malformed> {
        self.invalidate();
        self.key.clear();
        (self.end, self.value_end) = (0, 0);
        self.step()
    }

    pub(super) fn seek_to_last(&mut self) -> Result<(), Malformed> {
        self.invalidate();
        (self.at, self.value_start) = (self.block.entries().len(), self.block.values().len());
        self.step_back()
    }

    /// Moves to the first entry at or behind the target, or off the end.
    pub(super) fn seek(&mut self, user_key: &[u8], trailer: u64) -> Result<(), Malformed> {
        self.invalidate();
        let Some(found) = self.block.seek(user_key, trailer)? else {
            return Ok(());
        };
        // The search left the target where it parts from the entry: what the entry shares with the
        // one before it, it shares with the target too.
        let entry = found.entry;
        let front = user_key.get(..entry.shared).ok_or(Malformed("an entry shares too much"))?;
        self.key.clear();
        self.key.extend_from_slice(front);
        self.key.extend_from_slice(entry.suffix(self.block.entries()));
        (self.at, self.end) = (found.at, entry.end);
        (self.value_start, self.value_end) = (found.value_start, found.value_end);
        self.valid = true;
        Ok(())
    }

    /// Moves to the next entry, or off the end. Must be `valid`.
    #[inline]
    pub(super) fn next(&mut self) -> Result<(), Malformed> {
        self.forget_passed();
        self.step()
    }

    /// Moves to the entry before, or off the front. Must be `valid`.
    pub(super) fn prev(&mut self) -> Result<(), Malformed> {
        self.step_back()
    }

    #[inline]
    fn forget_passed(&mut self) {
        if !self.passed.is_empty() {
            self.passed.clear();
            self.passed_keys.clear();
        }
    }

    /// Takes in the entry at `end`.
    #[inline]
    fn step(&mut self) -> Result<(), Malformed> {
        self.valid = false;
        let entries = self.block.entries();
        if self.end >= entries.len() {
            return Ok(());
        }
        let entry = Entry::decode(entries, self.end)?;
        let value_end = self.block.value_end(self.value_end, entry.value_bytes)?;
        extend_key(&mut self.key, entries, entry)?;
        (self.at, self.end) = (self.end, entry.end);
        (self.value_start, self.value_end) = (self.value_end, value_end);
        self.valid = true;
        Ok(())
    }

    /// Takes in the entry that ends at `at`.
    fn step_back(&mut self) -> Result<(), Malformed> {
        self.valid = false;
        if self.at == 0 {
            return Ok(());
        }
        if self.passed.is_empty() {
            self.pass_up_to_current()?;
        }
        let Some(before) = self.passed.pop() else {
            return Err(Malformed("no entry ends where another begins"));
        };
        self.key.clear();
        self.key.extend_from_slice(&self.passed_keys[before.key_start..]);
        self.passed_keys.truncate(before.key_start);
        (self.at, self.end) = (before.at, self.at);
        (self.value_start, self.value_end) = (before.value_start, self.value_start);
        self.valid = true;
        Ok(())
    }

    /// Puts the entries from the restart point before the current one up to it on the stack.
    fn pass_up_to_current(&mut self) -> Result<(), Malformed> {
        let entries = self.block.entries();
        let Restart { mut at, mut value_start } = self.restart_before(self.at);
        self.key.clear();
        while at < self.at {
            let entry = Entry::decode(entries, at)?;
            extend_key(&mut self.key, entries, entry)?;
            if self.passed_keys.len() > PASSED_BYTES_MAX {
                self.passed.clear();
                self.passed_keys.clear();
            }
            self.passed.push(Passed { at, value_start, key_start: self.passed_keys.len() });
            self.passed_keys.extend_from_slice(&self.key);
            at = entry.end;
            value_start = self.block.value_end(value_start, entry.value_bytes)?;
        }
        if at != self.at || value_start != self.value_start {
            return Err(Malformed("no entry ends where another begins"));
        }
        Ok(())
    }

    /// The last restart point below `limit`.
    fn restart_before(&self, limit: usize) -> Restart {
        let (mut low, mut high) = (0, self.block.restarts());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.block.restart(middle).at < limit {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match low {
            0 => Restart { at: 0, value_start: 0 },
            _ => self.block.restart(low - 1),
        }
    }
}

/// Makes `key`, the encoded internal key of the entry before (or empty, before the first), that of
/// `entry`.
#[inline]
fn extend_key(key: &mut Vec<u8>, entries: &[u8], entry: Entry) -> Result<(), Malformed> {
    if entry.shared > key.len().saturating_sub(TRAILER_BYTES) {
        return Err(Malformed("an entry shares more than the key before it has"));
    }
    entry.trailer(entries)?;
    key.truncate(entry.shared);
    let suffix = entry.suffix(entries);
    match entries[entry.key_start..].first_chunk::<SHORT_SUFFIX_BYTES>() {
        // A copy of a fixed length needs no call: a little too much, and cut off again.
        Some(chunk) if suffix.len() <= SHORT_SUFFIX_BYTES => {
            key.extend_from_slice(chunk);
            key.truncate(entry.shared + suffix.len());
        }
        _ => key.extend_from_slice(suffix),
    }
    Ok(())
}
