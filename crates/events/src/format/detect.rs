//! Recognising the format, and making the parser for it.
//!
//! Decided once per source, from its first bytes (the [`Head`]), before anything is stored, so that
//! the answer is the same whenever the source is opened again. A source is one of the log formats
//! when lines of its head are whole lines of it (the format with more of them wins); NDJSON when
//! lines are JSON objects; TSV or CSV when the first record can be a header and half of the others
//! or more have as many fields. Anything else is refused with a sentence, unless the format was
//! named: then only what is plainly no text is refused.

use memchr::memchr;

use super::delimited::{DelimitedParser, header_names, open_after};
use super::fields::{Fields, Plan};
use super::json::{self, JsonParser};
use super::{Format, Parsed, Reject, log};
use crate::error::EventsError;

/// Most lines that are looked at.
const LINES_MAX: usize = 200;
/// Most field names that are gathered.
const NAMES_MAX: usize = 500;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of a source, decompressed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// Whether they are all of the source.
    pub(crate) whole: bool,
}

/// The parser of a source.
#[derive(Debug)]
pub(crate) enum LineParser {
    Log { combined: bool },
    Json(JsonParser),
    Delimited(DelimitedParser),
}

impl LineParser {
    /// Parses one record.
    #[inline]
    pub(crate) fn parse<'a>(&'a mut self, record: &'a [u8]) -> Result<Parsed<'a>, Reject> {
        match self {
            LineParser::Log { combined } => log::parse(record, *combined),
            LineParser::Json(parser) => parser.parse(record),
            LineParser::Delimited(parser) => parser.parse(record),
        }
    }

    /// Whether a record may hold line breaks.
    pub(crate) fn is_csv(&self) -> bool {
        matches!(self, LineParser::Delimited(parser) if parser.is_csv())
    }
}

/// What was chosen for a source.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) parser: LineParser,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask what was recognised"))]
    pub(crate) format: Format,
    /// Where the first record begins, behind a byte order mark and the header.
    pub(crate) start: u64,
    /// The lines before it.
    pub(crate) header_lines: u64,
}

/// Makes the parser for a source, recognising its format where it is [`Format::Auto`].
pub(crate) fn choose(
    head: Head<'_>,
    format: Format,
    fields: &Fields,
    source_name: &str,
) -> Result<Chosen, EventsError> {
    if let Some(looks_like) = known_binary(head.bytes) {
        return Err(EventsError::Binary { source_name: source_name.to_string(), looks_like });
    }
    let mark = if head.bytes.starts_with(BOM) { BOM.len() } else { 0 };
    let text = Head { bytes: &head.bytes[mark..], ..head };
    let lines = whole_lines(text);
    let format = match format {
        Format::Auto => recognise(text, &lines).ok_or_else(|| unrecognised(text, source_name))?,
        named => named,
    };
    let mut chosen = match format {
        Format::Csv => delimited(text, b',', fields, source_name)?,
        Format::Tsv => delimited(text, b'\t', fields, source_name)?,
        Format::Ndjson => {
            let plan = Plan::new(fields, &json_names(&lines), source_name)?;
            Chosen::plain(LineParser::Json(JsonParser::new(plan)), format)
        }
        _ => Chosen::plain(LineParser::Log { combined: format == Format::Combined }, format),
    };
    chosen.start += mark as u64;
    // A named format is believed, but not against zero bytes without one good line.
    let zero = memchr(0, text.bytes).is_some();
    if zero && !lines.iter().any(|line| chosen.parser.parse(line).is_ok()) {
        return Err(unrecognised(text, source_name));
    }
    Ok(chosen)
}

impl Chosen {
    fn plain(parser: LineParser, format: Format) -> Chosen {
        Chosen { parser, format, start: 0, header_lines: 0 }
    }
}

fn unrecognised(head: Head<'_>, source_name: &str) -> EventsError {
    let source_name = source_name.to_string();
    let controls = head.bytes.iter().filter(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31));
    if memchr(0, head.bytes).is_some() || controls.count() > head.bytes.len() / 20 {
        EventsError::Binary { source_name, looks_like: "binary data" }
    } else {
        EventsError::UnknownFormat { source_name }
    }
}

