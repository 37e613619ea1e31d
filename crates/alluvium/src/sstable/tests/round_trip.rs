//! A table against a sorted list: every way of reading gives what was written.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::base::key::{seek_trailer, trailer_kind};
use crate::batch::ColumnFamilyId;
use crate::filter::PrefixExtractor;
use crate::sstable::ZstdOptions;

/// Keys from a small alphabet: equal ones, prefixes of each other, empty ones and 0xff are common.
fn user_key() -> impl Strategy<Value = Vec<u8>> {
    let short = vec(prop::sample::select(vec![0u8, b'a', b'b', b'c', 0xff]), 0..5);
    let long = (0u32..40).prop_map(|n| format!("a long common front/{n:04}").into_bytes());
    prop_oneof![short, long]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let value = prop_oneof![Just(None), vec(any::<u8>(), 0..12).prop_map(Some), {
        (any::<u8>(), 0usize..400).prop_map(|(byte, count)| Some(vec![byte; count]))
    }];
    btree_map((user_key(), 0u64..6), value, 1..120).prop_map(|map| {
        let mut entries: Vec<Entry> = map
            .into_iter()
            .map(|((user_key, seq), value)| match value {
                Some(value) => put(&user_key, seq, &value),
                None => delete(&user_key, seq),
            })
            .collect();
        entries.sort_by(|a, b| key::compare(&a.0, &b.0));
        entries
    })
}

fn options() -> impl Strategy<Value = TableOptions> {
    let blocks = prop::sample::select(vec![1usize, 40, 100, 300, 4096]);
    let restarts = prop::sample::select(vec![1usize, 2, 3, 16, 1000]);
    let filter = prop::sample::select(vec![0.0, 0.4, 1.0, 10.0]);
    let codec = prop::sample::select(CODECS.to_vec());
    let prefix = prop::sample::select(vec![
        None,
        Some(PrefixExtractor::Fixed(2)),
        Some(PrefixExtractor::UpToByte(1)),
    ]);
    let all = (blocks, restarts, filter, codec, prefix);
    all.prop_map(|(block_bytes, restart_interval, bits, codec, prefix_extractor)| TableOptions {
        block_bytes,
        restart_interval,
        codec,
        zstd: ZstdOptions { level: 1, dictionary_bytes: 1 << 10 },
        filter_bits_per_key: bits,
        prefix_extractor,
        column_family: ColumnFamilyId(3),
        ..TableOptions::default()
    })
}

#[derive(Debug, Clone)]
enum Move {
    First,
    Last,
    Seek(Vec<u8>),
    SeekForPrev(Vec<u8>),
    Next,
    Prev,
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    (user_key(), 0u64..7)
        .prop_map(|(user_key, seq)| key::encode(&user_key, seek_trailer(SeqNo::new(seq))))
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        4 => target().prop_map(Move::Seek),
        4 => target().prop_map(Move::SeekForPrev),
        10 => Just(Move::Next),
        10 => Just(Move::Prev),
    ];
    vec(one, 1..60)
}

/// Where a move leads in the list; `None` is off either end, where no step may follow.
fn model_move(entries: &[Entry], at: Option<usize>, step: &Move) -> Option<usize> {
    let first_at_or_behind =
        |target: &[u8]| entries.partition_point(|(key, _)| key::compare(key, target).is_lt());
    let found = match step {
        Move::First => Some(0),
        Move::Last => entries.len().checked_sub(1),
        Move::Seek(target) => Some(first_at_or_behind(target)),
        Move::SeekForPrev(target) => {
            entries.partition_point(|(key, _)| key::compare(key, target).is_le()).checked_sub(1)
        }
        Move::Next => at.map(|at| at + 1),
        Move::Prev => at.and_then(|at| at.checked_sub(1)),
    };
    found.filter(|&at| at < entries.len())
}

