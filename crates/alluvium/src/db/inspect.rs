//! Looking at single files of a store by hand: log segments, manifests and tables.
//!
//! The store need not be whole, and must not be open: a file that is being written ends somewhere.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::expiry;
use crate::base::file::FileId;
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, ValueKind};
use crate::batch::BatchView;
use crate::cache::BlockCache;
use crate::env::{Env, PosixEnv};
use crate::metrics::Counters;
use crate::sstable::{Properties, ReadPurpose, Table};
use crate::version::VersionEdit;
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// One operation or entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence number.
    pub sequence_number: u64,
    /// `"put"`, `"put expiring"`, `"delete"` or `"delete range"`.
    pub kind: &'static str,
    /// The number of its column family.
    pub column_family: u32,
    /// The user key; where the range begins for a range delete.
    pub key: Vec<u8>,
    /// When it expires, in milliseconds since 1970 (the greatest number: never); `None` where it
    /// has no such time.
    pub expires_ms: Option<u64>,
    /// The value; empty for a delete; where the range ends, excluded, for a range delete.
    pub value: Vec<u8>,
}

/// What stands at one place of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogItem {
    /// The file's header.
    Header {
        /// The file's number.
        number: u64,
        /// The segment before it; 0 where there is none.
        previous: u64,
        /// How many bytes of that segment count.
        previous_bytes: u64,
    },
    /// A batch of the write-ahead log.
    Batch {
        /// Where its frame begins.
        offset: u64,
        /// Everything up to this sequence number was durable when it was written.
        durable: u64,
        /// Its operations.
        operations: Vec<Entry>,
    },
    /// A version edit of a manifest.
    Edit {
        /// Where its frame begins.
        offset: u64,
        /// Its fields, name and content.
        fields: Vec<(&'static str, String)>,
    },
    /// The log was closed in good order here.
    End {
        /// The file's length.
        offset: u64,
    },
    /// Bytes that are no frame; nothing is read behind them.
    Bad {
        /// Where they begin.
        offset: u64,
        /// What does not hold.
        detail: String,
    },
}

/// The environment and name of a file given by path.
fn locate(path: &Path) -> Result<(PosixEnv, FileId)> {
    let stranger = || {
        Error::invalid(format!(
            "{} is not named like a file of a store (000012.wal, 000012.sst, 000012.manifest)",
            path.display()
        ))
    };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(stranger)?;
    let id = FileId::parse(name).ok_or_else(stranger)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((PosixEnv::new(directory), id))
}

/// Reads a log segment or a manifest from the front and gives each item to `visit`, until that
/// breaks off.
///
/// # Errors
/// What keeps the file from being read, or says that it is no log file of a store. Bytes that do
/// not hold are an item.
pub fn log(path: &Path, mut visit: impl FnMut(LogItem) -> ControlFlow<()>) -> Result<()> {
    let (env, id) = locate(path)?;
    let (kind, number) = match id {
        FileId::Wal(number) => (LogKind::Wal, number),
        FileId::Manifest(number) => (LogKind::Manifest, number),
        _ => return Err(Error::invalid(format!("{} is no log file", path.display()))),
    };
    let name = env.display(id);
    let file = env.open(id).map_err(|error| Error::io("open", name.as_str(), error))?;
    let mut reader = match LogReader::open(file, name.clone(), number, kind)? {
        LogOpen::Whole(reader) => {
            let header = reader.header();
            let item = LogItem::Header {
                number: header.number.0,
                previous: header.previous.0,
                previous_bytes: header.previous_bytes,
            };
            if visit(item).is_break() {
                return Ok(());
            }
            reader
        }
        LogOpen::TornHeader { reader, .. } => reader,
    };
    loop {
        let (item, last) = match reader.next()? {
            ReadFrame::End { .. } => return Ok(()),
            ReadFrame::Closed { offset } => (LogItem::End { offset }, true),
            ReadFrame::Bad { offset, detail } => (LogItem::Bad { offset, detail }, true),
            ReadFrame::Frame { offset, kind: FrameKind::Edit, payload } => {
                let edit = VersionEdit::decode(payload, &name, offset)?;
                (LogItem::Edit { offset, fields: edit.fields() }, false)
            }
            ReadFrame::Frame { offset, payload, .. } => {
                (batch_item(&name, offset, payload)?, false)
            }
        };
        if visit(item).is_break() || last {
            return Ok(());
        }
    }
}

