//! Group commit: writers queue, one of them leads, its group shares one write and one sync.
//!
//! # The steps
//!
//! 1. A writer that finds nobody leading leads. Others queue and sleep.
//! 2. The leader takes whoever has queued up, up to [`GROUP_BYTES_MAX`], and runs the group.
//! 3. It hands each follower its result, and the lead to the first that has queued since.
//!
//! A lone writer pays two uncontended locks, one to lead and one to hand the lead on, and allocates
//! nothing: where nobody led, nobody has queued. While a leader syncs, the next
//! group gathers by itself, so the number of syncs follows the device and not the writers.
//!
//! # The road not taken
//!
//! A dedicated log thread: on two cores the two context switches a write cost more than the overlap
//! gains.
//!
//! This file knows batches and results only; what a group does is passed in, so that it is tested
//! without a store.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::planted;
use crate::base::sync::{Condvar, Mutex};
use crate::batch::BatchBuffer;
use crate::options::Durability;

/// A group stops growing at this size, so that one writer's latency is not another's megabytes.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// One write on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) batch: BatchBuffer,
    pub(crate) durability: Durability,
    /// Where in the segment of the log the batch begins, once it is there.
    pub(crate) logged_at: u64,
}

/// A queued writer.
#[derive(Debug)]
struct Waiter {
    state: Mutex<WaiterState>,
    signal: Condvar,
    bytes: usize,
}

#[derive(Debug)]
enum WaiterState {
    /// Queued.
    Waiting(Request),
    /// Taken into a group that is running.
    Taken,
    /// Its group has run.
    Done(Result<()>),
    /// It leads the next group.
    Leads(Request),
}

#[derive(Debug, Default)]
struct QueueState {
    leading: bool,
    waiting: VecDeque<Arc<Waiter>>,
}

/// The queue of writers.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue {
    state: Mutex<QueueState>,
}

impl CommitQueue {
    /// Commits `request`, alone or in a group. `run` is called by the leader with the whole group;
    /// its result goes to every member.
    pub(crate) fn commit(
        &self,
        request: Request,
        run: impl FnOnce(&mut [Request]) -> Result<()>,
    ) -> Result<()> {
        let waiter = {
            let mut state = self.state.lock();
            if state.leading {
                let bytes = request.batch.byte_size();
                let state_of_waiter = Mutex::new(WaiterState::Waiting(request));
                let waiter =
                    Arc::new(Waiter { state: state_of_waiter, signal: Condvar::new(), bytes });
                state.waiting.push_back(Arc::clone(&waiter));
                Err(waiter)
            } else {
                state.leading = true;
                Ok(request)
            }
        };
        let (own, others_queued) = match waiter {
            Ok(request) => (request, false),
            Err(waiter) => match waiter.wait() {
                Turn::Done(result) => return result,
                Turn::Leads(request) => (request, true),
            },
        };
        // The lead is handed on even if `run` panics: the other writers must not wait for ever.
        let mut lead = Lead { queue: self, followers: Vec::new(), result: None };
        let bytes = own.batch.byte_size();
        let followers = if others_queued { lead.gather(bytes) } else { Vec::new() };
        let result = if followers.is_empty() {
            run(&mut [own])
        } else {
            let mut group = vec![own];
            group.extend(followers);
            run(&mut group)
        };
        lead.result = Some(result.clone());
        result
    }
}

enum Turn {
    Done(Result<()>),
    Leads(Request),
}

impl Waiter {
    fn wait(&self) -> Turn {
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut *state, WaiterState::Taken) {
                WaiterState::Done(result) => return Turn::Done(result),
                WaiterState::Leads(request) => return Turn::Leads(request),
                other => *state = other,
            }
            state = self.signal.wait(state);
        }
    }

    fn take(&self) -> Option<Request> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, WaiterState::Taken) {
            WaiterState::Waiting(request) => Some(request),
            other => {
                *state = other;
                None
            }
        }
    }

    fn set(&self, next: WaiterState) {
        *self.state.lock() = next;
        if !planted::in_order("waiting-writer-not-told") {
            self.signal.notify_one();
        }
    }
}

/// The leader's duty: to answer its followers and hand on the lead, whatever happens.
struct Lead<'a> {
    queue: &'a CommitQueue,
    followers: Vec<Arc<Waiter>>,
    result: Option<Result<()>>,
}

impl Lead<'_> {
    /// Takes queued writers into the group.
    fn gather(&mut self, own_bytes: usize) -> Vec<Request> {
        let mut bytes = own_bytes;
        let mut requests = Vec::new();
        let mut state = self.queue.state.lock();
        while let Some(waiter) = state.waiting.front() {
            if bytes + waiter.bytes > GROUP_BYTES_MAX {
                break;
            }
            bytes += waiter.bytes;
            if let Some(waiter) = state.waiting.pop_front()
                && let Some(request) = waiter.take()
            {
                requests.push(request);
                self.followers.push(waiter);
            }
        }
        requests
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let next = {
            let mut state = self.queue.state.lock();
            let next = state.waiting.pop_front();
            state.leading = next.is_some() && !planted::in_order("two-leaders");
            next
        };
        if let Some(next) = next
            && let Some(request) = next.take()
        {
            next.set(WaiterState::Leads(request));
        }
        let all_well = planted::in_order("followers-told-that-all-is-well").then_some(Ok(()));
        let result = all_well.or(self.result.take()).unwrap_or_else(|| {
            Err(crate::base::error::Error::Panicked {
                detail: "the leader of this write's group panicked".to_owned(),
            })
        });
        for follower in &self.followers {
            follower.set(WaiterState::Done(result.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
