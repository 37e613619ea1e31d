//! The store: which keys and values events become, and the one writer of them.
//!
//! Three column families of one Db, written in one batch each time, so that they always agree:
//!
//! ```text
//! events    key    time in ms (8, big-endian) · source id (4, BE) · line number (8, BE)
//!           value  details · user (prefixed) · path (the rest)
//! by_user   key    user, escaped · 00 01 · time (8) · source id (4) · line number (8)
//!           value  details · path (the rest)
//! sources   key    'm'                    value  version of all this (varint): 1
//!           key    's' · source id (4)    value  the source's state (see `state`)
//!           key    'r' · path             value  the state of a reject file (see `state`)
//!
//! details   flags (1): bits 0-1 status: 0 none, 1 number, 2 text; bit 2 has a byte count;
//!                      bits 4-7 method: 0 none, 1 GET, 2 HEAD, 3 POST, 4 PUT, 5 DELETE,
//!                      6 CONNECT, 7 OPTIONS, 8 TRACE, 9 PATCH, 15 another
//!           status (varint or prefixed), byte count (zigzag varint), method (prefixed), each only
//!           where the flags say so
//! ```
//!
//! *Prefixed* is a varint length and that many bytes; varints are LEB128. Big-endian times order
//! as bytes because no stored time is negative. Equal times order by source id and line, which is
//! the order of input: ids are given out as sources are first seen. In `by_user` a zero byte of the
//! user becomes `00 ff`, so that `user · 00 01` is a prefix of this user's keys and of no other's,
//! and users order by their bytes. Details and path stand in both families: a visitor's history is
//! one short scan and a report is one long one, neither looks anything up.
//!
//! One ingest runs at a time (the catalog's lock); reports and histories read a snapshot and run
//! beside it.

pub(crate) mod codec;
pub(crate) mod state;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alluvium::{ColumnFamily, Db, Durability, Options, WriteBatch, WriteOptions};

use crate::error::EventsError;
use crate::format::Parsed;
use codec::{Position, put_details, put_prefixed, put_user_prefix, put_varint, take_varint};
use state::SourceState;

/// The version of the drawing above.
const EVENTS_VERSION: u64 = 1;
const VERSION_KEY: &[u8] = b"m";
const SOURCE_TAG: u8 = b's';
const REJECT_FILE_TAG: u8 = b'r';

/// Events on disk: ingest logs, then ask for reports and histories.
///
/// ```
/// use alluvium_events::{EventStore, IngestOptions, ReportOptions, Source};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let log = directory.path().join("access.log");
/// std::fs::write(&log, "::1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 512\n")?;
///
/// let store = EventStore::open(&directory.path().join("store"), true, Default::default())?;
/// store.ingest(&Source::File(log), &IngestOptions::default(), None, &mut |_| {})?;
/// let report = store.report(&ReportOptions::default())?;
/// assert_eq!((report.events, report.bytes), (1, 512));
/// store.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventStore {
    db: Db,
    families: Families,
    catalog: Mutex<Catalog>,
}

/// The column families.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    pub(crate) events: ColumnFamily,
    pub(crate) by_user: ColumnFamily,
    pub(crate) sources: ColumnFamily,
}

/// All sources by id.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    sources: Vec<(u32, SourceState)>,
}

impl Catalog {
    /// The source of this name that begins like `head`; of several the longest match, then the
    /// newest.
    pub(crate) fn find(&self, name: &[u8], head: &[u8]) -> Option<(u32, &SourceState)> {
        let same =
            |(_, state): &&(u32, SourceState)| state.name == name && state.head.matches(head);
        let found = self.sources.iter().filter(same);
        let best = found.max_by_key(|(id, state)| (state.head.length(), *id));
        best.map(|(id, state)| (*id, state))
    }

    /// The id of the next new source.
    pub(crate) fn next_id(&self) -> u32 {
        self.sources.iter().map(|(id, _)| id + 1).max().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, id: u32, state: SourceState) {
        match self.sources.iter_mut().rev().find(|(known, _)| *known == id) {
            Some((_, known)) => *known = state,
            None => self.sources.push((id, state)),
        }
    }
}

