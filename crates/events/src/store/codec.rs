//! The bytes of keys and values. `store` draws them; a change here raises `EVENTS_VERSION`.

use crate::error::EventsError;
use crate::format::Parsed;

/// Bytes of an `events` key, and of the end of a `by_user` key.
pub(crate) const POSITION_BYTES: usize = 20;
/// Ends the user in a `by_user` key. Escaping keeps it from standing anywhere else in it.
const USER_END: [u8; 2] = [0x00, 0x01];
/// What a zero byte of the user becomes.
const USER_ZERO: [u8; 2] = [0x00, 0xff];

const STATUS_NONE: u8 = 0;
const STATUS_NUMBER: u8 = 1;
const STATUS_TEXT: u8 = 2;
const STATUS_MASK: u8 = 0b11;
const HAS_BYTES: u8 = 0b100;
const METHOD_SHIFT: u8 = 4;
const METHOD_OTHER: u8 = 15;
/// Method codes are places in this list, from 1.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// Where an event stands: in time, and where its line was. Keys order by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) time_ms: i64,
    pub(crate) source: u32,
    pub(crate) line: u64,
}

impl Position {
    /// The `events` key.
    pub(crate) fn key(self) -> [u8; POSITION_BYTES] {
        let mut key = [0; POSITION_BYTES];
        key[..8].copy_from_slice(&time_key(self.time_ms));
        key[8..12].copy_from_slice(&self.source.to_be_bytes());
        key[12..].copy_from_slice(&self.line.to_be_bytes());
        key
    }

    /// Reads an `events` key, or the end of a `by_user` key.
    pub(crate) fn of_key(key: &[u8]) -> Result<Position, EventsError> {
        let tail = key.last_chunk::<POSITION_BYTES>().ok_or_else(|| damaged("a short key"))?;
        let (time, rest) = tail.split_first_chunk::<8>().ok_or_else(|| damaged("a short key"))?;
        let (source, line) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("a short key"))?;
        let line = line.first_chunk::<8>().ok_or_else(|| damaged("a short key"))?;
        let time_ms = i64::try_from(u64::from_be_bytes(*time));
        Ok(Position {
            time_ms: time_ms.map_err(|_| damaged("a key's time is out of range"))?,
            source: u32::from_be_bytes(*source),
            line: u64::from_be_bytes(*line),
        })
    }
}

/// The first `events` key at or after a time begins with this.
pub(crate) fn time_key(time_ms: i64) -> [u8; 8] {
    time_ms.max(0).cast_unsigned().to_be_bytes()
}

/// Appends the prefix of exactly one user's `by_user` keys.
pub(crate) fn put_user_prefix(out: &mut Vec<u8>, user: &[u8]) {
    let mut rest = user;
    while let Some(zero) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..zero]);
        out.extend_from_slice(&USER_ZERO);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&USER_END);
}

/// What an event is besides its position and its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Details<'a> {
    pub(crate) status: Option<Status<'a>>,
    pub(crate) bytes: Option<i64>,
    pub(crate) method: Option<&'a [u8]>,
}

/// A status as it is stored: the usual ones as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status<'a> {
    Number(u16),
    Text(&'a [u8]),
}

impl<'a> Status<'a> {
    /// Only a text that a number prints as again becomes that number.
    fn of(text: &'a [u8]) -> Status<'a> {
        match text {
            [b'1'..=b'9', rest @ ..] if rest.len() < 4 && rest.iter().all(u8::is_ascii_digit) => {
                Status::Number(text.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')))
            }
            _ => Status::Text(text),
        }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Status::Number(number) => number.to_string().into_bytes(),
            Status::Text(text) => text.to_vec(),
        }
    }
}

/// Appends the part that the values of `events` and `by_user` share.
#[inline]
pub(crate) fn put_details(out: &mut Vec<u8>, event: &Parsed<'_>) {
    let status = event.status.map(Status::of);
    let method_code = event.method.map_or(0, |method| {
        let known = METHODS.iter().position(|known| *known == method);
        known.map_or(METHOD_OTHER, |place| place as u8 + 1)
    });
    let status_flag = match status {
        None => STATUS_NONE,
        Some(Status::Number(_)) => STATUS_NUMBER,
        Some(Status::Text(_)) => STATUS_TEXT,
    };
    let bytes_flag = if event.bytes.is_some() { HAS_BYTES } else { 0 };
    out.push(status_flag | bytes_flag | method_code << METHOD_SHIFT);
    match status {
        None => {}
        Some(Status::Number(number)) => put_varint(out, u64::from(number)),
        Some(Status::Text(text)) => put_prefixed(out, text),
    }
    if let Some(bytes) = event.bytes {
        // Zigzag: small numbers of either sign are short.
        put_varint(out, (bytes << 1 ^ bytes >> 63).cast_unsigned());
    }
    if method_code == METHOD_OTHER {
        put_prefixed(out, event.method.unwrap_or_default());
    }
}

/// Takes the shared part off the front of a value.
#[inline]
pub(crate) fn take_details<'a>(input: &mut &'a [u8]) -> Result<Details<'a>, EventsError> {
    let short = || damaged("an event ends early");
    let (flags, rest) = input.split_first().ok_or_else(short)?;
    *input = rest;
    let status = match flags & STATUS_MASK {
        STATUS_NONE => None,
        STATUS_NUMBER => {
            let number = take_varint(input).ok_or_else(short)?;
            Some(Status::Number(u16::try_from(number).map_err(|_| damaged("a status"))?))
        }
        STATUS_TEXT => Some(Status::Text(take_prefixed(input).ok_or_else(short)?)),
        _ => return Err(damaged("an event has unknown flags")),
    };
    let bytes = if flags & HAS_BYTES != 0 {
        let zigzag = take_varint(input).ok_or_else(short)?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    } else {
        None
    };
    let method = match flags >> METHOD_SHIFT {
        0 => None,
        METHOD_OTHER => Some(take_prefixed(input).ok_or_else(short)?),
        code => {
            let known = METHODS.get(usize::from(code) - 1);
            Some(*known.ok_or_else(|| damaged("an event has an unknown method"))?)
        }
    };
    Ok(Details { status, bytes, method })
}

pub(crate) fn damaged(detail: impl Into<String>) -> EventsError {
    EventsError::DamagedRecord { detail: detail.into() }
}

/// Appends a LEB128 number.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a LEB128 number; `None` when there is none.
#[inline]
pub(crate) fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Appends a length and the bytes.
#[inline]
pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a length and that many bytes.
#[inline]
pub(crate) fn take_prefixed<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(input)?).ok()?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(bytes)
}
