//! Writes a blob file: values in, their indexes out.

use std::sync::Arc;

use crate::base::blob::BlobIndex;
use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::limits::VALUE_BYTES_MAX;
use crate::base::planted;
use crate::blob::encode_header;
use crate::env::{PieceWriter, WritableFile};

/// A finished blob file: what the manifest says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobSummary {
    /// The file's number.
    pub(crate) number: FileNumber,
    /// The file's length.
    pub(crate) bytes: u64,
}

/// Writes one blob file. One owner; what a failed append leaves is left alone.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    number: FileNumber,
    pieces: PieceWriter,
}

impl BlobWriter {
    /// Writes blob file `number` to the empty `file`, called `name` in messages.
    pub(crate) fn create(
        file: Arc<dyn WritableFile>,
        number: FileNumber,
        name: String,
    ) -> Result<BlobWriter> {
        let mut pieces = PieceWriter::new(file, name);
        pieces.push(&encode_header(number))?;
        Ok(BlobWriter { number, pieces })
    }

    /// Appends a value.
    pub(crate) fn append(&mut self, value: &[u8]) -> Result<BlobIndex> {
        self.pieces.check()?;
        let fits = value.len() <= VALUE_BYTES_MAX;
        let bytes = u32::try_from(value.len()).ok().filter(|_| fits);
        let bytes = bytes.ok_or_else(|| Error::invalid("a value over its limit"))?;
        let offset = self.pieces.offset();
        let checksum = checksum(value, self.number.0, offset);
        self.pieces.push(value)?;
        Ok(BlobIndex { file: self.number, offset, bytes, checksum })
    }

    /// The length of the file so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.offset()
    }

    /// Completes the file and makes it survive a power cut; its name is not durable on return.
    pub(crate) fn finish(mut self) -> Result<BlobSummary> {
        self.pieces.check()?;
        self.pieces.append_buffered()?;
        if !planted::is("blob-not-synced") {
            self.pieces.sync()?;
        }
        Ok(BlobSummary { number: self.number, bytes: self.pieces.offset() })
    }
}
