//! The parsers behind the public interface, opened for fuzz targets: functions of bytes that return
//! when all is well and panic when it is not. Compiled with the feature `fuzzing` only, hidden, and
//! no part of what the crate promises. Which bytes they are given is somebody else's part
//! (`crates/testkit/src/fuzz`, `fuzz`).

use crate::format::{Fields, Format, Head, LineParser, Parsed, choose};
use crate::input::lines::LineReader;
use crate::store::codec::{Details, Position, Status, put_details, take_details};
use crate::store::state::SourceState;
use crate::time::{TIME_MAX_MS, format_time, parse_time_argument};

const FORMATS: [Format; 6] =
    [Format::Auto, Format::Combined, Format::Common, Format::Ndjson, Format::Csv, Format::Tsv];
/// Specifications to name fields by; what is behind them is guessed.
const SPECS: [&str; 4] = ["id", "a.b", "{a}#{b.c}", "{{"];

/// Reads `bytes` as a source: two bytes say in which format and with which fields, the others are
/// its lines.
///
/// # Panics
/// When lines are lost or doubled, when a line is an event that cannot be, or one event now and
/// another the next time.
pub fn source(bytes: &[u8]) {
    let Some((&[format, fields], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    let named = |bit: u8| {
        let spec = SPECS[usize::from(fields >> 5) % SPECS.len()];
        (fields & 1 << bit != 0).then(|| spec.to_owned())
    };
    let fields =
        Fields { time: None, user: named(0), path: named(1), status: named(2), bytes: named(3) };
    let head = Head { bytes, whole: true };
    let Ok(chosen) = choose(head, format, &fields, "fuzz") else { return };
    let mut parser = chosen.parser;
    let mut offset = chosen.start;
    let rest = usize::try_from(offset).ok().and_then(|start| bytes.get(start..));
    let Some(rest) = rest else { panic!("the first record begins behind the end") };
    let mut reader = LineReader::new(rest, offset, 1 << 10, parser.is_csv());
    loop {
        let Ok(line) = reader.next() else { panic!("bytes in memory cannot be read") };
        let Some(line) = line else { break };
        assert_eq!(line.offset, offset, "bytes between two lines");
        assert!(line.next_offset > offset, "a line of nothing");
        assert!(line.lines > 0, "a record of no lines");
        offset = line.next_offset;
        if line.fault.is_none() && !line.bytes.is_empty() {
            parse(&mut parser, line.bytes);
        }
    }
    assert_eq!(offset, bytes.len() as u64, "the lines are not the whole source");
}

/// Parses one record twice.
fn parse(parser: &mut LineParser, record: &[u8]) {
    let event = |parsed: Parsed<'_>| {
        check_event(&parsed);
        format!("{parsed:?}")
    };
    let first = parser.parse(record).map(event);
    let second = parser.parse(record).map(event);
    assert_eq!(first, second, "the same record reads otherwise the second time");
    if let Err(reject) = first {
        assert!(!reject.detail.is_empty(), "a malformed line without a reason");
        assert!(reject.detail.len() < 2_000, "a reason as long as the line");
    }
}

/// An event can be stored, and comes back.
fn check_event(parsed: &Parsed<'_>) {
    assert!((0..=TIME_MAX_MS).contains(&parsed.time_ms), "a time that cannot be stored");
    let mut stored = Vec::new();
    put_details(&mut stored, parsed);
    stored.extend_from_slice(parsed.path);
    let mut rest = &stored[..];
    let Ok(details) = take_details(&mut rest) else { panic!("own event is refused") };
    assert_eq!(rest, parsed.path, "the path comes back otherwise");
    assert_same(&details, parsed.status, parsed.bytes, parsed.method);
}

fn assert_same(
    details: &Details<'_>,
    status: Option<&[u8]>,
    bytes: Option<i64>,
    method: Option<&[u8]>,
) {
    let found = details.status.map(Status::to_bytes);
    assert_eq!(found.as_deref(), status, "the status comes back otherwise");
    assert_eq!(details.bytes, bytes, "the byte count comes back otherwise");
    assert_eq!(details.method, method, "the method comes back otherwise");
}

/// Reads `bytes` as what stands in a store: the value and the key of an event, the state of a
/// source.
///
/// # Panics
/// When what was read does not come back from its own bytes.
pub fn stored(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(details) = take_details(&mut rest) {
        let status = details.status.map(Status::to_bytes);
        let (path, user) = (rest, &b""[..]);
        let status = status.as_deref();
        let (bytes, method) = (details.bytes, details.method);
        check_event(&Parsed { time_ms: 0, user, path, status, bytes, method });
    }
    if let Ok(position) = Position::of_key(bytes) {
        assert!(bytes.ends_with(&position.key()), "a position comes back otherwise");
    }
    if let Ok(state) = SourceState::decode(bytes) {
        match SourceState::decode(&state.encode()) {
            Ok(again) => assert_eq!(again, state, "the state of a source comes back otherwise"),
            Err(error) => panic!("own state is refused: {error}"),
        }
    }
}

/// Reads `bytes` as a time argument.
///
/// # Panics
/// When a time is taken that cannot be stored, or does not come back from its own text.
pub fn time(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(ms) = parse_time_argument(&text) else { return };
    assert!((0..=TIME_MAX_MS).contains(&ms), "{text:?} is a time that cannot be stored");
    let again = parse_time_argument(&format_time(ms));
    assert_eq!(again.ok(), Some(ms), "{text:?} comes back otherwise");
}
