//! The strain's shape, and the whole loop in simulation: writers, memtables, level 0, compaction.

use super::*;

const CALM: Load = Load {
    runs: 0.0,
    runs_merged: 0.0,
    runs_compact: 4,
    runs_slowdown: 20,
    runs_stop: 36,
    debt_bytes: 0,
    debt_bytes_slowdown: 4 << 30,
    memtables: 0.5,
    memtables_max: 3,
};

#[test]
fn strain_is_none_in_calm_one_in_the_middle_and_great_at_the_fence() {
    assert_eq!(strain(&CALM).value, 0.0);
    for (load, cause) in [
        (Load { runs: 12.0, ..CALM }, Cause::Level0),
        (Load { debt_bytes: 4 << 30, ..CALM }, Cause::Debt),
        (Load { memtables: 2.5, ..CALM }, Cause::Memtables),
    ] {
        let found = strain(&load);
        assert!((found.value - 1.0).abs() < 1e-9, "{found:?}");
        assert_eq!(found.cause, cause);
    }
    assert_eq!(strain(&Load { runs: 36.0, ..CALM }).value, STRAIN_MAX);
    assert_eq!(strain(&Load { memtables: 9.0, ..CALM }).value, STRAIN_MAX);
    assert_eq!(strain(&Load { debt_bytes: u64::MAX, ..CALM }).value, DEBT_STRAIN_MAX);
}

#[test]
fn strain_rises_without_a_jump() {
    let of_runs = |tenths: u32| strain(&Load { runs: f64::from(tenths) / 10.0, ..CALM }).value;
    let of_memtables =
        |tenths: u32| strain(&Load { memtables: f64::from(tenths) / 100.0, ..CALM }).value;
    for step in 0..400 {
        for (low, high) in
            [(of_runs(step), of_runs(step + 1)), (of_memtables(step), of_memtables(step + 1))]
        {
            assert!(low <= high, "falls at {step}");
            // The rate is 1 / strain: a step of a hundredth of the way changes it by a few percent,
            // but close to the ends, where it is unlimited or next to nothing.
            let jump = high - low > 0.1 * low.max(0.1);
            assert!(!jump || !(0.1..10.0).contains(&low), "{low} to {high} at {step}");
        }
    }
}

#[test]
fn odd_triggers_make_no_nonsense() {
    for (compact, slowdown, stop) in [(1, 1, 2), (4, 4, 5), (3, 9, 9), (2, 2, 3)] {
        let triggers =
            Load { runs_compact: compact, runs_slowdown: slowdown, runs_stop: stop, ..CALM };
        let mut last = 0.0;
        for runs in 0..20 {
            let found = strain(&Load { runs: f64::from(runs), ..triggers }).value;
            assert!(found >= last && found <= STRAIN_MAX, "{found} at {runs}");
            last = found;
        }
        assert_eq!(last, STRAIN_MAX);
    }
}

#[test]
fn no_wait_is_long_and_short_ones_are_saved_up() {
    let mut pacer = Pacer::default();
    let mut now = Duration::from_secs(1);
    let mut waits = Vec::new();
    for _ in 0..10_000 {
        let wait = pacer.admit(now, 1_000, 1.0);
        assert!(wait.is_zero() || wait >= WAIT_MIN);
        now += wait + Duration::from_micros(1);
        waits.push(wait);
    }
    // 10 MB at 32 MiB a second.
    let total: Duration = waits.iter().sum();
    assert!((0.25..0.33).contains(&total.as_secs_f64()), "{total:?}");
    assert!(waits.iter().filter(|wait| !wait.is_zero()).count() < 1_000);
    let mut pacer = Pacer::default();
    assert!(pacer.admit(now, 1 << 30, STRAIN_MAX) <= WAIT_MAX);
    assert_eq!(pacer.admit(now, 1 << 30, 0.0), Duration::ZERO);
}

#[test]
fn writers_that_pause_of_themselves_lower_no_rate() {
    let mut pacer = Pacer::default();
    let mut now = Duration::from_secs(1);
    for _ in 0..1_000 {
        assert_eq!(pacer.admit(now, 1_000, 0.9), Duration::ZERO);
        now += Duration::from_millis(20);
    }
    assert_eq!(pacer.sustained(), RATE_FIRST);
}

/// A store in figures alone: one writer, one flush at a time, one compaction at a time.
struct Store {
    now: Duration,
    pacer: Pacer,
    active: f64,
    immutables: Vec<f64>,
    /// Bytes of the oldest immutable memtable that are written.
    flushed: f64,
    runs: Vec<f64>,
    /// Runs, input bytes and bytes done of the compaction that runs.
    compaction: Option<(usize, f64, f64)>,
    /// Bytes that deeper levels have yet to rewrite.
    deep: f64,
    /// Bytes a second that compaction reads, and that flushes write.
    compaction_rate: f64,
    flush_rate: f64,
    longest: Duration,
    fences: u32,
}

const MEMTABLE: f64 = (64 << 20) as f64;
const LEVEL1: f64 = (256 << 20) as f64;
/// Bytes that deeper levels rewrite for each that leaves level 0.
const DEEPER: f64 = 6.0;

impl Store {
    fn new(compaction_rate: f64) -> Store {
        Store {
            now: Duration::from_secs(1),
            pacer: Pacer::default(),
            active: 0.0,
            immutables: Vec::new(),
            flushed: 0.0,
            runs: Vec::new(),
            compaction: None,
            deep: 0.0,
            compaction_rate,
            flush_rate: 250e6,
            longest: Duration::ZERO,
            fences: 0,
        }
    }

