//! Overwriting at full speed: the longest pause, and whether the rate lasts.
//!
//! Every key is loaded once, in random order, at full speed; what that leaves to be compacted is
//! left as it is. Then random keys are overwritten, in batches of 100 to 1000, one writer, and each
//! batch is timed from the call to its return; the making of a batch is not.

use std::time::Instant;

use crate::Result;
use crate::engines::{self, Batch, Engine};
use crate::keys::{Rng, Values, key_of};
use crate::long::series::{Gather, Series};
use crate::long::{Common, plot};
use crate::measure::Usage;
use crate::workloads::load;

const BATCH_MIN: u64 = 100;
/// The longest batch, and the length of those of the load.
pub const BATCH_MAX: u64 = 1_000;

/// Runs it and reports.
pub fn run(common: &Common) -> Result<()> {
    let settings = common.settings(None);
    let dir = common.store_dir()?;
    let engine = engines::open(&common.engine, dir.path(), &settings)?;
    let began = Instant::now();
    load(&*engine, &settings, settings.keys, BATCH_MAX as usize)?;
    let load_rate = common.keys as f64 / began.elapsed().as_secs_f64();
    println!("{}: loaded {} keys, {load_rate:.0} a second", common.engine, common.keys);

    let before = Usage::now()?;
    let gather = overwrite(&*engine, common)?;
    let used = before.until(&Usage::now()?);
    let all = gather.all;
    let series = Series { name: common.engine.clone(), seconds: gather.seconds };
    series.write(&common.out)?;
    plot::sustained(std::slice::from_ref(&series), &common.out.with_extension("svg"))?;

    let end = series.seconds.last().map_or(0.0, |last| last.at);
    let minute = (end / 2.0).min(60.0);
    let (first, last) = (series.rate(0.0, minute), series.rate(end - minute, end));
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    println!("operations a second: {:.0} over {end:.0} s", series.rate(0.0, end));
    println!(
        "first {minute:.0} s {first:.0}, last {minute:.0} s {last:.0}: {:.0} %",
        100.0 * last / first.max(1.0)
    );
    println!(
        "batches {}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
        all.len(),
        ms(all.value_at_quantile(0.5)),
        ms(all.value_at_quantile(0.99)),
        ms(all.value_at_quantile(0.999)),
        ms(all.max())
    );
    println!(
        "processor time {:.1} s, {} MiB written by the process",
        used.cpu_seconds,
        used.written >> 20
    );
    println!("{}", engine.statistics());
    engine.close()
}

fn overwrite(engine: &dyn Engine, common: &Common) -> Result<Gather> {
    let mut rng = Rng::new(common.seed + 1);
    let mut values = Values::new(common.value_bytes, common.seed + 2);
    let mut batch = Batch::new(values.bytes());
    let mut gather = Gather::new()?;
    let began = Instant::now();
    loop {
        let length = BATCH_MIN + rng.below(BATCH_MAX - BATCH_MIN + 1);
        batch.clear();
        for _ in 0..length {
            let number = rng.below(common.keys);
            batch.put(key_of(number), |out| values.append(number, out));
        }
        let called = Instant::now();
        engine.write(&batch)?;
        let ended = Instant::now();
        let at = ended.duration_since(began).as_secs_f64();
        gather.batch(at, length, ended.duration_since(called).as_nanos() as u64);
        if at >= common.seconds {
            return Ok(gather);
        }
    }
}
