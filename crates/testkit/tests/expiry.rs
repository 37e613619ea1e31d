//! Time to live through the public API: what is hidden when, what a clock that is set does to it,
//! and that nothing comes back.
//!
//! Time is a number that the test sets; nothing here waits.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use alluvium::env::{CrashPolicy, Env as _, MemEnv};
use alluvium::{Bytes, ColumnFamilyOptions, Db, Options, Snapshot, WriteBatch};

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Some day in 2023.
const TODAY: Duration = Duration::from_secs(1_700_000_000);

fn world() -> MemEnv {
    let env = MemEnv::new();
    env.set_unix_time(TODAY);
    env
}

fn options() -> Options {
    Options { background_threads: 0, ..Options::default() }
}

fn with_ttl(ttl: Duration) -> Options {
    let column_family = ColumnFamilyOptions { ttl: Some(ttl), ..ColumnFamilyOptions::default() };
    Options { column_family, ..options() }
}

fn open(env: &MemEnv) -> Db {
    Db::open_env(Arc::new(env.clone()), options()).unwrap()
}

type Entries = Vec<(Bytes, Bytes)>;

/// The entries as every kind of read finds them, which must agree.
fn entries(db: &Db) -> Entries {
    let forwards: Entries = db.scan(..).map(|entry| entry.unwrap()).collect();
    let mut backwards: Entries = db.scan(..).rev().map(|entry| entry.unwrap()).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);
    let mut cursor = db.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    for (key, value) in &forwards {
        assert_eq!((cursor.key(), cursor.value()), (&key[..], &value[..]));
        assert_eq!(cursor.value_handle(), value);
        cursor.next().unwrap();
    }
    assert!(!cursor.valid());
    let keys: Vec<&[u8]> = vec![b"a", b"b", b"c", b"d"];
    for (key, many) in keys.iter().zip(db.multi_get(&keys).unwrap()) {
        let scanned = forwards.iter().find(|entry| entry.0[..] == **key).map(|entry| &entry.1);
        assert_eq!(many.as_ref(), scanned, "multi_get of {}", key.escape_ascii());
        assert_eq!(db.get(key).unwrap().as_ref(), scanned, "get of {}", key.escape_ascii());
        assert_eq!(db.snapshot().get(key).unwrap().as_ref(), scanned);
    }
    forwards
}

