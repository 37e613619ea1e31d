//! What the command line says, and what follows from it for one simulated store.

use std::path::PathBuf;
use std::time::Duration;

use alluvium::simulation::level0_due;
use alluvium::{ColumnFamilyOptions, EventTime, Fifo, Strategy, TimeWindows};
use clap::{Parser, ValueEnum};

use crate::content::EntryBytes;
use crate::load::{Kind, LATE_SHARE, Load};

/// The command line.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "alluvium-simulator",
    about = "Runs the compaction pickers over stores that exist as metadata alone"
)]
pub struct Command {
    /// The strategies [default: all]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAMES")]
    pub strategies: Vec<Policy>,

    /// What is written
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAMES")]
    #[arg(default_values_t = [Kind::Uniform])]
    pub loads: Vec<Kind>,

    /// Live data as the user sees it: `512m`, `1g`, `100t`
    #[arg(long, value_delimiter = ',', value_parser = bytes, value_name = "BYTES")]
    #[arg(default_values_t = [1 << 30, 1 << 40, 100 << 40])]
    pub sizes: Vec<u64>,

    /// What is written and measured, as a multiple of the live data [default: by strategy]
    #[arg(long, value_name = "FACTOR")]
    pub turnover: Option<f64>,

    /// Begin with an empty store and measure all, instead of a full one in its steady state
    #[arg(long)]
    pub from_empty: bool,

    /// Compact as where somebody reads meanwhile: else level 0 of a leveled store gathers
    #[arg(long)]
    pub read: bool,

    /// One memtable [default: 64 MiB, or as much as keeps a store at 8,192 tables]
    #[arg(long, value_parser = bytes, value_name = "BYTES")]
    pub memtable: Option<u64>,

    /// Target size of a table [default: as the memtable]
    #[arg(long, value_parser = bytes, value_name = "BYTES")]
    pub table: Option<u64>,

    /// How many times larger each level is than the one above
    #[arg(long, default_value_t = 10, value_name = "FACTOR")]
    pub ratio: u32,

    /// Runs of one tier that are merged into one of the next
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    pub tier_ratio: u32,

    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    pub key_bytes: u32,

    /// Bytes of a value
    #[arg(long, default_value_t = 400, value_name = "BYTES")]
    pub value_bytes: u32,

    /// How much of an ordered load comes late, in percent
    #[arg(long, default_value_t = LATE_SHARE * 100.0, value_name = "PERCENT")]
    pub late: f64,

    /// What users write, MB a second
    #[arg(long, default_value_t = 40.0, value_name = "MB")]
    pub write_mb: f64,

    /// What the device reads and writes in all, MB a second
    #[arg(long, default_value_t = 3000.0, value_name = "MB")]
    pub device_mb: f64,

    /// What one thread merges, MB read and written a second
    #[arg(long, default_value_t = 600.0, value_name = "MB")]
    pub thread_mb: f64,

    /// Background threads; with 0 a real store's writer does all work itself
    #[arg(long, default_value_t = 8, value_name = "COUNT")]
    pub threads: usize,

    /// Bits of filter for each key
    #[arg(long, default_value_t = 10.0, value_name = "BITS")]
    pub filter_bits: f64,

    /// Write every row to this file, comma-separated
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Draw plots into this directory, as SVG
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,

    /// Do the same to a real store in this directory and put its figures beside the simulated ones
    #[arg(long, value_name = "DIR")]
    pub real: Option<PathBuf>,

    /// The seed of a real store's writes
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
}

/// The strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// One sorted run a level
    Leveled,
    /// Runs of similar size
    Tiered,
    /// Tiers above one leveled run
    Lazy,
    /// Runs inside windows of event time; for ordered loads
    Windows,
    /// The oldest tables go; for loads that end by themselves
    Fifo,
}

