//! The writer's rules, and how often files are touched.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::base::key::seek_trailer;
use crate::sstable::table_file::TableFile;

fn writer_to(file: &Arc<MemFile>, options: TableOptions) -> TableWriter {
    TableWriter::new(file.clone(), NUMBER, NAME.to_owned(), options)
}

#[test]
fn keys_out_of_order_are_refused_and_the_table_stays_sound() {
    let file = Arc::new(MemFile::default());
    let mut writer = writer_to(&file, TableOptions::default());
    assert!(matches!(writer.add(b"short", b""), Err(Error::InvalidArgument { .. })));
    let mut accept = |entry: Entry| writer.add(&entry.0, &entry.1).expect("in order");
    accept(put(b"b", 5, b"1"));
    accept(put(b"b", 4, b"2"));
    for wrong in [put(b"b", 4, b""), put(b"b", 6, b""), put(b"a", 9, b""), put(b"", 9, b"")] {
        assert!(writer.add(&wrong.0, &wrong.1).is_err());
    }
    let (mut reserved, _) = put(b"c", 1, b"");
    reserved[1] = 2;
    assert!(writer.add(&reserved, b"").is_err());
    assert!(writer.add(&delete(b"c", 1).0, b"value").is_err());
    assert_eq!((writer.entries(), writer.last_user_key()), (2, Some(&b"b"[..])));
    let summary = writer.finish().expect("memory does not fail");
    assert_eq!(summary.entries, 2);
    assert!(damages(&open(&file.bytes()).expect("own table opens")).is_empty());
}

#[test]
fn a_table_without_entries_is_refused() {
    let file = Arc::new(MemFile::default());
    let writer = writer_to(&file, TableOptions::default());
    assert_eq!(writer.last_user_key(), None);
    assert!(matches!(writer.finish(), Err(Error::InvalidArgument { .. })));
}

