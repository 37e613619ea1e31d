//! Carries a plan out: merge, retain, split, write. It installs nothing; the caller does.
//!
//! A job reads its inputs, writes new tables under fresh numbers and syncs each file. Whatever
//! stops it, its inputs are untouched; the caller removes the outputs of a job that failed.
//!
//! A job may be one of several that share a plan, each with a part of the keys (`compaction::cut`).

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::iterator::InternalIterator;
use crate::base::key;
use crate::base::key::{KeyEnd, SeqNo};
use crate::base::planted;
use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::blob::{BlobFiles, BlobSummary, BlobWriter};
use crate::compaction::blobs::{Emptied, LogValues};
use crate::compaction::covered::Covered;
use crate::compaction::outputs::Outputs;
use crate::compaction::pace::{Meter, Pace};
use crate::compaction::reclaim::shares_times;
use crate::compaction::retain::{Retain, Verdict};
use crate::compaction::split::Split;
use crate::compaction::{Compaction, RunTables, user_key_range};
use crate::env::{Env, WritableFile};
use crate::iter::concat::ConcatIterator;
use crate::iter::merging::MergingIterator;
use crate::ranges::Fragments;
use crate::sstable::{ReadPurpose, TableCache, TableOptions, TableSummary, TableWriter};
use crate::version::{Level, Run, TableMeta, Version};

/// Entries between two looks at the cancel flag.
const ENTRIES_BETWEEN_CHECKS: u64 = 1024;

/// What a job needs of the store, and nothing else.
pub(crate) struct JobContext<'a> {
    pub(crate) env: &'a Arc<dyn Env>,
    pub(crate) tables: &'a Arc<TableCache>,
    /// Gives out file numbers.
    pub(crate) new_number: &'a dyn Fn() -> FileNumber,
    /// Set when the store is closing: the job gives up with [`Error::Closed`].
    pub(crate) cancelled: &'a AtomicBool,
    /// Hears how far the job is, and may hold it.
    pub(crate) pace: Pace<'a>,
    /// Reads values that stand apart from their keys.
    pub(crate) blobs: &'a BlobFiles,
    /// The blob files that are being emptied: values in them are written anew.
    pub(crate) emptied: Emptied<'a>,
    /// What of the values that a flush meets can stay in the log.
    pub(crate) in_log: Option<&'a LogValues>,
}

/// The user keys that a job goes over: from the lower one on, up to before the upper one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) low: Option<Vec<u8>>,
    pub(crate) high: Option<Vec<u8>>,
}

/// What a job wrote.
#[derive(Debug, Default)]
pub(crate) struct JobOutput {
    pub(crate) tables: Vec<TableSummary>,
    pub(crate) blobs: Vec<BlobSummary>,
    /// Every file begun, finished or not: what to remove if the job fails.
    pub(crate) begun: Vec<FileId>,
    pub(crate) entries_read: u64,
    /// Entries looked at, more than once where a job takes several passes.
    steps: u64,
    pub(crate) entries_dropped: u64,
    /// Entries, dropped or made into tombstones, whose time had come.
    pub(crate) entries_expired: u64,
    /// What a value failed with that was to be written anew, and stays where it is.
    pub(crate) unreadable: Option<Error>,
}

impl JobOutput {
    /// Counts what becomes of an entry; returns whether anything of it is written.
    pub(crate) fn count(&mut self, verdict: Verdict) -> bool {
        let expired = matches!(verdict, Verdict::Expire | Verdict::Bury);
        let written = matches!(verdict, Verdict::Keep | Verdict::Bury);
        self.entries_expired += u64::from(expired);
        self.entries_dropped += u64::from(!written);
        written
    }

    /// Takes in what another part of the same job wrote, which comes behind this one's.
    pub(crate) fn absorb(&mut self, part: JobOutput) {
        let JobOutput {
            tables,
            blobs,
            begun,
            entries_read,
            steps,
            entries_dropped,
            entries_expired,
            unreadable,
        } = part;
        self.unreadable = self.unreadable.take().or(unreadable);
        self.tables.extend(tables);
        self.blobs.extend(blobs);
        self.begun.extend(begun);
        self.entries_read += entries_read;
        self.steps += steps;
        self.entries_dropped += entries_dropped;
        self.entries_expired += entries_expired;
    }
}

