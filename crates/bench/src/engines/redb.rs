//! redb 4.4.0: a copy-on-write B+-tree in Rust.
//!
//! - **Durability.** redb knows two levels. `Disk` is `Durability::Immediate`. `Buffered` *and*
//!   `Os` are `Durability::None`, which keeps the commit in the memory of the process until the
//!   next immediate one: weaker than `Os`, and therefore to redb's advantage in the default
//!   comparison. Settling ends with an immediate commit, so that the bytes are counted.
//! - **Memory.** There is no memtable; a part of the one cache is the write buffer. The cache gets
//!   the bytes of the block cache and of one memtable together.
//! - **Codec.** None.
//! - **Reads.** Its documents and its own benchmark open one read transaction and one table for
//!   many reads: so does a reader (`renewing.rs`).
//! - **Settling.** There is no background work.

use std::path::Path;

use ::redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, TableDefinition,
};

use super::renewing::Renewing;
use super::{Batch, Engine, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{DurabilityName, Settings};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("default");

struct Redb {
    database: Database,
    durability: Durability,
}

/// Opens the store in `dir`.
pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let cache = settings.cache_bytes() + settings.memtable_bytes();
    let database =
        Database::builder().set_cache_size(cache as usize).create(dir.join("store.redb"))?;
    let durability = match settings.durability {
        DurabilityName::Buffered | DurabilityName::Os => Durability::None,
        DurabilityName::Disk => Durability::Immediate,
    };
    let engine = Redb { database, durability };
    engine.commit(Durability::Immediate, &Batch::new(0))?;
    Ok(Box::new(engine))
}

impl Redb {
    fn commit(&self, durability: Durability, batch: &Batch) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in batch.operations() {
                match value {
                    Some(value) => drop(table.insert(key.as_slice(), value)?),
                    None => drop(table.remove(key.as_slice())?),
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Engine for Redb {
    fn write(&self, batch: &Batch) -> Result<()> {
        self.commit(self.durability, batch)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(RedbReader { database: &self.database, table: Renewing::new() }))
    }

    fn settle(&self) -> Result<()> {
        self.commit(Durability::Immediate, &Batch::new(0))
    }

    fn written_bytes(&self) -> Option<u64> {
        None
    }

    fn statistics(&self) -> String {
        let table = self.database.begin_read().map(|view| view.open_table(TABLE));
        match table {
            Ok(Ok(table)) => format!("{:?}", table.stats()),
            other => format!("{:?}", other.map(|_| ())),
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}

struct RedbReader<'a> {
    database: &'a Database,
    table: Renewing<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl RedbReader<'_> {
    fn table(&mut self) -> Result<&ReadOnlyTable<&'static [u8], &'static [u8]>> {
        let database = self.database;
        self.table.get(|| Ok(database.begin_read()?.open_table(TABLE)?))
    }
}

impl Reader for RedbReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let value = self.table()?.get(key.as_slice())?;
        Ok(value.map(|value| stamp_of(value.value())))
    }

    fn refresh(&mut self) {
        drop(self.table.end());
    }

    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        if entries == 0 {
            return Ok(walked);
        }
        for entry in self.table()?.range(key.as_slice()..)? {
            let (key, value) = entry?;
            walked.count(key.value(), value.value());
            if walked.entries == entries {
                break;
            }
        }
        Ok(walked)
    }
}
