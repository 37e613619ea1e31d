//! Reads values from blob files.
//!
//! A bounded number of files is kept open, by use (`quick_cache`); one that is closed while
//! somebody reads from it stays open for as long as that takes. Values go through the block cache
//! like blocks of tables: file numbers are given out once for files of every kind.
//!
//! A value that cannot be read, or does not check, is read once more: a device may fail once, and a
//! bit may flip on its way. What fails twice is the answer.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;

use crate::base::blob::BlobIndex;
use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::planted;
use crate::base::sync::Mutex;
use crate::blob::spare::{Fit, LENT_BYTES_MIN, Lent, SpareMemory};
use crate::blob::{BLOB_HEADER_BYTES, BLOB_VERSION, BadHeader, check_header};
use crate::cache::BlockCache;
use crate::env::{Env, ReadableFile};
use crate::metrics::Counters;

/// An open file.
#[derive(Debug)]
struct OpenBlob {
    file: Arc<dyn ReadableFile>,
    length: u64,
}

/// What a value is read into.
enum Memory {
    Own(Vec<u8>),
    Lent(Lent),
}

impl Memory {
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Own(bytes) => bytes,
            Memory::Lent(lent) => lent.bytes_mut(),
        }
    }

    fn into_value(self) -> Bytes {
        match self {
            Memory::Own(bytes) => Bytes::from(bytes),
            Memory::Lent(lent) => lent.into_value(),
        }
    }
}

/// The blob files of a store, open or not.
pub(crate) struct BlobFiles {
    env: Arc<dyn Env>,
    cache: Arc<BlockCache>,
    counters: Arc<Counters>,
    open: Cache<FileNumber, Arc<OpenBlob>>,
    spare: Arc<SpareMemory>,
    /// Files in which a value could not be read that was to be written anew: there is no use in
    /// trying again in this life of the store.
    unreadable: Mutex<HashSet<FileNumber>>,
}