impl JobContext<'_> {
    /// Begins a table.
    pub(crate) fn begin_table(
        &self,
        output: &mut JobOutput,
        options: &TableOptions,
    ) -> Result<TableWriter> {
        let number = (self.new_number)();
        let (file, name) = self.begin_file(output, FileId::Table(number))?;
        Ok(TableWriter::new(file, number, name, options.clone()))
    }

    /// Begins a blob file.
    pub(crate) fn begin_blob(&self, output: &mut JobOutput) -> Result<BlobWriter> {
        let number = (self.new_number)();
        let (file, name) = self.begin_file(output, FileId::Blob(number))?;
        BlobWriter::create(file, number, name)
    }

    fn begin_file(
        &self,
        output: &mut JobOutput,
        id: FileId,
    ) -> Result<(Arc<dyn WritableFile>, String)> {
        let name = self.env.display(id);
        let file =
            self.env.create(id).map_err(|error| Error::io("create", name.as_str(), error))?;
        output.begun.push(id);
        Ok((file, name))
    }

    /// Removes what a failed job left. What cannot be removed now is removed at the next open.
    pub(crate) fn discard(&self, output: &JobOutput) {
        for &file in &output.begun {
            drop(self.env.remove(file));
        }
    }
}

impl Part {
    fn seek_to_first(&self, source: &mut MergingIterator) -> Result<()> {
        let Some(low) = &self.low else { return source.seek_to_first() };
        let mut target = Vec::with_capacity(low.len() + key::TRAILER_BYTES);
        key::encode_into(&mut target, low, key::seek_trailer(SeqNo::MAX));
        source.seek(&target)
    }

    fn ends_before(&self, internal_key: &[u8]) -> bool {
        self.high.as_ref().is_some_and(|high| key::user_key(internal_key) >= high.as_slice())
    }
}

/// What of a plan stays the same for all its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) plan: &'a Compaction,
    pub(crate) version: &'a Arc<Version>,
    /// Knows the live snapshots, read after the plan was made.
    pub(crate) retain: &'a Retain,
    pub(crate) table_options: &'a TableOptions,
}

/// Runs a part of a plan. On an error every output is removed. Whether all parts together read
/// every entry is for [`check_counts`].
pub(crate) fn run(context: &JobContext<'_>, work: Work<'_>, part: &Part) -> Result<JobOutput> {
    let Work { plan, version, retain, table_options } = work;
    let mut output = JobOutput::default();
    let merge = Merge { context, plan, version, retain, table_options };
    match merge.run(&mut output, part) {
        Ok(()) => Ok(output),
        Err(error) => {
            context.discard(&output);
            Err(blame_input(context, plan, error))
        }
    }
}

/// The range tombstones of all inputs.
fn ranges_of(context: &JobContext<'_>, plan: &Compaction) -> Result<Fragments> {
    let with_ranges = plan.tables().filter(|table| table.range_tombstones > 0);
    let opened: Vec<_> =
        with_ranges.map(|table| context.tables.open(&table.handle)).collect::<Result<_>>()?;
    Ok(Fragments::merged(opened.iter().map(|table| table.ranges())))
}

/// What is written was read: entries that a table cannot hold (out of order, of an unknown kind)
/// come from an input that should not have held them, and that is damage, whatever its checksums
/// say.
fn blame_input(context: &JobContext<'_>, plan: &Compaction, error: Error) -> Error {
    let Error::InvalidArgument { detail } = error else { return error };
    for table in plan.tables() {
        let mut damage = None;
        match context.tables.open(&table.handle) {
            Ok(open) => {
                open.verify(&mut |found| {
                    damage.get_or_insert(found);
                });
            }
            Err(error) => damage = Some(error),
        }
        if let Some(damage) = damage {
            return damage;
        }
    }
    Error::corruption(names_of(plan), 0, detail)
}

