//! Writes a table: entries in order in, a complete and synced file out.
//!
//! Blocks follow one another in the file as they fill; what must be known of all of them (index,
//! filter, properties) is collected and written behind them. An index entry is written one block
//! late, when the next block's first key is known and a short separator can be chosen. The last
//! block's separator is its last key itself: a shorter one would spoil the prefix that all
//! separators have in common, which readers search without.
//!
//! With [`Codec::ZstdDictionary`] the first blocks wait in memory until a dictionary is trained
//! from them; their index entries wait with them.
//!
//! An entry as large as a whole block stands alone in one, so that reading its neighbours does not
//! mean reading it.
//!
//! One owner. After a failed append the file is left alone and every later call returns the same
//! error.
//!
//! Whole pieces in whole places are for the readers: a system that caches files in pages of many
//! sizes makes large ones of them, and finds the bytes of a large page sooner. Linux 6.18 with
//! `ext4` reads a random block of 4 KiB in three quarters of the time.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::base::blob::{BlobIndex, BlobShare};
use crate::base::checksum::{checksum, key_hash};
use crate::base::error::{Error, Result};
use crate::base::event_time::{EventTime, EventTimes};
use crate::base::expiry::EXPIRY_BYTES;
use crate::base::file::FileNumber;
use crate::base::key::{SeqNo, TRAILER_BYTES, ValueKind, trailer_kind, trailer_seq, try_split};
use crate::base::limits::{BLOCK_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::base::planted;
use crate::env::{PieceWriter, WritableFile};
use crate::filter::{FilterBuilder, prefix_hash};
use crate::ranges::{Fragment, Fragments};
use crate::sstable::TableOptions;
use crate::sstable::ages::Ages;
use crate::sstable::block_builder::BlockBuilder;
use crate::sstable::compression::{Codec, CompressionTally, Compressor};
use crate::sstable::dictionary::{Gather, SAMPLE_BYTES_MAX};
use crate::sstable::format::{BLOCK_TRAILER_BYTES, BlockHandle, FOOTER_BYTES, Footer};
use crate::sstable::properties::{Properties, note_blob};
use crate::sstable::range_block;
use crate::sstable::separator::{common_prefix, separator};

const BLOCK_BYTES_TARGET_MAX: usize = 16 << 20;

/// What a finished table holds: what the manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableSummary {
    /// The file's number.
    pub(crate) number: FileNumber,
    /// The file's length.
    pub(crate) bytes: u64,
    /// Entries, tombstones included.
    pub(crate) entries: u64,
    /// Tombstones.
    pub(crate) tombstones: u64,
    /// Range tombstones, each counted in every fragment that it covers.
    pub(crate) range_tombstones: u64,
    /// Bytes of user keys.
    pub(crate) key_bytes: u64,
    /// Bytes of values.
    pub(crate) value_bytes: u64,
    /// The lower bound: see [`Properties::smallest`].
    pub(crate) smallest: Vec<u8>,
    /// The upper bound: see [`Properties::largest`].
    pub(crate) largest: Vec<u8>,
    /// The smallest sequence number.
    pub(crate) smallest_seq: SeqNo,
    /// The largest sequence number.
    pub(crate) largest_seq: SeqNo,
    /// Entries that have the user key of the one before them.
    pub(crate) hidden: u64,
    /// The tag of the codec that was asked for.
    pub(crate) codec: u8,
    /// The earliest and the latest event time, where they were looked at; greatest of all where
    /// keys have none.
    pub(crate) times: Option<EventTimes>,
    /// Bytes of the filter.
    pub(crate) filter_bytes: u64,
    /// What became of the data blocks when they were to be compressed.
    pub(crate) compression: CompressionTally,
    /// The checksum in the footer, by which this table is told from any other of its number.
    pub(crate) footer_checksum: u64,
    /// How old its tombstones are, and when its entries expire.
    pub(crate) ages: Ages,
    /// The blob files that it needs, ascending.
    pub(crate) blobs: Vec<BlobShare>,
}

