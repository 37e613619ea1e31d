//! The leveled picker: level 0 by number of runs, deeper levels by size, a few tables at a time.
//!
//! # Dynamic level sizes
//!
//! The deepest level is the measure: its size divided by the ratio is the target of the one above,
//! and so on up, until a level would be smaller than `level1_bytes`. That one is the *base*: level
//! 0 is merged straight into it, the levels between stay empty. So nine tenths of the data lie in
//! the deepest level whatever the store's size, and garbage is a tenth of it at most (Dong et al.,
//! "Optimizing Space Amplification in RocksDB", CIDR 2017).
//!
//! # Scores
//!
//! Level 0: runs ÷ trigger, or bytes ÷ `level1_bytes` where that is more. Level n: bytes ÷ its
//! target, divided by the same of the level below where that is over its own: no use in moving data
//! into a level that cannot hold it. The highest score of 1.0 and more is served first.
//!
//! While hardly anybody reads, level 0 *gathers* (`Level0::Gathering`): its trigger and
//! `level1_bytes` are some times what they are else, so that what lies below is rewritten less
//! often for the same bytes.
//!
//! # Which tables
//!
//! From level 0, the oldest runs that are free, up to a bound: newer ones may stay, older ones not.
//! Of these, tables that meet nothing move, all at once; what is left goes down by clusters, the
//! one first that has least to rewrite (`compaction::clusters`).
//! Where a running job has the older ones, or where what is in level 0 is small beside what it
//! would be merged into, its runs are merged among themselves instead, so that reads and stalls
//! need not wait.
//!
//! From a deeper level, the one table whose overlap with the next level is smallest in proportion
//! to its size: least bytes rewritten for each byte moved down (RocksDB's `kMinOverlappingRatio`,
//! its default since 2019). Tables dense in tombstones count as larger.
//!
//! When no level is over its size: expired tables, and tables whose tombstones or expired entries
//! pay for the rewrite (`compaction::reclaim`). And where nothing is written, what is left in level
//! 0, for the sake of those who read.
//!
//! # Moves
//!
//! Tables that overlap nothing in the next level, and not too much in the one below that, move by
//! an edit alone, unless the place where they would go asks for another codec.

mod reclaiming;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::limits::LEVELS;
use crate::base::planted;
use crate::compaction::clusters::{Cluster, clusters};
use crate::compaction::reclaim;
use crate::compaction::{
    Action, Busy, Compaction, CompactionPicker, Debt, Input, KeySpan, LevelShape, Reason,
    TablePlace, View, level0_inputs, order, user_key_range,
};
use crate::version::{Run, Sums, TableMeta, Version};

pub(super) use self::reclaiming::pick_expired;
use self::reclaiming::room_bytes;

/// The deepest level.
pub(super) const BOTTOM: usize = LEVELS - 1;

/// A table moves without a rewrite only if it overlaps at most this many times the target table
/// size two levels down; else compacting it on would be dear.
const MOVE_OVERLAP_FACTOR: u64 = 10;

/// Each tombstone counts as this many bytes more when a table is chosen.
const TOMBSTONE_WEIGHT_BYTES: u64 = 256;

/// Level 0 is merged among itself where the next level's part of a merge would be this many times
/// its own.
const LOPSIDED: u64 = 8;

/// A step out of level 0 takes older runs until it has this many times the base's target size, so
/// that what another strategy left there goes down in steps.
const LEVEL0_STEP_FACTOR: u64 = 8;

/// A run of level 0 of more flushes than this does not count against the triggers of stalls.
const LARGE_RUN_FLUSHES: u64 = 16;

/// Tables of less than this part of the target do not go down each for itself.
const SMALL_PART: u64 = 4;

/// Leveled compaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeveledPicker {
    shape: LevelShape,
}

/// What each level should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Targets {
    /// The level that level 0 is merged into.
    base: usize,
    /// 0 for what should be empty; `u64::MAX` for the deepest.
    bytes: [u64; LEVELS],
}

