//! The tables of a damaged store: kept, salvaged, or merged.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo};
use crate::base::limits::LEVELS;
use crate::base::sync::Mutex;
use crate::batch::ColumnFamilyId;
use crate::cache::BlockCache;
use crate::compaction::TablePlace;
use crate::compaction::blobs::BlobOutputs;
use crate::compaction::covered::Covered;
use crate::compaction::job::{JobContext, JobOutput};
use crate::compaction::retain::{Now, Retain, Verdict};
use crate::db::jobs::{blob_metas, check_tables};
use crate::db::repair::report::TableLoss;
use crate::db::repair::source::Source;
use crate::db::repair::values::{Anew, LostValues, Unread, with_value};
use crate::db::repair::{Work, list_tables};
use crate::env::Env;
use crate::iter::merging::MergingIterator;
use crate::metrics::Counters;
use crate::ranges::{Fragment, Fragments};
use crate::sstable::{
    Findings, Gap, ReadPurpose, Salvage, TableCache, TableHandle, TableOptions, TableWriter,
};
use crate::version::{TableFacts, TableMeta};

/// What is copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// A table of the source that is to be merged.
#[derive(Clone)]
struct Found {
    number: FileNumber,
    /// The first and last user key, where something says so.
    bounds: Option<(Vec<u8>, Vec<u8>)>,
    /// How many entries it held, where something says so.
    entries: Option<u64>,
    /// How many range tombstones a manifest says that it held.
    range_tombstones: Option<u64>,
    findings: Arc<Mutex<Findings>>,
}

impl Found {
    fn open(&self, source: &Source) -> Result<Salvage> {
        open_salvage(source, self.number, self.range_tombstones, &self.findings)
    }
}

/// What is to become of a table.
enum Look {
    /// It is merged into this family.
    Counts(ColumnFamilyId, Found),
    /// Nothing says which family it belongs to.
    Stray(Found),
    /// It was taken out, or cannot be read.
    Nothing,
}

impl Work {
    /// Takes over a table that the manifest names: copied where it is sound, what is left of it
    /// where it is not.
    pub(super) fn keep_table(
        &mut self,
        family: ColumnFamilyId,
        level: usize,
        table: &TableFacts,
    ) -> Result<()> {
        // One with values elsewhere is written anew, and they with it.
        if table.blobs.is_empty() && self.is_sound(table)? && self.copy_table(table.number)? {
            self.report.tables_whole += 1;
            self.edit.add(family, level, Arc::new(TableMeta::new(table.clone())?));
            return Ok(());
        }
        let findings = Arc::default();
        let ranges = Some(table.range_tombstones);
        let mut salvage = match open_salvage(&self.source, table.number, ranges, &findings) {
            Ok(salvage) => salvage,
            Err(error) => return self.lose_table(family, table, error),
        };
        if salvage.footer_checksum().is_some_and(|sum| sum != table.footer_checksum) {
            let name = self.source.display(FileId::Table(table.number));
            let detail = "the file is not the table that the manifest names";
            return self.lose_table(family, table, Error::corruption(name, 0, detail));
        }
        let options = self.options.column_family.table_options(TablePlace::in_level(level), family);
        let mut lost = LostValues::default();
        let output =
            self.with_context(|context| rewrite(context, &mut salvage, &options, &mut lost))?;
        self.report_lost_values(Some(family), lost);
        let bounds = Some((table.smallest_user_key(), table.largest_user_key()));
        self.report_findings(Some(family), table.number, &findings, Some(table.entries), bounds);
        for table in check_tables(&self.tables, &output, None)? {
            self.edit.add(family, level, table);
        }
        self.edit.blobs.extend(blob_metas(&output));
        Ok(())
    }

    fn lose_table(
        &mut self,
        family: ColumnFamilyId,
        table: &TableFacts,
        error: Error,
    ) -> Result<()> {
        if matches!(error, Error::UnsupportedFormat { .. }) {
            return Err(error);
        }
        self.report.tables_lost += 1;
        self.report.table_losses.push(TableLoss {
            file: self.source.display(FileId::Table(table.number)),
            family: Some(family.0),
            offset: 0,
            bytes: table.bytes,
            from: Some(table.smallest_user_key().to_vec()),
            to: Some(table.largest_user_key().to_vec()),
            detail: detail_of(error),
        });
        Ok(())
    }