impl EventStore {
    /// Opens the event store in a directory; `create` makes what is not there. The options are the
    /// engine's, and hold for the families `events`, `by_user` and `sources` as for any other.
    ///
    /// # Errors
    ///
    /// Whatever the engine says, [`EventsError::NotAnEventStore`] when there is a store without
    /// events and `create` is not set, [`EventsError::UnsupportedEvents`] when a newer build wrote
    /// them.
    pub fn open(dir: &Path, create: bool, options: Options) -> Result<EventStore, EventsError> {
        let options = Options { create_if_missing: create, ..options };
        let of_family = options.clone();
        let db = Db::open(dir, options)?;
        let family_named = |name: &str| match db.column_family(name) {
            Err(alluvium::Error::ColumnFamilyMissing { .. }) if create => {
                Ok(db.create_column_family(name, of_family.family(name).clone())?)
            }
            Err(alluvium::Error::ColumnFamilyMissing { .. }) => {
                Err(EventsError::NotAnEventStore { directory: dir.display().to_string() })
            }
            other => Ok(other?),
        };
        let families = Families {
            events: family_named("events")?,
            by_user: family_named("by_user")?,
            sources: family_named("sources")?,
        };
        match families.sources.get(VERSION_KEY)? {
            None if create => {
                let mut version = Vec::new();
                put_varint(&mut version, EVENTS_VERSION);
                let mut batch = WriteBatch::new();
                batch.put_in(&families.sources, VERSION_KEY, version);
                db.write_with(batch, &WriteOptions { durability: Durability::Disk })?;
            }
            None => {
                let directory = dir.display().to_string();
                return Err(EventsError::NotAnEventStore { directory });
            }
            Some(version) => match take_varint(&mut &version[..]) {
                Some(EVENTS_VERSION) => {}
                found => {
                    let found = found.unwrap_or(0);
                    let supported = EVENTS_VERSION;
                    return Err(EventsError::UnsupportedEvents { found, supported });
                }
            },
        }
        let mut catalog = Catalog::default();
        for entry in families.sources.prefix([SOURCE_TAG]) {
            let (key, value) = entry?;
            catalog.sources.push((source_id(&key)?, SourceState::decode(&value)?));
        }
        Ok(EventStore { db, families, catalog: Mutex::new(catalog) })
    }

    /// The engine underneath, for statistics, compaction and the like.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Closes the store; everything is on disk then.
    ///
    /// # Errors
    ///
    /// Whatever the engine says.
    pub fn close(self) -> Result<(), EventsError> {
        Ok(self.db.close()?)
    }

    pub(crate) fn families(&self) -> &Families {
        &self.families
    }

    /// Held by the one ingest that is running.
    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        locked(&self.catalog)
    }
}

/// The `sources` key of a source.
pub(crate) fn source_key(id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [SOURCE_TAG, a, b, c, d]
}

fn source_id(key: &[u8]) -> Result<u32, EventsError> {
    let id = key.get(1..).and_then(|id| id.try_into().ok());
    id.map(u32::from_be_bytes).ok_or_else(|| codec::damaged("the key of a source"))
}

/// The range of all source states in `sources`.
pub(crate) fn source_range() -> std::ops::Range<[u8; 1]> {
    [SOURCE_TAG]..[SOURCE_TAG + 1]
}

/// The `sources` key of a reject file.
pub(crate) fn reject_file_key(path: &[u8]) -> Vec<u8> {
    [&[REJECT_FILE_TAG], path].concat()
}

/// The families, lent to a thread that may be stuck in a slow pipe when nobody needs it any more:
/// taken back when this is dropped, so that such a thread never keeps a store open (and locked).
#[derive(Debug)]
pub(crate) struct Loan(Arc<Mutex<Option<Families>>>);

impl Loan {
    pub(crate) fn new(families: Families) -> Loan {
        Loan(Arc::new(Mutex::new(Some(families))))
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        *locked(&self.0) = None;
    }
}

/// Puts events into batches; keeps the buffers that it needs for it. Once its families were taken
/// back it does nothing: its batches go nowhere then.
#[derive(Debug)]
pub(crate) struct EventWriter {
    families: Arc<Mutex<Option<Families>>>,
    user_key: Vec<u8>,
    value: Vec<u8>,
}

impl EventWriter {
    pub(crate) fn new(loan: &Loan) -> EventWriter {
        EventWriter { families: Arc::clone(&loan.0), user_key: Vec::new(), value: Vec::new() }
    }

    /// Adds an event under its time and under its user.
    #[inline]
    pub(crate) fn put(
        &mut self,
        batch: &mut WriteBatch,
        event: &Parsed<'_>,
        source: u32,
        line: u64,
    ) {
        let families = locked(&self.families);
        let Some(families) = &*families else { return };
        let key = Position { time_ms: event.time_ms, source, line }.key();
        self.user_key.clear();
        put_user_prefix(&mut self.user_key, event.user);
        self.user_key.extend_from_slice(&key);
        self.value.clear();
        put_details(&mut self.value, event);
        let details = self.value.len();
        self.value.extend_from_slice(event.path);
        batch.put_in(&families.by_user, &self.user_key, &self.value);
        self.value.truncate(details);
        put_prefixed(&mut self.value, event.user);
        self.value.extend_from_slice(event.path);
        batch.put_in(&families.events, key, &self.value);
    }

    /// The `by_user` key of the event that was put last.
    pub(crate) fn last_user_key(&self) -> &[u8] {
        &self.user_key
    }

    /// Takes an event back.
    pub(crate) fn delete(&self, batch: &mut WriteBatch, event_key: &[u8], user_key: &[u8]) {
        if let Some(families) = &*locked(&self.families) {
            batch.delete_in(&families.events, event_key);
            batch.delete_in(&families.by_user, user_key);
        }
    }

    /// Adds a source's state.
    pub(crate) fn put_source(&self, batch: &mut WriteBatch, id: u32, state: &SourceState) {
        if let Some(families) = &*locked(&self.families) {
            batch.put_in(&families.sources, source_key(id), state.encode());
        }
    }
}

/// A lock's content; whoever panicked under it left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
