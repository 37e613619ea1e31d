//! Replaying the log: from its segments back to memtables, and from those to tables.
//!
//! # The rule
//!
//! The store becomes the model at one sequence number S: every batch up to S is there, none behind
//! it. Segments are replayed in order up to the first place that does not hold. Such a place is a
//! *torn tail* if nothing behind it had been made durable when it was written, and damage
//! otherwise. Every batch frame says how far the log was durable when it was written, and an end
//! frame says that all before it was; so the frames that survive behind the place decide. Where a
//! later segment's header says that the segment ended before the place (a full disk cut it off),
//! the place is no part of the log at all.
//!
//! # Why what was replayed is written again
//!
//! After a crash of the process the log may be in the page cache only. Everything replayed goes
//! into synced tables before the first new write is acknowledged, so that no later power cut can
//! leave a hole between old and new. All families install in one edit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::atomic::AtomicBool;
use crate::batch::{BatchView, ColumnFamilyId};
use crate::blob::BlobFiles;
use crate::compaction;
use crate::compaction::blobs::Emptied;
use crate::compaction::flush::FlushSplit;
use crate::compaction::job::JobContext;
use crate::compaction::retain::{Now, Retain};
use crate::compaction::strategy::TimeWindows;
use crate::db::jobs::{blob_metas, check_tables};
use crate::env::Env;
use crate::memtable::Memtable;
use crate::options::{ColumnFamilyOptions, Options};
use crate::sstable::TableCache;
use crate::version::{BlobMeta, FileNumbers, TableMeta, VersionSet};
use crate::wal::frame::FRAME_HEADER_BYTES;
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// What the log gave back.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// New tables of level 0, oldest first.
    pub(crate) tables: Vec<(ColumnFamilyId, Arc<TableMeta>)>,
    /// New blob files.
    pub(crate) blobs: Vec<Arc<BlobMeta>>,
    pub(crate) last_seq: SeqNo,
}

/// What replaying needs.
pub(crate) struct Replay<'a> {
    pub(crate) env: &'a Arc<dyn Env>,
    pub(crate) options: &'a Options,
    pub(crate) versions: &'a VersionSet,
    pub(crate) tables: &'a Arc<TableCache>,
    pub(crate) blobs: &'a BlobFiles,
    pub(crate) numbers: &'a FileNumbers,
}

/// One segment, opened.
struct Segment {
    number: FileNumber,
    name: String,
    /// `None` when the header does not check.
    previous: Option<(FileNumber, u64)>,
    reader: LogReader,
    /// Whether any valid frame is in it.
    has_frames: bool,
}

/// A place of the log that does not hold.
struct Hole {
    file: String,
    offset: u64,
    detail: String,
}

