//! Alluvium: an embedded, write-optimized key-value storage engine: a log-structured merge tree.

pub mod env;

mod base;
mod batch;
mod metrics;
mod sstable;
mod version;
mod wal;

pub use base::error::{Action, Error, Result};

/// The examples of the documents are doc-tests, too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
