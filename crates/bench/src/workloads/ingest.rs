//! A click stream written as it arrives, and scanned by the minute.

use std::time::Instant;

use super::{Outcome, Run};
use crate::Result;
use crate::engines::Batch;
use crate::keys::{Rng, Values, event_key};

/// A key and a value together: one event.
const EVENT_BYTES: u64 = 120;
/// The rate of the stream: 50,000 events a minute.
const STEP_US: u64 = 1200;
/// Events of a batch.
const BATCH: usize = 1000;
/// One event in so many arrives late,
const LATE_ONE_IN: u64 = 20;
/// by up to this much.
const LATE_US: u64 = 2_000_000;
const FIRST_US: u64 = 1_700_000_000_000_000;

/// Writes the stream (timed), settles, and then reads windows of a minute from random starts
/// (`windows/s`).
pub fn ingest(run: &Run<'_>) -> Result<Outcome> {
    run.warm()?;
    let own_before = run.engine.written_bytes();
    let events = run.settings.keys;
    let build = |_| {
        let values = Values::new(EVENT_BYTES as usize - 16, run.settings.seed);
        Ok((Batch::new(values.bytes()), values))
    };
    let timed = run.time_alike(1, build, |_, (mut batch, mut values), latencies| {
        let mut rng = Rng::new(run.settings.seed);
        for number in 0..events {
            let late = if rng.below(LATE_ONE_IN) == 0 { rng.below(LATE_US) } else { 0 };
            let key = event_key(FIRST_US + number * STEP_US - late, number);
            batch.put(key, |out| values.append(number, out));
            if batch.len() == BATCH || number + 1 == events {
                run.engine.write(&batch)?;
                latencies.lap();
                batch.clear();
            }
        }
        Ok(events)
    })?;
    let mut outcome = Outcome::of_writes(run, timed, events * EVENT_BYTES, own_before)?;
    outcome.live_bytes = events * EVENT_BYTES;
    super::scan::check_count(run, events)?;

    run.warm()?;
    let window = (60_000_000 / STEP_US).min(events / 10).max(1);
    let windows = (events * 5 / window).clamp(1, 200);
    let mut reader = run.engine.reader()?;
    let mut rng = Rng::new(run.settings.seed + 1);
    let started = Instant::now();
    for _ in 0..windows {
        // Far enough from the end for the window to be full, lateness included.
        let first = rng.below(events.saturating_sub(2 * window).max(1));
        let walked = reader.walk(&event_key(FIRST_US + first * STEP_US, 0), window)?;
        let late_end = LATE_US / STEP_US;
        if walked.entries != window && first + window + late_end < events {
            return Err(format!("a window of {window} events from {first}: {walked:?}").into());
        }
    }
    Ok(outcome.with("windows/s", windows as f64 / started.elapsed().as_secs_f64()))
}
