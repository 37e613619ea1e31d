//! Options as numbers: a table of every option, what a test may set it to, and how.
//!
//! A [`Setting`] is one number for each row. So a set of options can be drawn, printed in an
//! operations file, read back, and made simpler one row at a time.

use std::fmt;
use std::time::Duration;

use alluvium::{
    Codec, ColumnFamilyOptions, Durability, Fifo, FilterPolicy, Options, PerLevel, PrefixExtractor,
    Strategy, ZstdOptions,
};

use crate::configs::{Config, other_windows, tiny, windows};
use crate::random::Random;

/// One option.
struct Knob {
    name: &'static str,
    /// What it is drawn from; every number that [`Knob::set`] takes is allowed in a file.
    choices: &'static [u64],
    get: fn(&Options) -> u64,
    set: fn(&mut Options, u64),
}

/// A row for an option that is a plain number.
macro_rules! number {
    ($($field:ident).+: $choices:expr) => {
        Knob {
            name: last_word(stringify!($($field).+)),
            choices: &$choices,
            get: |options| options.$($field).+ as u64,
            set: |options, value| options.$($field).+ = value as _,
        }
    };
}

/// The last of several words with dots between them.
const fn last_word(path: &'static str) -> &'static str {
    let mut rest = path.as_bytes();
    let mut start = 0;
    let mut at = 0;
    while let [byte, more @ ..] = rest {
        at += 1;
        if *byte == b'.' || *byte == b' ' {
            start = at;
        }
        rest = more;
    }
    path.split_at(start).1
}

const DURABILITIES: [Durability; 3] = [Durability::Buffered, Durability::Os, Durability::Disk];

/// Which codecs a number stands for: one for all levels, or a mixture.
fn codecs(number: u64) -> PerLevel<Codec> {
    let each = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Snappy];
    match number {
        7 => PerLevel::all(Codec::ZstdDictionary),
        0..4 => PerLevel::all(each[number as usize]),
        4 => PerLevel::new([Codec::None, Codec::Lz4]),
        5 => ColumnFamilyOptions::default().codecs,
        _ => PerLevel::new([Codec::Zstd, Codec::None, Codec::Snappy, Codec::Lz4]),
    }
}

/// Which filter a number stands for: none, a figure of bits a key, or one of bytes.
fn filter(number: u64) -> FilterPolicy {
    match number {
        0 => FilterPolicy::None,
        1..=32 => FilterPolicy::Uniform { bits_per_key: number as f64 },
        33 => FilterPolicy::MonkeyBytes { bytes: 100 },
        34 => FilterPolicy::Monkey { bits_per_key: 1.5 },
        35 => FilterPolicy::Monkey { bits_per_key: 10.0 },
        _ => FilterPolicy::default(),
    }
}

/// Which prefixes a number stands for: none, those of so many bytes, or those up to a byte.
fn prefixes(number: u64) -> Option<PrefixExtractor> {
    match number {
        0 => None,
        1..=32 => Some(PrefixExtractor::Fixed(number as u32)),
        _ => Some(PrefixExtractor::UpToByte(number as u8)),
    }
}

/// Which codec of the oldest run a number stands for.
fn bottom_codec(number: u64) -> Option<Codec> {
    [None, Some(Codec::Zstd), Some(Codec::ZstdDictionary)][number.min(2) as usize]
}

/// How hard Zstd tries: its level, and a dictionary as small as it may be above that of default.
fn zstd(number: u64) -> ZstdOptions {
    let usual = ZstdOptions::default();
    match number {
        0 => usual,
        _ => ZstdOptions { level: number.min(19) as i32, dictionary_bytes: 1 << 10 },
    }
}

/// The number that a function makes an option of, among the first few.
fn number_of<T: PartialEq>(option: &T, make: fn(u64) -> T) -> u64 {
    (0..=255).find(|number| make(*number) == *option).unwrap_or(0)
}

/// The options that the family `beta` has of its own where it has any: as unlike the others' as may
/// be.
fn own_options(options: &Options) -> Vec<(String, ColumnFamilyOptions)> {
    let mut own = options.column_family.clone();
    own.memtable_bytes = 1 << 10;
    own.codecs = PerLevel::all(Codec::Zstd);
    own.restart_interval = 1;
    own.filter = FilterPolicy::None;
    own.blob_bytes_min = Some(20);
    vec![("beta".to_owned(), own)]
}

