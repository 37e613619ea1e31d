//! `alluvium repair`: writes what a damaged store still holds to a new one.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The damaged store's directory; it is not changed
    store: PathBuf,
    /// The new store's directory; it must be empty, or not be there
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

/// Prints what is gone and what was given back; exit code 3 when anything is gone.
pub fn run(args: &RepairArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let report = alluvium::repair(&args.store, &args.into)?;
    write!(out, "{report}")?;
    if report.is_complete() {
        writeln!(out, "everything was given back: {}", args.into.display())?;
        return Ok(());
    }
    writeln!(out, "not everything could be given back: {}", args.into.display())?;
    Err(Failure::Incomplete)
}
