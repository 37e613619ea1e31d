//! The flags that name a store, and opening it.
//!
//! Only commands that write new data make a store where there is none (`ingest`, `demo`, `put`,
//! `compact`): a mistyped directory must not turn into an empty store with an empty answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alluvium::{ColumnFamily, ColumnFamilyOptions, Db, Options, Workload};
use clap::Args;

use crate::failure::Failure;

/// The column family that every store has.
const DEFAULT_FAMILY: &str = "default";
/// The column family of an event store that has each user's events together.
const BY_USER: &str = "by_user";

/// The flag that names a store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store's directory
    #[arg(long = "db", value_name = "DIR")]
    pub directory: PathBuf,
}

/// The argument that names a store to look at from outside.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The store's directory
    #[arg(value_name = "STORE", required_unless_present = "flag", conflicts_with = "flag")]
    place: Option<PathBuf>,
    /// The same, as a flag
    #[arg(long = "db", id = "flag", value_name = "DIR")]
    flag: Option<PathBuf>,
}

impl PlaceArgs {
    /// The directory.
    pub fn directory(&self) -> &Path {
        self.place.as_deref().or(self.flag.as_deref()).unwrap_or(Path::new("."))
    }
}

/// What the programs of this project open a store with. All of them alike: a store that is opened
/// with another strategy begins to change its shape.
///
/// An event store's entries by user come in no order, and merging them is most of what its
/// background does: they are written more than they are read.
pub fn options() -> Options {
    let by_user = (BY_USER.to_owned(), Workload::WriteHeavy.options());
    Options { column_families: vec![by_user], ..Options::default() }
}

/// The same for a store that is written to: its statistics and its history can be looked at from
/// outside, while it is open and after.
pub fn writing_options() -> Options {
    Options { status_interval: Some(Duration::from_secs(1)), ..options() }
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
        let create_if_missing = missing == Missing::Create;
        // What only looks leaves what a writer told of itself.
        let options = if create_if_missing { writing_options() } else { options() };
        let options = Options { create_if_missing, ..options };
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
