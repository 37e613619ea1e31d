//! The pure parts: what is picked, what survives, where outputs are cut.

use std::sync::Arc;

use proptest::prelude::*;

use super::footprint::Footprint;
use super::leveled::LeveledPicker;
use super::retain::{Now, Retain, Verdict};
use super::split::Split;
use super::*;
use crate::base::key::{SeqNo, ValueKind, encode, pack_trailer};
use crate::version::TableFacts;

mod blobs;
mod digests;
mod strategies;

const SHAPE: LevelShape = LevelShape {
    flush_bytes: 100,
    level0_runs: 4,
    level1_bytes: 1_000,
    gathered: 1.0,
    level_ratio: 10,
    table_bytes: 100,
    codecs: [0; LEVELS + 1],
};

/// A table that exists as metadata only.
pub(crate) fn table(
    number: u64,
    from: &str,
    to: &str,
    bytes: u64,
    tombstones: u64,
) -> Arc<TableMeta> {
    let (low, high) = (SeqNo::new(number * 10), SeqNo::new(number * 10 + 1));
    let facts = TableFacts {
        number: FileNumber(number),
        bytes,
        entries: 2 + tombstones,
        tombstones,
        smallest: encode(from.as_bytes(), pack_trailer(high, ValueKind::Put)),
        largest: encode(to.as_bytes(), pack_trailer(low, ValueKind::Put)),
        smallest_seq: low,
        largest_seq: high,
        footer_checksum: 0,
        ..TableFacts::default()
    };
    Arc::new(TableMeta::new(facts).unwrap())
}

fn version(tables: &[(usize, Arc<TableMeta>)]) -> Version {
    Version::empty().apply(tables, &[]).unwrap()
}

fn numbers(tables: &[Arc<TableMeta>]) -> Vec<u64> {
    let mut numbers: Vec<u64> = tables.iter().map(|table| table.number.0).collect();
    numbers.sort_unstable();
    numbers
}

/// The numbers of the tables that a plan takes from `level`.
fn taken(plan: &Compaction, level: usize) -> Vec<u64> {
    let tables = plan.placed_tables().filter(|&(at, _)| at == level);
    numbers(&tables.map(|(_, table)| Arc::clone(table)).collect::<Vec<_>>())
}

fn pick(tables: &[(usize, Arc<TableMeta>)], busy: &[u64]) -> Option<Compaction> {
    let busy = busy.iter().map(|&number| FileNumber(number)).collect();
    let version = version(tables);
    LeveledPicker::new(SHAPE).pick(&view(&version, &busy))
}

fn view<'a>(version: &'a Version, busy: &'a Busy) -> View<'a> {
    View { version, busy, now_ms: 0, ages: Ages::default() }
}

#[test]
fn nothing_is_due_below_every_trigger() {
    let calm = [
        (0, table(1, "a", "z", 50, 0)),
        (0, table(2, "a", "z", 50, 0)),
        (6, table(3, "a", "m", 900, 0)),
    ];
    assert!(pick(&calm, &[]).is_none());
}

#[test]
fn level0_that_gathers_is_merged_later_and_never_holds_more_than_lies_below() {
    let shape = SHAPE.gathering(12);
    assert_eq!((shape.level0_runs, shape.level1_bytes), (12, 3_000));
    let picks = |runs: u64, bytes: u64, below: u64| {
        let mut tables: Vec<_> = (1..=runs).map(|n| (0, table(n, "a", "z", bytes, 0))).collect();
        tables.push((6, table(99, "a", "z", below, 0)));
        let version = version(&tables);
        LeveledPicker::new(shape).pick(&view(&version, &Busy::new()))
    };
    assert!(picks(11, 10, 9_000).is_none());
    assert!(picks(12, 10, 9_000).is_some());
    // By bytes: 1,000 where less lies below, 3,000 where more does, and as many between.
    assert!(picks(2, 499, 500).is_none());
    assert!(picks(2, 500, 500).is_some());
    assert!(picks(2, 999, 2_000).is_none());
    assert!(picks(2, 1_000, 2_000).is_some());
    assert!(picks(2, 1_499, 9_000).is_none());
    assert!(picks(2, 1_500, 9_000).is_some());
}

