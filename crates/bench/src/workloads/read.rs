//! Point lookups.

use super::{Outcome, Run, scan, share};
use crate::Result;
use crate::engines::Reader;
use crate::keys::{Popular, Rng, key_of, missing_key_of};

/// Which keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Each as likely as any other.
    Uniform,
    /// By Zipf's law; the frequent ones scattered over the key space.
    Zipf,
    /// Keys that are not there, uniformly.
    Missing,
}

/// The draws of one client. Clients and the warm-up have seeds of their own.
pub struct Draws {
    keys: u64,
    distribution: Distribution,
    rng: Rng,
    popular: Popular,
}

impl Draws {
    /// The draws that belong to `seed`.
    pub fn new(run: &Run<'_>, distribution: Distribution, seed: u64) -> Draws {
        let keys = run.settings.keys;
        Draws {
            keys,
            distribution,
            rng: Rng::new(run.settings.seed + 10_000 + seed),
            popular: Popular::new(keys, run.settings.seed + 1),
        }
    }

    /// Looks one key up and checks the answer.
    #[inline]
    pub fn look_up(&mut self, reader: &mut dyn Reader) -> Result<()> {
        let (key, expected) = match self.distribution {
            Distribution::Uniform => {
                let number = self.rng.below(self.keys);
                (key_of(number), Some(number))
            }
            Distribution::Zipf => {
                let number = self.popular.at(self.popular.rank(&mut self.rng));
                (key_of(number), Some(number))
            }
            Distribution::Missing => (missing_key_of(self.rng.below(self.keys)), None),
        };
        let got = reader.get(&key)?;
        if got != expected {
            return Err(format!("key {key:02x?}: got {got:?} instead of {expected:?}").into());
        }
        Ok(())
    }
}

/// Warms and reads.
pub fn read(run: &Run<'_>, distribution: Distribution) -> Result<Outcome> {
    run.warm_loaded()?;
    look_up(run, distribution)
}

/// Warms, walks over everything once, so that it is all in a cache that has room for it, and reads.
pub fn read_cached(run: &Run<'_>, distribution: Distribution) -> Result<Outcome> {
    run.warm_loaded()?;
    scan::check_count(run, run.settings.keys)?;
    look_up(run, distribution)
}

/// Looks keys up, half as many untimed ones before.
fn look_up(run: &Run<'_>, distribution: Distribution) -> Result<Outcome> {
    let reads = run.settings.reads.unwrap_or(run.settings.keys);
    let clients = run.settings.threads;
    let pass = |total: u64, seed: u64| {
        let build = |client: u32| {
            let draws = Draws::new(run, distribution, seed + u64::from(client));
            Ok((draws, run.engine.reader()?))
        };
        run.time_alike(clients, build, |client, (mut draws, mut reader), latencies| {
            let count = share(total, client, clients);
            for _ in 0..count {
                draws.look_up(&mut *reader)?;
                latencies.lap();
            }
            Ok(count)
        })
    };
    pass(reads / 2, 500)?;
    Outcome::of_reads(run, pass(reads, 0)?)
}
