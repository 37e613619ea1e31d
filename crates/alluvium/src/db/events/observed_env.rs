//! An environment that tells of the files that are created, removed and made `CURRENT`.
//!
//! It stands around the environment of every open store, so that no place which makes or removes a
//! file need think of it. Events are noted here and delivered later: files are made under locks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::{FileId, FileNumber};
use crate::base::sync::tally::{AtomicU64, Ordering};
use crate::db::events::Events;
use crate::env::{Env, ReadableFile, StoreLock, WorkerThread, WritableFile};
use crate::metrics::Event;

/// See the module.
#[derive(Debug)]
pub(crate) struct ObservedEnv {
    inner: Arc<dyn Env>,
    events: Arc<Events>,
    /// The manifest created last: what the next new `CURRENT` names.
    manifest: AtomicU64,
}

impl ObservedEnv {
    pub(crate) fn new(inner: Arc<dyn Env>, events: Arc<Events>) -> ObservedEnv {
        ObservedEnv { inner, events, manifest: AtomicU64::new(0) }
    }
}

/// Whether the file comes and goes with the statistics, once a second.
fn is_status(file: FileId) -> bool {
    matches!(file, FileId::Status | FileId::StatusTemporary)
}

impl Env for ObservedEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        let created = self.inner.create(file)?;
        if let FileId::Manifest(number) = file {
            self.manifest.store(number.0, Ordering::Relaxed);
        }
        if !is_status(file) {
            self.events.note(Event::FileCreated { file });
        }
        Ok(created)
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        self.inner.open(file)
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.inner.rename(from, to)?;
        if to == FileId::Current {
            let number = FileNumber(self.manifest.load(Ordering::Relaxed));
            self.events.note(Event::ManifestRolled { number });
        }
        Ok(())
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.inner.link(from, to)
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        self.inner.remove(file)?;
        if !is_status(file) {
            self.events.note(Event::FileDeleted { file });
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.inner.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.inner.list_foreign()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
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

    fn trim_memory(&self) {
        self.inner.trim_memory();
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        self.inner.spawn(name, body)
    }
}
