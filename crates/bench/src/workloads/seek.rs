//! Short scans from random places.

use super::{Outcome, Run, share};
use crate::Result;
use crate::keys::{Rng, key_of};
use crate::measure::Latencies;

/// Loads, warms, and reads `entries` entries from random keys, each time through a new iterator.
pub fn seek(run: &Run<'_>, entries: u64) -> Result<Outcome> {
    run.load()?;
    run.warm()?;
    let keys = run.settings.keys;
    // Near five seconds for engines of this kind.
    let seeks = run.settings.reads.unwrap_or(keys / (entries / 5).max(1));
    let clients = run.settings.threads;
    let pass = |client: u32, count: u64, seed: u64, latencies: &mut Latencies| {
        let mut reader = run.engine.reader()?;
        let mut rng = Rng::new(run.settings.seed + 20_000 + seed + u64::from(client));
        for _ in 0..count {
            let number = rng.below(keys);
            let walked = reader.walk(&key_of(number), entries)?;
            latencies.lap();
            if walked.first_stamp != Some(number) || walked.entries != entries.min(keys - number) {
                return Err(format!("a walk from key {number} of {keys} saw {walked:?}").into());
            }
        }
        Ok(count)
    };
    pass(0, seeks / 2, 500, &mut Latencies::start()?)?;
    let timed = run.time_alike(clients, |client, latencies| {
        pass(client, share(seeks, client, clients), 0, latencies)
    })?;
    Outcome::of_reads(run, timed)
}
