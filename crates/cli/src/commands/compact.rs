//! `alluvium compact`: merges every level of a store into the deepest one.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;
use crate::store::{Missing, StoreArgs};

/// The arguments of `compact`.
#[derive(Debug, Args)]
pub struct CompactArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Compact this column family only
    #[arg(long = "cf", value_name = "NAME")]
    family: Option<String>,
}

/// Compacts, and prints the level table it leaves.
pub fn run(args: &CompactArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let db = args.store.open(Missing::Create)?;
    match &args.family {
        Some(name) => db.column_family(name)?.compact()?,
        None => db.compact()?,
    }
    write!(out, "{}", db.stats())?;
    Ok(db.close()?)
}
