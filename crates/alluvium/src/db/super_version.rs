//! What a reader needs of a column family, as one immutable value.
//!
//! A reader takes one `Arc` and is never blocked, and never blocks: rotation, flush and compaction
//! build the next value and swap it in. What an old value names (memtables, tables) lives as long
//! as a reader holds it.
//!
//! # Order of a read
//!
//! A reader takes the super version **first** and the sequence number after. The other way round, a
//! compaction between the two could drop the only version that the older sequence number may see.
//! Taken in this order, everything at or below the sequence number that the super version lacks was
//! written after the read began.

use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::memtable::{ChunkPool, Memtable};
use crate::version::Version;

/// Why a memtable was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushReason {
    /// It was full.
    MemtableFull,
    /// The log is over its bound, and the memtable's family holds the oldest of it.
    LogBytes,
    /// Nothing was written for a while, and its tombstones hold space below.
    Quiet,
    /// Somebody asked for it.
    Asked,
}

/// A memtable that takes no more writes and waits to be flushed.
#[derive(Debug)]
pub(crate) struct Immutable {
    pub(crate) memtable: Arc<Memtable>,
    /// The log segment in which the family's later writes begin: with this memtable in tables, the
    /// family needs no segment before it.
    pub(crate) next_log: FileNumber,
    /// The last sequence number that had been given out when the memtable was closed.
    pub(crate) last_seq: SeqNo,
    pub(crate) reason: FlushReason,
}

/// The memtables and the version of a column family at one moment.
#[derive(Debug)]
pub(crate) struct SuperVersion {
    /// Takes the writes.
    pub(crate) active: Arc<Memtable>,
    /// Newest first.
    pub(crate) immutables: Vec<Arc<Immutable>>,
    pub(crate) version: Arc<Version>,
}

impl SuperVersion {
    pub(crate) fn new(version: Arc<Version>, pool: &Arc<ChunkPool>) -> SuperVersion {
        let active = Arc::new(Memtable::in_pool(pool, b""));
        SuperVersion { active, immutables: Vec::new(), version }
    }

    /// With the active memtable closed and a fresh one in its place.
    pub(crate) fn rotated(
        &self,
        next_log: FileNumber,
        last_seq: SeqNo,
        reason: FlushReason,
        pool: &Arc<ChunkPool>,
    ) -> SuperVersion {
        let closed = Immutable { memtable: Arc::clone(&self.active), next_log, last_seq, reason };
        let mut immutables = Vec::with_capacity(self.immutables.len() + 1);
        immutables.push(Arc::new(closed));
        immutables.extend(self.immutables.iter().cloned());
        SuperVersion {
            // The family's next keys mostly begin like its last ones.
            active: Arc::new(Memtable::in_pool(pool, &self.active.common_prefix())),
            immutables,
            version: Arc::clone(&self.version),
        }
    }

    /// With `version` in place of the old one, and without the memtables that it now holds as
    /// tables.
    pub(crate) fn installed(
        &self,
        version: Arc<Version>,
        flushed: &[Arc<Immutable>],
    ) -> SuperVersion {
        let waits = |one: &&Arc<Immutable>| !flushed.iter().any(|done| Arc::ptr_eq(done, one));
        SuperVersion {
            active: Arc::clone(&self.active),
            immutables: self.immutables.iter().filter(waits).cloned().collect(),
            version,
        }
    }
}
