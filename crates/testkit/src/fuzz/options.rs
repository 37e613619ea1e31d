//! Bytes as options: refused with a sentence, or a store that works.

use std::sync::Arc;

use alluvium::env::MemEnv;
use alluvium::{
    Codec, ColumnFamilyOptions, Db, Durability, Error, FilterPolicy, Options, PerLevel,
    PrefixExtractor, ZstdOptions,
};

use crate::configs::Config;
use crate::fuzz::input::Input;
use crate::fuzz::script::operations;
use crate::runner::run_model;

/// Sizes at which something may turn; below a mebibyte, and beyond all reason.
const SIZES: [u64; 24] = [
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    63,
    64,
    255,
    1 << 10,
    (1 << 10) - 1,
    4 << 10,
    64 << 10,
    (1 << 20) - 1,
    1 << 20,
    256 << 20,
    (288 << 20) + 1,
    1 << 32,
    16 << 30,
    (16 << 30) + 1,
    1 << 62,
    u64::MAX - 1,
    u64::MAX,
];

/// Opens a store with the options that `bytes` stand for and does what is left of them.
///
/// # Panics
///
/// When the options are refused with anything but a sentence on options, or answers differ.
pub(super) fn options(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let options = any_options(&mut input);
    let run = operations(&mut input);
    match Db::open_env(Arc::new(MemEnv::new()), options.clone()) {
        Err(Error::InvalidArgument { detail }) => {
            let about = detail.starts_with("options:") || detail.starts_with("a column family");
            assert!(about, "{detail}");
            return;
        }
        Err(Error::StoreMissing { .. }) if !options.create_if_missing => return,
        Err(error) => panic!("{options:?}: {error}"),
        Ok(db) => drop(db),
    }
    let config = Config { name: "from bytes", options };
    if let Err(text) = run_model(Arc::new(MemEnv::new()), &config, &run) {
        panic!("{:?}\n{run:?}\n{text}", config.options);
    }
}

fn any_options(input: &mut Input<'_>) -> Options {
    let mut options = Options {
        create_if_missing: input.below(16) != 15,
        durability: [Durability::Disk, Durability::Os, Durability::Buffered][input.below(3)],
        column_family: any_family(input),
        background_threads: 0,
        ..Options::default()
    };
    let changed = input.byte();
    let set = |bit: u8| changed & 1 << bit != 0;
    if set(0) {
        options.block_cache_bytes = size(input) as usize;
    }
    if set(1) {
        options.open_tables_max = size(input) as usize;
    }
    if set(2) {
        options.wal_bytes_max = size(input);
    }
    if set(3) {
        options.background_threads = [1, 2, 65, usize::MAX][input.below(4)];
    }
    if set(4) {
        let name = String::from_utf8_lossy(input.bytes(3)).into_owned();
        options.column_families = vec![(name, any_family(input))];
    }
    if set(5) {
        options.column_families.push(("beta".to_owned(), any_family(input)));
    }
    options
}

fn any_family(input: &mut Input<'_>) -> ColumnFamilyOptions {
    let mut family = ColumnFamilyOptions::default();
    let changed = input.word();
    let set = |bit: u16| changed & 1 << bit != 0;
    let sizes: [(u16, &mut usize); 7] = [
        (0, &mut family.memtable_bytes),
        (1, &mut family.memtables_max),
        (2, &mut family.block_bytes),
        (3, &mut family.restart_interval),
        (4, &mut family.level0_tables_compact),
        (5, &mut family.level0_tables_slowdown),
        (6, &mut family.level0_tables_stop),
    ];
    for (bit, option) in sizes {
        if set(bit) {
            *option = size(input) as usize;
        }
    }
    if set(7) {
        family.table_bytes = size(input);
    }
    if set(8) {
        family.level1_bytes = size(input);
    }
    if set(9) {
        family.level_ratio = size(input) as u32;
    }
    if set(10) {
        let (kind, size) = (input.below(4), size(input));
        let bits_per_key = size as f64 / 8.0;
        family.filter = match kind {
            0 => FilterPolicy::None,
            1 => FilterPolicy::Uniform { bits_per_key },
            2 => FilterPolicy::Monkey { bits_per_key },
            _ => FilterPolicy::MonkeyBytes { bytes: size },
        };
    }
    if set(11) {
        let codecs = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Snappy, Codec::ZstdDictionary];
        let count = input.below(10);
        let chosen: Vec<Codec> = (0..count).map(|_| codecs[input.below(5)]).collect();
        family.codecs = PerLevel::new(chosen);
        family.bottom_codec = codecs.get(input.below(6)).copied();
    }
    if set(12) {
        let number = size(input);
        family.prefix_extractor = Some(match input.below(2) {
            0 => PrefixExtractor::Fixed(number as u32),
            _ => PrefixExtractor::UpToByte(number as u8),
        });
    }
    if set(13) {
        family.zstd = ZstdOptions {
            level: i32::from(input.byte()) - 100,
            dictionary_bytes: size(input) as u32,
        };
    }
    family
}

/// A size from the list, or a small one.
fn size(input: &mut Input<'_>) -> u64 {
    let byte = input.byte();
    match SIZES.get(usize::from(byte)) {
        Some(size) => *size,
        None => u64::from(byte) << (byte % 6),
    }
}
