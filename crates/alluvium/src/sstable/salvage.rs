//! What is left of a damaged table: a cursor over the entries of every block that checks.
//!
//! A [`Salvage`] needs no part of the file to be whole. With an index it goes from block to block
//! and steps over those that do not check. Without one (its own block, the footer, or the file's
//! end is damaged) the blocks are found again by [`Carver`]. What stands behind the blocks is found
//! by [`Remains`].
//!
//! Nothing is believed that is not under a checksum, and a block is walked through to its end
//! before its first entry is given: keys ascending, kinds known, values where they belong. What is
//! stepped over is noted as a [`Gap`], and the cursor never fails: it only finds less.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::blob::BlobIndex;
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::iterator::InternalIterator;
use crate::base::key::{ValueKind, compare, trailer_kind, try_split, user_key};
use crate::base::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::base::sync::Mutex;
use crate::env::ReadableFile;
use crate::metrics::Counters;
use crate::ranges::Fragments;
use crate::sstable::block::{Block, Entry};
use crate::sstable::block_iter::BlockIter;
use crate::sstable::carve::Carver;
use crate::sstable::format::{BlockHandle, Malformed};
use crate::sstable::properties::Properties;
use crate::sstable::read_ahead::ReadAhead;
use crate::sstable::remains::Remains;
use crate::sstable::table_file::TableFile;

/// Bytes of a table that gave no entries.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    /// Where they begin.
    pub(crate) offset: u64,
    /// How many they are.
    pub(crate) bytes: u64,
    /// The last user key before them; `None` at the table's start.
    pub(crate) after: Option<Vec<u8>>,
    /// The first user key behind them; `None` at the table's end.
    pub(crate) before: Option<Vec<u8>>,
    /// What does not hold.
    pub(crate) detail: String,
}

/// What a salvage has found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Entries in blocks that were read.
    pub(crate) entries: u64,
    /// What was stepped over, in order.
    pub(crate) gaps: Vec<Gap>,
    /// Whether there were range tombstones, or may have been, and they cannot be read: a gap says
    /// so.
    pub(crate) ranges_lost: bool,
}

/// Where the next block comes from.
enum Blocks {
    /// The index is whole: where each block begins, and where the last ends.
    Indexed {
        offsets: Vec<u64>,
        position: usize,
    },
    Carved(Carver),
}

/// A cursor over what is left of a table, forwards only.
pub(crate) struct Salvage {
    file: TableFile,
    blocks: Blocks,
    ahead: ReadAhead,
    block: BlockIter,
    /// The last key of the last block that was read; empty before the first.
    last: Vec<u8>,
    /// A gap whose end is not found yet.
    open_gap: Option<Gap>,
    findings: Arc<Mutex<Findings>>,
    properties: Option<Properties>,
    ranges: Fragments,
    footer_checksum: Option<u64>,
}

impl Salvage {
    /// Looks for the parts of table `number`, called `name` in messages. What is found and what is
    /// stepped over is noted in `findings`. `range_tombstones` is how many it had, where that is
    /// known from elsewhere.
    ///
    /// # Errors
    /// A file whose length cannot be found out, and a format that this build does not read.
    pub(crate) fn open(
        file: Arc<dyn ReadableFile>,
        number: FileNumber,
        name: String,
        range_tombstones: Option<u64>,
        findings: Arc<Mutex<Findings>>,
    ) -> Result<Salvage> {
        let mut file = TableFile::new(file, number, name, Arc::new(Counters::default()))?;
        let remains = Remains::find(&mut file, range_tombstones)?;
        let ranges = remains.ranges.unwrap_or_else(|gap| {
            let mut findings = findings.lock();
            findings.ranges_lost = true;
            findings.gaps.push(gap);
            Fragments::default()
        });
        let blocks = match (remains.offsets, remains.data_end) {
            (Some(offsets), _) => Blocks::Indexed { offsets, position: 0 },
            (None, Some(end)) => Blocks::Carved(Carver::up_to(end)),
            (None, None) => Blocks::Carved(Carver::without_end(file.length)),
        };
        Ok(Salvage {
            file,
            blocks,
            ahead: ReadAhead::sequential(),
            block: BlockIter::default(),
            last: Vec::new(),
            open_gap: None,
            findings,
            properties: remains.properties,
            ranges,
            footer_checksum: remains.footer_checksum,
        })
    }

    /// What the table says of itself, where that can be read.
    pub(crate) fn properties(&self) -> Option<&Properties> {
        self.properties.as_ref()
    }

    /// The range tombstones, as far as they can be read.
    pub(crate) fn ranges(&self) -> &Fragments {
        &self.ranges
    }

    /// The checksum in the footer, where it holds, or does but for one byte.
    pub(crate) fn footer_checksum(&self) -> Option<u64> {
        self.footer_checksum
    }

    /// The next block as it was found, or what is wrong with it; `None` behind the last.
    fn next_block(&mut self) -> Option<(BlockHandle, std::result::Result<Block, String>)> {
        match &mut self.blocks {
            Blocks::Indexed { offsets, position } => {
                let (&start, &end) = (offsets.get(*position)?, offsets.get(*position + 1)?);
                *position += 1;
                let handle = BlockHandle::between(start, end);
                Some((handle, read_block(&self.file, &mut self.ahead, handle)))
            }
            Blocks::Carved(carver) => carver.next(&self.file),
        }
    }

