//! From internal keys to what a user sees at one sequence number.
//!
//! # The rules
//!
//! - An entry newer than the snapshot is not there.
//! - Of what is left of a user key only the newest entry counts; if it is a tombstone, or has
//!   expired, the key is not there.
//! - A key whose newest entry is older than a range tombstone over it that the snapshot sees is not
//!   there.
//! - Keys outside the bounds are not there.
//!
//! # Two directions
//!
//! Versions of a key come newest first. Forwards, the first visible one decides and the cursor
//! rests on it. Backwards, the newest visible one comes *last*, so the versions are walked until
//! the key changes; the source then rests before the key, and key and value are kept in `saved`.
//!
//! A key with very many versions is not walked over: after [`SKIPS_BEFORE_SEEK`] steps the source
//! is asked to seek past them.
//!
//! # Many at once
//!
//! Where no range tombstone is near, the walk over what is hidden is left to the source that stands
//! in front, up to where another has its next key ([`InternalIterator::next_in_sight`]): it knows
//! from its own entries what is a version of the same key, and passes them without handing out one.
//! Of what is not hidden it hands out several at once ([`Rows`]), among which a cursor steps by
//! itself; the source is further on then, and a turn seeks.
//!
//! Nor is a stretch of keys that a range tombstone covers: each source that holds nothing newer
//! there is moved behind it at once. What is left is walked, and after every
//! [`SKIPS_BEFORE_SEEK`] covered keys the sources are asked again.
//!
//! Who walks forwards over much that is not there leaves a gap for those who come after, and
//! they take it for a range tombstone.

mod backward;
mod leave;

use std::ops::Bound;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::base::error::{Error, Result};
use crate::base::expiry::{self, EXPIRY_BYTES};
use crate::base::iterator::{InternalIterator, Landing, Sight};
use crate::base::key::{self, SeqNo, ValueKind};
use crate::base::planted;
use crate::base::rows::Rows;
use crate::iter::covers::Covers;
use crate::ranges::gaps::KnownGaps;

/// Tombstones of whatever sources that are told of at once, to the source of the last of them.
const TOMBSTONES_NOTED_AT_ONCE: u32 = 64;

/// Steps over hidden versions of one key before a seek is tried instead.
const SKIPS_BEFORE_SEEK: u32 = 8;

/// Steps in vain, each over one key or over as many as a source passes by itself, behind which a
/// gap is worth its while. Few where tests run, so that they meet gaps often.
const STEPS_BEFORE_GAP: u32 = if cfg!(any(debug_assertions, alluvium_planted)) { 4 } else { 32 };

/// Once a cursor has left so many gaps the next has to be twice as long: only few are kept.
const GAPS_OF_ONE_SIZE: u32 = 8;

/// Keys in a gap, written since, of which a scan finds so many let the gap go.
const ROWS_IN_A_GAP: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// On no entry.
    Off,
    /// The source rests on the current entry.
    OnSource,
    /// The current entry is among `rows`; the source rests on the last of them, or behind that.
    InRows,
    /// The source rests before the current key; `saved_key` and `saved_value` hold the entry.
    Saved,
}

/// A cursor over user keys and values.
#[derive(Debug)]
pub(crate) struct VisibleIterator<I> {
    /// What the source handed out at once, and which of it is current, where it is one of them.
    /// Before the source, so that it goes first: the source uses the memory again.
    rows: Rows,
    row: usize,
    source: I,
    sight: Sight,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    /// A key with a lesser order prefix is below the upper bound.
    upper_prefix: u64,
    position: Position,
    saved_key: Vec<u8>,
    /// As it is stored.
    saved_value: Bytes,
    /// Where the user's value begins in the stored one of the current entry.
    value_start: usize,
    /// Whether the user's value lies in a blob file, and what is here leads there.
    in_blob: bool,
    covers: Covers,
    /// A key with a lesser order prefix, behind the current one, is not covered.
    open_until: u64,
    /// Where gaps are left.
    gaps: Option<Arc<KnownGaps>>,
    /// Where the stretch begins in which there was nothing yet, and how far it goes at least.
    gap_start: Vec<u8>,
    gap_end: Vec<u8>,
    /// Steps in vain behind which the next is left, and how many have been left.
    steps_before_gap: u32,
    gaps_left: u32,
    /// Keys that are there though something older covers them.
    covered_rows: u32,
    /// Whether the source has moved on from the last of `rows`.
    behind_rows: bool,
    target: Vec<u8>,
    /// Stepped over since the source heard of them last.
    tombstones: u32,
    /// What the last move failed with; it stays until the next seek.
    error: Option<Error>,
}

