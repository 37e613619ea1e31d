//! `alluvium put`: stores one value.

use std::ffi::OsString;

use clap::Args;

use super::parse;
use crate::failure::Failure;
use crate::output::bytes::FormArgs;
use crate::store::{FamilyArgs, Missing};

/// The arguments of `put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    form: FormArgs,
    /// The key
    key: OsString,
    /// The value
    value: OsString,
}

/// Stores the value, on disk before it returns.
pub fn run(args: &PutArgs) -> Result<(), Failure> {
    let key = parse(args.form, "KEY", &args.key)?;
    let value = parse(args.form, "VALUE", &args.value)?;
    let (db, family) = args.family.open(Missing::Create, Missing::Create)?;
    family.put(&key, &value)?;
    Ok(db.close()?)
}
