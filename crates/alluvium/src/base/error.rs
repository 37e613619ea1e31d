//! The one error type, and what its receiver should do.
//!
//! It stands at the very bottom and knows nothing above it: upper floors convert *into* it. It is
//! `Clone`, because one failed fsync is the answer to every writer of a commit group.

use std::fmt;
use std::io;
use std::sync::Arc;

/// The result of every fallible call of the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. [`Error::action`] says what to do about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    Io {
        /// What was being done, as a verb: `"read"`, `"append to"`, `"sync"`.
        operation: &'static str,
        /// The file (or directory) it was done to.
        file: String,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The disk (or quota) is full. Reads go on; writes resume by themselves once there is room.
    NoSpace {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The file it was done to.
        file: String,
    },
    /// Bytes on disk are not what was written: a checksum, a length or a reference does not hold.
    Corruption {
        /// The damaged file.
        file: String,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What does not hold there.
        detail: String,
    },
    /// The file was written by a format version that this build does not read.
    UnsupportedFormat {
        /// The file.
        file: String,
        /// The version found in it.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// Another `Db`, in this process or another, has the store open.
    Locked {
        /// The store's directory.
        directory: String,
    },
    /// There is no store where one was expected.
    StoreMissing {
        /// The directory that was looked at.
        directory: String,
    },
    /// The caller passed something that can never work.
    InvalidArgument {
        /// What, and what would be accepted.
        detail: String,
    },
    /// No column family has this name.
    ColumnFamilyMissing {
        /// The name asked for.
        name: String,
    },
    /// A column family of this name exists already.
    ColumnFamilyExists {
        /// The name asked for.
        name: String,
    },
    /// An earlier failure stopped all writes; reads still work. Reopen the store.
    WriteStopped {
        /// The failure that stopped them.
        reason: Arc<Error>,
    },
    /// The `Db` was closed.
    Closed,
    /// A background worker panicked: a bug in the engine. The store on disk is intact.
    Panicked {
        /// The panic's message.
        detail: String,
    },
}

/// What the receiver of an [`Error`] should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Call again, perhaps later: the cause is outside and passes.
    Retry,
    /// Free disk space; the store resumes by itself.
    FreeSpace,
    /// Restore the named file from a copy; the rest of the store is readable.
    Restore,
    /// Change the call.
    FixCall,
    /// Close and open the store again.
    Reopen,
    /// Use a newer build of the engine.
    Upgrade,
    /// Report a bug.
    Report,
}

impl Error {
    /// An I/O failure; a full disk or quota becomes [`Error::NoSpace`].
    pub(crate) fn io(operation: &'static str, file: impl Into<String>, source: io::Error) -> Error {
        let file = file.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { operation, file }
            }
            _ => Error::Io { operation, file, source: Arc::new(source) },
        }
    }

    /// Damage at `offset` of `file`.
    pub(crate) fn corruption(
        file: impl Into<String>,
        offset: u64,
        detail: impl Into<String>,
    ) -> Error {
        Error::Corruption { file: file.into(), offset, detail: detail.into() }
    }

    /// A call that can never work.
    pub(crate) fn invalid(detail: impl Into<String>) -> Error {
        Error::InvalidArgument { detail: detail.into() }
    }

    /// What the receiver should do.
    ///
    /// ```
    /// use alluvium::{Action, Error};
    /// let error = Error::NoSpace { operation: "append to", file: "000007.wal".into() };
    /// assert_eq!(error.action(), Action::FreeSpace);
    /// ```
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Error::Io { .. } | Error::Locked { .. } => Action::Retry,
            Error::NoSpace { .. } => Action::FreeSpace,
            Error::Corruption { .. } => Action::Restore,
            Error::UnsupportedFormat { .. } => Action::Upgrade,
            Error::StoreMissing { .. }
            | Error::InvalidArgument { .. }
            | Error::ColumnFamilyMissing { .. }
            | Error::ColumnFamilyExists { .. } => Action::FixCall,
            Error::WriteStopped { .. } | Error::Closed => Action::Reopen,
            Error::Panicked { .. } => Action::Report,
        }
    }

    /// Whether this is damage found on disk.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Error::Corruption { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, file, source } => {
                write!(f, "cannot {operation} {file}: {source}")
            }
            Error::NoSpace { operation, file } => {
                write!(f, "cannot {operation} {file}: the disk is full; free space and go on")
            }
            Error::Corruption { file, offset, detail } => {
                write!(f, "{file} is damaged at byte {offset}: {detail}")
            }
            Error::UnsupportedFormat { file, found, supported } => write!(
                f,
                "{file} has format version {found}, this build reads up to {supported}: \
                 use a newer build"
            ),
            Error::Locked { directory } => {
                write!(f, "the store {directory} is open elsewhere: close it there first")
            }
            Error::StoreMissing { directory } => write!(f, "there is no store in {directory}"),
            Error::InvalidArgument { detail } => f.write_str(detail),
            Error::ColumnFamilyMissing { name } => write!(f, "there is no column family {name:?}"),
            Error::ColumnFamilyExists { name } => {
                write!(f, "a column family {name:?} exists already")
            }
            Error::WriteStopped { reason } => {
                write!(f, "writes are stopped until the store is reopened: {reason}")
            }
            Error::Closed => f.write_str("the store is closed"),
            Error::Panicked { detail } => {
                write!(f, "a background worker panicked, please report it: {detail}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(&**source),
            Error::WriteStopped { reason } => Some(&**reason),
            _ => None,
        }
    }
}
