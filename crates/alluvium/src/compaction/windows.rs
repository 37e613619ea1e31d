//! The picker for time windows: merges stay inside a window, and an expired window goes whole.
//!
//! # Windows
//!
//! A window is a stretch of event time; the time follows from the key (`base::event_time`), so that
//! all versions of a key lie in one window. Flushes and merges write a table for each window, which
//! the table's facts name by its event times; an event that comes late goes into its own window's
//! next table. All tables lie in level 0, whose runs need no order among themselves.
//!
//! Keys without a time make up a window of their own that never expires.
//!
//! # Merging
//!
//! Inside a window runs of similar size are merged when there are `ratio` of them, as in tiered
//! compaction. Where keys begin with their time, flushes do not overlap, make one run, and are
//! never merged at all. A window to which nothing has come since the newest one began is merged
//! into one run once, unless its largest run holds nearly all of it.
//!
//! # Expiry
//!
//! A window ends `ttl` after its last moment. One plan then drops every table of every such window,
//! by one edit. Nothing in another window can have been hidden by it.
//!
//! # Range tombstones
//!
//! They cover keys of any window, and lie in tables of their own. Such a table is merged with all
//! that it may hide once that pays, and goes when there is nothing left of that.
//!
//! # What other strategies left
//!
//! Tables whose event times are unknown, or were read from elsewhere in the keys, are rewritten,
//! split by windows; those of deeper levels rise to level 0 on the way, the upper level first, so
//! that nothing newer is left below.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::limits::LEVELS;
use crate::compaction::leveled::{drop_plan, one_table, pick_expired};
use crate::compaction::reclaim::{self, Gain, Upper};
use crate::compaction::strategy::TimeWindows;
use crate::compaction::tiered::tier;
use crate::compaction::{
    Action, Compaction, CompactionPicker, Debt, Input, KeySpan, LevelShape, Reason, TablePlace,
    View, spare_covering,
};
use crate::version::{
    Digest, EventTimes, Level, Sums, TableMeta, Version, Window, WindowRun, Windows,
};

/// Time-window compaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowsPicker {
    shape: LevelShape,
    options: TimeWindows,
}

impl WindowsPicker {
    pub(super) fn new(shape: LevelShape, options: TimeWindows) -> WindowsPicker {
        WindowsPicker { shape, options }
    }

    fn ratio(&self) -> usize {
        self.options.ratio.max(2) as usize
    }

    fn group(&self, version: &Version) -> Arc<Windows> {
        version.level(0).windows(self.options.window_ms(), self.options.time.source())
    }

    fn tier(&self, run: &WindowRun) -> usize {
        tier(run.bytes, self.shape.flush_bytes, self.options.ratio)
    }

    /// Every table of every window that has expired.
    fn pick_dropped(&self, view: &View<'_>) -> Option<Compaction> {
        let before = self.options.expired_before_ms(view.now_ms);
        if before == 0 {
            return None;
        }
        let ends_ms = |time_ms: u64| {
            let window = time_ms / self.options.window_ms();
            window.saturating_add(1).saturating_mul(self.options.window_ms())
        };
        let is_gone = |table: &TableMeta| {
            let counts = |times: &EventTimes| {
                times.source == self.options.time.source() && !times.is_timeless()
            };
            let times = table.times.filter(counts);
            table.range_tombstones == 0
                && times.is_some_and(|times| ends_ms(times.last_ms) <= before)
        };
        let may_be = |digest: &Digest| ends_ms(digest.first_time_ms) <= before;
        let tables = view.version.level(0).tables_that(may_be);
        let gone = tables.filter(|table| is_gone(table) && view.is_free(table));
        let mut gone: Vec<(usize, &Arc<TableMeta>)> = gone.map(|table| (0, table)).collect();
        // What another strategy left may hold older versions, and goes into its window first.
        spare_covering(view.version, &mut gone);
        let inputs = gone.into_iter().map(|(level, table)| one_table(level, table)).collect();
        drop_plan(inputs, Reason::WindowExpired)
    }

    fn merge(
        &self,
        inputs: Vec<Input>,
        (depth, bottom): (usize, bool),
        reason: Reason,
    ) -> Compaction {
        Compaction {
            reason,
            action: Action::Merge,
            inputs,
            place: TablePlace { level: 0, depth, bottom },
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: Some(self.options.split()),
        }
    }

