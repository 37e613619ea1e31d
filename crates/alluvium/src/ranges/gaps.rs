//! Stretches of keys that a scan has found empty, remembered so that the next need not walk them.
//!
//! A consumer that takes keys from one end of a queue and deletes them leaves all of them in front
//! of whoever comes next, until a compaction has been there; so do keys that have expired. Whoever
//! walked over many entries to no avail therefore leaves a [`Gap`]. It says of a stretch of keys:
//! nothing that was written up to a sequence number is there for a reader that sees all of that,
//! at a moment or later.
//!
//! To such a reader a gap is a range tombstone of that sequence number: what was written later is
//! there all the same, so that writers need not know of gaps, nor gaps of writers. It stays true
//! whatever is compacted, because a reader's view does not change by that. To a reader that sees
//! less, or one whose clock stands before (clocks jump), it says nothing.
//!
//! Gaps are a help and no more: they are in memory only, few, and go when others come.
//!
//! # Concurrency
//!
//! Readers take the whole set as it is; whoever leaves a gap replaces it under a lock.

use std::sync::Arc;

use bytes::Bytes;

use super::Window;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::{ArcSwap, Mutex};

/// Most gaps that a family remembers.
const GAPS_MAX: usize = 64;

/// A gap with a longer key is not remembered: they are to stay small, all of them together.
const KEY_BYTES_MAX: usize = 1 << 10;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The first key of the stretch.
    pub(crate) start: Bytes,
    /// The first key behind it.
    pub(crate) end: Bytes,
    /// What was written up to this is not there.
    pub(crate) seq: SeqNo,
    /// As of this moment (milliseconds since 1970).
    pub(crate) now_ms: u64,
}

impl Gap {
    /// The part from `start` to `end`, where there is any.
    fn part(&self, start: Bytes, end: Bytes) -> Option<Gap> {
        (start < end).then(|| Gap { start, end, ..self.clone() })
    }

    fn is_for(&self, at: SeqNo, now_ms: u64) -> bool {
        (self.seq <= at || planted::is("gap-for-older-snapshots")) && self.now_ms <= now_ms
    }
}

/// Gaps that do not overlap, ascending.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Each with its age: how many had been left when it was.
    gaps: Vec<(Gap, u64)>,
    left: u64,
}

impl Gaps {
    /// With one more, which counts where it overlaps others: it was found by a walk over them.
    fn with(&self, gap: Gap) -> Gaps {
        let left = self.left + 1;
        let mut gaps = Vec::with_capacity(self.gaps.len() + 2);
        for (old, age) in &self.gaps {
            let before = old.part(old.start.clone(), old.end.clone().min(gap.start.clone()));
            let behind = old.part(old.start.clone().max(gap.end.clone()), old.end.clone());
            gaps.extend([before, behind].into_iter().flatten().map(|part| (part, *age)));
        }
        gaps.push((gap, left));
        while gaps.len() > GAPS_MAX
            && let Some((oldest, _)) = gaps.iter().enumerate().min_by_key(|(_, (_, age))| *age)
        {
            gaps.remove(oldest);
        }
        gaps.sort_unstable_by(|(a, _), (b, _)| a.start.cmp(&b.start));
        Gaps { gaps, left }
    }

    /// What covers `key` for whoever sees writes up to `at` at the moment `now_ms`, and how far
    /// that is the answer.
    pub(crate) fn window(&self, key: &[u8], at: SeqNo, now_ms: u64) -> Window {
        let next = self.gaps.partition_point(|(gap, _)| &gap.end[..] <= key);
        let before = next.checked_sub(1).map(|before| self.gaps[before].0.end.clone());
        match self.gaps.get(next) {
            Some((gap, _)) if &gap.start[..] <= key => Window {
                start: Some(gap.start.clone()),
                end: Some(gap.end.clone()),
                seq: match gap.is_for(at, now_ms) {
                    true if planted::is("gap-hides-what-is-newer") => at,
                    true => gap.seq,
                    false => SeqNo::ZERO,
                },
            },
            behind => Window {
                start: before,
                end: behind.map(|(gap, _)| gap.start.clone()),
                seq: SeqNo::ZERO,
            },
        }
    }

    /// Whether any says something to whoever sees writes up to `at` at the moment `now_ms`.
    pub(crate) fn any_for(&self, at: SeqNo, now_ms: u64) -> bool {
        self.gaps.iter().any(|(gap, _)| gap.is_for(at, now_ms))
    }
}

