//! Edits as bytes, and bytes as edits.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::base::blob::BlobShare;
use crate::base::coding::put_varint;
use crate::base::limits::KEY_BYTES_MAX;

fn any_table() -> impl Strategy<Value = Arc<TableMeta>> {
    let seqs = (0..1000u64, 0..1000u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let keys = (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(0u8.., 0..20));
    let counts = (any::<u64>(), any::<u64>(), 1..u64::MAX);
    (1..1u64 << 50, keys, seqs, counts, any_ends()).prop_map(
        |(number, (a, b), seqs, (bytes, footer_checksum, entries), ends)| {
            let (smallest, largest) = if a < b { (a, b) } else { (b, a) };
            let facts = facts(number, (&smallest, &largest), seqs);
            let (run, oldest, expiring, times) = ends;
            let shares = (1..=bytes % 3).map(|file| BlobShare {
                file: FileNumber(file * number),
                values: 1 + bytes % 2,
                bytes: bytes >> 40,
            });
            let facts = TableFacts {
                bytes,
                footer_checksum,
                entries,
                tombstones: entries / 3,
                range_tombstones: bytes / 2,
                oldest_tombstone: if oldest { facts.smallest_seq } else { SeqNo::ZERO },
                filter_bytes: bytes / 8,
                run: FileNumber(run),
                blobs: if entries > 100 { shares.collect() } else { Vec::new() },
                expiry: expiring.map(|(first_ms, last_ms)| Expiry { entries, first_ms, last_ms }),
                times: times.map(|(first_ms, last_ms)| EventTimes {
                    first_ms,
                    last_ms,
                    source: entries % 3 + 1,
                }),
                ..facts
            };
            Arc::new(TableMeta::new(facts).unwrap())
        },
    )
}

/// A run, whether there is an oldest tombstone, expiry times, event times.
fn any_ends() -> impl Strategy<Value = (u64, bool, Option<(u64, u64)>, Option<(u64, u64)>)> {
    let ordered = || (any::<u64>(), any::<u64>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let expiring = prop::option::of(ordered());
    (0..1u64 << 50, any::<bool>(), expiring, prop::option::of(ordered()))
}

fn any_edit() -> impl Strategy<Value = VersionEdit> {
    let id = || any::<u32>().prop_map(ColumnFamilyId);
    let number = || (0..1u64 << 55).prop_map(FileNumber);
    let place = || (id(), 0..LEVELS);
    (
        (
            prop::option::of(number()),
            prop::option::of((0..1u64 << 56).prop_map(SeqNo::new)),
            prop::option::of(id()),
            any::<bool>(),
            prop::collection::vec((0..1u64 << 56, any::<u64>()), 0..3),
        ),
        prop::collection::vec((id(), "\\PC{0,20}"), 0..3),
        prop::collection::vec(id(), 0..3),
        prop::collection::vec((id(), number()), 0..3),
        prop::collection::vec((place(), number()), 0..3),
        prop::collection::vec((place(), any_table()), 0..3),
        prop::collection::vec((number(), any::<u64>()), 0..3),
    )
        .prop_map(|(numbers, created, dropped, logs, deleted, added, blobs)| VersionEdit {
            blobs: blobs.into_iter().map(|(n, bytes)| Arc::new(BlobMeta::new(n, bytes))).collect(),
            next_file_number: numbers.0,
            last_sequence: numbers.1,
            next_family: numbers.2,
            more_follows: numbers.3,
            time_marks: numbers
                .4
                .into_iter()
                .map(|(seq, ms)| TimeMark { seq: SeqNo::new(seq), ms })
                .collect(),
            created,
            dropped,
            logs,
            deleted: deleted
                .into_iter()
                .map(|((family, level), number)| DeletedTable { family, level, number })
                .collect(),
            added: added
                .into_iter()
                .map(|((family, level), table)| AddedTable { family, level, table })
                .collect(),
        })
}

/// Everything that an edit says, to compare two of them.
fn content(edit: &VersionEdit) -> String {
    format!("{edit:?}")
}

proptest! {
    #[test]
    fn an_edit_reads_back_as_it_was(edit in any_edit()) {
        let bytes = edit.encode();
        let decoded = VersionEdit::decode(&bytes, "manifest", 0).unwrap();
        prop_assert_eq!(content(&decoded), content(&edit));
        prop_assert_eq!(decoded.encode(), bytes);
    }

    #[test]
    fn an_edit_in_parts_is_the_edit(edit in any_edit(), part_bytes in 1usize..200) {
        let edit = VersionEdit { more_follows: false, ..edit };
        let mut whole = VersionEdit::default();
        let mut last = true;
        edit.visit_parts(part_bytes, |part| {
            let part = VersionEdit::decode(part, "manifest", 0).unwrap();
            last = !part.more_follows;
            whole.next_file_number = whole.next_file_number.or(part.next_file_number);
            whole.last_sequence = whole.last_sequence.or(part.last_sequence);
            whole.next_family = whole.next_family.or(part.next_family);
            whole.time_marks.extend(part.time_marks);
            whole.created.extend(part.created);
            whole.dropped.extend(part.dropped);
            whole.logs.extend(part.logs);
            whole.deleted.extend(part.deleted);
            whole.added.extend(part.added);
            whole.blobs.extend(part.blobs);
        });
        prop_assert!(last);
        prop_assert_eq!(content(&whole), content(&edit));
    }

    #[test]
    fn any_bytes_are_an_edit_or_damage(bytes: Vec<u8>, tag in 0u8..12) {
        for bytes in [bytes.clone(), [&[tag], &bytes[..]].concat()] {
            if let Err(error) = VersionEdit::decode(&bytes, "manifest", 500) {
                match error {
                    Error::Corruption { file, offset, .. } => {
                        prop_assert_eq!(file, "manifest");
                        prop_assert!((500..=500 + bytes.len() as u64).contains(&offset));
                    }
                    other => prop_assert!(false, "{}", other),
                }
            }
        }
    }

    /// A cut edit is refused, or is one of the edits that end at a field: never another content.
    #[test]
    fn a_cut_edit_is_a_prefix_or_damage(edit in any_edit(), cut: prop::sample::Index) {
        let bytes = edit.encode();
        let cut = cut.index(bytes.len() + 1);
        if let Ok(part) = VersionEdit::decode(&bytes[..cut], "manifest", 0) {
            prop_assert_eq!(part.encode(), &bytes[..cut]);
        }
    }
}

#[test]
fn a_counter_stands_in_an_edit_once_and_nothing_behind_more_follows() {
    let once = VersionEdit { next_file_number: Some(FileNumber(4)), ..VersionEdit::default() };
    let bytes = [once.encode(), once.encode()].concat();
    let error = VersionEdit::decode(&bytes, "manifest", 100).unwrap_err();
    assert_eq!(error.to_string(), "manifest is damaged at byte 102: a second field of tag 1");

    let more = VersionEdit { more_follows: true, ..VersionEdit::default() };
    let bytes = [more.encode(), once.encode()].concat();
    assert!(VersionEdit::decode(&bytes, "manifest", 0).unwrap_err().is_corruption());
}

#[test]
fn fields_out_of_range_are_refused() {
    let mut cases: Vec<Vec<u64>> = vec![
        vec![1, 1 << 55],          // next file number
        vec![2, 1 << 56],          // last sequence number
        vec![8, 1 << 32],          // next column family id
        vec![5, 0, 1 << 56],       // log of a family
        vec![7, 0, 7, 1],          // level of a deleted table
        vec![6, 0, 7],             // level of an added table
        vec![10],                  // no such tag
        vec![u64::from(u32::MAX)], // no such tag
    ];
    cases.push(vec![3, 1, KEY_BYTES_MAX as u64]);
    for case in cases {
        let mut bytes = Vec::new();
        for &value in &case {
            put_varint(&mut bytes, value);
        }
        let error = VersionEdit::decode(&bytes, "manifest", 0).unwrap_err();
        assert!(error.is_corruption(), "{case:?}: {error}");
    }
}

/// fjall-rs/fjall#68: text from disk that is not text.
#[test]
fn reg_w25_a_name_that_is_no_text_is_damage() {
    let bytes = [3, 1, 2, 0xff, 0xfe];
    assert!(VersionEdit::decode(&bytes, "manifest", 0).unwrap_err().is_corruption());
}

#[test]
fn facts_that_contradict_each_other_are_no_table() {
    let good = facts(3, (b"b", b"d"), (5, 8));
    assert!(TableMeta::new(good.clone()).is_ok());
    let changes: [fn(&mut TableFacts); 10] = [
        |facts| facts.number = FileNumber(0),
        |facts| facts.entries = 0,
        |facts| facts.tombstones = 11,
        |facts| facts.smallest_seq = SeqNo::new(9),
        |facts| facts.smallest = b"short".to_vec(),
        |facts| facts.smallest = internal_key(b"e", 8),
        |facts| facts.smallest = internal_key(b"d", 4),
        |facts| facts.largest = internal_key(b"d", 9),
        |facts| facts.largest = internal_key(&vec![b'x'; KEY_BYTES_MAX + 1], 5),
        |facts| facts.largest = encode(b"d", 5 << 8 | 3),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        let error = TableMeta::new(bad).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "change {index}");
    }
}

#[test]
fn an_edit_reads_well() {
    let mut edit = VersionEdit {
        next_file_number: Some(FileNumber(12)),
        last_sequence: Some(SeqNo::new(99)),
        next_family: Some(ColumnFamilyId(3)),
        created: vec![(ColumnFamilyId(2), "a \"name\"".to_owned())],
        dropped: vec![ColumnFamilyId(1)],
        logs: vec![(ColumnFamilyId(2), FileNumber(7))],
        ..VersionEdit::default()
    };
    edit.mark(SeqNo::ZERO, Some(1));
    edit.mark(SeqNo::new(98), None);
    edit.mark(SeqNo::new(98), Some(1_700_000_000_000));
    edit.delete(DEFAULT, 0, FileNumber(5));
    edit.add(DEFAULT, 1, table(5, "a\n", &"long".repeat(40)));
    expect![[r#"
        next file number: 12
        last sequence number: 99
        next column family: 3
        time mark: 98 written by 1700000000000 ms
        create column family: 2 "a \"name\""
        drop column family: 1
        log of column family: 2: 000007
        delete table: 000005 of column family 0 level 0
        add table: 000005 to column family 0 level 1: 1005 bytes,
        10 entries,
        1 tombstones,
        "a\n"@59 put
        to "longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglong"+96 bytes@50 put,
        sequence numbers 50 to 59,
        footer 05b05b05b05b05ab
    "#]]
    .assert_eq(&edit.to_string().replace(", ", ",\n").replace(" to \"", "\nto \""));
}