impl<I: InternalIterator> VisibleIterator<I> {
    pub(crate) fn new(
        source: I,
        seq: SeqNo,
        now_ms: u64,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
    ) -> VisibleIterator<I> {
        let upper_prefix = match &upper {
            Bound::Unbounded => u64::MAX,
            Bound::Included(upper) | Bound::Excluded(upper) => key::order_prefix_of(upper),
        };
        VisibleIterator {
            source,
            sight: Sight { seq, now_ms },
            lower,
            upper,
            upper_prefix,
            position: Position::Off,
            saved_key: Vec::new(),
            saved_value: Bytes::new(),
            value_start: 0,
            in_blob: false,
            covers: Covers::none(),
            open_until: u64::MAX,
            gaps: None,
            gap_start: Vec::new(),
            gap_end: Vec::new(),
            steps_before_gap: STEPS_BEFORE_GAP,
            gaps_left: 0,
            covered_rows: 0,
            rows: Rows::default(),
            row: 0,
            behind_rows: false,
            target: Vec::new(),
            tombstones: 0,
            error: None,
        }
    }

    /// With range tombstones, looked at as of the same sequence number.
    pub(crate) fn with_covers(mut self, covers: Covers) -> VisibleIterator<I> {
        self.covers = covers;
        self.forget_open();
        self
    }

    /// Leaves gaps in `gaps`. Everything that was written up to the sequence number must be in the
    /// source, as far as it lies between the bounds.
    pub(crate) fn leaving_gaps(mut self, gaps: Arc<KnownGaps>) -> VisibleIterator<I> {
        self.gaps = Some(gaps);
        self
    }

    /// The source moves to where nothing is known of covered stretches.
    #[inline]
    fn forget_open(&mut self) {
        self.open_until = if self.covers.is_empty() { u64::MAX } else { 0 };
    }

    /// The source is to be put elsewhere.
    #[inline]
    fn leave(&mut self) {
        self.position = Position::Off;
        self.rows.restart();
        self.behind_rows = false;
        self.forget_open();
    }

    pub(crate) fn valid(&self) -> bool {
        self.position != Position::Off
    }

