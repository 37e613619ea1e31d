//! Running the program.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program with these arguments, not yet started.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What a finished run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub raw: Vec<u8>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code().expect("the program ended by itself"),
            out: text(&output.stdout),
            err: text(&output.stderr),
            raw: output.stdout,
        }
    }
}

impl Ran {
    /// The output of a run that must have gone well, and quietly.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        assert_eq!(self.err, "", "{self:?}");
        self.out
    }

    /// The one sentence of a run that must have failed with `code`.
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        let sentence = self.err.strip_suffix('\n').unwrap_or_else(|| panic!("{self:?}"));
        assert!(code == 2 || !sentence.contains('\n'), "one sentence: {sentence}");
        for noise in ["panicked", "RUST_BACKTRACE", " { ", "Some(", "Err(", "Os {"] {
            assert!(!sentence.contains(noise), "{noise} in: {sentence}");
        }
        let sentence = sentence.strip_prefix("alluvium: ").unwrap_or_else(|| panic!("{self:?}"));
        sentence.to_owned()
    }
}

/// Runs the program on the store in `db`: the first argument is the command.
pub fn run<A: AsRef<OsStr>>(db: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut arguments = arguments.into_iter();
    let first = arguments.next().expect("a command");
    let mut command = command([first]);
    command.arg("--db").arg(db).args(arguments);
    command.output().expect("the program starts").into()
}

/// Runs the program with bytes on its standard input.
pub fn run_with_input<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    input: &[u8],
) -> Ran {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that refuses its arguments does not read.
    stdin.write_all(input).ok();
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}
