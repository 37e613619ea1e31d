//! Small workloads for the crash sweep, each pinning one protocol. Short and swept at every
//! operation finds more than long and random (the result of CrashMonkey, OSDI 2018); a few
//! generated ones are added for what nobody thought of.

mod blobs;
mod ranges;

use alluvium::{Durability, Options};

use crate::configs::tiny;
use crate::generator::{Generator, Mix};
use crate::operation::{Change, DEFAULT_FAMILY, Operation};

/// A named run from a directory that does not exist.
#[derive(Debug, Clone)]
pub struct Workload {
    /// For messages and for choosing one.
    pub name: String,
    /// The store's options.
    pub options: Options,
    /// What is done, after opening and before closing.
    pub run: Vec<Operation>,
    /// Whether the store is closed at the end.
    pub close: bool,
    /// How many operations of `run` are done before the first crash: what it takes to get there.
    pub prelude: usize,
}

const SECOND: &str = "beta";

/// Writes the pieces of a run, giving each write values of its own.
#[derive(Default)]
struct Script {
    run: Vec<Operation>,
    writes: usize,
}

impl Script {
    fn write(mut self, keys: &[(&str, &str)], bytes: usize, durability: Durability) -> Script {
        self.writes += 1;
        let changes = keys
            .iter()
            .map(|(family, key)| {
                let mut value = format!("{key}.{}", self.writes).into_bytes();
                value.resize(bytes.max(value.len()), b'v');
                Change {
                    family: (*family).to_owned(),
                    key: key.as_bytes().to_vec(),
                    value: Some(value),
                    end: None,
                }
            })
            .collect();
        self.run.push(Operation::Write { changes, durability });
        self
    }

    /// Puts of single keys into the default family.
    fn puts(mut self, keys: &[&str], bytes: usize, durability: Durability) -> Script {
        for key in keys {
            self = self.write(&[(DEFAULT_FAMILY, key)], bytes, durability);
        }
        self
    }

    fn delete(mut self, keys: &[(&str, &str)], durability: Durability) -> Script {
        let change = |(family, key): &(&str, &str)| Change {
            family: (*family).to_owned(),
            key: key.as_bytes().to_vec(),
            ..Change::default()
        };
        let changes = keys.iter().map(change).collect();
        self.run.push(Operation::Write { changes, durability });
        self
    }

    /// One batch of `count` puts.
    fn batch(self, count: usize, bytes: usize, durability: Durability) -> Script {
        let keys: Vec<String> = (0..count).map(|index| format!("key{index:03}")).collect();
        let keys: Vec<_> = keys.iter().map(|key| (DEFAULT_FAMILY, &key[..])).collect();
        self.write(&keys, bytes, durability)
    }

    /// A batch without an operation.
    fn empty_batch(self, durability: Durability) -> Script {
        self.then(Operation::Write { changes: Vec::new(), durability })
    }

    fn flush_one(self, family: &str) -> Script {
        self.then(Operation::Flush { family: Some(family.to_owned()) })
    }

    fn then(mut self, operation: Operation) -> Script {
        self.run.push(operation);
        self
    }

    fn create(self, name: &str) -> Script {
        self.then(Operation::CreateFamily { name: name.to_owned() })
    }

    fn flush(self) -> Script {
        self.then(Operation::Flush { family: None })
    }

    fn compact(self) -> Script {
        self.then(Operation::Compact { family: None })
    }

    fn named(self, name: &str) -> Workload {
        let name = name.to_owned();
        Workload { name, options: tiny(), run: self.run, close: true, prelude: 0 }
    }
}

impl Workload {
    fn with(mut self, change: impl FnOnce(&mut Options)) -> Workload {
        change(&mut self.options);
        self
    }

    fn left_open(mut self) -> Workload {
        self.close = false;
        self
    }

    /// Crashes only in the last `operations` operations, and in closing.
    fn crashed_late(mut self, operations: usize) -> Workload {
        self.prelude = self.run.len() - operations;
        self
    }
}

/// The workload called `name`, one of the named ones or a generated one.
#[must_use]
pub fn named(name: &str) -> Option<Workload> {
    let seed = |kind: &str| name.strip_prefix(kind).and_then(|seed| seed.parse().ok());
    match (seed("generated "), seed("short ")) {
        (Some(seed), _) => Some(generated(seed)),
        (_, Some(seed)) => Some(short(seed)),
        _ => all().into_iter().find(|workload| workload.name == name),
    }
}

