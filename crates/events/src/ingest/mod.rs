//! Ingesting a source: from its bytes to committed batches.
//!
//! Two threads. The *preparer* (its own thread) reads, parses and fills write batches; the
//! *committer* (the caller's) writes rejected lines to their file, commits the batches in order and
//! reports progress. A few batches wait between them at most.
//!
//! **Exactly once.** A batch holds events together with the source's state behind them, so the
//! store knows at every moment which lines it has; a run that was killed goes on right there. A
//! source is the same when its name (the canonical path, or `-`) and its first bytes are the same;
//! when it has grown, reading goes on at its old end. A file of the same name with another
//! beginning (a log after rotation) is a new source. Rejected lines reach their file *before* the
//! batch that counts them; what a killed run wrote there too much is cut off when the next one
//! begins, so that file is exact as well.
//!
//! **Failure in the middle** (a read error, a truncated gzip file, a malformed line with
//! [`OnError::Stop`]): everything before it is committed first, then the error is returned. The
//! last commit of a source is synced to disk whatever the durability of the others.

mod prepare;
mod rejects;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use alluvium::{Durability, WriteBatch, WriteOptions};

use crate::error::EventsError;
use crate::format::{Fields, Format, Head, choose};
use crate::input::{Input, Source};
use crate::store::state::{Fingerprint, SourceState};
use crate::store::{EventStore, EventWriter, Loan};
use prepare::{LinePreparer, Start};
pub use rejects::RejectFile;

/// Batches that may wait between the two threads.
const BATCHES_WAITING: usize = 4;

/// What to do with a malformed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Count it, keep it in the reject file if there is one, and go on.
    #[default]
    Continue,
    /// Store everything before it and stop with [`EventsError::Stopped`].
    Stop,
}

/// How to ingest.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// The format of the source. Default: recognised.
    pub format: Format,
    /// Which fields of NDJSON, CSV and TSV are the event. Default: guessed from their names.
    pub fields: Fields,
    /// What to do with malformed lines. Default: count them and go on.
    pub on_error: OnError,
    /// Events in one commit. More is faster, less loses less work when killed. Default: 1,000.
    pub batch_events: usize,
    /// Of every commit but the last of a source, which is always synced. Nothing is lost or stored
    /// twice either way; after a power failure more may have to be ingested again. Default: `Os`.
    pub durability: Durability,
    /// Longest line in bytes; longer ones are malformed and never held in memory. Default: 1 MiB.
    pub line_bytes_max: usize,
}

impl Default for IngestOptions {
    fn default() -> IngestOptions {
        IngestOptions {
            format: Format::Auto,
            fields: Fields::default(),
            on_error: OnError::Continue,
            batch_events: 1000,
            durability: Durability::Os,
            line_bytes_max: 1 << 20,
        }
    }
}

/// How far an ingest has come, after each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events stored by this call.
    pub events: u64,
    /// Malformed lines counted by this call.
    pub rejected: u64,
    /// Bytes of the input as it lies there (compressed where it is) that are behind us, those of an
    /// earlier run included.
    pub bytes_read: u64,
    /// The size of the input, where it is known.
    pub bytes_total: Option<u64>,
    /// Lines that were there already from an earlier run.
    pub resumed_lines: u64,
}

/// What an ingest did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestSummary {
    /// Events stored by this call.
    pub events: u64,
    /// Malformed lines counted by this call.
    pub rejected: u64,
    /// The same by kind.
    pub rejected_by_kind: BTreeMap<String, u64>,
    /// Lines read by this call, header and empty ones included.
    pub lines: u64,
    /// Lines that were there already from an earlier run.
    pub skipped_lines: u64,
    /// Bytes of these lines, decompressed.
    pub bytes: u64,
}

