//! A disk that is full, on a real file system of a few megabytes: one in memory, and one in a file
//! with ext4 on it. Needs a user who may mount; without, it says so and does nothing.
//!
//! A cycle: a writer is at work; what is left of the disk (or of its inodes) is filled up, until a
//! write is refused. It must be refused as [`alluvium::Error::NoSpace`], reads must go on and show
//! what was acknowledged. Then one of two things happens. Space is given back, and the writer must
//! go on by itself. Or the writer is killed, and the store is opened on the full disk (which may
//! fail in good order, as often as one likes, and may not cost any more space), and then with space
//! again. In between, everything acknowledged is there.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::channel::{self, News, Running};
use crate::process::history::{Heard, History};
use crate::process::looker;
use crate::process::plan::Plan;
use crate::process::scratch::Scratch;
use crate::process::trace::acknowledged;
use crate::random::Random;
use crate::torture::Turn;

/// The size of a file system.
const BYTES: u64 = 6 << 20;
/// The inodes of one in memory.
const INODES: u64 = 1200;
/// A writer that has room goes on within this time. The promise is 5 s on a machine that has time;
/// the longest wait is printed.
const HEAL_MAX: Duration = Duration::from_secs(30);
/// A disk that is full is noticed within this time.
const NOTICE_MAX: Duration = Duration::from_secs(60);
/// A store on a full disk is opened so often, until it works.
const OPENS: u32 = 5;
/// It has so much room at the most.
const ROOM_MAX: u64 = 64 << 10;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// In memory.
    Memory,
    /// ext4 in a file.
    Ext4,
}

/// A file system that is mounted until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    medium: Medium,
    at: PathBuf,
    /// Where the rest of it is; goes behind the mount.
    scratch: Option<Scratch>,
}

impl Mounted {
    /// Makes and mounts a file system.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn new(medium: Medium) -> Result<Mounted, String> {
        let scratch = Scratch::new(true).map_err(|error| error.to_string())?;
        let at = scratch.store();
        fs::create_dir(&at).map_err(|error| error.to_string())?;
        match medium {
            Medium::Memory => {
                let options = format!("size={BYTES},nr_inodes={INODES}");
                system(
                    Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at),
                )?;
            }
            Medium::Ext4 => {
                let image = scratch.before();
                let file = File::create(&image).map_err(|error| error.to_string())?;
                file.set_len(BYTES).map_err(|error| error.to_string())?;
                system(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
                system(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
            }
        }
        Ok(Mounted { medium, at, scratch: Some(scratch) })
    }

