//! Background jobs as a store runs them: do the work, install it through the manifest, clean up.
//!
//! # Order
//!
//! 1. New tables are written and synced (`compaction::{flush, job}`), then opened again and held
//!    against what was written: an edit never names a table that cannot be read. The version set
//!    makes their names durable before it names them.
//! 2. A flush makes the log segments that hold its data durable, where other families have data in
//!    them too: else a power cut could keep the tables and lose the other families' half of a
//!    batch.
//! 3. The manifest takes the edit; the new version is swapped in under the same lock.
//! 4. Only then old segments go. Old tables go when the last reader does.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::atomic::Ordering;
use crate::compaction::blobs::Emptied;
use crate::compaction::flush::FlushSplit;
use crate::compaction::job::{JobContext, JobOutput};
use crate::compaction::pace::Pace;
use crate::compaction::retain::{Now, Retain};
use crate::compaction::strategy::{Strategy, TimeWindows};
use crate::compaction::{self, Action, Compaction, Reason, WindowSplit, order};
use crate::db::background;
use crate::db::column_family;
use crate::db::core::Core;
use crate::db::events;
use crate::db::family::Family;
use crate::db::memory::{Charge, flush_bytes, job_bytes};
use crate::db::progress::{Pacing, Running, Task, task_of};
use crate::db::retired;
use crate::db::subjobs;
use crate::db::super_version::{FlushReason, Immutable};
use crate::db::wal_set::{Ahead, Failure};
use crate::memtable::Memtable;
use crate::options::ColumnFamilyOptions;
use crate::sstable::{Ages, TableCache, TableSummary};
use crate::version::{BlobMeta, Expiry, TableFacts, TableMeta, VersionEdit};

/// Flushes the oldest immutable memtables of `family` into one run of level 0: see [`flushed_now`].
pub(crate) fn flush(core: &Arc<Core>, family: &Arc<Family>) -> Result<()> {
    let current = family.load();
    let bytes = |one: &Arc<Immutable>| one.memtable.memory_bytes();
    let count = flushed_now(current.immutables.iter().rev().map(bytes), &family.options);
    let immutables = &current.immutables[current.immutables.len() - count..];
    let Some(newest) = immutables.first() else { return Ok(()) };
    events::jobs::flush(core, family, immutables, || run_flush(core, family, newest, immutables))
}

/// How many memtables of so many bytes each, oldest first, one flush takes: the oldest, and with it
/// those that together are hardly more than a full one. Full ones are flushed one by one: writers
/// wait for the memory of the first, and would wait for all that were written with it.
fn flushed_now(oldest_first: impl Iterator<Item = usize>, options: &ColumnFamilyOptions) -> usize {
    let most = options.memtable_bytes.saturating_add(options.memtable_bytes / 4);
    let sums = oldest_first.scan(0usize, |sum, bytes| {
        *sum = sum.saturating_add(bytes);
        Some(*sum)
    });
    sums.enumerate().take_while(|&(place, sum)| place == 0 || sum <= most).count()
}