impl LeveledPicker {
    pub(super) fn new(shape: LevelShape) -> LeveledPicker {
        LeveledPicker { shape }
    }

    fn targets(&self, version: &Version) -> Targets {
        let ratio = u64::from(self.shape.level_ratio.max(2));
        let largest = (1..LEVELS).map(|level| version.level(level).bytes()).max().unwrap_or(0);
        let (mut base, mut size) = (BOTTOM, largest);
        while size > self.shape.level1_bytes && base > 1 {
            size /= ratio;
            base -= 1;
        }
        let mut bytes = [0; LEVELS];
        // Of a store that all levels are too few for, the first is larger than it would be: else
        // the last step would be the ratio many times over.
        let mut target = size.max(self.shape.level1_bytes.div_ceil(ratio)).max(1);
        for level in &mut bytes[base..] {
            *level = target;
            target = target.saturating_mul(ratio);
        }
        bytes[BOTTOM] = u64::MAX;
        // What lies above the base must not be passed.
        let highest = (1..base).find(|&level| !version.level(level).is_empty());
        Targets { base: highest.unwrap_or(base), bytes }
    }

    /// How full each level is against its target. What a running job holds is not counted: most of
    /// it is about to leave, and what stays counts again when the job ends.
    fn fullness(&self, version: &Version, targets: &Targets, busy: &Busy) -> [f64; LEVELS] {
        let mut full = [0.0; LEVELS];
        let level0 = version.level(0);
        let by_runs = level0.runs().len() as f64 / self.shape.level0_runs.max(1) as f64;
        let below = (1..LEVELS).map(|level| version.level(level).bytes()).sum();
        full[0] = by_runs.max(level0.bytes() as f64 / self.shape.level0_bytes(below) as f64);
        for (level, full) in full.iter_mut().enumerate().skip(1) {
            let target = targets.bytes[level];
            // The deepest is never too full: nor is it counted, for it has nearly all tables.
            let bytes = if target == u64::MAX { 0 } else { free_bytes(version, level, busy) };
            *full = match (target, bytes) {
                (_, 0) => 0.0,
                // To be drained: before all that is only somewhat too full.
                (0, bytes) => 2.0 + bytes as f64 / self.shape.level1_bytes.max(1) as f64,
                (target, bytes) => bytes as f64 / target as f64,
            };
        }
        full
    }

    /// How much each level wants compacting beside what is `busy`.
    fn scores_but(&self, version: &Version, busy: &Busy) -> [f64; LEVELS] {
        let full = self.fullness(version, &self.targets(version), busy);
        let mut scores = full;
        for level in 1..BOTTOM {
            scores[level] /= full[level + 1].max(1.0);
        }
        // What gathers is as urgent in the end as where it does not.
        scores[0] *= if full[0] >= 1.0 { self.shape.gathered } else { 1.0 };
        // An overfull level is still due: only its turn comes later.
        for (score, full) in scores.iter_mut().zip(full) {
            if full >= 1.0 {
                *score = score.max(1.0);
            }
        }
        scores
    }

    fn place(&self, version: &Version, level: usize, base: usize) -> TablePlace {
        let deepest = version.deepest_level().unwrap_or(0);
        TablePlace {
            level,
            depth: (level + 1).saturating_sub(base).max(1),
            bottom: level >= deepest && level > 0,
        }
    }

    fn pick_level0(&self, view: &View<'_>, targets: &Targets) -> Option<Compaction> {
        let version = view.version;
        let free = free_runs(view);
        let total: u64 = free.iter().map(|run| run.bytes()).sum();
        let lopsided = || {
            let below = lower_sums(version, targets.base, free.iter().flat_map(|run| ends(run)));
            below.bytes / LOPSIDED > total && total < self.shape.level1_bytes / LOPSIDED
        };
        if !lopsided() {
            let down = self.level0_down(view, targets, Reason::Level0Runs);
            if down.is_some() {
                return down;
            }
        }
        // Small beside what it meets below; where its runs do not go together either, it goes down.
        self.merge_in_level0(&free).or_else(|| self.level0_down(view, targets, Reason::Level0Runs))
    }

