//! A cursor over a table: the index says which block, the block which entry.
//!
//! The index is in memory, so that the upper of the two levels is a position in it and cannot fail.
//! The current block is held until the cursor leaves it. A seek that stays in the current block
//! (seeks of merging cursors mostly do) does not go back to the index.
//!
//! A failed move leaves the cursor on no entry and its error in place, see
//! [`InternalIterator`].

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::base::iterator::{InternalIterator, Landing, Sight};
use crate::base::key::{self, SeqNo, compare, split};
use crate::base::planted;
use crate::base::rows::Rows;
use crate::sstable::block::Block;
use crate::sstable::block_iter::{BlockIter, Stop, Walk};
use crate::sstable::format::Malformed;
use crate::sstable::read_ahead::ReadAhead;
use crate::sstable::reader::Table;

/// Tombstones passed that the table is told of at once.
const TOMBSTONES_NOTED_AT_ONCE: u64 = 64;

/// What a cursor reads for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadPurpose {
    /// For a user: through the block cache, which keeps what is read if `fill_cache` says so.
    User {
        /// Whether blocks read from the file are kept.
        fill_cache: bool,
    },
    /// For a compaction: from front to back, in large reads, past the block cache.
    Compaction,
}

/// A cursor over the entries of a table.
#[derive(Debug)]
pub(crate) struct TableIterator {
    table: Arc<Table>,
    purpose: ReadPurpose,
    /// The position in the index of the block that `block` is over.
    position: Option<usize>,
    block: BlockIter,
    /// Behind `block`, which goes first: memory that a block lies in is not used again.
    ahead: ReadAhead,
    /// Whether the cache is to keep what was read last.
    keeps: bool,
    /// Whether a user's block lies in memory that is read into again, or is large: values that are
    /// kept are copied.
    lent: bool,
    /// Tombstones passed since the table was told of them last.
    dead: u64,
    error: Option<Error>,
}

impl TableIterator {
    pub(super) fn new(table: Arc<Table>, purpose: ReadPurpose) -> TableIterator {
        let ahead = match purpose {
            ReadPurpose::User { .. } => ReadAhead::adaptive(),
            ReadPurpose::Compaction => ReadAhead::sequential(),
        };
        TableIterator {
            table,
            purpose,
            ahead,
            position: None,
            block: BlockIter::default(),
            keeps: false,
            lent: false,
            dead: 0,
            error: None,
        }
    }

    /// Makes block `position` the current one; the cursor is not positioned in it.
    fn load(&mut self, position: usize) -> Result<()> {
        if self.position == Some(position) {
            return Ok(());
        }
        let block = self.leave_for(position)?;
        self.block.load(block);
        self.position = Some(position);
        Ok(())
    }

    /// Lets the current block go, whose memory may serve again, and fetches block `position`.
    fn leave_for(&mut self, position: usize) -> Result<Block> {
        self.position = None;
        self.block.unload();
        self.fetch(position)
    }

    /// Goes on with block `position` on the same walk.
    #[cold]
    #[inline(never)]
    fn follow(&mut self, position: usize) -> Result<()> {
        let block = self.leave_for(position)?;
        self.position = Some(position);
        self.block.follow(block).map_err(|malformed| self.damaged(malformed))
    }

    /// Walks on, from block to block.
    #[inline]
    fn do_walk(&mut self, walk: &mut Walk, rows: &mut Rows) -> Result<Landing> {
        loop {
            let walked = self.block.walk(walk, rows);
            match walked.map_err(|malformed| self.damaged(malformed))? {
                Stop::Live(value_start) => return Ok(self.live(value_start)),
                Stop::Unsettled => return Ok(self.unsettled()),
                Stop::Versions => {
                    if let Some(landing) = self.leave_versions(walk)? {
                        return Ok(landing);
                    }
                }
                Stop::End => match self.position.map(|position| position + 1) {
                    Some(next) if next < self.table.index.blocks() => self.follow(next)?,
                    _ => return Ok(Landing::Off),
                },
            }
        }
    }

    #[inline]
    fn live(&self, value_start: usize) -> Landing {
        Landing::Live { prefix: key::order_prefix(self.block.key()), value_start }
    }

    #[inline]
    fn unsettled(&self) -> Landing {
        Landing::Unsettled(key::order_prefix(self.block.key()))
    }

