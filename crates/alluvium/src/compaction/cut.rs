//! Cutting one large plan by key range, so that several workers can carry it out. Pure.
//!
//! What lies between two keys is known only by where one table of a run follows another: a table's
//! bytes count as spread evenly over the pieces of the key space that it reaches over. Where the
//! inputs are many small tables that is close; where each of them covers everything there is
//! nothing to cut by, and the plan stays whole.
//!
//! # Invariants
//!
//! The parts are in order, share no user key, and together cover every key. A cut is at a user key,
//! so that all versions of a key are in one part; each part takes of a range tombstone what lies
//! between its keys.

use std::collections::BTreeSet;

use crate::compaction::job::Part;
use crate::compaction::{Action, Compaction};

/// Cuts `plan` into at most `parts_max` parts of about equal size, none much smaller than
/// `part_bytes_min`.
pub(crate) fn cut(plan: &Compaction, parts_max: usize, part_bytes_min: u64) -> Vec<Part> {
    let total = plan.input_bytes();
    let parts = (total / part_bytes_min.max(1)).min(parts_max as u64);
    // No merge is cut twice: by keys and by time windows.
    if parts < 2 || plan.action != Action::Merge || plan.windows.is_some() {
        return vec![Part::default()];
    }
    let cuts = cuts(plan, parts);
    let lows = std::iter::once(None).chain(cuts.iter().cloned().map(Some));
    let highs = cuts.iter().cloned().map(Some).chain([None]);
    lows.zip(highs).map(|(low, high)| Part { low, high }).collect()
}

/// The user keys at which parts begin, but the first.
fn cuts(plan: &Compaction, parts: u64) -> Vec<Vec<u8>> {
    let boundaries = boundaries(plan);
    // Piece `n` ends before boundary `n`, and the last one nowhere.
    let mut pieces = vec![0.0; boundaries.len() + 1];
    for table in plan.tables() {
        let first = boundaries.partition_point(|key| *key <= table.smallest_user_key());
        let last = boundaries.partition_point(|key| *key <= table.largest_user_key());
        let spread = &mut pieces[first..=last];
        let share = table.bytes as f64 / spread.len() as f64;
        spread.iter_mut().for_each(|piece| *piece += share);
    }
    let total = pieces.iter().sum::<f64>();
    let wanted = total / parts as f64;
    let mut cuts = Vec::new();
    let mut bytes = 0.0;
    let mut last_cut = 0.0;
    for (piece, (boundary, next)) in pieces.iter().zip(boundaries.iter().zip(&pieces[1..])) {
        bytes += piece;
        // Here, where that is nearer to the wanted size than behind the next piece.
        let due = bytes + next / 2.0 >= wanted * (cuts.len() + 1) as f64;
        let worth = (bytes - last_cut).min(total - bytes) >= wanted / 2.0;
        if due && worth && cuts.len() as u64 + 1 < parts {
            cuts.push(boundary.to_vec());
            last_cut = bytes;
        }
    }
    cuts
}

