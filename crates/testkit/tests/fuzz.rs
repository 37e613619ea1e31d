//! The fuzz targets, with every input that is checked in and a few mutants of each.

use alluvium_testkit::damage::virtual_bytes_peak;
use alluvium_testkit::fuzz::{Mutator, Target, target, targets};

/// Mutants of each target.
const MUTANTS: u64 = 300;
/// No length in an input may make the process grow by this much.
const GROWTH_BYTES_MAX: u64 = 768 << 20;

/// The targets that are asked for.
fn chosen() -> Vec<Target> {
    match std::env::var("ALLUVIUM_FUZZ_TARGET") {
        Ok(name) => vec![target(&name).unwrap_or_else(|| panic!("no fuzz target {name}"))],
        Err(_) => targets(),
    }
}

#[test]
fn every_input_that_is_checked_in() {
    let before = virtual_bytes_peak();
    if let Ok(path) = std::env::var("ALLUVIUM_FUZZ_INPUT") {
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        for target in chosen() {
            (target.run)(&bytes);
        }
        return;
    }
    let mut failures = Vec::new();
    for target in chosen() {
        let inputs = target.inputs();
        println!("{}: {} inputs", target.name, inputs.len());
        let failed = inputs.iter().find_map(|(name, bytes)| {
            let text = target.try_run(bytes).err()?;
            Some(format!("{name}: {}", target.keep_failure(bytes, &text)))
        });
        failures.extend(failed);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let growth = virtual_bytes_peak() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the address space grew by {} MiB", growth >> 20);
}

#[test]
fn mutants_of_every_input() {
    let mut failures = Vec::new();
    for target in chosen() {
        let inputs: Vec<Vec<u8>> = target.inputs().into_iter().map(|(_, bytes)| bytes).collect();
        let mut mutator = Mutator::new(1, target.bytes_max);
        let failed = (0..MUTANTS).find_map(|_| {
            let bytes = mutator.mutant(&inputs);
            let text = target.try_run(bytes).err()?;
            Some(target.keep_failure(bytes, &text))
        });
        failures.extend(failed);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
