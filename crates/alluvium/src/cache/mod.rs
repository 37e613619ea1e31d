//! Floor 1: the block cache: contents of table blocks, uncompressed and checked, in memory.
//!
//! One for the whole store, bounded by the bytes that it holds. A block is named by its file's
//! number and its offset; numbers are never given out again. The blocks of a removed file go with
//! it: nobody asks for them, and a full cache takes in nothing that a long scan reads, so that they
//! would stay where nothing but scans is done.
//!
//! What stays is decided by `quick_cache` (the S3-FIFO family): a block seen once, as by a long
//! scan, does not push out one that is seen again and again. Shards keep threads apart. A block
//! larger than a shard is not kept.
//!
//! To take a block in and let another go for it costs as much as reading one from the system's
//! memory does. So a full cache takes in what has been asked for before, not long ago
//! ([`BlockCache::wants`]): of reads all over a store that is larger than the cache most are of
//! blocks that would be gone before anybody asked again, and whoever reads such a block needs no
//! memory of its own for it.
//!
//! Tables reach their blocks the short way, past the hash table (`slots.rs`).
//!
//! The cache trusts what is put in: a block is verified as it leaves the disk, never again here.

mod slots;

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use crate::base::file::FileNumber;
use crate::base::planted;
use crate::base::sync::tally::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use crate::base::sync::{Look, Mutex};
pub(crate) use slots::BlockSlots;
use slots::{Held, Kept, Told};

/// What a cached block costs beside its bytes: the cache's own entry, what a slot leads to,
/// reference counts and the allocator's rounding.
const ENTRY_OVERHEAD_BYTES: u64 = 192;
/// One part in so many of the capacity is free in a cache that counts as full: its shards do not
/// fill alike.
const FULL_BUT_FOR: u64 = 32;
/// A long scan leaves one part in so many of what it reads in a full cache. Odd, so that it is
/// another part each time.
const SAMPLED: usize = 17;
/// As many blocks are looked at for each removed file, at most: in a large cache, files are
/// gathered before their blocks are hunted down.
const LOOKS_A_FILE: usize = 1 << 16;
/// Most blocks of a shard, about, as whoever looks at all of its blocks holds its lock.
const SHARD_BLOCKS: usize = 1 << 13;
/// Fewer shards than this are as many as the cache chooses itself.
const SHARDS_OWN: usize = 256;
/// Most places to remember misses in: those of a cache of 16 GiB, in 8 MiB.
const MISSED_MAX: usize = 1 << 22;
/// The block size from which the number of blocks, and so of shards, is guessed.
const TYPICAL_BLOCK_BYTES: usize = 4096;

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    file: u64,
    offset: u64,
}

impl Place {
    #[inline]
    fn new(file: FileNumber, offset: u64) -> Place {
        Place { file: if planted::is("cache-key-without-file") { 0 } else { file.0 }, offset }
    }
}

/// Blocks in memory, by their place.
#[derive(Debug)]
pub(crate) struct BlockCache {
    /// `None` when the capacity is 0.
    blocks: Option<Cache<Place, Kept, WeighBlock, BuildPlaceHasher, LetGoLater>>,
    /// Whether a block that comes in is likely to drive others out: looked up now and then.
    full: AtomicBool,
    inserted: AtomicUsize,
    /// What was missed when the cache was full: a mark of the last such block in each of as many
    /// places as blocks find room, about. Zero where there is none.
    missed: Box<[AtomicU16]>,
    /// Removed files that may have blocks here.
    removed: Mutex<Vec<FileNumber>>,
    /// How often a long scan asked whether to keep what it read.
    asked: AtomicUsize,
}

