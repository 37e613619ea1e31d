//! Short scans from random places.

use super::{Outcome, Run, scan, share};
use crate::Result;
use crate::keys::{Rng, key_of};

/// Warms, and reads `entries` entries from random keys, each time through a new iterator.
pub fn seek(run: &Run<'_>, entries: u64) -> Result<Outcome> {
    run.warm_loaded()?;
    walk_about(run, entries)
}

/// Warms, walks over everything once, so that it is all in a cache that has room for it, and seeks.
pub fn seek_cached(run: &Run<'_>, entries: u64) -> Result<Outcome> {
    run.warm_loaded()?;
    scan::check_count(run, run.settings.keys)?;
    walk_about(run, entries)
}

/// Walks from random keys, half as many times untimed before.
fn walk_about(run: &Run<'_>, entries: u64) -> Result<Outcome> {
    let keys = run.settings.keys;
    // Near five seconds for engines of this kind.
    let seeks = run.settings.reads.unwrap_or(keys / (entries / 5).max(1));
    let clients = run.settings.threads;
    let pass = |total: u64, seed: u64| {
        let build = |client: u32| {
            let rng = Rng::new(run.settings.seed + 20_000 + seed + u64::from(client));
            Ok((rng, run.engine.reader()?))
        };
        run.time_alike(clients, build, |client, (mut rng, mut reader), latencies| {
            let count = share(total, client, clients);
            for _ in 0..count {
                let number = rng.below(keys);
                let walked = reader.walk(&key_of(number), entries)?;
                latencies.lap();
                let expected = entries.min(keys - number);
                let stamps = (number..number + expected).sum::<u64>();
                let all = (Some(number), expected, stamps);
                if (walked.first_stamp, walked.entries, walked.stamps) != all {
                    return Err(format!("a walk from key {number} of {keys}: {walked:?}").into());
                }
            }
            Ok(count)
        })
    };
    pass(seeks / 2, 500)?;
    Outcome::of_reads(run, pass(seeks, 0)?)
}
