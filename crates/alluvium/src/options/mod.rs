//! Floor 5: what a user can set. Composes what each floor below owns, and checks what crosses them.
//!
//! Few options, each with what a larger and a smaller value cost; [`workload`] has the presets.
//! [`validate`] has every rule.

pub(crate) mod validate;
mod workload;

use std::time::Duration;

use crate::base::limits::LEVELS;
use crate::batch::ColumnFamilyId;
use crate::compaction::strategy::{Picker, Strategy};
use crate::compaction::{Level0, LevelShape, TablePlace};
use crate::filter::{FilterPolicy, FilterShape, PrefixExtractor};
use crate::metrics::Listeners;
use crate::sstable::{Codec, TableOptions, ZstdOptions};

pub use workload::Workload;

/// What has happened to a write when the call that made it returns.
///
/// See `docs/durability.md` for the whole promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// It is in this process's memory: a crash of the process may lose it.
    Buffered,
    /// It was handed to the operating system: it survives the process, not a power cut.
    Os,
    /// It was synced, file and directory entry: it survives a power cut.
    #[default]
    Disk,
}

/// How one write is done.
///
/// ```
/// use alluvium::{Durability, WriteOptions};
/// let relaxed = WriteOptions { durability: Durability::Os };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// What must have happened before the call returns. Default: [`Durability::Disk`].
    pub durability: Durability,
}

/// How one read is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether blocks that the read brings in stay in the block cache. Turn it off for a scan over
    /// much more than the cache, which would push everything else out. Default: true.
    pub fill_cache: bool,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions { fill_cache: true }
    }
}

/// One value for each level of a column family, 0 being where data come in; the last holds for all
/// deeper levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerLevel<T>(Vec<T>);

impl<T: Clone> PerLevel<T> {
    /// The same value for every level.
    pub fn all(value: T) -> PerLevel<T> {
        PerLevel(vec![value])
    }

    /// `values[0]` for level 0 and so on; the last for all deeper levels. An empty list is refused
    /// when the options are used.
    pub fn new(values: impl Into<Vec<T>>) -> PerLevel<T> {
        PerLevel(values.into())
    }

