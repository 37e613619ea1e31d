//! Values that stand apart from their keys: writing them, moving them, and when that is due.
//!
//! A flush, and a merge that meets a large value beside its key, writes it to a blob file and the
//! index in its place; a flush leaves it in the log where that will do ([`LogValues`]). A merge
//! carries indexes along. Only where the file that one leads to is *sparse*, half of it or more
//! garbage, the value is read and written anew, so that the sparse file is needed by nobody in the
//! end and goes.
//!
//! Garbage is known once a merge drops the entry that needed it: what lies in files of dropped
//! tables is nobody's. Where sparse files come to hold much of it, tables are rewritten for that
//! alone, the one that needs most of them first ([`pick_emptying`]).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::base::blob::{BlobIndex, LogPlace};
use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::expiry::EXPIRY_BYTES;
use crate::base::file::FileNumber;
use crate::base::key::{self, SeqNo, ValueKind};
use crate::blob::BlobWriter;
use crate::compaction::job::{JobContext, JobOutput};
use crate::compaction::leveled::one_table;
use crate::compaction::{Action, Compaction, Reason, TablePlace, View, WindowSplit, reclaim};
use crate::version::BlobUsage;

/// A blob file of this length is ended, and another begun.
const BLOB_FILE_BYTES: u64 = 256 << 20;

/// Values of memtables that lie in segments of the log, by their sequence numbers: they need not be
/// written again.
#[derive(Debug, Default)]
pub(crate) struct LogValues(HashMap<SeqNo, LogPlace>);

impl LogValues {
    /// Takes note that the value that was written as `seq` lies there.
    pub(crate) fn note(&mut self, seq: SeqNo, place: LogPlace) {
        self.0.insert(seq, place);
    }

    /// Forgets those in segments that `keeps` does not hold.
    pub(crate) fn retain(&mut self, keeps: impl Fn(FileNumber) -> bool) {
        self.0.retain(|_, place| keeps(place.file));
    }

    /// The index of `value`, which was written as `seq`, where it is known to lie in the log.
    fn index(&self, seq: SeqNo, value: &[u8]) -> Option<BlobIndex> {
        let LogPlace { file, offset, bytes } = *self.0.get(&seq)?;
        let checksum = || checksum(value, file.0, offset);
        let is_it = value.len() == bytes as usize;
        is_it.then(|| BlobIndex { file, offset, bytes, checksum: checksum() })
    }
}

/// Which blob files a job empties: of the values that it meets, it writes those in them anew.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Emptied<'a> {
    /// None.
    None,
    /// These.
    Some(&'a HashSet<FileNumber>),
    /// All that there are.
    All,
}

impl Emptied<'_> {
    fn has_any(self) -> bool {
        match self {
            Emptied::None => false,
            Emptied::Some(files) => !files.is_empty(),
            Emptied::All => true,
        }
    }

    fn contains(self, file: FileNumber) -> bool {
        match self {
            Emptied::None => false,
            Emptied::Some(files) => files.contains(&file),
            Emptied::All => true,
        }
    }
}

/// The blob files that a job writes, one at a time.
pub(crate) struct BlobOutputs<'a> {
    context: &'a JobContext<'a>,
    /// Values from this length on stand apart.
    bytes_min: usize,
    writer: Option<BlobWriter>,
    /// Bytes of values read and written anew since somebody asked.
    moved_bytes: usize,
}