    /// Whether every byte of the table is as it was written.
    fn is_sound(&self, table: &TableFacts) -> Result<bool> {
        let env: Arc<dyn Env> = Arc::clone(&self.source) as Arc<dyn Env>;
        let (cache, counters) = (Arc::new(BlockCache::new(0)), Arc::new(Counters::default()));
        let tables = TableCache::new(env, cache, counters, 1);
        let handle = Arc::new(TableHandle::new(table.number, table.footer_checksum));
        let opened = match tables.open(&handle) {
            Ok(opened) => opened,
            Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
            Err(_) => return Ok(false),
        };
        let mut sound = opened.bytes() == table.bytes;
        opened.verify(&mut |_| sound = false);
        let found = opened.properties();
        let found = (found.entries, found.tombstones, found.range_tombstones);
        Ok(sound && found == (table.entries, table.tombstones, table.range_tombstones))
    }

    /// Copies a table's file; false when it cannot be read after all.
    fn copy_table(&self, number: FileNumber) -> Result<bool> {
        let id = FileId::Table(number);
        let Ok(from) = self.source.open(id) else { return Ok(false) };
        let Ok(length) = from.length() else { return Ok(false) };
        let name = self.to.display(id);
        let written = |operation, error| Error::io(operation, name.as_str(), error);
        let to = self.to.create(id).map_err(|error| written("create", error))?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        while offset < length {
            let left = usize::try_from(length - offset).unwrap_or(usize::MAX);
            let part = left.min(COPY_BYTES);
            match from.read_at(offset, &mut buffer[..part]) {
                Ok(read) if read == part => {}
                _ => {
                    self.to.remove(id).map_err(|error| written("remove", error))?;
                    return Ok(false);
                }
            }
            to.append(&buffer[..part]).map_err(|error| written("append to", error))?;
            offset += part as u64;
        }
        to.sync().map_err(|error| written("sync", error))?;
        Ok(true)
    }

    /// Puts what a salvage stepped over into the report. `entries` and `bounds` are what the table
    /// held, where something says so.
    fn report_findings(
        &mut self,
        family: Option<ColumnFamilyId>,
        number: FileNumber,
        findings: &Mutex<Findings>,
        entries: Option<u64>,
        bounds: Option<(&[u8], &[u8])>,
    ) {
        let mut findings = findings.lock();
        let gaps = std::mem::take(&mut findings.gaps);
        let file = self.source.display(FileId::Table(number));
        let is_whole = match entries {
            Some(entries) => entries == findings.entries && !findings.ranges_lost,
            None => gaps.is_empty(),
        };
        if is_whole {
            self.report.tables_whole += 1;
            return;
        }
        match findings.entries {
            0 => self.report.tables_lost += 1,
            _ => self.report.tables_salvaged += 1,
        }
        let family = family.map(|id| id.0);
        let (first, last) = match bounds {
            Some((first, last)) => (Some(first.to_vec()), Some(last.to_vec())),
            None => (None, None),
        };
        let loss = |offset, bytes, from, to, detail| TableLoss {
            file: file.clone(),
            family,
            offset,
            bytes,
            from,
            to,
            detail,
        };
        if gaps.is_empty() {
            let missing = entries.unwrap_or(0).saturating_sub(findings.entries);
            let detail = format!("{missing} entries are not where they were");
            self.report.table_losses.push(loss(0, 0, first, last, detail));
            return;
        }
        for gap in gaps {
            let from = gap.after.or_else(|| first.clone());
            let to = gap.before.or_else(|| last.clone());
            self.report.table_losses.push(loss(gap.offset, gap.bytes, from, to, gap.detail));
        }
    }

    /// Merges every table of the source that was not taken out, and `from_log`, into one sorted run
    /// a family.
    pub(super) fn merge_tables(
        &mut self,
        from_log: Vec<(ColumnFamilyId, Arc<TableMeta>)>,
    ) -> Result<()> {
        let mut groups: BTreeMap<ColumnFamilyId, Vec<Found>> = BTreeMap::new();
        let mut on_disk: Vec<FileNumber> = list_tables(self.source.as_ref())?.into_iter().collect();
        on_disk.sort_unstable();
        let mut strays = Vec::new();
        for number in on_disk {
            match self.look_at(number)? {
                Look::Counts(family, found) => groups.entry(family).or_default().push(found),
                Look::Stray(found) => strays.push(found),
                Look::Nothing => {}
            }
        }
        for found in strays {
            // Behind all others: the families that those name are known by now.
            let family = self.family_for_stray(found.number);
            groups.entry(family).or_default().push(found);
        }
        self.note_missing_tables();
        let mut replayed: BTreeMap<ColumnFamilyId, Vec<Arc<TableMeta>>> = BTreeMap::new();
        for (family, table) in from_log {
            replayed.entry(family).or_default().push(table);
        }
        for id in self.families.keys().copied().collect::<Vec<_>>() {
            let found = groups.remove(&id).unwrap_or_default();
            let replayed = replayed.remove(&id).unwrap_or_default();
            self.merge_family(id, found, &replayed)?;
        }
        Ok(())
    }

