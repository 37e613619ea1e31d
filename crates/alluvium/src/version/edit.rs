//! A version edit: the difference between two states of the store, and the bytes that it is.
//!
//! An edit is a set of fields, each a tag and what the tag says (`docs/format.md`, "Manifest").
//! Order has no meaning within one: creations come before everything else, deletions of tables
//! before additions, so that a table in both moves. Decoding trusts nothing, and checks what an
//! edit can be by itself; whether it fits the state before it is the catalog's to say.
//!
//! Unknown tags are refused, not skipped: the format's version goes up when one is added.

use std::fmt;
use std::sync::Arc;

use crate::base::blob::{BlobShare, put_shares, take_shares};
use crate::base::coding::{
    put_prefixed, put_varint, take_prefixed, take_u64, take_varint, take_varint32,
};
use crate::base::error::{Error, Result};
use crate::base::event_time::EventTimes;
use crate::base::file::FileNumber;
use crate::base::key::{self, SeqNo, ValueKind};
use crate::base::limits::{COLUMN_FAMILY_NAME_BYTES_MAX, LEVELS};
use crate::batch::ColumnFamilyId;
use crate::version::blobs::BlobMeta;
use crate::version::table_meta::{Expiry, TableFacts, TableMeta};
use crate::version::time_marks::TimeMark;

const TAG_NEXT_FILE_NUMBER: u64 = 1;
const TAG_LAST_SEQUENCE: u64 = 2;
const TAG_CREATE_FAMILY: u64 = 3;
const TAG_DROP_FAMILY: u64 = 4;
const TAG_FAMILY_LOG: u64 = 5;
const TAG_ADD_TABLE: u64 = 6;
const TAG_DELETE_TABLE: u64 = 7;
const TAG_NEXT_FAMILY: u64 = 8;
const TAG_MORE_FOLLOWS: u64 = 9;
const TAG_TIME_MARK: u64 = 10;
const TAG_ADD_BLOB_FILE: u64 = 11;
/// As [`TAG_ADD_TABLE`], of a table that needs blob files.
const TAG_ADD_TABLE_WITH_BLOBS: u64 = 12;

/// The greatest "next file number" that a file may hold: counting on from it one by one cannot
/// reach
/// [`FileNumber::MAX`].
pub(super) const FILE_NUMBER_ON_DISK_MAX: FileNumber = FileNumber(FileNumber::MAX.0 / 2);

/// A table that an edit adds.
#[derive(Debug, Clone)]
pub struct AddedTable {
    /// The column family that it belongs to.
    pub family: ColumnFamilyId,
    /// The level that it is put into.
    pub level: usize,
    /// The table.
    pub table: Arc<TableMeta>,
}

/// A table that an edit takes out of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedTable {
    /// The column family that it belongs to.
    pub family: ColumnFamilyId,
    /// The level that it is in.
    pub level: usize,
    /// Its number.
    pub number: FileNumber,
}

/// A change of the store's state. [`crate::version::VersionSet::apply`] fills in the three numbers.
#[derive(Debug, Clone, Default)]
pub struct VersionEdit {
    /// Every file number from this one on is free.
    pub next_file_number: Option<FileNumber>,
    /// At or above every sequence number in a table.
    pub last_sequence: Option<SeqNo>,
    /// Every column family id from this one on is free.
    pub next_family: Option<ColumnFamilyId>,
    /// Column families that come into being.
    pub created: Vec<(ColumnFamilyId, String)>,
    /// Column families that end, their tables with them.
    pub dropped: Vec<ColumnFamilyId>,
    /// Families whose data in logs before this one is all in tables.
    pub logs: Vec<(ColumnFamilyId, FileNumber)>,
    /// Tables taken out. Comes before `added`: a table in both moves.
    pub deleted: Vec<DeletedTable>,
    /// Tables put in.
    pub added: Vec<AddedTable>,
    /// Blob files put in, each needed by a table that is. Those that no table needs any more go by
    /// themselves.
    pub blobs: Vec<Arc<BlobMeta>>,
    /// When sequence numbers were written, ascending.
    pub time_marks: Vec<TimeMark>,
    /// The next edit belongs to this one. Only in the state that a manifest begins with.
    pub(super) more_follows: bool,
}

