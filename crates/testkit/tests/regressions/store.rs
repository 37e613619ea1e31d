//! Small stores, their files, and what is in them: what all regression tests share.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use alluvium::env::{CrashPolicy, Env, Fault, FaultEnv, FaultRule, FileId, FileKind, MemEnv};
use alluvium::env::{Operation as Io, When};
use alluvium::{ColumnFamily, Db, Durability, Error, Options, Result, WriteBatch, WriteOptions};
use alluvium_testkit::configs;
use alluvium_testkit::crash::{self, Sweep, Swept};
use alluvium_testkit::operation::{Change, DEFAULT_FAMILY, Operation};
use alluvium_testkit::watchdog::Watchdog;
use alluvium_testkit::workloads::Workload;

/// What is in a column family.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Everything small and nothing in the background: some ten writes make a flush, a few flushes a
/// compaction.
pub fn small() -> Options {
    let mut options = configs::tiny();
    options.column_family.memtable_bytes = 12 << 10;
    options
}

/// As `small`, and nothing is flushed or compacted that nobody asks for.
pub fn calm() -> Options {
    let mut options = configs::tiny();
    options.wal_bytes_max = 1 << 30;
    options.column_family.memtable_bytes = 64 << 20;
    options.column_family.level0_tables_compact = 1_000;
    options.column_family.level0_tables_slowdown = 1_000;
    options.column_family.level0_tables_stop = 1_001;
    options
}

pub fn try_open(env: &(impl Env + Clone), options: &Options) -> Result<Db> {
    Db::open_env(Arc::new(env.clone()), options.clone())
}

pub fn open(env: &(impl Env + Clone), options: &Options) -> Db {
    try_open(env, options).unwrap_or_else(|error| panic!("the store does not open: {error}"))
}

pub fn key(index: usize) -> Vec<u8> {
    format!("key{index:06}").into_bytes()
}

pub fn value(index: usize, round: usize) -> Vec<u8> {
    format!("value {index} of round {round}").into_bytes()
}

/// Puts one pair.
pub fn put(
    db: &Db,
    key: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
    durability: Durability,
) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write_with(batch, &WriteOptions { durability })
}

/// Puts a key for each index, a write each, handed to the operating system.
pub fn fill(db: &Db, range: Range<usize>, round: usize) {
    for index in range {
        put(db, key(index), value(index, round), Durability::Os).unwrap();
    }
}

/// The pairs that `fill` writes.
pub fn filled(range: Range<usize>, round: usize) -> Pairs {
    range.map(|index| (key(index), value(index, round))).collect()
}

/// Everything in a column family, by a scan.
pub fn contents(family: &ColumnFamily) -> Pairs {
    let pairs = family.scan(..).map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())));
    pairs.collect::<Result<Pairs>>().unwrap_or_else(|error| panic!("a scan fails: {error}"))
}

/// Everything in the default column family.
pub fn all(db: &Db) -> Pairs {
    contents(&db.default_column_family())
}

/// The files of a kind, ascending.
pub fn files(env: &MemEnv, kind: FileKind) -> Vec<FileId> {
    env.files().into_iter().filter(|file| FileKind::of(*file) == kind).collect()
}

pub fn newest(env: &MemEnv, kind: FileKind) -> FileId {
    *files(env, kind).last().expect("there is a file of the kind")
}

pub fn bytes(env: &MemEnv, file: FileId) -> Vec<u8> {
    env.file_bytes(file).expect("the file is there")
}

/// The files and what is in them.
pub fn everything(env: &MemEnv) -> BTreeMap<FileId, Vec<u8>> {
    env.files().into_iter().map(|file| (file, bytes(env, file))).collect()
}

/// A copy of a world, to be changed.
pub fn copy(env: &MemEnv) -> MemEnv {
    env.crash_image(CrashPolicy::KeepAll, 0)
}

/// What is left when the power goes and the disk had written only what it had to.
pub fn power_cut(env: &MemEnv) -> MemEnv {
    env.crash_image(CrashPolicy::DropUnsynced, 0)
}

/// Turns some bits of one byte.
pub fn flip(env: &MemEnv, file: FileId, offset: usize) {
    let mut changed = bytes(env, file);
    changed[offset] ^= 0x10;
    env.set_file_bytes(file, changed);
}

/// Every way in which the tests let the disk forget, with several draws of the random ones.
pub fn policies() -> Vec<(CrashPolicy, u64)> {
    let mut policies = vec![(CrashPolicy::DropUnsynced, 0), (CrashPolicy::KeepAll, 0)];
    for seed in 1..4 {
        policies.push((CrashPolicy::ObjectPrefix, seed));
        policies.push((CrashPolicy::ShuffledNames, seed));
        policies.push((CrashPolicy::TornSectors, seed));
        policies.push((CrashPolicy::LengthFirst, seed));
    }
    policies
}

/// A memory environment with faults around it.
pub fn faulty() -> (MemEnv, FaultEnv) {
    let memory = MemEnv::new();
    (memory.clone(), FaultEnv::new(Arc::new(memory)))
}

