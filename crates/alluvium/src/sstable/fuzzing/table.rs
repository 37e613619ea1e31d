//! Whole tables of hostile bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::checksum::{checksum, key_hash};
use crate::base::coding::take_u64;
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::iterator::InternalIterator;
use crate::base::key::{compare, trailer, user_key};
use crate::cache::BlockCache;
use crate::env::{BytesFile, SPOILT};
use crate::metrics::Counters;
use crate::sstable::block::{Block, Entry};
use crate::sstable::compression::{Codec, Unpacker};
use crate::sstable::format::{BLOCK_TRAILER_BYTES, BlockHandle, FOOTER_BYTES, Footer};
use crate::sstable::fuzzing::{NAME, Pair, assert_of_bytes, neighbours, seal_footer};
use crate::sstable::iter::ReadPurpose;
use crate::sstable::reader::{Lookups, Table};

/// The number of the table that bytes are read as.
pub const NUMBER: u64 = 9;
pub(super) const USER: ReadPurpose = ReadPurpose::User { fill_cache: true };

/// Reads `bytes` as a table in every way, as they are and sealed.
///
/// # Panics
/// When the ways do not agree.
pub fn table(bytes: &[u8]) {
    read(bytes.to_vec());
    let mut sealed = bytes.to_vec();
    seal_table(&mut sealed, NUMBER);
    read(sealed);
}

/// Puts the checksums into the footer and into every block that it or the index names.
pub fn seal_table(bytes: &mut [u8], number: u64) {
    let Some(offset) = bytes.len().checked_sub(FOOTER_BYTES) else { return };
    let (blocks, footer) = bytes.split_at_mut(offset);
    seal_footer(footer, offset as u64, number);
    let mut rest = &footer[..64];
    let mut handles = Vec::new();
    while let (Some(offset), Some(length)) = (take_u64(&mut rest), take_u64(&mut rest)) {
        handles.push(BlockHandle { offset, length });
    }
    handles.extend(Footer::guess(footer).map(|footer| footer.dictionary));
    for handle in &handles {
        seal_block(blocks, *handle, number);
    }
    for handle in data_handles(blocks, handles[0]).unwrap_or_default() {
        seal_block(blocks, handle, number);
    }
}

/// The block at `handle` as it is stored, checksum included, where it lies in the file.
fn stored_block(blocks: &mut [u8], handle: BlockHandle) -> Option<&mut [u8]> {
    let start = usize::try_from(handle.offset).ok()?;
    let length = usize::try_from(handle.length).ok()?.checked_add(BLOCK_TRAILER_BYTES)?;
    blocks.get_mut(start..start.checked_add(length)?)
}

fn seal_block(blocks: &mut [u8], handle: BlockHandle, number: u64) {
    let Some(block) = stored_block(blocks, handle) else { return };
    if let Some((checked, sum)) = block.split_last_chunk_mut::<8>()
        && sum[0] != SPOILT
    {
        *sum = checksum(checked, number, handle.offset).to_le_bytes();
    }
}

/// The handles in the index, as far as they can be read.
fn data_handles(blocks: &mut [u8], index: BlockHandle) -> Option<Vec<BlockHandle>> {
    let stored = stored_block(blocks, index)?;
    let (contents, trailer) = stored.split_at(stored.len() - BLOCK_TRAILER_BYTES);
    let contents = match Codec::from_tag(trailer[0])? {
        Codec::None => contents.to_vec(),
        codec => Unpacker::default().decompress(codec, contents).ok()?,
    };
    let block = Block::from_disk(Bytes::from(contents)).ok()?;
    let (mut at, mut value_start) = (0, 0);
    let mut handles = Vec::new();
    while at < block.entries().len() {
        let Ok(entry) = Entry::decode(block.entries(), at) else { break };
        let Ok(value_end) = block.value_end(value_start, entry.value_bytes) else { break };
        handles.extend(BlockHandle::decode(&mut &block.values()[value_start..value_end]));
        (at, value_start) = (entry.end, value_end);
    }
    Some(handles)
}

pub(super) fn open(bytes: Vec<u8>) -> Result<Arc<Table>> {
    let file = Arc::new(BytesFile::new(bytes));
    let cache = Arc::new(BlockCache::new(0));
    let counters = Arc::new(Counters::default());
    Table::open(file, FileNumber(NUMBER), NAME.to_owned(), cache, counters).map(Arc::new)
}

