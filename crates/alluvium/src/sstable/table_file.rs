//! A table's file as blocks: reading one, and checking it as it leaves the disk.
//!
//! This is the only place where bytes of a table are read, and every block that passes is whole,
//! stands where it belongs, and is uncompressed. Everything behind here can trust that.
//!
//! A block that cannot be read, or does not check, is read once more, past every cache of this
//! process: a device may fail once, and a bit may flip on its way. What fails twice is the answer.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::planted;
use crate::env::ReadableFile;
use crate::metrics::Counters;
use crate::sstable::compression::{Codec, Unpacker};
use crate::sstable::format::{BLOCK_TRAILER_BYTES, BlockHandle, Malformed};

/// A block of more bytes than this is not read into memory that a thread keeps.
const LENT_BYTES_MAX: usize = 32 << 10;

thread_local! {
    /// Memory for a block that is looked into and forgotten.
    static LENT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An open file, and what it is called.
#[derive(Debug)]
pub(super) struct TableFile {
    file: Arc<dyn ReadableFile>,
    pub(super) number: FileNumber,
    pub(super) name: String,
    pub(super) length: u64,
    /// What is known of the table's blocks: nothing at first.
    pub(super) unpacker: Unpacker,
    counters: Arc<Counters>,
}

impl TableFile {
    pub(super) fn new(
        file: Arc<dyn ReadableFile>,
        number: FileNumber,
        name: String,
        counters: Arc<Counters>,
    ) -> Result<TableFile> {
        let length = file.length().map_err(|source| Error::io("measure", name.as_str(), source))?;
        Ok(TableFile { file, number, name, length, unpacker: Unpacker::default(), counters })
    }

    /// Damage in the block at `offset`.
    pub(super) fn damaged(&self, offset: u64, malformed: Malformed) -> Error {
        Error::corruption(self.name.as_str(), offset, malformed.0)
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let count = self
            .file
            .read_at(offset, buffer)
            .map_err(|source| Error::io("read", self.name.as_str(), source))?;
        if count < buffer.len() {
            return Err(self.damaged(
                offset.saturating_add(count as u64),
                Malformed("the file ends before its last block does"),
            ));
        }
        Ok(())
    }

    /// Takes note that something is read a second time because the first went wrong.
    pub(super) fn note_reread(&self) {
        self.counters.rereads.add(1);
    }

    /// Reads the contents of a block.
    pub(super) fn read_block(&self, handle: BlockHandle) -> Result<Bytes> {
        self.read_block_once(handle).or_else(|_| self.reread_block(handle))
    }

    /// Reads the contents of a block that could not be read, or did not check, the first time.
    #[cold]
    pub(super) fn reread_block(&self, handle: BlockHandle) -> Result<Bytes> {
        self.note_reread();
        self.read_block_once(handle)
    }

    /// The same for a block that is always stored as it is: with another codec it is refused before
    /// anything is decompressed.
    pub(super) fn read_plain_block(&self, handle: BlockHandle) -> Result<Bytes> {
        self.read_plain_once(handle).or_else(|_| {
            self.note_reread();
            self.read_plain_once(handle)
        })
    }

    fn read_plain_once(&self, handle: BlockHandle) -> Result<Bytes> {
        let stored = self.read_stored(handle)?;
        let tag_at = handle.stored_bytes() - BLOCK_TRAILER_BYTES;
        if stored.get(tag_at) != Some(&Codec::None.tag()) {
            let detail = Malformed("a block that is never compressed says that it is");
            return Err(self.damaged(handle.offset, detail));
        }
        self.open_block(handle, stored)
    }

    /// The handle is sane; whether it lies in the file is found out before anything is allocated
    /// for it.
    fn read_stored(&self, handle: BlockHandle) -> Result<Bytes> {
        self.check_end(handle)?;
        let mut stored = vec![0; handle.stored_bytes()];
        self.read_into(handle.offset, &mut stored)?;
        Ok(Bytes::from(stored))
    }

    fn check_end(&self, handle: BlockHandle) -> Result<()> {
        if handle.end() > self.length {
            let detail = Malformed("the file ends before its last block does");
            return Err(self.damaged(handle.offset, detail));
        }
        Ok(())
    }

    /// Whether [`Self::look`] looks into a block without making a new place for it.
    pub(super) fn lends(&self, handle: BlockHandle) -> bool {
        handle.stored_bytes() <= LENT_BYTES_MAX
    }

    /// Reads the contents of a block and shows them to `look`: in memory that this thread uses
    /// again and again, where the block [is not too large](Self::lends).
    pub(super) fn look<R>(&self, handle: BlockHandle, look: impl Fn(&[u8]) -> R) -> Result<R> {
        // A thread that is at its end has kept nothing.
        let mut memory = LENT.try_with(Cell::take).unwrap_or_default();
        let looked = self.look_once(handle, &mut memory, &look).or_else(|_| {
            self.note_reread();
            self.look_once(handle, &mut memory, &look)
        });
        if memory.len() <= LENT_BYTES_MAX {
            let _gone = LENT.try_with(|lent| lent.set(memory));
        }
        looked
    }

    fn look_once<R>(
        &self,
        handle: BlockHandle,
        memory: &mut Vec<u8>,
        look: impl Fn(&[u8]) -> R,
    ) -> Result<R> {
        self.check_end(handle)?;
        let bytes = handle.stored_bytes();
        if memory.len() < bytes {
            memory.reserve_exact(bytes - memory.len());
            memory.resize(bytes, 0);
        }
        let stored = &mut memory[..bytes];
        self.read_into(handle.offset, stored)?;
        let contents = check_stored(stored, handle, self.number)
            .and_then(|(codec, contents)| match codec {
                Codec::None => Ok(Cow::Borrowed(contents)),
                codec => self.unpacker.decompress(codec, contents).map(Cow::Owned),
            })
            .map_err(|malformed| self.damaged(handle.offset, malformed))?;
        Ok(look(&contents))
    }

    fn read_block_once(&self, handle: BlockHandle) -> Result<Bytes> {
        self.open_block(handle, self.read_stored(handle)?)
    }

    /// Checks a block as it is stored, trailer included, and gives its contents: a slice of
    /// `stored` where it is not compressed.
    pub(super) fn open_block(&self, handle: BlockHandle, stored: Bytes) -> Result<Bytes> {
        open_stored(stored, handle, self.number, &self.unpacker)
            .map_err(|malformed| self.damaged(handle.offset, malformed))
    }
}

/// The contents of the block at `handle` of file `number`, which is stored as `stored`.
pub(super) fn open_stored(
    mut stored: Bytes,
    handle: BlockHandle,
    number: FileNumber,
    unpacker: &Unpacker,
) -> std::result::Result<Bytes, Malformed> {
    match check_stored(&stored, handle, number)? {
        (Codec::None, contents) => {
            stored.truncate(contents.len());
            Ok(stored)
        }
        (codec, contents) => unpacker.decompress(codec, contents).map(Bytes::from),
    }
}

/// The codec and the still compressed contents of a block as it is stored.
fn check_stored(
    stored: &[u8],
    handle: BlockHandle,
    number: FileNumber,
) -> std::result::Result<(Codec, &[u8]), Malformed> {
    const NO_TRAILER: Malformed = Malformed("a block without a trailer");
    let (checked, sum) = stored.split_last_chunk::<8>().ok_or(NO_TRAILER)?;
    let sound = u64::from_le_bytes(*sum) == checksum(checked, number.0, handle.offset);
    if !sound && !planted::is("block-checksum-ignored") {
        return Err(Malformed("the block's checksum does not match"));
    }
    let (&tag, contents) = checked.split_last().ok_or(NO_TRAILER)?;
    let codec = Codec::from_tag(tag);
    Ok((codec.ok_or(Malformed("a codec that this version does not know"))?, contents))
}
