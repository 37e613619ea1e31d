//! Reasons in words, with the figures that decided.

use std::sync::Arc;

use crate::compaction::{Compaction, CompactionPicker, Reason};
use crate::db::background::picker;
use crate::db::core::Core;
use crate::db::family::Family;
use crate::db::super_version::{FlushReason, Immutable};
use crate::metrics::StallCause;
use crate::metrics::text::{bytes, counted};

/// Why `immutables`, newest first, are flushed: the reason of the oldest.
pub(crate) fn flush(family: &Family, immutables: &[Arc<Immutable>]) -> String {
    let Some(oldest) = immutables.last() else { return "nothing waited".to_owned() };
    match oldest.reason {
        FlushReason::MemtableFull => {
            format!("its memtable was full, at {}", bytes(family.options.memtable_bytes as u64))
        }
        FlushReason::LogBytes => {
            "the log was over its bound, and its oldest data is in this family".to_owned()
        }
        FlushReason::Quiet => {
            "nothing was written for a while, and its tombstones hold space below".to_owned()
        }
        FlushReason::Asked => "somebody asked for it".to_owned(),
    }
}

/// Why `plan` was made.
pub(crate) fn compaction(family: &Family, plan: &Compaction) -> String {
    let current = family.peek();
    let level = plan.inputs.iter().map(|input| input.level).min().unwrap_or(0);
    match plan.reason {
        Reason::Level0Runs => format!(
            "level 0 held {} of {}, trigger {}",
            counted(current.version.level(0).runs().len(), "run"),
            bytes(current.version.level(0).bytes()),
            family.level0_due()
        ),
        Reason::LevelSize => {
            let held = current.version.level(level).bytes();
            let score = picker(family).scores(&current.version)[level];
            format!("level {level} held {}, {score:.2} times its target", bytes(held))
        }
        Reason::TierFull | Reason::WindowFull | Reason::BottomDue => {
            let runs = counted(current.version.level(0).runs().len(), "run");
            let strategy = family.strategy();
            format!("{} ({}; level 0 held {runs})", plan.reason.words(), strategy.name())
        }
        Reason::Tombstones => {
            let tombstones: u64 = plan.tables().map(|table| table.tombstones).sum();
            let entries: u64 = plan.tables().map(|table| table.entries).sum();
            format!("{}: {tombstones} among {entries} entries", plan.reason.words())
        }
        _ => plan.reason.words().to_owned(),
    }
}

/// Why a writer waits: of the family that has most of what the cause counts.
pub(crate) fn stall(core: &Core, cause: StallCause) -> String {
    let families = core.families.all();
    match cause {
        StallCause::Level0Slowdown | StallCause::Level0Stop => {
            let runs = |family: &Arc<Family>| family.peek().version.level(0).runs().len();
            let Some(worst) = families.values().max_by_key(|family| runs(family)) else {
                return "level 0 was full".to_owned();
            };
            format!(
                "level 0 of {} held {}: writes are slowed at {}, and wait at {}",
                worst.name,
                counted(runs(worst), "run"),
                worst.options.level0_tables_slowdown,
                worst.options.level0_tables_stop
            )
        }
        StallCause::DebtSlowdown => {
            let debt: u64 = families.values().map(|family| family.debt().bytes).sum();
            format!("{} MiB waited to be compacted", debt >> 20)
        }
        StallCause::Memtables | StallCause::MemtablesSlowdown => {
            let waiting = |family: &Arc<Family>| family.peek().immutables.len();
            let Some(worst) = families.values().max_by_key(|family| waiting(family)) else {
                return "memtables waited".to_owned();
            };
            format!(
                "{} of {} waited to be flushed, as many as may",
                counted(waiting(worst), "memtable"),
                worst.name
            )
        }
    }
}
