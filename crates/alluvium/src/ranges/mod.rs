//! Floor 1: range tombstones, and which keys they cover.
//!
//! A range tombstone deletes every key from its start up to its end, which is excluded, in every
//! version older than itself. Tombstones may overlap in any way; here they are kept as
//! [`Fragment`]s: pieces of the key space that do not overlap, each with the sequence numbers of
//! all tombstones over it, newest first. One binary search then says what covers a key, and how far
//! to both sides the answer is the same.
//!
//! Tables hold fragments as well (docs/format.md, "Range tombstone block"), so that reading one
//! needs no sorting. A memtable, which takes tombstones one by one, holds a [`Fragments`] that is
//! replaced with each: fragments stand in chunks that are shared between the old and the new, so
//! that one more tombstone costs the fragments that it touches, and a pointer for every chunk.
//!
//! # Invariants
//!
//! Fragments are ascending and do not overlap; none is empty; each has one sequence number at
//! least, and they descend. No chunk is empty.
//!
//! The road not taken: tombstones as they were written, in an interval tree. It would spare the
//! repeated sequence numbers where very many tombstones nest; but a scan has to know how far a
//! covered stretch reaches, and would cut them to pieces each time.

pub(crate) mod gaps;
mod history;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::base::key::SeqNo;
use history::History;

/// Most fragments in one chunk once it was written to.
const CHUNK_FRAGMENTS_MAX: usize = 64;

/// A piece of the key space, and the tombstones that cover all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    start: Bytes,
    end: Bytes,
    history: Arc<History>,
}

impl Fragment {
    /// `seqs` descend, and there is one at least; else there is no such fragment.
    fn new(start: Bytes, end: Bytes, seqs: &[SeqNo]) -> Option<Fragment> {
        Some(Fragment { start, end, history: History::newest_first(seqs)? })
    }

    /// The first key that is covered.
    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key behind that is not covered.
    pub(crate) fn end(&self) -> &[u8] {
        &self.end
    }

    /// The sequence numbers of the tombstones, newest first.
    pub(crate) fn seqs(&self) -> impl Iterator<Item = SeqNo> {
        self.history.iter()
    }

    /// The newest tombstone at or below `at`; [`SeqNo::ZERO`] where there is none.
    fn covering(&self, at: SeqNo) -> SeqNo {
        self.seqs().find(|seq| *seq <= at).unwrap_or(SeqNo::ZERO)
    }

    /// The oldest tombstone that is newer than `seq`.
    pub(crate) fn oldest_above(&self, seq: SeqNo) -> Option<SeqNo> {
        self.seqs().take_while(|newer| *newer > seq).last()
    }

    /// The part from `from` (where given) up to `to` (where given); `None` when it is empty.
    fn clipped(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Option<Fragment> {
        let start = match from {
            Some(from) if from > self.start() => Bytes::copy_from_slice(from),
            _ => self.start.clone(),
        };
        let end = match to {
            Some(to) if to < self.end() => Bytes::copy_from_slice(to),
            _ => self.end.clone(),
        };
        (start < end).then(|| Fragment { start, end, history: Arc::clone(&self.history) })
    }
}

/// A stretch of keys over which one answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Where it begins; `None`: before every key.
    pub(crate) start: Option<Bytes>,
    /// Where it ends, excluded; `None`: behind every key.
    pub(crate) end: Option<Bytes>,
    /// The newest tombstone over it; [`SeqNo::ZERO`] where there is none.
    pub(crate) seq: SeqNo,
}

impl Window {
    /// All keys, none of them covered.
    pub(crate) const OPEN: Window = Window { start: None, end: None, seq: SeqNo::ZERO };

    /// Whether the answer holds for `key`.
    #[inline]
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.start.as_ref().is_none_or(|start| &start[..] <= key)
            && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// Where both this answer and `other` hold, the newer of the two tombstones.
    pub(crate) fn meet(self, other: Window) -> Window {
        let start = self.start.max(other.start);
        let end = match (self.end, other.end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Window { start, end, seq: self.seq.max(other.seq) }
    }
}

/// The fragments of any number of tombstones. Copies share what they have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fragments {
    chunks: Vec<Arc<Vec<Fragment>>>,
    /// Pairs of a fragment and a sequence number.
    tombstones: u64,
    fragments: usize,
    key_bytes: usize,
}

