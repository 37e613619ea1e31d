//! Chores of the workspace that are programs: `cargo xtask <command>`.
//!
//! A check lives here, and not in a script, when it has to understand Rust, Cargo manifests or
//! Markdown, and when it has to be tested itself.

mod planted;
mod schedules;
mod tidy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask tidy [--verbose]
       cargo xtask simulate [ARGUMENTS]
       cargo xtask torture [--minutes N] [--only NAME,NAME] [--seed N] [--threads N]
       cargo xtask planted [--only NAME] [--seconds N] [--threads N]
       cargo xtask schedules [--iterations N] [--seed N] [--only NAME] [--planted]

  tidy    checks what the compiler does not: the floors of the engine, lengths, banned calls,
          the unsafe ledger, dead files, manifests, links and examples in the documents
          --verbose also lists the files that are longer than they should get
  simulate runs the compaction pickers over stores of any size made of metadata alone, and
          prints what they cost (`cargo xtask simulate --help`)
  torture runs every harness for its share of the minutes, in release mode
  planted builds the harnesses with bugs in the engine, and tells which harness finds which;
          --seconds is what each harness has for each bug (60)
  schedules runs the parts under loom and whole stores under shuttle, which choose the order of
          the threads; N schedules a scenario; --planted puts bugs in and sees each found";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["tidy"] => tidy::command(&workspace_root(), false),
        ["tidy", "--verbose" | "-v"] => tidy::command(&workspace_root(), true),
        ["simulate", rest @ ..] => release("alluvium-simulator", "alluvium-simulator", rest),
        ["torture", rest @ ..] => release("alluvium-testkit", "alluvium-torture", rest),
        ["planted", rest @ ..] => planted::command(&workspace_root(), rest),
        ["schedules", rest @ ..] => {
            schedules::command(&workspace_root(), rest).unwrap_or_else(refuse)
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => refuse(),
    }
}

fn refuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Builds a program of the workspace in release mode and runs it; the exit code is its own.
fn release(package: &str, program: &str, arguments: &[&str]) -> ExitCode {
    let status = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--package", package])
        .args(["--bin", program, "--"])
        .args(arguments)
        .current_dir(workspace_root())
        .status();
    match status {
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| code as u8)),
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace that Cargo runs this program in, or that it was built from.
fn workspace_root() -> PathBuf {
    let manifest =
        env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let manifest = Path::new(&manifest);
    manifest.parent().unwrap_or(manifest).to_owned()
}