/// How many strategies there are.
pub const STRATEGIES: u64 = 7;

/// The number of the strategy that is another one after each flush.
const WANDERING: u64 = STRATEGIES;

/// Every strategy that loses nothing.
#[must_use]
pub fn strategy(number: u64) -> Strategy {
    match number {
        1 => Strategy::Tiered { ratio: 2 },
        2 => Strategy::Tiered { ratio: 4 },
        3 => Strategy::LazyLeveling { ratio: 3 },
        4 => Strategy::TimeWindows(windows()),
        5 => Strategy::TimeWindows(other_windows()),
        6 => Strategy::Fifo(Fifo { bytes_max: u64::MAX, age_max: None }),
        _ => Strategy::Leveled,
    }
}

/// Every option. The families' own come last, because they follow from the others.
static KNOBS: [Knob; 24] = [
    Knob {
        name: "durability",
        choices: &[0, 1, 2],
        get: |options| options.durability as u64,
        set: |options, value| options.durability = DURABILITIES[value.min(2) as usize],
    },
    number!(block_cache_bytes: [0, 1, 4 << 10, 64 << 10, 1 << 20]),
    number!(open_tables_max: [8, 9, 16, 1000]),
    number!(background_threads: [0, 0, 0, 1, 2, 4]),
    number!(wal_bytes_max: [1, 1 << 10, 2 << 10, 16 << 10, 64 << 10, 512 << 20]),
    number!(column_family.memtable_bytes: [1 << 10, 4 << 10, 8 << 10, 64 << 10, 64 << 20]),
    number!(column_family.memtables_max: [1, 2, 3, 8]),
    number!(column_family.block_bytes: [1, 16, 64, 256, 4 << 10, 64 << 10]),
    number!(column_family.restart_interval: [1, 2, 3, 4, 16, 1000]),
    Knob {
        name: "filter",
        choices: &[0, 1, 10, 32, 33, 34, 35],
        get: |options| number_of(&options.column_family.filter, filter),
        set: |options, value| options.column_family.filter = filter(value),
    },
    Knob {
        name: "prefixes",
        choices: &[0, 1, 2, 4, b'/' as u64, b'0' as u64],
        get: |options| number_of(&options.column_family.prefix_extractor, prefixes),
        set: |options, value| options.column_family.prefix_extractor = prefixes(value),
    },
    Knob {
        name: "bottom_codec",
        choices: &[0, 0, 1, 2],
        get: |options| number_of(&options.column_family.bottom_codec, bottom_codec),
        set: |options, value| options.column_family.bottom_codec = bottom_codec(value),
    },
    Knob {
        name: "zstd",
        choices: &[0, 1, 6],
        get: |options| number_of(&options.column_family.zstd, zstd),
        set: |options, value| options.column_family.zstd = zstd(value),
    },
    Knob {
        name: "codecs",
        choices: &[0, 1, 2, 3, 4, 5, 6, 7],
        get: |options| {
            let same = |number: &u64| codecs(*number) == options.column_family.codecs;
            (0..8).find(same).unwrap_or(4)
        },
        set: |options, value| options.column_family.codecs = codecs(value),
    },
    number!(column_family.table_bytes: [1 << 10, 4 << 10, 16 << 10, 64 << 20]),
    number!(column_family.level0_tables_compact: [1, 2, 3, 4, 8]),
    number!(column_family.level0_tables_slowdown: [8, 12, 20]),
    number!(column_family.level0_tables_stop: [24, 36, 100]),
    number!(column_family.level1_bytes: [1, 1 << 10, 4 << 10, 16 << 10, 256 << 20]),
    number!(column_family.level_ratio: [2, 3, 4, 10]),
    Knob {
        name: "status",
        choices: &[0, 0, 0, 1],
        get: |options| u64::from(options.status_interval.is_some()),
        set: |options, value| {
            options.status_interval = (value > 0).then_some(Duration::from_millis(1));
        },
    },
    Knob {
        name: "strategy",
        choices: &[0, 0, 1, 2, 3, 4, 5, 6, WANDERING],
        get: |options| {
            let same = |number: &u64| strategy(*number) == options.column_family.strategy;
            (0..STRATEGIES).find(same).unwrap_or(0)
        },
        set: |options, value| options.column_family.strategy = strategy(value),
    },
    Knob {
        name: "blobs",
        // One more than the length of a value from which on it stands apart.
        choices: &[0, 0, 1, 11, 41],
        get: |options| options.column_family.blob_bytes_min.map_or(0, |bytes| bytes as u64 + 1),
        set: |options, value| {
            options.column_family.blob_bytes_min = value.checked_sub(1).map(|bytes| bytes as usize);
        },
    },
    Knob {
        name: "own_families",
        choices: &[0, 0, 1],
        get: |options| u64::from(!options.column_families.is_empty()),
        set: |options, value| {
            options.column_families = if value == 0 { Vec::new() } else { own_options(options) };
        },
    },
];

