//! The workloads, and what they share: loading, warming, timing, settling.
//!
//! Every read workload goes through the same phases. A process of its own loads the store: all keys
//! in random order, batches of 1000, then settled (memtables written out, background work idle) and
//! closed. The workload gets a copy of that (`templates.rs`), opens it, settles what opening may
//! have begun, warms (every file read ahead, memory touched, then untimed operations of the same
//! kind), and only then comes the timed phase. A write workload touches memory, is timed, and is
//! then settled, so that the bytes and the processor time of work put off are on its account.
//! Clients make their values and open their readers before the clock starts, and as many of them
//! warm up as are timed.
//!
//! Each workload checks every answer: a rate over wrong answers is worth nothing.

mod deletes;
mod fill;
mod ingest;
mod list;
mod mixed;
mod read;
mod recovery;
mod scan;
mod seek;
#[cfg(test)]
mod tests;
mod ycsb;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Barrier, Mutex, PoisonError};

use crate::Result;
use crate::engines::{Batch, Engine};
use crate::keys::{Permutation, Values, key_of};
use crate::measure::{self, Latencies, Others, Usage, Used};
use crate::settings::Settings;

pub use list::{ALL, Workload, find, select};
pub use recovery::refused;

/// What a workload is given.
pub struct Run<'a> {
    /// What the engine is called.
    pub name: &'a str,
    /// The engine, open: with every key, where the workload begins loaded, or empty.
    pub engine: &'a dyn Engine,
    /// Where its files are.
    pub dir: &'a Path,
    /// What was asked for.
    pub settings: &'a Settings,
}

/// What a timed phase measured.
#[derive(Debug)]
pub struct Timed {
    /// Operations done.
    pub operations: u64,
    /// Time and processor time.
    pub used: Used,
    /// Latencies of the calls.
    pub latencies: Latencies,
}

/// What a workload measured.
#[derive(Debug)]
pub struct Outcome {
    /// The timed phase.
    pub timed: Timed,
    /// What settling cost after it; nothing for a workload that only reads.
    pub settled: Used,
    /// Bytes of keys and values that the timed phase wrote.
    pub user_bytes: u64,
    /// Bytes written by the engine's own account, timed phase and settling.
    pub own_written: Option<u64>,
    /// Bytes of the entries that are live at the end.
    pub live_bytes: u64,
    /// The most memory that the process had from the timed phase until it had settled.
    pub peak_memory_bytes: u64,
    /// Figures of this workload only.
    pub extra: BTreeMap<String, f64>,
}

/// The memory touched for a run's working set besides its data.
const TOUCH_BASE_BYTES: u64 = 512 << 20;

/// Entries of a batch of the load.
const LOAD_BATCH: usize = 1000;

impl Run<'_> {
    /// The order in which random workloads visit the keys.
    fn order(&self) -> Permutation {
        Permutation::new(self.settings.keys, self.settings.seed)
    }

    /// Bytes of the entries that are live when every key is there.
    fn live_bytes(&self) -> u64 {
        self.settings.live_bytes()
    }

    /// Lets what opening a loaded store has begun come to its end, and warms.
    fn warm_loaded(&self) -> Result<()> {
        self.engine.settle()?;
        self.warm()
    }

    /// Touches memory and reads the files ahead.
    fn warm(&self) -> Result<()> {
        let wanted = TOUCH_BASE_BYTES + 4 * self.live_bytes();
        let bytes = match self.settings.touch_mib {
            Some(mib) => mib << 20,
            None => wanted.min(measure::available_memory_bytes()? / 2),
        };
        measure::touch_memory(bytes);
        measure::read_ahead(self.dir)
    }

    /// Times `clients` threads: each makes what it needs with `build(index)`, waits until all
    /// have, and is then timed in `work(index, built, latencies)`. Returns what they return. Client
    /// 0 runs on the calling thread.
    fn time<C, T: Send>(
        &self,
        clients: u32,
        build: impl Fn(u32) -> Result<C> + Sync,
        work: impl Fn(u32, C, &mut Latencies) -> Result<T> + Sync,
    ) -> Result<(Used, Vec<(T, Latencies)>)> {
        let (built, begun) = (Barrier::new(clients as usize), Barrier::new(clients as usize));
        let began: Mutex<Option<Result<Usage>>> = Mutex::new(None);
        let client = |index: u32| -> Result<(T, Latencies)> {
            let client = build(index);
            let latencies = Latencies::start();
            built.wait();
            if index == 0 {
                let now = measure::reset_peak_memory().and_then(|()| Usage::now());
                *began.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            }
            begun.wait();
            // Errors only behind the barriers: the others would wait for ever.
            let (client, mut latencies) = (client?, latencies?);
            latencies.restart();
            let done = work(index, client, &mut latencies)?;
            Ok((done, latencies))
        };
        let client = &client;
        let done: Result<Vec<_>> = std::thread::scope(|scope| {
            let others: Vec<_> =
                (1..clients).map(|index| scope.spawn(move || client(index))).collect();
            let mut done = vec![client(0)?];
            for other in others {
                done.push(other.join().map_err(|_| "a client thread panicked")??);
            }
            Ok(done)
        });
        let after = Usage::now()?;
        let before = began.into_inner().unwrap_or_else(PoisonError::into_inner);
        let before = before.ok_or("client 0 did not begin")??;
        Ok((before.until(&after), done?))
    }

    /// [`Run::time`] where all clients do the same work, and return their operations.
    fn time_alike<C>(
        &self,
        clients: u32,
        build: impl Fn(u32) -> Result<C> + Sync,
        work: impl Fn(u32, C, &mut Latencies) -> Result<u64> + Sync,
    ) -> Result<Timed> {
        let (used, done) = self.time(clients.max(1), build, work)?;
        together(used, done)
    }

    /// What `work` returns, and what went on behind it: processor time of the other threads, and
    /// bytes written.
    fn beside<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<(T, Used)> {
        let before = Others::now()?;
        let done = work(self)?;
        Ok((done, before.until(&Others::now()?)))
    }

    /// Settles, and says what that cost.
    fn settle(&self) -> Result<Used> {
        let before = Usage::now()?;
        self.engine.settle()?;
        let mut used = before.until(&Usage::now()?);
        used.seconds = (used.seconds - self.engine.settle_watch().as_secs_f64()).max(0.0);
        Ok(used)
    }
}

