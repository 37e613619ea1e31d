//! Real processes on real directories.

use std::path::Path;

use alluvium_testkit::process::disk::{Medium, Mounted};
use alluvium_testkit::process::{disk, inject, kill, trace};
use alluvium_testkit::runner::{number, seeds};

/// The program whose sub-commands the processes are.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_alluvium-torture"))
}

#[test]
fn a_hundred_kills_lose_nothing_acknowledged() {
    let kills = number("ALLUVIUM_KILLS").unwrap_or(30);
    for seed in seeds(4) {
        match kill::run(program(), seed, kills) {
            Ok(killed) => println!("seed {seed}: {killed:?}"),
            Err(text) => panic!("{text}"),
        }
    }
}

/// Whether a test can be done here; says so if not.
fn is_possible(what: &str, missing: Option<String>) -> bool {
    if let Some(missing) = &missing {
        println!("{what}: skipped: {missing}");
    }
    missing.is_none()
}

fn no_strace() -> Option<String> {
    let works = trace::strace_works();
    (!works).then(|| "strace is missing, or may not trace here".to_owned())
}

#[test]
fn system_calls_keep_the_order_that_durability_rests_on() {
    if !is_possible("the trace of system calls", no_strace()) {
        return;
    }
    for seed in seeds(2) {
        match trace::run(program(), seed, 40) {
            Ok((calls, crashes)) => {
                println!("seed {seed}: {calls} calls in order, {crashes} crashes replayed");
                assert!(calls > 100 && crashes > 100, "the writer was at work");
            }
            Err(text) => panic!("{text}"),
        }
    }
}

#[test]
fn injected_failures_of_system_calls_lose_nothing() {
    if !is_possible("failing system calls", no_strace()) {
        return;
    }
    for seed in seeds(3) {
        match inject::run(program(), seed, inject::lives()) {
            Ok(injected) => println!("seed {seed}: {injected:?}"),
            Err(text) => panic!("{text}"),
        }
    }
}

#[test]
fn few_file_handles_lose_nothing() {
    for seed in seeds(2) {
        match inject::run_with_few_handles(program(), seed, inject::lives()) {
            Ok(injected) => println!("seed {seed}: {injected:?}"),
            Err(text) => panic!("{text}"),
        }
    }
}

#[test]
fn a_full_disk_is_a_state_and_not_an_end() {
    for (seed, medium) in
        seeds(2).into_iter().flat_map(|seed| [(seed, Medium::Memory), (seed, Medium::Ext4)])
    {
        let mounted = Mounted::new(medium);
        if !is_possible("a full disk", mounted.as_ref().err().cloned()) {
            continue;
        }
        match disk::run(program(), mounted.unwrap(), seed, 3) {
            Ok(cycles) => println!("{medium:?}, seed {seed}: {cycles}"),
            Err(text) => panic!("{text}"),
        }
    }
}
