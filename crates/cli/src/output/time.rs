//! Times for people, always UTC.
//!
//! A time that the calendar library cannot express (beyond the year 9999) is printed as its
//! milliseconds rather than refused.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1995-08-01 06:00:00` (and `.250` where there are milliseconds).
pub fn instant(ms: i64) -> String {
    let format =
        if ms.rem_euclid(1000) == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.3f" };
    text(ms, format)
}

/// The time by a format of `strftime`.
pub fn text(ms: i64, format: &str) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime(format).to_string())
}

/// Year, month (1 to 12) and day of a time.
pub fn date(ms: i64) -> Option<(i16, i8, i8)> {
    let zoned = Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::UTC);
    Some((zoned.year(), zoned.month(), zoned.day()))
}
