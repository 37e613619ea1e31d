//! Click streams on Alluvium: log formats in, events stored, reports out.
//!
//! An [`EventStore`] is a directory. [`EventStore::ingest`] reads Apache and nginx logs, NDJSON,
//! CSV and TSV, packed or not, and stores every event exactly once whatever interrupts it;
//! [`EventStore::report`] counts what is in a range of time; [`EventStore::history`] is what one
//! visitor did. docs/events.md has the rules and draws the bytes.
//!
//! From the bottom: `time` and `format` turn one line into one event and know nothing else; `input`
//! opens sources and cuts them into lines; `store` says which keys and values an event becomes;
//! `ingest` runs a source through all of these in two threads; `report` and `history` read what is
//! stored; [`demo`] makes a click stream where there is no log.

pub mod demo;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

mod error;
mod format;
mod history;
mod ingest;
mod input;
mod report;
mod store;
mod time;

pub use error::EventsError;
pub use format::{Fields, Format};
pub use history::{Event, History};
pub use ingest::{IngestOptions, IngestSummary, OnError, Progress, RejectFile};
pub use input::Source;
pub use report::{Report, ReportOptions};
pub use store::EventStore;
pub use time::{TIME_MAX_MS, UNIX_MS_FROM, format_time, parse_time_argument};
