//! Bugs put in on purpose, to see that a harness finds each.
//!
//! A build with `--cfg alluvium_planted` in `RUSTFLAGS` behaves as the bug named in the variable
//! `ALLUVIUM_PLANTED` would; every other build asks a constant, and nothing of the bugs is left in
//! it. `cargo xtask planted` runs the list; a bug stands here only when something there finds it.

/// Whether the bug `name` is planted in this process.
#[cfg(alluvium_planted)]
pub(crate) fn is(name: &str) -> bool {
    static PLANTED: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("ALLUVIUM_PLANTED").unwrap_or_default());
    *PLANTED == name
}

/// Whether the bug of this name is planted: never, in this build.
#[cfg(not(alluvium_planted))]
#[inline(always)]
pub(crate) const fn is(_name: &str) -> bool {
    false
}
