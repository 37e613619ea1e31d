//! Immutable memtables into tables of level 0.
//!
//! Several memtables are merged into one table in a single pass, or into one table a time window.
//! Versions that no snapshot can see are dropped on the way (a key overwritten a thousand times a
//! second leaves one entry); tombstones stay, because older data may lie below, and so do range
//! tombstones; entries that have expired become tombstones.

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::iterator::InternalIterator;
use crate::base::key;
use crate::base::planted;
use crate::compaction::WindowSplit;
use crate::compaction::covered::Covered;
use crate::compaction::job::{JobContext, JobOutput};
use crate::compaction::outputs::Outputs;
use crate::compaction::pace::Meter;
use crate::compaction::retain::{Retain, Verdict};
use crate::iter::merging::MergingIterator;
use crate::memtable::Memtable;
use crate::ranges::Fragments;
use crate::sstable::TableOptions;

/// Writes `memtables` as one table, or as one for each time window; none when nothing survives. On
/// an error what was written is removed. The file is synced, its name is not.
pub(crate) fn run(
    context: &JobContext<'_>,
    memtables: &[Arc<Memtable>],
    retain: Retain,
    table_options: &TableOptions,
    windows: Option<WindowSplit>,
) -> Result<JobOutput> {
    let mut output = JobOutput::default();
    let mut outputs = Outputs::new(context, table_options, windows);
    let meter = Meter::new(context.pace);
    match write(memtables, &retain, meter, &mut outputs, &mut output) {
        Ok(()) => Ok(output),
        Err(error) => {
            context.discard(&output);
            Err(error)
        }
    }
}

fn write(
    memtables: &[Arc<Memtable>],
    retain: &Retain,
    mut meter: Meter<'_>,
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
    let mut covered = Covered::new(ranges, retain, |_, _, _| true);
    let mut is_first = true;
    loop {
        let mut retain = retain.clone();
        source.seek_to_first()?;
        while source.valid() {
            output.entries_read += u64::from(is_first);
            let (user_key, trailer) = key::split(source.key());
            let window = outputs.window(user_key);
            if outputs.takes(window) {
                let seq = key::trailer_seq(trailer);
                // Memtables hold only kinds that this build wrote or that recovery has checked.
                let verdict = match key::trailer_kind(trailer) {
                    Some(kind) => {
                        let is_base = || planted::is("flush-drops-tombstones");
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
