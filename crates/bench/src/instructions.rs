//! Small fixed programs, one an operation, whose instructions somebody counts from outside.
//!
//! `alluvium-bench instructions <operation> <times> <directory>` makes a store, brings it to where
//! the operation is at home, and does it so many times. A counter of instructions (valgrind) around
//! a run with none and a run with many gives the price of one. Time plays no part in it, so a busy
//! machine gives the same figure as a quiet one. `tests/instructions.rs` does that, and holds the
//! figures against those that are checked in.
//!
//! One thread asks and one, which is otherwise idle, flushes and merges: an order that is always
//! the same. (With none, every write would also count a look for such work.)

use std::path::Path;

use alluvium::{ColumnFamilyOptions, Db, Durability, Options, WriteBatch};

use crate::Result;
use crate::keys::{Permutation, Values, key_of};

/// The first argument of such a run. Not shown to users.
pub const SUBCOMMAND: &str = "instructions";

/// Entries that are there before an operation is counted. `merge` goes over all of them, and each
/// round of `next`.
const ENTRIES: u64 = 5_000;

/// Sorted runs that `merge` merges.
const RUNS: u64 = 4;

/// Entries of a batch of `put in batches`.
const BATCH: u64 = 100;

/// Runs one operation: its name, how often, and an empty directory.
pub fn main(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || arguments.next().ok_or("three arguments: operation, times, directory");
    let (operation, times, dir) = (next()?, next()?.parse()?, next()?);
    let db = open(Path::new(&dir))?;
    match operation.as_str() {
        "put" => put(&db, times),
        "put-batch" => put_batches(&db, times),
        "get-fresh" => {
            load(&db, 1, false)?;
            get(&db, times)
        }
        "get" => {
            load(&db, 1, true)?;
            get(&db, times)
        }
        "seek" => {
            load(&db, 1, true)?;
            seek(&db, times)
        }
        "next" => {
            load(&db, 1, true)?;
            step(&db, times)
        }
        "merge" => {
            load(&db, RUNS, true)?;
            if times > 0 { Ok(db.compact()?) } else { Ok(()) }
        }
        other => Err(format!("no operation is called {other}").into()),
    }?;
    // Closing is not counted: it ends here, with the store as it is.
    std::process::exit(0)
}

fn open(dir: &Path) -> Result<Db> {
    let options = Options {
        durability: Durability::Buffered,
        background_threads: 1,
        column_family: ColumnFamilyOptions {
            // Runs stay as they are until a merge is asked for.
            level0_tables_compact: 100,
            level0_tables_slowdown: 200,
            level0_tables_stop: 300,
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    };
    Ok(Db::open(dir, options)?)
}

/// Writes the entries in random order: to the memtable, or to so many tables that overlap.
fn load(db: &Db, runs: u64, flushed: bool) -> Result<()> {
    let order = Permutation::new(ENTRIES, 1);
    let mut values = Values::new(100, 1);
    let mut value = Vec::new();
    for run in 0..runs {
        let mut batch = WriteBatch::new();
        for position in run * (ENTRIES / runs)..(run + 1) * (ENTRIES / runs) {
            let number = order.at(position);
            value.clear();
            values.append(number, &mut value);
            batch.put(key_of(number), &value);
        }
        db.write(batch)?;
        if flushed {
            db.flush()?;
        }
    }
    // Every block into the cache.
    for entry in db.scan(..) {
        std::hint::black_box(entry?);
    }
    Ok(())
}

fn put(db: &Db, times: u64) -> Result<()> {
    let order = Permutation::new(ENTRIES, 2);
    let value = [7; 100];
    db.put(key_of(0), value)?;
    for position in 0..times {
        db.put(key_of(order.at(position % ENTRIES)), value)?;
    }
    Ok(())
}

fn put_batches(db: &Db, times: u64) -> Result<()> {
    let order = Permutation::new(ENTRIES, 2);
    let value = [7; 100];
    db.put(key_of(0), value)?;
    for start in (0..times).step_by(BATCH as usize) {
        let mut batch = WriteBatch::new();
        for position in start..start + BATCH {
            batch.put(key_of(order.at(position % ENTRIES)), value);
        }
        db.write(batch)?;
    }
    Ok(())
}

fn get(db: &Db, times: u64) -> Result<()> {
    let order = Permutation::new(ENTRIES, 3);
    for position in 0..times {
        if db.get(key_of(order.at(position % ENTRIES)))?.is_none() {
            return Err("a key is missing".into());
        }
    }
    Ok(())
}

fn seek(db: &Db, times: u64) -> Result<()> {
    let order = Permutation::new(ENTRIES, 3);
    let mut cursor = db.cursor()?;
    for position in 0..times {
        let key = key_of(order.at(position % ENTRIES));
        cursor.seek(key)?;
        if !cursor.valid() || cursor.key() != key {
            return Err("a key is missing".into());
        }
    }
    Ok(())
}

fn step(db: &Db, times: u64) -> Result<()> {
    let mut cursor = db.cursor()?;
    for _ in 0..times / ENTRIES {
        cursor.seek(key_of(0))?;
        for _ in 1..ENTRIES {
            cursor.next()?;
        }
        if !cursor.valid() {
            return Err("the entries ended early".into());
        }
    }
    Ok(())
}
