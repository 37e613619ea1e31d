//! The same load on a real store, through the public API, measured by the engine's own counters.
//!
//! The store begins empty, is written as the load says, in batches, and is then left to finish what
//! is due. A simulation of the same settings (`--from-empty`) does the same, so that the two can be
//! put side by side: how far they differ is how far the model can be trusted.

use std::sync::Arc;

use alluvium::env::Env;
use alluvium::{Db, Durability, Options, Stats, WriteBatch};

use crate::Result;
use crate::load::{Kind, Load, ORIGIN, Write};
use crate::settings::Settings;

/// Writes of a batch.
const BATCH: u64 = 100;

/// Looks at the store's levels.
const LOOKS: u64 = 200;

/// What a real store did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// Bytes of log and tables for each byte of the user's.
    pub write: f64,
    /// Bytes of tables at the end for each byte that the live entries' own would take.
    pub space: f64,
    /// The same at its worst; tables under way are not seen.
    pub space_peak: f64,
    /// The most sorted runs at any look.
    pub runs: usize,
    /// Compactions, moves not counted.
    pub compactions: u64,
    pub flushes: u64,
    /// The longest write, waiting included.
    pub stall_longest: f64,
}

/// Writes what `settings` say to a new store in `env`; they begin with an empty one.
pub fn run(settings: &Settings, env: Arc<dyn Env>, seed: u64) -> Result<Measured> {
    let options = Options {
        durability: Durability::Os,
        background_threads: settings.threads,
        column_family: settings.options.clone(),
        ..Options::default()
    };
    let mut load = settings.load();
    let user_bytes = settings.turnover * settings.live_bytes as f64;
    let writes = (user_bytes / load.mean(|bytes| bytes.user)) as u64;
    let db = Db::open_env(env, options)?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut value = vec![0; settings.entry.value_bytes as usize];
    rng.fill(&mut value);
    let mut measured = Measured::default();
    let mut written = 0;
    while written < writes {
        let mut batch = WriteBatch::new();
        for _ in 0..BATCH.min(writes - written) {
            let write = load.draw(&mut rng);
            let key = key_of(write, settings.load, settings.entry.key_bytes as usize);
            if write.is_delete { batch.delete(key) } else { batch.put(key, &value) }
        }
        db.write(batch)?;
        written += BATCH;
        if written % (writes / LOOKS).max(BATCH).next_multiple_of(BATCH) == 0 {
            measured.look(&db.stats(), &load);
        }
    }
    db.flush()?;
    db.wait_idle()?;
    let stats = db.stats();
    measured.look(&stats, &load);
    measured.write = stats.write_amplification();
    measured.space = stats.table_bytes() as f64 / load.live_table_bytes();
    measured.compactions = stats.counter("compactions");
    measured.flushes = stats.counter("flushes");
    measured.stall_longest = stats.write_latency.max_ns as f64 / 1e9;
    db.close()?;
    Ok(measured)
}

impl Measured {
    fn look(&mut self, stats: &Stats, load: &Load) {
        let bytes = stats.table_bytes() as f64;
        self.space_peak = self.space_peak.max(bytes / load.live_table_bytes().max(1.0));
        let levels = stats.families.iter().flat_map(|family| &family.levels);
        let runs = levels.map(|level| level.runs);
        self.runs = self.runs.max(runs.sum());
    }
}

/// The bytes of a key: the number, big-endian, and what is left of the length. Ordered keys come
/// with some low bits that tell late ones apart; those stand behind.
fn key_of(write: Write, kind: Kind, bytes: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(bytes);
    if kind.is_ordered() {
        key.extend_from_slice(&(ORIGIN + (write.key >> 8)).to_be_bytes());
        key.push(write.key as u8);
    } else {
        key.extend_from_slice(&write.key.to_be_bytes());
    }
    key.resize(bytes.max(key.len()), b'0');
    key
}
