//! Cursors and scans: the iterator stack over one super version.
//!
//! A cursor takes the super version and the sequence number when it is made and keeps both: nothing
//! that happens later changes what it sees, and the tables that it reads stay until it goes. It
//! needs no place in the snapshot list for that.

use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::error::Result;
use crate::base::iterator::InternalIterator;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::compaction::RunTables;
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::handle::Shared;
use crate::db::memory::{CURSOR_SOURCE_BYTES, Charge};
use crate::db::reach::Reach;
use crate::db::read::read_blob;
use crate::db::super_version::SuperVersion;
use crate::filter::PrefixExtractor;
use crate::iter::concat::ConcatIterator;
use crate::iter::covers::{Covers, GapsAt, RangeSource, RunRanges};
use crate::iter::merging::MergingIterator;
use crate::iter::visible::VisibleIterator;
use crate::options::ReadOptions;
use crate::ranges::gaps::KnownGaps;
use crate::sstable::ReadPurpose;
use crate::version::Level;

/// Entries that a cursor hands out between two additions to the store's counter.
const ENTRIES_COUNTED_AT_ONCE: u64 = 64;

/// Two bounds over keys.
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A range of keys: `..`, `a..`, `a..b`, `a..=b`, `..b`, `..=b` or a pair of [`Bound`]s, over
/// anything that is bytes.
pub trait KeyRange {
    /// The lower and the upper bound.
    fn bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>);
}

fn owned(key: impl AsRef<[u8]>) -> Vec<u8> {
    key.as_ref().to_vec()
}

impl KeyRange for RangeFull {
    fn bounds(self) -> Bounds {
        (Bound::Unbounded, Bound::Unbounded)
    }
}

impl<K: AsRef<[u8]>> KeyRange for Range<K> {
    fn bounds(self) -> Bounds {
        (Bound::Included(owned(self.start)), Bound::Excluded(owned(self.end)))
    }
}

impl<K: AsRef<[u8]>> KeyRange for RangeInclusive<K> {
    fn bounds(self) -> Bounds {
        let (start, end) = self.into_inner();
        (Bound::Included(owned(start)), Bound::Included(owned(end)))
    }
}

impl<K: AsRef<[u8]>> KeyRange for RangeFrom<K> {
    fn bounds(self) -> Bounds {
        (Bound::Included(owned(self.start)), Bound::Unbounded)
    }
}

impl<K: AsRef<[u8]>> KeyRange for RangeTo<K> {
    fn bounds(self) -> Bounds {
        (Bound::Unbounded, Bound::Excluded(owned(self.end)))
    }
}

impl<K: AsRef<[u8]>> KeyRange for RangeToInclusive<K> {
    fn bounds(self) -> Bounds {
        (Bound::Unbounded, Bound::Included(owned(self.end)))
    }
}

impl<K: AsRef<[u8]>> KeyRange for (Bound<K>, Bound<K>) {
    fn bounds(self) -> Bounds {
        (self.0.map(owned), self.1.map(owned))
    }
}

/// The bounds of all keys that begin with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> Bounds {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff || planted::is("prefix-of-ff-is-empty") {
            end.push(last + 1);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

/// Whether no key can lie between the bounds.
fn is_empty(bounds: &Bounds) -> bool {
    match (&bounds.0, &bounds.1) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        _ => false,
    }
}

/// What a cursor or a scan sees: writes up to a sequence number, and what has not expired at a time
/// (milliseconds since 1970). Taken once, so that nothing expires under it.
#[derive(Debug, Clone, Copy)]
struct Moment {
    seq: SeqNo,
    now_ms: u64,
}

/// A position among the keys of a column family, as of the moment it was made. It keeps the store
/// open, and can be sent to another thread.
///
/// A new cursor stands on no entry: `seek` it first. A move that fails leaves it on no entry, and
/// the error comes again until the next `seek`.
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # use std::sync::Arc;
/// # use alluvium::{Db, Options, env::MemEnv};
/// # let db = Db::open_env(Arc::new(MemEnv::new()), Options::default())?;
/// db.put("a", "1")?;
/// db.put("c", "3")?;
/// let mut cursor = db.cursor()?;
/// cursor.seek(b"b")?;
/// assert_eq!(cursor.key(), b"c");
/// cursor.prev()?;
/// assert_eq!((cursor.key(), cursor.value()), (b"a".as_slice(), b"1".as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cursor {
    iterator: VisibleIterator<MergingIterator>,
    empty: bool,
    /// Keeps the tables that the iterator has yet to open.
    _current: Arc<SuperVersion>,
    /// What its sources hold is charged as long as it lives.
    _buffers: Charge,
    options: ReadOptions,
    /// The value of the current entry, where it lies in a blob file.
    blob: Option<Bytes>,
    /// Entries handed out that the store's counter does not have yet: all threads share it.
    uncounted: u64,
    shared: Arc<Shared>,
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.count_out();
    }
}

