//! Readers of a memtable in every order with its writers (docs/testing.md, "Schedules").

use super::*;
use crate::base::iterator::InternalIterator;
use crate::base::sync::{explore, thread};

/// A long value lies in an arena of its own.
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
        insert(&memtable, &[(b"a", 1), (b"d", 2)]);
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            let second = get(&shared, b"b");
            let first = get(&shared, b"c");
            assert!(first || !second, "entries are linked in their order");
            assert!(get(&shared, b"a") && get(&shared, b"d"));
        });
        insert(&memtable, &[(b"c", 3), (b"b", 4)]);
        reader.join().unwrap();
        assert!(get(&memtable, b"b") && get(&memtable, b"c"));
    });
}

#[test]
fn loom_the_newest_of_recent_entries_is_found_while_slots_are_filled_again() {
    explore("memtable: look up while slots are filled again", 3, || {
        let memtable = Arc::new(Memtable::new());
        // Behind the first, none comes at its place in the list without a search.
        for entry in [(&b"z"[..], 1), (b"a", 2), (b"a", 3)] {
            insert(&memtable, &[entry]);
        }
        let shared = Arc::clone(&memtable);
        let reader = thread::spawn(move || {
            let lookup = key::encode(b"a", key::seek_trailer(SeqNo::new(3)));
            let (trailer, value) = shared.get(&lookup).unwrap();
            assert_eq!(key::trailer_seq(trailer).get(), 3);
            assert_eq!(value, &LONG[..30]);
            assert!(shared.get(&key::encode(b"a", key::seek_trailer(SeqNo::new(1)))).is_none());
        });
        for entry in [(&b"y"[..], 4), (b"b", 5), (b"a", 6)] {
            insert(&memtable, &[entry]);
        }
        reader.join().unwrap();
        assert_eq!(memtable.entries(), 6);
        assert!([b"z", b"y", b"b", b"a"].iter().all(|key| get(&memtable, *key)));
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
