//! An open table: point lookups, and the way to its blocks.
//!
//! Index, filter, range tombstones, properties and dictionary are in memory from [`Table::open`]
//! on; data blocks come from the block cache or the file. A lookup goes: filter (one cache line),
//! index, block, restart points, entries. It allocates nothing when the block is cached: the value
//! is a slice of the block. A block that is not, and that the cache does not want, is read into
//! memory of the thread's own, and the value is copied out of it.
//!
//! A table is immutable and shared by any number of threads; no lock is held.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::key;
use crate::base::sync::tally::{AtomicU64, Ordering};
use crate::cache::BlockCache;
use crate::env::ReadableFile;
use crate::filter::{FilterReader, PrefixExtractor, prefix_hash};
use crate::metrics::Counters;
use crate::ranges::Fragments;
use crate::sstable::block::Block;
use crate::sstable::dictionary::Dictionary;
use crate::sstable::format::{BlockHandle, FOOTER_BYTES, Footer, Malformed};
use crate::sstable::index::Index;
use crate::sstable::iter::{ReadPurpose, TableIterator};
use crate::sstable::properties::Properties;
use crate::sstable::range_block;
use crate::sstable::table_file::TableFile;

/// What the tables that one lookup asked did for it: counted apart, and added to the store's
/// counters at once. Threads share those.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    tables: u64,
    filter_useful: u64,
    filter_passed: u64,
    filter_false_positives: u64,
}

impl Lookups {
    /// Adds them to the store's.
    #[inline]
    pub(crate) fn add_to(&self, counters: &Counters) {
        let counts = [
            (self.tables, &counters.table_lookups),
            (self.filter_useful, &counters.filter_useful),
            (self.filter_passed, &counters.filter_passed),
            (self.filter_false_positives, &counters.filter_false_positives),
        ];
        for (count, counter) in counts {
            if count > 0 {
                counter.add(count);
            }
        }
    }
}

/// An open table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) file: TableFile,
    pub(super) footer: Footer,
    pub(super) index: Index,
    pub(super) filter: Option<FilterReader>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) counters: Arc<Counters>,
    properties: Properties,
    pub(super) ranges: Fragments,
    footer_checksum: u64,
    /// Tombstones that scans have stepped over: the handle's, where it has one.
    pub(super) tombstones_walked: Arc<AtomicU64>,
}

impl Table {
    /// Reads all but the data blocks of table `number`, called `name` in messages.
    pub(crate) fn open(
        file: Arc<dyn ReadableFile>,
        number: FileNumber,
        name: String,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
    ) -> Result<Table> {
        let mut file = TableFile::new(file, number, name, Arc::clone(&counters))?;
        let (footer, footer_checksum) = read_footer(&file)?;
        let properties = read_properties(&file, footer.properties)?;
        file.unpacker.block_bytes_max = properties.largest_block_bytes;
        file.unpacker.dictionary = read_dictionary(&file, footer.dictionary)?;
        let index = read_index(&file, &footer)?;
        let filter = read_filter(&file, footer.filter)?;
        let ranges = range_block::read(&file, footer.ranges)?;
        if ranges.tombstones() != properties.range_tombstones {
            let detail = Malformed("the properties count other range tombstones than there are");
            return Err(file.damaged(footer.properties.offset, detail));
        }
        if index.blocks() as u64 != properties.data_blocks {
            let detail = Malformed("the properties count other data blocks than the index has");
            return Err(file.damaged(footer.properties.offset, detail));
        }
        Ok(Table {
            file,
            footer,
            index,
            filter,
            cache,
            counters,
            properties,
            ranges,
            footer_checksum,
            tombstones_walked: Arc::default(),
        })
    }

    /// Whether nobody else opens it, or did before, with the same block cache.
    pub(super) fn set_alone(&self, alone: bool) {
        self.index.slots().set_all(alone);
    }

