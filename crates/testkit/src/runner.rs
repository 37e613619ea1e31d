//! The model test: a generated run against a store, with every answer compared; a failing run is
//! made small and printed with the seed that replays it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use alluvium::env::{Env, MemEnv};

use crate::configs::{self, Config};
use crate::generator::{Generator, Mix};
use crate::model::Model;
use crate::operation::Operation;
use crate::session::{Failure, Session};
use crate::shrink::shrink;
use crate::torture::Turn;

/// How often a failing run is tried again to make it small.
const SHRINK_TRIES: usize = 2_000;

/// Does `run` to a new store on `env`, then checks all of it, closes, reopens and checks again.
///
/// # Errors
///
/// The first answer that differs from the model's, any error of the store, or a panic.
pub fn run_model(env: Arc<dyn Env>, config: &Config, run: &[Operation]) -> Result<(), String> {
    run_from(Model::default(), env, config, run)
}

/// Does `run` to a new store whose clock it moves.
///
/// # Errors
///
/// As [`run_model`].
pub fn run_with_clock(env: &MemEnv, config: &Config, run: &[Operation]) -> Result<(), String> {
    run_from(Model::with_clock(env), Arc::new(env.clone()), config, run)
}

fn run_from(
    model: Model,
    env: Arc<dyn Env>,
    config: &Config,
    run: &[Operation],
) -> Result<(), String> {
    let body = || -> Result<(), String> {
        let mut session = Session::new(env, config.options.clone(), model);
        session.open().map_err(|failure| format!("opening: {failure}"))?;
        for (index, operation) in run.iter().enumerate() {
            session
                .step(operation)
                .map_err(|failure| format!("operation {index}, {operation:?}: {failure}"))?;
        }
        finish(&mut session).map_err(|failure| format!("at the end: {failure}"))
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(panic_text(&*panic)))
}

fn finish(session: &mut Session) -> Result<(), Failure> {
    session.check_all()?;
    session.verify()?;
    session.check_all()?;
    session.close()
}

/// Runs the run of `seed` on an environment in memory, and panics with a small failing run and how
/// to replay it where an answer differs.
///
/// # Panics
///
/// On any difference.
pub fn check_seed(config: &Config, seed: u64, mix: Mix) {
    try_seed(config, seed, mix).unwrap_or_else(|text| panic!("{text}"));
}

fn try_seed(config: &Config, seed: u64, mix: Mix) -> Result<(), String> {
    let run = Generator::run(seed, mix);
    let attempt = |run: &[Operation]| run_with_clock(&MemEnv::new(), config, run);
    let Err(first) = attempt(&run) else { return Ok(()) };
    let small = shrink(&run, SHRINK_TRIES, |run| attempt(run).is_err());
    let message = attempt(&small).err().unwrap_or_else(|| "does not fail again".to_owned());
    let listing: String = small.iter().map(|operation| format!("\n  {operation:?}")).collect();
    Err(format!(
        "options \"{}\", seed {seed} (replay: ALLUVIUM_SEED={seed}):\n{first}\nin short:{listing}\n\
         {message}",
        config.name
    ))
}

/// Generated runs under one set of options after the other, until the turn is over.
pub fn torture(turn: &mut Turn) {
    let mix = Mix { operations: 600, reads: true, value_bytes_max: 9_000 };
    for config in configs::all().iter().cycle() {
        if !turn.goes_on() {
            return;
        }
        let seed = turn.seed();
        turn.note(try_seed(config, seed, mix).map(|()| 1));
    }
}

/// The text of a panic.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a panic: {}", text.unwrap_or_else(|| "without a text".to_owned()))
}

/// The seeds to run: the one in `ALLUVIUM_SEED`, or as many as `ALLUVIUM_SEEDS` says, or `count`.
#[must_use]
pub fn seeds(count: u64) -> Vec<u64> {
    if let Some(seed) = number("ALLUVIUM_SEED") {
        return vec![seed];
    }
    (0..number("ALLUVIUM_SEEDS").unwrap_or(count)).collect()
}

/// A number from the environment.
///
/// # Panics
///
/// Where the variable is no number.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
