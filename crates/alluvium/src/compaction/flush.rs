//! Immutable memtables into tables of level 0.
//!
//! Several memtables are merged into one table in a single pass. Versions that no snapshot can see
//! are dropped on the way (a key overwritten a thousand times a second leaves one entry);
//! tombstones stay, because older data may lie below.

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::iterator::InternalIterator;
use crate::base::key;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::compaction::job::{JobContext, JobOutput};
use crate::compaction::retain::Retain;
use crate::iter::merging::MergingIterator;
use crate::memtable::Memtable;
use crate::sstable::TableOptions;

/// Writes `memtables` as one table, or none when nothing survives. On an error what was written is
/// removed. The file is synced, its name is not.
pub(crate) fn run(
    context: &JobContext<'_>,
    memtables: &[Arc<Memtable>],
    snapshots: Vec<SeqNo>,
    table_options: &TableOptions,
) -> Result<JobOutput> {
    let mut output = JobOutput::default();
    match write(context, memtables, snapshots, table_options, &mut output) {
        Ok(()) => Ok(output),
        Err(error) => {
            context.discard(&output);
            Err(error)
        }
    }
}

fn write(
    context: &JobContext<'_>,
    memtables: &[Arc<Memtable>],
    snapshots: Vec<SeqNo>,
    table_options: &TableOptions,
    output: &mut JobOutput,
) -> Result<()> {
    let sources = memtables
        .iter()
        .map(|memtable| Box::new(memtable.iter()) as Box<dyn InternalIterator>)
        .collect();
    let mut source = MergingIterator::new(sources);
    let mut retain = Retain::new(snapshots);
    let mut writer = None;
    source.seek_to_first()?;
    while source.valid() {
        output.entries_read += 1;
        let (user_key, trailer) = key::split(source.key());
        let seq = key::trailer_seq(trailer);
        // Memtables hold only kinds that this build wrote or that recovery has checked.
        let kind = key::trailer_kind(trailer);
        if kind.is_none_or(|kind| {
            retain.keep(user_key, seq, kind, || planted::is("flush-drops-tombstones"))
        }) {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(context.begin_table(output, table_options)?),
            };
            writer.add(source.key(), source.value())?;
        } else {
            output.entries_dropped += 1;
        }
        source.next()?;
    }
    if let Some(writer) = writer {
        output.tables.push(writer.finish()?);
    }
    Ok(())
}
