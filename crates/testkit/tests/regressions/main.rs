//! Bugs that other engines had in public, each as a test that this engine would fail if it had the
//! bug too.
//!
//! A test's name begins with the number of its bug in docs/regressions.md; its comment names the
//! issue, what went wrong there, and how it would show here. Nothing depends on time: a test that
//! could hang runs under a watchdog, which ends the process with the test's name.

mod compaction;
mod deletes;
mod errors;
mod hook;
mod iterators;
mod manifest;
mod recovery;
mod sizes;
mod store;
mod table;
mod wal;
