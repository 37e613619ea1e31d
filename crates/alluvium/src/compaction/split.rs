//! Where one output table ends and the next begins. Pure.
//!
//! # Invariants
//!
//! An output is never cut between two versions of one user key: the halves would overlap in one
//! level, and the newer half could be compacted away from under the older.

use std::sync::Arc;

use crate::version::TableMeta;

/// An output that overlaps this many times its own target below it would be dear to compact on.
const GRANDPARENT_OVERLAP_FACTOR: u64 = 10;

/// Outputs of less than this part of the target are never worth a table.
const TINY_PART: u64 = 8;

/// Decides, entry by entry, whether the current output should end.
#[derive(Debug)]
pub(crate) struct Split {
    table_bytes: u64,
    /// What an output has at least that ends where a grandparent does.
    least_bytes: u64,
    grandparents: Vec<Arc<TableMeta>>,
    /// The first grandparent that does not end before the current key.
    at: usize,
    /// Bytes of grandparents passed since the current output began.
    overlapped_bytes: u64,
}

impl Split {
    pub(crate) fn new(table_bytes: u64, grandparents: Vec<Arc<TableMeta>>) -> Split {
        let least_bytes = table_bytes / 2;
        Split { table_bytes, least_bytes, grandparents, at: 0, overlapped_bytes: 0 }
    }

    /// The same, with outputs that are cut at the end of each grandparent, but for tiny ones.
    pub(crate) fn at_each_grandparent(self) -> Split {
        Split { least_bytes: self.table_bytes / TINY_PART, ..self }
    }

    /// Whether to begin a new output before `user_key`, the first version of its key.
    /// `output_bytes` is the size of the current output, 0 where there is none.
    ///
    /// An output that has reached half its target, or as much as was asked for, is also cut where a
    /// grandparent ends: the tables
    /// then line up, and moving one down later touches fewer below it.
    pub(crate) fn before(&mut self, user_key: &[u8], output_bytes: u64) -> bool {
        let mut passed_boundary = false;
        while let Some(grandparent) = self.grandparents.get(self.at) {
            if !grandparent.end().is_before(user_key) {
                break;
            }
            if output_bytes > 0 {
                self.overlapped_bytes += grandparent.bytes;
                passed_boundary = true;
            }
            self.at += 1;
        }
        let cut = output_bytes > 0
            && (output_bytes >= self.table_bytes
                || (passed_boundary && output_bytes >= self.least_bytes)
                || self.overlapped_bytes
                    > self.table_bytes.saturating_mul(GRANDPARENT_OVERLAP_FACTOR));
        if cut {
            self.overlapped_bytes = 0;
        }
        cut
    }
}
