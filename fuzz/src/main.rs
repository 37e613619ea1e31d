//! The fuzz target that `ALLUVIUM_FUZZ_TARGET` names, driven by libFuzzer.
//!
//! One program for all targets: it is built once. In this folder:
//!
//! ```sh
//! ALLUVIUM_FUZZ_TARGET=wal \
//!   cargo run --release -- -max_len=2048 -print_funcs=0 ../crates/testkit/corpus/wal
//! ```

#![no_main]

use std::sync::OnceLock;

use alluvium_testkit::fuzz::{Target, target, targets};
use libfuzzer_sys::fuzz_target;

/// The target of this process.
static TARGET: OnceLock<Target> = OnceLock::new();

/// Finds the target, or says which there are.
fn choose() {
    let name = std::env::var("ALLUVIUM_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = target(&name) else {
        eprintln!("set ALLUVIUM_FUZZ_TARGET to one of");
        targets().iter().for_each(|target| eprintln!("  {}", target.name));
        std::process::exit(2);
    };
    TARGET.get_or_init(|| target);
}

fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(bytes);
    }
});
