//! The parts below a table: separators, the index, blocks.

use std::cmp::Ordering;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::base::key::seek_trailer;
use crate::sstable::block::Block;
use crate::sstable::block_builder::BlockBuilder;
use crate::sstable::block_iter::BlockIter;
use crate::sstable::compression::{Compressor, Unpacker, ZstdOptions};
use crate::sstable::format::{BlockHandle, Malformed};
use crate::sstable::index::Index;
use crate::sstable::separator::{common_prefix, separator};

fn separate(last: &[u8], next: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    separator(&put(last, 5, b"").0, &put(next, 4, b"").0, &mut out);
    out
}

#[test]
fn separators_are_as_short_as_they_can_be() {
    let shortened = |last: &[u8], next: &[u8]| key::user_key(&separate(last, next)).to_vec();
    assert_eq!(shortened(b"apple", b"cherry"), b"b");
    assert_eq!(shortened(b"apple", b"banana"), b"b");
    assert_eq!(shortened(b"apple", b"b"), b"aq");
    assert_eq!(shortened(b"a\xff\xfe", b"b"), b"a\xff\xfe");
    assert_eq!(shortened(b"user:0129", b"user:0130"), b"user:013");
    assert_eq!(shortened(b"user:0128", b"user:0129"), b"user:0128");
    assert_eq!(shortened(b"a", b"ab"), b"a");
}

#[test]
fn two_versions_of_one_key_are_separated_by_the_newer_itself() {
    let (newer, older) = (put(b"k", 5, b"").0, put(b"k", 4, b"").0);
    let mut out = Vec::new();
    separator(&newer, &older, &mut out);
    assert_eq!(out, newer);
}

proptest! {
    #[test]
    fn a_separator_stands_at_or_above_one_block_and_below_the_next(
        a in vec(prop::sample::select(vec![0u8, 1, 2, 0xfe, 0xff]), 0..12),
        b in vec(prop::sample::select(vec![0u8, 1, 2, 0xfe, 0xff]), 0..12),
    ) {
        let (last, next) = (put(&a, 5, b"").0, put(&b, 4, b"").0);
        prop_assume!(key::compare(&last, &next) == Ordering::Less);
        let mut out = Vec::new();
        separator(&last, &next, &mut out);
        prop_assert_ne!(key::compare(&last, &out), Ordering::Greater);
        prop_assert_eq!(key::compare(&out, &next), Ordering::Less);
        prop_assert!(out.len() <= last.len());
        prop_assert!(out == last || key::user_key(&out) != b.as_slice());
        let plain = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
        prop_assert_eq!(common_prefix(&a, &b), plain);
    }

    #[test]
    fn the_index_finds_what_a_walk_over_all_separators_finds(
        front in vec(any::<u8>(), 0..3),
        ends in vec(vec(prop::sample::select(vec![0u8, 1, b'a', 0xff]), 0..12), 1..30),
        targets in vec(vec(prop::sample::select(vec![0u8, 1, b'a', 0xff]), 0..12), 1..30),
    ) {
        let mut keys: Vec<Vec<u8>> = ends
            .iter()
            .flat_map(|end| [2, 7].map(|seq| put(&[&front[..], end].concat(), seq, b"").0))
            .collect();
        keys.sort_by(|a, b| key::compare(a, b));
        keys.dedup();
        let mut builder = BlockBuilder::new(1);
        for (n, separator) in keys.iter().enumerate() {
            let mut handle = Vec::new();
            BlockHandle { offset: 20 * n as u64, length: 11 }.encode_into(&mut handle);
            builder.add(0, separator, &handle);
        }
        let block = Block::from_disk(Bytes::copy_from_slice(builder.finish())).expect("sound");
        let index = Index::parse(&block, 20 * keys.len() as u64).expect("sound");
        let bare = targets.iter().cloned();
        let fronted = targets.iter().chain(&ends).map(|end| [&front[..], end].concat());
        for user_key in bare.chain(fronted) {
            for seq in [0, 2, 3, 7, 9] {
                let target = key::encode(&user_key, seek_trailer(SeqNo::new(seq)));
                let expected = keys.partition_point(|key| key::compare(key, &target).is_lt());
                prop_assert_eq!(index.seek(&user_key, key::trailer(&target)), expected);
            }
        }
        for (n, separator) in keys.iter().enumerate() {
            prop_assert_eq!(index.key(n), separator.as_slice());
            prop_assert_eq!(index.handle(n), BlockHandle { offset: 20 * n as u64, length: 11 });
        }
    }

    #[test]
    fn what_a_codec_makes_of_a_block_it_makes_good_again(
        pattern in vec(any::<u8>(), 1..40),
        repeat in 1usize..200,
        codec in prop::sample::select(vec![Codec::Lz4, Codec::Zstd, Codec::Snappy]),
    ) {
        let contents = &mut pattern.repeat(repeat);
        let original = contents.clone();
        let mut compressor = Compressor::new(codec, ZstdOptions::default());
        for _ in 0..2 {
            let (stored, used) = compressor.compress(contents);
            if used == Codec::None {
                prop_assert_eq!(&*stored, &original);
            } else {
                prop_assert!(stored.len() <= original.len() - original.len() / 8);
                let back = Unpacker::default().decompress(used, stored).expect("own frame");
                prop_assert_eq!(back, original.clone());
            }
        }
    }
}

