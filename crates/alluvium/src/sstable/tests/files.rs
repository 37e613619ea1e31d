//! Files in memory that count, and fail on demand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::file::{FileId, FileNumber};
use crate::base::sync::Mutex;
use crate::env::{Env, ReadableFile, StoreLock, WorkerThread, WritableFile};

/// A file in memory.
#[derive(Debug, Default)]
pub(super) struct MemFile {
    pub(super) bytes: Mutex<Vec<u8>>,
    pub(super) reads: AtomicUsize,
    pub(super) appends: AtomicUsize,
    /// Bytes of each append.
    pub(super) appended: Mutex<Vec<usize>>,
    pub(super) syncs: AtomicUsize,
    /// Appends that succeed before one fails; 0 for all.
    pub(super) fail_append: usize,
    pub(super) fail_sync: bool,
    /// Reads that reach this offset fail; 0 for none.
    pub(super) fail_reads_behind: u64,
}

impl MemFile {
    pub(super) fn from_bytes(bytes: &[u8]) -> MemFile {
        MemFile { bytes: Mutex::new(bytes.to_vec()), ..MemFile::default() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }
}

impl WritableFile for MemFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let before = self.appends.fetch_add(1, Ordering::Relaxed);
        if self.fail_append > 0 && before >= self.fail_append - 1 {
            return Err(io::Error::other("planned"));
        }
        self.appended.lock().push(bytes.len());
        self.bytes.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.fail_sync { Err(io::Error::other("planned")) } else { Ok(()) }
    }
}

impl ReadableFile for MemFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.fail_reads_behind > 0 && offset + buffer.len() as u64 > self.fail_reads_behind {
            return Err(io::Error::other("planned"));
        }
        let bytes = self.bytes.lock();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }
}

/// A directory of tables that can be opened, and nothing else.
#[derive(Debug, Default)]
pub(super) struct TablesEnv {
    pub(super) tables: Mutex<Vec<(FileNumber, Vec<u8>)>>,
    pub(super) opens: AtomicUsize,
    /// Files open now, counted by their drops.
    pub(super) open_now: Arc<AtomicUsize>,
}

/// An open file that says when it is closed.
#[derive(Debug)]
struct CountedFile(MemFile, Arc<AtomicUsize>);

impl Drop for CountedFile {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReadableFile for CountedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Env for TablesEnv {
    fn create(&self, _file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        unsupported()
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        self.opens.fetch_add(1, Ordering::Relaxed);
        let tables = self.tables.lock();
        let found = tables.iter().find(|(number, _)| FileId::Table(*number) == file);
        let (_, bytes) = found.ok_or(io::ErrorKind::NotFound)?;
        self.open_now.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(CountedFile(MemFile::from_bytes(bytes), Arc::clone(&self.open_now))))
    }

    fn rename(&self, _from: FileId, _to: FileId) -> io::Result<()> {
        unsupported()
    }

    fn remove(&self, _file: FileId) -> io::Result<()> {
        unsupported()
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        unsupported()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        unsupported()
    }

    fn sync_directory(&self) -> io::Result<()> {
        unsupported()
    }

    fn create_directory(&self) -> io::Result<()> {
        unsupported()
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        unsupported()
    }

    fn directory(&self) -> String {
        "store".to_owned()
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn unix_time(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _duration: Duration) {}

    fn spawn(
        &self,
        _name: &str,
        _body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        unsupported()
    }
}
