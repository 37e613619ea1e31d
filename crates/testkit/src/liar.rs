//! A disk that lies: `sync` says it is done and does nothing. A test of crashes that passes on it
//! proves nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use alluvium::env::{Env, FileId, FileKind, ReadableFile, StoreLock, WorkerThread, WritableFile};

/// What the disk lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Syncs of files of this kind.
    File(FileKind),
    /// Syncs of the directory.
    Directory,
}

/// An environment that lies, around one that does not.
#[derive(Debug)]
pub struct LyingEnv {
    inner: Arc<dyn Env>,
    lie: Lie,
}

impl LyingEnv {
    /// Lies about `lie`.
    #[must_use]
    pub fn new(inner: Arc<dyn Env>, lie: Lie) -> LyingEnv {
        LyingEnv { inner, lie }
    }
}

/// A file whose syncs do nothing.
#[derive(Debug)]
struct Unsynced(Arc<dyn WritableFile>);

impl WritableFile for Unsynced {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.append(b"")
    }
}

impl Env for LyingEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        let inner = self.inner.create(file)?;
        if self.lie == Lie::File(FileKind::of(file)) {
            return Ok(Arc::new(Unsynced(inner)));
        }
        Ok(inner)
    }

    fn sync_directory(&self) -> io::Result<()> {
        if self.lie == Lie::Directory { Ok(()) } else { self.inner.sync_directory() }
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        self.inner.open(file)
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.inner.link(from, to)
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        self.inner.remove(file)
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.inner.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.inner.list_foreign()
    }

    fn create_directory(&self) -> io::Result<()> {
        self.inner.create_directory()
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        self.inner.lock()
    }

    fn directory(&self) -> String {
        self.inner.directory()
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
