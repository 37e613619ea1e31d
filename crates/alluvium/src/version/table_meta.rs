//! What the store knows of a table without opening it, and the end of a table's life.
//!
//! A table is live while a [`TableMeta`] of it is: versions share them by `Arc`, and whoever reads
//! holds a version. When an edit removes a table, the version set marks it obsolete; the last
//! holder to let go puts its number into [`ObsoleteFiles`], and its file is removed exactly then.
//! A table that nobody marked (the store was closed) leaves its file alone.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::base::blob::{BlobShare, shares_are_consistent};
use crate::base::event_time::EventTimes;
use crate::base::file::{FileId, FileNumber};
use crate::base::key::{self, KeyEnd, SeqNo};
use crate::base::limits::KEY_BYTES_MAX;
use crate::base::planted;
use crate::sstable::TableHandle;
use crate::version::blobs::BlobMeta;
use crate::version::obsolete::ObsoleteFiles;
use crate::version::{Breach, Checked};

/// Entries of a table that end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// How many entries have an expiry time.
    pub entries: u64,
    /// The earliest of those times, in milliseconds since 1970.
    pub first_ms: u64,
    /// The latest of those times, in milliseconds since 1970.
    pub last_ms: u64,
}

/// What an edit says of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// The number of its file.
    pub number: FileNumber,
    /// The length of its file in bytes.
    pub bytes: u64,
    /// How many entries it holds.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// How many of its entries are older versions of the key before them, kept for snapshots.
    pub hidden: u64,
    /// How many range tombstones it holds beside its entries, each counted in every piece of the
    /// key space that it was cut to.
    pub range_tombstones: u64,
    /// The sequence number of its oldest tombstone; zero where it has none.
    pub oldest_tombstone: SeqNo,
    /// Its entries that expire; `None` where none does.
    pub expiry: Option<Expiry>,
    /// The event times of its entries; `None` where it was written without a look at them.
    pub times: Option<EventTimes>,
    /// How its blocks were to be compressed: the tag of a codec.
    pub codec: u8,
    /// Bytes of its filter.
    pub filter_bytes: u64,
    /// In level 0: the sorted run that it was written with, named by the number of one table of the
    /// run; zero where the table is a run by itself. Means nothing in deeper levels.
    pub run: FileNumber,
    /// Its lower bound: its first internal key, encoded, or one of a range tombstone that begins
    /// before it.
    pub smallest: Vec<u8>,
    /// Its upper bound: its last internal key, encoded, or one with
    /// [`key::EXCLUDED_TRAILER`] where a range tombstone ends behind it.
    pub largest: Vec<u8>,
    /// The smallest sequence number in it.
    pub smallest_seq: SeqNo,
    /// The largest sequence number in it.
    pub largest_seq: SeqNo,
    /// The checksum in its footer: a file of the right name with other content is noticed.
    pub footer_checksum: u64,
    /// The blob files in which values of its entries lie, ascending.
    pub blobs: Vec<BlobShare>,
}

impl TableFacts {
    /// The first user key. The facts were checked by [`TableMeta::new`].
    #[must_use]
    #[inline]
    pub fn smallest_user_key(&self) -> &[u8] {
        key::user_key(&self.smallest)
    }

    /// The last user key, or the one that its last range tombstone ends before: [`Self::end`]
    /// tells.
    #[must_use]
    #[inline]
    pub fn largest_user_key(&self) -> &[u8] {
        key::user_key(&self.largest)
    }

