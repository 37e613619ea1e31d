//! `alluvium stats`: prints the level table and the figures of a store, once or all the time.
//!
//! A store is held by one process. Where another has it open, or when one has had it open
//! (`--last`), the figures are those that it wrote to the store's file `STATUS`; so they are for
//! `--watch`, which never opens a store.

use std::io::Write;

use alluvium::{Db, Error, Options, Stats, Status};
use clap::Args;

use super::watch;
use crate::failure::Failure;
use crate::output::time::instant;
use crate::store::{PlaceArgs, options};

/// The arguments of `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    #[command(flatten)]
    store: PlaceArgs,
    /// Print the levels of this column family only
    #[arg(long = "cf", value_name = "NAME")]
    family: Option<String>,
    /// Print every figure in Prometheus' text format
    #[arg(long)]
    prometheus: bool,
    /// Do not open the store: print what the process that has or had it open wrote last
    #[arg(long)]
    last: bool,
    /// Show the store that another process has open, anew each second, until Ctrl-C or its close
    #[arg(long, conflicts_with_all = ["prometheus", "last", "family"])]
    watch: bool,
    /// With --watch: end after so many looks
    #[arg(long, value_name = "N", requires = "watch")]
    frames: Option<u64>,
}

/// Prints the statistics. Sizes describe the store; rates and counts begin when it is opened.
pub fn run(args: &StatsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    if args.watch {
        return watch::run(args.store.directory(), args.frames, out);
    }
    if args.last {
        return print_status(args, &status_of(&args.store)?, out);
    }
    let options = Options { create_if_missing: false, ..options() };
    let db = match Db::open(args.store.directory(), options) {
        Err(locked @ Error::Locked { .. }) => {
            let status = alluvium::status(args.store.directory())?;
            let status = status.ok_or_else(|| Failure::Failed(locked.to_string()))?;
            return print_status(args, &status, out);
        }
        opened => opened?,
    };
    print(args, db.stats(), out)?;
    Ok(db.close()?)
}

/// The file `STATUS` of a store that must have one.
pub fn status_of(store: &PlaceArgs) -> Result<Status, Failure> {
    let directory = store.directory();
    alluvium::status(directory)?.ok_or_else(|| {
        Failure::Failed(format!(
            "{} has no file STATUS: no process that had the store open was asked to write one \
             (Options::status_interval)",
            directory.display()
        ))
    })
}

/// When a status was written, and in which state.
pub fn written(status: &Status) -> String {
    let when = instant(i64::try_from(status.written_unix_ms).unwrap_or(i64::MAX));
    let state = if status.is_open { "open" } else { "closed" };
    format!("{state}, written {when} UTC")
}

fn print_status(args: &StatsArgs, status: &Status, out: &mut dyn Write) -> Result<(), Failure> {
    if !args.prometheus {
        writeln!(out, "as of its file STATUS: {}", written(status))?;
    }
    print(args, status.stats.clone(), out)
}

fn print(args: &StatsArgs, mut stats: Stats, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(name) = &args.family {
        stats.families.retain(|family| family.name == *name);
        if stats.families.is_empty() {
            return Err(Error::ColumnFamilyMissing { name: name.clone() }.into());
        }
    }
    if args.prometheus {
        out.write_all(stats.to_prometheus().as_bytes())?;
    } else {
        write!(out, "{stats}")?;
    }
    Ok(())
}
