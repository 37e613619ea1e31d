//! Floor 4: reshaping the tree: what to merge, what survives, and the jobs that do it.
//!
//! A [`Compaction`] is a plan: pure data, made by a [`CompactionPicker`] from an immutable
//! [`Version`] and the set of tables that other jobs hold. Picking touches no disk, so it is tested
//! with tables that exist only as metadata, and a simulator can run it over any size of store. Each
//! [`strategy`] is one picker over the same plans.
//! [`job`] carries a plan out, or a part of it that [`cut`] made; [`pace`] is how it is held back;
//! [`retain`] decides which entries survive, [`covered`] which of them range tombstones cover and
//! what becomes of those; [`split`] where one output ends; [`order`] holds every plan against the
//! one rule that keeps newer data above older; [`shape`] says what a family will hold when a job is
//! done, for its filters; [`flush`] turns immutable memtables into tables of level 0.

pub(crate) mod blobs;
mod clusters;
pub(crate) mod covered;
pub(crate) mod cut;
mod ends;
mod fifo;
pub(crate) mod flush;
pub(crate) mod footprint;
pub(crate) mod job;
mod leveled;
pub(crate) mod order;
pub(crate) mod outputs;
pub(crate) mod pace;
mod reclaim;
pub(crate) mod retain;
pub(crate) mod shape;
pub(crate) mod split;
pub(crate) mod strategy;
mod tiered;
mod windows;

use std::collections::HashSet;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use crate::base::event_time::EventTime;
use crate::base::file::FileNumber;
use crate::base::key::{KeyEnd, KeyEndBuf, SeqNo};
use crate::base::limits::LEVELS;
use crate::compaction::split::Split;
use crate::iter::concat::SortedTables;
use crate::sstable::TableHandle;
use crate::version::{EventTimes, Run, TableMeta, Version};

/// The sizes that a family's options ask for: what pickers measure by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LevelShape {
    /// What one flush writes, about: the unit of tiers.
    pub(crate) flush_bytes: u64,
    /// Runs of level 0 that make it worth compacting.
    pub(crate) level0_runs: usize,
    /// Target size of the first level behind level 0, and bytes of level 0 that make it worth
    /// compacting.
    pub(crate) level1_bytes: u64,
    /// How many times what they are else the two above are, because level 0 gathers; 1 where it
    /// does not.
    pub(crate) gathered: f64,
    /// Each deeper level's target is this many times the one above.
    pub(crate) level_ratio: u32,
    /// Target size of one output table.
    pub(crate) table_bytes: u64,
    /// The codec of each depth, by its tag; the last one is that of the bottom.
    pub(crate) codecs: [u8; LEVELS + 1],
}

/// How soon the level 0 of a leveled family is merged down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level0 {
    /// Soon: each of its runs costs every lookup and every scan.
    Lean,
    /// Late, because hardly anybody reads: what lies below is rewritten less often for the same
    /// bytes.
    Gathering,
}

impl LevelShape {
    /// The same shape, with a level 0 that gathers `runs` runs, no fewer than it has, and bytes in
    /// proportion.
    pub(crate) fn gathering(self, runs: usize) -> LevelShape {
        let gathered = runs as f64 / self.level0_runs.max(1) as f64;
        let level1_bytes = (self.level1_bytes as f64 * gathered) as u64;
        LevelShape { level0_runs: runs, level1_bytes, gathered, ..self }
    }

    /// Bytes of level 0 that make it worth compacting over so many. What gathers is never more than
    /// lies below: what a small store overwrites is not on disk many times.
    pub(crate) fn level0_bytes(&self, below: u64) -> u64 {
        let lean = (self.level1_bytes as f64 / self.gathered) as u64;
        below.max(lean).min(self.level1_bytes).max(1)
    }

    /// The tag of the codec for `place`.
    pub(crate) fn codec(&self, place: TablePlace) -> u8 {
        if place.bottom { self.codecs[LEVELS] } else { self.codecs[place.depth.min(LEVELS - 1)] }
    }
}

/// Why a compaction was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Level 0 holds many runs, or many bytes.
    Level0Runs,
    /// Level 0 holds many runs, and the level that they would go to is busy or far larger.
    Level0Merge,
    /// A level is over its target size.
    LevelSize,
    /// A tier holds as many runs as the ratio allows.
    TierFull,
    /// What lies above the bottom is large enough to be merged into it.
    BottomDue,
    /// A level that the strategy does not use holds tables, left by another strategy.
    Drain,
    /// Tombstones hide enough to pay for the rewrite, or have grown old.
    Tombstones,
    /// Entries have expired.
    Expired,
    /// A time window holds as many runs as the ratio allows, or has closed.
    WindowFull,
    /// A time window has expired.
    WindowExpired,
    /// The family holds more, or older, than its strategy keeps.
    Outgrown,
    /// Blob files hold much that nobody needs.
    BlobGarbage,
    /// Somebody asked for it.
    Manual,
}

