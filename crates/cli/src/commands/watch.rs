//! `alluvium stats --watch`: a store that another process has open, shown anew each second.
//!
//! The other process writes its figures to the store's file `STATUS`; here they are read, and rates
//! are made of two readings. On a terminal a frame takes the whole screen, on a second screen that
//! is gone when the program ends, however it ends; anywhere else a line is printed a second.
//! [`frame`] and [`line`] are pure.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alluvium::{FamilyStats, HistogramSnapshot, Stats, Status};

use crate::failure::Failure;
use crate::output::numbers::{bytes, counted, grouped};
use crate::output::time::instant;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the program looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);
/// An open store writes at least every ten seconds; after this the process is taken for gone.
const SILENCE_MS: u64 = 15_000;
/// Column families and happenings shown.
const FAMILIES_MAX: usize = 4;
const HISTORY_MAX: usize = 8;

/// The second screen of a terminal, without a cursor and without wrapped lines. Dropping it gives
/// the first one back.
struct Screen;

impl Screen {
    fn enter(out: &mut dyn Write) -> io::Result<Screen> {
        out.write_all(b"\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(Screen)
    }

    /// Each line in its place: what is longer than the screen does not make it scroll.
    fn show(out: &mut dyn Write, frame: &str) -> io::Result<()> {
        for (row, line) in frame.lines().enumerate() {
            write!(out, "\x1b[{};1H{line}\x1b[K", row + 1)?;
        }
        out.write_all(b"\x1b[J")?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Past the buffer of `out`, which may have failed. A terminal that is gone needs nothing.
        let mut terminal = io::stdout();
        terminal.write_all(b"\x1b[?7h\x1b[?25h\x1b[?1049l").ok();
        terminal.flush().ok();
    }
}

/// Watches until Ctrl-C, until the store is closed, or for so many looks.
pub fn run(directory: &Path, frames: Option<u64>, out: &mut dyn Write) -> Result<(), Failure> {
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    ctrlc::set_handler(move || stop.store(true, Ordering::Release))
        .map_err(|error| Failure::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
    let mut now = look(directory)?;
    let terminal = io::stdout().is_terminal();
    let screen = if terminal { Some(Screen::enter(out)?) } else { None };
    let mut before: Option<Status> = None;
    let mut looks = 0;
    let ended = loop {
        let interval = before.as_ref().map(|before| now.stats.since(&before.stats));
        if screen.is_some() {
            let name = directory.display().to_string();
            Screen::show(out, &frame(&name, &now, interval.as_ref(), unix_ms()))?;
        } else {
            writeln!(out, "{}", line(&now, interval.as_ref()))?;
            out.flush()?;
        }
        looks += 1;
        if !now.is_open || frames.is_some_and(|frames| looks >= frames) {
            break Ok(());
        }
        if !sleep_unless(&stopped) {
            break Ok(());
        }
        match look(directory) {
            Ok(next) if next.written_unix_ms == now.written_unix_ms => {}
            Ok(next) => before = Some(std::mem::replace(&mut now, next)),
            Err(failure) => break Err(failure),
        }
    };
    out.flush()?;
    drop(screen);
    if terminal && !now.is_open {
        writeln!(out, "{}: the store was closed", directory.display())?;
    }
    ended
}

/// Sleeps for an interval; false when the program is to end.
fn sleep_unless(stopped: &AtomicBool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < INTERVAL {
        if stopped.load(Ordering::Acquire) {
            return false;
        }
        thread::sleep(TICK);
    }
    !stopped.load(Ordering::Acquire)
}

fn look(directory: &Path) -> Result<Status, Failure> {
    alluvium::status(directory)?.ok_or_else(|| {
        Failure::Failed(format!(
            "{} has no file STATUS: a store can be watched while a process has it open that \
             writes one (`ingest`, `demo`, Options::status_interval)",
            directory.display()
        ))
    })
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A frame of the screen. Rates are those of `interval`; without one, since the store was opened.
fn frame(name: &str, now: &Status, interval: Option<&Stats>, unix_ms: u64) -> String {
    let stats = &now.stats;
    let rates = interval.unwrap_or(stats);
    let mut lines = vec![
        format!("alluvium  {name}  {}", state(now, unix_ms)),
        String::new(),
        format!(
            "writes  {}/s  {}/s   reads  {}/s   log  {}/s  {} syncs/s",
            per_second(rates, "write_operations"),
            bytes_per_second(rates, "write_user_bytes"),
            per_second(rates, "gets"),
            bytes_per_second(rates, "wal_bytes"),
            per_second(rates, "wal_syncs")
        ),
        format!(
            "latency  write {}   get {}",
            latency(&rates.write_latency),
            latency(&rates.get_latency)
        ),
        format!(
            "amplification  write {:.2}   read {:.2}   space {:.2}   debt {}",
            stats.write_amplification(),
            stats.read_amplification(),
            stats.space_amplification(),
            bytes(stats.debt_bytes())
        ),
        format!(
            "memory  {}   block cache {}, hits {:.1} %   {}, {}   log {}",
            bytes(stats.memory_bytes()),
            bytes(stats.block_cache_bytes),
            100.0 * rates.cache_hit_rate(),
            counted(stats.open_tables as u64, "open table"),
            bytes(stats.open_tables_bytes as u64),
            bytes(stats.wal_bytes)
        ),
        stalls(stats, rates),
    ];
    for family in stats.families.iter().take(FAMILIES_MAX) {
        let rates_of = rates.families.iter().find(|known| known.name == family.name);
        lines.push(String::new());
        lines.extend(levels(family, rates_of.unwrap_or(family), rates));
    }
    if let Some(more) = stats.families.len().checked_sub(FAMILIES_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.push(String::new());
    for entry in now.history.iter().rev().take(HISTORY_MAX).rev() {
        let when = instant(i64::try_from(entry.unix_ms).unwrap_or(i64::MAX));
        lines.push(format!("{}  {}", when.get(11..19).unwrap_or(&when), entry.text));
    }
    if let Some(error) = &stats.error {
        lines.push(format!("error: {error}"));
    }
    lines.join("\n") + "\n"
}

fn state(now: &Status, unix_ms: u64) -> String {
    let silent_ms = unix_ms.saturating_sub(now.written_unix_ms);
    let up = now.stats.uptime_seconds;
    match now.is_open {
        false => "closed".to_owned(),
        true if silent_ms > SILENCE_MS => {
            format!("no word for {} s: the process seems to be gone", silent_ms / 1000)
        }
        true => format!("open for {up:.0} s"),
    }
}

fn per_second(rates: &Stats, counter: &str) -> String {
    grouped(rates.per_second(rates.counter(counter)).round() as u64)
}

fn bytes_per_second(rates: &Stats, counter: &str) -> String {
    bytes(rates.per_second(rates.counter(counter)) as u64)
}

fn latency(of: &HistogramSnapshot) -> String {
    if of.count == 0 {
        return "-".to_owned();
    }
    let us = |ns: u64| format!("{:.1} us", ns as f64 / 1e3);
    format!("p50 {} p99 {} max {}", us(of.p50_ns), us(of.p99_ns), us(of.max_ns))
}

fn stalls(stats: &Stats, rates: &Stats) -> String {
    let waited: Vec<String> = stats
        .stalls
        .iter()
        .filter(|stall| stall.count > 0)
        .map(|stall| {
            let now = rates.stalls.iter().find(|known| known.cause == stall.cause);
            let now_ms = now.map_or(0, |stall| stall.us) as f64 / 1e3;
            let longest_ms = stall.longest_us as f64 / 1e3;
            format!("{} {now_ms:.1} ms now, longest {longest_ms:.1} ms", stall.cause)
        })
        .collect();
    let waited = if waited.is_empty() { "none".to_owned() } else { waited.join("; ") };
    format!("stalls  {waited}")
}

fn levels(family: &FamilyStats, rates_of: &FamilyStats, rates: &Stats) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<22}{:>8}{:>6}{:>12}{:>7}{:>14}{:>14}",
        family.name, "tables", "runs", "size", "score", "read/s", "written/s"
    )];
    let memtables = family.active_memtable_bytes + family.immutable_memtable_bytes;
    let count = 1 + family.immutable_memtables;
    lines.push(format!("  {:<20}{count:>8}{:>6}{:>12}", "memory", "", bytes(memtables as u64)));
    let last = family.levels.iter().rposition(|level| level.tables > 0).map_or(0, |last| last + 1);
    for (index, level) in family.levels.iter().enumerate().take(last) {
        let rate = |sum: fn(&alluvium::LevelStats) -> u64| {
            bytes(rates.per_second(rates_of.levels.get(index).map_or(0, sum)) as u64)
        };
        lines.push(format!(
            "  {:<20}{:>8}{:>6}{:>12}{:>7.2}{:>14}{:>14}",
            format!("level {index}"),
            level.tables,
            level.runs,
            bytes(level.bytes),
            level.score,
            rate(|level| level.read_bytes),
            rate(|level| level.written_bytes)
        ));
    }
    lines
}