/// Every entry of the inputs was read: a table that hands out fewer than it holds is damaged, and
/// its compaction would lose data for good.
pub(crate) fn check_counts(plan: &Compaction, output: &JobOutput) -> Result<()> {
    let expected: u64 = plan.tables().map(|table| table.entries).sum();
    if expected == output.entries_read {
        return Ok(());
    }
    let detail = format!("the tables hold {expected} entries, {} were read", output.entries_read);
    Err(Error::corruption(names_of(plan), 0, detail))
}

fn names_of(plan: &Compaction) -> String {
    let names: Vec<String> = plan.tables().map(|table| table.number.to_string()).collect();
    names.join(", ")
}

struct Merge<'a> {
    context: &'a JobContext<'a>,
    plan: &'a Compaction,
    version: &'a Arc<Version>,
    /// As each pass begins with it.
    retain: &'a Retain,
    table_options: &'a TableOptions,
}

/// What a pass over the inputs remembers from entry to entry.
struct Pass {
    retain: Retain,
    split: Split,
    older: OlderRuns,
    is_first: bool,
}

impl Merge<'_> {
    fn run(&self, output: &mut JobOutput, part: &Part) -> Result<()> {
        let mut outputs = Outputs::new(self.context, self.table_options, self.plan.windows);
        let older = OlderRuns::beside(self.version, self.plan);
        let ranges = ranges_of(self.context, self.plan)?;
        let ranges = ranges.within(part.low.as_deref(), part.high.as_deref());
        let mut covered =
            Covered::new(ranges, self.retain, |start, end, seq| older.may_hold_in(start, end, seq));
        let mut source = self.open_inputs(&covered, output)?;
        let mut meter = Meter::new(self.context.pace);
        let mut is_first = true;
        loop {
            let mut pass = Pass {
                retain: self.retain.clone(),
                split: self.plan.split(),
                older: OlderRuns::beside(self.version, self.plan),
                is_first,
            };
            part.seek_to_first(&mut source)?;
            while source.valid() && !part.ends_before(source.key()) {
                let dropped = output.entries_dropped;
                self.step(&mut source, &mut pass, (&mut outputs, &mut covered), output)?;
                let moved = outputs.take_moved_bytes();
                let bytes = source.key().len() + source.value().len() + moved;
                source.next()?;
                meter.entry(bytes, output.entries_dropped == dropped)?;
            }
            if !outputs.end_pass(&mut covered, output)? {
                return Ok(());
            }
            is_first = false;
        }
    }

    /// Does what is to be done with the entry that `source` stands on.
    #[inline]
    fn step(
        &self,
        source: &mut MergingIterator,
        pass: &mut Pass,
        (outputs, covered): (&mut Outputs<'_>, &mut Covered),
        output: &mut JobOutput,
    ) -> Result<()> {
        output.steps += 1;
        if output.steps.is_multiple_of(ENTRIES_BETWEEN_CHECKS)
            && self.context.cancelled.load(Ordering::Relaxed)
        {
            return Err(Error::Closed);
        }
        output.entries_read += u64::from(pass.is_first);
        let (user_key, trailer) = key::split(source.key());
        let window = outputs.window(user_key);
        if !outputs.takes(window) {
            return Ok(());
        }
        if (pass.retain.is_new_key(user_key) || planted::is("table-cut-inside-a-key"))
            && pass.split.before(user_key, outputs.bytes(window))
        {
            outputs.cut(window, user_key, covered, output)?;
            if planted::is("entry-lost-at-a-cut") {
                return Ok(());
            }
        }
        let verdict = judge(pass, covered, (user_key, trailer), source.value())?;
        outputs.add(window, verdict, source.key(), source.value(), output)
    }

    /// The inputs as one iterator, but for the tables all of whose entries a range tombstone hides:
    /// these count as read and dropped.
    fn open_inputs(&self, covered: &Covered, output: &mut JobOutput) -> Result<MergingIterator> {
        let tables = self.context.tables;
        let mut sources: Vec<Box<dyn InternalIterator>> = Vec::new();
        for input in &self.plan.inputs {
            let mut chosen = input.tables.clone();
            chosen.retain(|table| {
                let hidden = covered.hides(table);
                let entries = if hidden { table.entries } else { 0 };
                output.entries_read += entries;
                output.entries_dropped += entries;
                !hidden
            });
            if let [table] = chosen.as_slice() {
                let table = tables.open(&table.handle)?;
                sources.push(Box::new(table.iter(ReadPurpose::Compaction)));
            } else {
                let run = RunTables::Chosen(chosen);
                let run = ConcatIterator::new(run, Arc::clone(tables), ReadPurpose::Compaction);
                sources.push(Box::new(run));
            }
        }
        Ok(MergingIterator::new(sources))
    }
}