/// All named workloads.
#[must_use]
pub fn all() -> Vec<Workload> {
    let mut all = log_workloads();
    all.extend(durability_workloads());
    all.extend(edge_workloads());
    all.extend(flush_workloads());
    all.extend(compaction_workloads());
    all.extend(ranges::range_workloads());
    all.extend(blobs::blob_workloads());
    all.extend(level_workloads());
    all.extend(worker_workloads());
    all.extend(family_workloads());
    all.extend(families_workloads());
    all
}

fn log_workloads() -> Vec<Workload> {
    let (disk, os, buffered) = (Durability::Disk, Durability::Os, Durability::Buffered);
    let script = Script::default;
    vec![
        script().named("first open"),
        script().puts(&["a", "b", "a", "c", ""], 10, disk).named("plain puts").left_open(),
        script()
            .puts(&["a", "b"], 10, os)
            .puts(&["c"], 10, disk)
            .puts(&["d", "e"], 10, buffered)
            .puts(&["f"], 10, os)
            .puts(&["g"], 700, buffered)
            .then(Operation::Sync)
            .puts(&["h", "i"], 10, os)
            .named("mixed durability")
            .left_open(),
        script()
            .puts(&["a", "b", "c", "d", "e", "f"], 700, os)
            .puts(&["g"], 10, disk)
            .puts(&["h", "i", "j"], 700, os)
            .named("log rolls by its bound")
            .with(|o| o.wal_bytes_max = 1 << 10),
        script()
            .puts(&["a"], 10, disk)
            .then(Operation::Reopen)
            .puts(&["b"], 10, os)
            .then(Operation::Reopen)
            .puts(&["c"], 10, disk)
            .named("reopen twice"),
        script()
            .puts(&["a"], 10, disk)
            .puts(&["b"], 10, os)
            .then(Operation::DropAndReopen)
            .puts(&["c"], 10, os)
            .then(Operation::DropAndReopen)
            .puts(&["d"], 10, disk)
            .named("dropped without closing")
            .left_open(),
        script()
            .puts(&["a"], 9_000, disk)
            .puts(&["b"], 40_000, os)
            .puts(&["c"], 5_000, disk)
            .flush()
            .puts(&["d"], 9_000, os)
            .named("big values"),
        script()
            .puts(&["a", "b"], 40_000, buffered)
            .puts(&["c"], 10, buffered)
            .puts(&["d", "e"], 40_000, buffered)
            .puts(&["f"], 10, disk)
            .puts(&["g"], 40_000, buffered)
            .then(Operation::Sync)
            .named("big values, buffered")
            .with(|o| o.column_family.memtable_bytes = 1 << 20)
            .left_open(),
        script()
            .puts(&["a", "b"], 10, os)
            .then(Operation::Sync)
            .puts(&["c"], 10, os)
            .named("sync and close"),
    ]
}

fn flush_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let keys = ["a", "b", "c", "d", "e", "f"];
    vec![
        script()
            .puts(&["a", "b"], 10, disk)
            .flush()
            .puts(&["b", "c"], 10, disk)
            .named("flush")
            .left_open(),
        script()
            .puts(&keys, 700, os)
            .puts(&keys, 700, disk)
            .puts(&keys, 700, os)
            .named("flushes by size"),
        script()
            .puts(&keys, 300, disk)
            .flush()
            .puts(&keys[2..], 300, os)
            .flush()
            .puts(&keys[..3], 300, disk)
            .flush()
            .compact()
            .puts(&["g"], 10, disk)
            .named("flushes and a compaction"),
    ]
}

fn compaction_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let keys = ["a", "b", "c", "d", "e", "f"];
    vec![
        script()
            .puts(&keys, 900, os)
            .puts(&keys, 900, os)
            .puts(&keys, 900, disk)
            .puts(&keys, 900, os)
            .named("compactions by themselves")
            .with(|o| {
                o.column_family.memtable_bytes = 1 << 10;
                o.column_family.table_bytes = 1 << 10;
                o.column_family.level1_bytes = 2 << 10;
                o.column_family.level_ratio = 2;
                o.column_family.level0_tables_compact = 2;
            }),
        script()
            .puts(&keys, 900, os)
            .puts(&keys, 900, disk)
            .puts(&keys, 900, os)
            .flush()
            .puts(&keys, 900, os)
            .compact()
            .named("two workers")
            .with(|o| {
                o.background_threads = 2;
                o.column_family.memtable_bytes = 1 << 10;
                o.column_family.level0_tables_compact = 2;
            }),
        script()
            .puts(&keys, 10, disk)
            .flush()
            .delete(&[(DEFAULT_FAMILY, "a"), (DEFAULT_FAMILY, "b")], disk)
            .flush()
            .delete(&[(DEFAULT_FAMILY, "c")], os)
            .compact()
            .puts(&["a"], 10, disk)
            .named("deletes"),
        script()
            .puts(&["k", "k", "k"], 10, disk)
            .flush()
            .puts(&["k", "k"], 10, os)
            .flush()
            .puts(&["k"], 10, disk)
            .compact()
            .named("overwrites of one key"),
        script()
            .puts(&keys, 10, disk)
            .then(Operation::Snapshot { slot: 0 })
            .puts(&keys[..3], 10, disk)
            .flush()
            .delete(&[(DEFAULT_FAMILY, "e")], disk)
            .compact()
            .then(Operation::CheckAll)
            .then(Operation::Release { slot: 0 })
            .compact()
            .then(Operation::CheckAll)
            .named("a snapshot held over a compaction"),
    ]
}

