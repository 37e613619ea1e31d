//! The tables of a sorted run, end to end, each opened when it is reached.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::base::iterator::{InternalIterator, Landing, Sight};
use crate::base::key::{self, SeqNo};
use crate::base::rows::Rows;
use crate::sstable::{ReadPurpose, TableCache, TableHandle, TableIterator};

/// The tables of a sorted run: ascending, without overlap.
pub(crate) trait SortedTables: Send {
    /// How many tables there are.
    fn count(&self) -> usize;
    /// The lower bound of table `index`, an encoded internal key.
    fn smallest(&self, index: usize) -> &[u8];
    /// The upper bound of table `index`, an encoded internal key.
    fn largest(&self, index: usize) -> &[u8];
    /// The largest sequence number in table `index`.
    fn largest_seq(&self, index: usize) -> SeqNo;
    /// Table `index`.
    fn handle(&self, index: usize) -> &Arc<TableHandle>;
}

/// Iterates over a sorted run. At most one table is open at a time.
pub(crate) struct ConcatIterator<T> {
    tables: T,
    cache: Arc<TableCache>,
    purpose: ReadPurpose,
    /// The table that `current` belongs to.
    at: usize,
    current: Option<TableIterator>,
    error: Option<Error>,
}

impl<T: SortedTables> ConcatIterator<T> {
    pub(crate) fn new(tables: T, cache: Arc<TableCache>, purpose: ReadPurpose) -> Self {
        ConcatIterator { tables, cache, purpose, at: 0, current: None, error: None }
    }

    /// Stands on table `index`, which stays open when it was.
    fn enter(&mut self, index: usize) -> Result<&mut TableIterator> {
        if self.at != index {
            self.current = None;
            self.at = index;
        }
        if self.current.is_none() {
            let table = self.cache.open(self.tables.handle(index))?;
            self.current = Some(table.iter(self.purpose));
        }
        match &mut self.current {
            Some(iterator) => Ok(iterator),
            None => Err(Error::Closed),
        }
    }

    /// The first table whose largest key is at or behind `target`.
    fn find(&self, target: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.tables.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if key::compare(self.tables.largest(middle), target).is_lt() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// After a forward move: goes on to the next table while there is no entry.
    fn settle_forward(&mut self) -> Result<()> {
        while !self.valid() && self.at + 1 < self.tables.count() {
            let next = self.at + 1;
            self.enter(next)?.seek_to_first()?;
        }
        Ok(())
    }

    fn settle_backward(&mut self) -> Result<()> {
        while !self.valid() && self.at > 0 {
            let previous = self.at - 1;
            self.enter(previous)?.seek_to_last()?;
        }
        Ok(())
    }

    fn keep(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            self.current = None;
            self.error = Some(error.clone());
        }
        result
    }

    fn try_seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let index = self.find(target).min(self.tables.count() - 1);
        self.enter(index)?.seek_for_prev(target)?;
        self.settle_backward()
    }

    fn try_seek(&mut self, target: &[u8]) -> Result<()> {
        let index = self.find(target);
        if index == self.tables.count() {
            self.current = None;
            return Ok(());
        }
        self.enter(index)?.seek(target)?;
        self.settle_forward()
    }

    /// Ends a step that did not land on an entry of the current table. `stepped` is `None` where
    /// there was none to step from.
    #[cold]
    #[inline(never)]
    fn leave_table(&mut self, stepped: Option<Result<()>>, forward: bool) -> Result<()> {
        let Some(stepped) = stepped else { return self.error.clone().map_or(Ok(()), Err) };
        let settled = stepped
            .and_then(|()| if forward { self.settle_forward() } else { self.settle_backward() });
        self.keep(settled)
    }

    /// Passes over the tables that hold nothing as new as `seq`, up to the first that does.
    fn try_skip_forward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        let last = self.find(target).min(self.tables.count() - 1);
        let newer = (self.at..=last).find(|&index| self.tables.largest_seq(index) >= seq);
        match newer {
            None => self.try_seek(target),
            Some(index) if index == self.at => Ok(()),
            Some(index) => {
                self.enter(index)?.seek_to_first()?;
                self.settle_forward()
            }
        }
    }

    fn try_skip_backward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        let first = self.find(target).min(self.at);
        let newer = (first..=self.at).rev().find(|&index| self.tables.largest_seq(index) >= seq);
        match newer {
            None => self.try_seek_for_prev(target),
            Some(index) if index == self.at => Ok(()),
            Some(index) => {
                self.enter(index)?.seek_to_last()?;
                self.settle_backward()
            }
        }
    }

    fn on(&self) -> &TableIterator {
        match &self.current {
            Some(iterator) => iterator,
            None => panic!("read from an iterator that stands on no entry"),
        }
    }
}

impl<T: SortedTables> InternalIterator for ConcatIterator<T> {
    #[inline]
    fn valid(&self) -> bool {
        self.current.as_ref().is_some_and(InternalIterator::valid)
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.error = None;
        if self.tables.count() == 0 {
            return Ok(());
        }
        let result = self.enter(0).and_then(InternalIterator::seek_to_first);
        let result = result.and_then(|()| self.settle_forward());
        self.keep(result)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.error = None;
        if self.tables.count() == 0 {
            return Ok(());
        }
        let last = self.tables.count() - 1;
        let result = self.enter(last).and_then(InternalIterator::seek_to_last);
        let result = result.and_then(|()| self.settle_backward());
        self.keep(result)
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.error = None;
        let result = self.try_seek(target);
        self.keep(result)
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.error = None;
        if self.tables.count() == 0 {
            return Ok(());
        }
        let result = self.try_seek_for_prev(target);
        self.keep(result)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { return self.leave_table(None, true) };
        match current.next() {
            Ok(()) if current.valid() => Ok(()),
            stepped => self.leave_table(Some(stepped), true),
        }
    }

    #[inline]
    fn next_in_sight(&mut self, sight: Sight, limit: u64, rows: &mut Rows) -> Result<Landing> {
        let Some(current) = &mut self.current else {
            return self.leave_table(None, true).map(|()| Landing::Off);
        };
        let left = match current.next_in_sight(sight, limit, rows) {
            Ok(Landing::Off) => Ok(()),
            Err(error) => Err(error),
            landed => return landed,
        };
        // The next table begins with another user key.
        self.leave_table(Some(left), true)?;
        let on = self.current.as_ref().filter(|current| current.valid());
        Ok(on.map_or(Landing::Off, |on| Landing::Unsettled(key::order_prefix(on.key()))))
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { return self.leave_table(None, false) };
        match current.prev() {
            Ok(()) if current.valid() => Ok(()),
            stepped => self.leave_table(Some(stepped), false),
        }
    }

    fn skip_forward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        let result = self.try_skip_forward(target, seq);
        self.keep(result)
    }

    fn skip_backward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        let result = self.try_skip_backward(target, seq);
        self.keep(result)
    }

    fn note_tombstones(&self, count: u64) {
        self.on().note_tombstones(count);
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.on().key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.on().value()
    }

    fn value_handle(&self) -> Bytes {
        self.on().value_handle()
    }
}
