//! The lines of standard input as values, under each codec and at some block sizes.

use std::io::Read;
use std::path::PathBuf;

use alluvium::{Codec, ColumnFamilyOptions, PerLevel, ZstdOptions};

use crate::Result;
use crate::settings::Settings;

/// A codec, Zstd's level, and the bytes of a dictionary.
const CODECS: [(&str, Codec, i32, u32); 9] = [
    ("none", Codec::None, 3, 16 << 10),
    ("LZ4", Codec::Lz4, 3, 16 << 10),
    ("Snappy", Codec::Snappy, 3, 16 << 10),
    ("Zstd 3", Codec::Zstd, 3, 16 << 10),
    ("Zstd 9", Codec::Zstd, 9, 16 << 10),
    ("Zstd 3, dictionary of 4 KiB", Codec::ZstdDictionary, 3, 4 << 10),
    ("Zstd 3, dictionary of 16 KiB", Codec::ZstdDictionary, 3, 16 << 10),
    ("Zstd 3, dictionary of 64 KiB", Codec::ZstdDictionary, 3, 64 << 10),
    ("Zstd 9, dictionary of 16 KiB", Codec::ZstdDictionary, 9, 16 << 10),
];

pub fn run(settings: &Settings, dir: PathBuf) -> Result<()> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()).collect();
    println!("{} lines, {} bytes\n", lines.len(), text.len());
    println!("| codec | blocks of 4 KiB | of none | blocks of 16 KiB | of none |");
    println!("|---|---:|---:|---:|---:|");
    let mut none = [0; 2];
    for (index, (name, codec, level, dictionary_bytes)) in CODECS.into_iter().enumerate() {
        let zstd = ZstdOptions { level, dictionary_bytes };
        let small = measure(settings, &dir, &lines, codec, zstd, 4 << 10)?;
        let large = measure(settings, &dir, &lines, codec, zstd, 16 << 10)?;
        if index == 0 {
            none = [small, large];
        }
        let share = |bytes: u64, of: u64| 100.0 * bytes as f64 / of as f64;
        println!(
            "| {name} | {small} | {:.1} % | {large} | {:.1} % |",
            share(small, none[0]),
            share(large, none[1]),
        );
    }
    Ok(())
}

/// Bytes of the tables.
fn measure(
    settings: &Settings,
    dir: &PathBuf,
    lines: &[&[u8]],
    codec: Codec,
    zstd: ZstdOptions,
    block_bytes: usize,
) -> Result<u64> {
    let family = ColumnFamilyOptions {
        memtable_bytes: settings.memtable_bytes() as usize,
        block_bytes,
        codecs: PerLevel::all(codec),
        zstd,
        ..ColumnFamilyOptions::default()
    };
    let dir = tempfile::Builder::new().prefix("codecs-").tempdir_in(dir)?;
    let entries = lines.iter().zip(0u64..);
    let entries = entries.map(|(line, number)| (*line, number.to_be_bytes().to_vec()));
    let db = super::fill(dir.path(), family, entries)?;
    Ok(db.stats().table_bytes())
}
