//! Which plans may run beside each other.

use super::*;
use crate::base::key::{ValueKind, encode, pack_trailer};
use crate::compaction::{Action, Input, Reason, TablePlace};
use crate::version::{TableFacts, TableMeta};

/// A plan for one table of `input`, with keys from `low` to `high`.
fn plan(number: u64, input: usize, output: usize, (low, high): (&str, &str)) -> Compaction {
    let key = |user_key: &str| {
        encode(user_key.as_bytes(), pack_trailer(SeqNo::new(number), ValueKind::Put))
    };
    let facts = TableFacts {
        number: FileNumber(number),
        bytes: 100,
        entries: 2,
        smallest: key(low),
        largest: key(high),
        smallest_seq: SeqNo::new(number),
        largest_seq: SeqNo::new(number),
        ..TableFacts::default()
    };
    let tables = vec![Arc::new(TableMeta::new(facts).unwrap())];
    Compaction {
        reason: Reason::Manual,
        action: Action::Merge,
        inputs: vec![Input { level: input, tables }],
        place: TablePlace { level: output, depth: output, bottom: false },
        table_bytes: 100,
        grandparents: Vec::new(),
        windows: None,
    }
}

#[test]
fn nothing_is_written_below_a_table_while_it_rises() {
    let family = ColumnFamilyId::DEFAULT;
    let rising = plan(1, 2, 0, ("c", "m"));
    for (other, beside) in [
        (plan(2, 0, 1, ("a", "d")), false),
        (plan(2, 0, 1, ("n", "z")), true),
        (plan(2, 1, 2, ("m", "z")), false),
        (plan(2, 3, 4, ("a", "z")), true),
        (plan(2, 0, 0, ("a", "z")), true),
    ] {
        for (first, second) in [(&rising, &other), (&other, &rising)] {
            let mut state = State::default();
            assert!(state.take(family, first));
            assert_eq!(state.take(family, second), beside, "{first:?} beside {second:?}");
            state.give_back(&first.numbers());
            assert!(beside || state.take(family, second), "once the first has ended");
        }
        let mut state = State::default();
        assert!(state.take(ColumnFamilyId(7), &rising) && state.take(family, &other));
    }
}

#[test]
fn tables_that_move_keep_others_from_their_own_keys_only() {
    let family = ColumnFamilyId::DEFAULT;
    let mut moving = plan(1, 0, 6, ("c", "d"));
    moving.inputs.extend(plan(2, 0, 6, ("p", "q")).inputs);
    moving.action = Action::Move;
    for (other, beside) in [
        (plan(3, 0, 6, ("e", "o")), true),
        (plan(3, 0, 6, ("d", "o")), false),
        (plan(3, 0, 6, ("a", "z")), false),
    ] {
        for (first, second) in [(&moving, &other), (&other, &moving)] {
            let mut state = State::default();
            assert!(state.take(family, first));
            assert_eq!(state.take(family, second), beside, "{first:?} beside {second:?}");
        }
    }
}

#[test]
fn nothing_is_written_above_a_table_while_it_falls() {
    let family = ColumnFamilyId::DEFAULT;
    let falling = plan(1, 2, 6, ("c", "m"));
    for (other, beside) in [
        (plan(2, 3, 4, ("a", "d")), false),
        (plan(2, 0, 3, ("m", "z")), false),
        (plan(2, 5, 6, ("d", "e")), false),
        (plan(2, 3, 4, ("n", "z")), true),
        (plan(2, 0, 2, ("a", "z")), true),
        (plan(2, 0, 0, ("a", "z")), true),
    ] {
        for (first, second) in [(&falling, &other), (&other, &falling)] {
            let mut state = State::default();
            assert!(state.take(family, first));
            assert_eq!(state.take(family, second), beside, "{first:?} beside {second:?}");
        }
    }
}
