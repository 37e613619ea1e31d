//! A directory that is gone when the program is: at its end, and at Ctrl-C.
//!
//! The demo's store may be a gigabyte, so it must not be left behind when somebody has seen enough.
//! A kill that cannot be caught leaves it; its name says what it is.

use std::fs;
use std::path::Path;
use std::process;

use tempfile::TempDir;

use crate::failure::Failure;

/// Exit code of a program that an interrupt ended, by the shells' convention: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Makes the directory. At most once in a process, because a process has one Ctrl-C handler.
pub fn directory() -> Result<TempDir, Failure> {
    let parent = std::env::temp_dir();
    let directory = tempfile::Builder::new()
        .prefix("alluvium-demo-")
        .tempdir_in(&parent)
        .map_err(|error| Failure::file("make a directory in", &parent, &error))?;
    let path = directory.path().to_owned();
    ctrlc::set_handler(move || {
        remove(&path);
        process::exit(INTERRUPTED);
    })
    .map_err(|error| Failure::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(directory)
}

/// Removes a directory into which background threads may still be writing.
fn remove(path: &Path) {
    for _ in 0..100 {
        if fs::remove_dir_all(path).is_ok() || !path.exists() {
            return;
        }
    }
}