#[test]
fn a_failed_append_is_not_repeated_and_its_error_stays() {
    for fail_append in 1..4 {
        let file = Arc::new(MemFile { fail_append, ..MemFile::default() });
        let mut writer = writer_to(&file, TableOptions::default());
        let value = vec![7; 100_000];
        let mut failed = false;
        for n in 0..40u64 {
            let (key, _) = put(&n.to_be_bytes(), 1, b"");
            match writer.add(&key, &value) {
                Ok(()) => assert!(!failed, "an append worked after one had failed"),
                Err(error) => {
                    assert!(matches!(error, Error::Io { operation: "append to", .. }), "{error:?}");
                    failed = true;
                }
            }
        }
        assert!(failed);
        assert!(matches!(writer.finish(), Err(Error::Io { operation: "append to", .. })));
        assert_eq!(file.appends.load(Ordering::Relaxed), fail_append);
        assert_eq!(file.syncs.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_failed_sync_fails_the_table() {
    let file = Arc::new(MemFile { fail_sync: true, ..MemFile::default() });
    let mut writer = writer_to(&file, TableOptions::default());
    writer.add(&put(b"k", 1, b"v").0, b"v").expect("in order");
    assert!(matches!(writer.finish(), Err(Error::Io { operation: "sync", .. })));
}

#[test]
fn appends_fill_whole_pieces_and_the_file_is_synced_once() {
    const PIECE: usize = 512 << 10;
    // Values shorter than a piece, as long as one, and longer than three.
    for value_bytes in [900, PIECE - 61, 1_800_000] {
        let value = vec![3; value_bytes];
        let count = 4_000_000 / value_bytes as u64;
        let entries: Vec<Entry> = (0..count).map(|n| put(&n.to_be_bytes(), 1, &value)).collect();
        let (file, summary) = write_table(&entries, TableOptions::default());
        let appended = file.appended.lock();
        let (last, whole) = appended.split_last().expect("something was written");
        assert!(whole.iter().all(|bytes| bytes % PIECE == 0), "{appended:?}");
        assert!(*last <= PIECE && appended.len() as u64 <= summary.bytes / PIECE as u64 + 1);
        assert_eq!(file.syncs.load(Ordering::Relaxed), 1);
        assert!(damages(&open(&file.bytes()).expect("own table opens")).is_empty());
    }
}

#[test]
fn a_large_value_stands_alone_in_its_block() {
    let large = vec![1; 10_000];
    let entries =
        [put(b"a", 1, b"small"), put(b"b", 1, &large), put(b"c", 1, b"small"), put(b"d", 1, b"")];
    let table = table_of(&entries, TableOptions::default());
    let lengths: Vec<u64> =
        (0..table.index.blocks()).map(|position| table.index.handle(position).length).collect();
    assert_eq!(lengths.len(), 3);
    assert!(lengths[0] < 100 && lengths[1] > 10_000 && lengths[2] < 100, "{lengths:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_estimate_is_near_the_length(count in 1u64..3_000, bits in 0.0f64..12.0) {
        let options = TableOptions { filter_bits_per_key: bits, ..TableOptions::default() };
        let file = Arc::new(MemFile::default());
        let mut writer = writer_to(&file, options);
        for (key, value) in numbered(count) {
            writer.add(&key, &value).expect("in order");
        }
        let estimate = writer.estimated_bytes();
        let bytes = writer.finish().expect("memory does not fail").bytes;
        prop_assert!(estimate.abs_diff(bytes) <= 200 + bytes / 50, "{} for {}", estimate, bytes);
    }
}

/// A table of about 2 MB, and everything about it that counts.
struct Large {
    entries: Vec<Entry>,
    file: Arc<MemFile>,
    cache: Arc<BlockCache>,
    counters: Arc<Counters>,
    table: Arc<Table>,
}

impl Large {
    fn new() -> Large {
        let value = vec![5; 200];
        let entries: Vec<Entry> = (0..9_000u64).map(|n| put(&n.to_be_bytes(), 1, &value)).collect();
        let (file, _) = write_table(&entries, TableOptions::default());
        file.reads.store(0, Ordering::Relaxed);
        let cache = Arc::new(BlockCache::new(64 << 20));
        let counters = Arc::new(Counters::default());
        let (shared_cache, shared_counters) = (Arc::clone(&cache), Arc::clone(&counters));
        let table =
            Table::open(file.clone(), NUMBER, NAME.to_owned(), shared_cache, shared_counters);
        let table = Arc::new(table.expect("own table opens"));
        file.reads.store(0, Ordering::Relaxed);
        Large { entries, file, cache, counters, table }
    }

    fn reads(&self) -> usize {
        self.file.reads.load(Ordering::Relaxed)
    }
}

fn count_forwards(table: &Arc<Table>, purpose: ReadPurpose) -> usize {
    let mut iter = table.iter(purpose);
    iter.seek_to_first().expect("sound");
    let mut count = 0;
    while iter.valid() {
        count += 1;
        iter.next().expect("sound");
    }
    count
}

#[test]
fn a_compaction_reads_in_large_pieces_past_the_cache() {
    let large = Large::new();
    assert_eq!(count_forwards(&large.table, ReadPurpose::Compaction), large.entries.len());
    let (reads, least) = (large.reads(), large.table.bytes() as usize / (256 << 10));
    assert!((least..=least + 2).contains(&reads), "{reads} reads");
    assert_eq!((large.cache.bytes(), large.counters.cache_misses.get()), (0, 0));
    assert_eq!(large.counters.block_read_bytes.get(), large.table.footer.data_end());
}

#[test]
fn a_long_scan_reads_ahead_and_fills_the_cache() {
    let large = Large::new();
    assert_eq!(count_forwards(&large.table, USER), large.entries.len());
    let reads = large.reads();
    assert!(reads < 20, "{reads} reads");
    assert!(large.cache.bytes() > 1 << 20);
    assert_eq!(count_forwards(&large.table, USER), large.entries.len());
    assert_eq!(large.reads(), reads);
    assert_eq!(large.counters.cache_hits.get(), large.counters.cache_misses.get());
}

#[test]
fn a_point_lookup_reads_one_block_once_and_not_at_all_where_the_filter_says_no() {
    let large = Large::new();
    let (lookup, value) = &large.entries[4_321];
    let mut lookups = Lookups::default();
    let no_fill = large.table.get(lookup, true, false, &mut lookups).expect("sound");
    assert_eq!(no_fill.map(|(_, value)| value.to_vec()).as_ref(), Some(value));
    assert_eq!((large.reads(), large.cache.bytes()), (1, 0));
    for _ in 0..3 {
        assert!(large.table.get(lookup, true, true, &mut lookups).expect("sound").is_some());
    }
    assert_eq!(large.reads(), 2);
    for n in 0..500u64 {
        let absent = [&n.to_be_bytes()[..], b"?"].concat();
        let lookup = key::encode(&absent, seek_trailer(SeqNo::MAX));
        let may_hold = large.table.may_hold(key_hash(&absent));
        let found = large.table.get(&lookup, may_hold, true, &mut lookups);
        assert_eq!(found.expect("sound"), None);
    }
    lookups.add_to(&large.counters);
    let counters = &large.counters;
    assert!(counters.filter_useful.get() > 480);
    assert_eq!(counters.filter_useful.get() + counters.filter_false_positives.get(), 500);
    assert_eq!(counters.table_lookups.get(), 504);
}

#[test]
fn a_full_cache_keeps_a_block_that_is_missed_twice_and_lends_memory_for_the_first_look() {
    let mut large = Large::new();
    let cache = Arc::new(BlockCache::new(1 << 20));
    let mut offset = 0;
    while !cache.is_full() {
        cache.insert(FileNumber(1), offset, Bytes::from(vec![0; 4_096]));
        offset += 1;
    }
    Arc::get_mut(&mut large.table).expect("the only one").cache = cache;
    let (lookup, value) = &large.entries[4_321];
    let get = || {
        let found = large.table.get(lookup, true, true, &mut Lookups::default()).expect("sound");
        let (_, found) = found.expect("it is there");
        assert_eq!(&found[..], value);
        // What else holds the memory: the cache, or nobody.
        (large.reads(), found.is_unique())
    };
    assert_eq!([get(), get(), get()], [(1, true), (2, false), (2, false)]);
    // Blocks of up to 32 KiB and all lengths go through the same memory.
    for (lookup, value) in large.entries.iter().step_by(97) {
        let found = large.table.get(lookup, true, false, &mut Lookups::default()).expect("sound");
        assert_eq!(found.expect("it is there").1, value);
    }
}

#[test]
fn reading_ahead_into_a_bad_place_does_not_hurt_the_blocks_before_it() {
    let Large { entries, file, .. } = Large::new();
    let limit = 700_000;
    let (cache, counters) = (Arc::new(BlockCache::new(0)), Arc::new(Counters::default()));
    let table = Table::open(file.clone(), NUMBER, NAME.to_owned(), cache, counters);
    let mut table = table.expect("own table opens");
    // From here on every read that reaches the limit fails.
    let failing = MemFile { fail_reads_behind: limit, ..MemFile::from_bytes(&file.bytes()) };
    table.file = TableFile::new(Arc::new(failing), NUMBER, NAME.to_owned(), Arc::default())
        .expect("has a length");
    let table = Arc::new(table);
    let readable = (0..table.index.blocks())
        .take_while(|&position| table.index.handle(position).end() <= limit)
        .count();
    for purpose in [USER, ReadPurpose::Compaction] {
        let mut iter = table.iter(purpose);
        iter.seek_to_first().expect("sound");
        let mut count = 0;
        let error = loop {
            count += 1;
            if let Err(error) = iter.next() {
                break error;
            }
        };
        assert!(matches!(error, Error::Io { operation: "read", .. }), "{error:?}");
        let mut last = table.iter(purpose);
        last.seek_for_prev(table.index.key(readable - 1)).expect("sound");
        assert_eq!(here(&last), entries[count - 1]);
    }
}
