//! Watching writers that wait for background work.
//!
//! A wait of one cause is one stall, however often the writer looks whether it may go on; it ends
//! when the writer goes on, fails, or waits for something else.

use std::sync::Arc;
use std::time::Duration;

use crate::db::core::Core;
use crate::db::events::{trace, why};
use crate::metrics::{Event, StallCause, Stalled};

/// The waits of one write. Dropping it ends the one that goes on.
pub(crate) struct StallWatch<'a> {
    core: &'a Arc<Core>,
    current: Option<Wait>,
}

struct Wait {
    cause: StallCause,
    reason: String,
    began: Duration,
    _span: trace::Span,
}

impl<'a> StallWatch<'a> {
    pub(crate) fn new(core: &'a Arc<Core>) -> StallWatch<'a> {
        StallWatch { core, current: None }
    }

    /// The writer is about to wait. The caller holds no lock of the engine.
    pub(crate) fn waits(&mut self, cause: StallCause) {
        if self.current.as_ref().is_some_and(|wait| wait.cause == cause) {
            return;
        }
        self.end();
        let reason = why::stall(self.core, cause);
        let begun = Stalled { cause, reason: reason.clone(), micros: 0 };
        self.core.events.tell(Event::StallBegun(begun));
        self.current = Some(Wait {
            cause,
            reason,
            began: self.core.env.now(),
            _span: trace::span(trace::Of::Stall, cause.name()),
        });
    }

    fn end(&mut self) {
        let Some(Wait { cause, reason, began, .. }) = self.current.take() else { return };
        let waited = self.core.env.now().saturating_sub(began);
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.core.latencies.stall.record(micros.saturating_mul(1_000));
        self.core.latencies.stalls.record(cause, micros);
        self.core.events.tell(Event::StallEnded(Stalled { cause, reason, micros }));
    }
}

impl Drop for StallWatch<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