impl Outcome {
    /// The outcome of a workload that only read.
    fn of_reads(run: &Run<'_>, timed: Timed) -> Result<Outcome> {
        Ok(Outcome {
            timed,
            settled: Used::default(),
            user_bytes: 0,
            own_written: None,
            live_bytes: run.live_bytes(),
            peak_memory_bytes: measure::peak_memory_bytes()?,
            extra: BTreeMap::new(),
        })
    }

    /// Settles after a timed phase that wrote `user_bytes`, and puts both together.
    /// `own_before` is the engine's account from before the timed phase.
    fn of_writes(
        run: &Run<'_>,
        timed: Timed,
        user_bytes: u64,
        own_before: Option<u64>,
    ) -> Result<Outcome> {
        let settled = run.settle()?;
        let own_after = run.engine.written_bytes();
        Ok(Outcome {
            timed,
            settled,
            user_bytes,
            own_written: own_after.zip(own_before).map(|(after, before)| after - before),
            live_bytes: run.live_bytes(),
            peak_memory_bytes: measure::peak_memory_bytes()?,
            extra: BTreeMap::new(),
        })
    }

    /// Adds a figure of this workload only.
    fn with(mut self, name: &str, figure: f64) -> Outcome {
        self.extra.insert(name.to_owned(), figure);
        self
    }
}

/// Writes every key in random order, and settles.
pub fn load_all(engine: &dyn Engine, settings: &Settings) -> Result<()> {
    load(engine, settings, settings.keys, LOAD_BATCH)?;
    engine.settle()
}

/// Writes the first `count` keys of the random order, in batches of `batch_length`, and returns the
/// number of the last key.
pub fn load(
    engine: &dyn Engine,
    settings: &Settings,
    count: u64,
    batch_length: usize,
) -> Result<u64> {
    let order = Permutation::new(settings.keys, settings.seed);
    let mut values = Values::new(settings.value_bytes, settings.seed);
    let mut batch = Batch::new(values.bytes());
    let mut number = 0;
    for position in 0..count {
        number = order.at(position);
        batch.put(key_of(number), |out| values.append(number, out));
        if batch.len() == batch_length || position + 1 == count {
            engine.write(&batch)?;
            batch.clear();
        }
    }
    Ok(number)
}

/// The operations and latencies of all clients together.
fn together(used: Used, done: Vec<(u64, Latencies)>) -> Result<Timed> {
    let mut done = done.into_iter();
    let (mut operations, mut latencies) = done.next().ok_or("no client ran")?;
    for (more, others) in done {
        operations += more;
        latencies.merge(&others)?;
    }
    Ok(Timed { operations, used, latencies })
}

/// The operations of client `index` out of `clients` that share `total`.
fn share(total: u64, index: u32, clients: u32) -> u64 {
    let (index, clients) = (u64::from(index), u64::from(clients.max(1)));
    total / clients + u64::from(index < total % clients)
}
