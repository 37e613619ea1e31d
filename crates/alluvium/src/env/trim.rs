//! Giving memory that nobody uses back to the system.
//!
//! Why: an allocator keeps what is freed to it, between what is still in use, and gives pages back
//! only from the end of its heap. Buffers of compactions and chunks of memtables leave holes of
//! megabytes behind the small blocks of the cache; a process that may hold 256 MiB then has half as
//! much again resident.
//!
//! Only glibc's allocator is told. Another one that the program chose knows nothing of this, and is
//! left alone.

#![expect(unsafe_code, reason = "a call to the C library that no crate offers as a safe one")]

/// Gives back every page that lies free. Takes a millisecond or two for a few hundred megabytes,
/// in which threads that allocate wait for one another.
#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
pub(super) fn trim() {
    use std::ffi::c_int;
    unsafe extern "C" {
        fn malloc_trim(keep: usize) -> c_int;
    }
    // SAFETY: the function may be called at any time by any thread, and touches free memory only.
    let _whether_any = unsafe { malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
pub(super) fn trim() {}