    /// Makes the next block that is sound the current one, its first entry the current entry.
    fn advance(&mut self) {
        self.block.unload();
        while let Some((handle, found)) = self.next_block() {
            let walked = found.and_then(|block| match self.walk(&block) {
                Ok(walked) => Ok((block, walked)),
                Err(malformed) => Err(malformed.0.to_owned()),
            });
            match walked {
                Ok((block, Walked { first, last, entries })) => {
                    self.end_gap(Some(user_key(&first).to_vec()));
                    self.last = last;
                    self.findings.lock().entries += entries;
                    self.block.load(block);
                    if self.block.seek_to_first().is_ok() && self.block.valid() {
                        return;
                    }
                }
                Err(detail) => self.note_gap(handle, detail),
            }
            self.block.unload();
        }
        if let Blocks::Carved(carver) = &mut self.blocks
            && let Some(offset) = carver.take_uncertain_end()
            && self.open_gap.is_none()
        {
            let detail = "the table's end cannot be read, nor how much was in it".to_owned();
            let after = try_split(&self.last).map(|(user_key, _)| user_key.to_vec());
            self.open_gap = Some(Gap { offset, bytes: 0, after, before: None, detail });
        }
        self.end_gap(None);
    }

    /// Goes through a block to its end, holding each entry against the one before.
    fn walk(&self, block: &Block) -> std::result::Result<Walked, Malformed> {
        const NOT_SO_WRITTEN: Malformed = Malformed("the block's entries are not as written");
        let head = Entry::decode(block.entries(), 0)?;
        let mut walk = BlockIter::default();
        walk.load(block.clone());
        walk.seek_to_first()?;
        let mut walked = Walked { first: Vec::new(), last: self.last.clone(), entries: 0 };
        while walk.valid() {
            let (key, value) = (walk.key(), walk.value());
            let (user_key, trailer) = try_split(key).ok_or(NOT_SO_WRITTEN)?;
            let kind = trailer_kind(trailer).ok_or(NOT_SO_WRITTEN)?;
            let in_order = walked.last.is_empty() || compare(&walked.last, key) == Ordering::Less;
            let fits = user_key.len() <= KEY_BYTES_MAX
                && value.len() <= VALUE_BYTES_MAX
                && (kind != ValueKind::Delete || value.is_empty())
                && (!kind.is_blob() || BlobIndex::of_entry(kind, value).is_some());
            if !in_order || !fits {
                return Err(NOT_SO_WRITTEN);
            }
            if walked.entries == 0 {
                walked.first = key.to_vec();
            }
            walked.last.clear();
            walked.last.extend_from_slice(key);
            walked.entries += 1;
            walk.next()?;
        }
        if walked.entries == 0 || head.shared != 0 {
            return Err(NOT_SO_WRITTEN);
        }
        Ok(walked)
    }

    /// Notes bytes that gave nothing; neighbours become one gap.
    fn note_gap(&mut self, handle: BlockHandle, detail: String) {
        let end = handle.end();
        match &mut self.open_gap {
            Some(gap) => gap.bytes = end - gap.offset,
            None => {
                let after = try_split(&self.last).map(|(user_key, _)| user_key.to_vec());
                let (offset, bytes) = (handle.offset, end - handle.offset);
                self.open_gap = Some(Gap { offset, bytes, after, before: None, detail });
            }
        }
    }

    fn end_gap(&mut self, before: Option<Vec<u8>>) {
        if let Some(mut gap) = self.open_gap.take() {
            gap.before = before;
            self.findings.lock().gaps.push(gap);
        }
    }
}

/// A block that was walked through.
struct Walked {
    first: Vec<u8>,
    last: Vec<u8>,
    entries: u64,
}

fn read_block(
    file: &TableFile,
    ahead: &mut ReadAhead,
    handle: BlockHandle,
) -> std::result::Result<Block, String> {
    if handle.end() > file.length {
        return Err("the file ends before the block does".to_owned());
    }
    let contents = ahead
        .stored(file, handle, file.length, true)
        .and_then(|stored| file.open_block(handle, stored))
        .or_else(|_| file.reread_block(handle));
    let contents = contents.map_err(|error| match error {
        Error::Corruption { detail, .. } => detail,
        other => other.to_string(),
    })?;
    Block::from_disk(contents).map_err(|malformed| malformed.0.to_owned())
}

impl InternalIterator for Salvage {
    fn valid(&self) -> bool {
        self.block.valid()
    }

    /// Begins; a salvage is gone through once.
    fn seek_to_first(&mut self) -> Result<()> {
        self.advance();
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        Err(forwards_only())
    }

    fn seek(&mut self, _target: &[u8]) -> Result<()> {
        Err(forwards_only())
    }

    fn seek_for_prev(&mut self, _target: &[u8]) -> Result<()> {
        Err(forwards_only())
    }

    fn next(&mut self) -> Result<()> {
        // The block was walked through when it was taken: no step within it fails.
        if self.block.next().is_err() || !self.block.valid() {
            self.advance();
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        Err(forwards_only())
    }

    fn key(&self) -> &[u8] {
        self.block.key()
    }

    fn value(&self) -> &[u8] {
        self.block.value()
    }

    fn value_handle(&self) -> Bytes {
        self.block.value_handle()
    }
}

fn forwards_only() -> Error {
    Error::invalid("a damaged table is read forwards, once")
}
