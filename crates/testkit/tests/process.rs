//! Real processes on real directories.

use std::path::Path;

use alluvium_testkit::process::kill;
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