impl VersionEdit {
    /// Adds a table. A table that moves is given as the version holds it, and deleted from where it
    /// was.
    pub fn add(&mut self, family: ColumnFamilyId, level: usize, table: Arc<TableMeta>) {
        self.added.push(AddedTable { family, level, table });
    }

    /// Deletes a table.
    pub fn delete(&mut self, family: ColumnFamilyId, level: usize, number: FileNumber) {
        self.deleted.push(DeletedTable { family, level, number });
    }

    /// Notes that everything up to `seq` had been written at `ms`, where that is known.
    pub fn mark(&mut self, seq: SeqNo, ms: Option<u64>) {
        let marked = seq > SeqNo::ZERO;
        self.time_marks.extend(ms.filter(|_| marked).map(|ms| TimeMark { seq, ms }));
    }

    /// The edit's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.visit_encoded(&mut out, |_| {});
        if self.more_follows {
            put_varint(&mut out, TAG_MORE_FOLLOWS);
        }
        out
    }

    /// Gives the edit's bytes in parts of about `part_bytes` each, all but the last of which say
    /// that more follows.
    pub(super) fn visit_parts(&self, part_bytes: usize, mut visit: impl FnMut(&[u8])) {
        let mut part = Vec::new();
        self.visit_encoded(&mut part, |part| {
            if part.len() >= part_bytes {
                put_varint(part, TAG_MORE_FOLLOWS);
                visit(part);
                part.clear();
            }
        });
        visit(&part);
    }

    /// Appends field after field to `out`, and calls `after_field` behind each.
    fn visit_encoded(&self, out: &mut Vec<u8>, mut after_field: impl FnMut(&mut Vec<u8>)) {
        let numbers = [
            (TAG_NEXT_FILE_NUMBER, self.next_file_number.map(|number| number.0)),
            (TAG_LAST_SEQUENCE, self.last_sequence.map(SeqNo::get)),
            (TAG_NEXT_FAMILY, self.next_family.map(|id| u64::from(id.0))),
        ];
        for (tag, number) in numbers {
            if let Some(number) = number {
                put_varints(out, &[tag, number]);
                after_field(out);
            }
        }
        for TimeMark { seq, ms } in &self.time_marks {
            put_varints(out, &[TAG_TIME_MARK, seq.get(), *ms]);
            after_field(out);
        }
        for (id, name) in &self.created {
            put_varints(out, &[TAG_CREATE_FAMILY, u64::from(id.0)]);
            put_prefixed(out, name.as_bytes());
            after_field(out);
        }
        for id in &self.dropped {
            put_varints(out, &[TAG_DROP_FAMILY, u64::from(id.0)]);
            after_field(out);
        }
        for (id, log) in &self.logs {
            put_varints(out, &[TAG_FAMILY_LOG, u64::from(id.0), log.0]);
            after_field(out);
        }
        for DeletedTable { family, level, number } in &self.deleted {
            put_varints(out, &[TAG_DELETE_TABLE, u64::from(family.0), *level as u64, number.0]);
            after_field(out);
        }
        for blob in &self.blobs {
            put_varints(out, &[TAG_ADD_BLOB_FILE, blob.number.0, blob.bytes]);
            after_field(out);
        }
        for AddedTable { family, level, table } in &self.added {
            let has_blobs = !table.blobs.is_empty();
            let tag = if has_blobs { TAG_ADD_TABLE_WITH_BLOBS } else { TAG_ADD_TABLE };
            put_varints(out, &[tag, u64::from(family.0), *level as u64]);
            put_facts(out, table);
            if has_blobs {
                put_shares(out, &table.blobs);
            }
            after_field(out);
        }
    }

    /// Reads the bytes that stand at `offset` of `file`.
    ///
    /// # Errors
    /// Corruption that names the field which is none.
    pub fn decode(bytes: &[u8], file: &str, offset: u64) -> Result<VersionEdit> {
        let mut edit = VersionEdit::default();
        let mut input = bytes;
        while !input.is_empty() {
            let at = offset + (bytes.len() - input.len()) as u64;
            if edit.more_follows {
                return Err(Error::corruption(file, at, "a field behind \"more follows\""));
            }
            let tag = take_varint(&mut input)
                .ok_or_else(|| Error::corruption(file, at, "the tag of a field is cut short"))?;
            edit.take_field(tag, &mut input)
                .map_err(|detail| Error::corruption(file, at, detail))?;
        }
        Ok(edit)
    }

    fn take_field(&mut self, tag: u64, input: &mut &[u8]) -> std::result::Result<(), String> {
        let whole = match tag {
            TAG_NEXT_FILE_NUMBER => {
                let number = take_number(input).filter(|&n| n <= FILE_NUMBER_ON_DISK_MAX);
                number.map(|number| set_once(&mut self.next_file_number, number, tag))
            }
            TAG_LAST_SEQUENCE => {
                let sequence = take_sequence(input);
                sequence.map(|sequence| set_once(&mut self.last_sequence, sequence, tag))
            }
            TAG_NEXT_FAMILY => {
                take_family(input).map(|id| set_once(&mut self.next_family, id, tag))
            }
            TAG_TIME_MARK => take_sequence(input).zip(take_varint(input)).map(|(seq, ms)| {
                self.time_marks.push(TimeMark { seq, ms });
                Ok(())
            }),
            TAG_CREATE_FAMILY => take_created(input).map(|created| {
                self.created.push(created);
                Ok(())
            }),
            TAG_DROP_FAMILY => take_family(input).map(|id| {
                self.dropped.push(id);
                Ok(())
            }),
            TAG_FAMILY_LOG => take_family(input).zip(take_number(input)).map(|log| {
                self.logs.push(log);
                Ok(())
            }),
            TAG_DELETE_TABLE => take_deleted(input).map(|deleted| {
                self.deleted.push(deleted);
                Ok(())
            }),
            TAG_ADD_BLOB_FILE => {
                take_number(input).zip(take_varint(input)).map(|(number, bytes)| {
                    self.blobs.push(Arc::new(BlobMeta::new(number, bytes)));
                    Ok(())
                })
            }
            TAG_ADD_TABLE | TAG_ADD_TABLE_WITH_BLOBS => {
                let has_blobs = tag == TAG_ADD_TABLE_WITH_BLOBS;
                let added = take_place(input).zip(take_facts(input, has_blobs));
                added.map(|((family, level), facts)| {
                    let table = TableMeta::checked(facts).map_err(|breach| breach.detail)?;
                    self.add(family, level, Arc::new(table));
                    Ok(())
                })
            }
            TAG_MORE_FOLLOWS => {
                self.more_follows = true;
                Some(Ok(()))
            }
            _ => return Err(format!("an edit has no field of tag {tag}")),
        };
        whole.unwrap_or_else(|| Err(format!("the field of tag {tag} is cut short or out of range")))
    }

    /// The edit for people: a name and a value for each field.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if let Some(number) = self.next_file_number {
            fields.push(("next file number", number.0.to_string()));
        }
        if let Some(sequence) = self.last_sequence {
            fields.push(("last sequence number", sequence.get().to_string()));
        }
        if let Some(id) = self.next_family {
            fields.push(("next column family", id.0.to_string()));
        }
        for TimeMark { seq, ms } in &self.time_marks {
            fields.push(("time mark", format!("{} written by {ms} ms", seq.get())));
        }
        for (id, name) in &self.created {
            fields.push(("create column family", format!("{} {name:?}", id.0)));
        }
        for id in &self.dropped {
            fields.push(("drop column family", id.0.to_string()));
        }
        for (id, log) in &self.logs {
            fields.push(("log of column family", format!("{}: {log}", id.0)));
        }
        for DeletedTable { family, level, number } in &self.deleted {
            let place = format!("{number} of column family {} level {level}", family.0);
            fields.push(("delete table", place));
        }
        for blob in &self.blobs {
            let file = format!("{}: {} bytes", blob.number, blob.bytes);
            fields.push(("add blob file", file));
        }
        for AddedTable { family, level, table } in &self.added {
            let place = format!("to column family {} level {level}", family.0);
            fields.push(("add table", format!("{} {place}: {}", table.number, describe(table))));
        }
        if self.more_follows {
            fields.push(("more follows", "the next edit belongs to this one".to_owned()));
        }
        fields
    }
}

