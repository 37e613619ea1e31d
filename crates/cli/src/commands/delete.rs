//! `alluvium delete`: removes one key.

use std::ffi::OsString;

use clap::Args;

use super::parse;
use crate::failure::Failure;
use crate::output::bytes::FormArgs;
use crate::store::{FamilyArgs, Missing};

/// The arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    form: FormArgs,
    /// The key
    key: OsString,
}

/// Deletes the key, on disk before it returns. A key without a value is deleted too: the engine
/// writes a tombstone without looking.
pub fn run(args: &DeleteArgs) -> Result<(), Failure> {
    let key = parse(args.form, "KEY", &args.key)?;
    let (db, family) = args.family.open(Missing::Refuse, Missing::Refuse)?;
    family.delete(&key)?;
    Ok(db.close()?)
}