/// Fails these operations on files of one kind.
pub fn failing(operations: &[Io], kind: FileKind, when: When, fault: Fault) -> FaultRule {
    FaultRule::new(operations, when, fault).on(kind)
}

/// Aborts the process, naming the test, when it hangs.
pub fn watch(test: &str) -> Watchdog {
    let watchdog = Watchdog::new(Duration::from_secs(60));
    watchdog.step(test);
    watchdog
}

pub fn is_corruption_of(error: &Error, file: FileId) -> bool {
    matches!(error, Error::Corruption { file: named, .. } if named.ends_with(&file.name()))
}

/// The same files, all of them on disk.
pub fn on_disk(env: &MemEnv) -> MemEnv {
    let durable = MemEnv::new();
    durable.create_directory().unwrap();
    for (file, bytes) in everything(env) {
        durable.set_file_bytes(file, bytes);
    }
    durable
}

/// Crashes the opening of a store at each of its operations, and shows each image to `check`.
pub fn crash_in_open(world: &MemEnv, options: &Options, check: &mut dyn FnMut(&MemEnv, u64)) {
    for operation in 0.. {
        let env = copy(world);
        env.crash_at(env.operations() + operation);
        drop(try_open(&env, options));
        if !env.crashed() {
            assert!(operation > 5, "the store was opened in {operation} operations");
            return;
        }
        for (policy, seed) in policies() {
            check(&env.crash_image(policy, seed), operation);
        }
    }
}

/// A store whose log has several segments with data that is in no table.
pub struct Logs {
    pub env: MemEnv,
    pub options: Options,
    /// What the store holds behind each write; `states[0]` is empty.
    pub states: Vec<Pairs>,
    /// The segments, oldest first.
    pub segments: Vec<FileId>,
    /// `lengths[i]`: the segment that write `i` (from 1) went to, and its length behind it.
    pub lengths: Vec<(FileId, usize)>,
}

/// Makes one: no table can be written, so that memtables, and with them segments, pile up. Nothing
/// is left open.
pub fn logs(durability: Durability) -> Logs {
    const SEGMENTS: usize = 4;
    let mut options = small();
    options.durability = durability;
    options.column_family.memtables_max = SEGMENTS;
    let (memory, faults) = faulty();
    let db = open(&faults, &options);
    faults.add(failing(&[Io::Create], FileKind::Table, When::From(1), Fault::Io));
    let mut states = vec![Pairs::new()];
    let mut lengths = Vec::new();
    let mut in_last = 0;
    for index in 0.. {
        // Keys are overwritten, so that a hole shows in values and not in keys alone.
        let pair = (key(index % 7), value(index, 0).repeat(40));
        put(&db, &pair.0, &pair.1, durability).unwrap();
        let mut state = states[states.len() - 1].clone();
        state.insert(pair.0, pair.1);
        states.push(state);
        let segment = newest(&memory, FileKind::Wal);
        lengths.push((segment, bytes(&memory, segment).len()));
        if files(&memory, FileKind::Wal).len() == SEGMENTS {
            in_last += 1;
        }
        if in_last == 3 {
            break;
        }
    }
    let env = copy(&memory);
    let segments = files(&env, FileKind::Wal);
    Logs { env, options, states, segments, lengths }
}

impl Logs {
    /// The write behind which the store holds `pairs`, if there is one.
    pub fn behind(&self, pairs: &Pairs) -> Option<usize> {
        self.states.iter().rposition(|state| state == pairs)
    }

    /// The last write that went to this segment.
    pub fn last_write_in(&self, segment: FileId) -> usize {
        self.lengths.iter().rposition(|(one, _)| *one == segment).expect("a write is in it") + 1
    }

    pub fn last(&self) -> &Pairs {
        &self.states[self.states.len() - 1]
    }
}

/// An operation that puts pairs in one batch.
pub fn write(pairs: &[(&str, &str, usize)], durability: Durability) -> Operation {
    let change = |(family, key, size): &(&str, &str, usize)| Change {
        family: (*family).to_owned(),
        key: key.as_bytes().to_vec(),
        value: Some(format!("{key}.{size}.").into_bytes().repeat(1 + size / 8)),
        end: None,
    };
    Operation::Write { changes: pairs.iter().map(change).collect(), durability }
}

/// An operation that puts one pair into the default family.
pub fn write_one(key: &str, size: usize, durability: Durability) -> Operation {
    write(&[(DEFAULT_FAMILY, key, size)], durability)
}

/// Crashes a run at each of its operations; see `alluvium_testkit::crash`. Recoveries are not
/// crashed: `crash_in_open` does that.
pub fn crash_everywhere(name: &str, options: Options, run: Vec<Operation>) -> Swept {
    let workload = Workload { name: name.to_owned(), options, run, close: false, prelude: 0 };
    let sweep = Sweep { seed: 3, draws: 2, nested_one_in: 0, ..Sweep::default() };
    crash::sweep(&workload, &sweep).unwrap_or_else(|text| panic!("{text}"))
}
