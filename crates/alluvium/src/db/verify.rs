//! Finding damage: reads every byte of a store that carries meaning, and writes nothing.
//!
//! The store must not be open. It is not recovered first: what is on disk is read as it is.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::base::blob::BlobIndex;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::iterator::InternalIterator;
use crate::base::key;
use crate::batch::BatchView;
use crate::blob::BlobFiles;
use crate::cache::BlockCache;
use crate::db::jobs::expiry_of;
use crate::db::open::{look, take_lock};
use crate::db::recovery::list_segments;
use crate::db::status::status_env;
use crate::env::{Env, PosixEnv};
use crate::metrics::Counters;
use crate::sstable::{ReadPurpose, Table, TableCache, TableHandle};
use crate::version::{ObsoleteFiles, VersionSet};
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// What [`verify`] found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Entries in tables, and operations in the log.
    pub entries: u64,
    /// Every damaged place, naming file and offset.
    pub damages: Vec<Error>,
    /// What is not as a clean close leaves it, and is no damage: a torn tail of the newest log, a
    /// damaged `STATUS`.
    pub notes: Vec<String>,
}

/// Verifies the store in `directory`.
///
/// # Errors
/// [`Error::StoreMissing`], [`Error::Locked`], and I/O failures that keep the store from being
/// looked at. Damage is no error: it is in the report.
pub fn verify(directory: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_env(Arc::new(PosixEnv::new(directory.as_ref())))
}

/// Verifies the store of an environment.
///
/// # Errors
/// See [`verify`].
pub fn verify_env(env: Arc<dyn Env>) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    match look(env.as_ref(), false) {
        Ok(_) => {}
        // Without `CURRENT` there is nothing to begin with.
        Err(error @ Error::Corruption { .. }) => {
            report.damages.push(error);
            return Ok(report);
        }
        Err(error) => return Err(error),
    }
    let _lock = take_lock(env.as_ref())?;
    match VersionSet::recover(Arc::clone(&env), ObsoleteFiles::new()) {
        Ok(versions) => {
            report.files += 2;
            report.bytes += file_bytes(env.as_ref(), FileId::Current)?
                + file_bytes(env.as_ref(), FileId::Manifest(versions.manifest_number()))?;
            note_torn_manifest(env.as_ref(), &versions, &mut report);
            verify_tables(&env, &versions, &mut report);
            verify_log(env.as_ref(), &versions, &mut report)?;
        }
        Err(error @ (Error::Corruption { .. } | Error::UnsupportedFormat { .. })) => {
            report.damages.push(error);
        }
        Err(error) => return Err(error),
    }
    // No part of the store: nothing depends on it.
    if let Err(error) = status_env(&env) {
        report.notes.push(format!("{error}; the store does not need it"));
    }
    Ok(report)
}

fn file_bytes(env: &dyn Env, file: FileId) -> Result<u64> {
    env.open(file)
        .and_then(|opened| opened.length())
        .map_err(|error| Error::io("open", env.display(file), error))
}

fn note_torn_manifest(env: &dyn Env, versions: &VersionSet, report: &mut VerifyReport) {
    if let Some(torn) = versions.report().and_then(|report| report.torn_tail.as_ref()) {
        report.notes.push(format!(
            "{}: torn at byte {}: the last edit was never finished",
            env.display(FileId::Manifest(versions.manifest_number())),
            torn.offset
        ));
    }
}