fn judge(
    pass: &mut Pass,
    covered: &Covered,
    (user_key, trailer): (&[u8], u64),
    value: &[u8],
) -> Result<Verdict> {
    let seq = key::trailer_seq(trailer);
    let kind = key::trailer_kind(trailer).ok_or_else(|| {
        Error::invalid(format!("entry of unknown kind {} in a compaction", trailer & 0xff))
    })?;
    let older = &mut pass.older;
    let verdict = pass.retain.judge(user_key, seq, kind, value, || !older.may_hold(user_key, seq));
    Ok(covered.judge(verdict, user_key, seq))
}

/// What may hold versions of a key that are older than a plan's: every sorted run below its output,
/// and those beside it where it goes to level 0; or older than a memtable's: all of them. Each with
/// the first table that does not end before the current key: keys come ascending, so each run is
/// walked once over the whole job.
#[derive(Debug)]
pub(crate) struct OlderRuns(Vec<(Vec<Arc<TableMeta>>, usize)>);

impl OlderRuns {
    pub(crate) fn beside(version: &Version, plan: &Compaction) -> OlderRuns {
        let output = plan.place.level;
        let chosen: HashSet<FileNumber> = plan.tables().map(|table| table.number).collect();
        let beside = if output == 0 { version.level(0).runs() } else { &[] };
        let first_below = output + 1 + usize::from(planted::is("tombstone-dropped-early"));
        let below = version.levels().skip(first_below).flat_map(Level::runs);
        let times = plan.times();
        let may_share = |table: &&Arc<TableMeta>| {
            !chosen.contains(&table.number) && shares_times(table.times, times)
        };
        let keys = user_key_range(plan.tables());
        let left = |run: &Arc<Run>| -> Vec<Arc<TableMeta>> {
            let Some((low, end)) = &keys else { return Vec::new() };
            // A table of range tombstones alone holds nothing that had to stay hidden.
            let tables = run.overlapping(low, end).iter().filter(|table| table.entries > 0);
            tables.filter(may_share).cloned().collect()
        };
        OlderRuns(beside.iter().chain(below).map(|run| (left(run), 0)).collect())
    }

    /// Every sorted run.
    pub(crate) fn all(version: &Version) -> OlderRuns {
        let runs = version.levels().flat_map(Level::runs);
        let left = |run: &Arc<Run>| -> Vec<Arc<TableMeta>> {
            run.tables().iter().filter(|table| table.entries > 0).cloned().collect()
        };
        OlderRuns(runs.map(|run| (left(run), 0)).collect())
    }

    /// Whether any table can hold something older than `seq` from `start` up to `end`, excluded.
    pub(crate) fn may_hold_in(&self, start: &[u8], end: &[u8], seq: SeqNo) -> bool {
        let end = KeyEnd { key: end, included: false };
        self.0.iter().any(|(tables, _)| {
            let first = tables.partition_point(|table| table.end().is_before(start));
            let overlapping =
                tables[first..].iter().take_while(|t| !end.is_before(t.smallest_user_key()));
            { overlapping }.any(|table| table.smallest_seq < seq)
        })
    }

    /// Whether any table can hold a version of `user_key` that is older than `seq`.
    pub(crate) fn may_hold(&mut self, user_key: &[u8], seq: SeqNo) -> bool {
        self.0.iter_mut().any(|(tables, at)| {
            while tables.get(*at).is_some_and(|table| table.end().is_before(user_key)) {
                *at += 1;
            }
            tables.get(*at).is_some_and(|table| {
                table.smallest_user_key() <= user_key && table.smallest_seq < seq
            })
        })
    }
}