    /// The oldest runs of level 0, down to the base.
    fn level0_down(
        &self,
        view: &View<'_>,
        targets: &Targets,
        reason: Reason,
    ) -> Option<Compaction> {
        let runs = view.version.level(0).runs();
        let step = self.shape.level0_bytes(0).saturating_mul(LEVEL0_STEP_FACTOR);
        let (mut bytes, mut oldest) = (0, runs.len());
        while oldest > 0 && bytes < step {
            oldest -= 1;
            bytes += runs[oldest].bytes();
        }
        // What a running job has stays, where nothing older of it would stay behind. More, where it
        // would: windows of time lie in no order of age.
        (0..=oldest).rev().find_map(|from| {
            let mut chosen: Vec<Input> =
                runs[from..].iter().filter_map(|run| free_part(view, run)).collect();
            if planted::is("older-level0-table-left-behind") && chosen.len() > 1 {
                chosen.pop();
                return self.plan(view, targets, reason, 0, chosen);
            }
            if reason != Reason::Level0Runs {
                // What is to be gained is that of all together.
                let plan = self.plan(view, targets, reason, 0, chosen)?;
                return order::breach(view.version, &plan).is_none().then_some(plan);
            }
            let lower = lower_of(view.version, targets.base, tables_of(&chosen));
            let small = self.shape.table_bytes / SMALL_PART;
            let mut clusters = clusters(&chosen, &lower, small);
            let moves = self.moves_down(view, targets, &chosen, &clusters);
            clusters.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
            let merges = clusters
                .into_iter()
                .filter_map(|cluster| self.plan(view, targets, reason, 0, cluster.upper));
            moves.into_iter().chain(merges).find(|plan| order::breach(view.version, plan).is_none())
        })
    }

    /// Those tables of `chosen` that hang together with nothing and may move, all at once.
    fn moves_down(
        &self,
        view: &View<'_>,
        targets: &Targets,
        chosen: &[Input],
        clusters: &[Cluster],
    ) -> Option<Compaction> {
        let alone = clusters.iter().filter(|cluster| cluster.alone().is_some());
        let mut plans = alone.filter_map(|cluster| {
            let plan = self.plan(view, targets, Reason::Level0Runs, 0, cluster.upper.clone())?;
            (plan.action == Action::Move).then_some(plan)
        });
        let first = plans.next()?;
        let mut moving: HashSet<FileNumber> = first.tables().map(|table| table.number).collect();
        moving.extend(plans.flat_map(|plan| plan.tables().map(|t| t.number).collect::<Vec<_>>()));
        Some(Compaction {
            inputs: chosen_of(chosen, |table| moving.contains(&table.number)),
            ..first
        })
    }

    /// Level 0 goes down though it is not full, where nothing is written: each of its runs costs
    /// every lookup and every scan. Each flush is merged down for this once at most.
    fn empty_level0(&self, view: &View<'_>, targets: &Targets) -> Option<Compaction> {
        let level0 = view.version.level(0);
        if !view.ages.quiet || level0.is_empty() {
            return None;
        }
        let ends = level0.runs().iter().flat_map(|run| ends(run));
        let below = lower_sums(view.version, targets.base, ends);
        if below.bytes / LOPSIDED > level0.bytes() {
            return None;
        }
        self.level0_down(view, targets, Reason::Level0Runs)
    }