    /// The first entry with the user key of `lookup` at or behind it: its trailer and its value.
    /// `lookup` is an encoded internal key; `may_hold` is what [`Table::may_hold`] says of its
    /// hash, or true. With `fill_cache` a block read for this is kept. What
    /// was done is counted in `lookups`.
    pub(crate) fn get(
        &self,
        lookup: &[u8],
        may_hold: bool,
        fill_cache: bool,
        lookups: &mut Lookups,
    ) -> Result<Option<(u64, Bytes)>> {
        lookups.tables += 1;
        if self.filter.is_some() {
            if !may_hold {
                lookups.filter_useful += 1;
                return Ok(None);
            }
            lookups.filter_passed += 1;
        }
        let found = self.get_unfiltered(lookup, fill_cache)?;
        if found.is_none() && self.filter.is_some() {
            lookups.filter_false_positives += 1;
        }
        Ok(found)
    }

    /// Whether the table may hold a key of this [`crate::base::checksum::key_hash`]. Never false
    /// for one that it holds.
    #[inline]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_contain(hash))
    }

    /// Whether the table may hold a key with `prefix`, which `extractor` cut; `None` where its
    /// filter has no prefixes of that extractor to say so.
    pub(crate) fn may_hold_prefix(
        &self,
        extractor: PrefixExtractor,
        prefix: &[u8],
    ) -> Option<bool> {
        let filter = self.filter.as_ref()?;
        let is_known = self.properties.prefix_extractor == Some(extractor);
        is_known.then(|| filter.may_contain(prefix_hash(prefix)))
    }

    #[inline]
    fn get_unfiltered(&self, lookup: &[u8], fill_cache: bool) -> Result<Option<(u64, Bytes)>> {
        let (user_key, trailer) = key::split(lookup);
        let position = self.index.seek(user_key, trailer);
        if position == self.index.blocks() {
            return Ok(None);
        }
        // The entry is in this block or nowhere: a separator of the target's own user key is the
        // last key of its block, so that the next block begins with it only if this one's last
        // entry is before the target, and then the index would have led there.
        let handle = self.index.handle(position);
        let damaged = |malformed| self.file.damaged(handle.offset, malformed);
        let block = match self.cached_block(position)? {
            Some(block) => block,
            None => {
                self.counters.block_read_bytes.add(handle.stored_bytes() as u64);
                let wanted = fill_cache && self.cache.wants(self.file.number, handle.offset);
                if !wanted && self.file.lends(handle) {
                    let looked = self.file.look(handle, |contents| copy_from(contents, lookup))?;
                    return looked.map_err(damaged);
                }
                self.admit_block(position, self.file.read_block(handle)?, wanted)?
            }
        };
        match block.seek(user_key, trailer).map_err(damaged)? {
            Some(found) if found.same_user_key => {
                Ok(Some((found.trailer, block.into_value(found.value_start..found.value_end))))
            }
            _ => Ok(None),
        }
    }

    /// The range tombstones.
    #[inline]
    pub(crate) fn ranges(&self) -> &Fragments {
        &self.ranges
    }

    /// A data block from the cache, counted as hit or miss.
    #[inline]
    pub(super) fn cached_block(&self, position: usize) -> Result<Option<Block>> {
        let cached = self.cache.get_block(self.index.slots(), position, self.file.number);
        let Some(contents) = cached else {
            self.counters.cache_misses.add(1);
            return Ok(None);
        };
        self.counters.cache_hits.add(1);
        let block = Block::new(contents);
        block.map(Some).map_err(|malformed| self.damaged(position, malformed))
    }

    /// Damage in a data block.
    #[cold]
    fn damaged(&self, position: usize, malformed: Malformed) -> Error {
        self.file.damaged(self.index.handle(position).offset, malformed)
    }

    /// Takes in the contents of a data block as they left the disk.
    pub(super) fn admit_block(
        &self,
        position: usize,
        contents: Bytes,
        fill_cache: bool,
    ) -> Result<Block> {
        let block =
            Block::from_disk(contents).map_err(|malformed| self.damaged(position, malformed))?;
        if fill_cache {
            let (contents, first_look) = (block.contents(), block.first_look());
            let slots = self.index.slots();
            self.cache.insert_block(slots, position, self.file.number, contents, first_look);
        }
        Ok(block)
    }

    /// A cursor over the entries; not positioned.
    pub(crate) fn iter(self: &Arc<Self>, purpose: ReadPurpose) -> TableIterator {
        TableIterator::new(Arc::clone(self), purpose)
    }

    /// Takes note that a scan has stepped over so many tombstones of this table.
    pub(super) fn note_tombstones_walked(&self, count: u64) {
        self.tombstones_walked.fetch_add(count, Ordering::Relaxed);
    }

    /// The file's name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.file.name
    }

    /// The file's length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.length
    }

    /// What the table says of itself.
    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The checksum in the footer: it covers the places of all other parts.
    pub(crate) fn footer_checksum(&self) -> u64 {
        self.footer_checksum
    }

    /// Bytes of the filter block.
    pub(crate) fn filter_bytes(&self) -> u64 {
        self.footer.filter.length
    }

    /// Bytes of memory held, blocks in the cache not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Table>()
            + self.file.name.len()
            + self.index.memory_bytes()
            + self.filter.as_ref().map_or(0, FilterReader::memory_bytes)
            + self.ranges.memory_bytes()
            + self.file.unpacker.dictionary.as_ref().map_or(0, Dictionary::memory_bytes)
            + self.properties.smallest.len()
            + self.properties.largest.len()
    }
}