/// A line for a file or a pipe.
fn line(now: &Status, interval: Option<&Stats>) -> String {
    let stats = &now.stats;
    let rates = interval.unwrap_or(stats);
    let level0: usize = stats
        .families
        .iter()
        .filter_map(|family| family.levels.first())
        .map(|level| level.runs)
        .sum();
    let stalled_us: u64 = rates.stalls.iter().map(|stall| stall.us).sum();
    format!(
        "{} {} writes/s {} user-bytes/s {} gets/s {} level0-runs {level0} table-bytes {} \
         debt-bytes {} stalled-ms {:.1} memory-bytes {} write-amp {:.2} space-amp {:.2}",
        instant(i64::try_from(now.written_unix_ms).unwrap_or(i64::MAX)),
        if now.is_open { "open" } else { "closed" },
        rates.per_second(rates.counter("write_operations")).round(),
        rates.per_second(rates.counter("write_user_bytes")).round(),
        rates.per_second(rates.counter("gets")).round(),
        stats.table_bytes(),
        stats.debt_bytes(),
        stalled_us as f64 / 1e3,
        stats.memory_bytes(),
        stats.write_amplification(),
        stats.space_amplification()
    )
}

#[cfg(test)]
mod tests {
    use alluvium::{HistoryEntry, LevelStats, StallStats};

