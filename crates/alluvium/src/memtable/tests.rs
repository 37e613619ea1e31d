//! The memtable against a sorted map, and readers beside a writer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::base::iterator::InternalIterator;
use crate::base::key::{encode, pack_trailer, seek_trailer};

/// What a memtable must agree with.
type Model = BTreeMap<(Vec<u8>, Reverse<u64>), Vec<u8>>;

fn put(writer: &mut MemtableWriter<'_>, seq: u64, key: &[u8], value: &[u8]) {
    writer.insert(SeqNo::new(seq), ValueKind::Put, key, value);
}

fn lookup(key: &[u8], seq: u64) -> Vec<u8> {
    encode(key, seek_trailer(SeqNo::new(seq)))
}

/// The position of `iterator` in the model's terms.
fn position(iterator: &MemtableIterator) -> Option<((Vec<u8>, Reverse<u64>), Vec<u8>)> {
    iterator.valid().then(|| {
        let (user_key, trailer) = key::split(iterator.key());
        ((user_key.to_vec(), Reverse(trailer)), iterator.value().to_vec())
    })
}

/// Keys that are hard to tell apart: short, of few letters, zeros among them, and long common
/// beginnings on both sides of 8 bytes.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let letter = || prop::sample::select(vec![0u8, 1, b'a', 0xff]);
    let common = prop::sample::select(vec![
        &b""[..],
        &b"abcdefg"[..],
        &b"abcdefgh"[..],
        &b"abcdefghijkl"[..],
        &[0u8; 8][..],
        &[0xffu8; 8][..],
        &[0xffu8; 7][..],
    ]);
    (common, prop::collection::vec(letter(), 0..5))
        .prop_map(|(common, rest)| [common, &rest[..]].concat())
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0usize..20_000).prop_map(|length| vec![b'v'; length]),
    ]
}

/// Batches of entries; a key comes up more than once. Half of the runs are sorted by key, so that
/// the way in without a search is taken too.
fn any_batches() -> impl Strategy<Value = Vec<Vec<(Vec<u8>, bool, Vec<u8>)>>> {
    let batch = prop::collection::vec((any_key(), any::<bool>(), any_value()), 0..40);
    (prop::collection::vec(batch, 0..6), any::<bool>()).prop_map(|(mut batches, sorted)| {
        if sorted {
            batches.iter_mut().for_each(|batch| batch.sort());
        }
        batches
    })
}

fn build(batches: &[Vec<(Vec<u8>, bool, Vec<u8>)>], anchor: &[u8]) -> (Arc<Memtable>, Model) {
    let memtable = Arc::new(Memtable::in_pool(&Arc::new(ChunkPool::new(0)), anchor));
    let mut model = Model::new();
    let mut seq = 0;
    for batch in batches {
        let mut writer = memtable.writer();
        for (key, is_put, value) in batch {
            seq += 1;
            let kind = if *is_put { ValueKind::Put } else { ValueKind::Delete };
            writer.insert(SeqNo::new(seq), kind, key, value);
            let trailer = pack_trailer(SeqNo::new(seq), kind);
            model.insert((key.clone(), Reverse(trailer)), value.clone());
        }
    }
    (memtable, model)
}

fn check_against(memtable: &Arc<Memtable>, model: &Model, targets: &[(Vec<u8>, u64)]) {
    let owned = |(key, value): (&(Vec<u8>, Reverse<u64>), &Vec<u8>)| (key.clone(), value.clone());
    let check_get = |user_key: &[u8], trailer: u64| {
        let place = (user_key.to_vec(), Reverse(trailer));
        let expected = model.range(&place..).next().filter(|(key, _)| key.0 == user_key);
        let expected = expected.map(|(key, value)| (key.1.0, &value[..]));
        let found = memtable.get(&encode(user_key, trailer));
        assert_eq!(found, expected, "get {user_key:?} at {trailer}");
    };
    // Before the first walk: it links what the last writers have left to be linked.
    let of_entries = || model.keys().map(|(key, Reverse(trailer))| (key.clone(), *trailer));
    for (user_key, trailer) in targets.iter().cloned().chain(of_entries()) {
        check_get(&user_key, trailer);
        check_get(&user_key, u64::MAX);
    }
    let mut iterator = memtable.iter();
    assert!(!iterator.valid());

    iterator.seek_to_first().unwrap();
    for entry in model {
        assert_eq!(position(&iterator), Some(owned(entry)));
        iterator.next().unwrap();
    }
    assert!(!iterator.valid());
    iterator.seek_to_last().unwrap();
    for entry in model.iter().rev() {
        assert_eq!(position(&iterator), Some(owned(entry)));
        iterator.prev().unwrap();
    }
    assert!(!iterator.valid());

    for (user_key, trailer) in targets.iter().cloned().chain(of_entries()) {
        let encoded = encode(&user_key, trailer);
        let place = (user_key.clone(), Reverse(trailer));
        let from = model.range(&place..).next();
        iterator.seek(&encoded).unwrap();
        assert_eq!(position(&iterator), from.map(owned), "seek {encoded:?}");
        if iterator.valid() {
            iterator.prev().unwrap();
            let before = model.range::<(Vec<u8>, Reverse<u64>), _>((
                Bound::Unbounded,
                Bound::Excluded(from.unwrap().0),
            ));
            assert_eq!(position(&iterator), before.last().map(owned), "prev of {encoded:?}");
        }
        iterator.seek_for_prev(&encoded).unwrap();
        assert_eq!(position(&iterator), model.range(..=&place).last().map(owned));

        check_get(&user_key, trailer);
    }
}

