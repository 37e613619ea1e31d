//! Which fields of a line are the event: specifications, guesses, and putting the values together.
//!
//! A specification is a field name, or a *template* such as `{tag}#{id}`: text in which `{name}`
//! stands for a field's value (`{{` and `}}` are literal braces). In NDJSON a name may lead into
//! nested objects (`request.headers.host`). In a template a missing or null part counts as empty
//! text, so a template is never missing; a plain field is missing when it is absent or null, or an
//! empty CSV or TSV cell. Numbers stand for their decimal text, just as written; `true` and
//! `false` for these words.
//!
//! A field that was not named is looked for among the fields that the first lines have, under the
//! names that logs usually give it, in order of preference. A *guessed* status or byte count that
//! turns out to be something else counts as missing; one that was *named* makes the line malformed.
//!
//! Names become slot numbers once, when the source is opened; a line's values are gathered in an
//! array of slots on the stack and borrow from the line. Only unescaped and joined texts are
//! copied, into one scratch buffer that lives as long as the parser.

use std::ops::Range;

use super::{Parsed, Reject, RejectKind, parse_whole};
use crate::error::EventsError;
use crate::time::{TimeError, parse_time};

/// Most different fields that one set of specifications may name.
pub(super) const SLOTS_MAX: usize = 24;
/// Longest user in bytes: with the rest of its key it has to fit an engine key.
const USER_BYTES_MAX: usize = 16 << 10;

/// Field specifications for NDJSON, CSV and TSV; logs in the common and combined formats have
/// their fields fixed and ignore them. `None` means to guess.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// The time.
    pub time: Option<String>,
    /// Who.
    pub user: Option<String>,
    /// What was asked for or touched.
    pub path: Option<String>,
    /// The status, any text.
    pub status: Option<String>,
    /// The byte count, or another whole number to be summed up; it may be negative.
    pub bytes: Option<String>,
}

const TIME_NAMES: &[&str] = &[
    "time",
    "timestamp",
    "ts",
    "datetime",
    "dt",
    "date",
    "eventtime",
    "createdat",
    "occurredat",
    "timelocal",
    "timeiso8601",
    "requesttime",
    "timems",
    "epoch",
    "unixtime",
];
const USER_NAMES: &[&str] = &[
    "user",
    "userid",
    "username",
    "uid",
    "visitor",
    "visitorid",
    "actor",
    "client",
    "clientid",
    "clientip",
    "remoteaddr",
    "remotehost",
    "remoteip",
    "sourceip",
    "ip",
    "ipaddress",
    "host",
    "sessionid",
    "session",
    "sid",
    "login",
    "customer",
    "customerid",
    "account",
];
const PATH_NAMES: &[&str] = &[
    "path",
    "url",
    "uri",
    "requesturi",
    "urlpath",
    "requestpath",
    "page",
    "pageurl",
    "request",
    "resource",
    "target",
    "endpoint",
    "route",
    "repo",
    "href",
    "location",
    "item",
    "itemid",
    "event",
    "eventname",
    "action",
];
const STATUS_NAMES: &[&str] =
    &["status", "statuscode", "response", "responsecode", "httpstatus", "responsestatus"];
const BYTES_NAMES: &[&str] = &[
    "bytes",
    "bytessent",
    "bodybytessent",
    "size",
    "responsesize",
    "contentlength",
    "length",
    "bytesout",
];
const METHOD_NAMES: &[&str] = &["method", "requestmethod", "httpmethod", "verb"];

/// One value of a line. `Scratch` is a place in the parser's buffer: the buffer may still grow
/// while the values are gathered.
#[derive(Debug, Clone, Default)]
pub(super) enum Value<'a> {
    #[default]
    Missing,
    Line(&'a [u8]),
    Scratch(Range<usize>),
    /// An array or object.
    NotText,
}

/// The values of one line, by slot.
pub(super) type Slots<'a> = [Value<'a>; SLOTS_MAX];

#[derive(Debug)]
enum Source {
    Slot(usize),
    Template(Vec<Piece>),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Slot(usize),
}

