//! What a compaction keeps others from while it runs. Pure.
//!
//! Running compactions share no input, and no version shows what they will write. So that each can
//! be installed however the others end (`compaction::order`), two of one family whose keys meet
//! must not
//! - write into one deeper level, or into one that tables of the other pass;
//! - bring into level 0 what is older than anything that the other takes down from there: it would
//!   be found before what is newer.
//!
//! Merges within level 0 beside each other, and newer ones beside one that takes older runs down,
//! go on: tiers and lazy leveling live by that. Flushes bring what is newer than all, and need none
//! of this.

use std::ops::RangeInclusive;

use crate::base::key::{KeyEnd, KeyEndBuf, SeqNo};
use crate::compaction::{Action, Compaction, user_key_range};

/// What one plan keeps others from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// From the first key to the end: of the whole, as a merge may write anywhere between its
    /// first key and its last, or of each table, where they move as they are.
    ranges: Vec<(Vec<u8>, KeyEndBuf)>,
    /// The deeper levels that it writes to, or that its tables pass, down or up.
    levels: Option<RangeInclusive<usize>>,
    /// The oldest of what it writes to level 0.
    into_level0: Option<SeqNo>,
    /// The newest of what it takes down from level 0.
    out_of_level0: Option<SeqNo>,
}

impl Footprint {
    /// That of `plan`; `None` where it writes nothing.
    pub(crate) fn of(plan: &Compaction) -> Option<Footprint> {
        if plan.action == Action::Drop {
            return None;
        }
        let levels = plan.inputs.iter().map(|input| input.level);
        let (highest, deepest) = (levels.clone().min()?, levels.max()?);
        let levels = match (plan.place.level, deepest) {
            (0, 0) => None,
            (0, deepest) => Some(1..=deepest),
            (level, _) => Some(level.min(highest + 1)..=level),
        };
        let falling = plan.placed_tables().filter(|&(level, _)| level == 0 && plan.place.level > 0);
        let oldest = plan.tables().map(|table| table.smallest_seq).min();
        let ranges: Vec<_> = match plan.action {
            Action::Move => plan.tables().filter_map(|table| user_key_range([table])).collect(),
            _ => user_key_range(plan.tables()).into_iter().collect(),
        };
        if ranges.is_empty() {
            return None;
        }
        Some(Footprint {
            ranges,
            levels,
            into_level0: oldest.filter(|_| plan.place.level == 0),
            out_of_level0: falling.map(|(_, table)| table.largest_seq).max(),
        })
    }

    /// Whether the two may not run beside each other, in one family.
    pub(crate) fn meets(&self, other: &Footprint) -> bool {
        let share_keys =
            self.ranges.iter().any(|own| other.ranges.iter().any(|range| meet(own, range)));
        let share_levels = match (&self.levels, &other.levels) {
            (Some(own), Some(other)) => own.start() <= other.end() && other.start() <= own.end(),
            _ => false,
        };
        share_keys && (share_levels || self.hides_from(other) || other.hides_from(self))
    }

    /// Whether what this brings into level 0 could hide what `other` takes down from there.
    fn hides_from(&self, other: &Footprint) -> bool {
        self.into_level0.zip(other.out_of_level0).is_some_and(|(oldest, newest)| oldest <= newest)
    }
}

/// Whether two ranges of keys meet.
fn meet((low, end): &(Vec<u8>, KeyEndBuf), (other_low, other_end): &(Vec<u8>, KeyEndBuf)) -> bool {
    !KeyEnd::from(end).is_before(other_low) && !KeyEnd::from(other_end).is_before(low)
}