#[test]
fn level0_goes_to_the_base_with_what_it_overlaps_there() {
    let mut tables: Vec<_> = (1..=4).map(|n| (0, table(n, "c", "k", 50, 0))).collect();
    tables.push((5, table(5, "a", "b", 100, 0)));
    tables.push((5, table(6, "d", "e", 100, 0)));
    tables.push((6, table(7, "a", "z", 5_000, 0)));
    let plan = pick(&tables, &[]).unwrap();
    assert_eq!((plan.place.level, plan.reason), (5, Reason::Level0Runs));
    assert_eq!(plan.place, TablePlace { level: 5, depth: 1, bottom: false });
    assert_eq!(taken(&plan, 0), [1, 2, 3, 4]);
    assert_eq!(taken(&plan, 5), [6]);
    assert_eq!(numbers(&plan.grandparents), [7]);
    assert_eq!(plan.action, Action::Merge);
    let beside = pick(&tables, &[6]).unwrap();
    assert_eq!((beside.place.level, beside.reason), (0, Reason::Level0Merge), "not blocked");
    assert!(pick(&tables, &[2]).is_none(), "too few are free");
}

#[test]
fn the_base_follows_the_size_of_the_bottom() {
    let base_with = |bytes: u64| {
        let mut tables: Vec<_> = (1..=4).map(|n| (0, table(n, "c", "k", 500, 0))).collect();
        tables.push((6, table(9, "m", "z", bytes, 0)));
        pick(&tables, &[]).unwrap().place.level
    };
    assert_eq!((base_with(1_000), base_with(1_001)), (6, 5));
    assert_eq!((base_with(10_000), base_with(10_010)), (5, 4));
    assert_eq!(base_with(u64::MAX / 2), 1);
}

#[test]
fn no_step_is_many_times_the_ratio_in_a_store_of_any_size() {
    // 1,000 bytes in level 1, ten times more a level, are 100 MB at the bottom; this is 40 times
    // that, and level 5 may hold a tenth of it.
    let bottom = (6, table(1, "a", "z", 4_000_000_000, 0));
    let with = |bytes: u64| [bottom.clone(), (5, table(2, "a", "b", bytes, 0))];
    let scores = |bytes: u64| LeveledPicker::new(SHAPE).scores(&version(&with(bytes)))[5];
    assert!((0.99..=1.01).contains(&scores(400_000_000)), "{}", scores(400_000_000));
    assert!(pick(&with(390_000_000), &[]).is_none());
    assert!(pick(&with(410_000_000), &[]).is_some());
}

#[test]
fn what_a_running_job_holds_is_not_drained_twice() {
    let mut tables = vec![(6, table(1, "a", "z", 9_000, 0))];
    // 900 bytes may lie in level 5; three of these are 1,200.
    for (number, keys) in [(2, ("a", "c")), (3, ("d", "f")), (4, ("g", "i"))] {
        tables.push((5, table(number, keys.0, keys.1, 400, 0)));
    }
    assert!(pick(&tables, &[]).is_some());
    assert!(pick(&tables, &[2, 10]).is_none(), "the running job makes it 800");
}

#[test]
fn a_deep_level_gives_the_table_that_costs_least_to_move() {
    let tables = [
        (5, table(1, "a", "c", 600, 0)),
        (5, table(2, "d", "f", 600, 0)),
        (5, table(3, "g", "i", 600, 0)),
        (6, table(4, "a", "c", 6_000, 0)),
        (6, table(5, "d", "e", 500, 0)),
        (6, table(6, "g", "i", 900, 0)),
    ];
    let plan = pick(&tables, &[]).unwrap();
    assert_eq!((taken(&plan, 5), taken(&plan, 6)), (vec![2], vec![5]));
    assert!(plan.place.bottom);
    let next = pick(&tables, &[2, 5]).unwrap();
    assert_eq!(taken(&next, 5), [3], "the next best when the best is busy");
}

