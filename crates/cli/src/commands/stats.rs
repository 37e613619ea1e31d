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
    /// Print the levels of this column family only
    #[arg(long = "cf", value_name = "NAME")]
    family: Option<String>,
}

/// Prints the statistics. Sizes describe the store; rates and counts begin when it is opened.
pub fn run(args: &StatsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let db = args.store.open(Missing::Refuse)?;
    let mut stats = db.stats();
    if let Some(name) = &args.family {
        db.column_family(name)?;
        stats.families.retain(|family| family.name == *name);
    }
    write!(out, "{stats}")?;
    Ok(db.close()?)
}
