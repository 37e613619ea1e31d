//! `alluvium verify`: reads every byte of a store that carries meaning, and names the damaged ones.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;
use crate::output::numbers::{bytes, counted};
use crate::store::{Missing, StoreArgs};

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints a line for each damaged place, and fails when there is one.
pub fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let db = args.store.open(Missing::Refuse)?;
    let report = db.verify()?;
    for damage in &report.damages {
        writeln!(out, "{damage}")?;
    }
    let read = format!("{} in {}", bytes(report.bytes), counted(report.files, "file"));
    db.close()?;
    if report.damages.is_empty() {
        writeln!(out, "no damage: {read}")?;
        return Ok(());
    }
    let places = counted(report.damages.len() as u64, "damaged place");
    Err(Failure::Failed(format!("{places}, {read} read")))
}