/// A batch on its way from the preparer to the committer.
pub(crate) struct Prepared {
    pub(crate) batch: WriteBatch,
    /// The source as it is once the batch is committed; the batch holds it too.
    pub(crate) state: SourceState,
    /// Lines for the reject file.
    pub(crate) rejects: Vec<u8>,
    /// Whether there is anything to commit.
    pub(crate) changed: bool,
    /// Lines and decompressed bytes since the preparer began.
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// Bytes of the input as it lies there.
    pub(crate) bytes_read: u64,
    /// Set on the last batch.
    pub(crate) end: Option<Result<(), EventsError>>,
}

/// Fills one batch after the other, on a thread of its own.
pub(crate) trait Preparer: Send + 'static {
    /// The next batch; the last one has its `end` set.
    fn prepare(&mut self) -> Prepared;
}

impl EventStore {
    /// Ingests a source, going on where an earlier call on the same source came to. `rejects` keeps
    /// malformed lines; `progress` is called after each commit.
    ///
    /// # Errors
    ///
    /// When the source cannot be opened, recognised or read on, or the store or the reject file
    /// fails. What was read before is stored, and the same call goes on from there.
    pub fn ingest(
        &self,
        source: &Source,
        options: &IngestOptions,
        rejects: Option<&mut RejectFile>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestSummary, EventsError> {
        self.ingest_input(Input::open(source)?, options, rejects, progress)
    }

    /// Ingests whatever a reader gives, plain, gzip or zstd; `name` tells it from other sources, as
    /// a file's path does.
    ///
    /// # Errors
    ///
    /// As for [`EventStore::ingest`].
    pub fn ingest_reader(
        &self,
        name: &str,
        reader: impl Read + Send + 'static,
        options: &IngestOptions,
        rejects: Option<&mut RejectFile>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestSummary, EventsError> {
        let input = Input::from_reader(name.into(), name.to_string(), reader, None)?;
        self.ingest_input(input, options, rejects, progress)
    }

    fn ingest_input(
        &self,
        mut input: Input,
        options: &IngestOptions,
        rejects: Option<&mut RejectFile>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestSummary, EventsError> {
        let mut catalog = self.catalog();
        if input.head().is_empty() {
            return Err(match input.take_head_error() {
                Some(error) => input.explain(error),
                None => EventsError::Empty { source_name: input.display_name().to_string() },
            });
        }
        let head = Head { bytes: input.head(), whole: input.head_is_all() };
        let chosen = choose(head, options.format, &options.fields, input.display_name());
        let chosen = match (chosen, input.take_head_error()) {
            (Err(_), Some(error)) => return Err(input.explain(error)),
            (chosen, error) => {
                input.set_head_error(error);
                chosen?
            }
        };
        let known = catalog.find(input.identity(), input.head());
        let id = known.map_or(catalog.next_id(), |(id, _)| id);
        // A source that has given nothing but malformed lines was asked the wrong way, with the
        // wrong format or column: it is read from its beginning again.
        let resumed = known.map(|(_, state)| state).filter(|state| state.events > 0);
        let mut state = resumed.cloned().unwrap_or_else(|| {
            let (position, lines) = (chosen.start, chosen.header_lines);
            let name = input.identity().to_vec();
            SourceState { name, position, lines, ..SourceState::default() }
        });
        let new = resumed.is_none();
        // A header that had not been whole may be so now.
        state.position = state.position.max(chosen.start);
        state.lines = state.lines.max(chosen.header_lines);
        state.head = Fingerprint::of(input.head());
        let reached = input.skip_to(state.position).map_err(|error| input.explain(error))?;
        let seen = if new { 0 } else { state.lines_seen() };
        let bytes_total = input.bytes_total();
        if reached < state.position {
            // The source has become shorter, and all that is left of it is there.
            return Ok(IngestSummary { skipped_lines: seen, ..IngestSummary::default() });
        }
        let commits = Commits {
            store: self,
            loan: Loan::new(self.families().clone()),
            id,
            durability: options.durability,
            before: state.clone(),
            resumed_lines: seen,
            bytes_total,
        };
        let start = Start {
            id,
            state,
            writer: EventWriter::new(&commits.loan),
            parser: chosen.parser,
            keep_rejects: rejects.is_some(),
        };
        let preparer = LinePreparer::new(input, start, options);
        let header_lines = if new { chosen.header_lines } else { 0 };
        let mut summary = commits.run(preparer, rejects, progress, &mut catalog)?;
        summary.lines += header_lines;
        Ok(summary)
    }
}

/// The committing side of one ingest.
pub(crate) struct Commits<'s> {
    pub(crate) store: &'s EventStore,
    /// What the preparer writes to, until this ingest ends, however it ends.
    pub(crate) loan: Loan,
    pub(crate) id: u32,
    pub(crate) durability: Durability,
    /// The source before this ingest.
    pub(crate) before: SourceState,
    pub(crate) resumed_lines: u64,
    pub(crate) bytes_total: Option<u64>,
}

impl Commits<'_> {
    /// Runs the preparer and commits what it makes.
    pub(crate) fn run(
        &self,
        preparer: impl Preparer,
        mut rejects: Option<&mut RejectFile>,
        progress: &mut dyn FnMut(&Progress),
        catalog: &mut crate::store::Catalog,
    ) -> Result<IngestSummary, EventsError> {
        if let Some(rejects) = rejects.as_deref_mut() {
            rejects.attach(self.store)?;
        }
        let batches = spawn(preparer);
        while let Ok(mut prepared) = batches.recv() {
            let end = prepared.end.take();
            if prepared.changed {
                self.commit(&mut prepared, rejects.as_deref_mut(), end.is_some())?;
                catalog.set(self.id, prepared.state.clone());
            }
            let events = prepared.state.events.saturating_sub(self.before.events);
            let rejected_by_kind = difference(&prepared.state.rejected, &self.before.rejected);
            let rejected = rejected_by_kind.values().sum();
            progress(&Progress {
                events,
                rejected,
                bytes_read: prepared.bytes_read,
                bytes_total: self.bytes_total,
                resumed_lines: self.resumed_lines,
            });
            if let Some(end) = end {
                return end.map(|()| IngestSummary {
                    events,
                    rejected,
                    rejected_by_kind,
                    lines: prepared.lines,
                    skipped_lines: self.resumed_lines,
                    bytes: prepared.bytes,
                });
            }
        }
        // The preparer ends with a last batch unless it panicked.
        Err(EventsError::Panicked)
    }

    fn commit(
        &self,
        prepared: &mut Prepared,
        rejects: Option<&mut RejectFile>,
        last: bool,
    ) -> Result<(), EventsError> {
        let durability = if last { Durability::Disk } else { self.durability };
        let mut batch = std::mem::take(&mut prepared.batch);
        if let Some(rejects) = rejects {
            let sync = durability == Durability::Disk;
            rejects.append(self.store, &prepared.rejects, sync)?;
            rejects.put_state(self.store, &mut batch, last);
        }
        Ok(self.store.db().write_with(batch, &WriteOptions { durability })?)
    }
}

/// Starts the preparer's thread. It ends by itself: with its last batch, or when nobody wants
/// another. It is not joined: after a failed commit it may still be waiting for a slow pipe.
fn spawn(mut preparer: impl Preparer) -> Receiver<Prepared> {
    let (sender, receiver): (SyncSender<Prepared>, _) = sync_channel(BATCHES_WAITING);
    drop(thread::spawn(move || {
        loop {
            let prepared = preparer.prepare();
            let last = prepared.end.is_some();
            if sender.send(prepared).is_err() || last {
                break;
            }
        }
    }));
    receiver
}

/// How much each count has grown.
fn difference(
    now: &BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let grown = |(kind, count): (&String, &u64)| {
        let more = count.saturating_sub(before.get(kind).copied().unwrap_or(0));
        (more > 0).then(|| (kind.clone(), more))
    };
    now.iter().filter_map(grown).collect()
}
