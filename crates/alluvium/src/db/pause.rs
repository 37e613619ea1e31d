//! Keeping background work from beginning, for as long as somebody wants it so.

use std::sync::Arc;

use crate::db::core::Core;
use crate::db::handle::Shared;

/// While any of these lives, no flush and no compaction begins. Dropping it, or
/// [`BackgroundPause::resume`], ends its pause; background work goes on when the last has ended.
///
/// Meanwhile reads are as ever. Writes go on at full speed until memory or level 0 is at its bound:
/// then they wait until background work is resumed, or the store is closed. So do not write much
/// from the thread that holds this. Calls that need a flush or a compaction
/// ([`crate::Db::flush`], [`crate::Db::compact`], [`crate::Db::wait_idle`]) fail with
/// [`crate::Error::InvalidArgument`] where they would have to wait for one.
///
/// It keeps the store open, as every handle does.
#[derive(Debug)]
#[must_use = "background work is resumed when this is dropped"]
pub struct BackgroundPause {
    shared: Arc<Shared>,
}

impl BackgroundPause {
    /// Pauses, and waits until the jobs that run have ended.
    pub(crate) fn begin(shared: &Arc<Shared>) -> BackgroundPause {
        let pause = BackgroundPause { shared: Arc::clone(shared) };
        let core = pause.core();
        core.scheduler.pause();
        // Whoever is held by the limit gets on.
        core.limiter.look_again();
        core.scheduler.wait_for_jobs();
        pause
    }

    fn core(&self) -> &Core {
        &self.shared.core
    }

    /// Ends this pause.
    pub fn resume(self) {
        drop(self);
    }
}

impl Drop for BackgroundPause {
    fn drop(&mut self) {
        self.core().scheduler.resume();
    }
}