impl Cursor {
    pub(crate) fn open(
        shared: &Arc<Shared>,
        family: &Family,
        bounds: Bounds,
        seq: Option<SeqNo>,
        options: ReadOptions,
    ) -> Result<Cursor> {
        let current = family.load();
        let view = View::of(shared, family, &current, seq, options);
        Cursor::over(shared, current, bounds, &view)
    }

    pub(super) fn over(
        shared: &Arc<Shared>,
        current: Arc<SuperVersion>,
        bounds: Bounds,
        view: &View,
    ) -> Result<Cursor> {
        shared.core.counters.cursors.add(1);
        let reach = Reach::new(&bounds, view.prefix_extractor);
        let sources = sources(&shared.core, &current, &reach, view.options)?;
        let empty = is_empty(&bounds);
        let bytes = sources.len() * CURSOR_SOURCE_BYTES;
        let _buffers = Charge::new(&shared.core.memory.cursors, bytes);
        let merging = MergingIterator::new(sources);
        let Moment { seq, now_ms } = view.moment;
        let mut ranges = range_sources(&shared.core, &current);
        // Without all of a batch, the deletes that a gap stands for would be half of it.
        if let Some(gaps) = view.gaps.for_reader(seq, now_ms).filter(|_| view.has_all) {
            ranges.push(Box::new(GapsAt { gaps, now_ms }));
        }
        let covers = Covers::new(ranges, seq);
        let iterator = VisibleIterator::new(merging, seq, now_ms, bounds.0, bounds.1);
        let mut iterator = iterator.with_covers(covers);
        if view.has_all {
            iterator = iterator.leaving_gaps(Arc::clone(&view.gaps));
        }
        let shared = Arc::clone(shared);
        let options = view.options;
        Ok(Cursor {
            _buffers,
            iterator,
            empty,
            _current: current,
            options,
            blob: None,
            uncounted: 0,
            shared,
        })
    }

