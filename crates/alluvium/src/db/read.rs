//! Point lookups, newest to oldest.
//!
//! ```text
//! super version, then sequence number
//!   active memtable → immutable memtables, newest first
//!     one table of each run of level 0, newest first, until no run can hold a newer entry
//!       one table of each deeper level, by binary search
//! ```
//!
//! The first entry at or below the sequence number decides, value or tombstone; an entry that has
//! expired counts as a tombstone. So does the first range tombstone over the key, unless an entry
//! of the same source is newer. An error on the way is the answer: going on to older data could
//! return a value that was overwritten.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::blob::BlobIndex;
use crate::base::checksum::key_hash;
use crate::base::error::{Error, Result};
use crate::base::expiry::{self, EXPIRY_BYTES};
use crate::base::key::{self, SeqNo, TRAILER_BYTES, ValueKind};
use crate::base::planted;
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::super_version::SuperVersion;
use crate::options::ReadOptions;
use crate::sstable::{Lookups, OpenTable};
use crate::version::{Run, TableMeta};

/// Keys up to this length are looked up without an allocation.
const INLINE_KEY_BYTES: usize = 120;

/// As many tables have their filters asked before the first of them is looked into: the memory that
/// each filter needs is then on its way at the same time.
const ASKED_AT_ONCE: usize = 6;

/// One call in this many is timed, so that the clock costs the others nothing.
const TIMED_EVERY: u64 = 64;

/// The value of `user_key` at `seq`, or now.
pub(crate) fn get(
    core: &Core,
    family: &Family,
    user_key: &[u8],
    seq: Option<SeqNo>,
    options: &ReadOptions,
) -> Result<Option<Bytes>> {
    let timed = core.counters.gets.add_and_get(1).is_multiple_of(TIMED_EVERY);
    let begun = if timed { crate::db::core::nanoseconds(core.env.as_ref()) } else { 0 };
    let current = family.peek();
    let seq = seq.unwrap_or_else(|| core.visible());
    let now = || core.clock.now_ms();
    let result = get_at(core, &current, user_key, seq, &now, options);
    if timed {
        let ended = crate::db::core::nanoseconds(core.env.as_ref());
        core.latencies.get.record(ended.saturating_sub(begun));
    }
    if let Ok(Some(value)) = &result {
        core.counters.gets_found.add(1);
        core.counters.get_bytes.add(value.len() as u64);
    }
    result
}

/// The value of `user_key` at `seq` in one super version. `now` gives the time in milliseconds
/// since 1970; it is asked only where an entry may have expired.
pub(crate) fn get_at(
    core: &Core,
    current: &SuperVersion,
    user_key: &[u8],
    seq: SeqNo,
    now: &dyn Fn() -> u64,
    options: &ReadOptions,
) -> Result<Option<Bytes>> {
    let trailer = key::seek_trailer(seq).to_le_bytes();
    if user_key.len() <= INLINE_KEY_BYTES {
        let mut lookup = [0u8; INLINE_KEY_BYTES + TRAILER_BYTES];
        lookup[..user_key.len()].copy_from_slice(user_key);
        lookup[user_key.len()..user_key.len() + TRAILER_BYTES].copy_from_slice(&trailer);
        search(core, current, &lookup[..user_key.len() + TRAILER_BYTES], now, options)
    } else {
        let lookup = [user_key, &trailer].concat();
        search(core, current, &lookup, now, options)
    }
}

fn search(
    core: &Core,
    current: &SuperVersion,
    lookup: &[u8],
    now: &dyn Fn() -> u64,
    options: &ReadOptions,
) -> Result<Option<Bytes>> {
    let mut lookups = Lookups::default();
    let result = search_counted(core, current, lookup, now, options, &mut lookups);
    lookups.add_to(&core.counters);
    result
}

#[inline]
fn search_counted(
    core: &Core,
    current: &SuperVersion,
    lookup: &[u8],
    now: &dyn Fn() -> u64,
    options: &ReadOptions,
    lookups: &mut Lookups,
) -> Result<Option<Bytes>> {
    let (user_key, at) = key::split(lookup);
    let at = key::trailer_seq(at);
    let immutables = current.immutables.iter().map(|immutable| &immutable.memtable);
    for memtable in std::iter::once(&current.active).chain(immutables) {
        let covering = memtable.covering(user_key, at);
        match memtable.get(lookup) {
            Some((trailer, value)) if key::trailer_seq(trailer) > covering => {
                return decide(trailer, now, || Bytes::copy_from_slice(value));
            }
            // Whatever lies below is older than the range tombstone.
            _ if covering > SeqNo::ZERO => return Ok(None),
            _ => {}
        }
    }
    let Some((trailer, value)) = search_tables(core, current, lookup, options, lookups)? else {
        return Ok(None);
    };
    let value = decide(trailer, now, || value)?;
    match key::trailer_kind(trailer) {
        Some(kind) if kind.is_blob() => {
            value.map(|index| read_blob(core, &index, options)).transpose()
        }
        _ => Ok(value),
    }
}