fn run_flush(
    core: &Arc<Core>,
    family: &Arc<Family>,
    newest: &Immutable,
    immutables: &[Arc<Immutable>],
) -> Result<JobOutput> {
    let memtables: Vec<Arc<Memtable>> =
        immutables.iter().map(|immutable| Arc::clone(&immutable.memtable)).collect();
    let strategy = family.strategy();
    let place = ColumnFamilyOptions::flush_place(&strategy);
    let windows = strategy.windows().map(TimeWindows::split);
    let bytes = memtables.iter().map(|memtable| memtable.memory_bytes()).sum();
    let mut options = family
        .options
        .table_options(place, family.id)
        .of_job(bytes as u64)
        .with_event_time(windows.map(|windows| windows.time));
    let entries = memtables.iter().map(|memtable| memtable.entries()).sum();
    let ratio = family.options.level_ratio;
    // The flushes before this one have been installed.
    let older = Arc::clone(&family.load().version);
    let shape = compaction::shape::of_flush(&older, entries, ratio);
    options.filter_bits_per_key = family.options.filter_bits_per_key(&shape);
    let split = match windows {
        Some(windows) => FlushSplit::Windows(windows),
        // Of a small one there is little to save.
        None if strategy == Strategy::Leveled && bytes >= family.options.memtable_bytes / 2 => {
            FlushSplit::Ends
        }
        None => FlushSplit::None,
    };
    let task = Task::Flush { memtables: memtables.len() };
    let running = core.running.begin(Running::new(family.id, task, entries));
    let pacing = Pacing::of_flush(core, &running.job);
    let buffers = flush_bytes(entries, bytes, place, windows.is_some(), &family.options);
    let _buffers = Charge::new(&core.memory.jobs, buffers);
    let log = retired::survey_log(core, family, newest.next_log, &options, &memtables)?;
    let output = with_context(core, &|step| pacing.step(step), |context| {
        let context = JobContext { in_log: Some(&log.values), ..*context };
        let inputs = (memtables.as_slice(), Some(&*older));
        compaction::flush::run(&context, inputs, retain(core, family), &options, split)
    })?;
    let checked = check_tables(&core.tables, &output, windows.as_ref());
    let checked = checked.and_then(|tables| sync_shared_segments(core).map(|()| tables));
    let checked =
        checked.and_then(|tables| Ok((retired::keep_segments(core, &log, &output)?, tables)));
    let (segments, tables) = discard_on_error(core, &output, checked)?;
    if planted::is("log-removed-before-install") {
        remove_segments_before(core, newest.next_log);
    }
    // From here on the tables stay, whatever happens: a manifest that failed may still name them.
    let installed = install_flush(core, family, (newest, immutables), (segments, tables), &output);
    if planted::is("tables-of-a-failed-edit-removed") && installed.is_err() {
        discard(core, &output);
    }
    installed?;
    let written = output.tables.iter().map(|table| table.bytes).sum();
    core.counters.flushes.add(1);
    core.counters.flush_bytes.add(written);
    core.counters.expired_entries.add(output.entries_expired);
    family.traffic[0].written.add(written);
    count_blocks(core, &output);
    core.note_pressure();
    remove_old_segments(core);
    Ok(output)
}

fn install_flush(
    core: &Core,
    family: &Arc<Family>,
    (newest, immutables): (&Immutable, &[Arc<Immutable>]),
    (segments, tables): (Vec<Arc<BlobMeta>>, Vec<Arc<TableMeta>>),
    output: &JobOutput,
) -> Result<()> {
    let mut versions = core.versions.lock();
    if family.is_dropped() {
        // Handles go on reading what was there: the memtables stay where they are.
        discard(core, output);
        drop(versions);
        // The log may have let go of them for this flush.
        let numbers: Vec<FileNumber> = segments.into_iter().map(|segment| segment.number).collect();
        numbers.into_iter().for_each(|number| retired::unneeded(core, number));
        return Ok(());
    }
    let mut edit = VersionEdit::default();
    edit.blobs = blob_metas(output);
    // Another family may have led there first.
    edit.blobs.extend(segments.into_iter().filter(|segment| !versions.has_blob(segment.number)));
    for table in tables {
        edit.add(family.id, 0, table);
    }
    edit.logs.push((family.id, newest.next_log));
    edit.last_sequence = Some(newest.last_seq);
    edit.mark(newest.last_seq, core.clock.mark_ms());
    // A family without data in memory needs no segment before the current one. The number is read
    // first: what is written between the two looks makes the family unclean.
    let current_log = FileNumber(core.current_log.load(Ordering::Acquire));
    for other in core.families.all().values() {
        if other.id != family.id && other.is_clean() {
            edit.logs.push((other.id, current_log));
        }
    }
    let applied = versions.apply(edit);
    core.note_put_off(&mut versions);
    applied?;
    core.note_time_marks(&versions);
    core.note_blobs(&versions);
    let version = Arc::clone(&versions.families()[&family.id].version);
    let entries = immutables.iter().map(|immutable| immutable.memtable.entries()).sum();
    let (reads, due) = (core.counters.reads(), family.options.level0_tables_slowdown / 2);
    family.reading().note_flush(reads, entries);
    if !core.memory.takes_merge_of(due) {
        family.reading().expect_reads();
    }
    core.scheduler.overcome();
    family.install(version, immutables);
    Ok(())
}

