//! Lookups while one thread writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fill::Overwriter;
use super::read::{Distribution, Draws};
use super::{Outcome, Run, Timed, share};
use crate::Result;
use crate::engines::Reader;

/// What a client does.
enum Side<'a> {
    Writes(Overwriter<'a>),
    Reads((Draws, Box<dyn Reader + 'a>)),
}

/// Warms; then, for a fixed time, the readers look up uniformly random keys and one
/// writer overwrites uniformly random keys, all as fast as they can. The operations are the
/// lookups; the writer's rate stands beside.
pub fn read_while_writing(run: &Run<'_>) -> Result<Outcome> {
    run.warm_loaded()?;
    let readers = run.settings.threads.max(1);
    let reads = |first: u64| {
        move |client: u32| -> Result<(Draws, Box<dyn Reader + '_>)> {
            let draws = Draws::new(run, Distribution::Uniform, first + u64::from(client));
            Ok((draws, run.engine.reader()?))
        }
    };
    run.time_alike(readers, reads(500), |client, (mut draws, mut reader), _| {
        let count = share(run.settings.keys / 2, client, readers);
        (0..count).try_for_each(|_| draws.look_up(&mut *reader))?;
        Ok(count)
    })?;

    let own_before = run.engine.written_bytes();
    let over = AtomicBool::new(false);
    // Client 0, on this thread, writes.
    let build = |client: u32| {
        Ok(if client == 0 {
            Side::Writes(Overwriter::new(run, 0))
        } else {
            Side::Reads(reads(0)(client)?)
        })
    };
    let (used, done) = run.time(1 + readers, build, |_, mut side, latencies| {
        let deadline = Instant::now() + Duration::from_secs_f64(run.settings.seconds);
        let mut operations = 0;
        // One at least: a client that first gets a processor when the time is over has a rate too.
        loop {
            match &mut side {
                Side::Writes(writer) => writer.write_one()?,
                Side::Reads((draws, reader)) => draws.look_up(&mut **reader)?,
            }
            operations += 1;
            if latencies.lap() >= deadline {
                over.store(true, Ordering::Relaxed);
            }
            if over.load(Ordering::Relaxed) {
                return Ok(operations);
            }
        }
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
