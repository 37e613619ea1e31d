//! The `alluvium` program: click logs in, answers out, and a store looked at by hand.
//!
//! Thin on purpose: a command parses its arguments, calls the engine or `alluvium-events`, and
//! prints. What a command can do, a program can do through those two crates.
//!
//! Standard output carries results only; progress and errors go to standard error. Exit codes are
//! in [`failure`].

mod commands;
mod failure;
mod output;
mod progress;
mod scratch;
mod store;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::Command;
use crate::failure::Failure;

/// Batches are filled on one thread and freed on another, which costs the system's allocator dear:
/// with this one the demo takes a ninth less processor time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Alluvium stores click streams and answers questions about them.
#[derive(Debug, Parser)]
#[command(name = "alluvium", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = cli.command.run(&mut out);
    // What was printed before a failure belongs in front of its sentence.
    let flushed = out.flush().map_err(Failure::from);
    match result.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                say(&sentence);
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Writes a sentence to standard error. When even that is closed, nobody is listening.
pub(crate) fn say(sentence: &str) {
    writeln!(io::stderr(), "alluvium: {sentence}").ok();
}

/// Answers a command line that clap did not take, or one that asks for help.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        error.print().ok();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    say(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
