//! The names of the files of a store.
//!
//! The engine names a file by kind and number only; [`FileId::name`] and [`FileId::parse`] are the
//! two directions between that and the directory. No text from a user ever becomes a path.

use std::fmt;

/// The number of a file: given out once, never again. At most 2^56 - 1, because log frames and
/// checksums carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileNumber(pub u64);

impl FileNumber {
    /// The greatest file number there can be.
    pub const MAX: FileNumber = FileNumber((1 << 56) - 1);
}

impl fmt::Display for FileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// What a log file begins with.
pub const LOG_MAGIC: [u8; 8] = *b"ALVMLOG\0";

/// A file of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileId {
    /// `000012.wal`: a segment of the write-ahead log.
    Wal(FileNumber),
    /// `000012.sst`: a table.
    Table(FileNumber),
    /// `000012.blob`: large values that stand apart from their keys. It may have been a segment of
    /// the log, until nothing needed it as one.
    Blob(FileNumber),
    /// `000012.manifest`: a log of version edits.
    Manifest(FileNumber),
    /// `CURRENT`: names the manifest that counts.
    Current,
    /// `000012.tmp`: a file on its way to becoming another.
    Temporary(FileNumber),
    /// `LOCK`: held by the process that has the store open.
    Lock,
    /// `STATUS`: statistics and history for whoever looks from outside. Nothing depends on it.
    Status,
    /// `STATUS.tmp`: the next `STATUS` on its way.
    StatusTemporary,
}

impl FileId {
    /// The file's name in the store's directory.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            FileId::Wal(number) => format!("{number}.wal"),
            FileId::Table(number) => format!("{number}.sst"),
            FileId::Blob(number) => format!("{number}.blob"),
            FileId::Manifest(number) => format!("{number}.manifest"),
            FileId::Current => "CURRENT".to_owned(),
            FileId::Temporary(number) => format!("{number}.tmp"),
            FileId::Lock => "LOCK".to_owned(),
            FileId::Status => "STATUS".to_owned(),
            FileId::StatusTemporary => "STATUS.tmp".to_owned(),
        }
    }

    /// The file that `name` names, or `None` when it is not one of a store's.
    #[must_use]
    pub fn parse(name: &str) -> Option<FileId> {
        match name {
            "CURRENT" => return Some(FileId::Current),
            "LOCK" => return Some(FileId::Lock),
            "STATUS" => return Some(FileId::Status),
            "STATUS.tmp" => return Some(FileId::StatusTemporary),
            _ => {}
        }
        let (digits, extension) = name.split_once('.')?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = FileNumber(digits.parse().ok()?);
        let id = match extension {
            "wal" => FileId::Wal(number),
            "sst" => FileId::Table(number),
            "blob" => FileId::Blob(number),
            "manifest" => FileId::Manifest(number),
            "tmp" => FileId::Temporary(number),
            _ => return None,
        };
        (number <= FileNumber::MAX && id.name() == name).then_some(id)
    }

    /// The file's number, where it has one.
    #[must_use]
    pub fn number(self) -> Option<FileNumber> {
        match self {
            FileId::Wal(n)
            | FileId::Table(n)
            | FileId::Blob(n)
            | FileId::Manifest(n)
            | FileId::Temporary(n) => Some(n),
            FileId::Current | FileId::Lock | FileId::Status | FileId::StatusTemporary => None,
        }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_left_alone() {
        let n = FileNumber(12);
        for id in [
            FileId::Wal(n),
            FileId::Table(FileNumber(12_345_678)),
            FileId::Blob(n),
            FileId::Manifest(n),
            FileId::Temporary(n),
            FileId::Current,
            FileId::Lock,
            FileId::Status,
            FileId::StatusTemporary,
        ] {
            assert_eq!(FileId::parse(&id.name()), Some(id));
        }
        for name in ["12.sst", "000012.SST", "000012.sst.bak", "current", "+00012.wal", ".wal", ""]
        {
            assert_eq!(FileId::parse(name), None, "{name}");
        }
    }
}
