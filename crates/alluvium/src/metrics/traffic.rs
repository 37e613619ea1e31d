//! What background work has moved at one level of a column family.
//!
//! What is read is counted where it was, everything else where the outputs went.

use crate::metrics::Counter;

/// The sums of one level since the store was opened.
#[derive(Debug, Default)]
pub struct LevelTraffic {
    /// Bytes of tables of this level that compactions read.
    pub read: Counter,
    /// Bytes of tables that flushes and compactions wrote to this level.
    pub written: Counter,
    /// Bytes that came to this level from above and were written here: those of the inputs from
    /// other levels, and for level 0 the tables of flushes.
    pub arrived: Counter,
    /// Bytes of tables that were moved to this level without being rewritten.
    pub moved: Counter,
    /// Flushes and compactions whose outputs went here.
    pub jobs: Counter,
    /// Their time, in microseconds.
    pub us: Counter,
    /// Entries that they read.
    pub entries_in: Counter,
    /// Entries that they dropped.
    pub entries_dropped: Counter,
}
