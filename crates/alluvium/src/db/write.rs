//! The write path: stall check, log, memtables, publish.
//!
//! ```text
//! write            limits, families alive, expiry times
//!   commit queue   join or lead a group
//!     throttle     wait while background work is behind          (no lock held)
//!     rotate       close full memtables, begin a segment         (log lock from here)
//!     log          every batch as one frame; one write, one sync
//!     memtables    every operation, in sequence order
//!     publish      the group becomes visible
//! ```
//!
//! A group that fails in the log was never applied: it is not visible, and its sequence numbers are
//! never given to another. After a crash it may be there or not, whole either way.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::blob::LogPlace;
use crate::base::error::{Error, Result};
use crate::base::expiry::{self, EXPIRY_BYTES};
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::atomic::Ordering;
use crate::batch::{BatchBuffer, ColumnFamilyId, Operation};
use crate::db::background;
use crate::db::column_family;
use crate::db::commit::Request;
use crate::db::core::{Core, nanoseconds};
use crate::db::events::stalls::StallWatch;
use crate::db::family::Family;
use crate::db::memory;
use crate::db::stall::{self, Pressure, Stall};
use crate::db::super_version::FlushReason;
use crate::db::wal_set::{Failure, WalSet};
use crate::memtable::MemtableWriter;
use crate::metrics::StallCause;
use crate::options::Durability;

/// `Buffered` writes are handed to the operating system when this much has gathered.
const BUFFER_BYTES_MAX: u64 = 256 << 10;

/// How long a waiting writer sleeps before it looks again whether the store was closed or broke.
const STALL_LOOK: Duration = Duration::from_millis(50);

/// Writes a batch.
pub(crate) fn write(core: &Arc<Core>, batch: BatchBuffer, durability: Durability) -> Result<()> {
    core.health.check()?;
    batch.check()?;
    if batch.count() == 0 && durability != Durability::Disk {
        return Ok(());
    }
    let batch = with_times(core, batch)?;
    let begun = nanoseconds(core.env.as_ref());
    let request = Request { batch, durability, logged_at: 0 };
    let result = core.queue.commit(request, |group| run_group(core, group));
    core.events.deliver();
    core.latencies.write.record(nanoseconds(core.env.as_ref()).saturating_sub(begun));
    if result.is_ok() && core.options.background_threads == 0 {
        background::run_inline(core);
    }
    result
}

/// The batch with every expiry time in it: of puts with a time to live, and of plain puts into
/// families that have one. Fails when a family is not there.
fn with_times(core: &Core, mut batch: BatchBuffer) -> Result<BatchBuffer> {
    let mut ttls = Vec::new();
    let families = core.families.peek();
    for &id in batch.families() {
        let family = families.get(&id).ok_or_else(|| {
            let name = format!("number {}", id.0);
            Error::ColumnFamilyMissing { name }
        })?;
        if family.is_in_doubt() {
            column_family::end_doubt(core, family)?;
        }
        ttls.extend(family.options.ttl.map(|ttl| (id, ttl)));
    }
    drop(families);
    if ttls.is_empty() && !batch.has_unset_times() {
        return Ok(batch);
    }
    let now_ms = core.clock.now_ms();
    batch.set_times(now_ms);
    if ttls.is_empty() {
        return Ok(batch);
    }
    let expiry_of = |id| {
        let ttl = ttls.iter().find(|(family, _)| *family == id);
        ttl.map(|(_, ttl)| expiry::after(now_ms, *ttl))
    };
    let batch = batch.expiring(expiry_of);
    batch.check()?;
    Ok(batch)
}

/// Stops the store when the leader of a group panics: its batches may be in the log, and in the
/// memtables by half.
struct StopsOnPanic<'a>(&'a Core);

impl Drop for StopsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let detail = "a writer panicked in the middle of a write".to_owned();
            self.0.health.stop(Error::Panicked { detail });
            self.0.scheduler.notify_progress();
        }
    }
}

