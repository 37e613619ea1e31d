//! Tools that hold the engine to its promises: a model, generated operations, simulated crashes,
//! damaged files. They know the engine by its public interface only.
//!
//! | Runner | Asks |
//! |---|---|
//! | [`runner`] | does every answer equal the model's, under every set of options? |
//! | [`crash`] | is every state that a crash may leave the model at one write? |
//! | [`damage`] | is every changed byte noticed, and nothing wrong ever returned? |
//!
//! The tests beside this crate run a part that fits into every build. `ALLUVIUM_SEEDS=n` runs n seeds,
//! `ALLUVIUM_SEED=n` the one that a failure printed.

pub mod configs;
pub mod crash;
pub mod damage;
pub mod generator;
pub mod liar;
pub mod model;
pub mod operation;
pub mod random;
pub mod runner;
pub mod session;
pub mod shrink;
pub mod watchdog;
pub mod workloads;
