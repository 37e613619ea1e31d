//! The leveled picker: level 0 by number of tables, deeper levels by size, a subset at a time.
//!
//! # Scores
//!
//! Level 0: tables not busy ÷ the trigger. Level n: bytes not busy ÷ its target. The level with the
//! highest score of 1.0 or more is served first. Level 0 counts before an equal score, because
//! every table in it costs every read.
//!
//! # Which tables
//!
//! From level 0, all of it that is free (the oldest first, and never past one that is busy: newer
//! data must not sink below older). From a deeper level, the one table whose overlap with the next
//! level is smallest in proportion to its size: least bytes rewritten for each byte moved down
//! (RocksDB's `kMinOverlappingRatio`, its default since 2019). Tables dense in tombstones count as
//! larger, so that deleted data returns its space sooner.
//!
//! # Trivial move
//!
//! One table that overlaps nothing in the next level, and not too much in the one below that, moves
//! by an edit alone.

use std::sync::Arc;

use crate::base::limits::LEVELS;
use crate::base::planted;
use crate::compaction::{
    Action, Busy, Compaction, CompactionPicker, Input, LevelShape, Reason, TablePlace,
    level0_inputs, user_key_range,
};
use crate::version::{TableMeta, Version};

/// A table moves without a rewrite only if it overlaps at most this many times the target table
/// size two levels down; else compacting it on would be dear.
const TRIVIAL_MOVE_OVERLAP_FACTOR: u64 = 10;

/// Each tombstone counts as this many bytes more when a table is chosen.
const TOMBSTONE_WEIGHT_BYTES: u64 = 256;

/// Leveled compaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeveledPicker {
    shape: LevelShape,
}

impl LeveledPicker {
    pub(crate) fn new(shape: LevelShape) -> LeveledPicker {
        LeveledPicker { shape }
    }

    /// One step of emptying `level` into the next: all of level 0, or the first table of a deeper
    /// one. `None` when the level is empty or a table is busy.
    pub(crate) fn pick_manual(
        &self,
        version: &Version,
        busy: &Busy,
        level: usize,
    ) -> Option<Compaction> {
        let inputs = if level == 0 {
            level0_inputs(version, |_| true)
        } else {
            let first = version.level(level).tables().first();
            first.map(|table| one_table(level, table)).into_iter().collect()
        };
        self.plan(version, busy, Reason::Manual, level, inputs)
    }

    fn pick_level0(&self, version: &Version, busy: &Busy) -> Option<Compaction> {
        // One at a time: outputs of two would overlap in level 1.
        let tables = version.level(0).tables();
        if tables.iter().any(|table| busy.contains(&table.number)) {
            return None;
        }
        let mut inputs = level0_inputs(version, |_| true);
        if planted::is("older-level0-table-left-behind") && inputs.len() > 1 {
            inputs.pop();
        }
        self.plan(version, busy, Reason::Level0Tables, 0, inputs)
    }

    fn pick_deeper(&self, version: &Version, busy: &Busy, level: usize) -> Option<Compaction> {
        let mut candidates: Vec<(f64, &Arc<TableMeta>)> = version
            .level(level)
            .tables()
            .iter()
            .filter(|table| !busy.contains(&table.number))
            .map(|table| (overlap_ratio(version, level, table), table))
            .collect();
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.number.cmp(&b.1.number)));
        candidates.into_iter().find_map(|(_, table)| {
            let inputs = vec![one_table(level, table)];
            self.plan(version, busy, Reason::LevelSize, level, inputs)
        })
    }

    /// Completes a plan from its upper inputs; `None` when it would touch a busy table.
    fn plan(
        &self,
        version: &Version,
        busy: &Busy,
        reason: Reason,
        level: usize,
        mut inputs: Vec<Input>,
    ) -> Option<Compaction> {
        let output_level = level + 1;
        let upper = || inputs.iter().flat_map(|input| &input.tables);
        let (smallest, largest) = user_key_range(upper())?;
        let lower = version.overlapping(output_level, &smallest, &largest);
        let (smallest, largest) = user_key_range(upper().chain(&lower))?;
        let grandparents = if output_level + 1 < LEVELS {
            version.overlapping(output_level + 1, &smallest, &largest)
        } else {
            Vec::new()
        };
        let overlapped: u64 = grandparents.iter().map(|table| table.bytes).sum();
        let moves = reason != Reason::Manual
            && upper().count() == 1
            && lower.is_empty()
            && overlapped <= self.shape.table_bytes * TRIVIAL_MOVE_OVERLAP_FACTOR;
        if !lower.is_empty() {
            inputs.push(Input { level: output_level, tables: lower });
        }
        let bottom = version.deepest_level().is_none_or(|deepest| deepest <= output_level);
        let plan = Compaction {
            reason,
            action: if moves { Action::Move } else { Action::Merge },
            inputs,
            place: TablePlace { level: output_level, depth: output_level, bottom },
            table_bytes: self.shape.table_bytes,
            grandparents,
        };
        plan.is_free(busy).then_some(plan)
    }
}

fn one_table(level: usize, table: &Arc<TableMeta>) -> Input {
    Input { level, tables: vec![Arc::clone(table)] }
}

/// Bytes to rewrite below for each byte of `table` moved down.
fn overlap_ratio(version: &Version, level: usize, table: &Arc<TableMeta>) -> f64 {
    let below = user_key_range([table])
        .map(|(smallest, largest)| version.overlapping(level + 1, &smallest, &largest))
        .unwrap_or_default();
    let overlap: u64 = below.iter().map(|table| table.bytes).sum();
    let weight = table.bytes + table.tombstones * TOMBSTONE_WEIGHT_BYTES;
    overlap as f64 / weight.max(1) as f64
}

impl CompactionPicker for LeveledPicker {
    fn pick(&self, version: &Version, busy: &Busy) -> Option<Compaction> {
        let mut due: Vec<(f64, usize)> = self
            .scores(version)
            .into_iter()
            .enumerate()
            .filter(|&(level, score)| score >= 1.0 && level + 1 < LEVELS)
            .map(|(level, score)| (score, level))
            .collect();
        due.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        due.into_iter().find_map(|(_, level)| match level {
            0 => self.pick_level0(version, busy),
            _ => self.pick_deeper(version, busy, level),
        })
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        let mut scores = [0.0; LEVELS];
        scores[0] = version.level(0).runs().len() as f64 / self.shape.level0_tables.max(1) as f64;
        for (level, score) in scores.iter_mut().enumerate().skip(1) {
            let target = self.shape.target_bytes(level).max(1);
            *score = version.level(level).bytes() as f64 / target as f64;
        }
        scores
    }
}
