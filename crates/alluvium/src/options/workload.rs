//! Presets: what a column family is used for, and the options that follow.
//!
//! A preset is a value of [`ColumnFamilyOptions`] and nothing more: no other code asks for it, and
//! every field may be changed afterwards.

use std::time::Duration;

use crate::base::event_time::EventTime;
use crate::compaction::strategy::{Strategy, TimeWindows};
use crate::filter::FilterPolicy;
use crate::options::{ColumnFamilyOptions, PerLevel};
use crate::sstable::Codec;

/// What a column family is used for; [`Workload::options`] chooses strategy, filters, codecs and
/// sizes.
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # use std::{sync::Arc, time::Duration};
/// use alluvium::{Db, EventTime, Options, Workload, env::MemEnv};
///
/// let day = Duration::from_secs(24 * 3600);
/// let clicks = Workload::TimeSeries {
///     window: day,
///     ttl: Some(30 * day),
///     time: EventTime::big_endian_ms(0),
/// };
/// let options = Options {
///     column_family: Workload::Mixed.options(),
///     column_families: vec![("clicks".to_owned(), clicks.options())],
///     ..Options::default()
/// };
/// let db = Db::open_env(Arc::new(MemEnv::new()), options)?;
/// # db.close()
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Workload {
    /// Reads and writes of every kind: the defaults of [`ColumnFamilyOptions`]. Leveled
    /// compaction, filters of 10 bits a key, LZ4 below the first two merges.
    #[default]
    Mixed,
    /// Much more is written than is read. Lazy leveling rewrites each byte less often than leveled
    /// compaction (half as often in a store of a terabyte, see `docs/compaction.md`), for more runs
    /// to read and a quarter more space; its filters are divided by Monkey's formula among those
    /// runs. Memtables and tables of 128 MiB (three memtables may wait: 512 MiB in all).
    WriteHeavy,
    /// Single keys are read much more than written. Leveled compaction, filters of 14 bits a key
    /// (of a thousand lookups one or two read a block of a run in vain), blocks with a restart
    /// point at every eighth key. Nothing is compressed above the last run.
    PointRead,
    /// Events that come about in the order of their times, are read in ranges of time, and go when
    /// they are old. Windows of time that are dropped whole; blocks of 16 KiB, LZ4 from the first
    /// write on, because most tables are written once.
    TimeSeries {
        /// How much event time is kept, and dropped, together. 30 to 100 windows in the store are
        /// a good number.
        window: Duration,
        /// How long after its last moment a window is kept; `None`: for ever.
        ttl: Option<Duration>,
        /// Where a key says when its event was.
        time: EventTime,
    },
}

impl Workload {
    /// The options that the preset stands for.
    #[must_use]
    pub fn options(self) -> ColumnFamilyOptions {
        let mixed = ColumnFamilyOptions::default();
        match self {
            Workload::Mixed => mixed,
            Workload::WriteHeavy => ColumnFamilyOptions {
                memtable_bytes: 128 << 20,
                table_bytes: 128 << 20,
                level1_bytes: 512 << 20,
                strategy: Strategy::LazyLeveling { ratio: 4 },
                filter: FilterPolicy::Monkey { bits_per_key: 10.0 },
                ..mixed
            },
            Workload::PointRead => ColumnFamilyOptions {
                restart_interval: 8,
                filter: FilterPolicy::Uniform { bits_per_key: 14.0 },
                codecs: PerLevel::all(Codec::None),
                bottom_codec: Some(Codec::Lz4),
                ..mixed
            },
            Workload::TimeSeries { window, ttl, time } => ColumnFamilyOptions {
                block_bytes: 16 << 10,
                codecs: PerLevel::all(Codec::Lz4),
                strategy: Strategy::TimeWindows(TimeWindows {
                    ttl,
                    ..TimeWindows::new(window, time)
                }),
                ..mixed
            },
        }
    }
}

impl From<Workload> for ColumnFamilyOptions {
    fn from(workload: Workload) -> ColumnFamilyOptions {
        workload.options()
    }
}
