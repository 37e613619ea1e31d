//! What a family will hold when a job is done: what the bits of the job's filters are chosen by.
//!
//! Pure. How many entries survive the job is not known before; the inputs' count stands for it, so
//! that an output gets rather fewer bits than more.

use std::collections::HashSet;

use crate::base::file::FileNumber;
use crate::compaction::Compaction;
use crate::filter::FilterShape;
use crate::version::{Run, Version};

/// The family once a flush of `entries` entries is in `version`, as its newest run.
pub(crate) fn of_flush(version: &Version, entries: u64) -> FilterShape {
    let mut runs: Vec<u64> =
        runs(version).map(|(_, run)| entries_of(run, &HashSet::new())).collect();
    runs.insert(0, entries);
    FilterShape {
        output_run: 0,
        runs,
        output_entries: entries,
        kept_filter_bytes: kept_filter_bytes(version, &HashSet::new()),
    }
}

/// The family once `plan` is carried out over `version`.
pub(crate) fn of_compaction(version: &Version, plan: &Compaction) -> FilterShape {
    let inputs: HashSet<FileNumber> = plan.tables().map(|table| table.number).collect();
    let entries = plan.tables().map(|table| table.entries).sum();
    let mut shape = FilterShape {
        runs: Vec::new(),
        output_run: 0,
        output_entries: entries,
        kept_filter_bytes: kept_filter_bytes(version, &inputs),
    };
    // In level 0 the outputs are a run by themselves, behind those that are left there.
    let mut unplaced = Some(entries);
    // What is in level 0 will be merged soon, and is not held against a level that stays.
    let stays = |level: &usize| *level > 0 || plan.place.level == 0;
    for (level, run) in runs(version).filter(|(level, _)| stays(level)) {
        let mut kept = entries_of(run, &inputs);
        if level >= plan.place.level.max(1)
            && let Some(entries) = unplaced.take()
        {
            shape.output_run = shape.runs.len();
            if level == plan.place.level {
                kept += entries;
            } else {
                shape.runs.push(entries);
            }
        }
        shape.runs.push(kept);
    }
    if let Some(entries) = unplaced {
        shape.output_run = shape.runs.len();
        shape.runs.push(entries);
    }
    shape
}

/// Every sorted run with its level.
fn runs(version: &Version) -> impl Iterator<Item = (usize, &Run)> {
    version
        .levels()
        .enumerate()
        .flat_map(|(index, level)| level.runs().iter().map(move |run| (index, &**run)))
}

fn entries_of(run: &Run, but: &HashSet<FileNumber>) -> u64 {
    let kept = run.tables().iter().filter(|table| !but.contains(&table.number));
    kept.map(|table| table.entries).sum()
}

fn kept_filter_bytes(version: &Version, but: &HashSet<FileNumber>) -> u64 {
    let kept = version.tables().filter(|table| !but.contains(&table.number));
    kept.map(|table| table.filter_bytes).sum()
}
