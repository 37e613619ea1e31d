//! Tables with a dictionary: smaller, read as any other, and refused when what is stored is none.

use std::sync::atomic::Ordering;

use super::*;
use crate::base::limits::DICTIONARY_BYTES_MAX;
use crate::base::sync::Mutex;
use crate::filter::PrefixExtractor;
use crate::sstable::compression::{Compressor, Unpacker, ZstdOptions};
use crate::sstable::dictionary::{Dictionary, Gather};
use crate::sstable::format::{FOOTER_BYTES, Footer};
use crate::sstable::{Findings, Salvage};

/// Events as a log has them: each block alone shows little of what all have in common.
pub(super) fn events(count: u64) -> Vec<Entry> {
    let pages = ["/index.html", "/shop/cart", "/images/logo.png", "/account/settings"];
    let agents = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "Opera/9.80 (Windows NT 6.1)"];
    (0..count)
        .map(|n| {
            let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let value = format!(
                "{{\"page\":\"{}\",\"status\":200,\"agent\":\"{}\",\"bytes\":{mix}}}",
                pages[(mix % 4) as usize],
                agents[(mix / 4 % 3) as usize],
            );
            put(format!("event:{n:010}").as_bytes(), n + 1, value.as_bytes())
        })
        .collect()
}

pub(super) fn options(codec: Codec) -> TableOptions {
    let zstd = ZstdOptions { dictionary_bytes: 2 << 10, ..ZstdOptions::default() };
    TableOptions { block_bytes: 1 << 10, codec, zstd, ..TableOptions::default() }
}

pub(super) fn footer_of(bytes: &[u8]) -> Footer {
    Footer::guess(&bytes[bytes.len() - FOOTER_BYTES..]).expect("a footer")
}

#[test]
fn a_dictionary_makes_a_table_smaller_and_changes_nothing_in_it() {
    // Fewer than wait for a dictionary, as many as just do, and more.
    for count in [600, 2_000, 6_000] {
        let entries = events(count);
        let (plain, _) = write_table(&entries, options(Codec::Zstd));
        let (file, summary) = write_table(&entries, options(Codec::ZstdDictionary));
        let bytes = file.bytes();
        assert!(footer_of(&bytes).dictionary.is_present(), "{count} entries have no dictionary");
        let (with, without) = (bytes.len(), plain.bytes().len());
        assert!(with < without * 9 / 10, "{count} entries: {with} bytes, {without} without");
        assert_eq!(summary.bytes, with as u64);
        let table = open(&bytes).expect("own table opens");
        let (forwards, backwards) = read_both_ways(&table, USER).expect("sound");
        assert_eq!(forwards, entries);
        assert_eq!(backwards, entries);
        assert!(damages(&table).is_empty());
        assert!(table.memory_bytes() > 2 << 10, "the dictionary is not counted");
    }
}

#[test]
fn a_dictionary_that_does_not_pay_is_not_kept() {
    let noise = |n: u64| -> Vec<u8> {
        let mut state = n;
        let draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(97);
            (state >> 56) as u8
        };
        std::iter::repeat_with(draw).take(60).collect()
    };
    let entries: Vec<Entry> =
        (0..4_000).map(|n| put(format!("{n:08}").as_bytes(), n + 1, &noise(n))).collect();
    let (file, summary) = write_table(&entries, options(Codec::ZstdDictionary));
    assert!(!footer_of(&file.bytes()).dictionary.is_present());
    let tally = summary.compression;
    assert!(tally.untried > 4 * tally.declined, "{tally:?}");
    let (few, _) = write_table(&events(20), options(Codec::ZstdDictionary));
    assert!(!footer_of(&few.bytes()).dictionary.is_present());
}

#[test]
fn a_huge_value_does_not_wait_for_a_dictionary() {
    let huge = || (put(b"event:0000000000!", 9_000, &b"a huge value ".repeat(400_000)), 5 << 20);
    for before in [0, 1, 600] {
        let ((key, value), bytes) = huge();
        let mut entries = events(1_200);
        entries.insert(before, (key, value));
        if before > 0 {
            let user_key = format!("event:{:010}!", before - 1);
            entries[before].0 = put(user_key.as_bytes(), 9_000, b"").0;
        } else {
            entries[0].0 = put(b"event:", 9_000, b"").0;
        }
        let file = Arc::new(MemFile::default());
        let mut writer = TableWriter::new(
            file.clone(),
            NUMBER,
            NAME.to_owned(),
            TableOptions { restart_interval: 4, ..options(Codec::ZstdDictionary) },
        );
        for (internal_key, value) in &entries {
            writer.add(internal_key, value).expect("in order");
            let estimated = writer.estimated_bytes();
            assert!(estimated < bytes / 8, "{estimated} bytes, {before} entries before");
        }
        writer.finish().expect("memory does not fail");
        let table = open(&file.bytes()).expect("own table opens");
        let (forwards, backwards) = read_both_ways(&table, USER).expect("sound");
        assert!(forwards == entries && backwards == entries, "{before} entries before");
        assert!(damages(&table).is_empty());
        // Enough to train from stands before it, or behind.
        let has_dictionary = footer_of(&file.bytes()).dictionary.is_present();
        assert!(has_dictionary, "{before} entries before");
    }
}

