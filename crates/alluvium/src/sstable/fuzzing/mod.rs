//! Fuzz targets of this floor: the parts of a table, each by itself, and whole tables.

mod build;
mod table;

pub use build::build;
pub use table::{NUMBER, seal_table, table};

use std::cell::RefCell;

use bytes::Bytes;

use crate::base::checksum::checksum;
use crate::base::error::Error;
use crate::base::expiry::{self, has_come};
use crate::base::file::FileNumber;
use crate::base::iterator::Sight;
use crate::base::key::{
    SeqNo, TRAILER_BYTES, ValueKind, compare, split, trailer_kind, trailer_seq, user_key,
};
use crate::base::rows::Rows;
use crate::filter::PrefixExtractor;
use crate::sstable::block::{Block, Entry, Restart};
use crate::sstable::block_iter::{BlockIter, Stop, Walk};
use crate::sstable::compression::{Codec, Compressor, Unpacker, ZstdOptions};
use crate::sstable::format::{FOOTER_BYTES, Footer, Malformed};
use crate::sstable::index::Index;
use crate::sstable::properties::Properties;
use crate::sstable::separator::common_prefix;

/// When it is for a walk.
const NOW_MS: u64 = 1_000;
const NAME: &str = "memory/000009.sst";
const CODECS: [Codec; 5] =
    [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Snappy, Codec::ZstdDictionary];
const PREFIXES: [Option<PrefixExtractor>; 3] =
    [None, Some(PrefixExtractor::Fixed(2)), Some(PrefixExtractor::UpToByte(b'/'))];

/// An encoded internal key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// Reads `bytes` as the footer at the end of a file whose length stands in the first four, as they
/// are and sealed.
///
/// # Panics
/// When a footer is taken whose blocks do not fill the file, or that would not be written.
pub fn footer(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first_chunk::<4>() else { return };
    let offset = u64::from(u32::from_le_bytes(*length));
    read_footer(bytes, offset);
    if bytes.len() == FOOTER_BYTES {
        let mut sealed = bytes.to_vec();
        seal_footer(&mut sealed, offset, NUMBER);
        read_footer(&sealed, offset);
    }
}

/// Puts number, checksum and magic into a footer. The version and the rest stay as they are.
fn seal_footer(footer: &mut [u8], offset: u64, number: u64) {
    footer[64..72].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(&footer[..80], number, offset);
    footer[80..88].copy_from_slice(&sum.to_le_bytes());
    footer[88..].copy_from_slice(b"ALVMSST\0");
}

fn read_footer(bytes: &[u8], offset: u64) {
    match Footer::decode(bytes, FileNumber(NUMBER), NAME, offset) {
        Ok((footer, sum)) => {
            assert_eq!(footer.index.end(), offset, "the index does not end at the footer");
            assert!(footer.data_end() < offset, "the data reach into the footer");
            let again = footer.encode(FileNumber(NUMBER), offset);
            assert_eq!((&again.0[..], again.1), (bytes, sum), "the footer encodes otherwise");
        }
        Err(error) => assert_of_bytes(&error),
    }
}

/// An error is one that the bytes of the table can cause.
fn assert_of_bytes(error: &Error) {
    match error {
        Error::Corruption { file, .. } | Error::UnsupportedFormat { file, .. } => {
            assert_eq!(file, NAME, "the error names another file");
        }
        error => panic!("bytes cannot cause this: {error:?}"),
    }
}

/// Reads `bytes` as the contents of a properties block.
///
/// # Panics
/// When properties are taken that would not be written.
pub fn properties(bytes: &[u8]) {
    if let Ok(properties) = Properties::decode(bytes) {
        assert_eq!(properties.encode(), bytes, "the properties encode otherwise");
        assert!(properties.tombstones <= properties.entries, "more tombstones than entries");
    }
}

/// Reads `bytes` as the contents of an index block, behind the length of the data in eight.
///
/// # Panics
/// When the index leads to another block than looking at every separator does.
pub fn index(bytes: &[u8]) {
    let Some((data_end, bytes)) = bytes.split_first_chunk::<8>() else { return };
    let data_end = u64::from_le_bytes(*data_end);
    let Ok(block) = Block::from_disk(Bytes::copy_from_slice(bytes)) else { return };
    let Ok(index) = Index::parse(&block, data_end) else { return };
    let mut offset = 0;
    for position in 0..index.blocks() {
        let handle = index.handle(position);
        assert_eq!(handle.offset, offset, "the data blocks do not follow each other");
        offset = handle.end();
    }
    assert_eq!(offset, data_end, "the data blocks do not fill the file");
    let keys: Vec<&[u8]> = (0..index.blocks()).map(|position| index.key(position)).collect();
    for target in keys.iter().flat_map(|key| neighbours(key)) {
        let (user_key, trailer) = split(&target);
        let expected = keys.partition_point(|key| compare(key, &target).is_lt());
        assert_eq!(index.seek(user_key, trailer), expected, "the index leads elsewhere");
    }
}

