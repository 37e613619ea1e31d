//! The FIFO picker: tables go in the order in which they came, when the family outgrows its size or
//! they their age.
//!
//! What was written together, by one flush or one merge, is a *batch*: one stretch of age. Small
//! batches are merged, those next to each other in age only: an entry must never go before an older
//! version of its key, which would come to light. So a table here always holds one stretch of
//! sequence numbers, and the oldest is dropped first. Batches stop growing at a part of the size,
//! as dropping one takes all that is in it.
//!
//! Merging is there for those who read, who meet sorted runs: batches that share no key stand end
//! to end in one run, whatever their age, and are left alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::base::file::FileNumber;

use crate::base::key::SeqNo;
use crate::base::limits::LEVELS;
use crate::compaction::leveled::{drop_plan, one_table, pick_expired};
use crate::compaction::strategy::Fifo;
use crate::compaction::{
    Action, Ages, Busy, Compaction, CompactionPicker, Debt, Input, KeySpan, LevelShape, Reason,
    TablePlace, View, level0_inputs, reclaim, spare_covering, user_key_range,
};
use crate::version::{Level, Sums, TableMeta, Version};

/// Batches next to each other that are merged into one, of as many runs.
const MERGED: usize = 8;

/// With more runs than this, small batches are merged whatever their sizes.
const CROWD: usize = 3 * MERGED;

/// A batch is not merged on once it holds this part of what the family may hold.
const PARTS: u64 = 32;

/// Tables of level 0 that were written together.
#[derive(Debug)]
struct Batch {
    number: FileNumber,
    /// The run that they are in, by its place.
    run: usize,
    bytes: u64,
    smallest_seq: SeqNo,
    largest_seq: SeqNo,
    is_free: bool,
}

/// The batches of level 0, newest first.
fn batches(view: &View<'_>) -> Vec<Batch> {
    let mut found: HashMap<FileNumber, Batch> = HashMap::new();
    for (run, of) in view.version.level(0).runs().iter().enumerate() {
        for table in of.tables() {
            let number = table.run_number();
            let batch = found.entry(number).or_insert_with(|| Batch {
                number,
                run,
                bytes: 0,
                smallest_seq: table.smallest_seq,
                largest_seq: table.largest_seq,
                is_free: true,
            });
            batch.bytes = batch.bytes.saturating_add(Sums::of(table).data_bytes());
            batch.smallest_seq = batch.smallest_seq.min(table.smallest_seq);
            batch.largest_seq = batch.largest_seq.max(table.largest_seq);
            batch.is_free &= view.is_free(table);
        }
    }
    let mut batches: Vec<Batch> = found.into_values().collect();
    batches.sort_unstable_by_key(|batch| std::cmp::Reverse((batch.largest_seq, batch.number)));
    batches
}

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
        let sums = view
            .version
            .levels()
            .map(|level| level.sums().data_bytes())
            .fold(0u64, u64::saturating_add);
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
                bytes = bytes.saturating_sub(Sums::of(table).data_bytes());
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

    fn grows(&self, bytes: u64) -> bool {
        bytes < self.options.bytes_max / PARTS
    }

    /// Small batches that lie next to each other in age: of similar size, or any where there are
    /// many runs.
    fn pick_small(&self, view: &View<'_>) -> Option<Compaction> {
        let runs = view.version.level(0).runs().len();
        if runs < MERGED {
            return None;
        }
        let batches = batches(view);
        let factors: &[u64] = if runs > CROWD { &[4, u64::MAX] } else { &[4] };
        factors.iter().find_map(|&factor| self.pick_similar(view, &batches, factor))
    }

    /// The newest stretch of batches, none more than `factor` times as large as the one before it,
    /// that can be merged.
    fn pick_similar(&self, view: &View<'_>, batches: &[Batch], factor: u64) -> Option<Compaction> {
        let (mut stretch, mut bytes) = (Vec::<&Batch>::new(), 0u64);
        for batch in batches {
            let fits = batch.is_free && self.grows(batch.bytes);
            let adjoins = stretch
                .last()
                .is_none_or(|newer| batch.bytes <= newer.bytes.saturating_mul(factor));
            if !fits || !adjoins || !self.grows(bytes) {
                if let Some(plan) = self.merge_stretch(view, &stretch) {
                    return Some(plan);
                }
                (stretch, bytes) = (Vec::new(), 0);
            }
            if fits {
                stretch.push(batch);
                bytes = bytes.saturating_add(batch.bytes);
            }
        }
        self.merge_stretch(view, &stretch)
    }

    /// Their merge, where it makes fewer runs and nothing that stays lies between them in age, as
    /// far as they share keys.
    fn merge_stretch(&self, view: &View<'_>, stretch: &[&Batch]) -> Option<Compaction> {
        let runs: HashSet<usize> = stretch.iter().map(|batch| batch.run).collect();
        if runs.len() < MERGED {
            return None;
        }
        let numbers: HashSet<FileNumber> = stretch.iter().map(|batch| batch.number).collect();
        // By runs, not batches: there may be very many of those end to end in one.
        let inputs = level0_inputs(view.version, |table| numbers.contains(&table.run_number()));
        let oldest = stretch.iter().map(|batch| batch.smallest_seq).min()?;
        let newest = stretch.iter().map(|batch| batch.largest_seq).max()?;
        let tables = inputs.iter().flat_map(|input| &input.tables);
        let (low, high) = user_key_range(tables)?;
        let met = view.version.level(0).runs().iter().flat_map(|run| run.overlapping(&low, &high));
        let mut others = met.filter(|table| !numbers.contains(&table.run_number()));
        others
            .all(|other| other.largest_seq < oldest || other.smallest_seq > newest)
            .then(|| self.merge(inputs))
    }

    fn merge(&self, inputs: Vec<Input>) -> Compaction {
        Compaction {
            reason: Reason::Level0Merge,
            action: Action::Merge,
            inputs,
            place: TablePlace { level: 0, depth: 1, bottom: false },
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        }
    }
}

impl CompactionPicker for FifoPicker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        self.pick_outgrown(view).or_else(|| self.pick_small(view)).or_else(|| pick_expired(view))
    }

    fn pick_drop(&self, view: &View<'_>) -> Option<Compaction> {
        self.pick_outgrown(view).or_else(|| pick_expired(view))
    }

    fn pick_manual(&self, view: &View<'_>, _: &KeySpan) -> Option<Compaction> {
        self.pick(view)
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        let bytes =
            version.levels().map(|level| level.sums().data_bytes()).fold(0u64, u64::saturating_add);
        let runs = version.level(0).runs().iter();
        let small = runs.filter(|run| self.grows(run.sums().data_bytes())).count();
        let mut scores = [0.0; LEVELS];
        scores[0] =
            (bytes as f64 / self.options.bytes_max.max(1) as f64).max(small as f64 / MERGED as f64);
        scores
    }

    fn debt(&self, version: &Version) -> Debt {
        let busy = Busy::new();
        let view = View { version, busy: &busy, now_ms: 0, ages: Ages::default() };
        // Runs that nothing could merge are no reason to hold writers.
        let due = self.pick_small(&view);
        let bytes = due.as_ref().map_or(0, Compaction::input_bytes);
        let runs = due.map_or(0, |plan| plan.inputs.len().saturating_sub(MERGED));
        Debt { bytes, runs }
    }
}
