//! The strategies to choose from, and the picker that each of them is.
//!
//! All of them work on the same shape (level 0 of many sorted runs, deeper levels of one each) and
//! leave nothing in it that another could not read or go on with. So a family may change its
//! strategy whenever it likes, on a living store too: the next pick is the new one's.

use std::time::Duration;

use crate::base::event_time::EventTime;
use crate::base::limits::LEVELS;
use crate::compaction::fifo::FifoPicker;
use crate::compaction::leveled::LeveledPicker;
use crate::compaction::tiered::TieredPicker;
use crate::compaction::windows::WindowsPicker;
use crate::compaction::{
    Compaction, CompactionPicker, Debt, KeySpan, LevelShape, View, WindowSplit,
};
use crate::version::Version;

/// How the tables of a column family are merged. `docs/compaction.md` has what each costs, in
/// theory and as measured.
///
/// ```
/// use std::time::Duration;
/// use alluvium::{ColumnFamilyOptions, EventTime, Strategy, TimeWindows};
/// let day = Duration::from_secs(24 * 3600);
/// let options = ColumnFamilyOptions {
///     strategy: Strategy::TimeWindows(TimeWindows {
///         ttl: Some(30 * day),
///         ..TimeWindows::new(day, EventTime::big_endian_ms(0))
///     }),
///     ..ColumnFamilyOptions::default()
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// One sorted run a level, each level `level_ratio` times the one above, a few tables at a
    /// time. Reads few tables, keeps little garbage (space about 1.1 times the data
    /// once it is read or quiet), rewrites
    /// each byte often (10 to 30 times). For reads and writes mixed. The default.
    #[default]
    Leveled,
    /// Runs of similar size side by side, merged when there are `ratio` of them. Writes each byte
    /// about once a tier; more runs to read and up to `ratio` times the space. For writes above
    /// all.
    Tiered {
        /// Runs of one size that are merged into one of the next. 2 to 32. Larger: less rewriting,
        /// more runs to read. 4 is a good value.
        ratio: u32,
    },
    /// Tiers above, one leveled run at the bottom (Dayan and Idreos 2018). Nearly the space and the
    /// point reads of leveled compaction, nearly the writes of tiers.
    LazyLeveling {
        /// Runs of one size that are merged into one of the next, and how many times larger the
        /// bottom is than all above it. 2 to 32. 4 is a good value.
        ratio: u32,
    },
    /// Entries are grouped by the time of their event and merged inside a window only; an expired
    /// window goes as a whole, without a byte rewritten. For events and other time series.
    TimeWindows(TimeWindows),
    /// Nothing is merged that has grown; the oldest tables go when the family outgrows its size.
    /// For caches and recent history.
    Fifo(Fifo),
}

/// Options of [`Strategy::TimeWindows`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeWindows {
    /// How much event time one window holds. 30 to 100 windows in a store are a good number: each
    /// is a unit of deletion, and of merging.
    pub window: Duration,
    /// How long after its last moment a window is kept; `None`: for ever. Its entries can be read
    /// until then: give them a time to live of their own where each must go at its time.
    pub ttl: Option<Duration>,
    /// Where a key says when its event was.
    pub time: EventTime,
    /// Runs of one window and of similar size that are merged into one. 2 to 32. Default: 4.
    pub ratio: u32,
}

impl TimeWindows {
    /// Windows of `window`, kept for ever, with the default ratio.
    #[must_use]
    pub const fn new(window: Duration, time: EventTime) -> TimeWindows {
        TimeWindows { window, ttl: None, time, ratio: 4 }
    }

    /// How entries are told apart.
    pub(crate) fn split(&self) -> WindowSplit {
        WindowSplit { time: self.time, window_ms: self.window_ms() }
    }

    /// The length of a window in milliseconds; one at least.
    pub(crate) fn window_ms(&self) -> u64 {
        milliseconds(self.window).max(1)
    }

