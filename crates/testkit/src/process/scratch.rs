//! Directories for stores, and what is kept of one when something went wrong in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory in memory, where the machine has one: nothing that a kill can show needs a disk.
const MEMORY: &str = "/dev/shm";

/// Where a store is, and how it was before it was last looked at. Gone when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// A fresh directory: in memory where that can be, or on the disk.
    ///
    /// # Errors
    ///
    /// As the file system's.
    pub fn new(in_memory: bool) -> io::Result<Scratch> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("alluvium-process-");
        if in_memory && let Ok(directory) = builder.tempdir_in(MEMORY) {
            return Ok(Scratch { directory });
        }
        Ok(Scratch { directory: builder.tempdir()? })
    }

    /// The store's directory.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// How the store was when it was last [`remembered`](Scratch::remember).
    #[must_use]
    pub fn before(&self) -> PathBuf {
        self.directory.path().join("before")
    }

    /// Remembers the store as it is. Links are enough: opening a store changes none of its files,
    /// it makes new ones.
    ///
    /// # Errors
    ///
    /// As the file system's.
    pub fn remember(&self) -> io::Result<()> {
        let before = self.before();
        if before.exists() {
            fs::remove_dir_all(&before)?;
        }
        fs::create_dir(&before)?;
        match fs::read_dir(self.store()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            entries => link_all(entries?, &before),
        }
    }

    /// Keeps the directory, and says where it is.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

fn link_all(entries: fs::ReadDir, to: &Path) -> io::Result<()> {
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != "LOCK" {
            fs::hard_link(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
