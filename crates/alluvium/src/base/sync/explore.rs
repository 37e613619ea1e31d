//! Runs a small body of two or three threads in every order that it can have.
//!
//! Loom remembers the last access to an atomic only. A thread that loads one before it stores there
//! hides from it that another thread had loaded it earlier, and the order in which the store comes
//! first is never tried. So the threads that write are started before those that read, and the
//! first thread only waits: then the loads come behind the stores, which loom sees.

use std::sync::Arc;

use super::tally::{AtomicU64, Ordering};

/// Runs `body` in all orders with at most `preemptions` switches away from a thread that could have
/// gone on, and with every value that a load may give under the memory model. Prints how many.
pub(crate) fn explore(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 100_000;
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("loom: {name}: {runs} schedules");
    assert!(runs > 1, "the threads never met");
}
