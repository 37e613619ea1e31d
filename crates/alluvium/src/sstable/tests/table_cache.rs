//! The bound on open tables, and what is refused at opening.

use std::sync::atomic::Ordering;

use super::files::TablesEnv;
use super::*;
use crate::sstable::{TableCache, TableHandle};

/// Tables 1 to `count`, each of one entry that tells its number.
fn store(count: u64) -> (Arc<TablesEnv>, Vec<Arc<TableHandle>>) {
    let env = Arc::new(TablesEnv::default());
    let handles = (1..=count)
        .map(|n| {
            let (number, file) = (FileNumber(n), Arc::new(MemFile::default()));
            let name = format!("{number}.sst");
            let mut writer = TableWriter::new(file.clone(), number, name, TableOptions::default());
            let (key, value) = put(b"number", 1, &n.to_le_bytes());
            writer.add(&key, &value).expect("in order");
            let summary = writer.finish().expect("memory does not fail");
            env.tables.lock().push((number, file.bytes()));
            Arc::new(TableHandle::new(number, summary.footer_checksum))
        })
        .collect();
    (env, handles)
}

fn cache_of(env: &Arc<TablesEnv>, open_tables_max: usize) -> TableCache {
    let blocks = Arc::new(BlockCache::new(1 << 20));
    TableCache::new(env.clone(), blocks, Arc::new(Counters::default()), open_tables_max)
}

fn check(cache: &TableCache, handle: &Arc<TableHandle>) {
    let table = cache.open(handle).expect("the table is there");
    let found = get(&table, &put(b"number", 1, b"").0).expect("sound").expect("there");
    assert_eq!(found.1, handle.number().0.to_le_bytes());
}

#[test]
fn a_table_is_opened_once_while_it_stays() {
    let (env, handles) = store(3);
    let cache = cache_of(&env, 10);
    for _ in 0..5 {
        handles.iter().for_each(|handle| check(&cache, handle));
    }
    assert_eq!(env.opens.load(Ordering::Relaxed), 3);
    assert_eq!(cache.open_tables(), 3);
    assert!(cache.memory_bytes() > 0);
    assert!(cache.block_cache().bytes() > 0);
}

#[test]
fn no_more_tables_stay_open_than_allowed() {
    let (env, handles) = store(50);
    for bound in [1, 2, 7] {
        let cache = cache_of(&env, bound);
        for round in 0..3 {
            for handle in &handles {
                check(&cache, handle);
                let open = env.open_now.load(Ordering::Relaxed);
                assert!(open <= bound, "{open} open in round {round}");
            }
        }
        assert_eq!(cache.open_tables(), bound);
        handles.iter().for_each(|handle| cache.forget(handle.number()));
        assert_eq!(env.open_now.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_table_in_use_outlives_its_place_and_the_used_one_keeps_its_own() {
    let (env, handles) = store(6);
    let cache = cache_of(&env, 2);
    let kept = cache.open(&handles[0]).expect("there");
    handles[1..].iter().for_each(|handle| check(&cache, handle));
    assert_eq!(env.open_now.load(Ordering::Relaxed), 3);
    assert!(get(&kept, &put(b"number", 1, b"").0).expect("sound").is_some());
    drop(kept);
    assert_eq!(env.open_now.load(Ordering::Relaxed), 2);

    // Of three tables in turn with one used all the time, the clock spares that one.
    let (env, handles) = store(9);
    let cache = cache_of(&env, 3);
    check(&cache, &handles[0]);
    let mut reopened = 0;
    for handle in &handles[1..] {
        check(&cache, handle);
        let before = env.opens.load(Ordering::Relaxed);
        check(&cache, &handles[0]);
        reopened += env.opens.load(Ordering::Relaxed) - before;
    }
    assert!(reopened <= 2, "reopened {reopened} times in 8");
}

#[test]
fn a_table_that_nobody_names_any_longer_closes_and_leaves_room() {
    let (env, mut handles) = store(5);
    let cache = cache_of(&env, 3);
    handles[..3].iter().for_each(|handle| check(&cache, handle));
    handles.drain(..3);
    assert_eq!(env.open_now.load(Ordering::Relaxed), 0);
    assert_eq!(cache.open_tables(), 0);
    handles.iter().for_each(|handle| check(&cache, handle));
    assert_eq!(cache.open_tables(), 2);
    cache.forget(FileNumber(77));
    cache.forget(handles[0].number());
    assert_eq!(cache.open_tables(), 1);
    check(&cache, &handles[0]);
}

#[test]
fn a_missing_table_and_a_table_of_other_content_are_damage() {
    let (env, handles) = store(2);
    let cache = cache_of(&env, 4);
    let missing = Arc::new(TableHandle::new(FileNumber(3), 0));
    match cache.open(&missing) {
        Err(Error::Corruption { file, detail, .. }) => {
            assert_eq!(
                (file.as_str(), detail.as_str()),
                ("store/000003.sst", "the table is missing")
            );
        }
        other => panic!("{other:?}"),
    }
    let other = Arc::new(TableHandle::new(FileNumber(1), 12345));
    assert!(cache.open(&other).expect_err("other content").is_corruption());
    check(&cache, &handles[0]);
    assert_eq!(cache.open_tables(), 1);
}

#[test]
fn many_threads_share_the_bound() {
    let (env, handles) = store(40);
    let (cache, bound, threads) = (cache_of(&env, 5), 5, 4);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (cache, handles, env) = (&cache, &handles, &env);
            scope.spawn(move || {
                for step in 0..2_000 {
                    check(cache, &handles[(step * (7 + 2 * thread)) % handles.len()]);
                    // Each thread may hold one table that lost its place and open another.
                    let open = env.open_now.load(Ordering::Relaxed);
                    assert!(open <= bound + 2 * threads, "{open} open");
                }
            });
        }
    });
    assert_eq!(cache.open_tables(), bound);
    assert_eq!(env.open_now.load(Ordering::Relaxed), bound);
}

#[test]
fn open_tables_keep_to_their_memory() {
    let (env, handles) = store(20);
    let cache = cache_of(&env, 1_000);
    check(&cache, &handles[0]);
    let one = cache.memory_bytes();
    cache.set_bytes_max(5 * one + one / 2);
    for _ in 0..3 {
        for handle in &handles {
            check(&cache, handle);
            assert!(cache.memory_bytes() <= 5 * one + one / 2);
        }
    }
    assert_eq!(cache.open_tables(), 5);
    handles.iter().for_each(|handle| cache.forget(handle.number()));
    assert_eq!(cache.memory_bytes(), 0);
    // One that is larger than the bound is still opened.
    cache.set_bytes_max(1);
    check(&cache, &handles[3]);
    assert_eq!(cache.open_tables(), 1);
}