    /// From one of very many versions of a key, searches for the first that a walk does not pass:
    /// behind the oldest, or, where none was in sight yet, the newest in sight. `None` where the
    /// walk goes on.
    #[cold]
    #[inline(never)]
    fn leave_versions(&mut self, walk: &mut Walk) -> Result<Option<Landing>> {
        walk.versions = 0;
        let (user_key, current) = split(self.block.key());
        let target = if walk.settled { 0 } else { key::seek_trailer(walk.sight.seq) };
        if current > target {
            let user_key = user_key.to_vec();
            let from = (self.position, self.block.at());
            self.do_seek(&key::encode(&user_key, target))?;
            if !self.block.valid() {
                return Ok(Some(Landing::Off));
            }
            if (self.position, self.block.at()) <= from {
                return Err(self.damaged(Malformed("the versions of a key are out of order")));
            }
            walk.settled &= key::user_key(self.block.key()) == user_key;
        }
        Ok(match self.block.look(walk, key::trailer(self.block.key())) {
            Some(Stop::Live(value_start)) => Some(self.live(value_start)),
            Some(Stop::Unsettled) => Some(self.unsettled()),
            _ => None,
        })
    }

    /// Takes note of tombstones that a walk passed; the table hears of many at once.
    #[inline]
    fn note_dead(&mut self, dead: u64) {
        self.dead += dead;
        if self.dead >= TOMBSTONES_NOTED_AT_ONCE {
            self.table.note_tombstones_walked(std::mem::take(&mut self.dead));
        }
    }

    fn fetch(&mut self, position: usize) -> Result<Block> {
        let table = &self.table;
        let handle = table.index.handle(position);
        let (lent, fill_cache) = match self.purpose {
            ReadPurpose::Compaction => (true, false),
            ReadPurpose::User { fill_cache } => {
                let has = self.ahead.has(handle);
                if has && !self.keeps {
                    // Nearer than the cache is, which shall not have it.
                    table.counters.cache_misses.add(1);
                } else if let Some(block) = table.cached_block(position)? {
                    self.lent = false;
                    return Ok(block);
                }
                if !has {
                    // A long scan takes little room in the cache from others.
                    let (number, offset) = (table.file.number, handle.offset);
                    self.keeps = fill_cache
                        && match self.ahead.is_long() && table.cache.is_full() {
                            true => table.cache.samples(),
                            false => table.cache.wants(number, offset),
                        };
                }
                self.lent = !self.keeps;
                (self.lent, self.keeps)
            }
        };
        table.counters.block_read_bytes.add(handle.stored_bytes() as u64);
        let stored = self.ahead.stored(&table.file, handle, table.footer.data_end(), lent);
        let contents = stored
            .and_then(|stored| table.file.open_block(handle, stored))
            .or_else(|_| table.file.reread_block(handle))?;
        table.admit_block(position, contents, fill_cache)
    }

    /// Keeps the error of a move that failed.
    #[inline]
    fn settle(&mut self, moved: Result<()>) -> Result<()> {
        if let Err(error) = &moved {
            self.error = Some(error.clone());
            self.position = None;
            self.block.unload();
        }
        moved
    }

    /// Damage in the current block.
    fn damaged(&self, malformed: Malformed) -> Error {
        let offset = self.position.map_or(0, |position| self.table.index.handle(position).offset);
        self.table.file.damaged(offset, malformed)
    }

    /// Ends a step forwards that did not land on an entry of the current block.
    #[cold]
    #[inline(never)]
    fn leave_block(&mut self, stepped: std::result::Result<(), Malformed>) -> Result<()> {
        let moved = match stepped {
            Ok(()) => self.enter_next_block(),
            Err(malformed) => Err(self.damaged(malformed)),
        };
        self.settle(moved)
    }

    /// Makes a move from the block's end land on the first entry behind, where there is one.
    #[cold]
    fn enter_next_block(&mut self) -> Result<()> {
        while !self.block.valid() {
            let Some(position) = self.position else { return Ok(()) };
            if position + 1 == self.table.index.blocks() {
                return Ok(());
            }
            self.load(position + 1)?;
            self.block.seek_to_first().map_err(|malformed| self.damaged(malformed))?;
        }
        Ok(())
    }

