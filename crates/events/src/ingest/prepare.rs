//! The preparer of a source of lines: reads, parses, fills batches.

use alluvium::WriteBatch;

use super::{IngestOptions, OnError, Prepared, Preparer, rejects};
use crate::error::EventsError;
use crate::format::{LineParser, Reject, RejectKind};
use crate::input::Input;
use crate::input::lines::{Fault, Line, LineReader};
use crate::store::EventWriter;
use crate::store::codec::Position;
use crate::store::state::{SourceState, Tail, TailOutcome};

/// A batch is also closed at this size: lines may be long.
const BATCH_BYTES: usize = 4 << 20;
/// And after this many lines for each event that it may hold, so that a source of nothing but
/// malformed lines moves on too.
const LINES_PER_EVENT: u64 = 16;

/// What the preparer begins with.
pub(super) struct Start {
    pub(super) id: u32,
    pub(super) state: SourceState,
    pub(super) writer: EventWriter,
    pub(super) parser: LineParser,
    pub(super) keep_rejects: bool,
}

/// Prepares the lines of one input.
pub(super) struct LinePreparer {
    reader: LineReader<Input>,
    start: Start,
    display_name: String,
    on_error: OnError,
    batch_events: usize,
    line_bytes_max: usize,
    first_line: bool,
    lines: u64,
    bytes: u64,
}

/// What became of a line.
enum Became {
    Blank,
    Event(Position),
    Rejected(RejectKind),
}

/// What is being filled.
#[derive(Default)]
struct Filling {
    batch: WriteBatch,
    rejects: Vec<u8>,
    events: usize,
    lines: u64,
}

impl LinePreparer {
    /// `input` stands at the state's position.
    pub(super) fn new(input: Input, start: Start, options: &IngestOptions) -> LinePreparer {
        let display_name = input.display_name().to_string();
        let (position, csv) = (start.state.position, start.parser.is_csv());
        LinePreparer {
            reader: LineReader::new(input, position, options.line_bytes_max, csv),
            start,
            display_name,
            on_error: options.on_error,
            batch_events: options.batch_events.max(1),
            line_bytes_max: options.line_bytes_max,
            first_line: true,
            lines: 0,
            bytes: 0,
        }
    }

    /// Takes lines until the batch is full or there are no more.
    fn fill(&mut self, filling: &mut Filling) -> Option<Result<(), EventsError>> {
        let lines_most = LINES_PER_EVENT.saturating_mul(self.batch_events as u64);
        while filling.events < self.batch_events
            && filling.lines < lines_most
            && filling.batch.byte_size() + filling.rejects.len() < BATCH_BYTES
        {
            let line = match self.reader.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(self.reader.get_ref().explain(error))),
            };
            let start = &mut self.start;
            if std::mem::take(&mut self.first_line) && start.state.tail.is_some() {
                if start.is_unchanged_tail(&line) {
                    return Some(Ok(()));
                }
                start.undo_tail(filling);
            }
            let number = start.state.lines + 1;
            let became = match start.take_line(&line, filling, self.line_bytes_max) {
                Ok(position) => position.map_or(Became::Blank, Became::Event),
                Err(reject) if self.on_error == OnError::Stop => {
                    return Some(Err(EventsError::Stopped {
                        source_name: self.display_name.clone(),
                        line: number,
                        kind: reject.kind.name(),
                        detail: reject.detail,
                    }));
                }
                Err(reject) => {
                    start.state.count_rejected(reject.kind.name());
                    if start.keep_rejects {
                        let name = &self.display_name;
                        rejects::put_line(&mut filling.rejects, name, number, &reject, line.bytes);
                    }
                    Became::Rejected(reject.kind)
                }
            };
            filling.lines += line.lines;
            self.lines += line.lines;
            self.bytes += line.next_offset - line.offset;
            start.move_behind(&line, &became);
        }
        None
    }
}

impl Start {
    /// Puts the line's event into the batch. `None` for a blank line.
    fn take_line(
        &mut self,
        line: &Line<'_>,
        filling: &mut Filling,
        line_bytes_max: usize,
    ) -> Result<Option<Position>, Reject> {
        match line.fault {
            Some(Fault::TooLong(length)) => {
                let detail =
                    format!("the line has {length} bytes, more than the {line_bytes_max} allowed");
                return Err(Reject { kind: RejectKind::LineTooLong, detail });
            }
            Some(Fault::QuoteNeverClosed) => return Err(RejectKind::QuoteNeverClosed.into()),
            None => {}
        }
        if line.bytes.iter().all(|byte| *byte == b' ') {
            return Ok(None);
        }
        let event = self.parser.parse(line.bytes)?;
        let number = self.state.lines + 1;
        self.writer.put(&mut filling.batch, &event, self.id, number);
        filling.events += 1;
        self.state.events += 1;
        Ok(Some(Position { time_ms: event.time_ms, source: self.id, line: number }))
    }

    /// Moves the state behind a line, or notes a line without an ending as the tail.
    fn move_behind(&mut self, line: &Line<'_>, became: &Became) {
        if line.terminated {
            self.state.position = line.next_offset;
            self.state.lines += line.lines;
            return;
        }
        let became = match became {
            Became::Blank => TailOutcome::Blank,
            Became::Event(position) => TailOutcome::Event {
                event_key: position.key().to_vec(),
                user_key: self.writer.last_user_key().to_vec(),
            },
            Became::Rejected(kind) => TailOutcome::Rejected(kind.name().to_string()),
        };
        self.state.tail = Some(Tail { length: line.next_offset - line.offset, became });
    }

    /// Whether the source ends with the same unfinished line as before.
    fn is_unchanged_tail(&self, line: &Line<'_>) -> bool {
        let length = line.next_offset - line.offset;
        !line.terminated && self.state.tail.as_ref().is_some_and(|tail| tail.length == length)
    }

    fn undo_tail(&mut self, filling: &mut Filling) {
        if let Some(Tail { became: TailOutcome::Event { event_key, user_key }, .. }) =
            self.state.undo_tail()
        {
            self.writer.delete(&mut filling.batch, &event_key, &user_key);
        }
    }
}

impl Preparer for LinePreparer {
    fn prepare(&mut self) -> Prepared {
        let mut filling = Filling::default();
        let lines_before = self.lines;
        let end = self.fill(&mut filling);
        let done_before = self.start.state.done;
        self.start.state.done = matches!(end, Some(Ok(())));
        let changed = self.lines != lines_before || self.start.state.done != done_before;
        let state = self.start.state.clone();
        self.start.writer.put_source(&mut filling.batch, self.start.id, &state);
        Prepared {
            batch: filling.batch,
            state,
            rejects: filling.rejects,
            changed,
            lines: self.lines,
            bytes: self.bytes,
            bytes_read: self.reader.get_ref().meter().bytes(),
            end,
        }
    }
}
