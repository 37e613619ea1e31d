//! Values that stand apart from their keys: written anew, or lost.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::base::blob::BlobIndex;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key;
use crate::batch::ColumnFamilyId;
use crate::compaction::blobs::BlobOutputs;
use crate::compaction::job::{JobContext, JobOutput};
use crate::db::repair::Work;
use crate::db::repair::report::TableLoss;
use crate::db::repair::tables::detail_of;
use crate::env::Env;

impl Work {
    /// Puts what could not be read of blob files into the report.
    pub(super) fn report_lost_values(&mut self, family: Option<ColumnFamilyId>, lost: LostValues) {
        for (number, loss) in lost.0 {
            self.report.table_losses.push(TableLoss {
                file: self.source.display(FileId::Blob(number)),
                family: family.map(|id| id.0),
                offset: loss.offset,
                bytes: loss.bytes,
                from: Some(loss.from),
                to: Some(loss.to),
                detail: format!("{} values cannot be read: {}", loss.values, loss.detail),
            });
        }
    }
}

/// Values of one blob file that could not be read.
struct LostInFile {
    values: u64,
    bytes: u64,
    /// The first place that could not be read, and why.
    offset: u64,
    detail: String,
    /// The first and the last user key.
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Values that could not be read, by blob file.
#[derive(Default)]
pub(super) struct LostValues(BTreeMap<FileNumber, LostInFile>);

/// A value that could not be read.
pub(super) struct Unread {
    index: BlobIndex,
    error: Error,
}

/// What becomes of an entry as it is written anew.
pub(super) enum Anew<'a> {
    /// Its key and what it has for a value, which is there where that lies in a blob file.
    Entry(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// Nothing: its value cannot be read.
    Unread(Unread),
}

/// Writes the value of an entry anew, where that lies in a blob file.
pub(super) fn with_value<'a>(
    context: &JobContext<'_>,
    values: &mut BlobOutputs<'_>,
    (key, value): (&'a [u8], &'a [u8]),
    output: &mut JobOutput,
) -> Result<Anew<'a>> {
    let kind = key::trailer_kind(key::trailer(key));
    if let Some(index) = kind.and_then(|kind| BlobIndex::of_entry(kind, value)) {
        match context.blobs.read_past_cache(&index) {
            Ok(_) => {}
            Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
            Err(error) => return Ok(Anew::Unread(Unread { index, error })),
        }
    }
    Ok(match values.take(key, value, output)? {
        Some((key, value)) => Anew::Entry(Cow::Owned(key), Cow::Owned(value)),
        None => Anew::Entry(Cow::Borrowed(key), Cow::Borrowed(value)),
    })
}

impl LostValues {
    pub(super) fn note(&mut self, user_key: &[u8], Unread { index, error }: Unread) {
        let lost = self.0.entry(index.file).or_insert_with(|| LostInFile {
            values: 0,
            bytes: 0,
            offset: index.offset,
            detail: detail_of(error),
            from: user_key.to_vec(),
            to: Vec::new(),
        });
        lost.values += 1;
        lost.bytes += u64::from(index.bytes);
        lost.to = user_key.to_vec();
    }
}
