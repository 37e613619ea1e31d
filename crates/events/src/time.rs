//! Times as text: read from logs and arguments, written in reports.
//!
//! A time is an `i64` of milliseconds since 1970-01-01T00:00:00Z, and every stored one lies in
//! `0..=TIME_MAX_MS` (2262-04-11T23:47:16.854Z, the last whole millisecond that a signed 64-bit
//! count of nanoseconds reaches), so that it can stand in a key as an unsigned big-endian number.
//!
//! [`parse_time`] understands, told apart by their shape:
//!
//! - a number: Unix time, with or without a fraction. Below [`UNIX_MS_FROM`] (100,000,000,000) it
//!   counts seconds, from there on milliseconds. As seconds the threshold is the year 5138, as
//!   milliseconds 1973-03-03: no real log lies on the wrong side of it;
//! - ISO 8601: a date, or date and time with `T` or a space between, any number of fraction
//!   digits (cut to milliseconds), `Z`, ` UTC`, an offset, or nothing, which means UTC;
//! - the common log format's `17/May/2015:10:05:03 +0000`.
//!
//! The common shapes are read by straight code here, because this runs once an event (jiff's
//! general parser takes several times as long); whatever else looks like ISO 8601 goes to jiff,
//! which also writes every time and is the oracle of the tests.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::error::EventsError;

/// The last time that can be stored: 2262-04-11T23:47:16.854Z.
pub const TIME_MAX_MS: i64 = i64::MAX / 1_000_000;
/// A Unix time below this counts seconds, from this on milliseconds.
pub const UNIX_MS_FROM: u64 = 100_000_000_000;

const DAY_MS: i64 = 86_400_000;

/// Why a text is no time that can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeError {
    /// None of the known shapes.
    Malformed,
    /// A time before 1970-01-01 or after 2262-04-11.
    OutOfRange,
}

/// Reads a `--from` or `--to`: ISO 8601, Unix seconds, or milliseconds (by magnitude).
///
/// ```
/// let ms = alluvium_events::parse_time_argument("2015-05-17T10:05:00Z").unwrap();
/// assert_eq!(ms, 1_431_857_100_000);
/// assert_eq!(alluvium_events::parse_time_argument("1431857100").unwrap(), ms);
/// assert_eq!(alluvium_events::parse_time_argument("1431857100000").unwrap(), ms);
/// ```
///
/// # Errors
///
/// [`EventsError::BadTime`] when it is none of these, or before 1970-01-01 or after 2262-04-11.
pub fn parse_time_argument(argument: &str) -> Result<i64, EventsError> {
    parse_time(argument.trim().as_bytes()).map_err(|error| EventsError::BadTime {
        argument: argument.to_string(),
        out_of_range: error == TimeError::OutOfRange,
    })
}

/// ISO 8601 in UTC, with milliseconds only where they are not zero.
#[must_use]
pub fn format_time(ms: i64) -> String {
    // Every stored time is in jiff's range; a number from elsewhere may not be.
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// Reads a time in any of the known shapes.
pub(crate) fn parse_time(text: &[u8]) -> Result<i64, TimeError> {
    let ms = match text {
        [] => return Err(TimeError::Malformed),
        [_, _, _, _, b'-', _, _, b'-', ..] => parse_iso(text)?,
        [_, _, b'/', ..] => return parse_log_time(text),
        [b'0'..=b'9' | b'-' | b'+' | b'.', ..] => match parse_unix(text) {
            Err(TimeError::Malformed) => parse_other(text)?,
            other => other?,
        },
        _ => return Err(TimeError::Malformed),
    };
    in_range(ms)
}

fn in_range(ms: i64) -> Result<i64, TimeError> {
    if (0..=TIME_MAX_MS).contains(&ms) { Ok(ms) } else { Err(TimeError::OutOfRange) }
}

/// Reads the common log format's `dd/Mon/yyyy:hh:mm:ss +zzzz`, exactly 26 bytes.
pub(crate) fn parse_log_time(text: &[u8]) -> Result<i64, TimeError> {
    let text: &[u8; 26] = text.try_into().map_err(|_| TimeError::Malformed)?;
    let shape = [text[2], text[6], text[11], text[14], text[17], text[20]];
    if shape != *b"//::: " {
        return Err(TimeError::Malformed);
    }
    let month = month_by_name([text[3], text[4], text[5]]).ok_or(TimeError::Malformed)?;
    let day = digits(&text[0..2])?;
    let year = digits(&text[7..11])?;
    let clock = clock_ms(&text[12..20])?;
    let offset = offset_ms(&text[21..26])?;
    in_range(date_ms(year, month, day)? + clock - offset)
}

fn month_by_name(name: [u8; 3]) -> Option<u32> {
    const MONTHS: [[u8; 3]; 12] = [
        *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct",
        *b"Nov", *b"Dec",
    ];
    (1..).zip(MONTHS).find(|(_, month)| *month == name).map(|(number, _)| number)
}

/// The shapes `yyyy-mm-dd` and `yyyy-mm-dd?hh:mm:ss[.fraction][zone]`; others go to jiff.
fn parse_iso(text: &[u8]) -> Result<i64, TimeError> {
    let fast = || -> Result<i64, TimeError> {
        let date = date_ms(digits(&text[0..4])?, digits(&text[5..7])?, digits(&text[8..10])?)?;
        if text.len() == 10 {
            return Ok(date);
        }
        if !matches!(text[10], b'T' | b't' | b' ') {
            return Err(TimeError::Malformed);
        }
        let clock = clock_ms(text.get(11..19).ok_or(TimeError::Malformed)?)?;
        let (fraction, zone) = take_fraction(&text[19..])?;
        let offset = match zone {
            b"" | b"Z" | b"z" => 0,
            [b'+' | b'-', _, _, _, _] => offset_ms(zone)?,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                offset_ms(&[*sign, *h1, *h2, *m1, *m2])?
            }
            _ => return Err(TimeError::Malformed),
        };
        Ok(date + clock + fraction - offset)
    };
    if text.len() < 10 {
        return Err(TimeError::Malformed);
    }
    fast().or_else(|_| parse_other(text))
}

