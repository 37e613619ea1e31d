//! Turns a hang into a failure: whoever works under a watchdog must show life, or the process ends
//! with the name of what hung. A test that hangs would otherwise end without a word.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    watched: Arc<Mutex<Watched>>,
}

#[derive(Debug)]
struct Watched {
    label: String,
    since: Instant,
    done: bool,
}

impl Watchdog {
    /// Begins to watch; each step may take up to `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Watchdog {
        let since = Instant::now();
        let watched = Watched { label: "the beginning".to_owned(), since, done: false };
        let watched = Arc::new(Mutex::new(watched));
        let seen = Arc::clone(&watched);
        thread::spawn(move || {
            loop {
                thread::sleep(LOOK_EVERY);
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.done {
                    return;
                }
                if seen.since.elapsed() > limit {
                    eprintln!("hung for more than {limit:?}: {}", seen.label);
                    std::process::abort();
                }
            }
        });
        Watchdog { watched }
    }

    /// The next step begins.
    pub fn step(&self, label: impl Into<String>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.label = label.into();
        watched.since = Instant::now();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).done = true;
    }
}
