//! Bugs put in on purpose, to see that a harness finds each.
//!
//! A build with `--cfg alluvium_planted` in `RUSTFLAGS` behaves as the bug named in the variable
//! `ALLUVIUM_PLANTED` would; every other build asks a constant, and nothing of the bugs is left in
//! it. `cargo xtask planted` runs the list; a bug stands here only when something there finds it.

/// What the variable names.
#[cfg(any(alluvium_planted, loom, shuttle))]
static PLANTED: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| std::env::var("ALLUVIUM_PLANTED").unwrap_or_default());

/// Whether the bug `name` is planted in this process.
#[cfg(alluvium_planted)]
pub(crate) fn is(name: &str) -> bool {
    *PLANTED == name
}

/// Whether the bug of this name is planted: never, in this build.
#[cfg(not(alluvium_planted))]
#[inline(always)]
pub(crate) const fn is(_name: &str) -> bool {
    false
}

/// Whether the bug `name` is planted, one that only the order of threads brings to light. The
/// builds that choose the order have it without more; `cargo xtask schedules --planted` runs the
/// list.
#[cfg(any(loom, shuttle))]
pub(crate) fn in_order(name: &str) -> bool {
    *PLANTED == name
}

/// Whether the bug of this name is planted: never, in this build.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub(crate) const fn in_order(_name: &str) -> bool {
    false
}
