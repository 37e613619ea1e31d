//! Between the harness and the processes it starts: lines on a pipe, and signals.
//!
//! A child says what it did in one line each, written at once. A line that is not whole was never
//! said. The harness counts what it has read and nothing else.

use std::fmt;
use std::io::{IoSlice, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

/// A child that says nothing and does not end for this long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Says a line to whoever started this process. A process that nobody hears any more ends.
pub fn say(line: &str) {
    let text = format!("{line}\n");
    // In a call that no store makes, so that failures of a store's calls never hit it. A pipe takes
    // so few bytes as a whole.
    if rustix::io::writev(std::io::stdout(), &[IoSlice::new(text.as_bytes())]).is_err() {
        std::process::exit(0);
    }
}

/// Ends this process as `kill -9` does.
pub fn kill_self() -> ! {
    let own = rustix::process::getpid();
    while kill_process(own, Signal::KILL).is_ok() {
        std::thread::yield_now();
    }
    std::process::abort()
}

/// A signal, sent some time after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// When, from the start.
    pub after: Duration,
    /// Which.
    pub signal: Signal,
}

/// How a child ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What it said, line by line.
    pub lines: Vec<String>,
    /// What the system says of its end.
    pub status: ExitStatus,
    /// Whether it said nothing for so long that it was taken for hung, and killed for that.
    pub hung: bool,
}

impl Ended {
    /// The signal that it died of, if it did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// What it found wrong, or why it is no end that was asked for. `None` for an end in good order
    /// and for a death by a signal that is one of `signals`.
    #[must_use]
    pub fn complaint(&self, signals: &[Signal]) -> Option<String> {
        let is_wrong = |line: &&String| line.starts_with("wrong ") || line.starts_with("stopped ");
        if let Some(wrong) = self.lines.iter().find(is_wrong) {
            return Some(wrong.clone());
        }
        if self.hung {
            return Some(format!("it said nothing for {SILENCE_MAX:?}"));
        }
        let is_due = match self.signal() {
            Some(number) => signals.iter().any(|signal| signal.as_raw() == number),
            None => self.status.success(),
        };
        if is_due { None } else { Some(format!("it ended with {}", self.status)) }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines, {}", self.lines.len(), self.status)
    }
}

/// Runs `command`, shoots at it as `shots` say, in their order, and hears it to its end.
///
/// # Errors
///
/// When it can't be started or heard.
pub fn run(command: Command, shots: &[Shot]) -> Result<Ended, String> {
    let mut running = Running::start(command)?;
    for shot in shots {
        let at = running.begun + shot.after;
        while running.hear(at)? == News::Line {}
        running.shoot(shot.signal);
    }
    running.end()
}

/// What came of waiting for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It said something.
    Line,
    /// It said nothing so far.
    Nothing,
    /// It has ended.
    End,
}

/// A child at work. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pid: Pid,
    pipe: ChildStdout,
    begun: Instant,
    heard_at: Instant,
    bytes: Vec<u8>,
    whole: usize,
    waited: bool,
}

impl Running {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub fn start(mut command: Command) -> Result<Running, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let begun = Instant::now();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
        let pipe = child.stdout.take().ok_or("no pipe")?;
        let (bytes, waited) = (Vec::new(), false);
        Ok(Running { child, pid, pipe, begun, heard_at: begun, bytes, whole: 0, waited })
    }

    /// Sends a signal.
    pub fn shoot(&mut self, signal: Signal) {
        // It is not waited for yet, so the number is still its own.
        let _it_may_be_gone = kill_process(self.pid, signal);
    }

    /// Waits until it says something more, or ends, or `until`.
    ///
    /// # Errors
    ///
    /// When the pipe can't be read.
    pub fn hear(&mut self, until: Instant) -> Result<News, String> {
        let mut buffer = [0; 16 << 10];
        loop {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let wait = Timespec::try_from(left).map_err(|error| error.to_string())?;
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&wait)) {
                Ok(0) if left.is_zero() => return Ok(News::Nothing),
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
            let count = self.pipe.read(&mut buffer).map_err(|error| error.to_string())?;
            if count == 0 {
                return Ok(News::End);
            }
            self.heard_at = Instant::now();
            self.bytes.extend(&buffer[..count]);
            if let Some(end) = buffer[..count].iter().rposition(|byte| *byte == b'\n') {
                self.whole = self.bytes.len() - count + end + 1;
                return Ok(News::Line);
            }
        }
    }

    /// What it has said so far, in whole lines, without the first `offset` bytes.
    #[must_use]
    pub fn text_from(&self, offset: usize) -> String {
        let said = self.bytes.get(offset..self.whole).unwrap_or_default();
        String::from_utf8_lossy(said).into_owned()
    }

    /// Hears it to its end. One that falls silent is killed.
    ///
    /// # Errors
    ///
    /// When the pipe can't be read.
    pub fn end(mut self) -> Result<Ended, String> {
        let mut hung = false;
        loop {
            match self.hear(self.heard_at + SILENCE_MAX)? {
                News::Line => {}
                News::End => break,
                News::Nothing => {
                    hung = true;
                    self.shoot(Signal::KILL);
                    self.heard_at = Instant::now();
                }
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        self.waited = true;
        Ok(Ended { lines: self.text_from(0).lines().map(str::to_owned).collect(), status, hung })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// The command of a child of the program `program`, which is `alluvium-torture`.
#[must_use]
pub fn command(program: &Path, what: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["child", what]).arg(directory);
    command
}