    fn load(&self) -> Load {
        let waiting = self.immutables.len() as f64;
        let merged = self
            .compaction
            .map_or((0.0, 0.0), |(runs, input, done)| (runs as f64 * done / input, done));
        let level0: f64 = self.runs.iter().sum();
        let due = if self.runs.len() >= 4 { level0 + LEVEL1 } else { 0.0 };
        Load {
            runs: self.runs.len() as f64 + waiting + self.active / MEMTABLE,
            runs_merged: merged.0,
            debt_bytes: (due + self.deep - merged.1).max(0.0) as u64,
            memtables: waiting + self.active / MEMTABLE - self.flushed / MEMTABLE,
            ..CALM
        }
    }

    /// Background work goes on for `time`.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let elapsed = time.as_secs_f64();
        if let Some(first) = self.immutables.first().copied() {
            self.flushed += elapsed * self.flush_rate;
            if self.flushed >= first {
                self.flushed = 0.0;
                self.immutables.remove(0);
                self.runs.push(first);
            }
        }
        if self.compaction.is_none() {
            if self.runs.len() >= 4 {
                let level0: f64 = self.runs.iter().sum();
                self.compaction = Some((self.runs.len(), level0 + LEVEL1, 0.0));
            } else {
                self.deep = (self.deep - elapsed * self.compaction_rate).max(0.0);
            }
        }
        if let Some((runs, input, done)) = &mut self.compaction {
            *done += elapsed * self.compaction_rate;
            if *done >= *input {
                let merged: f64 = self.runs.drain(..*runs).sum();
                self.deep += merged * DEEPER;
                self.compaction = None;
            }
        }
    }

    /// Writes a batch as fast as it may be; the writer's own work is 200 MB a second.
    fn write(&mut self, bytes: f64) {
        let begun = self.now;
        while (self.active >= MEMTABLE && self.immutables.len() >= 3) || self.runs.len() >= 36 {
            self.fences += 1;
            self.pass(Duration::from_millis(1));
        }
        let wait = self.pacer.admit(self.now, bytes as u64, strain(&self.load()).value);
        if !wait.is_zero() {
            // Sleeps take a little longer than asked for.
            let slept = wait + Duration::from_micros(80);
            self.pacer.waited(slept);
            self.pass(slept);
        }
        self.longest = self.longest.max(self.now - begun);
        self.pass(seconds(bytes / 200e6));
        if self.active >= MEMTABLE {
            self.immutables.push(self.active);
            self.active = 0.0;
        }
        self.active += bytes;
    }

    /// Bytes written in each of `count` seconds.
    fn run(&mut self, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| {
                let end = self.now + Duration::from_secs(1);
                let mut written = 0.0;
                let mut batch = 12_000.0;
                while self.now < end {
                    self.write(batch);
                    written += batch;
                    batch = if batch > 110_000.0 { 12_000.0 } else { batch + 7_000.0 };
                }
                written
            })
            .collect()
    }
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len() as f64
}

/// Half an hour at full speed, for compaction that is slow, usual and fast.
#[test]
fn the_loop_finds_the_sustainable_rate_and_does_not_swing() {
    for compaction_rate in [40e6, 120e6, 400e6] {
        let mut store = Store::new(compaction_rate);
        let seconds = store.run(1_800);
        assert_eq!(store.fences, 0, "at {compaction_rate}");
        assert!(store.longest <= Duration::from_millis(41), "{:?}", store.longest);
        // Each byte is rewritten in level 1, with its share of what is there, and below.
        let settled = &seconds[600..];
        let rate = mean(settled);
        let runs = 12.0;
        let sustainable = compaction_rate / (1.0 + LEVEL1 / (runs * MEMTABLE) + DEEPER);
        let (low, high) = (0.85 * sustainable, 1.15 * sustainable);
        assert!((low..high).contains(&rate), "{rate:e} of {sustainable:e} at {compaction_rate}");
        println!(
            "{rate:e} {sustainable:e} {:?}",
            seconds.chunks(60).map(|c| (mean(c) / 1e5) as u32).collect::<Vec<_>>()
        );
        let minutes: Vec<f64> = settled.chunks(60).map(mean).collect();
        let least = minutes.iter().copied().fold(f64::MAX, f64::min);
        let most = minutes.iter().copied().fold(0.0, f64::max);
        assert!(least > 0.75 * rate && most < 1.25 * rate, "{minutes:?} around {rate:e}");
    }
}

#[test]
fn a_short_burst_is_not_held_back() {
    let mut store = Store::new(120e6);
    let begun = store.now;
    let mut written = 0.0;
    while written < 256e6 {
        store.write(50_000.0);
        written += 50_000.0;
    }
    let rate = written / (store.now - begun).as_secs_f64();
    assert!(rate > 140e6, "{rate:e}");
}

#[test]
fn slower_and_faster_background_work_is_followed() {
    let mut store = Store::new(200e6);
    store.run(300);
    let before = mean(&store.run(60));
    store.compaction_rate = 60e6;
    let seconds = store.run(300);
    let after = mean(&seconds[180..]);
    assert!((0.2..0.45).contains(&(after / before)), "{before:e} to {after:e}");
    assert_eq!(store.fences, 0);
    store.compaction_rate = 200e6;
    store.run(240);
    let again = mean(&store.run(60));
    assert!((0.8..1.2).contains(&(again / before)), "{before:e}, then {again:e}");
}
