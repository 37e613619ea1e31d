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
//! - **Calls.** Statements are prepared once and kept. A client reads and writes through one
//!   connection, kept for the next client: a commit of another connection makes a reader drop all
//!   of its page cache, one of its own does not. A thread that reads nothing writes through a
//!   connection that all such threads share. SQLite has one writer at a time: they wait for a lock
//!   here, where its own way is to sleep and try again. Puts are upserts, which overwrite a row in
//!   place; `INSERT OR REPLACE` deletes and inserts it.
//! - **Reads.** A reader keeps its transaction for many reads (`renewing.rs`), or until it writes.
//! - **Settling** is a checkpoint of the whole log.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, params};

use super::renewing::Renewing;
use super::{Batch, Engine, Reader, Walked};
use crate::Result;
use crate::keys::{Key, stamp_of};
use crate::settings::{DurabilityName, Settings};

/// Rows up to a twentieth of a page of 4 KiB.
const ROW_BYTES_SMALL: u64 = 4096 / 20;

thread_local! {
    /// The client that this thread reads through, and of which engine (by its address).
    static CLIENT: RefCell<(usize, Weak<Client>)> = const { RefCell::new((0, Weak::new())) };
}

struct Sqlite {
    path: PathBuf,
    settings: Settings,
    // Of threads that do not read. Whoever writes holds it, through whichever connection.
    writer: Mutex<Connection>,
    // Of readers that are gone.
    idle: Mutex<Vec<Connection>>,
}

/// A connection that is read through and written through.
struct Client {
    connection: Connection,
    reading: RefCell<Renewing<()>>,
}

impl Client {
    /// Begins a transaction for reads, where none is open.
    fn read(&self) -> Result<&Connection> {
        let begin = || {
            if !self.connection.is_autocommit() {
                self.connection.prepare_cached("COMMIT")?.execute([])?;
            }
            self.connection.prepare_cached("BEGIN")?.execute([])?;
            Ok(())
        };
        self.reading.borrow_mut().get(begin)?;
        Ok(&self.connection)
    }

    /// Ends it.
    fn end_reads(&self) -> Result<()> {
        if self.reading.borrow_mut().end().is_some() {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
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

/// Writes a batch as one transaction. A single statement is one by itself.
fn write(connection: &Connection, batch: &Batch) -> Result<()> {
    if batch.len() == 1 {
        return apply(connection, batch);
    }
    let transaction = connection.unchecked_transaction()?;
    apply(&transaction, batch)?;
    Ok(transaction.commit()?)
}

fn apply(connection: &Connection, batch: &Batch) -> Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO entries VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE k = ?1")?;
    for (key, value) in batch.operations() {
        match value {
            Some(value) => put.execute(params![key.as_slice(), value])?,
            None => delete.execute(params![key.as_slice()])?,
        };
    }
    Ok(())
}

impl Sqlite {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The client that this thread reads through.
    fn client(&self) -> Option<Rc<Client>> {
        CLIENT.with_borrow(
            |(engine, client)| {
                if *engine == self.address() { client.upgrade() } else { None }
            },
        )
    }
}

impl Engine for Sqlite {
    fn write(&self, batch: &Batch) -> Result<()> {
        let client = self.client();
        // An open transaction for reads could not become one that writes.
        client.as_ref().map_or(Ok(()), |client| client.end_reads())?;
        let shared = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        write(client.as_ref().map_or(&shared, |client| &client.connection), batch)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = kept.map_or_else(|| connect(&self.path, &self.settings), Ok)?;
        let client = Rc::new(Client { connection, reading: RefCell::new(Renewing::new()) });
        CLIENT.set((self.address(), Rc::downgrade(&client)));
        Ok(Box::new(SqliteReader { home: self, client: Some(client) }))
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
    // Until it is dropped.
    client: Option<Rc<Client>>,
}

impl SqliteReader<'_> {
    fn connection(&self) -> Result<&Connection> {
        self.client.as_ref().ok_or("the reader was given back")?.read()
    }
}

impl Drop for SqliteReader<'_> {
    fn drop(&mut self) {
        let Some(client) = self.client.take().and_then(Rc::into_inner) else { return };
        if client.end_reads().is_ok() {
            let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(client.connection);
        }
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

    fn refresh(&mut self) {
        // A transaction that does not end by this ends when it has served its time.
        drop(self.client.as_ref().map(|client| client.end_reads()));
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