fn family_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let both = [(DEFAULT_FAMILY, "a"), (SECOND, "a"), (DEFAULT_FAMILY, "b"), (SECOND, "c")];
    let drop_second = || Operation::DropFamily { name: SECOND.to_owned() };
    vec![
        script()
            .create(SECOND)
            .write(&both, 10, disk)
            .write(&both, 10, os)
            .delete(&both[1..3], disk)
            .write(&both[2..], 10, os)
            .named("batches over two families"),
        script()
            .create(SECOND)
            .write(&both, 10, os)
            .then(Operation::Flush { family: Some(SECOND.to_owned()) })
            .write(&both, 10, os)
            .then(Operation::Flush { family: Some(DEFAULT_FAMILY.to_owned()) })
            .write(&both, 10, os)
            .named("one family flushed, the other not")
            .left_open(),
        script()
            .puts(&["a"], 10, disk)
            .create(SECOND)
            .write(&both, 10, disk)
            .then(drop_second())
            .write(&both[..1], 10, os)
            .create(SECOND)
            .write(&both, 10, os)
            .named("a family created, dropped, created"),
        script()
            .create(SECOND)
            .write(&both, 600, os)
            .flush()
            .then(drop_second())
            .puts(&["c"], 10, disk)
            .then(Operation::Reopen)
            .create("gamma")
            .write(&[("gamma", "a"), (DEFAULT_FAMILY, "d")], 10, disk)
            .named("a family dropped with its tables"),
        script()
            .create(SECOND)
            .write(&[(SECOND, "idle")], 10, os)
            .puts(&["a", "b", "c", "d", "e", "f"], 600, os)
            .puts(&["a", "b", "c", "d", "e", "f"], 600, disk)
            .named("an idle family pins the log")
            .with(|o| o.wal_bytes_max = 3 << 10),
    ]
}

fn durability_workloads() -> Vec<Workload> {
    let (disk, os, buffered) = (Durability::Disk, Durability::Os, Durability::Buffered);
    let script = Script::default;
    vec![
        script()
            .puts(&["a", "b", "c"], 10, buffered)
            .then(Operation::Sync)
            .puts(&["d", "e"], 10, buffered)
            .flush()
            .puts(&["f"], 10, buffered)
            .named("buffered writes, then a sync and a flush"),
        script()
            .puts(&["a", "b", "c", "d"], 700, os)
            .then(Operation::Sync)
            .puts(&["e", "f", "g"], 700, os)
            .puts(&["h"], 10, disk)
            .named("a sync over several segments")
            .with(|o| o.wal_bytes_max = 1)
            .left_open(),
        script()
            .puts(&["a", "b"], 10, os)
            .empty_batch(disk)
            .puts(&["c"], 10, os)
            .empty_batch(os)
            .empty_batch(disk)
            .named("empty batches that ask for the disk")
            .left_open(),
        script()
            .puts(&["a"], 10, buffered)
            .puts(&["b"], 10, disk)
            .puts(&["c"], 10, buffered)
            .puts(&["d"], 10, os)
            .then(Operation::DropAndReopen)
            .puts(&["e"], 10, buffered)
            .then(Operation::Reopen)
            .puts(&["f"], 10, buffered)
            .named("buffered writes over the ends of lives"),
        script()
            .puts(&["a", "b", "c"], 400, os)
            .puts(&["d"], 10, disk)
            .puts(&["e", "f"], 400, os)
            .puts(&["g"], 10, disk)
            .named("a log segment for each write")
            .with(|o| {
                o.wal_bytes_max = 1;
                o.column_family.memtable_bytes = 1 << 10;
            }),
    ]
}

