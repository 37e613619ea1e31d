//! Inputs to begin with: parts of a small store, cut out of its files.

use alluvium::env::FileId;
use alluvium::fuzzing::{seal_log, tables, versions};

use crate::fuzz::store::{self, files};

/// The number that the targets read a log as.
const LOG_NUMBER: u64 = 7;

/// Files of one kind, by their bytes.
fn of_kind(wanted: fn(&FileId) -> bool) -> Vec<Vec<u8>> {
    files().into_iter().filter(|(file, _)| wanted(file)).map(|(_, bytes)| bytes).collect()
}

pub(super) fn logs() -> Vec<Vec<u8>> {
    let mut logs = of_kind(|file| matches!(file, FileId::Wal(_)));
    logs.iter_mut().for_each(|log| seal_log(log, LOG_NUMBER));
    logs.push(Vec::new());
    logs
}

pub(super) fn manifests() -> Vec<Vec<u8>> {
    let mut manifests = of_kind(|file| matches!(file, FileId::Manifest(_)));
    manifests.iter_mut().for_each(|manifest| seal_log(manifest, versions::MANIFEST_NUMBER));
    manifests
}

/// The payloads of a log's frames.
fn payloads(logs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for log in logs {
        let mut rest = log.get(48..).unwrap_or_default();
        while let Some(length) = rest.get(16..20).and_then(|word| word.first_chunk::<4>()) {
            let end = 20 + u32::from_le_bytes(*length) as usize;
            let Some(payload) = rest.get(20..end) else { break };
            payloads.push(payload.to_vec());
            rest = &rest[end..];
        }
    }
    payloads
}

pub(super) fn batches() -> Vec<Vec<u8>> {
    payloads(&logs())
}

pub(super) fn edits() -> Vec<Vec<u8>> {
    payloads(&manifests())
}

pub(super) fn edit_lists() -> Vec<Vec<u8>> {
    let behind_length = |edit: &Vec<u8>| [&(edit.len() as u16).to_le_bytes()[..], edit].concat();
    vec![edits().iter().flat_map(behind_length).collect()]
}

pub(super) fn current() -> Vec<Vec<u8>> {
    of_kind(|file| matches!(file, FileId::Current))
}

pub(super) fn tables() -> Vec<Vec<u8>> {
    let mut tables = of_kind(|file| matches!(file, FileId::Table(_)));
    tables.iter_mut().for_each(|table| tables::seal_table(table, tables::NUMBER));
    tables
}

pub(super) fn footers() -> Vec<Vec<u8>> {
    let footer = |table: &Vec<u8>| {
        let (blocks, footer) = table.split_at(table.len() - 96);
        [&(blocks.len() as u32).to_le_bytes()[..], footer].concat()
    };
    tables().iter().map(footer).collect()
}

/// Offset and length of the block that the footer names in this place.
fn handle(table: &[u8], place: usize) -> (usize, usize) {
    let word = |at: usize| {
        let bytes = table[table.len() - 96 + at..].first_chunk::<8>();
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)) as usize
    };
    (word(16 * place), word(16 * place + 8))
}

/// The block that the footer of each table names in this place.
fn named_blocks(place: usize) -> Vec<Vec<u8>> {
    let block = |table: &Vec<u8>| {
        let (offset, length) = handle(table, place);
        table[offset..offset + length].to_vec()
    };
    tables().iter().map(block).collect()
}

pub(super) fn indexes() -> Vec<Vec<u8>> {
    let index = |table: &Vec<u8>| {
        let (offset, length) = handle(table, 0);
        let (data_end, _) = handle(table, 1);
        [&(data_end as u64).to_le_bytes()[..], &table[offset..offset + length]].concat()
    };
    tables().iter().map(index).collect()
}

pub(super) fn filters() -> Vec<Vec<u8>> {
    named_blocks(1)
}

pub(super) fn properties() -> Vec<Vec<u8>> {
    named_blocks(3)
}

/// The first data block of each table, where all data are one block.
pub(super) fn blocks() -> Vec<Vec<u8>> {
    let block = |table: &Vec<u8>| table[..handle(table, 1).0.saturating_sub(9)].to_vec();
    tables().iter().map(block).collect()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let mut frames = named_blocks(0);
    // A length, then a frame of Zstd, of Snappy, of LZ4: each says "abc" or a run of one byte.
    frames.push(b"\x03\x28\xb5\x2f\xfd\x20\x03\x19\x00\x00abc".to_vec());
    frames.push(b"\x03\x03\x08abc".to_vec());
    frames.push(b"\x03\x30abc".to_vec());
    frames.push(b"\x40\x1fa\x01\x00\x28\x50aaaaa".to_vec());
    frames
}

pub(super) fn texts() -> Vec<Vec<u8>> {
    vec![
        b"a value, a value, and again a value".to_vec(),
        vec![0; 300],
        (0..=255).collect(),
        blocks().concat(),
    ]
}

/// A few bytes, for targets that make what they need from any.
pub(super) fn small() -> Vec<Vec<u8>> {
    let run = |step: u8| (0..200u8).map(|n| n.wrapping_mul(step)).collect();
    vec![b"\x05\x01\x02\x08\x14seed of a few bytes".to_vec(), run(1), run(7), run(83), run(201)]
}

pub(super) fn sources() -> Vec<Vec<u8>> {
    let combined = concat!(
        r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 2023 "-" "a \" b""#,
        "\n",
        r#"10.0.0.2 - u [17/May/2015:10:05:04 -0130] "POST /c HTTP/1.0" 404 -"#,
        "\n",
    );
    let json = concat!(
        r#"{"time":1431857100,"user":{"id":7},"path":"/\u00e4","status":200}"#,
        "\n",
        r#"{"ts":"2015-05-17T10:05:03.5Z","a":{"b":"x"},"url":"/","bytes":-3}"#,
        "\n",
    );
    let csv = "time,user,path,bytes\n2015-05-17,\"a \"\"b\"\"\",\"/x\ny\",12\n1431857100000,c,/,\n";
    let tsv = "date\tip\turl\tmethod\n2015-05-17 10:05:03 UTC\t::1\t/\tGET\n";
    let texts = [(1, combined), (2, combined), (3, json), (4, csv), (5, tsv), (0, json), (0, csv)];
    let source = |&(format, text): &(u8, &str)| [&[format, 0x2f][..], text.as_bytes()].concat();
    let guessed = |&(format, text): &(u8, &str)| [&[format, 0][..], text.as_bytes()].concat();
    texts.iter().map(source).chain(texts.iter().map(guessed)).collect()
}

pub(super) fn times() -> Vec<Vec<u8>> {
    [
        "2015-05-17T10:05:03.123+01:30",
        "1431857100.5",
        "17/May/2015:10:05:03 +0000",
        "2015-05-17 UTC",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

pub(super) fn store_logs() -> Vec<Vec<u8>> {
    store::seed_of(store::wal_file())
}

pub(super) fn store_manifests() -> Vec<Vec<u8>> {
    store::seed_of(store::manifest_file())
}

pub(super) fn store_tables() -> Vec<Vec<u8>> {
    store::seed_of(store::table_file())
}
