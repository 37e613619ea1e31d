//! The log of a damaged store: every batch that checks, also behind damage.
//!
//! Opening a store stops at the first hole, since what was promised is missing. Here the hole is
//! noted and reading goes on behind it: whatever the hole hid, the batches behind it are newer, so
//! that no key they name can come out older than it should. Keys that only the hole named do.
//!
//! Segments say how much of the one before counts, and what is behind that was never part of the
//! log. Bytes at the very end of the newest segment with nothing behind them are a torn write, as
//! they are when a store is opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::batch::{BatchView, ColumnFamilyId};
use crate::compaction::flush::FlushSplit;
use crate::compaction::retain::{Now, Retain};
use crate::compaction::{self, TablePlace};
use crate::db::jobs::check_tables;
use crate::db::recovery::list_segments;
use crate::db::repair::Work;
use crate::db::repair::report::LogLoss;
use crate::env::Env;
use crate::memtable::Memtable;
use crate::version::TableMeta;
use crate::wal::frame::{FRAME_HEADER_BYTES, LOG_HEADER_BYTES};
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// What a segment's header says of the one before it.
type Previous = Option<(FileNumber, u64)>;

/// The log being replayed into tables of the new store.
pub(super) struct Replay<'a> {
    work: &'a mut Work,
    memtables: BTreeMap<ColumnFamilyId, Arc<Memtable>>,
    tables: Vec<(ColumnFamilyId, Arc<TableMeta>)>,
    /// The last sequence number read.
    last: SeqNo,
    /// Whether the store had been closed in good order: the log then ends with an end frame.
    must_end: bool,
    /// Losses behind which no batch was read yet: from here on in the report.
    open_losses: usize,
}

/// A segment, opened.
struct Segment {
    number: FileNumber,
    name: String,
    previous: Previous,
    reader: LogReader,
}