    use super::*;

    fn status(seconds: f64, operations: u64) -> Status {
        let level = LevelStats {
            tables: 3,
            runs: 3,
            bytes: 3 << 20,
            score: 0.75,
            written_bytes: operations * 1_024,
            ..LevelStats::default()
        };
        let family =
            FamilyStats { name: "events".into(), levels: vec![level], ..FamilyStats::default() };
        let stall = StallStats { cause: "memtables".into(), count: 2, us: 1_500, longest_us: 900 };
        let entry = HistoryEntry {
            number: 1,
            unix_ms: 1_000,
            kind: "flush".into(),
            text: "flush of events because its memtable was full".into(),
        };
        Status {
            written_unix_ms: 10_000,
            is_open: true,
            stats: Stats {
                families: vec![family],
                counters: vec![("write_operations", operations)],
                stalls: vec![stall],
                uptime_seconds: seconds,
                period_seconds: seconds,
                ..Stats::default()
            },
            history: vec![entry],
        }
    }

    #[test]
    fn a_frame_shows_levels_rates_stalls_and_reasons() {
        let (before, now) = (status(10.0, 1_000), status(12.0, 5_000));
        let interval = now.stats.since(&before.stats);
        let shown = frame("shop", &now, Some(&interval), 10_500);
        for part in [
            "alluvium  shop  open for 12 s",
            "writes  2,000/s",
            "  level 0                    3     3    3.00 MiB   0.75           0 B      1.95 MiB",
            "memtables 0.0 ms now, longest 0.9 ms",
            "00:00:01  flush of events because its memtable was full",
        ] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        assert!(frame("shop", &now, None, 99_000).contains("no word for 89 s"));
        let told = line(&now, Some(&interval));
        assert!(told.starts_with("1970-01-01 00:00:10 open writes/s 2000 "), "{told}");
        assert!(told.contains(" level0-runs 3 ") && !told.contains('\x1b'), "{told}");
    }
}
