//! Alluvium: an embedded, write-optimized key-value storage engine: a log-structured merge tree.

pub mod env;

mod base;
mod batch;
mod metrics;
mod sstable;
mod version;
mod wal;

pub use base::error::{Action, Error, Result};
