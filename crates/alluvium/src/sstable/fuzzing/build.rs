//! Tables that were written, then damaged: every answer is right, or an error.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::{self, SeqNo, ValueKind, pack_trailer};
use crate::env::BytesFile;
use crate::sstable::fuzzing::table::{
    NUMBER, USER, check_searches, damages, lookup, open, read, seal_table, walk,
};
use crate::sstable::fuzzing::{CODECS, NAME, PREFIXES, Pair, neighbours};
use crate::sstable::iter::ReadPurpose;
use crate::sstable::{TableOptions, TableWriter, ZstdOptions};

/// Most entries of a table.
const ENTRIES_MAX: usize = 200;

/// Writes a table as `bytes` say, reads it, damages it as they say and reads it again, as it is and
/// sealed.
///
/// # Panics
/// When a table that was written does not hold what was written, or a damaged one gives anything
/// else without an error.
pub fn build(bytes: &[u8]) {
    let Some((&[blocks, restarts, codec, filter, entries], rest)) = bytes.split_first_chunk()
    else {
        return;
    };
    let options = TableOptions {
        block_bytes: 1 + 2 * usize::from(blocks),
        restart_interval: 1 + usize::from(restarts % 20),
        codec: CODECS[usize::from(codec) % CODECS.len()],
        filter_bits_per_key: f64::from(filter % 33),
        prefix_extractor: PREFIXES[usize::from(filter) % PREFIXES.len()],
        // So small that the few blocks of a test are enough to train from.
        zstd: ZstdOptions { dictionary_bytes: 1 << 10, ..ZstdOptions::default() },
        ..TableOptions::default()
    };
    let count = usize::from(entries).min(ENTRIES_MAX);
    let (pairs, damage) = make_pairs(rest, count);
    if pairs.is_empty() {
        return;
    }
    let file = write(&pairs, options);
    check_sound(&file, &pairs);
    let mut damaged = file.clone();
    let mut changed = false;
    for change in damage.chunks_exact(3).take(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % damaged.len();
        changed |= damaged[at] != change[2];
        damaged[at] = change[2];
    }
    if changed && damaged != file {
        check_damaged(damaged.clone(), &pairs);
        seal_table(&mut damaged, NUMBER);
        read(damaged);
    }
}

/// Entries in order from bytes, and the bytes that are left.
fn make_pairs(bytes: &[u8], count: usize) -> (Vec<Pair>, &[u8]) {
    let mut entries: BTreeMap<(Vec<u8>, Reverse<u64>), Vec<u8>> = BTreeMap::new();
    let mut user_key: Vec<u8> = Vec::new();
    let mut rest = bytes;
    for _ in 0..count {
        let Some((&[shape, seq, value_bytes], behind)) = rest.split_first_chunk() else { break };
        // The front of the key before, and some bytes more.
        user_key.truncate(usize::from(shape >> 4));
        let more = usize::from(shape & 7).min(behind.len());
        user_key.extend_from_slice(&behind[..more]);
        rest = &behind[more..];
        let kind = if shape & 8 == 0 { ValueKind::Put } else { ValueKind::Delete };
        let trailer = pack_trailer(SeqNo::new(u64::from(seq)), kind);
        let value = match kind {
            ValueKind::Put => vec![seq; usize::from(value_bytes)],
            _ => Vec::new(),
        };
        entries.insert((user_key.clone(), Reverse(trailer)), value);
    }
    let encode = |((user_key, Reverse(trailer)), value): ((Vec<u8>, Reverse<u64>), Vec<u8>)| {
        let mut encoded = Vec::new();
        key::encode_into(&mut encoded, &user_key, trailer);
        (encoded, value)
    };
    (entries.into_iter().map(encode).collect(), rest)
}

fn write(pairs: &[Pair], options: TableOptions) -> Vec<u8> {
    let file = Arc::new(BytesFile::default());
    let number = FileNumber(NUMBER);
    let mut writer = TableWriter::new(file.clone(), number, NAME.to_owned(), options);
    for (internal_key, value) in pairs {
        let added = writer.add(internal_key, value);
        assert!(added.is_ok(), "an entry in order is refused: {added:?}");
    }
    let Ok(summary) = writer.finish() else { panic!("a file in memory fails") };
    let bytes = file.take();
    assert_eq!(summary.bytes, bytes.len() as u64, "the summary has another length");
    assert_eq!(summary.entries, pairs.len() as u64, "the summary counts other entries");
    bytes
}

/// A table that was just written holds what was written.
fn check_sound(file: &[u8], pairs: &[Pair]) {
    let table = match open(file.to_vec()) {
        Ok(table) => table,
        Err(error) => panic!("own table is refused: {error}"),
    };
    assert_eq!(damages(&table).len(), 0, "own table is found damaged");
    for (purpose, forwards) in [(USER, true), (USER, false), (ReadPurpose::Compaction, true)] {
        let (mut found, error) = walk(&table, purpose, forwards);
        assert!(error.is_none(), "own table cannot be read: {error:?}");
        if !forwards {
            found.reverse();
        }
        assert_eq!(found, pairs, "own table holds something else");
    }
    let step = pairs.len().div_ceil(16);
    let targets: Vec<Vec<u8>> =
        pairs.iter().step_by(step).flat_map(|(key, _)| neighbours(key)).collect();
    check_searches(&table, pairs, &targets);
}

/// A table with damaged bytes gives right answers up to an error, and `verify` finds the damage.
fn check_damaged(file: Vec<u8>, pairs: &[Pair]) {
    let Ok(table) = open(file) else { return };
    assert!(!damages(&table).is_empty(), "verify overlooks the damage");
    let (forwards, _) = walk(&table, USER, true);
    assert!(pairs.starts_with(&forwards), "a damaged table gives other entries");
    let (mut backwards, _) = walk(&table, USER, false);
    backwards.reverse();
    assert!(pairs.ends_with(&backwards), "a damaged table gives other entries backwards");
    for (internal_key, value) in pairs.iter().take(32) {
        if let Ok(found) = lookup(&table, internal_key) {
            let expected = Some((key::trailer(internal_key), value.clone()));
            assert_eq!(found, expected, "a damaged table gives another value");
        }
    }
}