/// Makes sealed segments durable where more than one family may have data in them.
fn sync_shared_segments(core: &Core) -> Result<()> {
    if core.families.count() < 2 || planted::is("shared-segments-not-synced") {
        return Ok(());
    }
    let sealed = core.wal.lock().sealed();
    for segment in sealed {
        if let Err(error) = segment.sync(core.env.as_ref()) {
            core.wal.lock().failure = Some(Failure::Fatal(error.clone()));
            core.health.stop(error.clone());
            return Err(error);
        }
    }
    Ok(())
}

/// The snapshots that a job must spare.
pub(crate) fn live_snapshots(core: &Core) -> Vec<SeqNo> {
    if planted::is("snapshots-ignored") { Vec::new() } else { core.snapshots.sequences() }
}

/// What says which entries survive a job of `family` that begins now.
pub(crate) fn retain(core: &Core, family: &Family) -> Retain {
    let expired_ms = core.clock.before_ms(family.options.gc_grace);
    let old_seq = old_enough(core, family);
    Retain::new(live_snapshots(core), Now { expired_ms, old_seq })
}

/// The newest sequence number of a tombstone that has been kept for the grace period of `family`.
pub(crate) fn old_enough(core: &Core, family: &Family) -> SeqNo {
    match family.options.gc_grace {
        Duration::ZERO => SeqNo::MAX,
        grace => core.written_before(grace),
    }
}

/// Removes the segments that no family needs.
pub(crate) fn remove_old_segments(core: &Core) {
    let needed = core.versions.lock().oldest_log_needed();
    remove_segments_before(core, needed);
}

fn remove_segments_before(core: &Core, needed: FileNumber) {
    let taken = core.wal.lock().take_before(needed);
    for number in taken {
        retired::let_go(core, number);
    }
}

/// The tables that a job wrote, as the version set takes them: each is opened, which checks its
/// ends and that they are those that were written, and must hold as many entries as went in. What
/// fails here failed in being written, and is no damage to the store.
pub(crate) fn check_tables(
    cache: &Arc<TableCache>,
    output: &JobOutput,
    windows: Option<&WindowSplit>,
) -> Result<Vec<Arc<TableMeta>>> {
    // One job's tables make up one run; where they are kept apart by windows, one for each window.
    let window = |summary: &TableSummary| {
        windows.zip(summary.times).map(|(split, times)| times.first_ms / split.window_ms)
    };
    let mut runs: BTreeMap<Option<u64>, FileNumber> = BTreeMap::new();
    let checked = output.tables.iter().map(|summary| {
        let run = *runs.entry(window(summary)).or_insert(summary.number);
        check_table(cache, summary, run)
    });
    checked.collect()
}

fn check_table(
    cache: &Arc<TableCache>,
    summary: &TableSummary,
    run: FileNumber,
) -> Result<Arc<TableMeta>> {
    let meta = Arc::new(table_meta(summary, run)?);
    let opened = cache.open(&meta.handle).and_then(|table| {
        let found = table.properties();
        let counts = (found.entries, found.tombstones, found.range_tombstones);
        let written = (summary.entries, summary.tombstones, summary.range_tombstones);
        let same = (table.bytes(), counts, found.ages, table.filter_bytes(), &found.blobs)
            == (summary.bytes, written, summary.ages, summary.filter_bytes, &summary.blobs);
        if same {
            return Ok(());
        }
        Err(Error::corruption(table.name(), 0, "the new table does not hold what was written"))
    });
    match opened {
        Ok(()) => Ok(meta),
        Err(Error::Corruption { file, offset, detail }) => {
            let detail = format!("at byte {offset}: {detail}");
            let source = io::Error::new(io::ErrorKind::InvalidData, detail);
            Err(Error::io("read back", file, source))
        }
        Err(error) => Err(error),
    }
}

