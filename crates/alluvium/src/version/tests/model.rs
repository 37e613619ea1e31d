//! Versions against a model that looks at every table.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Keys with long common beginnings, and some that are the beginning of others.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let tail = || prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..4);
    prop_oneof![
        tail(),
        tail().prop_map(|tail| [&b"common/"[..], &tail].concat()),
        tail().prop_map(|tail| [&b"common/beginning/of/keys/"[..], &tail].concat()),
    ]
}

type Spot = (Vec<u8>, Vec<u8>, u64);

/// A table's keys and its last sequence number.
fn any_spot() -> impl Strategy<Value = Spot> {
    (any_key(), any_key(), 0..20u64).prop_map(
        |(a, b, seq)| {
            if a <= b { (a, b, seq) } else { (b, a, seq) }
        },
    )
}

fn table_at(number: u64, (smallest, largest, seq): &Spot) -> Arc<TableMeta> {
    Arc::new(TableMeta::new(facts(number, (smallest, largest), (0, *seq))).unwrap())
}

/// The model: where each table is.
type Model = BTreeMap<u64, (usize, Spot)>;

fn meet(a: &Spot, b: &Spot) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

fn version_of(model: &Model) -> Version {
    let tables = model.iter().map(|(number, (level, spot))| (*level, table_at(*number, spot)));
    Version::empty().apply(&tables.collect::<Vec<_>>(), &[]).unwrap()
}

/// Puts every spot that fits into the model: into level 0 always, elsewhere when it meets none.
fn fill(model: &mut Model, spots: Vec<(usize, Spot)>) {
    for (level, spot) in spots {
        let meets = model.values().any(|(at, other)| *at == level && meet(other, &spot));
        if level == 0 || !meets {
            let number = model.len() as u64 + 1;
            model.insert(number, (level, spot));
        }
    }
}

fn any_model() -> impl Strategy<Value = Model> {
    prop::collection::vec((0..3usize, any_spot()), 0..40).prop_map(|spots| {
        let mut model = Model::new();
        fill(&mut model, spots);
        model
    })
}

/// The numbers of tables of `level`: in the order of the level, but for level 0, whose runs say
/// more ([`check_runs`]).
fn numbers(level: usize, tables: &[Arc<TableMeta>]) -> Vec<u64> {
    let mut numbers: Vec<u64> = tables.iter().map(|table| table.number.0).collect();
    if level == 0 {
        numbers.sort_unstable();
    }
    numbers
}

/// Level 0 is runs of tables that share no key, newest first, and as few as placing the newest
/// table first gives: no run could take in a whole later one.
fn check_runs(level: &Level) {
    for run in level.runs() {
        for pair in run.tables().windows(2) {
            assert!(pair[0].largest_user_key() < pair[1].smallest_user_key());
        }
        let largest = run.tables().iter().map(|table| table.largest_seq).max().unwrap();
        assert_eq!(run.largest_seq(), largest);
        assert_eq!(run.bytes(), run.tables().iter().map(|table| table.bytes).sum::<u64>());
    }
    assert!(level.runs().is_sorted_by_key(|run| std::cmp::Reverse(run.largest_seq())));
    let in_runs = level.runs().iter().flat_map(|run| run.tables());
    assert!(in_runs.zip(level.tables()).all(|(one, other)| Arc::ptr_eq(one, other)));
    for (index, run) in level.runs().iter().enumerate() {
        for other in level.runs().iter().skip(index + 1) {
            let meets = other.tables().iter().any(|table| {
                !run.overlapping(table.smallest_user_key(), table.largest_user_key()).is_empty()
            });
            assert!(meets, "two runs of level 0 that could be one");
        }
    }
}

/// The numbers of the tables of a level in the order that a level keeps.
fn ordered(model: &Model, level: usize) -> Vec<u64> {
    let mut here: Vec<(&Spot, u64)> = model
        .iter()
        .filter(|(_, (at, _))| *at == level)
        .map(|(number, (_, spot))| (spot, *number))
        .collect();
    if level == 0 {
        here.sort_by_key(|(_, number)| *number);
    } else {
        here.sort();
    }
    here.into_iter().map(|(_, number)| number).collect()
}

/// The tables of `level` that meet the range, or for level 0 one that was taken.
fn overlapping(model: &Model, level: usize, smallest: &[u8], largest: &[u8]) -> Vec<u64> {
    let mut range = (smallest.to_vec(), largest.to_vec(), 0);
    loop {
        let taken: Vec<u64> = ordered(model, level)
            .into_iter()
            .filter(|number| meet(&model[number].1, &range))
            .collect();
        let before = range.clone();
        if level == 0 {
            for number in &taken {
                let spot = &model[number].1;
                range.0 = range.0.min(spot.0.clone());
                range.1 = range.1.max(spot.1.clone());
            }
        }
        if before == range {
            return taken;
        }
    }
}

