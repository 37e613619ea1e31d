//! Floor 6: the store as its user sees it.
//!
//! [`Db`] is a table of contents: every method is short and hands on to the file that owns the
//! thing.
//!
//! | file | owns |
//! |---|---|
//! | `open`, `recovery` | finding or making a store, replaying its log |
//! | `write`, `commit`, `wal_set`, `stall` | the write path, group commit, log segments, waiting |
//! | `read`, `scan`, `snapshot`, `snapshot_list` | lookups, cursors and scans, snapshots |
//! | `super_version`, `family` | what a reader takes, the state of a column family |
//! | `reading` | how much is read beside what is written |
//! | `background`, `jobs`, `subjobs` | workers, what they run next, how it is installed |
//! | `pacing`, `progress`, `limiter`, `pause` | how fast writers and background work may go |
//! | `memory` | one limit for all memory |
//! | `clock` | the time of day that entries expire by |
//! | `health` | whether writes are possible |
//! | `events`, `status` | listeners, the history and its reasons; the file for those outside |
//! | `stats`, `verify`, `inspect` | figures, damage, looking at files by hand |
//! | `repair` | what a damaged store still holds, in a new one |

mod background;
mod clock;
mod column_family;
mod commit;
mod core;
mod events;
mod family;
mod handle;
mod health;
pub mod inspect;
mod jobs;
mod limiter;
mod manual;
mod memory;
mod open;
pub(crate) mod pacing;
mod pause;
mod progress;
mod reach;
mod read;
mod reading;
mod recovery;
mod repair;
mod retired;
mod scan;
mod snapshot;
mod snapshot_list;
pub(crate) mod stall;
mod stats;
mod status;
mod subjobs;
mod super_version;
mod verify;
mod wal_set;
mod write;
mod write_batch;

pub use column_family::ColumnFamily;
pub use events::history::HistoryEntry;
pub use handle::Db;
pub use pause::BackgroundPause;
pub use repair::{LogLoss, RepairReport, RepairedFamily, TableLoss, repair, repair_env};
pub use scan::{Cursor, KeyRange, Scan};
pub use snapshot::Snapshot;
pub use stats::{FamilyStats, LevelStats, Stats};
pub use status::{Status, status, status_env};
pub use verify::{VerifyReport, verify, verify_env};
pub use write_batch::WriteBatch;

#[cfg(all(test, loom))]
mod schedules;
#[cfg(test)]
mod tests;
