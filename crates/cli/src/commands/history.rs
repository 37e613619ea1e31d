//! `alluvium history`: one visitor's events in the order of time.
//!
//! Printed as they are read: a visitor may have millions.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use alluvium_events::Event;
use clap::Args;

use super::open_events;
use crate::failure::Failure;
use crate::output::bytes::escaped;
use crate::output::time::instant;
use crate::store::StoreArgs;

/// The arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The visitor
    user: OsString,
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
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut events = 0_u64;
    for event in store.events_of(args.user.as_bytes()).take(limit) {
        let event = event?;
        if args.json {
            let before = if events == 0 { "[" } else { ",\n " };
            write!(out, "{before}{}", event.to_json())?;
        } else {
            write_line(out, &event)?;
        }
        events += 1;
    }
    if args.json {
        writeln!(out, "{}]", if events == 0 { "[" } else { "" })?;
    }
    store.close()?;
    if events == 0 && args.limit != Some(0) {
        let user = escaped(args.user.as_bytes());
        return Err(Failure::Failed(format!("there are no events of {user}")));
    }
    Ok(())
}

/// Time, status, bytes and path, in columns that fit all but the strangest events.
fn write_line(out: &mut dyn Write, event: &Event) -> Result<(), Failure> {
    let status = event.status.as_deref().map_or("-".to_owned(), escaped);
    let bytes = event.bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
    let (time, path) = (instant(event.time_ms), escaped(&event.path));
    writeln!(out, "{time:<23}  {status:>3}  {bytes:>10}  {path}")?;
    Ok(())
}
