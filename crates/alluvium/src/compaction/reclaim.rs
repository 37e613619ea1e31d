//! What a rewrite would give back: tombstones that hide data, entries that have expired. Pure.
//!
//! Deletes return their space only where a merge brings a tombstone and what it hides together.
//! Whether that is worth its cost is a matter of arithmetic, not of a share of tombstones: a table
//! of nothing but tombstones over an empty range is worth nothing, a few of them over large values
//! are worth much.
//!
//! Where nothing is written, there is time for what pays less.
//!
//! A tombstone that pays for nothing is still merged once it has waited long enough
//! ([`crate::compaction::Ages::overdue`]): deleted data must not stay on disk for ever. And it is
//! merged once scans have stepped over so many tombstones of its table that the merge would have
//! been no more work: whoever scans a stretch of tombstones again and again pays for it at most
//! twice.

use std::sync::Arc;

use crate::base::key::SeqNo;
use crate::compaction::View;
use crate::version::{Digest, EventTimes, GARBAGE_PART, Run, Sums, TableMeta, Version};

/// A rewrite pays when what it frees is at least its cost divided by this.
const COST_PER_FREED: u64 = GARBAGE_PART;

/// The same while nothing is written.
const COST_PER_FREED_QUIET: u64 = 3 * COST_PER_FREED;

/// Tombstones that scans step over before it counts: a merge has costs beside its entries.
const WALKED_MIN: u64 = 10_000;

/// The bytes that a table of nothing but range tombstones may free are not known; each range is
/// taken to hide this many entries.
const ENTRIES_PER_RANGE_TOMBSTONE: u64 = 1_000;

/// What merging tables would free, and what it would read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gain {
    pub(crate) freed_bytes: u64,
    pub(crate) cost_bytes: u64,
    /// Whether some tombstone has waited long enough, or scans have met tombstones often enough.
    pub(crate) overdue: bool,
    /// Whether nothing is written.
    pub(crate) quiet: bool,
}

impl Gain {
    /// Whether it is worth doing.
    pub(crate) fn pays(&self) -> bool {
        let cost_per_freed = if self.quiet { COST_PER_FREED_QUIET } else { COST_PER_FREED };
        self.overdue || (self.freed_bytes > 0 && self.ratio() * cost_per_freed as f64 >= 1.0)
    }

    /// Bytes freed for each byte read.
    pub(crate) fn ratio(&self) -> f64 {
        self.freed_bytes as f64 / self.cost_bytes.max(1) as f64
    }
}

/// What may free something: tables and what is garbage in them by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Upper {
    sums: Sums,
    expired_bytes: u64,
    /// Whether some tombstone has waited long enough.
    overdue: bool,
    /// Tombstones that scans have stepped over in vain.
    walked: u64,
    /// Whether nothing is written.
    quiet: bool,
}

impl Upper {
    /// A table by itself.
    pub(crate) fn table(view: &View<'_>, table: &TableMeta) -> Upper {
        Upper {
            sums: Sums::of(table),
            expired_bytes: expired_bytes(table, view.now_ms),
            overdue: is_overdue(view, table),
            walked: walked_in_vain(view, table),
            quiet: view.ages.quiet,
        }
    }

    /// Some tables.
    pub(crate) fn tables<'a>(
        view: &View<'_>,
        tables: impl Iterator<Item = &'a Arc<TableMeta>>,
    ) -> Upper {
        tables.map(|table| Upper::table(view, table)).fold(Upper::default(), Upper::and)
    }

    /// A whole run, with a look at those tables alone of which something has expired.
    pub(crate) fn run(view: &View<'_>, run: &Run) -> Upper {
        let expires = |digest: &Digest| view.now_ms > 0 && digest.first_expiry_ms <= view.now_ms;
        let expiring = expires(run.digest()).then(|| run.tables_that(expires));
        let expired = expiring.into_iter().flatten().map(|t| expired_bytes(t, view.now_ms));
        Upper {
            sums: run.sums(),
            expired_bytes: expired.fold(0, u64::saturating_add),
            overdue: run.digest().oldest_tombstone <= view.ages.overdue.get(),
            walked: match run.digest().oldest_tombstone <= view.ages.droppable.get() {
                true => run.tables().iter().map(|table| walked_in_vain(view, table)).sum(),
                false => 0,
            },
            quiet: view.ages.quiet,
        }
    }

    /// Both.
    pub(crate) fn and(self, other: Upper) -> Upper {
        Upper {
            sums: self.sums.and(other.sums),
            expired_bytes: self.expired_bytes.saturating_add(other.expired_bytes),
            overdue: self.overdue || other.overdue,
            walked: self.walked.saturating_add(other.walked),
            quiet: self.quiet || other.quiet,
        }
    }
}

