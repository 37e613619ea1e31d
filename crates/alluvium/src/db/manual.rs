//! Compactions, and drops of tables, that somebody asks for: on the caller's thread, as the
//! strategy of the family has them, beside what the workers do.

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::compaction::{self, Action, Busy, Compaction, CompactionPicker, KeySpan, order};
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::{background, jobs};
use crate::version::TableMeta;

/// Brings everything in `family` that meets `span` into the fewest runs that its strategy knows.
pub(crate) fn compact_now(core: &Arc<Core>, family: &Arc<Family>, span: &KeySpan) -> Result<()> {
    jobs::flush_now(core, family)?;
    // What is written from here on is not looked at again: it would never end.
    let mut tried =
        Tried { written_after: core.new_number(), newest: core.visible(), seen: HashSet::new() };
    loop {
        // A plan holds on to the tables that it takes away: those of the last one go now.
        background::purge_now(core);
        core.check_open()?;
        core.health.check()?;
        family.check()?;
        let mut waits = false;
        let claimed = core.scheduler.claim(family.id, |busy| {
            // Looked at again under the lock: a job may have ended in between.
            let current = family.peek();
            let picker = background::picker(family);
            let view = |busy| background::view(core, family, &current.version, busy);
            let pick =
                |busy| picker.pick_manual(&view(busy), span).filter(|plan| !tried.covers(plan));
            let plan = pick(busy).filter(|plan| order::may_drop(&family.peek().version, plan));
            // Where a running job is in the way, by its inputs or by what it writes, it ends; or
            // all is paused.
            waits = plan.is_some() || (!busy.is_empty() && pick(&Busy::new()).is_some());
            plan
        });
        match claimed {
            Some(claim) => {
                tried.seen.extend(claim.plan.tables().map(|table| table.number));
                let result = jobs::compact(core, family, &claim.plan);
                if planted::is("claim-kept-after-an-error") && result.is_err() {
                    std::mem::forget(claim);
                    return result.map(drop);
                }
                drop(claim);
                result?;
            }
            None if waits => jobs::wait_for_job(core)?,
            None => return Ok(()),
        }
    }
}

/// What a compaction that somebody asked for has done, so that it ends.
struct Tried {
    /// Tables with larger numbers were written behind its beginning.
    written_after: FileNumber,
    /// The newest write before it.
    newest: SeqNo,
    /// Its inputs so far.
    seen: HashSet<FileNumber>,
}

impl Tried {
    /// Whether `plan` only rewrites what this compaction has written or tried already, or takes
    /// nothing to the output but what was written since it began.
    fn covers(&self, plan: &Compaction) -> bool {
        let is_done = |level: usize, table: &TableMeta| {
            let is_new = level == 0 && table.smallest_seq > self.newest;
            let is_own = table.number > self.written_after || self.seen.contains(&table.number);
            is_new || (is_own && level == plan.place.level)
        };
        plan.action == Action::Merge
            && plan.placed_tables().all(|(level, table)| is_done(level, table))
    }
}

/// Takes out every table of `family` all of whose keys lie in `span`, and says how many bytes went.
pub(crate) fn drop_tables_now(
    core: &Arc<Core>,
    family: &Arc<Family>,
    span: &KeySpan,
) -> Result<u64> {
    jobs::flush_now(core, family)?;
    let mut bytes = 0;
    // Once more for what a job had when it was first looked at.
    for _ in 0..2 {
        core.check_open()?;
        core.health.check()?;
        family.check()?;
        let claimed = core.scheduler.claim(family.id, |busy| {
            compaction::drop_within(
                &background::view(core, family, &family.peek().version, busy),
                span,
            )
        });
        if let Some(claim) = claimed
            && jobs::compact(core, family, &claim.plan)?
        {
            // It may have taken deletes away, and not what they deleted.
            family.gaps.forget();
            bytes += claim.plan.input_bytes();
        }
        // What was dropped is, whatever becomes of the work of others.
        match jobs::wait_for_job(core) {
            Err(error) if bytes == 0 => return Err(error),
            _ => {}
        }
    }
    Ok(bytes)
}
