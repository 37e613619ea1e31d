//! Storing a made click stream, through the same writer and with the same promises as a log.

use alluvium::{Durability, WriteBatch};

use super::ClickStream;
use crate::error::EventsError;
use crate::format::Parsed;
use crate::ingest::{Commits, IngestSummary, Prepared, Preparer, Progress};
use crate::store::state::{Fingerprint, SourceState};
use crate::store::{EventStore, EventWriter, Loan};

/// Events in one batch.
const BATCH_EVENTS: u64 = 1000;

struct ClickPreparer {
    stream: ClickStream,
    writer: EventWriter,
    id: u32,
    state: SourceState,
    events: u64,
}

impl EventStore {
    /// Stores the first `events` clicks of a seed's stream. Clicks that an earlier call stored are
    /// not stored again: killed and called again, or called again with more events, it goes on
    /// where it was.
    ///
    /// # Errors
    ///
    /// Whatever the engine says.
    pub fn ingest_generated(
        &self,
        events: u64,
        seed: u64,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<IngestSummary, EventsError> {
        let mut catalog = self.catalog();
        let name = format!("demo:{seed}").into_bytes();
        let head = Fingerprint::of(&name);
        let (id, state) = match catalog.find(&name, &name) {
            Some((id, state)) => (id, state.clone()),
            None => (catalog.next_id(), SourceState { name, head, ..SourceState::default() }),
        };
        let commits = Commits {
            store: self,
            loan: Loan::new(self.families().clone()),
            id,
            durability: Durability::Os,
            before: state.clone(),
            resumed_lines: state.lines,
            bytes_total: None,
        };
        let mut stream = ClickStream::new(seed);
        for _ in 0..state.lines {
            stream.next_click();
        }
        let writer = EventWriter::new(&commits.loan);
        let preparer = ClickPreparer { stream, writer, id, state, events };
        commits.run(preparer, None, progress, &mut catalog)
    }
}

impl Preparer for ClickPreparer {
    fn prepare(&mut self) -> Prepared {
        let mut batch = WriteBatch::new();
        let (begin, end) = (self.state.lines, self.events.min(self.state.lines + BATCH_EVENTS));
        for line in begin..end {
            let click = self.stream.next_click();
            let event = Parsed {
                time_ms: click.time_ms,
                user: click.user,
                path: click.path,
                status: Some(click.status),
                bytes: click.bytes,
                method: Some(click.method),
            };
            self.writer.put(&mut batch, &event, self.id, line + 1);
        }
        let made = end.saturating_sub(begin);
        self.state.lines += made;
        self.state.position = self.state.lines;
        self.state.events += made;
        let done = self.state.lines >= self.events;
        let changed = made > 0 || done && !self.state.done;
        self.state.done = done;
        self.writer.put_source(&mut batch, self.id, &self.state);
        Prepared {
            batch,
            state: self.state.clone(),
            rejects: Vec::new(),
            changed,
            lines: self.state.lines,
            bytes: 0,
            bytes_read: 0,
            end: done.then_some(Ok(())),
        }
    }
}