    fn merge_runs<'a>(
        &self,
        runs: impl IntoIterator<Item = &'a WindowRun>,
        whole: bool,
        reason: Reason,
    ) -> Compaction {
        let input = |run: &WindowRun| Input { level: 0, tables: run.tables.clone() };
        let inputs = runs.into_iter().map(input).collect();
        // What a window keeps is written a few times at most: as it will stay.
        self.merge(inputs, (1, whole), reason)
    }

    /// The runs of a window's lowest full tier, with what is smaller.
    fn full_tier<'a>(&self, window: &'a Window, view: &View<'_>) -> Option<Vec<&'a WindowRun>> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let free: Vec<&WindowRun> =
            window.runs.iter().filter(|run| view.are_free(&run.numbers)).collect();
        for run in &free {
            *counts.entry(self.tier(run)).or_default() += 1;
        }
        let (full, _) = counts.into_iter().find(|(_, count)| *count >= self.ratio())?;
        Some(free.into_iter().filter(|run| self.tier(run) <= full).collect())
    }

    /// Whether a window that nobody writes to any more should be one run.
    fn wants_closing(&self, window: &Window) -> bool {
        let largest = window.runs.iter().map(|run| run.bytes).max().unwrap_or(0);
        let rest = window.sums.bytes - largest;
        window.runs.len() > 1 && rest.saturating_mul(self.ratio() as u64) >= window.sums.bytes
    }

    fn pick_window(&self, view: &View<'_>, grouped: &Windows) -> Option<Compaction> {
        let timeless = u64::MAX / self.options.window_ms();
        let mut dated = grouped.windows.iter().rev().filter(|(window, _)| **window != timeless);
        let newest_begins = dated.next().map(|(_, newest)| newest.smallest_seq);
        for (&number, window) in grouped.windows.iter().rev() {
            if let Some(runs) = self.full_tier(window, view) {
                let whole = runs.len() == window.runs.len();
                return Some(self.merge_runs(runs, whole, Reason::WindowFull));
            }
            let closed = number != timeless && newest_begins > Some(window.largest_seq);
            if closed && self.wants_closing(window) && is_window_free(view, window) {
                return Some(self.merge_runs(&window.runs, true, Reason::WindowFull));
            }
        }
        None
    }

    /// One table that another strategy left.
    fn pick_unsorted(&self, view: &View<'_>, grouped: &Windows) -> Option<Compaction> {
        let one = |level: usize, table: &Arc<TableMeta>| {
            let inputs = vec![Input { level, tables: vec![Arc::clone(table)] }];
            self.merge(inputs, (1, false), Reason::Drain)
        };
        if let Some(table) = grouped.unsorted.values().find(|table| view.is_free(table)) {
            return Some(one(0, table));
        }
        let level = (1..LEVELS).find(|&level| !view.version.level(level).is_empty())?;
        let table = view.version.level(level).tables().iter().find(|table| view.is_free(table))?;
        Some(one(level, table))
    }

    /// A table of range tombstones, and all that it may hide, of whatever window; where that pays,
    /// or somebody asks for those that meet a span.
    fn pick_covered(&self, view: &View<'_>, asked: Option<&KeySpan>) -> Option<Compaction> {
        let runs = view.version.level(0).runs().iter();
        let mut ranges = runs.flat_map(|run| run.tables_with_ranges()).filter(|table| {
            table.entries == 0
                && table.largest_seq <= view.ages.droppable
                && view.is_free(table)
                && asked.is_none_or(|span| span.meets(table))
        });
        ranges.find_map(|table| {
            let hidden = reclaim::older_overlapping(view.version, 0, table);
            let hidden: Vec<Arc<TableMeta>> = hidden.cloned().collect();
            let sums = reclaim::sums_of(&hidden);
            let in_level0 = view.version.levels().skip(1).all(Level::is_empty);
            let gain = reclaim::gain(&Upper::table(view, table), sums, sums);
            let wanted = asked.is_some() || gain.pays();
            if !in_level0 || !wanted || !hidden.iter().all(|table| view.is_free(table)) {
                return None;
            }
            let tables = std::iter::once(Arc::clone(table)).chain(hidden);
            let inputs = tables.map(|table| one_table(0, &table)).collect();
            Some(self.merge(inputs, (1, false), Reason::Tombstones))
        })
    }

    /// A window whose tombstones or expired entries pay for its merge.
    fn pick_reclaim(&self, view: &View<'_>, grouped: &Windows) -> Option<Compaction> {
        let plans = grouped.windows.values().filter_map(|window| {
            let pays = if window.runs.len() == 1 {
                reclaim::any_may_pay_at_the_bottom(view, &window.digest)
                    && window.tables().any(|table| pays_alone(view, table))
            } else {
                reclaim::any_may_free(view, &window.digest) && pays_together(view, window)
            };
            (pays && is_window_free(view, window))
                .then(|| self.merge_runs(&window.runs, true, Reason::Tombstones))
        });
        // Of one run only the tables that pay.
        plans.into_iter().next().map(|mut plan| {
            if let [input] = plan.inputs.as_mut_slice() {
                input.tables.retain(|table| pays_alone(view, table));
                input.tables.truncate(1);
            }
            plan
        })
    }
}

fn is_window_free(view: &View<'_>, window: &Window) -> bool {
    window.runs.iter().all(|run| view.are_free(&run.numbers))
}