proptest! {
    #[test]
    fn agrees_with_a_sorted_map(
        batches in any_batches(),
        anchor in prop_oneof![Just(Vec::new()), any_key()],
        targets in prop::collection::vec((any_key(), 0u64..1 << 16), 0..40),
    ) {
        let (memtable, model) = build(&batches, &anchor);
        prop_assert_eq!(memtable.entries(), model.len() as u64);
        prop_assert_eq!(memtable.is_empty(), model.is_empty());
        let deleted = batches.iter().flatten().filter(|(_, is_put, _)| !is_put).count();
        prop_assert_eq!(memtable.tombstones(), deleted as u64);
        let bytes: usize = batches.iter().flatten().map(|(k, _, v)| k.len() + 8 + v.len()).sum();
        prop_assert!(memtable.memory_bytes() >= bytes);
        check_against(&memtable, &model, &targets);
    }

    #[test]
    fn the_common_prefix_is_that_of_all_keys(batches in any_batches()) {
        let (memtable, model) = build(&batches, b"");
        let common = memtable.common_prefix();
        prop_assert!(model.keys().all(|(key, _)| key.starts_with(&common)));
        let longer = model.keys().next().and_then(|(key, _)| key.get(..=common.len()));
        let could_be_longer =
            longer.is_some_and(|longer| model.keys().all(|(key, _)| key.starts_with(longer)));
        prop_assert!(!could_be_longer);
    }
}

#[test]
fn many_random_keys_agree_with_a_sorted_map() {
    let count = if cfg!(miri) { 300 } else { 20_000 };
    let mut random = 1u64;
    let mut batches = vec![Vec::new()];
    for index in 0..count {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = (random >> 40).to_be_bytes();
        // Every third stretch ascends, in the middle of others.
        let key = if index / 100 % 3 == 0 { (index as u64).to_be_bytes() } else { key };
        batches.last_mut().unwrap().push((key.to_vec(), index % 5 != 0, vec![1; index % 60]));
        if random >> 60 == 0 {
            batches.push(Vec::new());
        }
    }
    let (memtable, model) = build(&batches, b"");
    let all: Vec<_> = model.keys().cloned().collect();
    let mut iterator = memtable.iter();
    iterator.seek_to_first().unwrap();
    for (key, value) in &model {
        assert_eq!(position(&iterator).as_ref(), Some(&(key.clone(), value.clone())));
        iterator.next().unwrap();
    }
    assert!(!iterator.valid());
    let sample: Vec<_> = all.iter().step_by(37).map(|(key, _)| (key.clone(), 1 << 40)).collect();
    for (user_key, trailer) in sample {
        let expected = model.range((user_key.clone(), Reverse(trailer))..).next().unwrap();
        let (found, value) = memtable.get(&encode(&user_key, trailer)).unwrap();
        assert_eq!((found, value), (expected.0.1.0, &expected.1[..]));
    }
}

#[test]
fn an_empty_memtable_has_no_entries() {
    let memtable = Arc::new(Memtable::new());
    check_against(&memtable, &Model::new(), &[(Vec::new(), u64::MAX), (vec![0xff; 9], 0)]);
    assert!(memtable.is_empty());
    assert!(memtable.memory_bytes() <= 8 << 10, "{}", memtable.memory_bytes());
}