impl<'a> BlobOutputs<'a> {
    /// Takes values of `bytes_min` bytes and more, and those of sparse files.
    pub(crate) fn new(context: &'a JobContext<'a>, bytes_min: usize) -> BlobOutputs<'a> {
        BlobOutputs { context, bytes_min, writer: None, moved_bytes: 0 }
    }

    /// Whether an entry may have a value for a blob file: a quick look.
    #[inline]
    pub(super) fn may_take(&self, internal_key: &[u8], value: &[u8]) -> bool {
        value.len() >= self.bytes_min
            || (self.context.emptied.has_any()
                && key::trailer_kind(key::trailer(internal_key)).is_some_and(ValueKind::is_blob))
    }

    /// Writes the value of an entry to a blob file, or takes it out of one, where that is due, and
    /// gives the entry that stands in its place: its key, and what it has for a value.
    pub(crate) fn take(
        &mut self,
        internal_key: &[u8],
        value: &[u8],
        output: &mut JobOutput,
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let (user_key, trailer) = key::split(internal_key);
        let Some(kind) = key::trailer_kind(trailer) else { return Ok(None) };
        let expiry_bytes = if kind.expires() { EXPIRY_BYTES } else { 0 };
        let (expiry, stored) = value.split_at(expiry_bytes.min(value.len()));
        let seq = key::trailer_seq(trailer);
        let mut new_value = expiry.to_vec();
        let new_kind = if let Some(apart) = kind.with_blob() {
            if stored.len() < self.bytes_min {
                return Ok(None);
            }
            let index = match self.context.in_log.and_then(|log| log.index(seq, stored)) {
                Some(index) => index,
                None => self.append(stored, output)?,
            };
            index.encode_into(&mut new_value);
            apart
        } else if let Some(beside) = kind.without_blob() {
            let index = BlobIndex::decode(stored)
                .ok_or_else(|| Error::invalid("a blob index that is none"))?;
            if !self.context.emptied.contains(index.file) {
                return Ok(None);
            }
            let Some(moved) = self.read(&index, output)? else { return Ok(None) };
            self.moved_bytes = self.moved_bytes.saturating_add(moved.len());
            // It goes where a new one of its length goes; but none of those of a whole store, with
            // which a table would have no bound.
            if moved.len() < self.bytes_min && !matches!(self.context.emptied, Emptied::All) {
                new_value.extend_from_slice(&moved);
                beside
            } else {
                self.append(&moved, output)?.encode_into(&mut new_value);
                kind
            }
        } else {
            return Ok(None);
        };
        let mut new_key = Vec::with_capacity(internal_key.len());
        key::encode_into(&mut new_key, user_key, key::pack_trailer(seq, new_kind));
        Ok(Some((new_key, new_value)))
    }

    /// The value to be moved; `None` where it cannot be read and may stay where it is. A failure of
    /// the disk ends the job, which is tried again and does without; damage stays damage.
    fn read(&self, index: &BlobIndex, output: &mut JobOutput) -> Result<Option<Bytes>> {
        let JobContext { blobs, emptied, .. } = self.context;
        let must_move = matches!(emptied, Emptied::All);
        if !must_move && blobs.is_unreadable(index.file) {
            return Ok(None);
        }
        match blobs.read_past_cache(index) {
            Ok(value) => Ok(Some(value)),
            Err(error) if must_move => Err(error),
            Err(error) => {
                blobs.note_unreadable(index.file);
                if !error.is_corruption() {
                    return Err(error);
                }
                output.unreadable.get_or_insert(error);
                Ok(None)
            }
        }
    }

    /// Bytes of values that were read and written anew since this was asked last.
    #[inline]
    pub(crate) fn take_moved_bytes(&mut self) -> usize {
        std::mem::take(&mut self.moved_bytes)
    }

    fn append(&mut self, value: &[u8], output: &mut JobOutput) -> Result<BlobIndex> {
        let is_full = |writer: &BlobWriter| {
            writer.bytes().saturating_add(value.len() as u64) > BLOB_FILE_BYTES
        };
        if self.writer.as_ref().is_some_and(is_full) {
            self.finish(output)?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(self.context.begin_blob(output)?),
        };
        writer.append(value)
    }

    /// Completes the file under way.
    pub(crate) fn finish(&mut self, output: &mut JobOutput) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            output.blobs.push(writer.finish()?);
        }
        Ok(())
    }
}

/// A rewrite of the table that needs most of the sparse blob files, where they hold so much garbage
/// that it pays. The table stays where it is.
pub(crate) fn pick_emptying(
    view: &View<'_>,
    usage: &BlobUsage,
    table_bytes: u64,
    windows: Option<WindowSplit>,
) -> Option<Compaction> {
    if !usage.is_wasteful() {
        return None;
    }
    let tables = view.version.levels().enumerate().flat_map(|(level, of)| {
        of.tables().iter().filter(|table| !table.blobs.is_empty()).map(move |table| (level, table))
    });
    let needs = tables.map(|(level, table)| (usage.sparse_bytes(&table.blobs), level, table));
    let free = needs.filter(|(bytes, _, table)| *bytes > 0 && view.is_free(table));
    let (_, level, table) = free.max_by_key(|(bytes, _, table)| (*bytes, table.number))?;
    let bottom = !reclaim::lies_over_older(view.version, level, table);
    Some(Compaction {
        reason: Reason::BlobGarbage,
        action: Action::Merge,
        inputs: vec![one_table(level, table)],
        place: TablePlace { level, depth: level.max(1), bottom },
        table_bytes,
        grandparents: Vec::new(),
        // A deeper level is one sorted run, whatever windows its keys fall into.
        windows: windows.filter(|_| level == 0),
    })
}
