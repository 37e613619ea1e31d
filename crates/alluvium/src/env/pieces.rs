//! Writing a file in large pieces, each in its place.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::env::WritableFile;

/// What is appended at once, and what its place is a multiple of. The end of a file is shorter.
pub(crate) const APPEND_BYTES: usize = 512 << 10;
/// The system is asked to write the file to disk in pieces of so many bytes, while more are made.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// A file being written once from front to back, with what has not been handed to it yet.
///
/// Appends go to the file [`APPEND_BYTES`] at a time, each from a multiple of that to the next, and
/// the system is asked to begin writing each MiB of it, so that the sync at the end has little left
/// to wait for. After a failed append the file is left alone and every later call returns the same
/// error.
#[derive(Debug)]
pub(crate) struct PieceWriter {
    file: Arc<dyn WritableFile>,
    name: String,
    /// Shorter than [`APPEND_BYTES`].
    buffer: Vec<u8>,
    /// Whole [`APPEND_BYTES`], until all is handed over.
    appended: u64,
    /// Up to where the system was asked to write.
    written_back: u64,
    failed: Option<Error>,
}

impl PieceWriter {
    /// Writes to the empty `file`, called `name` in messages.
    pub(crate) fn new(file: Arc<dyn WritableFile>, name: String) -> PieceWriter {
        let buffer = Vec::new();
        PieceWriter { file, name, buffer, appended: 0, written_back: 0, failed: None }
    }

    /// Fails once an append or sync has failed.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// The length of the file, what is buffered included.
    #[inline]
    pub(crate) fn offset(&self) -> u64 {
        self.appended + self.buffer.len() as u64
    }

    /// Puts `bytes` at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let room = APPEND_BYTES - self.buffer.len();
        if bytes.len() < room {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        let (front, rest) = bytes.split_at(room);
        self.buffer.extend_from_slice(front);
        self.append_buffered()?;
        let (whole, rest) = rest.split_at(rest.len() / APPEND_BYTES * APPEND_BYTES);
        if !whole.is_empty() {
            self.append(whole)?;
        }
        self.buffer.extend_from_slice(rest);
        Ok(())
    }

    /// Hands over what is left. Call it once, at the end.
    pub(crate) fn append_buffered(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            self.append(&buffer)?;
            self.buffer = buffer;
            self.buffer.clear();
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let appended = self.file.append(bytes);
        appended.map_err(|source| self.fail("append to", source))?;
        self.appended += bytes.len() as u64;
        let whole = self.appended / WRITE_BACK_BYTES * WRITE_BACK_BYTES;
        if whole > self.written_back {
            self.file.write_back(self.written_back..whole);
            self.written_back = whole;
        }
        Ok(())
    }

    /// Makes all that was handed over survive a power cut.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let synced = self.file.sync();
        synced.map_err(|source| self.fail("sync", source))
    }

    fn fail(&mut self, operation: &'static str, source: std::io::Error) -> Error {
        let error = Error::io(operation, self.name.as_str(), source);
        self.failed = Some(error.clone());
        error
    }
}
