//! How long a store takes to open after its process was killed.
//!
//! A killed process leaves behind what it had handed to the operating system: the files as they
//! are. So while the first store is open and idle, its files are copied, and the copy is opened: an
//! engine can't tell it from what a kill leaves. (It costs nothing against a real one, needs no
//! second process, and no engine here writes to its files at rest.)

use std::fs;

use super::{Outcome, Run, load};
use crate::Result;
use crate::engines;
use crate::keys::key_of;
use crate::measure::{Latencies, Usage, copy_directory, reset_peak_memory};
use crate::settings::Settings;

/// Five eighths of the bytes that a memtable may have: some engines count what they need beside
/// keys and values, and none may have begun to write the memtable out.
const FILL: (u64, u64) = (5, 8);

/// Entries of a batch.
const BATCH: usize = 100;

/// Whether there is nothing to measure: `workload` is this one, and what `engine` acknowledges at
/// the durability of `settings` is gone with its process. (`redb` keeps nothing before the level
/// `disk`: see the top of its file.)
pub fn refused(engine: &str, workload: &str, settings: &Settings) -> bool {
    workload == "recovery" && !engines::outlives_a_kill(engine, settings)
}

/// Fills a memtable in random order, and times the opening of what a kill would leave, up to the
/// first answer. An operation is an entry recovered.
pub fn recovery(run: &Run<'_>) -> Result<Outcome> {
    if refused(run.name, "recovery", run.settings) {
        return Err("nothing is recovered of what stays in the process".into());
    }
    let bytes = run.settings.memtable_bytes() * FILL.0 / FILL.1;
    let entries = (bytes / run.settings.entry_bytes()).clamp(1, run.settings.keys);
    let last = load(run.engine, run.settings, entries, BATCH)?;

    let killed = run.dir.join("killed");
    fs::create_dir(&killed)?;
    copy_directory(run.dir, &killed)?;
    run.warm()?;

    let mut latencies = Latencies::start()?;
    reset_peak_memory()?;
    let before = Usage::now()?;
    latencies.restart();
    let engine = engines::open(run.name, &killed, run.settings)?;
    let answer = engine.reader()?.get(&key_of(last))?;
    latencies.lap();
    let used = before.until(&Usage::now()?);

    let walked = engine.reader()?.walk(&[0; 16], u64::MAX)?;
    if walked.entries != entries || answer != Some(last) {
        return Err(format!("{} entries recovered instead of {entries}", walked.entries).into());
    }
    engine.close()?;
    let timed = super::Timed { operations: entries, used, latencies };
    let mut outcome = Outcome::of_reads(run, timed)?.with("open ms", used.seconds * 1e3);
    // Two stores stand there.
    outcome.live_bytes = 2 * entries * run.settings.entry_bytes();
    Ok(outcome)
}
