//! The core workloads of YCSB (Cooper et al., 2010), A to F.
//!
//! Keys are drawn by Zipf's law with exponent 0.99: the frequent ones scattered over the key space,
//! except in D, where the frequent ones are the latest. An insert takes the next number behind the
//! last, so keys are inserted in order, as YCSB does with `insertorder=ordered`. With several
//! threads, each inserts every n-th number, and knows its own inserts as the latest. An operation
//! is one of the mix: a read with an update behind it is one.

use super::{Outcome, Run, share};
use crate::Result;
use crate::engines::{Batch, Reader};
use crate::keys::{Popular, Rng, Values, key_of};

/// What a workload consists of, in percent of its operations; the rest are lookups.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mix {
    updates: u64,
    inserts: u64,
    scans: u64,
    read_modify_writes: u64,
    latest: bool,
}

const LOOKUPS: Mix = Mix { updates: 0, inserts: 0, scans: 0, read_modify_writes: 0, latest: false };
/// Half of it updates.
pub const A: Mix = Mix { updates: 50, ..LOOKUPS };
/// Few updates.
pub const B: Mix = Mix { updates: 5, ..LOOKUPS };
/// Lookups only.
pub const C: Mix = LOOKUPS;
/// Lookups of what was inserted last.
pub const D: Mix = Mix { inserts: 5, latest: true, ..LOOKUPS };
/// Short scans.
pub const E: Mix = Mix { inserts: 5, scans: 95, ..LOOKUPS };
/// Lookups, and updates that read first.
pub const F: Mix = Mix { read_modify_writes: 50, ..LOOKUPS };

/// The longest scan.
const SCAN_ENTRIES_MAX: u64 = 100;

/// One client.
struct Client<'a> {
    run: &'a Run<'a>,
    mix: Mix,
    reader: Box<dyn Reader + 'a>,
    rng: Rng,
    popular: Popular,
    values: Values,
    batch: Batch,
    // The number of the next insert, and from one to the next.
    next_insert: u64,
    step: u64,
    inserted: u64,
    written: u64,
}

impl<'a> Client<'a> {
    fn new(run: &'a Run<'a>, mix: Mix, index: u32, seed: u64) -> Result<Client<'a>> {
        let keys = run.settings.keys;
        let values = Values::new(run.settings.value_bytes, run.settings.seed + 77 + seed);
        Ok(Client {
            run,
            mix,
            reader: run.engine.reader()?,
            rng: Rng::new(run.settings.seed + 30_000 + seed),
            popular: Popular::new(keys, run.settings.seed + 1),
            batch: Batch::new(values.bytes()),
            values,
            next_insert: keys + u64::from(index),
            step: u64::from(run.settings.threads.max(1)),
            inserted: 0,
            written: 0,
        })
    }

    fn draw(&mut self) -> u64 {
        let rank = self.popular.rank(&mut self.rng);
        if !self.mix.latest {
            return self.popular.at(rank);
        }
        if rank < self.inserted {
            return self.next_insert - self.step * (rank + 1);
        }
        self.run.settings.keys - 1 - (rank - self.inserted)
    }

    fn step(&mut self) -> Result<()> {
        let Mix { updates, inserts, scans, read_modify_writes, .. } = self.mix;
        let die = self.rng.below(100);
        if die < inserts {
            let number = self.next_insert;
            self.write(number)?;
            self.next_insert += self.step;
            self.inserted += 1;
            return Ok(());
        }
        let number = self.draw();
        if die < inserts + scans {
            return self.scan(number);
        }
        if die < inserts + scans + updates {
            return self.write(number);
        }
        let got = self.reader.get(&key_of(number))?;
        if got != Some(number) {
            return Err(format!("key {number}: got {got:?}").into());
        }
        if die < inserts + scans + updates + read_modify_writes {
            self.write(number)?;
        }
        Ok(())
    }

    fn scan(&mut self, number: u64) -> Result<()> {
        let entries = 1 + self.rng.below(SCAN_ENTRIES_MAX);
        let walked = self.reader.walk(&key_of(number), entries)?;
        let least = entries.min(self.run.settings.keys - number);
        if walked.first_stamp != Some(number) || walked.entries < least {
            return Err(format!("a scan of {entries} from key {number} saw {walked:?}").into());
        }
        Ok(())
    }

    fn write(&mut self, number: u64) -> Result<()> {
        self.batch.clear();
        let values = &mut self.values;
        self.batch.put(key_of(number), |out| values.append(number, out));
        self.written += 1;
        self.run.engine.write(&self.batch)?;
        // A client reads what it has written.
        self.reader.refresh();
        Ok(())
    }
}

/// Warms with half as many lookups or scans by the same law, and runs the mix.
pub fn ycsb(run: &Run<'_>, mix: &Mix) -> Result<Outcome> {
    run.warm_loaded()?;
    let scans = mix.scans > 0;
    let keys = run.settings.keys;
    // Near five seconds for engines of this kind.
    let operations = run.settings.reads.unwrap_or(if scans { keys / 5 } else { keys });
    let only_reads = Mix { scans: if scans { 100 } else { 0 }, latest: mix.latest, ..LOOKUPS };
    let clients = run.settings.threads.max(1);
    let warm_up = |index: u32| Client::new(run, only_reads, index, 500 + u64::from(index));
    run.time_alike(clients, warm_up, |index, mut client, _| {
        let mine = share(operations / 2, index, clients);
        (0..mine).try_for_each(|_| client.step())?;
        Ok(mine)
    })?;

    let own_before = run.engine.written_bytes();
    let build = |index: u32| Client::new(run, *mix, index, u64::from(index));
    let (used, done) = run.time(clients, build, |index, mut client, latencies| {
        let mine = share(operations, index, clients);
        for _ in 0..mine {
            client.step()?;
            latencies.lap();
        }
        Ok((mine, client.inserted, client.written))
    })?;
    let inserted: u64 = done.iter().map(|((_, inserted, _), _)| inserted).sum();
    let written: u64 = done.iter().map(|((_, _, written), _)| written).sum();
    let done = done.into_iter().map(|((mine, _, _), latencies)| (mine, latencies)).collect();
    let timed = super::together(used, done)?;
    if written == 0 {
        return Outcome::of_reads(run, timed);
    }
    let user_bytes = written * run.settings.entry_bytes();
    let mut outcome = Outcome::of_writes(run, timed, user_bytes, own_before)?;
    outcome.live_bytes += inserted * run.settings.entry_bytes();
    super::scan::check_count(run, keys + inserted)?;
    Ok(outcome)
}
