//! Floor 1: the only door to the outside: files, clock, threads, randomness.
//!
//! An [`Env`] is bound to one store's directory, and files are named by [`FileId`], so that an
//! implementation can count, fail or crash operations by kind, and no text becomes a path. Three
//! implementations: [`PosixEnv`] (the real one), [`MemEnv`] (knows synced from unsynced bytes and
//! names, and can build every image that a crash could leave) and [`FaultEnv`] (wraps another and
//! fails chosen operations).
//!
//! # The rules that the engine lives by
//!
//! - `append` hands bytes to the operating system. They survive the process, not a power cut.
//! - `sync` makes a file's bytes survive a power cut, **not** its name; `sync_directory` makes
//!   names (created, renamed, removed) survive.
//! - After a failed `append` or `sync` nothing may be assumed of the bytes that were not synced
//!   before, and neither is called on that file again.

#[cfg(feature = "fuzzing")]
mod bytes;
mod fault;
mod memory;
mod pages;
mod pieces;
mod posix;
#[cfg(test)]
mod tests;
mod trim;
mod write_back;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use crate::base::file::{FileId, FileNumber};
#[cfg(feature = "fuzzing")]
pub(crate) use bytes::BytesFile;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use bytes::SPOILT;
pub use fault::{Fault, FaultEnv, FaultRule, FileKind, Injection, Operation, Repeat, RuleId, When};
pub use memory::{CrashPolicy, MemEnv};
pub(crate) use pages::{PAGES_BYTES, Pages};
pub(crate) use pieces::{APPEND_BYTES, PieceWriter};
pub use posix::PosixEnv;
pub(crate) use posix::lies_within;

/// A file being written: append only.
pub trait WritableFile: Send + Sync + Debug {
    /// Appends all of `bytes`. On an error some prefix of them may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Makes every appended byte (and the length) survive a power cut.
    fn sync(&self) -> io::Result<()>;
    /// Says that these bytes, which were appended, will be synced with those behind them: the
    /// system may begin to write them, so that the sync has less to wait for. A hint, which
    /// promises nothing and hides no error of a later sync; does nothing by default.
    fn write_back(&self, _bytes: Range<u64>) {}
    /// Makes the file so many bytes long, not fewer than were appended: what is new in it is zero,
    /// and the next append goes behind the last one all the same. Syncs of appends into what is
    /// there already need not tell the disk of a new length, which is half of their work. A hint;
    /// does nothing by default.
    ///
    /// # Errors
    /// The length is what it was.
    fn set_length(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A file being read. Safe to share between threads.
pub trait ReadableFile: Send + Sync + Debug {
    /// Reads into `buffer` from `offset`; returns the bytes read, fewer than asked for only at the
    /// end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Says that the file will be read from front to back soon. A hint; does nothing by default.
    fn advise_sequential(&self) {}
}

/// Held while the store is open; dropping it gives the store free.
pub trait StoreLock: Send + Sync + Debug {}

/// A thread started by [`Env::spawn`].
pub trait WorkerThread: Send + Sync + Debug {
    /// Waits until the thread has ended.
    fn join(self: Box<Self>);
}

/// The outside world of one store.
pub trait Env: Send + Sync + Debug + 'static {
    /// Creates a file that must not exist yet, for appending.
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>>;
    /// Opens an existing file for reading.
    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>>;
    /// Renames a file, replacing `to` in one step where it exists.
    fn rename(&self, from: FileId, to: FileId) -> io::Result<()>;
    /// Gives a file a second name, which nothing may have yet. Not every place has that: an error
    /// by default.
    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        let detail = format!("no second name for {from}: {to}");
        Err(io::Error::new(io::ErrorKind::Unsupported, detail))
    }
    /// Removes a file, or one of its names.
    fn remove(&self, file: FileId) -> io::Result<()>;
    /// Every file in the directory that has a store's name, in no order.
    fn list(&self) -> io::Result<Vec<FileId>>;
    /// Every other name in the directory (sub-directories too), in no order.
    fn list_foreign(&self) -> io::Result<Vec<String>>;
    /// Makes creations, renames and removals survive a power cut.
    fn sync_directory(&self) -> io::Result<()>;
    /// Creates the directory where it is missing, parents too, durably.
    fn create_directory(&self) -> io::Result<()>;
    /// Takes the store's lock, or fails with [`io::ErrorKind::WouldBlock`] when another holds it.
    fn lock(&self) -> io::Result<Box<dyn StoreLock>>;
    /// The directory as people name it, for messages.
    fn directory(&self) -> String;
    /// The file as people name it, for messages.
    fn display(&self, file: FileId) -> String {
        format!("{}/{}", self.directory(), file.name())
    }
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// The time of day, as time since the beginning of 1970; zero before that. It may jump, forward
    /// and back, whenever somebody sets the clock. Only expiry times are held against it.
    fn unix_time(&self) -> Duration;
    /// Lets the calling thread wait.
    fn sleep(&self, duration: Duration);
    /// Gives memory that the process holds free back to the system, where that can be done.
    fn trim_memory(&self) {}
    /// Starts a thread.
    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>>;
}