#[test]
fn a_quarter_of_a_small_table_waits_at_the_most() {
    let table_bytes = 64 << 10;
    let options = TableOptions { table_bytes, ..options(Codec::ZstdDictionary) };
    let file = Arc::new(MemFile::default());
    let mut writer = TableWriter::new(file.clone(), NUMBER, NAME.to_owned(), options);
    for (internal_key, value) in events(20_000) {
        if writer.estimated_bytes() >= table_bytes {
            break;
        }
        writer.add(&internal_key, &value).expect("in order");
    }
    let summary = writer.finish().expect("memory does not fail");
    assert!(summary.bytes > table_bytes * 9 / 10, "{} bytes", summary.bytes);
    assert!(footer_of(&file.bytes()).dictionary.is_present());
}

#[test]
fn a_table_whose_writing_fails_while_blocks_wait_fails() {
    let file = Arc::new(MemFile { fail_append: 1, ..MemFile::default() });
    let number = NUMBER;
    let mut writer =
        TableWriter::new(file.clone(), number, NAME.to_owned(), options(Codec::ZstdDictionary));
    for (key, value) in events(500) {
        writer.add(&key, &value).expect("nothing is written yet");
    }
    assert_eq!(file.appends.load(Ordering::Relaxed), 0);
    assert!(writer.finish().is_err());
}

#[test]
fn every_flipped_byte_of_the_dictionary_is_noticed_and_its_blocks_are_lost_only_then() {
    let entries = events(600);
    let (file, _) = write_table(&entries, options(Codec::ZstdDictionary));
    let good = file.bytes();
    let dictionary = footer_of(&good).dictionary;
    let start = dictionary.offset as usize;
    for at in (start..start + dictionary.length as usize + 9).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert_corruption(&open(&bad).expect_err("a damaged dictionary"));
    }
}

fn salvaged(bytes: &[u8]) -> usize {
    let findings: Arc<Mutex<Findings>> = Arc::default();
    let file = Arc::new(MemFile::from_bytes(bytes));
    let mut salvage = Salvage::open(file, NUMBER, NAME.to_owned(), None, findings).expect("opens");
    salvage.seek_to_first().expect("a salvage never fails");
    let mut count = 0;
    while salvage.valid() {
        count += 1;
        salvage.next().expect("a salvage never fails");
    }
    count
}

#[test]
fn what_is_left_of_a_table_is_read_with_its_dictionary() {
    let entries = events(600);
    let (file, _) = write_table(&entries, options(Codec::ZstdDictionary));
    let good = file.bytes();
    assert_eq!(salvaged(&good), entries.len());
    // One data block.
    let mut bad = good.clone();
    bad[40] ^= 1;
    let left = salvaged(&bad);
    assert!(left < entries.len() && left > entries.len() - 40, "{left} left");
    // The index: blocks are carved.
    let mut bad = good.clone();
    let index = footer_of(&good).index.offset as usize;
    bad[index + 3] ^= 1;
    assert_eq!(salvaged(&bad), entries.len());
    // The dictionary's length in the footer: the index says where the data end.
    let mut bad = good.clone();
    let footer = good.len() - FOOTER_BYTES;
    bad[footer + 76] ^= 0xff;
    assert_eq!(salvaged(&bad), entries.len());
}

#[test]
fn lengths_of_dictionaries_are_held_against_the_limit() {
    let (file, _) = write_table(&numbered(50), options(Codec::None));
    let good = file.bytes();
    let offset = good.len() - FOOTER_BYTES;
    for bytes in [1, 100, DICTIONARY_BYTES_MAX as u32, DICTIONARY_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut bad = good.clone();
        bad[offset + 76..offset + 80].copy_from_slice(&bytes.to_le_bytes());
        let checked = &bad[offset..offset + 80];
        let sum = crate::base::checksum::checksum(checked, NUMBER.0, offset as u64);
        bad[offset + 80..offset + 88].copy_from_slice(&sum.to_le_bytes());
        assert_corruption(&open(&bad).expect_err("there is no dictionary"));
    }
    assert!(Dictionary::parse(&vec![0; DICTIONARY_BYTES_MAX + 1]).is_err());
    // Zstd takes what begins otherwise for content without tables.
    assert!(Dictionary::parse(b"no dictionary").is_err());
    let magic_alone = [0x37, 0xa4, 0x30, 0xec, 1, 2, 3, 4, 5, 6, 7, 8];
    assert!(Dictionary::parse(&magic_alone).is_err());
}