    /// The event time before which everything has expired at `now_ms`; 0 where nothing does.
    pub(crate) fn expired_before_ms(&self, now_ms: u64) -> u64 {
        self.ttl.map_or(0, |ttl| now_ms.saturating_sub(milliseconds(ttl)))
    }
}

/// Options of [`Strategy::Fifo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fifo {
    /// The oldest tables are dropped while the family holds more than this.
    pub bytes_max: u64,
    /// Tables whose newest entry is older than this are dropped; `None`: at no age. It is known to
    /// about the time between two flushes.
    pub age_max: Option<Duration>,
}

/// A duration in milliseconds, saturating.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Strategy {
    /// Its name, for messages and statistics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Strategy::Leveled => "leveled",
            Strategy::Tiered { .. } => "tiered",
            Strategy::LazyLeveling { .. } => "lazy leveling",
            Strategy::TimeWindows(_) => "time windows",
            Strategy::Fifo(_) => "FIFO",
        }
    }

    /// The first rule that its numbers break.
    pub(crate) fn breach(&self) -> Option<&'static str> {
        let ratio_holds = |ratio: u32| (2..=32).contains(&ratio);
        match self {
            Strategy::Leveled => None,
            Strategy::Tiered { ratio } | Strategy::LazyLeveling { ratio } => {
                (!ratio_holds(*ratio)).then_some("the ratio of tiers must be 2 to 32")
            }
            Strategy::TimeWindows(windows) if !ratio_holds(windows.ratio) => {
                Some("the ratio of a time window must be 2 to 32")
            }
            Strategy::TimeWindows(windows) => {
                let too_short = windows.window < Duration::from_millis(1);
                too_short.then_some("a time window must be 1 ms long at least")
            }
            Strategy::Fifo(fifo) => (fifo.bytes_max == 0).then_some("bytes_max must not be 0"),
        }
    }

    /// The age at which tables go, for a family that knows one.
    pub(crate) fn age_max(&self) -> Option<Duration> {
        match self {
            Strategy::Fifo(fifo) => fifo.age_max,
            _ => None,
        }
    }

    /// Where keys say when their event was, for a family with windows.
    pub(crate) fn windows(&self) -> Option<&TimeWindows> {
        match self {
            Strategy::TimeWindows(windows) => Some(windows),
            _ => None,
        }
    }

    /// The picker of this strategy for a family of this shape.
    pub(crate) fn picker(&self, shape: LevelShape) -> Picker {
        match *self {
            Strategy::Leveled => Picker::Leveled(LeveledPicker::new(shape)),
            Strategy::Tiered { ratio } => Picker::Tiered(TieredPicker::tiered(shape, ratio)),
            Strategy::LazyLeveling { ratio } => Picker::Tiered(TieredPicker::lazy(shape, ratio)),
            Strategy::TimeWindows(windows) => Picker::Windows(WindowsPicker::new(shape, windows)),
            Strategy::Fifo(fifo) => Picker::Fifo(FifoPicker::new(shape, fifo)),
        }
    }
}

/// The picker of any strategy.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Picker {
    Leveled(LeveledPicker),
    Tiered(TieredPicker),
    Windows(WindowsPicker),
    Fifo(FifoPicker),
}

impl Picker {
    fn inner(&self) -> &dyn CompactionPicker {
        match self {
            Picker::Leveled(picker) => picker,
            Picker::Tiered(picker) => picker,
            Picker::Windows(picker) => picker,
            Picker::Fifo(picker) => picker,
        }
    }
}

impl CompactionPicker for Picker {
    fn pick(&self, view: &View<'_>) -> Option<Compaction> {
        self.inner().pick(view)
    }

    fn pick_drop(&self, view: &View<'_>) -> Option<Compaction> {
        self.inner().pick_drop(view)
    }

    fn pick_manual(&self, view: &View<'_>, span: &KeySpan) -> Option<Compaction> {
        self.inner().pick_manual(view, span)
    }

    fn scores(&self, version: &Version) -> [f64; LEVELS] {
        self.inner().scores(version)
    }

    fn debt(&self, version: &Version) -> Debt {
        self.inner().debt(version)
    }
}