/// Opens and reads a table, and holds every way of reading it against the others.
pub(super) fn read(bytes: Vec<u8>) {
    let table = match open(bytes) {
        Ok(table) => table,
        Err(error) => return assert_of_bytes(&error),
    };
    let damages = damages(&table);
    let (forwards, end) = walk(&table, USER, true);
    let (mut backwards, front) = walk(&table, USER, false);
    let compaction = walk(&table, ReadPurpose::Compaction, true);
    assert_eq!(compaction.0, forwards, "a compaction reads otherwise");
    if end.is_none() && front.is_none() {
        backwards.reverse();
        assert_eq!(forwards, backwards, "forwards and backwards differ");
    }
    let targets: Vec<Vec<u8>> =
        forwards.iter().take(24).flat_map(|(key, _)| neighbours(key)).collect();
    if damages.is_empty() {
        assert!(end.is_none() && front.is_none(), "verify overlooks what a scan finds");
        check_searches(&table, &forwards, &targets);
        return;
    }
    for target in &targets {
        drop(lookup(&table, target));
        let mut iter = table.iter(USER);
        if iter.seek(target).is_ok() && iter.valid() {
            drop(iter.prev());
        }
        if iter.seek_for_prev(target).is_ok() && iter.valid() {
            drop(iter.next());
        }
    }
}

/// What `verify` finds.
pub(super) fn damages(table: &Table) -> Vec<Error> {
    let mut found = Vec::new();
    table.verify(&mut |error| found.push(error));
    found.iter().for_each(assert_of_bytes);
    found
}

/// Every entry in one direction up to the end or an error, and the error.
pub(super) fn walk(
    table: &Arc<Table>,
    purpose: ReadPurpose,
    forwards: bool,
) -> (Vec<Pair>, Option<Error>) {
    let mut iter = table.iter(purpose);
    let mut pairs = Vec::new();
    let mut moved = if forwards { iter.seek_to_first() } else { iter.seek_to_last() };
    while moved.is_ok() && iter.valid() {
        assert_eq!(iter.value(), &iter.value_handle()[..], "two values of one entry");
        pairs.push((iter.key().to_vec(), iter.value().to_vec()));
        moved = if forwards { iter.next() } else { iter.prev() };
    }
    let error = moved.err();
    if let Some(error) = &error {
        assert_of_bytes(error);
        assert!(!iter.valid(), "a cursor stands on an entry behind an error");
    }
    (pairs, error)
}

pub(super) fn lookup(table: &Table, target: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
    let may_hold = table.may_hold(key_hash(user_key(target)));
    let found = table.get(target, may_hold, true, &mut Lookups::default());
    if let Err(error) = &found {
        assert_of_bytes(error);
    }
    Ok(found?.map(|(trailer, value)| (trailer, value.to_vec())))
}

/// In a table that `verify` finds sound, every search finds what looking at every entry finds.
pub(super) fn check_searches(table: &Arc<Table>, pairs: &[Pair], targets: &[Vec<u8>]) {
    for target in targets {
        let at = pairs.partition_point(|(key, _)| compare(key, target).is_lt());
        let same = |pair: &&Pair| user_key(&pair.0) == user_key(target);
        let expected = pairs.get(at).filter(same).map(|(key, value)| (trailer(key), value.clone()));
        match lookup(table, target) {
            Ok(found) => assert_eq!(found, expected, "a lookup finds something else"),
            Err(error) => panic!("a lookup fails in a sound table: {error}"),
        }
        let mut iter = table.iter(USER);
        assert!(iter.seek(target).is_ok(), "a search fails in a sound table");
        let stands = |iter: &dyn InternalIterator| {
            iter.valid().then(|| (iter.key().to_vec(), iter.value().to_vec()))
        };
        assert_eq!(stands(&iter).as_ref(), pairs.get(at), "a search ends elsewhere");
        let above = pairs.partition_point(|(key, _)| compare(key, target).is_le());
        assert!(iter.seek_for_prev(target).is_ok(), "a search fails in a sound table");
        let before = above.checked_sub(1).and_then(|at| pairs.get(at));
        assert_eq!(stands(&iter).as_ref(), before, "a search backwards ends elsewhere");
    }
}
