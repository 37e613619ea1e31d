//! Between the harness and the processes it starts: lines on a pipe, and signals.
//!
//! A child says what it did in one line each, written at once. A line that is not whole was never
//! said. The harness counts what it has read and nothing else.

use std::fmt;
use std::io::{Read, Write};
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
    if std::io::stdout().lock().write_all(text.as_bytes()).is_err() {
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
        if let Some(wrong) = self.lines.iter().find(|line| line.starts_with("wrong ")) {
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
pub fn run(mut command: Command, shots: &[Shot]) -> Result<Ended, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let begun = Instant::now();
    let mut pipe = child.stdout.take().ok_or("no pipe")?;
    let heard = hear(&child, &mut pipe, begun, shots);
    if heard.is_err() {
        drop(child.kill());
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let (bytes, hung) = heard?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    Ok(Ended { lines: whole.lines().map(str::to_owned).collect(), status, hung })
}

/// Reads to the end of the pipe and shoots meanwhile.
fn hear(
    child: &Child,
    pipe: &mut ChildStdout,
    begun: Instant,
    shots: &[Shot],
) -> Result<(Vec<u8>, bool), String> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
    let mut shots = shots.iter().peekable();
    let mut bytes = Vec::new();
    let mut hung = false;
    let mut heard_at = begun;
    let mut buffer = [0; 16 << 10];
    loop {
        let now = Instant::now();
        let next = shots.peek().map_or(heard_at + SILENCE_MAX, |shot| begun + shot.after);
        if next <= now {
            let signal = shots.next().map_or(Signal::KILL, |shot| shot.signal);
            hung |= heard_at + SILENCE_MAX <= now;
            // It is not waited for yet, so the number is still its own.
            let _it_may_be_gone = kill_process(pid, signal);
            heard_at = now;
            continue;
        }
        let wait = Timespec::try_from(next - now).map_err(|error| error.to_string())?;
        let mut fds = [PollFd::new(&*pipe, PollFlags::IN)];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        let count = pipe.read(&mut buffer).map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok((bytes, hung));
        }
        bytes.extend(&buffer[..count]);
        heard_at = Instant::now();
    }
}

/// The command of a child of the program `program`, which is `alluvium-torture`.
#[must_use]
pub fn command(program: &Path, what: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["child", what]).arg(directory);
    command
}
