//! How long a store takes to open after its process was killed.
//!
//! A killed process leaves behind what it had handed to the operating system: the files as they
//! are. So while the first store is open and idle, its files are copied, and the copy is opened: an
//! engine can't tell it from what a kill leaves. (It costs nothing against a real one, needs no
//! second process, and no engine here writes to its files at rest.)

use std::fs;
use std::path::Path;

use super::{Outcome, Run};
use crate::Result;
use crate::engines::{self, Batch};
use crate::keys::{Values, key_of};
use crate::measure::{Latencies, Usage, reset_peak_memory};
use crate::settings::DurabilityName;

/// Five eighths of the bytes that a memtable may have: some engines count what they need beside
/// keys and values, and none may have begun to write the memtable out.
const FILL: (u64, u64) = (5, 8);

/// Entries of a batch.
const BATCH: usize = 100;

/// Fills a memtable in random order, and times the opening of what a kill would leave, up to the
/// first answer. An operation is an entry recovered.
pub fn recovery(run: &Run<'_>) -> Result<Outcome> {
    if run.settings.durability == DurabilityName::Buffered {
        return Err("nothing is recovered of what was only buffered".into());
    }
    let bytes = run.settings.memtable_bytes() * FILL.0 / FILL.1;
    let entries = (bytes / run.settings.entry_bytes()).clamp(1, run.settings.keys);
    let last = write(run, entries)?;

    let killed = run.dir.join("killed");
    fs::create_dir(&killed)?;
    copy(run.dir, &killed)?;
    run.warm()?;

    let mut latencies = Latencies::start()?;
    reset_peak_memory()?;
    let before = Usage::now()?;
    latencies.restart();
    let engine = engines::open(run.name, &killed, run.settings)?;
    let answer = engine.reader()?.get(&key_of(last))?;
    latencies.lap();
    let used = before.until(&Usage::now()?);

    // `redb` keeps nothing at this durability: see the top of its file.
    let expected = if engines::outlives_a_kill(run.name, run.settings) { entries } else { 0 };
    let walked = engine.reader()?.walk(&[0; 16], u64::MAX)?;
    if walked.entries != expected || answer != (expected > 0).then_some(last) {
        return Err(format!("{} entries recovered instead of {expected}", walked.entries).into());
    }
    engine.close()?;
    let timed = super::Timed { operations: entries, used, latencies };
    let mut outcome = Outcome::of_reads(run, timed)?.with("open ms", used.seconds * 1e3);
    // Two stores stand there.
    outcome.live_bytes = 2 * entries * run.settings.entry_bytes();
    Ok(outcome)
}

/// Writes `entries` keys, and returns the number of the last.
fn write(run: &Run<'_>, entries: u64) -> Result<u64> {
    let order = run.order();
    let mut values = Values::new(run.settings.value_bytes, run.settings.seed);
    let mut batch = Batch::new(values.bytes());
    let mut last = 0;
    for position in 0..entries {
        last = order.at(position);
        batch.put(key_of(last), |out| values.append(last, out));
        if batch.len() == BATCH || position + 1 == entries {
            run.engine.write(&batch)?;
            batch.clear();
        }
    }
    Ok(last)
}

/// Copies what is in `from`, directories included, except `to` itself.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source == to {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