impl Policy {
    /// All of them, in the order of the tables.
    pub const ALL: &[Policy] =
        &[Policy::Leveled, Policy::Tiered, Policy::Lazy, Policy::Windows, Policy::Fifo];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Leveled => "leveled",
            Policy::Tiered => "tiered",
            Policy::Lazy => "lazy",
            Policy::Windows => "windows",
            Policy::Fifo => "fifo",
        }
    }

    /// Whether the strategy is meant for the load, and keeps all that is live.
    pub fn suits(self, load: Kind) -> bool {
        match self {
            Policy::Leveled | Policy::Tiered | Policy::Lazy => true,
            Policy::Windows => load.is_ordered(),
            Policy::Fifo => load == Kind::Ttl,
        }
    }

    /// Whether entries expire one by one, and not with their window or their table.
    pub fn expires_entries(self) -> bool {
        !matches!(self, Policy::Windows | Policy::Fifo)
    }

    /// What is written before measuring, and while measuring, in live data: so much that the
    /// largest merges come up.
    fn amounts(self) -> (f64, f64) {
        match self {
            Policy::Leveled => (0.25, 0.25),
            Policy::Tiered => (1.0, 3.0),
            Policy::Lazy => (0.5, 1.0),
            Policy::Windows | Policy::Fifo => (0.5, 1.0),
        }
    }

    fn strategy(self, tier_ratio: u32, load: &Load) -> Strategy {
        match self {
            Policy::Leveled => Strategy::Leveled,
            Policy::Tiered => Strategy::Tiered { ratio: tier_ratio },
            Policy::Lazy => Strategy::LazyLeveling { ratio: tier_ratio },
            Policy::Windows => {
                let ttl = Duration::from_millis(load.ttl_ms());
                Strategy::TimeWindows(TimeWindows {
                    ttl: (load.kind == Kind::Ttl).then_some(ttl),
                    ratio: tier_ratio,
                    ..TimeWindows::new(ttl / WINDOWS, EventTime::big_endian_ms(0))
                })
            }
            Policy::Fifo => Strategy::Fifo(Fifo {
                bytes_max: (load.live_target_bytes() as u64).max(1),
                age_max: None,
            }),
        }
    }
}

/// Windows of a store with time windows.
pub const WINDOWS: u32 = 30;

/// An entry's key and value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    pub key_bytes: u32,
    pub value_bytes: u32,
    pub filter_bits: f64,
}

/// One store to simulate.
#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: Policy,
    pub load: Kind,
    /// Live data as the user sees it.
    pub live_bytes: u64,
    /// Written before anything is measured, as a share of the live data.
    pub warm_up: f64,
    /// Written and measured, as a share of the live data.
    pub turnover: f64,
    /// Whether the store begins with all that is live, in its deepest place.
    pub full: bool,
    /// Compact as where somebody reads.
    pub read: bool,
    pub options: ColumnFamilyOptions,
    pub entry: Entry,
    pub tier_ratio: u32,
    /// The share of ordered keys that come late.
    pub late_share: f64,
    pub write_bytes_per_second: f64,
    pub device_bytes_per_second: f64,
    pub thread_bytes_per_second: f64,
    pub threads: usize,
}

/// Tables of a store at most, where nothing else is asked for.
const TABLES_MAX: u64 = 8_192;

/// Megabytes on the command line.
const MB: f64 = 1e6;

