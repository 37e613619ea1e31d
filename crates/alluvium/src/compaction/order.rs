//! The rule that every plan must keep, whoever made it: newer stays above older. Pure.
//!
//! # The rule
//!
//! A lookup takes the newest entry that it finds in level 0, and asks deeper levels only where
//! level 0 has none; from level 1 on it takes the first that it finds. So for every key
//! - an entry in level 0 is newer than any in a deeper level, and
//! - an entry in a level is newer than any in the levels below it.
//!
//! Runs of level 0 may lie in any order among themselves. A table may rise to level 0 where nothing
//! newer stays between: it is then found there before all that is older.
//!
//! A plan breaks that when it leaves behind a table that overlaps its inputs and that would then be
//! on the wrong side of the output: an older one that is not below, or a newer one that is not
//! above; or when it drops a table from over an older one that stays. A plan that does so is
//! refused before it is installed: whatever a strategy decides, the worst that it can do is waste
//! work.

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::KeyEndBuf;
use crate::base::limits::LEVELS;
use crate::compaction::{Action, Compaction, reclaim, user_key_range};
use crate::version::{TableMeta, Version};

/// How `plan` would break the rule in `version`, or `None`.
pub(crate) fn breach(version: &Version, plan: &Compaction) -> Option<String> {
    let chosen: HashSet<FileNumber> = plan.tables().map(|table| table.number).collect();
    let output = plan.place.level;
    if output >= LEVELS {
        return Some(format!("there is no level {output}"));
    }
    for (level, table) in plan.placed_tables() {
        if !version.level(level).holds(table) {
            return Some(format!("table {} is not in level {level}", table.number));
        }
        if plan.action == Action::Drop {
            let mut older = reclaim::older_overlapping(version, level, table);
            if let Some(other) = older.find(|other| !chosen.contains(&other.number)) {
                let (number, other) = (table.number, other.number);
                return Some(format!(
                    "without table {number} older table {other} would come to light"
                ));
            }
            continue;
        }
        if level > output && output > 0 {
            return Some(format!("table {} would rise to level {output}", table.number));
        }
        if level > output {
            let stays = |other: &&Arc<TableMeta>| !chosen.contains(&other.number);
            let between = (1..level).flat_map(|between| overlapping(version, between, table));
            if let Some(other) = between.into_iter().find(stays) {
                let (number, other) = (table.number, other.number);
                return Some(format!("table {number} would rise over table {other}"));
            }
        }
        let passed = (level..=output).find_map(|on_the_way| {
            passed_table(version, table, (level, on_the_way, output), &chosen)
        });
        if let Some(other) = passed {
            let (number, other) = (table.number, other.number);
            return Some(format!("table {number} would pass table {other} to level {output}"));
        }
    }
    if plan.action == Action::Drop { None } else { overlap_of_outputs(version, plan, &chosen) }
}

/// Whether `plan` may be begun as far as what it drops is concerned. It keeps nobody away: a merge
/// that writes older tables than it takes away may end between the picking and this, or between
/// this and the plan's own end. In either case it is picked anew.
pub(crate) fn may_drop(version: &Version, plan: &Compaction) -> bool {
    plan.action != Action::Drop || breach(version, plan).is_none()
}

/// A table that stays in `on_the_way` and must not, while `table` goes from `level` to `output`.
fn passed_table<'a>(
    version: &'a Version,
    table: &TableMeta,
    (level, on_the_way, output): (usize, usize, usize),
    chosen: &HashSet<FileNumber>,
) -> Option<&'a Arc<TableMeta>> {
    let stays = |other: &&Arc<TableMeta>| !chosen.contains(&other.number);
    if on_the_way > 0 {
        // Tables of one level share no key.
        let passes = on_the_way != level;
        return overlapping(version, on_the_way, table).iter().find(|other| passes && stays(other));
    }
    // Beside it in level 0 only newer ones may stay, and any where it does not leave the level.
    if output == 0 {
        return None;
    }
    let (low, high) = (table.smallest_user_key(), table.end());
    let blocks = |other: &&Arc<TableMeta>| stays(other) && other.smallest_seq <= table.largest_seq;
    let mut runs = version.level(0).runs().iter();
    runs.find_map(|run| run.overlapping(low, high).iter().find(blocks))
}

/// In a deeper level the outputs must not reach over a table that stays.
fn overlap_of_outputs(
    version: &Version,
    plan: &Compaction,
    chosen: &HashSet<FileNumber>,
) -> Option<String> {
    let output = plan.place.level;
    if output == 0 {
        return None;
    }
    // Tables move as they are; a merge may write anywhere between its first key and its last.
    let ranges: Vec<(Vec<u8>, KeyEndBuf)> = match plan.action {
        Action::Move => plan.tables().filter_map(|table| user_key_range([table])).collect(),
        _ => user_key_range(plan.tables()).into_iter().collect(),
    };
    ranges.iter().find_map(|(low, high)| {
        let stays = |other: &&Arc<TableMeta>| !chosen.contains(&other.number);
        let other = version.level(output).overlapping(low, high).iter().find(stays)?;
        Some(format!("the output would overlap table {} of level {output}", other.number))
    })
}

/// The tables of a deeper level that overlap `table`.
fn overlapping<'a>(version: &'a Version, level: usize, table: &TableMeta) -> &'a [Arc<TableMeta>] {
    version.level(level).overlapping(table.smallest_user_key(), table.end())
}
