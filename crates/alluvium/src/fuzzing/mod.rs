//! Floor 7: the parsers behind the public interface, opened for fuzz targets. Compiled with the
//! feature `fuzzing` only, hidden, and no part of what the crate promises.
//!
//! A target is a function of bytes that returns when all is well and panics when it is not: where
//! bytes that were read do not encode to themselves again, where two ways to the same answer
//! differ, or where an error is of a kind that bytes cannot cause. Which bytes it is given is
//! somebody else's part (`crates/testkit/src/fuzz`, `fuzz`).
//!
//! Nearly everything on disk is under a checksum, which stops nearly every mutant at the door. So
//! there are functions that *seal* bytes: they put the checksums in that would make them whole, and
//! the parsers behind see what a stranger chose. Targets of such a format try both. A sealed place
//! stays as it is where the first byte of its checksum is `SPOILT`: places that do not check
//! among places that do.

mod log;
mod parts;

pub use crate::env::SPOILT;
pub use crate::sstable::fuzzing as tables;
pub use crate::version::fuzzing as versions;
pub use log::{Kind, log, seal_log};
pub use parts::{batch, coding, filter, keys};
