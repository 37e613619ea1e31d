//! Click streams on Alluvium: log formats in, events stored, reports out.

mod error;
mod format;
mod input;
mod time;

pub use error::EventsError;
pub use format::{Fields, Format};
pub use input::Source;
pub use time::{TIME_MAX_MS, UNIX_MS_FROM, format_time, parse_time_argument};
