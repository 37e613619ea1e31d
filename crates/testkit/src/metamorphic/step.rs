//! What a metamorphic run does, as data: one [`Step`] a line of an operations file.

use std::ops::Bound;

use alluvium::Durability;

use crate::operation::{Direction, KeyRange};
use crate::random::Random;

/// The longest value that a step may ask for.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// A value, by the number of the write that makes it and its length: two writes never make the same
/// value, unless both are cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// The number of the write.
    pub number: u64,
    /// Bytes.
    pub length: usize,
}

impl Value {
    /// The bytes: those of an even number compress well, those of an odd one do not.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("v{}.", self.number).into_bytes();
        if self.number.is_multiple_of(2) {
            bytes.resize(self.length.max(bytes.len()), b'x');
        } else {
            let mut random = Random::new(self.number);
            while bytes.len() < self.length {
                bytes.extend_from_slice(&random.next().to_le_bytes());
            }
        }
        bytes.truncate(self.length);
        bytes
    }
}

/// One put (`value`), delete (no value) or range delete (no value, an `end`) of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The column family's name.
    pub family: String,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or none for a delete.
    pub value: Option<Value>,
    /// Of a range delete, where the range ends, excluded; it begins at the key.
    pub end: Option<Vec<u8>>,
}

/// A movement of a cursor that is kept open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// To the first entry.
    First,
    /// To the last entry.
    Last,
    /// To the next entry.
    Next,
    /// To the entry before.
    Prev,
    /// To the first entry at or behind the key.
    Seek(Vec<u8>),
    /// To the last entry at or before the key.
    Before(Vec<u8>),
}

/// Where a store's life is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It is closed.
    Reopen,
    /// Its last handle is dropped.
    Abandon,
    /// Its process dies: what the operating system was given is left. Buffered writes are synced
    /// before, because whether they would be left depends on options.
    Kill,
    /// The power goes, behind a sync: all of it is left.
    Power,
}

/// One line of an operations file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes a batch; a single change without a durability of its own through put or delete.
    Write {
        /// Of this durability, or what the options say.
        durability: Option<Durability>,
        /// The batch. Changes of families that do not exist are left out.
        changes: Vec<Put>,
    },
    /// Reads one key.
    Get {
        /// Of this family.
        family: String,
        /// This key.
        key: Vec<u8>,
        /// As of the snapshot in this slot, or now.
        at: Option<usize>,
    },
    /// Reads several keys.
    Multi {
        /// Of this family.
        family: String,
        /// These keys.
        keys: Vec<Vec<u8>>,
    },
    /// Reads a range.
    Scan {
        /// Of this family.
        family: String,
        /// Between these keys.
        range: KeyRange,
        /// In this direction.
        direction: Direction,
        /// As of the snapshot in this slot, or now.
        at: Option<usize>,
    },
    /// Reads every key with a prefix.
    Prefix {
        /// Of this family.
        family: String,
        /// This prefix.
        prefix: Vec<u8>,
        /// In this direction.
        direction: Direction,
        /// As of the snapshot in this slot, or now.
        at: Option<usize>,
    },
    /// Opens a cursor and keeps it.
    Cursor {
        /// In this slot.
        slot: usize,
        /// Over this family.
        family: String,
        /// As of the snapshot in this slot, or now.
        at: Option<usize>,
    },
    /// Moves a cursor that is kept.
    Move {
        /// In this slot.
        slot: usize,
        /// Like this.
        movement: Move,
    },
    /// Opens a scan and keeps it.
    Hold {
        /// In this slot.
        slot: usize,
        /// Over this family.
        family: String,
        /// Between these keys.
        range: KeyRange,
        /// As of the snapshot in this slot, or now.
        at: Option<usize>,
    },
    /// Takes entries from a scan that is kept.
    Take {
        /// In this slot.
        slot: usize,
        /// From its back instead of its front.
        back: bool,
        /// So many.
        count: usize,
    },
    /// Lets the cursor or scan of a slot go.
    Close {
        /// The slot.
        slot: usize,
    },
    /// Takes a snapshot into a slot.
    Snapshot {
        /// The slot.
        slot: usize,
    },
    /// Releases the snapshot of a slot.
    Release {
        /// The slot.
        slot: usize,
    },
    /// Creates a column family.
    Create {
        /// Its name.
        family: String,
    },
    /// Drops a column family.
    Drop {
        /// Its name.
        family: String,
    },
    /// Flushes one family, or all.
    Flush {
        /// Which.
        family: Option<String>,
    },
    /// Compacts one family, or all.
    Compact {
        /// Which.
        family: Option<String>,
    },
    /// Makes every write so far survive a power cut.
    Sync,
    /// Ends the store somehow and opens it with other options.
    Restart(Restart),
    /// Reads everything in every way.
    Check,
}

/// Whether `key` lies in `range`.
#[must_use]
pub fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let above = match &range.0 {
        Bound::Included(from) => key >= &from[..],
        Bound::Excluded(from) => key > &from[..],
        Bound::Unbounded => true,
    };
    above
        && match &range.1 {
            Bound::Included(to) => key <= &to[..],
            Bound::Excluded(to) => key < &to[..],
            Bound::Unbounded => true,
        }
}
