//! The real thing: real processes, real directories, real system calls.
//!
//! What the simulated disks can't show: whether [`alluvium::env::PosixEnv`] does what they assume,
//! and what a process that is killed leaves behind.
//!
//! | Part | Asks |
//! |---|---|
//! | [`kill`] | is everything acknowledged there after any kill, a thousand times over? |
//! | [`trace`], [`rules`] | do the system calls keep the order that durability rests on? |
//! | [`inject`] | is every failed system call answered, and nothing acknowledged lost by it? |
//! | [`disk`] | does the store live through a disk that is full, and go on when it is not? |
//!
//! A store is written by a process of its own, the *writer* ([`writer`]), and read by another, the
//! *looker* ([`looker`]). Both are sub-commands of `alluvium-torture`. They talk to the harness in
//! lines on a pipe ([`channel`]); the harness knows what there must be ([`history`]), because what
//! a writer does follows from its seed ([`plan`]).

use alluvium::Error;

pub mod channel;
pub mod disk;
pub mod history;
pub mod inject;
pub mod kill;
pub mod kill_env;
pub mod looker;
pub mod plan;
pub mod rules;
pub mod scratch;
pub mod trace;
pub mod value;
pub mod writer;

/// Runs a sub-command of `alluvium-torture child`; the process ends with what it returns.
#[must_use]
pub fn child(arguments: &[String]) -> u8 {
    let outcome = match arguments.split_first() {
        Some((what, rest)) if what == "write" => writer::main(rest),
        Some((what, rest)) if what == "look" => looker::main(rest),
        _ => Err("wrong child: write or look".to_owned()),
    };
    match outcome {
        Ok(()) => 0,
        Err(text) => {
            channel::say(&text.replace('\n', "; "));
            1
        }
    }
}

/// What is said of an error of the store that ends a process: `stopped` for one that the disk may
/// be the cause of, `wrong` for one that nothing excuses.
pub(crate) fn ended_by(what: &str, error: &Error) -> String {
    let word = if is_excusable(error) { "stopped" } else { "wrong" };
    format!("{word} {} {what}: {error}", kind_of(error))
}

/// Whether a failure of the disk may be the cause of an error.
pub(crate) fn is_excusable(error: &Error) -> bool {
    match error {
        Error::Io { .. } | Error::NoSpace { .. } => true,
        Error::WriteStopped { reason } => is_excusable(reason),
        _ => false,
    }
}

/// The error's kind, in one word.
pub(crate) fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => "Io",
        Error::NoSpace { .. } => "NoSpace",
        Error::WriteStopped { .. } => "WriteStopped",
        _ => "Other",
    }
}