/// Writes one table.
#[derive(Debug)]
pub(crate) struct TableWriter {
    output: Output,
    block_bytes: usize,
    block: BlockBuilder,
    compressor: Compressor,
    index: BlockBuilder,
    /// The block whose index entry waits for the next key.
    unindexed: Option<Unindexed>,
    /// The blocks that wait for a dictionary.
    gather: Option<Gather>,
    /// The dictionary, once there is one.
    dictionary: Vec<u8>,
    filter: FilterBuilder,
    /// The prefix that the filter got last.
    last_prefix_hash: Option<u64>,
    properties: Properties,
    event_time: Option<EventTime>,
    hidden: u64,
    /// The earliest and the latest event time so far.
    times: Option<EventTimes>,
    ranges: Fragments,
    /// The encoded internal key added last.
    last: Vec<u8>,
    /// Reused for separators and handles.
    scratch: Vec<u8>,
}

/// A closed block that the index does not have yet.
#[derive(Debug)]
enum Unindexed {
    /// In the file.
    Written(BlockHandle),
    /// Among those that wait for a dictionary.
    Gathered,
}

impl TableWriter {
    /// Writes table `number` to the empty `file`, called `name` in messages.
    pub(crate) fn new(
        file: Arc<dyn WritableFile>,
        number: FileNumber,
        name: String,
        options: TableOptions,
    ) -> TableWriter {
        let properties = Properties {
            entries: 0,
            tombstones: 0,
            key_bytes: 0,
            value_bytes: 0,
            data_blocks: 0,
            smallest_seq: SeqNo::MAX,
            largest_seq: SeqNo::ZERO,
            smallest: Vec::new(),
            largest: Vec::new(),
            codec: options.codec,
            column_family: options.column_family,
            ages: Ages::default(),
            range_tombstones: 0,
            largest_block_bytes: 0,
            prefix_extractor: options.prefix_extractor,
            blobs: Vec::new(),
        };
        let gathers = options.codec == Codec::ZstdDictionary;
        let gather_bytes_max = options.gather_bytes_max();
        TableWriter {
            output: Output::new(file, number, name),
            block_bytes: options.block_bytes.clamp(1, BLOCK_BYTES_TARGET_MAX),
            block: BlockBuilder::new(options.restart_interval),
            compressor: Compressor::new(options.codec, options.zstd),
            index: BlockBuilder::new(1),
            unindexed: None,
            gather: gathers.then(|| Gather::new(options.zstd, gather_bytes_max)),
            dictionary: Vec::new(),
            filter: FilterBuilder::new(options.filter_bits_per_key),
            last_prefix_hash: None,
            properties,
            event_time: options.event_time,
            hidden: 0,
            times: None,
            ranges: Fragments::default(),
            last: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Appends an entry, which must be behind all before it.
    pub(crate) fn add(&mut self, internal_key: &[u8], value: &[u8]) -> Result<()> {
        self.output.check()?;
        let (user_key, trailer) =
            try_split(internal_key).ok_or_else(|| Error::invalid("a key without a trailer"))?;
        let kind = check_entry(user_key, trailer, value)?;
        let (common, new_user_key) = self.check_order(user_key, trailer)?;

        let entry_bytes = internal_key.len() + value.len();
        if entry_bytes >= self.block_bytes && !self.block.is_empty() {
            self.close_block()?;
        }
        if let Some(block) = self.unindexed.take() {
            self.scratch.clear();
            separator(&self.last, internal_key, &mut self.scratch);
            self.index_block(&block);
        }
        if new_user_key {
            let whole = planted::is("filter-of-internal-keys");
            self.filter.add_hash(key_hash(if whole { internal_key } else { user_key }));
            if let Some(event_time) = self.event_time {
                let time = event_time.of(user_key).unwrap_or(u64::MAX);
                let none =
                    EventTimes { first_ms: time, last_ms: time, source: event_time.source() };
                let so_far = self.times.get_or_insert(none);
                so_far.first_ms = so_far.first_ms.min(time);
                so_far.last_ms = so_far.last_ms.max(time);
            }
            self.filter_prefix(user_key);
        }
        self.hidden += u64::from(!new_user_key);
        self.block.add(common, internal_key, value);
        self.note(kind, internal_key, value, trailer_seq(trailer));
        if self.block.bytes() >= self.block_bytes {
            self.close_block()?;
        }
        Ok(())
    }

    /// Adds a piece of the key space that range tombstones cover, behind all such before it. May
    /// come at any time, before or behind entries.
    pub(crate) fn add_range(&mut self, fragment: &Fragment) -> Result<()> {
        self.output.check()?;
        let seqs: Vec<SeqNo> = fragment.seqs().collect();
        let fits = fragment.start().len().max(fragment.end().len()) <= KEY_BYTES_MAX;
        if !fits || !self.ranges.push(fragment.start(), fragment.end(), &seqs) {
            let detail = "the range tombstones of a table must be added in ascending order";
            return Err(Error::invalid(detail));
        }
        for seq in seqs {
            self.properties.smallest_seq = self.properties.smallest_seq.min(seq);
            self.properties.largest_seq = self.properties.largest_seq.max(seq);
            self.properties.ages.note_tombstone(seq);
        }
        Ok(())
    }

    /// Holds a key against the one before: how much they share, and whether the user key is new.
    #[inline]
    fn check_order(&self, user_key: &[u8], trailer: u64) -> Result<(usize, bool)> {
        let Some((last_user_key, last_trailer)) = try_split(&self.last) else {
            return Ok((0, true));
        };
        let common = common_prefix(last_user_key, user_key);
        let order = last_user_key.get(common).cmp(&user_key.get(common));
        match order {
            Ordering::Less => Ok((common, true)),
            Ordering::Equal if last_trailer > trailer => Ok((common, false)),
            _ => Err(Error::invalid("the keys of a table must be added in ascending order")),
        }
    }

    #[inline]
    fn note(&mut self, kind: ValueKind, internal_key: &[u8], value: &[u8], seq: SeqNo) {
        let properties = &mut self.properties;
        if properties.entries == 0 {
            properties.smallest = internal_key.to_vec();
        }
        properties.entries += 1;
        properties.tombstones += u64::from(kind == ValueKind::Delete);
        properties.key_bytes += (internal_key.len() - TRAILER_BYTES) as u64;
        properties.value_bytes += value.len() as u64;
        properties.smallest_seq = properties.smallest_seq.min(seq);
        properties.largest_seq = properties.largest_seq.max(seq);
        properties.ages.note(kind, seq, value);
        if kind.is_blob() {
            note_blob(&mut properties.blobs, kind, value);
        }
        self.last.clear();
        self.last.extend_from_slice(internal_key);
    }

    /// Adds the prefix of a key to the filter, unless it is that of the key before.
    #[inline]
    fn filter_prefix(&mut self, user_key: &[u8]) {
        let extractor = self.properties.prefix_extractor;
        let Some(prefix) = extractor.and_then(|extractor| extractor.prefix(user_key)) else {
            return;
        };
        let hash = prefix_hash(prefix);
        if self.last_prefix_hash != Some(hash) {
            self.filter.add_hash(hash);
            self.last_prefix_hash = Some(hash);
        }
    }

    fn close_block(&mut self) -> Result<()> {
        let is_sample = self.block.bytes() <= SAMPLE_BYTES_MAX;
        if !is_sample {
            self.write_before_large()?;
        }
        let contents = self.block.finish();
        self.properties.data_blocks += 1;
        let bytes = contents.len() as u64;
        self.properties.largest_block_bytes = self.properties.largest_block_bytes.max(bytes);
        if let Some(gather) = self.gather.as_mut().filter(|_| is_sample) {
            gather.block(contents);
            let full = gather.is_full();
            self.block.clear();
            self.unindexed = Some(Unindexed::Gathered);
            return if full { self.write_gathered() } else { Ok(()) };
        }
        let (stored, codec) = self.compressor.compress(contents);
        let handle = self.output.block(stored, codec)?;
        self.block.clear();
        self.unindexed = Some(Unindexed::Written(handle));
        Ok(())
    }

    /// Writes what waits before a block that is no sample. Where that is too little for a
    /// dictionary, the blocks behind may do.
    fn write_before_large(&mut self) -> Result<()> {
        let Some(next) = self.gather.as_ref().map(Gather::emptied) else { return Ok(()) };
        self.write_gathered()?;
        if self.dictionary.is_empty() {
            self.gather = Some(next);
        }
        Ok(())
    }

    /// Trains a dictionary from the blocks that wait, if there are any, and writes them.
    fn write_gathered(&mut self) -> Result<()> {
        let Some(gather) = self.gather.take() else { return Ok(()) };
        if let Some(dictionary) = gather.train() {
            self.compressor.use_dictionary(&dictionary);
            self.dictionary = dictionary;
        }
        let mut contents = Vec::new();
        for (block, separator) in gather.blocks() {
            contents.clear();
            contents.extend_from_slice(block);
            let (stored, codec) = self.compressor.compress(&mut contents);
            let block = Unindexed::Written(self.output.block(stored, codec)?);
            match separator {
                Some(separator) => {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(separator);
                    self.index_block(&block);
                }
                None => self.unindexed = Some(block),
            }
        }
        Ok(())
    }

    /// Adds the index entry of a block, whose separator is in `scratch`, or lets it wait with the
    /// block.
    fn index_block(&mut self, block: &Unindexed) {
        let handle = match (block, &mut self.gather) {
            (Unindexed::Written(handle), _) => handle,
            (Unindexed::Gathered, Some(gather)) => return gather.separator(&self.scratch),
            (Unindexed::Gathered, None) => return,
        };
        let key_bytes = self.scratch.len();
        handle.encode_into(&mut self.scratch);
        let (separator, handle) = self.scratch.split_at(key_bytes);
        self.index.add(0, separator, handle);
    }

    /// About the length that the file would have if it were finished now.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        let blocks = self.block.bytes() + self.index.bytes() + self.filter.estimated_bytes();
        let open = blocks + self.ranges.stored_bytes();
        let rest = 4 * BLOCK_TRAILER_BYTES + 2 * self.last.len() + FOOTER_BYTES;
        let waiting = self.gather.as_ref().map_or(self.dictionary.len(), Gather::bytes);
        self.output.offset() + (open + rest + waiting) as u64
    }

    /// Entries added so far.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> u64 {
        self.properties.entries
    }

