//! Segments of the log that become blob files.
//!
//! A flush of large values need not write them: they lie in the log already. Where a segment is
//! mostly such values ([`survey`]), the tables of the flush lead there, and the segment stays when
//! nothing needs it as a part of the log any more. It gets the name of a blob file then, so that no
//! recovery and no repair takes it for log that is still to be replayed.
//!
//! # Who removes it
//!
//! Two events end a segment, in any order and on any two threads: the log lets go of it
//! ([`let_go`]), and the last table that leads there goes ([`unneeded`]). The second of them
//! removes the file. Each looks under one lock whether the other has come.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::{Arc, Weak};

use crate::base::error::{Error, Result};
use crate::base::expiry::EXPIRY_BYTES;
use crate::base::file::{FileId, FileNumber};
use crate::base::key::{self, SeqNo};
use crate::base::limits::VALUE_BYTES_MAX;
use crate::base::planted;
use crate::base::sync::Mutex;
use crate::batch::{BatchView, ColumnFamilyId};
use crate::compaction::blobs::LogValues;
use crate::compaction::job::JobOutput;
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::wal_set::{Failure, Sealed, sync_directory};
use crate::env::Env;
use crate::memtable::Memtable;
use crate::version::BlobMeta;
use crate::wal::frame::FRAME_HEADER_BYTES;
use crate::wal::{LogKind, LogOpen, LogReader, ReadFrame};

/// A segment is kept where no more than one part in so many is anything else than values of the
/// flush: it would be sparse soon.
const OTHER_PART: u64 = 4;

/// Segments to which tables lead.
#[derive(Debug, Default)]
pub(crate) struct RetiredSegments(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Those to which tables lead, or led; a dead one has been let go of by the tables.
    live: HashMap<FileNumber, Weak<BlobMeta>>,
    /// Those of them that the log has let go of.
    kept: HashSet<FileNumber>,
}

impl RetiredSegments {
    /// The segment as a blob file: the one that is there, as long as anybody holds it, or a new
    /// one.
    pub(crate) fn meta(&self, number: FileNumber, bytes: u64) -> Arc<BlobMeta> {
        let mut state = self.0.lock();
        if let Some(meta) = state.live.get(&number).and_then(Weak::upgrade) {
            return meta;
        }
        let meta = Arc::new(BlobMeta::new(number, bytes));
        state.live.insert(number, Arc::downgrade(&meta));
        meta
    }

    /// Whether tables lead there. Where none does, the segment is one like any other from now on.
    fn is_needed(&self, number: FileNumber) -> bool {
        let mut state = self.0.lock();
        let needed = state.live.get(&number).is_some_and(|meta| meta.strong_count() > 0);
        if !needed {
            state.live.remove(&number);
        }
        needed
    }

    /// The log has let go of it; says whether tables still lead there.
    fn keep(&self, number: FileNumber) -> bool {
        let mut state = self.0.lock();
        let needed = state.live.get(&number).is_some_and(|meta| meta.strong_count() > 0);
        if needed {
            state.kept.insert(number);
        } else {
            state.live.remove(&number);
        }
        needed
    }

    /// The last table that led there has gone; says whether the file is to be removed now.
    fn take(&self, number: FileNumber) -> bool {
        let mut state = self.0.lock();
        match state.live.get(&number) {
            // A blob file like any other.
            None => true,
            // Others have come.
            Some(meta) if meta.strong_count() > 0 => false,
            Some(_) => {
                let goes = state.kept.remove(&number);
                if goes {
                    state.live.remove(&number);
                }
                goes
            }
        }
    }
}

/// The log has let go of segment `number`: removes it, or makes it a blob file.
pub(crate) fn let_go(core: &Core, number: FileNumber) {
    if !core.retired.is_needed(number) || planted::is("log-of-values-removed") {
        remove(core, FileId::Wal(number));
        return;
    }
    // Where it keeps its old name it is found by that, and tried again by the next open.
    if let Err(error) = give_new_name(core.env.as_ref(), number) {
        core.health.note_failure("a segment of values", &error);
    }
    if !core.retired.keep(number) {
        remove_values(core, number);
    }
}

