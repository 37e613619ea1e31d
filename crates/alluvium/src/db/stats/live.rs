//! Figures of a version that are estimates: live bytes and debt. Pure, from metadata alone.
//!
//! # Live bytes
//!
//! Which of two tables with overlapping keys holds how much that the other hides is known only when
//! both are read. The estimate takes the oldest data first, deepest level upwards: a table counts
//! when its key range meets no table that counted from an older run, else it is taken for newer
//! versions of what is below it. From what counts, an entry of average size is taken for each
//! tombstone above it. So the estimate is exact for a store that is compacted and for keys that
//! come in order; it is low, and space amplification high, where new keys fall between old ones and
//! have not been merged with them yet.

use crate::base::key;
use crate::base::limits::LEVELS;
use crate::db::stats::LevelStats;
use crate::version::Version;

/// User key ranges of one run that counted, ascending and apart.
type Counted<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Whether a range meets one of the counted.
fn meets(counted: &Counted<'_>, smallest: &[u8], largest: &[u8]) -> bool {
    let at = counted.partition_point(|(_, end)| *end < smallest);
    counted.get(at).is_some_and(|(begin, _)| *begin <= largest)
}

/// Bytes of tables that are live, estimated.
pub(crate) fn live_bytes(version: &Version) -> u64 {
    let mut older: Vec<Counted<'_>> = Vec::new();
    let (mut bytes, mut entries, mut tombstones) = (0_u64, 0_u64, 0_u64);
    for level in (0..LEVELS).rev() {
        // Runs of level 0 are newest first.
        for run in version.level(level).runs().iter().rev() {
            let mut counted = Counted::new();
            for table in run.tables() {
                let smallest = table.smallest_user_key();
                let largest = key::user_key(&table.largest);
                if older.iter().any(|below| meets(below, smallest, largest)) {
                    tombstones += table.tombstones;
                    continue;
                }
                bytes += table.bytes;
                entries += table.entries.saturating_sub(table.tombstones);
                counted.push((smallest, largest));
            }
            if !counted.is_empty() {
                older.push(counted);
            }
        }
    }
    if entries == 0 {
        return 0;
    }
    let alive = entries.saturating_sub(tombstones) as f64 / entries as f64;
    (bytes as f64 * alive) as u64
}

/// Bytes to work off until no level is due.
pub(crate) fn debt_bytes(levels: &[LevelStats]) -> u64 {
    let debt = |(index, level): (usize, &LevelStats)| match level.score {
        score if score < 1.0 => 0,
        _ if index == 0 => level.bytes,
        score => (level.bytes as f64 * (1.0 - 1.0 / score)) as u64,
    };
    levels.iter().enumerate().map(debt).sum()
}
