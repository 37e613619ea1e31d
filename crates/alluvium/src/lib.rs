//! Alluvium: an embedded, write-optimized key-value storage engine: a log-structured merge tree.

pub mod env;

mod base;
mod batch;
mod cache;
mod filter;
mod metrics;
mod sstable;

pub use base::error::{Action, Error, Result};
pub use sstable::Codec;
