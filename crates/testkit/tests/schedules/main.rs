//! Whole stores under a scheduler: commits, flushes, compactions, snapshots, cursors, families that
//! are dropped and stores that close, in orders drawn by `shuttle` and repeated exactly from what a
//! failure leaves behind (docs/testing.md, "Schedules").
//!
//! | Variable | Means |
//! |---|---|
//! | `ALLUVIUM_SCHEDULES` | schedules a scenario; 2,000 without it |
//! | `ALLUVIUM_SEED` | draw them from this seed |
//! | `ALLUVIUM_SCHEDULE` | run the one schedule in this file, as a failure left it |

#![cfg(shuttle)]

mod background;
mod endings;
mod stage;
mod writing;