impl Command {
    /// The settings of one row.
    pub fn settings(&self, policy: Policy, load: Kind, live_bytes: u64) -> Settings {
        let least = (live_bytes / TABLES_MAX).next_power_of_two().max(64 << 20);
        let memtable_bytes = self.memtable.unwrap_or(least).min(16 << 30);
        let table_bytes = self.table.unwrap_or(memtable_bytes);
        let entry = Entry {
            key_bytes: self.key_bytes,
            value_bytes: self.value_bytes,
            filter_bits: self.filter_bits,
        };
        let sized = Load::new(load, live_bytes, entry, policy.expires_entries(), false);
        let options = ColumnFamilyOptions {
            strategy: policy.strategy(self.tier_ratio, &sized),
            memtable_bytes: memtable_bytes as usize,
            table_bytes,
            level1_bytes: memtable_bytes * 4,
            level_ratio: self.ratio,
            codecs: alluvium::PerLevel::all(alluvium::Codec::None),
            ..ColumnFamilyOptions::default()
        };
        let (warm_up, turnover) = policy.amounts();
        Settings {
            policy,
            load,
            live_bytes,
            warm_up: if self.from_empty { 0.0 } else { warm_up },
            turnover: self.turnover.unwrap_or(if self.from_empty { 2.0 } else { turnover }),
            full: !self.from_empty,
            read: self.read,
            options,
            entry,
            tier_ratio: self.tier_ratio,
            late_share: (self.late / 100.0).clamp(0.0, 1.0),
            write_bytes_per_second: self.write_mb * MB,
            device_bytes_per_second: self.device_mb * MB,
            thread_bytes_per_second: self.thread_mb * MB,
            threads: self.threads,
        }
    }
}

impl Settings {
    /// The ratio that the strategy goes by.
    pub fn ratio(&self) -> u32 {
        match self.policy {
            Policy::Leveled => self.options.level_ratio,
            _ => self.tier_ratio,
        }
    }

    /// How many times what is due where somebody reads gathers in level 0.
    pub fn gathered(&self) -> f64 {
        let due = |read| level0_due(&self.options, read) as f64;
        due(self.read) / due(true)
    }

    /// The load, at its beginning.
    pub fn load(&self) -> Load {
        let expires = self.policy.expires_entries();
        let load = Load::new(self.load, self.live_bytes, self.entry, expires, self.full);
        load.with_late(self.late_share)
    }
}

impl Entry {
    /// Bytes of a put; as measured on real stores (a test holds them to it).
    pub fn put(self) -> EntryBytes {
        self.entry(f64::from(self.value_bytes))
    }

    /// Bytes of a tombstone.
    pub fn tombstone(self) -> EntryBytes {
        self.entry(0.0)
    }

    fn entry(self, value_bytes: f64) -> EntryBytes {
        let key_bytes = f64::from(self.key_bytes);
        // Key and value with their lengths; in a table the trailer, the part of the key that
        // differs from the one before, and the shares of block, index and filter.
        let stored = (key_bytes - KEY_SHARED_BYTES).max(1.0) + 8.0 + 3.0 + value_bytes;
        let in_block = stored * (1.0 + BLOCK_OVERHEAD_BYTES / 4096.0);
        EntryBytes {
            user: key_bytes + value_bytes,
            log: key_bytes + value_bytes + LOG_OVERHEAD_BYTES,
            memtable: key_bytes + value_bytes + MEMTABLE_OVERHEAD_BYTES,
            table: in_block + self.filter_bits / 8.0,
        }
    }
}

/// What a key has in common with the key before it, which a table does not store again.
const KEY_SHARED_BYTES: f64 = 2.5;
/// What a block of 4 KiB costs: its trailer, its restart points and its entry in the index.
const BLOCK_OVERHEAD_BYTES: f64 = 48.0;
/// What an entry costs in the log: its kind, its lengths, its share of the batch's head.
const LOG_OVERHEAD_BYTES: f64 = 5.0;
/// What an entry costs in a memtable: its lengths, its trailer, and its place in a leaf. It is 34
/// where keys ascend, 50 where they come in any order.
const MEMTABLE_OVERHEAD_BYTES: f64 = 45.0;

/// Bytes with an optional `k`, `m`, `g`, `t` or `p`, powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        other => return Err(format!("no unit is called {other}: k, m, g, t, p")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{text} is no number of bytes"))?;
    let bytes = number * (1u64 << unit) as f64;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(format!("{text} is too much")) }
}