    /// What a table says of itself, or the manifests of it.
    fn look_at(&mut self, number: FileNumber) -> Result<Look> {
        let name = self.source.display(FileId::Table(number));
        if self.survey.deleted.contains(&number) {
            self.note(format!("{name}: left out, a manifest says that it was taken out"));
            return Ok(Look::Nothing);
        }
        // The file is opened again when its turn comes: there may be many.
        let named = self.survey.tables.get(&number);
        let range_tombstones = named.map(|named| named.table.range_tombstones);
        let unused = Arc::default();
        let salvage = match open_salvage(&self.source, number, range_tombstones, &unused) {
            Ok(salvage) => salvage,
            Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
            Err(error) => {
                self.report.tables_lost += 1;
                self.report.table_losses.push(unknown_loss(name, detail_of(error)));
                return Ok(Look::Nothing);
            }
        };
        let user_key = |encoded: &[u8]| key::user_key(encoded).to_vec();
        let findings = Arc::default();
        let (family, found) = match (salvage.properties(), named) {
            (Some(own), _) => {
                self.last_sequence = self.last_sequence.max(own.largest_seq);
                let bounds = Some((user_key(&own.smallest), user_key(&own.largest)));
                let entries = Some(own.entries);
                (own.column_family, Found { number, bounds, entries, range_tombstones, findings })
            }
            (None, Some(named)) => {
                let table = &named.table;
                let bounds = Some((user_key(&table.smallest), user_key(&table.largest)));
                let entries = Some(table.entries);
                (named.family, Found { number, bounds, entries, range_tombstones, findings })
            }
            (None, None) => {
                let (bounds, entries) = (None, None);
                let found = Found { number, bounds, entries, range_tombstones, findings };
                return Ok(Look::Stray(found));
            }
        };
        if self.is_dropped(family) {
            return Ok(Look::Nothing);
        }
        self.meet(family);
        Ok(Look::Counts(family, found))
    }

    /// A family for a table that does not say which it belongs to.
    fn family_for_stray(&mut self, table: FileNumber) -> ColumnFamilyId {
        let table = self.source.display(FileId::Table(table));
        let used = self.families.keys().map(|id| id.0.saturating_add(1)).max().unwrap_or(1);
        let id = ColumnFamilyId(used.max(self.survey.next_family.0));
        self.meet(id);
        let name = self.families.get(&id).map_or("", |family| family.name.as_str()).to_owned();
        self.note(format!(
            "{table}: its column family cannot be read, and its rows are in one named {name:?}"
        ));
        id
    }

    /// Tables that some manifest names, that none takes out, and that are not there.
    fn note_missing_tables(&mut self) {
        let on_disk = list_tables(self.source.as_ref()).unwrap_or_default();
        let mut missing: Vec<(FileNumber, ColumnFamilyId, TableFacts)> = Vec::new();
        for (number, added) in &self.survey.tables {
            let is_gone =
                self.survey.deleted.contains(number) || self.survey.is_dropped(added.family);
            if !is_gone && !on_disk.contains(number) {
                missing.push((*number, added.family, TableFacts::clone(&added.table)));
            }
        }
        missing.sort_by_key(|(number, _, _)| *number);
        for (number, family, table) in missing {
            self.report.tables_lost += 1;
            self.report.table_losses.push(TableLoss {
                family: Some(family.0),
                bytes: table.bytes,
                from: Some(table.smallest_user_key().to_vec()),
                to: Some(table.largest_user_key().to_vec()),
                ..unknown_loss(
                    self.source.display(FileId::Table(number)),
                    "it is missing, unless an edit that cannot be read took it out".to_owned(),
                )
            });
        }
    }

