//! One visitor's events: a single short scan of `by_user`.

use std::sync::Arc;

use alluvium::Scan;
use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::error::EventsError;
use crate::store::codec::{Position, Status, put_user_prefix, take_details};
use crate::store::state::SourceState;
use crate::store::{EventStore, source_key};
use crate::time::format_time;

/// One event of a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: i64,
    /// What was asked for.
    pub path: Vec<u8>,
    /// The status, where there is one.
    pub status: Option<Vec<u8>>,
    /// The byte count, where there is one.
    pub bytes: Option<i64>,
    /// The method, where there is one.
    pub method: Option<Vec<u8>>,
    /// The name of the source: a canonical path, or `-`.
    pub source: Arc<str>,
    /// The number of the source in the store. Sources are numbered as they are first ingested, so
    /// `(source_id, line)` is the order of input.
    pub source_id: u32,
    /// The number of the line in the source, from 1.
    pub line: u64,
}

impl Event {
    /// The event for scripts. What is missing is null; bytes that are no UTF-8 are shown as far as
    /// they are.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        json!({
            "time": format_time(self.time_ms),
            "time_ms": self.time_ms,
            "path": text(&self.path),
            "status": self.status.as_deref().map(text),
            "bytes": self.bytes,
            "method": self.method.as_deref().map(text),
            "source": &*self.source,
            "source_id": self.source_id,
            "line": self.line,
        })
    }
}

/// A visitor's events in time order, ties in input order; reads as it goes. See
/// [`EventStore::events_of`].
#[derive(Debug)]
pub struct History<'s> {
    store: &'s EventStore,
    scan: Scan,
    prefix_bytes: usize,
    names: HashMap<u32, Arc<str>>,
}

impl EventStore {
    /// The first `limit` events of one user (all without a limit), in time order, ties in input
    /// order. Empty when there is no such user.
    ///
    /// # Errors
    ///
    /// Whatever the engine says, or [`EventsError::DamagedRecord`].
    pub fn history(
        &self,
        user: impl AsRef<[u8]>,
        limit: Option<usize>,
    ) -> Result<Vec<Event>, EventsError> {
        self.events_of(user).take(limit.unwrap_or(usize::MAX)).collect()
    }

    /// The same as an iterator, for a user with more events than should be held in memory.
    pub fn events_of(&self, user: impl AsRef<[u8]>) -> History<'_> {
        let user = user.as_ref();
        let mut prefix = Vec::with_capacity(user.len() + 2);
        put_user_prefix(&mut prefix, user);
        History {
            store: self,
            prefix_bytes: prefix.len(),
            scan: self.families().by_user.prefix(&prefix),
            names: HashMap::new(),
        }
    }
}

impl History<'_> {
    fn event(&mut self, key: &[u8], value: &[u8]) -> Result<Event, EventsError> {
        let position = Position::of_key(&key[self.prefix_bytes.min(key.len())..])?;
        let mut path = value;
        let details = take_details(&mut path)?;
        Ok(Event {
            time_ms: position.time_ms,
            path: path.to_vec(),
            status: details.status.map(Status::to_bytes),
            bytes: details.bytes,
            method: details.method.map(<[u8]>::to_vec),
            source: self.source_name(position.source)?,
            source_id: position.source,
            line: position.line,
        })
    }

    fn source_name(&mut self, id: u32) -> Result<Arc<str>, EventsError> {
        if let Some(name) = self.names.get(&id) {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = match self.store.families().sources.get(source_key(id))? {
            Some(state) => String::from_utf8_lossy(&SourceState::decode(&state)?.name).into(),
            None => "?".into(),
        };
        self.names.insert(id, Arc::clone(&name));
        Ok(name)
    }
}

impl Iterator for History<'_> {
    type Item = Result<Event, EventsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.scan.next()?;
        Some(entry.map_err(EventsError::from).and_then(|(key, value)| self.event(&key, &value)))
    }
}
