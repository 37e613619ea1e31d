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
    Action, Compaction, CompactionPicker, Debt, Input, KeySpan, LevelShape, Reason, TablePlace,
    View, user_key_range,
};
use crate::version::{Level, Run, TableMeta, Version};

/// Runs next to each other that are merged into one.
const MERGED_RUNS: usize = 8;

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
        let levels = view.version.levels().enumerate();
        let mut tables: Vec<(usize, &Arc<TableMeta>)> = levels
            .flat_map(|(level, of)| of.tables().iter().map(move |table| (level, table)))
            .collect();
        // Deeper levels are older than level 0, and older the deeper they are.
        tables.sort_by_key(|(level, table)| (std::cmp::Reverse(*level), table.largest_seq));
        let mut bytes: u64 = tables.iter().map(|(_, table)| table.bytes).sum();
        let mut inputs: Vec<Input> = Vec::new();
        for (level, table) in tables {
            let outlived = self.options.age_max.is_some()
                && table.largest_seq > SeqNo::ZERO
                && table.largest_seq <= view.ages.outlived;
            if !outlived && bytes <= self.options.bytes_max || !view.is_free(table) {
                break;
            }
            bytes -= table.bytes;
            inputs.push(one_table(level, table));
        }
        drop_plan(inputs, Reason::Outgrown)
    }

    fn grows(&self, run: &Run) -> bool {
        run.bytes() < self.options.bytes_max / PARTS
    }

    /// Small runs that lie next to each other in age.
    fn pick_small(&self, view: &View<'_>) -> Option<Compaction> {
        let runs = view.version.level(0).runs();
        let mut chosen: Vec<&Arc<Run>> = Vec::new();
        for run in runs {
            let is_free = run.tables().iter().all(|table| view.is_free(table));
            let last = chosen.last();
            let adjoins = last.is_none_or(|newer| run.bytes() <= newer.bytes().saturating_mul(4));
            if is_free && self.grows(run) && adjoins {
                chosen.push(run);
            } else if chosen.len() >= MERGED_RUNS {
                break;
            } else {
                chosen.clear();
            }
        }
        if chosen.len() < MERGED_RUNS || !is_one_age(view.version, &chosen) {
            return None;
        }
        Some(self.merge(&chosen, Reason::Level0Merge))
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
    let tables = || chosen.iter().flat_map(|run| run.tables());
    let oldest = tables().map(|table| table.smallest_seq).min();
    let newest = tables().map(|table| table.largest_seq).max();
    let (Some(oldest), Some(newest)) = (oldest, newest) else { return true };
    let Some((low, high)) = user_key_range(tables()) else { return true };
    let mut others = version.level(0).tables().iter();
    others.all(|other| {
        tables().any(|table| table.number == other.number)
            || !other.overlaps(&low, &high)
            || other.largest_seq < oldest
            || other.smallest_seq > newest
    })
}

impl CompactionPicker for FifoPicker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        self.pick_outgrown(view).or_else(|| self.pick_small(view)).or_else(|| pick_expired(view))
    }

    fn pick_manual(&self, view: &View<'_>, _: &KeySpan) -> Option<Compaction> {
        self.pick(view)
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        let bytes: u64 = version.levels().map(Level::bytes).sum();
        let small = version.level(0).runs().iter().filter(|run| self.grows(run)).count();
        let mut scores = [0.0; LEVELS];
        scores[0] = (bytes as f64 / self.options.bytes_max.max(1) as f64)
            .max(small as f64 / MERGED_RUNS as f64);
        scores
    }

    fn debt(&self, version: &Version) -> Debt {
        let small: Vec<&Arc<Run>> =
            version.level(0).runs().iter().filter(|run| self.grows(run)).collect();
        let runs = small.len().saturating_sub(MERGED_RUNS);
        let bytes = if runs > 0 { small.iter().map(|run| run.bytes()).sum() } else { 0 };
        Debt { bytes, runs }
    }
}