/// Targets at a key and beside it.
fn neighbours(internal_key: &[u8]) -> Vec<Vec<u8>> {
    let (user_key, trailer) = split(internal_key);
    let target = |user_key: &[u8], trailer: u64| {
        let mut target = user_key.to_vec();
        target.extend_from_slice(&trailer.to_le_bytes());
        target
    };
    let longer = [user_key, b"\0"].concat();
    let shorter = &user_key[..user_key.len().saturating_sub(1)];
    vec![
        target(user_key, trailer),
        target(user_key, trailer.wrapping_add(1)),
        target(user_key, trailer.wrapping_sub(1)),
        target(user_key, u64::MAX),
        target(&longer, 0x100),
        target(shorter, 0),
    ]
}

/// Reads `bytes` as the contents of a data block: forwards, backwards, and by searching.
///
/// # Panics
/// When the ways do not agree.
pub fn block(bytes: &[u8]) {
    let Ok(block) = Block::from_disk(Bytes::copy_from_slice(bytes)) else { return };
    let (forwards, backwards) = (walk(&block, true), walk(&block, false));
    let targets = |key: &Pair| neighbours(&key.0);
    let (Ok(pairs), Ok(mut backwards)) = (forwards, backwards) else {
        let _ = block.seek(b"", u64::MAX);
        let _ = block.seek(b"k", 77);
        return;
    };
    backwards.reverse();
    assert_eq!(pairs, backwards, "forwards and backwards differ");
    if is_as_written(&block, &pairs) {
        for target in pairs.iter().flat_map(targets) {
            check_seek(&block, &pairs, &target);
        }
        for seq in [0, 1, 100, SeqNo::MAX.get()] {
            check_walk(&block, &pairs, SeqNo::new(seq));
        }
    } else {
        drop(walk_in_sight(&block, SeqNo::new(100)));
        for target in pairs.iter().take(8).flat_map(targets) {
            let (user_key, trailer) = split(&target);
            let _ = block.seek(user_key, trailer);
        }
    }
}

/// Every entry in one direction.
fn walk(block: &Block, forwards: bool) -> Result<Vec<Pair>, Malformed> {
    let mut iter = BlockIter::default();
    iter.load(block.clone());
    let mut pairs = Vec::new();
    if forwards { iter.seek_to_first() } else { iter.seek_to_last() }?;
    while iter.valid() {
        assert_eq!(iter.value(), &iter.value_handle()[..], "two values of one entry");
        assert!(iter.key().len() >= TRAILER_BYTES, "a key without a trailer");
        pairs.push((iter.key().to_vec(), iter.value().to_vec()));
        if forwards { iter.next() } else { iter.prev() }?;
    }
    Ok(pairs)
}

/// What a walk hands out or stops at from the first entry on, user keys and values, and whether it
/// stopped for something else than what it sees.
fn walk_in_sight(block: &Block, seq: SeqNo) -> Result<(Vec<Pair>, bool), Malformed> {
    let (mut found, mut otherwise) = (Vec::new(), false);
    let mut iter = BlockIter::default();
    iter.load(block.clone());
    iter.seek_to_first()?;
    let mut rows = Rows::default();
    while iter.valid() {
        rows.clear();
        let sight = Sight { seq, now_ms: NOW_MS };
        let stop = iter.walk(&mut Walk::new(sight, u64::MAX), &mut rows)?;
        otherwise |= matches!(stop, Stop::Unsettled | Stop::Versions);
        found.extend(
            (0..rows.count()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec())),
        );
        let on_last_row = rows.count() > 0 && matches!(stop, Stop::Live(_));
        if iter.valid() && !on_last_row {
            found.push((user_key(iter.key()).to_vec(), iter.value().to_vec()));
        }
        if on_last_row {
            let last = found.last().map(|(key, value)| (key.as_slice(), value.as_slice()));
            assert_eq!(last, Some((user_key(iter.key()), iter.value())), "not on the last row");
        }
    }
    Ok((found, otherwise))
}

