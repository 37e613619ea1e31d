//! What a process really asked of the operating system, as strace tells it.
//!
//! [`record`] runs a child under strace, [`parse`] makes [`Event`]s of the text: the calls that
//! matter for what a power cut leaves, in the order in which they ended, and the lines that the
//! child said in between. `super::rules` checks their order, and [`replay`] does them again on the
//! in-memory file system that can crash.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use alluvium::Durability;
use alluvium::env::{CrashPolicy, Env, FileId, MemEnv, WritableFile};

use crate::process::channel::{self, Ended};
use crate::process::history::{Heard, History, State};
use crate::process::looker;
use crate::process::plan::Plan;
use crate::process::rules;
use crate::process::scratch::Scratch;
use crate::torture::Turn;

/// The system calls that are traced.
const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,fsync,fdatasync,rename,\
                     renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,ftruncate,\
                     truncate,fallocate,sync_file_range";

/// One call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The line of the trace in which it began.
    pub began: usize,
    /// The line in which it ended.
    pub ended: usize,
    /// What it did.
    pub call: Call,
}

/// What a call did. Paths are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A file was created that was not there.
    Create(String),
    /// Bytes were put at the end of a file.
    Append(String, Vec<u8>),
    /// A file was made so many bytes long.
    SetLength(String, u64),
    /// A file or directory was synced.
    Sync(String),
    /// A file was renamed.
    Rename(String, String),
    /// A file got a second name.
    Link(String, String),
    /// A file was removed.
    Unlink(String),
    /// A directory was made.
    MakeDirectory(String),
    /// The process said a line.
    Said(String),
    /// Something that the engine is not known to do, in the words of the trace.
    Strange(String),
}

/// Whether strace is here and may trace.
#[must_use]
pub fn strace_works() -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// A command like `command`, under strace with `arguments`, that writes its trace to `to`.
#[must_use]
pub fn traced(command: &Command, arguments: &[&str], to: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "--signal=none", "-o"]).arg(to).args(arguments).arg("--");
    traced.arg(command.get_program()).args(command.get_args());
    traced
}

/// Runs `command` under strace and gives what it did.
///
/// # Errors
///
/// When it can't be run, or its trace can't be understood.
pub fn record(command: &Command, to: &Path) -> Result<(Ended, Vec<Event>), String> {
    let trace = format!("trace={CALLS}");
    let ended = channel::run(traced(command, &["-y", "-s", "9999999", "-e", &trace], to), &[])?;
    let text = fs::read(to).map_err(|error| format!("the trace: {error}"))?;
    Ok((ended, parse(&String::from_utf8_lossy(&text))?))
}

/// Records a writer, holds its calls against the rules and replays them; returns the number of
/// calls and that of crashes.
///
/// # Errors
///
/// The call that breaks a rule, or behind which a crash loses something.
pub fn run(program: &Path, seed: u64, writes: u32) -> Result<(u64, u64), String> {
    let scratch = Scratch::new(true).map_err(|error| error.to_string())?;
    let plan = plan(seed);
    let mut command = channel::command(program, "write", &scratch.store());
    command.args([&plan.to_string(), "1", "--writes", &writes.to_string()]);
    let checked = record(&command, &scratch.before()).and_then(|(ended, events)| {
        if let Some(text) = ended.complaint(&[]) {
            return Err(format!("the writer: {text}"));
        }
        let calls = rules::check(&scratch.store(), &events)?;
        Ok((calls, replay(plan, &scratch.store(), &events)?))
    });
    checked.map_err(|text| {
        let kept = scratch.keep().display().to_string();
        format!(
            "trace, seed {seed}: {text}\n  the trace is {kept}/before; again: ALLUVIUM_SEED={seed} \
             cargo test -p alluvium-testkit --test process rests"
        )
    })
}

/// Records and replays until the turn is over.
pub fn torture(turn: &mut Turn) {
    if !strace_works() {
        println!("trace: skipped: strace is missing, or may not trace here");
        return;
    }
    let program = std::env::current_exe().unwrap_or_default();
    while turn.goes_on() {
        let seed = turn.seed();
        turn.note(run(&program, seed, 60).map(|(_, crashes)| crashes));
    }
}

/// The calls in a trace that succeeded.
///
/// # Errors
///
/// The line that can't be understood.
pub fn parse(trace: &str) -> Result<Vec<Event>, String> {
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut events = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let (process, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        let (began, text) = if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (number, start));
            continue;
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((began, start)) = unfinished.remove(process) else { continue };
            let (_, end) = resumed.split_once(" resumed>").unwrap_or(("", ""));
            (began, format!("{start}{end}"))
        } else {
            (number, rest.to_owned())
        };
        if let Some(call) = parse_call(&text).map_err(|why| format!("{why}: {line:.200}"))? {
            events.push(Event { began, ended: number, call });
        }
    }
    Ok(events)
}

