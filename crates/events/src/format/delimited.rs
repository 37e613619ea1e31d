//! CSV and TSV with a header.
//!
//! TSV is plain: a tab separates, nothing quotes. CSV follows RFC 4180: a field that begins with a
//! quote ends with one, holds commas, line breaks and doubled quotes in between, and nothing may
//! stand between its closing quote and the next comma; a quote inside an unquoted field is just a
//! quote. Every record has exactly as many fields as the header. Empty cells are missing.
//!
//! The road not taken: the csv crate's automaton. It has no malformed input (an open quote takes
//! the rest of the file with it), and here every fault needs its line and kind, and every record
//! its place in the file.

use memchr::{memchr, memchr_iter};

use super::fields::{Plan, Slots, Value};
use super::{Parsed, Reject, RejectKind};

/// Parses records by one header and one set of field specifications.
#[derive(Debug)]
pub(crate) struct DelimitedParser {
    plan: Plan,
    delimiter: u8,
    /// For each column the slot that wants it.
    columns: Vec<Option<usize>>,
    scratch: Vec<u8>,
}

impl DelimitedParser {
    /// `header` holds every name that the plan uses.
    pub(super) fn new(plan: Plan, delimiter: u8, header: &[String]) -> DelimitedParser {
        // Of columns with the same name the first counts.
        let mut taken = vec![false; plan.names().len()];
        let columns = header
            .iter()
            .map(|column| {
                let slot = plan.names().iter().position(|name| name == column)?;
                (!std::mem::replace(&mut taken[slot], true)).then_some(slot)
            })
            .collect();
        DelimitedParser { plan, delimiter, columns, scratch: Vec::new() }
    }

    pub(super) fn is_csv(&self) -> bool {
        self.delimiter == b','
    }

    pub(super) fn parse<'a>(&'a mut self, record: &'a [u8]) -> Result<Parsed<'a>, Reject> {
        self.scratch.clear();
        let mut slots = Slots::default();
        let mut count = 0;
        if self.is_csv() && memchr(b'"', record).is_some() {
            let mut rest = Some(record);
            while let Some(text) = rest {
                let (value, behind) = quotable_field(text, &mut self.scratch)?;
                if let Some(Some(slot)) = self.columns.get(count) {
                    slots[*slot] = value;
                }
                count += 1;
                rest = behind;
            }
        } else {
            let mut start = 0;
            for end in memchr_iter(self.delimiter, record).chain([record.len()]) {
                if let Some(Some(slot)) = self.columns.get(count) {
                    slots[*slot] = cell(&record[start..end]);
                }
                count += 1;
                start = end + 1;
            }
        }
        if count != self.columns.len() {
            return Err(Reject {
                kind: RejectKind::WrongFieldCount,
                detail: format!("{count} fields, the header has {}", self.columns.len()),
            });
        }
        self.plan.assemble(&slots, &mut self.scratch)
    }
}

fn cell(text: &[u8]) -> Value<'_> {
    if text.is_empty() { Value::Missing } else { Value::Line(text) }
}

/// The first field of a CSV record, and what is behind its comma (`None` at the record's end).
fn quotable_field<'a>(
    text: &'a [u8],
    scratch: &mut Vec<u8>,
) -> Result<(Value<'a>, Option<&'a [u8]>), RejectKind> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        return Ok(match memchr(b',', text) {
            Some(comma) => (cell(&text[..comma]), Some(&text[comma + 1..])),
            None => (cell(text), None),
        });
    };
    let mut at = 0;
    let mut doubled = false;
    loop {
        at += memchr(b'"', &inner[at..]).ok_or(RejectKind::QuoteNeverClosed)?;
        if inner.get(at + 1) != Some(&b'"') {
            break;
        }
        doubled = true;
        at += 2;
    }
    let value = if doubled {
        let start = scratch.len();
        let mut rest = &inner[..at];
        while let Some(quote) = memchr(b'"', rest) {
            scratch.extend_from_slice(&rest[..=quote]);
            rest = &rest[quote + 2..];
        }
        scratch.extend_from_slice(rest);
        Value::Scratch(start..scratch.len())
    } else {
        cell(&inner[..at])
    };
    match &inner[at + 1..] {
        [] => Ok((value, None)),
        [b',', rest @ ..] => Ok((value, Some(rest))),
        _ => Err(RejectKind::TextAfterQuote),
    }
}

/// Whether a quoted field is still open at the end of a line of CSV; `open` says whether one was
/// at its start.
pub(crate) fn open_after(line: &[u8], open: bool) -> bool {
    let mut rest = line;
    let mut open = open;
    loop {
        if open {
            let Some(quote) = memchr(b'"', rest) else { return true };
            rest = &rest[quote + 1..];
            if let Some(behind) = rest.strip_prefix(b"\"") {
                rest = behind;
                continue;
            }
            open = false;
        } else if let Some(inner) = rest.strip_prefix(b"\"") {
            rest = inner;
            open = true;
            continue;
        }
        // Behind a closing quote, or in an unquoted field: on to a quote that begins a field.
        let Some(begin) = memchr_iter(b'"', rest).find(|at| *at > 0 && rest[at - 1] == b',') else {
            return false;
        };
        rest = &rest[begin..];
    }
}

/// The names in a header record.
pub(super) fn header_names(record: &[u8], delimiter: u8) -> Result<Vec<String>, RejectKind> {
    let name = |text: &[u8]| String::from_utf8_lossy(text.trim_ascii()).into_owned();
    if delimiter != b',' {
        return Ok(record.split(|byte| *byte == delimiter).map(name).collect());
    }
    let mut names = Vec::new();
    let mut rest = Some(record);
    while let Some(text) = rest {
        let mut scratch = Vec::new();
        let (value, behind) = quotable_field(text, &mut scratch)?;
        names.push(match value {
            Value::Line(text) => name(text),
            Value::Scratch(_) => name(&scratch),
            Value::Missing | Value::NotText => String::new(),
        });
        rest = behind;
    }
    Ok(names)
}
