//! The FIFO picker: tables go in the order in which they came, when the family outgrows its size or
//! they their age.
//!
//! Small runs are merged, those next to each other in age only: an entry must never go before an
//! older version of its key, which would come to light. So a table here always holds one stretch of
//! sequence numbers, and the oldest is dropped first. Runs stop growing at a part of the size, as
//! dropping one takes all that is in it.

use std::sync::Arc;

use crate::base::key::SeqNo;
use crate::base::limits::LEVELS;
use crate::compaction::leveled::{drop_plan, one_table, pick_expired, whole_run};
use crate::compaction::strategy::Fifo;
use crate::compaction::{
    Action, Ages, Busy, Compaction, CompactionPicker, Debt, KeySpan, LevelShape, Reason,
    TablePlace, View, reclaim, spare_covering, user_key_range,
};
use crate::version::{Level, Run, TableMeta, Version};

/// Runs next to each other that are merged into one.
const MERGED_RUNS: usize = 8;

/// More small runs than this are merged whatever their sizes.
const CROWD: usize = 3 * MERGED_RUNS;

/// A run is not merged on once it holds this part of what the family may hold.
const PARTS: u64 = 32;

/// First in, first out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FifoPicker {
    shape: LevelShape,
    options: Fifo,
}

impl FifoPicker {
    pub(super) fn new(shape: LevelShape, options: Fifo) -> FifoPicker {
        FifoPicker { shape, options }
    }

    /// The oldest tables that have to go.
    fn pick_outgrown(&self, view: &View<'_>) -> Option<Compaction> {
        let sums = view.version.levels().map(Level::bytes).fold(0u64, u64::saturating_add);
        let runs = view.version.levels().flat_map(Level::runs);
        let oldest = runs.map(|run| run.smallest_seq()).min()?;
        // A table's last number is no smaller than its first.
        let none_outlived = self.options.age_max.is_none() || oldest > view.ages.outlived;
        if sums <= self.options.bytes_max && none_outlived {
            return None;
        }
        let levels = view.version.levels().enumerate();
        let mut tables: Vec<(usize, &Arc<TableMeta>)> = levels
            .flat_map(|(level, of)| of.tables().iter().map(move |table| (level, table)))
            .collect();
        // Deeper levels are older than level 0, and older the deeper they are.
        tables.sort_by_key(|(level, table)| (std::cmp::Reverse(*level), table.largest_seq));
        let mut bytes = sums;
        let mut chosen: Vec<(usize, &Arc<TableMeta>)> = Vec::new();
        for (level, table) in &tables {
            let outlived = self.options.age_max.is_some()
                && table.largest_seq > SeqNo::ZERO
                && table.largest_seq <= view.ages.outlived;
            if !outlived && bytes <= self.options.bytes_max {
                break;
            }
            // With all that is older below it, which another strategy may have made larger.
            let mut waiting = vec![(*level, *table)];
            while let Some((level, table)) = waiting.pop() {
                if chosen.iter().any(|(_, other)| other.number == table.number) {
                    continue;
                }
                bytes = bytes.saturating_sub(table.bytes);
                chosen.push((level, table));
                for older in reclaim::older_overlapping(view.version, level, table) {
                    waiting.extend(tables.iter().find(|(_, at)| at.number == older.number));
                }
            }
        }
        if chosen.iter().any(|(_, table)| !view.is_free(table)) {
            chosen.retain(|(_, table)| view.is_free(table));
            spare_covering(view.version, &mut chosen);
        }
        let inputs = chosen.into_iter().map(|(level, table)| one_table(level, table));
        drop_plan(inputs.collect(), Reason::Outgrown)
    }

    fn grows(&self, run: &Run) -> bool {
        run.bytes() < self.options.bytes_max / PARTS
    }

    /// Small runs that lie next to each other in age: of similar size, or any where there are many.
    fn pick_small(&self, view: &View<'_>) -> Option<Compaction> {
        let runs = view.version.level(0).runs();
        let small = runs.iter().filter(|run| self.grows(run)).count();
        let factors: &[u64] = if small > CROWD { &[4, u64::MAX] } else { &[4] };
        factors.iter().find_map(|&factor| {
            let mut stretch: Vec<&Arc<Run>> = Vec::new();
            for run in runs {
                let fits = self.grows(run) && view.is_run_free(run);
                let adjoins = stretch
                    .last()
                    .is_none_or(|newer| run.bytes() <= newer.bytes().saturating_mul(factor));
                if !(fits && adjoins) {
                    if let Some(plan) = self.merge_stretch(view, &stretch) {
                        return Some(plan);
                    }
                    stretch.clear();
                }
                if fits {
                    stretch.push(run);
                }
            }
            self.merge_stretch(view, &stretch)
        })
    }

    fn merge_stretch(&self, view: &View<'_>, stretch: &[&Arc<Run>]) -> Option<Compaction> {
        let is_long = stretch.len() >= MERGED_RUNS && is_one_age(view.version, stretch);
        is_long.then(|| self.merge(stretch, Reason::Level0Merge))
    }

    fn merge(&self, runs: &[&Arc<Run>], reason: Reason) -> Compaction {
        Compaction {
            reason,
            action: Action::Merge,
            inputs: runs.iter().map(|run| whole_run(run)).collect(),
            place: TablePlace { level: 0, depth: 1, bottom: false },
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        }
    }
}

/// Whether nothing that stays lies between `chosen` in age, as far as they share keys.
fn is_one_age(version: &Version, chosen: &[&Arc<Run>]) -> bool {
    let oldest = chosen.iter().map(|run| run.smallest_seq()).min();
    let newest = chosen.iter().map(|run| run.largest_seq()).max();
    let (Some(oldest), Some(newest)) = (oldest, newest) else { return true };
    let tables = chosen.iter().flat_map(|run| run.tables());
    let Some((low, high)) = user_key_range(tables) else { return true };
    let is_chosen = |run: &&Arc<Run>| chosen.iter().any(|one| Arc::ptr_eq(one, run));
    let others = version.level(0).runs().iter().filter(|run| !is_chosen(run));
    let mut others = others.flat_map(|run| run.overlapping(&low, &high));
    others.all(|other| other.largest_seq < oldest || other.smallest_seq > newest)
}

impl CompactionPicker for FifoPicker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        self.pick_outgrown(view).or_else(|| self.pick_small(view)).or_else(|| pick_expired(view))
    }

    fn pick_manual(&self, view: &View<'_>, _: &KeySpan) -> Option<Compaction> {
        self.pick(view)
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        let bytes = version.levels().map(Level::bytes).fold(0u64, u64::saturating_add);
        let small = version.level(0).runs().iter().filter(|run| self.grows(run)).count();
        let mut scores = [0.0; LEVELS];
        scores[0] = (bytes as f64 / self.options.bytes_max.max(1) as f64)
            .max(small as f64 / MERGED_RUNS as f64);
        scores
    }

    fn debt(&self, version: &Version) -> Debt {
        let busy = Busy::new();
        let view = View { version, busy: &busy, now_ms: 0, ages: Ages::default() };
        // Runs that nothing could merge are no reason to hold writers.
        let due = self.pick_small(&view);
        let bytes = due.as_ref().map_or(0, Compaction::input_bytes);
        let runs = due.map_or(0, |plan| plan.inputs.len().saturating_sub(MERGED_RUNS));
        Debt { bytes, runs }
    }
}