impl Replay<'_> {
    /// Replays every segment from `oldest` on; gives the tables that came of it, oldest first.
    pub(super) fn run(
        work: &mut Work,
        oldest: Option<FileNumber>,
        must_end: bool,
    ) -> Result<Vec<(ColumnFamilyId, Arc<TableMeta>)>> {
        let open_losses = work.report.log_losses.len();
        let mut replay = Replay {
            work,
            memtables: BTreeMap::new(),
            tables: Vec::new(),
            last: SeqNo::ZERO,
            must_end,
            open_losses,
        };
        replay.replay_all(oldest)?;
        replay.spill_all()?;
        Ok(replay.tables)
    }

    fn replay_all(&mut self, oldest: Option<FileNumber>) -> Result<()> {
        let source = Arc::clone(&self.work.source);
        let mut numbers = list_segments(source.as_ref())?;
        numbers.retain(|&number| number >= oldest.unwrap_or_default());
        // An empty one behind others was there ahead of need: the log ends before it.
        while let [.., _, last] = *numbers
            && is_empty(source.as_ref(), last)
        {
            numbers.pop();
        }
        let headers: Vec<Previous> =
            numbers.iter().map(|&number| read_previous(source.as_ref(), number)).collect();
        let mut missing = missing_segments(oldest, &numbers, &headers);
        for (index, &number) in numbers.iter().enumerate() {
            let behind = missing.split_off(&number);
            self.lose_segments(std::mem::replace(&mut missing, behind));
            let next = headers.get(index + 1..).unwrap_or_default().iter().flatten().next();
            let limit = next.and_then(|&(named, bytes)| (named == number).then_some(bytes));
            let is_last = index + 1 == numbers.len();
            match open_segment(source.as_ref(), number) {
                Ok(segment) => self.replay_segment(segment, limit, is_last)?,
                Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
                Err(error) => {
                    let bytes = file_bytes(source.as_ref(), number);
                    let file = source.display(FileId::Wal(number));
                    self.lose(file, 0, bytes, error.to_string());
                }
            }
        }
        self.lose_segments(missing);
        if self.must_end && !numbers.is_empty() {
            let file = source.display(FileId::Wal(numbers[numbers.len() - 1]));
            let detail = "the store was closed, and the log does not end so";
            self.lose(file, 0, 0, detail.to_owned());
        }
        Ok(())
    }

    fn lose_segments(&mut self, missing: BTreeMap<FileNumber, u64>) {
        for (number, bytes) in missing {
            let file = self.work.source.display(FileId::Wal(number));
            self.lose(file, 0, bytes, "the segment is missing".to_owned());
        }
    }

    fn lose(&mut self, file: String, offset: u64, bytes: u64, detail: String) {
        let after = self.last.get();
        let loss = LogLoss { file, offset, bytes, after, before: None, detail };
        self.work.report.log_losses.push(loss);
    }

    fn replay_segment(
        &mut self,
        mut segment: Segment,
        limit: Option<u64>,
        is_last: bool,
    ) -> Result<()> {
        let end = limit.unwrap_or(u64::MAX);
        let name = segment.name.clone();
        let mut read = LOG_HEADER_BYTES as u64;
        let mut length = segment.reader.length();
        let (mut hole, mut why) = loop {
            match segment.reader.next() {
                Ok(ReadFrame::Frame { offset, .. } | ReadFrame::Bad { offset, .. })
                    if offset >= end =>
                {
                    return Ok(());
                }
                Ok(ReadFrame::Frame { offset, payload, .. }) => {
                    read = offset + (FRAME_HEADER_BYTES + payload.len()) as u64;
                    self.replay_batch(segment.number, &name, offset, payload)?;
                }
                Ok(ReadFrame::Closed { offset }) => {
                    self.must_end = false;
                    break (offset, "the segment ends before it should".to_owned());
                }
                Ok(ReadFrame::End { offset }) => {
                    // Made longer ahead of what would have come.
                    length = if is_last { offset } else { length };
                    break (offset, "the segment ends before it should".to_owned());
                }
                Ok(ReadFrame::Bad { offset, detail }) => break (offset, detail),
                Err(error) => break (read, error.to_string()),
            }
        };
        hole = hole.max(LOG_HEADER_BYTES as u64);
        let mut from = hole.saturating_sub(1).min(length);
        loop {
            match segment.reader.scan_for_valid_after(from) {
                Ok(Some(found)) if found.offset < end => {
                    let (offset, is_end) = (found.offset, found.kind == FrameKind::End);
                    if offset > hole {
                        self.lose(name.clone(), hole, offset - hole, why.clone());
                    }
                    (from, hole) = (found.last_byte, found.last_byte + 1);
                    if is_end {
                        self.must_end = false;
                    } else {
                        self.replay_batch(segment.number, &name, offset, found.payload)?;
                    }
                }
                Ok(_) => break,
                Err(error) => {
                    why = error.to_string();
                    break;
                }
            }
        }
        let counted = limit.unwrap_or(length);
        if hole < counted {
            if is_last && limit.is_none() {
                self.work.note(format!(
                    "{name}: torn at byte {hole}: {why}; damage to the very end of a log that was \
                     not closed cannot be told from a crash"
                ));
            } else {
                self.lose(name, hole, counted - hole, why);
            }
        }
        Ok(())
    }

    fn replay_batch(
        &mut self,
        segment: FileNumber,
        name: &str,
        offset: u64,
        payload: &[u8],
    ) -> Result<()> {
        let view = BatchView::parse(payload).filter(|view| {
            view.count > 0
                && view.first > self.last
                && view.operations().all(|operation| operation.is_ok())
        });
        let Some(view) = view else {
            let detail = "the frame is no batch, or one that does not follow".to_owned();
            self.lose(name.to_owned(), offset, payload.len() as u64, detail);
            return Ok(());
        };
        for loss in &mut self.work.report.log_losses[self.open_losses..] {
            loss.before = Some(view.first.get());
        }
        self.open_losses = self.work.report.log_losses.len();
        for (seq, operation) in (view.first.get()..).zip(view.operations().flatten()) {
            if self.work.takes(operation.family, segment) {
                let memtable = self.memtables.entry(operation.family).or_default();
                let (key, value) = (operation.key, operation.value);
                memtable.writer().insert(SeqNo::new(seq), operation.kind, key, value);
            }
        }
        self.last = view.first.plus(u64::from(view.count) - 1);
        self.work.last_sequence = self.work.last_sequence.max(self.last).max(view.durable);
        self.work.report.log_batches += 1;
        let held: usize = self.memtables.values().map(|memtable| memtable.memory_bytes()).sum();
        if held >= self.work.options.column_family.memtable_bytes {
            self.spill_all()?;
        }
        Ok(())
    }

    /// Writes what is held to tables.
    fn spill_all(&mut self) -> Result<()> {
        for (id, memtable) in std::mem::take(&mut self.memtables) {
            let options = self.work.options.column_family.table_options(TablePlace::FLUSHED, id);
            let output = self.work.with_context(|context| {
                let retain = Retain::new(Vec::new(), Now::UNKNOWN);
                compaction::flush::run(
                    context,
                    (&[memtable], None),
                    retain,
                    &options,
                    FlushSplit::None,
                )
            })?;
            let written = check_tables(&self.work.tables, &output, None)?;
            self.tables.extend(written.into_iter().map(|table| (id, table)));
        }
        Ok(())
    }
}

