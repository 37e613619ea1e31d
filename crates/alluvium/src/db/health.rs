//! Whether the store can write, and why not; and what went wrong that no caller was told of.
//!
//! ```text
//! Healthy --failed sync, unknown log tail, damaged manifest, worker panic--> Stopped   (reopen)
//! Healthy --close--> Closed
//! ```
//!
//! A full disk is not a state here: the log keeps its own note (`WalSet::failure`) and tries again
//! with the next write, background work tries again by itself (`db::background`). A job that failed
//! and then succeeded leaves no error behind, so each failure is noted: a disk that fails now and
//! then is seen before it fails for good.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::db::events::Events;
use crate::metrics::Event;

/// How many failures of background work are remembered.
const FAILURES_KEPT: usize = 16;

/// The state, cheap to ask.
#[derive(Debug)]
pub(crate) struct Health {
    events: Arc<Events>,
    refuses: AtomicBool,
    reason: Mutex<Option<Error>>,
    failures: Mutex<Failures>,
}

/// Failures of background work since the store was opened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    /// The last of them, oldest first.
    pub(crate) recent: VecDeque<String>,
}

impl Health {
    pub(crate) fn new(events: Arc<Events>) -> Health {
        Health {
            events,
            refuses: AtomicBool::new(false),
            reason: Mutex::new(None),
            failures: Mutex::new(Failures::default()),
        }
    }

    /// Fails when writes are stopped.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if self.refuses.load(Ordering::Acquire) {
            return Err(self.answer());
        }
        Ok(())
    }

    /// Stops all writes. The first reason is kept.
    pub(crate) fn stop(&self, reason: Error) {
        let mut first = self.reason.lock();
        let is_first = first.is_none();
        if is_first {
            *first = Some(reason.clone());
        }
        self.refuses.store(true, Ordering::Release);
        drop(first);
        if is_first {
            self.events.note(Event::WritesStopped { error: reason });
        }
    }

    /// Notes that background work failed, whether it is tried again or not.
    pub(crate) fn note_failure(&self, what: &str, error: &Error) {
        let mut failures = self.failures.lock();
        failures.count += 1;
        if failures.recent.len() == FAILURES_KEPT {
            failures.recent.pop_front();
        }
        failures.recent.push_back(format!("{what}: {error}"));
        drop(failures);
        let (job, error) = (what.to_owned(), error.clone());
        self.events.note(Event::BackgroundError { job, error });
    }

    /// What was noted.
    pub(crate) fn failures(&self) -> Failures {
        self.failures.lock().clone()
    }

    /// Closes the store; says whether this call did it.
    pub(crate) fn close(&self) -> bool {
        let mut first = self.reason.lock();
        let was_open = !matches!(*first, Some(Error::Closed));
        *first = Some(Error::Closed);
        self.refuses.store(true, Ordering::Release);
        was_open
    }

    fn answer(&self) -> Error {
        match &*self.reason.lock() {
            Some(Error::Closed) | None => Error::Closed,
            Some(reason) => Error::WriteStopped { reason: Arc::new(reason.clone()) },
        }
    }
}