proptest! {
    #[test]
    fn levels_are_in_order_and_searches_agree_with_the_model(
        model in any_model(),
        keys in prop::collection::vec(any_key(), 10),
        bounds in prop::collection::vec(any_spot(), 10),
    ) {
        let version = version_of(&model);
        prop_assert_eq!(version.table_count(), model.len());
        check_runs(version.level(0));
        prop_assert_eq!(version.bytes(), version.tables().map(|table| table.bytes).sum::<u64>());
        let edges = model.values().flat_map(|(_, spot)| [spot.0.clone(), spot.1.clone()]);
        let keys: Vec<_> = keys.into_iter().chain(edges).collect();
        for level in 0..3 {
            prop_assert_eq!(numbers(level, version.level(level).tables()), ordered(&model, level));
            for (smallest, largest, _) in &bounds {
                let found = version.overlapping(level, smallest, largest);
                let wanted = overlapping(&model, level, smallest, largest);
                prop_assert_eq!(numbers(level, &found), wanted);
            }
            for key in keys.iter().filter(|_| level > 0) {
                let found = version.candidate(level, key).map(|table| table.number.0);
                let wanted = overlapping(&model, level, key, key);
                prop_assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
            }
        }
    }

    #[test]
    fn applying_is_removing_and_then_adding(
        before in any_model(),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        new in prop::collection::vec((0..3usize, any_spot()), 0..10),
        moves in prop::collection::vec(any::<bool>(), 10),
    ) {
        let version = version_of(&before);
        let mut after = before.clone();
        let (mut deleted, mut added) = (Vec::new(), Vec::new());
        for (index, is_moved) in gone.iter().zip(&moves).filter(|_| !before.is_empty()) {
            let number = *before.keys().nth(index.index(before.len())).unwrap();
            if deleted.iter().any(|&(_, taken)| taken == FileNumber(number)) {
                continue;
            }
            if let Some((level, spot)) = after.remove(&number) {
                deleted.push((level, FileNumber(number)));
                if *is_moved {
                    // Down to a level that is empty in every model.
                    let target = 3 + (number % 4) as usize;
                    let meets = |(at, other): &(usize, Spot)| *at == target && meet(other, &spot);
                    if !after.values().any(meets) {
                        added.push((target, table_at(number, &spot)));
                        after.insert(number, (target, spot));
                    }
                }
            }
        }
        for (index, (level, spot)) in new.into_iter().enumerate() {
            let number = 1000 + index as u64;
            if level == 0 || !after.values().any(|(at, other)| *at == level && meet(other, &spot)) {
                added.push((level, table_at(number, &spot)));
                after.insert(number, (level, spot));
            }
        }
        let next = version.apply(&added, &deleted).unwrap();
        for level in 0..LEVELS {
            prop_assert_eq!(numbers(level, next.level(level).tables()), ordered(&after, level));
        }
        check_runs(next.level(0));
        for (index, level) in next.levels().enumerate() {
            check_edited(index, level);
        }
        // The version that a reader holds is as it was.
        for level in 0..LEVELS {
            prop_assert_eq!(numbers(level, version.level(level).tables()), ordered(&before, level));
        }
    }

    /// In a sorted run a table is refused exactly when it meets another.
    #[test]
    fn tables_that_overlap_are_refused(model in any_model(), spot in any_spot()) {
        let version = version_of(&model);
        let meets = model.values().any(|(level, other)| *level == 1 && meet(other, &spot));
        let result = version.apply(&[(1, table_at(500, &spot))], &[]);
        prop_assert_eq!(result.is_err(), meets);
        prop_assert!(version.apply(&[(0, table_at(500, &spot))], &[]).is_ok());
    }
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let (a, b) = (table(1, "a", "c"), table(2, "d", "f"));
    let version = Version::empty().apply(&[(1, Arc::clone(&a)), (1, Arc::clone(&b))], &[]).unwrap();
    let twice = [(2, table(3, "x", "y")), (3, table(3, "x", "y"))];
    type Change<'a> = (&'a [(usize, Arc<TableMeta>)], &'a [(usize, FileNumber)]);
    let changes: [Change<'_>; 7] = [
        (&twice, &[]),
        (&[(2, Arc::clone(&a))], &[]),
        (&[], &[(1, FileNumber(9))]),
        (&[], &[(0, FileNumber(1))]),
        (&[], &[(1, FileNumber(1)), (1, FileNumber(1))]),
        (&[(LEVELS, table(3, "x", "y"))], &[]),
        (&[], &[(LEVELS, FileNumber(1))]),
    ];
    for (index, (added, deleted)) in changes.into_iter().enumerate() {
        let error = version.apply(added, deleted).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "change {index}: {error}");
    }
    // A table that is deleted may come back elsewhere.
    assert!(version.apply(&[(2, a)], &[(1, FileNumber(1))]).is_ok());
}

#[test]
fn tables_whose_user_keys_touch_overlap_although_their_internal_keys_do_not() {
    let older = Arc::new(TableMeta::new(facts(1, (b"a", b"k"), (1, 5))).unwrap());
    let newer = Arc::new(TableMeta::new(facts(2, (b"k", b"z"), (6, 9))).unwrap());
    assert!(Version::empty().apply(&[(1, older), (1, newer)], &[]).is_err());
}