fn edge_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let nothing = |key: &str| Change {
        family: DEFAULT_FAMILY.to_owned(),
        key: key.as_bytes().to_vec(),
        value: Some(Vec::new()),
        end: None,
    };
    let no_values = Operation::Write { changes: vec![nothing(""), nothing("a")], durability: disk };
    vec![
        script()
            .then(Operation::CheckAll)
            .then(Operation::Reopen)
            .then(Operation::Reopen)
            .named("an empty store opened and closed"),
        script()
            .empty_batch(disk)
            .flush()
            .compact()
            .then(Operation::Sync)
            .then(Operation::Snapshot { slot: 0 })
            .then(Operation::CheckAll)
            .named("nothing is written"),
        script()
            .then(no_values.clone())
            .delete(&[(DEFAULT_FAMILY, "")], os)
            .flush()
            .then(no_values)
            .compact()
            .delete(&[(DEFAULT_FAMILY, "")], disk)
            .named("empty keys and empty values"),
        script()
            .delete(&[(DEFAULT_FAMILY, "a"), (DEFAULT_FAMILY, "b")], disk)
            .delete(&[(DEFAULT_FAMILY, "a")], os)
            .flush()
            .delete(&[(DEFAULT_FAMILY, "c")], disk)
            .compact()
            .delete(&[(DEFAULT_FAMILY, "c")], os)
            .named("nothing but deletes"),
        script()
            .batch(40, 60, disk)
            .batch(60, 90, os)
            .flush()
            .batch(50, 120, disk)
            .named("batches over many sectors and blocks"),
        script()
            .puts(&["a"], 10, disk)
            .then(Operation::Snapshot { slot: 0 })
            .puts(&["a"], 10, disk)
            .flush()
            .then(Operation::Snapshot { slot: 1 })
            .delete(&[(DEFAULT_FAMILY, "a")], os)
            .then(Operation::CheckAll)
            .then(Operation::Reopen)
            .puts(&["b"], 10, os)
            .then(Operation::Snapshot { slot: 0 })
            .puts(&["a"], 10, disk)
            .compact()
            .named("snapshots until the store is closed"),
    ]
}

fn level_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let (low, high) = (["a", "b", "c"], ["x", "y", "z"]);
    let mut levels = script();
    for round in 0..3 {
        levels = levels.batch(10 + round, 150, os).flush();
    }
    let long = |letter: char, round: usize| format!("{letter}{round:06}").repeat(8_000);
    let mut roll = script().create(SECOND);
    for round in 0..10 {
        let (first, last) = (long('a', round), long('b', round));
        roll = roll.write(&[(SECOND, &first), (SECOND, &last)], 1, os).flush();
    }
    // The manifest is over its bound by now, so that the next edit goes into a new one.
    let drop_second = Operation::DropFamily { name: SECOND.to_owned() };
    vec![
        levels.compact().batch(4, 150, disk).flush().named("levels one below the other").with(
            |o| {
                o.column_family.memtable_bytes = 16 << 10;
                o.column_family.table_bytes = 1 << 10;
                o.column_family.level1_bytes = 1 << 10;
                o.column_family.level_ratio = 2;
                o.column_family.level0_tables_compact = 2;
            },
        ),
        script()
            .puts(&low, 300, os)
            .compact()
            .puts(&high, 300, disk)
            .compact()
            .puts(&["m"], 10, os)
            .compact()
            .named("tables that only move"),
        script()
            .puts(&low, 50, disk)
            .compact()
            .delete(&[(DEFAULT_FAMILY, "a"), (DEFAULT_FAMILY, "b")], os)
            .flush()
            .puts(&["b"], 10, os)
            .flush()
            .delete(&[(DEFAULT_FAMILY, "c")], disk)
            .compact()
            .then(Operation::CheckAll)
            .named("tombstones over levels"),
        roll.then(drop_second)
            .puts(&["k"], 10, disk)
            .named("the manifest is rolled")
            .with(|o| {
                o.column_family.memtable_bytes = 1 << 20;
                o.column_family.level0_tables_compact = 100;
                o.column_family.level0_tables_slowdown = 200;
                o.column_family.level0_tables_stop = 300;
            })
            .crashed_late(2),
    ]
}