/// Runs one commit group. Called by its leader.
fn run_group(core: &Arc<Core>, group: &mut [Request]) -> Result<()> {
    core.health.check()?;
    let _guard = StopsOnPanic(core);
    let bytes: usize = group.iter().map(|request| request.batch.byte_size()).sum();
    throttle(core, bytes as u64)?;
    let (mut wal, families) = loop {
        let wal = core.wal.lock();
        let families = Targets::resolve(core, group);
        let Some(doubtful) = families.doubtful(core, group) else { break (wal, families) };
        drop(wal);
        column_family::end_doubt(core, &doubtful)?;
    };
    // Looked at again under the lock: the log may have been closed meanwhile.
    core.health.check()?;
    resume_after_full_disk(core, &mut wal)?;
    rotate_full(core, &mut wal)?;
    families.prefetch(group);
    log_group(core, &mut wal, group)?;
    if planted::in_order("visible-before-the-memtable") {
        core.publish(wal.last_seq);
    }
    apply_group(core, &mut wal, &families, group);
    core.publish(wal.last_seq);
    Ok(())
}

/// The disk was full at an earlier write: goes on in a new segment if there is room now.
fn resume_after_full_disk(core: &Core, wal: &mut WalSet) -> Result<()> {
    match &wal.failure {
        None => Ok(()),
        Some(Failure::Fatal(error)) => Err(error.clone()),
        Some(Failure::NoSpace(error)) if planted::is("full-disk-for-ever") => Err(error.clone()),
        Some(Failure::NoSpace(_)) => {
            wal.rotate(|| core.new_number())?;
            core.current_log.store(wal.number().0, Ordering::Release);
            core.want_segment();
            Ok(())
        }
    }
}

/// Appends every batch and makes the group as durable as its most demanding member asks.
fn log_group(core: &Core, wal: &mut WalSet, group: &mut [Request]) -> Result<()> {
    let group_only = wal.is_settled();
    let mut durability = Durability::Buffered;
    for request in group.iter_mut() {
        let count = u64::from(request.batch.count());
        durability = durability.max(request.durability);
        if count == 0 {
            continue;
        }
        let durable = wal.durable_seq;
        let first = wal.last_seq.plus(1);
        wal.last_seq = wal.last_seq.plus(count);
        let last = wal.last_seq;
        request.logged_at = wal.append(request.batch.seal(first, durable), last);
        core.counters.write_operations.add_alone(count);
        core.counters.write_user_bytes.add_alone(request.batch.user_bytes());
    }
    core.counters.write_groups.add_alone(1);
    let result = match durability {
        // Large ones went past the buffer: what became of them is not known before the flush.
        Durability::Buffered if wal.waits(BUFFER_BYTES_MAX) => Ok(()),
        Durability::Os if planted::is("os-write-kept-back") => Ok(()),
        Durability::Buffered | Durability::Os => wal.flush(group_only),
        Durability::Disk if planted::is("ack-before-sync") => wal.flush(group_only),
        Durability::Disk => wal.flush(group_only).and_then(|()| timed_sync(core, wal)),
    };
    if let Err(error) = &result
        && matches!(wal.failure, Some(Failure::Fatal(_)))
    {
        core.health.stop(error.clone());
        core.scheduler.notify_progress();
    }
    result
}

fn timed_sync(core: &Core, wal: &mut WalSet) -> Result<()> {
    let begun = nanoseconds(core.env.as_ref());
    wal.sync()?;
    core.latencies.wal_sync.record(nanoseconds(core.env.as_ref()).saturating_sub(begun));
    Ok(())
}

/// The families that a group writes to. One that is dropped while its write waits in the queue is
/// left out: the write came first, and went with it.
struct Targets(SmallVec<[(ColumnFamilyId, Arc<Family>); 2]>);

impl Targets {
    fn resolve(core: &Core, group: &[Request]) -> Targets {
        let mut targets: SmallVec<[(ColumnFamilyId, Arc<Family>); 2]> = SmallVec::new();
        let families = core.families.peek();
        for &id in group.iter().flat_map(|request| request.batch.families()) {
            if targets.iter().all(|(known, _)| *known != id)
                && let Some(family) = families.get(&id)
            {
                targets.push((id, Arc::clone(family)));
            }
        }
        Targets(targets)
    }

    /// A family of which a drop has begun or failed, and to which the group writes; of all
    /// families, where somebody asks for the durability of everything before.
    fn doubtful(&self, core: &Core, group: &[Request]) -> Option<Arc<Family>> {
        let own = self.0.iter().map(|(_, family)| family).find(|family| family.is_in_doubt());
        own.cloned().or_else(|| {
            let asks = group.iter().any(|request| request.batch.count() == 0);
            asks.then(|| column_family::doubtful(core)).flatten()
        })
    }

