//! Time, processor time, bytes written, memory and latencies: what is measured, and how.
//!
//! - **Processor time** is `CLOCK_PROCESS_CPUTIME_ID`: user and system time of every thread that
//!   the process ever had, background threads included, to the nanosecond.
//! - **Bytes written** are `write_bytes` of `/proc/self/io`: pages that the process made dirty (or
//!   wrote directly), counted by the kernel for every engine alike, metadata of its own included.
//! - **Peak memory** is `VmHWM`, reset when the timed phase begins.
//! - **Latencies** go into an HDR histogram (Tene) with three digits. One clock reading an
//!   operation: a call's latency includes the making of its input, some tens of nanoseconds.
//!
//! Two traps of virtual machines are disarmed before each timed phase, for every engine alike:
//! memory that was idle for some seconds is dear to touch again, so it is touched; and the page
//! cache loses files that lie idle, so they are read ahead.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// The account of this process at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    at: Instant,
    cpu: Duration,
    written: u64,
}

/// What passed between two accounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Seconds on the wall.
    pub seconds: f64,
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Bytes written.
    pub written: u64,
}

impl Usage {
    /// The account now.
    pub fn now() -> Result<Usage> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Usage {
            at: Instant::now(),
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            written: proc_figure("/proc/self/io", "write_bytes:")?,
        })
    }

    /// What passed from this account to `later`.
    pub fn until(&self, later: &Usage) -> Used {
        Used {
            seconds: later.at.duration_since(self.at).as_secs_f64(),
            cpu_seconds: later.cpu.saturating_sub(self.cpu).as_secs_f64(),
            written: later.written.saturating_sub(self.written),
        }
    }
}

/// The latencies of one client.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    last: Instant,
}

impl Latencies {
    /// None yet; the clock of the first call starts.
    pub fn start() -> Result<Latencies> {
        let histogram = Histogram::new_with_bounds(1, 600_000_000_000, 3)?;
        Ok(Latencies { histogram, last: Instant::now() })
    }

    /// A call ended, and the next begins: now.
    #[inline]
    pub fn lap(&mut self) -> Instant {
        let now = Instant::now();
        self.histogram.saturating_record(now.duration_since(self.last).as_nanos() as u64);
        self.last = now;
        now
    }

    /// The first call begins now, not when this was made.
    pub fn restart(&mut self) {
        self.last = Instant::now();
    }

    /// Adds those of another client.
    pub fn merge(&mut self, other: &Latencies) -> Result<()> {
        Ok(self.histogram.add(&other.histogram)?)
    }

    /// The latency in microseconds that `share` of the calls kept to.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64 / 1e3
    }

    /// The longest in microseconds.
    pub fn max_us(&self) -> f64 {
        self.histogram.max() as f64 / 1e3
    }
}

/// One figure of a file of `/proc`: the number behind `name`.
fn proc_figure(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("{path} has no {name}"))?.parse()?)
}

/// The most memory that this process has had since the last reset, in bytes.
pub fn peak_memory_bytes() -> Result<u64> {
    Ok(proc_figure("/proc/self/status", "VmHWM:")? << 10)
}

/// The memory that the kernel could hand out.
pub fn available_memory_bytes() -> Result<u64> {
    Ok(proc_figure("/proc/meminfo", "MemAvailable:")? << 10)
}

/// Forgets the peak of the memory: from here on it is the peak of what follows.
pub fn reset_peak_memory() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// Touches `bytes` of memory and gives them back, so that the kernel has them at hand.
pub fn touch_memory(bytes: u64) {
    drop(touched(bytes));
}

/// So much memory, every page of it written to.
fn touched(bytes: u64) -> Vec<Vec<u8>> {
    const CHUNK: usize = 64 << 20;
    let mut held = Vec::new();
    let mut left = bytes as usize;
    while left > 0 {
        let length = left.min(CHUNK);
        let mut chunk = vec![0u8; length];
        for byte in chunk.iter_mut().step_by(4096) {
            *byte = 1;
        }
        held.push(std::hint::black_box(chunk));
        left -= length;
    }
    held
}

/// The bytes that the files below `dir` take on disk: their blocks, not their lengths, because some
/// engines make files longer than what they have written to them.
pub fn directory_bytes(dir: &Path) -> Result<u64> {
    let mut total = 0;
    each_file(dir, &mut |path| {
        // A background thread may remove a file between the listing and this look.
        if let Ok(metadata) = fs::metadata(path) {
            total += metadata.blocks() * 512;
        }
        Ok(())
    })?;
    Ok(total)
}

/// Reads every file below `dir` from its first byte to its last.
pub fn read_ahead(dir: &Path) -> Result<()> {
    let mut buffer = vec![0u8; 1 << 20];
    each_file(dir, &mut |path| {
        let Ok(mut file) = File::open(path) else { return Ok(()) };
        while file.read(&mut buffer)? > 0 {}
        Ok(())
    })
}

fn each_file(dir: &Path, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            each_file(&entry.path(), visit)?;
        } else if kind.is_file() {
            visit(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a disk, where `/tmp` may be memory.
    fn beside_executable() -> std::path::PathBuf {
        std::env::current_exe().unwrap().parent().unwrap().to_owned()
    }

    #[test]
    fn processor_time_of_ended_threads_counts() {
        let before = Usage::now().unwrap();
        std::thread::spawn(|| {
            let mut sum = 0u64;
            for number in 0..200_000_000u64 {
                sum = std::hint::black_box(sum.wrapping_add(number));
            }
            sum
        })
        .join()
        .unwrap();
        let used = before.until(&Usage::now().unwrap());
        assert!(used.cpu_seconds > 0.001, "{used:?}");
    }

    #[test]
    fn bytes_written_and_bytes_on_disk_agree() {
        let dir = tempfile::tempdir_in(beside_executable()).unwrap();
        let before = Usage::now().unwrap();
        fs::create_dir(dir.path().join("deeper")).unwrap();
        fs::write(dir.path().join("deeper/file"), vec![7u8; 1 << 20]).unwrap();
        File::open(dir.path().join("deeper/file")).unwrap().sync_all().unwrap();
        let used = before.until(&Usage::now().unwrap());
        assert!(used.written >= 1 << 20, "{used:?}");
        let on_disk = directory_bytes(dir.path()).unwrap();
        assert!((1 << 20..(1 << 20) + 65_536).contains(&on_disk), "{on_disk}");
        read_ahead(dir.path()).unwrap();
    }

    #[test]
    fn the_peak_of_memory_can_be_forgotten() {
        // Other tests forget the peak, too: what is held counts whatever they do.
        let held = touched(256 << 20);
        let high = peak_memory_bytes().unwrap();
        assert!(high > 256 << 20, "{high}");
        drop(held);
        // And they take memory of their own, for a while.
        let forgotten = (0..1_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            reset_peak_memory().unwrap();
            peak_memory_bytes().unwrap() < high
        });
        assert!(forgotten);
    }

    #[test]
    fn the_longest_call_is_kept() {
        let mut latencies = Latencies::start().unwrap();
        latencies.lap();
        std::thread::sleep(Duration::from_millis(5));
        latencies.lap();
        assert!(latencies.max_us() >= 5_000.0);
        assert!(latencies.quantile_us(0.5) <= latencies.max_us());
    }
}
