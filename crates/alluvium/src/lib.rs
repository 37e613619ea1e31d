//! Alluvium: an embedded, write-optimized key-value storage engine: a log-structured merge tree
//! with the whole production set around it.
//!
//! A [`Db`] is a directory of ordered byte strings. Writes go to a log and to memory and are sorted
//! into tables in the background; reads see them at once. Keys live in [`ColumnFamily`]s that share
//! one log and one history, so that a [`WriteBatch`] over several is atomic. What survives a crash
//! is said by [`Durability`], and the default is [`Durability::Disk`].
//!
//! ```
//! # fn main() -> alluvium::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("store");
//! use alluvium::{Db, Options, WriteBatch};
//!
//! let db = Db::open(&path, Options::default())?;
//! let mut batch = WriteBatch::new();
//! batch.put("user:2", "grace");
//! batch.delete("user:1");
//! db.write(batch)?;
//!
//! let snapshot = db.snapshot();
//! for entry in snapshot.scan("user:".."user;") {
//!     let (key, value) = entry?;
//!     assert_eq!((&key[..], &value[..]), (b"user:2".as_slice(), b"grace".as_slice()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Errors say what to do: see [`Error::action`].

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod env;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;

mod base;
mod batch;
mod blob;
mod cache;
mod compaction;
mod db;
mod filter;
mod iter;
mod memtable;
mod metrics;
mod options;
mod ranges;
mod sstable;
mod version;
mod wal;

pub use base::error::{Action, Error, Result};
pub use base::event_time::EventTime;
pub use bytes::Bytes;
pub use compaction::strategy::{Fifo, Strategy, TimeWindows};
pub use db::{
    BackgroundPause, ColumnFamily, Cursor, Db, FamilyStats, HistoryEntry, KeyRange, LevelStats,
    LogLoss, RepairReport, RepairedFamily, Scan, Snapshot, Stats, Status, TableLoss, VerifyReport,
    WriteBatch, inspect, repair, repair_env, status, status_env, verify, verify_env,
};
pub use filter::{FilterPolicy, PrefixExtractor};
pub use metrics::{
    CompactionBegun, CompactionEnded, Event, EventListener, FlushBegun, FlushEnded,
    HistogramSnapshot, Listeners, StallCause, StallStats, Stalled, TableInfo, TablesMoved,
};
pub use options::{
    ColumnFamilyOptions, Durability, Options, PerLevel, RateLimit, ReadOptions, Workload,
    WriteOptions,
};
pub use sstable::{Codec, ZstdOptions};

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the page on compaction, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/compaction.md")]
struct CompactionPage;
