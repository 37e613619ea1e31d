//! Threads and a clock for a store whose threads a test's scheduler runs (`base::sync`): the clock
//! moves on when it is asked and when somebody sleeps, so that a schedule that is run again finds
//! the same times.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use crate::base::sync::thread::{Builder, JoinHandle, yield_now};
use crate::env::WorkerThread;

/// What passes from one look at the clock to the next.
const TICK: Duration = Duration::from_millis(1);

std::thread_local! {
    /// All threads of a schedule run on one thread of the system.
    static CLOCK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

pub(super) fn monotonic_now() -> Duration {
    pass(TICK)
}

/// Some day in 2020, and what has passed since.
pub(super) fn unix_time() -> Duration {
    Duration::from_secs(1_600_000_000) + CLOCK.get()
}

pub(super) fn sleep(duration: Duration) {
    pass(duration);
    yield_now();
}

fn pass(time: Duration) -> Duration {
    let now = CLOCK.get() + time;
    CLOCK.set(now);
    now
}

pub(super) fn spawn_thread(
    name: &str,
    body: Box<dyn FnOnce() + Send>,
) -> io::Result<Box<dyn WorkerThread>> {
    let handle = Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(Box::new(ScheduledThread(handle)))
}

#[derive(Debug)]
struct ScheduledThread(JoinHandle<()>);

impl WorkerThread for ScheduledThread {
    fn join(self: Box<Self>) {
        // A panic was already caught and recorded at the root of the thread's body.
        let _already_recorded = self.0.join();
    }
}