impl Reason {
    /// The reason in words, to follow "because".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Reason::Level0Runs => "level 0 held many runs",
            Reason::Level0Merge => "level 0 held many small runs",
            Reason::LevelSize => "the level was over its size",
            Reason::TierFull => "a tier was full",
            Reason::BottomDue => "the bottom was due",
            Reason::Drain => "the strategy does not use the level",
            Reason::Tombstones => "tombstones hid enough or were old",
            Reason::Expired => "entries had expired",
            Reason::WindowFull => "a time window held many runs",
            Reason::WindowExpired => "a time window had expired",
            Reason::Outgrown => "the family was over its size or age",
            Reason::BlobGarbage => "blob files held much that nobody needed",
            Reason::Manual => "it was asked for",
        }
    }
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
    /// Where outputs are kept apart by the windows of their event times.
    pub(crate) windows: Option<WindowSplit>,
}

/// How entries are told apart by the time of their event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WindowSplit {
    pub(crate) time: EventTime,
    pub(crate) window_ms: u64,
}

impl WindowSplit {
    /// The window of `user_key`; keys without a time share one.
    #[inline]
    pub(crate) fn window(&self, user_key: &[u8]) -> u64 {
        self.time.of(user_key).unwrap_or(u64::MAX) / self.window_ms
    }
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

    /// The numbers of every input table.
    pub(crate) fn numbers(&self) -> Vec<FileNumber> {
        self.tables().map(|table| table.number).collect()
    }

    /// Bytes of all inputs.
    pub(crate) fn input_bytes(&self) -> u64 {
        self.tables().fold(0, |sum, table| sum.saturating_add(table.bytes))
    }

    /// The event times of all inputs, where they are known of each.
    pub(crate) fn times(&self) -> Option<EventTimes> {
        let mut tables = self.tables();
        let first = tables.next()?.times?;
        tables.try_fold(first, |sum, table| {
            let times = table.times.filter(|times| times.source == sum.source)?;
            Some(EventTimes {
                first_ms: sum.first_ms.min(times.first_ms),
                last_ms: sum.last_ms.max(times.last_ms),
                source: sum.source,
            })
        })
    }

    /// Decides where outputs end. What goes down in steps ends with each table below.
    pub(crate) fn split(&self) -> Split {
        let split = Split::new(self.table_bytes, self.grandparents.clone());
        let from_level0 = self.inputs.iter().all(|input| input.level == 0);
        match self.reason == Reason::Tombstones && from_level0 && self.place.level > 0 {
            true => split.at_each_grandparent(),
            false => split,
        }
    }

    /// Itself, where none of its tables is busy.
    pub(crate) fn if_free(self, busy: &Busy) -> Option<Compaction> {
        let is_free = self.tables().all(|table| !busy.contains(&table.number));
        is_free.then_some(self)
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

/// What a picker looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) version: &'a Version,
    pub(crate) busy: &'a Busy,
    /// The wall clock, in milliseconds since 1970; 0 where it is not known: then nothing expires.
    pub(crate) now_ms: u64,
    pub(crate) ages: Ages,
}

/// What has come of age, as sequence numbers: it holds for everything up to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    /// Tombstones that a merge at the bottom may drop: no snapshot is older, and they have been
    /// kept for as long as they must.
    pub(crate) droppable: SeqNo,
    /// Tombstones that have waited for a compaction long enough.
    pub(crate) overdue: SeqNo,
    /// Older than a FIFO family keeps.
    pub(crate) outlived: SeqNo,
    /// Nothing has been written for a while: there is time for what pays little.
    pub(crate) quiet: bool,
}

impl View<'_> {
    pub(crate) fn is_free(&self, table: &TableMeta) -> bool {
        !self.busy.contains(&table.number)
    }

    /// Whether no table of `run` is busy.
    pub(crate) fn is_run_free(&self, run: &Run) -> bool {
        self.busy.is_empty() || !run.numbers().any(|number| self.busy.contains(&number))
    }

    /// Whether none of these tables is busy.
    pub(crate) fn are_free(&self, numbers: &[FileNumber]) -> bool {
        self.busy.is_empty() || !numbers.iter().any(|number| self.busy.contains(number))
    }
}

/// How far behind compaction is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Debt {
    /// Bytes that compactions will read before nothing is due, estimated.
    pub(crate) bytes: u64,
    /// Runs of level 0 that ought to have been merged: what the stall triggers count.
    pub(crate) runs: usize,
}

/// A stretch of user keys.
#[derive(Debug, Clone)]
pub(crate) struct KeySpan {
    pub(crate) lower: Bound<Vec<u8>>,
    pub(crate) upper: Bound<Vec<u8>>,
}

impl KeySpan {
    /// All keys.
    pub(crate) const ALL: KeySpan = KeySpan { lower: Bound::Unbounded, upper: Bound::Unbounded };

    /// Whether `table` may hold a key of it.
    pub(crate) fn meets(&self, table: &TableMeta) -> bool {
        let ends_before = match &self.lower {
            Bound::Included(lower) => table.largest_user_key() < lower.as_slice(),
            Bound::Excluded(lower) => table.largest_user_key() <= lower.as_slice(),
            Bound::Unbounded => false,
        };
        let begins_behind = match &self.upper {
            Bound::Included(upper) => table.smallest_user_key() > upper.as_slice(),
            Bound::Excluded(upper) => table.smallest_user_key() >= upper.as_slice(),
            Bound::Unbounded => false,
        };
        !ends_before && !begins_behind
    }

