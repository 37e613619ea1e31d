//! Tools that hold the engine to its promises: a model, generated operations, simulated crashes,
//! damaged files. They know the engine by its public interface only.
//!
//! | Runner | Asks |
//! |---|---|
//! | [`runner`] | does every answer equal the model's, under every set of options? |
//! | [`metamorphic`] | does a script answer alike under 52 sets of options, changed on the way? |
//! | [`crash`] | is every state that a crash may leave the model at one write? |
//! | [`fault`] | is every failure of the disk answered, and nothing acknowledged lost by it? |
//! | [`healing`] | does a store with workers get on by itself once its disk is well again? |
//! | [`damage`] | is every changed byte noticed, and nothing wrong ever returned? |
//! | [`process`] | does all that hold for real processes, killed, on real directories? |
//! | [`fuzz`] | does every parser answer any bytes, and answer them rightly? |
//! | [`repair`] | does a damaged store give back all that is not damaged, and nothing else? |
//!
//! The tests beside this crate run a part that fits into every build; for more and for replaying a
//! failure:
//!
//! | Variable | Means |
//! |---|---|
//! | `ALLUVIUM_SEEDS` | run this many seeds |
//! | `ALLUVIUM_SEED` | run this seed only, as a failure printed it |
//! | `ALLUVIUM_SHRINK` | try this often to make a failing script small |
//! | `ALLUVIUM_WORKLOAD` | sweep workloads with this in their name only |
//! | `ALLUVIUM_CRASH_AT` | crash at this operation only; `17:3/5:2`: see [`crash::Route`] |
//! | `ALLUVIUM_FAIL_SYNC` | fail the sync of this number only |
//! | `ALLUVIUM_DRAWS` | images for each random crash policy |
//! | `ALLUVIUM_NESTED` | crash the recovery of one image in this many; 0 for none |
//! | `ALLUVIUM_FAULT_STEP` | fail every n-th operation; 1 for all |
//! | `ALLUVIUM_FAULT_AT` | fail the operation of this number only |
//! | `ALLUVIUM_FAULT_PLAN` | with the fault of this number only |
//! | `ALLUVIUM_DAMAGE_STEP` | damage every n-th byte only |
//! | `ALLUVIUM_KILLS` | kill so many processes for each seed |
//! | `ALLUVIUM_FUZZ_TARGET` | run this fuzz target only |
//! | `ALLUVIUM_FUZZ_INPUT` | give it this file only |

pub mod configs;
pub mod crash;
pub mod damage;
pub mod fault;
pub mod fuzz;
pub mod generator;
pub mod healing;
pub mod liar;
pub mod metamorphic;
pub mod model;
pub mod operation;
pub mod process;
pub mod random;
pub mod repair;
pub mod runner;
pub mod session;
pub mod shrink;
pub mod torture;
pub mod watchdog;
pub mod workloads;
