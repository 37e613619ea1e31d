//! `alluvium get`: prints one value.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;

use super::parse;
use crate::failure::Failure;
use crate::output::bytes::{FormArgs, escaped};
use crate::store::{FamilyArgs, Missing};

/// The arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    form: FormArgs,
    /// Print the value's bytes exactly as stored, with no newline behind them
    #[arg(long)]
    raw: bool,
    /// The key
    key: OsString,
}

/// Prints the value; fails when the key has none.
pub fn run(args: &GetArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let key = parse(args.form, "KEY", &args.key)?;
    let (db, family) = args.family.open(Missing::Refuse, Missing::Refuse)?;
    let found = family.get(&key)?;
    match &found {
        None => {
            let key = escaped(&key);
            return Err(Failure::Failed(format!("there is no value under the key {key}")));
        }
        Some(value) if args.raw => out.write_all(value)?,
        Some(value) => {
            let mut line = String::new();
            args.form.form().print(&mut line, value);
            writeln!(out, "{line}")?;
        }
    }
    Ok(db.close()?)
}
