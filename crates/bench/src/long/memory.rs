//! More data than memory: does the resident set keep to the limit?
//!
//! Every key is loaded, then operations are mixed: half of them lookups, a third batches of ten
//! writes, the rest scans of a hundred entries, and now and then one of a hundred thousand. The
//! resident set is read every 100 ms from the first moment on, loading included; what this program
//! itself needs is in it.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::engines::{self, Batch, Engine};
use crate::keys::{Rng, Values, key_of};
use crate::long::{Memory, plot, sustained};
use crate::workloads::load;

const SAMPLE: Duration = Duration::from_millis(100);
const SCAN_SHORT: u64 = 100;
const SCAN_LONG: u64 = 100_000;

/// Runs it and reports.
pub fn run(memory: &Memory) -> Result<()> {
    let common = &memory.common;
    let settings = common.settings(Some(memory.limit_mib));
    let dir = common.store_dir()?;
    let over = AtomicBool::new(false);
    let (samples, outcome) = std::thread::scope(|scope| -> Result<_> {
        let sampler = scope.spawn(|| sample(&over));
        let work = || -> Result<(u64, f64, f64)> {
            let engine = engines::open(&common.engine, dir.path(), &settings)?;
            let began = Instant::now();
            load(&*engine, &settings, settings.keys, sustained::BATCH_MAX as usize)?;
            let loaded = began.elapsed().as_secs_f64();
            let operations = mix(&*engine, memory)?;
            let total = began.elapsed().as_secs_f64();
            println!("{}", engine.statistics());
            engine.close()?;
            Ok((operations, loaded, total - loaded))
        };
        let outcome = work();
        over.store(true, Ordering::Release);
        let samples = sampler.join().map_err(|_| "the sampler panicked")??;
        Ok((samples, outcome?))
    })?;
    report(memory, &samples, outcome)
}

fn report(memory: &Memory, samples: &[(f64, f64)], outcome: (u64, f64, f64)) -> Result<()> {
    let common = &memory.common;
    let limit = memory.limit_mib as f64;
    let mut text = "second,resident_mib\n".to_owned();
    for (at, mib) in samples {
        writeln!(text, "{at:.1},{mib:.2}")?;
    }
    std::fs::write(&common.out, text)?;
    plot::memory(samples, limit, &common.out.with_extension("svg"))?;
    let (operations, loaded, mixed) = outcome;
    let highest = samples.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
    let over = samples.iter().filter(|(_, mib)| *mib > limit).count();
    println!(
        "{}: {} keys of {} bytes loaded in {loaded:.0} s, then {:.0} operations a second for \
         {mixed:.0} s",
        common.engine,
        common.keys,
        common.value_bytes + 16,
        operations as f64 / mixed.max(1e-9)
    );
    println!(
        "resident set at most {highest:.1} MiB, {:.1} % of the limit; over it in {over} of {} \
         samples",
        100.0 * highest / limit,
        samples.len()
    );
    Ok(())
}

fn mix(engine: &dyn Engine, memory: &Memory) -> Result<u64> {
    let common = &memory.common;
    let mut rng = Rng::new(common.seed + 3);
    let mut values = Values::new(common.value_bytes, common.seed + 4);
    let mut batch = Batch::new(values.bytes());
    let mut reader = engine.reader()?;
    let end = Instant::now() + Duration::from_secs_f64(common.seconds);
    let mut operations = 0;
    while Instant::now() < end {
        let number = rng.below(common.keys);
        match rng.below(1_000) {
            0..500 => {
                let found = reader.get(&key_of(number))?;
                found.filter(|stamp| *stamp == number).ok_or("a key is lost or wrong")?;
            }
            500..833 => {
                batch.clear();
                for _ in 0..10 {
                    let number = rng.below(common.keys);
                    batch.put(key_of(number), |out| values.append(number, out));
                }
                engine.write(&batch)?;
            }
            833..999 => {
                reader.walk(&key_of(number), SCAN_SHORT)?;
            }
            _ if rng.below(20) == 0 => {
                reader.walk(&key_of(number), SCAN_LONG)?;
            }
            _ => {}
        }
        operations += 1;
    }
    Ok(operations)
}

/// The resident set in MiB every so often, with the seconds since the first.
fn sample(over: &AtomicBool) -> Result<Vec<(f64, f64)>> {
    let began = Instant::now();
    let mut samples = Vec::new();
    while !over.load(Ordering::Acquire) {
        let text = std::fs::read_to_string("/proc/self/statm")?;
        let pages: f64 = text.split_whitespace().nth(1).ok_or("statm without a figure")?.parse()?;
        let page = rustix::param::page_size() as f64;
        samples.push((began.elapsed().as_secs_f64(), pages * page / f64::from(1 << 20)));
        std::thread::sleep(SAMPLE);
    }
    Ok(samples)
}
