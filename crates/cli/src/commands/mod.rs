//! The commands, one file each: a struct of arguments and a `run`.

mod compact;
mod delete;
mod demo;
mod dump;
mod explain;
mod get;
mod history;
mod ingest;
mod put;
mod repair;
mod report;
mod scan;
mod stats;
mod verify;
mod watch;

use std::ffi::OsStr;
use std::io::Write;

use alluvium_events::EventStore;
use clap::Subcommand;

use crate::failure::Failure;
use crate::output::bytes::FormArgs;
use crate::store::{StoreArgs, options};

/// What the program can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read click logs into a store (makes the store where there is none)
    Ingest(ingest::IngestArgs),
    /// Count what is in the events: per hour, users, paths, status codes, sessions
    Report(report::ReportArgs),
    /// Print one visitor's events in the order of time
    History(history::HistoryArgs),
    /// Make a click stream, ingest it, and report on it and on the engine
    Demo(demo::DemoArgs),
    /// Store one value (makes the store, and the column family, where there is none)
    #[command(after_long_help = FORMS)]
    Put(put::PutArgs),
    /// Print one value (exit code 1 where there is none)
    #[command(after_long_help = FORMS)]
    Get(get::GetArgs),
    /// Delete one key
    #[command(after_long_help = FORMS)]
    Delete(delete::DeleteArgs),
    /// Print keys and values in order: key, tab, value, one entry a line
    #[command(after_long_help = FORMS)]
    Scan(scan::ScanArgs),
    /// Print the level table and the figures of a store, or watch them while another has it open
    Stats(stats::StatsArgs),
    /// Tell why the last flushes, compactions and stalls of a store happened
    Explain(explain::ExplainArgs),
    /// Merge every level into the deepest one (makes the store where there is none)
    Compact(compact::CompactArgs),
    /// Read every byte of a store and name each damaged place
    Verify(verify::VerifyArgs),
    /// Write what a damaged store still holds to a new one (exit code 3 where something is gone)
    Repair(repair::RepairArgs),
    /// Print what stands in one file of a store
    Dump(dump::DumpArgs),
}

impl Command {
    /// Runs the command; results go to `out`.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Command::Ingest(args) => ingest::run(args, out),
            Command::Report(args) => report::run(args, out),
            Command::History(args) => history::run(args, out),
            Command::Demo(args) => demo::run(args, out),
            Command::Put(args) => put::run(args),
            Command::Get(args) => get::run(args, out),
            Command::Delete(args) => delete::run(args),
            Command::Scan(args) => scan::run(args, out),
            Command::Stats(args) => stats::run(args, out),
            Command::Explain(args) => explain::run(args, out),
            Command::Compact(args) => compact::run(args, out),
            Command::Verify(args) => verify::run(args, out),
            Command::Repair(args) => repair::run(args, out),
            Command::Dump(args) => dump::run(args, out),
        }
    }
}

/// How keys and values are written, for the long help.
const FORMS: &str = "\
Keys and values:
  as arguments  text, byte for byte; with --escaped the escapes below are understood;
                with --hex two hexadecimal digits a byte
  in the output printable text as it is; tab, newline, return and backslash as \\t \\n \\r \\\\;
                every other byte as \\xNN; so one entry is one line. With --hex, hexadecimal";

/// The bytes that the argument `name` stands for.
fn parse(form: FormArgs, name: &str, argument: &OsStr) -> Result<Vec<u8>, Failure> {
    form.form().parse(argument).map_err(|reason| Failure::Usage(format!("{name}: {reason}")))
}

/// Opens a store that must have events in it.
fn open_events(store: &StoreArgs) -> Result<EventStore, Failure> {
    Ok(EventStore::open(&store.directory, false, options())?)
}
