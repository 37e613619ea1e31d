//! Series s: sizes, encodings, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use alluvium::env::{Env, FileId, FileKind, MemEnv, ReadableFile, StoreLock};
use alluvium::env::{WorkerThread, WritableFile};
use alluvium::{Codec, Db, Durability, Error, Options, PerLevel, WriteBatch, WriteOptions};

use crate::store::*;

const VALUE_BYTES_MAX: usize = 512 << 20;
const KEY_BYTES_MAX: usize = 64 << 10;

/// facebook/rocksdb#3480: a value of more than 4 GiB was written whole, with a length of 32 bits. A
/// value or key over its limit is refused, before a byte of it is copied or written: the memory of
/// these is never touched.
#[test]
fn reg_s01_a_value_over_the_limit_is_refused_before_it_is_copied() {
    let env = MemEnv::new();
    let db = open(&env, &calm());
    db.put("k", "old").unwrap();
    let before = everything(&env);
    let huge = vec![0u8; VALUE_BYTES_MAX + 1];
    let mut batch = WriteBatch::new();
    batch.put("a", "1");
    batch.put("k", &huge);
    batch.put("b", "1");
    assert!(batch.byte_size() < 1 << 10, "it was copied");
    for refused in [
        db.write(batch),
        db.put("k", &huge),
        db.put(vec![0; KEY_BYTES_MAX + 1], "v"),
        db.delete(vec![0; KEY_BYTES_MAX + 1]),
    ] {
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    }
    assert_eq!(everything(&env), before);
    assert_eq!(db.get("k").unwrap().unwrap(), "old");
    assert_eq!(db.get("a").unwrap(), None, "the whole batch was refused");
    let longest = vec![7; KEY_BYTES_MAX];
    db.put(&longest, "longest").unwrap();
    db.flush().unwrap();
    assert_eq!(db.get(&longest).unwrap().unwrap(), "longest");
    assert_eq!(db.get([&longest[..], b"x"].concat()).unwrap(), None, "over the limit: not there");
}

/// facebook/rocksdb#5486, #5492: blocks of 4 GiB and more could be asked for, and were corrupt.
#[test]
fn reg_s02_blocks_too_large_to_be_read_are_refused() {
    let refused = |change: fn(&mut Options)| {
        let mut options = calm();
        change(&mut options);
        let opened = try_open(&MemEnv::new(), &options);
        assert!(matches!(opened, Err(Error::InvalidArgument { .. })), "{opened:?}");
    };
    refused(|o| o.column_family.block_bytes = usize::MAX);
    refused(|o| o.column_family.block_bytes = 1 << 32);
    refused(|o| o.column_family.block_bytes = (1 << 32) + 1);
    refused(|o| o.column_family.block_bytes = (1 << 31) + 1);
    refused(|o| o.column_family.block_bytes = 300 << 20);
    refused(|o| o.column_family.block_bytes = 0);
    refused(|o| o.column_family.memtable_bytes = usize::MAX);
    let mut options = calm();
    options.column_family.block_bytes = 256 << 20;
    let db = open(&MemEnv::new(), &options);
    fill(&db, 0..100, 0);
    db.flush().unwrap();
    assert_eq!(all(&db), filled(0..100, 0));
}

/// cockroachdb/pebble#4232: a block could grow over 2 GiB, because one huge value was added to a
/// block that was nearly full. Values just below, at and above the size of a block, one behind the
/// other in every order: each is read back, and large ones stand alone.
#[test]
fn reg_s03_values_around_the_size_of_a_block_are_read_back() {
    const BLOCK: usize = 4 << 10;
    let sizes = [0, 1, BLOCK / 2, BLOCK - 40, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK];
    for codec in [Codec::None, Codec::Lz4] {
        let mut options = calm();
        options.column_family.block_bytes = BLOCK;
        options.column_family.codecs = PerLevel::all(codec);
        let db = open(&MemEnv::new(), &options);
        let mut expected = Pairs::new();
        for (first, one) in sizes.into_iter().enumerate() {
            for (second, two) in sizes.into_iter().enumerate() {
                for (index, size) in [one, two].into_iter().enumerate() {
                    let key = format!("{first} {second} {index}").into_bytes();
                    let value = vec![first as u8; size];
                    put(&db, &key, &value, Durability::Os).unwrap();
                    expected.insert(key, value);
                }
            }
        }
        db.flush().unwrap();
        assert!(all(&db) == expected);
        assert!(expected.iter().all(|(key, value)| db.get(key).unwrap().unwrap() == *value));
    }
}

