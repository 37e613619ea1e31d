//! Tests of tables, and what they share: files in memory, tables built from lists of entries.

mod blocks;
mod damage;
mod dictionary;
mod files;
mod golden;
mod hostile;
mod range_block;
mod round_trip;
mod salvage;
mod table_cache;
mod writing;

use std::sync::Arc;

use crate::base::checksum::key_hash;
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo, ValueKind, pack_trailer};
use crate::cache::BlockCache;
use crate::metrics::Counters;
use crate::sstable::{
    Codec, Lookups, ReadPurpose, Table, TableIterator, TableOptions, TableSummary, TableWriter,
};
use files::MemFile;

const NUMBER: FileNumber = FileNumber(9);
const NAME: &str = "store/000009.sst";
const USER: ReadPurpose = ReadPurpose::User { fill_cache: true };
const CODECS: [Codec; 5] =
    [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Snappy, Codec::ZstdDictionary];

/// An encoded internal key and its value.
type Entry = (Vec<u8>, Vec<u8>);

fn put(user_key: &[u8], seq: u64, value: &[u8]) -> Entry {
    (key::encode(user_key, pack_trailer(SeqNo::new(seq), ValueKind::Put)), value.to_vec())
}

fn delete(user_key: &[u8], seq: u64) -> Entry {
    (key::encode(user_key, pack_trailer(SeqNo::new(seq), ValueKind::Delete)), Vec::new())
}

/// `count` puts in order, with keys that share their fronts.
fn numbered(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|n| put(format!("user:{n:06}").as_bytes(), n + 1, format!("value {n}").as_bytes()))
        .collect()
}

fn write_table(entries: &[Entry], options: TableOptions) -> (Arc<MemFile>, TableSummary) {
    let file = Arc::new(MemFile::default());
    let mut writer = TableWriter::new(file.clone(), NUMBER, NAME.to_owned(), options);
    for (internal_key, value) in entries {
        writer.add(internal_key, value).expect("entries are in order");
    }
    let summary = writer.finish().expect("memory does not fail");
    (file, summary)
}

fn open_bytes(bytes: &[u8], cache: Arc<BlockCache>) -> Result<Arc<Table>> {
    let file = Arc::new(MemFile::from_bytes(bytes));
    Table::open(file, NUMBER, NAME.to_owned(), cache, Arc::new(Counters::default())).map(Arc::new)
}

fn open(bytes: &[u8]) -> Result<Arc<Table>> {
    open_bytes(bytes, Arc::new(BlockCache::new(1 << 20)))
}

fn table_of(entries: &[Entry], options: TableOptions) -> Arc<Table> {
    let (file, _) = write_table(entries, options);
    open(&file.bytes()).expect("own table opens")
}

fn get(table: &Table, lookup: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
    let may_hold = table.may_hold(key_hash(key::user_key(lookup)));
    let found = table.get(lookup, may_hold, true, &mut Lookups::default())?;
    Ok(found.map(|(trailer, value)| (trailer, value.to_vec())))
}

fn here(iter: &TableIterator) -> Entry {
    assert_eq!(iter.value(), &iter.value_handle()[..]);
    (iter.key().to_vec(), iter.value().to_vec())
}

/// Everything from front to back, then everything from back to front.
fn read_both_ways(table: &Arc<Table>, purpose: ReadPurpose) -> Result<(Vec<Entry>, Vec<Entry>)> {
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    let mut iter = table.iter(purpose);
    iter.seek_to_first()?;
    while iter.valid() {
        forwards.push(here(&iter));
        iter.next()?;
    }
    iter.seek_to_last()?;
    while iter.valid() {
        backwards.push(here(&iter));
        iter.prev()?;
    }
    backwards.reverse();
    Ok((forwards, backwards))
}

fn damages(table: &Table) -> Vec<Error> {
    let mut found = Vec::new();
    table.verify(&mut |error| found.push(error));
    found
}

fn assert_corruption(error: &Error) {
    match error {
        Error::Corruption { file, .. } => assert_eq!(file, NAME),
        other => panic!("not a corruption: {other:?}"),
    }
}
