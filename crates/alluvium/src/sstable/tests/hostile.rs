//! Bytes that a stranger chose, with right checksums: refused or read, never a panic.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::base::checksum::checksum;
use crate::base::coding::put_varint;
use crate::base::iterator::Sight;
use crate::base::key::seek_trailer;
use crate::base::limits::BLOCK_BYTES_MAX;
use crate::base::rows::Rows;
use crate::sstable::block::Block;
use crate::sstable::block_builder::BlockBuilder;
use crate::sstable::block_iter::{BlockIter, Walk};
use crate::sstable::compression::Unpacker;
use crate::sstable::format::{BlockHandle, FORMAT_VERSION, Footer};
use crate::sstable::index::Index;
use crate::sstable::table_file::open_stored;
use crate::sstable::{Ages, Properties};

/// Appends a block of these bytes to a file being made up.
fn push_block(file: &mut Vec<u8>, stored: &[u8], codec: u8) -> BlockHandle {
    let handle = BlockHandle { offset: file.len() as u64, length: stored.len() as u64 };
    file.extend_from_slice(stored);
    file.push(codec);
    let sum = checksum(&file[handle.offset as usize..], NUMBER.0, handle.offset);
    file.extend_from_slice(&sum.to_le_bytes());
    handle
}

/// A table with right checksums everywhere around data blocks of the caller's.
fn table_around(blocks: &[(Vec<u8>, u8)], filter: Option<&[u8]>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut index = BlockBuilder::new(1);
    for (number, (stored, codec)) in blocks.iter().enumerate() {
        let handle = push_block(&mut file, stored, *codec);
        let mut value = Vec::new();
        handle.encode_into(&mut value);
        let last = if number + 1 == blocks.len() { 0xff } else { number as u8 + 1 };
        index.add(0, &put(&[last], 9, b"").0, &value);
    }
    let filter = filter.map_or(BlockHandle::ABSENT, |filter| push_block(&mut file, filter, 0));
    let properties = Properties {
        entries: 1 << 20,
        tombstones: 0,
        key_bytes: 0,
        value_bytes: 0,
        data_blocks: blocks.len() as u64,
        smallest_seq: SeqNo::ZERO,
        largest_seq: SeqNo::MAX,
        smallest: put(b"", 1, b"").0,
        largest: put(b"\xff", 1, b"").0,
        codec: Codec::None,
        column_family: crate::batch::ColumnFamilyId::DEFAULT,
        ages: Ages::default(),
        range_tombstones: 0,
        largest_block_bytes: BLOCK_BYTES_MAX as u64,
        prefix_extractor: None,
        blobs: Vec::new(),
    };
    let properties = push_block(&mut file, &properties.encode(), 0);
    let index = push_block(&mut file, index.finish(), 0);
    let (ranges, dictionary) = (BlockHandle::ABSENT, BlockHandle::ABSENT);
    let footer = Footer { index, filter, ranges, properties, dictionary };
    let (bytes, _) = footer.encode(NUMBER, file.len() as u64);
    file.extend_from_slice(&bytes);
    file
}