/// cberner/redb#515, #516, badger #600: a store of more than 4 GB was corrupt, or a size of 4 GiB
/// became 0. One table of more than 4 GiB, read at both ends. Takes 15 GB of disk and a minute:
/// `cargo test --release -p alluvium-testkit --test regressions reg_s05 -- --ignored`
#[test]
#[ignore = "takes 15 GB of disk and a minute; the command is in the comment"]
fn reg_s05_a_table_of_more_than_4_gib_is_read_at_both_ends() {
    const VALUES: usize = 70;
    const BYTES: usize = 64 << 20;
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options { durability: Durability::Os, ..Options::default() };
    options.column_family.codecs = PerLevel::all(Codec::None);
    options.column_family.table_bytes = 1 << 40;
    options.column_family.level1_bytes = 1 << 40;
    let db = Db::open(directory.path().join("store"), options.clone()).unwrap();
    let mut value = vec![0; BYTES];
    for index in 0..VALUES {
        value[..8].copy_from_slice(&(index as u64).to_le_bytes());
        value[BYTES - 8..].copy_from_slice(&(index as u64 + 7).to_le_bytes());
        db.put(key(index), &value).unwrap();
    }
    db.compact().unwrap();
    let levels = db.stats().families[0].levels.clone();
    assert!(levels.iter().any(|level| level.tables == 1 && level.bytes > 1 << 32), "{levels:?}");
    db.close().unwrap();
    let db = Db::open(directory.path().join("store"), options).unwrap();
    for index in (0..VALUES).rev() {
        let found = db.get(key(index)).unwrap().unwrap();
        assert_eq!(found[..8], (index as u64).to_le_bytes());
        assert_eq!(found[BYTES - 8..], (index as u64 + 7).to_le_bytes());
    }
    assert_eq!(db.scan(..).rev().map(Result::unwrap).count(), VALUES);
}

/// cberner/redb 4.2.0: a leaf of 65,536 entries overflowed its count of 16 bits. Blocks and batches
/// of 2⁸ and 2¹⁶ entries, one less and one more.
#[test]
fn reg_s06_counts_around_the_powers_of_two_are_whole() {
    for count in [255, 256, 257, 65_535, 65_536, 65_537] {
        let env = MemEnv::new();
        let mut options = calm();
        options.column_family.block_bytes = 64 << 20;
        options.column_family.restart_interval = if count % 2 == 0 { 1 } else { 16 };
        let db = open(&env, &options);
        let mut batch = WriteBatch::new();
        (0..count).for_each(|index: u32| batch.put(index.to_be_bytes(), index.to_le_bytes()));
        assert_eq!(batch.len(), count as usize);
        db.write_with(batch, &WriteOptions { durability: Durability::Disk }).unwrap();
        let from_log = open(&copy(&env), &options);
        db.flush().unwrap();
        for db in [&db, &from_log] {
            let mut next = 0u32;
            for entry in db.scan(..) {
                let (key, value) = entry.unwrap();
                assert_eq!(
                    (&key[..], &value[..]),
                    (&next.to_be_bytes()[..], &next.to_le_bytes()[..])
                );
                next += 1;
            }
            assert_eq!(next, count);
            for index in [0, 1, count / 2, count - 2, count - 1] {
                let found = db.get(index.to_be_bytes()).unwrap().unwrap();
                assert_eq!(found, index.to_le_bytes()[..]);
            }
            assert_eq!(db.get(count.to_be_bytes()).unwrap(), None);
        }
    }
}

/// A clock that jumps by years, forth and back, each time it is asked.
#[derive(Clone)]
struct JumpingClock(MemEnv, Arc<AtomicU64>);

impl fmt::Debug for JumpingClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Env for JumpingClock {
    fn now(&self) -> Duration {
        const DAY: u64 = 86_400;
        let asked = self.1.fetch_add(1, Ordering::Relaxed);
        let years = [40, 30, 50, 0, 136, 39][asked as usize % 6];
        Duration::from_secs(years * 365 * DAY + asked % 13)
    }

    fn unix_time(&self) -> Duration {
        self.now()
    }

    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        self.0.create(file)
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        self.0.open(file)
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        self.0.remove(file)
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.0.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.0.list_foreign()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn create_directory(&self) -> io::Result<()> {
        self.0.create_directory()
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        self.0.lock()
    }

    fn directory(&self) -> String {
        self.0.directory()
    }

    fn sleep(&self, duration: Duration) {
        self.0.sleep(duration);
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        self.0.spawn(name, body)
    }
}

/// Clocks that jump have broken whoever ordered data by them. Nothing here is ordered by one: the
/// clock jumps by decades at every look, and a store answers as ever; to the byte, where tombstones
/// are not merged for their age, which is the one thing that a clock decides for these writes.
#[test]
fn reg_s10_a_clock_that_jumps_changes_nothing() {
    let ageless = || {
        let mut options = small();
        options.column_family.tombstone_age = Duration::MAX;
        options
    };
    let run = |env: &dyn Fn(MemEnv) -> Arc<dyn Env>, options: &Options| {
        let memory = MemEnv::new();
        for life in 0..3 {
            let db = Db::open_env(env(memory.clone()), options.clone()).unwrap();
            for round in 0..3 {
                fill(&db, 0..100, life * 3 + round);
                (0..100).step_by(9).for_each(|index| db.delete(key(index + round)).unwrap());
            }
            db.flush().unwrap();
            db.compact().unwrap();
            drop(db.stats().to_string());
            db.close().unwrap();
        }
        // The manifest notes the time of day beside sequence numbers.
        let mut files = everything(&memory);
        files.retain(|file, _| FileKind::of(*file) != FileKind::Manifest);
        (all(&open(&memory, &small())), files)
    };
    let steady = run(&|memory| Arc::new(memory), &ageless());
    let jumps = |memory| -> Arc<dyn Env> { Arc::new(JumpingClock(memory, Arc::default())) };
    assert_eq!(steady.0, run(&jumps, &small()).0);
    let jumping = run(&jumps, &ageless());
    assert_eq!(steady.0, jumping.0);
    assert!(steady.1 == jumping.1, "the files differ");
    assert!(steady.1.keys().any(|file| FileKind::of(*file) == FileKind::Table));
}