impl Replay<'_> {
    /// Replays every segment that is still needed. On an error the tables written are removed.
    pub(crate) fn run(&self) -> Result<Recovered> {
        let mut state = State {
            replay: self,
            memtables: BTreeMap::new(),
            tables: Vec::new(),
            blobs: Vec::new(),
            last_seq: if planted::is("sequence-numbers-fall") {
                SeqNo::ZERO
            } else {
                self.versions.last_sequence()
            },
            replayed_seq: SeqNo::ZERO,
        };
        match self.run_into(&mut state) {
            Ok(()) => {
                let State { tables, blobs, last_seq, .. } = state;
                Ok(Recovered { tables, blobs, last_seq })
            }
            Err(error) => {
                for (_, table) in &state.tables {
                    drop(self.env.remove(FileId::Table(table.number)));
                }
                for blob in &state.blobs {
                    drop(self.env.remove(FileId::Blob(blob.number)));
                }
                Err(error)
            }
        }
    }

    fn run_into(&self, state: &mut State<'_>) -> Result<()> {
        let mut segments = self.open_segments()?;
        for index in 0..segments.len() {
            let hole = match self.missing_before(&segments, index) {
                Some(hole) => Some(hole),
                None => {
                    let next = segments.get(index + 1).and_then(|next| next.previous);
                    let here = segments[index].number;
                    let limit = next.filter(|(number, _)| *number == here).map(|(_, bytes)| bytes);
                    state.replay_segment(&mut segments[index], limit)?
                }
            };
            let Some(Hole { file, offset, detail }) = hole else { continue };
            if self.versions.is_closed_on_disk() {
                return Err(Error::corruption(file, offset, detail));
            }
            if planted::is("torn-tail-in-older-segment") && index + 1 < segments.len() {
                continue;
            }
            // Once something was replayed, everything behind it must be in the log: that one
            // family's tables reach further says nothing of the others.
            let known = match state.replayed_seq {
                SeqNo::ZERO => state.last_seq,
                replayed => replayed,
            };
            let tables_reach = self.versions.last_sequence();
            let behind = &mut segments[index..];
            let mut durable = is_durable_behind(behind, offset, known, tables_reach)?;
            if !durable {
                // A second look: a bit that flips on its way must not cost what was synced.
                behind.iter_mut().for_each(|segment| segment.reader.look_again());
                durable = is_durable_behind(behind, offset, known, tables_reach)?;
            }
            if durable && !planted::is("hole-always-torn-tail") {
                let detail = format!("{detail}; synced data is behind it");
                return Err(Error::corruption(file, offset, detail));
            }
            break;
        }
        if self.versions.is_closed_on_disk() {
            self.check_end(segments.last())?;
        }
        state.spill_all()
    }

    /// The log of a store that was closed in good order ends with an end frame. One that a repair
    /// made has none at all.
    fn check_end(&self, last: Option<&Segment>) -> Result<()> {
        let (file, offset) = match last {
            Some(segment) if segment.reader.has_ended() => return Ok(()),
            Some(segment) => (segment.name.clone(), segment.reader.length()),
            None => match self.versions.oldest_log_needed() {
                FileNumber(0) => return Ok(()),
                needed => (self.env.display(FileId::Wal(needed)), 0),
            },
        };
        Err(Error::corruption(file, offset, "the store was closed, and the log does not end so"))
    }

    /// The segments from the oldest that is needed, ascending. Trailing ones without a frame hold
    /// nothing, and may be left from an earlier recovery that did not finish: they are left out.
    fn open_segments(&self) -> Result<Vec<Segment>> {
        let needed = self.versions.oldest_log_needed();
        let mut numbers: Vec<FileNumber> = list_segments(self.env.as_ref())?;
        numbers.retain(|&number| number >= needed);
        if needed != FileNumber(0) && numbers.first() != Some(&needed) {
            return Err(Error::corruption(
                self.env.display(FileId::Wal(needed)),
                0,
                "the segment of the log is missing",
            ));
        }
        let mut segments = Vec::with_capacity(numbers.len());
        for number in numbers {
            segments.push(open_segment(self.env.as_ref(), number)?);
        }
        while segments.last().is_some_and(|segment: &Segment| !segment.has_frames) {
            segments.pop();
        }
        Ok(leave_out_abandoned(segments))
    }

    /// Each segment names the one before it; one whose name had not been synced may be missing
    /// after a power cut.
    fn missing_before(&self, segments: &[Segment], index: usize) -> Option<Hole> {
        let before = segments.get(index.checked_sub(1)?)?.number;
        let (previous, _) = segments[index].previous?;
        (previous != before).then(|| Hole {
            file: self.env.display(FileId::Wal(previous)),
            offset: 0,
            detail: format!("the segment of the log before {} is missing", segments[index].number),
        })
    }
}

/// Without the segments that were begun and given up before a frame was in them (the disk was
/// full): the segment behind does not name them as the one before it.
fn leave_out_abandoned(mut segments: Vec<Segment>) -> Vec<Segment> {
    let mut chain = Vec::with_capacity(segments.len());
    while let Some(segment) = segments.pop() {
        if let Some((previous, _)) = segment.previous {
            while segments.last().is_some_and(|s| s.number > previous && !s.has_frames) {
                segments.pop();
            }
        }
        chain.push(segment);
    }
    chain.reverse();
    chain
}

