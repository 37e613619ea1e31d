//! The k-way merge of sorted sources by internal key.
//!
//! # Why this way
//!
//! A binary heap of `(first eight bytes of the user key, source)`: nearly every comparison is one
//! of two integers and never touches a source. Moving the winner replaces the root and sifts it
//! down, which costs one comparison when the same source wins again (runs of keys from one source
//! are the common case). A loser tree does fewer comparisons for many sources with interleaved
//! keys, and more for few with clustered ones; a store here has few.
//!
//! # Invariants
//!
//! - `heap` holds the index of every source that is valid, and of no other, once each.
//! - In direction `Forward` every source stands at or behind the current key; in `Reverse`, at or
//!   before it. Turning round re-seeks all sources but the current one. A source that skipped over
//!   what is hidden stands further on.
//! - No two sources hold the same internal key: a sequence number is given to one operation only.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::base::iterator::{InternalIterator, Landing, Sight};
use crate::base::key::{self, SeqNo};
use crate::base::rows::Rows;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Reverse,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    prefix: u64,
    source: usize,
}

/// Merges sources; the one with the least key (greatest, in reverse) is current.
pub(crate) struct MergingIterator {
    sources: Vec<Box<dyn InternalIterator>>,
    heap: Vec<Head>,
    direction: Direction,
    error: Option<Error>,
}

impl std::fmt::Debug for MergingIterator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergingIterator").field("sources", &self.sources.len()).finish()
    }
}

impl MergingIterator {
    pub(crate) fn new(sources: Vec<Box<dyn InternalIterator>>) -> MergingIterator {
        let heap = Vec::with_capacity(sources.len());
        MergingIterator { sources, heap, direction: Direction::Forward, error: None }
    }

