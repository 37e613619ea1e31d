//! `alluvium demo`: a made click stream, ingested and reported, to see what the engine does.
//!
//! The rate printed is the sustained one: its clock stops when background work has caught up with
//! what was written, not when the last event was handed over.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use alluvium::{Codec, Db, Options, PerLevel};
use alluvium_events::{EventStore, ReportOptions};
use clap::Args;

use crate::failure::Failure;
use crate::output::numbers::{counted, duration, rate};
use crate::output::report;
use crate::progress::{Bar, Position};
use crate::scratch;
use crate::store::writing_options;

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many events to make
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    events: u64,
    /// Keep the store in this directory; without it, a temporary one is removed at the end
    #[arg(long = "db", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Another number makes another stream
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Makes, ingests, settles, reports.
pub fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let temporary = if args.directory.is_none() { Some(scratch::directory()?) } else { None };
    let directory = match (&args.directory, &temporary) {
        (Some(directory), _) => directory.as_path(),
        (None, Some(temporary)) => temporary.path(),
        (None, None) => return Err(Failure::Usage("--db is missing".to_owned())),
    };
    let store = EventStore::open(directory, true, uncompressed())?;
    let began = Instant::now();
    let events = ingest(&store, args)?;
    let handed_over = began.elapsed();
    settle(store.db())?;
    let settled = began.elapsed();

    writeln!(
        out,
        "{} ingested in {}: {} events/s\nand settled in {}: {} events/s sustained\n",
        counted(events, "event"),
        duration(handed_over),
        rate(events, handed_over),
        duration(settled),
        rate(events, settled),
    )?;
    let found = store.report(&ReportOptions::default())?;
    out.write_all(report::text(&found).as_bytes())?;
    write!(out, "\n{}", store.db().stats())?;
    Ok(store.close()?)
}

/// The options of a store that keeps everything as it is: LZ4 would save a third of the disk for a
/// fifth of the rate.
fn uncompressed() -> Options {
    let mut options = writing_options();
    let named = options.column_families.iter_mut().map(|(_, family)| family);
    for family in named.chain([&mut options.column_family]) {
        family.codecs = PerLevel::all(Codec::None);
    }
    options
}

/// Hands every event over that is not there already, under a progress bar. How many that were.
fn ingest(store: &EventStore, args: &DemoArgs) -> Result<u64, Failure> {
    let mut bar = Bar::new("ingesting");
    let summary = store.ingest_generated(args.events, args.seed, &mut |progress| {
        bar.events(Position {
            done: progress.events,
            total: Some(args.events),
            events: progress.events,
        });
    })?;
    Ok(summary.events)
}

/// Waits until what was written is in tables and the levels are in shape.
fn settle(db: &Db) -> Result<(), Failure> {
    let bar = Bar::new("");
    bar.waiting("waiting for compaction to catch up");
    db.flush()?;
    Ok(db.wait_idle()?)
}
