//! A cursor over the entries of one block.
//!
//! The current key is put together in one buffer that is kept from entry to entry and from block to
//! block; the value stays where it is. Entries can only be decoded forwards, so a step back decodes
//! again from the restart point before, and keeps what it passed on a stack for the steps back that
//! follow.

use bytes::Bytes;

use crate::base::expiry::{self, EXPIRY_BYTES};
use crate::base::iterator::Sight;
use crate::base::key::{self, TRAILER_BYTES, ValueKind};
use crate::base::prefetch::prefetch;
use crate::base::rows::Rows;
use crate::sstable::block::{Block, Entry, Restart};
use crate::sstable::format::Malformed;
use crate::sstable::key_buffer::KeyBuffer;

/// A stack of passed entries is let go when its keys exceed this: a stranger's block could make
/// them many times its own size.
const PASSED_BYTES_MAX: usize = 1 << 20;

/// Versions of one key that a walk passes one by one before a search is worth its while.
const VERSIONS_PASSED_MAX: u32 = 32;

/// An entry on the stack. It and its value end where those of the one above it begin.
#[derive(Debug, Clone, Copy)]
struct Passed {
    at: usize,
    value_start: usize,
    key_start: usize,
}

/// Keys that are not there which one walk passes before it comes to rest: whoever scans is to learn
/// that there are many.
const DEAD_PASSED_MAX: u64 = 32;

/// A walk over what a reader does not see, through one block after another.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) sight: Sight,
    /// Only a settled key is passed whose order prefix is not below.
    pub(super) limit: u64,
    /// Whether it is known what is seen of the user key that the cursor passed last.
    pub(super) settled: bool,
    /// Further versions of that key passed in a row.
    pub(super) versions: u32,
    /// Keys passed whose newest entry in sight says that they are not there.
    pub(super) dead: u64,
}

impl Walk {
    /// From an entry whose user key is settled.
    #[inline]
    pub(super) fn new(sight: Sight, limit: u64) -> Walk {
        Walk { sight, limit, settled: true, versions: 0, dead: 0 }
    }
}

/// Where a [`Walk`] stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// At the end of the block: there is no current entry, but [`BlockIter::key`] is the last one's
    /// still.
    End,
    /// On an entry at the limit, or behind many keys that are not there.
    Unsettled,
    /// On one of very many versions of the same key.
    Versions,
    /// On an entry that is seen; where the user's value begins in its own.
    Live(usize),
}

/// A cursor over a block.
#[derive(Debug, Default)]
pub(super) struct BlockIter {
    block: Block,
    valid: bool,
    key: KeyBuffer,
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