/// A set of options: a number for each knob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting([u64; KNOBS.len()]);

impl Default for Setting {
    fn default() -> Setting {
        Setting::of(&tiny())
    }
}

impl Setting {
    /// The numbers of `options`.
    #[must_use]
    pub fn of(options: &Options) -> Setting {
        Setting(std::array::from_fn(|index| (KNOBS[index].get)(options)))
    }

    /// Whether the strategy is to change while the store is open.
    #[must_use]
    pub fn wanders(&self) -> bool {
        let at = KNOBS.iter().position(|knob| knob.name == "strategy");
        at.is_some_and(|at| self.0[at] == WANDERING)
    }

    /// The options of these numbers.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = tiny();
        for (knob, value) in KNOBS.iter().zip(self.0) {
            (knob.set)(&mut options, value);
        }
        options
    }

    /// A set drawn: each number on its own.
    #[must_use]
    pub fn drawn(random: &mut Random) -> Setting {
        Setting(std::array::from_fn(|index| *random.pick(KNOBS[index].choices)))
    }

    /// The number of knobs.
    #[must_use]
    pub fn knobs() -> usize {
        KNOBS.len()
    }

    /// This set with one knob as it is by default; none where it is so already.
    #[must_use]
    pub fn simpler(&self, knob: usize) -> Option<Setting> {
        let mut simpler = self.clone();
        simpler.0[knob] = Setting::default().0[knob];
        (simpler != *self).then_some(simpler)
    }

    /// Reads what is printed of a set.
    ///
    /// # Errors
    ///
    /// The word that is none, and why.
    pub fn parse(text: &str) -> Result<Setting, String> {
        let mut setting = Setting::default();
        for word in text.split_whitespace() {
            let wrong = || format!("\"{word}\" is no option and its number");
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let index = KNOBS.iter().position(|knob| knob.name == name).ok_or_else(wrong)?;
            setting.0[index] = value.parse().map_err(|_| wrong())?;
        }
        Ok(setting)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = Setting::default();
        for ((knob, value), base) in KNOBS.iter().zip(self.0).zip(base.0) {
            if value != base {
                write!(f, " {}={value}", knob.name)?;
            }
        }
        Ok(())
    }
}

impl From<&Config> for Setting {
    fn from(config: &Config) -> Setting {
        Setting::of(&config.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configs;

    #[test]
    fn numbers_lose_nothing_of_any_named_set() {
        for config in configs::all() {
            let setting = Setting::from(&config);
            assert_eq!(setting.options(), config.options, "{}", config.name);
            assert_eq!(Setting::parse(&setting.to_string()).unwrap(), setting);
        }
    }

    #[test]
    fn a_drawn_set_is_one_that_a_store_takes() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let setting = Setting::drawn(&mut random);
            let env = std::sync::Arc::new(alluvium::env::MemEnv::new());
            alluvium::Db::open_env(env, setting.options()).unwrap();
            // Options have no number for a strategy that is another one all the time.
            if !setting.wanders() {
                assert_eq!(Setting::of(&setting.options()), setting);
            }
        }
    }
}