/// A table that may hold the key.
struct Candidate<'a> {
    level: usize,
    run: &'a Run,
    table: &'a Arc<TableMeta>,
    open: OpenTable,
    /// What its filter says, where it is open.
    may_hold: bool,
}

/// The newest entry of the key in the tables, unless a range tombstone there is newer.
#[inline]
fn search_tables(
    core: &Core,
    current: &SuperVersion,
    lookup: &[u8],
    options: &ReadOptions,
    lookups: &mut Lookups,
) -> Result<Option<(u64, Bytes)>> {
    let (user_key, at) = key::split(lookup);
    let at = key::trailer_seq(at);
    let hash = key_hash(user_key);
    let levels = current.version.levels().enumerate();
    let runs = levels.flat_map(|(level, tables)| tables.runs().iter().map(move |run| (level, run)));
    let mut candidates = runs.filter_map(|(level, run)| {
        let table = run.candidate(user_key)?;
        Some(Candidate { level, run, table, open: core.tables.peek(&table.handle), may_hold: true })
    });
    let mut found: Option<(u64, Bytes)> = None;
    let mut covering = SeqNo::ZERO;
    loop {
        let mut asked = [const { None::<Candidate<'_>> }; ASKED_AT_ONCE];
        for (place, candidate) in asked.iter_mut().zip(&mut candidates) {
            *place = Some(candidate);
        }
        // A filter's line comes from far: nothing here waits for one before it asks for the next.
        for candidate in asked.iter_mut().flatten() {
            let open = Option::as_ref(&candidate.open);
            candidate.may_hold = open.is_none_or(|table| table.may_hold(hash));
        }
        let is_last = asked.iter().any(Option::is_none);
        for Candidate { level, run, table, open, mut may_hold } in asked.into_iter().flatten() {
            let newest = found
                .as_ref()
                .map_or(covering, |(trailer, _)| key::trailer_seq(*trailer).max(covering));
            // Whatever lies deeper is older than either; so is every later run of level 0 that
            // begins before them.
            let is_older = level > 0 || newest >= run.largest_seq() || oldest_first(&found);
            if is_older && (found.is_some() || covering > SeqNo::ZERO) {
                return Ok(uncovered(found, covering));
            }
            let opened;
            let table = match Option::as_ref(&open) {
                Some(table) => table,
                None => {
                    opened = core.tables.open(&table.handle)?;
                    may_hold = opened.may_hold(hash);
                    &opened
                }
            };
            covering = table.ranges().covering(user_key, at).max(covering);
            let entry = match table.get(lookup, may_hold, options.fill_cache, lookups) {
                Err(Error::Io { .. }) if planted::is("read-error-is-not-found") => None,
                entry => entry?,
            };
            if let Some(entry) = entry
                && found.as_ref().is_none_or(|(trailer, _)| entry.0 > *trailer)
            {
                found = Some(entry);
            }
        }
        if is_last {
            return Ok(uncovered(found, covering));
        }
    }
}

/// Whether the first that was found in level 0 is taken, planted.
#[inline]
fn oldest_first(found: &Option<(u64, Bytes)>) -> bool {
    found.is_some() && planted::is("level0-oldest-first")
}

/// The entry, unless the range tombstone is newer.
#[inline]
fn uncovered(found: Option<(u64, Bytes)>, covering: SeqNo) -> Option<(u64, Bytes)> {
    found.filter(|(trailer, _)| key::trailer_seq(*trailer) > covering)
}

/// The value that `index`, as it stands in a table, leads to.
#[cold]
pub(crate) fn read_blob(core: &Core, index: &[u8], options: &ReadOptions) -> Result<Bytes> {
    let no_index = || {
        let detail = "a table says of a value that it lies in a blob file, and not where";
        Error::corruption(core.env.directory(), 0, detail)
    };
    let index = BlobIndex::decode(index).ok_or_else(no_index)?;
    core.blobs.read(&index, options.fill_cache)
}

/// A value or its absence, or where the value lies, by the kind of the newest visible entry.
fn decide(
    trailer: u64,
    now: &dyn Fn() -> u64,
    value: impl FnOnce() -> Bytes,
) -> Result<Option<Bytes>> {
    match key::trailer_kind(trailer) {
        Some(ValueKind::Put | ValueKind::BlobIndex) => Ok(Some(value())),
        Some(ValueKind::Delete) => Ok(None),
        Some(ValueKind::PutExpiring | ValueKind::BlobIndexExpiring) => {
            let stored = value();
            let (expiry_ms, _) = expiry::split(&stored)
                .ok_or_else(|| Error::invalid("an entry that expires, and says not when"))?;
            if expiry::has_come(expiry_ms, now()) && !planted::is("expired-entry-is-read") {
                return Ok(None);
            }
            Ok(Some(stored.slice(EXPIRY_BYTES..)))
        }
        _ => Err(Error::invalid(format!("entry of unknown kind {}", trailer & 0xff))),
    }
}
