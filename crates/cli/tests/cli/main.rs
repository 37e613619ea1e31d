//! The built program, run as a user runs it: arguments in, output, sentences and exit codes out.
//!
//! One test binary with a module a subject, so that the program is linked once.

mod clicks;
mod clickstream;
mod entries;
mod kill;
mod program;
mod refusals;
mod repair;
mod status;