impl BlockCache {
    /// A cache of `capacity_bytes`; with 0 it keeps nothing.
    pub(crate) fn new(capacity_bytes: usize) -> BlockCache {
        let blocks = capacity_bytes / TYPICAL_BLOCK_BYTES;
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(blocks).weight_capacity(capacity_bytes as u64);
        if blocks / SHARD_BLOCKS > SHARDS_OWN {
            options.shards(blocks / SHARD_BLOCKS);
        }
        let blocks = match options.build() {
            Ok(options) if capacity_bytes > 0 => {
                Some(Cache::with_options(options, WeighBlock, BuildPlaceHasher, LetGoLater))
            }
            _ => None,
        };
        let places = if blocks.is_some() { capacity_bytes / TYPICAL_BLOCK_BYTES } else { 0 };
        let places = places.min(MISSED_MAX);
        let cache = BlockCache {
            blocks,
            full: AtomicBool::new(false),
            inserted: AtomicUsize::new(0),
            missed: (0..places.next_power_of_two()).map(|_| AtomicU16::new(0)).collect(),
            removed: Mutex::default(),
            asked: AtomicUsize::new(0),
        };
        cache.note_fill();
        cache
    }

    /// The block at `offset` of `file`.
    #[inline]
    pub(crate) fn get(&self, file: FileNumber, offset: u64) -> Option<Bytes> {
        let kept = self.blocks.as_ref()?.get(&Place::new(file, offset))?;
        Some(kept.held().lend())
    }

    /// Block `position` of an open table, whose file is `file`.
    #[inline]
    pub(crate) fn get_block(
        &self,
        slots: &Arc<BlockSlots>,
        position: usize,
        file: FileNumber,
    ) -> Option<Bytes> {
        match slots.get(position) {
            Look::Found((block, told)) => {
                if told == Told::Always || told == Told::Full && self.is_full() {
                    self.note_use(Place::new(file, slots.ends(position).0));
                }
                Some(block)
            }
            Look::Empty if slots.lead_to_all() => None,
            Look::Empty => self.adopt_block(slots, position, file),
            Look::Busy => self.get(file, slots.ends(position).0),
        }
    }

    /// The same where no slot leads to a block that may be there: from now on one does.
    #[inline(never)]
    fn adopt_block(
        &self,
        slots: &Arc<BlockSlots>,
        position: usize,
        file: FileNumber,
    ) -> Option<Bytes> {
        let blocks = self.blocks.as_ref()?;
        let place = Place::new(file, slots.ends(position).0);
        let kept = blocks.get(&place)?;
        let block = kept.held().lend();
        // Two openings of a table would take it from each other.
        if !kept.led_to() {
            let held = Held::new(block.clone(), kept.held().first_look());
            // Nothing comes back that went meanwhile, nor does this count as a use.
            drop(blocks.replace(place, Kept::at(slots, position, held), true));
        }
        Some(block)
    }

    /// Lets what decides about what stays know that a block was used.
    #[inline(never)]
    fn note_use(&self, place: Place) {
        if let Some(blocks) = &self.blocks {
            drop(blocks.get(&place));
        }
    }

    /// Keeps `block`, perhaps, and lets others go for it. The memory behind `block` should be its
    /// own: a slice of something larger keeps all of that alive, unaccounted.
    pub(crate) fn insert(&self, file: FileNumber, offset: u64, block: Bytes) {
        self.keep(Place::new(file, offset), || Kept::alone(Held::new(block, 0)));
    }

    /// The same for block `position` of an open table, whose file is `file`. `first_look` is where
    /// in the block a reader is likely to look first, beside its end.
    pub(crate) fn insert_block(
        &self,
        slots: &Arc<BlockSlots>,
        position: usize,
        file: FileNumber,
        block: Bytes,
        first_look: usize,
    ) {
        let first_look = u32::try_from(first_look).unwrap_or(0);
        let place = Place::new(file, slots.ends(position).0);
        self.keep(place, || Kept::at(slots, position, Held::new(block, first_look)));
    }

    fn keep(&self, place: Place, kept: impl FnOnce() -> Kept) {
        if let Some(blocks) = &self.blocks {
            blocks.insert(place, kept());
            // The answer takes a look at every shard.
            let inserted = self.inserted.fetch_add(1, Ordering::Relaxed);
            if inserted.is_multiple_of(blocks.num_shards()) {
                self.note_fill();
            }
        }
    }

