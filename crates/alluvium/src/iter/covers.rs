//! Range tombstones of all sources of a scan, asked key by key.
//!
//! Nothing is flattened when a cursor is made: a store may hold very many range tombstones, and a
//! scan may end after one key. Each source answers for the stretch of keys around the one that is
//! asked for ([`Window`]); where all of them give one answer is kept, so that the keys of that
//! stretch cost two comparisons each.

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::key::{self, KeyEnd, SeqNo};
use crate::iter::concat::SortedTables;
use crate::ranges::gaps::Gaps;
use crate::ranges::{Fragments, Window};
use crate::sstable::{Table, TableCache};

/// The range tombstones of one source.
pub(crate) trait RangeSource: Send {
    /// What covers `user_key` at `at`, and how far that is the answer.
    fn window(&mut self, user_key: &[u8], at: SeqNo) -> Result<Window>;
}

impl RangeSource for Arc<Fragments> {
    fn window(&mut self, user_key: &[u8], at: SeqNo) -> Result<Window> {
        Ok(Fragments::window(self, user_key, at))
    }
}

/// Gaps, to whoever looks at this moment (milliseconds since 1970).
pub(crate) struct GapsAt {
    pub(crate) gaps: Arc<Gaps>,
    pub(crate) now_ms: u64,
}

impl RangeSource for GapsAt {
    fn window(&mut self, user_key: &[u8], at: SeqNo) -> Result<Window> {
        Ok(self.gaps.window(user_key, at, self.now_ms))
    }
}

/// The range tombstones of a sorted run: of those tables of it that hold any.
pub(crate) struct RunRanges<T> {
    tables: T,
    cache: Arc<TableCache>,
    /// The table that was asked last.
    open: Option<(usize, Arc<Table>)>,
}

impl<T: SortedTables> RunRanges<T> {
    pub(crate) fn new(tables: T, cache: Arc<TableCache>) -> RunRanges<T> {
        RunRanges { tables, cache, open: None }
    }

    fn end(&self, index: usize) -> KeyEnd<'_> {
        key::end_of(self.tables.largest(index))
    }

    /// The first table that does not end before `user_key`.
    fn find(&self, user_key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.tables.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.end(middle).is_before(user_key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn table(&mut self, index: usize) -> Result<&Arc<Table>> {
        let table = match self.open.take() {
            Some((open, table)) if open == index => table,
            _ => self.cache.open(self.tables.handle(index))?,
        };
        Ok(&self.open.insert((index, table)).1)
    }
}

impl<T: SortedTables> RangeSource for RunRanges<T> {
    fn window(&mut self, user_key: &[u8], at: SeqNo) -> Result<Window> {
        let index = self.find(user_key);
        let mut bounds = Window::OPEN;
        if index < self.tables.count() {
            let first = key::user_key(self.tables.smallest(index));
            if first <= user_key {
                bounds.start = Some(first.to_vec().into());
                let end = self.end(index);
                // The least key behind an end that is included.
                let behind: &[u8] = if end.included { &[0] } else { &[] };
                bounds.end = Some([end.key, behind].concat().into());
                return Ok(bounds.meet(self.table(index)?.ranges().window(user_key, at)));
            }
            bounds.end = Some(first.to_vec().into());
        }
        if let Some(before) = index.checked_sub(1) {
            let end = self.end(before);
            let behind: &[u8] = if end.included { &[0] } else { &[] };
            bounds.start = Some([end.key, behind].concat().into());
        }
        Ok(bounds)
    }
}

/// The range tombstones of all sources at one sequence number.
pub(crate) struct Covers {
    sources: Vec<Box<dyn RangeSource>>,
    at: SeqNo,
    window: Option<Window>,
}

impl Covers {
    /// Nothing is covered.
    pub(crate) fn none() -> Covers {
        Covers::new(Vec::new(), SeqNo::ZERO)
    }

    pub(crate) fn new(sources: Vec<Box<dyn RangeSource>>, at: SeqNo) -> Covers {
        Covers { sources, at, window: None }
    }

    /// Whether no key can be covered.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// What covers `user_key`, and how far that is the answer.
    #[inline]
    pub(crate) fn at(&mut self, user_key: &[u8]) -> Result<&Window> {
        let window = match self.window.take() {
            Some(window) if window.holds(user_key) => window,
            _ => self.look(user_key)?,
        };
        Ok(self.window.insert(window))
    }

    /// The newest tombstone over `user_key`; [`SeqNo::ZERO`] where there is none.
    #[inline]
    pub(crate) fn newest(&mut self, user_key: &[u8]) -> Result<SeqNo> {
        if self.is_empty() {
            return Ok(SeqNo::ZERO);
        }
        Ok(self.at(user_key)?.seq)
    }

    /// The [`key::order_prefix`] below which no key behind the one that was looked at last is
    /// covered.
    #[inline]
    pub(crate) fn open_until(&self) -> u64 {
        match &self.window {
            _ if self.is_empty() => u64::MAX,
            Some(window) if window.seq == SeqNo::ZERO => {
                window.end.as_ref().map_or(u64::MAX, |end| key::order_prefix_of(end))
            }
            _ => 0,
        }
    }

    fn look(&mut self, user_key: &[u8]) -> Result<Window> {
        let mut all = Window::OPEN;
        for source in &mut self.sources {
            all = all.meet(source.window(user_key, self.at)?);
        }
        Ok(all)
    }
}

impl std::fmt::Debug for Covers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Covers({} sources at {})", self.sources.len(), self.at.get())
    }
}
