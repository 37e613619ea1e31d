//! RocksDB 11.8.1, through the crate `rocksdb` 0.25.0: the tree that most others are held against.
//!
//! What its headers and its wiki say ("Setup Options and Basic Tuning", "RocksDB Tuning Guide",
//! "Block Cache", "BlobDB"), and what follows from it:
//!
//! - **Build.** Its INSTALL.md compiles for the processor at hand by default: so does the
//!   workspace (`CXXFLAGS` in `.cargo/config.toml`). Of its codecs only LZ4 is built.
//! - **Durability.** `Os` is the default: every write goes to the log and to the operating system.
//!   `Disk` is `WriteOptions::sync`. `Buffered` is `manual_wal_flush`, which keeps the log in the
//!   memory of the process.
//! - **Memory.** Cache and `write_buffer_size` have the bytes that all engines get. Four memtables
//!   can be full or filled at full speed, as in Alluvium and fjall: with its default of two,
//!   writers wait whenever a flush takes longer than filling the next one, and the tuning guide
//!   advises more. `max_write_buffer_number` is five for that: with four, writers would be slowed
//!   to `delayed_write_rate` (16 MiB/s) while they fill the fourth, because above three it slows
//!   them in the last one that it allows (`advanced_options.h`, `column_family.cc`). The cache is a
//!   `HyperClockCache`, which its header recommends over the LRU cache. Index and filter blocks
//!   stay on the heap beside the cache, its default: faster than having them in the cache, as the
//!   wiki's basic set does to bound memory.
//! - **Filters.** 10 bits a key, whole keys. Format version 7, the latest.
//! - **Blocks** of 4 KiB, its default and that of the others here. The basic set has 16 KiB, which
//!   saves index memory and costs point lookups.
//! - **Codec.** One on every level, or none, as on all sides.
//! - **Background.** `max_background_jobs` is one more than there are cores, and four at least: a
//!   flush and three compactions at a time, of which it uses one until it falls behind. (Its
//!   default is two, one of each. The basic set has six, whatever the machine: on two cores that
//!   was no faster, 3 to 9 % slower in `overwrite`.) `max_subcompactions` 2, so that a large
//!   compaction, that of level 0 above all, is shared by two threads, as Alluvium's are.
//!   `bytes_per_sync` 1 MiB, from the basic set. Leveled compaction, dynamic level sizes and
//!   `MinOverlappingRatio` are defaults since. No direct I/O: off by default, and the wiki advises
//!   to try it, not to set it.
//! - **Calls.** Lookups use `get_pinned`, which copies nothing, and options that are made once.
//!   Walks use a new raw iterator each, and its keys and values where they lie; the crate takes
//!   options for an iterator by value, so that each has new ones: an allocation of some fifty
//!   nanoseconds.
//! - **Settling** is `flush` and `wait_for_compact`.
//! - **`rocksdb-blob`** is the same with values from 1 KiB on in blob files, garbage collected,
//!   cached in the same cache: what its wiki advises for large values. For those, the comparison is
//!   with the better of the two.

use std::path::Path;

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WaitForCompactOptions,
    WriteBatch, WriteOptions, properties,
};

use super::{Batch, Engine, LARGE_VALUE_BYTES, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{CodecName, DurabilityName, Settings};

/// Flushes and compactions at a time, at least.
const JOBS_MIN: usize = 4;

struct RocksDb {
    database: DB,
    write_options: WriteOptions,
}

/// Opens the store in `dir`, with blob files if `blobs` says so.
pub fn open(dir: &Path, settings: &Settings, blobs: bool) -> Result<Box<dyn Engine>> {
    let mut write_options = WriteOptions::default();
    write_options.set_sync(settings.durability == DurabilityName::Disk);
    let database = DB::open(&options_of(settings, blobs), dir)?;
    Ok(Box::new(RocksDb { database, write_options }))
}

fn options_of(settings: &Settings, blobs: bool) -> Options {
    let codec = match settings.codec {
        CodecName::None => DBCompressionType::None,
        CodecName::Lz4 => DBCompressionType::Lz4,
    };
    let cache = Cache::new_hyper_clock_cache(settings.cache_bytes() as usize, 0);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    table.set_bloom_filter(10.0, false);
    table.set_format_version(7);

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = JOBS_MIN.max(cores + 1);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(settings.memtable_bytes() as usize);
    options.set_max_write_buffer_number(5);
    options.set_max_background_jobs(jobs as i32);
    options.set_max_subcompactions(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_compression_type(codec);
    options.set_manual_wal_flush(settings.durability == DurabilityName::Buffered);
    if blobs {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(LARGE_VALUE_BYTES as u64);
        options.set_enable_blob_gc(true);
        options.set_blob_compression_type(codec);
        options.set_blob_cache(&cache);
    }
    options
}

impl Engine for RocksDb {
    fn write(&self, batch: &Batch) -> Result<()> {
        if batch.len() == 1 {
            for (key, value) in batch.operations() {
                match value {
                    Some(value) => self.database.put_opt(key, value, &self.write_options)?,
                    None => self.database.delete_opt(key, &self.write_options)?,
                }
            }
            return Ok(());
        }
        let mut writes = WriteBatch::default();
        for (key, value) in batch.operations() {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        Ok(self.database.write_opt(writes, &self.write_options)?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(RocksDbReader { database: &self.database, options: ReadOptions::default() }))
    }

    fn settle(&self) -> Result<()> {
        self.database.flush()?;
        Ok(self.database.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn written_bytes(&self) -> Option<u64> {
        None
    }

    fn statistics(&self) -> String {
        let stats = self.database.property_value(properties::STATS);
        stats.ok().flatten().unwrap_or_default()
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}

struct RocksDbReader<'a> {
    database: &'a DB,
    options: ReadOptions,
}

impl Reader for RocksDbReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let value = self.database.get_pinned_opt(key, &self.options)?;
        Ok(value.map(|value| stamp_of(&value)))
    }

    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        if entries == 0 {
            return Ok(walked);
        }
        let mut iterator = self.database.raw_iterator();
        iterator.seek(key);
        while let Some((key, value)) = iterator.item() {
            walked.count(key, value);
            if walked.entries == entries {
                break;
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(walked)
    }
}