    /// Several free runs of level 0 into one that stays there.
    fn merge_in_level0(&self, free: &[&Arc<Run>]) -> Option<Compaction> {
        // The newest first, and only while the next is no giant beside them.
        let mut total = 0u64;
        let similar = free.iter().take_while(|run| {
            let fits = total == 0 || run.bytes() <= total.saturating_mul(2);
            total += run.bytes();
            fits
        });
        let chosen: Vec<Input> = similar.map(|run| whole_run(run)).collect();
        if chosen.len() < self.shape.level0_runs.max(2) {
            return None;
        }
        let place = TablePlace { level: 0, depth: 0, bottom: false };
        Some(Compaction {
            reason: Reason::Level0Merge,
            action: Action::Merge,
            inputs: chosen,
            place,
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        })
    }

    fn pick_deeper(&self, view: &View<'_>, targets: &Targets, level: usize) -> Option<Compaction> {
        let version = view.version;
        // A level that is to be empty is in nobody's way: what goes down in steps lies there.
        let room = if targets.bytes[level] == 0 { room_bytes(view) } else { u64::MAX };
        if room == 0 {
            return None;
        }
        let free = version.level(level).tables().iter().filter(|table| view.is_free(table));
        let weigh =
            |table| Reverse(Candidate { ratio: overlap_ratio(version, level, table), table });
        // A heap, for the first is nearly always taken.
        let mut candidates: BinaryHeap<Reverse<Candidate<'_>>> = free.map(weigh).collect();
        std::iter::from_fn(|| candidates.pop()).find_map(|Reverse(Candidate { table, .. })| {
            let upper = vec![one_table(level, table)];
            let plan = self.plan(view, targets, Reason::LevelSize, level, upper);
            plan.filter(|plan| plan.input_bytes() <= room)
        })
    }

    /// Completes a plan from its upper inputs; `None` when it would touch a busy table.
    fn plan(
        &self,
        view: &View<'_>,
        targets: &Targets,
        reason: Reason,
        level: usize,
        mut inputs: Vec<Input>,
    ) -> Option<Compaction> {
        let version = view.version;
        let output = if level == 0 { targets.base } else { level + 1 };
        let upper = || inputs.iter().flat_map(|input| &input.tables);
        let lower = lower_of(version, output, upper());
        let (smallest, largest) = user_key_range(upper().chain(&lower))?;
        let grandparents = if output < BOTTOM {
            version.overlapping(output + 1, &smallest, &largest)
        } else {
            Vec::new()
        };
        let place = self.place(version, output, targets.base);
        let moves = reason != Reason::Manual
            && inputs.len() == 1
            && lower.is_empty()
            && upper().all(|table| self.moves(table, place, &grandparents));
        if !lower.is_empty() {
            inputs.push(Input { level: output, tables: lower });
        }
        let plan = Compaction {
            reason,
            action: if moves { Action::Move } else { Action::Merge },
            inputs,
            place,
            table_bytes: self.shape.table_bytes,
            grandparents,
            windows: None,
        };
        plan.if_free(view.busy)
    }

    /// Whether `table` may go to `place` as it is.
    fn moves(
        &self,
        table: &Arc<TableMeta>,
        place: TablePlace,
        grandparents: &[Arc<TableMeta>],
    ) -> bool {
        let (low, high) = (table.smallest_user_key(), table.largest_user_key());
        let overlapping = grandparents.iter().filter(|other| other.overlaps(low, high));
        let overlapped: u64 = overlapping.map(|other| other.bytes).sum();
        overlapped <= self.shape.table_bytes.saturating_mul(MOVE_OVERLAP_FACTOR)
            && table.codec == self.shape.codec(place)
    }

    /// One step of emptying `level` into the next, for a strategy that does not use it.
    pub(super) fn drain(&self, view: &View<'_>, level: usize) -> Option<Compaction> {
        let targets = Targets { base: level, bytes: [0; LEVELS] };
        let tables = view.version.level(level).tables().iter();
        let mut free = tables.filter(|table| view.is_free(table));
        free.find_map(|table| {
            self.plan(view, &targets, Reason::Drain, level, vec![one_table(level, table)])
        })
    }
}

