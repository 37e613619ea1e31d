//! Generated runs against the model, under every set of options.

use std::sync::Arc;

use alluvium::env::PosixEnv;
use alluvium_testkit::configs;
use alluvium_testkit::generator::{Generator, Mix};
use alluvium_testkit::runner::{check_seed, run_model, seeds};

const SEEDS: u64 = 4;
const MIX: Mix = Mix { operations: 400, reads: true, value_bytes_max: 9_000 };

/// Every n-th set of options, so that the sets share the cores.
fn sweep(part: usize, parts: usize) {
    for config in configs::all().iter().skip(part).step_by(parts) {
        for seed in seeds(SEEDS) {
            check_seed(config, seed, MIX);
        }
    }
}

#[test]
fn generated_runs_answer_as_the_model_1() {
    sweep(0, 4);
}

#[test]
fn generated_runs_answer_as_the_model_2() {
    sweep(1, 4);
}

#[test]
fn generated_runs_answer_as_the_model_3() {
    sweep(2, 4);
}

#[test]
fn generated_runs_answer_as_the_model_4() {
    sweep(3, 4);
}

#[test]
fn runs_on_a_real_directory_answer_as_the_model() {
    let mix = Mix { operations: 150, ..MIX };
    for (seed, config) in seeds(2)
        .into_iter()
        .flat_map(|seed| configs::all().into_iter().take(2).map(move |config| (seed, config)))
    {
        let directory = tempfile::tempdir().unwrap();
        let env = Arc::new(PosixEnv::new(directory.path().join("store")));
        let run = Generator::run(seed, mix);
        if let Err(text) = run_model(env, &config, &run) {
            panic!("options \"{}\", seed {seed}: {text}", config.name);
        }
    }
}
