//! The range tombstone block: the fragments of a table, as they stand in its file.
//!
//! It has the frame of a data block (docs/format.md, "Range tombstone block"), one entry for each
//! fragment and sequence number, so that it is found again in a file whose footer is lost. Its
//! entries are not searched there: an open table keeps them as [`Fragments`].

use crate::base::key::{
    EXCLUDED_TRAILER, SeqNo, ValueKind, compare, encode, pack_trailer, trailer_seq, try_split,
};
use crate::base::limits::KEY_BYTES_MAX;
use crate::ranges::Fragments;
use crate::sstable::block::{Block, Entry};
use crate::sstable::block_builder::BlockBuilder;
use crate::sstable::format::{BlockHandle, Malformed};
use crate::sstable::separator::common_prefix;
use crate::sstable::table_file::TableFile;

const RESTART_INTERVAL: usize = 16;
const NOT_SO_WRITTEN: Malformed = Malformed("the range tombstones are not as they are written");

/// The block of `fragments`, which hold one tombstone at least.
pub(super) fn build(fragments: &Fragments) -> BlockBuilder {
    let mut block = BlockBuilder::new(RESTART_INTERVAL);
    let mut last: &[u8] = &[];
    for fragment in fragments.iter() {
        for seq in fragment.seqs() {
            let internal_key = encode(fragment.start(), pack_trailer(seq, ValueKind::RangeDelete));
            block.add(common_prefix(last, fragment.start()), &internal_key, fragment.end());
            last = fragment.start();
        }
    }
    block
}

/// Whether `block` is one of range tombstones, by its first entry.
pub(super) fn is_range_block(block: &Block) -> bool {
    let entries = block.entries();
    let first = if entries.is_empty() { None } else { Entry::decode(entries, 0).ok() };
    let trailer = first.and_then(|first| try_split(first.suffix(entries)));
    trailer.is_some_and(|(_, trailer)| is_range_trailer(trailer))
}

fn is_range_trailer(trailer: u64) -> bool {
    trailer & 0xff == ValueKind::RangeDelete as u64
}

/// The fragments in `block`. Nothing is taken as given but that the block's bytes are those that
/// were written.
pub(super) fn parse(block: &Block) -> Result<Fragments, Malformed> {
    let entries = block.entries();
    let mut fragments = Fragments::default();
    let (mut key, mut end): (Vec<u8>, &[u8]) = (Vec::new(), &[]);
    let mut seqs: Vec<SeqNo> = Vec::new();
    let (mut at, mut value_start) = (0, 0);
    while at < entries.len() {
        let entry = Entry::decode(entries, at)?;
        let (suffix, trailer) = try_split(entry.suffix(entries)).ok_or(NOT_SO_WRITTEN)?;
        let value_end = block.value_end(value_start, entry.value_bytes)?;
        let value = &block.values()[value_start..value_end];
        let shared = key.get(..entry.shared).ok_or(NOT_SO_WRITTEN)?;
        let next = [shared, suffix].concat();
        if !is_range_trailer(trailer) || next.len().max(value.len()) > KEY_BYTES_MAX {
            return Err(NOT_SO_WRITTEN);
        }
        if !seqs.is_empty() && (next != key || value != end) {
            push(&mut fragments, &key, end, &seqs)?;
            seqs.clear();
        }
        seqs.push(trailer_seq(trailer));
        (key, end) = (next, value);
        (at, value_start) = (entry.end, value_end);
    }
    push(&mut fragments, &key, end, &seqs)?;
    if value_start != block.values().len() {
        return Err(NOT_SO_WRITTEN);
    }
    Ok(fragments)
}

fn push(
    fragments: &mut Fragments,
    start: &[u8],
    end: &[u8],
    seqs: &[SeqNo],
) -> Result<(), Malformed> {
    if fragments.push(start, end, seqs) { Ok(()) } else { Err(NOT_SO_WRITTEN) }
}

/// Reads the block at `handle`; no fragments where there is none.
pub(super) fn read(
    file: &TableFile,
    handle: BlockHandle,
) -> Result<Fragments, crate::base::error::Error> {
    if !handle.is_present() {
        return Ok(Fragments::default());
    }
    Block::from_disk(file.read_block(handle)?)
        .and_then(|block| parse(&block))
        .map_err(|malformed| file.damaged(handle.offset, malformed))
}

/// The bounds of a table: the first and the last of its point entries (empty where there are none)
/// widened over `fragments`. Where a fragment reaches furthest, the upper bound is excluded.
pub(super) fn bounds(first: &[u8], last: &[u8], fragments: &Fragments) -> (Vec<u8>, Vec<u8>) {
    let (mut smallest, mut largest) = (first.to_vec(), last.to_vec());
    let mut iter = fragments.iter();
    let Some(lowest) = iter.next() else { return (smallest, largest) };
    let highest = iter.next_back().unwrap_or(lowest);
    let newest = lowest.seqs().next().unwrap_or(SeqNo::ZERO);
    let start = encode(lowest.start(), pack_trailer(newest, ValueKind::RangeDelete));
    let end = encode(highest.end(), EXCLUDED_TRAILER);
    if smallest.is_empty() || compare(&start, &smallest).is_lt() {
        smallest = start;
    }
    if largest.is_empty() || compare(&end, &largest).is_gt() {
        largest = end;
    }
    (smallest, largest)
}
