//! Telling what happens: to the history, to listeners, and to `tracing` where it is built in.
//!
//! # Two steps
//!
//! An event is [noted](Events::note) where it happens, which may be under a lock of the engine: it
//! goes into the history at once, and into a queue for the listeners. It is
//! [delivered](Events::deliver) by a thread that holds no lock of the engine: at the end of a
//! write, of a job, of an open or a close, and by [`Events::tell`], which does both. So a listener
//! may take its time, and may read the store.
//!
//! Events of one thread are delivered in their order. Between threads there is none: a lock that
//! kept one would be held while a listener runs.
//!
//! # Panics
//!
//! A listener that panics is caught and never called again. Whatever it had half done is its own:
//! it was lent nothing of the engine but the event.

pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod observed_env;
pub(crate) mod stalls;
pub(crate) mod trace;
pub(crate) mod why;
pub(crate) mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::base::sync::Mutex;
use crate::base::sync::tally::{AtomicBool, AtomicU64, Ordering};
use crate::db::events::history::{History, HistoryEntry};
use crate::env::Env;
use crate::metrics::{Counters, Event, EventListener, Listeners};

/// A listener, and whether it panicked.
struct Registered {
    listener: Arc<dyn EventListener>,
    broken: AtomicBool,
}

/// Where events go. One for a store.
pub(crate) struct Events {
    env: Arc<dyn Env>,
    counters: Arc<Counters>,
    listeners: Vec<Registered>,
    history: Mutex<History>,
    queue: Mutex<Vec<Event>>,
    /// Whether the queue holds any; a hint, so that writers need not take its lock.
    queued: AtomicBool,
    jobs: AtomicU64,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("listeners", &self.listeners.len()).finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(
        env: Arc<dyn Env>,
        counters: Arc<Counters>,
        listeners: &Listeners,
    ) -> Arc<Events> {
        let registered = |listener: &Arc<dyn EventListener>| Registered {
            listener: Arc::clone(listener),
            broken: AtomicBool::new(false),
        };
        Arc::new(Events {
            env,
            counters,
            listeners: listeners.iter().map(registered).collect(),
            history: Mutex::new(History::default()),
            queue: Mutex::new(Vec::new()),
            queued: AtomicBool::new(false),
            jobs: AtomicU64::new(0),
        })
    }

    /// The name of the next flush or compaction.
    pub(crate) fn next_job(&self) -> u64 {
        self.jobs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes an event. May be called under any lock of the engine.
    pub(crate) fn note(&self, event: Event) {
        trace::event(&event);
        if let Some(text) = words::of(&event) {
            let now = self.unix_ms();
            self.history.lock().push(now, &event, text);
        }
        if !self.listeners.is_empty() {
            self.queue.lock().push(event);
            self.queued.store(true, Ordering::Release);
        }
    }

    /// Hands what was noted to the listeners. The caller holds no lock of the engine.
    pub(crate) fn deliver(&self) {
        // The load is for the many writes behind which nothing has happened.
        while self.queued.load(Ordering::Acquire) && self.queued.swap(false, Ordering::AcqRel) {
            let events = std::mem::take(&mut *self.queue.lock());
            for event in &events {
                self.call(event);
            }
        }
    }

    /// Notes an event and hands it to the listeners. The caller holds no lock of the engine.
    pub(crate) fn tell(&self, event: Event) {
        self.note(event);
        self.deliver();
    }

    fn call(&self, event: &Event) {
        for (index, one) in self.listeners.iter().enumerate() {
            if one.broken.load(Ordering::Acquire) {
                continue;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| one.listener.on_event(event)));
            let Err(panic) = outcome else { continue };
            if !one.broken.swap(true, Ordering::AcqRel) {
                self.counters.listener_panics.add(1);
                let detail = panic_text(panic.as_ref());
                self.note(Event::ListenerPanicked { listener: index, detail });
            }
        }
    }

    /// What happened, oldest first.
    pub(crate) fn history(&self) -> Vec<HistoryEntry> {
        self.history.lock().entries()
    }

    /// The number of the last entry of the history, and how often it was added to.
    pub(crate) fn history_mark(&self) -> u64 {
        self.history.lock().mark()
    }

    /// Puts what an earlier life of the store left in front.
    pub(crate) fn inherit(&self, entries: Vec<HistoryEntry>) {
        self.history.lock().inherit(entries);
    }

    /// The time of day in milliseconds since the beginning of 1970.
    pub(crate) fn unix_ms(&self) -> u64 {
        milliseconds(self.env.unix_time())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
