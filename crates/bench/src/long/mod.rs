//! Long runs of one engine in this process, second by second: what a table of medians hides.
//!
//! `sustained` overwrites at full speed and looks for pauses; `memory` mixes operations over more
//! data than memory and looks at the resident set; `plot` draws what they recorded, several engines
//! in one picture. Each run leaves a CSV file, a line a second, and a picture beside it.

mod memory;
mod plot;
mod series;
mod sustained;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::Result;
use crate::settings::{CodecName, DurabilityName, Settings};

/// The names by which the command line asks for a long run.
pub const NAMES: &[&str] = &["sustained", "memory", "plot"];

/// The command line of the long runs.
#[derive(Debug, Parser)]
#[command(name = "alluvium-bench", about = "Long runs of one engine, second by second")]
pub struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Overwrite random keys at full speed in batches of 100 to 1000, after loading every key once
    Sustained(Common),
    /// Gets, scans and writes over more data than memory; the resident set every 100 ms
    Memory(Memory),
    /// Draw recorded runs
    Plot(Plot),
}

#[derive(Debug, Args)]
struct Common {
    /// The engine
    #[arg(long, default_value = "alluvium", value_name = "NAME")]
    engine: String,

    /// How long the measured phase lasts
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
    seconds: f64,

    /// Keys that are loaded, and then overwritten
    #[arg(long, default_value_t = 5_000_000, value_name = "COUNT")]
    keys: u64,

    /// Bytes of a value
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    value_bytes: usize,

    /// The block cache, MiB
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    cache_mib: u64,

    /// One memtable, MiB
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    memtable_mib: u64,

    /// The seed of every random draw
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,

    /// Where the store is made, in a directory of its own that is removed afterwards [default:
    /// beside the executable]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Where the CSV file goes; the picture beside it
    #[arg(long, default_value = "run.csv", value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Memory {
    /// What is the same for both.
    #[command(flatten)]
    common: Common,

    /// The limit that is held against the resident set, MiB
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    limit_mib: u64,
}

#[derive(Debug, Args)]
struct Plot {
    /// CSV files of `sustained`
    #[arg(required = true, value_name = "FILES")]
    runs: Vec<PathBuf>,

    /// The picture
    #[arg(long, default_value = "run.svg", value_name = "FILE")]
    out: PathBuf,
}

impl Common {
    fn settings(&self, memory_limit_mib: Option<u64>) -> Settings {
        Settings {
            keys: self.keys,
            reads: None,
            threads: 1,
            seconds: self.seconds,
            value_bytes: self.value_bytes,
            durability: DurabilityName::Os,
            codec: CodecName::None,
            cache_mib: self.cache_mib,
            memtable_mib: self.memtable_mib,
            touch_mib: None,
            seed: self.seed,
            stats: false,
            memory_limit_mib,
        }
    }

    /// A directory for one store.
    fn store_dir(&self) -> Result<tempfile::TempDir> {
        let root = self.dir.clone().map_or_else(crate::parent::default_dir, Ok)?;
        std::fs::create_dir_all(&root)?;
        Ok(tempfile::Builder::new().prefix(&format!("{}-", self.engine)).tempdir_in(&root)?)
    }
}

/// Runs what the command line asks for.
pub fn main() -> Result<()> {
    match Command::parse().what {
        What::Sustained(common) => sustained::run(&common),
        What::Memory(memory) => memory::run(&memory),
        What::Plot(Plot { runs, out }) => {
            let runs: Result<Vec<_>> = runs.iter().map(|path| series::Series::read(path)).collect();
            plot::sustained(&runs?, &out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_names_are_known() {
        use clap::CommandFactory;
        let command = Command::command();
        command.clone().debug_assert();
        let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(known, NAMES);
    }

    #[test]
    fn short_runs_leave_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let common = |out: &str| Common {
            engine: "alluvium".to_owned(),
            seconds: 1.2,
            keys: 20_000,
            value_bytes: 100,
            cache_mib: 8,
            memtable_mib: 1,
            seed: 1,
            dir: Some(dir.path().to_owned()),
            out: dir.path().join(out),
        };
        sustained::run(&common("s.csv")).unwrap();
        let series = series::Series::read(&dir.path().join("s.csv")).unwrap();
        assert!(!series.seconds.is_empty() && series.seconds[0].operations > 0);
        assert!(std::fs::read_to_string(dir.path().join("s.svg")).unwrap().contains("</svg>"));
        memory::run(&Memory { common: common("m.csv"), limit_mib: 64 }).unwrap();
        assert!(std::fs::read_to_string(dir.path().join("m.csv")).unwrap().lines().count() > 5);
    }
}
