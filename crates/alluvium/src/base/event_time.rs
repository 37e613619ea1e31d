//! The time of the event that a key stands for.
//!
//! A family with time windows (`compaction::windows`) keeps the entries of one window together. The
//! time must follow from the *key* alone: only then do all versions of a key, and its tombstones,
//! belong into one window, and a window can be dropped without anything older coming to light.

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
    /// A function of the key. It must give the same answer for the same key for as long as the
    /// store lives.
    Function(fn(&[u8]) -> Option<u64>),
}

impl PartialEq for EventTime {
    fn eq(&self, other: &EventTime) -> bool {
        match (self, other) {
            (EventTime::BigEndianMs { offset }, EventTime::BigEndianMs { offset: other }) => {
                offset == other
            }
            (EventTime::Function(one), EventTime::Function(other)) => {
                std::ptr::fn_addr_eq(*one, *other)
            }
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

    /// The time of `key`; `None` where the key has none.
    #[must_use]
    #[inline]
    pub fn of(&self, key: &[u8]) -> Option<u64> {
        match self {
            EventTime::BigEndianMs { offset } => {
                let time = key.get(*offset..)?.first_chunk::<8>()?;
                Some(u64::from_be_bytes(*time))
            }
            EventTime::Function(time) => time(key),
        }
    }
}
