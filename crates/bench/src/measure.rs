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
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
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
        Ok(Usage {
            at: Instant::now(),
            cpu: cpu_time(ClockId::ProcessCPUTime),
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

/// Bytes written and processor time of all threads but the one that asks.
#[derive(Debug, Clone, Copy)]
pub struct Others {
    all: Usage,
    own_cpu: Duration,
}

impl Others {
    /// The account now.
    pub fn now() -> Result<Others> {
        Ok(Others { all: Usage::now()?, own_cpu: cpu_time(ClockId::ThreadCPUTime) })
    }

    /// What the others used from this account to `later`, taken by the same thread. They have no
    /// seconds of their own: those are the asking thread's. Bytes count whoever wrote them.
    pub fn until(&self, later: &Others) -> Used {
        let own = later.own_cpu.saturating_sub(self.own_cpu).as_secs_f64();
        let all = self.all.until(&later.all);
        Used { seconds: 0.0, cpu_seconds: (all.cpu_seconds - own).max(0.0), written: all.written }
    }
}

impl std::ops::AddAssign for Used {
    fn add_assign(&mut self, more: Used) {
        self.seconds += more.seconds;
        self.cpu_seconds += more.cpu_seconds;
        self.written += more.written;
    }
}

fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
    each_file(dir, &mut |path| {
        let Ok(file) = File::open(path) else { return Ok(()) };
        read_data(&file, &mut |_, _| Ok(()))
    })
}

/// Copies what is in `from` into the directory `to`: directories too, but not `to` itself. A file
/// that its owner removes or renames between the listing and the copy is left out: a store that is
/// open may replace small ones (a status, say) at any time.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source == to {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_directory(&source, &target)?;
        } else {
            match File::open(&source) {
                Ok(file) => copy_file(&file, &target)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Copies `from` to `to`, which is made, holes as holes.
fn copy_file(from: &File, to: &Path) -> Result<()> {
    let to = File::create_new(to)?;
    to.set_len(from.metadata()?.len())?;
    read_data(from, &mut |at, bytes| Ok(to.write_all_at(bytes, at)?))
}

/// Hands out what `file` holds, piece by piece with the place of each, and leaves out its holes: a
/// file that is mapped to be written may be a thousand times longer than what is in it.
fn read_data(file: &File, piece: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0u8; 1 << 20];
    let mut at = 0;
    loop {
        let mut from = match seek(file, SeekFrom::Data(at)) {
            Ok(from) => from,
            // Nothing but a hole is left, or nothing at all.
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        at = seek(file, SeekFrom::Hole(from))?;
        while from < at {
            let wanted = (at - from).min(buffer.len() as u64) as usize;
            match file.read_at(&mut buffer[..wanted], from)? {
                // It became shorter meanwhile.
                0 => return Ok(()),
                read => {
                    piece(from, &buffer[..read])?;
                    from += read as u64;
                }
            }
        }
    }
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

    /// What the asking thread itself needs is not on the account of the others.
    #[test]
    fn others_are_all_threads_but_this_one() {
        let spin = |rounds: u64| {
            (0..rounds).fold(0u64, |sum, number| std::hint::black_box(sum.wrapping_add(number)))
        };
        let before = (Usage::now().unwrap(), Others::now().unwrap());
        let own = cpu_time(ClockId::ThreadCPUTime);
        spin(100_000_000);
        let own = (cpu_time(ClockId::ThreadCPUTime) - own).as_secs_f64();
        std::thread::spawn(move || spin(100_000_000)).join().unwrap();
        // In this order: other tests run beside this one.
        let others = before.1.until(&Others::now().unwrap());
        let all = before.0.until(&Usage::now().unwrap());
        assert!(others.cpu_seconds > 0.001 && others.seconds == 0.0, "{others:?}");
        assert!(others.cpu_seconds <= all.cpu_seconds - own, "{others:?} {all:?} {own}");
        let mut sum = others;
        sum += Used { seconds: 1.0, cpu_seconds: 2.0, written: 3 };
        assert_eq!((sum.seconds, sum.written), (1.0, others.written + 3));
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
    fn holes_are_neither_read_nor_copied() {
        let dir = tempfile::tempdir_in(beside_executable()).unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = File::create_new(&from).unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"near", 10).unwrap();
        file.write_all_at(&vec![7; 3 << 20], (1 << 39) + 12_345).unwrap();
        let mut bytes = 0;
        read_data(&file, &mut |_, piece| {
            bytes += piece.len();
            Ok(())
        })
        .unwrap();
        assert!(((3 << 20)..(4 << 20)).contains(&bytes), "{bytes}");
        copy_file(&File::open(&from).unwrap(), &to).unwrap();
        let copy = File::open(&to).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), 1 << 40);
        assert!(copy.metadata().unwrap().blocks() * 512 < 4 << 20);
        let mut read = [0; 4];
        copy.read_exact_at(&mut read, 10).unwrap();
        assert_eq!(&read, b"near");
        copy.read_exact_at(&mut read, (1 << 39) + 12_345 + (3 << 20) - 4).unwrap();
        assert_eq!(read, [7; 4]);
        // An empty file has nothing to hand out.
        read_data(&File::create(&from).unwrap(), &mut |_, _| Err("no piece".into())).unwrap();
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