#[test]
fn blocks_are_kept_as_they_are_unless_an_eighth_is_saved() {
    let mut repetitive = vec![b'a'; 4096];
    let mut state = 1u64;
    let mut random: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(4096)
    .collect();
    // A tenth can be saved: not enough.
    let mut mixed = [&random[..3700], &repetitive[..396]].concat();
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Snappy] {
        let mut compressor = Compressor::new(codec, ZstdOptions::default());
        assert_eq!(compressor.compress(&mut repetitive).1, codec);
        assert_eq!(compressor.compress(&mut random).1, Codec::None);
        assert_eq!(compressor.compress(&mut mixed).1, Codec::None);
    }
    assert_eq!(
        Compressor::new(Codec::None, ZstdOptions::default()).compress(&mut repetitive).1,
        Codec::None
    );
}

/// A block put together by hand: entries as (shared, user key's end, value), restart points.
fn block_of(entries: &[(u8, &[u8], &[u8])], restarts: &[(u32, u32)]) -> Vec<u8> {
    let (mut values, mut keys) = (Vec::new(), Vec::new());
    for (shared, end, value) in entries {
        keys.extend_from_slice(&[*shared, end.len() as u8, value.len() as u8]);
        keys.extend_from_slice(end);
        keys.extend_from_slice(&pack_trailer(SeqNo::new(1), ValueKind::Put).to_le_bytes());
        values.extend_from_slice(value);
    }
    let values_end = values.len() as u32;
    values.extend_from_slice(&keys);
    for (at, value_start) in restarts {
        values.extend_from_slice(&at.to_le_bytes());
        values.extend_from_slice(&value_start.to_le_bytes());
    }
    values.extend_from_slice(&values_end.to_le_bytes());
    values.extend_from_slice(&(restarts.len() as u32).to_le_bytes());
    values
}

fn parse(bytes: Vec<u8>) -> std::result::Result<Block, Malformed> {
    Block::from_disk(Bytes::from(bytes))
}

fn walk(block: Block) -> std::result::Result<Vec<Vec<u8>>, Malformed> {
    let mut iter = BlockIter::default();
    iter.load(block);
    iter.seek_to_first()?;
    let mut keys = Vec::new();
    while iter.valid() {
        keys.push(key::user_key(iter.key()).to_vec());
        iter.next()?;
    }
    Ok(keys)
}

#[test]
fn restart_points_outside_their_block_are_refused() {
    let entries: [(u8, &[u8], &[u8]); 2] = [(0, b"ab", b"12"), (1, b"c", b"3")];
    let good = parse(block_of(&entries, &[(0, 0)])).expect("sound");
    assert_eq!(walk(good).expect("sound"), [b"ab", b"ac"]);
    // The entries take 25 bytes, the values 3.
    for restarts in [
        &[][..],
        &[(1, 0)],
        &[(0, 1)],
        &[(0, 0), (0, 0)],
        &[(0, 0), (25, 2)],
        &[(0, 0), (13, 4)],
        &[(0, 0), (13, 2), (12, 2)],
        &[(0, 0), (12, 3), (13, 2)],
    ] {
        assert!(parse(block_of(&entries, restarts)).is_err(), "{restarts:?}");
    }
    assert!(parse(block_of(&[], &[(0, 0)])).is_err());
    assert!(parse(block_of(&[], &[])).is_err());
}

#[test]
fn an_entry_that_shares_more_than_there_is_is_refused() {
    for shared in [3, 9, 10, 11, 0x7f] {
        let entries: [(u8, &[u8], &[u8]); 2] = [(0, b"ab", b""), (shared, b"c", b"")];
        let block = parse(block_of(&entries, &[(0, 0)])).expect("its restart point is sound");
        assert!(walk(block).is_err(), "{shared} shared");
    }
    let block = parse(block_of(&[(1, b"ab", b"")], &[(0, 0)])).expect("sound restart point");
    assert!(block.seek(b"ab", 9).is_err());
    assert!(walk(block).is_err());
}

/// An index over data blocks of these offsets and lengths.
fn index_of(handles: &[(u64, u64)], data_end: u64) -> std::result::Result<Index, Malformed> {
    let mut builder = BlockBuilder::new(1);
    for (n, (offset, length)) in handles.iter().enumerate() {
        let mut handle = Vec::new();
        BlockHandle { offset: *offset, length: *length }.encode_into(&mut handle);
        builder.add(0, &put(&[n as u8], 1, b"").0, &handle);
    }
    Index::parse(&parse(builder.finish().clone())?, data_end)
}

#[test]
fn an_index_with_gaps_or_out_of_order_is_refused() {
    assert_eq!(index_of(&[(0, 11), (20, 1)], 30).expect("sound").blocks(), 2);
    for (handles, data_end) in [
        (&[(0, 11), (21, 0)][..], 30),
        (&[(0, 11), (21, 1)], 31),
        (&[(0, 11), (19, 2)], 30),
        (&[(0, 11), (0, 21)], 30),
        (&[(1, 20)], 30),
        (&[(0, 11), (20, 1)], 31),
        (&[(0, 11), (20, 1)], 29),
        (&[(0, u64::MAX)], 30),
        (&[(u64::MAX, 11)], 30),
    ] {
        assert!(index_of(handles, data_end).is_err(), "{handles:?} up to {data_end}");
    }
    let handle = |n: u64| {
        let mut handle = Vec::new();
        BlockHandle { offset: n * 20, length: 11 }.encode_into(&mut handle);
        handle
    };
    for keys in [[b"b", b"a"], [b"a", b"a"]] {
        let mut builder = BlockBuilder::new(1);
        builder.add(0, &put(keys[0], 1, b"").0, &handle(0));
        builder.add(0, &put(keys[1], 1, b"").0, &handle(1));
        let block = parse(builder.finish().clone()).expect("sound block");
        assert!(Index::parse(&block, 40).is_err(), "{keys:?}");
    }
}
