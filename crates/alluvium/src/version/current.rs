//! `CURRENT`: one line that names the manifest which counts, and the switch from one to the next.
//!
//! # The switch
//! Everything that the new line leads to is on disk before the line is: the manifest was synced by
//! its writer; then the line is written to a `.tmp` file and synced, the directory is synced (the
//! manifest's *name*, reliability bug m01), the file is renamed over `CURRENT`, and the directory
//! is synced again (the rename). A crash anywhere leaves the old line or the new one, whole, and a
//! manifest for either.

use std::io;
use std::sync::Arc;

use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::planted;
use crate::env::{Env, ReadableFile};

/// The format version of a store that this build writes and reads.
pub(super) const STORE_VERSION: u32 = 2;
/// Most bytes of `CURRENT`: a version and a number of twenty digits each fit.
const CURRENT_BYTES_MAX: usize = 128;

const BEGIN: &str = "alluvium ";
const MANIFEST: &str = " manifest ";
const CHECKSUM: &str = " checksum ";

/// The files of the store; none where there is no directory.
pub(super) fn list(env: &dyn Env) -> Result<Vec<FileId>> {
    match env.list() {
        Ok(files) => Ok(files),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("list", env.directory(), error)),
    }
}

/// The bytes of `CURRENT`.
pub(super) fn encode(manifest: FileNumber) -> String {
    let covered = format!("{BEGIN}{STORE_VERSION}{MANIFEST}{manifest}");
    let sum = checksum(covered.as_bytes(), 0, 0);
    format!("{covered}{CHECKSUM}{sum:016x}\n")
}

/// Reads the bytes of `CURRENT`, called `name`.
pub(super) fn decode(bytes: &[u8], name: &str) -> Result<FileNumber> {
    let damaged = |offset: usize, detail: &str| Error::corruption(name, offset as u64, detail);
    let begin = bytes.iter().zip(BEGIN.as_bytes()).take_while(|(a, b)| a == b).count();
    if begin < BEGIN.len() {
        return Err(damaged(begin, "it does not begin as CURRENT does, or ends too soon"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| damaged(error.valid_up_to(), "it is not text"))?;
    let Some((covered, sum)) = text.split_once(CHECKSUM) else {
        return Err(damaged(text.len(), "it ends without a checksum"));
    };
    let sum_at = covered.len() + CHECKSUM.len();
    if sum != format!("{:016x}\n", checksum(covered.as_bytes(), 0, 0)) {
        return Err(damaged(sum_at, "the checksum does not match the line"));
    }
    // From here on the line is what somebody wrote; this form is kept by every version.
    let Some(fields) = covered.get(BEGIN.len()..) else {
        return Err(damaged(covered.len(), "the line ends within its beginning"));
    };
    let version = fields.split(' ').next().and_then(|version| version.parse::<u32>().ok());
    match version {
        None => return Err(damaged(BEGIN.len(), "the line has no format version")),
        Some(STORE_VERSION) => {}
        Some(found) => {
            let file = name.to_owned();
            return Err(Error::UnsupportedFormat { file, found, supported: STORE_VERSION });
        }
    }
    let number = fields.split_once(MANIFEST).and_then(|(_, number)| number.parse().ok());
    match number.map(FileNumber) {
        Some(number) if number <= FileNumber::MAX && encode(number) == text => Ok(number),
        _ => Err(damaged(BEGIN.len(), "the line names no manifest")),
    }
}

/// Reads `CURRENT`.
pub(super) fn read(env: &dyn Env) -> Result<FileNumber> {
    let name = env.display(FileId::Current);
    let file = match env.open(FileId::Current) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::StoreMissing { directory: env.directory() });
        }
        Err(error) => return Err(Error::io("open", name, error)),
    };
    // A second time where the first goes wrong: the device may have failed once.
    read_line(&*file, &name).or_else(|_| read_line(&*file, &name))
}

fn read_line(file: &dyn ReadableFile, name: &str) -> Result<FileNumber> {
    let mut bytes = [0; CURRENT_BYTES_MAX + 1];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", name, error))?;
    if read > CURRENT_BYTES_MAX {
        return Err(Error::corruption(name, CURRENT_BYTES_MAX as u64, "it is too long"));
    }
    decode(&bytes[..read], name)
}

/// A switch that failed.
#[derive(Debug)]
pub(super) struct SwitchFailure {
    pub(super) error: Error,
    /// Whether `CURRENT` may name the new manifest all the same, now or after a crash.
    pub(super) may_have_switched: bool,
}

/// Makes `CURRENT` name `manifest`, which was written and synced, by way of `temporary`.
pub(super) fn switch(
    env: &Arc<dyn Env>,
    manifest: FileNumber,
    temporary: FileNumber,
) -> std::result::Result<(), SwitchFailure> {
    let temporary = FileId::Temporary(temporary);
    write_synced(env, temporary, encode(manifest).as_bytes())
        .and_then(|()| sync_directory(env))
        .map_err(|error| SwitchFailure { error, may_have_switched: false })?;
    env.rename(temporary, FileId::Current)
        .map_err(|error| Error::io("rename", env.display(temporary), error))
        .and_then(|()| match planted::is("current-name-not-synced") {
            true => Ok(()),
            false => sync_directory(env),
        })
        .map_err(|error| SwitchFailure { error, may_have_switched: true })
}

fn write_synced(env: &Arc<dyn Env>, id: FileId, bytes: &[u8]) -> Result<()> {
    let name = env.display(id);
    let file = env.create(id).map_err(|error| Error::io("create", &name, error))?;
    file.append(bytes).map_err(|error| Error::io("append to", &name, error))?;
    if planted::is("current-not-synced") {
        return Ok(());
    }
    file.sync().map_err(|error| Error::io("sync", &name, error))
}

/// Makes the names in the store's directory survive a power cut.
pub(super) fn sync_directory(env: &Arc<dyn Env>) -> Result<()> {
    env.sync_directory().map_err(|error| Error::io("sync", env.directory(), error))
}
