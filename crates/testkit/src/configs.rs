//! Sets of options that bend the engine towards its edges, each with a name for messages.
//!
//! Sizes are tiny so that a run of a few hundred operations flushes, compacts and rolls its log.

use std::time::Duration;

use alluvium::{
    Codec, ColumnFamilyOptions, Durability, EventTime, Fifo, FilterPolicy, Options, PerLevel,
    PrefixExtractor, Strategy, TimeWindows, ZstdOptions,
};

/// A named set of options.
#[derive(Debug, Clone)]
pub struct Config {
    /// For messages and for choosing one.
    pub name: &'static str,
    /// The options.
    pub options: Options,
}

/// Small in everything: the common ground of all sets.
#[must_use]
pub fn tiny() -> Options {
    Options {
        durability: Durability::Disk,
        block_cache_bytes: 64 << 10,
        background_threads: 0,
        wal_bytes_max: 64 << 10,
        column_family: ColumnFamilyOptions {
            // An arena's first chunk: some ten small writes, then a flush.
            memtable_bytes: 8 << 10,
            block_bytes: 256,
            restart_interval: 4,
            codecs: PerLevel::new([Codec::None, Codec::Lz4]),
            table_bytes: 4 << 10,
            level1_bytes: 16 << 10,
            level_ratio: 4,
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    }
}

fn config(name: &'static str, change: impl FnOnce(&mut Options)) -> Config {
    let mut options = tiny();
    change(&mut options);
    Config { name, options }
}

/// Windows of a second for keys that are no times: each key has a time that looks random, some have
/// none.
#[must_use]
pub fn windows() -> TimeWindows {
    by_time(EventTime::function(1, |key| scattered(key, 31)))
}

/// The same with another time for each key.
#[must_use]
pub fn other_windows() -> TimeWindows {
    by_time(EventTime::function(2, |key| scattered(key, 37)))
}

fn by_time(time: EventTime) -> TimeWindows {
    TimeWindows { ratio: 3, ..TimeWindows::new(Duration::from_secs(1), time) }
}

fn scattered(key: &[u8], factor: u64) -> Option<u64> {
    let sum = key.iter().fold(0u64, |sum, &byte| sum.wrapping_mul(factor) + u64::from(byte));
    (sum % 11 != 0).then_some(sum % 9_000)
}

/// A set for each strategy but the default one; none loses anything.
fn strategies() -> Vec<Config> {
    let strategy = |name, strategy| config(name, move |o| o.column_family.strategy = strategy);
    vec![
        strategy("tiered", Strategy::Tiered { ratio: 4 }),
        strategy("tiered by two", Strategy::Tiered { ratio: 2 }),
        strategy("lazy leveling", Strategy::LazyLeveling { ratio: 3 }),
        strategy("time windows", Strategy::TimeWindows(windows())),
        strategy(
            "FIFO without a bound",
            Strategy::Fifo(Fifo { bytes_max: u64::MAX, age_max: None }),
        ),
    ]
}

/// Sets for filters and dictionaries.
fn filters() -> Vec<Config> {
    vec![
        config("no filter", |o| o.column_family.filter = FilterPolicy::None),
        config("filter of 1 bit", |o| {
            o.column_family.filter = FilterPolicy::Uniform { bits_per_key: 1.0 };
        }),
        config("filters of 100 bytes", |o| {
            o.column_family.filter = FilterPolicy::MonkeyBytes { bytes: 100 };
        }),
        config("prefixes of 2 bytes", |o| {
            o.column_family.prefix_extractor = Some(PrefixExtractor::Fixed(2));
        }),
        config("a dictionary a table", |o| {
            o.column_family.codecs = PerLevel::all(Codec::ZstdDictionary);
            o.column_family.bottom_codec = Some(Codec::ZstdDictionary);
            o.column_family.zstd = ZstdOptions { level: 1, dictionary_bytes: 1 << 10 };
            o.column_family.table_bytes = 256 << 10;
        }),
    ]
}

/// Sets for values that stand apart from their keys.
fn blobs() -> Vec<Config> {
    vec![
        config("every value in a blob file", |o| o.column_family.blob_bytes_min = Some(0)),
        config("long values in blob files, tiered", |o| {
            o.column_family.blob_bytes_min = Some(40);
            o.column_family.strategy = Strategy::Tiered { ratio: 2 };
            o.column_family.memtable_bytes = 1 << 10;
            o.background_threads = 2;
        }),
    ]
}

/// Every set there is.
#[must_use]
pub fn all() -> Vec<Config> {
    let codec = |name, codec| config(name, move |o| o.column_family.codecs = PerLevel::all(codec));
    let mut all = vec![
        config("tiny", |_| {}),
        config("defaults", |o| *o = Options::default()),
        config("a flush a write", |o| o.column_family.memtable_bytes = 1 << 10),
        config("one immutable memtable", |o| {
            o.column_family.memtable_bytes = 1 << 10;
            o.column_family.memtables_max = 1;
        }),
        config("restart interval 1", |o| o.column_family.restart_interval = 1),
        config("restart interval 1000", |o| o.column_family.restart_interval = 1000),
        config("blocks of 1 byte", |o| o.column_family.block_bytes = 1),
        config("blocks of 64 bytes", |o| o.column_family.block_bytes = 64),
        config("no cache", |o| o.block_cache_bytes = 0),
        config("few open tables", |o| {
            o.open_tables_max = 8;
            o.column_family.table_bytes = 1 << 10;
        }),
        codec("no codec", Codec::None),
        codec("LZ4", Codec::Lz4),
        codec("Zstd", Codec::Zstd),
        codec("Snappy", Codec::Snappy),
        config("compact at one table", |o| {
            o.column_family.level0_tables_compact = 1;
            o.column_family.level0_tables_slowdown = 2;
            o.column_family.level0_tables_stop = 3;
        }),
        config("deep levels", |o| {
            o.column_family.memtable_bytes = 1 << 10;
            o.column_family.table_bytes = 1 << 10;
            o.column_family.level1_bytes = 1 << 10;
            o.column_family.level_ratio = 2;
            o.column_family.level0_tables_compact = 2;
        }),
        config("log of 2 KiB", |o| o.wal_bytes_max = 2 << 10),
        config("log of 1 byte", |o| o.wal_bytes_max = 1),
        config("one worker", |o| o.background_threads = 1),
        config("two workers", |o| {
            o.background_threads = 2;
            o.column_family.memtable_bytes = 1 << 10;
            o.column_family.level0_tables_compact = 2;
        }),
        config("families of their own", |o| {
            let mut own = o.column_family.clone();
            own.memtable_bytes = 1 << 10;
            own.codecs = PerLevel::all(Codec::Zstd);
            own.restart_interval = 1;
            own.filter = FilterPolicy::None;
            own.blob_bytes_min = Some(20);
            o.column_families = vec![("beta".to_owned(), own)];
        }),
        config("a file STATUS", |o| o.status_interval = Some(Duration::from_millis(1))),
        config("durability Os", |o| o.durability = Durability::Os),
        config("durability Buffered", |o| o.durability = Durability::Buffered),
        config("four workers, huge tables", |o| {
            o.background_threads = 4;
            o.column_family.table_bytes = 64 << 20;
            o.column_family.level1_bytes = 256 << 20;
        }),
    ];
    all.extend(filters());
    all.extend(strategies());
    all.extend(blobs());
    all
}