fn worker_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let keys = ["a", "b", "c", "d", "e", "f"];
    let both = [(DEFAULT_FAMILY, "a"), (SECOND, "a"), (DEFAULT_FAMILY, "b"), (SECOND, "c")];
    vec![
        script()
            .puts(&keys, 900, os)
            .puts(&keys[..3], 900, disk)
            .puts(&keys, 900, os)
            .then(Operation::Sync)
            .named("one worker")
            .with(|o| {
                o.background_threads = 1;
                o.column_family.memtable_bytes = 1 << 10;
            })
            .left_open(),
        script()
            .create(SECOND)
            .write(&both, 500, os)
            .write(&both, 500, disk)
            .write(&both[1..], 500, os)
            .then(Operation::DropFamily { name: SECOND.to_owned() })
            .puts(&keys[..4], 900, os)
            .named("workers over two families")
            .with(|o| {
                o.background_threads = 2;
                o.column_family.memtable_bytes = 1 << 10;
                o.column_family.level0_tables_compact = 2;
            }),
    ]
}

fn families_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let names = ["c1", "c2", "c3", "c4"];
    let all: Vec<_> =
        names.iter().map(|name| (*name, "k")).chain([(DEFAULT_FAMILY, "k")]).collect();
    let mut many = script();
    for name in names {
        many = many.create(name);
    }
    let drop_one = |name: &str| Operation::DropFamily { name: name.to_owned() };
    vec![
        many.write(&all, 20, disk)
            .then(drop_one("c2"))
            .write(&all[2..], 20, os)
            .flush()
            .then(Operation::Reopen)
            .write(&all[2..4], 20, disk)
            .named("many families"),
        script()
            .create("c1")
            .create("c2")
            .write(&[all[0], all[1], all[4]], 20, os)
            .flush_one("c2")
            .write(&[all[0], all[1], all[4]], 20, os)
            .flush_one(DEFAULT_FAMILY)
            .write(&[all[1], all[4]], 20, disk)
            .flush_one("c1")
            .write(&[all[0]], 20, os)
            .named("families flushed in another order")
            .left_open(),
        script()
            .puts(&["a"], 10, os)
            .create(SECOND)
            .write(&[(SECOND, "b"), (DEFAULT_FAMILY, "b")], 10, os)
            .then(drop_one(SECOND))
            .puts(&["c"], 10, os)
            .flush()
            .puts(&["d"], 10, os)
            .then(Operation::DropAndReopen)
            .puts(&["e"], 10, disk)
            .named("a family dropped that the log still names"),
        script()
            .puts(&["a"], 10, os)
            .flush()
            .create(SECOND)
            .flush()
            .write(&[(SECOND, "a")], 10, disk)
            .flush_one(SECOND)
            .create("gamma")
            .named("families created between flushes"),
    ]
}

/// A generated workload for the fault sweep, with reads: short, and yet it flushes and compacts, so
/// that many fit into a second.
#[must_use]
pub fn short(seed: u64) -> Workload {
    let operations = 6 + (seed % 17) as usize;
    let run = Generator::run(seed, Mix { operations, reads: true, value_bytes_max: 500 });
    let mut options = tiny();
    options.column_family.memtable_bytes = 1 << 10;
    options.column_family.table_bytes = 1 << 10;
    options.column_family.level1_bytes = 1 << 10;
    options.column_family.level_ratio = 2;
    options.column_family.level0_tables_compact = 1 + (seed % 3) as usize;
    if !seed.is_multiple_of(3) {
        options.block_cache_bytes = 0;
    }
    if seed.is_multiple_of(4) {
        options.wal_bytes_max = 1 << 10;
    }
    if seed.is_multiple_of(5) {
        options.durability = Durability::Os;
    }
    if seed.is_multiple_of(7) {
        options.column_family.blob_bytes_min = Some(50);
    }
    let (name, close) = (format!("short {seed}"), seed.is_multiple_of(2));
    Workload { name, options, run, close, prelude: 0 }
}

/// As `short`, with workers that flush and compact beside the one that writes.
#[must_use]
pub fn with_workers(seed: u64) -> Workload {
    let mut workload = short(seed);
    workload.name = format!("workers {seed}");
    workload.options.background_threads = 1 + (seed % 2) as usize;
    workload
}

/// A generated workload.
#[must_use]
pub fn generated(seed: u64) -> Workload {
    let run = Generator::run(seed, Mix { operations: 40, reads: false, value_bytes_max: 2_000 });
    let mut options = [
        tiny,
        || {
            let mut options = tiny();
            options.column_family.memtable_bytes = 1 << 10;
            options.column_family.level0_tables_compact = 2;
            options
        },
        || Options { wal_bytes_max: 2 << 10, durability: Durability::Os, ..tiny() },
    ][(seed % 3) as usize]();
    options.column_family.blob_bytes_min = [None, Some(50), Some(500)][(seed / 3 % 3) as usize];
    let (name, close) = (format!("generated {seed}"), seed.is_multiple_of(2));
    Workload { name, options, run, close, prelude: 0 }
}