#[test]
fn tombstones_make_a_table_worth_more() {
    let tables = [
        (5, table(1, "a", "c", 600, 0)),
        (5, table(2, "d", "f", 600, 1_000)),
        (6, table(3, "a", "c", 600, 0)),
        (6, table(4, "d", "f", 700, 0)),
    ];
    assert_eq!(taken(&pick(&tables, &[]).unwrap(), 5), [2]);
}

#[test]
fn a_table_that_meets_nothing_below_moves_without_a_rewrite() {
    let tables = [(5, table(1, "a", "c", 2_000, 0)), (6, table(2, "d", "e", 10, 0))];
    let plan = pick(&tables, &[]).unwrap();
    assert_eq!((plan.action, taken(&plan, 5), taken(&plan, 6)), (Action::Move, vec![1], vec![]));
    let over_much = [(4, table(1, "a", "c", 2_000, 0)), (6, table(2, "a", "c", 5_000, 0))];
    let dear = pick(&over_much, &[]).unwrap();
    assert_eq!(dear.action, Action::Merge, "dear to move on from there");
    let mut shape = SHAPE;
    shape.codecs[LEVELS] = 2;
    let version = version(&tables);
    let recoded = LeveledPicker::new(shape).pick(&view(&version, &Busy::new())).unwrap();
    assert_eq!(recoded.action, Action::Merge, "the bottom has another codec");
}

#[test]
fn tombstones_that_pay_are_merged_though_nothing_is_full() {
    let with = |tombstones: u64, quiet: bool| {
        let mut data = TableFacts::clone(&table(1, "a", "z", 900, 0));
        data.entries = 900;
        let data = Arc::new(TableMeta::new(data).unwrap());
        let version = version(&[(0, table(2, "a", "z", 50, tombstones)), (6, data)]);
        let (ages, busy) = (Ages { quiet, ..Ages::default() }, Busy::new());
        LeveledPicker::new(SHAPE).pick(&View { ages, ..view(&version, &busy) })
    };
    assert!(with(100, false).is_none(), "a tenth of it does not pay");
    assert!(with(100, true).is_some(), "but where nothing is written");
    assert!(with(20, true).is_none(), "where next to nothing does not, either");
    let plan = with(800, false).unwrap();
    assert_eq!((plan.reason, plan.place.level), (Reason::Tombstones, 6));
    assert!(pick(&[(0, table(2, "a", "z", 50, 800))], &[]).is_none(), "nothing to hide");
}

