//! `alluvium report`: what is in the events of a range of time.

use std::io::Write;

use alluvium_events::{ReportOptions, parse_time_argument};
use clap::Args;

use super::open_events;
use crate::failure::Failure;
use crate::output::report;
use crate::store::StoreArgs;

/// The arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Count events from this time on: ISO 8601, Unix seconds or milliseconds
    #[arg(long, value_name = "TIME", value_parser = parse_time_argument)]
    from: Option<i64>,
    /// Count events before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time_argument)]
    to: Option<i64>,
    /// Length of the lists of users and paths
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the report.
pub fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let store = open_events(&args.store)?;
    let options = ReportOptions { from: args.from, to: args.to, top: args.top };
    let found = store.report(&options)?;
    if args.json {
        writeln!(out, "{}", found.to_json())?;
    } else {
        out.write_all(report::text(&found).as_bytes())?;
    }
    Ok(store.close()?)
}
