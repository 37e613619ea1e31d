//! `alluvium-bench space`: does the space of what was deleted or has expired come back by itself?
//!
//! Not a race between engines: nothing is called after the deletes, and the disk is watched. Four
//! cases, each in a store of its own:
//!
//! - `delete`: 90 % of the keys at random. Disk at its peak and two minutes later against the live
//!   data, scans at once and settled against a fresh store of what remains.
//! - `queue`: keys are appended at one end and deleted at the other, for as long as is asked.
//! - `expiry`: a tenth of the keys stays, the rest expires.
//! - `window`: thirty windows of a day, of which the oldest goes.
//!
//! A *fresh store* holds the same remaining keys and nothing else, compacted. Wherever scans are
//! compared there are as many on either side ([`SCANS`]): the best of more would be better by
//! chance alone. Those *at once* run beside compactions, which take the obstacles away while they
//! scan: `--held` keeps the background from beginning until they are done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alluvium::{
    ColumnFamilyOptions, Db, Durability, EventTime, Options, Strategy, TimeWindows, WriteBatch,
};
use clap::{Parser, ValueEnum};

use crate::Result;
use crate::keys::{Permutation, event_key, key_of};
use crate::measure::directory_bytes;

/// The first argument that begins this command.
pub const SUBCOMMAND: &str = "space";

const BATCH: u64 = 1_000;
const VALUE_BYTES: usize = 100;
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Scans of a store at each look: at once, settled, and of a fresh one.
const SCANS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    Delete,
    Queue,
    Expiry,
    Window,
}

#[derive(Debug, Parser)]
#[command(name = "alluvium-bench space", about = "Watches space come back by itself")]
struct Command {
    /// The cases
    #[arg(long, value_delimiter = ',', default_value = "delete,queue,expiry,window")]
    cases: Vec<Case>,

    /// Keys that are written first
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,

    /// How long the queue runs, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,

    /// How long the space may take to come back, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,

    /// Pause background work during the scans at once
    #[arg(long)]
    held: bool,

