//! Groups over threads: each request once, failures shared, nobody left waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::base::error::Error;
use crate::batch::ColumnFamilyId;
use crate::env::{Env, MemEnv};

fn request(key: &[u8]) -> Request {
    let mut batch = BatchBuffer::new();
    batch.put(ColumnFamilyId::DEFAULT, key, b"v");
    Request { batch, durability: Durability::Os, logged_at: 0 }
}

/// Runs `body(i)` on `count` threads and waits for them.
fn on_threads(count: usize, body: impl Fn(usize) + Send + Sync + 'static) {
    let env = MemEnv::new();
    let body = Arc::new(body);
    let threads: Vec<_> = (0..count)
        .map(|index| {
            let body = Arc::clone(&body);
            env.spawn("writer", Box::new(move || body(index))).unwrap()
        })
        .collect();
    for thread in threads {
        thread.join();
    }
}

#[test]
fn every_request_runs_exactly_once_and_groups_never_overlap() {
    let queue = Arc::new(CommitQueue::default());
    let running = Arc::new(AtomicUsize::new(0));
    let committed = Arc::new(AtomicU64::new(0));
    let (total, inside) = (Arc::clone(&committed), Arc::clone(&running));
    on_threads(8, move |_| {
        for _ in 0..500 {
            queue
                .commit(request(b"k"), |group| {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    total.fetch_add(group.len() as u64, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                })
                .unwrap();
        }
    });
    assert_eq!(committed.load(Ordering::SeqCst), 4_000);
}

/// facebook/rocksdb#3096: a leader that failed once told its followers that all was well.
#[test]
fn reg_w10_a_leaders_failure_is_every_followers_failure() {
    let queue = Arc::new(CommitQueue::default());
    let succeeded = Arc::new(AtomicUsize::new(0));
    let (queue_of_threads, count) = (Arc::clone(&queue), Arc::clone(&succeeded));
    on_threads(8, move |_| {
        for _ in 0..50 {
            let result = queue_of_threads.commit(request(b"k"), |_| {
                MemEnv::new().sleep(Duration::from_micros(50));
                Err(Error::Closed)
            });
            count.fetch_add(usize::from(result.is_ok()), Ordering::SeqCst);
        }
    });
    assert_eq!(succeeded.load(Ordering::SeqCst), 0);
}

#[test]
fn a_leader_that_panics_leaves_nobody_waiting() {
    let queue = Arc::new(CommitQueue::default());
    let outcomes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&outcomes);
    on_threads(4, move |index| {
        for round in 0..50 {
            let run = std::panic::AssertUnwindSafe(|| {
                queue.commit(request(b"k"), |_| {
                    assert!(index != 0 || round % 10 != 0, "planned");
                    Ok(())
                })
            });
            drop(std::panic::catch_unwind(run));
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert_eq!(outcomes.load(Ordering::SeqCst), 200);
}