/// The gaps of a column family.
#[derive(Debug, Default)]
pub(crate) struct KnownGaps {
    current: ArcSwap<Gaps>,
    change: Mutex<()>,
}

impl KnownGaps {
    /// Remembers `gap`, which must be true: see the module's documentation.
    pub(crate) fn leave(&self, gap: Gap) {
        if gap.start >= gap.end || gap.start.len().max(gap.end.len()) > KEY_BYTES_MAX {
            return;
        }
        let _guard = self.change.lock();
        let next = self.current.load().with(gap);
        self.current.store(Arc::new(next));
    }

    /// Forgets the one over `key`, if there is one.
    pub(crate) fn forget_at(&self, key: &[u8]) {
        let _guard = self.change.lock();
        let current = self.current.load_full();
        let holds = |gap: &Gap| &gap.start[..] <= key && key < &gap.end[..];
        if current.gaps.iter().any(|(gap, _)| holds(gap)) {
            let gaps = current.gaps.iter().filter(|(gap, _)| !holds(gap)).cloned().collect();
            self.current.store(Arc::new(Gaps { gaps, left: current.left }));
        }
    }

    /// How many have been left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        self.current.load().left
    }

    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        let _guard = self.change.lock();
        self.current.store(Arc::default());
    }

    /// Those there are, if any says something to whoever sees writes up to `at` at the moment
    /// `now_ms`.
    pub(crate) fn for_reader(&self, at: SeqNo, now_ms: u64) -> Option<Arc<Gaps>> {
        let gaps = self.current.load();
        gaps.any_for(at, now_ms).then(|| Arc::clone(&gaps))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gap((start, end): (u8, u8), seq: u64, now_ms: u64) -> Gap {
        let key = |number: u8| Bytes::copy_from_slice(&[number]);
        Gap { start: key(start), end: key(end), seq: SeqNo::new(seq), now_ms }
    }

    proptest! {
        /// Each key has the newest gap over it that is remembered, and windows end where gaps do.
        #[test]
        fn gaps_answer_as_a_map_of_single_keys_does(
            left in prop::collection::vec((0u8..60, 1u8..20, 0u64..50, 0u64..5), 0..50),
            (at, now_ms) in (0u64..50, 0u64..5),
        ) {
            let known = KnownGaps::default();
            let mut naive: Vec<Option<(u64, u64)>> = vec![None; 100];
            for (start, length, seq, moment) in left {
                known.leave(gap((start, start + length), seq, moment));
                naive[usize::from(start)..usize::from(start + length)].fill(Some((seq, moment)));
            }
            let gaps = known.current.load_full();
            let answer = |key: u8| match naive[usize::from(key)] {
                Some((seq, moment)) if seq <= at && moment <= now_ms => SeqNo::new(seq),
                _ => SeqNo::ZERO,
            };
            prop_assert!(gaps.gaps.len() <= GAPS_MAX);
            let says_any = naive.iter().any(|left| match *left {
                Some((seq, moment)) => seq <= at && moment <= now_ms,
                None => false,
            });
            prop_assert_eq!(known.for_reader(SeqNo::new(at), now_ms).is_some(), says_any);
            for key in 0..99u8 {
                let window = gaps.window(&[key], SeqNo::new(at), now_ms);
                prop_assert!(window.holds(&[key]));
                for other in (0..99).filter(|other| window.holds(&[*other])) {
                    prop_assert_eq!(window.seq, answer(other), "{} by that of {}", other, key);
                }
            }
        }
    }

    #[test]
    fn the_oldest_gaps_go_and_long_keys_never_come() {
        let known = KnownGaps::default();
        for number in 0..200u8 {
            known.leave(gap((number, number + 1), 1, 0));
        }
        let covers = |key: u8| known.current.load().window(&[key], SeqNo::MAX, 0).seq > SeqNo::ZERO;
        assert!((136..200).all(covers) && !(0..136).any(covers));
        known.leave(gap((9, 8), 1, 0));
        let long = Bytes::from(vec![201; KEY_BYTES_MAX + 1]);
        known.leave(Gap { start: Bytes::from_static(&[201]), end: long, ..gap((0, 1), 1, 0) });
        assert!(!covers(201) && covers(136));
        known.forget();
        assert!((0..200).all(|key| !covers(key)));
    }
}
