//! Asking the system to begin writing what it holds of a file.
//!
//! Why: a table's bytes lie in the page cache until its sync, which then waits for all of them. If
//! the device gets them while the table is still being made, both take as long as the slower one,
//! and no burst of dirty pages holds up other writers of the file system.
//!
//! Linux only; elsewhere the sync does it all. The call does not take the file's pending write
//! error from the sync that has to report it (it does not wait for anything).

#![cfg_attr(
    all(target_os = "linux", not(miri)),
    expect(unsafe_code, reason = "a system call that the standard library does not have")
)]

use std::ops::Range;
use std::os::fd::BorrowedFd;

/// Begins to write `bytes` of `file` and does not wait for it.
#[cfg(all(target_os = "linux", not(miri)))]
pub(super) fn write_back(file: BorrowedFd<'_>, bytes: Range<u64>) {
    use std::ffi::{c_int, c_uint};
    use std::os::fd::AsRawFd;
    const SYNC_FILE_RANGE_WRITE: c_uint = 2;
    unsafe extern "C" {
        fn sync_file_range(file: c_int, offset: i64, bytes: i64, flags: c_uint) -> c_int;
    }
    let (Ok(offset), Ok(end)) = (i64::try_from(bytes.start), i64::try_from(bytes.end)) else {
        return;
    };
    // To the system 0 bytes are all up to the end of the file.
    if end <= offset {
        return;
    }
    // SAFETY: the descriptor is open as long as it is borrowed; no memory is passed.
    let _whether_begun =
        unsafe { sync_file_range(file.as_raw_fd(), offset, end - offset, SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn write_back(_file: BorrowedFd<'_>, _bytes: Range<u64>) {}