fn verify_tables(env: &Arc<dyn Env>, versions: &VersionSet, report: &mut VerifyReport) {
    let counters = Arc::new(Counters::default());
    let cache = Arc::new(BlockCache::new(0));
    let tables = TableCache::new(Arc::clone(env), Arc::clone(&cache), Arc::clone(&counters), 8);
    let blobs = BlobFiles::new(Arc::clone(env), cache, counters, 8);
    let missing = missing_blobs(&blobs, versions, report);
    for table in versions.families().values().flat_map(|family| family.version.tables()) {
        report.files += 1;
        // A handle of its own, so that the table does not stay open.
        let handle = Arc::new(TableHandle::new(table.number, table.footer_checksum));
        let opened = match tables.open(&handle) {
            Ok(opened) => opened,
            Err(error) => {
                report.damages.push(error);
                continue;
            }
        };
        let damages = &mut report.damages;
        report.bytes += opened.verify(&mut |error| damages.push(error));
        report.entries += table.entries;
        let found = opened.properties();
        if (found.entries, found.tombstones, found.range_tombstones)
            != (table.entries, table.tombstones, table.range_tombstones)
            || opened.bytes() != table.bytes
            || expiry_of(&found.ages) != table.expiry
            || found.ages.oldest_tombstone != table.oldest_tombstone
            || found.blobs != table.blobs
        {
            let name = env.display(FileId::Table(table.number));
            let detail = "the table is not as the manifest describes it";
            report.damages.push(Error::corruption(name, 0, detail));
        }
        if !table.blobs.is_empty() {
            verify_values(&blobs, &missing, &opened, report);
        }
    }
}

/// The blob files of the store that cannot be opened.
fn missing_blobs(
    blobs: &BlobFiles,
    versions: &VersionSet,
    report: &mut VerifyReport,
) -> HashSet<FileNumber> {
    let mut missing = HashSet::new();
    for blob in versions.blobs() {
        report.files += 1;
        if let Err(error) = blobs.check(blob.number, blob.bytes) {
            missing.insert(blob.number);
            report.damages.push(error);
        }
    }
    missing
}

/// Reads every value that `table` has in blob files, but for those `missing`.
fn verify_values(
    blobs: &BlobFiles,
    missing: &HashSet<FileNumber>,
    table: &Arc<Table>,
    report: &mut VerifyReport,
) {
    let mut entries = table.iter(ReadPurpose::Compaction);
    // What is wrong with the table itself has been reported.
    if entries.seek_to_first().is_err() {
        return;
    }
    while entries.valid() {
        let kind = key::trailer_kind(key::trailer(entries.key()));
        if let Some(index) = kind.and_then(|kind| BlobIndex::of_entry(kind, entries.value()))
            && !missing.contains(&index.file)
        {
            match blobs.read_past_cache(&index) {
                Ok(value) => report.bytes += value.len() as u64,
                Err(error) => report.damages.push(error),
            }
        }
        if entries.next().is_err() {
            return;
        }
    }
}

fn verify_log(env: &dyn Env, versions: &VersionSet, report: &mut VerifyReport) -> Result<()> {
    let needed = versions.oldest_log_needed();
    let mut numbers = list_segments(env)?;
    numbers.retain(|&number| number >= needed);
    if needed.0 != 0 && numbers.first() != Some(&needed) {
        let name = env.display(FileId::Wal(needed));
        report.damages.push(Error::corruption(name, 0, "the segment of the log is missing"));
    }
    let closed = versions.is_closed_on_disk();
    let mut next: Option<Next> = None;
    // From the newest back: each segment's header says how much of the one before it counts.
    for &number in numbers.iter().rev() {
        report.files += 1;
        let id = FileId::Wal(number);
        let name = env.display(id);
        let bytes = file_bytes(env, id)?;
        report.bytes += bytes;
        if bytes == 0 && next.is_none() && number != needed {
            // It was there ahead of need.
            continue;
        }
        let file = env.open(id).map_err(|error| Error::io("open", name.as_str(), error))?;
        let outcome = LogReader::open(file, name.clone(), number, LogKind::Wal)
            .and_then(|open| verify_segment(open, &name, number, (next.as_ref(), closed), report));
        match outcome {
            Ok(header) => next = header.or(next),
            Err(error @ (Error::Corruption { .. } | Error::UnsupportedFormat { .. })) => {
                report.damages.push(error);
                next = Some(Next { previous: FileNumber(0), previous_bytes: u64::MAX });
            }
            Err(error) => return Err(error),
        }
    }
    if versions.is_closed_on_disk() && report.damages.is_empty() {
        verify_end(env, &numbers, needed, report)?;
    }
    Ok(())
}

