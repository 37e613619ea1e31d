//! The flags that name a store, and opening it.
//!
//! Only commands that write new data make a store where there is none (`ingest`, `demo`, `put`,
//! `compact`): a mistyped directory must not turn into an empty store with an empty answer.

use std::path::PathBuf;

use alluvium::{ColumnFamily, ColumnFamilyOptions, Db, Options};
use clap::Args;

use crate::failure::Failure;

/// The column family that every store has.
const DEFAULT_FAMILY: &str = "default";

/// The flag that names a store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store's directory
    #[arg(long = "db", value_name = "DIR")]
    pub directory: PathBuf,
}

/// The flags that name a column family of a store.
#[derive(Debug, Args)]
pub struct FamilyArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The column family
    #[arg(long = "cf", value_name = "NAME", default_value = DEFAULT_FAMILY)]
    pub family: String,
}

/// What to do where there is no store, or no such column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it.
    Create,
    /// Say so and fail.
    Refuse,
}

impl StoreArgs {
    /// Opens the store.
    pub fn open(&self, missing: Missing) -> Result<Db, Failure> {
        let options =
            Options { create_if_missing: missing == Missing::Create, ..Options::default() };
        Ok(Db::open(&self.directory, options)?)
    }
}

impl FamilyArgs {
    /// Opens the store and finds the column family.
    pub fn open(&self, store: Missing, family: Missing) -> Result<(Db, ColumnFamily), Failure> {
        let db = self.store.open(store)?;
        let handle = match db.column_family(&self.family) {
            Err(alluvium::Error::ColumnFamilyMissing { .. }) if family == Missing::Create => {
                db.create_column_family(&self.family, ColumnFamilyOptions::default())?
            }
            found => found?,
        };
        Ok((db, handle))
    }
}