#[test]
fn tombstones_over_many_tables_go_down_in_steps() {
    let newest = |tables: &[(usize, Arc<TableMeta>)]| {
        let version = version(tables);
        let (ages, busy) = (Ages { quiet: true, ..Ages::default() }, Busy::new());
        LeveledPicker::new(SHAPE).pick(&View { ages, ..view(&version, &busy) }).unwrap()
    };
    let bottom = |number: u64, from: &str, to: &str| (6, table(number, from, to, 90, 0));
    // 40 bytes over 180: each of the steps is to meet one table below, which 20 lie over.
    let level0 = [
        (0, table(9, "a", "z", 20, 3)),
        (0, table(8, "a", "z", 20, 0)),
        bottom(1, "a", "l"),
        bottom(2, "m", "z"),
    ];
    let plan = newest(&level0);
    assert_eq!((plan.reason, plan.action), (Reason::Tombstones, Action::Merge));
    assert_eq!((plan.place.level, plan.place.bottom, plan.table_bytes), (5, false, 33));
    assert_eq!((taken(&plan, 0), taken(&plan, 6)), (vec![8, 9], vec![]));
    assert_eq!(numbers(&plan.grandparents), [1, 2]);
    // One alone is written anew too: as it is it would go down with all that it meets.
    let alone = newest(&[level0[0].clone(), level0[2].clone(), level0[3].clone()]);
    assert_eq!((alone.place.level, alone.action), (5, Action::Merge));

    let steps = [
        (5, table(11, "b", "k", 18, 200)),
        (5, table(12, "n", "y", 18, 300)),
        bottom(1, "a", "l"),
        bottom(2, "m", "z"),
    ];
    let step = newest(&steps);
    assert_eq!((step.place.level, taken(&step, 5), taken(&step, 6)), (6, vec![12], vec![2]));
    // One after the other: each takes room before it gives some back. In a store where that is
    // little, side by side.
    let beside = |tables: &[(usize, Arc<TableMeta>)]| {
        let version = version(tables);
        let busy = [12, 2].map(FileNumber).into_iter().collect();
        let ages = Ages { quiet: true, ..Ages::default() };
        LeveledPicker::new(SHAPE).pick(&View { ages, ..view(&version, &busy) })
    };
    assert!(beside(&steps).is_none());
    let large = |tables: &[(usize, Arc<TableMeta>)]| {
        let more = (0..9u32).map(|n| format!("z{n}"));
        let more = (20..).zip(more).map(|(number, key)| bottom(number, &key, &key));
        beside(&tables.iter().cloned().chain(more).collect::<Vec<_>>())
    };
    assert_eq!(taken(&large(&steps).unwrap(), 5), [11]);

    // So are outputs cut: at the end of the first below, and not before, however well what lies
    // over it is compressed.
    let mut split = plan.split();
    let cuts = |(key, bytes): (&str, u64)| split.before(key.as_bytes(), bytes);
    assert_eq!(
        [("b", 1), ("k", 5), ("m", 5), ("n", 1), ("y", 18)].map(cuts),
        [false, false, true, false, false]
    );

    // While the level above the base is drained, what comes next waits for that.
    let step = (5, table(11, "b", "k", 18, 2));
    let draining = [(0, table(13, "a", "z", 100, 3)), step, level0[2].clone()];
    let busy: Busy = [1].map(FileNumber).into_iter().collect();
    let version = version(&draining);
    assert!(LeveledPicker::new(SHAPE).pick(&view(&version, &busy)).is_none());

    let small = newest(&[level0[0].clone(), (6, table(1, "a", "z", 90, 0))]);
    assert_eq!((small.place.level, taken(&small, 6)), (6, vec![1]), "one step is enough");
}

#[test]
fn level0_is_emptied_while_nothing_is_written() {
    let pick = |below: u64, quiet: bool| {
        let version = version(&[(0, table(2, "c", "m", 50, 0)), (6, table(1, "a", "z", below, 0))]);
        let (ages, busy) = (Ages { quiet, ..Ages::default() }, Busy::new());
        LeveledPicker::new(SHAPE).pick(&View { ages, ..view(&version, &busy) })
    };
    assert!(pick(300, false).is_none());
    let plan = pick(300, true).unwrap();
    assert_eq!(
        (plan.reason, taken(&plan, 0), taken(&plan, 6)),
        (Reason::Level0Runs, vec![2], vec![1])
    );
    assert!(pick(900, true).is_none(), "not where much is rewritten for little");
}

/// A table over which scans have stepped over `walked` tombstones. Its oldest has number 20.
fn walked(level: usize, facts: TableFacts, walked: u64) -> (usize, Arc<TableMeta>) {
    let facts = TableFacts { oldest_tombstone: SeqNo::new(20), ..facts };
    let table = Arc::new(TableMeta::new(facts).unwrap());
    table.handle.walk_tombstones(walked);
    (level, table)
}

/// What is picked where a merge may drop tombstones up to `droppable`.
fn pick_aged(tables: &[(usize, Arc<TableMeta>)], droppable: u64) -> Option<Compaction> {
    let (version, busy) = (version(tables), Busy::new());
    let ages = Ages { droppable: SeqNo::new(droppable), ..Ages::default() };
    LeveledPicker::new(SHAPE).pick(&View { ages, ..view(&version, &busy) })
}

