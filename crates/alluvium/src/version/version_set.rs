//! The version set: the current state of the store, and the only writer of its manifest.
//!
//! # How an edit becomes true
//! [`VersionSet::apply`]: check it (pure) -> make the names of new tables durable -> append it to
//! the manifest and sync -> install it in memory. A reader sees the new state only when a crash
//! can't take it back.
//!
//! # When it fails
//! - Before anything was written, nothing has changed.
//! - When a write or a sync failed, nobody knows whether the edit is on disk. The manifest is given
//!   up, the state in memory stays the old one, and the next edit (or [`VersionSet::roll`]) writes
//!   a complete new manifest under a number never used and switches `CURRENT` to it. Until that is
//!   done a crash may bring either state, so every file that either needs is kept: the old tables
//!   are still in a version, and the new ones wait in `limbo`.
//! - An edit that failed is over: its new tables are refused from then on, and their files go once
//!   no manifest can name them.
//!
//! A manifest that was read is never appended to: what the page cache showed need not be on disk
//! (reliability bug w18). The first edit after [`VersionSet::recover`] rolls.
//!
//! # Concurrency
//! The caller serialises all calls; only [`FileNumbers`] is shared. Calls of `apply`, `roll` and
//! `close` wait for the disk.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::base::limits::EDIT_BYTES_MAX;
use crate::base::planted;
use crate::batch::ColumnFamilyId;
use crate::env::Env;
use crate::version::blobs::{BlobMeta, BlobUsage};
use crate::version::catalog::{self, Catalog, FamilyState};
use crate::version::current;
use crate::version::edit::{AddedTable, FILE_NUMBER_ON_DISK_MAX, VersionEdit};
use crate::version::manifest::Manifest;
use crate::version::numbers::FileNumbers;
use crate::version::obsolete::ObsoleteFiles;
use crate::version::presence::{self, StoreState};
use crate::version::recovery::{self, RecoveryReport};
use crate::version::table_meta::{TableFacts, TableMeta};
use crate::version::time_marks::TimeMarks;
use crate::version::{Breach, Version};

/// The current version of every column family, and the manifest.
#[derive(Debug)]
pub struct VersionSet {
    env: Arc<dyn Env>,
    obsolete: Arc<ObsoleteFiles>,
    numbers: Arc<FileNumbers>,
    catalog: Catalog,
    /// Where edits go. `None` after a failure and after recovery: the next edit begins a new one.
    manifest: Option<Manifest>,
    /// Why what is on disk is uncertain; `None` while it is what is in memory.
    failure: Option<Error>,
    /// Whether the edit that failed last may be on disk all the same.
    failed_edit_may_count: bool,
    /// The manifest that `CURRENT` named when that was last certain.
    current: Option<FileNumber>,
    /// Manifests and temporary files that nobody needs once `CURRENT` is switched the next time.
    stale: Vec<FileId>,
    /// New tables of edits that failed. A manifest may name them until the next is in force.
    limbo: Vec<Arc<TableMeta>>,
    /// The same of new blob files.
    limbo_blobs: Vec<Arc<BlobMeta>>,
    report: Option<RecoveryReport>,
    /// Why the last attempt at a shorter manifest failed, until it is taken.
    put_off: Option<Error>,
    closed: bool,
}

impl VersionSet {
    /// Makes a new store: the column family `default`, a manifest, `CURRENT`. The remains of a
    /// creation that failed are cleared away.
    ///
    /// # Errors
    /// `InvalidArgument` when there is a store; an I/O failure, after which there is none or a
    /// whole one.
    pub fn create(env: Arc<dyn Env>, obsolete: Arc<ObsoleteFiles>) -> Result<VersionSet> {
        if presence::store_exists(&*env)? == StoreState::Present {
            return Err(Error::invalid(format!("there is a store in {}", env.directory())));
        }
        let files = current::list(&*env)?;
        let mut set = VersionSet::new(env, obsolete, Catalog::new_store(), &files)?;
        set.roll()?;
        Ok(set)
    }

