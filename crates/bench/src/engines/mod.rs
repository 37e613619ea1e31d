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
mod lmdb;
#[cfg(feature = "peers")]
mod redb;
#[cfg(feature = "peers")]
mod renewing;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "peers")]
mod sqlite;

use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::keys::Key;
use crate::settings::{DurabilityName, Settings};

/// The engines of this build, Alluvium first, in the order of the tables.
pub const NAMES: &[&str] = &[
    "alluvium",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    #[cfg(feature = "peers")]
    "fjall",
    #[cfg(feature = "peers")]
    "lmdb",
    #[cfg(feature = "peers")]
    "redb",
    #[cfg(feature = "peers")]
    "sqlite",
];

/// Engines of this build, and how each is set up for large values, where it has another way for
/// them. The second comes along wherever the first is chosen and values are large.
pub const VARIANTS: &[(&str, &str)] = &[
    ("alluvium", "alluvium-blob"),
    #[cfg(feature = "rocksdb")]
    ("rocksdb", "rocksdb-blob"),
    #[cfg(feature = "peers")]
    ("fjall", "fjall-blob"),
];

/// Values of this length and more are large: the variants keep them apart from their keys.
pub const LARGE_VALUE_BYTES: usize = 1 << 10;

/// The engines that run where `chosen` ones are asked for, with values of `value_bytes`.
pub fn with_variants(chosen: &[String], value_bytes: usize) -> Vec<String> {
    let mut engines = chosen.to_vec();
    if value_bytes >= LARGE_VALUE_BYTES {
        let missing = |name: &str| !chosen.iter().any(|one| one == name);
        let more = VARIANTS.iter().filter(|(base, variant)| !missing(base) && missing(variant));
        engines.extend(more.map(|(_, variant)| (*variant).to_owned()));
    }
    engines
}

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
    /// The sum of all stamps: proof that each value was looked at, as whoever scans does.
    pub stamps: u64,
}

impl Walked {
    /// Counts an entry.
    #[inline]
    pub fn count(&mut self, key: &[u8], value: &[u8]) {
        let stamp = crate::keys::stamp_of(value);
        if self.entries == 0 {
            self.first_stamp = Some(stamp);
        }
        self.stamps = self.stamps.wrapping_add(stamp);
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

    /// How long [`Engine::settle`] watches in the end that nothing more happens, where it has no
    /// other way to know: that time is not the engine's.
    fn settle_watch(&self) -> Duration {
        Duration::ZERO
    }

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

    /// Sees, from here on, at least what was written before this call. For readers that keep a view
    /// for several reads; most have nothing to do.
    fn refresh(&mut self) {}

    /// Goes to the first entry at or behind `key`, and reads up to `entries` from there on.
    fn walk(&mut self, key: &Key, entries: u64) -> Result<Walked>;
}

/// The version of an engine as the tables name it. The workspace pins the peers with `=`: a look at
/// Cargo.toml is the proof.
pub fn label(name: &str) -> String {
    match name {
        "alluvium" => concat!("alluvium ", env!("CARGO_PKG_VERSION")).to_owned(),
        "alluvium-blob" => concat!("alluvium-blob ", env!("CARGO_PKG_VERSION")).to_owned(),
        "fjall" => "fjall 3.1.13".to_owned(),
        "fjall-blob" => "fjall-blob 3.1.13".to_owned(),
        "lmdb" => "lmdb 0.9.70".to_owned(),
        "redb" => "redb 4.4.0".to_owned(),
        "rocksdb" => "rocksdb 11.8.1".to_owned(),
        "rocksdb-blob" => "rocksdb-blob 11.8.1".to_owned(),
        "sqlite" => "sqlite 3.54.1".to_owned(),
        other => other.to_owned(),
    }
}

/// Whether this build has an engine, or a variant of one, that is called `name`.
pub fn known(name: &str) -> bool {
    NAMES.contains(&name) || VARIANTS.iter().any(|(_, variant)| *variant == name)
}

/// Opens the store of the engine called `name` in `dir`, and makes it if there is none.
pub fn open(name: &str, dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    match name {
        "alluvium" => alluvium::open(dir, settings, false),
        "alluvium-blob" => alluvium::open(dir, settings, true),
        #[cfg(feature = "peers")]
        "fjall" => fjall::open(dir, settings, false),
        #[cfg(feature = "peers")]
        "fjall-blob" => fjall::open(dir, settings, true),
        #[cfg(feature = "peers")]
        "lmdb" => lmdb::open(dir, settings),
        #[cfg(feature = "peers")]
        "redb" => redb::open(dir, settings),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => rocksdb::open(dir, settings, false),
        #[cfg(feature = "rocksdb")]
        "rocksdb-blob" => rocksdb::open(dir, settings, true),
        #[cfg(feature = "peers")]
        "sqlite" => sqlite::open(dir, settings),
        other => Err(missing(other).into()),
    }
}

/// Whether what the engine called `name` has acknowledged is there after its process was killed.
pub fn outlives_a_kill(name: &str, settings: &Settings) -> bool {
    match settings.durability {
        DurabilityName::Buffered => false,
        DurabilityName::Os => name != "redb",
        DurabilityName::Disk => true,
    }
}

/// Why there is no engine called `name`.
pub fn missing(name: &str) -> String {
    let feature = match name {
        "fjall" | "fjall-blob" | "lmdb" | "redb" | "sqlite" => "peers",
        "rocksdb" | "rocksdb-blob" => "rocksdb",
        _ => return format!("no engine is called {name}; this build has {NAMES:?}"),
    };
    format!("{name} is not built in: add --features {feature}")
}