    /// Whether every key of `table` lies in it.
    pub(crate) fn holds(&self, table: &TableMeta) -> bool {
        let bounds = (self.lower.as_ref(), self.upper.as_ref());
        let bounds = (bounds.0.map(Vec::as_slice), bounds.1.map(Vec::as_slice));
        let largest = table.largest_user_key();
        let ends_with_it = matches!(bounds.1, Bound::Excluded(upper) if upper == largest);
        RangeBounds::<[u8]>::contains(&bounds, table.smallest_user_key())
            && (RangeBounds::<[u8]>::contains(&bounds, largest)
                || (ends_with_it && !table.end().included && largest > table.smallest_user_key()))
    }
}

/// A plan that takes out the tables all of whose keys lie in `span`. One over an older table that
/// stays is left, so that nothing older comes to light.
pub(crate) fn drop_within(view: &View<'_>, span: &KeySpan) -> Option<Compaction> {
    let levels = view.version.levels().enumerate();
    let mut chosen: Vec<(usize, &Arc<TableMeta>)> = levels
        .flat_map(|(level, of)| of.tables().iter().map(move |table| (level, table)))
        .filter(|(_, table)| span.holds(table) && view.is_free(table))
        .collect();
    spare_covering(view.version, &mut chosen);
    let inputs = chosen.into_iter().map(|(level, table)| leveled::one_table(level, table));
    leveled::drop_plan(inputs.collect(), Reason::Manual)
}

/// Leaves in `chosen` only what may be dropped: no table over an older one that stays.
pub(crate) fn spare_covering(version: &Version, chosen: &mut Vec<(usize, &Arc<TableMeta>)>) {
    loop {
        let numbers: HashSet<FileNumber> = chosen.iter().map(|(_, table)| table.number).collect();
        let before = chosen.len();
        chosen.retain(|(level, table)| {
            let mut older = reclaim::older_overlapping(version, *level, table);
            older.all(|table| numbers.contains(&table.number))
        });
        if chosen.len() == before {
            return;
        }
    }
}

/// Decides what to compact next. Pure: same arguments, same plan.
pub(crate) trait CompactionPicker {
    /// The most useful compaction that does not touch a busy table, or `None`.
    fn pick(&self, view: &View<'_>) -> Option<Compaction>;
    /// Tables that may go as they are, without being read.
    fn pick_drop(&self, view: &View<'_>) -> Option<Compaction>;
    /// The next step towards the fewest runs that the strategy knows, for the tables that meet
    /// `span`; `None` when it is reached, or a busy table is in the way.
    fn pick_manual(&self, view: &View<'_>, span: &KeySpan) -> Option<Compaction>;
    /// How much each level wants compacting; 1.0 and more is due.
    fn scores(&self, version: &Version) -> [f64; LEVELS];
    /// How far behind compaction is.
    fn debt(&self, version: &Version) -> Debt;
}

/// The smallest user key over `tables`, and where the last of them ends; `None` when there are
/// none.
pub(crate) fn user_key_range<'a>(
    tables: impl IntoIterator<Item = &'a Arc<TableMeta>>,
) -> Option<(Vec<u8>, KeyEndBuf)> {
    let mut range: Option<(&[u8], KeyEnd<'_>)> = None;
    for table in tables {
        let (smallest, end) = (table.smallest_user_key(), table.end());
        range = Some(match range {
            None => (smallest, end),
            Some((low, high)) => (low.min(smallest), high.max(end)),
        });
    }
    range.map(|(low, high)| (low.to_vec(), high.to_owned()))
}

/// The tables of a sorted run of a version, or some of them, to iterate over.
#[derive(Debug, Clone)]
pub(crate) enum RunTables {
    /// Some tables of a run that stand side by side.
    Part(Arc<Run>, Range<usize>),
    /// Those tables of a run that hold range tombstones.
    Ranges(Arc<Run>),
    /// Chosen tables, ascending and without overlap.
    Chosen(Vec<Arc<TableMeta>>),
}

impl RunTables {
    fn tables(&self) -> &[Arc<TableMeta>] {
        match self {
            RunTables::Part(run, range) => &run.tables()[range.clone()],
            RunTables::Ranges(run) => run.tables_with_ranges(),
            RunTables::Chosen(tables) => tables,
        }
    }
}

impl SortedTables for RunTables {
    fn count(&self) -> usize {
        self.tables().len()
    }

    fn smallest(&self, index: usize) -> &[u8] {
        &self.tables()[index].smallest
    }

    fn largest(&self, index: usize) -> &[u8] {
        &self.tables()[index].largest
    }

    fn largest_seq(&self, index: usize) -> SeqNo {
        self.tables()[index].largest_seq
    }

    fn handle(&self, index: usize) -> &Arc<TableHandle> {
        &self.tables()[index].handle
    }
}

#[cfg(test)]
mod tests;