    /// Makes a store of tables that are written and synced: `state` says all of it, as the edit
    /// that a manifest begins with does. The names of the tables are made durable here.
    ///
    /// # Errors
    /// `InvalidArgument` for a state that cannot be; an I/O failure, after which there is no store
    /// or a whole one.
    pub fn create_from(
        env: Arc<dyn Env>,
        obsolete: Arc<ObsoleteFiles>,
        state: &VersionEdit,
    ) -> Result<VersionSet> {
        let mut catalog = Catalog::default();
        catalog.check(state).map_err(Breach::invalid)?;
        drop(catalog.commit(state, 0));
        catalog.build_versions().map_err(|(_, breach)| breach.invalid())?;
        let files = current::list(&*env)?;
        current::sync_directory(&env)?;
        let mut set = VersionSet::new(env, obsolete, catalog, &files)?;
        set.roll()?;
        Ok(set)
    }

    /// Reads the state of the store, and writes nothing.
    ///
    /// # Errors
    /// `StoreMissing` without `CURRENT`; corruption that names file and offset;
    /// `UnsupportedFormat`.
    pub fn recover(env: Arc<dyn Env>, obsolete: Arc<ObsoleteFiles>) -> Result<VersionSet> {
        let recovery::Recovered { catalog, report } = recovery::read_store(&*env)?;
        let files = current::list(&*env)?;
        let mut set = VersionSet::new(env, obsolete, catalog, &files)?;
        set.current = Some(report.manifest);
        set.stale.retain(|id| *id != FileId::Manifest(report.manifest));
        set.report = Some(report);
        Ok(set)
    }

    /// A set over the state `catalog` in a directory that holds `files`.
    fn new(
        env: Arc<dyn Env>,
        obsolete: Arc<ObsoleteFiles>,
        catalog: Catalog,
        files: &[FileId],
    ) -> Result<VersionSet> {
        let numbers = FileNumbers::new(catalog.next_file_number);
        for file in files {
            let Some(number) = file.number() else { continue };
            if number >= FILE_NUMBER_ON_DISK_MAX {
                let detail = "its number is one that no store gives out: move it away";
                return Err(Error::corruption(env.display(*file), 0, detail));
            }
            numbers.reserve_from(FileNumber(number.0 + 1));
        }
        let is_stale = |id: &FileId| matches!(id, FileId::Manifest(_) | FileId::Temporary(_));
        Ok(VersionSet {
            env,
            obsolete,
            numbers: Arc::new(numbers),
            catalog,
            manifest: None,
            failure: None,
            failed_edit_may_count: false,
            current: None,
            stale: files.iter().copied().filter(is_stale).collect(),
            limbo: Vec::new(),
            limbo_blobs: Vec::new(),
            report: None,
            put_off: None,
            closed: false,
        })
    }

    /// Makes `edit` true: durably, then in memory. The three counters of the edit are filled in; of
    /// its time marks the last is taken, if it says anything new.
    ///
    /// The files of new tables must be synced before; their names are made durable here.
    ///
    /// # Errors
    /// `InvalidArgument` for an edit that does not fit the state: nothing has changed, and the new
    /// files go. Anything else is a failure of the disk: see the module's page; a crash may bring
    /// the old state or the new.
    pub fn apply(&mut self, mut edit: VersionEdit) -> Result<()> {
        self.check_open()?;
        self.fill_in_counters(&mut edit);
        let versions = match self.after(&edit) {
            Ok(versions) => versions,
            Err(error) => {
                self.refuse_new_files(&edit);
                return Err(error);
            }
        };
        if let Err(error) = self.persist(&edit) {
            self.abandon_new_tables(edit);
            return Err(error);
        }
        self.install(&edit, versions);
        Ok(())
    }

    /// The versions that `edit` makes, or why it does not fit.
    fn after(&self, edit: &VersionEdit) -> Result<Vec<(ColumnFamilyId, Arc<Version>)>> {
        let checked = self.catalog.check(edit);
        let versions = checked.and_then(|()| self.catalog.versions_after(edit));
        let versions = versions.map_err(Breach::invalid)?;
        if let Some(added) = edit.added.iter().find(|added| added.table.is_obsolete()) {
            let number = added.table.number;
            return Err(Error::invalid(format!(
                "table {number} has left the store, or the edit that added it failed: write it anew"
            )));
        }
        Ok(versions)
    }