/// The log of a store that was closed in good order ends with an end frame; segments without any
/// frame behind it are what opens left that did not come to their end.
fn verify_end(
    env: &dyn Env,
    numbers: &[FileNumber],
    needed: FileNumber,
    report: &mut VerifyReport,
) -> Result<()> {
    let mut end = None;
    for &number in numbers.iter().rev() {
        let name = env.display(FileId::Wal(number));
        let file = env.open(FileId::Wal(number));
        let file = file.map_err(|error| Error::io("open", name.as_str(), error))?;
        let (LogOpen::Whole(mut reader) | LogOpen::TornHeader { mut reader, .. }) =
            LogReader::open(file, name.clone(), number, LogKind::Wal)?;
        let mut frames = 0_u64;
        let offset = loop {
            match reader.next()? {
                ReadFrame::Frame { .. } => frames += 1,
                ReadFrame::Closed { .. } => return Ok(()),
                ReadFrame::End { offset } | ReadFrame::Bad { offset, .. } => break offset,
            }
        };
        if frames > 0 || reader.has_ended() {
            end = Some((name, offset));
            break;
        }
    }
    let Some((name, offset)) =
        end.or_else(|| (needed.0 != 0).then(|| (env.display(FileId::Wal(needed)), 0)))
    else {
        return Ok(());
    };
    let detail = "the store was closed, and the log does not end so";
    report.damages.push(Error::corruption(name, offset, detail));
    Ok(())
}

/// What a segment's header says of the one before it.
struct Next {
    previous: FileNumber,
    previous_bytes: u64,
}

/// Reads one segment. Bytes that do not hold are a torn tail where nothing valid is behind them in
/// the newest segment, no part of the log where the next segment says so, and damage otherwise.
fn verify_segment(
    open: LogOpen,
    name: &str,
    number: FileNumber,
    (next, closed): (Option<&Next>, bool),
    report: &mut VerifyReport,
) -> Result<Option<Next>> {
    let (mut reader, header) = match open {
        LogOpen::Whole(reader) => {
            let header = reader.header();
            let next = Next { previous: header.previous, previous_bytes: header.previous_bytes };
            (reader, Some(next))
        }
        LogOpen::TornHeader { reader, .. } => (reader, None),
    };
    // A segment that the next one does not name was given up before anything was in it.
    let counts = next.map(|next| if next.previous == number { next.previous_bytes } else { 0 });
    let counts = match next {
        Some(next) if next.previous_bytes == u64::MAX => None,
        _ => counts,
    };
    loop {
        let (offset, detail) = match reader.next()? {
            ReadFrame::End { offset } | ReadFrame::Closed { offset } => {
                // A crash may have cut it short, or have left what was to come zero.
                if let Some(bytes) = counts.filter(|&bytes| offset < bytes.min(reader.length())) {
                    let detail = format!("{bytes} bytes of it count, from here on they are zero");
                    if closed {
                        return Err(Error::corruption(name, offset, detail));
                    }
                    report.notes.push(format!("{name}: torn at byte {offset}: {detail}"));
                }
                return Ok(header);
            }
            ReadFrame::Frame { offset, kind, payload } => {
                if counts.is_some_and(|bytes| offset >= bytes) {
                    return Ok(header);
                }
                report.entries += check_batch(name, offset, kind, payload)?;
                continue;
            }
            ReadFrame::Bad { offset, detail } => (offset, detail),
        };
        if counts.is_some_and(|bytes| offset >= bytes) {
            return Ok(header);
        }
        if next.is_none() && reader.scan_for_valid_after(offset)?.is_none() {
            report.notes.push(format!("{name}: torn at byte {offset}: {detail}"));
            return Ok(header);
        }
        return Err(Error::corruption(name, offset, detail));
    }
}

fn check_batch(name: &str, offset: u64, kind: FrameKind, payload: &[u8]) -> Result<u64> {
    if kind != FrameKind::Batch {
        return Ok(0);
    }
    let whole = BatchView::parse(payload)
        .filter(|view| view.operations().all(|operation| operation.is_ok()));
    match whole {
        Some(view) => Ok(u64::from(view.count)),
        None => Err(Error::corruption(name, offset, "the frame is no batch")),
    }
}
