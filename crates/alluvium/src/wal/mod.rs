//! Floor 2: log files: the framing that the write-ahead log and the manifest share.
//!
//! A log file is a header and frames behind it (`docs/format.md` draws the bytes). This module
//! knows frames and nothing of what is in them: batches belong to `batch`, edits to `version`, and
//! what a missing or damaged frame means to whoever recovers. What it promises them:
//!
//! - **A frame is read whole and right, or not at all.** Its checksum covers kind, length and
//!   payload, and is bound to the file's number and the frame's offset: bytes of another log, of an
//!   older life of this file, or of another place never pass.
//! - **A writer that failed once has failed for good** ([`LogWriter`]): nothing is ever put behind
//!   bytes of which the operating system would not say whether they are there.
//! - **A reader never skips** ([`LogReader`]): it stops at the first bytes that are no frame, for
//!   ever, and says where. What stands behind them is found only by asking for it, to tell a torn
//!   tail (nothing valid follows: a crash) from damage (something does).
//! - **Logs are chained**: a header names the log before and how many of its bytes count, so that a
//!   log cut short at the end of a frame is noticed once there is a next one.
//!
//! The road not taken: LevelDB's 32 KiB blocks with records cut into first, middle and last pieces
//! let a reader find the next record without looking at every byte. It costs a branch and a header
//! per block on every write, for the sake of a search that happens once per damaged file.

pub mod frame;
pub mod reader;
pub mod writer;

pub use frame::{FrameKind, LogHeader, LogKind};
pub use reader::{LogOpen, LogReader, ReadFrame};
pub use writer::LogWriter;

#[cfg(test)]
pub(crate) mod tests;