    /// The user key added last; `None` before the first.
    #[cfg(test)]
    pub(crate) fn last_user_key(&self) -> Option<&[u8]> {
        try_split(&self.last).map(|(user_key, _)| user_key)
    }

    /// Writes what is left and syncs the file (not its name in the directory). A table without
    /// entries and range tombstones is refused.
    pub(crate) fn finish(mut self) -> Result<TableSummary> {
        self.output.check()?;
        if self.properties.entries == 0 && self.ranges.is_empty() {
            return Err(Error::invalid("a table must hold one entry or range tombstone at least"));
        }
        if !self.block.is_empty() {
            self.close_block()?;
        }
        self.write_gathered()?;
        if let Some(block) = self.unindexed.take() {
            self.scratch.clear();
            self.scratch.extend_from_slice(&self.last);
            self.index_block(&block);
        }
        let index_bytes = self.index.bytes() as u64;
        self.properties.largest_block_bytes = self.properties.largest_block_bytes.max(index_bytes);
        if self.index.bytes() > BLOCK_BYTES_MAX {
            return Err(Error::invalid("a table of so many blocks: its index would be too large"));
        }
        let (smallest, largest) =
            range_block::bounds(&self.properties.smallest, &self.last, &self.ranges);
        (self.properties.smallest, self.properties.largest) = (smallest, largest);
        self.properties.range_tombstones = self.ranges.tombstones();
        let mut ranges = range_block(&self.ranges)?;
        let largest = self.properties.largest_block_bytes.max(ranges.len() as u64);
        self.properties.largest_block_bytes = largest;
        let dictionary = self.output.plain_block(std::mem::take(&mut self.dictionary))?;
        let filter = self.output.plain_block(self.filter.finish())?;
        let compression = self.compressor.tally();
        let ranges = if ranges.is_empty() {
            BlockHandle::ABSENT
        } else {
            let (stored, codec) = self.compressor.compress_index(&mut ranges);
            self.output.block(stored, codec)?
        };
        let properties = self.output.plain_block(self.properties.encode())?;
        let (stored, codec) = self.compressor.compress_index(self.index.finish());
        let index = self.output.block(stored, codec)?;
        let footer = Footer { index, filter, ranges, properties, dictionary };
        let footer_checksum = self.output.footer(footer)?;
        if !planted::is("table-not-synced") {
            self.output.sync()?;
        }
        let filter_bytes = footer.filter.length;
        let summary = summarize(self.properties, &self.output, footer_checksum);
        let (hidden, times) = (self.hidden, self.times);
        Ok(TableSummary { hidden, times, filter_bytes, compression, ..summary })
    }
}