    /// Where the current entry begins among the entries. Must be `valid`.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.key.as_slice()
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
        self.key.set(front);
        extend_key(&mut self.key, self.block.entries(), entry);
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
        check_shared(&self.key, entry)?;
        entry.trailer(entries)?;
        extend_key(&mut self.key, entries, entry);
        (self.at, self.end) = (self.end, entry.end);
        (self.value_start, self.value_end) = (self.value_end, value_end);
        self.valid = true;
        Ok(())
    }

    /// Goes on with another block as if its entries followed those of the last one.
    pub(super) fn follow(&mut self, block: Block) -> Result<(), Malformed> {
        self.load(block);
        (self.end, self.value_end) = (0, 0);
        // The key before is that of another block.
        self.block.check_front()
    }

    /// Passes on over what `walk` is not looking for. It begins behind the current entry, or behind
    /// the one that the walk passed last. On a plain value it goes on as long as others follow, and
    /// hands all of them out as `rows`.
    #[inline]
    pub(super) fn walk(&mut self, walk: &mut Walk, rows: &mut Rows) -> Result<Stop, Malformed> {
        self.forget_passed();
        self.valid = false;
        let entries = self.block.entries();
        while self.end < entries.len() {
            let entry = Entry::decode(entries, self.end)?;
            let value_end = self.block.value_end(self.value_end, entry.value_bytes)?;
            check_shared(&self.key, entry)?;
            let trailer = entry.trailer(entries)?;
            let repeats = entry.repeats(self.key.as_slice(), entries);
            if repeats {
                walk.versions += 1;
            } else {
                (walk.settled, walk.versions) = (false, 0);
            }
            extend_key(&mut self.key, entries, entry);
            (self.at, self.end) = (self.end, entry.end);
            (self.value_start, self.value_end) = (self.value_end, value_end);
            // What most entries are, without a call.
            if !repeats && key::is_put(trailer) && self.is_seen(walk, trailer) {
                self.valid = true;
                return Ok(self.gather(walk, rows));
            }
            if let Some(stop) = self.look(walk, trailer) {
                self.valid = true;
                return Ok(stop);
            }
        }
        Ok(Stop::End)
    }

    /// Hands out the current entry and those behind it, up to one at the limit, where it comes to
    /// rest. Stops before one that is not a plain value, is of the key before, too new, damaged or
    /// in another block: that is for whoever walks on. One alone is not handed out: it is there.
    fn gather(&mut self, walk: &Walk, rows: &mut Rows) -> Stop {
        let entries = self.block.entries();
        let mut prefix = key::order_prefix(self.key.as_slice());
        while self.end < entries.len() && rows.has_room() {
            let Ok(entry) = Entry::decode(entries, self.end) else { break };
            let Ok(value_end) = self.block.value_end(self.value_end, entry.value_bytes) else {
                break;
            };
            let plain = entry.raw_trailer(entries).is_some_and(|trailer| {
                key::is_put(trailer) && key::trailer_seq(trailer) <= walk.sight.seq
            });
            if !plain
                || check_shared(&self.key, entry).is_err()
                || entry.repeats(self.key.as_slice(), entries)
                || !Rows::takes(entry.user_key_bytes())
            {
                break;
            }
            prefix = entry.order_prefix(prefix, entries);
            if rows.count() == 0 {
                if prefix >= walk.limit || !Rows::takes(self.key.len() - TRAILER_BYTES) {
                    break;
                }
                rows.begin(self.block.contents());
                self.hand_out(rows);
            }
            extend_key(&mut self.key, entries, entry);
            (self.at, self.end) = (self.end, entry.end);
            (self.value_start, self.value_end) = (self.value_end, value_end);
            if prefix >= walk.limit {
                return Stop::Unsettled;
            }
            self.hand_out(rows);
        }
        Stop::Live(0)
    }

    /// Hands out the current entry. Its value is looked at soon, and far from its key.
    #[inline(always)]
    fn hand_out(&self, rows: &mut Rows) {
        let key_bytes = self.key.len() - TRAILER_BYTES;
        rows.push(self.key.padded(), key_bytes, self.value_start, self.value_end);
        let values = self.block.values().as_ptr();
        prefetch(values.wrapping_add(self.value_start));
        prefetch(values.wrapping_add(self.value_end.saturating_sub(1)));
    }

    /// Whether the current entry, of a key that is not settled, is neither for somebody else to
    /// look at nor too new.
    #[inline(always)]
    fn is_seen(&self, walk: &Walk, trailer: u64) -> bool {
        key::order_prefix(self.key.as_slice()) < walk.limit
            && walk.dead < DEAD_PASSED_MAX
            && key::trailer_seq(trailer) <= walk.sight.seq
    }

    /// Looks at the current entry, which `walk` has come to; `None` where it is passed.
    #[inline(never)]
    pub(super) fn look(&self, walk: &mut Walk, trailer: u64) -> Option<Stop> {
        if walk.versions > VERSIONS_PASSED_MAX {
            return Some(Stop::Versions);
        }
        if walk.settled {
            return None;
        }
        if key::order_prefix(self.key.as_slice()) >= walk.limit || walk.dead >= DEAD_PASSED_MAX {
            return Some(Stop::Unsettled);
        }
        if key::trailer_seq(trailer) > walk.sight.seq {
            return None;
        }
        let live = match key::trailer_kind(trailer) {
            Some(ValueKind::Put) => Some(0),
            Some(ValueKind::PutExpiring) => expiry::split(self.value())
                .filter(|(expiry_ms, _)| !expiry::has_come(*expiry_ms, walk.sight.now_ms))
                .map(|_| EXPIRY_BYTES),
            // Its value is elsewhere, and whoever looks at the entry has to know.
            Some(ValueKind::BlobIndex | ValueKind::BlobIndexExpiring) => {
                return Some(Stop::Unsettled);
            }
            _ => None,
        };
        if live.is_none() {
            walk.settled = true;
            walk.dead += 1;
        }
        live.map(Stop::Live)
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
        self.key.set(&self.passed_keys[before.key_start..]);
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
            check_shared(&self.key, entry)?;
            entry.trailer(entries)?;
            extend_key(&mut self.key, entries, entry);
            if self.passed_keys.len() > PASSED_BYTES_MAX {
                self.passed.clear();
                self.passed_keys.clear();
            }
            self.passed.push(Passed { at, value_start, key_start: self.passed_keys.len() });
            self.passed_keys.extend_from_slice(self.key.as_slice());
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

/// Whether the key of the entry before, in `key`, has what `entry` shares with it.
#[inline]
fn check_shared(key: &KeyBuffer, entry: Entry) -> Result<(), Malformed> {
    if entry.shared > key.len().saturating_sub(TRAILER_BYTES) {
        return Err(Malformed("an entry shares more than the key before it has"));
    }
    Ok(())
}

/// Makes `key`, the encoded internal key of the entry before (or empty, before the first), that of
/// `entry`, which was checked against it.
#[inline]
fn extend_key(key: &mut KeyBuffer, entries: &[u8], entry: Entry) {
    key.splice(entry.shared, &entries[entry.key_start..], entry.end - entry.key_start);
}