/// Gives a segment the name of a blob file. The new one is durable before the old one goes: a power
/// cut may leave both.
fn give_new_name(env: &dyn Env, number: FileNumber) -> Result<()> {
    let old = FileId::Wal(number);
    match env.link(old, FileId::Blob(number)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("rename", env.display(old), error));
        }
        _ => {}
    }
    sync_directory(env)?;
    env.remove(old).map_err(|error| Error::io("remove", env.display(old), error))
}

/// The last table that leads to blob file `number` has gone: removes it, unless the log needs it.
pub(crate) fn unneeded(core: &Core, number: FileNumber) {
    core.blobs.forget(number);
    if core.retired.take(number) {
        remove_values(core, number);
    }
}

/// Removes a blob file by whatever names it has, where it has not gone already.
fn remove_values(core: &Core, number: FileNumber) {
    for file in [FileId::Blob(number), FileId::Wal(number)] {
        let removed = core.env.remove(file);
        if removed.is_err_and(|error| error.kind() != ErrorKind::NotFound) {
            core.counters.removals_failed.add(1);
        }
    }
}

/// Removes a file that nothing names. One that cannot be removed now is removed at the next open.
fn remove(core: &Core, file: FileId) {
    if core.env.remove(file).is_err() {
        core.counters.removals_failed.add(1);
    }
}

/// Gives the segments that tables lead to, of the log of an earlier life of the store, their new
/// names. One that keeps its old one is found by that.
pub(crate) fn rename_all(env: &dyn Env, blobs: &[Arc<BlobMeta>], present: &HashSet<FileId>) {
    let old_names = blobs.iter().filter(|blob| present.contains(&FileId::Wal(blob.number)));
    old_names.for_each(|blob| drop(give_new_name(env, blob.number)));
}

/// What a flush finds in the log.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) values: LogValues,
    /// The segments that may be kept for them.
    segments: Vec<Arc<Sealed>>,
    /// What could not be read of others.
    failures: Vec<Error>,
}

impl Survey {
    /// Makes the segments `needed` survive a power cut, and gives them as blob files.
    fn keep(&self, core: &Core, needed: &HashSet<FileNumber>) -> Result<Vec<Arc<BlobMeta>>> {
        let kept = self.segments.iter().filter(|segment| needed.contains(&segment.number()));
        kept.map(|segment| {
            if !planted::is("values-in-the-log-not-synced") {
                segment.sync(core.env.as_ref())?;
            }
            Ok(core.retired.meta(segment.number(), segment.bytes()))
        })
        .collect()
    }
}

/// The log that a flush surveys is at most so many times what the memtables take.
const SURVEY_FACTOR: u64 = 4;

/// What of the values of `family` in segments before `next_log` can stay in the log. Where entries
/// are short, `each` bytes long about, that is not looked for.
pub(crate) fn survey_log(
    core: &Core,
    family: &Family,
    next_log: FileNumber,
    (memtables, each): (&[Arc<Memtable>], usize),
) -> Survey {
    let bytes_min = match family.options.blob_bytes_min {
        Some(bytes_min) if each >= bytes_min / 2 => bytes_min,
        _ => return Survey::default(),
    };
    let known = core.versions.lock().families().get(&family.id).map(|known| known.log_number);
    let Some(first) = known else { return Survey::default() };
    let mut segments = core.wal.lock().sealed();
    segments.retain(|segment| (first..next_log).contains(&segment.number()));
    // A family that is seldom flushed has much of others' log behind it, which is not worth a look.
    let memtable_bytes: usize = memtables.iter().map(|memtable| memtable.memory_bytes()).sum();
    let mut left = (memtable_bytes as u64).saturating_mul(SURVEY_FACTOR);
    segments.reverse();
    segments.retain(|segment| {
        let fits = segment.bytes() <= left;
        left = if fits { left - segment.bytes() } else { 0 };
        fits
    });
    // Of several versions the newest stays, nearly always.
    let is_newest = |user_key: &[u8], seq: SeqNo| {
        let lookup = key::encode(user_key, key::seek_trailer(SeqNo::MAX));
        let found = memtables.iter().find_map(|memtable| memtable.get(&lookup));
        found.is_some_and(|(trailer, _)| key::trailer_seq(trailer) == seq)
    };
    let wanted = Wanted { family: family.id, bytes_min, is_newest: &is_newest };
    let survey = survey(core.env.as_ref(), segments, &wanted);
    for error in &survey.failures {
        core.health.note_failure("a look for values in the log", error);
    }
    survey
}