impl fmt::Display for VersionEdit {
    /// One line a field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.fields() {
            writeln!(f, "{name}: {value}")?;
        }
        Ok(())
    }
}

fn describe(table: &TableFacts) -> String {
    let mut text = format!("{} bytes, {} entries", table.bytes, table.entries);
    push(&mut text, format_args!(", {} tombstones", table.tombstones));
    if table.hidden > 0 {
        push(&mut text, format_args!(", {} older versions", table.hidden));
    }
    if table.range_tombstones > 0 {
        push(&mut text, format_args!(", {} range tombstones", table.range_tombstones));
    }
    if table.oldest_tombstone > SeqNo::ZERO {
        push(&mut text, format_args!(" from {} on", table.oldest_tombstone.get()));
    }
    if table.run > FileNumber(0) {
        push(&mut text, format_args!(", run {}", table.run));
    }
    if let Some(expiry) = table.expiry {
        let Expiry { entries, first_ms, last_ms } = expiry;
        push(&mut text, format_args!(", {entries} expire from {first_ms} to {last_ms} ms"));
    }
    if let Some(times) = table.times {
        push(&mut text, format_args!(", times {} to {} ms", times.first_ms, times.last_ms));
    }
    let (smallest, largest) = (describe_key(&table.smallest), describe_key(&table.largest));
    let (first, last) = (table.smallest_seq.get(), table.largest_seq.get());
    push(&mut text, format_args!(", {smallest} to {largest}, sequence numbers {first} to {last}"));
    for BlobShare { file, values, bytes } in &table.blobs {
        push(&mut text, format_args!(", {values} values of {bytes} bytes in blob file {file}"));
    }
    push(&mut text, format_args!(", footer {:016x}", table.footer_checksum));
    text
}

