//! Scans of the whole store.

use std::time::Instant;

use super::{Outcome, Run};
use crate::Result;

/// Timed scans, after one that is not.
const SCANS: u64 = 3;

/// Warms, scans once (`first rows/s`), and then again and again: the timed phase. An
/// operation is a row; a latency is that of a whole scan.
pub fn scan(run: &Run<'_>) -> Result<Outcome> {
    run.warm_loaded()?;
    let first = check_count(run, run.settings.keys)?;
    let timed = run.time_alike(
        1,
        |_| Ok(()),
        |_, (), latencies| {
            for _ in 0..SCANS {
                check_count(run, run.settings.keys)?;
                latencies.lap();
            }
            Ok(SCANS * run.settings.keys)
        },
    )?;
    Ok(Outcome::of_reads(run, timed)?.with("first rows/s", first))
}

/// Scans everything, checks that there are `expected` entries, and returns the rows a second.
pub fn check_count(run: &Run<'_>, expected: u64) -> Result<f64> {
    let started = Instant::now();
    let walked = run.engine.reader()?.walk(&[0; 16], u64::MAX)?;
    if walked.entries != expected {
        return Err(format!("{} entries instead of {expected}", walked.entries).into());
    }
    Ok(walked.entries as f64 / started.elapsed().as_secs_f64())
}