#[test]
fn tombstones_that_scans_keep_meeting_are_merged_though_they_hide_nothing() {
    let facts = || TableFacts::clone(&table(2, "a", "m", 50, 800));
    let bottom = |from: &str, entries: u64| {
        let facts = TableFacts::clone(&table(1, from, "z", 900, 0));
        (6, Arc::new(TableMeta::new(TableFacts { entries, ..facts }).unwrap()))
    };
    let with = |steps: u64, droppable: u64, below: (usize, Arc<TableMeta>)| {
        pick_aged(&[walked(0, facts(), steps), below], droppable)
    };
    assert!(with(9_999, 100, bottom("n", 900)).is_none());
    let plan = with(10_000, 100, bottom("n", 900)).unwrap();
    assert_eq!((plan.reason, taken(&plan, 0)), (Reason::Tombstones, vec![2]));
    assert!(with(1_000_000, 19, bottom("n", 900)).is_none(), "they may not go yet");
    assert!(with(20_801, 100, bottom("b", 20_000)).is_none(), "less work than the merge");
    assert!(with(20_802, 100, bottom("b", 20_000)).is_some());
}

#[test]
fn tombstones_that_scans_keep_meeting_go_from_the_bottom_too() {
    let few = || TableFacts { entries: 20_000, ..TableFacts::clone(&table(2, "a", "m", 50, 800)) };
    assert!(pick_aged(&[walked(6, few(), 19_999)], 100).is_none());
    assert!(pick_aged(&[walked(6, few(), 20_000)], 19).is_none(), "they may not go yet");
    let plan = pick_aged(&[walked(6, few(), 20_000)], 100).unwrap();
    assert_eq!(
        (plan.reason, plan.place.level, plan.action),
        (Reason::Tombstones, 6, Action::Merge)
    );
}

/// What a reader at `seq` sees among entries (newest first) of one key.
fn seen(entries: &[(u64, ValueKind)], seq: u64) -> Option<u64> {
    let newest = entries.iter().find(|(entry, _)| *entry <= seq)?;
    (newest.1 == ValueKind::Put).then_some(newest.0)
}

/// Whether version `seq` of the key `k` survives.
fn keeps(retain: &mut Retain, seq: u64, kind: ValueKind, base: bool) -> bool {
    retain.judge(b"k", SeqNo::new(seq), kind, b"", || base) == Verdict::Keep
}

proptest! {
    /// Every snapshot, and every reader from now on, sees the same before and after.
    #[test]
    fn retain_changes_nothing_that_anybody_can_see(
        versions in prop::collection::btree_map(1u64..40, any::<bool>(), 0..20),
        snapshots in prop::collection::btree_set(0u64..40, 0..6),
        older_below: bool,
    ) {
        let entries: Vec<(u64, ValueKind)> = versions
            .into_iter()
            .rev()
            .map(|(seq, put)| (seq, if put { ValueKind::Put } else { ValueKind::Delete }))
            .collect();
        let list = snapshots.iter().map(|&seq| SeqNo::new(seq)).collect();
        let mut retain = Retain::new(list, Now::UNKNOWN);
        let kept: Vec<_> = entries
            .iter()
            .copied()
            .filter(|&(seq, kind)| keeps(&mut retain, seq, kind, !older_below))
            .collect();
        for seq in snapshots.iter().copied().chain([1_000]) {
            let before = entries.iter().find(|(entry, _)| *entry <= seq);
            let after = kept.iter().find(|(entry, _)| *entry <= seq);
            prop_assert_eq!(seen(&entries, seq), seen(&kept, seq), "at {}", seq);
            if older_below {
                // A tombstone that a reader meets must still be met: something lies below.
                prop_assert_eq!(before.is_some(), after.is_some(), "at {}", seq);
            }
        }
        let stripes = snapshots.len() + 1;
        prop_assert!(kept.len() <= stripes, "one version for each stripe at most");
    }
}

#[test]
fn a_tombstone_goes_only_at_the_bottom_and_below_every_snapshot() {
    let keep = |snapshots: &[u64], base: bool| {
        let list = snapshots.iter().map(|&seq| SeqNo::new(seq)).collect();
        keeps(&mut Retain::new(list, Now::UNKNOWN), 10, ValueKind::Delete, base)
    };
    assert!(!keep(&[], true));
    assert!(keep(&[], false));
    assert!(keep(&[9], true), "the snapshot may see an older version");
    assert!(!keep(&[10], true));
}