/// Where the parts of an event come from.
#[derive(Debug)]
pub(super) struct Plan {
    names: Vec<String>,
    time: Source,
    user: Source,
    path: Source,
    status: Option<Optional>,
    bytes: Option<Optional>,
    method: Option<Source>,
}

/// A part that an event need not have.
#[derive(Debug)]
struct Optional {
    source: Source,
    /// Named by the user, so that nonsense in it is a fault.
    named: bool,
}

impl Plan {
    /// Resolves `fields`, guessing among the `found` names what is not given.
    pub(super) fn new(
        fields: &Fields,
        found: &[String],
        source_name: &str,
    ) -> Result<Plan, EventsError> {
        let mut names = Vec::new();
        let mut missing = Vec::new();
        let mut required = |spec: &Option<String>, usual: &[&str], option: &'static str| {
            let spec = spec.clone().or_else(|| guess(usual, found));
            match spec {
                Some(spec) => compile(&spec, &mut names),
                None => {
                    missing.push(option);
                    Ok(Source::Slot(0))
                }
            }
        };
        let time = required(&fields.time, TIME_NAMES, "--time")?;
        let user = required(&fields.user, USER_NAMES, "--user")?;
        let path = required(&fields.path, PATH_NAMES, "--path")?;
        if !missing.is_empty() {
            return Err(EventsError::FieldsMissing {
                source_name: source_name.to_string(),
                options: missing,
                found: found.to_vec(),
            });
        }
        let mut optional = |spec: &Option<String>, usual: &[&str]| {
            let named = spec.is_some();
            let spec = spec.clone().or_else(|| guess(usual, found));
            spec.map(|spec| Ok(Optional { source: compile(&spec, &mut names)?, named })).transpose()
        };
        let status: Result<_, EventsError> = optional(&fields.status, STATUS_NAMES);
        let status = status?;
        let bytes = optional(&fields.bytes, BYTES_NAMES)?;
        let method = optional(&None, METHOD_NAMES)?.map(|optional| optional.source);
        Ok(Plan { names, time, user, path, status, bytes, method })
    }

    /// The field names, by slot.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Puts an event together. Values that were unescaped stand in `scratch`.
    pub(super) fn assemble<'a>(
        &self,
        slots: &Slots<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Parsed<'a>, Reject> {
        let user = value(&self.user, slots, scratch);
        let path = value(&self.path, slots, scratch);
        let time = value(&self.time, slots, scratch);
        let status = self.status.as_ref().map(|part| value(&part.source, slots, scratch));
        let bytes = self.bytes.as_ref().map(|part| value(&part.source, slots, scratch));
        let method = self.method.as_ref().map(|source| value(source, slots, scratch));

        let scratch: &'a [u8] = scratch;
        let time_ms = match resolve(time, scratch) {
            Resolved::Text(text) => parse_time(text).map_err(|error| match error {
                TimeError::Malformed => Reject::with(RejectKind::BadTime, text),
                TimeError::OutOfRange => Reject::with(RejectKind::TimeOutOfRange, text),
            })?,
            Resolved::Missing => return Err(RejectKind::MissingTime.into()),
            Resolved::NotText => return Err(RejectKind::BadTime.into()),
        };
        let user = match resolve(user, scratch) {
            Resolved::Text(text) if text.len() <= USER_BYTES_MAX => text,
            Resolved::Text(text) => return Err(Reject::with(RejectKind::UserTooLong, text)),
            Resolved::Missing => return Err(RejectKind::MissingUser.into()),
            Resolved::NotText => return Err(RejectKind::UserNotText.into()),
        };
        let path = match resolve(path, scratch) {
            Resolved::Text(text) => text,
            Resolved::Missing => return Err(RejectKind::MissingPath.into()),
            Resolved::NotText => return Err(RejectKind::PathNotText.into()),
        };
        let status = match status.map(|value| resolve(value, scratch)) {
            None | Some(Resolved::Missing | Resolved::Text(b"" | b"-")) => None,
            Some(Resolved::Text(text)) => Some(text),
            Some(Resolved::NotText) if named(self.status.as_ref()) => {
                return Err(RejectKind::BadStatus.into());
            }
            Some(Resolved::NotText) => None,
        };
        let bytes = match bytes.map(|value| resolve(value, scratch)) {
            None | Some(Resolved::Missing | Resolved::Text(b"" | b"-")) => None,
            Some(Resolved::Text(text)) => match parse_whole(text) {
                None if named(self.bytes.as_ref()) => {
                    return Err(Reject::with(RejectKind::BadBytes, text));
                }
                number => number,
            },
            Some(Resolved::NotText) if named(self.bytes.as_ref()) => {
                return Err(RejectKind::BadBytes.into());
            }
            Some(Resolved::NotText) => None,
        };
        let method = match method.map(|value| resolve(value, scratch)) {
            Some(Resolved::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        Ok(Parsed { time_ms, user, path, status, bytes, method })
    }
}