    /// Whether the cursor stands on an entry.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.iterator.valid()
    }

    /// The key.
    ///
    /// # Panics
    /// When the cursor is not [`Cursor::valid`].
    #[must_use]
    pub fn key(&self) -> &[u8] {
        assert!(self.valid(), "key() of a cursor that stands on no entry");
        self.iterator.key()
    }

    /// The value.
    ///
    /// # Panics
    /// When the cursor is not [`Cursor::valid`].
    #[must_use]
    pub fn value(&self) -> &[u8] {
        assert!(self.valid(), "value() of a cursor that stands on no entry");
        self.blob.as_deref().unwrap_or_else(|| self.iterator.value())
    }

    /// The value as a handle that outlives the position, without a copy where it lies in a block
    /// that the block cache keeps.
    ///
    /// # Panics
    /// When the cursor is not [`Cursor::valid`].
    #[must_use]
    pub fn value_handle(&self) -> Bytes {
        assert!(self.valid(), "value_handle() of a cursor that stands on no entry");
        self.blob.clone().unwrap_or_else(|| self.iterator.value_handle())
    }

    /// When the entry expires, as time since the beginning of 1970; `None` where it does not.
    ///
    /// # Panics
    /// When the cursor is not [`Cursor::valid`].
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        assert!(self.valid(), "expires() of a cursor that stands on no entry");
        self.iterator.expiry_ms().map(Duration::from_millis)
    }

    #[inline]
    fn count(&mut self) {
        if self.valid() {
            self.uncounted += 1;
            if self.uncounted >= ENTRIES_COUNTED_AT_ONCE {
                self.count_out();
            }
        }
    }

    fn count_out(&mut self) {
        self.shared.core.counters.cursor_entries.add(std::mem::take(&mut self.uncounted));
    }

    fn run(
        &mut self,
        movement: impl FnOnce(&mut VisibleIterator<MergingIterator>) -> Result<()>,
    ) -> Result<()> {
        if self.empty {
            return Ok(());
        }
        self.blob = None;
        movement(&mut self.iterator)?;
        if self.iterator.in_blob() && self.valid() {
            self.fetch()?;
        }
        self.count();
        Ok(())
    }

    /// Reads the value of the current entry, which lies in a blob file.
    #[cold]
    #[inline(never)]
    fn fetch(&mut self) -> Result<()> {
        match read_blob(&self.shared.core, self.iterator.value(), &self.options) {
            Ok(value) => {
                self.blob = Some(value);
                Ok(())
            }
            Err(error) => self.iterator.fail(error),
        }
    }

    /// Moves to the first key.
    ///
    /// # Errors
    /// [`crate::Error::Io`] and [`crate::Error::Corruption`], as for every move.
    pub fn seek_to_first(&mut self) -> Result<()> {
        self.run(VisibleIterator::seek_to_first)
    }

    /// Moves to the last key.
    ///
    /// # Errors
    /// See [`Cursor::seek_to_first`].
    pub fn seek_to_last(&mut self) -> Result<()> {
        self.run(VisibleIterator::seek_to_last)
    }

    /// Moves to the first key at or behind `key`.
    ///
    /// # Errors
    /// See [`Cursor::seek_to_first`].
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.run(|iterator| iterator.seek(key.as_ref()))
    }

    /// Moves to the last key at or before `key`.
    ///
    /// # Errors
    /// See [`Cursor::seek_to_first`].
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.run(|iterator| iterator.seek_for_prev(key.as_ref()))
    }

    /// Moves to the next key. Does nothing on no entry.
    ///
    /// # Errors
    /// See [`Cursor::seek_to_first`].
    #[expect(clippy::should_implement_trait, reason = "a cursor's next gives no item")]
    #[inline]
    pub fn next(&mut self) -> Result<()> {
        if self.iterator.next_row() {
            self.uncounted += 1;
            return Ok(());
        }
        self.run(VisibleIterator::next)
    }

    /// Moves to the key before. Does nothing on no entry.
    ///
    /// # Errors
    /// See [`Cursor::seek_to_first`].
    pub fn prev(&mut self) -> Result<()> {
        self.run(VisibleIterator::prev)
    }
}

/// How a cursor looks at a super version.
#[derive(Debug)]
pub(super) struct View {
    moment: Moment,
    options: ReadOptions,
    prefix_extractor: Option<PrefixExtractor>,
    gaps: Arc<KnownGaps>,
    /// Whether the super version is known to hold all that was written up to the moment.
    has_all: bool,
}

impl View {
    /// Of the super version `current`: as of `seq`, which is older than that, or now.
    pub(super) fn of(
        shared: &Shared,
        family: &Family,
        current: &SuperVersion,
        seq: Option<SeqNo>,
        options: ReadOptions,
    ) -> View {
        let now = seq.is_none();
        let seq = seq.unwrap_or_else(|| shared.core.visible());
        // Had its memtable been closed before, there could be one with older writes that it lacks.
        let has_all = !now || Arc::ptr_eq(&family.peek().active, &current.active);
        let moment = Moment { seq, now_ms: shared.core.clock.now_ms() };
        let prefix_extractor = family.options.prefix_extractor;
        let gaps = Arc::clone(&family.gaps);
        View { moment, options, prefix_extractor, gaps, has_all }
    }
}

/// The sources of a super version within reach, newest first.
fn sources(
    core: &Core,
    current: &SuperVersion,
    reach: &Reach<'_>,
    options: ReadOptions,
) -> Result<Vec<Box<dyn InternalIterator>>> {
    let purpose = ReadPurpose::User { fill_cache: options.fill_cache };
    let mut sources: Vec<Box<dyn InternalIterator>> = Vec::with_capacity(8);
    let missed = if planted::is("scan-misses-a-full-memtable") { 1 } else { 0 };
    let immutables = current.immutables.iter().skip(missed).map(|immutable| &immutable.memtable);
    for memtable in std::iter::once(&current.active).chain(immutables) {
        // What comes into an empty memtable later is newer than the cursor.
        if !memtable.is_empty() {
            sources.push(Box::new(memtable.iter()));
        }
    }
    for run in current.version.levels().flat_map(Level::runs) {
        let range = reach.within_filtered(core, run);
        match &run.tables()[range.clone()] {
            [] => {}
            [table] => sources.push(Box::new(core.tables.open(&table.handle)?.iter(purpose))),
            _ => {
                let part = RunTables::Part(Arc::clone(run), range);
                let tables = Arc::clone(&core.tables);
                sources.push(Box::new(ConcatIterator::new(part, tables, purpose)));
            }
        }
    }
    Ok(sources)
}