/// The block of the range tombstones, not compressed; empty where there are none.
fn range_block(ranges: &Fragments) -> Result<Vec<u8>> {
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let mut block = range_block::build(ranges);
    if block.bytes() > BLOCK_BYTES_MAX {
        return Err(Error::invalid("a table of so many range tombstones"));
    }
    Ok(std::mem::take(block.finish()))
}

/// Refuses what no reader would accept.
#[inline]
fn check_entry(user_key: &[u8], trailer: u64, value: &[u8]) -> Result<ValueKind> {
    let kind = trailer_kind(trailer).ok_or_else(|| Error::invalid("an unknown kind of write"))?;
    if user_key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(Error::invalid("a key or value over its limit"));
    }
    if kind == ValueKind::Delete && !value.is_empty() {
        return Err(Error::invalid("a tombstone with a value"));
    }
    if kind == ValueKind::PutExpiring && value.len() < EXPIRY_BYTES {
        return Err(Error::invalid("a value that expires, and says not when"));
    }
    if kind.is_blob() && BlobIndex::of_entry(kind, value).is_none() {
        return Err(Error::invalid("an entry whose value lies in a blob file, and says not where"));
    }
    Ok(kind)
}

fn summarize(properties: Properties, output: &Output, footer_checksum: u64) -> TableSummary {
    TableSummary {
        number: output.number,
        bytes: output.offset(),
        entries: properties.entries,
        tombstones: properties.tombstones,
        range_tombstones: properties.range_tombstones,
        key_bytes: properties.key_bytes,
        value_bytes: properties.value_bytes,
        smallest: properties.smallest,
        largest: properties.largest,
        smallest_seq: properties.smallest_seq,
        largest_seq: properties.largest_seq,
        hidden: 0,
        codec: properties.codec.tag(),
        times: None,
        footer_checksum,
        ages: properties.ages,
        blobs: properties.blobs,
        filter_bytes: 0,
        compression: CompressionTally::default(),
    }
}

