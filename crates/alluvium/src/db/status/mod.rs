//! `STATUS`: statistics and history in a small file, for whoever looks from outside.
//!
//! A store is held by one process, so what another process is to see of it has to be on disk: the
//! figures for `alluvium stats --watch`, and the reasons for `alluvium explain`, also when no
//! process has the store open any more.
//!
//! # What it costs, and what it can't do
//!
//! The file is written only where `Options::status_interval` asks for it; an embedded engine
//! writes nothing that it was not asked for. A thread of its own writes it, so that no writer,
//! reader or worker waits for it. It is replaced as a whole (`STATUS.tmp`, renamed) and never
//! synced: a reader sees the old or the new one, and a power cut may leave none or a torn one,
//! which its checksum shows. Nothing of the store depends on it: opening, recovery and repair go on
//! whatever it holds, and a failure to write it is counted (`status_failures`) and nothing more.
//!
//! # The road not taken
//!
//! An appended journal of events would lose nothing when the process is killed, where this loses
//! what is younger than the interval; it needs bounds, rotation and a second file for the figures.
//!
//! Without workers (`background_threads` 0) there is no thread: the file is written when the store
//! is closed.

pub(crate) mod archive;
mod walk;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::FileId;
use crate::db::events::history::HistoryEntry;
use crate::db::stats::Stats;
use crate::db::status::archive::{Reader, Writer};
use crate::env::{Env, PosixEnv};

pub(crate) use writer::{StatusWriter, inherit, start, stop};

/// The version of the file.
const STATUS_VERSION: u32 = 1;
/// Most bytes of the file that are read.
const STATUS_BYTES_MAX: u64 = 16 << 20;

const BEGIN: &str = "alluvium status ";
const CHECKSUM: &str = " checksum ";

/// What a store wrote about itself last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// When, in milliseconds since the beginning of 1970, by the clock of the machine.
    pub written_unix_ms: u64,
    /// Whether the store was open and to stay so. It also says so when the process was killed.
    pub is_open: bool,
    /// Its statistics.
    pub stats: Stats,
    /// What happened in it last, oldest first.
    pub history: Vec<HistoryEntry>,
}

/// Reads what the store in `directory` wrote about itself last. The store may be open, in this
/// process or another; nothing is locked and nothing changed. `None` where there is no such file:
/// see [`Options::status_interval`](crate::Options::status_interval).
///
/// ```
/// # fn main() -> alluvium::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("store");
/// use std::time::Duration;
/// use alluvium::{Db, Options};
///
/// let interval = Some(Duration::from_secs(1));
/// let db = Db::open(&path, Options { status_interval: interval, ..Options::default() })?;
/// db.put("key", "value")?;
/// db.flush()?;
/// db.close()?;
/// let status = alluvium::status(&path)?.expect("it was asked for");
/// assert!(!status.is_open);
/// assert!(status.history.iter().any(|entry| entry.text.starts_with("flush of default because")));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Corruption`] where the file is damaged, [`Error::UnsupportedFormat`] where a newer
/// build wrote it, and I/O failures.
pub fn status(directory: impl AsRef<Path>) -> Result<Option<Status>> {
    let env: Arc<dyn Env> = Arc::new(PosixEnv::new(directory.as_ref()));
    status_env(&env)
}

/// Reads what the store of an environment wrote about itself last.
///
/// # Errors
/// See [`status`].
pub fn status_env(env: &Arc<dyn Env>) -> Result<Option<Status>> {
    let name = env.display(FileId::Status);
    let failed = |error| Error::io("read", name.as_str(), error);
    let file = match env.open(FileId::Status) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let length = file.length().map_err(failed)?;
    if length > STATUS_BYTES_MAX {
        return Err(Error::corruption(name, STATUS_BYTES_MAX, "it is too long"));
    }
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    bytes.truncate(read);
    decode(&bytes, &name).map(Some)
}

/// The bytes of the file.
fn encode(status: &mut Status) -> Vec<u8> {
    let mut writer = Writer::default();
    walk::status(&mut writer, status);
    let body = writer.text;
    let sum = checksum(body.as_bytes(), 0, 0);
    let mut bytes = format!("{BEGIN}{STATUS_VERSION}{CHECKSUM}{sum:016x}\n").into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// Reads the bytes of the file, called `name`.
fn decode(bytes: &[u8], name: &str) -> Result<Status> {
    let damaged = |offset: usize, detail: &str| Error::corruption(name, offset as u64, detail);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| damaged(error.valid_up_to(), "it is not text"))?;
    let (head, body) =
        text.split_once('\n').ok_or_else(|| damaged(text.len(), "it has no first line"))?;
    let fields = head.strip_prefix(BEGIN).and_then(|fields| fields.split_once(CHECKSUM));
    let (version, sum) = fields.ok_or_else(|| damaged(0, "it does not begin as STATUS does"))?;
    if sum != format!("{:016x}", checksum(body.as_bytes(), 0, 0)) {
        return Err(damaged(head.len(), "the checksum does not match"));
    }
    match version.parse() {
        Ok(STATUS_VERSION) => {}
        Ok(found) => {
            let (file, supported) = (name.to_owned(), STATUS_VERSION);
            return Err(Error::UnsupportedFormat { file, found, supported });
        }
        Err(_) => return Err(damaged(BEGIN.len(), "it has no version")),
    }
    let mut status = Status::default();
    walk::status(&mut Reader::new(body), &mut status);
    Ok(status)
}

#[cfg(test)]
mod tests;
