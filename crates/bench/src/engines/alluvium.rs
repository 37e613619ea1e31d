//! Alluvium itself, by its public API and nothing else.
//!
//! - **Durability** is an option of the store with the same three names.
//! - **Memory**: `block_cache_bytes` and `memtable_bytes`; `memory_limit` where a limit is asked
//!   for.
//! - **Codec**: one for every level, as on all sides; the default compresses deeper levels only.
//! - **Walks** go through a new cursor each, which hands out keys and values where they lie.
//! - **Settling** is `flush` and `wait_idle`.
//! - **`alluvium-blob`** is the same with values from 1 KiB on in blob files.
//! - Everything else is the default.

use std::path::Path;

use ::alluvium::{Codec, ColumnFamilyOptions, Db, Durability, Options, PerLevel, WriteBatch};

use super::{Batch, Engine, LARGE_VALUE_BYTES, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{CodecName, DurabilityName, Settings};

struct Alluvium(Db);

/// Opens the store in `dir`, with blob files if `blobs` says so.
pub fn open(dir: &Path, settings: &Settings, blobs: bool) -> Result<Box<dyn Engine>> {
    let codec = match settings.codec {
        CodecName::None => Codec::None,
        CodecName::Lz4 => Codec::Lz4,
    };
    let durability = match settings.durability {
        DurabilityName::Buffered => Durability::Buffered,
        DurabilityName::Os => Durability::Os,
        DurabilityName::Disk => Durability::Disk,
    };
    let options = Options {
        durability,
        memory_limit: settings.memory_limit_mib.map(|mib| (mib << 20) as usize),
        block_cache_bytes: settings.cache_bytes() as usize,
        column_family: ColumnFamilyOptions {
            memtable_bytes: settings.memtable_bytes() as usize,
            codecs: PerLevel::all(codec),
            blob_bytes_min: blobs.then_some(LARGE_VALUE_BYTES),
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    };
    Ok(Box::new(Alluvium(Db::open(dir, options)?)))
}

impl Engine for Alluvium {
    fn write(&self, batch: &Batch) -> Result<()> {
        if batch.len() == 1 {
            for (key, value) in batch.operations() {
                match value {
                    Some(value) => self.0.put(key, value)?,
                    None => self.0.delete(key)?,
                }
            }
            return Ok(());
        }
        let mut writes = WriteBatch::new();
        for (key, value) in batch.operations() {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        Ok(self.0.write(writes)?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(AlluviumReader(&self.0)))
    }

    fn settle(&self) -> Result<()> {
        self.0.flush()?;
        Ok(self.0.wait_idle()?)
    }

    fn written_bytes(&self) -> Option<u64> {
        let stats = self.0.stats();
        let parts = ["wal_bytes", "flush_bytes", "compaction_write_bytes"];
        Some(parts.iter().map(|name| stats.counter(name)).sum())
    }

    fn statistics(&self) -> String {
        self.0.stats().to_string()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

struct AlluviumReader<'a>(&'a Db);

impl Reader for AlluviumReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.get(key)?.map(|value| stamp_of(&value)))
    }

    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        if entries == 0 {
            return Ok(walked);
        }
        let mut cursor = self.0.cursor()?;
        cursor.seek(key)?;
        while cursor.valid() {
            walked.count(cursor.key(), cursor.value());
            if walked.entries == entries {
                break;
            }
            cursor.next()?;
        }
        Ok(walked)
    }
}