/// The file being written.
#[derive(Debug)]
struct Output {
    number: FileNumber,
    pieces: PieceWriter,
}

impl Output {
    fn new(file: Arc<dyn WritableFile>, number: FileNumber, name: String) -> Output {
        Output { number, pieces: PieceWriter::new(file, name) }
    }

    /// Fails once an append or sync has failed.
    #[inline]
    fn check(&self) -> Result<()> {
        self.pieces.check()
    }

    /// The length of the file, what is buffered included.
    fn offset(&self) -> u64 {
        self.pieces.offset()
    }

    /// Writes a block; its trailer is appended to `stored` on the way.
    fn block(&mut self, stored: &mut Vec<u8>, codec: Codec) -> Result<BlockHandle> {
        let handle = BlockHandle { offset: self.offset(), length: stored.len() as u64 };
        stored.push(codec.tag());
        let sum = checksum(stored, self.number.0, handle.offset);
        stored.extend_from_slice(&sum.to_le_bytes());
        self.pieces.push(stored)?;
        Ok(handle)
    }

    /// Writes a block that is not compressed; none where there are no bytes.
    fn plain_block(&mut self, mut contents: Vec<u8>) -> Result<BlockHandle> {
        if contents.is_empty() {
            return Ok(BlockHandle::ABSENT);
        }
        self.block(&mut contents, Codec::None)
    }

    /// Writes the footer; returns the checksum in it.
    fn footer(&mut self, footer: Footer) -> Result<u64> {
        let (bytes, sum) = footer.encode(self.number, self.offset());
        self.pieces.push(&bytes)?;
        self.pieces.append_buffered()?;
        Ok(sum)
    }

    fn sync(&mut self) -> Result<()> {
        self.pieces.sync()
    }
}
