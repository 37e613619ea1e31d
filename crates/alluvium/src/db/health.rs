//! Whether the store can write, and why not.
//!
//! ```text
//! Healthy --failed sync, unknown log tail, damaged manifest, worker panic--> Stopped   (reopen)
//! Healthy --close--> Closed
//! ```
//!
//! A full disk is not a state here: the log keeps its own note (`WalSet::failure`) and tries again
//! with the next write, background work tries again by itself (`db::background`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::error::{Error, Result};
use crate::base::sync::Mutex;

/// The state, cheap to ask.
#[derive(Debug, Default)]
pub(crate) struct Health {
    refuses: AtomicBool,
    reason: Mutex<Option<Error>>,
}

impl Health {
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
        if first.is_none() {
            *first = Some(reason);
        }
        self.refuses.store(true, Ordering::Release);
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
