//! File numbers: given out once, from one counter, to every thread that creates a file.

use crate::base::file::FileNumber;
use crate::base::sync::atomic::{AtomicU64, Ordering};

/// Gives out file numbers. Shared, so that a flush can take one without the version set's lock.
///
/// A number counts as given out once it left here, whether a file came of it or not. The manifest
/// remembers how far the counter was at the last edit, and a store that is opened looks at the
/// names of its files too, so that no number comes back (reliability bugs m09, w18).
#[derive(Debug)]
pub struct FileNumbers(AtomicU64);

impl FileNumbers {
    pub(crate) fn new(next: FileNumber) -> FileNumbers {
        FileNumbers(AtomicU64::new(next.0.max(1)))
    }

    /// Takes the next number.
    #[must_use]
    pub fn take(&self) -> FileNumber {
        FileNumber(self.0.fetch_add(1, Ordering::Relaxed))
    }

    /// The number that will be given out next.
    #[must_use]
    pub fn next(&self) -> FileNumber {
        FileNumber(self.0.load(Ordering::Relaxed))
    }

    /// Gives out no number below `at_least` from now on.
    pub fn reserve_from(&self, at_least: FileNumber) {
        self.0.fetch_max(at_least.0, Ordering::Relaxed);
    }
}
