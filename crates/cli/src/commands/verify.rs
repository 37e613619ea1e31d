//! `alluvium verify`: reads every byte of a store that carries meaning, and names the damaged ones.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;
use crate::output::numbers::{bytes, counted, grouped};
use crate::store::StoreArgs;

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints a line for each damaged place, and fails when there is one. The store is neither opened
/// nor changed.
pub fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let report = alluvium::verify(&args.store.directory)?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    for damage in &report.damages {
        writeln!(out, "{damage}")?;
    }
    let read = format!(
        "{}, {} entries, {} read",
        counted(report.files, "file"),
        grouped(report.entries),
        bytes(report.bytes),
    );
    if report.damages.is_empty() {
        writeln!(out, "no damage: {read}")?;
        return Ok(());
    }
    let places = counted(report.damages.len() as u64, "damaged place");
    Err(Failure::Failed(format!("{places} in {read}")))
}
