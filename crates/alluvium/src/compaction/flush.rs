//! Immutable memtables into tables of level 0.
//!
//! Several memtables are merged into one table in a single pass, or into one table a time window.
//! Versions that no snapshot can see are dropped on the way (a key overwritten a thousand times a
//! second leaves one entry). Tombstones and range tombstones stay where a table may hold what they
//! hide: what a queue takes in and gives out while one memtable lasts leaves nothing. Entries that
//! have expired are tombstones here.

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo};
use crate::base::planted;
use crate::compaction::WindowSplit;
use crate::compaction::covered::Covered;
use crate::compaction::ends::{Cut, EndCuts};
use crate::compaction::job::{JobContext, JobOutput, OlderRuns};
use crate::compaction::outputs::Outputs;
use crate::compaction::pace::Meter;
use crate::compaction::retain::{Retain, Verdict};
use crate::iter::merging::MergingIterator;
use crate::memtable::Memtable;
use crate::ranges::Fragments;
use crate::sstable::TableOptions;
use crate::version::Version;

/// How a flush is divided into tables.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FlushSplit {
    /// One table.
    None,
    /// A table for each window.
    Windows(WindowSplit),
    /// The ends apart, where keys nearly ascend.
    Ends,
}

/// Writes `memtables` as one table, or as one for each time window; none when nothing survives. On
/// an error what was written is removed. The file is synced, its name is not.
///
/// With [`FlushSplit::Ends`], several tables of one run where keys nearly ascend, so that the
/// memtables reach over the end of what there is and over little else.
///
/// All that is older is in `older`, the family's version when the flush begins: what compactions
/// install meanwhile holds no key that it does not. Without one every tombstone stays.
pub(crate) fn run(
    context: &JobContext<'_>,
    (memtables, older): (&[Arc<Memtable>], Option<&Version>),
    retain: Retain,
    table_options: &TableOptions,
    split: FlushSplit,
) -> Result<JobOutput> {
    let (windows, cuts) = match split {
        FlushSplit::None => (None, None),
        FlushSplit::Windows(windows) => (Some(windows), None),
        FlushSplit::Ends => {
            let entries = memtables.iter().map(|memtable| memtable.entries()).sum();
            (None, older.and_then(|older| EndCuts::new(older, entries)))
        }
    };
    let mut output = JobOutput::default();
    let mut outputs = Outputs::new(context, table_options, windows);
    let meter = Meter::new(context.pace);
    match write((memtables, older), &retain, (meter, cuts), &mut outputs, &mut output) {
        Ok(()) => Ok(output),
        Err(error) => {
            context.discard(&output);
            Err(error)
        }
    }
}

fn write(
    (memtables, older): (&[Arc<Memtable>], Option<&Version>),
    retain: &Retain,
    (mut meter, mut cuts): (Meter<'_>, Option<EndCuts>),
    outputs: &mut Outputs<'_>,
    output: &mut JobOutput,
) -> Result<()> {
    let sources = memtables
        .iter()
        .map(|memtable| Box::new(memtable.iter()) as Box<dyn InternalIterator>)
        .collect();
    let mut source = MergingIterator::new(sources);
    let ranges: Vec<_> = memtables.iter().filter_map(|memtable| memtable.ranges()).collect();
    let ranges = Fragments::merged(ranges.iter().map(|ranges| &**ranges));
    let runs = older.filter(|_| !ranges.is_empty()).map(OlderRuns::all);
    let mut covered = Covered::new(ranges, retain, |start, end, seq| {
        runs.as_ref().is_none_or(|runs| runs.may_hold_in(start, end, seq))
    });
    let mut is_first = true;
    loop {
        let mut retain = retain.clone();
        let mut runs = None;
        source.seek_to_first()?;
        while source.valid() {
            output.entries_read += u64::from(is_first);
            let (user_key, trailer) = key::split(source.key());
            let window = outputs.window(user_key);
            if let Some(cutting) = &mut cuts
                && retain.is_new_key(user_key)
            {
                match cutting.before(user_key, output.entries_read) {
                    Cut::No => {}
                    Cut::Here => outputs.cut(window, user_key, &mut covered, output)?,
                    Cut::NoMore => cuts = None,
                }
            }
            if outputs.takes(window) {
                let seq = key::trailer_seq(trailer);
                // Memtables hold only kinds that this build wrote or that recovery has checked.
                let verdict = match key::trailer_kind(trailer) {
                    Some(kind) => {
                        let planted = planted::is("flush-drops-tombstones");
                        let is_base = || planted || !may_hold(older, &mut runs, user_key, seq);
                        retain.judge(user_key, seq, kind, source.value(), is_base)
                    }
                    None => Verdict::Keep,
                };
                let verdict = covered.judge(verdict, user_key, seq);
                outputs.add(window, verdict, source.key(), source.value(), output)?;
            }
            let bytes = source.key().len() + source.value().len();
            source.next()?;
            meter.entry(bytes, true)?;
        }
        if !outputs.end_pass(&mut covered, output)? {
            return Ok(());
        }
        is_first = false;
    }
}

/// Whether `older` may hold a version of `user_key` that is older than `seq`. `runs` is made for
/// the first tombstone: most flushes have none.
#[inline]
fn may_hold(
    older: Option<&Version>,
    runs: &mut Option<OlderRuns>,
    user_key: &[u8],
    seq: SeqNo,
) -> bool {
    let Some(older) = older else { return true };
    runs.get_or_insert_with(|| OlderRuns::all(older)).may_hold(user_key, seq)
}
