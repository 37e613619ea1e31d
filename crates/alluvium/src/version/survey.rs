//! What the manifests of a store say when they cannot simply be believed: for repair.
//!
//! [`crate::version::VersionSet::recover`] takes one manifest whole or not at all. A survey takes
//! what there is: the state of each manifest that reads whole, and from all of them, the damaged
//! ones and what stands behind the damage included, every edit that checks. One edit alone says
//! little of where the store stood, but much of what is what: a number that an edit deleted is
//! never given out again, a family's name never changes.
//!
//! Nothing is written, and no damage is an error here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::batch::ColumnFamilyId;
use crate::env::Env;
use crate::version::current;
use crate::version::edit::{AddedTable, FILE_NUMBER_ON_DISK_MAX, VersionEdit};
use crate::version::recovery::{self, Recovered};
use crate::wal::frame::FRAME_HEADER_BYTES;
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// What can be read of the manifests in a directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The state of the manifest that counts, or most probably does.
    pub(crate) state: Option<SurveyedState>,
    /// Every table that some edit adds, as the last one read adds it.
    pub(crate) tables: HashMap<FileNumber, AddedTable>,
    /// Tables that some edit takes out for good.
    pub(crate) deleted: HashSet<FileNumber>,
    /// The name of every family that some edit creates.
    pub(crate) names: BTreeMap<ColumnFamilyId, String>,
    /// The greatest of each counter.
    pub(crate) next_file_number: FileNumber,
    pub(crate) last_sequence: SeqNo,
    pub(crate) next_family: ColumnFamilyId,
    /// What is damaged or missing of `CURRENT` and the manifests.
    pub(crate) damages: Vec<Error>,
    dropped: HashSet<ColumnFamilyId>,
    /// The states that manifests begin with: ids below the first were given out, and live only if
    /// they are in the second.
    beginnings: Vec<(ColumnFamilyId, HashSet<ColumnFamilyId>)>,
}

/// The state of a manifest that reads whole.
#[derive(Debug)]
pub(crate) struct SurveyedState {
    pub(crate) manifest: FileNumber,
    /// Id, name, and the log that its data begins with.
    pub(crate) families: Vec<(ColumnFamilyId, String, FileNumber)>,
    pub(crate) tables: Vec<AddedTable>,
    pub(crate) next_family: ColumnFamilyId,
    next_file_number: FileNumber,
    /// Whether it was closed in good order.
    pub(crate) closed: bool,
    /// Whether its end is torn, or damaged so that it looks torn.
    pub(crate) torn: bool,
}

impl Survey {
    /// Whether a family of this id was dropped, as far as anybody can tell.
    pub(crate) fn is_dropped(&self, id: ColumnFamilyId) -> bool {
        let ended_before = |(next, living): &(ColumnFamilyId, HashSet<ColumnFamilyId>)| {
            id < *next && !living.contains(&id)
        };
        self.dropped.contains(&id) || self.beginnings.iter().any(ended_before)
    }

    /// Reads `CURRENT` and every manifest of `env`.
    ///
    /// # Errors
    /// A directory that cannot be listed, and a format that this build does not read.
    pub(crate) fn of(env: &dyn Env) -> Result<Survey> {
        let mut survey = Survey::default();
        let is_manifest = |id| match id {
            FileId::Manifest(number) if number < FILE_NUMBER_ON_DISK_MAX => Some(number),
            _ => None,
        };
        let files = current::list(env)?;
        let manifests: Vec<FileNumber> = files.into_iter().filter_map(is_manifest).collect();
        let current = match current::read(env) {
            Ok(number) => Some(number),
            Err(error) => {
                survey.note(match error {
                    Error::StoreMissing { .. } => missing(env, FileId::Current),
                    other => other,
                })?;
                None
            }
        };
        let mut whole = Vec::new();
        let mut all_whole = true;
        for &number in &manifests {
            survey.collect(env, number)?;
            match recovery::read_manifest(env, number) {
                Ok(recovered) => whole.push(SurveyedState::new(recovered)),
                Err(error) => {
                    // A manifest that was never switched to may end anywhere.
                    if current.is_none_or(|current| current == number) {
                        all_whole = false;
                        survey.note(error)?;
                    }
                }
            }
        }
        survey.state = match current {
            Some(named) => whole.into_iter().find(|state| state.manifest == named),
            // Without `CURRENT` a damaged manifest may be the one that counted.
            None if !all_whole => None,
            // Equal counters: the younger one was begun and given up, the older went on.
            None => whole
                .into_iter()
                .max_by_key(|state| (state.next_file_number, Reverse(state.manifest))),
        };
        if let Some(named) = current.filter(|named| !manifests.contains(named)) {
            survey.note(missing(env, FileId::Manifest(named)))?;
        } else if manifests.is_empty() {
            let detail = "there is no manifest";
            survey.note(Error::corruption(env.directory(), 0, detail))?;
        }
        Ok(survey)
    }

