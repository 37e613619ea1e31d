//! What is where: families, tables and counters, and the one place that says which edit may follow.
//!
//! Pure: no I/O. [`Catalog::check`] judges an edit against the state before it, [`Catalog::commit`]
//! carries it out. The same two run when an edit is read from the manifest and when the engine
//! makes one, so that nothing can be written that would not be read back.
//!
//! Versions are not part of it while a manifest is replayed: folding every edit into immutable
//! versions would cost edits × tables. They are built once at the end
//! ([`Catalog::build_versions`]); the version set then keeps them up to date edit by edit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::limits::{COLUMN_FAMILIES_MAX, COLUMN_FAMILY_NAME_BYTES_MAX, LEVELS};
use crate::batch::ColumnFamilyId;
use crate::version::blobs::{self, BlobMeta, Blobs};
use crate::version::edit::VersionEdit;
use crate::version::table_meta::TableMeta;
use crate::version::time_marks::TimeMarks;
use crate::version::{Breach, Checked, Version};

/// The name of the family that every store has.
const DEFAULT_FAMILY_NAME: &str = "default";

/// One column family.
#[derive(Debug, Clone)]
pub struct FamilyState {
    /// Its id, which logs and edits name it by; never given out again.
    pub id: ColumnFamilyId,
    /// Its name.
    pub name: String,
    /// Its tables.
    pub version: Arc<Version>,
    /// Its data in logs before this one is all in tables.
    pub log_number: FileNumber,
}

/// Where a table stands.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) family: ColumnFamilyId,
    pub(super) level: usize,
    pub(super) table: Arc<TableMeta>,
    /// Where in the manifest the edit stands that put it there; 0 when it was not read.
    offset: u64,
}

/// What an edit took out of the store.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) tables: Vec<Arc<TableMeta>>,
    pub(super) blobs: Vec<Arc<BlobMeta>>,
}

/// The store's state, edits folded in.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    pub(super) families: BTreeMap<ColumnFamilyId, FamilyState>,
    pub(super) tables: HashMap<FileNumber, Placed>,
    pub(super) blobs: Blobs,
    pub(super) next_file_number: FileNumber,
    pub(super) last_sequence: SeqNo,
    pub(super) next_family: ColumnFamilyId,
    pub(super) time_marks: Arc<TimeMarks>,
    /// Whether the state that a manifest begins with has been read to its end.
    pub(super) complete: bool,
}