/// Where one table of an input follows another, but for those boundaries that no whole table lies
/// before: where inputs end or are divided side by side, there need be nothing between.
fn boundaries(plan: &Compaction) -> Vec<&[u8]> {
    let mut tables: Vec<(&[u8], &[u8])> =
        plan.tables().map(|table| (table.smallest_user_key(), table.largest_user_key())).collect();
    tables.sort_unstable();
    // For each table the first end of all that begin with it or behind it.
    let mut first_end: Option<&[u8]> = None;
    let mut ended: Vec<&[u8]> = Vec::with_capacity(tables.len());
    for &(_, largest) in tables.iter().rev() {
        let end = first_end.map_or(largest, |end| end.min(largest));
        first_end = Some(end);
        ended.push(end);
    }
    ended.reverse();
    let followers = plan.inputs.iter().flat_map(|input| input.tables.iter().skip(1));
    let followers: BTreeSet<&[u8]> = followers.map(|table| table.smallest_user_key()).collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    for boundary in followers {
        let behind =
            kept.last().map_or(0, |last| tables.partition_point(|(smallest, _)| smallest < last));
        if ended.get(behind).is_some_and(|end| *end < boundary) {
            kept.push(boundary);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::file::FileNumber;
    use crate::base::key::{SeqNo, ValueKind, encode, pack_trailer};
    use crate::compaction::{Input, Reason, TablePlace};
    use crate::version::{TableFacts, TableMeta};

    fn table(number: u64, low: u32, high: u32, bytes: u64) -> Arc<TableMeta> {
        let key = |key: u32| {
            encode(format!("{key:06}").as_bytes(), pack_trailer(SeqNo::new(1), ValueKind::Put))
        };
        let facts = TableFacts {
            number: FileNumber(number + 1),
            bytes,
            entries: bytes,
            smallest: key(low),
            largest: key(high),
            smallest_seq: SeqNo::new(1),
            largest_seq: SeqNo::new(1),
            ..TableFacts::default()
        };
        Arc::new(TableMeta::new(facts).unwrap())
    }

    fn plan(inputs: Vec<Vec<Arc<TableMeta>>>) -> Compaction {
        Compaction {
            reason: Reason::Manual,
            action: Action::Merge,
            inputs: inputs.into_iter().map(|tables| Input { level: 0, tables }).collect(),
            place: TablePlace::in_level(1),
            table_bytes: 100,
            grandparents: Vec::new(),
            windows: None,
        }
    }

    /// Four runs over everything, and a level of sixteen tables.
    fn level0() -> Compaction {
        let mut inputs: Vec<_> = (0..4).map(|number| vec![table(number, 0, 1_600, 400)]).collect();
        inputs.push(
            (0..16).map(|at| table(10 + u64::from(at), at * 100, at * 100 + 99, 100)).collect(),
        );
        plan(inputs)
    }

    #[test]
    fn parts_are_of_about_one_size_and_leave_no_gap() {
        for parts_max in 2..9 {
            let parts = cut(&level0(), parts_max, 100);
            assert_eq!(parts.len(), parts_max, "{parts:?}");
            assert!(parts[0].low.is_none() && parts[parts_max - 1].high.is_none());
            for pair in parts.windows(2) {
                assert!(pair[0].high.is_some() && pair[0].high == pair[1].low);
            }
            let at = |key: &Option<Vec<u8>>, none: f64| {
                let text = key.as_ref().map(|key| String::from_utf8(key.clone()).unwrap());
                text.map_or(none, |text| text.parse::<f64>().unwrap())
            };
            for part in &parts {
                let share = (at(&part.high, 1_600.0) - at(&part.low, 0.0)) / 1_600.0;
                let wanted = 1.0 / parts_max as f64;
                assert!((0.5 * wanted..1.6 * wanted).contains(&share), "{share} of {parts_max}");
            }
        }
    }

    #[test]
    fn runs_that_are_divided_side_by_side_are_cut_once_at_each_place() {
        let run = |at: u32| {
            let table_of = |part: u32| {
                let low = if part == 0 { 0 } else { part * 400 + at };
                table(u64::from(at * 4 + part), low, (part + 1) * 400 + at - 1, 100)
            };
            (0..4).map(table_of).collect::<Vec<_>>()
        };
        let parts = cut(&plan((1..5).map(run).collect()), 8, 100);
        let lows: Vec<_> = parts.iter().filter_map(|part| part.low.clone()).collect();
        assert_eq!(lows, [b"000401".to_vec(), b"000801".to_vec(), b"001201".to_vec()]);
    }

    #[test]
    fn what_is_small_or_cannot_be_cut_stays_whole() {
        let whole = vec![Part::default()];
        assert_eq!(cut(&level0(), 1, 100), whole);
        assert_eq!(cut(&level0(), 8, 1 << 20), whole);
        assert_eq!(cut(&Compaction { action: Action::Move, ..level0() }, 8, 100), whole);
        let one_range = plan((0..4).map(|number| vec![table(number, 5, 900, 4_000)]).collect());
        assert_eq!(cut(&one_range, 8, 100), whole);
        assert_eq!(cut(&plan(vec![vec![table(1, 5, 5, 4_000)]]), 8, 100), whole);
        // What lies between the ends of runs that all cover everything is next to nothing.
        let ends = (0..4).map(|at| vec![table(u64::from(at), 5 + at, 900 - at, 4_000)]).collect();
        assert_eq!(cut(&plan(ends), 8, 100), whole);
    }
}