fn push(text: &mut String, more: fmt::Arguments<'_>) {
    text.push_str(&more.to_string());
}

/// An internal key for people, a long one shortened.
fn describe_key(encoded: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    let (user_key, trailer) = key::split(encoded);
    let shown = &user_key[..user_key.len().min(SHOWN_BYTES)];
    let more = match user_key.len() - shown.len() {
        0 => String::new(),
        more => format!("+{more} bytes"),
    };
    let kind = key::trailer_kind(trailer).map_or("unknown kind", ValueKind::name);
    format!("\"{}\"{more}@{} {kind}", shown.escape_ascii(), key::trailer_seq(trailer).get())
}

fn put_varints(out: &mut Vec<u8>, values: &[u64]) {
    for &value in values {
        put_varint(out, value);
    }
}

fn put_facts(out: &mut Vec<u8>, table: &TableFacts) {
    put_varints(out, &[table.number.0, table.bytes, table.entries, table.tombstones]);
    put_varints(
        out,
        &[table.hidden, table.range_tombstones, table.oldest_tombstone.get(), table.run.0],
    );
    put_varints(out, &[u64::from(table.codec), table.filter_bytes]);
    match table.expiry {
        Some(expiry) => put_varints(out, &[expiry.entries, expiry.first_ms, expiry.last_ms]),
        None => put_varint(out, 0),
    }
    match table.times {
        Some(times) => put_varints(out, &[times.source, times.first_ms, times.last_ms]),
        None => put_varint(out, 0),
    }
    put_prefixed(out, &table.smallest);
    put_prefixed(out, &table.largest);
    put_varints(out, &[table.smallest_seq.get(), table.largest_seq.get()]);
    out.extend_from_slice(&table.footer_checksum.to_le_bytes());
}