#[test]
fn the_largest_block_is_held_against_what_the_properties_say() {
    let (file, _) = write_table(&numbered(500), TableOptions::default());
    let good = file.bytes();
    assert!(damages(&open(&good).expect("own table")).is_empty());
    let footer = dictionary::footer_of(&good);
    let block = |handle: BlockHandle| {
        &good[handle.offset as usize..(handle.offset + handle.length) as usize]
    };
    let mut properties = Properties::decode(block(footer.properties)).expect("own properties");
    properties.largest_block_bytes += 1;
    let mut bytes = good[..footer.properties.offset as usize].to_vec();
    let written = push_block(&mut bytes, &properties.encode(), 0);
    let index = push_block(&mut bytes, block(footer.index), 0);
    let footer = Footer { index, properties: written, ..footer };
    let (end, _) = footer.encode(NUMBER, bytes.len() as u64);
    bytes.extend_from_slice(&end);
    let found = damages(&open(&bytes).expect("it can be so"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("properties"), "{found:?}");
}

#[test]
fn a_block_that_is_never_compressed_is_refused_when_it_is() {
    let options = dictionary::options(Codec::ZstdDictionary);
    let (file, _) = write_table(&dictionary::events(600), options);
    let good = file.bytes();
    let footer = dictionary::footer_of(&good);
    for compressed in 0..4 {
        let mut bytes = good[..footer.data_end() as usize].to_vec();
        let mut handles = [footer.dictionary, footer.filter, footer.properties, footer.index];
        for (number, handle) in handles.iter_mut().enumerate() {
            let at = handle.offset as usize;
            let contents = &good[at..at + handle.length as usize];
            let tag = good[at + contents.len()];
            *handle = if number == compressed && tag == 0 {
                let mut stored = Vec::new();
                put_varint(&mut stored, contents.len() as u64);
                stored.extend(zstd::bulk::compress(contents, 3).expect("memory"));
                push_block(&mut bytes, &stored, Codec::Zstd.tag())
            } else {
                push_block(&mut bytes, contents, tag)
            };
        }
        let [dictionary, filter, properties, index] = handles;
        let footer = Footer { index, filter, properties, dictionary, ..footer };
        let (end, _) = footer.encode(NUMBER, bytes.len() as u64);
        bytes.extend_from_slice(&end);
        match open(&bytes) {
            Ok(_) => assert_eq!(compressed, 3, "only the index may be compressed"),
            Err(error) => {
                assert_corruption(&error);
                assert!(error.to_string().contains("never compressed"), "{error}");
            }
        }
    }
}

/// Reads a made-up table in every way.
fn exercise(bytes: &[u8], target: &[u8]) {
    let table = match open(bytes) {
        Ok(table) => table,
        Err(error) => return assert_corruption(&error),
    };
    let check = |moved: Result<()>| {
        if let Err(error) = moved {
            assert_corruption(&error);
        }
    };
    check(table.get(target, true, false, &mut Lookups::default()).map(drop));
    for purpose in [USER, ReadPurpose::Compaction] {
        if let Err(error) = read_both_ways(&table, purpose) {
            assert_corruption(&error);
        }
        let mut iter = table.iter(purpose);
        check(iter.seek(target));
        if iter.valid() {
            check(iter.prev());
        }
        for sight in [3, 77].map(|seq| Sight { seq: SeqNo::new(seq), now_ms: 1_000 }) {
            check(iter.seek_to_first());
            let mut rows = Rows::default();
            while iter.valid() {
                rows.clear();
                check(iter.next_in_sight(sight, u64::MAX, &mut rows).map(drop));
            }
        }
        check(iter.seek_for_prev(target));
        if iter.valid() {
            check(iter.next());
        }
    }
    if let Err(error) = get(&table, target) {
        assert_corruption(&error);
    }
    damages(&table).iter().for_each(assert_corruption);
}

/// A sound block, to be damaged.
fn sound_block(restart_interval: usize) -> Vec<u8> {
    let mut builder = BlockBuilder::new(restart_interval);
    let mut last: Vec<u8> = Vec::new();
    for (internal_key, value) in numbered(20) {
        let user_key = key::user_key(&internal_key).to_vec();
        let common = last.iter().zip(&user_key).take_while(|(a, b)| a == b).count();
        builder.add(common, &internal_key, &value);
        last = user_key;
    }
    builder.finish().to_vec()
}

/// Arbitrary bytes that look enough like a block to get somewhere.
fn blocks() -> impl Strategy<Value = Vec<u8>> {
    let noise = vec(any::<u8>(), 0..200);
    let parts = (vec(any::<u8>(), 0..30), vec(0u8..12, 0..160), 0u32..4, 0u32..5);
    let shaped = parts.prop_map(|(mut bytes, entries, restarts, step)| {
        let values_end = bytes.len() as u32;
        bytes.extend_from_slice(&entries);
        for n in 0..restarts {
            bytes.extend_from_slice(&(n * 11).to_le_bytes());
            bytes.extend_from_slice(&(n * step).to_le_bytes());
        }
        bytes.extend_from_slice(&values_end.to_le_bytes());
        bytes.extend_from_slice(&restarts.to_le_bytes());
        bytes
    });
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let changed = (changes, 1usize..6).prop_map(|(changes, interval)| {
        let mut bytes = sound_block(interval);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![noise, shaped, changed]
}

fn targets() -> impl Strategy<Value = Vec<u8>> {
    let user_key = prop_oneof![
        vec(0u8..12, 0..6),
        (0u32..25).prop_map(|n| format!("user:{n:06}").into_bytes()),
    ];
    user_key.prop_map(|user_key| key::encode(&user_key, seek_trailer(SeqNo::new(5))))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_a_data_block(block in blocks(), target in targets()) {
        exercise(&table_around(&[(block.clone(), 0)], None), &target);
        exercise(&table_around(&[(sound_block(3), 0), (block, 0)], None), &target);
    }

    #[test]
    fn any_bytes_as_a_block_by_itself(bytes in blocks(), target in targets()) {
        let bytes = Bytes::from(bytes);
        if let Ok(block) = Block::new(bytes.clone()) {
            let _ = block.seek(key::user_key(&target), 77);
        }
        if let Ok(block) = Block::from_disk(bytes) {
            drop(Index::parse(&block, 40));
            let mut iter = BlockIter::default();
            iter.load(block);
            let _ = iter.seek_to_last();
            let _ = iter.seek(key::user_key(&target), 77);
            while iter.valid() && iter.prev().is_ok() {}
            let _ = iter.seek_to_first();
            while iter.valid() && iter.next().is_ok() {}
            let _ = iter.seek_to_first();
            let sight = Sight { seq: SeqNo::new(77), now_ms: 1_000 };
            let mut rows = Rows::default();
            while iter.valid()
                && iter.walk(&mut Walk::new(sight, u64::MAX), &mut rows).is_ok()
            {
                rows.clear();
            }
        }
    }

    #[test]
    fn any_bytes_as_a_compressed_frame(
        stored in vec(any::<u8>(), 0..120),
        declared in prop_oneof![0u64..300, any::<u64>()],
        codec in 0u8..5,
        target in targets(),
    ) {
        let mut frame = Vec::new();
        put_varint(&mut frame, declared);
        frame.extend_from_slice(&stored);
        if let Some(codec) = Codec::from_tag(codec) {
            drop(Unpacker::default().decompress(codec, &frame));
            drop(Unpacker::default().decompress(codec, &stored));
        }
        exercise(&table_around(&[(frame, codec)], None), &target);
    }

    #[test]
    fn any_bytes_as_a_filter(filter in vec(any::<u8>(), 1..160), target in targets()) {
        exercise(&table_around(&[(sound_block(4), 0)], Some(&filter)), &target);
    }

    #[test]
    fn any_bytes_as_properties(
        bytes in vec(any::<u8>(), 0..80),
        cut in any::<prop::sample::Index>(),
    ) {
        drop(Properties::decode(&bytes));
        let (file, _) = write_table(&numbered(3), TableOptions::default());
        let sound = open(&file.bytes()).expect("own table opens").properties().encode();
        let mut spliced = sound[..cut.index(sound.len())].to_vec();
        spliced.extend_from_slice(&bytes);
        drop(Properties::decode(&spliced));
    }

    #[test]
    fn any_numbers_in_a_footer(words in vec(any::<u64>(), 12), offset: u64, small: bool) {
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| if small { word % 500 } else { *word }.to_le_bytes())
            .collect();
        bytes[32..48].fill(0);
        bytes[64..72].copy_from_slice(&NUMBER.0.to_le_bytes());
        // The version; what stands behind it is a dictionary's length.
        bytes[72..76].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let sum = checksum(&bytes[..80], NUMBER.0, offset);
        bytes[80..88].copy_from_slice(&sum.to_le_bytes());
        bytes[88..].copy_from_slice(b"ALVMSST\0");
        if let Err(error) = Footer::decode(&bytes, NUMBER, NAME, offset) {
            assert_corruption(&error);
        }
    }

    #[test]
    fn any_bytes_as_a_file(bytes in vec(any::<u8>(), 0..300)) {
        assert_corruption(&open(&bytes).expect_err("noise"));
    }
}

#[test]
fn a_made_up_table_of_sound_blocks_is_read() {
    let table = open(&table_around(&[(sound_block(4), 0)], None)).expect("sound");
    let (forwards, backwards) = read_both_ways(&table, USER).expect("sound");
    assert_eq!(forwards, numbered(20));
    assert_eq!(backwards, numbered(20));
}

#[test]
fn a_declared_length_is_refused_before_it_is_believed() {
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Snappy] {
        for declared in [BLOCK_BYTES_MAX as u64 + 1, u64::MAX, 1 << 24] {
            let mut frame = Vec::new();
            put_varint(&mut frame, declared);
            frame.extend_from_slice(&[0; 40]);
            let error = Unpacker::default()
                .decompress(codec, &frame)
                .expect_err("more than forty bytes can hold");
            assert!(error.0.contains("declares more"), "{codec:?} {declared}: {error:?}");
        }
    }
}

#[test]
fn a_kind_of_write_that_is_not_known_is_refused() {
    for kind in [2u8, 5, 0xff] {
        let mut internal_key = put(b"k", 1, b"").0;
        internal_key[1] = kind;
        let mut builder = BlockBuilder::new(1);
        builder.add(0, &internal_key, b"value");
        let table = open(&table_around(&[(builder.finish().to_vec(), 0)], None)).expect("opens");
        let target = key::encode(b"k", seek_trailer(SeqNo::MAX));
        assert_corruption(&get(&table, &target).expect_err("unknown kind"));
        let mut iter = table.iter(USER);
        assert_corruption(&iter.seek_to_first().expect_err("unknown kind"));
        assert_corruption(&iter.seek(&target).expect_err("unknown kind"));
        assert_corruption(&iter.seek_to_last().expect_err("unknown kind"));
    }
}

#[test]
fn a_filter_that_denies_a_key_is_found_by_verify() {
    let mut filter = vec![1, 6, 1, 0, 0, 0];
    filter.resize(6 + 64, 0);
    let table = open(&table_around(&[(sound_block(4), 0)], Some(&filter))).expect("opens");
    let found = damages(&table);
    assert!(found.iter().any(|error| error.to_string().contains("denies")), "{found:?}");
}

#[test]
fn a_block_that_is_no_longer_than_a_trailer_is_refused() {
    let handle = BlockHandle { offset: 0, length: 0 };
    for length in 0..9 {
        assert!(
            open_stored(Bytes::from(vec![0; length]), handle, NUMBER, &Unpacker::default())
                .is_err()
        );
    }
}