#[test]
fn what_has_expired_goes_like_a_tombstone() {
    let judge = |now: Now, snapshots: &[u64], expiry_ms: u64, base: bool| {
        let list = snapshots.iter().map(|&seq| SeqNo::new(seq)).collect();
        let (kind, value) = (ValueKind::PutExpiring, expiry_ms.to_le_bytes());
        Retain::new(list, now).judge(b"k", SeqNo::new(10), kind, &value, || base)
    };
    let at = |ms| Now { expired_ms: Some(ms), ..Now::UNKNOWN };
    assert_eq!(judge(at(99), &[], 100, true), Verdict::Keep);
    assert_eq!(judge(at(100), &[], 100, true), Verdict::Expire);
    assert_eq!(judge(at(100), &[], 100, false), Verdict::Bury, "older below");
    assert_eq!(judge(at(100), &[9], 100, true), Verdict::Bury, "older that a snapshot may see");
    assert_eq!(judge(at(u64::MAX), &[], u64::MAX, true), Verdict::Keep, "never");
    assert_eq!(judge(Now::UNKNOWN, &[], 0, true), Verdict::Keep, "without a clock");
    let young = Now { expired_ms: Some(100), old_seq: SeqNo::new(9) };
    assert_eq!(judge(young, &[], 100, true), Verdict::Bury, "too young to go");
    let mut retain = Retain::new(Vec::new(), young);
    assert!(keeps(&mut retain, 10, ValueKind::Delete, true), "too young to go");
    let mut retain = Retain::new(Vec::new(), young);
    assert!(!keeps(&mut retain, 9, ValueKind::Delete, true));
}

#[test]
fn what_has_expired_hides_what_is_older() {
    let now = Now { expired_ms: Some(100), ..Now::UNKNOWN };
    let mut retain = Retain::new(vec![SeqNo::new(5)], now);
    let mut judge =
        |seq, kind, value: &[u8]| retain.judge(b"k", SeqNo::new(seq), kind, value, || true);
    let expired = 7u64.to_le_bytes();
    assert_eq!(judge(9, ValueKind::PutExpiring, &expired), Verdict::Bury);
    assert_eq!(judge(8, ValueKind::Put, b"v"), Verdict::Drop);
    assert_eq!(judge(4, ValueKind::PutExpiring, &expired), Verdict::Expire);
    assert_eq!(judge(3, ValueKind::Put, b"v"), Verdict::Drop);
}

#[test]
fn outputs_end_at_their_size_and_sooner_where_a_grandparent_ends() {
    let mut split = Split::new(100, Vec::new());
    assert!(!split.before(b"a", 0));
    assert!(!split.before(b"b", 99));
    assert!(split.before(b"c", 100));
    let grandparents = vec![table(1, "a", "f", 10, 0), table(2, "g", "z", 10, 0)];
    let mut split = Split::new(100, grandparents.clone());
    assert!(!split.before(b"c", 60));
    assert!(split.before(b"h", 60), "past the first grandparent and half full");
    let mut split = Split::new(100, grandparents);
    assert!(!split.before(b"h", 40), "not half full");
    let heavy = vec![table(1, "a", "f", 5_000, 0), table(2, "g", "z", 10, 0)];
    assert!(Split::new(100, heavy).before(b"h", 10), "it overlaps too much below");
}

/// google/leveldb#320: two versions of a key in two tables of one level.
#[test]
fn reg_c01_a_key_is_never_split_over_two_outputs() {
    let snapshots = vec![SeqNo::new(1), SeqNo::new(2), SeqNo::new(3)];
    let mut retain = Retain::new(snapshots, Now::UNKNOWN);
    assert!(retain.is_new_key(b"k"));
    assert!(keeps(&mut retain, 3, ValueKind::Put, true));
    // The job asks `Split` only when the key is new.
    assert!(!retain.is_new_key(b"k"));
    assert!(keeps(&mut retain, 2, ValueKind::Put, true));
    assert!(retain.is_new_key(b"k\0"));
}

fn plan_of(inputs: &[(usize, &Arc<TableMeta>)], level: usize, action: Action) -> Compaction {
    let input = |&(level, table): &(usize, &Arc<TableMeta>)| Input {
        level,
        tables: vec![Arc::clone(table)],
    };
    Compaction {
        reason: Reason::Manual,
        action,
        inputs: inputs.iter().map(input).collect(),
        place: TablePlace { level, depth: level, bottom: false },
        table_bytes: 100,
        grandparents: Vec::new(),
        windows: None,
    }
}