/// Names the kinds of file that people mistake for logs.
fn known_binary(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: &[(&[u8], &str)] = &[
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\x00", "an xz file"),
        (b"\x04\x22\x4d\x18", "an LZ4 file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"PAR1", "a Parquet file"),
        (b"Obj\x01", "an Avro file"),
        (b"SQLite format 3\x00", "an SQLite database"),
        (b"\x7fELF", "a program"),
        (b"%PDF-", "a PDF document"),
        (b"\x89PNG", "an image"),
        (b"\xff\xd8\xff", "an image"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}

/// The first whole, non-empty lines without their endings. A last line that the head cuts counts
/// only when there is no other.
fn whole_lines(head: Head<'_>) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = head.bytes.split(|byte| *byte == b'\n').collect();
    if !head.whole && lines.len() > 1 {
        lines.pop();
    }
    let lines = lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).take(LINES_MAX).collect()
}

fn recognise(head: Head<'_>, lines: &[&[u8]]) -> Option<Format> {
    let count = |good: fn(&[u8]) -> bool| lines.iter().filter(|line| good(line)).count();
    let combined = count(|line| log::parse(line, true).is_ok());
    let common = count(|line| log::parse(line, false).is_ok());
    if combined + common > 0 {
        return Some(if combined >= common { Format::Combined } else { Format::Common });
    }
    let cut_object = lines.len() == 1 && !head.whole && lines[0].starts_with(b"{\"");
    if count(json::is_object) > 0 || cut_object {
        return Some(Format::Ndjson);
    }
    [(b'\t', Format::Tsv), (b',', Format::Csv)]
        .into_iter()
        .find(|(delimiter, _)| is_table(head, *delimiter))
        .map(|(_, format)| format)
}

/// Whether the head looks like a header and records under it.
fn is_table(head: Head<'_>, delimiter: u8) -> bool {
    let records = records(head, delimiter);
    let Some((header, rows)) = records.split_first() else { return false };
    let Ok(names) = header_names(header, delimiter) else { return false };
    let plausible = |name: &String| {
        !name.is_empty()
            && name.len() <= 100
            && name.parse::<f64>().is_err()
            && !name.contains('\0')
    };
    if names.len() < 2 || !names.iter().all(plausible) {
        return false;
    }
    let same =
        |row: &&&[u8]| header_names(row, delimiter).is_ok_and(|cells| cells.len() == names.len());
    let fitting = rows.iter().filter(same).count();
    fitting * 2 >= rows.len()
}

/// The first whole records: lines, or for CSV as many lines as its quotes say.
fn records(head: Head<'_>, delimiter: u8) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = head.bytes;
    while records.len() < LINES_MAX
        && let Some((record, behind, _)) = first_record(rest, head.whole, delimiter)
    {
        if !record.is_empty() {
            records.push(record);
        }
        rest = behind;
    }
    records
}

/// The first record without its line ending, what is behind it, and its lines. Where a quote is
/// never closed that is the first line, as for the reader.
fn first_record(text: &[u8], whole: bool, delimiter: u8) -> Option<(&[u8], &[u8], u64)> {
    let (mut from, mut open, mut lines) = (0, false, 0);
    let mut first_line = None;
    let trimmed = |end: usize| text[..end].strip_suffix(b"\r").unwrap_or(&text[..end]);
    while from < text.len() {
        let newline = memchr(b'\n', &text[from..]).map(|at| from + at);
        if newline.is_none() && !whole {
            return None;
        }
        let end = newline.unwrap_or(text.len());
        let behind = &text[newline.map_or(text.len(), |at| at + 1)..];
        lines += 1;
        open = delimiter == b',' && open_after(&text[from..end], open);
        if !open {
            return Some((trimmed(end), behind, lines));
        }
        first_line.get_or_insert((trimmed(end), behind, 1));
        from = text.len() - behind.len();
    }
    first_line.filter(|_| whole)
}

fn delimited(
    head: Head<'_>,
    delimiter: u8,
    fields: &Fields,
    source_name: &str,
) -> Result<Chosen, EventsError> {
    let unknown = || unrecognised(head, source_name);
    let (mut rest, mut header_lines) = (head.bytes, 0);
    let header = loop {
        let (record, behind, lines) =
            first_record(rest, head.whole, delimiter).ok_or_else(unknown)?;
        rest = behind;
        header_lines += lines;
        if !record.is_empty() {
            break record;
        }
    };
    let names = header_names(header, delimiter).map_err(|_| unknown())?;
    let plan = Plan::new(fields, &names, source_name)?;
    if let Some(field) = plan.names().iter().find(|name| !names.contains(name)) {
        return Err(EventsError::NoSuchField {
            source_name: source_name.to_string(),
            field: field.clone(),
            found: names,
        });
    }
    let start = (head.bytes.len() - rest.len()) as u64;
    let parser = LineParser::Delimited(DelimitedParser::new(plan, delimiter, &names));
    let format = if delimiter == b',' { Format::Csv } else { Format::Tsv };
    Ok(Chosen { parser, format, start, header_lines })
}

/// The field names of all the lines, in the order in which they are first seen.
fn json_names(lines: &[&[u8]]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in lines.iter().flat_map(|line| json::field_names(line)) {
        if names.len() < NAMES_MAX && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