#[test]
fn writes_of_one_entry_are_found_before_and_after_they_are_linked() {
    let memtable = Arc::new(Memtable::new());
    let mut model = Model::new();
    let keys: [&[u8]; 7] = [b"g", b"c", b"e", b"a", b"f", b"c", b"b"];
    for (seq, key) in (1u64..=500).zip(keys.iter().cycle()) {
        let value = seq.to_le_bytes();
        put(&mut memtable.writer(), seq, key, &value);
        let trailer = pack_trailer(SeqNo::new(seq), ValueKind::Put);
        model.insert((key.to_vec(), Reverse(trailer)), value.to_vec());
        for key in keys {
            // The newest, and the one before, as a snapshot of that moment has them.
            let mut versions = model.range((key.to_vec(), Reverse(u64::MAX))..);
            for _ in 0..2 {
                let next = versions.next().filter(|((found, _), _)| found == key);
                let Some(((_, Reverse(trailer)), value)) = next else { break };
                let found = memtable.get(&encode(key, *trailer | 0xff));
                assert_eq!(found, Some((*trailer, &value[..])));
            }
        }
    }
    check_against(&memtable, &model, &[]);
}

#[test]
fn the_version_found_is_the_newest_that_the_lookup_may_see() {
    let memtable = Memtable::new();
    let mut writer = memtable.writer();
    put(&mut writer, 3, b"k", b"three");
    put(&mut writer, 9, b"k", b"nine");
    writer.insert(SeqNo::new(6), ValueKind::Delete, b"k", b"");
    put(&mut writer, 7, b"kk", b"other");
    drop(writer);
    let get = |seq| memtable.get(&lookup(b"k", seq));
    assert_eq!(get(2), None);
    assert_eq!(get(3), Some((pack_trailer(SeqNo::new(3), ValueKind::Put), &b"three"[..])));
    assert_eq!(get(8), Some((pack_trailer(SeqNo::new(6), ValueKind::Delete), &b""[..])));
    assert_eq!(get(100).map(|(_, value)| value), Some(&b"nine"[..]));
    assert_eq!(memtable.get(&lookup(b"", 100)), None);
    assert_eq!(memtable.get(&lookup(b"k\0", 100)), None);
}

#[test]
fn keys_whose_prefixes_collide_keep_their_order() {
    // All of one prefix of 8 bytes: padding with zeros must not make them equal.
    let keys: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0\x01",
        b"\0\0\0\0\0\0\0\0\x01\0",
        b"\0\0\0\0\0\0\0\0\xff",
    ];
    for anchor in [&b""[..], b"\0", b"\0\0\0\0\0\0\0\0", b"a"] {
        let shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5].map(|i| (keys[i].to_vec(), true, Vec::new()));
        let (memtable, model) = build(&[shuffled.to_vec()], anchor);
        assert!(model.keys().map(|key| &key.0[..]).eq(keys));
        check_against(&memtable, &model, &[]);
    }
}

#[test]
fn the_greatest_prefix_is_a_prefix_like_any_other() {
    let entries = [vec![0xff; 8], vec![0xff; 7], vec![0xff; 300], vec![0xff; 9]];
    let entries: Vec<_> = entries.map(|key| (key, true, b"v".to_vec())).into();
    let (memtable, model) = build(&[entries], b"");
    check_against(&memtable, &model, &[(vec![0xff; 400], 0), (vec![0xff; 10], 5)]);
}

#[test]
fn large_keys_and_values_are_kept_whole() {
    let memtable = Memtable::new();
    let value = vec![b'v'; 3 << 20];
    let key = vec![b'k'; 64 << 10];
    let mut writer = memtable.writer();
    put(&mut writer, 1, b"small", b"x");
    put(&mut writer, 2, &key, &value);
    put(&mut writer, 3, b"after", &value[..33]);
    drop(writer);
    assert_eq!(memtable.get(&lookup(&key, 9)).map(|(_, v)| v), Some(&value[..]));
    assert_eq!(memtable.get(&lookup(b"after", 9)).map(|(_, v)| v), Some(&value[..33]));
    assert_eq!(memtable.get(&lookup(b"small", 9)).map(|(_, v)| v), Some(&b"x"[..]));
    assert!(memtable.memory_bytes() < (3 << 20) + (100 << 10));
}

