//! Reading the state of a store back: `CURRENT`, the manifest that it names, every edit in it.
//!
//! Nothing is written here, so that a store can be looked at without being changed, and damage is
//! reported before anything could cover its traces.
//!
//! # What the end of a manifest means
//! An edit is acknowledged when it is synced, and the next is written only then. So:
//!
//! - bytes that are no frame, and no valid frame anywhere behind them: a crash tore an edit that
//!   nobody was told of. It is dropped, and reported as [`TornTail`];
//! - bytes that are no frame, and a valid frame somewhere behind: an acknowledged edit is damaged.
//!   That is corruption: the edits behind it are not to be applied without it;
//! - an end frame: the manifest was closed; anything behind it is corruption.
//!
//! The state that a manifest begins with was synced before `CURRENT` named it, so there it is
//! always damage.

use std::io;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::env::Env;
use crate::version::catalog::Catalog;
use crate::version::current;
use crate::version::edit::VersionEdit;
use crate::wal::frame::{FRAME_HEADER_BYTES, LOG_HEADER_BYTES};
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// What was found when the manifest was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The manifest that `CURRENT` names.
    pub manifest: FileNumber,
    /// Bytes of it that count.
    pub bytes: u64,
    /// Edits read, the state that it begins with included as one.
    pub edits: u64,
    /// Whether it was closed in good order.
    pub closed: bool,
    /// The edit that a crash tore, if one did.
    pub torn_tail: Option<TornTail>,
}

/// The end of a log that a crash left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Why it is no frame.
    pub detail: String,
}

/// The state on disk.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) catalog: Catalog,
    pub(super) report: RecoveryReport,
}

/// Reads the state of the store.
pub(super) fn read_store(env: &dyn Env) -> Result<Recovered> {
    read_manifest(env, current::read(env)?)
}

/// Reads the state that manifest `number` holds.
pub(super) fn read_manifest(env: &dyn Env, number: FileNumber) -> Result<Recovered> {
    let name = env.display(FileId::Manifest(number));
    let file = match env.open(FileId::Manifest(number)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::corruption(name, 0, "CURRENT names it and it is missing"));
        }
        Err(error) => return Err(Error::io("open", name, error)),
    };
    match LogReader::open(file, name, number, LogKind::Manifest)? {
        LogOpen::Whole(reader) => Replay::new(reader, number).run(),
        LogOpen::TornHeader { detail, reader } => Err(Error::corruption(reader.name(), 0, detail)),
    }
}

/// A manifest being read.
struct Replay {
    reader: LogReader,
    catalog: Catalog,
    report: RecoveryReport,
}

/// What the next place in the manifest held.
enum Step {
    Edit,
    Last { closed: bool },
    Bad { offset: u64, detail: String },
}

impl Replay {
    fn new(reader: LogReader, manifest: FileNumber) -> Replay {
        let bytes = LOG_HEADER_BYTES as u64;
        let report = RecoveryReport { manifest, bytes, edits: 0, closed: false, torn_tail: None };
        Replay { reader, catalog: Catalog::default(), report }
    }

    fn run(mut self) -> Result<Recovered> {
        let name = self.reader.name().to_owned();
        loop {
            match self.step(&name)? {
                Step::Edit => {}
                Step::Last { closed } => {
                    self.report.closed = closed;
                    break;
                }
                Step::Bad { offset, detail } => {
                    self.judge_bad_place(&name, offset, detail)?;
                    break;
                }
            }
        }
        if !self.catalog.complete {
            let detail = "it ends within the state that it begins with";
            return Err(Error::corruption(name, self.report.bytes, detail));
        }
        let built = self.catalog.build_versions();
        built.map_err(|(offset, breach)| breach.corruption(&name, offset))?;
        Ok(Recovered { catalog: self.catalog, report: self.report })
    }

    fn step(&mut self, name: &str) -> Result<Step> {
        Ok(match self.reader.next()? {
            ReadFrame::Frame { offset, kind: FrameKind::Edit, payload } => {
                let payload_offset = offset + FRAME_HEADER_BYTES as u64;
                let edit = VersionEdit::decode(payload, name, payload_offset)?;
                self.report.bytes = payload_offset + payload.len() as u64;
                let fits = self.catalog.check(&edit);
                fits.map_err(|breach| breach.corruption(name, offset))?;
                drop(self.catalog.commit(&edit, offset));
                self.report.edits += u64::from(self.catalog.complete);
                Step::Edit
            }
            ReadFrame::Frame { offset, kind, .. } => {
                let detail = format!("a {kind:?} frame in a manifest");
                return Err(Error::corruption(name, offset, detail));
            }
            ReadFrame::End { .. } => Step::Last { closed: false },
            ReadFrame::Closed { offset } => {
                self.report.bytes = offset;
                Step::Last { closed: true }
            }
            ReadFrame::Bad { offset, detail } => Step::Bad { offset, detail },
        })
    }

    /// Takes a bad place for a torn tail, or fails.
    fn judge_bad_place(&mut self, name: &str, offset: u64, detail: String) -> Result<()> {
        if !self.catalog.complete {
            return Err(Error::corruption(name, offset, detail));
        }
        if self.reader.has_ended() {
            return Err(Error::corruption(name, offset, detail));
        }
        if let Some(found) = self.reader.scan_for_valid_after(offset)? {
            let behind = found.offset;
            let detail = format!("{detail}, and a whole frame follows at byte {behind}");
            return Err(Error::corruption(name, offset, detail));
        }
        let bytes = self.reader.length() - offset;
        self.report.torn_tail = Some(TornTail { offset, bytes, detail });
        Ok(())
    }
}