/// Passes `result` on, removing what a job wrote where it is an error.
fn discard_on_error<T>(core: &Core, output: &JobOutput, result: Result<T>) -> Result<T> {
    if result.is_err() {
        discard(core, output);
    }
    result
}

fn table_meta(table: &TableSummary, run: FileNumber) -> Result<TableMeta> {
    TableMeta::new(TableFacts {
        number: table.number,
        bytes: table.bytes,
        entries: table.entries,
        tombstones: table.tombstones,
        oldest_tombstone: table.ages.oldest_tombstone,
        expiry: expiry_of(&table.ages),
        range_tombstones: table.range_tombstones,
        run,
        hidden: table.hidden,
        codec: table.codec,
        times: table.times,
        filter_bytes: table.filter_bytes,
        smallest: table.smallest.clone(),
        largest: table.largest.clone(),
        smallest_seq: table.smallest_seq,
        largest_seq: table.largest_seq,
        footer_checksum: table.footer_checksum,
        blobs: table.blobs.clone(),
    })
}

/// When the entries of a table expire, as the manifest has it.
pub(crate) fn expiry_of(ages: &Ages) -> Option<Expiry> {
    (ages.expiring > 0).then_some(Expiry {
        entries: ages.expiring,
        first_ms: ages.first_expiry_ms,
        last_ms: ages.last_expiry_ms,
    })
}

/// Runs a compaction and installs it; false where one that only drops tables was given up, because
/// what it would uncover has been written since it was picked.
pub(crate) fn compact(core: &Arc<Core>, family: &Arc<Family>, plan: &Compaction) -> Result<bool> {
    events::jobs::compaction(core, family, plan, || run_compaction(core, family, plan))
}

fn run_compaction(
    core: &Arc<Core>,
    family: &Arc<Family>,
    plan: &Compaction,
) -> Result<Option<JobOutput>> {
    let entries = plan.tables().map(|table| table.entries).sum();
    let running = core.running.begin(Running::new(family.id, task_of(plan), entries));
    let _buffers = (plan.action == Action::Merge)
        .then(|| Charge::new(&core.memory.jobs, job_bytes(plan, &family.options)));
    let output = if plan.action == Action::Merge {
        subjobs::run(core, family, plan, &running.job)?
    } else {
        JobOutput::default()
    };
    let checked = check_tables(&core.tables, &output, plan.windows.as_ref());
    let tables = discard_on_error(core, &output, checked)?;
    if planted::is("inputs-removed-before-install") && plan.action == Action::Merge {
        plan.tables().for_each(|table| drop(core.env.remove(FileId::Table(table.number))));
    }
    if !install_compaction(core, family, plan, tables, &output)? {
        return Ok(None);
    }
    if let Some(error) = &output.unreadable {
        core.health.note_failure("a blob file that is to be emptied", error);
    }
    core.note_pressure();
    count_compaction(core, family, plan, &output);
    count_blocks(core, &output);
    Ok(Some(output))
}