    /// Where the stores are made
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub fn main(arguments: impl Iterator<Item = String>) -> Result<()> {
    let command = Command::parse_from(std::iter::once("space".to_owned()).chain(arguments));
    let home = match &command.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    for case in &command.cases {
        let dir = home.path().join(format!("{case:?}"));
        match case {
            Case::Delete => delete(&command, &dir)?,
            Case::Queue => queue(&command, &dir)?,
            Case::Expiry => expiry(&command, &dir)?,
            Case::Window => window(&command, &dir)?,
        }
    }
    Ok(())
}

fn options() -> Options {
    Options { durability: Durability::Os, ..Options::default() }
}

/// A value half of which compresses.
fn value_of(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in value[..VALUE_BYTES / 2].chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    value.copy_within(..VALUE_BYTES / 2, VALUE_BYTES / 2);
    value
}

/// Watches the bytes in a directory until it is stopped.
struct Watch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn start(dir: &Path) -> Watch {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stopped, dir) = (Arc::clone(&peak), Arc::clone(&stop), dir.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A file may go between being listed and being looked at.
                if let Ok(bytes) = directory_bytes(&dir) {
                    seen.fetch_max(bytes, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Watch { peak, stop, thread: Some(thread) }
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The bytes in `dir`, tried again where a file goes under the look.
fn disk(dir: &Path) -> Result<u64> {
    for _ in 0..100 {
        if let Ok(bytes) = directory_bytes(dir) {
            return Ok(bytes);
        }
    }
    directory_bytes(dir)
}

fn write(db: &Db, numbers: impl Iterator<Item = u64>, put: bool) -> Result<()> {
    let mut batch = WriteBatch::new();
    for number in numbers {
        if put {
            batch.put(key_of(number), value_of(number));
        } else {
            batch.delete(key_of(number));
        }
        if batch.len() as u64 == BATCH {
            db.write(std::mem::take(&mut batch))?;
        }
    }
    Ok(db.write(batch)?)
}

/// Rows a second of scans of a whole store.
#[derive(Debug, Clone, Copy)]
struct Rates {
    /// Of the first: blocks come from the files.
    first: f64,
    /// Of the fastest: what fits the block cache is there.
    best: f64,
}

impl Rates {
    /// What share of a fresh store's speed this is: the first scan of the first, the best of the
    /// best.
    fn against(self, fresh: Rates) -> String {
        format!("{:.2} (the first {:.2})", self.best / fresh.best, self.first / fresh.first)
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} rows/s (the first {:.0})", self.best, self.first)
    }
}

/// Counts the entries, several times.
fn scan(db: &Db, expected: u64) -> Result<Rates> {
    let mut rates = Rates { first: 0.0, best: 0.0 };
    for _ in 0..SCANS {
        let begun = Instant::now();
        let mut cursor = db.cursor()?;
        cursor.seek_to_first()?;
        let mut rows = 0u64;
        while cursor.valid() {
            rows += 1;
            cursor.next()?;
        }
        if rows != expected {
            return Err(format!("{rows} rows where {expected} should be").into());
        }
        let rate = rows as f64 / begun.elapsed().as_secs_f64();
        if rates.first == 0.0 {
            rates.first = rate;
        }
        rates.best = rates.best.max(rate);
    }
    Ok(rates)
}

/// A fresh store of these keys: its bytes, and how fast scans over it are.
fn fresh(dir: &Path, count: u64, numbers: impl Iterator<Item = u64>) -> Result<(u64, Rates)> {
    let dir = dir.with_extension("fresh");
    let db = Db::open(&dir, options())?;
    write(&db, numbers, true)?;
    db.compact()?;
    db.wait_idle()?;
    let rates = scan(&db, count)?;
    let bytes = disk(&dir)?;
    drop(db);
    std::fs::remove_dir_all(&dir)?;
    Ok((bytes, rates))
}

/// Scans at once; with them, the moment from which the background was free to work.
fn scan_at_once(command: &Command, db: &Db, expected: u64) -> Result<(Rates, Instant)> {
    let mut free = Instant::now();
    let pause = command.held.then(|| db.pause_background());
    let rates = scan(db, expected)?;
    if let Some(pause) = pause {
        drop(pause);
        free = Instant::now();
    }
    Ok((rates, free))
}

/// Waits, calling nothing, until the disk holds `wanted` bytes at most; the time since `begun`.
fn wait_for(
    dir: &Path,
    wanted: u64,
    (begun, patience): (Instant, Duration),
) -> Result<Option<f64>> {
    while begun.elapsed() < patience {
        if disk(dir)? <= wanted {
            return Ok(Some(begun.elapsed().as_secs_f64()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(None)
}

fn took(time: Option<f64>) -> String {
    time.map_or("not in time".to_owned(), |seconds| format!("after {seconds:.1} s"))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn delete(command: &Command, dir: &Path) -> Result<()> {
    let keys = command.keys;
    let (deleted, left) = (keys / 10 * 9, keys - keys / 10 * 9);
    let order = Permutation::new(keys, 2);
    let remaining = || (deleted..keys).map(|position| order.at(position));
    let (live, fresh_rate) = fresh(dir, left, remaining())?;
    let db = Db::open(dir, options())?;
    let fill = Permutation::new(keys, 1);
    write(&db, (0..keys).map(|position| fill.at(position)), true)?;
    db.flush()?;
    db.wait_idle()?;
    let start = disk(dir)?;
    let watch = Watch::start(dir);
    write(&db, (0..deleted).map(|position| order.at(position)), false)?;
    let (at_once, free) = scan_at_once(command, &db, left)?;
    let wanted = live / 10 * 13;
    let time = wait_for(dir, wanted, (free, Duration::from_secs(command.patience)))?;
    // What else is due goes on; the peak is of all of it.
    std::thread::sleep(Duration::from_secs(command.patience.min(5)));
    let end = disk(dir)?;
    let settled = scan(&db, left)?;
    println!("delete 90 % of {keys} keys at random, nothing called:");
    println!("  disk at the start {:.1} MiB, live data {:.1} MiB", mib(start), mib(live));
    println!(
        "  peak {:.1} MiB = {:.2} of the start",
        mib(watch.peak()),
        ratio(watch.peak(), start)
    );
    println!("  1.3 of the live data {}, at the end {:.2}", took(time), ratio(end, live));
    println!("  scan of a fresh store {fresh_rate}");
    println!("  scan at once {at_once} = {} of it", at_once.against(fresh_rate));
    println!("  scan settled {settled} = {} of it", settled.against(fresh_rate));
    Ok(())
}

fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

/// Appends at one end and deletes at the other, the queue as long as `command.keys / 10`.
fn queue(command: &Command, dir: &Path) -> Result<()> {
    let length = command.keys / 10;
    let db = Db::open(dir, options())?;
    write(&db, 0..length, true)?;
    let watch = Watch::start(dir);
    let begun = Instant::now();
    let mut head = length;
    while begun.elapsed() < Duration::from_secs(command.seconds) {
        write(&db, head..head + BATCH, true)?;
        write(&db, head - length..head - length + BATCH, false)?;
        head += BATCH;
    }
    let (at_once, free) = scan_at_once(command, &db, length)?;
    let passed = head - length;
    let peak = watch.peak();
    drop(watch);
    let (live, fresh_rate) = fresh(dir, length, head - length..head)?;
    let time = wait_for(dir, live / 10 * 13, (free, Duration::from_secs(command.patience)))?;
    let end = disk(dir)?;
    let settled = scan(&db, length)?;
    println!("queue of {length} keys, {passed} passed through in {} s:", command.seconds);
    println!("  live data {:.1} MiB, peak {:.1} MiB", mib(live), mib(peak));
    println!("  1.3 of the live data {}, at the end {:.2}", took(time), ratio(end, live));
    println!("  scan of a fresh store {fresh_rate}");
    println!(
        "  scan at once {} of it, settled {}",
        at_once.against(fresh_rate),
        settled.against(fresh_rate)
    );
    Ok(())
}

/// Nine tenths of the keys expire at once, some seconds after they were written.
fn expiry(command: &Command, dir: &Path) -> Result<()> {
    let keys = command.keys;
    let left = keys.div_ceil(10);
    let (live, fresh_rate) = fresh(dir, left, (0..keys).step_by(10))?;
    let db = Db::open(dir, options())?;
    let ttl = Duration::from_secs(30);
    let begun = Instant::now();
    let mut batch = WriteBatch::new();
    for number in 0..keys {
        if number.is_multiple_of(10) {
            batch.put(key_of(number), value_of(number));
        } else {
            batch.put_with_ttl(key_of(number), value_of(number), ttl);
        }
        if batch.len() as u64 == BATCH {
            db.write(std::mem::take(&mut batch))?;
        }
    }
    db.write(batch)?;
    let written = begun.elapsed();
    db.flush()?;
    db.wait_idle()?;
    let start = disk(dir)?;
    let watch = Watch::start(dir);
    let pause = command.held.then(|| db.pause_background());
    std::thread::sleep((ttl + written).saturating_sub(begun.elapsed()));
    let (at_once, free) = scan_at_once(command, &db, left)?;
    drop(pause);
    let time = wait_for(dir, live / 10 * 13, (free, Duration::from_secs(command.patience)))?;
    let end = disk(dir)?;
    let settled = scan(&db, left)?;
    println!("90 % of {keys} keys expire, nothing called:");
    println!("  disk at the start {:.1} MiB, live data {:.1} MiB", mib(start), mib(live));
    println!("  peak {:.2} of the start", ratio(watch.peak(), start));
    println!("  1.3 of the live data {}, at the end {:.2}", took(time), ratio(end, live));
    println!("  scan of a fresh store {fresh_rate}");
    println!(
        "  scan at once {} of it, settled {}",
        at_once.against(fresh_rate),
        settled.against(fresh_rate)
    );
    Ok(())
}

/// Thirty windows of a day each; the oldest goes when the time to live is made a day shorter.
fn window(command: &Command, dir: &Path) -> Result<()> {
    let windows = 30u64;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let today = u64::try_from(now.as_millis())? / DAY_MS;
    let strategy = |days: u64| {
        let ttl = Some(Duration::from_millis(days * DAY_MS));
        let time = EventTime::big_endian_ms(0);
        Strategy::TimeWindows(TimeWindows {
            ttl,
            ..TimeWindows::new(Duration::from_millis(DAY_MS), time)
        })
    };
    let family = ColumnFamilyOptions { strategy: strategy(windows), ..Default::default() };
    let db = Db::open(dir, Options { column_family: family, ..options() })?;
    let each = command.keys / windows;
    for day in today + 1 - windows..=today {
        let mut batch = WriteBatch::new();
        for number in 0..each {
            let time = day * DAY_MS + number * DAY_MS / each / 2;
            batch.put(event_key(time, number), value_of(number));
            if batch.len() as u64 == BATCH {
                db.write(std::mem::take(&mut batch))?;
            }
        }
        db.write(batch)?;
    }
    db.flush()?;
    db.wait_idle()?;
    let before = (db.scan(..).count() as u64, disk(dir)?, db.stats());
    let written = |stats: &alluvium::Stats| {
        stats.counter("flush_bytes") + stats.counter("compaction_write_bytes")
    };
    let begun = Instant::now();
    // The oldest ended 28 days ago or more, whatever the hour.
    db.set_strategy(strategy(windows - 2))?;
    let dropped = before.2.counter("tables_dropped");
    while db.stats().counter("tables_dropped") == dropped {
        if begun.elapsed() > Duration::from_secs(command.patience) {
            return Err("the window did not go".into());
        }
        std::thread::yield_now();
    }
    let in_manifest = begun.elapsed();
    while disk(dir)? == before.1 && begun.elapsed() < Duration::from_secs(command.patience) {}
    let on_disk = begun.elapsed();
    let rows = db.scan(..).count() as u64;
    let after = db.stats();
    println!("{windows} windows of a day, {each} events each; the oldest goes:");
    println!("  out of the store after {:.1} ms", in_manifest.as_secs_f64() * 1e3);
    println!("  files gone after {:.1} ms", on_disk.as_secs_f64() * 1e3);
    println!("  rows {} to {rows}, {:.1} MiB freed", before.0, mib(before.1 - disk(dir)?));
    println!("  bytes rewritten: {}", written(&after) - written(&before.2));
    Ok(())
}
