//! What can go wrong between a log file and the store, a clear sentence each.
//!
//! A malformed *line* is no error: it is counted and the run goes on (see [`crate::Format`]). An
//! error here ends the work on one source; what had been read of it before is stored, and the same
//! call picks up behind it once the cause is gone.

use std::fmt;
use std::io;

/// Why a source could not be ingested, or the store not be asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventsError {
    /// The engine failed; its own error says on which file and what to do.
    Store(alluvium::Error),
    /// The directory holds a store, but none with events in it.
    NotAnEventStore {
        /// The directory.
        directory: String,
    },
    /// The events in the store were written by a newer build.
    UnsupportedEvents {
        /// The version found in the store.
        found: u64,
        /// The newest version that this build reads.
        supported: u64,
    },
    /// A stored record is not in the form that this crate writes.
    DamagedRecord {
        /// Which record, and what does not hold.
        detail: String,
    },
    /// The source cannot be opened.
    Open {
        /// The source.
        source_name: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The source cannot be read on.
    Read {
        /// The source.
        source_name: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The source is a directory.
    Directory {
        /// The source.
        source_name: String,
    },
    /// The source holds nothing at all.
    Empty {
        /// The source.
        source_name: String,
    },
    /// Compressed input ends before its stream does. Every whole line before the cut is stored.
    Truncated {
        /// The source.
        source_name: String,
        /// `"gzip"` or `"zstd"`.
        codec: &'static str,
        /// Bytes that could be decompressed.
        decompressed: u64,
    },
    /// Compressed input does not decompress. Every whole line before the damage is stored.
    DamagedInput {
        /// The source.
        source_name: String,
        /// `"gzip"` or `"zstd"`.
        codec: &'static str,
        /// Bytes that could be decompressed.
        decompressed: u64,
        /// What the decompressor says.
        detail: String,
    },
    /// The source is no text.
    Binary {
        /// The source.
        source_name: String,
        /// What it looks like.
        looks_like: &'static str,
    },
    /// The source is text, but none of the formats fits.
    UnknownFormat {
        /// The source.
        source_name: String,
    },
    /// The lines have fields, but which of them are time, user and path is not known.
    FieldsMissing {
        /// The source.
        source_name: String,
        /// The options to give, such as `"--user"`.
        options: Vec<&'static str>,
        /// The fields that the first lines have.
        found: Vec<String>,
    },
    /// A field that was named is not in the header.
    NoSuchField {
        /// The source.
        source_name: String,
        /// The name asked for.
        field: String,
        /// The fields of the header.
        found: Vec<String>,
    },
    /// A field specification cannot be understood.
    BadFieldSpec {
        /// The specification.
        spec: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A format name is none of the known ones.
    BadFormatName {
        /// The name.
        name: String,
    },
    /// A time argument is no time, or one that no event can have.
    BadTime {
        /// The argument.
        argument: String,
        /// Whether it is a time, but too early or too late.
        out_of_range: bool,
    },
    /// A malformed line, with [`crate::OnError::Stop`]. Every line before it is stored.
    Stopped {
        /// The source.
        source_name: String,
        /// The line's number, from 1.
        line: u64,
        /// The kind of the malformation.
        kind: &'static str,
        /// What exactly is wrong.
        detail: String,
    },
    /// The thread that reads and parses panicked: a bug in this crate. What was committed is whole.
    Panicked,
    /// The file for malformed lines fails.
    RejectFile {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The file.
        path: String,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl From<alluvium::Error> for EventsError {
    fn from(error: alluvium::Error) -> EventsError {
        EventsError::Store(error)
    }
}

impl fmt::Display for EventsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use EventsError as E;
        match self {
            E::Store(error) => error.fmt(f),
            E::NotAnEventStore { directory } => {
                write!(f, "the store {directory} holds no events: ingest some first")
            }
            E::UnsupportedEvents { found, supported } => write!(
                f,
                "the events were stored in format version {found}, this build reads up to \
                 {supported}: use a newer build"
            ),
            E::DamagedRecord { detail } => write!(f, "a stored record is damaged: {detail}"),
            E::Open { source_name, source } => write!(f, "cannot open {source_name}: {source}"),
            E::Read { source_name, source } => write!(f, "cannot read {source_name}: {source}"),
            E::Stopped { source_name, line, kind, detail } => {
                write!(f, "{source_name}, line {line}: {detail} ({kind})")
            }
            E::RejectFile { operation, path, source } => {
                write!(f, "cannot {operation} the reject file {path}: {source}")
            }
            E::Panicked => f.write_str("reading the source panicked, please report it"),
            E::BadFieldSpec { spec, detail } => write!(f, "the field {spec:?}: {detail}"),
            E::BadFormatName { name } => {
                write!(f, "{name:?} is no format: give auto, combined, common, ndjson, csv or tsv")
            }
            E::BadTime { argument, out_of_range: true } => {
                write!(f, "the time {argument:?} is not between 1970-01-01 and 2262-04-11")
            }
            E::BadTime { argument, out_of_range: false } => write!(
                f,
                "{argument:?} is no time: give ISO 8601 (2015-05-17T10:05:00Z), Unix seconds or \
                 Unix milliseconds"
            ),
            _ => self.fmt_source(f),
        }
    }
}

impl EventsError {
    /// The sentences on a source that is not what it should be.
    fn fmt_source(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use EventsError as E;
        match self {
            E::Directory { source_name } => {
                write!(f, "{source_name} is a directory: name the files in it")
            }
            E::Empty { source_name } => write!(f, "{source_name} is empty"),
            E::Truncated { source_name, codec, decompressed } => write!(
                f,
                "{source_name} is cut off: its {codec} stream ends after {decompressed} \
                 decompressed bytes; the lines before that are stored, and the whole file will be \
                 continued from there"
            ),
            E::DamagedInput { source_name, codec, decompressed, detail } => write!(
                f,
                "{source_name} is damaged: its {codec} stream breaks after {decompressed} \
                 decompressed bytes ({detail}); the lines before that are stored"
            ),
            E::Binary { source_name, looks_like } => write!(
                f,
                "{source_name} is no log but {looks_like}; text, gzip and zstd are read, anything \
                 else has to be unpacked first"
            ),
            E::UnknownFormat { source_name } => write!(
                f,
                "{source_name} is in no known format: its first lines are no Apache or nginx \
                 combined or common log, no JSON objects (one a line), and no CSV or TSV with a \
                 header"
            ),
            E::FieldsMissing { source_name, options, found } => write!(
                f,
                "{source_name}: say with {} which field is meant; it has {}",
                list(options),
                list(found)
            ),
            E::NoSuchField { source_name, field, found } => {
                write!(f, "{source_name} has no field {field:?}; it has {}", list(found))
            }
            _ => f.write_str("the source cannot be ingested"),
        }
    }
}

/// `a, b and c`; a long list is cut.
fn list<T: AsRef<str>>(items: &[T]) -> String {
    const MOST: usize = 40;
    let shown: Vec<&str> = items.iter().take(MOST).map(AsRef::as_ref).collect();
    match shown.as_slice() {
        [] => "none".to_string(),
        _ if items.len() > MOST => {
            format!("{} and {} more", shown.join(", "), items.len() - MOST)
        }
        [one] => (*one).to_string(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

impl std::error::Error for EventsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EventsError::Store(error) => Some(error),
            EventsError::Open { source, .. }
            | EventsError::Read { source, .. }
            | EventsError::RejectFile { source, .. } => Some(source),
            _ => None,
        }
    }
}
