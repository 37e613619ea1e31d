//! The thread that writes `STATUS`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileId;
use crate::base::sync::{Condvar, Mutex};
use crate::db::core::Core;
use crate::db::stats;
use crate::db::status::{Status, encode, status_env};
use crate::env::{Env, WorkerThread};
use crate::metrics::Counters;

/// A store in which nothing happens writes the file anew each time this many intervals have passed:
/// whoever looks can tell it from one whose process is gone.
const IDLE_INTERVALS: u32 = 10;

/// What the thread and the store share.
#[derive(Debug, Default)]
pub(crate) struct StatusWriter {
    stopping: Mutex<bool>,
    wake: Condvar,
    thread: Mutex<Option<Box<dyn WorkerThread>>>,
}

/// What tells one state of the store from another, as far as the file is concerned.
type Mark = (Vec<(&'static str, u64)>, u64, u64);

/// Puts the history that an earlier life left in front of this one's. What is damaged or missing is
/// left out: it is no part of the store.
pub(crate) fn inherit(core: &Core) {
    if core.options.status_interval.is_some()
        && let Ok(Some(earlier)) = status_env(&core.env)
    {
        core.events.inherit(earlier.history);
    }
}

/// Starts the thread, where one is asked for. That it can't be started fails nothing.
pub(crate) fn start(core: &Arc<Core>) {
    let Some(interval) = core.options.status_interval else { return };
    if core.options.background_threads == 0 {
        return;
    }
    let shared = Arc::clone(core);
    let body = Box::new(move || work(&shared, interval));
    match core.env.spawn("alluvium-status", body) {
        Ok(thread) => *core.status.thread.lock() = Some(thread),
        Err(_) => core.counters.status_failures.add(1),
    }
}

/// Ends the thread, and writes the file for the last time. Called once everything else has ended.
pub(crate) fn stop(core: &Arc<Core>) {
    *core.status.stopping.lock() = true;
    core.status.wake.notify_all();
    let thread = core.status.thread.lock().take();
    if let Some(thread) = thread {
        thread.join();
    }
    if core.options.status_interval.is_some() {
        write(core, false);
    }
}

fn work(core: &Arc<Core>, interval: Duration) {
    let mut written: Option<Mark> = None;
    let mut idle = 0;
    loop {
        let now = mark(core);
        idle += 1;
        if idle >= IDLE_INTERVALS || written.as_ref() != Some(&now) {
            write(core, true);
            (written, idle) = (Some(now), 0);
        }
        let stopping = core.status.stopping.lock();
        if *stopping {
            return;
        }
        let (stopping, _) = core.status.wake.wait_timeout(stopping, interval);
        if *stopping {
            return;
        }
    }
}

fn mark(core: &Core) -> Mark {
    let mut counters = core.counters.snapshot();
    counters.retain(|(name, _)| *name != "status_failures");
    (counters, core.visible().get(), core.events.history_mark())
}

fn write(core: &Arc<Core>, is_open: bool) {
    let mut status = Status {
        written_unix_ms: core.events.unix_ms(),
        is_open,
        stats: stats::collect(core),
        history: core.events.history(),
    };
    if !is_open {
        // That it is closed is no failure.
        status.stats.error = core.scheduler.damage().map(|error| error.to_string());
    }
    replace(core.env.as_ref(), &core.counters, &encode(&mut status));
}

/// Replaces the file. A failure is counted and no more.
fn replace(env: &dyn Env, counters: &Counters, bytes: &[u8]) {
    let temporary = FileId::StatusTemporary;
    let created = env.create(temporary).or_else(|error| match error.kind() {
        // Left by a process that was killed, or by a write that failed.
        io::ErrorKind::AlreadyExists => env.remove(temporary).and_then(|()| env.create(temporary)),
        _ => Err(error),
    });
    let replaced = created
        .and_then(|file| file.append(bytes))
        .and_then(|()| env.rename(temporary, FileId::Status));
    if replaced.is_err() {
        counters.status_failures.add(1);
        // Tried again at the next turn, and by the next open.
        drop(env.remove(temporary));
    }
}
