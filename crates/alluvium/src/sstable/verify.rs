//! Reads every byte of a table and holds it against everything else that the table says.
//!
//! The block cache is passed by: what counts is what the disk holds. A damaged block is reported
//! and the walk goes on behind it; the sums in the properties are compared only when every block
//! could be read.

use std::cmp::Ordering;

use crate::base::blob::{BlobIndex, BlobShare};
use crate::base::checksum::key_hash;
use crate::base::error::Error;
use crate::base::key::{SeqNo, ValueKind, compare, split, trailer_kind, trailer_seq, user_key};
use crate::base::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::ranges::Fragment;
use crate::sstable::ages::Ages;
use crate::sstable::block::{Block, Entry, Restart};
use crate::sstable::format::{BlockHandle, Malformed};
use crate::sstable::properties::{Properties, note_blob};
use crate::sstable::range_block;
use crate::sstable::read_ahead::ReadAhead;
use crate::sstable::reader::{
    Table, read_dictionary, read_filter, read_footer, read_index, read_properties,
};
use crate::sstable::separator::common_prefix;

impl Table {
    /// Reads the whole file, passes each damaged place to `report`, and returns the bytes that
    /// were found sound.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) -> u64 {
        let sound = self.verify_ends(report);
        sound + self.verify_data(report)
    }

    /// Everything behind the data blocks. That the blocks fill the file without a gap is part of
    /// what the footer and the index are checked for.
    fn verify_ends(&self, report: &mut dyn FnMut(Error)) -> u64 {
        let (file, footer) = (&self.file, &self.footer);
        let mut sound = 0;
        let mut note = |bytes: u64, checked: Result<bool, Error>, offset: u64| match checked {
            Ok(true) => sound += bytes,
            Ok(false) => {
                report(file.damaged(offset, Malformed("it was another when the table was opened")));
            }
            Err(error) => report(error),
        };
        let footer_start = footer.index.end();
        let reread = read_footer(file).map(|(_, sum)| sum == self.footer_checksum());
        note(file.length - footer_start, reread, footer_start);
        let reread = read_index(file, footer).map(|index| index.blocks() == self.index.blocks());
        note(footer.index.stored_bytes() as u64, reread, footer.index.offset);
        let reread = read_properties(file, footer.properties).map(|p| p == *self.properties());
        note(footer.properties.stored_bytes() as u64, reread, footer.properties.offset);
        if footer.ranges.is_present() {
            let reread = range_block::read(file, footer.ranges).map(|found| found == self.ranges);
            note(footer.ranges.stored_bytes() as u64, reread, footer.ranges.offset);
        }
        if footer.dictionary.is_present() {
            let reread = read_dictionary(file, footer.dictionary).map(|found| found.is_some());
            note(footer.dictionary.stored_bytes() as u64, reread, footer.dictionary.offset);
        }
        if footer.filter.is_present() {
            let reread = read_filter(file, footer.filter).map(|filter| filter.is_some());
            note(footer.filter.stored_bytes() as u64, reread, footer.filter.offset);
        }
        sound
    }

    fn verify_data(&self, report: &mut dyn FnMut(Error)) -> u64 {
        let mut ahead = ReadAhead::sequential();
        let mut walk = Walk::new(self);
        let (mut sound, mut whole) = (0, true);
        for position in 0..self.index.blocks() {
            let handle = self.index.handle(position);
            match self.verify_block(&mut ahead, &mut walk, position, handle) {
                Ok(()) => sound += handle.stored_bytes() as u64,
                Err(error) => {
                    whole = false;
                    report(error);
                }
            }
        }
        match self.longest_end_bytes() {
            Ok(bytes) => walk.largest_block_bytes = walk.largest_block_bytes.max(bytes),
            // It was reported with the ends.
            Err(_) => whole = false,
        }
        if whole && !walk.agrees_with(self.properties()) {
            let detail = Malformed("the properties are not those of the entries");
            report(self.file.damaged(self.footer.properties.offset, detail));
        }
        sound
    }

    /// The contents of the index block or of that of the range tombstones, whichever are longer.
    fn longest_end_bytes(&self) -> Result<u64, Error> {
        let index = self.file.read_block(self.footer.index)?.len();
        let ranges = match self.footer.ranges {
            ranges if ranges.is_present() => self.file.read_block(ranges)?.len(),
            _ => 0,
        };
        Ok(index.max(ranges) as u64)
    }

    fn verify_block(
        &self,
        ahead: &mut ReadAhead,
        walk: &mut Walk<'_>,
        position: usize,
        handle: BlockHandle,
    ) -> Result<(), Error> {
        let contents = ahead
            .stored(&self.file, handle, self.footer.data_end(), true)
            .and_then(|stored| self.file.open_block(handle, stored))
            .or_else(|_| self.file.reread_block(handle))?;
        walk.largest_block_bytes = walk.largest_block_bytes.max(contents.len() as u64);
        Block::from_disk(contents)
            .and_then(|block| walk.block(&block, position))
            .map_err(|malformed| self.file.damaged(handle.offset, malformed))
    }
}

/// What the entries themselves say, as they pass in order.
struct Walk<'a> {
    table: &'a Table,
    first: Vec<u8>,
    /// The entry before, over the borders of blocks. Empty before the first.
    last: Vec<u8>,
    key: Vec<u8>,
    entries: u64,
    tombstones: u64,
    key_bytes: u64,
    value_bytes: u64,
    smallest_seq: SeqNo,
    largest_seq: SeqNo,
    largest_block_bytes: u64,
    ages: Ages,
    blobs: Vec<BlobShare>,
}

