//! One limit for all memory, through the handle.

use super::*;
use crate::db::memory::{Held, held, unflushed};

const LIMIT: usize = 32 << 20;

/// Default sizes, which are far over the limit, and several families.
fn limited(limit: usize) -> (MemEnv, Db) {
    let env = MemEnv::new();
    let options = Options {
        memory_limit: Some(limit),
        background_threads: 0,
        durability: Durability::Os,
        ..Options::default()
    };
    let db = open(&env, options);
    (env, db)
}

fn all(db: &Db) -> usize {
    let Held { memtables, tables, jobs, cursors } = held(db.core());
    let cache = db.core().tables.block_cache().bytes() as usize;
    memtables + tables + jobs + cursors + cache
}

#[test]
fn the_parts_keep_to_the_limit_while_families_grow() {
    let (_env, db) = limited(LIMIT);
    let families: Vec<_> = ["a", "b", "c"]
        .map(|name| db.create_column_family(name, ColumnFamilyOptions::default()).unwrap())
        .into();
    let value = vec![3; 4 << 10];
    for round in 0u32..6_000 {
        // The first family takes most.
        let family = &families[[0, 0, 0, 0, 1, 2][round as usize % 6]];
        family.put(key(round), &value).unwrap();
        if round % 7 == 0 {
            family.get(key(round / 2)).unwrap();
        }
        assert!(all(&db) < LIMIT, "{} bytes in round {round}: {:?}", all(&db), held(db.core()));
    }
    let stats = db.stats();
    assert!(stats.counter("flushes") >= 2, "nothing was flushed early: {stats}");
    assert!(unflushed(db.core()) <= LIMIT / 8 * 3);
    let flushed = |name: &str| {
        let family = stats.families.iter().find(|family| family.name == name).unwrap();
        family.levels.iter().map(|level| level.written_bytes).sum::<u64>()
    };
    assert!(flushed("a") > flushed("b") + flushed("c"), "the largest goes first: {stats}");
}

#[test]
fn the_block_cache_gives_way_and_comes_back() {
    let (_env, db) = limited(LIMIT);
    let value = vec![3; 4 << 10];
    for index in 0..8_000 {
        db.put(key(index), &value).unwrap();
    }
    db.flush().unwrap();
    let read_all = || {
        for index in 0..8_000 {
            assert!(db.get(key(index)).unwrap().is_some());
        }
        db.core().tables.block_cache().bytes() as usize
    };
    let calm = read_all();
    assert!(calm > LIMIT / 10 * 3, "{calm} bytes are cached");
    let cursors: Vec<_> = (0..400).map(|_| db.cursor().unwrap()).collect();
    for index in 0..1_000 {
        db.put(key(index), &value).unwrap();
    }
    let pressed = read_all();
    assert!(pressed < LIMIT / 16, "{pressed} bytes of {calm}");
    drop(cursors);
    db.flush().unwrap();
    assert!(read_all() > LIMIT / 4, "it does not come back");
}

#[test]
fn a_limit_that_cannot_be_kept_is_refused() {
    let options = Options { memory_limit: Some((16 << 20) - 1), ..small() };
    let refused = Db::open_env(Arc::new(MemEnv::new()), options);
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    limited(16 << 20).1.close().unwrap();
}

#[test]
fn range_tombstones_in_memtables_count() {
    const SMALL: usize = 16 << 20;
    let (_env, db) = limited(SMALL);
    let mut most = 0;
    for index in 0..3_000u32 {
        let (mut low, mut high) = (vec![b'k'; 4 << 10], vec![b'k'; 4 << 10]);
        low.extend((2 * index).to_be_bytes());
        high.extend((2 * index + 1).to_be_bytes());
        db.delete_range(low, high).unwrap();
        most = most.max(all(&db));
        assert!(unflushed(db.core()) <= SMALL / 8 * 3, "{index}: {}", unflushed(db.core()));
    }
    assert!(most > SMALL / 16 && most < SMALL, "{most}");
    assert!(db.stats().counter("flushes") >= 2);
    db.flush().unwrap();
    let left = held(db.core()).memtables;
    assert!(left < SMALL / 4, "{left} bytes are counted of memtables that are gone");
}
