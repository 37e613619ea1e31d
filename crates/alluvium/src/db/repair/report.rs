//! What a repair found, gave back and could not give back.

use std::fmt;

use crate::base::error::Error;

/// What [`crate::repair`] did. Its `Display` is what people are to read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// The manifest that was believed as to which tables count; `None` where all tables on disk had
    /// to be merged instead.
    pub manifest: Option<u64>,
    /// Whether that manifest ends within an edit. A crash leaves it so when nobody was told of the
    /// edit; damage to an edit that counted looks the same.
    pub manifest_is_torn: bool,
    /// The column families of the new store.
    pub families: Vec<RepairedFamily>,
    /// Tables that gave all of their entries.
    pub tables_whole: u64,
    /// Tables that gave some of them.
    pub tables_salvaged: u64,
    /// Tables that gave none.
    pub tables_lost: u64,
    /// What is gone of tables, each place by itself.
    pub table_losses: Vec<TableLoss>,
    /// Batches of the log that were replayed.
    pub log_batches: u64,
    /// What is gone of the log.
    pub log_losses: Vec<LogLoss>,
    /// Reads that the disk refused. What was there is not known.
    pub unreadable_places: u64,
    /// What is damaged or missing of `CURRENT` and the manifests.
    pub damages: Vec<Error>,
    /// What else one should know.
    pub notes: Vec<String>,
}

/// A column family that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairedFamily {
    /// Its number.
    pub id: u32,
    /// Its name, or one that was made up.
    pub name: String,
    /// Whether that is the name that it had.
    pub name_is_known: bool,
    /// Entries written to its tables, tombstones and older versions included.
    pub entries: u64,
}

/// A part of a table that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableLoss {
    /// The table.
    pub file: String,
    /// The column family that it belongs to, where that is known.
    pub family: Option<u32>,
    /// Where the lost part begins.
    pub offset: u64,
    /// Its length; 0 where that is not known.
    pub bytes: u64,
    /// Only keys at or behind this one are gone; `None`: from the first on.
    pub from: Option<Vec<u8>>,
    /// Only keys at or before this one are gone; `None`: to the last.
    pub to: Option<Vec<u8>>,
    /// What does not hold.
    pub detail: String,
}

/// A part of the log that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLoss {
    /// The segment.
    pub file: String,
    /// Where the lost part begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// Operations up to this sequence number were read before it; 0 where none was.
    pub after: u64,
    /// The first one read behind it; `None` where nothing was.
    pub before: Option<u64>,
    /// What does not hold.
    pub detail: String,
}

impl RepairReport {
    /// Whether everything that the store held is in the new one, as far as anybody can tell. Not
    /// so where the manifest is gone: which tables counted is gone with it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.manifest.is_some()
            && !self.manifest_is_torn
            && self.unreadable_places == 0
            && self.table_losses.is_empty()
            && self.log_losses.is_empty()
            && self.families.iter().all(|family| family.name_is_known)
    }
}

impl fmt::Display for RepairReport {
    /// One line for each thing that is gone or was found, and the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for damage in &self.damages {
            writeln!(f, "damaged: {damage}")?;
        }
        for loss in &self.table_losses {
            writeln!(f, "lost: {loss}")?;
        }
        for loss in &self.log_losses {
            writeln!(f, "lost: {loss}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for family in &self.families {
            let named = if family.name_is_known { "" } else { " (the name is made up)" };
            let (name, entries) = (&family.name, family.entries);
            writeln!(f, "column family {name:?}{named}: {entries} entries")?;
        }
        writeln!(
            f,
            "tables: {} whole, {} in part, {} lost; batches of the log: {}",
            self.tables_whole, self.tables_salvaged, self.tables_lost, self.log_batches
        )
    }
}

impl fmt::Display for TableLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &[u8]| format!("\"{}\"", key.escape_ascii());
        write!(f, "{} from byte {}", self.file, self.offset)?;
        if self.bytes > 0 {
            write!(f, ", {} bytes", self.bytes)?;
        }
        match (&self.from, &self.to) {
            (None, None) => {}
            (Some(from), None) => write!(f, ", keys from {} on", key(from))?,
            (None, Some(to)) => write!(f, ", keys up to {}", key(to))?,
            (Some(from), Some(to)) => write!(f, ", keys from {} to {}", key(from), key(to))?,
        }
        write!(f, ": {}", self.detail)
    }
}

impl fmt::Display for LogLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from byte {}, {} bytes", self.file, self.offset, self.bytes)?;
        match self.before {
            Some(before) if before > self.after + 1 => {
                write!(f, ", sequence numbers {} to {}", self.after + 1, before - 1)?;
            }
            Some(_) => {}
            None => write!(f, ", sequence numbers from {} on", self.after + 1)?,
        }
        write!(f, ": {}", self.detail)
    }
}
