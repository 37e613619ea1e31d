//! fjall 3.1.13: a log-structured merge tree in Rust (crates `fjall` and `lsm-tree`).
//!
//! What its sources say, read at that version, and what follows from it:
//!
//! - **Durability.** `Keyspace::insert` and `Database::batch().commit()` write to the journal
//!   through an 8 KiB `BufWriter` and, unless `manual_journal_persist` is set, flush it to the
//!   operating system before they return (`PersistMode::Buffer`, `keyspace/mod.rs` and `db.rs`). So
//!   the default *is* [`DurabilityName::Os`]. `Buffered` sets `manual_journal_persist` on the
//!   database and on the keyspace; `Disk` commits each batch with `PersistMode::SyncData`
//!   (fdatasync), single operations as a batch of one, because `insert` takes no durability.
//! - **Memory.** `cache_size` (blocks, indexes and filters share it) and `max_memtable_size` are
//!   set to the bytes that all engines get. Four sealed memtables halt writers: its default, not an
//!   option.
//! - **Codec.** The default policy is none on levels 0 and 1 and LZ4 below. It is set to one codec
//!   on every level, as on all sides: otherwise the engine that moves data down later would seem to
//!   compress less. The journal compresses values of 4 KiB and more by default; that follows the
//!   codec as well.
//! - **Threads.** Default: as many workers as cores, at most four.
//! - Everything else is as its authors set it: leveled compaction, tables of 64 MiB, four tables in
//!   level 0, blocks of 4 KiB, filters of 0.01 % false positives on level 0 and 10 bits a key
//!   below, no hash index in blocks (its option for one is hidden from the documentation). The
//!   README gives no tuning advice besides the cache size.
//! - **A store that is there.** A keyspace keeps the options that it was made with: those of the
//!   load, which are the same in all that is set here. The cache is the database's, and new.
//! - **Settling.** `rotate_memtable_and_wait`, then until no flush is outstanding, no compaction
//!   runs and none was completed for a while, which is not counted: each flush queues as many
//!   compaction requests as there are workers, and a request that finds nothing to do counts as
//!   completed too, so quiet means idle.
//! - **Walks.** `range(key..)`, a new iterator (and view) for each, as with all engines.
//! - **`fjall-blob`** is the same with key-value separation, which its documents advise for large
//!   values: from 1 KiB on (its default) they stand in blob files, in the one codec, cached in the
//!   same cache, and are collected by compactions at its default shares. For large values the
//!   comparison is with the better of the two.

use std::path::Path;
use std::time::{Duration, Instant};

use ::fjall::config::CompressionPolicy;
use ::fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
};

use super::{Batch, Engine, LARGE_VALUE_BYTES, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{CodecName, DurabilityName, Settings};

/// How long nothing must happen before the background counts as idle.
const QUIET: Duration = Duration::from_millis(200);

struct Fjall {
    // Dropped before the database that it belongs to.
    keyspace: Keyspace,
    database: Database,
    durability: DurabilityName,
}

/// Opens the store in `dir`, with blob files if `blobs` says so.
pub fn open(dir: &Path, settings: &Settings, blobs: bool) -> Result<Box<dyn Engine>> {
    let manual = settings.durability == DurabilityName::Buffered;
    let codec = match settings.codec {
        CodecName::None => CompressionType::None,
        CodecName::Lz4 => CompressionType::Lz4,
    };
    let separation = blobs.then(|| {
        let options = KvSeparationOptions::default().compression(codec);
        options.separation_threshold(LARGE_VALUE_BYTES as u32)
    });
    let database = Database::builder(dir)
        .cache_size(settings.cache_bytes())
        .journal_compression(codec)
        .manual_journal_persist(manual)
        .open()?;
    let keyspace = database.keyspace("default", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(settings.memtable_bytes())
            .data_block_compression_policy(CompressionPolicy::all(codec))
            .manual_journal_persist(manual)
            .with_kv_separation(separation)
    })?;
    Ok(Box::new(Fjall { keyspace, database, durability: settings.durability }))
}

impl Engine for Fjall {
    fn write(&self, batch: &Batch) -> Result<()> {
        if batch.len() == 1 && self.durability != DurabilityName::Disk {
            for (key, value) in batch.operations() {
                match value {
                    Some(value) => self.keyspace.insert(key, value)?,
                    None => self.keyspace.remove(key)?,
                }
            }
            return Ok(());
        }
        let mut writes = self.database.batch();
        if self.durability == DurabilityName::Disk {
            writes = writes.durability(Some(PersistMode::SyncData));
        }
        for (key, value) in batch.operations() {
            match value {
                Some(value) => writes.insert(&self.keyspace, key, value),
                None => writes.remove(&self.keyspace, key),
            }
        }
        Ok(writes.commit()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(FjallReader(&self.keyspace)))
    }

    fn settle(&self) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        let mut completed = self.database.compactions_completed();
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.database.compactions_completed();
            let busy = self.database.active_compactions() + self.database.outstanding_flushes() > 0;
            if busy || now != completed {
                completed = now;
                since = Instant::now();
            }
        }
        Ok(())
    }

    fn settle_watch(&self) -> Duration {
        QUIET
    }

    fn written_bytes(&self) -> Option<u64> {
        None
    }

    fn statistics(&self) -> String {
        format!(
            "tables {}, of them level 0 {}; blob files {}; journals {}; compactions completed {}, \
             {:?} in all",
            self.keyspace.table_count(),
            self.keyspace.l0_table_count(),
            self.keyspace.blob_file_count(),
            self.database.journal_count(),
            self.database.compactions_completed(),
            self.database.time_compacting(),
        )
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Its Drop waits for the workers and syncs the journal.
        drop(self);
        Ok(())
    }
}

struct FjallReader<'a>(&'a Keyspace);

impl Reader for FjallReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.0.get(key)?.map(|value| stamp_of(&value)))
    }

    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        if entries == 0 {
            return Ok(walked);
        }
        for entry in self.0.range::<&Key, _>(key..) {
            let (key, value) = entry.into_inner()?;
            walked.count(&key, &value);
            if walked.entries == entries {
                break;
            }
        }
        Ok(walked)
    }
}
