//! What a test does to a store, as data: it can be generated, printed, shrunk and replayed.

use std::fmt;
use std::ops::Bound;

use alluvium::Durability;

/// The family that every store has.
pub const DEFAULT_FAMILY: &str = "default";

/// One put (`value`), delete (no value) or range delete (no value, an `end`) of a batch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The column family's name.
    pub family: String,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or none for a delete.
    pub value: Option<Vec<u8>>,
    /// Of a range delete, where the range ends, excluded; it begins at the key.
    pub end: Option<Vec<u8>>,
}

impl Change {
    /// Whether this is a range delete of an empty range, which writes nothing. A batch of these
    /// alone promises nothing of the writes before it either.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.value.is_none() && self.end.as_ref().is_some_and(|end| *end <= self.key)
    }
}

/// Two ends of a scan.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// How a scan is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the front.
    Forward,
    /// From the back.
    Backward,
    /// From both ends by turns, until they meet.
    BothEnds,
}

/// One movement of a cursor.
#[derive(Clone, PartialEq, Eq)]
pub enum Move {
    /// To the first entry.
    First,
    /// To the last entry.
    Last,
    /// To the first entry at or behind the key.
    Seek(Vec<u8>),
    /// To the last entry at or before the key.
    SeekForPrev(Vec<u8>),
    /// To the next entry.
    Next,
    /// To the entry before.
    Prev,
}

/// What happens to the clock, in milliseconds. A run without a clock of its own passes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockStep {
    /// Time passes.
    Pass(u64),
    /// Somebody sets it ahead.
    Ahead(u64),
    /// Somebody sets it back.
    Back(u64),
}

/// One thing done to a store.
#[derive(Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes one batch; a single change goes through put or delete where that means the same.
    Write {
        /// The batch.
        changes: Vec<Change>,
        /// What must have happened when the call returns.
        durability: Durability,
    },
    /// Reads one key.
    Get {
        /// Of this family.
        family: String,
        /// This key.
        key: Vec<u8>,
        /// As of the snapshot in this slot, or now.
        snapshot: Option<usize>,
    },
    /// Reads several keys.
    MultiGet {
        /// Of this family.
        family: String,
        /// These keys, perhaps the same one twice.
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
        snapshot: Option<usize>,
    },
    /// Reads every key with a prefix.
    Prefix {
        /// Of this family.
        family: String,
        /// This prefix.
        prefix: Vec<u8>,
        /// In this direction.
        direction: Direction,
    },
    /// Moves a cursor about.
    Cursor {
        /// Over this family.
        family: String,
        /// Like this.
        moves: Vec<Move>,
    },
    /// Takes a snapshot into a slot, releasing what was there.
    Snapshot {
        /// The slot.
        slot: usize,
    },
    /// Releases the snapshot of a slot.
    Release {
        /// The slot.
        slot: usize,
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
    /// Creates a column family.
    CreateFamily {
        /// Its name.
        name: String,
    },
    /// Drops a column family.
    DropFamily {
        /// Its name.
        name: String,
    },
    /// Closes the store and opens it again.
    Reopen,
    /// Drops the store without closing it, and opens it again.
    DropAndReopen,
    /// Moves the clock.
    Clock(ClockStep),
    /// Reads everything in every way and compares.
    CheckAll,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { family, key, value, end } = self;
        match (value, end) {
            (Some(value), _) => write!(f, "{family}: put {} = {}", Short(key), Short(value)),
            (None, Some(end)) => {
                write!(f, "{family}: delete range {} to {}", Short(key), Short(end))
            }
            (None, None) => write!(f, "{family}: delete {}", Short(key)),
        }
    }
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Move::First => f.write_str("first"),
            Move::Last => f.write_str("last"),
            Move::Next => f.write_str("next"),
            Move::Prev => f.write_str("prev"),
            Move::Seek(key) => write!(f, "seek {}", Short(key)),
            Move::SeekForPrev(key) => write!(f, "seek_for_prev {}", Short(key)),
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |family: &Option<String>| family.clone().unwrap_or_else(|| "all".to_owned());
        match self {
            Operation::Write { changes, durability } => {
                write!(f, "write {durability:?} {changes:?}")
            }
            Operation::Get { family, key, snapshot } => {
                write!(f, "get {family} {} at {snapshot:?}", Short(key))
            }
            Operation::MultiGet { family, keys } => {
                let keys: Vec<String> = keys.iter().map(|key| Short(key).to_string()).collect();
                write!(f, "multi_get {family} {keys:?}")
            }
            Operation::Scan { family, range, direction, snapshot } => {
                let range = (end(&range.0), end(&range.1));
                write!(f, "scan {family} {range:?} {direction:?} at {snapshot:?}")
            }
            Operation::Prefix { family, prefix, direction } => {
                write!(f, "prefix {family} {} {direction:?}", Short(prefix))
            }
            Operation::Cursor { family, moves } => write!(f, "cursor {family} {moves:?}"),
            Operation::Snapshot { slot } => write!(f, "snapshot {slot}"),
            Operation::Release { slot } => write!(f, "release {slot}"),
            Operation::Flush { family } => write!(f, "flush {}", all(family)),
            Operation::Compact { family } => write!(f, "compact {}", all(family)),
            Operation::Sync => f.write_str("sync"),
            Operation::CreateFamily { name } => write!(f, "create family {name}"),
            Operation::DropFamily { name } => write!(f, "drop family {name}"),
            Operation::Reopen => f.write_str("reopen"),
            Operation::DropAndReopen => f.write_str("drop and reopen"),
            Operation::Clock(step) => write!(f, "clock {step:?}"),
            Operation::CheckAll => f.write_str("check all"),
        }
    }
}

fn end(bound: &Bound<Vec<u8>>) -> String {
    match bound {
        Bound::Included(key) => format!("incl {}", Short(key)),
        Bound::Excluded(key) => format!("excl {}", Short(key)),
        Bound::Unbounded => "open".to_owned(),
    }
}

/// Bytes as people read them: escaped, and cut when they are many.
#[derive(Clone, Copy)]
pub struct Short<'a>(pub &'a [u8]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(24)];
        write!(f, "'{}'", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