fn keys(db: &Db) -> String {
    entries(db).iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

fn tables(db: &Db) -> u64 {
    db.stats().families.iter().flat_map(|f| &f.levels).map(|level| level.tables as u64).sum()
}

/// facebook/rocksdb#12116 and #828: a key is read long after its time to live has passed.
#[test]
fn every_read_hides_an_entry_from_its_millisecond_on() {
    let env = world();
    let db = open(&env);
    db.put("a", "stays").unwrap();
    db.put_with_ttl("b", "short", SECOND).unwrap();
    db.put_with_ttl("c", "long", SECOND * 2).unwrap();
    for moved in ["in memory", "in a table", "below"] {
        match moved {
            "in memory" => {}
            "in a table" => db.flush().unwrap(),
            _ => db.compact().unwrap(),
        }
        assert_eq!(keys(&db), "abc", "{moved}");
        assert_eq!(db.get("b").unwrap().as_deref(), Some(b"short".as_slice()));
        let image = env.crash_image(CrashPolicy::KeepAll, 0);
        let copy = open(&image);
        env.pass_time(SECOND - Duration::from_millis(1));
        assert_eq!(keys(&copy), "abc", "{moved}");
        env.pass_time(Duration::from_millis(1));
        assert_eq!(keys(&copy), "ac", "{moved}");
        env.pass_time(SECOND);
        assert_eq!(keys(&copy), "a", "{moved}");
        env.set_unix_time(TODAY);
    }
}

#[test]
fn an_expired_entry_hides_what_is_older_wherever_both_are() {
    for place in 0..27 {
        let env = world();
        let db = open(&env);
        let settle = |how: u32| match how % 3 {
            0 => {}
            1 => db.flush().unwrap(),
            _ => db.compact().unwrap(),
        };
        db.put("a", "older").unwrap();
        db.put("b", "older").unwrap();
        settle(place);
        db.put_with_ttl("a", "newer", SECOND).unwrap();
        settle(place / 3);
        assert_eq!(db.get("a").unwrap().as_deref(), Some(b"newer".as_slice()));
        env.pass_time(SECOND);
        assert_eq!(keys(&db), "b", "place {place}");
        settle(place / 9);
        assert_eq!(keys(&db), "b", "place {place}");
        db.flush().unwrap();
        assert_eq!(keys(&db), "b", "place {place}");
        db.compact().unwrap();
        assert_eq!(keys(&db), "b", "place {place}");
        env.set_unix_time(TODAY);
        drop(db);
        let found = open(&env).get("a").unwrap();
        assert!(found.is_none_or(|value| value == "newer"), "place {place}: never the older");
    }
}

#[test]
fn a_snapshot_hides_what_has_expired_and_a_cursor_keeps_its_moment() {
    let env = world();
    let db = open(&env);
    db.put_with_ttl("a", "1", SECOND).unwrap();
    db.put("b", "2").unwrap();
    let snapshot: Snapshot = db.snapshot();
    let mut cursor = snapshot.cursor().unwrap();
    let mut scan = db.scan(..);
    cursor.seek_to_last().unwrap();
    assert_eq!(cursor.expires(), None);
    env.pass_time(SECOND);
    db.compact().unwrap();
    assert_eq!(snapshot.get("a").unwrap(), None);
    assert_eq!(snapshot.scan(..).count(), 1);
    cursor.prev().unwrap();
    assert_eq!((cursor.key(), cursor.value()), (b"a".as_slice(), b"1".as_slice()));
    assert_eq!(cursor.expires(), Some(TODAY + SECOND));
    assert_eq!(scan.next_back().unwrap().unwrap().0, "b");
    assert_eq!(scan.next().unwrap().unwrap().0, "a", "both ends are of one moment");
}

#[test]
fn what_has_expired_gives_its_space_back() {
    let env = world();
    let db = open(&env);
    for number in 0..1_000 {
        db.put_with_ttl(format!("key {number}"), "value", SECOND).unwrap();
    }
    db.compact().unwrap();
    assert!(tables(&db) > 0);
    env.pass_time(SECOND);
    db.compact().unwrap();
    db.put("key 1", "alive").unwrap();
    db.compact().unwrap();
    assert_eq!(db.scan(..).count(), 1);
    let levels = db.stats().families[0].levels.clone();
    assert_eq!(levels.iter().map(|level| level.entries).sum::<u64>(), 1);
}

#[test]
fn a_flush_leaves_tombstones_of_what_has_expired_in_memory() {
    let env = world();
    let db = open(&env);
    // Else nothing could be hidden, and nothing would be left.
    let _before = db.snapshot();
    db.put_with_ttl("a", "a long value that need not be written any more", SECOND).unwrap();
    db.put_with_ttl("b", "v", SECOND * 9).unwrap();
    env.pass_time(SECOND);
    db.flush().unwrap();
    let stats = db.stats();
    assert_eq!(stats.counter("expired_entries"), 1);
    let level = &stats.families[0].levels[0];
    assert_eq!((level.entries, level.tombstones), (2, 1));
    assert_eq!(keys(&db), "b");
}

/// Entries left in the tables after puts, a delete, an expiry, and a compaction `age` after those.
fn entries_left(gc_grace: Duration, age: Duration) -> u64 {
    let env = world();
    let column_family = ColumnFamilyOptions { gc_grace, ..ColumnFamilyOptions::default() };
    let options = Options { column_family, ..options() };
    let db = Db::open_env(Arc::new(env.clone()), options).unwrap();
    db.put("a", "v").unwrap();
    db.put("b", "v").unwrap();
    db.compact().unwrap();
    db.delete("a").unwrap();
    db.put_with_ttl("b", "w", Duration::ZERO).unwrap();
    db.flush().unwrap();
    env.pass_time(age);
    db.compact().unwrap();
    assert_eq!(keys(&db), "");
    let levels = db.stats().families[0].levels.clone();
    levels.iter().map(|level| level.entries).sum()
}

#[test]
fn a_tombstone_stays_for_its_grace_period() {
    let hour = SECOND * 3_600;
    assert_eq!(entries_left(Duration::ZERO, Duration::ZERO), 0);
    assert_eq!(entries_left(hour, Duration::ZERO), 2);
    assert_eq!(entries_left(hour, hour - SECOND), 2);
    assert_eq!(entries_left(hour, hour + SECOND), 0);
    assert_eq!(entries_left(Duration::MAX, YEAR), 2);
}

/// facebook/rocksdb#11256 and #11279, scylladb/scylladb#3182, #3353 and #15116: now and the time to
/// live add up to more than a number holds, and what was to live longest is deleted.
#[test]
fn reg_s08_no_time_to_live_is_too_long() {
    let clocks = [Duration::ZERO, TODAY, SECOND * 2_147_483_647, SECOND * u32::MAX, YEAR * 9_000];
    for clock in clocks {
        let env = world();
        env.set_unix_time(clock);
        let db = open(&env);
        db.put_with_ttl("a", "no time at all", Duration::ZERO).unwrap();
        for (key, ttl) in [
            ("b", SECOND),
            ("c", YEAR * 15),
            ("d", YEAR * 70),
            ("e", Duration::from_secs(u64::MAX)),
            ("f", Duration::MAX),
        ] {
            db.put_with_ttl(key, "v", ttl).unwrap();
        }
        assert_eq!(keys(&db), "bcdef", "in {clock:?}");
        db.compact().unwrap();
        env.pass_time(SECOND);
        assert_eq!(keys(&db), "cdef", "in {clock:?}");
        env.pass_time(YEAR * 15);
        db.compact().unwrap();
        assert_eq!(keys(&db), "def", "in {clock:?}");
        env.pass_time(YEAR * 500_000);
        assert_eq!(keys(&db), "ef", "in {clock:?}");
    }
}

/// A clock that was set ten years ahead, or back, and is set right again (reliability rule s10).
#[test]
fn reg_s10_a_clock_that_jumps_removes_nothing_for_good() {
    let env = world();
    let db = open(&env);
    db.put("a", "for ever").unwrap();
    db.put_with_ttl("b", "a day", SECOND * 86_400).unwrap();
    db.put_with_ttl("c", "a second", SECOND).unwrap();
    env.set_unix_time(TODAY - YEAR * 10);
    assert_eq!(keys(&db), "abc");
    db.put_with_ttl("d", "counts from the latest time seen", SECOND).unwrap();
    assert_eq!(keys(&db), "abcd");
    env.set_unix_time(TODAY + SECOND);
    assert_eq!(keys(&db), "ab");
    env.set_unix_time(TODAY + YEAR * 10);
    assert_eq!(keys(&db), "a");
    db.flush().unwrap();
    db.compact().unwrap();
    env.set_unix_time(TODAY + SECOND);
    assert_eq!(keys(&db), "a", "what was hidden stays hidden as long as the store is open");
    drop(db);
    assert_eq!(keys(&open(&env)), "ab", "and was not removed for a jump of the clock");
}

/// A session under a clock that was years ahead leaves its time in the store. Later sessions under
/// a right clock do not take it for time that has passed.
#[test]
fn a_clock_that_was_ahead_once_makes_no_later_jump_true() {
    // Some day after there were stores, in 2027.
    let today = TODAY + YEAR * 4;
    let ahead = today + YEAR * 10;
    for clocks in [&[today, ahead][..], &[ahead], &[ahead, today]] {
        let env = world();
        for (clock, key) in clocks.iter().zip(["a", "b"]) {
            env.set_unix_time(*clock);
            let db = open(&env);
            db.put(key, "for ever").unwrap();
            db.flush().unwrap();
        }
        env.set_unix_time(today + SECOND);
        let db = open(&env);
        db.put_with_ttl("c", "a day", SECOND * 86_400).unwrap();
        db.flush().unwrap();
        env.set_unix_time(today + YEAR * 5);
        assert!(!keys(&db).contains('c'));
        db.compact().unwrap();
        drop(db);
        env.set_unix_time(today + SECOND * 2);
        assert!(keys(&open(&env)).contains('c'), "and was not removed for a jump of the clock");
    }
}

#[test]
fn a_family_gives_a_time_to_live_to_what_has_none() {
    let env = world();
    let db = Db::open_env(Arc::new(env.clone()), with_ttl(SECOND)).unwrap();
    let options = ColumnFamilyOptions::default();
    let other = db.create_column_family("other", options).unwrap();
    let mut batch = WriteBatch::new();
    batch.put("a", "the family's");
    batch.put_with_ttl("b", "its own", SECOND * 3);
    batch.put_until("c", "its own", TODAY + SECOND * 5);
    batch.put("d", "old");
    batch.delete("d");
    batch.put_in(&other, "a", "for ever");
    db.write(batch).unwrap();
    assert_eq!(keys(&db), "abc");
    env.pass_time(SECOND);
    assert_eq!(keys(&db), "bc");
    env.pass_time(SECOND * 2);
    assert_eq!(keys(&db), "c");
    drop(other);
    db.close().unwrap();
    // Replayed a while later under other options: the time is that of the write.
    let db = Db::open_env(Arc::new(env.clone()), with_ttl(YEAR)).unwrap();
    assert_eq!(keys(&db), "c");
    env.pass_time(SECOND * 2);
    assert_eq!(keys(&db), "");
    assert!(db.column_family("other").unwrap().get("a").unwrap().is_some());
}

#[test]
fn the_log_holds_the_moment_and_not_the_duration() {
    let env = world();
    let db = open(&env);
    db.put_with_ttl("a", "v", SECOND * 10).unwrap();
    env.pass_time(SECOND * 6);
    let image = env.crash_image(CrashPolicy::DropUnsynced, 0);
    let again = open(&image);
    assert_eq!(keys(&again), "a");
    env.pass_time(SECOND * 4);
    assert_eq!(keys(&again), "");
    assert!(image.unix_time() == TODAY + SECOND * 10, "images share the clock");
}

#[test]
fn bounds_and_prefixes_pass_over_what_has_expired() {
    let env = world();
    let db = open(&env);
    for number in 0..100_u8 {
        let ttl = SECOND * u32::from(1 + number % 3);
        db.put_with_ttl([number / 10, number % 10], [number], ttl).unwrap();
    }
    db.flush().unwrap();
    env.pass_time(SECOND * 2);
    let alive = |number: &u8| number % 3 == 2;
    let prefixed: Vec<u8> = db.prefix([4_u8]).map(|entry| entry.unwrap().1[0]).collect();
    assert_eq!(prefixed, (40..50).filter(alive).collect::<Vec<_>>());
    let range = (Bound::Excluded([4_u8, 1]), Bound::Included([6, 5]));
    let between: Vec<u8> = db.scan(range).rev().map(|entry| entry.unwrap().1[0]).collect();
    assert_eq!(between, (42..=65).rev().filter(alive).collect::<Vec<_>>());
}
