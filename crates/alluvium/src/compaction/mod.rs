//! Floor 4: reshaping the tree: what to merge, what survives, and the jobs that do it.
//!
//! A [`Compaction`] is a plan: pure data, made by a [`CompactionPicker`] from an immutable
//! [`Version`] and the set of tables that other jobs hold. Picking touches no disk, so it is tested
//! with tables that exist only as metadata, and a simulator can run it over any size of store.
//! [`job`] carries a plan out; [`retain`] decides which entries survive; [`split`] where one output
//! ends; [`order`] holds every plan against the one rule that keeps newer data above older;
//! [`flush`] turns immutable memtables into tables of level 0.

pub(crate) mod flush;
pub(crate) mod job;
pub(crate) mod leveled;
pub(crate) mod order;
pub(crate) mod retain;
pub(crate) mod split;

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key;
use crate::base::limits::LEVELS;
use crate::iter::concat::SortedTables;
use crate::sstable::TableHandle;
use crate::version::{Run, TableMeta, Version};

/// The shape that leveled compaction keeps a column family in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LevelShape {
    /// Tables of level 0 that make it worth compacting.
    pub(crate) level0_tables: usize,
    /// Target size of level 1.
    pub(crate) level1_bytes: u64,
    /// Each deeper level's target is this many times the one above.
    pub(crate) level_ratio: u32,
    /// Target size of one output table.
    pub(crate) table_bytes: u64,
}

impl LevelShape {
    /// The target size of `level` (1 or deeper), saturating.
    pub(crate) fn target_bytes(&self, level: usize) -> u64 {
        let steps = level.saturating_sub(1) as u32;
        self.level1_bytes.saturating_mul(u64::from(self.level_ratio).saturating_pow(steps))
    }
}

/// Why a compaction was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Level 0 holds many tables.
    Level0Tables,
    /// A level is over its target size.
    LevelSize,
    /// Somebody asked for it.
    Manual,
}

/// One sorted run, or part of one, that a plan reads.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) level: usize,
    /// Ascending, without overlap.
    pub(crate) tables: Vec<Arc<TableMeta>>,
}

/// Where an output stands in the tree of its family: what its codec and filter are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablePlace {
    pub(crate) level: usize,
    /// How many steps below the flush: 0 for a flushed table, 1 where its first merge goes.
    pub(crate) depth: usize,
    /// Whether nothing older than the output will lie below or behind it.
    pub(crate) bottom: bool,
}

impl TablePlace {
    /// A table that a flush writes.
    pub(crate) const FLUSHED: TablePlace = TablePlace { level: 0, depth: 0, bottom: false };

    /// A table whose level is known and nothing else: a repaired one.
    pub(crate) fn in_level(level: usize) -> TablePlace {
        TablePlace { level, depth: level, bottom: level + 1 == LEVELS }
    }
}

/// What is done with the inputs of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Rewritten into new tables.
    Merge,
    /// Given to the output level as they are, by an edit alone.
    Move,
    /// Taken out of the store with all that is in them, by an edit alone.
    Drop,
}

/// A plan: what to read, what to do with it, and where that goes.
#[derive(Debug, Clone)]
pub(crate) struct Compaction {
    pub(crate) reason: Reason,
    pub(crate) action: Action,
    /// Newest first.
    pub(crate) inputs: Vec<Input>,
    /// Where the outputs go. In level 0 they make up one run.
    pub(crate) place: TablePlace,
    /// Target size of one output table.
    pub(crate) table_bytes: u64,
    /// Tables one level below the output that overlap it, ascending: where outputs are best cut.
    pub(crate) grandparents: Vec<Arc<TableMeta>>,
}

impl Compaction {
    /// Every input table.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<TableMeta>> {
        self.inputs.iter().flat_map(|input| &input.tables)
    }

    /// Every input table, each with its level.
    pub(crate) fn placed_tables(&self) -> impl Iterator<Item = (usize, &Arc<TableMeta>)> {
        self.inputs.iter().flat_map(|input| input.tables.iter().map(|table| (input.level, table)))
    }

    /// Bytes of all inputs.
    pub(crate) fn input_bytes(&self) -> u64 {
        self.tables().map(|table| table.bytes).sum()
    }

    /// Whether none of its tables is busy.
    pub(crate) fn is_free(&self, busy: &Busy) -> bool {
        self.tables().all(|table| !busy.contains(&table.number))
    }
}

/// The sorted runs of level 0, or of some of its tables, as inputs, newest first.
pub(crate) fn level0_inputs(
    version: &Version,
    chosen: impl Fn(&Arc<TableMeta>) -> bool,
) -> Vec<Input> {
    let runs = version.level(0).runs().iter();
    let inputs = runs.map(|run| Input {
        level: 0,
        tables: run.tables().iter().filter(|table| chosen(table)).cloned().collect(),
    });
    inputs.filter(|input| !input.tables.is_empty()).collect()
}

/// Tables that running jobs read, and which therefore may not be picked.
pub(crate) type Busy = HashSet<FileNumber>;

/// Decides what to compact next. Pure: same arguments, same plan.
pub(crate) trait CompactionPicker {
    /// The most useful compaction that does not touch a busy table, or `None`.
    fn pick(&self, version: &Version, busy: &Busy) -> Option<Compaction>;
    /// How much each level wants compacting; 1.0 and more is due.
    fn scores(&self, version: &Version) -> [f64; LEVELS];
}

/// The smallest and largest user keys over `tables`; `None` when there are none.
pub(crate) fn user_key_range<'a>(
    tables: impl IntoIterator<Item = &'a Arc<TableMeta>>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut range: Option<(&[u8], &[u8])> = None;
    for table in tables {
        let smallest = key::user_key(&table.smallest);
        let largest = key::user_key(&table.largest);
        range = Some(match range {
            None => (smallest, largest),
            Some((low, high)) => (low.min(smallest), high.max(largest)),
        });
    }
    range.map(|(low, high)| (low.to_vec(), high.to_vec()))
}

/// The tables of a sorted run of a version, or some of them, to iterate over.
#[derive(Debug, Clone)]
pub(crate) enum RunTables {
    /// A whole run.
    Run(Arc<Run>),
    /// Chosen tables, ascending and without overlap.
    Chosen(Vec<Arc<TableMeta>>),
}

impl RunTables {
    fn tables(&self) -> &[Arc<TableMeta>] {
        match self {
            RunTables::Run(run) => run.tables(),
            RunTables::Chosen(tables) => tables,
        }
    }
}

impl SortedTables for RunTables {
    fn count(&self) -> usize {
        self.tables().len()
    }

    fn largest(&self, index: usize) -> &[u8] {
        &self.tables()[index].largest
    }

    fn handle(&self, index: usize) -> &Arc<TableHandle> {
        &self.tables()[index].handle
    }
}

#[cfg(test)]
mod tests;