impl std::fmt::Debug for BlobFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobFiles").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl BlobFiles {
    /// At most about `open_max` files (at least 1) are kept open.
    pub(crate) fn new(
        env: Arc<dyn Env>,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
        open_max: usize,
    ) -> BlobFiles {
        BlobFiles {
            env,
            cache,
            counters,
            open: Cache::new(open_max.max(1)),
            spare: Arc::default(),
            unreadable: Mutex::default(),
        }
    }

    /// The value at `index`, of a file that is live. `fill_cache` says whether it may stay in the
    /// block cache.
    pub(crate) fn read(&self, index: &BlobIndex, fill_cache: bool) -> Result<Bytes> {
        if let Some(value) = self.cache.get(index.file, index.offset)
            && value.len() == index.bytes as usize
        {
            self.counters.blob_cache_hits.add(1);
            return Ok(value);
        }
        if fill_cache && self.cache.wants(index.file, index.offset) {
            // The cache counts the bytes of a value, and no more.
            let value = self.read_twice(index, Fit::Exact)?;
            self.cache.insert(index.file, index.offset, value.clone());
            return Ok(value);
        }
        self.read_past_cache(index)
    }

    /// The same from the file, whatever the cache has.
    pub(crate) fn read_past_cache(&self, index: &BlobIndex) -> Result<Bytes> {
        self.read_twice(index, Fit::Close)
    }

    fn read_twice(&self, index: &BlobIndex, fit: Fit) -> Result<Bytes> {
        self.counters.blob_reads.add(1);
        self.counters.blob_read_bytes.add(u64::from(index.bytes));
        let blob = self.open(index.file)?;
        self.read_once(&blob, index, fit).or_else(|_| {
            self.counters.rereads.add(1);
            self.read_once(&blob, index, fit)
        })
    }

    fn read_once(&self, blob: &OpenBlob, index: &BlobIndex, fit: Fit) -> Result<Bytes> {
        let name = || self.env.display(FileId::Blob(index.file));
        let damaged = |detail| Error::corruption(name(), index.offset, detail);
        let ends = index.offset.checked_add(u64::from(index.bytes));
        // Before anything is allocated for it.
        if ends.is_none_or(|end| end > blob.length) || index.offset < BLOB_HEADER_BYTES as u64 {
            return Err(damaged("a value is said to lie outside of its blob file"));
        }
        let mut memory = match index.bytes as usize {
            bytes @ LENT_BYTES_MIN.. => Memory::Lent(self.spare.take(bytes, fit)),
            bytes => Memory::Own(vec![0; bytes]),
        };
        let value = memory.bytes_mut();
        let read = blob.file.read_at(index.offset, value);
        let read = read.map_err(|source| Error::io("read", name(), source))?;
        if read < value.len() {
            return Err(damaged("the blob file ends inside of a value"));
        }
        if checksum(value, index.file.0, index.offset) != index.checksum
            && !planted::is("blob-checksum-ignored")
        {
            return Err(damaged("the checksum of a value does not match"));
        }
        Ok(memory.into_value())
    }

    fn open(&self, number: FileNumber) -> Result<Arc<OpenBlob>> {
        if let Some(blob) = self.open.get(&number) {
            return Ok(blob);
        }
        let blob = Arc::new(self.open_file(number)?);
        self.open.insert(number, Arc::clone(&blob));
        Ok(blob)
    }

    fn open_file(&self, number: FileNumber) -> Result<OpenBlob> {
        let (blob, segment) = (FileId::Blob(number), FileId::Wal(number));
        let name = self.env.display(blob);
        // One that was a segment of the log gets its new name at some time or other.
        let opened = [blob, segment, blob].into_iter().find_map(|id| match self.env.open(id) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened),
        });
        let missing = || Error::corruption(name.as_str(), 0, "the blob file is missing");
        let file = opened.ok_or_else(missing)?;
        let file = file.map_err(|source| Error::io("open", name.as_str(), source))?;
        let failed = |operation| {
            let name = name.clone();
            move |source| Error::io(operation, name, source)
        };
        let length = file.length().map_err(failed("measure"))?;
        let mut header = [0; BLOB_HEADER_BYTES];
        let read = file.read_at(0, &mut header).map_err(failed("read"))?;
        if read < header.len() {
            return Err(Error::corruption(name, 0, "the blob file ends inside of its header"));
        }
        match check_header(&header, number) {
            Ok(()) => Ok(OpenBlob { file, length }),
            Err(BadHeader::Damaged(detail)) => Err(Error::corruption(name, 0, detail)),
            Err(BadHeader::Version(found)) => {
                Err(Error::UnsupportedFormat { file: name, found, supported: BLOB_VERSION })
            }
        }
    }

    /// Fails where file `number` cannot be opened, or is shorter than `bytes` bytes.
    pub(crate) fn check(&self, number: FileNumber, bytes: u64) -> Result<()> {
        let blob = self.open(number)?;
        if blob.length >= bytes {
            return Ok(());
        }
        let detail = format!("it is {} bytes long, and was {bytes}", blob.length);
        Err(Error::corruption(self.env.display(FileId::Blob(number)), blob.length, detail))
    }

    /// Takes note that a value in file `number` could not be read.
    pub(crate) fn note_unreadable(&self, number: FileNumber) {
        self.unreadable.lock().insert(number);
    }

    /// Whether that was noted of file `number`.
    pub(crate) fn is_unreadable(&self, number: FileNumber) -> bool {
        self.unreadable.lock().contains(&number)
    }

    /// The files of which that was noted.
    pub(crate) fn unreadable(&self) -> HashSet<FileNumber> {
        self.unreadable.lock().clone()
    }

    /// Closes file `number` if it is open: it is about to be removed.
    pub(crate) fn forget(&self, number: FileNumber) {
        drop(self.open.remove(&number));
        self.unreadable.lock().remove(&number);
    }
}