/// Whether no segment from `oldest` on is missing.
pub(super) fn is_whole(env: &dyn Env, oldest: FileNumber) -> Result<bool> {
    let mut numbers = list_segments(env)?;
    numbers.retain(|&number| number >= oldest);
    let headers: Vec<Previous> = numbers.iter().map(|&number| read_previous(env, number)).collect();
    Ok(missing_segments(Some(oldest), &numbers, &headers).is_empty())
}

/// Segments that others name, or that the manifest needs, and that are not there; and how many
/// bytes of each count, where that is known.
fn missing_segments(
    oldest: Option<FileNumber>,
    numbers: &[FileNumber],
    headers: &[Previous],
) -> BTreeMap<FileNumber, u64> {
    let mut missing = BTreeMap::new();
    if let Some(oldest) = oldest.filter(|oldest| oldest.0 > 0 && !numbers.contains(oldest)) {
        missing.insert(oldest, 0);
    }
    // Without a manifest nobody knows whether the one before the oldest was still needed.
    let first = oldest.or(numbers.first().copied()).unwrap_or_default();
    for &(previous, bytes) in headers.iter().flatten() {
        let held_frames = bytes > LOG_HEADER_BYTES as u64;
        if previous > FileNumber(0) && !numbers.contains(&previous) {
            if held_frames && previous >= first {
                missing.insert(previous, bytes);
            } else {
                missing.remove(&previous);
            }
        }
    }
    missing
}

/// Whether the file of a segment is known to be empty.
fn is_empty(env: &dyn Env, number: FileNumber) -> bool {
    env.open(FileId::Wal(number)).and_then(|file| file.length()).is_ok_and(|bytes| bytes == 0)
}

fn file_bytes(env: &dyn Env, number: FileNumber) -> u64 {
    env.open(FileId::Wal(number)).and_then(|file| file.length()).unwrap_or(0)
}

/// What the segment's header says of the one before; `None` where it does not check.
fn read_previous(env: &dyn Env, number: FileNumber) -> Previous {
    open_segment(env, number).ok().and_then(|segment| segment.previous)
}

fn open_segment(env: &dyn Env, number: FileNumber) -> Result<Segment> {
    let name = env.display(FileId::Wal(number));
    let file =
        env.open(FileId::Wal(number)).map_err(|error| Error::io("open", name.as_str(), error))?;
    let (previous, reader) = match LogReader::open(file, name.clone(), number, LogKind::Wal)? {
        LogOpen::Whole(reader) => {
            let header = reader.header();
            (Some((header.previous, header.previous_bytes)), reader)
        }
        LogOpen::TornHeader { reader, .. } => (None, reader),
    };
    Ok(Segment { number, name, previous, reader })
}
