//! The list of workloads, and their names on the command line.
//!
//! A name says what is done, then the batch, the threads (`-2t`) or the length of a value (`-4k`)
//! where they are part of it. What a name fixes, it fixes for every engine; the rest comes from the
//! command line. Workloads of large values have fewer keys, so that every one of them writes some
//! four times the bytes of the small ones; synced ones have fewer, because a sync takes its time.
//! Workloads that begin with the same store stand behind one another, so that it is loaded once.

use super::fill::{self, Order};
use super::read::{self, Distribution};
use super::{Outcome, Run, deletes, ingest, mixed, recovery, scan, seek, ycsb};
use crate::Result;
use crate::settings::{DurabilityName, Settings};

/// One workload.
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in half a sentence.
    pub about: &'static str,
    begins_loaded: bool,
    adapt: fn(&mut Settings),
    run: fn(&Run<'_>) -> Result<Outcome>,
}

impl Workload {
    /// One that begins with an empty store.
    const fn new(
        name: &'static str,
        about: &'static str,
        run: fn(&Run<'_>) -> Result<Outcome>,
    ) -> Workload {
        Workload { name, about, begins_loaded: false, adapt: |_| {}, run }
    }

    /// One that begins with a store that has every key.
    const fn loaded(
        name: &'static str,
        about: &'static str,
        run: fn(&Run<'_>) -> Result<Outcome>,
    ) -> Workload {
        Workload { begins_loaded: true, ..Workload::new(name, about, run) }
    }

    const fn with(self, adapt: fn(&mut Settings)) -> Workload {
        Workload { adapt, ..self }
    }

    /// The settings of a run: those of the command line, and what the name fixes.
    pub fn settings(&self, asked: &Settings) -> Settings {
        let mut settings = asked.clone();
        (self.adapt)(&mut settings);
        settings
    }

    /// The settings of the store that a run begins with a copy of; `None` where it begins empty.
    /// What the stored bytes do not depend on is as asked for: workloads that differ in that alone
    /// begin with the same store.
    pub fn load(&self, asked: &Settings) -> Option<Settings> {
        let own = self.settings(asked);
        let Settings { threads, cache_mib, .. } = *asked;
        self.begins_loaded.then_some(Settings { threads, cache_mib, ..own })
    }

    /// Runs it, with [`Workload::settings`].
    pub fn run(&self, run: &Run<'_>) -> Result<Outcome> {
        (self.run)(run)
    }
}

/// Keys of 64 KiB values, and of 4 KiB values, for so many asked for.
const KEYS_A_64_KIB: u64 = 160;
const KEYS_A_4_KIB: u64 = 10;

fn two_threads(settings: &mut Settings) {
    settings.threads = 2;
}

fn synced(settings: &mut Settings, threads: u32, keys_divisor: u64) {
    settings.durability = DurabilityName::Disk;
    settings.threads = threads;
    settings.keys = (settings.keys / keys_divisor).max(100);
}

fn values_4k(settings: &mut Settings) {
    settings.value_bytes = 4 << 10;
    settings.keys = (settings.keys / KEYS_A_4_KIB).max(100);
}

fn values_64k(settings: &mut Settings) {
    settings.value_bytes = 64 << 10;
    settings.keys = (settings.keys / KEYS_A_64_KIB).max(100);
}

/// What a store may take in memory, by the bytes of its entries: blocks have ends, and trees whose
/// keys come in random order have pages that are two thirds full.
const STORE_BY_ENTRIES: u64 = 2;

fn cached(settings: &mut Settings) {
    let mib = (STORE_BY_ENTRIES * settings.live_bytes()).div_ceil(1 << 20);
    settings.cache_mib = settings.cache_mib.max(mib);
}

fn many_keys(settings: &mut Settings) {
    settings.keys *= 5;
}

/// All of them, in the order of the tables.
pub const ALL: &[Workload] = &[
    Workload::new("fillseq", "every key in ascending order, one at a time", |run| {
        fill::fill(run, Order::Ascending, 1)
    }),
    Workload::new("fillseq-100", "every key in ascending order, in batches of 100", |run| {
        fill::fill(run, Order::Ascending, 100)
    }),
    Workload::new("fillrandom", "every key in random order, one at a time", |run| {
        fill::fill(run, Order::Random, 1)
    }),
    Workload::new("fillrandom-100", "every key in random order, in batches of 100", |run| {
        fill::fill(run, Order::Random, 100)
    }),
    Workload::new("fillrandom-100-2t", "the same by two threads", |run| {
        fill::fill(run, Order::Random, 100)
    })
    .with(two_threads),
    Workload::new("fillrandom-1000", "every key in random order, in batches of 1000", |run| {
        fill::fill(run, Order::Random, 1000)
    }),
    Workload::new(
        "fillrandom-1000-5x",
        "the same with five times the keys; held against others with settling",
        |run| fill::fill(run, Order::Random, 1000),
    )
    .with(many_keys),
    Workload::new("fillsync", "a 400th of the keys, each synced to the disk", |run| {
        fill::fill(run, Order::Random, 1)
    })
    .with(|settings| synced(settings, 1, 400)),
    Workload::new("fillsync-8t", "a 100th of the keys, each synced, by eight threads", |run| {
        fill::fill(run, Order::Random, 1)
    })
    .with(|settings| synced(settings, 8, 100)),
    Workload::loaded(
        "overwrite",
        "loaded; as many writes to random keys, one at a time",
        fill::overwrite,
    ),
    Workload::loaded("readrandom", "loaded; lookups of uniformly random keys", |run| {
        read::read(run, Distribution::Uniform)
    }),
    Workload::loaded("readrandom-2t", "the same by two threads", |run| {
        read::read(run, Distribution::Uniform)
    })
    .with(two_threads),
    Workload::loaded(
        "readrandom-cached",
        "loaded; lookups of uniformly random keys, all of them in the block cache",
        |run| read::read_cached(run, Distribution::Uniform),
    )
    .with(cached),
    Workload::loaded(
        "readrandom-zipf",
        "loaded; lookups of keys drawn by Zipf's law, exponent 0.99, scattered",
        |run| read::read(run, Distribution::Zipf),
    ),
    Workload::loaded("readrandom-zipf-2t", "the same by two threads", |run| {
        read::read(run, Distribution::Zipf)
    })
    .with(two_threads),
    Workload::loaded(
        "readrandom-zipf-cached",
        "loaded; lookups of keys drawn by Zipf's law, all of them in the block cache",
        |run| read::read_cached(run, Distribution::Zipf),
    )
    .with(cached),
    Workload::loaded(
        "readmissing",
        "loaded; lookups of keys that lie between those that exist",
        |run| read::read(run, Distribution::Missing),
    ),
    Workload::loaded(
        "seekrandom-10",
        "loaded; a new iterator at a random key, 10 entries read",
        |run| seek::seek(run, 10),
    ),
    Workload::loaded(
        "seekrandom-100",
        "loaded; a new iterator at a random key, 100 entries read",
        |run| seek::seek(run, 100),
    ),
    Workload::loaded(
        "seekrandom-10-cached",
        "loaded; as seekrandom-10, all of it in the block cache",
        |run| seek::seek_cached(run, 10),
    )
    .with(cached),
    Workload::loaded(
        "seekrandom-100-cached",
        "loaded; as seekrandom-100, all of it in the block cache",
        |run| seek::seek_cached(run, 100),
    )
    .with(cached),
    Workload::loaded("scan", "loaded; every entry in order, again and again", scan::scan),
    Workload::loaded(
        "readwhilewriting",
        "loaded; random lookups while one thread writes to random keys as fast as it can",
        mixed::read_while_writing,
    ),
    Workload::loaded("ycsb-a", "loaded; half lookups, half updates, by Zipf's law", |run| {
        ycsb::ycsb(run, &ycsb::A)
    }),
    Workload::loaded("ycsb-b", "loaded; 95 % lookups, 5 % updates, by Zipf's law", |run| {
        ycsb::ycsb(run, &ycsb::B)
    }),
    Workload::loaded("ycsb-c", "loaded; lookups by Zipf's law", |run| ycsb::ycsb(run, &ycsb::C)),
    Workload::loaded("ycsb-d", "loaded; 95 % lookups of the latest keys, 5 % inserts", |run| {
        ycsb::ycsb(run, &ycsb::D)
    }),
    Workload::loaded("ycsb-e", "loaded; 95 % scans of up to 100 entries, 5 % inserts", |run| {
        ycsb::ycsb(run, &ycsb::E)
    }),
    Workload::loaded("ycsb-f", "loaded; half lookups, half reads with an update behind", |run| {
        ycsb::ycsb(run, &ycsb::F)
    }),
    Workload::loaded(
        "deletes",
        "loaded; 90 % of the keys deleted in random order, one at a time",
        deletes::deletes,
    ),
    Workload::new("fill-4k", "a tenth of the keys with values of 4 KiB, random order", |run| {
        fill::fill(run, Order::Random, 1)
    })
    .with(values_4k),
    Workload::loaded(
        "overwrite-4k",
        "loaded with those; as many writes to random keys",
        fill::overwrite,
    )
    .with(values_4k),
    Workload::loaded("read-4k", "loaded with those; lookups of random keys", |run| {
        read::read(run, Distribution::Uniform)
    })
    .with(values_4k),
    Workload::new("fill-64k", "a 160th of the keys with values of 64 KiB, random order", |run| {
        fill::fill(run, Order::Random, 1)
    })
    .with(values_64k),
    Workload::loaded(
        "overwrite-64k",
        "loaded with those; as many writes to random keys",
        fill::overwrite,
    )
    .with(values_64k),
    Workload::loaded("read-64k", "loaded with those; lookups of random keys", |run| {
        read::read(run, Distribution::Uniform)
    })
    .with(values_64k),
    Workload::new(
        "ingest",
        "a click stream: nearly ordered events of 120 bytes in batches of 1000",
        ingest::ingest,
    ),
    Workload::new(
        "recovery",
        "opening what a kill left: no table, and a log as long as a memtable is large",
        recovery::recovery,
    ),
];

/// The four that are held against the peers.
pub const VERSUS: &[&str] = &["fillrandom", "fillrandom-1000", "readrandom", "seekrandom-10"];

/// The workload called `name`.
pub fn find(name: &str) -> Result<&'static Workload> {
    let found = ALL.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("no workload is called {name}: try `list`").into())
}

/// The workloads that `names` stands for: `all`, `versus`, or names with commas between.
pub fn select(names: &str) -> Result<Vec<&'static Workload>> {
    match names {
        "all" => Ok(ALL.iter().collect()),
        "versus" => VERSUS.iter().map(|name| find(name)).collect(),
        names => names.split(',').map(find).collect(),
    }
}
