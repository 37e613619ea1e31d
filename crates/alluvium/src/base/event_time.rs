//! The time of the event that a key stands for.
//!
//! A family with time windows (`compaction::windows`) keeps the entries of one window together. The
//! time must follow from the *key* alone: only then do all versions of a key, and its tombstones,
//! belong into one window, and a window can be dropped without anything older coming to light.

use crate::base::planted;

/// Where a key says when its event was, in milliseconds since 1970.
///
/// ```
/// use alluvium::EventTime;
/// let key = [&1_700_000_000_000u64.to_be_bytes()[..], b"visitor"].concat();
/// assert_eq!(EventTime::big_endian_ms(0).of(&key), Some(1_700_000_000_000));
/// assert_eq!(EventTime::big_endian_ms(0).of(b"short"), None);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum EventTime {
    /// Eight bytes, big-endian, this many bytes behind the key's beginning: milliseconds since
    /// 1970.
    BigEndianMs {
        /// Bytes before the time.
        offset: usize,
    },
    /// A function of the key.
    Function {
        /// Names the function in the store. One that answers differently for a key must have
        /// another: what was ordered by the times of the old one is then ordered anew. Under the
        /// same number, entries would be dropped as if they were of another time.
        id: u32,
        /// The function: milliseconds since 1970, `None` for a key that has no time.
        time: fn(&[u8]) -> Option<u64>,
    },
}

impl PartialEq for EventTime {
    fn eq(&self, other: &EventTime) -> bool {
        match (self, other) {
            (EventTime::BigEndianMs { offset }, EventTime::BigEndianMs { offset: other }) => {
                offset == other
            }
            (
                EventTime::Function { id, time },
                EventTime::Function { id: other_id, time: other },
            ) => id == other_id && std::ptr::fn_addr_eq(*time, *other),
            _ => false,
        }
    }
}

impl EventTime {
    /// The time stands `offset` bytes behind the key's beginning, as eight bytes, big-endian.
    #[must_use]
    pub const fn big_endian_ms(offset: usize) -> EventTime {
        EventTime::BigEndianMs { offset }
    }

    /// The time is what `time` says. `id` names the function in the store: see
    /// [`EventTime::Function`].
    #[must_use]
    pub const fn function(id: u32, time: fn(&[u8]) -> Option<u64>) -> EventTime {
        EventTime::Function { id, time }
    }

    /// What stands in a store for this way to a key's time; never 0. Times that came by different
    /// ways have nothing to do with each other.
    pub(crate) fn source(&self) -> u64 {
        match self {
            _ if planted::is("times-of-any-source") => 1,
            EventTime::BigEndianMs { offset } => (*offset as u64).saturating_mul(2) | 1,
            EventTime::Function { id, .. } => (u64::from(*id) + 1) * 2,
        }
    }

    /// The time of `key`; `None` where the key has none.
    #[must_use]
    #[inline]
    pub fn of(&self, key: &[u8]) -> Option<u64> {
        match self {
            EventTime::BigEndianMs { offset } => {
                let time = key.get(*offset..)?.first_chunk::<8>()?;
                Some(u64::from_be_bytes(*time))
            }
            EventTime::Function { time, .. } => time(key),
        }
    }
}

/// The event times of a table's entries, both included, in milliseconds since 1970. Those of two
/// tables are to be compared only where they have one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimes {
    /// The earliest.
    pub first_ms: u64,
    /// The latest.
    pub last_ms: u64,
    /// How they follow from the keys: [`EventTime::source`]. Never 0.
    pub source: u64,
}

impl EventTimes {
    /// Whether the entries have no time.
    #[must_use]
    pub fn is_timeless(&self) -> bool {
        self.first_ms == u64::MAX
    }
}