/// Whatever else jiff takes for ISO 8601; without an offset it means UTC.
fn parse_other(text: &[u8]) -> Result<i64, TimeError> {
    let text = str::from_utf8(text).map_err(|_| TimeError::Malformed)?;
    let (text, utc) = match text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT")) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if !utc && let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    // A text with a `Z` or an offset is no civil time for jiff, so nothing is read wrongly here.
    let civil: civil::DateTime = text.parse().map_err(|_| TimeError::Malformed)?;
    let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| TimeError::OutOfRange)?;
    Ok(zoned.timestamp().as_millisecond())
}

/// A Unix time as decimal text.
fn parse_unix(text: &[u8]) -> Result<i64, TimeError> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let whole = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let fraction = match &unsigned[whole..] {
        [] => 0,
        [b'.', digits @ ..] if whole > 0 && digits.iter().all(u8::is_ascii_digit) => {
            take_fraction(&unsigned[whole..])?.0
        }
        [b'e' | b'E' | b'.', ..] => return parse_float(text),
        _ => return Err(TimeError::Malformed),
    };
    if whole == 0 {
        return Err(TimeError::Malformed);
    }
    let number = unsigned[..whole].iter().fold(0u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    if negative && (number > 0 || fraction > 0) {
        return Err(TimeError::OutOfRange);
    }
    let ms = if number < UNIX_MS_FROM {
        number as i64 * 1000 + fraction
    } else {
        i64::try_from(number).map_err(|_| TimeError::OutOfRange)?
    };
    in_range(ms)
}

/// Numbers with an exponent, as some JSON writers print them.
fn parse_float(text: &[u8]) -> Result<i64, TimeError> {
    let number: f64 =
        str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(TimeError::Malformed)?;
    let ms = if number.abs() < UNIX_MS_FROM as f64 { number * 1000.0 } else { number };
    if (0.0..=TIME_MAX_MS as f64).contains(&ms) {
        Ok(ms as i64)
    } else {
        Err(TimeError::OutOfRange)
    }
}

/// Splits `.123456Z` into milliseconds (cut, not rounded) and the rest.
fn take_fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeError> {
    let [b'.' | b',', rest @ ..] = text else { return Ok((0, text)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(TimeError::Malformed);
    }
    let digits = rest[..count].iter().chain(b"00").take(3);
    let ms = digits.fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0'));
    Ok((ms, &rest[count..]))
}

/// `hh:mm:ss`; a leap second counts as the last one before it.
fn clock_ms(text: &[u8]) -> Result<i64, TimeError> {
    if text[2] != b':' || text[5] != b':' {
        return Err(TimeError::Malformed);
    }
    let (hour, minute, second) = (digits(&text[0..2])?, digits(&text[3..5])?, digits(&text[6..8])?);
    if hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError::Malformed);
    }
    Ok(i64::from(hour * 3600 + minute * 60 + second.min(59)) * 1000)
}

/// `+hhmm` or `-hhmm`.
fn offset_ms(text: &[u8]) -> Result<i64, TimeError> {
    let (hour, minute) = (digits(&text[1..3])?, digits(&text[3..5])?);
    if hour > 25 || minute > 59 {
        return Err(TimeError::Malformed);
    }
    let ms = i64::from(hour * 60 + minute) * 60_000;
    match text[0] {
        b'+' => Ok(ms),
        b'-' => Ok(-ms),
        _ => Err(TimeError::Malformed),
    }
}

fn digits(text: &[u8]) -> Result<u32, TimeError> {
    text.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Ok(number * 10 + u32::from(byte - b'0')),
        _ => Err(TimeError::Malformed),
    })
}

/// The first moment of a day of the proleptic Gregorian calendar. Counting from 1 March makes the
/// leap day the last of its year (Hinnant, "chrono-compatible low-level date algorithms").
fn date_ms(year: u32, month: u32, day: u32) -> Result<i64, TimeError> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return Err(TimeError::Malformed),
    };
    if day == 0 || day > last {
        return Err(TimeError::Malformed);
    }
    let shifted_year = i64::from(year) - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Ok((era * 146_097 + day_of_era - 719_468) * DAY_MS)
}

#[cfg(test)]
mod tests;
