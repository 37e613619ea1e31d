//! Watching flushes and compactions: their beginning and end as events, their time and traffic as
//! figures.

use std::sync::Arc;
use std::time::Duration;

use crate::base::error::Result;
use crate::compaction::job::JobOutput;
use crate::compaction::{Action, Compaction};
use crate::db::core::Core;
use crate::db::events::{trace, why};
use crate::db::family::Family;
use crate::db::super_version::Immutable;
use crate::metrics::{
    CompactionBegun, CompactionEnded, Event, FlushBegun, FlushEnded, TableInfo, TablesMoved,
};
use crate::version::TableMeta;

fn info(level: usize, table: &TableMeta) -> TableInfo {
    TableInfo { number: table.number.0, level, bytes: table.bytes, entries: table.entries }
}

fn outputs(output: &JobOutput, level: usize) -> Vec<TableInfo> {
    let one = |table: &crate::sstable::TableSummary| TableInfo {
        number: table.number.0,
        level,
        bytes: table.bytes,
        entries: table.entries,
    };
    output.tables.iter().map(one).collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Notes what a job did at the level that it wrote to, but for the bytes it wrote.
fn note_traffic(family: &Family, level: usize, output: &JobOutput, arrived: u64, us: u64) {
    let traffic = &family.traffic[level];
    traffic.arrived.add(arrived);
    traffic.jobs.add(1);
    traffic.us.add(us);
    traffic.entries_in.add(output.entries_read);
    traffic.entries_dropped.add(output.entries_dropped);
}

/// Tells of a flush that `run` does.
pub(crate) fn flush(
    core: &Arc<Core>,
    family: &Family,
    immutables: &[Arc<Immutable>],
    run: impl FnOnce() -> Result<JobOutput>,
) -> Result<()> {
    let _span = trace::span(trace::Of::Flush, &family.name);
    let memory = immutables.iter().map(|one| one.memtable.memory_bytes() as u64);
    let begun = FlushBegun {
        job: core.events.next_job(),
        family: family.name.clone(),
        reason: why::flush(family, immutables),
        memtables: immutables.len(),
        memtable_bytes: memory.sum(),
    };
    core.events.tell(Event::FlushBegun(begun.clone()));
    let began = core.env.now();
    let result = run();
    let us = micros(core.env.now().saturating_sub(began));
    let (output, error) = split(result);
    if error.is_none() {
        let written = output.tables.iter().map(|table| table.bytes).sum();
        note_traffic(family, 0, &output, written, us);
        core.latencies.flush.record(us.saturating_mul(1_000));
    }
    core.events.tell(Event::FlushEnded(FlushEnded {
        begun,
        outputs: outputs(&output, 0),
        entries_in: output.entries_read,
        entries_dropped: output.entries_dropped,
        micros: us,
        error: error.clone(),
    }));
    error.map_or(Ok(()), Err)
}

/// Tells of a compaction that `run` does.
pub(crate) fn compaction(
    core: &Arc<Core>,
    family: &Family,
    plan: &Compaction,
    run: impl FnOnce() -> Result<Option<JobOutput>>,
) -> Result<bool> {
    let _span = trace::span(trace::Of::Compaction, &family.name);
    let level = plan.place.level;
    let begun = CompactionBegun {
        job: core.events.next_job(),
        family: family.name.clone(),
        reason: why::compaction(family, plan),
        level: plan.inputs.iter().map(|input| input.level).min().unwrap_or(level),
        output_level: level,
        inputs: plan.placed_tables().map(|(level, table)| info(level, table)).collect(),
    };
    if plan.action != Action::Merge {
        return by_edit(core, family, plan, begun, run);
    }
    core.events.tell(Event::CompactionBegun(begun.clone()));
    let began = core.env.now();
    let result = run();
    let us = micros(core.env.now().saturating_sub(began));
    let (output, error) = split(result.map(Option::unwrap_or_default));
    if error.is_none() {
        let above = begun.inputs.iter().filter(|table| table.level != level);
        note_traffic(family, level, &output, above.map(|table| table.bytes).sum(), us);
        core.latencies.compaction.record(us.saturating_mul(1_000));
    }
    core.events.tell(Event::CompactionEnded(CompactionEnded {
        begun,
        outputs: outputs(&output, level),
        entries_in: output.entries_read,
        entries_dropped: output.entries_dropped,
        micros: us,
        error: error.clone(),
    }));
    error.map_or(Ok(true), Err)
}

/// Tells of a plan that rewrites nothing; of one that failed the workers tell, and of one that was
/// given up nobody.
fn by_edit(
    core: &Arc<Core>,
    family: &Family,
    plan: &Compaction,
    begun: CompactionBegun,
    run: impl FnOnce() -> Result<Option<JobOutput>>,
) -> Result<bool> {
    if run()?.is_none() {
        return Ok(false);
    }
    let bytes = begun.input_bytes();
    let moved = TablesMoved {
        family: begun.family,
        reason: begun.reason,
        tables: begun.inputs,
        output_level: begun.output_level,
    };
    if plan.action == Action::Move {
        family.traffic[plan.place.level].moved.add(bytes);
        core.events.tell(Event::TablesMoved(moved));
    } else {
        core.events.tell(Event::TablesDropped(moved));
    }
    Ok(true)
}

fn split(result: Result<JobOutput>) -> (JobOutput, Option<crate::base::error::Error>) {
    match result {
        Ok(output) => (output, None),
        Err(error) => (JobOutput::default(), Some(error)),
    }
}