/// The segments of the log that the tables of a flush lead to; they survive a power cut.
pub(crate) fn keep_segments(
    core: &Core,
    log: &Survey,
    output: &JobOutput,
) -> Result<Vec<Arc<BlobMeta>>> {
    let shares = output.tables.iter().flat_map(|table| &table.blobs);
    let needed = shares.map(|share| share.file).collect();
    log.keep(core, &needed).inspect_err(|error| {
        core.wal.lock().failure = Some(Failure::Fatal(error.clone()));
        core.health.stop(error.clone());
    })
}

/// Which values a flush looks for.
struct Wanted<'a> {
    family: ColumnFamilyId,
    /// From this length on.
    bytes_min: usize,
    /// Whether what was written as this sequence number is the newest version of the key.
    is_newest: &'a dyn Fn(&[u8], SeqNo) -> bool,
}

/// Finds the values that are `wanted` in `segments`, of those segments that are mostly such values.
/// What cannot be read of the log is not found, and written anew.
fn survey(env: &dyn Env, segments: Vec<Arc<Sealed>>, wanted: &Wanted<'_>) -> Survey {
    let mut survey = Survey::default();
    for segment in segments {
        let mut found = (LogValues::default(), 0);
        let read = values_in(env, &segment, wanted, &mut found);
        let (values, value_bytes) = found;
        let other = segment.bytes().saturating_sub(value_bytes);
        if let Err(error) = read {
            survey.failures.push(error);
        } else if other.saturating_mul(OTHER_PART) <= segment.bytes() {
            survey.values.absorb(values);
            survey.segments.push(segment);
        }
    }
    survey
}

fn values_in(
    env: &dyn Env,
    segment: &Sealed,
    wanted: &Wanted<'_>,
    (values, value_bytes): &mut (LogValues, u64),
) -> Result<()> {
    let number = segment.number();
    let name = env.display(FileId::Wal(number));
    let file =
        env.open(FileId::Wal(number)).map_err(|error| Error::io("open", name.as_str(), error))?;
    let LogOpen::Whole(mut reader) = LogReader::open(file, name, number, LogKind::Wal)? else {
        return Ok(());
    };
    while let ReadFrame::Frame { offset, payload, .. } = reader.next()? {
        // What is behind was refused.
        if offset >= segment.bytes() {
            return Ok(());
        }
        let Some(view) = BatchView::parse(payload) else { return Ok(()) };
        for (seq, operation) in (view.first.get()..).zip(view.operations().flatten()) {
            let expiry_bytes = if operation.kind.expires() { EXPIRY_BYTES } else { 0 };
            let value = operation.value.get(expiry_bytes..).unwrap_or_default();
            if operation.family == wanted.family
                && operation.kind.with_blob().is_some()
                && (wanted.bytes_min..=VALUE_BYTES_MAX).contains(&value.len())
                && (wanted.is_newest)(operation.key, SeqNo::new(seq))
            {
                let within = value.as_ptr().addr() - payload.as_ptr().addr();
                let at = offset + (FRAME_HEADER_BYTES + within) as u64;
                values.note(SeqNo::new(seq), number, at, value.len() as u32);
                *value_bytes += value.len() as u64;
            }
        }
    }
    Ok(())
}
