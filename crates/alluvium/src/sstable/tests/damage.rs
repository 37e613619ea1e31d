//! Damage of every byte, every cut, and blocks in the wrong place: noticed, and never read wrongly.

use super::*;
use crate::base::key::seek_trailer;

/// Entries of two versions, tombstones, values that compress and values that do not.
fn sample() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 0..24u64 {
        let user_key = format!("user:{:04}", n * 7);
        if n % 5 == 0 {
            entries.push(delete(user_key.as_bytes(), 900 + n));
        }
        let value = match n % 3 {
            0 => vec![b'x'; 40],
            1 => format!("value number {n}").into_bytes(),
            _ => (0..20).map(|i| (i * n * 37 % 251) as u8).collect(),
        };
        entries.push(put(user_key.as_bytes(), 100 + n, &value));
    }
    entries
}

fn small_table(codec: Codec, bits: f64) -> (Vec<Entry>, Vec<u8>) {
    let entries = sample();
    let options = TableOptions {
        block_bytes: 256,
        restart_interval: 4,
        codec,
        filter_bits_per_key: bits,
        ..TableOptions::default()
    };
    let (file, _) = write_table(&entries, options);
    (entries, file.bytes())
}

/// Reads all of a table that may be damaged, in every way. What is given out must be right; returns
/// the errors met.
fn read_everything(bytes: &[u8], entries: &[Entry]) -> Vec<Error> {
    let table = match open(bytes) {
        Ok(table) => table,
        Err(error) => return vec![error],
    };
    let mut errors = Vec::new();
    for (internal_key, value) in entries {
        // Into the cache, and into memory that is lent.
        let lent = table.get(internal_key, true, false, &mut Lookups::default());
        let lent = lent.map(|found| found.map(|(trailer, value)| (trailer, value.to_vec())));
        let kept = get(&table, internal_key);
        match (kept, lent) {
            (Ok(kept), Ok(lent)) => {
                assert_eq!(kept, Some((key::trailer(internal_key), value.clone())));
                assert_eq!(kept, lent);
            }
            (Err(kept), Err(lent)) => {
                assert_eq!(kept.to_string(), lent.to_string());
                errors.push(kept);
            }
            (kept, lent) => panic!("{kept:?} and {lent:?}"),
        }
    }
    for purpose in [USER, ReadPurpose::Compaction] {
        match read_both_ways(&table, purpose) {
            Ok((forwards, backwards)) => {
                assert_eq!(forwards, entries);
                assert_eq!(backwards, entries);
            }
            Err(error) => errors.push(error),
        }
    }
    let reported = damages(&table);
    assert_eq!(reported.is_empty(), errors.is_empty(), "{reported:?} against {errors:?}");
    errors.extend(reported);
    errors
}

#[test]
fn the_undamaged_table_is_read_without_an_error() {
    for codec in CODECS {
        let (entries, bytes) = small_table(codec, 10.0);
        assert!(read_everything(&bytes, &entries).is_empty(), "{codec:?}");
    }
}

#[test]
fn every_changed_byte_is_noticed_and_never_read_wrongly() {
    for (codec, bits) in [
        (Codec::None, 0.0),
        (Codec::None, 10.0),
        (Codec::Lz4, 10.0),
        (Codec::Zstd, 10.0),
        (Codec::Snappy, 10.0),
    ] {
        let (entries, bytes) = small_table(codec, bits);
        for position in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff, bytes[position]] {
                if change == 0 {
                    continue;
                }
                let mut damaged = bytes.clone();
                damaged[position] ^= change;
                let errors = read_everything(&damaged, &entries);
                assert!(!errors.is_empty(), "{codec:?}: byte {position} ^ {change:#x}");
                errors.iter().for_each(assert_corruption);
            }
        }
    }
}

#[test]
fn every_truncation_and_every_appendage_is_noticed() {
    for codec in [Codec::None, Codec::Zstd] {
        let (_, bytes) = small_table(codec, 10.0);
        for length in 0..bytes.len() {
            let error = open(&bytes[..length]).expect_err("cut short");
            assert_corruption(&error);
        }
        for extra in [1, 8, 95, 96, 97, 4096] {
            let mut longer = bytes.clone();
            longer.resize(bytes.len() + extra, 0);
            assert_corruption(&open(&longer).expect_err("longer"));
            // The footer once more behind it all: sound bytes in the wrong place.
            let footer = bytes[bytes.len() - 96..].to_vec();
            longer.extend_from_slice(&footer);
            assert_corruption(&open(&longer).expect_err("longer"));
        }
    }
}