    /// Whether a block that comes in now is likely to drive others out, about.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Finds out whether the cache is full.
    fn note_fill(&self) {
        let full = self.blocks.as_ref().is_none_or(|blocks| {
            let capacity = blocks.capacity();
            // In each shard there may be no room for another block, and nearly room for one.
            let ends = (blocks.num_shards() * TYPICAL_BLOCK_BYTES) as u64;
            blocks.weight().saturating_add(ends) >= capacity - capacity / FULL_BUT_FOR
        });
        self.full.store(full, Ordering::Relaxed);
    }

    /// Whether to keep the block at `offset` of `file`, which somebody asked for and which is not
    /// here: always while there is room, in a full cache if it was missed before, about as many
    /// misses ago as there are blocks, at the most.
    #[inline]
    pub(crate) fn wants(&self, file: FileNumber, offset: u64) -> bool {
        if self.blocks.is_none() || !self.is_full() {
            return self.blocks.is_some();
        }
        let hash = BuildPlaceHasher.hash_one(Place::new(file, offset));
        let mark = (hash >> 48) as u16 | 1;
        let missed = &self.missed[hash as usize & (self.missed.len() - 1)];
        // Two threads at the same place may undo each other's marks, which costs a miss.
        let is_known = missed.load(Ordering::Relaxed) == mark;
        if !is_known {
            missed.store(mark, Ordering::Relaxed);
        }
        is_known
    }

    /// Whether to keep some of what a long scan reads though the cache is full: one answer in
    /// [`SAMPLED`]. Where the same is scanned again and again, and nothing else is read, it shall
    /// be here in the end.
    pub(crate) fn samples(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED)
    }

    /// Lets go of every block of `files`, which were removed: at once or, as that takes a look at
    /// every block that is kept, with those that come after them.
    pub(crate) fn forget(&self, files: &[FileNumber]) {
        let Some(blocks) = self.blocks.as_ref().filter(|_| !files.is_empty()) else { return };
        let mut removed = {
            let mut gathered = self.removed.lock();
            gathered.extend_from_slice(files);
            if gathered.len().saturating_mul(LOOKS_A_FILE) < blocks.len() {
                return;
            }
            std::mem::take(&mut *gathered)
        };
        removed.sort_unstable();
        blocks.retain(|place, _| removed.binary_search(&FileNumber(place.file)).is_err());
        self.note_fill();
    }

    /// Holds at most `capacity_bytes` from now on. A cache that was made with 0 stays without
    /// blocks.
    pub(crate) fn set_capacity(&self, capacity_bytes: usize) {
        if let Some(blocks) = &self.blocks {
            blocks.set_capacity(capacity_bytes as u64);
            self.note_fill();
        }
    }

    /// The memory held, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.as_ref().map_or(0, Cache::weight)
    }
}

#[derive(Debug, Clone)]
struct WeighBlock;

impl Weighter<Place, Kept> for WeighBlock {
    #[inline]
    fn weight(&self, _place: &Place, kept: &Kept) -> u64 {
        kept.held().bytes() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

/// What goes is let go of when the shard's lock is free again.
#[derive(Debug, Clone)]
struct LetGoLater;

impl Lifecycle<Place, Kept> for LetGoLater {
    type RequestState = SmallVec<[Kept; 2]>;

    #[inline]
    fn on_evict(&self, gone: &mut Self::RequestState, _place: Place, kept: Kept) {
        gone.push(kept);
    }
}

/// Places are made by the engine, never by a stranger: two multiplications do in place of a keyed
/// hash.
#[derive(Debug, Clone, Copy)]
struct BuildPlaceHasher;

impl BuildHasher for BuildPlaceHasher {
    type Hasher = PlaceHasher;

    #[inline]
    fn build_hasher(&self) -> PlaceHasher {
        PlaceHasher(0)
    }
}

struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(29) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The product's upper bits are its good ones; the cache takes its shard and its slot from
        // different ends.
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
        folded ^ (folded >> 29)
    }
}

#[cfg(test)]
mod tests;