fn set_once<T>(slot: &mut Option<T>, value: T, tag: u64) -> std::result::Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("a second field of tag {tag}")),
    }
}

fn take_number(input: &mut &[u8]) -> Option<FileNumber> {
    take_varint(input).map(FileNumber).filter(|&number| number <= FileNumber::MAX)
}

fn take_sequence(input: &mut &[u8]) -> Option<SeqNo> {
    SeqNo::try_new(take_varint(input)?)
}

fn take_family(input: &mut &[u8]) -> Option<ColumnFamilyId> {
    take_varint32(input).map(ColumnFamilyId)
}

fn take_created(input: &mut &[u8]) -> Option<(ColumnFamilyId, String)> {
    let id = take_family(input)?;
    let name = take_prefixed(input).filter(|name| name.len() <= COLUMN_FAMILY_NAME_BYTES_MAX)?;
    Some((id, std::str::from_utf8(name).ok()?.to_owned()))
}

/// A column family and a level.
fn take_place(input: &mut &[u8]) -> Option<(ColumnFamilyId, usize)> {
    let family = take_family(input)?;
    let level = take_varint32(input)? as usize;
    (level < LEVELS).then_some((family, level))
}

fn take_deleted(input: &mut &[u8]) -> Option<DeletedTable> {
    let (family, level) = take_place(input)?;
    Some(DeletedTable { family, level, number: take_number(input)? })
}

fn take_facts(input: &mut &[u8], has_blobs: bool) -> Option<TableFacts> {
    Some(TableFacts {
        number: take_number(input)?,
        bytes: take_varint(input)?,
        entries: take_varint(input)?,
        tombstones: take_varint(input)?,
        hidden: take_varint(input)?,
        range_tombstones: take_varint(input)?,
        oldest_tombstone: take_sequence(input)?,
        run: take_number(input)?,
        codec: u8::try_from(take_varint(input)?).ok()?,
        filter_bytes: take_varint(input)?,
        expiry: take_expiry(input)?,
        times: take_times(input)?,
        smallest: take_prefixed(input)?.to_vec(),
        largest: take_prefixed(input)?.to_vec(),
        smallest_seq: take_sequence(input)?,
        largest_seq: take_sequence(input)?,
        footer_checksum: take_u64(input)?,
        blobs: if has_blobs { take_some_shares(input)? } else { Vec::new() },
    })
}

/// What a table needs of blob files; one of them at least.
fn take_some_shares(input: &mut &[u8]) -> Option<Vec<BlobShare>> {
    take_shares(input).filter(|shares| !shares.is_empty())
}

/// Expiry times, or none where a zero stands.
#[expect(clippy::option_option, reason = "the outer one says whether the bytes are any")]
fn take_expiry(input: &mut &[u8]) -> Option<Option<Expiry>> {
    let entries = take_varint(input)?;
    if entries == 0 {
        return Some(None);
    }
    let (first_ms, last_ms) = (take_varint(input)?, take_varint(input)?);
    Some(Some(Expiry { entries, first_ms, last_ms }))
}

/// Event times behind their source, or none where a zero stands.
#[expect(clippy::option_option, reason = "the outer one says whether the bytes are any")]
fn take_times(input: &mut &[u8]) -> Option<Option<EventTimes>> {
    match take_varint(input)? {
        0 => Some(None),
        source => {
            let (first_ms, last_ms) = (take_varint(input)?, take_varint(input)?);
            Some(Some(EventTimes { first_ms, last_ms, source }))
        }
    }
}
