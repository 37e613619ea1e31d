//! What a family will hold when a job is done: what the bits of the job's filters are chosen by.
//!
//! Pure. How many entries survive the job is not known before; the inputs' count stands for it, so
//! that an output gets rather fewer bits than more.

use crate::compaction::{Compaction, reclaim};
use crate::filter::FilterShape;
use crate::version::{Run, Version};

/// The family once a flush of `entries` entries is in `version`, as its newest run. Each level is
/// to be `ratio` times the one above.
pub(crate) fn of_flush(version: &Version, entries: u64, ratio: u32) -> FilterShape {
    let mut runs: Vec<(usize, u64)> =
        runs(version).map(|(level, run)| (level, run.sums().entries)).collect();
    runs.insert(0, (0, entries));
    FilterShape {
        output_run: 0,
        entries: runs.iter().map(|(_, count)| count).sum(),
        runs: at_rest(&runs, ratio),
        output_entries: entries,
        kept_filter_bytes: filter_bytes(version),
    }
}

/// The family once `plan` is carried out over `version`.
pub(crate) fn of_compaction(version: &Version, plan: &Compaction, ratio: u32) -> FilterShape {
    let inputs = reclaim::sums_of(plan.tables());
    let entries = inputs.entries;
    let mut kept: Vec<(usize, u64)> =
        runs(version).map(|(level, run)| (level, kept_entries(level, run, plan))).collect();
    let all = entries + kept.iter().map(|(_, count)| count).sum::<u64>();
    // What is in level 0 will be merged soon, and is not held against a level that stays.
    kept.retain(|&(level, _)| level > 0 || plan.place.level == 0);
    // In level 0 the outputs are a run by themselves, behind those that are left there.
    let output_run = kept.partition_point(|&(level, _)| level < plan.place.level.max(1));
    match kept.get_mut(output_run) {
        Some((level, kept)) if *level == plan.place.level => *kept += entries,
        _ => kept.insert(output_run, (plan.place.level, entries)),
    }
    FilterShape {
        output_run,
        entries: all,
        runs: at_rest(&kept, ratio),
        output_entries: entries,
        kept_filter_bytes: filter_bytes(version).saturating_sub(inputs.filter_bytes),
    }
}

/// What each run will hold when the tables that are written now have long been in it: the deepest
/// level nearly all that is below level 0, each other `ratio` times less than the next. Meanwhile a
/// burst of writes may have made an upper level larger than the deepest; to go by that would give
/// tables that stay the bits of a tree that does not.
fn at_rest(runs: &[(usize, u64)], ratio: u32) -> Vec<u64> {
    let below = || runs.iter().filter(|(level, _)| *level > 0);
    let all: u64 = below().map(|(_, count)| count).sum();
    let deepest = below().map(|(level, _)| *level).max().unwrap_or(0);
    let times = |level: usize| u64::from(ratio.max(2)).saturating_pow((deepest - level) as u32);
    let each = runs.iter().map(|&(level, count)| match level {
        0 => count,
        level => (all / times(level)).max(1),
    });
    each.collect()
}

/// Every sorted run with its level.
fn runs(version: &Version) -> impl Iterator<Item = (usize, &Run)> {
    version
        .levels()
        .enumerate()
        .flat_map(|(index, level)| level.runs().iter().map(move |run| (index, &**run)))
}

/// The entries of `run` but for those of `plan`'s tables in it.
fn kept_entries(level: usize, run: &Run, plan: &Compaction) -> u64 {
    let taken = plan.placed_tables().filter(|(at, table)| *at == level && run.holds(table));
    let taken = reclaim::sums_of(taken.map(|(_, table)| table));
    run.sums().without(taken).entries
}

fn filter_bytes(version: &Version) -> u64 {
    version.levels().fold(0, |sum, level| sum.saturating_add(level.sums().filter_bytes))
}