fn real_move(iter: &mut TableIterator, step: &Move) -> Result<()> {
    match step {
        Move::First => iter.seek_to_first(),
        Move::Last => iter.seek_to_last(),
        Move::Seek(target) => iter.seek(target),
        Move::SeekForPrev(target) => iter.seek_for_prev(target),
        Move::Next => iter.next(),
        Move::Prev => iter.prev(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_is_read_in_both_directions(entries in entries(), options in options()) {
        let table = table_of(&entries, options);
        for purpose in [USER, ReadPurpose::User { fill_cache: false }, ReadPurpose::Compaction] {
            let (forwards, backwards) = read_both_ways(&table, purpose).expect("sound");
            prop_assert_eq!(&forwards, &entries);
            prop_assert_eq!(&backwards, &entries);
        }
        prop_assert_eq!(damages(&table).len(), 0, "{:?}", damages(&table));
    }

    #[test]
    fn point_lookups_find_the_newest_visible_entry(
        entries in entries(),
        options in options(),
        targets in vec(target(), 1..40),
    ) {
        let table = table_of(&entries, options);
        let own = entries.iter().map(|(key, _)| key.clone());
        for target in own.chain(targets) {
            let expected = entries
                .iter()
                .find(|(key, _)| key::compare(key, &target).is_ge())
                .filter(|(key, _)| key::user_key(key) == key::user_key(&target))
                .map(|(found, value)| (key::trailer(found), value.clone()));
            prop_assert_eq!(get(&table, &target).expect("sound"), expected);
        }
    }

    #[test]
    fn a_cursor_moves_as_in_a_sorted_list(
        entries in entries(),
        options in options(),
        moves in moves(),
        purpose in prop::sample::select(vec![USER, ReadPurpose::Compaction]),
    ) {
        let table = table_of(&entries, options);
        let mut iter = table.iter(purpose);
        let mut at = None;
        for step in &moves {
            if at.is_none() && matches!(step, Move::Next | Move::Prev) {
                continue;
            }
            real_move(&mut iter, step).expect("sound");
            at = model_move(&entries, at, step);
            prop_assert_eq!(iter.valid(), at.is_some(), "after {:?}", step);
            if let Some(at) = at {
                prop_assert_eq!(&here(&iter), &entries[at], "after {:?}", step);
            }
        }
    }

    #[test]
    fn properties_and_summary_say_what_was_written(entries in entries(), options in options()) {
        let (file, summary) = write_table(&entries, options.clone());
        let table = open(&file.bytes()).expect("own table opens");
        let properties = table.properties();
        let seqs = || entries.iter().map(|(key, _)| key::trailer_seq(key::trailer(key)));
        let tombstones = entries
            .iter()
            .filter(|(key, _)| trailer_kind(key::trailer(key)) == Some(ValueKind::Delete))
            .count();
        prop_assert_eq!(properties.entries, entries.len() as u64);
        prop_assert_eq!(properties.tombstones, tombstones as u64);
        prop_assert_eq!(Some(properties.smallest_seq), seqs().min());
        prop_assert_eq!(Some(properties.largest_seq), seqs().max());
        prop_assert_eq!(Some(&properties.smallest), entries.first().map(|(key, _)| key));
        prop_assert_eq!(Some(&properties.largest), entries.last().map(|(key, _)| key));
        prop_assert_eq!(properties.column_family, options.column_family);
        prop_assert_eq!(properties.codec, options.codec);
        prop_assert_eq!(summary.entries, properties.entries);
        prop_assert_eq!(summary.tombstones, properties.tombstones);
        prop_assert_eq!(&summary.smallest, &properties.smallest);
        prop_assert_eq!(&summary.largest, &properties.largest);
        prop_assert_eq!(summary.bytes, file.bytes().len() as u64);
        prop_assert_eq!(summary.footer_checksum, table.footer_checksum());
        let mut sound = 0;
        sound += table.verify(&mut |error| panic!("{error}"));
        prop_assert_eq!(sound, summary.bytes);
    }
}