/// A plan that drops `inputs`, where there are any.
pub(super) fn drop_plan(inputs: Vec<Input>, reason: Reason) -> Option<Compaction> {
    (!inputs.is_empty()).then(|| Compaction {
        reason,
        action: Action::Drop,
        inputs,
        place: TablePlace::FLUSHED,
        table_bytes: 0,
        grandparents: Vec::new(),
        windows: None,
    })
}

/// The bytes of those tables of `level` that are not busy.
fn free_bytes(version: &Version, level: usize, busy: &Busy) -> u64 {
    let level = version.level(level);
    let held = |run: &Arc<Run>| run.sums_that(|number| busy.contains(&number)).bytes;
    let held = if busy.is_empty() { 0 } else { level.runs().iter().map(held).sum() };
    level.bytes() - held
}

/// The runs of level 0 without a busy table, newest first.
pub(super) fn free_runs<'a>(view: &View<'a>) -> Vec<&'a Arc<Run>> {
    let runs = view.version.level(0).runs().iter();
    runs.filter(|run| view.is_run_free(run)).collect()
}

/// The tables of `level` that overlap any of `upper`.
fn lower_of<'a>(
    version: &Version,
    level: usize,
    upper: impl IntoIterator<Item = &'a Arc<TableMeta>>,
) -> Vec<Arc<TableMeta>> {
    user_key_range(upper)
        .map(|(smallest, largest)| version.overlapping(level, &smallest, &largest))
        .unwrap_or_default()
}

/// What the tables of `level` hold that overlap any of `upper`; of the levels behind level 0.
fn lower_sums<'a>(
    version: &Version,
    level: usize,
    upper: impl IntoIterator<Item = &'a Arc<TableMeta>>,
) -> Sums {
    let range = user_key_range(upper);
    range.map(|(low, end)| version.level(level).overlapping_sums(&low, &end)).unwrap_or_default()
}

/// What everything below `level` holds that overlaps `tables`.
fn below_sums<'a>(
    version: &Version,
    level: usize,
    tables: impl IntoIterator<Item = &'a Arc<TableMeta>> + Clone,
) -> Sums {
    let sums = |deeper| lower_sums(version, deeper, tables.clone());
    (level + 1..LEVELS).map(sums).fold(Sums::default(), Sums::and)
}

/// The first table of `run` and the last: what its range of keys follows from.
fn ends(run: &Run) -> impl Iterator<Item = &Arc<TableMeta>> + Clone {
    run.tables().first().into_iter().chain(run.tables().last())
}

/// What of `inputs` is `chosen`.
fn chosen_of(inputs: &[Input], chosen: impl Fn(&Arc<TableMeta>) -> bool) -> Vec<Input> {
    let parts = inputs.iter().map(|input| Input {
        level: input.level,
        tables: input.tables.iter().filter(|table| chosen(table)).cloned().collect(),
    });
    parts.filter(|part| !part.tables.is_empty()).collect()
}

fn tables_of(inputs: &[Input]) -> impl Iterator<Item = &Arc<TableMeta>> {
    inputs.iter().flat_map(|input| &input.tables)
}

pub(super) fn one_table(level: usize, table: &Arc<TableMeta>) -> Input {
    Input { level, tables: vec![Arc::clone(table)] }
}

/// The tables of `run` that are free, where there are any.
fn free_part(view: &View<'_>, run: &Run) -> Option<Input> {
    let free = run.tables().iter().filter(|table| view.is_free(table));
    let tables: Vec<Arc<TableMeta>> = free.cloned().collect();
    (!tables.is_empty()).then_some(Input { level: 0, tables })
}

pub(super) fn whole_run(run: &Run) -> Input {
    Input { level: 0, tables: run.tables().to_vec() }
}

