//! The fault-response table of docs/durability.md, a test for each row: what the store does when
//! this fails there. The sweep (`fault_sweep.rs`) fails everything everywhere and asks only for
//! what must hold always; here stands what happens instead.

mod background;
mod contract;
mod disk_full;
mod log;
mod manifest;
mod reading;
mod tables;

use std::sync::Arc;

use alluvium::env::{
    CrashPolicy, Fault, FaultEnv, FaultRule, FileId, FileKind, MemEnv, Operation, When,
};
use alluvium::{Db, Durability, Error, Options, WriteBatch, WriteOptions};
use alluvium_testkit::configs::tiny;

/// A disk that can fail, and the store on it.
struct Store {
    memory: MemEnv,
    faults: FaultEnv,
    db: Db,
}

impl Store {
    /// A new store that flushes and compacts only when it is told to.
    fn new() -> Store {
        Store::with(calm())
    }

    fn with(options: Options) -> Store {
        let memory = MemEnv::new();
        let faults = FaultEnv::new(Arc::new(memory.clone()));
        forget_pages_on_failed_sync(&faults, &memory);
        let db = open(&faults, options);
        Store { memory, faults, db }
    }

    /// Fails `operation` on this kind of file.
    fn fail(&self, operation: Operation, kind: FileKind, when: When, fault: Fault) {
        self.faults.add(FaultRule::new(&[operation], when, fault).on(kind));
    }

    /// The store as it is after the process died, or the power went.
    fn after(&self, policy: CrashPolicy) -> Db {
        open(&FaultEnv::new(Arc::new(self.memory.crash_image(policy, 1))), tiny())
    }

    fn files(&self, kind: FileKind) -> Vec<FileId> {
        let files = self.memory.files().into_iter();
        files.filter(|file| FileKind::of(*file) == kind).collect()
    }
}

/// Small blocks and tables, no workers, and room in the memtable for all that a test writes.
fn calm() -> Options {
    let mut options = tiny();
    options.column_family.memtable_bytes = 1 << 20;
    options.wal_bytes_max = 1 << 20;
    options
}

/// What Linux does: the pages of a failed sync count as clean.
fn forget_pages_on_failed_sync(faults: &FaultEnv, memory: &MemEnv) {
    let lossy = memory.clone();
    faults.observe(move |injection| {
        if let (Operation::Sync, Some(file)) = (injection.operation, injection.file) {
            lossy.lose_unsynced(file);
        }
    });
}

fn open(env: &FaultEnv, options: Options) -> Db {
    Db::open_env(Arc::new(env.clone()), options).unwrap()
}

fn key(index: u32) -> String {
    format!("key{index:04}")
}

fn value(index: u32, round: u32) -> Vec<u8> {
    format!("value {index} of round {round} ").repeat(12).into_bytes()
}

/// Puts handed to the operating system only, so that no sync is in the way of what is tested.
fn put_os(db: &Db, index: u32, round: u32) -> Result<(), Error> {
    let mut batch = WriteBatch::new();
    batch.put(key(index), value(index, round));
    db.write_with(batch, &WriteOptions { durability: Durability::Os })
}

fn fill(db: &Db, range: std::ops::Range<u32>, round: u32) {
    range.for_each(|index| put_os(db, index, round).unwrap());
}

fn check(db: &Db, range: std::ops::Range<u32>, round: u32) {
    for index in range {
        let found = db.get(key(index)).unwrap().map(|found| found.to_vec());
        assert_eq!(found, Some(value(index, round)), "key {index}");
    }
}

/// Whether the error is the injected fault of this number.
fn is_injected<T: std::fmt::Debug>(result: &Result<T, Error>, number: u64) -> bool {
    let token = format!("[injected fault {number}:");
    result.as_ref().is_err_and(|error| error.to_string().contains(&token))
}