/// What merging `upper` with `lower` below it frees, where `hidden` is everything older that it
/// overlaps: its tombstones may hide entries of all of that, and meet what is below first.
pub(crate) fn gain(upper: &Upper, lower: Sums, hidden: Sums) -> Gain {
    let ranges = upper.sums.range_tombstones.saturating_mul(ENTRIES_PER_RANGE_TOMBSTONE);
    let tombstones = upper.sums.tombstones.saturating_add(ranges);
    // What is hidden goes with its values, wherever they lie; a merge reads and writes only what is
    // in tables.
    let each = hidden.data_bytes().checked_div(hidden.entries).unwrap_or(0);
    let met = each.saturating_mul(tombstones.min(hidden.entries));
    let read = upper.sums.entries.saturating_add(lower.entries);
    Gain {
        freed_bytes: upper.expired_bytes.saturating_add(met),
        cost_bytes: lower.bytes.saturating_add(upper.sums.bytes),
        overdue: (upper.overdue && hidden != Sums::default())
            || upper.walked >= read.max(WALKED_MIN),
        quiet: upper.quiet,
    }
}

/// What tables hold together.
pub(crate) fn sums_of<'a>(tables: impl IntoIterator<Item = &'a Arc<TableMeta>>) -> Sums {
    tables.into_iter().fold(Sums::default(), |sums, table| sums.and(Sums::of(table)))
}

/// Whether a rewrite of `table` could free anything at all.
pub(crate) fn may_free(view: &View<'_>, table: &TableMeta) -> bool {
    table.tombstones > 0 || table.range_tombstones > 0 || expired_bytes(table, view.now_ms) > 0
}

/// Whether merging any table of this digest could free anything at all.
pub(crate) fn any_may_free(view: &View<'_>, digest: &Digest) -> bool {
    digest.has_tombstones || (view.now_ms > 0 && digest.first_expiry_ms <= view.now_ms)
}

/// Whether any table of this digest can be one that [`is_all_expired`].
pub(crate) fn any_is_all_expired(view: &View<'_>, digest: &Digest) -> bool {
    view.now_ms > 0 && digest.all_expired_ms <= view.now_ms
}

/// Whether any table of this digest can be one that [`pays_at_the_bottom`].
pub(crate) fn any_may_pay_at_the_bottom(view: &View<'_>, digest: &Digest) -> bool {
    let droppable = view.ages.droppable.get();
    // Those of which scans have met many are not known to a digest.
    digest.oldest_in_dense <= droppable
        || digest.oldest_tombstone <= droppable
        || digest.oldest_hidden <= droppable
        || digest.part_expired_ms <= view.now_ms
}

/// Tombstones of `table` that scans have stepped over, where a merge at the bottom could drop even
/// its oldest.
fn walked_in_vain(view: &View<'_>, table: &TableMeta) -> u64 {
    if table.tombstones == 0 || table.oldest_tombstone > view.ages.droppable {
        return 0;
    }
    table.handle.tombstones_walked()
}

/// Whether `table` holds a tombstone that has waited long enough.
pub(crate) fn is_overdue(view: &View<'_>, table: &TableMeta) -> bool {
    table.oldest_tombstone > SeqNo::ZERO && table.oldest_tombstone <= view.ages.overdue
}

