//! The pickers that let runs of similar size gather before they merge them: tiered compaction, and
//! lazy leveling.
//!
//! # Tiers
//!
//! The tier of a run follows from its size: runs of about one flush make up one tier, of `ratio`
//! times that the next, and so on. A tier with `ratio` runs is merged into one run, which then
//! belongs to the next. Each byte is written about once a tier; a lookup meets up to `ratio - 1`
//! runs a tier. (O'Neil's LSM-tree generalised by Jagadish et al. 1997; "universal compaction" in
//! RocksDB.) All runs lie in level 0, whose runs need no order among themselves.
//!
//! # Lazy leveling
//!
//! The deepest level is one sorted run, as in leveled compaction, and everything above it is tiers.
//! When they hold one `ratio`th of the bottom they are merged into it (Dayan and Idreos,
//! "Dostoevsky", SIGMOD 2018). As nearly all data is at the bottom, point reads and space are
//! nearly those of leveling; only the bottom pays for it.
//!
//! # What other strategies left
//!
//! Tables of levels 1 and deeper are drained step by step into the deepest level, whose run then
//! counts as the oldest.

use std::sync::Arc;

use crate::base::limits::LEVELS;
use crate::compaction::leveled::{
    BOTTOM, LeveledPicker, free_runs, one_table, pick_expired, whole_run,
};
use crate::compaction::reclaim::{self, Upper};
use crate::compaction::{
    Action, Compaction, CompactionPicker, Debt, Input, KeySpan, LevelShape, Reason, TablePlace,
    View, order,
};
use crate::version::{Digest, Run, TableMeta, Version};

/// Tiers that there can be, a flush in the middle: enough for 1 to 2^64 bytes at ratio 2.
const TIERS_MAX: usize = 128;

/// The tier of a full flush. What is flushed early, or in pieces, is in one below.
const FLUSH_TIER: usize = TIERS_MAX / 2;

/// Tiered compaction, with or without a leveled bottom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TieredPicker {
    shape: LevelShape,
    ratio: u32,
    lazy: bool,
}

impl TieredPicker {
    pub(super) fn tiered(shape: LevelShape, ratio: u32) -> TieredPicker {
        TieredPicker { shape, ratio, lazy: false }
    }

    pub(super) fn lazy(shape: LevelShape, ratio: u32) -> TieredPicker {
        TieredPicker { shape, ratio, lazy: true }
    }

    fn ratio(&self) -> usize {
        self.ratio.max(2) as usize
    }

    /// The tier of a run of `bytes`.
    fn tier(&self, bytes: u64) -> usize {
        tier(bytes, self.shape.flush_bytes, self.ratio)
    }

    /// What lies above the deepest level is worth merging into it.
    fn bottom_due(&self, version: &Version) -> bool {
        let level0 = version.level(0);
        let bottom = version.level(BOTTOM).bytes();
        let share = if self.lazy { u64::from(self.ratio.max(2)) } else { 1 };
        let enough = level0.bytes() >= bottom / share;
        let many = level0.bytes() >= self.shape.flush_bytes.saturating_mul(self.ratio() as u64)
            || level0.runs().len() >= self.ratio();
        // Tiers alone need no bottom; one that another strategy left takes part as the oldest run.
        enough && many && (self.lazy || bottom > 0)
    }

    /// All of level 0 into the deepest level.
    fn pick_bottom(&self, view: &View<'_>, reason: Reason) -> Option<Compaction> {
        let version = view.version;
        let mut inputs: Vec<Input> =
            version.level(0).runs().iter().map(|run| whole_run(run)).collect();
        if inputs.is_empty() {
            return None;
        }
        let tables = inputs.iter().flat_map(|input| &input.tables);
        let (low, high) = crate::compaction::user_key_range(tables)?;
        let bottom = version.overlapping(BOTTOM, &low, &high);
        let place = TablePlace { level: BOTTOM, depth: BOTTOM, bottom: true };
        let codec = self.shape.codec(place);
        let moves = inputs.len() == 1
            && bottom.is_empty()
            && reason != Reason::Manual
            && inputs[0].tables.iter().all(|table| table.codec == codec);
        if !bottom.is_empty() {
            inputs.push(Input { level: BOTTOM, tables: bottom });
        }
        let plan = Compaction {
            reason,
            action: if moves { Action::Move } else { Action::Merge },
            inputs,
            place,
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        };
        let plan = plan.if_free(view.busy)?;
        // Tables that are still being drained, or cannot be, lie in between.
        order::breach(version, &plan).is_none().then_some(plan)
    }

