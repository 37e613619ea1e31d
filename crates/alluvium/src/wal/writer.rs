//! Writing a log: frames into a buffer, the buffer to the file, the file to the disk.
//!
//! The three steps are three calls, because they make three promises: [`LogWriter::append`] none,
//! [`LogWriter::flush`] that the bytes survive the process, [`LogWriter::sync`] that they survive a
//! power cut. A commit group appends every member's batch, flushes once and syncs once.
//!
//! # Errors
//! The first failure is the last: it is kept, every later call gives it again and touches nothing.
//! After a failed append some prefix of the bytes may be in the file, and after a failed sync the
//! kernel may have thrown pages away and called them clean; only a new file is known to be good.
//! That is why nothing here retries.
//!
//! # Concurrency
//! One writer at a time. A caller that seals the log takes [`LogWriter::file`] and syncs that
//! outside its lock.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::base::planted;
use crate::env::WritableFile;
use crate::wal::frame::{
    self, FRAME_HEADER_BYTES, FrameKind, LOG_HEADER_BYTES, LogHeader, LogKind,
};

/// A buffer that one large batch has grown beyond this is given back after its flush.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// A payload of this length goes to the file as it is: to copy it takes longer than a system call.
const UNBUFFERED_BYTES_MIN: usize = 32 << 10;

/// A segment that is synced is made longer ahead of what is appended, by so much at a time.
const AHEAD_BYTES: u64 = 1 << 20;

/// Appends frames to one log file.
#[derive(Debug)]
pub struct LogWriter {
    file: Arc<dyn WritableFile>,
    name: String,
    number: FileNumber,
    buffer: Vec<u8>,
    flushed: u64,
    synced: u64,
    /// How long the file was made ahead of what is appended: 0 while it was not, and without end
    /// where it is not to be.
    length: u64,
    /// Whether it was tried, which may have happened though it failed.
    tried: bool,
    error: Option<Error>,
}

impl LogWriter {
    /// A log in the empty `file`, called `name` in messages. The header reaches the file with the
    /// first flush.
    #[must_use]
    pub fn create(file: Arc<dyn WritableFile>, name: String, header: LogHeader) -> LogWriter {
        let buffer = header.encode().to_vec();
        let number = header.number;
        let length = if header.kind == LogKind::Wal { 0 } else { u64::MAX };
        LogWriter {
            file,
            name,
            number,
            buffer,
            flushed: 0,
            synced: 0,
            length,
            tried: false,
            error: None,
        }
    }

    /// Puts a frame into the buffer, or a large one into the file; returns where in that its
    /// payload begins. Nothing is promised until [`Self::flush`], which also reports what failed
    /// here: an append, or a payload over [`FRAME_PAYLOAD_BYTES_MAX`].
    #[inline]
    pub fn append(&mut self, kind: FrameKind, payload: &[u8]) -> u64 {
        let offset = self.bytes();
        let at = offset + FRAME_HEADER_BYTES as u64;
        if self.error.is_some() {
            return at;
        }
        if payload.len() > FRAME_PAYLOAD_BYTES_MAX {
            self.fail(Error::invalid(format!(
                "a log frame of {} bytes: at most {FRAME_PAYLOAD_BYTES_MAX} are allowed",
                payload.len()
            )));
            return at;
        }
        if payload.len() >= UNBUFFERED_BYTES_MIN {
            self.append_unbuffered(offset, kind, payload);
        } else {
            frame::encode_frame(&mut self.buffer, self.number, offset, kind, payload);
        }
        at
    }

    /// Appends a frame from where its payload is.
    fn append_unbuffered(&mut self, offset: u64, kind: FrameKind, payload: &[u8]) {
        let head = frame::encode_frame_head(self.number, offset, kind, payload);
        self.buffer.extend_from_slice(&head);
        if self.flush().is_err() {
            return;
        }
        match self.file.append(payload) {
            Ok(()) => self.flushed += payload.len() as u64,
            Err(source) => drop(self.fail(Error::io("append to", &self.name, source))),
        }
    }

    /// Hands the buffer to the operating system, in one append.
    pub fn flush(&mut self) -> Result<()> {
        self.check()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.file.append(&self.buffer) {
            if planted::is("append-after-short-write") {
                self.buffer.clear();
                return Err(Error::io("append to", &self.name, source));
            }
            return Err(self.fail(Error::io("append to", &self.name, source)));
        }
        self.flushed += self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Flushes, and makes everything appended so far survive a power cut.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.lengthen();
        let mut synced = self.file.sync();
        if planted::is("failed-sync-tried-again") && synced.is_err() {
            synced = self.file.sync();
        }
        if let Err(source) = synced {
            return Err(self.fail(Error::io("sync", &self.name, source)));
        }
        self.synced = self.flushed;
        Ok(())
    }

    /// Makes the file longer where it is about to be synced, and will be again: a log that has
    /// frames.
    fn lengthen(&mut self) {
        if self.flushed > self.length.max(LOG_HEADER_BYTES as u64) {
            let length = self.flushed + AHEAD_BYTES;
            let made = self.file.set_length(length);
            self.tried = true;
            // A file that cannot be made longer is synced as it is.
            self.length = if made.is_ok() { length } else { u64::MAX };
        }
    }

    /// Writes the end frame, synced. An end frame says that all before it had been synced, so that
    /// comes first where it is not known. Nothing may be appended afterwards.
    pub fn close(&mut self) -> Result<()> {
        self.check()?;
        self.flush()?;
        let is_longer = self.length < u64::MAX && self.length > self.flushed;
        self.length = u64::MAX;
        if self.tried {
            // Nothing is to stand behind the end frame, not even zeros; and that first.
            match self.file.set_length(self.flushed) {
                Err(source) if is_longer => {
                    return Err(self.fail(Error::io("cut", &self.name, source)));
                }
                _ => {}
            }
        }
        if self.tried || self.synced < self.flushed {
            self.sync()?;
        }
        self.append(FrameKind::End, &[]);
        self.sync()?;
        self.error = Some(Error::Closed);
        Ok(())
    }

    /// Takes note that the caller synced [`Self::file`] after the first `bytes` bytes were flushed.
    #[cfg(test)]
    pub fn note_synced(&mut self, bytes: u64) {
        self.synced = self.synced.max(bytes.min(self.flushed));
    }

    /// Ends the use of this log with `error`, unless an earlier one did. Returns the error that
    /// counts.
    pub fn fail(&mut self, error: Error) -> Error {
        self.error.get_or_insert(error).clone()
    }

    /// The error that ended the use of this log, if one did.
    pub fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// The log's length in bytes, what is still in the buffer included.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// The bytes handed to the operating system.
    #[must_use]
    pub fn flushed_bytes(&self) -> u64 {
        self.flushed
    }

    /// The bytes known to survive a power cut.
    #[cfg(test)]
    #[must_use]
    pub fn synced_bytes(&self) -> u64 {
        self.synced
    }

    /// The file, to sync it without holding up appends.
    #[must_use]
    pub fn file(&self) -> Arc<dyn WritableFile> {
        Arc::clone(&self.file)
    }
}
