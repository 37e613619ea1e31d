//! What the command line says, and what a child is told.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "alluvium-bench", about = "Measures Alluvium, and other engines beside it")]
pub struct Command {
    /// Workloads with commas between; `all`; `versus` (the four that are held against the peers);
    /// `targets` (those with a target, as a table of what was wanted); `list`;
    /// `filters` and `codecs`, which count; or `sustained`, `memory`, `plot` and `space`, which
    /// have a command line of their own
    pub name: String,

    /// The engines, which take turns [default: every engine that was built in]. Where values are
    /// large, an engine's own setup for those comes along
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub engines: Vec<String>,

    /// How often each engine runs each workload
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub rounds: u32,

    /// Print the tables as Markdown
    #[arg(long)]
    pub markdown: bool,

    /// Append every single measurement to this file, a line of JSON each. Several runs may share
    /// it, such as one a workload
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Measure nothing: report what `--json` has left in these files
    #[arg(long, value_delimiter = ',', value_name = "FILES")]
    pub from: Vec<PathBuf>,

    /// Draw latencies and processor time as bars, into this directory
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,

    /// Where the stores are made, each in a directory of its own that is removed afterwards
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// What every child is told.
    #[command(flatten)]
    pub settings: Settings,
}

/// What is the same for all engines of a run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
pub struct Settings {
    /// Keys that are written, or loaded before a read workload
    #[arg(long, default_value_t = 2_000_000, value_name = "COUNT")]
    pub keys: u64,

    /// Timed operations of a read workload [default: as many as keep it near five seconds]
    #[arg(long, value_name = "COUNT")]
    pub reads: Option<u64>,

    /// Threads that do a read or a fill workload's operations between them
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub threads: u32,

    /// How long `readwhilewriting` runs
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub seconds: f64,

    /// Bytes of a value
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub value_bytes: usize,

    /// What a write has survived when it returns
    #[arg(long, value_enum, default_value_t = DurabilityName::Os)]
    pub durability: DurabilityName,

    /// How blocks are compressed, on every level alike
    #[arg(long, value_enum, default_value_t = CodecName::None)]
    pub codec: CodecName,

    /// The block cache, MiB
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    pub cache_mib: u64,

    /// One memtable, MiB
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub memtable_mib: u64,

    /// Memory to touch before a timed phase, MiB [default: from the bytes that are written]
    #[arg(long, value_name = "MIB")]
    pub touch_mib: Option<u64>,

    /// The seed of every random draw
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,

    /// Let each child print its engine's own statistics to standard error
    #[arg(long)]
    pub stats: bool,

    /// All memory that the engine may take, where it has such a limit, MiB
    #[arg(long, value_name = "MIB")]
    pub memory_limit_mib: Option<u64>,
}

/// What a write has survived when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityName {
    /// Nothing: it may still be in the memory of the process.
    Buffered,
    /// The end of the process: the operating system has the bytes.
    Os,
    /// The end of power: the device has the bytes.
    Disk,
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    /// Not at all.
    None,
    /// LZ4, where an engine has it.
    Lz4,
}

impl Settings {
    /// The bytes of one entry as its writer sees them.
    pub fn entry_bytes(&self) -> u64 {
        (size_of::<crate::keys::Key>() + self.value_bytes) as u64
    }

    /// The bytes of all entries, when every key is there.
    pub fn live_bytes(&self) -> u64 {
        self.keys * self.entry_bytes()
    }

    /// The cache in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.cache_mib << 20
    }

    /// One memtable in bytes.
    pub fn memtable_bytes(&self) -> u64 {
        self.memtable_mib << 20
    }

    /// The settings of a test: small, and without the long warming up.
    #[cfg(test)]
    pub fn small(keys: u64) -> Settings {
        Settings {
            keys,
            reads: Some(keys),
            threads: 1,
            seconds: 0.05,
            value_bytes: 100,
            durability: DurabilityName::Os,
            codec: CodecName::None,
            cache_mib: 8,
            memtable_mib: 1,
            touch_mib: Some(0),
            seed: 1,
            stats: false,
            memory_limit_mib: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }

    #[test]
    fn settings_survive_the_way_to_a_child() {
        let settings = Settings { threads: 3, reads: None, ..Settings::small(5) };
        let sent = serde_json::to_string(&settings).unwrap();
        let got: Settings = serde_json::from_str(&sent).unwrap();
        assert_eq!(settings, got);
    }
}