    fn merge_family(
        &mut self,
        id: ColumnFamilyId,
        found: Vec<Found>,
        replayed: &[Arc<TableMeta>],
    ) -> Result<()> {
        let level = LEVELS - 1;
        let mut sources: Vec<Box<dyn InternalIterator>> = Vec::new();
        let all = found.clone();
        let mut ranges: Vec<Fragments> = Vec::new();
        for table in &found {
            // Where it cannot be opened now, it is noted when its turn comes.
            if let Ok(salvage) = table.open(&self.source) {
                ranges.push(salvage.ranges().clone());
            }
            // Opened again when its turn comes, it says so once more.
            table.findings.lock().gaps.clear();
        }
        for run in sorted_runs(found) {
            sources.push(Box::new(Run::new(Arc::clone(&self.source), run)));
        }
        for table in replayed {
            let opened = self.tables.open(&table.handle)?;
            ranges.push(opened.ranges().clone());
            sources.push(Box::new(opened.iter(ReadPurpose::Compaction)));
        }
        let ranges = Fragments::merged(&ranges);
        if let Some(newest) = ranges.iter().flat_map(Fragment::seqs).max() {
            self.last_sequence = self.last_sequence.max(newest);
        }
        // There is nothing below that they could hide.
        let covered = Covered::new(ranges, &Retain::new(Vec::new(), Now::UNKNOWN), |_, _, _| false);
        let options = self.options.column_family.table_options(TablePlace::in_level(level), id);
        let table_bytes = self.options.column_family.table_bytes;
        let merging = MergingIterator::new(sources);
        let mut lost = LostValues::default();
        let (output, last) = self.with_context(|context| {
            merge(context, merging, &covered, (&options, table_bytes), &mut lost)
        })?;
        self.report_lost_values(Some(id), lost);
        self.edit.blobs.extend(blob_metas(&output));
        self.last_sequence = self.last_sequence.max(last);
        for table in check_tables(&self.tables, &output, None)? {
            self.edit.add(id, level, table);
        }
        for table in replayed {
            let file = FileId::Table(table.number);
            self.tables.forget(table.number);
            let removed = self.to.remove(file);
            removed.map_err(|error| Error::io("remove", self.to.display(file), error))?;
        }
        for Found { number, bounds, entries, findings, .. } in all {
            let bounds = bounds.as_ref().map(|(first, last)| (&first[..], &last[..]));
            self.report_findings(Some(id), number, &findings, entries, bounds);
        }
        Ok(())
    }
}

fn unknown_loss(file: String, detail: String) -> TableLoss {
    TableLoss { file, family: None, offset: 0, bytes: 0, from: None, to: None, detail }
}

/// What is wrong, where the file is named beside it.
pub(super) fn detail_of(error: Error) -> String {
    match error {
        Error::Corruption { detail, .. } => detail,
        other => other.to_string(),
    }
}

fn open_salvage(
    source: &Source,
    number: FileNumber,
    range_tombstones: Option<u64>,
    findings: &Arc<Mutex<Findings>>,
) -> Result<Salvage> {
    let id = FileId::Table(number);
    let name = source.display(id);
    let file = source.open(id).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::corruption(name.as_str(), 0, "the table is missing"),
        _ => Error::io("open", name.as_str(), error),
    })?;
    Salvage::open(file, number, name, range_tombstones, Arc::clone(findings))
}

/// Writes what a salvage gives to one table.
fn rewrite(
    context: &JobContext<'_>,
    salvage: &mut Salvage,
    options: &TableOptions,
    lost: &mut LostValues,
) -> Result<JobOutput> {
    let mut output = JobOutput::default();
    let mut values = BlobOutputs::new(context, options.blob_bytes_min);
    let mut writer: Option<TableWriter> = None;
    for fragment in salvage.ranges().iter() {
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(context.begin_table(&mut output, options)?),
        };
        writer.add_range(fragment)?;
    }
    salvage.seek_to_first()?;
    while salvage.valid() {
        let (key, value) = (salvage.key(), salvage.value());
        let (key, value) = match with_value(context, &mut values, (key, value), &mut output)? {
            Anew::Entry(key, value) => (key, value),
            Anew::Unread(value) => {
                lost.note(key::user_key(key), value);
                salvage.next()?;
                continue;
            }
        };
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(context.begin_table(&mut output, options)?),
        };
        writer.add(&key, &value)?;
        salvage.next()?;
    }
    values.finish(&mut output)?;
    if let Some(writer) = writer {
        output.tables.push(writer.finish()?);
    }
    Ok(output)
}