    /// Whether `a` comes before `b` in the current direction.
    #[inline]
    fn before(&self, a: Head, b: Head) -> bool {
        let order = a.prefix.cmp(&b.prefix).then_with(|| self.compare_alike(a.source, b.source));
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Reverse => order == Ordering::Greater,
        }
    }

    /// Compares the keys of two sources that have the same prefix.
    #[inline]
    fn compare_alike(&self, a: usize, b: usize) -> Ordering {
        key::compare_alike(self.sources[a].key(), self.sources[b].key())
    }

    /// Puts the root, whose source has moved, in its place.
    #[inline]
    fn settle_root(&mut self) {
        let [root, rest @ ..] = self.heap.as_slice() else { return };
        let Some(left) = rest.first() else { return };
        let right = rest.get(1).unwrap_or(left);
        let stays = match self.direction {
            Direction::Forward => root.prefix < left.prefix.min(right.prefix),
            Direction::Reverse => root.prefix > left.prefix.max(right.prefix),
        };
        if !stays {
            self.sift_down(0);
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let right_wins =
                right < self.heap.len() && self.before(self.heap[right], self.heap[left]);
            let child = if right_wins { right } else { left };
            if !self.before(self.heap[child], self.heap[at]) {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    /// Builds the heap from the sources as they stand.
    fn rebuild(&mut self, direction: Direction) {
        self.direction = direction;
        self.heap.clear();
        for (source, iterator) in self.sources.iter().enumerate() {
            if iterator.valid() {
                self.heap.push(Head { prefix: key::order_prefix(iterator.key()), source });
            }
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at);
        }
    }

    /// Runs `movement` on every source and builds the heap.
    fn position(
        &mut self,
        direction: Direction,
        mut movement: impl FnMut(&mut dyn InternalIterator) -> Result<()>,
    ) -> Result<()> {
        self.error = None;
        for source in &mut self.sources {
            if let Err(error) = movement(source.as_mut()) {
                return self.fail(error);
            }
        }
        self.rebuild(direction);
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Result<()> {
        self.heap.clear();
        self.error = Some(error.clone());
        Err(error)
    }

    /// Moves the current source on and puts it back in its place.
    #[inline]
    fn advance(&mut self) -> Result<()> {
        let Some(&Head { source: current, .. }) = self.heap.first() else { return self.check() };
        let source = &mut self.sources[current];
        let moved = match self.direction {
            Direction::Forward => source.next_prefix(),
            Direction::Reverse => source.prev_prefix(),
        };
        match moved {
            Ok(Some(prefix)) => self.heap[0].prefix = prefix,
            Ok(None) => {
                self.heap.swap_remove(0);
            }
            Err(error) => return self.fail(error),
        }
        self.settle_root();
        Ok(())
    }

    /// Puts every source but the current one on the other side of the current key.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let current = self.heap[0].source;
        let target = self.sources[current].key().to_vec();
        for index in 0..self.sources.len() {
            if index == current {
                continue;
            }
            let source = &mut self.sources[index];
            let moved = match direction {
                Direction::Forward => source.seek(&target),
                Direction::Reverse => source.seek_for_prev(&target),
            };
            if let Err(error) = moved {
                return self.fail(error);
            }
        }
        self.rebuild(direction);
        debug_assert_eq!(self.heap.first().map(|head| head.source), Some(current));
        Ok(())
    }

    /// Runs `movement` on the sources on this side of `target`, and builds the heap.
    fn skip(
        &mut self,
        target: &[u8],
        side: Ordering,
        movement: impl Fn(&mut dyn InternalIterator) -> Result<()>,
    ) -> Result<()> {
        for source in &mut self.sources {
            if source.valid()
                && key::compare(source.key(), target) == side
                && let Err(error) = movement(source.as_mut())
            {
                return self.fail(error);
            }
        }
        self.rebuild(self.direction);
        Ok(())
    }

    #[inline]
    fn current(&self) -> &dyn InternalIterator {
        self.sources[self.heap[0].source].as_ref()
    }

    fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

impl InternalIterator for MergingIterator {
    #[inline]
    fn valid(&self) -> bool {
        !self.heap.is_empty()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.position(Direction::Forward, |source| source.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.position(Direction::Reverse, |source| source.seek_to_last())
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.position(Direction::Forward, |source| source.seek(target))
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.position(Direction::Reverse, |source| source.seek_for_prev(target))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.direction == Direction::Reverse {
            self.check()?;
            self.turn(Direction::Forward)?;
        }
        self.advance()
    }

    #[inline]
    fn next_in_sight(&mut self, sight: Sight, limit: u64, rows: &mut Rows) -> Result<Landing> {
        let [root, rest @ ..] = self.heap.as_slice() else { return Ok(Landing::Unmoved) };
        let mut limit = limit;
        // The next two in the heap: one of them has the least key but the current.
        for other in rest.iter().take(2) {
            limit = limit.min(other.prefix);
        }
        // Below the limit no other source has anything of the current key, nor of those passed.
        if root.prefix >= limit || self.direction == Direction::Reverse {
            return Ok(Landing::Unmoved);
        }
        match self.sources[root.source].next_in_sight(sight, limit, rows) {
            Ok(landed @ Landing::Live { prefix, .. }) => {
                // Below the limit: it stays the root.
                self.heap[0].prefix = prefix;
                return Ok(landed);
            }
            Ok(Landing::Unsettled(prefix)) => self.heap[0].prefix = prefix,
            Ok(Landing::Off) => {
                self.heap.swap_remove(0);
            }
            Ok(Landing::Unmoved) => return Ok(Landing::Unmoved),
            Err(error) => return self.fail(error).map(|()| Landing::Off),
        }
        self.settle_root();
        Ok(self.heap.first().map_or(Landing::Off, |root| Landing::Unsettled(root.prefix)))
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if self.direction == Direction::Forward {
            self.check()?;
            self.turn(Direction::Reverse)?;
        }
        self.advance()
    }

    fn skip_forward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        self.check()?;
        if self.direction == Direction::Reverse {
            return Ok(());
        }
        self.skip(target, Ordering::Less, |source| source.skip_forward(target, seq))
    }

    fn skip_backward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        self.check()?;
        if self.direction == Direction::Forward {
            return Ok(());
        }
        self.skip(target, Ordering::Greater, |source| source.skip_backward(target, seq))
    }

    fn note_tombstones(&self, count: u64) {
        self.current().note_tombstones(count);
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current().key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value()
    }

    fn value_handle(&self) -> Bytes {
        self.current().value_handle()
    }
}
