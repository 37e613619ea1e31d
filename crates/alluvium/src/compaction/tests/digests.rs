//! The short looks that pickers take, against the long ones: a digest that says that nothing is due
//! must be right, and sums over a range must be those of the tables in it.

use super::*;
use crate::version::{Digest, Expiry};

/// What the tables of a run are drawn from; all of it small, so that rules meet.
#[derive(Debug, Clone)]
struct Drawn {
    entries: u64,
    bytes: u64,
    tombstones: u64,
    ranges: u64,
    hidden: u64,
    oldest: Option<u64>,
    expiry: Option<(u64, u64, u64)>,
    seqs: (u64, u64),
}

/// Mostly none, so that one fact decides by itself.
fn any_count(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 1 => 0..most]
}

fn any_drawn() -> impl Strategy<Value = Drawn> {
    let expiry = prop::option::of((1u64..40, 0u64..100, 0u64..100));
    let counts = (0u64..40, 1u64..2_000, any_count(40), any_count(3), any_count(40));
    (counts, prop::option::of(0u64..20), expiry, (1u64..50, 0u64..20)).prop_map(
        |((entries, bytes, tombstones, ranges, hidden), oldest, expiry, seqs)| Drawn {
            entries,
            bytes,
            tombstones: tombstones.min(entries),
            // A table without entries holds range tombstones.
            ranges: if entries == 0 { ranges.max(1) } else { ranges },
            hidden: hidden.min(entries.saturating_sub(1)),
            oldest: oldest.filter(|_| tombstones.min(entries) + ranges > 0),
            expiry: expiry.filter(|_| entries > 0),
            seqs,
        },
    )
}

/// Table `number` of a run, with keys of its own.
fn drawn_table(number: u64, drawn: &Drawn) -> Arc<TableMeta> {
    let (low, high) = (SeqNo::new(drawn.seqs.0), SeqNo::new(drawn.seqs.0 + drawn.seqs.1));
    let key = |end: u64, seq| {
        encode(&(number * 2 + end).to_be_bytes(), pack_trailer(seq, ValueKind::Put))
    };
    let facts = TableFacts {
        number: FileNumber(number),
        bytes: drawn.bytes,
        entries: drawn.entries,
        tombstones: drawn.tombstones,
        range_tombstones: drawn.ranges,
        hidden: drawn.hidden,
        oldest_tombstone: drawn
            .oldest
            .map_or(SeqNo::ZERO, |at| SeqNo::new((low.get() + at).min(high.get()))),
        expiry: drawn.expiry.map(|(entries, first_ms, span)| Expiry {
            entries: entries.min(drawn.entries),
            first_ms,
            last_ms: first_ms + span,
        }),
        smallest: key(0, high),
        largest: key(1, low),
        smallest_seq: low,
        largest_seq: high,
        ..TableFacts::default()
    };
    Arc::new(TableMeta::new(facts).unwrap())
}

/// Whether a table has something due, and whether a digest says that it may.
type Exact = fn(&View<'_>, &TableMeta) -> bool;
type Digested = fn(&View<'_>, &Digest) -> bool;

proptest! {
    #[test]
    fn a_digest_never_hides_what_is_due(
        drawn in prop::collection::vec(any_drawn(), 1..5),
        now_ms in prop_oneof![Just(0u64), 0u64..220],
        droppable in 0u64..80,
        overdue in 0u64..80,
    ) {
        let tables: Vec<_> =
            drawn.iter().enumerate().map(|(n, one)| (1, drawn_table(n as u64 + 1, one))).collect();
        let version = version(&tables);
        let busy = Busy::new();
        let ages = Ages {
            droppable: SeqNo::new(droppable),
            overdue: SeqNo::new(overdue),
            ..Ages::default()
        };
        let view = View { version: &version, busy: &busy, now_ms, ages };
        let level = version.level(1);
        for run in level.runs() {
            let long = reclaim::Upper::tables(&view, run.tables().iter());
            prop_assert_eq!(reclaim::Upper::run(&view, run), long);
        }
        let rules: [(&str, Exact, Digested); 4] = [
            ("may free", reclaim::may_free, reclaim::any_may_free),
            (
                "all expired",
                |view, table| reclaim::is_all_expired(table, view.now_ms),
                reclaim::any_is_all_expired,
            ),
            ("pays", reclaim::pays_at_the_bottom, reclaim::any_may_pay_at_the_bottom),
            ("has ranges", |_, table| table.entries == 0, |_, digest| digest.has_tombstones),
        ];
        for (name, exact, digested) in rules {
            let due: Vec<u64> =
                level.tables().iter().filter(|t| exact(&view, t)).map(|t| t.number.0).collect();
            let may = |digest: &Digest| digested(&view, digest);
            let sent = level.tables_that(may).filter(|table| exact(&view, table));
            prop_assert_eq!(sent.map(|t| t.number.0).collect::<Vec<_>>(), due, "{}", name);
        }
    }

    #[test]
    fn sums_over_a_range_are_those_of_its_tables(
        drawn in prop::collection::vec(any_drawn(), 1..12),
        from in 0u64..30,
        to in 0u64..30,
    ) {
        let tables: Vec<_> =
            drawn.iter().enumerate().map(|(n, one)| (1, drawn_table(n as u64 + 1, one))).collect();
        let version = version(&tables);
        let (from, to) = (from.min(to).to_be_bytes(), from.max(to).to_be_bytes());
        let level = version.level(1);
        let met = level.tables().iter().filter(|table| table.overlaps(&from, &to));
        let met: Vec<_> = met.cloned().collect();
        prop_assert_eq!(numbers(level.overlapping(&from, &to)), numbers(&met));
        prop_assert_eq!(level.overlapping_sums(&from, &to), reclaim::sums_of(&met));
    }
}