    /// The lowest tier that is full.
    fn pick_tier(&self, view: &View<'_>) -> Option<Compaction> {
        let mut tiers: Vec<Vec<&Arc<Run>>> = vec![Vec::new(); TIERS_MAX];
        for run in free_runs(view) {
            tiers[self.tier(run.bytes())].push(run);
        }
        let full = tiers.iter().position(|runs| runs.len() >= self.ratio())?;
        // Runs of still smaller tiers that lie about need not wait: they cost next to nothing.
        let small = tiers[..full].iter().flatten();
        let chosen: Vec<&Arc<Run>> = small.chain(&tiers[full]).copied().collect();
        let depth = (full + 1).saturating_sub(FLUSH_TIER).max(1);
        Some(self.merge_runs(view.version, &chosen, depth, Reason::TierFull))
    }

    /// `runs` into one run of level 0.
    fn merge_runs(
        &self,
        version: &Version,
        runs: &[&Arc<Run>],
        depth: usize,
        reason: Reason,
    ) -> Compaction {
        let all = version.level(0).runs().len() == runs.len();
        let nothing_below = version.deepest_level().is_none_or(|deepest| deepest == 0);
        Compaction {
            reason,
            action: Action::Merge,
            inputs: runs.iter().map(|run| whole_run(run)).collect(),
            place: TablePlace { level: 0, depth, bottom: all && nothing_below },
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        }
    }

    /// Tables above the deepest level, but for level 0, are another strategy's.
    fn pick_drain(&self, view: &View<'_>) -> Option<Compaction> {
        let version = view.version;
        let level = (1..BOTTOM).rev().find(|&level| !version.level(level).is_empty())?;
        LeveledPicker::new(self.shape).drain(view, level)
    }

    /// Everything that a run's tombstones and expired entries hide, where that pays.
    fn pick_reclaim(&self, view: &View<'_>) -> Option<Compaction> {
        let version = view.version;
        let deep = version.level(BOTTOM);
        let mut best: Option<(f64, Vec<&Arc<Run>>)> = None;
        for run in version.level(0).runs() {
            if !reclaim::any_may_free(view, run.digest()) {
                continue;
            }
            let is_older = |other: &&Arc<Run>| {
                !Arc::ptr_eq(other, run) && other.smallest_seq() < run.largest_seq()
            };
            let older: Vec<&Arc<Run>> = version.level(0).runs().iter().filter(is_older).collect();
            let hidden = older.iter().fold(deep.sums(), |sums, run| sums.and(run.sums()));
            let gain = reclaim::gain(&Upper::run(view, run), hidden, hidden);
            if gain.pays() && best.as_ref().is_none_or(|(ratio, _)| gain.ratio() > *ratio) {
                let runs = std::iter::once(run).chain(older).collect();
                best = Some((gain.ratio(), runs));
            }
        }
        let Some((_, runs)) = best else {
            let pays = |table: &TableMeta| reclaim::pays_at_the_bottom(view, table);
            let may_pay = |digest: &Digest| reclaim::any_may_pay_at_the_bottom(view, digest);
            return self.rewrite_alone(view, Reason::Tombstones, may_pay, pays);
        };
        if deep.is_empty() {
            let plan = self.merge_runs(version, &runs, TIERS_MAX, Reason::Tombstones);
            return plan.if_free(view.busy);
        }
        self.pick_bottom(view, Reason::Tombstones)
    }

    /// A table with nothing older below it whose garbage nothing keeps any more; in a run of
    /// which that `may` be.
    fn rewrite_alone(
        &self,
        view: &View<'_>,
        reason: Reason,
        may: impl Fn(&Digest) -> bool + Copy,
        chosen: impl Fn(&TableMeta) -> bool,
    ) -> Option<Compaction> {
        let version = view.version;
        let tables =
            |level: usize| version.level(level).tables_that(may).map(move |table| (level, table));
        let placed = [0, BOTTOM].into_iter().flat_map(tables);
        let (level, table) = placed
            .filter(|(_, table)| chosen(table) && view.is_free(table))
            .find(|(level, table)| !reclaim::lies_over_older(version, *level, table))?;
        Some(Compaction {
            reason,
            action: Action::Merge,
            inputs: vec![one_table(level, table)],
            place: TablePlace { level, depth: TIERS_MAX, bottom: true },
            table_bytes: self.shape.table_bytes,
            grandparents: Vec::new(),
            windows: None,
        })
    }
}

