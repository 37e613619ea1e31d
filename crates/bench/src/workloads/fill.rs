//! Filling an empty store, and overwriting a full one.

use super::{Outcome, Run, share};
use crate::Result;
use crate::engines::Batch;
use crate::keys::{Rng, Values, key_of};

/// The order in which keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By number: the order of the keys.
    Ascending,
    /// Each key once, scattered.
    Random,
}

/// Writes every key once, `batch_length` to a batch. Several threads write every n-th key each.
pub fn fill(run: &Run<'_>, order: Order, batch_length: usize) -> Result<Outcome> {
    run.warm()?;
    let own_before = run.engine.written_bytes();
    let permutation = run.order();
    let clients = run.settings.threads;
    let build = |client: u32| {
        let values = Values::new(run.settings.value_bytes, run.settings.seed + u64::from(client));
        Ok((Batch::new(values.bytes()), values))
    };
    let timed = run.time_alike(clients, build, |client, (mut batch, mut values), latencies| {
        let positions = share(run.settings.keys, client, clients);
        for step in 0..positions {
            let position = step * u64::from(clients.max(1)) + u64::from(client);
            let number = match order {
                Order::Ascending => position,
                Order::Random => permutation.at(position),
            };
            batch.put(key_of(number), |out| values.append(number, out));
            if batch.len() == batch_length || step + 1 == positions {
                run.engine.write(&batch)?;
                latencies.lap();
                batch.clear();
            }
        }
        Ok(positions)
    })?;
    let outcome = Outcome::of_writes(run, timed, run.live_bytes(), own_before)?;
    super::scan::check_count(run, run.settings.keys)?;
    Ok(outcome)
}

/// Writes to as many uniformly random keys as there are, each drawn anew, one at a time.
pub fn overwrite(run: &Run<'_>) -> Result<Outcome> {
    run.warm_loaded()?;
    let own_before = run.engine.written_bytes();
    let clients = run.settings.threads;
    let build = |client: u32| Ok(Overwriter::new(run, u64::from(client)));
    let timed = run.time_alike(clients, build, |client, mut writer, latencies| {
        let writes = share(run.settings.keys, client, clients);
        for _ in 0..writes {
            writer.write_one()?;
            latencies.lap();
        }
        Ok(writes)
    })?;
    let outcome = Outcome::of_writes(run, timed, run.live_bytes(), own_before)?;
    super::scan::check_count(run, run.settings.keys)?;
    Ok(outcome)
}

/// Writes to uniformly random keys, one at a time.
pub struct Overwriter<'a> {
    run: &'a Run<'a>,
    rng: Rng,
    values: Values,
    batch: Batch,
}

impl<'a> Overwriter<'a> {
    /// A writer of its own random sequence.
    pub fn new(run: &'a Run<'a>, client: u64) -> Overwriter<'a> {
        let values = Values::new(run.settings.value_bytes, run.settings.seed + 77 + client);
        let batch = Batch::new(values.bytes());
        Overwriter { run, rng: Rng::new(run.settings.seed + 1000 + client), values, batch }
    }

    /// Writes one.
    pub fn write_one(&mut self) -> Result<()> {
        let number = self.rng.below(self.run.settings.keys);
        self.batch.clear();
        self.batch.put(key_of(number), |out| self.values.append(number, out));
        self.run.engine.write(&self.batch)
    }
}
