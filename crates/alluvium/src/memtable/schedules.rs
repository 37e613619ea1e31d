//! Readers of a memtable in every order with its writers (docs/testing.md, "Schedules").

use super::*;
use crate::base::iterator::InternalIterator;
use crate::base::sync::{explore, thread};

const LONG: [u8; 80] = [7; 80];

fn insert(memtable: &Memtable, entries: &[(&[u8], u64)]) {
    let mut writer = memtable.writer();
    for &(key, seq) in entries {
        writer.insert(SeqNo::new(seq), ValueKind::Put, key, &LONG[..seq as usize * 10]);
    }
}

/// The keys by walking; each entry must be whole, and behind the one before.
fn walk(memtable: &Arc<Memtable>) -> Vec<(Vec<u8>, u64)> {
    let mut found: Vec<(Vec<u8>, u64)> = Vec::new();
    let mut iterator = memtable.iter();
    iterator.seek_to_first().unwrap();
    while iterator.valid() {
        let (user_key, trailer) = key::split(iterator.key());
        let seq = key::trailer_seq(trailer).get();
        assert_eq!(iterator.value(), &LONG[..seq as usize * 10]);
        assert!(found.last().is_none_or(|(last, _)| last.as_slice() < user_key));
        found.push((user_key.to_vec(), seq));
        iterator.next().unwrap();
    }
    found
}

fn get(memtable: &Memtable, user_key: &[u8]) -> bool {
    let lookup = key::encode(user_key, key::seek_trailer(SeqNo::new(100)));
    memtable.get(&lookup).is_some()
}

#[test]
fn loom_a_reader_sees_an_entry_whole_or_not_at_all() {
    explore("memtable: walk while one inserts", 3, || {
        let memtable = Arc::new(Memtable::new());
        insert(&memtable, &[(b"a", 1), (b"c", 2)]);
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            let found = walk(&shared);
            assert!([(b"a".to_vec(), 1), (b"c".to_vec(), 2)].iter().all(|old| found.contains(old)));
        });
        insert(&memtable, &[(b"b", 3), (b"d", 4)]);
        reader.join().unwrap();
        assert_eq!(walk(&memtable).len(), 4);
    });
}

#[test]
fn loom_what_a_reader_found_it_finds_again() {
    explore("memtable: look up while one inserts", 3, || {
        let memtable = Arc::new(Memtable::new());
        insert(&memtable, &[(b"a", 1)]);
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            let second = get(&shared, b"b");
            let first = get(&shared, b"c");
            assert!(first || !second, "entries are added in their order");
            assert!(get(&shared, b"a"));
        });
        insert(&memtable, &[(b"c", 2), (b"b", 3)]);
        reader.join().unwrap();
        assert!(get(&memtable, b"b") && get(&memtable, b"c"));
    });
}

#[test]
fn loom_a_leaf_that_is_used_again_is_not_taken_for_what_it_was() {
    explore("memtable: look up while a leaf is split and used again", 2, || {
        let memtable = Arc::new(Memtable::new());
        insert(&memtable, &[(b"c", 1), (b"a", 2), (b"d", 3)]);
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            assert!(get(&shared, b"d") && get(&shared, b"a"));
        });
        // The only leaf is full: the first splits it, and the last splits one that came of it.
        insert(&memtable, &[(b"ab", 4), (b"aa", 5), (b"ac", 6)]);
        reader.join().unwrap();
        assert_eq!(walk(&memtable).len(), 6);
    });
}

#[test]
fn loom_a_walk_that_meets_splits_sees_every_older_entry_once() {
    explore("memtable: walk while leaves are split and used again", 2, || {
        let memtable = Arc::new(Memtable::new());
        insert(&memtable, &[(b"c", 1), (b"a", 2), (b"d", 3)]);
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            let found = walk(&shared);
            let old = [(b"a".to_vec(), 2), (b"c".to_vec(), 1), (b"d".to_vec(), 3)];
            assert!(old.iter().all(|old| found.contains(old)), "{found:?}");
        });
        insert(&memtable, &[(b"ab", 4), (b"aa", 5), (b"ac", 6)]);
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_child_that_is_added_behind_the_last_is_whole() {
    explore("memtable: look up while ascending keys add leaves", 3, || {
        let memtable = Arc::new(Memtable::new());
        insert(&memtable, &[(b"a", 1), (b"b", 2), (b"c", 3)]);
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            get(&shared, b"e");
            assert!(get(&shared, b"c"));
        });
        insert(&memtable, &[(b"d", 4), (b"e", 5)]);
        reader.join().unwrap();
        assert!(get(&memtable, b"e"));
    });
}

#[test]
fn loom_two_writers_take_turns() {
    explore("memtable: two writers", 3, || {
        let memtable = Arc::new(Memtable::new());
        let shared = Arc::clone(&memtable);
        let other = thread::spawn(move || insert(&shared, &[(b"c", 1), (b"a", 2)]));
        insert(&memtable, &[(b"b", 3), (b"d", 4)]);
        other.join().unwrap();
        assert_eq!(walk(&memtable).len(), 4);
        assert_eq!(memtable.entries(), 4);
    });
}