    /// The store's directory on it.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.at.join("store")
    }

    /// Mounts it again, as read-only or not.
    ///
    /// # Errors
    ///
    /// The words of `mount`.
    pub fn remount(&self, read_only: bool) -> Result<(), String> {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        system(Command::new("mount").args(["-o", options]).arg(&self.at))
    }

    /// Takes all the space that is left, or all inodes.
    fn fill(&self, what: Filled) -> Result<(), String> {
        match what {
            Filled::Bytes => {
                let path = self.at.join("ballast");
                let mut file = match File::options().append(true).create(true).open(path) {
                    Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                    file => file.map_err(|error| error.to_string())?,
                };
                for size in [256 << 10, 4 << 10, 512] {
                    while file.write_all(&vec![7; size]).is_ok() {}
                }
                // ext4 has promised the space by now, but not taken it.
                drop(file.sync_all());
            }
            Filled::Inodes => {
                for number in 0..=INODES {
                    let path = self.at.join(format!("ballast{number}"));
                    if File::create(path).is_err() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives about so many bytes back.
    fn free_some(&self, bytes: u64) -> Result<(), String> {
        let file = File::options().write(true).open(self.at.join("ballast"));
        let cut = file.and_then(|file| {
            let length = file.metadata()?.len();
            file.set_len(length.saturating_sub(bytes))
        });
        match cut {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Gives it all back.
    fn free(&self) -> Result<(), String> {
        let entries = fs::read_dir(&self.at).map_err(|error| error.to_string())?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_file() {
                fs::remove_file(&path).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// The bytes of the store's files.
    fn store_bytes(&self) -> u64 {
        let entries = fs::read_dir(self.store()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Leaves the directory, and the file system mounted, to be looked at.
    #[must_use]
    fn keep(mut self) -> PathBuf {
        let at = self.at.clone();
        if let Some(scratch) = self.scratch.take() {
            drop(scratch.keep());
        }
        at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.scratch.is_some()
            && let Err(text) = system(Command::new("umount").arg(&self.at))
        {
            eprintln!("{}: {text}", self.at.display());
        }
    }
}

/// Runs a command to its end; its own words where it fails.
fn system(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Bytes,
    Inodes,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cycles {
    /// Times that the disk was filled until a write was refused.
    pub fills: u64,
    /// Of those, times that the writer went on by itself.
    pub healed: u64,
    /// Of those, times that it was killed on the full disk.
    pub killed: u64,
    /// Of those, times that a log could not be synced, and the store had to be opened again.
    pub stopped: u64,
    /// Opens on the full disk that worked, and that failed in good order.
    pub opened: u64,
    /// See `opened`.
    pub not_opened: u64,
    /// The longest that a writer took to go on.
    pub longest: Duration,
}

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cycles { fills, healed, killed, stopped, opened, not_opened, longest } = self;
        write!(
            f,
            "{fills} fills: {healed} healed (the slowest in {longest:?}), {killed} killed, \
             {stopped} to be reopened; opened on a full disk: {opened}, refused: {not_opened}"
        )
    }
}

/// Fills disks until the turn is over.
pub fn torture(turn: &mut Turn) {
    let program = std::env::current_exe().unwrap_or_default();
    while turn.goes_on() {
        let seed = turn.seed();
        let medium = if seed.is_multiple_of(3) { Medium::Ext4 } else { Medium::Memory };
        let mounted = match Mounted::new(medium) {
            Ok(mounted) => mounted,
            Err(text) if medium == Medium::Ext4 => {
                println!("disk: ext4 left out: {text}");
                continue;
            }
            Err(text) => {
                println!("disk: skipped: {text}");
                return;
            }
        };
        let mut filler = Filler::new(&program, mounted, seed);
        while turn.goes_on() && filler.history.generation() < 100 {
            let before = filler.cycles.fills;
            if let Err(text) = filler.cycle() {
                turn.note(Err(filler.complain(&text)));
                return;
            }
            turn.note(Ok(filler.cycles.fills - before));
        }
        println!("disk, {medium:?}: {}", filler.cycles);
    }
}

/// Fills a disk `cycles` times.
///
/// # Errors
///
/// What was wrong in one of them, and where the store is kept.
pub fn run(program: &Path, mounted: Mounted, seed: u64, cycles: u32) -> Result<Cycles, String> {
    let mut filler = Filler::new(program, mounted, seed);
    for _ in 0..cycles {
        if let Err(text) = filler.cycle() {
            return Err(filler.complain(&text));
        }
    }
    Ok(filler.cycles)
}

/// A store on a small disk, over its cycles.
struct Filler<'a> {
    program: &'a Path,
    mounted: Mounted,
    plan: Plan,
    random: Random,
    history: History,
    cycles: Cycles,
    said: Said,
}

/// What a writer has said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// Bytes of it that were looked at.
    bytes: usize,
    acks: usize,
    refused: usize,
    stopped: bool,
}

impl Filler<'_> {
    fn new(program: &Path, mounted: Mounted, seed: u64) -> Filler<'_> {
        let plan = Plan { buffered_one_in: 0, ..Plan::new(seed) };
        let random = Random::for_case(&[seed, 7]);
        let history = History::new(plan);
        let (cycles, said) = (Cycles::default(), Said::default());
        Filler { program, mounted, plan, random, history, cycles, said }
    }

    /// One life of a writer on a disk that is filled, once or more often.
    fn cycle(&mut self) -> Result<(), String> {
        self.history.begin();
        self.said = Said::default();
        let mut command = channel::command(self.program, "write", &self.mounted.store());
        let generation = self.history.generation().to_string();
        command.args([&self.plan.to_string(), &generation, "--retry", "--writes", "100000000"]);
        let mut writer = Running::start(command)?;
        let rounds = 1 + self.random.below(4);
        for round in 1..=rounds {
            let some = self.random.below(300);
            let acks = self.count(&writer)?.acks + some;
            self.wait(&mut writer, NOTICE_MAX, "a write", |said| said.acks > acks)?;
            let before = self.count(&writer)?.refused;
            let memory = self.mounted.medium == Medium::Memory;
            let inodes = memory && self.random.one_in(3);
            self.mounted.fill(if inodes { Filled::Inodes } else { Filled::Bytes })?;
            let what = "a write to be refused";
            self.wait(&mut writer, NOTICE_MAX, what, |said| said.refused > before)?;
            self.cycles.fills += 1;
            if self.count(&writer)?.stopped || (round == rounds && self.random.one_in(2)) {
                break;
            }
            self.mounted.free()?;
            let (begun, acks) = (Instant::now(), self.count(&writer)?.acks);
            let more = |said: &Said| said.acks > acks || said.stopped;
            self.wait(&mut writer, HEAL_MAX, "a write that works again", more)?;
            if self.count(&writer)?.stopped {
                break;
            }
            self.cycles.longest = self.cycles.longest.max(begun.elapsed());
            self.cycles.healed += 1;
        }
        let stopped = self.count(&writer)?.stopped;
        self.cycles.stopped += u64::from(stopped);
        self.cycles.killed += u64::from(!stopped);
        writer.shoot(Signal::KILL);
        let ended = writer.end()?;
        self.take_in(&ended.lines)?;
        self.open_full()?;
        self.mounted.free()?;
        if self.random.one_in(4) {
            self.look_read_only()?;
        }
        let state = self.look()?.map_err(|text| format!("with space again: {text}"))?;
        self.history.resolve(state)
    }

    /// Opens the store while the disk is full, or nearly. However often that fails, what the
    /// failures leave behind is never more than one of them leaves.
    fn open_full(&mut self) -> Result<(), String> {
        let before = self.mounted.store_bytes();
        for _ in 0..OPENS {
            // Room for nothing, or for a part of what there is to do.
            self.mounted.fill(Filled::Bytes)?;
            self.mounted.free_some(self.random.below(ROOM_MAX as usize) as u64)?;
            match self.look()? {
                Ok(state) => {
                    self.cycles.opened += 1;
                    return self.history.resolve(state);
                }
                Err(text) if text.contains("NoSpace") => self.cycles.not_opened += 1,
                Err(text) => return Err(format!("on the full disk: {text}")),
            }
            let now = self.mounted.store_bytes();
            if now > before + ROOM_MAX {
                return Err(format!("opens that failed made {now} bytes of {before}"));
            }
        }
        Ok(())
    }

    /// Opens it on a disk that can't be written: that fails in good order.
    fn look_read_only(&mut self) -> Result<(), String> {
        self.mounted.remount(true)?;
        let looked = self.look();
        self.mounted.remount(false)?;
        match looked? {
            Ok(_) => Err("a store was opened on a read-only disk".to_owned()),
            Err(text) if text.starts_with("stopped Io") => Ok(()),
            Err(text) => Err(format!("read-only: {text}")),
        }
    }

    /// Runs a looker: what there is, or the line with which it stopped.
    fn look(&self) -> Result<Result<super::history::State, String>, String> {
        let mut command = channel::command(self.program, "look", &self.mounted.store());
        command.arg(self.plan.to_string());
        let ended = channel::run(command, &[])?;
        let stopped = ended.lines.iter().find(|line| line.starts_with("stopped "));
        if let Some(state) = looker::told(&ended.lines)? {
            return Ok(Ok(state));
        }
        match (stopped, ended.complaint(&[])) {
            (Some(line), _) => Ok(Err(line.clone())),
            (None, complaint) => Err(format!("the looker: {complaint:?}")),
        }
    }

    /// Waits until the writer has said enough.
    fn wait(
        &mut self,
        writer: &mut Running,
        most: Duration,
        what: &str,
        enough: impl Fn(&Said) -> bool,
    ) -> Result<(), String> {
        let until = Instant::now() + most;
        loop {
            let said = self.count(writer)?;
            if enough(&said) {
                return Ok(());
            }
            match writer.hear(until)? {
                News::Line => {}
                News::Nothing => {
                    return Err(format!("waited {most:?} for {what}: {said:?}"));
                }
                News::End => return Err(format!("waited for {what}, and the writer ended")),
            }
        }
    }

    /// Counts what the writer has said, and looks whether any of it should not be.
    fn count(&mut self, writer: &Running) -> Result<Said, String> {
        let text = writer.text_from(self.said.bytes);
        self.said.bytes += text.len();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "ack" => self.said.acks += 1,
                "refused" => {
                    self.said.refused += 1;
                    let kind = rest.split(' ').nth(2).unwrap_or_default();
                    // A disk that has promised space may take the promise back at the sync.
                    let is_sync = rest.contains("sync ") && self.mounted.medium == Medium::Ext4;
                    self.said.stopped |= kind == "WriteStopped";
                    if kind != "NoSpace" && !(kind == "WriteStopped" && is_sync) {
                        return Err(format!("the writer: {line}"));
                    }
                }
                "failed" if !rest.starts_with("NoSpace flush or compact") => {
                    return Err(format!("the writer: {line}"));
                }
                "wrong" | "stopped" => return Err(format!("the writer: {line}")),
                _ => {}
            }
        }
        Ok(self.said)
    }

    /// Tells the history what was acknowledged. A write that was refused was tried again until it
    /// was acknowledged, or is the one that was under way.
    fn take_in(&mut self, lines: &[String]) -> Result<(), String> {
        for (thread, number) in lines.iter().filter_map(|line| acknowledged(line)) {
            self.history.hear(thread, number, Heard::Acknowledged)?;
        }
        Ok(())
    }

    fn complain(self, text: &str) -> String {
        let (plan, life) = (self.plan, self.history.generation());
        let medium = self.mounted.medium;
        let kept = self.mounted.keep().display().to_string();
        format!(
            "disk, {medium:?}, plan {plan}, life {life}: {text}\n  still mounted: {kept}; again: \
             ALLUVIUM_SEED={} cargo test -p alluvium-testkit --test process disk",
            plan.seed
        )
    }
}