/// The sources that hold range tombstones.
fn range_sources(core: &Core, current: &SuperVersion) -> Vec<Box<dyn RangeSource>> {
    let mut sources: Vec<Box<dyn RangeSource>> = Vec::new();
    let immutables = current.immutables.iter().map(|immutable| &immutable.memtable);
    for memtable in std::iter::once(&current.active).chain(immutables) {
        if let Some(ranges) = memtable.ranges() {
            sources.push(Box::new(ranges));
        }
    }
    for run in current.version.levels().flat_map(Level::runs) {
        if !run.tables_with_ranges().is_empty() {
            let tables = RunTables::Ranges(Arc::clone(run));
            sources.push(Box::new(RunRanges::new(tables, Arc::clone(&core.tables))));
        }
    }
    sources
}

/// The entries of a range, from the front, from the back, or from both ends. As of the moment it
/// was made; keeps the store open; can be sent to another thread.
///
/// After an error it ends.
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    current: Arc<SuperVersion>,
    bounds: Bounds,
    view: View,
    front: End,
    back: End,
    finished: bool,
    /// When the entry that was handed out last expires.
    expires: Option<Duration>,
}

/// One end of a scan: its cursor is made when that end is first used.
#[derive(Debug)]
enum End {
    Fresh,
    On(Box<Cursor>),
}

impl Scan {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        family: &Family,
        bounds: Bounds,
        seq: Option<SeqNo>,
        options: ReadOptions,
    ) -> Scan {
        let current = family.load();
        let view = View::of(shared, family, &current, seq, options);
        let finished = is_empty(&bounds);
        Scan {
            shared: Arc::clone(shared),
            current,
            bounds,
            view,
            front: End::Fresh,
            back: End::Fresh,
            finished,
            expires: None,
        }
    }

    /// When the entry that was handed out last expires, as time since the beginning of 1970; `None`
    /// where it does not, and before the first.
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }

    fn cursor(&self) -> Result<Box<Cursor>> {
        let (current, bounds) = (Arc::clone(&self.current), self.bounds.clone());
        Cursor::over(&self.shared, current, bounds, &self.view).map(Box::new)
    }

    /// Moves one end and gives what it then stands on, unless the other end has been there.
    fn step(&mut self, forward: bool) -> Result<Option<(Bytes, Bytes)>> {
        let end = if forward { &mut self.front } else { &mut self.back };
        if let End::On(cursor) = end {
            if forward { cursor.next()? } else { cursor.prev()? }
        } else {
            let mut cursor = self.cursor()?;
            if forward {
                cursor.seek_to_first()?;
            } else {
                cursor.seek_to_last()?;
            }
            let end = if forward { &mut self.front } else { &mut self.back };
            *end = End::On(cursor);
        }
        let (own, other) =
            if forward { (&self.front, &self.back) } else { (&self.back, &self.front) };
        let End::On(own) = own else { return Ok(None) };
        if !own.valid() {
            return Ok(None);
        }
        if let End::On(other) = other {
            let met = if !other.valid() {
                true
            } else if forward {
                own.key() >= other.key()
            } else {
                own.key() <= other.key()
            };
            if met {
                return Ok(None);
            }
        }
        self.expires = own.expires();
        Ok(Some((Bytes::copy_from_slice(own.key()), own.value_handle())))
    }

    fn item(&mut self, forward: bool) -> Option<Result<(Bytes, Bytes)>> {
        if self.finished {
            return None;
        }
        let item = self.step(forward).transpose();
        self.finished = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Iterator for Scan {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item(true)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.item(false)
    }
}

impl std::iter::FusedIterator for Scan {}
