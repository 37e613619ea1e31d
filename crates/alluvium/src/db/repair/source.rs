//! The store that is repaired, as repair sees it: never written, and read as far as it can be read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileId;
use crate::base::sync::Mutex;
use crate::env::{Env, ReadableFile, StoreLock, WorkerThread, WritableFile};

/// What a disk reads, or fails to read, as one.
const PAGE_BYTES: u64 = 4096;
/// Places that could not be read are named up to this many.
const UNREADABLE_NAMED_MAX: usize = 20;

/// Another environment, for reading. Writing is refused whatever asks for it. A page that the disk
/// does not give is zeros instead: no checksum holds over it, so it is found to be damaged like any
/// other, and what stands beside it is read.
#[derive(Debug)]
pub(super) struct Source {
    inner: Arc<dyn Env>,
    unreadable: Arc<Mutex<Unreadable>>,
}

#[derive(Debug, Default)]
struct Unreadable {
    places: Vec<String>,
    more: u64,
}

impl Source {
    pub(super) fn new(inner: Arc<dyn Env>) -> Source {
        Source { inner, unreadable: Arc::default() }
    }

    /// The lock of the store, where some process may hold it. Without the file nobody does, and it
    /// must not be made.
    pub(super) fn lock_if_there(&self) -> io::Result<Option<Box<dyn StoreLock>>> {
        if self.inner.list()?.contains(&FileId::Lock) {
            return self.inner.lock().map(Some);
        }
        Ok(None)
    }

    /// How many reads the disk refused, the second time too.
    pub(super) fn unreadable_places(&self) -> u64 {
        let unreadable = self.unreadable.lock();
        unreadable.places.len() as u64 + unreadable.more
    }

    /// What the disk did not give, for people.
    pub(super) fn unreadable(&self) -> Vec<String> {
        let unreadable = self.unreadable.lock();
        let mut places = unreadable.places.clone();
        if unreadable.more > 0 {
            places.push(format!("{} more places cannot be read", unreadable.more));
        }
        places
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the store is only read"))
}

impl Env for Source {
    fn create(&self, _file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        read_only()
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        let name = self.inner.display(file);
        let (inner, unreadable) = (self.inner.open(file)?, Arc::clone(&self.unreadable));
        Ok(Arc::new(SourceFile { inner, name, unreadable }))
    }

    fn rename(&self, _from: FileId, _to: FileId) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _file: FileId) -> io::Result<()> {
        read_only()
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.inner.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.inner.list_foreign()
    }

    fn sync_directory(&self) -> io::Result<()> {
        read_only()
    }

    fn create_directory(&self) -> io::Result<()> {
        read_only()
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        self.inner.lock()
    }

    fn directory(&self) -> String {
        self.inner.directory()
    }

    fn display(&self, file: FileId) -> String {
        self.inner.display(file)
    }

    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn unix_time(&self) -> Duration {
        self.inner.unix_time()
    }

    fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration);
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        self.inner.spawn(name, body)
    }
}

#[derive(Debug)]
struct SourceFile {
    inner: Arc<dyn ReadableFile>,
    name: String,
    unreadable: Arc<Mutex<Unreadable>>,
}

impl SourceFile {
    fn note(&self, offset: u64, error: &io::Error) {
        let mut unreadable = self.unreadable.lock();
        if unreadable.places.len() < UNREADABLE_NAMED_MAX {
            let text = format!("cannot read {} at byte {offset}: {error}", self.name);
            unreadable.places.push(text);
        } else {
            unreadable.more += 1;
        }
    }
}

impl ReadableFile for SourceFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Ok(read) = self.inner.read_at(offset, buffer) {
            return Ok(read);
        }
        let length = self.inner.length()?;
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let page_left = PAGE_BYTES - at % PAGE_BYTES;
            let left = length.saturating_sub(at).min(page_left);
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len() - done);
            if part == 0 {
                break;
            }
            let page = &mut buffer[done..done + part];
            match self.inner.read_at(at, page) {
                Ok(read) if read == part => {}
                Ok(read) => return Ok(done + read),
                Err(error) => {
                    page.fill(0);
                    self.note(at, &error);
                }
            }
            done += part;
        }
        Ok(done)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn advise_sequential(&self) {
        self.inner.advise_sequential();
    }
}
