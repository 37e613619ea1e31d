//! What the presets promise, counted on stores that are smaller than the presets are made for.

use std::sync::Arc;
use std::time::Duration;

use alluvium::env::MemEnv;
use alluvium::{
    ColumnFamilyOptions, Db, Durability, EventTime, Options, Stats, Strategy, Workload, WriteBatch,
    WriteOptions,
};

const KEYS: u64 = 20_000;
const ROUNDS: u64 = 3;
const DAY: Duration = Duration::from_secs(86_400);

/// The preset with every size a sixteen-thousandth of its own: the shape stays, and a small store
/// has as many levels as a large one.
fn small(workload: Workload) -> ColumnFamilyOptions {
    let full = workload.options();
    ColumnFamilyOptions {
        memtable_bytes: full.memtable_bytes >> 14,
        table_bytes: full.table_bytes >> 14,
        level1_bytes: full.level1_bytes >> 14,
        block_bytes: full.block_bytes >> 2,
        ..full
    }
}

fn open(env: &MemEnv, column_family: ColumnFamilyOptions) -> Db {
    let options = Options {
        durability: Durability::Buffered,
        background_threads: 0,
        column_family,
        ..Options::default()
    };
    Db::open_env(Arc::new(env.clone()), options).unwrap()
}

fn put(db: &Db, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write_with(batch, &WriteOptions { durability: Durability::Buffered }).unwrap();
}

fn key(number: u64) -> Vec<u8> {
    format!("user{number:012}").into_bytes()
}

/// A store in which every even key was written `ROUNDS` times in an order of its own.
fn overwritten(workload: Workload) -> Db {
    let db = open(&MemEnv::new(), small(workload));
    for round in 0..ROUNDS {
        for number in 0..KEYS {
            let number = (number * 7_919 + round * 31) % KEYS;
            put(
                &db,
                &key(number * 2),
                format!("{round} and sixty bytes of value {number:040}").as_bytes(),
            );
        }
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    for number in (0..KEYS).step_by(997) {
        let value = db.get(key(number * 2)).unwrap().unwrap();
        assert!(value.starts_with(format!("{} ", ROUNDS - 1).as_bytes()));
    }
    db
}

/// Data blocks read by looking for as many keys as there are, none of them there.
fn needless_reads(db: &Db) -> u64 {
    let blocks = |stats: Stats| stats.counter("cache_hits") + stats.counter("cache_misses");
    let before = blocks(db.stats());
    for number in 0..KEYS {
        assert_eq!(db.get(key(number * 2 + 1)).unwrap(), None);
    }
    blocks(db.stats()) - before
}

#[test]
fn each_preset_trades_what_it_says() {
    let [mixed, writes, points] =
        [Workload::Mixed, Workload::WriteHeavy, Workload::PointRead].map(|workload| {
            let db = overwritten(workload);
            let stats = db.stats();
            let (written, space) = (stats.write_amplification(), stats.space_amplification());
            let needless = needless_reads(&db) as f64 / KEYS as f64;
            println!(
                "{workload:?}: written {written:.2}, space {space:.2}, needless {needless:.4}"
            );
            (written, space, needless)
        });
    assert!(writes.0 < 0.9 * mixed.0, "lazy leveling writes less");
    assert!(writes.1 < 2.0, "and takes no multiple of the space");
    assert!(points.2 < 0.5 * mixed.2, "larger filters read less");
    assert!(points.2 < 0.01, "one or two lookups in a thousand a run");
    assert!(points.1 < 1.3);
}

#[test]
fn a_time_series_keeps_its_windows_and_drops_them_whole() {
    let env = MemEnv::new();
    let today = 20_000 * DAY;
    env.set_unix_time(today);
    let time = EventTime::big_endian_ms(0);
    let options = ColumnFamilyOptions {
        memtable_bytes: 64 << 10,
        ..small(Workload::TimeSeries { window: DAY, ttl: Some(7 * DAY), time })
    };
    assert!(matches!(options.strategy, Strategy::TimeWindows(_)));
    let db = open(&env, options);
    let event = |day: u32, number: u32| {
        let at = (today - 5 * DAY + day * DAY + Duration::from_millis(number.into())).as_millis();
        [&(at as u64).to_be_bytes()[..], b"page"].concat()
    };
    for day in 0..5 {
        for number in 0..2_000 {
            put(&db, &event(day, number), &[b'v'; 100]);
        }
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let written =
        db.stats().families[0].levels.iter().map(|level| level.written_bytes).sum::<u64>();
    assert_eq!(db.scan(..).count(), 10_000);
    env.pass_time(5 * DAY);
    db.wait_idle().unwrap();
    db.put(&event(9, 0)[..], "one more, and the work that was due").unwrap();
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let left = db.scan(..).count();
    assert_eq!(left, 4_001, "two of five days are left, and what came today");
    let since = db.stats().families[0].levels.iter().map(|level| level.written_bytes).sum::<u64>();
    assert!(since < written + 4096, "nothing was rewritten: {written} and {since} bytes");
}
