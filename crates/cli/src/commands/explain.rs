//! `alluvium explain`: why the last flushes, compactions and stalls of a store happened.
//!
//! Read from the store's file `STATUS`: the store is not opened, whether another process has it
//! open or none.

use std::io::Write;

use alluvium::{HistoryEntry, Status};
use clap::Args;

use super::stats::{status_of, written};
use crate::failure::Failure;
use crate::output::numbers::{bytes, counted};
use crate::output::time::instant;
use crate::store::PlaceArgs;

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    store: PlaceArgs,
    /// Tell of this kind only, perhaps several times: flush, compaction, move, drop, stall, error,
    /// stopped, manifest, opened, closed, listener
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Tell of the last N only
    #[arg(long, value_name = "N", default_value_t = 40)]
    limit: usize,
}

/// Prints what happened, oldest first, and what is due now.
pub fn run(args: &ExplainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let status = status_of(&args.store)?;
    writeln!(out, "{}: {}", args.store.directory().display(), written(&status))?;
    let wanted = |entry: &&HistoryEntry| args.kinds.is_empty() || args.kinds.contains(&entry.kind);
    let told: Vec<&HistoryEntry> = status.history.iter().filter(wanted).collect();
    let left_out = told.len().saturating_sub(args.limit);
    if left_out > 0 {
        writeln!(out, "(left out: the first {left_out})")?;
    }
    for entry in &told[left_out..] {
        let when = instant(i64::try_from(entry.unix_ms).unwrap_or(i64::MAX));
        writeln!(out, "{when:<23}  {:<10}  {}", entry.kind, entry.text)?;
    }
    if told.is_empty() {
        writeln!(out, "nothing of that has happened")?;
    }
    write_now(&status, out)
}

/// What is due, what writers waited for, and what is wrong.
fn write_now(status: &Status, out: &mut dyn Write) -> Result<(), Failure> {
    let stats = &status.stats;
    for family in &stats.families {
        for (index, level) in family.levels.iter().enumerate().filter(|(_, one)| one.score >= 1.0) {
            let held = match index {
                0 => format!("{} in level 0", counted(level.runs as u64, "run")),
                _ => format!("{} in level {index}", bytes(level.bytes)),
            };
            let score = level.score;
            writeln!(out, "due: compaction of {}: {held}, score {score:.2}", family.name)?;
        }
    }
    for stall in stats.stalls.iter().filter(|stall| stall.count > 0) {
        writeln!(
            out,
            "stalls for {}: {}, {:.1} ms in all, the longest {:.1} ms, in {:.0} s",
            stall.cause,
            counted(stall.count, "time"),
            stall.us as f64 / 1e3,
            stall.longest_us as f64 / 1e3,
            stats.uptime_seconds
        )?;
    }
    if let Some(error) = &stats.error {
        writeln!(out, "error: {error}")?;
    }
    Ok(())
}
