//! A file that is its bytes and nothing else: what a fuzz target reads from and writes to.
//!
//! `MemEnv` knows what a crash would leave of each byte, which is more than a parser asks and costs
//! more than most of them do.

use std::io;

use crate::base::sync::Mutex;
use crate::env::{ReadableFile, WritableFile};

/// The first byte of a checksum that the fuzz targets leave as it is where they seal bytes.
pub const SPOILT: u8 = 0xbd;

/// Bytes that can be read as a file and appended to as one.
#[derive(Debug, Default)]
pub(crate) struct BytesFile {
    bytes: Mutex<Vec<u8>>,
}

impl BytesFile {
    /// A file of these bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> BytesFile {
        BytesFile { bytes: Mutex::new(bytes) }
    }

    /// What was written.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock())
    }
}

impl ReadableFile for BytesFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }
}

impl WritableFile for BytesFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
