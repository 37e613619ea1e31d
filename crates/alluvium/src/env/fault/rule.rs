//! Which operations fail, and how: the rules of a `FaultEnv`, without any I/O.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::thread::{self, ThreadId};

use crate::base::file::FileId;

/// A kind of operation of an [`Env`](crate::env::Env).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Creating a file.
    Create,
    /// Opening a file for reading.
    Open,
    /// Reading from a file.
    Read,
    /// Asking for a file's length.
    Length,
    /// Appending to a file.
    Append,
    /// Syncing a file.
    Sync,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing the directory, the store's files or the others.
    List,
    /// Syncing the directory.
    SyncDirectory,
    /// Creating the directory.
    CreateDirectory,
    /// Taking the store's lock.
    Lock,
    /// Starting a thread.
    Spawn,
}

impl Operation {
    /// Every operation.
    pub const ALL: &[Operation] = &[
        Operation::Create,
        Operation::Open,
        Operation::Read,
        Operation::Length,
        Operation::Append,
        Operation::Sync,
        Operation::Rename,
        Operation::Remove,
        Operation::List,
        Operation::SyncDirectory,
        Operation::CreateDirectory,
        Operation::Lock,
        Operation::Spawn,
    ];

    /// The operations that change what is on disk.
    pub const MUTATING: &[Operation] = &[
        Operation::Create,
        Operation::Append,
        Operation::Sync,
        Operation::Rename,
        Operation::Remove,
        Operation::SyncDirectory,
        Operation::CreateDirectory,
    ];
}

/// A [`FileId`] without its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A segment of the write-ahead log.
    Wal,
    /// A table.
    Table,
    /// A blob file.
    Blob,
    /// A manifest.
    Manifest,
    /// `CURRENT`.
    Current,
    /// A file on its way to becoming another.
    Temporary,
    /// `LOCK`.
    Lock,
    /// `STATUS`, and the next one on its way.
    Status,
}

impl FileKind {
    /// The kind of this file.
    #[must_use]
    pub fn of(file: FileId) -> FileKind {
        match file {
            FileId::Wal(_) => FileKind::Wal,
            FileId::Table(_) => FileKind::Table,
            FileId::Blob(_) => FileKind::Blob,
            FileId::Manifest(_) => FileKind::Manifest,
            FileId::Current => FileKind::Current,
            FileId::Temporary(_) => FileKind::Temporary,
            FileId::Lock => FileKind::Lock,
            FileId::Status | FileId::StatusTemporary => FileKind::Status,
        }
    }
}

/// What happens to an operation. Where a fault makes no sense (a short append for a rename) the
/// operation fails as with [`Fault::Io`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A device error (EIO); nothing is written.
    Io,
    /// The disk is full (ENOSPC); nothing is written.
    DiskFull,
    /// The process has too many files open (EMFILE, the operating system's error 24).
    TooManyFiles,
    /// The file system was made read-only (EROFS), as Linux does after an error of its own.
    ReadOnly,
    /// A signal came in between (EINTR).
    Interrupted,
    /// An append writes this many bytes of what it was given, then fails with a device error.
    ShortAppend {
        /// How many.
        bytes: usize,
    },
    /// A read succeeds with this bit of what was read flipped, counted modulo its length.
    FlipBit {
        /// Which.
        bit: u64,
    },
    /// A read succeeds with at most this many bytes, as if the file ended there.
    ShortRead {
        /// How many.
        bytes: usize,
    },
    /// A read succeeds with what is this many bytes further back in the file, or with its front
    /// where there is less: a read that went astray. At the front it gives what is behind.
    Misdirected {
        /// How far back.
        bytes: u64,
    },
    /// A read succeeds with what the file of this kind that was removed or replaced last holds at
    /// the place, and with zeros where it holds nothing: blocks that were never written over.
    Stale,
}

impl Fault {
    /// Whether the operation fails, and does not merely give other bytes.
    #[must_use]
    pub fn is_error(self) -> bool {
        !matches!(
            self,
            Fault::FlipBit { .. }
                | Fault::ShortRead { .. }
                | Fault::Misdirected { .. }
                | Fault::Stale
        )
    }
}

/// Which of the operations that a rule matches it fails. The first is number 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// This one, once.
    Nth(u64),
    /// This one and all behind it.
    From(u64),
    /// `count` of them beginning with this one; then it heals.
    Window {
        /// The first that fails.
        first: u64,
        /// How many fail.
        count: u64,
    },
    /// Each one with a number that this divides; 1 is all of them, 0 none.
    Every(u64),
}

impl When {
    fn covers(self, number: u64) -> bool {
        match self {
            When::Nth(nth) => number == nth,
            When::From(first) => number >= first,
            When::Window { first, count } => number >= first && number - first < count,
            When::Every(step) => number.checked_rem(step) == Some(0),
        }
    }
}

/// One rule: these operations, on this kind of file, then, so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    operations: Vec<Operation>,
    file: Option<FileKind>,
    when: When,
    fault: Fault,
}

