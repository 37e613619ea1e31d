//! Floor 3: which tables and logs make up the store, now and after a crash.
//!
//! A [`Version`] is the tables of one column family at one moment: immutable, shared by `Arc`, so
//! that a reader holds one and nothing that happens later can disturb it. A [`VersionEdit`] is the
//! difference between two of them. The [`VersionSet`] holds the current version of every family and
//! writes each edit to the manifest before it counts: what a crash leaves is some prefix of the
//! edits, each whole.
//!
//! ```text
//! VersionSet ── apply(edit) ──> Catalog: may this edit be?   (pure)
//!     │                         Manifest: write it, sync it, or write a fresh one (I/O)
//!     │                         install the new versions     (memory)
//!     └─ families: id -> FamilyState { name, log number, Arc<Version> }
//!                                              Version -> [Level; 7] -> [Arc<TableMeta>]
//! ```
//!
//! # Invariants
//! - Level 0 holds any number of sorted runs, newest first, which may overlap one another; every
//!   other level is one sorted run. In a run tables are ascending and disjoint in *user* keys, so
//!   that at most one of them can hold a key.
//! - A table number stands in one place of one family. A number is given out once.
//! - A table's file is removed when no version holds it, by [`ObsoleteFiles`] and nothing else; a
//!   blob file when no table holds it.
//!
//! The road not taken: LevelDB chains all live versions in a list and finds obsolete files by
//! comparing the directory with it. Reference counts on each table say the same without a scan, and
//! can't race with a file that is just being written.

mod blobs;
mod catalog;
mod current;
mod digest;
mod edit;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod level;
mod manifest;
mod numbers;
mod obsolete;
mod presence;
mod recovery;
mod run;
mod survey;
mod table_meta;
mod time_marks;
mod version_set;
mod windows;

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::error::Error;

use crate::base::file::FileNumber;
use crate::base::key::KeyEnd;
use crate::base::limits::LEVELS;

pub use crate::base::event_time::EventTimes;
pub use blobs::{BlobMeta, BlobUsage};
pub use digest::{Digest, GARBAGE_PART};
pub use edit::VersionEdit;
#[cfg(test)]
use edit::{AddedTable, DeletedTable};
pub use level::Level;
pub use numbers::FileNumbers;
pub use obsolete::ObsoleteFiles;
pub use presence::{StoreState, store_exists};
pub use run::{Run, Sums};
pub(crate) use survey::{Survey, SurveyedState, is_plausible};
pub use table_meta::{Expiry, TableFacts, TableMeta};
#[cfg(test)]
use time_marks::TimeMark;
pub use time_marks::TimeMarks;
pub use version_set::VersionSet;
pub use windows::{Window, WindowRun, Windows};

/// A rule that an edit, or a set of tables, breaks. It is damage when the edit came from disk and a
/// bug of the caller when it did not, so whoever knows makes it into an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    detail: String,
    /// The table that breaks it, when it is one.
    table: Option<FileNumber>,
}

impl Breach {
    fn new(detail: impl Into<String>) -> Breach {
        Breach { detail: detail.into(), table: None }
    }

    fn of_table(table: FileNumber, detail: impl Into<String>) -> Breach {
        Breach { detail: detail.into(), table: Some(table) }
    }

    fn corruption(self, file: &str, offset: u64) -> Error {
        Error::corruption(file, offset, self.detail)
    }

    fn invalid(self) -> Error {
        Error::invalid(format!("a version edit that cannot be: {}", self.detail))
    }
}

/// The result of a check that knows nothing of files.
type Checked<T> = Result<T, Breach>;

/// The tables of one column family at one moment.
#[derive(Debug, Clone)]
pub struct Version {
    /// Shared, so that a new version costs only the levels that an edit touches.
    levels: [Arc<Level>; LEVELS],
}

impl Default for Version {
    fn default() -> Version {
        Version::empty()
    }
}

impl Version {
    /// No tables.
    #[must_use]
    pub fn empty() -> Version {
        Version { levels: std::array::from_fn(|_| Arc::default()) }
    }

    /// The version made of these tables, one list a level, in any order.
    fn build(levels: [Vec<Arc<TableMeta>>; LEVELS]) -> Checked<Version> {
        let mut version = Version::empty();
        for (index, tables) in levels.into_iter().enumerate() {
            version.levels[index] = Arc::new(Level::build(index, tables)?);
        }
        Ok(version)
    }

    /// Level `index`.
    ///
    /// # Panics
    /// When `index` is not below [`LEVELS`].
    #[must_use]
    pub fn level(&self, index: usize) -> &Level {
        &self.levels[index]
    }

    /// Every level, the youngest first.
    pub fn levels(&self) -> impl DoubleEndedIterator<Item = &Level> + ExactSizeIterator {
        self.levels.iter().map(|level| &**level)
    }