/// Bytes to rewrite below for each byte of `table` moved down.
fn overlap_ratio(version: &Version, level: usize, table: &Arc<TableMeta>) -> f64 {
    let below = version.level(level + 1);
    let below = below.overlapping_sums(table.smallest_user_key(), table.largest_user_key());
    let weight =
        table.bytes.saturating_add(table.tombstones.saturating_mul(TOMBSTONE_WEIGHT_BYTES));
    below.bytes as f64 / weight.max(1) as f64
}

/// A table that may be moved down: the least overlap first, then the older file.
#[derive(Debug)]
struct Candidate<'a> {
    ratio: f64,
    table: &'a Arc<TableMeta>,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ratio.total_cmp(&other.ratio).then(self.table.number.cmp(&other.table.number))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

impl CompactionPicker for LeveledPicker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        let targets = self.targets(view.version);
        let scores = self.scores_but(view.version, view.busy);
        let mut due: Vec<(f64, usize)> = scores
            .into_iter()
            .enumerate()
            .filter(|&(level, score)| score >= 1.0 && level < BOTTOM)
            .map(|(level, score)| (score, level))
            .collect();
        due.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let by_size = due.into_iter().find_map(|(_, level)| match level {
            0 => self.pick_level0(view, &targets),
            _ => self.pick_deeper(view, &targets, level),
        });
        by_size
            .or_else(|| pick_expired(view))
            .or_else(|| self.pick_reclaim(view, &targets))
            .or_else(|| self.empty_level0(view, &targets))
    }

    fn pick_drop(&self, view: &View<'_>) -> Option<Compaction> {
        pick_expired(view)
    }

    fn pick_manual(&self, view: &View<'_>, span: &KeySpan) -> Option<Compaction> {
        let version = view.version;
        let targets = self.targets(version);
        let deepest = version.deepest_level()?.max(targets.base);
        let met =
            |level: usize| version.level(level).tables().iter().filter(|table| span.meets(table));
        match (0..deepest).find(|&level| met(level).next().is_some()) {
            Some(0) => {
                let inputs = level0_inputs(version, |_| true);
                self.plan(view, &targets, Reason::Manual, 0, inputs)
            }
            Some(level) => {
                let inputs = vec![one_table(level, met(level).next()?)];
                self.plan(view, &targets, Reason::Manual, level, inputs)
            }
            None => {
                // Everything is at the bottom: what garbage it may drop by now is dropped.
                let mut frees = met(deepest).filter(|table| {
                    view.is_free(table) && reclaim::frees_at_the_bottom(view, table)
                });
                Some(self.in_place(version, &targets, deepest, frees.next()?, Reason::Manual))
            }
        }
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        self.scores_but(version, &Busy::new())
    }

    fn debt(&self, version: &Version) -> Debt {
        let targets = self.targets(version);
        let full = self.fullness(version, &targets, &Busy::new());
        let mut bytes = 0u64;
        // What leaves a level is read, and with it what it meets in the next.
        let mut coming = [0u64; LEVELS];
        for level in 0..BOTTOM {
            let held = version.level(level).bytes().saturating_add(coming[level]);
            let (over, next) = match level {
                0 => (if full[0] >= 1.0 { held } else { 0 }, targets.base),
                _ => (held.saturating_sub(targets.bytes[level]), level + 1),
            };
            let below = version.level(next).bytes();
            let meets = below.min(over.saturating_mul(u64::from(self.shape.level_ratio)));
            bytes = bytes.saturating_add(over).saturating_add(meets);
            coming[next] = coming[next].saturating_add(over);
        }
        // Large runs, which another strategy left, are bytes to be moved and no sign of being
        // behind.
        let large = self.shape.flush_bytes.saturating_mul(LARGE_RUN_FLUSHES);
        let runs = version.level(0).runs().iter().filter(|run| run.bytes() <= large).count();
        Debt { bytes, runs }
    }
}
