//! Whether a directory holds a store, the remains of a creation, or nothing.

use crate::base::error::{Error, Result};
use crate::base::file::FileId;
use crate::base::key::SeqNo;
use crate::env::Env;
use crate::version::{current, recovery};
use crate::wal::frame::LOG_HEADER_BYTES;

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// No store, not even a part of one.
    Absent,
    /// The remains of a creation that did not come to its end: it holds no data.
    Half,
    /// A store.
    Present,
}

/// Says whether `env` holds a store.
///
/// # Errors
/// A directory that cannot be listed, and corruption when there are tables, logs with more than a
/// header, or a manifest that says of more than a new store, and no `CURRENT`. A log without a
/// frame may be there: the name of the first `CURRENT` may be lost although the process that came
/// next saw it and began its log.
pub fn store_exists(env: &dyn Env) -> Result<StoreState> {
    let files = current::list(env)?;
    if files.contains(&FileId::Current) {
        return Ok(StoreState::Present);
    }
    for &file in &files {
        if may_hold_data(env, file)? {
            let detail = format!("it is missing, and {file} shows that there was a store");
            return Err(Error::corruption(env.display(FileId::Current), 0, detail));
        }
    }
    let counts = |file: &FileId| !matches!(file, FileId::Lock | FileId::Status);
    let half = files.iter().any(counts);
    Ok(if half { StoreState::Half } else { StoreState::Absent })
}

fn may_hold_data(env: &dyn Env, file: FileId) -> Result<bool> {
    match file {
        FileId::Table(_) | FileId::Blob(_) => Ok(true),
        FileId::Wal(_) => {
            let length = env.open(file).and_then(|log| log.length());
            let length = length.map_err(|error| Error::io("look at", env.display(file), error))?;
            Ok(length > LOG_HEADER_BYTES as u64)
        }
        FileId::Manifest(number) => Ok(recovery::read_manifest(env, number).is_ok_and(|read| {
            let catalog = read.catalog;
            catalog.families.len() > 1
                || !catalog.tables.is_empty()
                || catalog.last_sequence > SeqNo::ZERO
        })),
        FileId::Current
        | FileId::Lock
        | FileId::Temporary(_)
        | FileId::Status
        | FileId::StatusTemporary => Ok(false),
    }
}
