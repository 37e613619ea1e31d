//! What a store tells a listener: one value for each thing that happens in the background.
//!
//! The types are plain data, so that a listener can keep, compare and print them. Where something
//! is done for a reason, the event carries the reason in words, with the figures that decided.
//!
//! # What a listener may do
//!
//! [`EventListener::on_event`] is called by the thread to which the event happened: a worker, the
//! thread that opens or closes the store, or a writer (the leader of a commit group). No lock of
//! the engine is held meanwhile, so a slow listener delays that one thread and nothing else; where
//! that thread is a writer, the writers queued behind it wait with it.
//!
//! It may read the store, take snapshots, and ask for statistics and the history. It must not
//! write, flush, compact, wait for idleness, close the store or drop its last handle: each of these
//! may wait for the very thread that called it. A listener that keeps a `Db` also keeps the store
//! open for ever: keep a `Weak`, or send what it heard to a thread that has the handle.
//!
//! A listener that panics is not called again; the panic is caught, counted (`listener_panics`) and
//! noted in the history, and the store goes on.

use std::fmt;
use std::sync::Arc;

use crate::base::error::Error;
use crate::base::file::{FileId, FileNumber};
use crate::metrics::stall::StallCause;

/// Hears what a store does. See [`Event`] for what there is to hear.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use alluvium::env::MemEnv;
/// use alluvium::{Db, Event, EventListener, Listeners, Options};
///
/// #[derive(Debug, Default)]
/// struct Flushed(Mutex<u64>);
///
/// impl EventListener for Flushed {
///     fn on_event(&self, event: &Event) {
///         if let Event::FlushEnded(flush) = event {
///             *self.0.lock().unwrap() += flush.outputs.len() as u64;
///         }
///     }
/// }
///
/// # fn main() -> alluvium::Result<()> {
/// let flushed = Arc::new(Flushed::default());
/// let options = Options { listeners: Listeners::from(flushed.clone()), ..Options::default() };
/// let db = Db::open_env(Arc::new(MemEnv::new()), options)?;
/// db.put("key", "value")?;
/// db.flush()?;
/// db.close()?;
/// assert_eq!(*flushed.0.lock().unwrap(), 1);
/// # Ok(())
/// # }
/// ```
pub trait EventListener: Send + Sync {
    /// Called after (for `…Begun`: before) each thing that happens. It may read the store, and must
    /// not write to it, wait for it or close it. A listener that panics is not called again.
    fn on_event(&self, event: &Event);
}

/// The listeners of a store. Two are equal when they hold the same objects in the same order.
#[derive(Clone, Default)]
pub struct Listeners(Vec<Arc<dyn EventListener>>);

impl Listeners {
    /// No listener.
    #[must_use]
    pub fn none() -> Listeners {
        Listeners::default()
    }

    /// Adds a listener behind those that are there; they are called in this order.
    #[must_use]
    pub fn with(mut self, listener: Arc<dyn EventListener>) -> Listeners {
        self.0.push(listener);
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn EventListener>> {
        self.0.iter()
    }
}

impl<L: EventListener + 'static> From<Arc<L>> for Listeners {
    fn from(listener: Arc<L>) -> Listeners {
        Listeners(vec![listener])
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners({})", self.0.len())
    }
}

impl PartialEq for Listeners {
    fn eq(&self, other: &Listeners) -> bool {
        // The address alone: two tables of functions of one object make no difference.
        let address = |listener: &Arc<dyn EventListener>| Arc::as_ptr(listener).cast::<()>();
        self.0.iter().map(address).eq(other.0.iter().map(address))
    }
}

/// A table as events name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableInfo {
    /// Its number: the file is `NUMBER.sst`.
    pub number: u64,
    /// Its level; of an output the level that it goes to.
    pub level: usize,
    /// Its bytes.
    pub bytes: u64,
    /// Its entries, tombstones and hidden versions included.
    pub entries: u64,
}

/// A flush that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushBegun {
    /// Names this job among those of this life of the store; the end has the same.
    pub job: u64,
    /// The column family.
    pub family: String,
    /// Why, in words.
    pub reason: String,
    /// Memtables that it writes.
    pub memtables: usize,
    /// Bytes of memory of those.
    pub memtable_bytes: u64,
}

/// A flush that ended.
#[derive(Debug, Clone)]
pub struct FlushEnded {
    /// What began.
    pub begun: FlushBegun,
    /// The tables of level 0 that it wrote; none when nothing survived, or it failed.
    pub outputs: Vec<TableInfo>,
    /// Entries of the memtables.
    pub entries_in: u64,
    /// Entries left out because newer ones hide them.
    pub entries_dropped: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// What it failed with.
    pub error: Option<Error>,
}

