//! From the bytes of one line (or CSV record) to one event.
//!
//! Each format is a parser of its own with the same contract: it is given one whole record, without
//! its line ending, and answers with a [`Parsed`] that borrows from it, or with a [`Reject`]. A
//! parser never fails otherwise, never panics on any bytes, keeps no state from line to line, and
//! allocates only to describe a malformed line. Cutting the input into records is the reader's part
//! (`input::lines`).
//!
//! What counts as malformed, for all formats: a missing or null time, user or path; a time that
//! is none or lies outside 1970-01-01..2262-04-11; a status or byte count that was asked for by
//! name and is no scalar or no whole number. A missing status or byte count is no fault. Empty
//! lines are skipped and counted nowhere.

mod delimited;
mod detect;
mod fields;
mod json;
mod kind;
mod log;

use std::str::FromStr;

pub(crate) use delimited::open_after as csv_open_after;
pub(crate) use detect::{Head, LineParser, choose};
pub use fields::Fields;
pub(crate) use kind::{Reject, RejectKind};

use crate::error::EventsError;

/// The format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// Recognised from the first lines.
    #[default]
    Auto,
    /// Apache and nginx *combined* log: common, then referer and user agent.
    Combined,
    /// Common log: `host ident authuser [time] "request" status bytes`.
    Common,
    /// A JSON object a line.
    Ndjson,
    /// Comma-separated values with a header (RFC 4180 quoting).
    Csv,
    /// Tab-separated values with a header, no quoting.
    Tsv,
}

impl Format {
    /// The name that [`FromStr`] reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Combined => "combined",
            Format::Common => "common",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
        }
    }
}

impl FromStr for Format {
    type Err = EventsError;

    fn from_str(name: &str) -> Result<Format, EventsError> {
        match name.to_ascii_lowercase().as_str() {
            "auto" => Ok(Format::Auto),
            "combined" => Ok(Format::Combined),
            "common" => Ok(Format::Common),
            "ndjson" | "json" | "jsonl" => Ok(Format::Ndjson),
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            _ => Err(EventsError::BadFormatName { name: name.to_string() }),
        }
    }
}

/// One event as its line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// Milliseconds since 1970, in `0..=TIME_MAX_MS`.
    pub(crate) time_ms: i64,
    pub(crate) user: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) status: Option<&'a [u8]>,
    pub(crate) bytes: Option<i64>,
    pub(crate) method: Option<&'a [u8]>,
}

/// Reads a whole number, in the forms that logs have: an optional sign, digits, and a fraction
/// only if it is zero.
fn parse_whole(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = match memchr::memchr(b'.', digits) {
        Some(point) if digits[point + 1..].iter().all(|byte| *byte == b'0') => &digits[..point],
        _ => digits,
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        let number = number.checked_mul(10)?;
        if negative { number.checked_sub(digit) } else { number.checked_add(digit) }
    })
}

#[cfg(test)]
mod tests;