/// Puts each key in turn, with the sequence numbers 1, 2, 3 and so on.
fn put_in_turn(keys: impl IntoIterator<Item = String>) -> Memtable {
    let memtable = Memtable::new();
    for (seq, key) in (1..).zip(keys) {
        put(&mut memtable.writer(), seq, key.as_bytes(), &seq.to_le_bytes());
    }
    memtable
}

#[test]
fn every_version_of_a_key_is_found_when_leaves_were_used_again() {
    for count in 1..400u64 {
        let memtable = put_in_turn((0..count).map(|_| "k".to_owned()));
        for seq in 1..=count {
            let found = memtable.get(&lookup(b"k", seq)).map(|(trailer, _)| trailer);
            assert_eq!(found, Some(pack_trailer(SeqNo::new(seq), ValueKind::Put)), "{count}");
        }
    }
}

#[test]
fn what_a_leaf_held_in_an_earlier_use_is_not_found_in_it() {
    let parts = [900..932, 500..501, 100..101, 501..531, 500..501, 101..132];
    let numbers: Vec<u32> = parts.into_iter().flatten().collect();
    for count in 1..=numbers.len() {
        let memtable = put_in_turn(numbers[..count].iter().map(|n| format!("prefix00{n}")));
        for (index, number) in numbers[..count].iter().enumerate() {
            let newest = numbers[..count].iter().rposition(|other| other == number).unwrap();
            let key = format!("prefix00{number}");
            for (seq, of) in [(u64::MAX >> 8, newest + 1), (index as u64 + 1, index + 1)] {
                let (trailer, _) = memtable.get(&lookup(key.as_bytes(), seq)).unwrap();
                assert_eq!(key::trailer_seq(trailer).get(), of as u64, "{key} of {count}");
            }
        }
    }
}

#[test]
fn keys_that_descend_behind_a_leaf_in_order_share_leaves() {
    let overwritten = (1..=64).chain(std::iter::repeat_n(64, 4_000));
    let descending = (1..=64).chain((100..4_100).rev());
    let from_both_ends = (1..=64).chain((0..2_000).flat_map(|n| [100 + n, 9_999 - n]));
    let orders: [Box<dyn Iterator<Item = u32>>; 3] =
        [Box::new(overwritten), Box::new(descending), Box::new(from_both_ends)];
    for (order, numbers) in orders.into_iter().enumerate() {
        let memtable = put_in_turn(numbers.map(|n| format!("prefix00{n:04}")));
        // Chunks of both kinds double: twice what 35 bytes of entry and a half-full leaf take.
        let bytes = memtable.memory_bytes();
        assert!(bytes <= 700 << 10, "order {order}: {bytes} bytes");
    }
}

#[test]
fn the_memory_of_leaves_that_were_split_is_used_again() {
    let count = if cfg!(miri) { 2_000 } else { 400_000u64 };
    let memtable = Memtable::new();
    for batch in 0..count / 100 {
        let mut writer = memtable.writer();
        for seq in batch * 100 + 1..=batch * 100 + 100 {
            let key = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            put(&mut writer, seq, &key, b"");
        }
    }
    // An entry takes 24 bytes, a place in leaves that are two thirds full as many; chunks of both
    // kinds are begun.
    let bytes = memtable.memory_bytes() as u64;
    let chunks = 2 * (2 << 20);
    assert!(bytes <= count * 62 + chunks, "{bytes} bytes for {count} entries");
}

#[test]
fn an_iterator_keeps_the_memory_alive() {
    let memtable = Arc::new(Memtable::new());
    put(&mut memtable.writer(), 1, b"key", b"value");
    let mut iterator = memtable.iter();
    drop(memtable);
    iterator.seek_to_first().unwrap();
    assert_eq!((key::user_key(iterator.key()), iterator.value()), (&b"key"[..], &b"value"[..]));
}

#[test]
fn a_dropped_writer_has_published_all_and_the_next_goes_on() {
    let memtable = Memtable::new();
    for seq in 1..100u64 {
        let key = (seq * 77 % 101).to_be_bytes();
        put(&mut memtable.writer(), seq, &key, b"");
        assert!(memtable.get(&lookup(&key, seq)).is_some(), "{seq}");
    }
    assert_eq!(memtable.entries(), 99);
}

