//! The block cache: what is found, what stays, what goes.

use super::*;
use std::collections::HashSet;

fn block(fill: u8, length: usize) -> Bytes {
    Bytes::from(vec![fill; length])
}

#[test]
fn blocks_are_told_apart_by_file_and_offset() {
    let cache = BlockCache::new(1 << 20);
    cache.insert(FileNumber(1), 0, block(1, 10));
    cache.insert(FileNumber(1), 10, block(2, 10));
    cache.insert(FileNumber(2), 0, block(3, 10));
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
        cache.insert(FileNumber(7), offset, block(0, 1 + (offset as usize * 37) % 9_000));
        assert!(cache.bytes() <= capacity as u64, "{} bytes", cache.bytes());
    }
    assert!(cache.bytes() > capacity as u64 / 2, "{} bytes", cache.bytes());
}

#[test]
fn a_capacity_of_zero_keeps_nothing() {
    let cache = BlockCache::new(0);
    cache.insert(FileNumber(1), 0, block(1, 10));
    assert_eq!(cache.get(FileNumber(1), 0), None);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn a_block_larger_than_the_cache_is_not_kept() {
    let cache = BlockCache::new(10_000);
    cache.insert(FileNumber(1), 0, block(1, 20_000));
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
        cache.insert(FileNumber(1), offset, block(0, 4_096));
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
        cache.insert(FileNumber(1), offset, block(0, 4_096));
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
            cache.insert(FileNumber(file), offset, block(file as u8, 50));
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

/// Slots for `blocks` blocks of 4,096 bytes.
fn slots(blocks: u64) -> Arc<BlockSlots> {
    Arc::new(BlockSlots::new(&(0..=blocks).map(|n| n * 4_096).collect::<Vec<_>>()))
}

/// What the slots lead to, without a look into the cache.
fn led_to(slots: &BlockSlots, blocks: u64) -> Vec<u64> {
    let leads = |&position: &u64| matches!(slots.get(position as usize), Look::Found(_));
    (0..blocks).filter(leads).collect()
}

/// Otherwise slots would hold memory that the cache does not count.
#[test]
fn a_slot_leads_to_what_the_cache_has_and_to_nothing_else() {
    const BLOCKS: u64 = 1_000;
    let cache = BlockCache::new(1 << 20);
    let (file, slots) = (FileNumber(3), slots(BLOCKS));
    for position in 0..BLOCKS {
        cache.insert_block(&slots, position as usize, file, block(position as u8, 4_096), 9);
        // Uses that the cache hears of, and uses that it does not.
        assert!(cache.get_block(&slots, 0, file).is_none_or(|first| first == block(0, 4_096)));
    }
    let in_cache = |position: &u64| cache.get(file, position * 4_096).is_some();
    let kept: Vec<u64> = (0..BLOCKS).filter(in_cache).collect();
    assert!((150..300).contains(&kept.len()), "{} blocks of 4 KiB in 1 MiB", kept.len());
    assert_eq!(led_to(&slots, BLOCKS), kept);
    for &position in &kept {
        let found = cache.get_block(&slots, position as usize, file).unwrap();
        assert_eq!(found, block(position as u8, 4_096));
    }

    // One that is put in again: what was there is let go.
    let again = kept[0] as usize;
    cache.insert_block(&slots, again, file, block(77, 4_096), 0);
    assert_eq!(cache.get_block(&slots, again, file), Some(block(77, 4_096)));
    assert_eq!(led_to(&slots, BLOCKS), (0..BLOCKS).filter(in_cache).collect::<Vec<_>>());

    cache.set_capacity(100_000);
    let fewer: Vec<u64> = (0..BLOCKS).filter(in_cache).collect();
    assert!(!fewer.is_empty() && fewer.len() < kept.len());
    assert_eq!(led_to(&slots, BLOCKS), fewer);
    cache.forget(&[file]);
    assert_eq!(led_to(&slots, BLOCKS), [0; 0]);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn a_block_that_is_not_kept_leaves_no_slot() {
    let cache = BlockCache::new(10_000);
    let slots = slots(2);
    cache.insert_block(&slots, 1, FileNumber(1), block(1, 20_000), 0);
    assert_eq!(led_to(&slots, 2), [0; 0]);
    let nothing = BlockCache::new(0);
    nothing.insert_block(&slots, 1, FileNumber(1), block(1, 20), 0);
    assert_eq!((led_to(&slots, 2), nothing.get_block(&slots, 1, FileNumber(1))), (vec![], None));
}

/// The memory of a block is freed by the cache alone: neither slots that are left nor a table that
/// is gone keep it.
#[test]
fn a_table_that_is_opened_again_finds_its_blocks_and_slots_keep_nothing_alive() {
    let cache = BlockCache::new(1 << 20);
    let file = FileNumber(1);
    let first = slots(10);
    cache.insert_block(&first, 4, file, block(4, 4_096), 17);
    drop(first);
    let second = slots(10);
    assert_eq!(led_to(&second, 10), [0; 0]);
    let told = slots(10);
    told.set_all(true);
    assert_eq!(cache.get_block(&told, 4, file), None, "it was told not to look");
    assert_eq!(cache.get_block(&second, 5, file), None);
    let bytes = cache.bytes();
    let found = cache.get_block(&second, 4, file).unwrap();
    assert_eq!((&found, led_to(&second, 10)), (&block(4, 4_096), vec![4]));
    assert_eq!(cache.bytes(), bytes, "counted once");
    assert!(!found.is_unique());
    // Another opening of the same table finds it too, and takes it from nobody.
    told.set_all(false);
    assert_eq!(cache.get_block(&told, 4, file), Some(found.clone()));
    assert_eq!((led_to(&second, 10), led_to(&told, 10)), (vec![4], vec![]));
    cache.forget(&[file]);
    assert!(found.is_unique() && led_to(&second, 10).is_empty());
}

/// Whoever makes the cache smaller wants to lose what is not used.
#[test]
fn uses_before_the_cache_was_full_count_too() {
    let cache = BlockCache::new(1 << 20);
    let (file, slots) = (FileNumber(1), slots(200));
    for position in 0..200 {
        cache.insert_block(&slots, position, file, block(0, 4_096), 0);
    }
    assert!(!cache.is_full());
    let hot: Vec<u64> = (0..200).step_by(4).collect();
    for _ in 0..20 {
        hot.iter().for_each(|&position| {
            assert!(cache.get_block(&slots, position as usize, file).is_some());
        });
    }
    cache.set_capacity(512 << 10);
    let stay = led_to(&slots, 200);
    let hot_stay = hot.iter().filter(|position| stay.contains(position)).count();
    assert!(stay.len() < 130 && hot_stay > 45, "{hot_stay} of 50, and {} in all", stay.len());
}

/// Threads over two openings of a table, of which blocks come and go all the while.
#[test]
fn slots_and_the_cache_agree_when_threads_are_done() {
    const BLOCKS: u64 = 400;
    let cache = BlockCache::new(1 << 20);
    let file = FileNumber(1);
    let openings = [slots(BLOCKS), slots(BLOCKS)];
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (cache, openings) = (&cache, &openings);
            scope.spawn(move || {
                let mut dice = thread + 1;
                for _ in 0..20_000 {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(thread + 1);
                    let slots = &openings[(dice >> 61) as usize % 2];
                    let position = (dice >> 33) as usize % BLOCKS as usize;
                    match (dice >> 48) % 1_000 {
                        0 => cache.forget(&[file]),
                        1 => cache.set_capacity(300_000 << (dice >> 20 & 1)),
                        _ => match cache.get_block(slots, position, file) {
                            Some(found) => assert_eq!(found, block(position as u8, 4_096)),
                            None => {
                                let fresh = block(position as u8, 4_096);
                                cache.insert_block(slots, position, file, fresh, 0);
                            }
                        },
                    }
                }
            });
        }
    });
    let led: Vec<u64> = openings.iter().flat_map(|slots| led_to(slots, BLOCKS)).collect();
    for &position in &led {
        assert!(
            cache.get(file, position * 4_096).is_some(),
            "{position} is held by its slot alone"
        );
    }
}

/// A block that is read again and again by its slot stays when others come and go.
#[test]
fn uses_by_the_slot_count() {
    let cache = BlockCache::new(1 << 20);
    let (file, slots) = (FileNumber(1), slots(4_000));
    cache.insert_block(&slots, 0, file, block(0, 4_096), 0);
    for position in 1..4_000 {
        cache.insert_block(&slots, position, file, block(0, 4_096), 0);
        assert!(cache.get_block(&slots, 0, file).is_some(), "gone after {position}");
    }
}

#[test]
fn a_large_cache_gathers_removed_files() {
    let cache = BlockCache::new(64 << 20);
    let blocks = LOOKS_A_FILE as u64 * 3 / 2;
    for offset in 0..blocks {
        cache.insert(FileNumber(offset % 4), offset, block(0, 1));
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
