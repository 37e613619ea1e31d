//! Did every injected error come to light? Each carries a token, and behind each call of the store
//! the new tokens are looked for: in the error that the call returned, and in the failures that the
//! store says its background work met ([`alluvium::Stats::recent_failures`]).
//!
//! A swallowed error is the beginning of lost data, so what may stay silent is listed here, each
//! with its reason, and nothing else is:
//!
//! - **Removing a file** that nothing names any more: the file stays, the store counts it
//!   (`removals_failed`) and removes it at the next open. When opening itself removes, it fails.
//! - **A read that was done again**, at the same place and by the same thread as its next read, and
//!   was not hit, or was hit by a fault that is answered for.
//! - **Closing a store that is merely dropped**: there is nobody to tell. Nothing acknowledged
//!   depends on it.
//! - **Beside another**: a call gives one error. Where it gives one of the injected ones, others
//!   that struck during the same call may be missing from it.
//!
//! Faults that give other bytes instead of an error carry no token; that no wrong answer came of
//! them is what the model is asked.

use alluvium::env::{FaultEnv, Injection, Operation, Repeat};
use alluvium::{Db, Error};

/// How the injected faults came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Errors that a call of the store returned.
    pub returned: u64,
    /// Errors that background work noted.
    pub noted: u64,
    /// Reads that were done again.
    pub reread: u64,
    /// Removals that were left for later.
    pub removals: u64,
    /// Errors beside the one that a call returned.
    pub beside: u64,
    /// Errors in closing a store that was dropped.
    pub unasked: u64,
    /// Faults without an error: other bytes.
    pub bent: u64,
}

impl Tokens {
    pub(super) fn add(&mut self, other: &Tokens) {
        self.returned += other.returned;
        self.noted += other.noted;
        self.reread += other.reread;
        self.removals += other.removals;
        self.beside += other.beside;
        self.unasked += other.unasked;
        self.bent += other.bent;
    }
}

/// Follows the tokens of one run.
#[derive(Debug)]
pub(super) struct Ledger {
    env: FaultEnv,
    settled: u64,
    /// With worker threads an error may be noted after the call in which it struck.
    workers: bool,
    waiting: Vec<Injection>,
    pub(super) tokens: Tokens,
}

impl Ledger {
    pub(super) fn new(env: FaultEnv, workers: bool) -> Ledger {
        Ledger { env, settled: 0, workers, waiting: Vec::new(), tokens: Tokens::default() }
    }

    /// A call has ended, with this error if any; `db` is the store where it is open.
    pub(super) fn settle(&mut self, error: Option<&Error>, db: Option<&Db>) -> Result<(), String> {
        // What this thread reads in its next call is no repeat of what it read in this one.
        self.env.forget_failed_read();
        if self.env.injected() == self.settled && self.waiting.is_empty() {
            return Ok(());
        }
        // Counted from what was taken: another thread may meet a fault at any moment, and one that
        // is never looked at is missing as the answer to the read before it, too.
        let fresh = self.env.injections_after(self.settled);
        self.settled += fresh.len() as u64;
        let mut new = std::mem::take(&mut self.waiting);
        new.extend(fresh);
        let returned = error.map(ToString::to_string).unwrap_or_default();
        let noted = db.map(|db| db.stats().recent_failures).unwrap_or_default();
        let directory = "memory";
        let is_returned = |one: &Injection| tells(&returned, one, directory);
        let is_noted = |one: &Injection| noted.iter().any(|text| tells(text, one, directory));
        let is_told = |one: &Injection| is_returned(one) || is_noted(one);
        // A store that a fault has stopped answers with that one for ever.
        let answered = error.is_some() && self.env.injections().iter().any(is_told);
        for one in &new {
            let count = if !one.fault.is_error() {
                &mut self.tokens.bent
            } else if is_returned(one) {
                &mut self.tokens.returned
            } else if is_noted(one) {
                &mut self.tokens.noted
            } else if one.operation == Operation::Remove && error.is_none() {
                &mut self.tokens.removals
            } else if self.was_repeated(one, &is_told) {
                &mut self.tokens.reread
            } else if answered {
                &mut self.tokens.beside
            } else if self.workers {
                self.waiting.push(one.clone());
                continue;
            } else {
                return Err(format!("swallowed: {one}; the call gave {returned:?}"));
            };
            *count += 1;
        }
        Ok(())
    }

    /// Whether the read was done again in the end without being hit by a fault, or the last of
    /// those that hit it `is_told`, or gave other bytes.
    fn was_repeated(&self, one: &Injection, is_told: &impl Fn(&Injection) -> bool) -> bool {
        let mut number = one.number;
        loop {
            match self.env.repeat_of(number) {
                Some(Repeat::Succeeded) => return true,
                Some(Repeat::Hit(by)) => number = by,
                None if number == one.number => return false,
                None => {
                    let hit_by = self.env.injections_after(number - 1);
                    return hit_by.first().is_some_and(|by| !by.fault.is_error() || is_told(by));
                }
            }
        }
    }

    /// The store was dropped without being closed.
    pub(super) fn dropped(&mut self) {
        self.tokens.unasked += self.env.injected() - self.settled + self.waiting.len() as u64;
        self.settled = self.env.injected();
        self.waiting.clear();
    }

    /// The run is over, the fault was taken away, and background work is at rest: whatever was to
    /// be done again has been.
    pub(super) fn finish(&mut self, db: Option<&Db>) -> Result<(), String> {
        self.settle(None, db)?;
        match self.waiting.first() {
            Some(one) => Err(format!("swallowed by a worker: {one}")),
            None => Ok(()),
        }
    }
}

/// Whether `text` tells of this fault. A full disk and a lack of file handles have no room for a
/// token; their errors name the file.
fn tells(text: &str, one: &Injection, directory: &str) -> bool {
    use alluvium::env::Fault;
    let place = || match one.file {
        Some(file) => format!("{directory}/{}", file.name()),
        None => directory.to_owned(),
    };
    match one.fault {
        Fault::DiskFull => text.contains(&format!("{}: the disk is full", place())),
        Fault::TooManyFiles => text.contains(&place()) && text.contains("os error 24"),
        _ => text.contains(&one.token()),
    }
}
