//! SQLite 3.54.1, through the crate `rusqlite` 0.41.1: a B-tree behind SQL, with a log of pages.
//!
//! - **Durability.** Write-ahead log, as its documents advise for speed. `Os` is
//!   `synchronous=NORMAL`: a commit writes its pages to the operating system, and only checkpoints
//!   sync. `Disk` is `FULL`, which syncs the log at every commit; `Buffered` is `OFF`, which never
//!   syncs (SQLite has nothing that stays in the process).
//! - **Memory.** Each connection has a page cache of its own; each gets the bytes of the block
//!   cache and of one memtable together, to its advantage.
//! - **Table.** The key is the primary key. Small rows stand in the tree of the key (`WITHOUT
//!   ROWID`); its documents advise that below a twentieth of a page, and a table with an index
//!   above. Checkpoints come every 1,000 pages, its default.
//! - **Codec.** None.
//! - **Calls.** Statements are prepared once and kept. One connection writes, behind a lock: SQLite
//!   has one writer at a time. Each reading thread has a connection of its own, kept for the next
//!   one that reads. Every lookup is a transaction of its own.
//! - **Settling** is a checkpoint of the whole log.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, Engine, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{DurabilityName, Settings};

/// Rows up to a twentieth of a page of 4 KiB.
const ROW_BYTES_SMALL: u64 = 4096 / 20;

struct Sqlite {
    path: PathBuf,
    settings: Settings,
    writer: Mutex<Connection>,
    // Of readers that are gone.
    idle: Mutex<Vec<Connection>>,
}

/// Opens the store in `dir`.
pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let path = dir.join("store.sqlite");
    let writer = connect(&path, settings)?;
    let table = if settings.entry_bytes() <= ROW_BYTES_SMALL {
        "CREATE TABLE IF NOT EXISTS entries (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"
    } else {
        "CREATE TABLE IF NOT EXISTS entries (k BLOB PRIMARY KEY, v BLOB NOT NULL)"
    };
    writer.execute_batch(table)?;
    Ok(Box::new(Sqlite {
        path,
        settings: settings.clone(),
        writer: Mutex::new(writer),
        idle: Mutex::new(Vec::new()),
    }))
}

fn connect(path: &Path, settings: &Settings) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    let synchronous = match settings.durability {
        DurabilityName::Buffered => "OFF",
        DurabilityName::Os => "NORMAL",
        DurabilityName::Disk => "FULL",
    };
    let cache_kib = (settings.cache_bytes() + settings.memtable_bytes()) >> 10;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA cache_size = -{cache_kib};"
    ))?;
    Ok(connection)
}

fn apply(connection: &Connection, batch: &Batch) -> Result<()> {
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)")?;
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE k = ?1")?;
    for (key, value) in batch.operations() {
        match value {
            Some(value) => put.execute(params![key.as_slice(), value])?,
            None => delete.execute(params![key.as_slice()])?,
        };
    }
    Ok(())
}

impl Engine for Sqlite {
    fn write(&self, batch: &Batch) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.len() == 1 {
            return apply(&writer, batch);
        }
        let transaction = writer.transaction()?;
        apply(&transaction, batch)?;
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = kept.map_or_else(|| connect(&self.path, &self.settings), Ok)?;
        Ok(Box::new(SqliteReader { home: self, connection: Some(connection) }))
    }

    fn settle(&self) -> Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn written_bytes(&self) -> Option<u64> {
        None
    }

    fn statistics(&self) -> String {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let figure = |name: &str| writer.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        format!("pages {:?}, of them free {:?}", figure("page_count"), figure("freelist_count"))
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}

struct SqliteReader<'a> {
    home: &'a Sqlite,
    connection: Option<Connection>,
}

impl SqliteReader<'_> {
    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| "the reader was given back".into())
    }
}

impl Drop for SqliteReader<'_> {
    fn drop(&mut self) {
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
    }
}

impl Reader for SqliteReader<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<u64>> {
        let mut select = self.connection()?.prepare_cached("SELECT v FROM entries WHERE k = ?1")?;
        let stamp = select.query_row(params![key.as_slice()], |row| {
            Ok(stamp_of(row.get_ref(0)?.as_blob().unwrap_or_default()))
        });
        Ok(stamp.optional()?)
    }

    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        let mut select = self
            .connection()?
            .prepare_cached("SELECT k, v FROM entries WHERE k >= ?1 ORDER BY k LIMIT ?2")?;
        // A negative limit is none.
        let limit = i64::try_from(entries).unwrap_or(-1);
        let mut rows = select.query(params![key.as_slice(), limit])?;
        while let Some(row) = rows.next()? {
            walked.count(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(walked)
    }
}