/// A walk finds what looking at every entry finds: the newest in sight of each key behind the
/// first, where it says that the key is there.
fn check_walk(block: &Block, pairs: &[Pair], seq: SeqNo) {
    let Ok((found, otherwise)) = walk_in_sight(block, seq) else {
        panic!("a walk fails where single steps do not");
    };
    let mut before = pairs.first().map(|(key, _)| user_key(key));
    let mut expected = Vec::new();
    for pair in pairs {
        let (user_key, trailer) = split(&pair.0);
        if Some(user_key) == before || trailer_seq(trailer) > seq {
            continue;
        }
        before = Some(user_key);
        let expires = |value| expiry::split(value).is_some_and(|(at, _)| has_come(at, NOW_MS));
        let live = match trailer_kind(trailer) {
            Some(ValueKind::PutExpiring) => !expires(&pair.1),
            kind => kind == Some(ValueKind::Put),
        };
        if live {
            expected.push((user_key.to_vec(), pair.1.clone()));
        }
    }
    if !otherwise {
        assert_eq!(found, expected, "a walk sees something else");
    }
}

/// Whether the block keeps what a writer keeps: keys ascend, each shares the whole front of the one
/// before, except at the restart points. A search may rely on it.
fn is_as_written(block: &Block, pairs: &[Pair]) -> bool {
    let (mut at, mut value_start, mut restart) = (0, 0, 0);
    let mut before: Option<&[u8]> = None;
    for (key, value) in pairs {
        let Ok(entry) = Entry::decode(block.entries(), at) else { return false };
        let is_restart =
            restart < block.restarts() && block.restart(restart) == Restart { at, value_start };
        restart += usize::from(is_restart);
        let common = match before {
            Some(before) if !is_restart => common_prefix(user_key(before), user_key(key)),
            _ => 0,
        };
        let ascends = before.is_none_or(|before| compare(before, key).is_lt());
        if entry.shared != common || !ascends {
            return false;
        }
        before = Some(key);
        (at, value_start) = (entry.end, value_start + value.len());
    }
    restart == block.restarts()
}

/// A search finds what looking at every entry finds, and the cursor goes on from there.
fn check_seek(block: &Block, pairs: &[Pair], target: &[u8]) {
    let expected = pairs.partition_point(|(key, _)| compare(key, target).is_lt());
    let mut iter = BlockIter::default();
    iter.load(block.clone());
    let (user_key, trailer) = split(target);
    assert!(iter.seek(user_key, trailer).is_ok(), "a search fails where a walk does not");
    assert_stands(&iter, pairs.get(expected));
    if iter.valid() {
        assert!(iter.prev().is_ok(), "a step back fails behind a search");
        assert_stands(&iter, expected.checked_sub(1).and_then(|at| pairs.get(at)));
        if iter.valid() {
            assert!(iter.next().is_ok(), "a step fails behind a step back");
            assert_stands(&iter, pairs.get(expected));
        }
    }
}

fn assert_stands(iter: &BlockIter, expected: Option<&Pair>) {
    let found = iter.valid().then(|| (iter.key(), iter.value()));
    let expected = expected.map(|(key, value)| (&key[..], &value[..]));
    assert_eq!(found, expected, "the cursor stands elsewhere");
}

/// Reads `bytes` as a compressed block of each codec.
///
/// # Panics
/// When what was decompressed has another length than was declared.
pub fn frame(bytes: &[u8]) {
    for codec in &CODECS[1..] {
        if let Ok(contents) = Unpacker::default().decompress(*codec, bytes) {
            let mut input = bytes;
            let declared = crate::base::coding::take_varint(&mut input);
            assert_eq!(Some(contents.len() as u64), declared, "{codec:?}: another length");
        }
    }
}

/// Compresses `bytes` with each codec and back.
///
/// # Panics
/// When they come back changed.
pub fn codec(bytes: &[u8]) {
    thread_local! {
        static COMPRESSORS: RefCell<Vec<Compressor>> =
            RefCell::new(CODECS.map(|codec| Compressor::new(codec, ZstdOptions::default())).into());
    }
    COMPRESSORS.with_borrow_mut(|compressors| {
        for compressor in compressors {
            let mut contents = bytes.to_vec();
            let (stored, codec) = compressor.compress(&mut contents);
            match codec {
                Codec::None => assert_eq!(stored, bytes, "a block that is stored as it is"),
                codec => {
                    let back = Unpacker::default().decompress(codec, stored);
                    assert_eq!(back.as_deref(), Ok(bytes), "{codec:?} changes the block");
                }
            }
        }
    });
}