    /// The value for `level`; `None` only for an empty list.
    pub fn get(&self, level: usize) -> Option<&T> {
        self.0.get(level).or(self.0.last())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a column family can be set to. It is not stored: pass it at every open. [`Workload`] has
/// presets.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFamilyOptions {
    /// A memtable of this size is flushed. Larger: fewer, larger flushes and less rewriting, for
    /// more memory and a longer recovery. Default: 64 MiB.
    pub memtable_bytes: usize,
    /// Immutable memtables that may wait to be flushed before writers wait too. Default: 3.
    pub memtables_max: usize,
    /// Target size of a data block before compression. Larger: smaller index and better
    /// compression, for more bytes read a lookup. Default: 4 KiB.
    pub block_bytes: usize,
    /// Keys between two restart points of a block. Larger: smaller blocks, slower lookups.
    /// Default: 16.
    pub restart_interval: usize,
    /// How much memory filters take, and how it is divided among the sorted runs. More: fewer
    /// needless block reads. Default: [`FilterPolicy::Uniform`] with 10 bits a key.
    pub filter: FilterPolicy,
    /// What of a key stands in the filters beside the whole key, so that scans within one prefix
    /// skip tables. Costs as many bits for each prefix as for a key. Default: none.
    pub prefix_extractor: Option<PrefixExtractor>,
    /// How blocks are compressed, counted from where data come in: first that of flushed tables,
    /// then that of the tables of their first merge, and so on; the last holds for all below.
    /// Default: none for the first two, which are rewritten soon, LZ4 below.
    pub codecs: PerLevel<Codec>,
    /// How the oldest sorted run is compressed, into which all is merged in the end and which
    /// holds most of the data. Default: none given, it is the last of `codecs`.
    pub bottom_codec: Option<Codec>,
    /// How hard Zstd tries, wherever one of the codecs above is Zstd.
    pub zstd: ZstdOptions,
    /// Target size of a table. Larger: fewer files; smaller: compaction in smaller steps.
    /// Default: 64 MiB.
    pub table_bytes: u64,
    /// How tables are merged. May be another at every open, and be changed while the store is open
    /// (`Db::set_strategy`). Default: [`Strategy::Leveled`].
    pub strategy: Strategy,
    /// A tombstone that has waited this long is merged with what it hides, whether that pays or
    /// not. Smaller: deleted data leaves the disk sooner, for more rewriting. Default: one day.
    pub tombstone_age: Duration,
    /// Runs of level 0 that start a compaction. Larger: less rewriting, slower reads. A leveled
    /// family lets more gather, three times as many or half of `level0_tables_slowdown`, whichever
    /// is less, and bytes in proportion, while the store is hardly read: less than once for
    /// sixteen entries that are flushed. `Db::wait_idle` before a time of reading brings them down
    /// at once; without background threads nothing else does until something is written.
    /// Default: 4 (and 10).
    pub level0_tables_compact: usize,
    /// Runs of level 0 waiting to be merged that may stand there while a compaction works on them.
    /// Writers are slowed by how many there are: half way to here from what starts a compaction
    /// while nobody reads they go as fast as compaction. Larger: bursts are taken in for longer,
    /// reads look into more runs. Default: 20.
    pub level0_tables_slowdown: usize,
    /// Runs of level 0 waiting to be merged at which writers wait. Default: 36.
    pub level0_tables_stop: usize,
    /// Bytes that wait to be compacted at which writers go as fast as compaction. Larger: bursts
    /// are taken in for longer, and take more space until they are compacted. Default: 4 GiB.
    pub compaction_debt_bytes: u64,
    /// Target size of level 1, larger in proportion while level 0 gathers. About
    /// `memtable_bytes * level0_tables_compact` is a good value.
    /// Default: 256 MiB.
    pub level1_bytes: u64,
    /// Each deeper level is this many times larger. Larger: fewer levels, more rewriting within
    /// each. Default: 10.
    pub level_ratio: u32,
    /// How long an entry lives that is put without a time of its own; reads hide it from then on,
    /// and compactions give its space back. It is fixed when the entry is written: what is there
    /// already keeps its own. Default: none, entries live for ever.
    pub ttl: Option<Duration>,
    /// A tombstone younger than this is not dropped, even where nothing is left that it could hide;
    /// nor is an entry that expired within it. For stores whose contents are copied elsewhere bit
    /// by bit: set it above the longest time that a copy may lag behind, or what was deleted here
    /// comes back from there. Larger: deleted data takes space for longer. Default: zero.
    pub gc_grace: Duration,
    /// Values of so many bytes and more are written to blob files, apart from their keys: once,
    /// where merges else write each several times. Reads of them take one look more. Smaller: less
    /// rewriting of values, for more looks and scans that read here and there; from some KiB on it
    /// pays. It holds for what is flushed or merged from then on; a flush or a merge over less than
    /// 1/64 of `table_bytes` leaves values with their keys. Default: none, all stay with them.
    pub blob_bytes_min: Option<usize>,
}

impl Default for ColumnFamilyOptions {
    fn default() -> ColumnFamilyOptions {
        ColumnFamilyOptions {
            memtable_bytes: 64 << 20,
            memtables_max: 3,
            block_bytes: 4 << 10,
            restart_interval: 16,
            filter: FilterPolicy::default(),
            prefix_extractor: None,
            codecs: PerLevel::new([Codec::None, Codec::None, Codec::Lz4]),
            bottom_codec: None,
            zstd: ZstdOptions::default(),
            table_bytes: 64 << 20,
            strategy: Strategy::Leveled,
            tombstone_age: Duration::from_secs(24 * 3600),
            level0_tables_compact: 4,
            level0_tables_slowdown: 20,
            level0_tables_stop: 36,
            compaction_debt_bytes: 4 << 30,
            level1_bytes: 256 << 20,
            level_ratio: 10,
            ttl: None,
            gc_grace: Duration::ZERO,
            blob_bytes_min: None,
        }
    }
}

impl ColumnFamilyOptions {
    /// How tables of `place` are written. The bits of the filter are those for a table of whose
    /// surroundings nothing is known.
    pub(crate) fn table_options(&self, place: TablePlace, family: ColumnFamilyId) -> TableOptions {
        TableOptions {
            block_bytes: self.block_bytes,
            restart_interval: self.restart_interval,
            codec: self.codec(place),
            table_bytes: self.table_bytes,
            zstd: self.zstd,
            filter_bits_per_key: self.filter.usual_bits_per_key(),
            prefix_extractor: self.prefix_extractor,
            column_family: family,
            event_time: None,
            blob_bytes_min: self.blob_bytes_min.unwrap_or(usize::MAX),
        }
    }