    /// Has what the first operation will need on its way from memory while the log is written. The
    /// others see to each other.
    fn prefetch(&self, group: &[Request]) {
        let first = group.first().and_then(|request| request.batch.operations().next());
        let Some(Ok(operation)) = first else { return };
        if let Some((_, family)) = self.0.iter().find(|(id, _)| *id == operation.family) {
            family.peek().active.prefetch(operation.key);
        }
    }
}

/// A memtable that a group writes to.
struct Target<'a> {
    id: ColumnFamilyId,
    writer: MemtableWriter<'a>,
    /// Whether it held tombstones before.
    hid: bool,
    /// Values from this length on are set apart when they are flushed.
    apart: usize,
}

/// Takes note of where in segment `file` of the log a large value lies, so that a flush need not
/// write it.
fn note_place(
    writer: &MemtableWriter<'_>,
    seq: SeqNo,
    operation: &Operation<'_>,
    request: &Request,
    file: FileNumber,
) {
    let expiry_bytes = if operation.kind.expires() { EXPIRY_BYTES } else { 0 };
    if operation.kind.with_blob().is_some()
        && let Some(value) = operation.value.get(expiry_bytes..)
        && let Ok(bytes) = u32::try_from(value.len())
    {
        let offset = request.logged_at + request.batch.offset_of(value) as u64;
        writer.note_place(seq, LogPlace { file, offset, bytes });
    }
}

