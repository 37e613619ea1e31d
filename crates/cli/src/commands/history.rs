//! `alluvium history`: one visitor's events in the order of time.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::open_events;
use crate::failure::Failure;
use crate::output::bytes::escaped;
use crate::output::numbers::grouped;
use crate::output::table::{Column, Lines};
use crate::output::time::instant;
use crate::store::StoreArgs;

/// The arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The visitor
    user: String,
    /// Print this many events at most, the earliest first
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print a JSON array, one event a line
    #[arg(long)]
    json: bool,
}

/// Prints the events; fails when the visitor has none.
pub fn run(args: &HistoryArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let store = open_events(&args.store)?;
    let events = store.history(&args.user, args.limit)?;
    store.close()?;
    if events.is_empty() && args.limit != Some(0) {
        let user = escaped(args.user.as_bytes());
        return Err(Failure::Failed(format!("there are no events of {user}")));
    }
    Ok(())
}