    /// The bits a key of the filters that a job writes.
    pub(crate) fn filter_bits_per_key(&self, shape: &FilterShape) -> f64 {
        self.filter.bits_per_key(shape, self.prefix_extractor.is_some())
    }

    fn codec(&self, place: TablePlace) -> Codec {
        // `get` answers with the last for all that is deeper than the list.
        let depth = if place.bottom { usize::MAX } else { place.depth };
        let listed = self.codecs.get(depth).copied().unwrap_or_default();
        self.bottom_codec.filter(|_| place.bottom).unwrap_or(listed)
    }

    /// Where flushed tables stand: those that are seldom or never merged are written as they will
    /// stay.
    pub(crate) fn flush_place(strategy: &Strategy) -> TablePlace {
        match strategy {
            Strategy::TimeWindows(_) | Strategy::Fifo(_) => {
                TablePlace { level: 0, depth: 1, bottom: true }
            }
            _ => TablePlace::FLUSHED,
        }
    }

    /// The picker of a family with these options that follows `strategy`.
    pub(crate) fn picker(&self, strategy: &Strategy, level0: Level0) -> Picker {
        let shape = self.level_shape();
        strategy.picker(match level0 {
            Level0::Lean => shape,
            Level0::Gathering => shape.gathering(self.level0_due(strategy, level0)),
        })
    }

    /// The runs of level 0 that are due to be merged.
    pub(crate) fn level0_due(&self, strategy: &Strategy, level0: Level0) -> usize {
        let lean = self.level0_tables_compact;
        if level0 == Level0::Lean || *strategy != Strategy::Leveled {
            return lean;
        }
        // While they are merged about as many come: together, writers are not slowed by them.
        lean.saturating_mul(GATHERED).min(self.level0_tables_slowdown / 2).max(lean)
    }

    /// The shape that compaction keeps.
    pub(crate) fn level_shape(&self) -> LevelShape {
        LevelShape {
            flush_bytes: self.memtable_bytes as u64,
            level0_runs: self.level0_tables_compact,
            codecs: std::array::from_fn(|depth| {
                let bottom = depth == LEVELS;
                let place = TablePlace { level: depth, depth, bottom };
                self.codec(place).tag()
            }),
            level1_bytes: self.level1_bytes,
            gathered: 1.0,
            level_ratio: self.level_ratio,
            table_bytes: self.table_bytes,
        }
    }
}

/// So many times the runs that are due else gather in level 0 while hardly anybody reads, at most.
const GATHERED: usize = 3;

/// How much flushes and compactions may read and write a second, all together.
///
/// Flushes go before compactions of level 0, and those before all others. Reads and writes of users
/// are never limited by it. Nor is background work while it is behind: a limit that lets debt grow
/// would only end in writers that wait. The limit can be changed while the store is open
/// ([`crate::Db::set_rate_limit`]).
///
/// Bytes are those of keys and values, before compression; an operation is a read or write of
/// 256 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RateLimit {
    /// None.
    #[default]
    None,
    /// Fixed figures; 0 stands for no bound.
    Fixed {
        /// Bytes a second.
        bytes_per_second: u64,
        /// Operations a second.
        operations_per_second: u64,
    },
    /// What the writes of late need, and a quarter more: background work is spread over time
    /// instead of coming in bursts.
    Auto {
        /// Never more bytes a second than this.
        bytes_per_second_max: u64,
    },
}

