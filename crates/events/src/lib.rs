//! Click streams on Alluvium: log formats in, events stored, reports out.

pub mod demo;

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
