//! The block cache: what is found, what stays, what goes.

use super::*;
use std::collections::HashSet;

fn block(fill: u8, length: usize) -> Bytes {
    Bytes::from(vec![fill; length])
}

#[test]
fn blocks_are_told_apart_by_file_and_offset() {
    let cache = BlockCache::new(1 << 20);
    cache.insert(FileNumber(1), 0, block(1, 10), 0);
    cache.insert(FileNumber(1), 10, block(2, 10), 0);
    cache.insert(FileNumber(2), 0, block(3, 10), 0);
    assert_eq!(cache.get(FileNumber(1), 0), Some(block(1, 10)));
    assert_eq!(cache.get(FileNumber(1), 10), Some(block(2, 10)));
    assert_eq!(cache.get(FileNumber(2), 0), Some(block(3, 10)));
    assert_eq!(cache.get(FileNumber(2), 10), None);
}

#[test]
fn the_bytes_held_stay_within_the_capacity() {
    let capacity = 1 << 20;
    let cache = BlockCache::new(capacity);
    for offset in 0..2_000u64 {
        cache.insert(FileNumber(7), offset, block(0, 1 + (offset as usize * 37) % 9_000), 0);
        assert!(cache.bytes() <= capacity as u64, "{} bytes", cache.bytes());
    }
    assert!(cache.bytes() > capacity as u64 / 2, "{} bytes", cache.bytes());
}

#[test]
fn a_capacity_of_zero_keeps_nothing() {
    let cache = BlockCache::new(0);
    cache.insert(FileNumber(1), 0, block(1, 10), 0);
    assert_eq!(cache.get(FileNumber(1), 0), None);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn a_block_larger_than_the_cache_is_not_kept() {
    let cache = BlockCache::new(10_000);
    cache.insert(FileNumber(1), 0, block(1, 20_000), 0);
    assert_eq!(cache.get(FileNumber(1), 0), None);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn neighbouring_places_spread_over_both_ends_of_the_hash() {
    let hashes: Vec<u64> = (0..16u64)
        .flat_map(|file| (0..256u64).map(move |n| Place { file, offset: n * 4105 }))
        .map(|place| BuildPlaceHasher.hash_one(place))
        .collect();
    let distinct = |part: fn(&u64) -> u64| hashes.iter().map(part).collect::<HashSet<_>>().len();
    assert_eq!(distinct(|h| *h), hashes.len());
    // 4,096 places thrown into 4,096 slots fill about 63 % of them.
    for slots in [distinct(|h| h & 0xfff), distinct(|h| h >> 52)] {
        assert!((2_400..=2_800).contains(&slots), "{slots} of 4096 slots used");
    }
}

#[test]
fn a_cache_is_full_when_what_comes_in_drives_others_out() {
    let cache = BlockCache::new(1 << 20);
    let mut offset = 0;
    while !cache.is_full() {
        assert!(offset < 300, "never full");
        cache.insert(FileNumber(1), offset, block(0, 4_096), 0);
        offset += 1;
    }
    assert!(offset > 200, "full with {offset} blocks of 4 KiB");
    assert!(BlockCache::new(0).is_full());
}

#[test]
fn a_full_cache_wants_what_was_missed_not_long_ago() {
    let cache = BlockCache::new(1 << 20);
    let mut offset = 0;
    while !cache.is_full() {
        assert!(cache.wants(FileNumber(1), offset) && offset < 300);
        cache.insert(FileNumber(1), offset, block(0, 4_096), 0);
        offset += 1;
    }
    let wanted = |file, offsets: std::ops::Range<u64>| {
        offsets.filter(|&offset| cache.wants(FileNumber(file), offset * 4_105)).count()
    };
    assert_eq!((wanted(2, 0..20), wanted(2, 0..20)), (0, 20));
    // Behind a quarter as many misses as there are places most of the twenty are known, behind ten
    // times as many none is, but for one mark in 2^15 that looks like another.
    wanted(3, 0..64);
    let known = wanted(2, 0..20);
    assert!((10..20).contains(&known), "{known} of 20");
    wanted(4, 0..2_560);
    assert_eq!(wanted(2, 0..20), 0);
    assert!(!cache.wants(FileNumber(5), 0));
    cache.forget(&[FileNumber(1)]);
    assert!(cache.wants(FileNumber(6), 0), "there is room again");
    cache.set_capacity(0);
    assert!(!cache.wants(FileNumber(7), 0));
    assert!(!BlockCache::new(0).wants(FileNumber(1), 0));
}

#[test]
fn the_blocks_of_removed_files_go_and_others_stay() {
    let cache = BlockCache::new(1 << 20);
    for file in 1..=5 {
        for offset in [0, 100, 200] {
            cache.insert(FileNumber(file), offset, block(file as u8, 50), 0);
        }
    }
    let all = cache.bytes();
    cache.forget(&[]);
    assert_eq!(cache.bytes(), all);
    cache.forget(&[FileNumber(4), FileNumber(9), FileNumber(2)]);
    for file in 1..=5 {
        let kept = cache.get(FileNumber(file), 100).is_some();
        assert_eq!(kept, file != 2 && file != 4, "file {file}");
    }
    assert_eq!(cache.bytes(), all / 5 * 3);
}

#[test]
fn a_large_cache_gathers_removed_files() {
    let cache = BlockCache::new(64 << 20);
    let blocks = LOOKS_A_FILE as u64 * 3 / 2;
    for offset in 0..blocks {
        cache.insert(FileNumber(offset % 4), offset, block(0, 1), 0);
    }
    let all = cache.bytes();
    assert!(all > LOOKS_A_FILE as u64 * ENTRY_OVERHEAD_BYTES, "all but a few are kept");
    cache.forget(&[FileNumber(1)]);
    assert_eq!(cache.bytes(), all, "not worth a look at every block yet");
    cache.forget(&[FileNumber(2)]);
    assert!(cache.bytes() <= all / 2 + all / 64 && cache.removed.lock().is_empty());
    assert!((0..blocks).all(|offset| {
        matches!(offset % 4, 0 | 3) || cache.get(FileNumber(offset % 4), offset).is_none()
    }));
}