/// One writer inserts keys of several shapes in a known order and says how far it is; readers check
/// that what was said to be there is there, in order, both ways.
fn readers_beside_a_writer(shape: fn(u64) -> Vec<u8>) {
    let count = if cfg!(miri) { 100 } else { 30_000u64 };
    let memtable = Arc::new(Memtable::new());
    let published = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let read = |from: u64| {
        let mut rounds = from;
        while !done.load(Ordering::Acquire) {
            rounds += 1;
            let visible = published.load(Ordering::Acquire);
            if visible == 0 {
                continue;
            }
            let index = rounds.wrapping_mul(0x9e37_79b9_7f4a_7c15) % visible + 1;
            let (_, value) = memtable.get(&lookup(&shape(index), visible)).expect("published");
            assert_eq!(value, &shape(index)[..]);
            let mut iterator = memtable.iter();
            iterator.seek(&lookup(&shape(index), visible)).unwrap();
            assert_eq!(iterator.value(), &shape(index)[..], "seek lands on the entry");
            for step in 0..40 {
                let here = iterator.key().to_vec();
                if step % 4 == 3 { iterator.prev() } else { iterator.next() }.unwrap();
                if !iterator.valid() {
                    break;
                }
                let order = key::compare(&here, iterator.key());
                assert_eq!(order.is_lt(), step % 4 != 3, "out of order at step {step}");
                assert_eq!(iterator.value(), key::user_key(iterator.key()));
            }
            if rounds.is_multiple_of(512) {
                let mut seen = 0;
                iterator.seek_to_first().unwrap();
                while iterator.valid() {
                    seen += u64::from(key::trailer(iterator.key()) <= visible << 8 | 0xff);
                    iterator.next().unwrap();
                }
                assert_eq!(seen, visible, "every published entry is met once");
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| read(0));
        scope.spawn(|| read(1 << 32));
        let mut seq = 0;
        while seq < count {
            let mut writer = memtable.writer();
            for _ in 0..1 + seq % 50 {
                seq += 1;
                put(&mut writer, seq, &shape(seq), &shape(seq));
            }
            drop(writer);
            published.store(seq, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn readers_see_every_published_entry_while_random_keys_are_inserted() {
    readers_beside_a_writer(|index| {
        (index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes().into()
    });
}

#[test]
fn readers_see_every_published_entry_while_ascending_keys_are_inserted() {
    readers_beside_a_writer(|index| index.to_be_bytes().into());
}

#[test]
fn readers_see_every_published_entry_while_keys_of_one_prefix_are_inserted() {
    readers_beside_a_writer(|index| {
        format!("one prefix {:08}", index.wrapping_mul(0x9e37_79b9) & 0x3ff_ffff).into()
    });
}

#[test]
fn range_tombstones_stand_beside_the_entries_and_count() {
    let memtable = Arc::new(Memtable::new());
    put(&mut memtable.writer(), 1, b"b", b"v");
    assert_eq!(memtable.covering(b"b", SeqNo::MAX), SeqNo::ZERO);
    assert!(memtable.ranges().is_none());
    let before = memtable.memory_bytes();
    memtable.writer().insert(SeqNo::new(2), ValueKind::RangeDelete, b"a", b"c");
    assert_eq!(memtable.covering(b"b", SeqNo::MAX), SeqNo::new(2));
    assert_eq!(memtable.covering(b"b", SeqNo::new(1)), SeqNo::ZERO, "an older reader sees none");
    assert_eq!(memtable.covering(b"c", SeqNo::MAX), SeqNo::ZERO, "the end is excluded");
    assert_eq!((memtable.entries(), memtable.tombstones(), memtable.range_tombstones()), (1, 0, 1));
    assert!(memtable.memory_bytes() > before);
    let mut iterator = memtable.iter();
    iterator.seek_to_first().unwrap();
    assert_eq!(key::user_key(iterator.key()), b"b");
    iterator.next().unwrap();
    assert!(!iterator.valid(), "the tombstone is no entry");
}

#[test]
fn a_memtable_of_one_range_tombstone_is_not_empty() {
    let memtable = Memtable::new();
    assert!(memtable.is_empty());
    memtable.writer().insert(SeqNo::new(1), ValueKind::RangeDelete, b"a", b"c");
    assert!(!memtable.is_empty());
    assert_eq!(memtable.common_prefix(), b"");
    assert_eq!(memtable.newest(), SeqNo::ZERO);
    put(&mut memtable.writer(), 2, b"a", b"v");
    assert_eq!(memtable.newest(), SeqNo::new(2));
}
