//! The engines that can be measured, behind one pair of traits.
//!
//! An [`Engine`] is written to and shared by threads; each reading thread asks it for a [`Reader`],
//! which may hold what its engine's documents say a reader should keep. Both are trait objects: a
//! virtual call costs two nanoseconds, of operations that take some hundred.
//!
//! What is equal on all sides: durability of each write, bytes of the block cache and of one
//! memtable, the codec, the allocator (the system's), and the process that runs it. Each engine's
//! module says what else was set, and why.

mod alluvium;
#[cfg(feature = "peers")]
mod fjall;
#[cfg(feature = "peers")]
mod redb;

use std::path::Path;

use crate::Result;
use crate::keys::Key;
use crate::settings::Settings;

/// The engines of this build, Alluvium first.
#[cfg(not(feature = "peers"))]
pub const NAMES: &[&str] = &["alluvium"];
/// The engines of this build, Alluvium first.
#[cfg(feature = "peers")]
pub const NAMES: &[&str] = &["alluvium", "fjall", "redb"];

/// Operations that are written as one: all puts, or all deletes.
#[derive(Debug, Default)]
pub struct Batch {
    keys: Vec<Key>,
    values: Vec<u8>,
    value_bytes: usize,
}

impl Batch {
    /// An empty batch of puts with values of `value_bytes` bytes; of deletes where that is 0.
    pub fn new(value_bytes: usize) -> Batch {
        Batch { value_bytes, ..Batch::default() }
    }

    /// Adds a key and lets `append` write its value behind the others.
    pub fn put(&mut self, key: Key, append: impl FnOnce(&mut Vec<u8>)) {
        self.keys.push(key);
        append(&mut self.values);
        debug_assert_eq!(self.values.len(), self.keys.len() * self.value_bytes);
    }

    /// Adds a key to delete.
    pub fn delete(&mut self, key: Key) {
        debug_assert_eq!(self.value_bytes, 0);
        self.keys.push(key);
    }

    /// Empties it; what it will be used for stays.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    /// How many operations it holds.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The operations: a key, and its value or `None` for a delete.
    pub fn operations(&self) -> impl Iterator<Item = (&Key, Option<&[u8]>)> {
        let bytes = self.value_bytes;
        self.keys.iter().enumerate().map(move |(at, key)| {
            let value = (bytes > 0).then(|| &self.values[at * bytes..(at + 1) * bytes]);
            (key, value)
        })
    }
}

/// What a walk over entries saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    /// How many entries.
    pub entries: u64,
    /// Their bytes, keys and values: proof that both were at hand.
    pub bytes: u64,
    /// The stamp of the first one.
    pub first_stamp: Option<u64>,
}

impl Walked {
    /// Counts an entry.
    #[inline]
    pub fn count(&mut self, key: &[u8], value: &[u8]) {
        if self.entries == 0 {
            self.first_stamp = Some(crate::keys::stamp_of(value));
        }
        self.entries += 1;
        self.bytes += (std::hint::black_box(key).len() + std::hint::black_box(value).len()) as u64;
    }
}

/// A store that is open.
pub trait Engine: Send + Sync {
    /// Writes a batch as one atomic operation, at the durability of the settings. A batch of one is
    /// written by the engine's call for a single operation, where it has one.
    fn write(&self, batch: &Batch) -> Result<()>;

    /// What one thread reads through.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;

    /// Writes all memtables to tables (or what corresponds to it) and waits until no background
    /// work is left.
    fn settle(&self) -> Result<()>;

    /// All bytes that the engine says it has written so far, where it keeps the account.
    fn written_bytes(&self) -> Option<u64>;

    /// The engine's own statistics, for people.
    fn statistics(&self) -> String;

    /// Closes the store.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What one thread reads through. Each call sees what was written before it, up to the staleness
/// that the engine's module admits to.
pub trait Reader {
    /// The stamp of the key's value.
    fn get(&mut self, key: &Key) -> Result<Option<u64>>;

    /// Goes to the first entry at or behind `key`, and reads up to `entries` from there on.
    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked>;
}

/// The version of an engine as the tables name it.
pub fn label(name: &str) -> String {
    match name {
        "alluvium" => format!("alluvium {}", env!("CARGO_PKG_VERSION")),
        // The workspace pins these two with `=`: a look at Cargo.toml is the proof.
        "fjall" => "fjall 3.1.13".to_owned(),
        "redb" => "redb 4.4.0".to_owned(),
        other => other.to_owned(),
    }
}

/// Opens a new store of the engine called `name` in `dir`.
pub fn open(name: &str, dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    match name {
        "alluvium" => alluvium::open(dir, settings),
        #[cfg(feature = "peers")]
        "fjall" => fjall::open(dir, settings),
        #[cfg(feature = "peers")]
        "redb" => redb::open(dir, settings),
        #[cfg(not(feature = "peers"))]
        "fjall" | "redb" => Err(format!("{name} is not built in: add --features peers").into()),
        other => Err(format!("no engine is called {other}; there are {NAMES:?}").into()),
    }
}