/// A compaction that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionBegun {
    /// Names this job among those of this life of the store; the end has the same.
    pub job: u64,
    /// The column family.
    pub family: String,
    /// Why, in words.
    pub reason: String,
    /// The uppermost level that tables are taken from.
    pub level: usize,
    /// The level that the outputs go to.
    pub output_level: usize,
    /// The tables that are merged, with the levels they are in.
    pub inputs: Vec<TableInfo>,
}

impl CompactionBegun {
    /// Bytes of the inputs.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|table| table.bytes).sum()
    }
}

/// A compaction that ended.
#[derive(Debug, Clone)]
pub struct CompactionEnded {
    /// What began.
    pub begun: CompactionBegun,
    /// The tables that it wrote; none when nothing survived, or it failed.
    pub outputs: Vec<TableInfo>,
    /// Entries read.
    pub entries_in: u64,
    /// Entries dropped: hidden by newer ones, or tombstones with nothing left to hide.
    pub entries_dropped: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// What it failed with; `Closed` when it gave up because the store was closed.
    pub error: Option<Error>,
}

/// Tables that changed their level without being rewritten, or left the store unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablesMoved {
    /// The column family.
    pub family: String,
    /// Why, in words.
    pub reason: String,
    /// The tables, with the levels they were in.
    pub tables: Vec<TableInfo>,
    /// The level that they are in now, where they are in the store.
    pub output_level: usize,
}

/// A writer that waits, or has waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// What for.
    pub cause: StallCause,
    /// Why, in words.
    pub reason: String,
    /// How long it has waited, in microseconds; 0 where the wait begins.
    pub micros: u64,
}

/// Something that happened in a store.
///
/// New kinds may be added; a `match` needs an arm for the rest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The store has been opened, and what its log held is in tables.
    Opened {
        /// Tables that recovery wrote from the log.
        recovered_tables: usize,
        /// Tables of the store.
        tables: usize,
        /// How long opening took, in microseconds.
        micros: u64,
    },
    /// The store is closed in good order.
    Closed,
    /// A flush begins.
    FlushBegun(FlushBegun),
    /// A flush ended, well or not.
    FlushEnded(FlushEnded),
    /// A compaction begins.
    CompactionBegun(CompactionBegun),
    /// A compaction ended, well or not.
    CompactionEnded(CompactionEnded),
    /// Tables moved to another level without being rewritten.
    TablesMoved(TablesMoved),
    /// Tables left the store with all that was in them, without being read.
    TablesDropped(TablesMoved),
    /// A writer begins to wait for background work.
    StallBegun(Stalled),
    /// A writer goes on.
    StallEnded(Stalled),
    /// Background work failed. It is tried again, but for damage.
    BackgroundError {
        /// What failed: `flush of default`.
        job: String,
        /// With what.
        error: Error,
    },
    /// The store takes no more writes until it is opened again.
    WritesStopped {
        /// Why.
        error: Error,
    },
    /// A file was created: of [`FileId::Wal`] a segment of the log, by a worker ahead of need or by
    /// a writer; of [`FileId::Manifest`] a manifest.
    FileCreated {
        /// The file.
        file: FileId,
    },
    /// A file was removed.
    FileDeleted {
        /// The file.
        file: FileId,
    },
    /// `CURRENT` names a new manifest, which begins with the whole state.
    ManifestRolled {
        /// The manifest's number.
        number: FileNumber,
    },
    /// A listener panicked, and is not called any more.
    ListenerPanicked {
        /// Its place among the listeners, from 0.
        listener: usize,
        /// What it said.
        detail: String,
    },
}

impl Event {
    /// The kind of event in a word, as `alluvium explain --kind` and `tracing` have it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Opened { .. } => "opened",
            Event::Closed => "closed",
            Event::FlushBegun(_) | Event::FlushEnded(_) => "flush",
            Event::CompactionBegun(_) | Event::CompactionEnded(_) => "compaction",
            Event::TablesMoved(_) => "move",
            Event::TablesDropped(_) => "drop",
            Event::StallBegun(_) | Event::StallEnded(_) => "stall",
            Event::BackgroundError { .. } => "error",
            Event::WritesStopped { .. } => "stopped",
            Event::FileCreated { .. } | Event::FileDeleted { .. } => "file",
            Event::ManifestRolled { .. } => "manifest",
            Event::ListenerPanicked { .. } => "listener",
        }
    }
}