    /// Notes damage; a newer format is not damage.
    fn note(&mut self, error: Error) -> Result<()> {
        if let Error::UnsupportedFormat { .. } = error {
            return Err(error);
        }
        self.damages.push(error);
        Ok(())
    }

    /// Collects what each valid edit of a manifest says.
    fn collect(&mut self, env: &dyn Env, number: FileNumber) -> Result<()> {
        let id = FileId::Manifest(number);
        let name = env.display(id);
        // What cannot be opened is found again, and reported, when it is read in order.
        let Ok(file) = env.open(id) else { return Ok(()) };
        let mut reader = match LogReader::open(file, name.clone(), number, LogKind::Manifest) {
            Ok(LogOpen::Whole(reader) | LogOpen::TornHeader { reader, .. }) => reader,
            Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
            Err(_) => return Ok(()),
        };
        let mut beginning = Some((ColumnFamilyId(0), HashSet::new()));
        let mut bad = loop {
            match reader.next() {
                Ok(ReadFrame::Frame { offset, kind: FrameKind::Edit, payload }) => {
                    let at = offset + FRAME_HEADER_BYTES as u64;
                    let Ok(edit) = VersionEdit::decode(payload, &name, at) else {
                        break offset;
                    };
                    self.collect_beginning(&mut beginning, &edit);
                    self.collect_edit(edit);
                }
                Ok(ReadFrame::Bad { offset, .. }) => break offset,
                _ => return Ok(()),
            }
        };
        while let Ok(Some(found)) = reader.scan_for_valid_after(bad) {
            if found.kind == FrameKind::Edit
                && let Ok(edit) = VersionEdit::decode(found.payload, &name, found.offset)
            {
                self.collect_edit(edit);
            }
            bad = found.last_byte;
        }
        Ok(())
    }

    /// Takes in the state that a manifest begins with, as long as that lasts.
    fn collect_beginning(
        &mut self,
        beginning: &mut Option<(ColumnFamilyId, HashSet<ColumnFamilyId>)>,
        edit: &VersionEdit,
    ) {
        let Some((next, living)) = beginning else { return };
        *next = edit.next_family.unwrap_or(*next);
        living.extend(edit.created.iter().map(|(id, _)| *id));
        if !edit.more_follows
            && let Some((next, living)) = beginning.take()
        {
            // Families that come later are no part of it, and not below its counter.
            self.beginnings.push((next, living));
        }
    }

    fn collect_edit(&mut self, edit: VersionEdit) {
        self.next_file_number =
            self.next_file_number.max(edit.next_file_number.unwrap_or_default());
        self.last_sequence = self.last_sequence.max(edit.last_sequence.unwrap_or_default());
        self.next_family = self.next_family.max(edit.next_family.unwrap_or_default());
        self.names.extend(edit.created);
        self.dropped.extend(edit.dropped);
        let moved: HashSet<FileNumber> =
            edit.added.iter().map(|added| added.table.number).collect();
        let deleted = edit.deleted.iter().map(|deleted| deleted.number);
        self.deleted.extend(deleted.filter(|number| !moved.contains(number)));
        self.tables.extend(edit.added.into_iter().map(|added| (added.table.number, added)));
    }
}

impl SurveyedState {
    /// The oldest log that some family still needs.
    pub(crate) fn oldest_log(&self) -> FileNumber {
        self.families.iter().map(|(_, _, log)| *log).min().unwrap_or_default()
    }

    fn new(recovered: Recovered) -> SurveyedState {
        let Recovered { catalog, report } = recovered;
        let families = catalog.families.values();
        SurveyedState {
            manifest: report.manifest,
            families: families.map(|f| (f.id, f.name.clone(), f.log_number)).collect(),
            tables: catalog.snapshot().added,
            next_family: catalog.next_family,
            next_file_number: catalog.next_file_number,
            closed: report.closed,
            torn: report.torn_tail.is_some(),
        }
    }
}

fn missing(env: &dyn Env, id: FileId) -> Error {
    Error::corruption(env.display(id), 0, "it is missing")
}

/// Whether some manifest may give out this number; names beyond are no store's.
pub(crate) fn is_plausible(number: FileNumber) -> bool {
    number < FILE_NUMBER_ON_DISK_MAX
}
