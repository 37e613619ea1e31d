//! The same data under each filter policy, with the same memory for the filters.
//!
//! A small memtable and small levels make three levels and more of a few hundred megabytes, or as
//! many tiers. Keys
//! are written in random order, and those that are looked up lie between them (`keys`).

use std::path::{Path, PathBuf};

use alluvium::{Codec, ColumnFamilyOptions, FilterPolicy, PerLevel, Strategy};

use crate::Result;
use crate::keys::{Permutation, Values, key_of, missing_key_of};
use crate::settings::Settings;

/// What one policy cost and spared.
struct Row {
    name: String,
    filter_bytes: u64,
    blocks: u64,
    lookups: u64,
    useful: f64,
    levels: String,
}

pub fn run(settings: &Settings, dir: PathBuf) -> Result<()> {
    let strategies = [
        ("Leveled, ratio 4", Strategy::Leveled),
        ("Lazy leveling, ratio 4", Strategy::LazyLeveling { ratio: 4 }),
        ("Tiered, ratio 4", Strategy::Tiered { ratio: 4 }),
    ];
    for (name, strategy) in strategies {
        println!("\n{name}:\n");
        compare(settings, &dir, strategy)?;
    }
    Ok(())
}

fn compare(settings: &Settings, dir: &Path, strategy: Strategy) -> Result<()> {
    let mut policies = vec![("none".to_owned(), FilterPolicy::None)];
    for bits_per_key in [2.0, 5.0, 10.0] {
        let uniform = FilterPolicy::Uniform { bits_per_key };
        policies.push((format!("uniform, {bits_per_key} bits"), uniform));
        let monkey = FilterPolicy::Monkey { bits_per_key };
        policies.push((format!("Monkey, {bits_per_key} bits"), monkey));
    }
    let bytes = settings.keys * 5 / 8;
    policies.push((format!("Monkey, {bytes} bytes"), FilterPolicy::MonkeyBytes { bytes }));
    println!(
        "| filters | memory | blocks read a lookup | of uniform | useful | \
         entries and bits a key by level |"
    );
    println!("|---|---:|---:|---:|---:|---|");
    let mut uniform = 0.0;
    for (name, policy) in policies {
        let row = measure(settings, dir, name, (policy, strategy))?;
        let blocks = row.blocks as f64 / row.lookups as f64;
        if matches!(policy, FilterPolicy::Uniform { .. }) {
            uniform = blocks;
        }
        let share = if matches!(policy, FilterPolicy::Monkey { .. }) {
            format!("{:.0} %", 100.0 * blocks / uniform)
        } else {
            String::new()
        };
        println!(
            "| {} | {:.2} MiB | {blocks:.4} | {share} | {:.2} % | {} |",
            row.name,
            row.filter_bytes as f64 / f64::from(1 << 20),
            100.0 * row.useful,
            row.levels,
        );
    }
    Ok(())
}

fn measure(
    settings: &Settings,
    dir: &Path,
    name: String,
    (filter, strategy): (FilterPolicy, Strategy),
) -> Result<Row> {
    let family = ColumnFamilyOptions {
        memtable_bytes: 2 << 20,
        table_bytes: 2 << 20,
        level1_bytes: 4 << 20,
        level_ratio: 4,
        codecs: PerLevel::all(Codec::None),
        filter,
        strategy,
        ..ColumnFamilyOptions::default()
    };
    let dir = tempfile::Builder::new().prefix("filters-").tempdir_in(dir)?;
    let order = Permutation::new(settings.keys, settings.seed);
    let mut values = Values::new(settings.value_bytes, settings.seed);
    let mut value = Vec::new();
    values.append(0, &mut value);
    let entries = (0..settings.keys).map(|at| (&value[..], key_of(order.at(at)).to_vec()));
    let db = super::fill(dir.path(), family, entries)?;
    let blocks = || {
        let stats = db.stats();
        stats.counter("cache_hits") + stats.counter("cache_misses")
    };
    let (before, lookups) = (blocks(), settings.reads.unwrap_or(settings.keys / 2));
    for number in 0..lookups {
        if db.get(missing_key_of(order.at(number % settings.keys)))?.is_some() {
            return Err("an absent key was found".into());
        }
    }
    let stats = db.stats();
    let levels = &stats.families[0].levels;
    let filter_bytes = levels.iter().map(|level| level.filter_bytes).sum();
    let levels = levels.iter().enumerate().filter(|(_, level)| level.tables > 0);
    let levels: Vec<String> = levels
        .map(|(index, level)| {
            let bits = level.filter_bytes as f64 * 8.0 / level.entries.max(1) as f64;
            format!("L{index} {} at {bits:.1}", level.entries)
        })
        .collect();
    let useful = stats.filter_usefulness();
    Ok(Row {
        name,
        filter_bytes,
        blocks: blocks() - before,
        lookups,
        useful,
        levels: levels.join(", "),
    })
}