impl Fragments {
    /// The tombstones of all `sources` together.
    pub(crate) fn merged<'a>(sources: impl IntoIterator<Item = &'a Fragments>) -> Fragments {
        let mut sources: Vec<&Fragments> =
            sources.into_iter().filter(|source| !source.is_empty()).collect();
        match sources.as_mut_slice() {
            [] => return Fragments::default(),
            [only] => return only.clone(),
            _ => {}
        }
        let fragments = sources.iter().flat_map(|source| source.iter());
        let mut tombstones: Vec<(SeqNo, &Fragment)> = fragments
            .flat_map(|fragment| fragment.seqs().map(move |seq| (seq, fragment)))
            .collect();
        tombstones.sort_by_key(|(seq, _)| *seq);
        let mut merged = Fragments::default();
        for (seq, fragment) in tombstones {
            merged.insert(fragment.start(), fragment.end(), seq);
        }
        merged
    }

    /// Whether there are no tombstones.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Tombstones, each counted in every fragment that it covers.
    pub(crate) fn tombstones(&self) -> u64 {
        self.tombstones
    }

    /// Bytes of memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tombstones = usize::try_from(self.tombstones).unwrap_or(usize::MAX);
        self.key_bytes
            + self.fragments * size_of::<Fragment>()
            + tombstones.saturating_mul(history::NODE_BYTES)
    }

    /// Bytes that the fragments take on disk, about.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.key_bytes + usize::try_from(self.tombstones).unwrap_or(usize::MAX).saturating_mul(12)
    }

    /// The fragments, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Fragment> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The first fragment that ends behind `key`: its chunk, and its place there.
    fn first_ending_behind(&self, key: &[u8]) -> Option<(usize, usize)> {
        let ends_before = |fragment: &Fragment| fragment.end() <= key;
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_none_or(ends_before));
        let at = self.chunks.get(chunk)?.partition_point(ends_before);
        Some((chunk, at))
    }

    fn at(&self, key: &[u8]) -> Option<&Fragment> {
        let (chunk, at) = self.first_ending_behind(key)?;
        self.chunks[chunk].get(at).filter(|fragment| fragment.start() <= key)
    }

    /// The newest tombstone at or below `at` that covers `key`; [`SeqNo::ZERO`] where there is
    /// none.
    #[inline]
    pub(crate) fn covering(&self, key: &[u8], at: SeqNo) -> SeqNo {
        if self.is_empty() {
            return SeqNo::ZERO;
        }
        self.at(key).map_or(SeqNo::ZERO, |fragment| fragment.covering(at))
    }

    /// The oldest tombstone over `key` that is newer than `seq`.
    pub(crate) fn oldest_above(&self, key: &[u8], seq: SeqNo) -> Option<SeqNo> {
        self.at(key)?.oldest_above(seq)
    }

    /// What covers `key` at `at`, and how far that is the answer.
    pub(crate) fn window(&self, key: &[u8], at: SeqNo) -> Window {
        let Some((chunk, place)) = self.first_ending_behind(key) else {
            let last = self.iter().next_back();
            return Window { start: last.map(|last| last.end.clone()), ..Window::OPEN };
        };
        let fragment = &self.chunks[chunk][place];
        if fragment.start() <= key {
            return Window {
                start: Some(fragment.start.clone()),
                end: Some(fragment.end.clone()),
                seq: fragment.covering(at),
            };
        }
        let before = match place.checked_sub(1) {
            Some(place) => Some(&self.chunks[chunk][place]),
            None => chunk.checked_sub(1).and_then(|chunk| self.chunks[chunk].last()),
        };
        Window {
            start: before.map(|before| before.end.clone()),
            end: Some(fragment.start.clone()),
            seq: SeqNo::ZERO,
        }
    }

    /// What of the fragments lies from `from` (where given) up to `to` (where given).
    pub(crate) fn clipped(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Fragment> {
        let first = from.map_or(0, |from| {
            self.chunks.partition_point(|chunk| chunk.last().is_none_or(|f| f.end() <= from))
        });
        self.chunks[first..]
            .iter()
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |fragment| from.is_some_and(|from| fragment.end() <= from))
            .take_while(move |fragment| to.is_none_or(|to| fragment.start() < to))
            .filter_map(move |fragment| fragment.clipped(from, to))
    }

    /// The same as fragments of their own.
    pub(crate) fn within(self, from: Option<&[u8]>, to: Option<&[u8]>) -> Fragments {
        if from.is_none() && to.is_none() {
            return self;
        }
        let mut part = Fragments::default();
        for fragment in self.clipped(from, to) {
            let seqs: Vec<SeqNo> = fragment.seqs().collect();
            part.push(fragment.start(), fragment.end(), &seqs);
        }
        part
    }

    /// Adds a tombstone, which must be no older than any that covers a part of its range. One that
    /// covers nothing is left out.
    pub(crate) fn insert(&mut self, start: &[u8], end: &[u8], seq: SeqNo) {
        if start >= end {
            return;
        }
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        self.key_bytes += start.len() + end.len();
        let (first, last) = self.affected(&start, &end);
        let old: Vec<Fragment> =
            self.chunks[first..last].iter().flat_map(|chunk| chunk.iter().cloned()).collect();
        let (fragments, tombstones) = count(&old);
        let new = with_tombstone(old, start, end, seq);
        let (more_fragments, more_tombstones) = count(&new);
        self.fragments = self.fragments + more_fragments - fragments;
        self.tombstones = self.tombstones + more_tombstones - tombstones;
        let chunks: Vec<_> =
            new.chunks(CHUNK_FRAGMENTS_MAX).map(|chunk| Arc::new(chunk.to_vec())).collect();
        self.chunks.splice(first..last, chunks);
    }

    /// The chunks that a tombstone over the range changes. Where it falls between two chunks, the
    /// one before, unless that is full: chunks are not to be of one fragment each.
    fn affected(&self, start: &[u8], end: &[u8]) -> (usize, usize) {
        let ends_before =
            |chunk: &Arc<Vec<Fragment>>| chunk.last().is_none_or(|f| f.end() <= start);
        let first = self.chunks.partition_point(ends_before);
        let starts_before =
            |chunk: &Arc<Vec<Fragment>>| chunk.first().is_some_and(|f| f.start() < end);
        let count = self.chunks[first..].partition_point(starts_before);
        let room = |at: &usize| self.chunks[*at].len() < CHUNK_FRAGMENTS_MAX;
        match first.checked_sub(1).filter(room) {
            Some(before) if count == 0 => (before, first),
            _ => (first, first + count),
        }
    }

    /// Adds a fragment behind all others; `seqs` newest first. Two that touch and have the same
    /// tombstones become one. False, and nothing is added, where it cannot be one or does not stand
    /// behind the others.
    pub(crate) fn push(&mut self, start: &[u8], end: &[u8], seqs: &[SeqNo]) -> bool {
        let behind = self.chunks.last().and_then(|chunk| chunk.last());
        if start >= end || behind.is_some_and(|last| last.end() > start) {
            return false;
        }
        let (begin, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        let Some(fragment) = Fragment::new(begin, end, seqs) else { return false };
        if let Some(chunk) = self.chunks.last_mut()
            && let Some(last) = Arc::make_mut(chunk).last_mut()
            && last.end == fragment.start
            && last.history == fragment.history
        {
            self.key_bytes += fragment.end.len();
            last.end = fragment.end;
            return true;
        }
        self.fragments += 1;
        self.tombstones += seqs.len() as u64;
        self.key_bytes += fragment.start.len() + fragment.end.len();
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK_FRAGMENTS_MAX) {
            Some(chunk) => Arc::make_mut(chunk).push(fragment),
            None => self.chunks.push(Arc::new(vec![fragment])),
        }
        true
    }
}

