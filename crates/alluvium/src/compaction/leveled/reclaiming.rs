//! The picks that give space back though no level is over its size. Pure.
//!
//! Expired tables go whole, by an edit alone. Tombstones and expired entries go where the rewrite
//! pays (`compaction::reclaim`): the plan that frees most for each byte that it reads comes first,
//! and what lies at the bottom last.

use std::sync::Arc;

use super::free_bytes;
use super::{LeveledPicker, Targets, below_sums, drop_plan, ends, lower_of, lower_sums, one_table};
use crate::base::limits::LEVELS;
use crate::compaction::leveled::BOTTOM;
use crate::compaction::reclaim::{self, Gain, Upper};
use crate::compaction::{Action, Compaction, Input, Reason, TablePlace, View, spare_covering};
use crate::version::{Digest, Level, Sums, TableMeta, Version};

/// The size of a step's table by what level 0 has over one table of the base.
const STEP_SLACK: f64 = 1.5;

/// Beside one another, jobs hold this part of the store at most where one is to give space back, or
/// drains what steps have left.
const AT_ONCE: u64 = 4;

impl LeveledPicker {
    /// What gives space back though no level is over its size.
    pub(super) fn pick_reclaim(&self, view: &View<'_>, targets: &Targets) -> Option<Compaction> {
        let version = view.version;
        let room = room_bytes(view);
        let mut best: Option<(f64, Compaction)> = None;
        let mut offer = |gain: Gain, plan: &dyn Fn() -> Option<Compaction>| {
            let better = best.as_ref().is_none_or(|(ratio, _)| gain.ratio() > *ratio);
            if gain.pays()
                && better
                && gain.cost_bytes <= room
                && let Some(plan) = plan()
            {
                best = Some((gain.ratio(), plan));
            }
        };
        let level0 = version.level(0);
        let runs = level0.runs();
        if reclaim::any_may_free(view, level0.digest()) && runs.iter().all(|r| view.is_run_free(r))
        {
            let ends = || runs.iter().flat_map(|run| ends(run));
            let lower = lower_sums(version, targets.base, ends());
            let mut hidden = below_sums(version, 0, ends());
            if runs.len() > 1 {
                hidden = hidden.and(level0.sums());
            }
            let upper = runs.iter().map(|run| Upper::run(view, run));
            let upper = upper.fold(Upper::default(), Upper::and);
            let mut gain = reclaim::gain(&upper, lower, hidden);
            // What a base that is to be drained meets below counts as freed, and not as read.
            if !drains(targets) || gain.overdue {
                let in_steps = gain.pays() && self.goes_in_steps(version, targets, lower.bytes);
                if in_steps {
                    gain.cost_bytes = gain.cost_bytes.saturating_add(level0.bytes());
                }
                offer(gain, &|| match in_steps {
                    true => self.level0_to_steps(view, targets, lower.bytes),
                    false => self.level0_down(view, targets, Reason::Tombstones),
                });
            }
        }
        for level in 1..BOTTOM {
            let may = |digest: &Digest| reclaim::any_may_free(view, digest);
            let frees =
                |table: &&Arc<TableMeta>| reclaim::may_free(view, table) && view.is_free(table);
            for table in version.level(level).tables_that(may).filter(frees) {
                let (low, end) = (table.smallest_user_key(), table.end());
                let met = |deeper| version.level(deeper).overlapping_sums(low, end);
                let lower = met(level + 1);
                let hidden = (level + 2..LEVELS).map(met).fold(lower, Sums::and);
                let gain = reclaim::gain(&Upper::table(view, table), lower, hidden);
                let input = || vec![one_table(level, table)];
                offer(gain, &|| self.plan(view, targets, Reason::Tombstones, level, input()));
            }
        }
        best.map(|(_, plan)| plan).or_else(|| self.rewrite_at_the_bottom(view, targets))
    }

    /// Whether level 0 goes in steps to what its tombstones hide, which is `below` bytes of the
    /// base: where one merge of all would need room for much that stays.
    fn goes_in_steps(&self, version: &Version, targets: &Targets, below: u64) -> bool {
        let level0 = version.level(0);
        let together = level0.bytes().saturating_add(below);
        targets.base > 1
            && !drains(targets)
            && together / 2 >= self.shape.table_bytes
            && lower_of(version, targets.base, level0.tables()).len() > 1
    }

