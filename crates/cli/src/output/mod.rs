//! What people see: text forms of bytes, numbers and times, tables, bars, and the report.
//!
//! Everything here makes strings from values and knows nothing of a store, so that it is tested
//! without one. Writing them out is the commands' business.

pub mod bars;
pub mod bytes;
pub mod histogram;
pub mod ingested;
pub mod numbers;
pub mod report;
pub mod table;
pub mod time;
