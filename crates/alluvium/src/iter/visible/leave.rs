//! The gaps that a walk forwards leaves for those who come after.

use std::ops::Bound;

use bytes::Bytes;

use super::{GAPS_OF_ONE_SIZE, Position, STEPS_BEFORE_GAP, VisibleIterator};
use crate::base::iterator::InternalIterator;
use crate::base::key;
use crate::base::planted;
use crate::ranges::gaps::Gap;

impl<I: InternalIterator> VisibleIterator<I> {
    /// The source stands on the newest entry in sight of a key that is not there. One that is
    /// hidden only by something that covers it is a part of a gap, but no reason to leave one.
    #[inline]
    pub(super) fn note_step(&mut self, (steps, begun): &mut (u32, bool), uncovered: bool) {
        self.note_tombstone();
        *steps += u32::from(uncovered);
        if self.gaps.is_some() {
            let user_key = key::user_key(self.source.key());
            if !std::mem::replace(begun, true) {
                key::copy_into(&mut self.gap_start, user_key);
            }
            if uncovered && steps.is_multiple_of(STEPS_BEFORE_GAP) {
                key::copy_into(&mut self.gap_end, user_key);
            }
        }
    }

    /// Leaves a gap from `gap_start` up to where a walk forwards came to rest.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_gap(&mut self) {
        let Some(gaps) = &self.gaps else { return };
        self.gaps_left += 1;
        let longer = u32::from(self.gaps_left.is_multiple_of(GAPS_OF_ONE_SIZE));
        self.steps_before_gap = self.steps_before_gap.saturating_mul(1 + longer);
        let end = match (self.position, &self.upper) {
            (Position::InRows, _) if planted::is("gap-up-to-the-source") => {
                key::user_key(self.source.key())
            }
            (Position::OnSource | Position::InRows, _) => self.key(),
            // The sources need not hold what lies behind the bound.
            (_, Bound::Included(upper) | Bound::Excluded(upper)) => upper,
            (_, Bound::Unbounded) => &self.gap_end,
        };
        gaps.leave(Gap {
            start: Bytes::copy_from_slice(&self.gap_start),
            end: Bytes::copy_from_slice(end),
            seq: self.sight.seq,
            now_ms: self.sight.now_ms,
        });
    }
}