#[test]
fn a_sound_block_in_the_wrong_place_is_noticed() {
    let entries: Vec<Entry> =
        (0..60u32).map(|n| put(&n.to_be_bytes(), 1, &n.to_le_bytes())).collect();
    let options = TableOptions { block_bytes: 300, ..TableOptions::default() };
    let (file, _) = write_table(&entries, options);
    let bytes = file.bytes();
    let table = open(&bytes).expect("own table opens");
    let lengths: Vec<usize> =
        (0..table.index.blocks()).map(|n| table.index.handle(n).stored_bytes()).collect();
    let twin = (1..lengths.len()).find(|&n| lengths[n] == lengths[0]).expect("blocks of one size");
    let start = table.index.handle(twin).offset as usize;
    let mut swapped = bytes.clone();
    swapped[..lengths[0]].copy_from_slice(&bytes[start..start + lengths[0]]);
    swapped[start..start + lengths[0]].copy_from_slice(&bytes[..lengths[0]]);
    let errors = read_everything(&swapped, &entries);
    assert_eq!(errors.iter().filter(|error| error.is_corruption()).count(), errors.len());
    assert!(!errors.is_empty());
}

#[test]
fn a_table_under_another_tables_name_is_refused() {
    let (file, _) = write_table(&numbered(10), TableOptions::default());
    let (cache, counters) = (Arc::new(BlockCache::new(0)), Arc::new(Counters::default()));
    let error = Table::open(file, FileNumber(10), NAME.to_owned(), cache, counters)
        .expect_err("another number");
    assert_corruption(&error);
    assert!(error.to_string().contains("another table"), "{error}");
}

#[test]
fn a_version_that_is_not_known_is_named_with_the_one_that_is() {
    let (file, _) = write_table(&numbered(10), TableOptions::default());
    let mut bytes = file.bytes();
    let footer = bytes.len() - 96;
    bytes[footer + 72] = 7;
    let sum = crate::base::checksum::checksum(&bytes[footer..footer + 80], NUMBER.0, footer as u64);
    bytes[footer + 80..footer + 88].copy_from_slice(&sum.to_le_bytes());
    match open(&bytes) {
        Err(Error::UnsupportedFormat { found: 7, supported: 2, file }) => assert_eq!(file, NAME),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verify_goes_on_behind_each_damaged_block() {
    let entries = numbered(1_000);
    let (file, summary) = write_table(&entries, TableOptions::default());
    let mut bytes = file.bytes();
    let table = open(&bytes).expect("own table opens");
    assert!(table.index.blocks() >= 4);
    let hurt = [table.index.handle(1), table.index.handle(3)];
    for handle in hurt {
        bytes[handle.offset as usize + 5] ^= 0x10;
    }
    let table = open(&bytes).expect("the ends are sound");
    let mut offsets = Vec::new();
    let sound = table.verify(&mut |error| match error {
        Error::Corruption { offset, .. } => offsets.push(offset),
        other => panic!("{other:?}"),
    });
    assert_eq!(offsets, hurt.map(|handle| handle.offset));
    let lost: u64 = hurt.iter().map(|handle| handle.stored_bytes() as u64).sum();
    assert_eq!(sound, summary.bytes - lost);
}

#[test]
fn an_error_stays_until_the_cursor_seeks_again() {
    let entries = numbered(400);
    let (file, _) = write_table(&entries, TableOptions::default());
    let mut bytes = file.bytes();
    let table = open(&bytes).expect("own table opens");
    bytes[table.index.handle(1).offset as usize] ^= 1;
    let table = open(&bytes).expect("the ends are sound");
    let mut iter = table.iter(USER);
    iter.seek_to_first().expect("the first block is sound");
    let error = loop {
        if let Err(error) = iter.next() {
            break error;
        }
        assert!(iter.valid());
    };
    assert_corruption(&error);
    assert!(!iter.valid());
    assert!(iter.next().is_err() && iter.prev().is_err() && !iter.valid());
    iter.seek_to_first().expect("starts afresh");
    assert!(iter.valid() && iter.next().is_ok());
    let beyond = key::encode(b"user:zzz", seek_trailer(SeqNo::MAX));
    iter.seek(&beyond).expect("reads nothing");
    assert!(!iter.valid() && iter.next().is_ok());
}
