//! What is left of a damaged table: entries, dictionary and range tombstones together.

use super::dictionary::{events, footer_of, options};
use super::*;
use crate::base::sync::Mutex;
use crate::ranges::Fragments;
use crate::sstable::format::FOOTER_BYTES;
use crate::sstable::{Findings, Salvage};

/// What a salvage gave.
struct Saved {
    entries: Vec<Entry>,
    ranges: Fragments,
    ranges_lost: bool,
    gaps: usize,
}

impl Saved {
    fn assert_whole(&self, entries: &[Entry], what: &str) {
        assert!(self.entries == entries, "{what}: {} entries", self.entries.len());
        assert!(self.ranges.iter().eq(tombstones().iter()), "{what}: {:?}", self.ranges);
        assert!(!self.ranges_lost && self.gaps == 0, "{what}");
    }
}

pub(super) fn tombstones() -> Fragments {
    let mut ranges = Fragments::default();
    ranges.insert(b"event:0000000100", b"event:0000000200", SeqNo::new(900_000));
    ranges.insert(b"event:0000000150", b"event:0000000300", SeqNo::new(900_001));
    ranges
}

pub(super) fn table_with_ranges(entries: &[Entry], options: TableOptions) -> Vec<u8> {
    let file = Arc::new(MemFile::default());
    let mut writer = TableWriter::new(file.clone(), NUMBER, NAME.to_owned(), options);
    for fragment in tombstones().iter() {
        writer.add_range(fragment).expect("in order");
    }
    for (internal_key, value) in entries {
        writer.add(internal_key, value).expect("in order");
    }
    writer.finish().expect("memory does not fail");
    file.bytes()
}

/// Reads what is left of a table that is known to have had so many range tombstones.
fn saved(bytes: &[u8], range_tombstones: Option<u64>) -> Saved {
    let findings: Arc<Mutex<Findings>> = Arc::default();
    let file = Arc::new(MemFile::from_bytes(bytes));
    let noted = Arc::clone(&findings);
    let salvage = Salvage::open(file, NUMBER, NAME.to_owned(), range_tombstones, noted);
    let mut salvage = salvage.expect("the format is known");
    let mut entries = Vec::new();
    salvage.seek_to_first().expect("a salvage never fails");
    while salvage.valid() {
        entries.push((salvage.key().to_vec(), salvage.value().to_vec()));
        salvage.next().expect("a salvage never fails");
    }
    let findings = findings.lock();
    assert_eq!(findings.entries, entries.len() as u64);
    let ranges = salvage.ranges().clone();
    Saved { entries, ranges, ranges_lost: findings.ranges_lost, gaps: findings.gaps.len() }
}

/// A table whose filter is longer than what is searched behind a damaged block.
fn large(codec: Codec) -> (Vec<Entry>, Vec<u8>) {
    let entries = events(10_000);
    let options = TableOptions { filter_bits_per_key: 250.0, ..options(codec) };
    let bytes = table_with_ranges(&entries, options);
    let footer = footer_of(&bytes);
    assert_eq!(footer.dictionary.is_present(), codec == Codec::ZstdDictionary);
    assert!(footer.filter.length > 300 << 10);
    (entries, bytes)
}

#[test]
fn a_footer_with_one_wrong_byte_costs_nothing() {
    let entries = events(600);
    let good = table_with_ranges(&entries, options(Codec::ZstdDictionary));
    assert!(footer_of(&good).dictionary.is_present());
    for at in good.len() - FOOTER_BYTES..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert_corruption(&open(&bad).expect_err("a damaged footer"));
            let place = at + FOOTER_BYTES - good.len();
            saved(&bad, None).assert_whole(&entries, &format!("footer byte {place} ^ {flip}"));
        }
    }
}

#[test]
fn a_lost_footer_costs_neither_dictionary_nor_range_tombstones() {
    for codec in [Codec::None, Codec::Zstd, Codec::ZstdDictionary] {
        let (entries, good) = large(codec);
        let footer = good.len() - FOOTER_BYTES;
        let mut bad = good.clone();
        bad[footer..].fill(0);
        let found = saved(&bad, None);
        assert!(found.entries == entries && !found.ranges_lost, "{codec:?} without footer");
        assert!(found.ranges.iter().eq(tombstones().iter()), "{codec:?} without footer");
        // The range handle alone, beyond what the checksum puts right: the index is there.
        for at in [32, 40] {
            let mut bad = good.clone();
            bad[footer + at] ^= 0x10;
            bad[footer + at + 1] ^= 0x10;
            saved(&bad, None).assert_whole(&entries, &format!("{codec:?}, bytes from {at}"));
        }
        // The filter's, before which the dictionary stands.
        let mut bad = good.clone();
        bad[footer + 16..footer + 32].fill(0x55);
        saved(&bad, None).assert_whole(&entries, &format!("{codec:?} without filter handle"));
    }
}

#[test]
fn range_tombstones_that_cannot_be_read_are_never_passed_over_in_silence() {
    let (entries, good) = large(Codec::ZstdDictionary);
    let handle = footer_of(&good).ranges;
    let footer = good.len() - FOOTER_BYTES;
    let mut bad = good.clone();
    bad[handle.offset as usize + 3] ^= 1;
    let with_footer = bad.clone();
    bad[footer + 33..footer + 36].fill(0x77);
    let with_properties = bad.clone();
    bad[footer..].fill(0);
    for (what, bad) in
        [("block", with_footer), ("handle", with_properties), ("footer", bad.clone())]
    {
        let found = saved(&bad, None);
        assert!(found.entries == entries, "{what}");
        assert!(found.ranges.is_empty() && found.ranges_lost && found.gaps == 1, "{what}");
    }
    // A manifest that knows better is believed.
    assert!(saved(&bad, Some(3)).ranges_lost);
    let found = saved(&bad, Some(0));
    assert!(!found.ranges_lost && found.gaps == 0);
}

#[test]
fn values_that_begin_as_a_filter_or_a_dictionary_are_taken_for_neither() {
    let mut entries = events(600);
    for (n, (_, value)) in entries.iter_mut().enumerate() {
        // The first value of a block begins it.
        let lines = (n as u32 % 20).to_le_bytes();
        let front = [&[1, 6][..], &lines, &[0x37, 0xa4, 0x30, 0xec]].concat();
        value.splice(..0, front);
    }
    for codec in [Codec::None, Codec::ZstdDictionary] {
        let mut bad = table_with_ranges(&entries, options(codec));
        let footer = bad.len() - FOOTER_BYTES;
        bad[footer..].fill(0);
        saved(&bad, None).assert_whole(&entries, &format!("{codec:?}"));
    }
}