    fn fill_in_counters(&self, edit: &mut VersionEdit) {
        edit.next_file_number = Some(self.numbers.next());
        let in_tables = edit.added.iter().map(|added| added.table.largest_seq);
        let known = [self.catalog.last_sequence, edit.last_sequence.unwrap_or(SeqNo::ZERO)];
        edit.last_sequence = in_tables.chain(known).max();
        let created = edit.created.iter().map(|(id, _)| ColumnFamilyId(id.0.saturating_add(1)));
        edit.next_family = created.chain([self.catalog.next_family]).max();
        let last = edit.time_marks.drain(..).max_by_key(|mark| mark.seq);
        let following = last.and_then(|mark| self.catalog.time_marks.following(mark));
        edit.time_marks = following.into_iter().collect();
    }

    /// Brings an edit that was checked to disk.
    fn persist(&mut self, edit: &VersionEdit) -> Result<()> {
        self.failed_edit_may_count = false;
        let is_new = |added: &AddedTable| !self.catalog.tables.contains_key(&added.table.number);
        // A segment that it names as the first that is needed must be there, too.
        let names_files = edit.added.iter().any(is_new) || !edit.logs.is_empty();
        if names_files && !planted::is("table-names-not-synced") {
            let synced = current::sync_directory(&self.env);
            synced.map_err(|error| self.give_up(error))?;
        }
        let bytes = edit.encode();
        if self.manifest.is_none() || bytes.len() > EDIT_BYTES_MAX {
            let written = self.write_manifest(self.catalog.after(edit).snapshot());
            return written.map_err(|error| self.give_up(error));
        }
        if self.manifest.as_ref().is_some_and(Manifest::has_outgrown_its_state) {
            let written = self.write_manifest(self.catalog.after(edit).snapshot());
            // A new manifest is only thrift. While the old one is good an edit that fits there must
            // not fail for it: it may be the one that frees space on a full disk.
            match (&mut self.manifest, written) {
                (Some(manifest), Err(error)) => {
                    manifest.put_off_roll();
                    self.put_off = Some(error);
                }
                (_, written) => return written,
            }
        }
        self.failed_edit_may_count = true;
        let appended = self.manifest.as_mut().map_or(Err(Error::Closed), |m| m.append(&bytes));
        appended.map_err(|error| self.give_up(error))
    }

    /// Ends the use of the manifest: what is on disk is uncertain until the next one is in force.
    fn give_up(&mut self, error: Error) -> Error {
        self.manifest = None;
        self.failure = Some(error.clone());
        error
    }

    /// Installs in memory what is on disk.
    fn install(&mut self, edit: &VersionEdit, versions: Vec<(ColumnFamilyId, Arc<Version>)>) {
        let gone = self.catalog.commit(edit, 0);
        for table in &gone.tables {
            table.mark_obsolete(&self.obsolete);
        }
        for blob in &gone.blobs {
            blob.mark_obsolete(&self.obsolete);
        }
        for (id, version) in versions {
            if let Some(family) = self.catalog.families.get_mut(&id) {
                family.version = version;
            }
        }
    }

    /// Lets go of the new files of an edit of which nothing was written: whoever made it may make
    /// it again and again.
    fn refuse_new_files(&self, edit: &VersionEdit) {
        for added in &edit.added {
            if !self.catalog.tables.contains_key(&added.table.number) {
                added.table.mark_obsolete(&self.obsolete);
            }
        }
        for blob in &edit.blobs {
            if !self.has_blob(blob.number) {
                blob.mark_obsolete(&self.obsolete);
            }
        }
    }

    /// Keeps the new tables of an edit that failed until no manifest can name them.
    fn abandon_new_tables(&mut self, edit: VersionEdit) {
        for added in edit.added {
            if !self.catalog.tables.contains_key(&added.table.number) {
                added.table.mark_obsolete(&self.obsolete);
                self.limbo.push(added.table);
            }
        }
        for blob in edit.blobs {
            blob.mark_obsolete(&self.obsolete);
            self.limbo_blobs.push(blob);
        }
    }