/// What a store can be set to. Nothing of it is stored: pass it at every open.
///
/// ```
/// use alluvium::{Durability, Options};
/// let options = Options { durability: Durability::Os, ..Options::default() };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Make the store where there is none. Default: true.
    pub create_if_missing: bool,
    /// The durability of writes that do not name their own. Default: [`Durability::Disk`].
    pub durability: Durability,
    /// All memory together, in bytes: memtables, block cache, indexes and filters of open tables,
    /// buffers of compactions, cursors. `None`: no such limit. With one, `block_cache_bytes` is
    /// ignored: the block cache gets what the other parts leave; memtables are flushed before they
    /// are full where all of them together take more than their share (3/8), and open tables are
    /// closed where they do (1/4). It is kept to within a tenth of the resident set of a program
    /// that does nothing else; 16 MiB at least. Default: `None`.
    pub memory_limit: Option<usize>,
    /// Memory for blocks of tables, shared by all column families. Default: 256 MiB.
    pub block_cache_bytes: usize,
    /// Tables kept open; each costs a file descriptor, its index and its filter. Default: 1,000.
    pub open_tables_max: usize,
    /// Threads for flushes and compactions. Of two or more, one never compacts, so that no flush
    /// waits; with 1 a flush is done in the midst of a compaction; with 0 the thread that writes
    /// does the work itself, after its write: simple and repeatable, with pauses. A large
    /// compaction is shared out over threads that are idle. Default: 3.
    pub background_threads: usize,
    /// The limit on what flushes and compactions read and write. Default: [`RateLimit::None`].
    pub rate_limit: RateLimit,
    /// Log segments may hold this much before the column families with the oldest data in them are
    /// flushed; so an idle family cannot keep segments for ever. Default: 512 MiB.
    pub wal_bytes_max: u64,
    /// Who hears of flushes, compactions, stalls, failures and files. Default: nobody.
    pub listeners: Listeners,
    /// How often a thread of its own writes statistics and history to the small file `STATUS`, for
    /// `alluvium stats --watch`, `alluvium explain` and `alluvium::status`. It
    /// is written at the close, too, and goes on with the history that it finds. `None`: never; the
    /// programs of this project use a second. Default: `None`.
    pub status_interval: Option<Duration>,
    /// Options of every column family that is not named in `column_families`.
    pub column_family: ColumnFamilyOptions,
    /// Options of single column families, by name.
    pub column_families: Vec<(String, ColumnFamilyOptions)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create_if_missing: true,
            durability: Durability::Disk,
            memory_limit: None,
            block_cache_bytes: 256 << 20,
            open_tables_max: 1_000,
            background_threads: 3,
            rate_limit: RateLimit::None,
            wal_bytes_max: 512 << 20,
            listeners: Listeners::none(),
            status_interval: None,
            column_family: ColumnFamilyOptions::default(),
            column_families: Vec::new(),
        }
    }
}

impl Options {
    /// The options of the column family `name`: its own in [`Options::column_families`], or else
    /// [`Options::column_family`].
    ///
    /// ```
    /// use alluvium::{Options, Workload};
    /// let clicks = ("clicks".to_owned(), Workload::WriteHeavy.options());
    /// let options = Options { column_families: vec![clicks], ..Options::default() };
    /// assert_eq!(options.family("clicks").memtable_bytes, 128 << 20);
    /// assert_eq!(options.family("others").memtable_bytes, 64 << 20);
    /// ```
    #[must_use]
    pub fn family(&self, name: &str) -> &ColumnFamilyOptions {
        self.column_families
            .iter()
            .find(|(family, _)| family == name)
            .map_or(&self.column_family, |(_, options)| options)
    }
}

const _: () = assert!(LEVELS >= 2);

#[cfg(test)]
mod tests;
