//! When tables may first have something for a compaction picker to do: minima over their facts.
//!
//! A picker is asked after every job, under the scheduler's lock, and nearly always most tables
//! have nothing due. A sorted run keeps the minima of all its tables, so that a run, or a level,
//! without anything due is passed by at one look however many tables it has.
//!
//! # Invariants
//! A digest may say that something is due where nothing is, and never the other way round: that a
//! moment is before each of its times means that no table of it is due. Who it sends to the tables
//! looks at each of them by the exact rule (`compaction::reclaim`). [`Digest::and`] is commutative
//! and associative, and [`Digest::NOTHING`] changes nothing.

use crate::base::key::SeqNo;
use crate::version::{Expiry, TableFacts};

/// The part of a table, one in so many, that must be garbage for a rewrite to pay by itself.
pub const GARBAGE_PART: u64 = 4;

/// How far a time that is worked out in floating point may lie too late, as a part of it.
const SLACK: f64 = 1e-9;

/// See the module's documentation. Times are in milliseconds since 1970, and numbers those of
/// sequence; `u64::MAX` stands for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Whether any table has tombstones, of keys or of ranges.
    pub has_tombstones: bool,
    /// The oldest tombstone.
    pub oldest_tombstone: u64,
    /// The oldest tombstone of those tables that are tombstones by one [`GARBAGE_PART`].
    pub oldest_in_dense: u64,
    /// The smallest last number of those tables that are older versions by one [`GARBAGE_PART`].
    pub oldest_hidden: u64,
    /// When the first entry expires.
    pub first_expiry_ms: u64,
    /// When one [`GARBAGE_PART`] of some table has expired.
    pub part_expired_ms: u64,
    /// When all of some table has expired.
    pub all_expired_ms: u64,
    /// The least last event time of a table that has one.
    pub first_time_ms: u64,
}

impl Digest {
    /// That of no tables.
    pub const NOTHING: Digest = Digest {
        has_tombstones: false,
        oldest_tombstone: u64::MAX,
        oldest_in_dense: u64::MAX,
        oldest_hidden: u64::MAX,
        first_expiry_ms: u64::MAX,
        part_expired_ms: u64::MAX,
        all_expired_ms: u64::MAX,
        first_time_ms: u64::MAX,
    };

    /// That of one table.
    #[must_use]
    pub fn of(table: &TableFacts) -> Digest {
        let only = |holds: bool, value: u64| if holds { value } else { u64::MAX };
        let tombstones = table.tombstones.saturating_add(table.range_tombstones);
        let is_part = |count: u64| count.saturating_mul(GARBAGE_PART) >= table.entries;
        let oldest = only(table.oldest_tombstone > SeqNo::ZERO, table.oldest_tombstone.get());
        let expires = |of: fn(&Expiry) -> u64| table.expiry.as_ref().map_or(u64::MAX, of);
        let all_expire = table.range_tombstones == 0
            && table.expiry.is_some_and(|expiry| expiry.entries == table.entries);
        let is_hidden = table.hidden > 0 && is_part(table.hidden);
        let timed = table.range_tombstones == 0;
        let times = table.times.filter(|times| timed && !times.is_timeless());
        Digest {
            has_tombstones: tombstones > 0,
            oldest_tombstone: oldest,
            oldest_in_dense: only(is_part(tombstones), oldest),
            oldest_hidden: only(is_hidden, table.largest_seq.get()),
            first_expiry_ms: expires(|expiry| expiry.first_ms),
            part_expired_ms: table.expiry.map_or(u64::MAX, |expiry| part_expired(table, expiry)),
            all_expired_ms: only(all_expire, expires(|expiry| expiry.last_ms)),
            first_time_ms: times.map_or(u64::MAX, |times| times.last_ms),
        }
    }

    /// That of both.
    #[must_use]
    pub fn and(self, other: Digest) -> Digest {
        Digest {
            has_tombstones: self.has_tombstones || other.has_tombstones,
            oldest_tombstone: self.oldest_tombstone.min(other.oldest_tombstone),
            oldest_in_dense: self.oldest_in_dense.min(other.oldest_in_dense),
            oldest_hidden: self.oldest_hidden.min(other.oldest_hidden),
            first_expiry_ms: self.first_expiry_ms.min(other.first_expiry_ms),
            part_expired_ms: self.part_expired_ms.min(other.part_expired_ms),
            all_expired_ms: self.all_expired_ms.min(other.all_expired_ms),
            first_time_ms: self.first_time_ms.min(other.first_time_ms),
        }
    }
}

/// When one [`GARBAGE_PART`] of the bytes of `table` have expired, or somewhat before: its expiry
/// times are taken to lie evenly between the first and the last.
fn part_expired(table: &TableFacts, expiry: Expiry) -> u64 {
    if table.bytes == 0 {
        return 0;
    }
    let wanted = table.entries as f64 / (expiry.entries as f64 * GARBAGE_PART as f64);
    let wanted = wanted * (1.0 - SLACK);
    if wanted > 1.0 {
        return u64::MAX;
    }
    let span = expiry.last_ms - expiry.first_ms;
    let until = (span as f64 * wanted * (1.0 - SLACK)) as u64;
    expiry.first_ms.saturating_add(until).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_expired_no_later_than_the_rule_says() {
        let expiry = Expiry { entries: 50, first_ms: 1_000, last_ms: 5_000 };
        let table = TableFacts { bytes: 800, entries: 100, ..TableFacts::default() };
        // Half of the entries expire: a quarter of them all when half of the time has passed.
        assert!((2_990..=3_000).contains(&part_expired(&table, expiry)));
        let few = Expiry { entries: 20, ..expiry };
        assert_eq!(part_expired(&table, few), u64::MAX, "never a quarter");
        let at_once = Expiry { last_ms: 1_000, ..expiry };
        assert!(part_expired(&table, at_once) <= 1_000);
    }
}
