//! Lookups while one thread writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fill::Overwriter;
use super::read::{Distribution, Draws};
use super::{Outcome, Run, Timed};
use crate::Result;

/// Loads and warms; then, for a fixed time, the readers look up uniformly random keys and one
/// writer overwrites uniformly random keys, all as fast as they can. The operations are the
/// lookups; the writer's rate stands beside.
pub fn read_while_writing(run: &Run<'_>) -> Result<Outcome> {
    run.load()?;
    run.warm()?;
    let mut warm_up = Draws::new(run, Distribution::Uniform, 500);
    let mut reader = run.engine.reader()?;
    for _ in 0..run.settings.keys / 2 {
        warm_up.look_up(&mut *reader)?;
    }
    drop(reader);

    let own_before = run.engine.written_bytes();
    let deadline = Instant::now() + Duration::from_secs_f64(run.settings.seconds);
    let over = AtomicBool::new(false);
    // Client 0, on this thread, writes.
    let (used, done) = run.time(1 + run.settings.threads.max(1), |client, latencies| {
        let mut operations = 0;
        if client == 0 {
            let mut writer = Overwriter::new(run, 0);
            while !over.load(Ordering::Relaxed) {
                writer.write_one()?;
                operations += 1;
                if latencies.lap() >= deadline {
                    over.store(true, Ordering::Relaxed);
                }
            }
        } else {
            let mut reader = run.engine.reader()?;
            let mut draws = Draws::new(run, Distribution::Uniform, u64::from(client));
            while !over.load(Ordering::Relaxed) {
                draws.look_up(&mut *reader)?;
                operations += 1;
                if latencies.lap() >= deadline {
                    over.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(operations)
    })?;

    let mut done = done.into_iter();
    let (writes, write_latencies) = done.next().ok_or("the writer did not run")?;
    let (mut operations, mut latencies) = done.next().ok_or("no reader ran")?;
    for (more, others) in done {
        operations += more;
        latencies.merge(&others)?;
    }
    let timed = Timed { operations, used, latencies };
    let user_bytes = writes * run.settings.entry_bytes();
    let outcome = Outcome::of_writes(run, timed, user_bytes, own_before)?
        .with("writes/s", writes as f64 / used.seconds)
        .with("write p99 µs", write_latencies.quantile_us(0.99))
        .with("write max µs", write_latencies.max_us());
    super::scan::check_count(run, run.settings.keys)?;
    Ok(outcome)
}
