//! Every strategy in a closed loop: flushes come in, plans are made and carried out on facts alone,
//! and a map knows what a reader must see.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::base::event_time::EventTime;
use crate::compaction::strategy::{Fifo, Picker, Strategy, TimeWindows};
use crate::version::EventTimes;
use crate::version::tests::check_edited;

/// The key `index`, which is also its event time: eight bytes.
fn key_of(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// A tree of facts, with the entries that its tables would hold: key to sequence numbers, newest
/// first.
struct Tree {
    version: Version,
    entries: BTreeMap<FileNumber, BTreeMap<u64, Vec<u64>>>,
    next_number: u64,
    next_seq: u64,
    written: u64,
    flushed: u64,
}

impl Tree {
    fn new() -> Tree {
        Tree {
            version: Version::empty(),
            entries: BTreeMap::new(),
            next_number: 1,
            next_seq: 1,
            written: 0,
            flushed: 0,
        }
    }

    /// A table of these entries; each takes one byte.
    fn table(&mut self, entries: BTreeMap<u64, Vec<u64>>, run: u64, timed: bool) -> Arc<TableMeta> {
        let seqs = || entries.values().flatten().copied();
        let (low, high) = (seqs().min().unwrap(), seqs().max().unwrap());
        let (first, last) = (entries.iter().next().unwrap(), entries.iter().next_back().unwrap());
        let internal = |key: u64, seq: u64| {
            encode(&key_of(key), pack_trailer(SeqNo::new(seq), ValueKind::Put))
        };
        let number = FileNumber(self.next_number);
        self.next_number += 1;
        let count = seqs().count() as u64;
        let facts = TableFacts {
            number,
            bytes: count,
            entries: count,
            smallest: internal(*first.0, first.1[0]),
            largest: internal(*last.0, *last.1.last().unwrap()),
            smallest_seq: SeqNo::new(low),
            largest_seq: SeqNo::new(high),
            run: FileNumber(run),
            times: timed.then_some(EventTimes {
                first_ms: *first.0,
                last_ms: *last.0,
                source: EventTime::big_endian_ms(0).source(),
            }),
            ..TableFacts::default()
        };
        self.entries.insert(number, entries);
        self.written += count;
        Arc::new(TableMeta::new(facts).unwrap())
    }

    /// Tables of `entries`, cut by size and windows.
    fn tables(
        &mut self,
        entries: BTreeMap<u64, Vec<u64>>,
        bytes: u64,
        windows: Option<WindowSplit>,
    ) -> Vec<Arc<TableMeta>> {
        let mut parts: Vec<BTreeMap<u64, Vec<u64>>> = Vec::new();
        let window = |key: u64| windows.map(|split| split.window(&key_of(key)));
        for (key, seqs) in entries {
            let goes_on = parts.last().is_some_and(|part| {
                let held: usize = part.values().map(Vec::len).sum();
                let last = *part.keys().next_back().unwrap();
                (held as u64) < bytes && window(last) == window(key)
            });
            if !goes_on {
                parts.push(BTreeMap::new());
            }
            parts.last_mut().unwrap().insert(key, seqs);
        }
        let mut runs = BTreeMap::new();
        let mut tables = Vec::new();
        for part in parts {
            let run = *runs.entry(window(*part.keys().next().unwrap())).or_insert(self.next_number);
            tables.push(self.table(part, run, windows.is_some()));
        }
        tables
    }

    fn flush(&mut self, keys: &[u64], strategy: &Strategy) {
        let mut entries = BTreeMap::new();
        for &key in keys {
            entries.insert(key, vec![self.next_seq]);
            self.next_seq += 1;
        }
        self.flushed += entries.len() as u64;
        let windows = strategy.windows().map(TimeWindows::split);
        let tables = self.tables(entries, u64::MAX, windows);
        let added: Vec<_> = tables.into_iter().map(|table| (0, table)).collect();
        self.version = self.version.apply(&added, &[]).unwrap();
    }

    fn carry_out(&mut self, plan: &Compaction) {
        assert_eq!(order::breach(&self.version, plan), None, "{plan:?}");
        let deleted: Vec<_> =
            plan.placed_tables().map(|(level, table)| (level, table.number)).collect();
        let mut merged: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut added = Vec::new();
        for (_, table) in plan.placed_tables() {
            match plan.action {
                Action::Move => added.push((plan.place.level, Arc::clone(table))),
                Action::Drop => {}
                Action::Merge => {
                    for (key, seqs) in &self.entries[&table.number] {
                        merged.entry(*key).or_default().extend(seqs);
                    }
                }
            }
        }
        for seqs in merged.values_mut() {
            seqs.sort_unstable_by(|a, b| b.cmp(a));
            seqs.truncate(1);
        }
        let outputs = self.tables(merged, plan.table_bytes, plan.windows);
        added.extend(outputs.into_iter().map(|table| (plan.place.level, table)));
        self.version = self.version.apply(&added, &deleted).unwrap();
        if self.next_number.is_multiple_of(8) {
            let levels = self.version.levels().enumerate();
            levels.for_each(|(index, level)| check_edited(index, level));
        }
    }

    /// Carries out what is due until nothing is.
    fn settle(&mut self, picker: &Picker, now_ms: u64) {
        for _ in 0..10_000 {
            let (version, busy) = (self.version.clone(), Busy::new());
            let view = View { now_ms, ..view(&version, &busy) };
            let Some(plan) = picker.pick(&view) else { return };
            self.carry_out(&plan);
        }
        panic!("the picker finds no end");
    }

    /// As a lookup does: the newest of level 0, else the first below.
    fn get(&self, key: u64) -> Option<u64> {
        let encoded = key_of(key);
        let seq_in =
            |table: &Arc<TableMeta>| self.entries[&table.number].get(&key).map(|seqs| seqs[0]);
        let runs = self.version.level(0).runs().iter();
        let newest = runs.filter_map(|run| seq_in(run.candidate(&encoded)?)).max();
        newest.or_else(|| {
            (1..LEVELS).find_map(|level| seq_in(self.version.candidate(level, &encoded)?))
        })
    }

    fn bytes(&self) -> u64 {
        self.version.bytes()
    }
}

const WINDOW: Duration = Duration::from_millis(1_000);

fn windows(ttl: Option<Duration>) -> Strategy {
    let time = EventTime::big_endian_ms(0);
    Strategy::TimeWindows(TimeWindows { ttl, ..TimeWindows::new(WINDOW, time) })
}

fn lossless() -> Vec<Strategy> {
    vec![
        Strategy::Leveled,
        Strategy::Tiered { ratio: 4 },
        Strategy::Tiered { ratio: 2 },
        Strategy::LazyLeveling { ratio: 4 },
        windows(None),
        Strategy::Fifo(Fifo { bytes_max: u64::MAX, age_max: None }),
    ]
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Writes `flushes` flushes of 100 keys below `keys`, settling after each.
fn churn(
    tree: &mut Tree,
    model: &mut BTreeMap<u64, u64>,
    numbers: &mut Numbers,
    strategy: &Strategy,
    (flushes, keys): (u64, u64),
) {
    for _ in 0..flushes {
        let chosen: Vec<u64> = (0..100).map(|_| numbers.next(keys)).collect();
        let first = tree.next_seq;
        for (index, key) in chosen.iter().enumerate() {
            model.insert(*key, first + index as u64);
        }
        tree.flush(&chosen, strategy);
        tree.settle(&strategy.picker(SHAPE), 0);
    }
}

#[test]
fn every_strategy_shows_the_newest_version_whatever_came_before_it() {
    let mut numbers = Numbers(7);
    let strategies = lossless();
    for _ in 0..12 {
        let (mut tree, mut model) = (Tree::new(), BTreeMap::new());
        for _ in 0..6 {
            let strategy = strategies[numbers.next(strategies.len() as u64) as usize];
            let flushes = 1 + numbers.next(40);
            churn(&mut tree, &mut model, &mut numbers, &strategy, (flushes, 5_000));
            for (&key, &seq) in &model {
                assert_eq!(tree.get(key), Some(seq), "{strategy:?}, key {key}");
            }
        }
    }
}

/// Bytes written for each byte flushed, the runs at the end, and the space for each live byte.
fn costs(strategy: Strategy, flushes: u64, keys: u64) -> (f64, usize, f64) {
    let (mut tree, mut model, mut numbers) = (Tree::new(), BTreeMap::new(), Numbers(3));
    churn(&mut tree, &mut model, &mut numbers, &strategy, (flushes, keys));
    let deep = (1..LEVELS).filter(|&level| !tree.version.level(level).is_empty()).count();
    let runs = tree.version.level(0).runs().len() + deep;
    (tree.written as f64 / tree.flushed as f64, runs, tree.bytes() as f64 / model.len() as f64)
}

#[test]
fn each_strategy_costs_what_its_theory_says() {
    let leveled = costs(Strategy::Leveled, 2_000, 50_000);
    let tiered = costs(Strategy::Tiered { ratio: 4 }, 2_000, 50_000);
    let lazy = costs(Strategy::LazyLeveling { ratio: 4 }, 2_000, 50_000);
    // 50,000 keys are 500 flushes: 4.5 tiers of ratio 4; a base and a bottom of ratio 10.
    assert!((3.0..8.0).contains(&tiered.0), "tiered writes {tiered:?}");
    assert!((5.0..25.0).contains(&leveled.0), "leveled writes {leveled:?}");
    assert!(tiered.0 < lazy.0 && lazy.0 < leveled.0, "{tiered:?} {lazy:?} {leveled:?}");
    assert!(leveled.1 <= 6, "leveled reads {leveled:?}");
    assert!(tiered.1 <= 4 * 6, "tiered reads {tiered:?}");
    assert!(leveled.2 < 1.35, "leveled keeps {leveled:?}");
    assert!(lazy.2 < 1.6, "lazy leveling keeps {lazy:?}");
    assert!(tiered.2 < 4.0, "tiered keeps {tiered:?}");
}

#[test]
fn keys_in_order_are_written_once_or_twice_by_every_strategy() {
    for strategy in lossless() {
        let mut tree = Tree::new();
        for flush in 0..300u64 {
            let keys: Vec<u64> = (flush * 100..flush * 100 + 100).collect();
            tree.flush(&keys, &strategy);
            tree.settle(&strategy.picker(SHAPE), 0);
        }
        let amplification = tree.written as f64 / tree.flushed as f64;
        assert!(amplification <= 2.0, "{strategy:?}: {amplification}");
        let runs = tree.version.level(0).runs().len();
        assert!(runs <= 2, "{strategy:?}: {runs} runs");
    }
}

#[test]
fn merges_stay_in_their_window_and_late_events_reach_it() {
    let strategy = windows(None);
    let (mut tree, mut model, mut numbers) = (Tree::new(), BTreeMap::new(), Numbers(11));
    churn(&mut tree, &mut model, &mut numbers, &strategy, (400, 20_000));
    for table in tree.version.tables() {
        let times = table.times.unwrap();
        assert_eq!(times.first_ms / 1_000, times.last_ms / 1_000, "{table:?}");
    }
    assert_eq!(tree.version.deepest_level(), Some(0));
    let amplification = tree.written as f64 / tree.flushed as f64;
    // Every flush has a few entries for each of 20 windows: the worst that there is.
    assert!(amplification < 10.0, "{amplification}");
}

#[test]
fn expired_windows_go_by_one_plan_that_rewrites_nothing() {
    let strategy = windows(Some(Duration::from_millis(5_000)));
    let (mut tree, mut model, mut numbers) = (Tree::new(), BTreeMap::new(), Numbers(5));
    churn(&mut tree, &mut model, &mut numbers, &strategy, (100, 20_000));
    let version = tree.version.clone();
    let picker = strategy.picker(SHAPE);
    let busy = Busy::new();
    let at = |now_ms: u64| picker.pick(&View { now_ms, ..view(&version, &busy) });
    assert!(at(5_999).is_none(), "the first window ends at 1,000 and is kept for 5,000");
    let plan = at(12_000).unwrap();
    assert_eq!((plan.action, plan.reason), (Action::Drop, Reason::WindowExpired));
    let gone: Vec<EventTimes> = plan.tables().map(|table| table.times.unwrap()).collect();
    assert!(gone.iter().all(|times| times.last_ms < 7_000));
    for second in 0..7 {
        let is_in = |times: &EventTimes| times.first_ms / 1_000 == second;
        assert!(gone.iter().any(is_in), "the window of second {second}");
    }
    let written = tree.written;
    tree.carry_out(&plan);
    assert_eq!(tree.written, written);
    assert_eq!(tree.get(6_999), None);
    assert!(at(u64::MAX).is_some(), "a clock at its end overflows nothing");
}

#[test]
fn fifo_drops_the_oldest_and_never_an_entry_before_an_older_one() {
    let strategy = Strategy::Fifo(Fifo { bytes_max: 5_000, age_max: None });
    let (mut tree, mut model, mut numbers) = (Tree::new(), BTreeMap::new(), Numbers(2));
    for _ in 0..300 {
        churn(&mut tree, &mut model, &mut numbers, &strategy, (1, 700));
        assert!(tree.bytes() <= 5_000);
        for (&key, &seq) in &model {
            let seen = tree.get(key);
            assert!(seen.is_none() || seen == Some(seq), "an older version came to light");
        }
    }
    let runs = tree.version.level(0).runs().len();
    assert!(runs <= 60, "{runs} runs");
}

#[test]
fn fifo_counts_runs_and_not_what_lies_end_to_end_in_one() {
    let strategy = Strategy::Fifo(Fifo { bytes_max: u64::MAX, age_max: None });
    let mut tree = Tree::new();
    for flush in 0..140u64 {
        // Every twentieth reaches back over all that came before.
        let late = (flush % 20 == 19).then_some(0);
        let keys: Vec<u64> = late.into_iter().chain(flush * 10 + 1..flush * 10 + 9).collect();
        tree.flush(&keys, &strategy);
    }
    let picker = strategy.picker(SHAPE);
    let busy = Busy::new();
    let plan = picker.pick(&view(&tree.version, &busy)).expect("eight runs are to be merged");
    let runs: Vec<u64> = plan
        .inputs
        .iter()
        .map(|input| input.tables.iter().map(|table| table.largest_seq.get()).max().unwrap())
        .collect();
    assert!(plan.tables().count() > 100 && runs.len() == 8, "{runs:?}");
    assert!(runs.is_sorted_by(|newer, older| newer > older), "newest first: {runs:?}");
    assert_eq!(picker.debt(&tree.version).runs, 0);
}

#[test]
fn manual_compaction_ends_and_leaves_the_fewest_runs() {
    let mut numbers = Numbers(19);
    for strategy in lossless() {
        let (mut tree, mut model) = (Tree::new(), BTreeMap::new());
        churn(&mut tree, &mut model, &mut numbers, &strategy, (37, 3_000));
        let picker = strategy.picker(SHAPE);
        for step in 0.. {
            assert!(step < 1_000, "{strategy:?} finds no end");
            let (version, busy) = (tree.version.clone(), Busy::new());
            let Some(plan) = picker.pick_manual(&view(&version, &busy), &KeySpan::ALL) else {
                break;
            };
            tree.carry_out(&plan);
        }
        for (&key, &seq) in &model {
            assert_eq!(tree.get(key), Some(seq), "{strategy:?}");
        }
        let deep = (1..LEVELS).filter(|&level| !tree.version.level(level).is_empty()).count();
        let runs = tree.version.level(0).runs().len() + deep;
        if !matches!(strategy, Strategy::Fifo(_)) {
            assert_eq!(runs, 1, "{strategy:?}");
            assert_eq!(tree.bytes(), model.len() as u64, "{strategy:?}");
        }
    }
}

#[test]
fn only_whole_tables_go_and_none_from_over_older_data_that_stays() {
    let strategy = Strategy::Leveled;
    let mut tree = Tree::new();
    let keys = |from: u64, to: u64| (from..to).collect::<Vec<u64>>();
    tree.flush(&keys(0, 100), &strategy);
    tree.flush(&keys(200, 300), &strategy);
    tree.flush(&keys(50, 60), &strategy);
    tree.flush(&keys(210, 220), &strategy);
    let busy = Busy::new();
    let within = |tree: &Tree, from: u64, to: u64| {
        let (lower, upper) = (Bound::Included(key_of(from)), Bound::Excluded(key_of(to)));
        let plan = drop_within(&view(&tree.version, &busy), &KeySpan { lower, upper });
        let mut keys: Vec<u64> =
            plan.iter().flat_map(Compaction::tables).map(|t| t.number.0).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(within(&tree, 0, 100), [1, 3]);
    assert_eq!(within(&tree, 0, 99), [], "the first reaches over its end, the third lies over it");
    assert_eq!(within(&tree, 150, 400), [2, 4]);
    assert_eq!(within(&tree, 0, 400), [1, 2, 3, 4]);
    assert_eq!(within(&tree, 205, 400), []);
}

/// A store that was leveled is drained a plan at a time, which are as large as its levels: what is
/// flushed meanwhile is merged all the same.
#[test]
fn full_tiers_do_not_wait_for_the_levels_of_another_strategy() {
    for strategy in [Strategy::Tiered { ratio: 4 }, Strategy::LazyLeveling { ratio: 4 }] {
        let (mut tree, mut model, mut numbers) = (Tree::new(), BTreeMap::new(), Numbers(31));
        churn(&mut tree, &mut model, &mut numbers, &Strategy::Leveled, (40, 5_000));
        assert!((1..LEVELS - 1).any(|level| !tree.version.level(level).is_empty()));
        let picker = strategy.picker(SHAPE);
        let pick = |tree: &Tree| picker.pick(&view(&tree.version, &Busy::new())).unwrap();
        assert_ne!(pick(&tree).reason, Reason::TierFull);
        for _ in 0..4 {
            let chosen: Vec<u64> = (0..100).map(|_| numbers.next(5_000)).collect();
            tree.flush(&chosen, &strategy);
        }
        let plan = pick(&tree);
        assert_eq!(plan.reason, Reason::TierFull, "{strategy:?}");
        tree.carry_out(&plan);
        assert_ne!(pick(&tree).reason, Reason::TierFull, "and then the levels");
    }
}

#[test]
fn fifo_after_another_strategy_brings_nothing_older_to_light() {
    let mut numbers = Numbers(23);
    for seed in 0..20 {
        numbers.0 += seed;
        let (mut tree, mut model) = (Tree::new(), BTreeMap::new());
        let before = lossless()[numbers.next(5) as usize];
        churn(&mut tree, &mut model, &mut numbers, &before, (30 + seed, 900));
        let strategy = Strategy::Fifo(Fifo { bytes_max: 500 + numbers.next(700), age_max: None });
        churn(&mut tree, &mut model, &mut numbers, &strategy, (10, 900));
        for (&key, &seq) in &model {
            let seen = tree.get(key);
            assert!(seen.is_none() || seen == Some(seq), "{before:?}: an older version of {key}");
        }
    }
}

#[test]
fn what_stops_writers_can_be_merged_whatever_its_sizes() {
    for strategy in lossless() {
        let (mut tree, picker) = (Tree::new(), strategy.picker(SHAPE));
        // Sizes that fall and rise, each over the whole range of keys, nothing settled in between.
        for flush in 0..60u64 {
            let step = [1, 7, 50, 400][(flush % 4) as usize];
            let keys: Vec<u64> = (0..=2_000).step_by(step).chain([2_001]).collect();
            tree.flush(&keys, &strategy);
            let debt = picker.debt(&tree.version);
            let (version, busy) = (tree.version.clone(), Busy::new());
            let due = picker.pick(&view(&version, &busy));
            assert!(debt.runs < 20 || due.is_some(), "{strategy:?}: {debt:?} and nothing to do");
        }
    }
}