/// Whether merging all runs of `window` frees enough. The tombstones of a run may hide what is in
/// older runs, and nothing in its own: there is no second merge for those that have to stay.
fn pays_together(view: &View<'_>, window: &Window) -> bool {
    let seqs = |run: &WindowRun| {
        let smallest = run.tables.iter().map(|table| table.smallest_seq).min();
        (smallest, run.tables.iter().map(|table| table.largest_seq).max())
    };
    let runs: Vec<_> =
        window.runs.iter().map(|run| (run, seqs(run), reclaim::sums_of(&run.tables))).collect();
    let mut sum = Gain { cost_bytes: window.sums.bytes, ..Gain::default() };
    for (run, (_, largest), sums) in &runs {
        let others = || runs.iter().filter(|(other, ..)| !std::ptr::eq(*other, *run));
        let older = others().filter(|(_, (smallest, _), _)| smallest < largest);
        let older = older.fold(Sums::default(), |sum, (.., sums)| sum.and(*sums));
        let rest = others().fold(Sums::default(), |sum, (.., sums)| sum.and(*sums));
        debug_assert_eq!(rest.bytes + sums.bytes, window.sums.bytes);
        let own = reclaim::gain(&Upper::tables(view, run.tables.iter()), rest, older);
        sum.freed_bytes = sum.freed_bytes.saturating_add(own.freed_bytes);
        sum.overdue |= own.overdue;
        sum.quiet |= own.quiet;
    }
    let goes = |table: &Arc<TableMeta>| {
        reclaim::is_overdue(view, table) && table.oldest_tombstone <= view.ages.droppable
    };
    sum.overdue |= window.tables().any(goes);
    sum.pays()
}

/// Whether rewriting `table` by itself frees enough: nothing older can lie under it.
fn pays_alone(view: &View<'_>, table: &TableMeta) -> bool {
    reclaim::pays_at_the_bottom(view, table) && !reclaim::lies_over_older(view.version, 0, table)
}

impl CompactionPicker for WindowsPicker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        let grouped = self.group(view.version);
        self.pick_dropped(view)
            .or_else(|| self.pick_window(view, &grouped))
            .or_else(|| self.pick_unsorted(view, &grouped))
            .or_else(|| pick_expired(view))
            .or_else(|| self.pick_reclaim(view, &grouped))
            .or_else(|| self.pick_covered(view, None))
    }

    fn pick_drop(&self, view: &View<'_>) -> Option<Compaction> {
        self.pick_dropped(view).or_else(|| pick_expired(view))
    }

    fn pick_manual(&self, view: &View<'_>, span: &KeySpan) -> Option<Compaction> {
        let grouped = self.group(view.version);
        let first = self.pick_dropped(view).or_else(|| self.pick_unsorted(view, &grouped));
        if let Some(plan) = first.or_else(|| self.pick_covered(view, Some(span))) {
            return Some(plan);
        }
        let met = |window: &&Arc<Window>| window.tables().any(|table| span.meets(table));
        let mut windows = grouped.windows.values().filter(met);
        let merged = windows.find(|window| window.runs.len() > 1 && is_window_free(view, window));
        if let Some(window) = merged {
            return Some(self.merge_runs(&window.runs, true, Reason::Manual));
        }
        let tables = grouped.windows.values().filter(|window| window.runs.len() == 1);
        let mut tables = tables.flat_map(|window| window.tables());
        let table = tables.find(|table| {
            span.meets(table)
                && view.is_free(table)
                && reclaim::frees_at_the_bottom(view, table)
                && !reclaim::lies_over_older(view.version, 0, table)
        })?;
        Some(self.merge(vec![one_table(0, table)], (1, true), Reason::Manual))
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        let grouped = self.group(version);
        let mut scores = [0.0; LEVELS];
        let most = grouped.windows.values().map(|window| window.runs.len()).max().unwrap_or(0);
        scores[0] = most as f64 / self.ratio() as f64;
        for (level, score) in scores.iter_mut().enumerate().skip(1) {
            *score = if version.level(level).is_empty() { 0.0 } else { 1.0 };
        }
        scores
    }

    fn debt(&self, version: &Version) -> Debt {
        let grouped = self.group(version);
        let allowed = self.ratio();
        let mut debt = Debt { bytes: reclaim::sums_of(grouped.unsorted.values()).bytes, runs: 0 };
        for window in grouped.windows.values() {
            let mut tiers: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
            for run in &window.runs {
                let (count, sum) = tiers.entry(self.tier(run)).or_default();
                *count += 1;
                *sum += run.bytes;
            }
            let over = tiers.values().map(|(count, _)| count.saturating_sub(allowed - 1)).sum();
            debt.runs = debt.runs.max(over);
            let full = tiers.values().filter(|(count, _)| *count >= allowed);
            debt.bytes = debt.bytes.saturating_add(full.map(|(_, bytes)| bytes).sum());
        }
        debt
    }
}