/// False where there is nothing to install any more.
fn install_compaction(
    core: &Core,
    family: &Arc<Family>,
    plan: &Compaction,
    tables: Vec<Arc<TableMeta>>,
    output: &JobOutput,
) -> Result<bool> {
    let mut versions = core.versions.lock();
    if family.is_dropped() {
        discard(core, output);
        return Ok(false);
    }
    let current = &versions.families()[&family.id].version;
    if !order::may_drop(current, plan) {
        return Ok(false);
    }
    if let Some(breach) = order::breach(current, plan)
        && !planted::is("older-level0-table-left-behind")
    {
        discard(core, output);
        return Err(Error::invalid(format!("a compaction that cannot be: {breach}")));
    }
    let mut edit = VersionEdit::default();
    edit.blobs = blob_metas(output);
    for (level, table) in plan.placed_tables() {
        edit.delete(family.id, level, table.number);
        if plan.action == Action::Move {
            edit.add(family.id, plan.place.level, Arc::clone(table));
        }
    }
    for table in tables {
        edit.add(family.id, plan.place.level, table);
    }
    let applied = versions.apply(edit);
    core.note_put_off(&mut versions);
    applied?;
    core.note_blobs(&versions);
    let version = Arc::clone(&versions.families()[&family.id].version);
    family.install(version, &[]);
    Ok(true)
}

/// The blob files that a job wrote, as the version set takes them.
pub(crate) fn blob_metas(output: &JobOutput) -> Vec<Arc<BlobMeta>> {
    output.blobs.iter().map(|blob| Arc::new(BlobMeta::new(blob.number, blob.bytes))).collect()
}

/// Counts what became of the blocks that were to be compressed, and the values in blob files.
fn count_blocks(core: &Core, output: &JobOutput) {
    let blob_bytes = output.blobs.iter().map(|blob| blob.bytes).sum();
    core.counters.blob_write_bytes.add(blob_bytes);
    for table in &output.tables {
        core.counters.blocks_compressed.add(table.compression.compressed);
        core.counters.blocks_incompressible.add(table.compression.declined);
        core.counters.blocks_not_tried.add(table.compression.untried);
    }
}

fn count_compaction(core: &Core, family: &Family, plan: &Compaction, output: &JobOutput) {
    match plan.action {
        Action::Merge => {}
        Action::Move => {
            core.counters.trivial_moves.add(plan.tables().count() as u64);
            return;
        }
        Action::Drop => {
            core.counters.tables_dropped.add(plan.tables().count() as u64);
            return;
        }
    }
    let written = output.tables.iter().map(|table| table.bytes).sum();
    for (level, table) in plan.placed_tables() {
        family.traffic[level].read.add(table.bytes);
    }
    family.traffic[plan.place.level].written.add(written);
    core.counters.compactions.add(1);
    match plan.reason {
        Reason::Level0Runs | Reason::Level0Merge => core.counters.compactions_level0.add(1),
        Reason::Tombstones | Reason::Expired => core.counters.compactions_reclaim.add(1),
        Reason::Manual => core.counters.compactions_manual.add(1),
        _ => core.counters.compactions_size.add(1),
    }
    core.counters.compaction_read_bytes.add(plan.input_bytes());
    core.counters.compaction_write_bytes.add(written);
    core.counters.compaction_dropped_entries.add(output.entries_dropped);
    core.counters.expired_entries.add(output.entries_expired);
}

/// Creates the next segment of the log, if it is wanted and nobody does already. Where that fails
/// the writer that needs one tries again, and is told.
pub(crate) fn create_segment(core: &Core) {
    if !core.take_segment_wanted() {
        return;
    }
    match Ahead::create(core.env.as_ref(), core.new_number()) {
        Ok(ahead) => {
            let late = core.wal.lock().put_ahead(ahead);
            if let Some(late) = late {
                late.remove(core.env.as_ref(), &core.counters);
            }
        }
        Err(error) => core.health.note_failure("a log segment ahead of need", &error),
    }
}

/// Removes the files of tables and values that no version and no reader names any more.
pub(crate) fn purge(core: &Core) {
    let files = core.obsolete.take();
    for &file in &files {
        match file {
            FileId::Blob(number) => retired::unneeded(core, number),
            _ => {
                file.number().into_iter().for_each(|number| core.tables.forget(number));
                remove_obsolete(core, file);
            }
        }
    }
    let numbers: Vec<FileNumber> = files.into_iter().filter_map(FileId::number).collect();
    core.tables.block_cache().forget(&numbers);
}

