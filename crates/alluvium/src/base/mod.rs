//! Floor 0: what every other floor may use, and what knows nothing of any of them.
//!
//! Errors, keys and their one ordering, the iterator trait, integer encodings, checksums, file
//! names and hard limits. Nothing here does I/O, holds state or starts a thread.

pub mod blob;
pub mod checksum;
pub mod coding;
pub mod error;
pub mod event_time;
pub mod expiry;
pub mod file;
pub mod iterator;
pub mod key;
pub mod limits;
pub(crate) mod planted;
pub(crate) mod prefetch;
pub mod rows;
pub mod sync;