    /// Brings level 0 to the empty level above the base, in tables that each end with one of the
    /// base: it is written once more, and then goes down a step at a time, each giving back its
    /// space.
    fn level0_to_steps(
        &self,
        view: &View<'_>,
        targets: &Targets,
        below: u64,
    ) -> Option<Compaction> {
        let above = Targets { base: targets.base - 1, ..*targets };
        let plan = self.level0_down(view, &above, Reason::Tombstones)?;
        // A table ends with one below (`Compaction::split`); what lies over one is less than this,
        // as some of that goes.
        let over = view.version.level(0).bytes() as f64 / below.max(1) as f64;
        let share = (over * STEP_SLACK).min(1.0);
        let table_bytes = ((self.shape.table_bytes as f64 * share) as u64).max(1);
        // With the codec of what lies deeper: there is no room to be had for speed.
        let place = TablePlace { depth: plan.place.depth + 1, ..plan.place };
        Some(Compaction { action: Action::Merge, table_bytes, place, ..plan })
    }

    /// A table of the deepest level whose garbage nothing keeps any more, rewritten where it is.
    fn rewrite_at_the_bottom(&self, view: &View<'_>, targets: &Targets) -> Option<Compaction> {
        let deepest = view.version.deepest_level().filter(|&level| level > 0)?;
        let may = |digest: &Digest| reclaim::any_may_pay_at_the_bottom(view, digest);
        let tables = view.version.level(deepest).tables_that(may);
        let pays = |table: &&Arc<TableMeta>| {
            reclaim::pays_at_the_bottom(view, table) && view.is_free(table)
        };
        let table = tables.filter(pays).max_by_key(|table| table.tombstones)?;
        Some(self.in_place(view.version, targets, deepest, table, Reason::Tombstones))
    }

    pub(super) fn in_place(
        &self,
        version: &Version,
        targets: &Targets,
        level: usize,
        table: &Arc<TableMeta>,
        reason: Reason,
    ) -> Compaction {
        Compaction {
            reason,
            action: Action::Merge,
            inputs: vec![one_table(level, table)],
            place: self.place(version, level, targets.base),
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        }
    }
}

/// The bytes that one more job may read which takes room before it gives some back: any where no
/// job runs.
pub(super) fn room_bytes(view: &View<'_>) -> u64 {
    if view.busy.is_empty() {
        return u64::MAX;
    }
    let bytes = |level: usize| view.version.level(level).bytes();
    let held = (0..LEVELS).map(|level| bytes(level) - free_bytes(view.version, level, view.busy));
    ((0..LEVELS).map(bytes).sum::<u64>() / AT_ONCE).saturating_sub(held.sum())
}

/// Whether the base is a level that is to be empty.
fn drains(targets: &Targets) -> bool {
    targets.bytes[targets.base] == 0
}

/// Tables all of whose entries have expired, and which hide nothing that has not.
pub(in crate::compaction) fn pick_expired(view: &View<'_>) -> Option<Compaction> {
    let may_be = |digest: &Digest| reclaim::any_is_all_expired(view, digest);
    let mut gone: Vec<(usize, &Arc<TableMeta>)> = tables_that(view.version, may_be)
        .filter(|(_, table)| reclaim::is_all_expired(table, view.now_ms) && view.is_free(table))
        .collect();
    spare_covering(view.version, &mut gone);
    let inputs = gone.into_iter().map(|(level, table)| one_table(level, table));
    drop_plan(inputs.collect(), Reason::Expired).or_else(|| pick_spent(view))
}

/// Tables of range tombstones alone that have nothing left to hide, and need not stay for a
/// snapshot or their grace.
fn pick_spent<'a>(view: &View<'a>) -> Option<Compaction> {
    let with_ranges =
        |level: &'a Level| level.runs().iter().flat_map(|run| run.tables_with_ranges());
    let levels = view.version.levels().enumerate();
    let placed = levels.flat_map(|(level, of)| with_ranges(of).map(move |table| (level, table)));
    let spent = placed.filter(|(level, table)| {
        table.entries == 0
            && view.is_free(table)
            && table.largest_seq <= view.ages.droppable
            && !reclaim::lies_over_older(view.version, *level, table)
    });
    let inputs: Vec<Input> = spent.map(|(level, table)| one_table(level, table)).collect();
    drop_plan(inputs, Reason::Tombstones)
}

/// The tables of every level whose digest `may` have something due, with their levels.
fn tables_that<'a>(
    version: &'a Version,
    may: impl Fn(&Digest) -> bool + Copy + 'a,
) -> impl Iterator<Item = (usize, &'a Arc<TableMeta>)> {
    let levels = version.levels().enumerate();
    levels.flat_map(move |(level, of)| of.tables_that(may).map(move |table| (level, table)))
}
