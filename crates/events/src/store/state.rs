//! What is remembered of each source, so that every event is stored exactly once.
//!
//! A [`SourceState`] is written in the same batch as the events up to its position. It says where
//! to go on, and how to tell that a source is still the same: by its name and a hash of its first
//! bytes.
//!
//! The last line of a source may lack its line ending because its writer is still at it. Such a
//! *tail* is stored as an event (or counted as malformed) like any other line, but the position
//! stays before it, and what it became is remembered: when the source has grown, the tail is undone
//! in the same batch that stores the line as it is then.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::codec::{damaged, put_prefixed, put_varint, take_prefixed, take_varint};
use crate::error::EventsError;

/// Bytes by which a source is recognised.
pub(crate) const IDENTITY_BYTES: usize = 4096;

/// The first bytes of a stream, as a length and a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint {
    length: u64,
    hash: u64,
}

impl Fingerprint {
    /// Of as much of `head` as counts.
    pub(crate) fn of(head: &[u8]) -> Fingerprint {
        let head = &head[..head.len().min(IDENTITY_BYTES)];
        Fingerprint { length: head.len() as u64, hash: xxh3_64(head) }
    }

    /// Whether a stream that begins with `head` is the same, perhaps longer.
    pub(crate) fn matches(self, head: &[u8]) -> bool {
        usize::try_from(self.length)
            .ok()
            .and_then(|length| head.get(..length))
            .is_some_and(|start| xxh3_64(start) == self.hash)
    }

    /// How many bytes it covers.
    pub(crate) fn length(self) -> u64 {
        self.length
    }
}

/// A last line without a line ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Its length in bytes.
    pub(crate) length: u64,
    pub(crate) became: TailOutcome,
}

/// What became of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TailOutcome {
    /// Nothing: it was blank.
    Blank,
    /// An event under these two keys.
    Event { event_key: Vec<u8>, user_key: Vec<u8> },
    /// A malformed line of this kind.
    Rejected(String),
}

/// How far a source has been ingested.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SourceState {
    /// The canonical path, `-`, or what the caller said.
    pub(crate) name: Vec<u8>,
    pub(crate) head: Fingerprint,
    /// In the decompressed stream: where the first line begins that is not stored for good.
    pub(crate) position: u64,
    /// Lines before the position.
    pub(crate) lines: u64,
    pub(crate) events: u64,
    /// Malformed lines by kind.
    pub(crate) rejected: BTreeMap<String, u64>,
    pub(crate) tail: Option<Tail>,
    /// Whether the source had been read to its end.
    pub(crate) done: bool,
}

impl SourceState {
    /// Malformed lines of all kinds.
    pub(crate) fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Lines that are stored or counted, the tail included.
    pub(crate) fn lines_seen(&self) -> u64 {
        self.lines + u64::from(self.tail.is_some())
    }

    pub(crate) fn count_rejected(&mut self, kind: &str) {
        match self.rejected.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.rejected.insert(kind.to_string(), 1)),
        }
    }

    /// Takes the tail back: its keys have to be deleted by the caller.
    pub(crate) fn undo_tail(&mut self) -> Option<Tail> {
        let tail = self.tail.take()?;
        match &tail.became {
            TailOutcome::Blank => {}
            TailOutcome::Event { .. } => self.events = self.events.saturating_sub(1),
            TailOutcome::Rejected(kind) => {
                if let Some(count) = self.rejected.get_mut(kind) {
                    *count = count.saturating_sub(1);
                }
                self.rejected.retain(|_, count| *count > 0);
            }
        }
        Some(tail)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.len());
        put_prefixed(&mut out, &self.name);
        put_varint(&mut out, self.head.length);
        out.extend_from_slice(&self.head.hash.to_le_bytes());
        for number in [self.position, self.lines, self.events, u64::from(self.done)] {
            put_varint(&mut out, number);
        }
        put_varint(&mut out, self.rejected.len() as u64);
        for (kind, count) in &self.rejected {
            put_prefixed(&mut out, kind.as_bytes());
            put_varint(&mut out, *count);
        }
        match &self.tail {
            None => out.push(0),
            Some(Tail { length, became }) => {
                let (tag, first, second): (u8, &[u8], &[u8]) = match became {
                    TailOutcome::Blank => (1, b"", b""),
                    TailOutcome::Event { event_key, user_key } => (2, event_key, user_key),
                    TailOutcome::Rejected(kind) => (3, kind.as_bytes(), b""),
                };
                out.push(tag);
                put_varint(&mut out, *length);
                put_prefixed(&mut out, first);
                put_prefixed(&mut out, second);
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SourceState, EventsError> {
        let mut input = bytes;
        take_state(&mut input)
            .filter(|_| input.is_empty())
            .ok_or_else(|| damaged("the position of a source"))
    }
}

fn take_state(input: &mut &[u8]) -> Option<SourceState> {
    let name = take_prefixed(input)?.to_vec();
    let head = Fingerprint { length: take_varint(input)?, hash: take_u64(input)? };
    let (position, lines, events) = (take_varint(input)?, take_varint(input)?, take_varint(input)?);
    let done = take_varint(input)? != 0;
    let mut rejected = BTreeMap::new();
    for _ in 0..take_varint(input)? {
        rejected.insert(take_text(input)?, take_varint(input)?);
    }
    let (tag, rest) = input.split_first()?;
    *input = rest;
    let tail = if *tag == 0 { None } else { Some(take_tail(*tag, input)?) };
    Some(SourceState { name, head, position, lines, events, rejected, tail, done })
}

fn take_tail(tag: u8, input: &mut &[u8]) -> Option<Tail> {
    let length = take_varint(input)?;
    let (first, second) = (take_prefixed(input)?, take_prefixed(input)?);
    let became = match tag {
        1 => TailOutcome::Blank,
        2 => TailOutcome::Event { event_key: first.to_vec(), user_key: second.to_vec() },
        3 => TailOutcome::Rejected(String::from_utf8(first.to_vec()).ok()?),
        _ => return None,
    };
    Some(Tail { length, became })
}

fn take_text(input: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_prefixed(input)?.to_vec()).ok()
}

fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let (bytes, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(u64::from_le_bytes(*bytes))
}

/// How far a reject file belongs to the events stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RejectState {
    /// Bytes that belong to it.
    pub(crate) length: u64,
    pub(crate) head: Fingerprint,
    /// Whether more may have been written since, by a run that did not come to its end.
    pub(crate) open: bool,
}

impl RejectState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.length);
        put_varint(&mut out, self.head.length);
        out.extend_from_slice(&self.head.hash.to_le_bytes());
        out.push(u8::from(self.open));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<RejectState, EventsError> {
        let mut input = bytes;
        let take = |input: &mut &[u8]| {
            let length = take_varint(input)?;
            let head = Fingerprint { length: take_varint(input)?, hash: take_u64(input)? };
            let (open, rest) = input.split_first()?;
            *input = rest;
            Some(RejectState { length, head, open: *open != 0 })
        };
        take(&mut input)
            .filter(|_| input.is_empty())
            .ok_or_else(|| damaged("the length of a reject file"))
    }
}
