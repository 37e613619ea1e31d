//! The metamorphic runner: one text file of operations under many sets of options. No option may
//! change an answer, so every run must answer as the model does, and so as every other run.
//!
//! ```text
//! seed ── generate ──> steps ──┬── model ───────────────────────────> history (expected)
//!                              ├── replay under 37 extreme sets ────> history
//!                              └── replay under 26 drawn sets ──────> history
//! ```
//!
//! Each restart of the store within a script opens it with other options than before. Where a
//! history differs, the script and then the options are made as small as they go, printed, and
//! written to `target/metamorphic/`; such a file goes into `tests/metamorphic/`, from where it is
//! replayed under all sets by the ordinary tests.
//!
//! The text is described in [`text`], the options in [`knobs`].

pub mod answer;
pub mod generate;
pub mod knobs;
pub mod model;
pub mod reduce;
pub mod replay;
pub mod step;
pub mod text;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use alluvium::env::MemEnv;

use crate::configs;
use crate::metamorphic::answer::{Answer, difference};
use crate::metamorphic::knobs::Setting;
use crate::metamorphic::replay::{Place, Replay};
use crate::metamorphic::step::Step;
use crate::metamorphic::text::Script;
use crate::random::Random;
use crate::runner::panic_text;
use crate::torture::Turn;
use crate::watchdog::Watchdog;

/// Steps of a generated script in a long run.
pub const STEPS: usize = 800;

/// Random sets of options for each script.
const DRAWN_SETS: usize = 26;

/// How long one run may take before it counts as hung.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// One run of a script: what to call it, and its options, a set for each life of the store.
#[derive(Debug, Clone)]
pub struct Run {
    /// For messages.
    pub name: String,
    /// A set for each life.
    pub settings: Vec<Setting>,
}

/// Every run of a script with this many lives: each named set, every second life under another of
/// them; and as many sets that are drawn, every life another.
#[must_use]
pub fn runs(seed: u64, lives: usize) -> Vec<Run> {
    let named = configs::all();
    let mut runs = Vec::new();
    for (index, config) in named.iter().enumerate() {
        let mut random = Random::for_case(&[seed, index as u64]);
        let life = |life: usize| {
            let other = (index + 1 + random.below(named.len() - 1)) % named.len();
            Setting::from(&named[if life.is_multiple_of(2) { index } else { other }])
        };
        let settings = (0..lives).map(life).collect();
        runs.push(Run { name: format!("\"{}\"", config.name), settings });
    }
    for index in 0..DRAWN_SETS {
        let mut random = Random::for_case(&[seed, u64::MAX, index as u64]);
        let settings = (0..lives).map(|_| Setting::drawn(&mut random)).collect();
        runs.push(Run { name: format!("drawn {index}"), settings });
    }
    runs
}

/// How many lives a store has under a script.
#[must_use]
pub fn lives(steps: &[Step]) -> usize {
    1 + steps.iter().filter(|step| matches!(step, Step::Restart(_))).count()
}

/// Replays `steps` on a new store, closes it and verifies every byte.
///
/// # Errors
///
/// The first answer that is not the expected one; a panic.
pub fn replay(
    place: Place,
    settings: &[Setting],
    steps: &[Step],
    expected: &[Answer],
) -> Result<(), String> {
    let body = || -> Result<(), String> {
        let mut replay =
            Replay::begin(place, settings).map_err(|error| format!("opening: {error}"))?;
        for (index, (step, expected)) in steps.iter().zip(expected).enumerate() {
            let found = replay.step(step);
            if found != *expected {
                return Err(format!("step {index}: {step}\n{}", difference(expected, &found)));
            }
        }
        replay.close().map_err(|error| format!("closing: {error}"))?;
        replay.verify().map_err(|error| format!("verify at the end: {error}"))
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(panic_text(&*panic)))
}

/// Replays a script under every set of options, and under those that it names itself.
///
/// # Errors
///
/// The first difference.
pub fn check_script(seed: u64, script: &Script) -> Result<u64, String> {
    let watchdog = Watchdog::new(RUN_TIME_MAX);
    let expected = model::history(&script.steps);
    let mut runs = runs(seed, lives(&script.steps));
    if !script.settings.is_empty() {
        let (name, settings) = ("its own".to_owned(), script.settings.clone());
        runs.insert(0, Run { name, settings });
    }
    for Run { name, settings } in &runs {
        watchdog.step(format!("seed {seed}, options {name}:{}", settings[0]));
        replay(Place::Memory(MemEnv::new()), settings, &script.steps, &expected)
            .map_err(|text| format!("options {name}: {text}"))?;
    }
    Ok(runs.len() as u64)
}

/// Replays the script of `seed` under every set of options.
///
/// # Errors
///
/// The first difference, with the small script that shows it and where that was written.
pub fn check_seed(seed: u64, steps: usize) -> Result<(), String> {
    let steps = generate::steps(seed, steps);
    let expected = model::history(&steps);
    let watchdog = Watchdog::new(RUN_TIME_MAX);
    for Run { name, settings } in runs(seed, lives(&steps)) {
        watchdog.step(format!("seed {seed}, options {name}:{}", settings[0]));
        let place = Place::Memory(MemEnv::new());
        let Err(first) = replay(place, &settings, &steps, &expected) else { continue };
        return Err(report(seed, &name, &first, &Script { settings, steps }, &watchdog));
    }
    Ok(())
}

/// Makes a failing script small, writes it to a file, and says what there is to say.
fn report(seed: u64, name: &str, first: &str, script: &Script, watchdog: &Watchdog) -> String {
    let small = reduce::reduce(script, || watchdog.step(format!("seed {seed}, making it small")));
    let expected = model::history(&small.steps);
    let place = Place::Memory(MemEnv::new());
    let again = replay(place, &small.settings, &small.steps, &expected).err();
    let again = again.unwrap_or_else(|| "it does not fail every time".to_owned());
    let file = scratch().join(format!("seed-{seed}.ops"));
    let written = std::fs::create_dir_all(scratch())
        .and_then(|()| std::fs::write(&file, small.to_string()))
        .map_or_else(|error| format!("not written: {error}"), |()| file.display().to_string());
    format!(
        "seed {seed}, options {name} (replay: ALLUVIUM_SEED={seed} cargo test -p alluvium-testkit \
         --test metamorphic): {first}\nin short ({written}):\n{small}{again}"
    )
}

/// Where failing scripts are written.
fn scratch() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"));
    target.unwrap_or_else(beside).join("metamorphic")
}

/// Generated scripts, each under every set of options, until the turn is over.
pub fn torture(turn: &mut Turn) {
    while turn.goes_on() {
        let seed = turn.seed();
        turn.note(check_seed(seed, STEPS).map(|()| 1));
    }
}
