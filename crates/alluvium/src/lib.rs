//! Alluvium: an embedded, write-optimized key-value storage engine: a log-structured merge tree.

pub mod env;

mod base;
mod batch;
mod memtable;
mod metrics;

pub use base::error::{Action, Error, Result};