/// How many fragments, and how many pairs of a fragment and a sequence number.
fn count(fragments: &[Fragment]) -> (usize, u64) {
    (fragments.len(), fragments.iter().map(|fragment| fragment.history.count()).sum())
}

/// The fragments with one more tombstone, the newest of all.
fn with_tombstone(old: Vec<Fragment>, start: Bytes, end: Bytes, seq: SeqNo) -> Vec<Fragment> {
    let mut new = Vec::with_capacity(old.len() + 3);
    let alone = |from: &Bytes, to: &Bytes| Fragment {
        start: from.clone(),
        end: to.clone(),
        history: History::alone(seq),
    };
    // From here on the tombstone has not been put in yet.
    let mut at = start;
    for fragment in old {
        if fragment.end <= at || at >= end {
            new.push(fragment);
            continue;
        }
        if fragment.start >= end {
            new.push(alone(&at, &end));
            at = end.clone();
            new.push(fragment);
            continue;
        }
        if fragment.start < at {
            new.push(Fragment { end: at.clone(), ..fragment.clone() });
        } else if at < fragment.start {
            new.push(alone(&at, &fragment.start));
            at = fragment.start.clone();
        }
        let to = fragment.end.clone().min(end.clone());
        let history = History::newer(seq, &fragment.history);
        new.push(Fragment { start: at, end: to.clone(), history });
        if to < fragment.end {
            new.push(Fragment { start: to.clone(), ..fragment });
        }
        at = to;
    }
    if at < end {
        new.push(alone(&at, &end));
    }
    new
}