    /// Every table, level by level.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableMeta>> {
        self.levels().flat_map(Level::tables)
    }

    /// The number of tables.
    #[cfg(test)]
    #[must_use]
    pub fn table_count(&self) -> usize {
        self.levels().map(|level| level.tables().len()).sum()
    }

    /// The deepest level that holds a table.
    #[must_use]
    pub fn deepest_level(&self) -> Option<usize> {
        self.levels.iter().rposition(|level| !level.is_empty())
    }

    /// The bytes of all tables.
    #[cfg(test)]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.levels().map(Level::bytes).sum()
    }

    /// The tables of `level` that may hold keys from `smallest_user_key` to `end`.
    ///
    /// Level 0 expands: a table that overlaps one that was found is found too, for whoever moves
    /// the newer of two tables down must move the older along.
    ///
    /// # Panics
    /// When `level` is not below [`LEVELS`].
    #[must_use]
    pub fn overlapping<'a>(
        &self,
        level: usize,
        smallest_user_key: &[u8],
        end: impl Into<KeyEnd<'a>>,
    ) -> Vec<Arc<TableMeta>> {
        let tables = self.level(level);
        if level == 0 {
            tables.overlapping_expanded(smallest_user_key, end.into())
        } else {
            tables.overlapping(smallest_user_key, end).to_vec()
        }
    }

    /// The one table of `level` that may hold `user_key`; `level` is not 0.
    ///
    /// # Panics
    /// When `level` is not below [`LEVELS`].
    #[cfg(test)]
    #[must_use]
    pub fn candidate(&self, level: usize, user_key: &[u8]) -> Option<&Arc<TableMeta>> {
        debug_assert!(level > 0, "tables of level 0 overlap: look at each");
        self.level(level).candidate(user_key)
    }

    /// This version without `deleted` and with `added`, each given with its level. A table in both
    /// moves.
    ///
    /// # Errors
    /// `InvalidArgument` when a deleted table is not there, an added one is there already or comes
    /// twice, a level does not exist, or tables of a sorted run would overlap.
    #[cfg(test)]
    pub fn apply(
        &self,
        added: &[(usize, Arc<TableMeta>)],
        deleted: &[(usize, FileNumber)],
    ) -> crate::base::error::Result<Version> {
        self.check_numbers(added, deleted)
            .and_then(|()| self.rebuild(added, deleted))
            .map_err(Breach::invalid)
    }

    #[cfg(test)]
    fn check_numbers(
        &self,
        added: &[(usize, Arc<TableMeta>)],
        deleted: &[(usize, FileNumber)],
    ) -> Checked<()> {
        let gone: HashSet<FileNumber> = deleted.iter().map(|&(_, number)| number).collect();
        let mut new = HashSet::with_capacity(added.len());
        for (_, table) in added {
            if !new.insert(table.number) {
                return Err(Breach::of_table(table.number, twice(table.number)));
            }
        }
        for table in self.tables() {
            if new.contains(&table.number) && !gone.contains(&table.number) {
                return Err(Breach::of_table(table.number, twice(table.number)));
            }
        }
        Ok(())
    }

    /// This version without `deleted` and with `added`, as the version set makes it.
    ///
    /// # Errors
    /// `InvalidArgument` when a deleted table is not there, or tables of a run would overlap.
    #[cfg(feature = "simulation")]
    pub(crate) fn with_edit(
        &self,
        added: &[(usize, Arc<TableMeta>)],
        deleted: &[(usize, FileNumber)],
    ) -> crate::base::error::Result<Version> {
        self.rebuild(added, deleted).map_err(Breach::invalid)
    }

    /// As `apply`, where the caller knows that no added number is elsewhere in the version.
    fn rebuild(
        &self,
        added: &[(usize, Arc<TableMeta>)],
        deleted: &[(usize, FileNumber)],
    ) -> Checked<Version> {
        let touched = |level: usize| {
            deleted.iter().any(|&(at, _)| at == level) || added.iter().any(|&(at, _)| at == level)
        };
        let mut next = self.clone();
        for level in 0..LEVELS {
            if touched(level) {
                next.levels[level] = Arc::new(self.rebuild_level(level, added, deleted)?);
            }
        }
        match added.iter().map(|(at, _)| at).chain(deleted.iter().map(|(at, _)| at)).max() {
            Some(&at) if at >= LEVELS => Err(Breach::new(format!("there is no level {at}"))),
            _ => Ok(next),
        }
    }

    fn rebuild_level(
        &self,
        level: usize,
        added: &[(usize, Arc<TableMeta>)],
        deleted: &[(usize, FileNumber)],
    ) -> Checked<Level> {
        let mut gone: HashSet<FileNumber> = HashSet::new();
        for &(_, number) in deleted.iter().filter(|&&(at, _)| at == level) {
            if !gone.insert(number) {
                return Err(Breach::of_table(number, format!("table {number} is deleted twice")));
            }
        }
        let here = added.iter().filter(|&&(at, _)| at == level);
        let here = here.map(|(_, table)| Arc::clone(table)).collect();
        self.level(level).edited(level, gone, here)
    }
}

#[cfg(test)]
fn twice(number: FileNumber) -> String {
    format!("table {number} is added and is there already")
}

#[cfg(all(test, loom))]
mod schedules;
#[cfg(test)]
pub(crate) mod tests;
