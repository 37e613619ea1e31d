//! The one iterator of the engine's inside: a cursor over encoded internal keys in their ordering.

use crate::base::error::Result;
use crate::base::key::{SeqNo, order_prefix};
use crate::base::rows::Rows;

/// What a reader sees: writes up to a sequence number, and what has not expired at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// The newest sequence number that is seen.
    pub seq: SeqNo,
    /// What expires at or before this moment (milliseconds since 1970) is not there.
    pub now_ms: u64,
}

/// Where [`InternalIterator::next_in_sight`] came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// Where it was: this cursor cannot, or not from here.
    Unmoved,
    /// Off the end.
    Off,
    /// On an entry with this [`order_prefix`]: what is seen of its user key is not settled.
    Unsettled(u64),
    /// On what the reader sees of a user key that is there.
    Live {
        /// The [`order_prefix`] of the key.
        prefix: u64,
        /// Where the user's value begins in the entry's.
        value_start: usize,
    },
}

/// A cursor over entries in the ordering of [`crate::base::key::compare`].
///
/// A cursor is made unpositioned. A move either lands on an entry (`valid()` is true) or off either
/// end (`valid()` is false). A move that returns an error leaves the cursor not valid, and the
/// error stays: every later move returns it again until a `seek*` starts afresh, so that a caller
/// can never step over damage.
///
/// `key` and `value` borrow from the cursor and end with its next move.
pub trait InternalIterator: Send {
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;
    /// Moves to the first entry.
    fn seek_to_first(&mut self) -> Result<()>;
    /// Moves to the last entry.
    fn seek_to_last(&mut self) -> Result<()>;
    /// Moves to the first entry at or behind the encoded internal key `target`.
    fn seek(&mut self, target: &[u8]) -> Result<()>;
    /// Moves to the last entry at or before the encoded internal key `target`.
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()>;
    /// Moves to the next entry. Must be `valid`.
    fn next(&mut self) -> Result<()>;
    /// Moves to the entry before. Must be `valid`.
    fn prev(&mut self) -> Result<()>;
    /// [`Self::next`], and what a merge asks after it: the [`order_prefix`] of where the cursor
    /// stands then, `None` off the end. One call in place of three.
    #[inline]
    fn next_prefix(&mut self) -> Result<Option<u64>> {
        self.next()?;
        Ok(self.valid().then(|| order_prefix(self.key())))
    }
    /// As [`Self::next_prefix`], backwards.
    #[inline]
    fn prev_prefix(&mut self) -> Result<Option<u64>> {
        self.prev()?;
        Ok(self.valid().then(|| order_prefix(self.key())))
    }
    /// Moves to the next entry that may matter to whoever sees `sight`, from one whose user key is
    /// settled: it is known what is seen of it. Passes over the older versions of that key, over
    /// what is newer than `sight`, and over keys whose newest entry in sight says that they are not
    /// there; but stops at the first entry whose [`order_prefix`] is not below `limit` unless its
    /// key is settled, and may stop at any entry whose key is not. The caller knows that no other
    /// source holds a key below that. Must be `valid`, and not have moved backwards last.
    ///
    /// Where it comes to rest on a plain value it may go on, and hand out `rows`: that entry and
    /// those behind it, each of which is what is seen of its user key, and below `limit`. It lands
    /// on the last of them, or right behind that on an entry whose key is not settled. `rows` must
    /// be empty.
    ///
    /// A cursor that hands out an entry in no other way than by single steps need not have this.
    #[inline]
    fn next_in_sight(&mut self, _sight: Sight, _limit: u64, _rows: &mut Rows) -> Result<Landing> {
        Ok(Landing::Unmoved)
    }
    /// Moves to the first entry at or behind `target`, if none from here up to there is as new as
    /// `seq`: whoever scans knows that all older ones there are hidden. May do nothing, or go a
    /// part of the way. Must be `valid`, on an entry before `target`, and not have moved backwards
    /// last.
    fn skip_forward(&mut self, _target: &[u8], _seq: SeqNo) -> Result<()> {
        Ok(())
    }
    /// As [`Self::skip_forward`], backwards: to the last entry at or before `target`.
    fn skip_backward(&mut self, _target: &[u8], _seq: SeqNo) -> Result<()> {
        Ok(())
    }
    /// Takes note that whoever scans has stepped over `count` entries that only say that their key
    /// is not there, the current one the last of them. Must be `valid`.
    fn note_tombstones(&self, _count: u64) {}
    /// The encoded internal key. Must be `valid`.
    fn key(&self) -> &[u8];
    /// The value. Must be `valid`.
    fn value(&self) -> &[u8];
    /// The value as a handle that outlives the cursor's position. Copies unless the
    /// implementation can share the memory that it stands on. Must be `valid`.
    fn value_handle(&self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(self.value())
    }
}