#[test]
fn a_plan_that_puts_older_above_newer_is_refused() {
    let (old, new) = (table(1, "a", "m", 50, 0), table(2, "c", "z", 50, 0));
    let (middle, deep) = (table(3, "b", "d", 50, 0), table(4, "a", "f", 50, 0));
    let tables = [(0, old.clone()), (0, new.clone()), (1, middle.clone()), (2, deep.clone())];
    let version = version(&tables);
    let breach = |inputs: &[(usize, &Arc<TableMeta>)], level, action| {
        order::breach(&version, &plan_of(inputs, level, action))
    };
    let merge = Action::Merge;
    assert_eq!(breach(&[(0, &new), (0, &old), (1, &middle)], 1, merge), None);
    assert_eq!(breach(&[(0, &old), (1, &middle)], 1, merge), None, "the older may go first");
    assert_eq!(breach(&[(0, &new), (0, &old)], 0, merge), None, "merged where they are");
    assert_eq!(breach(&[(0, &new)], 0, merge), None);
    assert_eq!(breach(&[(2, &deep)], 0, Action::Drop), None, "dropped on purpose");
    let refused = |inputs: &[(usize, &Arc<TableMeta>)], level, action, with: &str| {
        let breach = breach(inputs, level, action).unwrap();
        assert!(breach.contains(with), "{breach}");
    };
    refused(&[(0, &new), (1, &middle)], 1, merge, "pass table 000001");
    refused(&[(0, &new), (0, &old), (2, &deep)], 2, merge, "pass table 000003");
    refused(&[(0, &new), (0, &old)], 1, merge, "table 000003");
    refused(&[(1, &middle)], 2, Action::Move, "pass table 000004");
    refused(&[(2, &deep)], 1, merge, "would rise to level 1");
    refused(&[(2, &deep)], 0, merge, "would rise over table 000003");
    assert_eq!(breach(&[(1, &middle)], 0, merge), None, "nothing newer stays between");
    refused(&[(0, &new)], 0, Action::Drop, "would come to light");
    refused(&[(1, &deep)], 2, merge, "not in level 1");
    refused(&[(0, &new)], LEVELS, merge, "no level");
}

#[test]
fn outputs_do_not_reach_over_a_table_that_stays() {
    let (first, last) = (table(1, "a", "b", 50, 0), table(2, "x", "y", 50, 0));
    let between = table(3, "f", "g", 50, 0);
    let version = version(&[(1, first.clone()), (1, last.clone()), (2, between)]);
    let both = [(1, &first), (1, &last)];
    let merged = order::breach(&version, &plan_of(&both, 2, Action::Merge)).unwrap();
    assert!(merged.contains("overlap table 000003"), "{merged}");
    assert_eq!(order::breach(&version, &plan_of(&both, 2, Action::Move)), None);
}

/// Tables of 10 entries and 12 bytes of filter each.
fn filtered(number: u64, from: &str, to: &str) -> Arc<TableMeta> {
    let facts =
        TableFacts { entries: 10, filter_bytes: 12, ..(**table(number, from, to, 50, 0)).clone() };
    Arc::new(TableMeta::new(facts).unwrap())
}

#[test]
fn the_filters_of_a_flush_are_chosen_beside_all_that_there_is() {
    let tables =
        [(0, filtered(1, "a", "z")), (1, filtered(2, "a", "m")), (1, filtered(3, "n", "z"))];
    let shape = shape::of_flush(&version(&tables), 7, 10);
    assert_eq!((shape.runs, shape.output_run), (vec![7, 10, 20], 0));
    assert_eq!((shape.output_entries, shape.entries, shape.kept_filter_bytes), (7, 37, 36));
}