fn named(part: Option<&Optional>) -> bool {
    part.is_some_and(|part| part.named)
}

/// The value of one part; a template is joined at the end of `scratch`.
fn value<'a>(source: &Source, slots: &Slots<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    let pieces = match source {
        Source::Slot(slot) => return slots[*slot].clone(),
        Source::Template(pieces) => pieces,
    };
    let start = scratch.len();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => scratch.extend_from_slice(text.as_bytes()),
            Piece::Slot(slot) => match &slots[*slot] {
                Value::Missing => {}
                Value::Line(text) => scratch.extend_from_slice(text),
                Value::Scratch(range) => scratch.extend_from_within(range.clone()),
                Value::NotText => return Value::NotText,
            },
        }
    }
    Value::Scratch(start..scratch.len())
}

enum Resolved<'a> {
    Missing,
    Text(&'a [u8]),
    NotText,
}

fn resolve<'a>(value: Value<'a>, scratch: &'a [u8]) -> Resolved<'a> {
    match value {
        Value::Missing => Resolved::Missing,
        Value::Line(text) => Resolved::Text(text),
        Value::Scratch(range) => Resolved::Text(&scratch[range]),
        Value::NotText => Resolved::NotText,
    }
}

/// The found field that is usually meant: the first of `usual` that is there, without regard to
/// case and punctuation.
fn guess(usual: &[&str], found: &[String]) -> Option<String> {
    let plain = |name: &String| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    // A dot is nesting: `request.time` is no `requesttime` of its own, but `url.path` is a path.
    let found: Vec<(String, &String)> = found.iter().map(|name| (plain(name), name)).collect();
    let hit = usual.iter().find_map(|usual| found.iter().find(|(plain, _)| plain == usual));
    // Braces would make a template of the name.
    hit.map(|(_, name)| name.replace('{', "{{").replace('}', "}}"))
}

/// Turns a specification into slots, adding the names that are new.
fn compile(spec: &str, names: &mut Vec<String>) -> Result<Source, EventsError> {
    let bad = |detail| EventsError::BadFieldSpec { spec: spec.to_string(), detail };
    let mut slot = |name: &str| {
        if name.is_empty() {
            return Err(bad("a field name is empty"));
        }
        if let Some(slot) = names.iter().position(|known| known == name) {
            return Ok(slot);
        }
        if names.len() == SLOTS_MAX {
            return Err(bad("more than 24 different fields are named"));
        }
        names.push(name.to_string());
        Ok(names.len() - 1)
    };
    if !spec.contains(['{', '}']) {
        return slot(spec).map(Source::Slot);
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = spec;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let (brace, behind) = rest[at..].split_at(1);
        if let Some(behind) = behind.strip_prefix(brace) {
            literal.push_str(brace);
            rest = behind;
            continue;
        }
        let (name, behind) = match brace {
            "{" => behind.split_once('}').ok_or_else(|| bad("a brace is never closed"))?,
            _ => return Err(bad("a brace is closed but never opened; write }} for a brace")),
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Slot(slot(name)?));
        rest = behind;
    }
    literal.push_str(rest);
    if pieces.is_empty() {
        // Only escaped braces: a plain field whose name has braces.
        return slot(&literal).map(Source::Slot);
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Source::Template(pieces))
}