    /// Makes a move from the block's front land on the last entry before, where there is one.
    #[cold]
    fn enter_previous_block(&mut self) -> Result<()> {
        while !self.block.valid() {
            let Some(position) = self.position else { return Ok(()) };
            if position == 0 {
                return Ok(());
            }
            self.load(position - 1)?;
            self.block.seek_to_last().map_err(|malformed| self.damaged(malformed))?;
        }
        Ok(())
    }

    /// Whether the target is in the current block or right behind it: at or behind the current
    /// entry, and not behind the separator.
    #[inline]
    fn is_in_current_block(&self, target: &[u8]) -> bool {
        match self.position {
            Some(position) if self.block.valid() => {
                compare(target, self.block.key()) != Ordering::Less
                    && compare(target, self.table.index.key(position)) != Ordering::Greater
            }
            _ => false,
        }
    }

    fn do_seek(&mut self, target: &[u8]) -> Result<()> {
        let (user_key, trailer) = split(target);
        if !self.is_in_current_block(target) {
            let late = usize::from(planted::is("seek-one-block-late"));
            let position = self.table.index.seek(user_key, trailer) + late;
            if position >= self.table.index.blocks() {
                self.block.invalidate();
                return Ok(());
            }
            self.load(position)?;
        }
        self.block.seek(user_key, trailer).map_err(|malformed| self.damaged(malformed))?;
        if !self.block.valid() {
            // Between the block's last key and its separator.
            self.enter_next_block()?;
        }
        Ok(())
    }

    fn do_seek_to_first(&mut self) -> Result<()> {
        if self.table.index.blocks() == 0 {
            return Ok(());
        }
        self.load(0)?;
        self.block.seek_to_first().map_err(|malformed| self.damaged(malformed))
    }

    fn do_seek_to_last(&mut self) -> Result<()> {
        let Some(last) = self.table.index.blocks().checked_sub(1) else { return Ok(()) };
        self.load(last)?;
        self.block.seek_to_last().map_err(|malformed| self.damaged(malformed))
    }

    fn do_seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.do_seek(target)?;
        if !self.block.valid() {
            return self.do_seek_to_last();
        }
        if compare(self.block.key(), target) == Ordering::Greater {
            return self.do_prev();
        }
        Ok(())
    }

    fn do_prev(&mut self) -> Result<()> {
        self.block.prev().map_err(|malformed| self.damaged(malformed))?;
        if self.block.valid() { Ok(()) } else { self.enter_previous_block() }
    }
}

impl InternalIterator for TableIterator {
    #[inline]
    fn valid(&self) -> bool {
        self.block.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.error = None;
        let moved = self.do_seek_to_first();
        self.settle(moved)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.error = None;
        let moved = self.do_seek_to_last();
        self.settle(moved)
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.error = None;
        let moved = self.do_seek(target);
        self.settle(moved)
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.error = None;
        let moved = self.do_seek_for_prev(target);
        self.settle(moved)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.block.valid() {
            let stepped = self.block.next();
            if stepped.is_ok() && self.block.valid() {
                return Ok(());
            }
            return self.leave_block(stepped);
        }
        self.error.clone().map_or(Ok(()), Err)
    }

    #[inline]
    fn next_in_sight(&mut self, sight: Sight, limit: u64, rows: &mut Rows) -> Result<Landing> {
        if !self.block.valid() {
            return self.error.clone().map_or(Ok(Landing::Off), Err);
        }
        let mut walk = Walk::new(sight, limit);
        let landed = self.do_walk(&mut walk, rows);
        // Of the last block that the walk came to.
        rows.set_lent(self.lent);
        if walk.dead > 0 {
            self.note_dead(walk.dead);
        }
        if let Err(error) = &landed {
            self.settle(Err(error.clone()))?;
        }
        landed
    }

    fn prev(&mut self) -> Result<()> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if !self.block.valid() {
            return Ok(());
        }
        let moved = self.do_prev();
        self.settle(moved)
    }

    fn skip_forward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        if self.table.properties().largest_seq < seq { self.seek(target) } else { Ok(()) }
    }

    fn skip_backward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        if self.table.properties().largest_seq < seq { self.seek_for_prev(target) } else { Ok(()) }
    }

    fn note_tombstones(&self, count: u64) {
        self.table.note_tombstones_walked(count);
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.block.key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.block.value()
    }

    fn value_handle(&self) -> Bytes {
        if self.lent {
            return Bytes::copy_from_slice(self.value());
        }
        self.block.value_handle()
    }
}