/// One call; `None` for one that failed or changed nothing.
fn parse_call(text: &str) -> Result<Option<Call>, String> {
    if text.starts_with("+++") || text.starts_with("---") {
        return Ok(None);
    }
    let (name, rest) = text.split_once('(').ok_or("no call")?;
    let (arguments, result) = rest.rsplit_once(" = ").ok_or("no result")?;
    let arguments = arguments.trim_end().strip_suffix(')').ok_or("no end")?;
    if result.starts_with('-') || result.starts_with('?') {
        return Ok(None);
    }
    let arguments = split(arguments)?;
    let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
    let in_brackets = |text: &str| {
        let path = text.split_once('<').and_then(|(_, path)| path.strip_suffix('>'));
        path.unwrap_or(text).to_owned()
    };
    let call = match name {
        "openat" | "open" | "creat" => {
            let flags = arguments.iter().rev().find(|argument| argument.contains("O_"));
            let flags = flags.map_or("", String::as_str);
            let path = in_brackets(result);
            if flags.contains("O_EXCL") && flags.contains("O_CREAT") {
                Call::Create(path)
            } else if flags.contains("O_TRUNC") || name == "creat" {
                Call::Strange(text.to_owned())
            } else {
                return Ok(None);
            }
        }
        "write" => {
            let path = in_brackets(argument(0));
            let bytes = unquote(argument(1))?;
            let written = result.parse::<usize>().map_err(|_| "no length")?;
            Call::Append(path, bytes.get(..written).ok_or("bytes are cut off")?.to_vec())
        }
        "writev" if argument(0).starts_with("1<") => {
            let quoted = argument(1).split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
            let bytes = unquote(&format!("\"{}\"", quoted.ok_or("no text")?.0))?;
            Call::Said(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        }
        "ftruncate" => {
            let length = argument(1).parse().map_err(|_| "no length")?;
            Call::SetLength(in_brackets(argument(0)), length)
        }
        "fsync" | "fdatasync" => Call::Sync(in_brackets(argument(0))),
        "rename" => Call::Rename(path(argument(0))?, path(argument(1))?),
        "renameat" | "renameat2" => Call::Rename(path(argument(1))?, path(argument(3))?),
        "link" => Call::Link(path(argument(0))?, path(argument(1))?),
        "linkat" => Call::Link(path(argument(1))?, path(argument(3))?),
        "unlink" => Call::Unlink(path(argument(0))?),
        "unlinkat" => Call::Unlink(path(argument(1))?),
        "mkdir" => Call::MakeDirectory(path(argument(0))?),
        "mkdirat" => Call::MakeDirectory(path(argument(1))?),
        _ => Call::Strange(text.to_owned()),
    };
    Ok(Some(call))
}

fn path(argument: &str) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&unquote(argument)?).into_owned())
}

/// The arguments of a call. Commas in quotes, brackets and braces are none between arguments.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' | '<' => depth += 1,
            ']' | '}' | '>' => depth = depth.checked_sub(1).ok_or("brackets")?,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            ' ' if depth == 0 => continue,
            _ => {}
        }
        if let Some(last) = arguments.last_mut() {
            last.push(letter);
        }
    }
    Ok(arguments)
}

/// The bytes of a string as strace writes it: as in C, octal numbers as short as can be.
fn unquote(text: &str) -> Result<Vec<u8>, String> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let mut letters = inner.ok_or("a string is cut off")?.bytes().peekable();
    let mut bytes = Vec::new();
    while let Some(letter) = letters.next() {
        if letter != b'\\' {
            bytes.push(letter);
            continue;
        }
        bytes.push(match letters.next().ok_or("nothing behind a backslash")? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 11,
            b'f' => 12,
            first @ b'0'..=b'7' => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    match letters.next_if(|next| (b'0'..=b'7').contains(next)) {
                        Some(next) => value = value * 8 + u32::from(next - b'0'),
                        None => break,
                    }
                }
                u8::try_from(value).map_err(|_| "an octal number")?
            }
            other => other,
        });
    }
    Ok(bytes)
}

/// Does the calls of a trace again, in memory, and crashes behind each of them. The store must then
/// hold what was acknowledged up to there; returns the number of crashes.
///
/// A sync takes effect where it began: what another thread did while it went on is not covered.
///
/// # Errors
///
/// The call behind which a crash loses something, and what.
pub fn replay(plan: Plan, directory: &Path, events: &[Event]) -> Result<u64, String> {
    let mut events: Vec<&Event> = events.iter().collect();
    let begin = |event: &Event| match event.call {
        Call::Sync(_) | Call::Said(_) => event.began,
        _ => event.ended,
    };
    events.sort_by_key(|event| begin(event));
    let env = MemEnv::new();
    let mut files: HashMap<FileId, Arc<dyn WritableFile>> = HashMap::new();
    let mut said: Vec<&str> = Vec::new();
    let mut crashes = 0;
    for event in events {
        let done = match &event.call {
            Call::Said(line) => {
                said.push(line);
                continue;
            }
            call => redo(&env, &mut files, directory, call),
        };
        if !done.map_err(|error| format!("{event:?}: {error}"))? {
            continue;
        }
        for policy in [CrashPolicy::DropUnsynced, CrashPolicy::KeepAll, CrashPolicy::ObjectPrefix] {
            crashes += 1;
            let image = env.crash_image(policy, event.ended as u64);
            check(plan, image, &said).map_err(|text| {
                let call = format!("{:?}", event.call);
                format!("{policy:?} behind line {} ({call:.120}): {text}", event.ended + 1)
            })?;
        }
    }
    Ok(crashes)
}