fn batch_item(name: &str, offset: u64, payload: &[u8]) -> Result<LogItem> {
    let damaged = || Error::corruption(name, offset, "the frame is no batch");
    let view = BatchView::parse(payload).ok_or_else(damaged)?;
    let mut operations = Vec::new();
    for (index, operation) in view.operations().enumerate() {
        let operation = operation.map_err(|_| damaged())?;
        let (seq, kind) = (view.first.get() + index as u64, Some(operation.kind));
        let family = operation.family.0;
        operations.push(entry(seq, kind, family, operation.key, operation.value));
    }
    Ok(LogItem::Batch { offset, durable: view.durable.get(), operations })
}

/// The entry that `stored` is the value of.
fn entry(
    sequence_number: u64,
    kind: Option<ValueKind>,
    column_family: u32,
    key: &[u8],
    stored: &[u8],
) -> Entry {
    let expiring = kind.filter(|kind| kind.expires());
    let (expires_ms, value) = match expiring.and_then(|_| expiry::split(stored)) {
        Some((expiry_ms, value)) => (Some(expiry_ms), value),
        None => (None, stored),
    };
    Entry {
        sequence_number,
        kind: kind.map_or("reserved", ValueKind::name),
        column_family,
        key: key.to_vec(),
        expires_ms,
        value: value.to_vec(),
    }
}

/// Reads a table from the front and gives each entry to `visit`, until that breaks off: first its
/// range tombstones, each in as many pieces as it was cut to, then its point entries. Returns the
/// table's properties, name and content.
///
/// # Errors
/// [`Error::Corruption`] at the first place that does not hold.
pub fn table(
    path: &Path,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<Vec<(&'static str, String)>> {
    let (env, id) = locate(path)?;
    let FileId::Table(number) = id else {
        return Err(Error::invalid(format!("{} is no table", path.display())));
    };
    let name = env.display(id);
    let file = env.open(id).map_err(|error| Error::io("open", name.as_str(), error))?;
    let cache = Arc::new(BlockCache::new(0));
    let table = Arc::new(Table::open(file, number, name, cache, Arc::new(Counters::default()))?);
    let column_family = table.properties().column_family.0;
    for fragment in table.ranges().iter() {
        for seq in fragment.seqs() {
            let kind = Some(ValueKind::RangeDelete);
            let entry = entry(seq.get(), kind, column_family, fragment.start(), fragment.end());
            if visit(entry).is_break() {
                return Ok(property_fields(table.properties()));
            }
        }
    }
    let mut iterator = table.iter(ReadPurpose::Compaction);
    iterator.seek_to_first()?;
    while iterator.valid() {
        let (user_key, trailer) = key::split(iterator.key());
        let (seq, kind) = (key::trailer_seq(trailer).get(), key::trailer_kind(trailer));
        if visit(entry(seq, kind, column_family, user_key, iterator.value())).is_break() {
            break;
        }
        iterator.next()?;
    }
    Ok(property_fields(table.properties()))
}

fn property_fields(properties: &Properties) -> Vec<(&'static str, String)> {
    vec![
        ("entries", properties.entries.to_string()),
        ("tombstones", properties.tombstones.to_string()),
        ("range tombstones", properties.range_tombstones.to_string()),
        ("key bytes", properties.key_bytes.to_string()),
        ("value bytes", properties.value_bytes.to_string()),
        ("data blocks", properties.data_blocks.to_string()),
        ("smallest sequence number", properties.smallest_seq.get().to_string()),
        ("largest sequence number", properties.largest_seq.get().to_string()),
        ("codec", format!("{:?}", properties.codec)),
        ("column family", properties.column_family.0.to_string()),
        ("oldest tombstone", properties.ages.oldest_tombstone.get().to_string()),
        ("entries that expire", properties.ages.expiring.to_string()),
        ("first expiry time", format!("{} ms", properties.ages.first_expiry_ms)),
        ("last expiry time", format!("{} ms", properties.ages.last_expiry_ms)),
    ]
}