#[test]
fn the_filters_of_a_compaction_are_chosen_for_what_will_be_left() {
    let (new, old) = (filtered(1, "a", "m"), filtered(2, "c", "k"));
    let (lower, beside) = (filtered(3, "a", "n"), filtered(4, "p", "z"));
    let tables = [(0, new.clone()), (0, old.clone()), (1, lower.clone()), (1, beside)];
    let version = version(&tables);
    let plan = plan_of(&[(0, &new), (0, &old), (1, &lower)], 1, Action::Merge);
    let shape = shape::of_compaction(&version, &plan, 4);
    assert_eq!((shape.runs, shape.output_run), (vec![40], 0));
    assert_eq!((shape.output_entries, shape.entries, shape.kept_filter_bytes), (30, 40, 12));
    // Merged where they are, they are a run of their own.
    let plan = plan_of(&[(0, &new), (0, &old)], 0, Action::Merge);
    let shape = shape::of_compaction(&version, &plan, 4);
    assert_eq!((shape.runs, shape.output_run), (vec![0, 0, 20, 20], 2));
    // A level that was empty.
    let plan = plan_of(&[(1, &lower)], 2, Action::Merge);
    let shape = shape::of_compaction(&version, &plan, 4);
    assert_eq!((shape.runs, shape.output_run), (vec![5, 20], 1), "as they will be at rest");
    assert_eq!((shape.output_entries, shape.entries, shape.kept_filter_bytes), (10, 40, 36));
}

#[test]
fn a_plan_keeps_others_from_the_levels_that_it_writes_to_or_passes() {
    let (new, deep) = (table(2, "c", "m", 50, 0), table(1, "a", "z", 50, 0));
    let other = table(3, "m", "n", 50, 0);
    let merge = Action::Merge;
    // Which levels a merge of others may not write to, found out by one into each of them.
    let kept = |tables: &[(usize, &Arc<TableMeta>)], level, action| -> Vec<usize> {
        let plan = Footprint::of(&plan_of(tables, level, action));
        let meets = |into: &usize| {
            let other = Footprint::of(&plan_of(&[(*into, &other)], *into, merge)).unwrap();
            plan.as_ref().is_some_and(|plan| plan.meets(&other) && other.meets(plan))
        };
        (0..LEVELS).filter(meets).collect()
    };
    assert_eq!(kept(&[(0, &new)], 0, merge), [], "what is new stays above");
    assert_eq!(kept(&[(0, &new), (3, &deep)], 3, merge), [1, 2, 3], "nothing older above it");
    assert_eq!(kept(&[(2, &deep)], 5, Action::Move), [3, 4, 5], "nothing older above it");
    assert_eq!(kept(&[(3, &deep)], 4, Action::Move), [4]);
    assert_eq!(kept(&[(3, &deep)], 3, merge), [3]);
    assert_eq!(kept(&[(3, &deep)], 0, merge), [1, 2, 3], "nothing newer below it");
    assert_eq!(kept(&[(3, &deep)], 0, Action::Drop), []);
    let apart = table(3, "n", "z", 50, 0);
    let below = |table| Footprint::of(&plan_of(&[(2, table)], 3, merge)).unwrap();
    assert!(below(&new).meets(&below(&other)) && !below(&new).meets(&below(&apart)));
}

#[test]
fn nothing_older_comes_into_level_0_than_what_is_taken_down() {
    let (oldest, between, newest) =
        (table(1, "a", "b", 50, 0), table(2, "k", "m", 50, 0), table(3, "a", "z", 50, 0));
    let of = |tables: &[(usize, &Arc<TableMeta>)], level| {
        Footprint::of(&plan_of(tables, level, Action::Merge)).unwrap()
    };
    let falls = of(&[(0, &between)], 6);
    for (rises, meets) in [
        // Its keys reach over those of the table that falls, and by its age it may hide them.
        (of(&[(0, &oldest), (0, &newest)], 0), true),
        (of(&[(0, &newest)], 0), false),
        (of(&[(0, &oldest)], 0), false),
    ] {
        assert_eq!((falls.meets(&rises), rises.meets(&falls)), (meets, meets), "{rises:?}");
    }
    let within = of(&[(0, &between)], 0);
    let beside = of(&[(0, &oldest), (0, &newest)], 0);
    assert!(!within.meets(&beside) && !beside.meets(&within), "tiers merge beside each other");
}
