//! Tables byte for byte: what is on disk stays readable, and is written as it was.

use std::fmt::Write;

use expect_test::expect_file;

use super::dictionary::events;
use super::*;
use crate::filter::PrefixExtractor;
use crate::sstable::format::BlockHandle;

/// Two blocks, two versions of a key, a tombstone, an empty key, a value that compresses.
fn entries() -> Vec<Entry> {
    vec![
        put(b"", 7, b"the empty key"),
        put(b"page:/about", 12, b"2026-03-01"),
        delete(b"page:/about", 11),
        put(b"page:/about", 3, b"2025-12-24"),
        put(b"page:/index", 5, &b"0123456789".repeat(12)),
        put(b"user:000017", 9, b"first"),
        put(b"user:000018", 10, b""),
    ]
}

fn options(codec: Codec) -> TableOptions {
    TableOptions { block_bytes: 140, restart_interval: 2, codec, ..TableOptions::default() }
}

fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        write!(out, "{:04x} ", line * 16).expect("memory does not fail");
        for byte in chunk {
            write!(out, " {byte:02x}").expect("memory does not fail");
        }
        let text: String = chunk
            .iter()
            .map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' })
            .collect();
        writeln!(out, "{:pad$}  {text}", "", pad = 3 * (16 - chunk.len()))
            .expect("memory does not fail");
    }
    out
}

fn undump(text: &str) -> Vec<u8> {
    text.lines()
        .flat_map(|line| line.get(5..53).unwrap_or_default().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect()
}

#[test]
fn a_table_is_written_byte_for_byte_as_it_was() {
    let (file, _) = write_table(&entries(), options(Codec::None));
    expect_file!["../../../tests/golden/table_none.hex"].assert_eq(&dump(&file.bytes()));
}

/// What a codec makes of a block may change with its library; what it made before must stay
/// readable. So these files are never rewritten.
#[test]
fn tables_of_every_codec_are_read_as_they_were_written_once() {
    for (codec, text) in [
        (Codec::None, include_str!("../../../tests/golden/table_none.hex")),
        (Codec::Lz4, include_str!("../../../tests/golden/table_lz4.hex")),
        (Codec::Zstd, include_str!("../../../tests/golden/table_zstd.hex")),
        (Codec::Snappy, include_str!("../../../tests/golden/table_snappy.hex")),
    ] {
        let bytes = undump(text);
        let table = open(&bytes).expect("golden table opens");
        assert_eq!(table.properties().codec, codec);
        let (forwards, backwards) = read_both_ways(&table, USER).expect("sound");
        assert_eq!(forwards, entries(), "{codec:?}");
        assert_eq!(backwards, entries(), "{codec:?}");
        assert!(damages(&table).is_empty(), "{codec:?}");
        let compressed =
            bytes.len() < undump(include_str!("../../../tests/golden/table_none.hex")).len();
        assert_eq!(compressed, codec != Codec::None);
    }
}
/// A dictionary stands between the data and the filter, its length in the footer.
#[test]
fn a_table_with_a_dictionary_is_read_as_it_was_written_once() {
    let bytes = undump(include_str!("../../../tests/golden/table_dictionary.hex"));
    let table = open(&bytes).expect("golden table opens");
    assert_eq!(table.properties().codec, Codec::ZstdDictionary);
    assert_eq!(table.properties().prefix_extractor, Some(PrefixExtractor::UpToByte(b':')));
    assert_eq!(table.footer.dictionary, BlockHandle { offset: 4026, length: 432 });
    let (forwards, _) = read_both_ways(&table, USER).expect("sound");
    assert_eq!(forwards, events(100));
    assert!(damages(&table).is_empty());
}