/// The tier of a run of `bytes`, where a flush makes `unit`: how often `ratio` goes into it,
/// rounded.
pub(super) fn tier(bytes: u64, unit: u64, ratio: u32) -> usize {
    let ratio = f64::from(ratio.max(2));
    let flushes = bytes as f64 / unit.max(1) as f64;
    let exact = flushes.max(f64::MIN_POSITIVE).ln() / ratio.ln();
    // A merge of a full tier gives somewhat less than `ratio` flushes; it belongs to the next.
    let rounded = (exact + 0.5).floor() + FLUSH_TIER as f64;
    rounded.clamp(0.0, (TIERS_MAX - 1) as f64) as usize
}

impl CompactionPicker for TieredPicker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        let bottom =
            || self.bottom_due(view.version).then(|| self.pick_bottom(view, Reason::BottomDue));
        // A drain may be as large as the store: full tiers do not wait for it.
        let drains = || self.pick_tier(view).or_else(|| self.pick_drain(view));
        let is_draining = (1..BOTTOM).any(|level| !view.version.level(level).is_empty());
        is_draining
            .then(drains)
            .flatten()
            .or_else(|| bottom().flatten())
            .or_else(|| self.pick_tier(view))
            .or_else(|| pick_expired(view))
            .or_else(|| self.pick_reclaim(view))
    }

    fn pick_drop(&self, view: &View<'_>) -> Option<Compaction> {
        pick_expired(view)
    }

    fn pick_manual(&self, view: &View<'_>, span: &KeySpan) -> Option<Compaction> {
        let version = view.version;
        if (1..BOTTOM).any(|level| !version.level(level).is_empty()) {
            return self.pick_drain(view);
        }
        let runs = version.level(0).runs();
        let meets = |run: &Arc<Run>| run.tables().iter().any(|table| span.meets(table));
        let has_bottom = self.lazy || !version.level(BOTTOM).is_empty();
        if runs.iter().any(meets) && (has_bottom || runs.len() > 1) {
            if has_bottom {
                return self.pick_bottom(view, Reason::Manual);
            }
            let runs: Vec<&Arc<Run>> = runs.iter().collect();
            let plan = self.merge_runs(version, &runs, TIERS_MAX, Reason::Manual);
            return plan.if_free(view.busy);
        }
        let frees =
            |table: &TableMeta| span.meets(table) && reclaim::frees_at_the_bottom(view, table);
        self.rewrite_alone(view, Reason::Manual, |_| true, frees)
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        let mut counts = [0usize; TIERS_MAX];
        for run in version.level(0).runs() {
            counts[self.tier(run.bytes())] += 1;
        }
        let fullest = counts.into_iter().max().unwrap_or(0);
        let mut scores = [0.0; LEVELS];
        scores[0] = fullest as f64 / self.ratio() as f64;
        if self.bottom_due(version) {
            scores[0] = scores[0].max(1.0);
        }
        for (level, score) in scores.iter_mut().enumerate().take(BOTTOM).skip(1) {
            *score = if version.level(level).is_empty() { 0.0 } else { 2.0 };
        }
        scores
    }

    fn debt(&self, version: &Version) -> Debt {
        let mut tiers = [(0usize, 0u64); TIERS_MAX];
        for run in version.level(0).runs() {
            let (count, bytes) = &mut tiers[self.tier(run.bytes())];
            *count += 1;
            *bytes += run.bytes();
        }
        let full = tiers.iter().filter(|(count, _)| *count >= self.ratio());
        let mut bytes: u64 = full.map(|(_, bytes)| bytes).sum();
        if self.bottom_due(version) {
            bytes = bytes.saturating_add(version.level(0).bytes());
            bytes = bytes.saturating_add(version.level(BOTTOM).bytes());
        }
        let drained: u64 = (1..BOTTOM).map(|level| version.level(level).bytes()).sum();
        // The runs that a full tier may have are no backlog; those beyond are.
        let runs = tiers.iter().map(|(count, _)| count.saturating_sub(self.ratio() - 1)).sum();
        Debt { bytes: bytes.saturating_add(drained), runs }
    }
}
