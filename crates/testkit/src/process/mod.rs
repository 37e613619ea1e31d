//! The real thing: real processes, real directories, real system calls.
//!
//! What the simulated disks can't show: whether [`alluvium::env::PosixEnv`] does what they assume,
//! and what a process that is killed leaves behind.
//!
//! | Part | Asks |
//! |---|---|
//! | [`kill`] | is everything acknowledged there after any kill, a thousand times over? |
//!
//! A store is written by a process of its own, the *writer* ([`writer`]), and read by another, the
//! *looker* ([`looker`]). Both are sub-commands of `alluvium-torture`. They talk to the harness in
//! lines on a pipe ([`channel`]); the harness knows what there must be ([`history`]), because what
//! a writer does follows from its seed ([`plan`]).

pub mod channel;
pub mod history;
pub mod kill;
pub mod kill_env;
pub mod looker;
pub mod plan;
pub mod scratch;
pub mod value;
pub mod writer;

/// Runs a sub-command of `alluvium-torture child`; the process ends with what it returns.
#[must_use]
pub fn child(arguments: &[String]) -> u8 {
    let outcome = match arguments.split_first() {
        Some((what, rest)) if what == "write" => writer::main(rest),
        Some((what, rest)) if what == "look" => looker::main(rest),
        _ => Err("child: write or look".to_owned()),
    };
    match outcome {
        Ok(()) => 0,
        Err(text) => {
            channel::say(&format!("wrong {}", text.replace('\n', "; ")));
            1
        }
    }
}
