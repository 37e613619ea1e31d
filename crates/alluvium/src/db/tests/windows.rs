//! Time windows through the handle: what becomes of them when the place of the time changes.

use std::time::Duration;

use super::*;
use crate::base::event_time::EventTime;
use crate::compaction::strategy::{Strategy, TimeWindows};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn windows(time: EventTime, ttl: Option<Duration>) -> Strategy {
    Strategy::TimeWindows(TimeWindows { ttl, ..TimeWindows::new(HOUR, time) })
}

fn hours(hours: u64) -> u64 {
    hours * HOUR.as_millis() as u64
}

/// A key of two times.
fn two_times(first_ms: u64, second_ms: u64) -> Vec<u8> {
    [first_ms.to_be_bytes(), second_ms.to_be_bytes()].concat()
}

/// Gives `db` another strategy while it is open, or by opening it again.
fn switch(env: &MemEnv, db: Db, strategy: Strategy, reopens: bool) -> Db {
    if !reopens {
        db.set_strategy(strategy).unwrap();
        return db;
    }
    db.close().unwrap();
    open_with(env, strategy)
}

fn open_with(env: &MemEnv, strategy: Strategy) -> Db {
    let mut options = small();
    options.column_family.strategy = strategy;
    open(env, options)
}

/// The ways from the time at one place to the time at another.
fn ways() -> Vec<(bool, EventTime, EventTime)> {
    let first = EventTime::big_endian_ms(0);
    let second = EventTime::big_endian_ms(8);
    let same = EventTime::function(1, |key| EventTime::big_endian_ms(0).of(key));
    let other = EventTime::function(2, |key| EventTime::big_endian_ms(8).of(key));
    let pairs = [(first, second), (same, other), (first, other), (same, second)];
    pairs.iter().flat_map(|&(one, two)| [(false, one, two), (true, one, two)]).collect()
}

#[test]
fn a_window_by_another_time_is_not_dropped() {
    for (reopens, wrong, right) in ways() {
        let env = MemEnv::new();
        let now_ms = hours(24 * 1_000);
        env.set_unix_time(Duration::from_millis(now_ms));
        let db = open_with(&env, windows(wrong, None));
        let live = two_times(7, now_ms);
        let late = two_times(now_ms, hours(24 * 900));
        for key in [&live, &late] {
            db.put(key, "value").unwrap();
        }
        db.flush().unwrap();
        let db = switch(&env, db, windows(right, Some(30 * DAY)), reopens);
        db.compact().unwrap();
        db.wait_idle().unwrap();
        assert_eq!(db.get(&live).unwrap().as_deref(), Some(&b"value"[..]), "{wrong:?} {right:?}");
        assert_eq!(db.get(&late).unwrap(), None, "by the right time it has expired");
    }
}

#[test]
fn a_tombstone_by_another_time_hides_what_it_hid() {
    for (reopens, wrong, right) in ways() {
        for through in [None, Some(Strategy::Leveled), Some(Strategy::Tiered { ratio: 4 })] {
            let env = MemEnv::new();
            let mut db = open_with(&env, windows(wrong, None));
            let key = two_times(hours(10), hours(500));
            db.put(&key, "value").unwrap();
            db.flush().unwrap();
            if let Some(through) = through {
                db = switch(&env, db, through, reopens);
            }
            let db = switch(&env, db, windows(right, None), reopens);
            db.delete(&key).unwrap();
            db.flush().unwrap();
            db.wait_idle().unwrap();
            assert_eq!(db.get(&key).unwrap(), None, "{wrong:?} {right:?} {through:?}");
            db.compact().unwrap();
            assert_eq!(db.get(&key).unwrap(), None, "{wrong:?} {right:?} {through:?}");
            let db = switch(&env, db, Strategy::Leveled, reopens);
            db.compact().unwrap();
            assert_eq!(db.get(&key).unwrap(), None, "{wrong:?} {right:?} {through:?}");
        }
    }
}

/// Entries in all tables.
fn entries(db: &Db) -> u64 {
    db.stats().families[0].levels.iter().map(|level| level.entries).sum()
}

#[test]
fn whoever_asks_gets_back_what_a_range_delete_covers() {
    let env = MemEnv::new();
    let mut options = small();
    options.column_family.strategy = windows(EventTime::big_endian_ms(0), None);
    options.column_family.memtable_bytes = 1 << 20;
    let db = open(&env, options);
    let stamped = |index: u64| two_times(index * 1_000, 0);
    for index in 0..40_000 {
        db.put(stamped(index), "value").unwrap();
    }
    db.flush().unwrap();
    db.delete_range(stamped(100), stamped(39_900)).unwrap();
    db.flush().unwrap();
    db.wait_idle().unwrap();
    db.compact_range(stamped(0)..stamped(10)).unwrap();
    assert!(entries(&db) > 30_000, "nobody has asked for it");
    db.compact().unwrap();
    assert_eq!(entries(&db), 200);
    assert_eq!(db.scan(..).count(), 200);
}

/// As many tombstones as entries, which have to stay for their grace, in a window that is written
/// to again and again.
#[test]
fn tombstones_that_must_stay_are_no_reason_to_merge_a_window_again() {
    let env = MemEnv::new();
    env.set_unix_time(DAY * 1_000);
    let mut options = small();
    options.column_family.strategy = windows(EventTime::big_endian_ms(0), None);
    options.column_family.memtable_bytes = 1 << 20;
    options.column_family.gc_grace = HOUR;
    let db = open(&env, options);
    for index in 0..1_000 {
        db.put(two_times(1, index), "value").unwrap();
    }
    db.flush().unwrap();
    for index in 0..500 {
        db.delete(two_times(1, index)).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let rewritten = || db.stats().counter("compaction_write_bytes");
    let (begun, size) = (rewritten(), db.stats().families[0].levels[0].bytes);
    for index in 0..12 {
        for key in [600 + index, 990 - index] {
            db.put(two_times(1, key), "value").unwrap();
        }
        db.flush().unwrap();
        db.wait_idle().unwrap();
    }
    // Runs that are alike are merged once there are four of them; the large one rests.
    let since = rewritten() - begun;
    assert!(since < size, "{since} bytes were written anew, of {size}");
    assert_eq!(db.scan(..).count(), 500);
    // They go when their time has come.
    env.pass_time(DAY * 3);
    db.put(two_times(hours(1_000), 1), "value").unwrap();
    db.compact().unwrap();
    let tombstones: u64 = db.stats().families[0].levels.iter().map(|l| l.tombstones).sum();
    assert_eq!((entries(&db), tombstones), (501, 0));
}