/// Removes a file that nothing names. One that cannot be removed now is removed at the next open.
fn remove_obsolete(core: &Core, file: FileId) {
    if core.env.remove(file).is_err() {
        core.counters.removals_failed.add(1);
    }
}

/// Gives a job what it needs of the store.
pub(crate) fn with_context<T>(
    core: &Core,
    pace: Pace<'_>,
    run: impl FnOnce(&JobContext<'_>) -> T,
) -> T {
    let usage = core.blob_usage.load();
    run(&JobContext {
        pace,
        blobs: &core.blobs,
        emptied: Emptied::Some(&usage.sparse),
        in_log: None,
        env: &core.env,
        tables: &core.tables,
        new_number: &|| core.new_number(),
        cancelled: &core.closing,
    })
}

/// Removes what a job wrote.
pub(crate) fn discard(core: &Core, output: &JobOutput) {
    with_context(core, &|_| Ok(()), |context| context.discard(output));
}

/// Flushes everything that is in the memtables of `family` now, and waits for it.
pub(crate) fn flush_now(core: &Arc<Core>, family: &Arc<Family>) -> Result<()> {
    if family.is_in_doubt() {
        column_family::end_doubt(core, family)?;
    }
    while !close_active(core, family)? {
        wait_for_job(core)?;
    }
    let closed = family.load().immutables.clone();
    loop {
        core.check_open()?;
        family.check()?;
        let current = family.load();
        let waits = |one: &Arc<Immutable>| current.immutables.iter().any(|i| Arc::ptr_eq(i, one));
        if !closed.iter().any(waits) {
            return Ok(());
        }
        wait_for_job(core)?;
    }
}

/// Closes the active memtable; false when too many wait to be flushed already.
fn close_active(core: &Arc<Core>, family: &Arc<Family>) -> Result<bool> {
    core.check_open()?;
    core.health.check()?;
    family.check()?;
    let mut wal = core.wal.lock();
    let current = family.peek();
    if current.active.is_empty() {
        return Ok(true);
    }
    if current.immutables.len() >= family.options.memtables_max {
        return Ok(false);
    }
    crate::db::write::rotate(core, &mut wal, &[family.id], FlushReason::Asked)?;
    Ok(true)
}

/// Waits for a background job, or runs one; fails when background work cannot get on.
pub(super) fn wait_for_job(core: &Arc<Core>) -> Result<()> {
    if core.scheduler.is_paused() {
        return Err(Error::invalid("background work is paused: resume it first"));
    }
    if core.options.background_threads == 0 {
        background::run_inline(core);
    } else {
        core.scheduler.notify_work();
        core.scheduler.wait_progress(Duration::from_millis(5));
    }
    match core.scheduler.background_error() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Waits until no job is due or running.
pub(crate) fn wait_idle(core: &Arc<Core>) -> Result<()> {
    loop {
        // Whoever waits wants what comes next to find everything merged. Each time, for a flush
        // that is waited for may have let level 0 gather again.
        for family in core.families.all().values() {
            family.reading().expect_reads();
        }
        core.check_open()?;
        core.health.check()?;
        if background::is_idle(core) {
            return Ok(());
        }
        wait_for_job(core)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_memtables_are_flushed_one_by_one_and_small_ones_together() {
        let options = ColumnFamilyOptions { memtable_bytes: 100, ..ColumnFamilyOptions::default() };
        let taken = |sizes: &[usize]| flushed_now(sizes.iter().copied(), &options);
        assert_eq!(taken(&[]), 0);
        assert_eq!(taken(&[100, 100, 100]), 1);
        assert_eq!(taken(&[1_000, 1]), 1, "one that has outgrown its size goes alone");
        assert_eq!(taken(&[10, 20, 30, 100]), 3);
        assert_eq!(taken(&[20, 105, 1]), 2);
        assert_eq!(taken(&[usize::MAX, usize::MAX]), 1);
    }
}
