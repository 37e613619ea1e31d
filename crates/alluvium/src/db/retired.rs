//! Segments of the log that become blob files.
//!
//! A flush of large values need not write them: they lie in the log already, and where each of them
//! does was noted when it was written. Where a segment is mostly such values ([`survey_log`]), the
//! tables of the flush lead there, and the segment stays when nothing needs it as a part of the log
//! any more. It gets the name of a blob file then, so that no recovery and no repair takes it for
//! log that is still to be replayed.
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
use crate::base::file::{FileId, FileNumber};
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo};
use crate::base::planted;
use crate::base::sync::Mutex;
use crate::compaction::blobs::LogValues;
use crate::compaction::job::JobOutput;
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::wal_set::{Failure, Sealed, sync_directory};
use crate::env::Env;
use crate::memtable::Memtable;
use crate::sstable::TableOptions;
use crate::version::BlobMeta;

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

/// What a flush leaves in the log.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) values: LogValues,
    /// The segments that may be kept for them.
    segments: Vec<Arc<Sealed>>,
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

/// What of the values in `memtables` of `family`, newest first, can stay in the segments of the log
/// before `next_log`; `options` are those of the tables that they are flushed to.
pub(crate) fn survey_log(
    core: &Core,
    family: &Family,
    next_log: FileNumber,
    options: &TableOptions,
    memtables: &[Arc<Memtable>],
) -> Result<Survey> {
    if options.blob_bytes_min == usize::MAX {
        return Ok(Survey::default());
    }
    let known = core.versions.lock().families().get(&family.id).map(|known| known.log_number);
    let Some(first) = known else { return Ok(Survey::default()) };
    let mut segments = core.wal.lock().sealed();
    segments.retain(|segment| {
        (first..next_log).contains(&segment.number()) && segment.bytes() >= options.blob_job_bytes()
    });
    survey(segments, options.blob_bytes_min, memtables)
}

/// Of values of `bytes_min` and more the newest versions, in those of `segments` that are mostly
/// such values.
fn survey(
    mut segments: Vec<Arc<Sealed>>,
    bytes_min: usize,
    memtables: &[Arc<Memtable>],
) -> Result<Survey> {
    let lengths: HashMap<FileNumber, u64> =
        segments.iter().map(|segment| (segment.number(), segment.bytes())).collect();
    let mut values = LogValues::default();
    let mut value_bytes: HashMap<FileNumber, u64> = HashMap::new();
    for (age, memtable) in memtables.iter().enumerate() {
        // What is behind the length of a segment was refused.
        let places = memtable.places(|place| {
            let within = lengths.get(&place.file).is_some_and(|length| place.end() <= *length);
            within && place.bytes as usize >= bytes_min
        });
        if places.is_empty() {
            continue;
        }
        each_newest(memtable, &memtables[..age], |seq| {
            if let Some(place) = places.get(&seq) {
                values.note(seq, *place);
                *value_bytes.entry(place.file).or_default() += u64::from(place.bytes);
            }
        })?;
    }
    segments.retain(|segment| {
        let wanted = value_bytes.get(&segment.number()).copied().unwrap_or_default();
        let other = segment.bytes().saturating_sub(wanted);
        other.saturating_mul(OTHER_PART) <= segment.bytes()
    });
    let kept: HashSet<FileNumber> = segments.iter().map(|segment| segment.number()).collect();
    values.retain(|file| kept.contains(&file));
    Ok(Survey { values, segments })
}

/// Calls `each` with the sequence number of every entry of `memtable` that is the newest of its
/// key, there and in the `newer` memtables: of several versions the newest stays, nearly always.
fn each_newest(
    memtable: &Arc<Memtable>,
    newer: &[Arc<Memtable>],
    mut each: impl FnMut(SeqNo),
) -> Result<()> {
    let mut entries = memtable.iter();
    let mut before: Option<Vec<u8>> = None;
    entries.seek_to_first()?;
    while entries.valid() {
        let (user_key, trailer) = key::split(entries.key());
        if before.as_deref() != Some(user_key) {
            let lookup = key::encode(user_key, key::seek_trailer(SeqNo::MAX));
            if newer.iter().all(|memtable| memtable.get(&lookup).is_none()) {
                each(key::trailer_seq(trailer));
            }
            let before = before.get_or_insert_default();
            before.clear();
            before.extend_from_slice(user_key);
        }
        entries.next()?;
    }
    Ok(())
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
