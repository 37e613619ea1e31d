//! Floor 3: merging views. How many sorted sources become the one sequence that a user sees.
//!
//! ```text
//! VisibleIterator      user keys: hides what is newer than the snapshot, older, or deleted
//!   MergingIterator    internal keys of all sources in one order
//!     memtable iterators        one each, newest data
//!     table iterators           one for each table of level 0
//!     ConcatIterator            one for each deeper level: its tables end to end, opened lazily
//! ```
//!
//! Each rule has one owner: ordering belongs to the merge, visibility to [`visible`], what range
//! tombstones cover to [`covers`], laziness to `concat`. Compaction uses the lower two and its own
//! rule of what survives (`compaction::retain`).

pub(crate) mod concat;
pub(crate) mod covers;
pub(crate) mod merging;
pub(crate) mod visible;

#[cfg(test)]
mod tests;