    /// Where its keys end.
    #[must_use]
    #[inline]
    pub fn end(&self) -> KeyEnd<'_> {
        key::end_of(&self.largest)
    }

    /// Bytes of the values that it needs of blob files.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        self.blobs.iter().fold(0, |sum, share| sum.saturating_add(share.bytes))
    }

    /// The number of its sorted run in level 0.
    #[must_use]
    pub fn run_number(&self) -> FileNumber {
        if self.run == FileNumber(0) { self.number } else { self.run }
    }

    /// Whether the table may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn overlaps<'a>(&self, smallest_user_key: &[u8], end: impl Into<KeyEnd<'a>>) -> bool {
        !end.into().is_before(self.smallest_user_key()) && !self.end().is_before(smallest_user_key)
    }

    /// Whether the facts can be true of any table.
    fn check(&self) -> Checked<()> {
        let wrong = |what: &str| {
            Err(Breach::of_table(self.number, format!("table {}: {what}", self.number)))
        };
        if self.number == FileNumber(0) || self.number > FileNumber::MAX {
            return wrong("there is no such file number");
        }
        let is_empty = self.entries == 0 && self.range_tombstones == 0;
        if is_empty || self.tombstones > self.entries {
            return wrong("it has no entries, or fewer than tombstones");
        }
        if self.hidden >= self.entries.max(1) {
            return wrong("it has more older versions than keys allow");
        }
        if self.run > FileNumber::MAX {
            return wrong("there is no such run");
        }
        if self.filter_bytes > self.bytes {
            return wrong("its filter is larger than the table");
        }
        if self.smallest_seq > self.largest_seq {
            return wrong("its sequence numbers end before they begin");
        }
        let tombstone_seqs = self.smallest_seq..=self.largest_seq;
        if self.oldest_tombstone > SeqNo::ZERO && !tombstone_seqs.contains(&self.oldest_tombstone) {
            return wrong("its oldest tombstone lies outside of its sequence numbers");
        }
        if let Some(Expiry { entries, first_ms, last_ms }) = self.expiry
            && (entries == 0 || entries > self.entries || first_ms > last_ms)
        {
            return wrong("its expiry times cannot be");
        }
        if self.times.is_some_and(|times| times.first_ms > times.last_ms) {
            return wrong("its event times end before they begin");
        }
        if !shares_are_consistent(&self.blobs, self.entries.saturating_sub(self.tombstones)) {
            return wrong("what it needs of blob files cannot be");
        }
        let has_ranges = self.range_tombstones > 0;
        for (bound, may_be) in [
            (&self.smallest, key::is_lower_bound as fn(u64) -> bool),
            (&self.largest, key::is_upper_bound),
        ] {
            let Some((user_key, trailer)) = key::try_split(bound) else {
                return wrong("a bound is no internal key");
            };
            let of_range = key::trailer_kind(trailer).is_none();
            if user_key.len() > KEY_BYTES_MAX || !may_be(trailer) || (of_range && !has_ranges) {
                return wrong("a bound is no key that a table can hold");
            }
            if trailer == key::EXCLUDED_TRAILER {
                continue;
            }
            if !(self.smallest_seq..=self.largest_seq).contains(&key::trailer_seq(trailer)) {
                return wrong("a bound lies outside of its sequence numbers");
            }
        }
        if key::compare(&self.smallest, &self.largest).is_gt() {
            return wrong("its keys end before they begin");
        }
        Ok(())
    }
}

/// A live table: its facts, and the handle by which the table cache knows it.
pub struct TableMeta {
    facts: TableFacts,
    /// What the table cache opens.
    pub handle: Arc<TableHandle>,
    /// Where to report when the last holder has gone; set once the table is obsolete.
    obsolete: OnceLock<Arc<ObsoleteFiles>>,
    /// The blob files that it needs, held as long as it is.
    blobs: OnceLock<Vec<Arc<BlobMeta>>>,
}

impl TableMeta {
    /// A live table. Fails when the facts contradict each other.
    pub(super) fn checked(facts: TableFacts) -> Checked<TableMeta> {
        facts.check()?;
        let handle = Arc::new(TableHandle::new(facts.number, facts.footer_checksum));
        Ok(TableMeta { facts, handle, obsolete: OnceLock::new(), blobs: OnceLock::new() })
    }

    /// A live table that was just written.
    ///
    /// # Errors
    /// `InvalidArgument` when the facts contradict each other.
    pub fn new(facts: TableFacts) -> crate::base::error::Result<TableMeta> {
        TableMeta::checked(facts).map_err(Breach::invalid)
    }

    /// Holds on to the blob files that it needs. Only the first call counts.
    pub(super) fn hold_blobs(&self, blobs: impl FnOnce() -> Vec<Arc<BlobMeta>>) {
        self.blobs.get_or_init(blobs);
    }

    /// Lets the last holder put the table into `queue`.
    pub(super) fn mark_obsolete(&self, queue: &Arc<ObsoleteFiles>) {
        if planted::in_order("file-removed-while-it-is-held") {
            queue.push(FileId::Table(self.facts.number));
            return;
        }
        self.obsolete.get_or_init(|| Arc::clone(queue));
    }

    /// Whether the table has left the store and waits for its last reader.
    #[must_use]
    pub fn is_obsolete(&self) -> bool {
        self.obsolete.get().is_some()
    }
}

impl Deref for TableMeta {
    type Target = TableFacts;

    #[inline]
    fn deref(&self) -> &TableFacts {
        &self.facts
    }
}

impl fmt::Debug for TableMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.facts;
        f.debug_struct("TableMeta")
            .field("facts", facts)
            .field("obsolete", &self.is_obsolete())
            .finish()
    }
}

impl Drop for TableMeta {
    fn drop(&mut self) {
        if let Some(queue) = self.obsolete.get() {
            queue.push(FileId::Table(self.facts.number));
        }
    }
}
