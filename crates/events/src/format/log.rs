//! Apache and nginx access logs: the common format, and the combined one.
//!
//! ```text
//! host ident authuser [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 2023 "referer" "agent"
//! user                 time                         method path          status bytes
//! ```
//!
//! A line is valid only as a whole: single spaces between fields, the request exactly three words,
//! a status of three digits, the byte count digits or `-` (missing, which is not zero), and for
//! the combined format the two quoted fields and nothing behind them. In a quoted field a backslash
//! escapes the next byte, so `\"` does not end it; the path is kept verbatim, escapes and query
//! included. The user is the first field. Bytes need not be UTF-8.

use memchr::{memchr, memchr2};

use super::{Parsed, Reject, RejectKind};
use crate::time::{TimeError, parse_log_time};

/// `dd/Mon/yyyy:hh:mm:ss +zzzz`
const TIME_BYTES: usize = 26;

/// Parses one line; `combined` says whether referer and user agent have to follow.
pub(super) fn parse(line: &[u8], combined: bool) -> Result<Parsed<'_>, Reject> {
    let (host, rest) = word(line).ok_or(RejectKind::BadHost)?;
    let (_ident, rest) = word(rest).ok_or(RejectKind::BadHost)?;
    let (_authuser, rest) = word(rest).ok_or(RejectKind::BadHost)?;
    let (time, rest) = bracketed(rest)?;
    let (method, path, rest) = request(rest)?;
    let (status, rest) = status(rest)?;
    let (bytes, rest) = byte_count(rest)?;
    let rest = if combined { referer_and_agent(rest)? } else { rest };
    if !rest.is_empty() {
        return Err(Reject::with(RejectKind::TrailingText, rest));
    }
    let time_ms = parse_log_time(time).map_err(|error| match error {
        TimeError::Malformed => Reject::with(RejectKind::BadTime, time),
        TimeError::OutOfRange => Reject::with(RejectKind::TimeOutOfRange, time),
    })?;
    Ok(Parsed { time_ms, user: host, path, status: Some(status), bytes, method: Some(method) })
}

/// A non-empty word and the space behind it.
#[inline]
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr(b' ', text)?;
    (space > 0).then(|| (&text[..space], &text[space + 1..]))
}

/// `[time] `, without the brackets and the space.
#[inline]
fn bracketed(text: &[u8]) -> Result<(&[u8], &[u8]), RejectKind> {
    let inner = text.strip_prefix(b"[").ok_or(RejectKind::TimeBracketMissing)?;
    // Nearly every line ends its time at the same place.
    let close = match inner.get(TIME_BYTES) {
        Some(b']') => TIME_BYTES,
        _ => memchr(b']', inner).ok_or(RejectKind::TimeBracketMissing)?,
    };
    let rest = inner[close + 1..].strip_prefix(b" ").ok_or(RejectKind::RequestQuoteMissing)?;
    Ok((&inner[..close], rest))
}

/// `"method path protocol" `: the method and the path.
#[inline]
fn request(text: &[u8]) -> Result<(&[u8], &[u8], &[u8]), Reject> {
    let (request, rest) = match quoted(text) {
        Quoted::Closed(request, rest) => (request, rest),
        Quoted::Missing => return Err(RejectKind::RequestQuoteMissing.into()),
        Quoted::Open => return Err(RejectKind::RequestQuoteNeverClosed.into()),
    };
    let not_three = || Reject::with(RejectKind::RequestNotThreeWords, request);
    let (method, target_on) = word(request).ok_or_else(not_three)?;
    let (path, protocol) = word(target_on).ok_or_else(not_three)?;
    if protocol.is_empty() || memchr(b' ', protocol).is_some() {
        return Err(not_three());
    }
    let rest = rest.strip_prefix(b" ").ok_or_else(|| Reject::with(RejectKind::BadStatus, rest))?;
    Ok((method, path, rest))
}

/// Three digits and the space behind them.
#[inline]
fn status(text: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    match text {
        [a, b, c, b' ', rest @ ..] if [a, b, c].iter().all(|byte| byte.is_ascii_digit()) => {
            Ok((&text[..3], rest))
        }
        _ => Err(Reject::with(RejectKind::BadStatus, text)),
    }
}

/// Digits or `-`, up to a space or the end.
#[inline]
fn byte_count(text: &[u8]) -> Result<(Option<i64>, &[u8]), Reject> {
    if let [b'-', rest @ ..] = text
        && matches!(rest.first(), None | Some(b' '))
    {
        return Ok((None, rest));
    }
    let end = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = text[..end].iter().try_fold(0i64, |number, digit| {
        number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
    });
    match (number, text.get(end)) {
        (Some(number), None | Some(b' ')) if end > 0 => Ok((Some(number), &text[end..])),
        _ => Err(Reject::with(RejectKind::BadBytes, text)),
    }
}

/// ` "referer" "user agent"`; gives what is behind.
#[inline]
fn referer_and_agent(text: &[u8]) -> Result<&[u8], RejectKind> {
    let text = text.strip_prefix(b" ").ok_or(RejectKind::RefererMissing)?;
    let text = match quoted(text) {
        Quoted::Closed(_, rest) => rest,
        Quoted::Missing => return Err(RejectKind::RefererMissing),
        Quoted::Open => return Err(RejectKind::RefererQuoteNeverClosed),
    };
    let text = text.strip_prefix(b" ").ok_or(RejectKind::UserAgentMissing)?;
    match quoted(text) {
        Quoted::Closed(_, rest) => Ok(rest),
        Quoted::Missing => Err(RejectKind::UserAgentMissing),
        Quoted::Open => Err(RejectKind::UserAgentQuoteNeverClosed),
    }
}

enum Quoted<'a> {
    /// The field without its quotes, and what follows.
    Closed(&'a [u8], &'a [u8]),
    /// No opening quote.
    Missing,
    /// No closing quote.
    Open,
}

#[inline]
fn quoted(text: &[u8]) -> Quoted<'_> {
    let Some(inner) = text.strip_prefix(b"\"") else { return Quoted::Missing };
    let mut at = 0;
    while let Some(found) = inner.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if inner[at] == b'"' {
            return Quoted::Closed(&inner[..at], &inner[at + 1..]);
        }
        at += 2;
    }
    Quoted::Open
}