impl FaultRule {
    /// A rule for these operations on any file.
    #[must_use]
    pub fn new(operations: &[Operation], when: When, fault: Fault) -> FaultRule {
        FaultRule { operations: operations.to_vec(), file: None, when, fault }
    }

    /// Narrows the rule to one kind of file; a rename is on both of its files.
    #[must_use]
    pub fn on(mut self, kind: FileKind) -> FaultRule {
        self.file = Some(kind);
        self
    }

    fn matches(&self, operation: Operation, files: &[FileId]) -> bool {
        self.operations.contains(&operation)
            && self.file.is_none_or(|kind| files.iter().any(|file| FileKind::of(*file) == kind))
    }
}

/// Names a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(u64);

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// Which one this is, from 1.
    pub number: u64,
    /// What was asked for.
    pub operation: Operation,
    /// On which file, where there was one; a rename's `from`.
    pub file: Option<FileId>,
    /// What happened to it.
    pub fault: Fault,
}

impl Injection {
    /// The text that the injected error carries.
    #[must_use]
    pub fn token(&self) -> String {
        self.to_string()
    }

    pub(super) fn error(&self) -> io::Error {
        match self.fault {
            Fault::TooManyFiles => io::Error::from_raw_os_error(24),
            Fault::DiskFull => io::Error::new(io::ErrorKind::StorageFull, self.token()),
            Fault::ReadOnly => io::Error::new(io::ErrorKind::ReadOnlyFilesystem, self.token()),
            Fault::Interrupted => io::Error::new(io::ErrorKind::Interrupted, self.token()),
            _ => io::Error::other(self.token()),
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[injected fault {}: {:?}", self.number, self.operation)?;
        if let Some(file) = self.file {
            write!(f, " {file}")?;
        }
        f.write_str("]")
    }
}

/// What came of a read that was done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It was not hit.
    Succeeded,
    /// It was hit by the fault of this number.
    Hit(u64),
}

/// The rules in force, and what was counted.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<ActiveRule>,
    next_id: u64,
    counts: HashMap<(Operation, Option<FileKind>), u64>,
    injections: Vec<Injection>,
    recorded: Option<Vec<(Operation, Option<FileId>)>>,
    /// The last read of each thread, where a fault failed it: its number and place.
    failed_reads: HashMap<ThreadId, (u64, (FileId, u64))>,
    repeats: HashMap<u64, Repeat>,
}

#[derive(Debug)]
struct ActiveRule {
    id: RuleId,
    rule: FaultRule,
    matched: u64,
}

impl Rules {
    pub(super) fn add(&mut self, rule: FaultRule) -> RuleId {
        let id = RuleId(self.next_id);
        self.next_id += 1;
        self.rules.push(ActiveRule { id, rule, matched: 0 });
        id
    }

    pub(super) fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|active| active.id != id);
        self.rules.len() < before
    }

    /// Whether a rule may ask for what a removed file held.
    pub(super) fn wants_removed_files(&self) -> bool {
        self.rules.iter().any(|active| active.rule.fault == Fault::Stale)
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn count(&self, operation: Operation, kind: Option<FileKind>) -> u64 {
        self.counts.get(&(operation, kind)).copied().unwrap_or(0)
    }

    pub(super) fn injections(&self) -> &[Injection] {
        &self.injections
    }

    pub(super) fn repeat_of(&self, number: u64) -> Option<Repeat> {
        self.repeats.get(&number).copied()
    }

    /// The calling thread reads at `place`, a file and an offset, hit by `injection`, if any.
    pub(super) fn note_read(&mut self, place: (FileId, u64), injection: Option<&Injection>) {
        let thread = thread::current().id();
        if let Some((number, failed)) = self.failed_reads.remove(&thread)
            && failed == place
        {
            let repeat = injection.map_or(Repeat::Succeeded, |one| Repeat::Hit(one.number));
            self.repeats.insert(number, repeat);
        }
        if let Some(one) = injection.filter(|one| one.fault.is_error()) {
            self.failed_reads.insert(thread, (one.number, place));
        }
    }

    pub(super) fn forget_failed_read(&mut self) {
        self.failed_reads.remove(&thread::current().id());
    }

    pub(super) fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    pub(super) fn recorded(&self) -> &[(Operation, Option<FileId>)] {
        self.recorded.as_deref().unwrap_or_default()
    }

    /// Counts the operation everywhere and returns the fault that hits it, if one does.
    pub(super) fn ask(&mut self, operation: Operation, files: &[FileId]) -> Option<Injection> {
        *self.counts.entry((operation, None)).or_default() += 1;
        if let Some(file) = files.first() {
            *self.counts.entry((operation, Some(FileKind::of(*file)))).or_default() += 1;
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.push((operation, files.first().copied()));
        }
        let mut hit = None;
        for active in &mut self.rules {
            if active.rule.matches(operation, files) {
                active.matched += 1;
                if hit.is_none() && active.rule.when.covers(active.matched) {
                    hit = Some(active.rule.fault);
                }
            }
        }
        let fault = hit?;
        let number = self.injections.len() as u64 + 1;
        let injection = Injection { number, operation, file: files.first().copied(), fault };
        self.injections.push(injection.clone());
        Some(injection)
    }
}