/// About how many bytes of `table` belong to entries that have expired: their times are taken to
/// lie evenly between the first and the last.
pub(crate) fn expired_bytes(table: &TableMeta, now_ms: u64) -> u64 {
    let Some(expiry) = table.expiry else { return 0 };
    if now_ms == 0 || now_ms < expiry.first_ms {
        return 0;
    }
    let span = expiry.last_ms - expiry.first_ms;
    let share = if now_ms >= expiry.last_ms {
        1.0
    } else {
        (now_ms - expiry.first_ms) as f64 / span.max(1) as f64
    };
    let expired = share * expiry.entries as f64 / table.entries.max(1) as f64;
    (table.bytes as f64 * expired) as u64
}

/// Whether every entry of `table` has expired.
pub(crate) fn is_all_expired(table: &TableMeta, now_ms: u64) -> bool {
    table.range_tombstones == 0
        && table.expiry.is_some_and(|expiry| {
            expiry.entries == table.entries && now_ms > 0 && expiry.last_ms <= now_ms
        })
}

/// Whether a rewrite of `table` at the bottom, alone, frees anything: tombstones hide nothing there
/// and are only kept, as older versions are, until a snapshot or their grace has gone.
pub(crate) fn frees_at_the_bottom(view: &View<'_>, table: &TableMeta) -> bool {
    let droppable =
        table.oldest_tombstone > SeqNo::ZERO && table.oldest_tombstone <= view.ages.droppable;
    let hidden = table.hidden > 0 && table.largest_seq <= view.ages.droppable;
    droppable || hidden || expired_bytes(table, view.now_ms) > 0
}

/// Whether that frees enough.
pub(crate) fn pays_at_the_bottom(view: &View<'_>, table: &TableMeta) -> bool {
    let droppable =
        table.oldest_tombstone > SeqNo::ZERO && table.oldest_tombstone <= view.ages.droppable;
    let tombstones = table.tombstones.saturating_add(table.range_tombstones);
    let many = tombstones.saturating_mul(COST_PER_FREED) >= table.entries;
    let expired = expired_bytes(table, view.now_ms).saturating_mul(COST_PER_FREED) >= table.bytes;
    let hidden = table.largest_seq <= view.ages.droppable
        && table.hidden.saturating_mul(COST_PER_FREED) >= table.entries;
    let walked = walked_in_vain(view, table) >= table.entries.max(WALKED_MIN);
    (droppable && (many || walked || is_overdue(view, table)))
        || (expired && table.expiry.is_some())
        || (hidden && table.hidden > 0)
}

/// Whether tables with these event times may hold one key. The time follows from the key, so that
/// tables of different windows never do, whatever their key ranges are; but for times that follow
/// from keys in different ways.
pub(crate) fn shares_times(one: Option<EventTimes>, other: Option<EventTimes>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) if one.source == other.source => {
            one.first_ms <= other.last_ms && other.first_ms <= one.last_ms
        }
        _ => true,
    }
}

/// Everything in `version` that holds entries, is older than `table` and overlaps it: other runs
/// of level 0 that hold older data, where the table is there, and all deeper levels.
pub(crate) fn older_overlapping<'a>(
    version: &'a Version,
    level: usize,
    table: &'a TableMeta,
) -> impl Iterator<Item = &'a Arc<TableMeta>> {
    let (low, high) = (table.smallest_user_key(), table.largest_user_key());
    let beside = if level == 0 { version.level(0).runs() } else { &[] };
    let beside = beside.iter().filter(|run| run.smallest_seq() < table.largest_seq);
    let is_older = |other: &&Arc<TableMeta>| {
        other.number != table.number
            && other.smallest_seq < table.largest_seq
            && shares_times(other.times, table.times)
    };
    let beside = beside.flat_map(move |run| run.overlapping(low, high)).filter(is_older);
    let deeper = version.levels().skip(level + 1);
    let deeper = deeper.flat_map(move |deeper| deeper.overlapping(low, high));
    // A table of range tombstones alone holds nothing that could come to light.
    beside.chain(deeper).filter(|table| table.entries > 0)
}

/// Whether there is any such.
pub(crate) fn lies_over_older(version: &Version, level: usize, table: &TableMeta) -> bool {
    older_overlapping(version, level, table).next().is_some()
}