impl Walk<'_> {
    fn new(table: &Table) -> Walk<'_> {
        Walk {
            table,
            first: Vec::new(),
            last: Vec::new(),
            key: Vec::new(),
            entries: 0,
            tombstones: 0,
            key_bytes: 0,
            value_bytes: 0,
            smallest_seq: SeqNo::MAX,
            largest_seq: SeqNo::ZERO,
            largest_block_bytes: 0,
            ages: Ages::default(),
            blobs: Vec::new(),
        }
    }

    /// Takes in the block at `position` of the index.
    fn block(&mut self, block: &Block, position: usize) -> Result<(), Malformed> {
        let entries = block.entries();
        let (mut at, mut value_start, mut restart) = (0, 0, 0);
        self.key.clear();
        while at < entries.len() {
            let entry = Entry::decode(entries, at)?;
            let is_restart =
                restart < block.restarts() && block.restart(restart) == Restart { at, value_start };
            restart += usize::from(is_restart);
            self.rebuild_key(entries, entry, is_restart)?;
            let trailer = entry.trailer(entries)?;
            let value_end = block.value_end(value_start, entry.value_bytes)?;
            self.entry(trailer, &block.values()[value_start..value_end])?;
            at = entry.end;
            value_start = value_end;
        }
        if restart != block.restarts() || value_start != block.values().len() {
            return Err(Malformed("a restart point names no entry, or a value has none"));
        }
        let index = &self.table.index;
        if compare(&self.last, index.key(position)) == Ordering::Greater {
            return Err(Malformed("the block's last key is behind its separator"));
        }
        let below = |separator: &[u8]| {
            let first = Entry::decode(entries, 0)?;
            Ok(compare(separator, first.suffix(entries)) == Ordering::Less)
        };
        if position > 0 && !below(index.key(position - 1))? {
            return Err(Malformed("the block's first key is before the separator before it"));
        }
        Ok(())
    }

    /// Puts the entry's key together, and checks that it shares with the one before what it should.
    fn rebuild_key(
        &mut self,
        entries: &[u8],
        entry: Entry,
        is_restart: bool,
    ) -> Result<(), Malformed> {
        let rest = entry.suffix(entries);
        let common = if self.key.is_empty() || is_restart {
            0
        } else {
            let before = user_key(&self.key);
            let shared = before
                .get(..entry.shared)
                .ok_or(Malformed("an entry shares more than the key before it has"))?;
            shared.len() + common_prefix(&before[entry.shared..], user_key(rest))
        };
        if entry.shared != common {
            return Err(Malformed("an entry does not share its key's whole front"));
        }
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(rest);
        Ok(())
    }

    /// Takes in the entry whose key is put together.
    fn entry(&mut self, trailer: u64, value: &[u8]) -> Result<(), Malformed> {
        let (user_key, _) = split(&self.key);
        let value_bytes = value.len();
        if user_key.len() > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(Malformed("a key or value over its limit"));
        }
        let seq = trailer_seq(trailer);
        let kind = trailer_kind(trailer).ok_or(Malformed("an entry of an unknown kind"))?;
        if kind == ValueKind::Delete {
            self.tombstones += 1;
            if value_bytes > 0 {
                return Err(Malformed("a tombstone with a value"));
            }
        }
        if kind.is_blob() {
            if BlobIndex::of_entry(kind, value).is_none() {
                return Err(Malformed(
                    "an entry whose value lies in a blob file, and says not where",
                ));
            }
            note_blob(&mut self.blobs, kind, value);
        }
        self.ages.note(kind, seq, value);
        self.entries += 1;
        self.key_bytes += user_key.len() as u64;
        self.value_bytes += value_bytes as u64;
        self.smallest_seq = self.smallest_seq.min(seq);
        self.largest_seq = self.largest_seq.max(seq);
        if let Some(filter) = &self.table.filter
            && !filter.may_contain(key_hash(user_key))
        {
            return Err(Malformed("the filter denies a key that is there"));
        }
        let extractor = self.table.properties().prefix_extractor;
        if let Some((extractor, prefix)) = extractor.and_then(|e| Some((e, e.prefix(user_key)?)))
            && self.table.may_hold_prefix(extractor, prefix) == Some(false)
        {
            return Err(Malformed("the filter denies a prefix that is there"));
        }
        if self.last.is_empty() {
            self.first.clone_from(&self.key);
        } else if compare(&self.last, &self.key) != Ordering::Less {
            return Err(Malformed("the entries are out of order"));
        }
        self.last.clone_from(&self.key);
        Ok(())
    }

    fn agrees_with(&self, properties: &Properties) -> bool {
        let ranges = &self.table.ranges;
        let (smallest, largest) = range_block::bounds(&self.first, &self.last, ranges);
        let range_seqs = || ranges.iter().flat_map(Fragment::seqs);
        let smallest_seq = range_seqs().chain([self.smallest_seq]).min();
        let largest_seq = range_seqs().chain([self.largest_seq]).max();
        let mut ages = self.ages;
        range_seqs().for_each(|seq| ages.note_tombstone(seq));
        self.entries == properties.entries
            && self.tombstones == properties.tombstones
            && self.key_bytes == properties.key_bytes
            && self.value_bytes == properties.value_bytes
            && ranges.tombstones() == properties.range_tombstones
            && smallest_seq == Some(properties.smallest_seq)
            && largest_seq == Some(properties.largest_seq)
            && smallest == properties.smallest
            && largest == properties.largest
            && self.largest_block_bytes == properties.largest_block_bytes
            && ages == properties.ages
            && self.blobs == properties.blobs
    }
}