/// Writes of each key the newest entry, unless that is a tombstone, or older than a range tombstone
/// over it: below it there is nothing. Also gives the greatest sequence number read.
fn merge(
    context: &JobContext<'_>,
    mut source: MergingIterator,
    covered: &Covered,
    (options, table_bytes): (&TableOptions, u64),
    lost: &mut LostValues,
) -> Result<(JobOutput, SeqNo)> {
    let mut output = JobOutput::default();
    let mut values = BlobOutputs::new(context, options.blob_bytes_min);
    let mut last = SeqNo::ZERO;
    // A value that could not be read, of an entry that another table may have with its value.
    let mut unread: Option<(Vec<u8>, SeqNo, Unread)> = None;
    let mut retain = Retain::new(Vec::new(), Now::UNKNOWN);
    let mut writer: Option<TableWriter> = None;
    source.seek_to_first()?;
    while source.valid() {
        let (user_key, trailer) = key::split(source.key());
        if retain.is_new_key(user_key)
            && writer.as_ref().is_some_and(|writer| writer.estimated_bytes() >= table_bytes)
            && let Some(full) = writer.take()
        {
            output.tables.push(full.finish()?);
        }
        let seq = key::trailer_seq(trailer);
        last = last.max(seq);
        let kind = key::trailer_kind(trailer);
        let verdict = kind.map(|kind| retain.judge(user_key, seq, kind, source.value(), || true));
        let again = unread.as_ref().is_some_and(|(key, of, _)| (&key[..], *of) == (user_key, seq));
        if !again && let Some((key, _, value)) = unread.take() {
            lost.note(&key, value);
        }
        let entry = (source.key(), source.value());
        let stays = (verdict == Some(Verdict::Keep) || again) && !covered.covers(user_key, seq);
        let anew = match stays {
            true => Some(with_value(context, &mut values, entry, &mut output)?),
            false => None,
        };
        if let Some(Anew::Unread(value)) = anew {
            unread.get_or_insert_with(|| (user_key.to_vec(), seq, value));
        } else if let Some(Anew::Entry(key, value)) = anew {
            unread = None;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(context.begin_table(&mut output, options)?),
            };
            writer.add(&key, &value)?;
        }
        source.next()?;
    }
    if let Some((key, _, value)) = unread {
        lost.note(&key, value);
    }
    values.finish(&mut output)?;
    if let Some(writer) = writer {
        output.tables.push(writer.finish()?);
    }
    Ok((output, last))
}

/// Sorts tables into as few runs as it takes for those of a run not to overlap; one whose bounds
/// are not known is a run of its own. Of a run one table is open at a time.
fn sorted_runs(mut found: Vec<Found>) -> Vec<Vec<Found>> {
    found.sort_by(|a, b| a.bounds.cmp(&b.bounds));
    let mut runs: Vec<Vec<Found>> = Vec::new();
    for table in found {
        let fits = |run: &&mut Vec<Found>| match (run.last().map(|l| &l.bounds), &table.bounds) {
            (Some(Some((_, last))), Some((first, _))) => last < first,
            _ => false,
        };
        match runs.iter_mut().find(fits) {
            Some(run) => run.push(table),
            None => runs.push(vec![table]),
        }
    }
    runs
}

/// A cursor over tables that follow one another, forwards only.
struct Run {
    source: Arc<Source>,
    waiting: std::vec::IntoIter<Found>,
    current: Option<Salvage>,
}

impl Run {
    fn new(source: Arc<Source>, tables: Vec<Found>) -> Run {
        Run { source, waiting: tables.into_iter(), current: None }
    }

    /// Goes to the next table that has an entry, unless the current one still has.
    fn settle(&mut self) -> Result<()> {
        while !self.valid() {
            let Some(table) = self.waiting.next() else { return Ok(()) };
            match table.open(&self.source) {
                Ok(mut salvage) => {
                    salvage.seek_to_first()?;
                    self.current = Some(salvage);
                }
                Err(error) => {
                    let detail = detail_of(error);
                    let gap = Gap { offset: 0, bytes: 0, after: None, before: None, detail };
                    table.findings.lock().gaps.push(gap);
                }
            }
        }
        Ok(())
    }
}

impl InternalIterator for Run {
    fn valid(&self) -> bool {
        self.current.as_ref().is_some_and(Salvage::valid)
    }

    /// Begins; a run is gone through once.
    fn seek_to_first(&mut self) -> Result<()> {
        self.settle()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        Err(forwards_only())
    }

    fn seek(&mut self, _target: &[u8]) -> Result<()> {
        Err(forwards_only())
    }

    fn seek_for_prev(&mut self, _target: &[u8]) -> Result<()> {
        Err(forwards_only())
    }

    fn next(&mut self) -> Result<()> {
        if let Some(current) = &mut self.current {
            current.next()?;
        }
        self.settle()
    }

    fn prev(&mut self) -> Result<()> {
        Err(forwards_only())
    }

    fn key(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |current| current.key())
    }

    fn value(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |current| current.value())
    }
}

fn forwards_only() -> Error {
    Error::invalid("damaged tables are read forwards, once")
}