impl Catalog {
    /// The state of a new store: the default family, empty.
    pub(super) fn new_store() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.commit(
            &VersionEdit {
                next_file_number: Some(FileNumber(1)),
                last_sequence: Some(SeqNo::ZERO),
                next_family: Some(ColumnFamilyId(ColumnFamilyId::DEFAULT.0 + 1)),
                created: vec![(ColumnFamilyId::DEFAULT, DEFAULT_FAMILY_NAME.to_owned())],
                ..VersionEdit::default()
            },
            0,
        );
        catalog
    }

    /// Whether `edit` may follow.
    pub(super) fn check(&self, edit: &VersionEdit) -> Checked<()> {
        if edit.more_follows && self.complete {
            return Err(Breach::new("more follows on an edit that stands alone"));
        }
        let counters = self.check_counters(edit)?;
        self.check_time_marks(edit, &counters)?;
        let dropped = self.check_dropped(edit)?;
        let created = self.check_created(edit, &dropped, &counters)?;
        let lives = |id: &ColumnFamilyId| {
            !dropped.contains(id) && (self.families.contains_key(id) || created.contains(id))
        };
        for (id, log) in &edit.logs {
            let before = self.families.get(id).map_or(FileNumber(0), |family| family.log_number);
            if !lives(id) {
                return Err(Breach::new(format!("a log for column family {}: none such", id.0)));
            }
            if *log < before || *log >= counters.next_file_number {
                return Err(Breach::new(format!(
                    "log {log} for column family {}: before its log {before}, or not given out",
                    id.0
                )));
            }
        }
        let moving = self.check_deleted(edit, &dropped)?;
        self.check_added(edit, &lives, &moving, &counters)?;
        self.check_blobs(edit, &counters)?;
        if !self.complete && !edit.more_follows && !lives(&ColumnFamilyId::DEFAULT) {
            return Err(Breach::new("the state has no default column family"));
        }
        Ok(())
    }

    /// The counters after `edit`; they never go back.
    fn check_counters(&self, edit: &VersionEdit) -> Checked<Counters> {
        let after = Counters {
            next_file_number: edit.next_file_number.unwrap_or(self.next_file_number),
            last_sequence: edit.last_sequence.unwrap_or(self.last_sequence),
            next_family: edit.next_family.unwrap_or(self.next_family),
        };
        if after.next_file_number < self.next_file_number {
            return Err(Breach::new("the next file number goes back"));
        }
        if after.last_sequence < self.last_sequence {
            return Err(Breach::new("the last sequence number goes back"));
        }
        if after.next_family < self.next_family {
            return Err(Breach::new("the next column family id goes back"));
        }
        Ok(after)
    }

    /// Marks follow those that are there, and speak of numbers that were given out.
    fn check_time_marks(&self, edit: &VersionEdit, after: &Counters) -> Checked<()> {
        let Some(last) = edit.time_marks.last() else { return Ok(()) };
        let ascending = edit.time_marks.is_sorted_by(|a, b| a.seq < b.seq && a.ms <= b.ms);
        let follows = edit.time_marks.first().is_none_or(|&mark| self.time_marks.may_follow(mark));
        if !ascending || !follows || last.seq > after.last_sequence {
            return Err(Breach::new("a time mark goes back, or is ahead of the last number"));
        }
        Ok(())
    }

    fn check_dropped(&self, edit: &VersionEdit) -> Checked<HashSet<ColumnFamilyId>> {
        let mut dropped = HashSet::with_capacity(edit.dropped.len());
        for id in &edit.dropped {
            if *id == ColumnFamilyId::DEFAULT {
                return Err(Breach::new("the default column family is dropped"));
            }
            if !self.families.contains_key(id) || !dropped.insert(*id) {
                return Err(Breach::new(format!("column family {} is dropped: none such", id.0)));
            }
        }
        Ok(dropped)
    }

    fn check_created(
        &self,
        edit: &VersionEdit,
        dropped: &HashSet<ColumnFamilyId>,
        after: &Counters,
    ) -> Checked<HashSet<ColumnFamilyId>> {
        if edit.created.is_empty() {
            return Ok(HashSet::new());
        }
        let living = self.families.values().filter(|family| !dropped.contains(&family.id));
        let mut names: HashSet<&str> = living.map(|family| family.name.as_str()).collect();
        let mut created = HashSet::with_capacity(edit.created.len());
        for (id, name) in &edit.created {
            check_family_name(name)?;
            let free = *id < after.next_family && (!self.complete || *id >= self.next_family);
            if !free || self.families.contains_key(id) || !created.insert(*id) {
                let detail = format!("column family {name:?} is created with used id {}", id.0);
                return Err(Breach::new(detail));
            }
            if !names.insert(name) {
                return Err(Breach::new(format!("a second column family {name:?} is created")));
            }
            if (*id == ColumnFamilyId::DEFAULT) != (name == DEFAULT_FAMILY_NAME) {
                let detail = format!("column family {name:?} is created with id {}", id.0);
                return Err(Breach::new(detail));
            }
        }
        if names.len() > COLUMN_FAMILIES_MAX {
            let detail = format!("more than {COLUMN_FAMILIES_MAX} column families");
            return Err(Breach::new(detail));
        }
        Ok(created)
    }

    /// The deleted tables, each with the family that it may be added to again.
    fn check_deleted(
        &self,
        edit: &VersionEdit,
        dropped: &HashSet<ColumnFamilyId>,
    ) -> Checked<HashMap<FileNumber, &Placed>> {
        let mut moving = HashMap::with_capacity(edit.deleted.len());
        for deleted in &edit.deleted {
            let number = deleted.number;
            let placed = self
                .tables
                .get(&number)
                .filter(|placed| placed.family == deleted.family && placed.level == deleted.level);
            let Some(placed) = placed else {
                let place = format!("column family {} level {}", deleted.family.0, deleted.level);
                let detail = format!("table {number} is deleted from {place} and is not there");
                return Err(Breach::of_table(number, detail));
            };
            if dropped.contains(&deleted.family) || moving.insert(number, placed).is_some() {
                return Err(Breach::of_table(number, format!("table {number} is deleted twice")));
            }
        }
        Ok(moving)
    }

    fn check_added(
        &self,
        edit: &VersionEdit,
        lives: &dyn Fn(&ColumnFamilyId) -> bool,
        moving: &HashMap<FileNumber, &Placed>,
        after: &Counters,
    ) -> Checked<()> {
        let mut new = HashSet::with_capacity(edit.added.len());
        for added in &edit.added {
            let (family, table) = (added.family, &added.table);
            let breach = |what: &str| {
                Err(Breach::of_table(table.number, format!("table {} {what}", table.number)))
            };
            if !lives(&family) {
                return breach("is added to a column family that is not there");
            }
            if added.level >= LEVELS {
                return breach("is added to a level that is not there");
            }
            if table.number >= after.next_file_number {
                return breach("has a number that was not given out");
            }
            if table.largest_seq > after.last_sequence {
                return breach("holds a sequence number behind the last");
            }
            if !new.insert(table.number) {
                return breach("is added twice");
            }
            match (self.tables.get(&table.number), moving.get(&table.number)) {
                (None, _) => {}
                (Some(_), None) => return breach("is added and is there already"),
                (Some(_), Some(placed)) => {
                    if placed.family != family || ***table != **placed.table {
                        return breach("changes as it moves");
                    }
                }
            }
        }
        Ok(())
    }

    /// New blob files are new, and needed; and tables need nothing that is not there.
    fn check_blobs(&self, edit: &VersionEdit, after: &Counters) -> Checked<()> {
        let mut new = HashMap::with_capacity(edit.blobs.len());
        for blob in &edit.blobs {
            let number = blob.number;
            let breach = |what: &str| Err(Breach::new(format!("blob file {number} {what}")));
            if number >= after.next_file_number || number == FileNumber(0) {
                return breach("has a number that was not given out");
            }
            let is_table = self.tables.contains_key(&number)
                || edit.added.iter().any(|added| added.table.number == number);
            if self.blobs.get(number).is_some() || new.insert(number, blob).is_some() || is_table {
                return breach("is added and is there already");
            }
        }
        let file = |number| self.blobs.get(number).or_else(|| new.get(&number).copied());
        let mut needed = HashSet::new();
        for added in edit.added.iter().filter(|added| !added.table.blobs.is_empty()) {
            blobs::check_shares(&added.table, file)?;
            needed.extend(added.table.blobs.iter().map(|share| share.file));
        }
        if edit.more_follows {
            return Ok(());
        }
        // Of the state that a manifest begins with, the tables may stand behind in another part.
        let new = edit.blobs.iter().map(|blob| blob.number);
        match self.blobs.unneeded().chain(new).find(|number| !needed.contains(number)) {
            Some(number) => Err(Breach::new(format!("blob file {number} is needed by no table"))),
            None => Ok(()),
        }
    }

    /// Carries out an edit that was checked. `offset` is where it stands in the manifest. Versions
    /// are left as they are. Returns what has gone.
    pub(super) fn commit(&mut self, edit: &VersionEdit, offset: u64) -> Gone {
        self.next_file_number = edit.next_file_number.unwrap_or(self.next_file_number);
        self.last_sequence = edit.last_sequence.unwrap_or(self.last_sequence);
        self.next_family = edit.next_family.unwrap_or(self.next_family);
        for &mark in &edit.time_marks {
            Arc::make_mut(&mut self.time_marks).push(mark);
        }
        self.complete |= !edit.more_follows;
        let mut gone = HashMap::new();
        for deleted in &edit.deleted {
            if let Some(placed) = self.tables.remove(&deleted.number) {
                gone.insert(deleted.number, placed.table);
            }
        }
        if !edit.dropped.is_empty() {
            let dropped: HashSet<ColumnFamilyId> = edit.dropped.iter().copied().collect();
            self.families.retain(|id, _| !dropped.contains(id));
            let ended = self.tables.extract_if(|_, placed| dropped.contains(&placed.family));
            gone.extend(ended.map(|(number, placed)| (number, placed.table)));
        }
        for (id, name) in &edit.created {
            let (id, name) = (*id, name.clone());
            let version = Arc::new(Version::empty());
            let family = FamilyState { id, name, version, log_number: FileNumber(0) };
            self.families.insert(id, family);
        }
        for (id, log) in &edit.logs {
            if let Some(family) = self.families.get_mut(id) {
                family.log_number = *log;
            }
        }
        edit.blobs.iter().for_each(|blob| self.blobs.insert(blob));
        for added in &edit.added {
            // A table that moves stays the one that readers hold.
            let moved = gone.remove(&added.table.number);
            let is_new = moved.is_none();
            let table = moved.unwrap_or_else(|| Arc::clone(&added.table));
            if is_new {
                self.blobs.add_table(&table);
            }
            let (family, level, number) = (added.family, added.level, table.number);
            self.tables.insert(number, Placed { family, level, table, offset });
        }
        let tables: Vec<_> = gone.into_values().collect();
        let blobs = tables.iter().flat_map(|table| self.blobs.remove_table(table)).collect();
        Gone { tables, blobs }
    }

    /// The whole state as one edit, in a fixed order.
    pub(super) fn snapshot(&self) -> VersionEdit {
        let mut edit = VersionEdit {
            next_file_number: Some(self.next_file_number),
            last_sequence: Some(self.last_sequence),
            next_family: Some(self.next_family),
            time_marks: self.time_marks.all().to_vec(),
            blobs: self.blobs.all(),
            ..VersionEdit::default()
        };
        for family in self.families.values() {
            edit.created.push((family.id, family.name.clone()));
            edit.logs.push((family.id, family.log_number));
        }
        for placed in self.tables.values() {
            edit.add(placed.family, placed.level, Arc::clone(&placed.table));
        }
        edit.added.sort_by_key(|added| (added.family, added.level, added.table.number));
        edit
    }

    /// The state after `edit`, which was checked; versions as they are.
    pub(super) fn after(&self, edit: &VersionEdit) -> Catalog {
        let mut next = self.clone();
        next.commit(edit, 0);
        next
    }

    /// Builds every family's version from its tables. A breach comes with the offset of the edit
    /// that caused it.
    pub(super) fn build_versions(&mut self) -> Result<(), (u64, Breach)> {
        let mut levels: BTreeMap<ColumnFamilyId, [Vec<Arc<TableMeta>>; LEVELS]> = BTreeMap::new();
        for placed in self.tables.values() {
            let family = levels.entry(placed.family).or_default();
            family[placed.level].push(Arc::clone(&placed.table));
        }
        for (id, tables) in levels {
            let version = Version::build(tables).map_err(|breach| {
                let placed = breach.table.and_then(|number| self.tables.get(&number));
                (placed.map_or(0, |placed| placed.offset), breach)
            })?;
            if let Some(family) = self.families.get_mut(&id) {
                family.version = Arc::new(version);
            }
        }
        Ok(())
    }

    /// The versions of the families that `edit`, which was checked, changes.
    pub(super) fn versions_after(
        &self,
        edit: &VersionEdit,
    ) -> Checked<Vec<(ColumnFamilyId, Arc<Version>)>> {
        type Tables = (Vec<(usize, Arc<TableMeta>)>, Vec<(usize, FileNumber)>);
        let mut changes: BTreeMap<ColumnFamilyId, Tables> = BTreeMap::new();
        for deleted in &edit.deleted {
            changes.entry(deleted.family).or_default().1.push((deleted.level, deleted.number));
        }
        for added in &edit.added {
            // As in `commit`: a table that moves stays the one that readers hold.
            let moved = self.tables.get(&added.table.number).map(|placed| &placed.table);
            let table = Arc::clone(moved.unwrap_or(&added.table));
            changes.entry(added.family).or_default().0.push((added.level, table));
        }
        let empty = Version::empty();
        let mut versions = Vec::with_capacity(changes.len());
        for (id, (added, deleted)) in changes {
            let before = self.families.get(&id).map_or(&empty, |family| &*family.version);
            versions.push((id, Arc::new(before.rebuild(&added, &deleted)?)));
        }
        Ok(versions)
    }
}

/// The counters after an edit.
struct Counters {
    next_file_number: FileNumber,
    last_sequence: SeqNo,
    next_family: ColumnFamilyId,
}

/// Whether a column family may have this name.
pub(super) fn check_family_name(name: &str) -> Checked<()> {
    match name.len() {
        1..=COLUMN_FAMILY_NAME_BYTES_MAX => Ok(()),
        bytes => Err(Breach::new(format!(
            "a column family name of {bytes} bytes: 1 to {COLUMN_FAMILY_NAME_BYTES_MAX} are allowed"
        ))),
    }
}
