//! `alluvium stats`: prints the level table and the figures of a store.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;
use crate::store::{Missing, StoreArgs};

/// The arguments of `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints the statistics. Sizes describe the store; rates and counts begin when it is opened.
pub fn run(args: &StatsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let db = args.store.open(Missing::Refuse)?;
    writeln!(out, "{}", db.stats())?;
    Ok(db.close()?)
}