    /// Writes a complete new manifest and switches `CURRENT` to it; the old one goes.
    ///
    /// # Errors
    /// A failure of the disk; the store is as good as before, whether `CURRENT` names the old
    /// manifest or the new.
    pub fn roll(&mut self) -> Result<()> {
        self.check_open()?;
        self.write_manifest(self.catalog.snapshot())
    }

    /// Makes a manifest of `state` the current one. After a failure the old one is as before when
    /// `CURRENT` was certainly not touched, and given up when it may have been.
    fn write_manifest(&mut self, mut state: VersionEdit) -> Result<()> {
        let number = self.numbers.take();
        let temporary = self.numbers.take();
        state.next_file_number = Some(self.numbers.next());
        match Manifest::create(&self.env, number, temporary, &state) {
            Ok(manifest) => {
                self.manifest = Some(manifest);
                self.failure = None;
                self.stale.extend(self.current.replace(number).map(FileId::Manifest));
                self.limbo.clear();
                self.limbo_blobs.clear();
                self.remove_stale();
                Ok(())
            }
            Err(failure) if failure.may_have_switched => {
                self.failed_edit_may_count = true;
                self.stale.push(FileId::Temporary(temporary));
                self.stale.push(FileId::Manifest(number));
                Err(self.give_up(failure.error))
            }
            Err(failure) => {
                // Nothing names it: give the space back at once.
                for id in [FileId::Temporary(temporary), FileId::Manifest(number)] {
                    if !self.remove(id) {
                        self.stale.push(id);
                    }
                }
                Err(failure.error)
            }
        }
    }

    /// Removes what the switch of `CURRENT` left behind; what can't be removed waits for the next.
    fn remove_stale(&mut self) {
        let stale = std::mem::take(&mut self.stale);
        self.stale = stale.into_iter().filter(|id| !self.remove(*id)).collect();
    }

    /// Removes a file; returns whether it is gone.
    fn remove(&self, id: FileId) -> bool {
        match self.env.remove(id) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Ends the manifest in good order. Later edits fail with [`Error::Closed`].
    ///
    /// # Errors
    /// A failure of the disk; nothing is lost by it.
    pub fn close(&mut self) -> Result<()> {
        // What the last edit has left open would else be open still at the next start.
        let certain = if self.is_in_doubt() && !self.closed { self.roll() } else { Ok(()) };
        self.closed = true;
        let closed = self.manifest.take().map_or(Ok(()), Manifest::close);
        certain.and(closed)
    }

    /// Takes no more edits, and leaves the manifest as it is: it must not say that all was in good
    /// order.
    pub fn stop(&mut self) {
        self.closed = true;
        self.manifest = None;
    }

    /// The failure of a new manifest that was put off, once: the edit that brought it up succeeded.
    pub fn take_put_off(&mut self) -> Option<Error> {
        self.put_off.take()
    }

    /// Whether an edit has failed, and no manifest has been in force since: the next start may find
    /// it done.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.failure.is_some()
    }

    fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed) } else { Ok(()) }
    }

    /// Creates a column family whose data begins with log `log_number`.
    ///
    /// # Errors
    /// `ColumnFamilyExists`; `InvalidArgument` for a name that can't be; else as [`Self::apply`].
    pub fn create_family(&mut self, name: &str, log_number: FileNumber) -> Result<ColumnFamilyId> {
        catalog::check_family_name(name).map_err(|breach| Error::invalid(breach.detail))?;
        if self.family_named(name).is_some() {
            return Err(Error::ColumnFamilyExists { name: name.to_owned() });
        }
        let id = self.catalog.next_family;
        self.apply(VersionEdit {
            created: vec![(id, name.to_owned())],
            logs: vec![(id, log_number)],
            ..VersionEdit::default()
        })?;
        Ok(id)
    }

    /// Drops a column family; its tables go once nobody reads them.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn drop_family(&mut self, id: ColumnFamilyId) -> Result<()> {
        self.apply(VersionEdit { dropped: vec![id], ..VersionEdit::default() })
    }

    /// Reads the manifest back and compares it with the state in memory; returns the bytes read.
    ///
    /// # Errors
    /// As [`Self::recover`], and corruption when the two differ (reliability bug m11). After an
    /// edit that failed its error, as long as no new manifest is in force.
    pub fn verify(&self) -> Result<u64> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let on_disk = recovery::read_store(&*self.env)?;
        let (disk, memory) = (on_disk.catalog.snapshot(), self.catalog.snapshot());
        let differ = disk.next_file_number > Some(self.numbers.next())
            || disk.created != memory.created
            || disk.logs != memory.logs
            || disk.last_sequence != memory.last_sequence
            || disk.next_family != memory.next_family
            || disk.time_marks != memory.time_marks
            || !disk.blobs.iter().map(describe_blob).eq(memory.blobs.iter().map(describe_blob))
            || !disk.added.iter().map(describe_place).eq(memory.added.iter().map(describe_place));
        if differ {
            let name = self.env.display(FileId::Manifest(on_disk.report.manifest));
            let detail = "it is whole, and does not hold the state of the open store";
            return Err(Error::corruption(name, 0, detail));
        }
        Ok(on_disk.report.bytes)
    }

    /// Whether an edit that failed may be on disk all the same: its files must stay then.
    #[must_use]
    pub fn failed_edit_may_count(&self) -> bool {
        self.failed_edit_may_count
    }

    /// The column families.
    #[must_use]
    pub fn families(&self) -> &BTreeMap<ColumnFamilyId, FamilyState> {
        &self.catalog.families
    }

    /// The column family called `name`.
    #[must_use]
    pub fn family_named(&self, name: &str) -> Option<&FamilyState> {
        self.catalog.families.values().find(|family| family.name == name)
    }

    /// The oldest log that some family still needs: all before it are obsolete.
    #[must_use]
    pub fn oldest_log_needed(&self) -> FileNumber {
        let logs = self.catalog.families.values().map(|family| family.log_number);
        logs.min().unwrap_or_default()
    }

    /// Every live blob file, ascending.
    #[must_use]
    pub fn blobs(&self) -> Vec<Arc<BlobMeta>> {
        self.catalog.blobs.all()
    }

    /// Whether a blob file of this number is live.
    #[must_use]
    pub fn has_blob(&self, number: FileNumber) -> bool {
        self.catalog.blobs.get(number).is_some()
    }

    /// How much of the blob files is needed. Files `spared` are never sparse.
    #[must_use]
    pub fn blob_usage(&self, spared: &HashSet<FileNumber>) -> BlobUsage {
        self.catalog.blobs.usage(spared)
    }

    /// The id that the next new column family gets: every id below it was given out.
    #[must_use]
    pub fn next_family_id(&self) -> ColumnFamilyId {
        self.catalog.next_family
    }

    /// At or above every sequence number in a table.
    #[must_use]
    pub fn last_sequence(&self) -> SeqNo {
        self.catalog.last_sequence
    }

    /// When sequence numbers were written.
    #[must_use]
    pub fn time_marks(&self) -> Arc<TimeMarks> {
        Arc::clone(&self.catalog.time_marks)
    }

    /// The manifest that `CURRENT` named when that was last certain.
    #[must_use]
    pub fn manifest_number(&self) -> FileNumber {
        self.current.unwrap_or_default()
    }

    /// What [`Self::recover`] found; `None` in a new store.
    #[must_use]
    pub fn report(&self) -> Option<&RecoveryReport> {
        self.report.as_ref()
    }

    /// Whether the manifest that was read had been closed in good order: the log had, then, too.
    #[must_use]
    pub fn is_closed_on_disk(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.closed)
    }

    /// The counter of file numbers, to be shared.
    #[must_use]
    pub fn file_numbers(&self) -> Arc<FileNumbers> {
        Arc::clone(&self.numbers)
    }

    /// A number for a new file, never given out before.
    #[cfg(test)]
    #[must_use]
    pub fn new_file_number(&self) -> FileNumber {
        self.numbers.take()
    }

    /// Gives out no number below `at_least` from now on.
    #[cfg(test)]
    pub fn reserve_numbers_from(&self, at_least: FileNumber) {
        self.numbers.reserve_from(at_least);
    }
}

fn describe_blob(blob: &Arc<BlobMeta>) -> (FileNumber, u64) {
    (blob.number, blob.bytes)
}

fn describe_place(added: &AddedTable) -> (ColumnFamilyId, usize, &TableFacts) {
    (added.family, added.level, &added.table)
}