/// Puts every operation of the group into the memtables.
fn apply_group(core: &Core, wal: &mut WalSet, targets: &Targets, group: &[Request]) {
    let current: SmallVec<[_; 2]> = targets.0.iter().map(|(_, family)| family.peek()).collect();
    let mut writers: SmallVec<[Target<'_>; 2]> = targets
        .0
        .iter()
        .zip(&current)
        .map(|((id, family), current)| Target {
            id: *id,
            writer: current.active.writer(),
            hid: current.active.holds_tombstones(),
            apart: family.options.blob_bytes_min.unwrap_or(usize::MAX),
        })
        .collect();
    let operations: u64 = group.iter().map(|request| u64::from(request.batch.count())).sum();
    let mut seq = wal.last_seq.get() - operations;
    for request in group {
        for operation in request.batch.operations().flatten() {
            seq += 1;
            let target = writers.iter_mut().find(|target| target.id == operation.family);
            if let Some(Target { writer, apart, .. }) = target {
                writer.insert(SeqNo::new(seq), operation.kind, operation.key, operation.value);
                if operation.value.len() >= *apart {
                    note_place(writer, SeqNo::new(seq), &operation, request, wal.number());
                }
            }
        }
    }
    debug_assert_eq!(seq, wal.last_seq.get());
    let mut pairs = writers.iter().zip(&current);
    if pairs.any(|(target, current)| !target.hid && current.active.holds_tombstones()) {
        // A worker that sleeps until there is work is to look at the clock from here on.
        core.scheduler.notify_work();
    }
    drop(writers);
    for ((id, family), current) in targets.0.iter().zip(&current) {
        if current.active.memory_bytes() >= family.options.memtable_bytes && !wal.full.contains(id)
        {
            wal.full.push(*id);
        }
    }
    if let Some(id) = memory::flush_early(core)
        && !wal.full.contains(&id)
    {
        wal.full.push(id);
    }
    if wal.total_bytes() > core.options.wal_bytes_max {
        mark_oldest(core, wal);
    }
}

/// The log is over its bound: the families whose active memtables hold its oldest segment are to be
/// flushed. Where immutable memtables hold it, that is under way already.
fn mark_oldest(core: &Core, wal: &mut WalSet) {
    let oldest = wal.oldest();
    for family in core.families.all().values() {
        let holds = !family.peek().active.is_empty() && family.active_log() <= oldest;
        if holds && !wal.full.contains(&family.id) {
            wal.full.push(family.id);
        }
    }
}

/// Closes the memtables that are full. The caller holds the log lock.
fn rotate_full(core: &Core, wal: &mut WalSet) -> Result<()> {
    if wal.full.is_empty() {
        return Ok(());
    }
    let full = std::mem::take(&mut wal.full);
    if let Err(error) = rotate(core, wal, &full, FlushReason::LogBytes) {
        wal.full = full;
        return Err(error);
    }
    Ok(())
}

/// Begins a segment and closes the active memtables of `ids`, for `reason` where they are not full.
/// The caller holds the log lock.
pub(crate) fn rotate(
    core: &Core,
    wal: &mut WalSet,
    ids: &[ColumnFamilyId],
    reason: FlushReason,
) -> Result<()> {
    let families: Vec<_> = ids
        .iter()
        .filter_map(|id| core.families.get(*id))
        .filter(|family| !family.peek().active.is_empty())
        .collect();
    if families.is_empty() {
        return Ok(());
    }
    wal.rotate(|| core.new_number())?;
    core.current_log.store(wal.number().0, Ordering::Release);
    for family in families {
        let full = family.peek().active.memory_bytes() >= family.options.memtable_bytes;
        let reason = if full { FlushReason::MemtableFull } else { reason };
        family.rotate(wal.number(), wal.last_seq, reason);
    }
    for family in core.families.all().values() {
        if family.peek().active.is_empty() {
            family.set_active_log(wal.number());
        }
    }
    core.note_pressure();
    core.want_segment();
    if !planted::in_order("workers-not-told") {
        core.scheduler.notify_work();
    }
    Ok(())
}

/// Waits while background work is behind. Holds no lock.
fn throttle(core: &Arc<Core>, bytes: u64) -> Result<()> {
    if !core.pressed.load(Ordering::Acquire) {
        return Ok(());
    }
    let mut stalled = false;
    let mut watch = StallWatch::new(core);
    loop {
        core.health.check()?;
        let decision = worst(core, bytes);
        if !stalled && decision != Stall::None {
            stalled = true;
            core.counters.stalls.add(1);
        }
        let begun = core.env.now();
        let counter = match decision {
            Stall::None => return Ok(()),
            Stall::Slow(delay) => {
                core.env.sleep(delay);
                &core.counters.stall_level0_slowdown_us
            }
            Stall::StopLevel0 => {
                watch.waits(StallCause::Level0Stop);
                let all = core.families.all();
                if let Some(error) = all.values().find_map(|f| core.scheduler.level0_damage(f)) {
                    return Err(error);
                }
                wait_for_progress(core)?;
                &core.counters.stall_level0_stop_us
            }
            Stall::StopMemtables => {
                watch.waits(StallCause::Memtables);
                wait_for_progress(core)?;
                &core.counters.stall_memtables_us
            }
        };
        let waited = core.env.now().saturating_sub(begun);
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        core.pacer.lock().waited(waited);
        counter.add(waited_us);
        if matches!(decision, Stall::Slow(_)) {
            // Hundreds a second, some milliseconds each: figures, but no events.
            core.latencies.stalls.record(core.slope_cause(), waited_us);
            return Ok(());
        }
    }
}

/// Lets background work get on: by waiting, or by doing it where there are no workers. Fails when
/// it cannot get on.
fn wait_for_progress(core: &Arc<Core>) -> Result<()> {
    if core.options.background_threads == 0 {
        // First try, then look: this is the only thread that can find that the disk has healed.
        background::run_inline(core);
        if core.scheduler.is_paused() {
            core.scheduler.wait_progress(STALL_LOOK);
        }
        return core.scheduler.background_error().map_or(Ok(()), Err);
    }
    if let Some(error) = core.scheduler.background_error() {
        return Err(error);
    }
    core.scheduler.wait_progress(STALL_LOOK);
    Ok(())
}

/// The strictest decision over all families: a fence where one is met, else what the slope asks.
fn worst(core: &Core, bytes: u64) -> Stall {
    let all = core.families.all();
    let queue_is_full =
        |family: &Arc<Family>| family.peek().immutables.len() >= family.options.memtables_max;
    let full = match all.values().any(queue_is_full) {
        true => core.wal.lock().full.clone(),
        false => Vec::new(),
    };
    for family in all.values() {
        let current = family.peek();
        let fence = stall::fence(&Pressure {
            level0_runs: family.debt().runs,
            level0_stop: family.options.level0_tables_stop,
            memtable_full: full.contains(&family.id),
            immutables: current.immutables.len(),
            immutables_max: family.options.memtables_max,
        });
        if fence != Stall::None {
            return fence;
        }
    }
    let delay = core.pace_write(bytes);
    if delay.is_zero() { Stall::None } else { Stall::Slow(delay) }
}
