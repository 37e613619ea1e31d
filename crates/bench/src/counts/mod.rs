//! Workloads that count instead of timing: what filters spare, and what codecs make of data.
//!
//! They need no other engine, no rounds and no quiet machine: the same command gives the same
//! counts again. Each prints one table in Markdown; the figures stand in `docs/filters.md`.

mod codecs;
mod filters;

use std::path::PathBuf;

use alluvium::{ColumnFamilyOptions, Db, Durability, Options, WriteBatch};

use crate::Result;
use crate::settings::Command;

/// The names, and what they count.
pub const ALL: [(&str, &str); 2] = [
    ("filters", "data blocks that lookups of absent keys read, by filter policy"),
    ("codecs", "bytes of tables that hold the lines of standard input, by codec and block size"),
];

/// Runs the count that is called `name`; `None` when there is none.
pub fn run(command: &Command, dir: PathBuf) -> Option<Result<()>> {
    match command.name.as_str() {
        "filters" => Some(filters::run(&command.settings, dir)),
        "codecs" => Some(codecs::run(&command.settings, dir)),
        _ => None,
    }
}

/// Writes entries into a new store in `dir`, and lets its background come to rest.
fn fill<'a>(
    dir: &std::path::Path,
    family: ColumnFamilyOptions,
    entries: impl Iterator<Item = (&'a [u8], Vec<u8>)>,
) -> Result<Db> {
    // The writer compacts by itself: the tree is the same every time.
    let options = Options {
        durability: Durability::Buffered,
        background_threads: 0,
        column_family: family,
        ..Options::default()
    };
    let db = Db::open(dir, options)?;
    let mut batch = WriteBatch::new();
    for (number, (value, key)) in entries.enumerate() {
        batch.put(key, value);
        if number % 100 == 99 {
            db.write(std::mem::take(&mut batch))?;
        }
    }
    db.write(batch)?;
    db.flush()?;
    db.wait_idle()?;
    Ok(db)
}
