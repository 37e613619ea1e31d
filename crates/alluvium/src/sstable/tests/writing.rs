//! The writer's rules, and how often files are touched.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::base::key::seek_trailer;

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
fn appends_are_large_and_the_file_is_synced_once() {
    let value = vec![3; 900];
    let entries: Vec<Entry> = (0..4_000u64).map(|n| put(&n.to_be_bytes(), 1, &value)).collect();
    let (file, summary) = write_table(&entries, TableOptions::default());
    assert!(file.appends.load(Ordering::Relaxed) as u64 <= summary.bytes / (256 << 10) + 1);
    assert_eq!(file.syncs.load(Ordering::Relaxed), 1);
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
    fn the_estimate_is_near_the_length(count in 1u64..3_000, bits in 0u32..12) {
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

/// A table of about 2 MB, its file for counting, and its cache.
fn large_table() -> (Vec<Entry>, Arc<MemFile>, Arc<BlockCache>, Arc<Counters>, Arc<Table>) {
    let value = vec![5; 200];
    let entries: Vec<Entry> = (0..9_000u64).map(|n| put(&n.to_be_bytes(), 1, &value)).collect();
    let (file, _) = write_table(&entries, TableOptions::default());
    let file = Arc::new(MemFile::from_bytes(&file.bytes()));
    let (cache, counters) = (Arc::new(BlockCache::new(64 << 20)), Arc::new(Counters::default()));
    let table = Table::open(
        file.clone(),
        NUMBER,
        NAME.to_owned(),
        Arc::clone(&cache),
        Arc::clone(&counters),
    );
    let table = Arc::new(table.expect("own table opens"));
    (entries, file, cache, counters, table)
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
    let (entries, file, cache, counters, table) = large_table();
    let before = file.reads.load(Ordering::Relaxed);
    assert_eq!(count_forwards(&table, ReadPurpose::Compaction), entries.len());
    let reads = file.reads.load(Ordering::Relaxed) - before;
    let least = table.bytes() as usize / (256 << 10);
    assert!((least..=least + 2).contains(&reads), "{reads} reads");
    assert_eq!((cache.bytes(), counters.cache_misses.get()), (0, 0));
    assert_eq!(counters.block_read_bytes.get(), table.footer.data_end());
}

#[test]
fn a_long_scan_reads_ahead_and_fills_the_cache() {
    let (entries, file, cache, counters, table) = large_table();
    let before = file.reads.load(Ordering::Relaxed);
    assert_eq!(count_forwards(&table, USER), entries.len());
    let reads = file.reads.load(Ordering::Relaxed) - before;
    assert!(reads < 20, "{reads} reads");
    assert!(cache.bytes() > 1 << 20);
    let before = file.reads.load(Ordering::Relaxed);
    assert_eq!(count_forwards(&table, USER), entries.len());
    assert_eq!(file.reads.load(Ordering::Relaxed), before);
    assert_eq!(counters.cache_hits.get(), counters.cache_misses.get());
}

#[test]
fn a_point_lookup_reads_one_block_once_and_not_at_all_where_the_filter_says_no() {
    let (entries, file, cache, counters, table) = large_table();
    let before = file.reads.load(Ordering::Relaxed);
    let reads = || file.reads.load(Ordering::Relaxed) - before;
    let (lookup, value) = &entries[4_321];
    let hash = key_hash(key::user_key(lookup));
    let no_fill = table.get(lookup, hash, false).expect("sound");
    assert_eq!(no_fill.map(|(_, value)| value.to_vec()).as_ref(), Some(value));
    assert_eq!((reads(), cache.bytes()), (1, 0));
    for _ in 0..3 {
        assert!(table.get(lookup, hash, true).expect("sound").is_some());
    }
    assert_eq!(reads(), 2);
    let absent: Vec<Vec<u8>> = (0..500u64)
        .map(|n| key::encode(&[&n.to_be_bytes()[..], b"?"].concat(), seek_trailer(SeqNo::MAX)))
        .collect();
    for lookup in &absent {
        assert_eq!(get(&table, lookup).expect("sound"), None);
    }
    assert!(counters.filter_useful.get() > 480);
    assert_eq!(counters.filter_useful.get() + counters.filter_false_positives.get(), 500);
    assert_eq!(counters.table_lookups.get(), 504);
}

#[test]
fn reading_ahead_into_a_bad_place_does_not_hurt_the_blocks_before_it() {
    let (entries, file, _, _, _) = large_table();
    let limit = 700_000;
    // Fails for data only: the blocks at the end are read through another file.
    let sound = Arc::new(MemFile::from_bytes(&file.bytes()));
    let table = Table::open(
        sound,
        NUMBER,
        NAME.to_owned(),
        Arc::new(BlockCache::new(0)),
        Arc::new(Counters::default()),
    );
    let mut table = table.expect("own table opens");
    let failing = MemFile { fail_reads_behind: limit, ..MemFile::from_bytes(&file.bytes()) };
    table.file =
        crate::sstable::table_file::TableFile::new(Arc::new(failing), NUMBER, NAME.to_owned())
            .expect("length is known");
    let table = Arc::new(table);
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
        let whole_blocks = (0..table.index.blocks())
            .take_while(|&position| table.index.handle(position).end() <= limit)
            .count();
        let mut first_lost = table.iter(ReadPurpose::Compaction);
        let last_separator = table.index.key(whole_blocks - 1).to_vec();
        first_lost.seek_for_prev(&last_separator).expect("sound");
        assert_eq!(here(&first_lost), entries[count - 1]);
    }
}