#[test]
fn a_block_of_a_dictionary_needs_it() {
    let mut gather = Gather::new(ZstdOptions { level: 3, dictionary_bytes: 1 << 10 }, 100 << 10);
    let blocks: Vec<Vec<u8>> = events(2_000).chunks(10).map(ConcatValues::concat_values).collect();
    blocks.iter().for_each(|block| gather.block(block));
    let dictionary = gather.train().expect("events have much in common");
    let mut compressor = Compressor::new(Codec::ZstdDictionary, ZstdOptions::default());
    compressor.use_dictionary(&dictionary);
    let mut block = blocks[7].clone();
    let (stored, codec) = compressor.compress(&mut block);
    assert_eq!(codec, Codec::ZstdDictionary);
    let mut unpacker = Unpacker::default();
    assert!(unpacker.decompress(codec, stored).expect_err("none").0.contains("missing"));
    unpacker.dictionary = Some(Dictionary::parse(&dictionary).expect("own dictionary"));
    assert_eq!(unpacker.decompress(codec, stored).expect("own frame"), blocks[7]);
    unpacker.block_bytes_max = blocks[7].len() as u64 - 1;
    let error = unpacker.decompress(codec, stored).expect_err("longer than the table's longest");
    assert!(error.0.contains("declares more"), "{error:?}");
}

/// Values of some entries, end to end.
trait ConcatValues {
    fn concat_values(&self) -> Vec<u8>;
}

impl ConcatValues for [Entry] {
    fn concat_values(&self) -> Vec<u8> {
        self.iter().flat_map(|(_, value)| value.clone()).collect()
    }
}

#[test]
fn a_length_that_the_frame_does_not_have_is_refused_before_memory_is_taken() {
    let mut compressor = Compressor::new(Codec::Zstd, ZstdOptions::default());
    let mut block = vec![b'a'; 10_000];
    let (stored, codec) = compressor.compress(&mut block);
    assert_eq!(codec, Codec::Zstd);
    let mut lying = Vec::new();
    crate::base::coding::put_varint(&mut lying, 400_000);
    lying.extend_from_slice(&stored[2..]);
    assert!(Unpacker::default().decompress(codec, &lying).is_err());
}

#[test]
fn blocks_that_do_not_pay_are_soon_not_tried() {
    let mut compressor = Compressor::new(Codec::Lz4, ZstdOptions::default());
    let mut state = 1u64;
    let mut noise = || -> Vec<u8> {
        let draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(draw).take(512).collect()
    };
    for _ in 0..10_000 {
        assert_eq!(compressor.compress(&mut noise()).1, Codec::None);
    }
    let tally = compressor.tally();
    assert_eq!(tally.compressed, 0);
    assert!(tally.declined < 60 && tally.declined + tally.untried == 10_000, "{tally:?}");
    // Text behind it is found again, after as many blocks at the most as were passed over.
    let mut text = b"all work and no play ".repeat(30);
    let tried = (0..257).position(|_| compressor.compress(&mut text).1 == Codec::Lz4);
    assert!(tried.is_some());
    let before = compressor.tally().untried;
    for _ in 0..100 {
        assert_eq!(compressor.compress(&mut text).1, Codec::Lz4);
        assert_eq!(compressor.compress(&mut noise()).1, Codec::None);
    }
    assert_eq!(compressor.tally().untried, before, "blocks that pay now and then are all tried");
}

#[test]
fn a_filter_knows_prefixes_of_the_extractor_that_it_was_built_with() {
    let (slash, other) = (PrefixExtractor::UpToByte(b':'), PrefixExtractor::Fixed(5));
    let options = TableOptions { prefix_extractor: Some(slash), ..TableOptions::default() };
    let entries: Vec<Entry> = (0..2_000)
        .map(|n| put(format!("u{:04}:{}", n / 4 * 2, n % 4).as_bytes(), n + 1, b"v"))
        .collect();
    let table = table_of(&entries, options);
    assert_eq!(table.properties().prefix_extractor, Some(slash));
    for n in 0..500 {
        let name = format!("u{:04}:", n * 2);
        assert_eq!(table.may_hold_prefix(slash, name.as_bytes()), Some(true));
    }
    let denied = |n: &u64| {
        let name = format!("u{:04}:", n * 2 + 1);
        table.may_hold_prefix(slash, name.as_bytes()) == Some(false)
    };
    assert!((0..500).filter(denied).count() > 480);
    let asked = table.may_hold_prefix(other, b"zzzzz");
    assert_eq!(asked, None, "another extractor's prefixes are not known");
    let plain = table_of(&entries, TableOptions::default());
    assert_eq!(plain.may_hold_prefix(slash, b"zzzzz:"), None);
    assert!(damages(&table).is_empty());
}
