//! The single place that locks, atomics and swapped pointers come from.
//!
//! A panic under one of these locks does not poison it: the engine's workers catch panics at their
//! root and stop all writes (see `db::background`), which is the real answer to a broken
//! invariant; a second panic in every reader would only hide the first.
//!
//! # Three worlds
//!
//! An ordinary build takes everything from the standard library, and swapped pointers from
//! `arc-swap`. Built with `--cfg loom` or `--cfg shuttle`, the same names are those of a test's
//! scheduler: each use is a point at which it may let another thread go on, so that a test tries
//! orders instead of waiting for them (docs/testing.md, "Schedules").
//!
//! | name | for | loom | shuttle |
//! |---|---|---|---|
//! | [`Mutex`], [`Condvar`], [`ArcSwap`], [`atomic`] | what threads meet over | its own | its own |
//! | [`fine_atomic`] | the nodes of a memtable's tree | its own | `std` |
//! | [`tally`] | counts by which nothing is decided that must be exact | `std` | `std` |
//! | [`ShortCut`] | what may as well not be there | `std` | `std` |
//!
//! A search in a memtable loads dozens of them; if each were a point of choice, whole-store
//! schedules would consist of little else. `Arc`, `Weak` and `OnceLock` are those of the standard
//! library everywhere: no thread waits in them, and what they order is ordered at the points around
//! them too. Neither tool knows `arc-swap`; there a swapped pointer is one under a lock, which
//! orders more than the real one does.

#[cfg(all(test, loom))]
mod explore;
#[cfg(any(loom, shuttle))]
mod modelled;
#[cfg(not(any(loom, shuttle)))]
mod ordinary;
mod short_cut;

#[cfg(all(test, loom))]
pub(crate) use explore::explore;
#[cfg(any(loom, shuttle))]
pub(crate) use modelled::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use ordinary::*;
pub(crate) use short_cut::{Look, ShortCut};
pub(crate) use std::sync::atomic as tally;