    /// The user key. Must be `valid`.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match self.position {
            Position::InRows => self.rows.key(self.row),
            Position::Saved => &self.saved_key,
            _ => key::user_key(self.source.key()),
        }
    }

    /// Whether the value is an index, which leads to where the user's value lies. Must be `valid`.
    #[inline]
    pub(crate) fn in_blob(&self) -> bool {
        self.in_blob
    }

    /// Ends the move that came here with an error of the caller's, as if it had failed.
    pub(crate) fn fail(&mut self, error: Error) -> Result<()> {
        self.keep(Err(error))
    }

    /// The value. Must be `valid`.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        if self.position == Position::InRows {
            return self.rows.value(self.row);
        }
        self.stored_value().get(self.value_start..).unwrap_or_default()
    }

    /// When the entry expires, in milliseconds since 1970; `None` where it does not. Must be
    /// `valid`.
    pub(crate) fn expiry_ms(&self) -> Option<u64> {
        if self.value_start == 0 {
            return None;
        }
        expiry::split(self.stored_value())
            .map(|(expiry_ms, _)| expiry_ms)
            .filter(|&expiry_ms| expiry_ms != expiry::NEVER_MS)
    }

    #[inline]
    fn stored_value(&self) -> &[u8] {
        match self.position {
            Position::InRows => self.rows.value(self.row),
            Position::Saved => &self.saved_value,
            _ => self.source.value(),
        }
    }

    /// The value as a handle that outlives the position. Must be `valid`.
    pub(crate) fn value_handle(&self) -> Bytes {
        let mut value = match self.position {
            Position::InRows => self.rows.value_handle(self.row),
            Position::Saved => self.saved_value.clone(),
            _ => self.source.value_handle(),
        };
        value.advance(self.value_start.min(value.len()));
        value
    }

    /// Where the user's value begins in the entry that the source stands on; `None` where the entry
    /// says that its key is not there.
    #[inline(always)]
    fn live_value_start(&self, trailer: u64) -> Result<Option<usize>> {
        match kind_of(trailer)? {
            ValueKind::Put | ValueKind::BlobIndex => Ok(Some(0)),
            ValueKind::PutExpiring | ValueKind::BlobIndexExpiring => self.unexpired_value_start(),
            _ => Ok(None),
        }
    }

    fn unexpired_value_start(&self) -> Result<Option<usize>> {
        let (expiry_ms, _) = expiry::split(self.source.value())
            .ok_or_else(|| Error::invalid("an entry that expires, and says not when"))?;
        Ok((!expiry::has_come(expiry_ms, self.sight.now_ms)).then_some(EXPIRY_BYTES))
    }

    pub(crate) fn seek_to_first(&mut self) -> Result<()> {
        self.error = None;
        let result = self.try_seek_to_first();
        self.keep(result)
    }

    fn try_seek_to_first(&mut self) -> Result<()> {
        self.leave();
        match &self.lower {
            Bound::Unbounded => self.source.seek_to_first()?,
            Bound::Included(lower) => {
                set_target(&mut self.target, lower, key::seek_trailer(SeqNo::MAX));
                self.source.seek(&self.target)?;
            }
            Bound::Excluded(lower) => {
                set_target(&mut self.target, lower, 0);
                self.source.seek(&self.target)?;
                self.skip_key_excluded()?;
            }
        }
        self.find_forward(false)
    }

    pub(crate) fn seek_to_last(&mut self) -> Result<()> {
        self.error = None;
        let result = self.try_seek_to_last();
        self.keep(result)
    }

    fn try_seek_to_last(&mut self) -> Result<()> {
        self.leave();
        match &self.upper {
            Bound::Unbounded => self.source.seek_to_last()?,
            Bound::Included(upper) => {
                set_target(&mut self.target, upper, 0);
                self.source.seek_for_prev(&self.target)?;
            }
            Bound::Excluded(upper) => {
                set_target(&mut self.target, upper, key::seek_trailer(SeqNo::MAX));
                self.source.seek_for_prev(&self.target)?;
            }
        }
        self.find_backward()
    }

    /// Moves to the first key at or behind `user_key`.
    pub(crate) fn seek(&mut self, user_key: &[u8]) -> Result<()> {
        self.error = None;
        let result = self.try_seek(user_key);
        self.keep(result)
    }

    fn try_seek(&mut self, user_key: &[u8]) -> Result<()> {
        if self.is_before_lower(user_key) {
            return self.try_seek_to_first();
        }
        self.leave();
        set_target(&mut self.target, user_key, key::seek_trailer(self.sight.seq));
        self.source.seek(&self.target)?;
        self.find_forward(false)
    }

    /// Moves to the last key at or before `user_key`.
    pub(crate) fn seek_for_prev(&mut self, user_key: &[u8]) -> Result<()> {
        self.error = None;
        let result = self.try_seek_for_prev(user_key);
        self.keep(result)
    }

    fn try_seek_for_prev(&mut self, user_key: &[u8]) -> Result<()> {
        if self.is_behind_upper(user_key) {
            return self.try_seek_to_last();
        }
        self.leave();
        set_target(&mut self.target, user_key, 0);
        self.source.seek_for_prev(&self.target)?;
        self.find_backward()
    }

    /// Moves to the next of the rows that the source handed out; false where there is none.
    #[inline]
    pub(crate) fn next_row(&mut self) -> bool {
        let has = self.row + 1 < self.rows.count();
        self.row += usize::from(has);
        has
    }

    /// Moves to the next key. Does nothing when not `valid`.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<()> {
        let result = self.try_next();
        self.keep(result)
    }

    #[inline]
    fn try_next(&mut self) -> Result<()> {
        match self.position {
            Position::Off => return self.error.clone().map_or(Ok(()), Err),
            Position::OnSource | Position::InRows => {
                if self.next_row() {
                    return Ok(());
                }
                self.rows.clear();
                self.position = Position::Off;
                if std::mem::take(&mut self.behind_rows) {
                    return self.find_forward(false);
                }
                match self.next_in_sight()? {
                    Some(true) => return Ok(()),
                    Some(false) => return self.find_forward(false),
                    None => {}
                }
                key::copy_into(&mut self.saved_key, key::user_key(self.source.key()));
                self.source.next()?;
            }
            Position::Saved => {
                // The source rests before the key, or off the front.
                self.position = Position::Off;
                if !self.covers.is_empty() {
                    // Some of it may rest further off, before a covered stretch.
                    set_target(&mut self.target, &self.saved_key, 0);
                    self.source.seek(&self.target)?;
                } else if self.source.valid() {
                    self.source.next()?;
                } else {
                    self.source.seek_to_first()?;
                }
            }
        }
        self.find_forward(true)
    }

    /// Lets the source go on by itself from an entry whose key is settled. `Some(true)` where it
    /// found the next visible key, `Some(false)` where it moved to one that has to be looked at, or
    /// off the end, and `None` where it did not move.
    #[inline]
    fn next_in_sight(&mut self) -> Result<Option<bool>> {
        if self.open_until == 0 {
            return Ok(None);
        }
        let limit = self.upper_prefix.min(self.open_until);
        let landing = self.source.next_in_sight(self.sight, limit, &mut self.rows)?;
        if self.rows.count() > 0 {
            (self.value_start, self.in_blob, self.row) = (0, false, 0);
            self.behind_rows = !matches!(landing, Landing::Live { .. });
            self.position = Position::InRows;
            return Ok(Some(true));
        }
        Ok(match landing {
            Landing::Unmoved => None,
            Landing::Off | Landing::Unsettled(_) => Some(false),
            Landing::Live { value_start, .. } => {
                (self.value_start, self.in_blob) = (value_start, false);
                self.position = Position::OnSource;
                Some(true)
            }
        })
    }

    #[inline]
    fn keep(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            self.position = Position::Off;
            self.rows.clear();
            if !planted::is("cursor-error-not-kept") {
                self.error = Some(error.clone());
            }
        }
        result
    }

    /// The source has just been put behind an excluded lower bound's newest versions; passes the
    /// entry of that very key that may be left.
    fn skip_key_excluded(&mut self) -> Result<()> {
        while self.source.valid() && self.is_before_lower(key::user_key(self.source.key())) {
            self.source.next()?;
        }
        Ok(())
    }

    /// From where the source stands, finds the first key that is visible. With `skipping`, versions
    /// of `saved_key` are passed over. Leaves a gap where that took long.
    #[inline]
    fn find_forward(&mut self, skipping: bool) -> Result<()> {
        let mut steps = (0, false);
        let found = self.walk_forward(skipping, &mut steps);
        if found.is_ok() && steps.0 >= self.steps_before_gap {
            self.leave_gap();
        }
        found
    }

    /// Counts in `steps` how often it met a key that is not there, and whether it has met one.
    #[inline]
    fn walk_forward(&mut self, mut skipping: bool, steps: &mut (u32, bool)) -> Result<()> {
        let mut skips = 0;
        let mut covered_keys = 0;
        while self.source.valid() {
            let (user_key, trailer) = key::split(self.source.key());
            if self.is_behind_upper(user_key) {
                return Ok(());
            }
            if key::trailer_seq(trailer) > self.sight.seq {
                skips += 1;
                if skips > SKIPS_BEFORE_SEEK {
                    // Straight to the newest version that may be seen.
                    set_target(&mut self.target, user_key, key::seek_trailer(self.sight.seq));
                    self.source.seek(&self.target)?;
                    skips = 0;
                    continue;
                }
            } else if skipping && key::is_same(user_key, &self.saved_key) {
                match self.next_in_sight()? {
                    Some(true) => return Ok(()),
                    Some(false) => {
                        (skipping, skips) = (false, 0);
                        continue;
                    }
                    None => {}
                }
                skips += 1;
                if skips > SKIPS_BEFORE_SEEK {
                    // Behind the oldest version there can be.
                    set_target(&mut self.target, &self.saved_key, 0);
                    self.source.seek(&self.target)?;
                    skips = 0;
                    continue;
                }
            } else {
                let covering = self.covers.newest(user_key)?;
                self.open_until = self.covers.open_until();
                let newer = key::trailer_seq(trailer) > covering;
                match self.live_value_start(trailer)?.filter(|_| newer) {
                    Some(start) => {
                        self.rest_on_source(trailer, start, covering);
                        return Ok(());
                    }
                    None => {
                        self.note_step(steps, newer);
                        skips = 0;
                        match self.next_in_sight()? {
                            Some(true) => return Ok(()),
                            Some(false) => {
                                skipping = false;
                                continue;
                            }
                            None => {}
                        }
                        let user_key = key::user_key(self.source.key());
                        key::copy_into(&mut self.saved_key, user_key);
                        skipping = true;
                    }
                }
                if covering > SeqNo::ZERO {
                    covered_keys += 1;
                    if covered_keys % SKIPS_BEFORE_SEEK == 1 && self.skip_covered_forward()? {
                        continue;
                    }
                }
            }
            self.source.next()?;
        }
        Ok(())
    }

    /// The source stands on an entry that is seen. Where many are though something older covers
    /// their keys, a gap does more harm than good: it is let go for those who come after.
    #[inline]
    fn rest_on_source(&mut self, trailer: u64, value_start: usize, covering: SeqNo) {
        (self.value_start, self.position) = (value_start, Position::OnSource);
        self.in_blob = is_in_blob(trailer);
        self.covered_rows += u32::from(covering > SeqNo::ZERO);
        if covering > SeqNo::ZERO
            && self.covered_rows.is_multiple_of(ROWS_IN_A_GAP)
            && let Some(gaps) = &self.gaps
        {
            gaps.forget_at(key::user_key(self.source.key()));
        }
    }

    /// Asks the source to leave the covered stretch around `saved_key` forwards; false where it
    /// cannot say how far that reaches.
    #[cold]
    fn skip_covered_forward(&mut self) -> Result<bool> {
        let window = self.covers.at(&self.saved_key)?;
        let Some(end) = &window.end else { return Ok(false) };
        set_target(&mut self.target, end, u64::MAX);
        // A gap hides what is as new as itself; nothing is as new as a tombstone.
        self.source.skip_forward(&self.target, window.seq.plus(1))?;
        Ok(true)
    }

    /// The source stands on an entry that says that its key is not there. The source hears of many
    /// at once: what a scan walks over in vain is worth a compaction.
    #[inline]
    fn note_tombstone(&mut self) {
        self.tombstones += 1;
        if self.tombstones == TOMBSTONES_NOTED_AT_ONCE {
            self.tell_of_tombstones();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_of_tombstones(&mut self) {
        self.tombstones = 0;
        self.source.note_tombstones(u64::from(TOMBSTONES_NOTED_AT_ONCE));
    }

    #[inline]
    fn is_behind_upper(&self, user_key: &[u8]) -> bool {
        match &self.upper {
            Bound::Unbounded => false,
            Bound::Included(upper) => user_key > upper.as_slice(),
            Bound::Excluded(upper) if planted::is("excluded-bound-included") => {
                user_key > upper.as_slice()
            }
            Bound::Excluded(upper) => user_key >= upper.as_slice(),
        }
    }

    #[inline]
    fn is_before_lower(&self, user_key: &[u8]) -> bool {
        match &self.lower {
            Bound::Unbounded => false,
            Bound::Included(lower) => user_key < lower.as_slice(),
            Bound::Excluded(lower) => user_key <= lower.as_slice(),
        }
    }
}

fn set_target(target: &mut Vec<u8>, user_key: &[u8], trailer: u64) {
    target.clear();
    target.reserve(user_key.len() + key::TRAILER_BYTES);
    key::encode_into(target, user_key, trailer);
}

/// Whether the value of an entry lies in a blob file.
#[inline]
fn is_in_blob(trailer: u64) -> bool {
    key::trailer_kind(trailer).is_some_and(ValueKind::is_blob)
}

/// The kind in a trailer. Readers refuse unknown kinds where bytes leave the disk, so that an
/// unknown one here is a bug; it is answered with an error all the same.
#[inline]
fn kind_of(trailer: u64) -> Result<ValueKind> {
    key::trailer_kind(trailer)
        .ok_or_else(|| Error::invalid(format!("entry of unknown kind {}", trailer & 0xff)))
}