/// The numbers of all segments in the directory, ascending.
pub(crate) fn list_segments(env: &dyn Env) -> Result<Vec<FileNumber>> {
    let files = env.list().map_err(|error| Error::io("list", env.directory(), error))?;
    let mut numbers: Vec<FileNumber> = files
        .into_iter()
        .filter_map(|file| match file {
            FileId::Wal(number) => Some(number),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn open_segment(env: &dyn Env, number: FileNumber) -> Result<Segment> {
    let name = env.display(FileId::Wal(number));
    let open = || -> Result<(Option<(FileNumber, u64)>, LogReader)> {
        let file = env
            .open(FileId::Wal(number))
            .map_err(|error| Error::io("open", name.as_str(), error))?;
        Ok(match LogReader::open(file, name.clone(), number, LogKind::Wal)? {
            LogOpen::Whole(reader) => {
                let header = reader.header();
                (Some((header.previous, header.previous_bytes)), reader)
            }
            LogOpen::TornHeader { reader, .. } => (None, reader),
        })
    };
    // Whether it has a frame is found with a reader of its own, which is then thrown away.
    let (_, mut probe) = open()?;
    let has_frames = match probe.next()? {
        ReadFrame::Frame { .. } | ReadFrame::Closed { .. } => true,
        ReadFrame::End { .. } => false,
        ReadFrame::Bad { offset, .. } => probe.scan_for_valid_after(offset)?.is_some(),
    };
    let (previous, reader) = open()?;
    Ok(Segment { number, name, previous, reader, has_frames })
}

/// Whether a frame behind `offset` of the first segment, or in a later one, shows that more than
/// `last_seq` had been made durable. So does one that is no newer than what the tables reach to: a
/// flush makes its segments durable before it counts, where they hold more than one family.
fn is_durable_behind(
    segments: &mut [Segment],
    offset: u64,
    last_seq: SeqNo,
    tables_reach: SeqNo,
) -> Result<bool> {
    let mut from = Some(offset);
    for segment in segments {
        // In a later segment a frame may begin right behind the header.
        let mut behind = from.take().unwrap_or(0);
        while let Some(found) = segment.reader.scan_for_valid_after(behind)? {
            if found.kind == FrameKind::End {
                return Ok(true);
            }
            if let Some(view) = BatchView::parse(found.payload)
                && (view.durable > last_seq || view.first <= tables_reach)
            {
                return Ok(true);
            }
            behind = found.last_byte;
        }
    }
    Ok(false)
}

struct State<'a> {
    replay: &'a Replay<'a>,
    memtables: BTreeMap<ColumnFamilyId, Arc<Memtable>>,
    tables: Vec<(ColumnFamilyId, Arc<TableMeta>)>,
    blobs: Vec<Arc<BlobMeta>>,
    /// Everything up to here is in tables or was replayed.
    last_seq: SeqNo,
    /// The last sequence number read from the log.
    replayed_seq: SeqNo,
}

impl State<'_> {
    /// Replays one segment up to `limit` (bytes that count), or to its end; says where it broke
    /// off.
    fn replay_segment(
        &mut self,
        segment: &mut Segment,
        limit: Option<u64>,
    ) -> Result<Option<Hole>> {
        let length = segment.reader.length();
        let (offset, detail) = loop {
            match segment.reader.next()? {
                ReadFrame::Frame { offset, .. } | ReadFrame::Bad { offset, .. }
                    if limit.is_some_and(|limit| offset >= limit) =>
                {
                    return Ok(None);
                }
                ReadFrame::Frame { offset, payload, .. }
                    if planted::is("last-batch-skipped")
                        && offset + (FRAME_HEADER_BYTES + payload.len()) as u64 == length => {}
                ReadFrame::Frame { offset, payload, .. } => {
                    self.replay_batch(segment.number, &segment.name, offset, payload)?;
                }
                ReadFrame::End { offset } | ReadFrame::Closed { offset } => match limit {
                    Some(limit) if offset < limit => {
                        break (offset, format!("{limit} bytes of it count, the file ends here"));
                    }
                    _ => return Ok(None),
                },
                ReadFrame::Bad { offset, detail } => break (offset, detail),
            }
        };
        Ok(Some(Hole { file: segment.name.clone(), offset, detail }))
    }

    fn replay_batch(
        &mut self,
        segment: FileNumber,
        name: &str,
        offset: u64,
        payload: &[u8],
    ) -> Result<()> {
        let damaged = |detail: &str| Error::corruption(name, offset, detail);
        let view = BatchView::parse(payload).ok_or_else(|| damaged("the frame is no batch"))?;
        if view.count == 0 || view.first <= self.replayed_seq {
            return Err(damaged("the batch's sequence numbers do not follow"));
        }
        let mut seq = view.first.get();
        for operation in view.operations() {
            let operation = operation.map_err(|_| damaged("an operation of the batch is none"))?;
            let Some(family) = self.replay.versions.families().get(&operation.family) else {
                if operation.family >= self.replay.versions.next_family_id() {
                    return Err(damaged("an operation names a column family that never was"));
                }
                seq += 1;
                continue;
            };
            if segment >= family.log_number {
                let memtable = self.memtables.entry(operation.family).or_default();
                memtable.writer().insert(
                    SeqNo::new(seq),
                    operation.kind,
                    operation.key,
                    operation.value,
                );
            }
            seq += 1;
        }
        self.replayed_seq = view.first.plus(u64::from(view.count) - 1);
        self.last_seq = self.last_seq.max(self.replayed_seq);
        self.spill_full()
    }

    /// Writes memtables that have grown full, so that a long log needs no more memory than a
    /// running store.
    fn spill_full(&mut self) -> Result<()> {
        let mut full = Vec::new();
        for (&id, memtable) in &self.memtables {
            if memtable.memory_bytes() >= self.options_of(id).memtable_bytes {
                full.push(id);
            }
        }
        for id in full {
            self.spill(id)?;
        }
        Ok(())
    }

    fn options_of(&self, id: ColumnFamilyId) -> &ColumnFamilyOptions {
        let name = self.replay.versions.families().get(&id).map_or("", |f| f.name.as_str());
        self.replay.options.family(name)
    }

    fn spill(&mut self, id: ColumnFamilyId) -> Result<()> {
        let Some(memtable) = self.memtables.remove(&id) else { return Ok(()) };
        let never = AtomicBool::new(false);
        let context = JobContext {
            env: self.replay.env,
            tables: self.replay.tables,
            new_number: &|| self.replay.numbers.take(),
            cancelled: &never,
            pace: &|_| Ok(()),
            blobs: self.replay.blobs,
            emptied: Emptied::None,
            in_log: None,
        };
        let family = self.options_of(id);
        let place = ColumnFamilyOptions::flush_place(&family.strategy);
        let windows = family.strategy.windows().map(TimeWindows::split);
        let options = family.table_options(place, id).of_job(memtable.memory_bytes() as u64);
        let options = options.with_event_time(windows.map(|windows| windows.time));
        let retain = Retain::new(Vec::new(), Now::UNKNOWN);
        let split = windows.map_or(FlushSplit::None, FlushSplit::Windows);
        let output =
            compaction::flush::run(&context, (&[memtable], None), retain, &options, split)?;
        let tables = check_tables(self.replay.tables, &output, windows.as_ref());
        let tables = tables.inspect_err(|_| context.discard(&output))?;
        self.tables.extend(tables.into_iter().map(|table| (id, table)));
        self.blobs.extend(blob_metas(&output));
        Ok(())
    }

    fn spill_all(&mut self) -> Result<()> {
        let ids: Vec<ColumnFamilyId> = self.memtables.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.spill(id))
    }
}
