//! Blob files by themselves: what is written is read, and nothing else ever is.

use std::sync::Arc;

use crate::base::blob::BlobIndex;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::blob::{BLOB_HEADER_BYTES, BlobFiles, BlobWriter};
use crate::cache::BlockCache;
use crate::env::{Env, MemEnv};
use crate::metrics::Counters;

const NUMBER: FileNumber = FileNumber(7);

fn environment() -> MemEnv {
    let env = MemEnv::new();
    env.create_directory().unwrap();
    env
}

fn files(env: &MemEnv, cache_bytes: usize) -> (BlobFiles, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let cache = Arc::new(BlockCache::new(cache_bytes));
    (BlobFiles::new(Arc::new(env.clone()), cache, Arc::clone(&counters), 2), counters)
}

fn value(number: usize) -> Vec<u8> {
    (0..number * 1_000).map(|at| (at ^ number) as u8).collect()
}

/// A blob file of `count` values, and where they lie.
fn written(env: &MemEnv, number: FileNumber, count: usize) -> Vec<BlobIndex> {
    let file = env.create(FileId::Blob(number)).unwrap();
    let mut writer = BlobWriter::create(file, number, "a blob file".to_owned()).unwrap();
    let indexes: Vec<_> = (0..count).map(|place| writer.append(&value(place)).unwrap()).collect();
    let expected = writer.bytes();
    let summary = writer.finish().unwrap();
    assert_eq!((summary.number, summary.bytes), (number, expected));
    indexes
}

/// The file with its bytes changed.
fn rewrite(env: &MemEnv, number: FileNumber, change: impl FnOnce(&mut Vec<u8>)) {
    let file = env.open(FileId::Blob(number)).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    change(&mut bytes);
    env.remove(FileId::Blob(number)).unwrap();
    env.create(FileId::Blob(number)).unwrap().append(&bytes).unwrap();
}

#[test]
fn values_are_read_as_they_were_written_from_the_file_and_from_the_cache() {
    let env = environment();
    // More than one piece, and values across the ends of pieces.
    let indexes = written(&env, NUMBER, 40);
    let (files, counters) = files(&env, 64 << 20);
    for _ in 0..2 {
        for (place, index) in indexes.iter().enumerate() {
            assert_eq!(files.read(index, true).unwrap(), value(place), "{place}");
        }
    }
    // The first two stand in one place: one of them is empty.
    assert_eq!((counters.blob_reads.get(), counters.blob_cache_hits.get()), (42, 38));
}

#[test]
fn what_may_not_fill_the_cache_does_not() {
    let env = environment();
    let indexes = written(&env, NUMBER, 3);
    let (files, counters) = files(&env, 64 << 20);
    for _ in 0..2 {
        assert_eq!(files.read(&indexes[2], false).unwrap(), value(2));
    }
    assert_eq!(counters.blob_reads.get(), 2);
}

#[test]
fn a_file_that_is_not_kept_open_is_opened_again() {
    let env = environment();
    let numbers: Vec<FileNumber> = (1..20).map(FileNumber).collect();
    let indexes: Vec<_> = numbers.iter().map(|&number| written(&env, number, 2)).collect();
    let (files, _) = files(&env, 0);
    for _ in 0..2 {
        for index in &indexes {
            assert_eq!(files.read(&index[1], true).unwrap(), value(1));
        }
    }
    for &number in &numbers {
        files.forget(number);
        env.remove(FileId::Blob(number)).unwrap();
    }
    assert!(matches!(files.read(&indexes[0][1], true), Err(Error::Corruption { .. })));
}

fn is_damage(result: Result<bytes::Bytes>) -> bool {
    matches!(result, Err(Error::Corruption { ref file, .. }) if file.contains("000007.blob"))
}

#[test]
fn every_damaged_byte_is_noticed() {
    let env = environment();
    let indexes = written(&env, NUMBER, 3);
    let length = BLOB_HEADER_BYTES + 3_000;
    for at in (0..BLOB_HEADER_BYTES).chain([BLOB_HEADER_BYTES + 1_000, length - 1]) {
        rewrite(&env, NUMBER, |bytes| bytes[at] ^= 4);
        let read = files(&env, 0).0.read(&indexes[2], true);
        assert!(is_damage(read), "byte {at}");
        rewrite(&env, NUMBER, |bytes| bytes[at] ^= 4);
    }
    for kept in [0, BLOB_HEADER_BYTES - 1, length - 1] {
        let env = environment();
        written(&env, NUMBER, 3);
        rewrite(&env, NUMBER, |bytes| bytes.truncate(kept));
        assert!(is_damage(files(&env, 0).0.read(&indexes[2], true)), "{kept} bytes");
    }
    let read = files(&env, 0).0.read(&indexes[2], true);
    assert_eq!(read.unwrap(), value(2));
}

#[test]
fn an_index_that_leads_elsewhere_is_noticed() {
    let env = environment();
    let indexes = written(&env, NUMBER, 3);
    let (files, _) = files(&env, 64 << 20);
    let right = indexes[2];
    for wrong in [
        BlobIndex { offset: right.offset - 1, ..right },
        BlobIndex { offset: 0, ..right },
        BlobIndex { bytes: right.bytes - 1, ..right },
        BlobIndex { bytes: u32::MAX / 16, ..right },
        BlobIndex { offset: u64::MAX, ..right },
        BlobIndex { checksum: right.checksum ^ 1, ..right },
        BlobIndex { file: FileNumber(8), ..right },
    ] {
        assert!(matches!(files.read(&wrong, true), Err(Error::Corruption { .. })), "{wrong:?}");
    }
    assert_eq!(files.read(&right, true).unwrap(), value(2));
    let shorter = BlobIndex { bytes: right.bytes - 1, ..right };
    assert!(is_damage(files.read(&shorter, true)), "though the cache has the value");
}

#[test]
fn a_file_of_another_version_is_refused_as_such() {
    let env = environment();
    let indexes = written(&env, NUMBER, 2);
    rewrite(&env, NUMBER, |bytes| {
        bytes[8] = 9;
        let sum = crate::base::checksum::checksum(&bytes[..24], NUMBER.0, 0);
        bytes[24..32].copy_from_slice(&sum.to_le_bytes());
    });
    let read = files(&env, 0).0.read(&indexes[1], true);
    assert!(matches!(read, Err(Error::UnsupportedFormat { found: 9, supported: 1, .. })));
}
