//! Expiry times: how they stand before a value, and when they have come.
//!
//! The value of an entry of kind `PutExpiring` is its expiry time, eight bytes little-endian, in
//! milliseconds since 1970, and then what the user wrote. An entry is expired from that millisecond
//! on; [`NEVER_MS`] never comes. All arithmetic saturates: a time to live too long to be counted is
//! for ever, and never a moment of the past.

use std::time::Duration;

/// Bytes of the expiry time before the user's value.
pub const EXPIRY_BYTES: usize = 8;
/// The expiry time of what does not expire.
pub const NEVER_MS: u64 = u64::MAX;

/// A duration in milliseconds, rounded up; [`NEVER_MS`] where it is too long to be counted.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER_MS)
}

/// When what is written at `now_ms` expires.
#[must_use]
pub fn after(now_ms: u64, ttl: Duration) -> u64 {
    now_ms.saturating_add(milliseconds(ttl))
}

/// Whether the time has come.
#[must_use]
#[inline]
pub fn has_come(expiry_ms: u64, now_ms: u64) -> bool {
    expiry_ms <= now_ms && expiry_ms != NEVER_MS
}

/// Splits a stored value into expiry time and user's value; `None` when it is too short.
#[must_use]
#[inline]
pub fn split(stored: &[u8]) -> Option<(u64, &[u8])> {
    let (expiry, value) = stored.split_first_chunk::<EXPIRY_BYTES>()?;
    Some((u64::from_le_bytes(*expiry), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_of_any_length_ends_in_the_future_or_never() {
        let year = Duration::from_secs(365 * 86_400);
        for now_ms in [0, 1, i32::MAX as u64 * 1_000, u32::MAX as u64 * 1_000, NEVER_MS - 1] {
            assert!(has_come(after(now_ms, Duration::ZERO), now_ms));
            for ttl in [Duration::from_nanos(1), Duration::from_secs(1), year * 15, Duration::MAX] {
                assert!(!has_come(after(now_ms, ttl), now_ms), "{ttl:?} at {now_ms}");
            }
            assert_eq!(after(now_ms, Duration::MAX), NEVER_MS);
        }
        assert_eq!(after(7, Duration::from_micros(1_500)), 9, "rounded up");
        assert!(!has_come(NEVER_MS, NEVER_MS));
    }

    #[test]
    fn a_value_too_short_for_a_time_is_none() {
        assert_eq!(split(&[0; 7]), None);
        assert_eq!(split(&[1, 0, 0, 0, 0, 0, 0, 0, b'v']), Some((1, b"v".as_slice())));
    }
}
