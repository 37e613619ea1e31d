//! Floor 2: tables: sorted, immutable runs of entries in a file.
//!
//! The life of a table. A flush or a compaction makes a [`TableWriter`], adds entries in the order
//! of [`crate::base::key::compare`], and finishes it: the file is complete, synced and never
//! changed again. What the writer returns, a [`TableSummary`], goes into the manifest, the footer's
//! checksum included. A reader asks the [`TableCache`] for it by its [`TableHandle`] and gets a
//! [`Table`]: index, filter and properties in memory, for point lookups and [`TableIterator`]s.
//! When no version names the table any longer, the file is removed.
//!
//! Every byte is drawn in docs/format.md ("Tables"). From the bottom up:
//!
//! - `format`: handles, block trailers, the footer. `compression`: the codecs. `dictionary`: what
//!   the blocks of a table have in common.
//! - `block`, `block_builder`, `block_iter`, `key_buffer`: entries between restart points.
//!   `separator`: keys between blocks. `properties`, `index`, `range_block`: the blocks that
//!   are kept in memory.
//! - `table_file`, `read_ahead`: blocks from a file, checked.
//! - `writer`; `reader`, `iter`, `verify`; `table_cache`.
//! - `salvage`, `remains`, `carve`: what is left of a damaged table.
//!
//! Tables, handles and caches are shared freely between threads; a writer and an iterator belong to
//! one at a time. Nothing here holds a lock while it reads a block.
//!
//! A block is checked when it leaves the disk (checksum, place, codec, lengths, restart points),
//! its entries as they are decoded. Damage is [`crate::base::error::Error::Corruption`] with the
//! file and the block's offset.

mod ages;
mod block;
mod block_builder;
mod block_iter;
mod carve;
mod compression;
mod dictionary;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod iter;
mod key_buffer;
mod prefixes;
mod properties;
mod range_block;
mod read_ahead;
mod reader;
mod remains;
mod salvage;
mod separator;
mod table_cache;
mod table_file;
mod verify;
mod writer;

use crate::base::event_time::EventTime;
use crate::batch::ColumnFamilyId;
use crate::filter::PrefixExtractor;

pub(crate) use ages::Ages;
pub use compression::{Codec, ZstdOptions};
pub(crate) use iter::{ReadPurpose, TableIterator};
pub(crate) use properties::Properties;
#[cfg(test)]
pub(crate) use read_ahead::spare_chunks;
pub(crate) use reader::{Lookups, Table};
pub(crate) use salvage::{Findings, Gap, Salvage};
pub(crate) use table_cache::{OpenTable, TableCache, TableHandle};
pub(crate) use writer::{TableSummary, TableWriter};

/// How a table is written.
#[derive(Debug, Clone)]
pub(crate) struct TableOptions {
    /// A data block is closed at this size before compression. Larger: better compression and a
    /// smaller index; smaller: less to read for one entry. At most 16 MiB.
    pub(crate) block_bytes: usize,
    /// Entries from one restart point to the next. Larger: smaller blocks; smaller: quicker seeks.
    pub(crate) restart_interval: usize,
    /// How blocks are compressed.
    pub(crate) codec: Codec,
    /// About how long the table is to become. What waits for a dictionary is a quarter of it at the
    /// most: it is in memory, and its compressed length is a guess.
    pub(crate) table_bytes: u64,
    /// How hard Zstd tries.
    pub(crate) zstd: ZstdOptions,
    /// Bits of the filter for each key; 0 for no filter. 10 let 1 in 100 absent keys through.
    pub(crate) filter_bits_per_key: f64,
    /// What stands in the filter beside whole keys.
    pub(crate) prefix_extractor: Option<PrefixExtractor>,
    /// The column family that the table belongs to.
    pub(crate) column_family: ColumnFamilyId,
    /// Where keys say when their event was, for a family that groups by it.
    pub(crate) event_time: Option<EventTime>,
    /// Values of so many bytes and more go to blob files; none where this is [`usize::MAX`].
    pub(crate) blob_bytes_min: usize,
}

/// A job over less than one part in so many of a full table makes no blob file: there would be as
/// many small ones as there are small flushes.
const BLOB_JOB_PART: u64 = 64;

impl TableOptions {
    /// The most bytes of blocks that wait for a dictionary; 0 where none is trained.
    pub(crate) fn gather_bytes_max(&self) -> usize {
        if self.codec != Codec::ZstdDictionary {
            return 0;
        }
        let quarter = usize::try_from(self.table_bytes / 4).unwrap_or(usize::MAX);
        self.zstd.samples_bytes().min(quarter)
    }

    /// The bytes that a job has to go over to make a blob file.
    pub(crate) fn blob_job_bytes(&self) -> u64 {
        self.table_bytes / BLOB_JOB_PART
    }

    /// The same for a job over so many bytes: where they are few, values stay with their keys.
    pub(crate) fn of_job(self, bytes: u64) -> TableOptions {
        let is_small = bytes < self.blob_job_bytes();
        let blob_bytes_min = if is_small { usize::MAX } else { self.blob_bytes_min };
        TableOptions { blob_bytes_min, ..self }
    }

    /// The same with the event times of keys noted, or not.
    pub(crate) fn with_event_time(self, event_time: Option<EventTime>) -> TableOptions {
        TableOptions { event_time, ..self }
    }
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions {
            block_bytes: 4096,
            restart_interval: 16,
            codec: Codec::None,
            table_bytes: u64::MAX,
            zstd: ZstdOptions::default(),
            filter_bits_per_key: 10.0,
            prefix_extractor: None,
            column_family: ColumnFamilyId::DEFAULT,
            event_time: None,
            blob_bytes_min: usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