/// The entry of `lookup`'s user key in a block as it left the disk, as [`Table::get`] gives it; its
/// value in memory of its own.
fn copy_from(
    contents: &[u8],
    lookup: &[u8],
) -> std::result::Result<Option<(u64, Bytes)>, Malformed> {
    let block = Block::from_disk(contents)?;
    let (user_key, trailer) = key::split(lookup);
    let found = block.seek(user_key, trailer)?.filter(|found| found.same_user_key);
    Ok(found.map(|found| {
        let value = &block.values()[found.value_start..found.value_end];
        (found.trailer, Bytes::copy_from_slice(value))
    }))
}

/// Reads and checks the footer, a second time where the first goes wrong; also returns the
/// checksum in it.
pub(super) fn read_footer(file: &TableFile) -> Result<(Footer, u64)> {
    read_footer_once(file).or_else(|_| {
        file.note_reread();
        read_footer_once(file)
    })
}

fn read_footer_once(file: &TableFile) -> Result<(Footer, u64)> {
    let Some(offset) = file.length.checked_sub(FOOTER_BYTES as u64) else {
        return Err(Error::corruption(file.name.as_str(), 0, "the file is too short for a table"));
    };
    let mut bytes = [0; FOOTER_BYTES];
    file.read_into(offset, &mut bytes)?;
    Footer::decode(&bytes, file.number, &file.name, offset)
}

pub(super) fn read_properties(file: &TableFile, handle: BlockHandle) -> Result<Properties> {
    let contents = file.read_plain_block(handle)?;
    Properties::decode(&contents).map_err(|malformed| file.damaged(handle.offset, malformed))
}

pub(super) fn read_index(file: &TableFile, footer: &Footer) -> Result<Index> {
    let contents = file.read_block(footer.index)?;
    Block::index_from_disk(contents)
        .and_then(|block| Index::parse(&block, footer.data_end()))
        .map_err(|malformed| file.damaged(footer.index.offset, malformed))
}

pub(super) fn read_filter(file: &TableFile, handle: BlockHandle) -> Result<Option<FilterReader>> {
    if !handle.is_present() {
        return Ok(None);
    }
    match FilterReader::parse(&file.read_plain_block(handle)?) {
        Some(filter) => Ok(Some(filter)),
        None => Err(file.damaged(handle.offset, Malformed("the filter is not one that is known"))),
    }
}

pub(super) fn read_dictionary(file: &TableFile, handle: BlockHandle) -> Result<Option<Dictionary>> {
    if !handle.is_present() {
        return Ok(None);
    }
    let dictionary = Dictionary::parse(&file.read_plain_block(handle)?);
    dictionary.map(Some).map_err(|malformed| file.damaged(handle.offset, malformed))
}