/// Does one call in memory; false for one that is none of the store's.
fn redo(
    env: &MemEnv,
    files: &mut HashMap<FileId, Arc<dyn WritableFile>>,
    directory: &Path,
    call: &Call,
) -> Result<bool, String> {
    let id = |path: &String| {
        let name = Path::new(path).strip_prefix(directory).ok()?.to_str()?;
        FileId::parse(name)
    };
    let is_directory = |path: &String| Path::new(path) == directory;
    let done = match call {
        Call::MakeDirectory(path) if is_directory(path) => env.create_directory(),
        Call::Sync(path) if is_directory(path) => env.sync_directory(),
        Call::Create(path) => match id(path) {
            Some(file) => env.create(file).map(|created| drop(files.insert(file, created))),
            None => return Ok(false),
        },
        Call::Append(path, bytes) => match id(path).and_then(|file| files.get(&file)) {
            Some(file) => file.append(bytes),
            None => return Ok(false),
        },
        Call::SetLength(path, length) => match id(path).and_then(|file| files.get(&file)) {
            Some(file) => file.set_length(*length),
            None => return Ok(false),
        },
        Call::Sync(path) => match id(path).and_then(|file| files.get(&file)) {
            Some(file) => file.sync(),
            None => return Ok(false),
        },
        Call::Rename(from, to) => match (id(from), id(to)) {
            (Some(from), Some(to)) => env.rename(from, to),
            _ => return Ok(false),
        },
        Call::Link(from, to) => match (id(from), id(to)) {
            (Some(from), Some(to)) => env.link(from, to),
            _ => return Ok(false),
        },
        Call::Unlink(path) => match id(path) {
            Some(file) => env.remove(file),
            None => return Ok(false),
        },
        _ => return Ok(false),
    };
    done.map(|()| true).map_err(|error| error.to_string())
}

/// Opens an image of a crash behind what was said.
fn check(plan: Plan, image: MemEnv, said: &[&str]) -> Result<(), String> {
    let mut history = History::new(plan);
    history.begin();
    for line in said {
        if let Some((thread, number)) = acknowledged(line) {
            history.hear(thread, number, Heard::Acknowledged)?;
        }
    }
    let mut options = plan.options();
    options.background_threads = 0;
    let opened = alluvium::Db::open_env(Arc::new(image), options);
    let db = opened.map_err(|error| format!("open: {error}"))?;
    let found: State = looker::read_all(&db)?;
    history.resolve(found)
}

/// The thread and the number of the write that a line acknowledges.
pub(crate) fn acknowledged(line: &str) -> Option<(u8, u32)> {
    let (thread, number) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((thread.parse().ok()?, number.parse().ok()?))
}

/// A plan whose trace can be checked line by line: one thread, every write `Disk`.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    Plan { threads: 1, durability: Durability::Disk, buffered_one_in: 0, ..Plan::new(seed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_strace_writes_it() {
        let trace = r#"7 openat(AT</>, "/d/1.wal", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</d/1.wal>
7 write(3</d/1.wal>, "a\0, \"\1771\n)", 8 <unfinished ...>
8 fdatasync(4</d/000002.sst> <unfinished ...>
7 <... write resumed>) = 8
8 <... fdatasync resumed>)             = 0
8 fsync(4</d/000003.sst>) = -1 EIO (Input/output error)
7 writev(1<pipe:[12]>, [{iov_base="ack 0 1\n", iov_len=8}], 1) = 8
7 rename("/d/4.tmp", "/d/CURRENT") = 0
7 +++ exited with 0 +++
"#;
        let calls: Vec<(usize, Call)> =
            parse(trace).unwrap().into_iter().map(|event| (event.began, event.call)).collect();
        let append = Call::Append("/d/1.wal".into(), b"a\0, \"\x7f1\n".to_vec());
        assert_eq!(
            calls,
            [
                (0, Call::Create("/d/1.wal".into())),
                (1, append),
                (2, Call::Sync("/d/000002.sst".into())),
                (6, Call::Said("ack 0 1".into())),
                (7, Call::Rename("/d/4.tmp".into(), "/d/CURRENT".into())),
            ]
        );
        assert!(parse("7 write(3</d/1>, \"abc\"..., 8) = 8").is_err(), "cut off");
    }
}
