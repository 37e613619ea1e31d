//! The file that keeps malformed lines.
//!
//! A line for each, five columns with a tab between: source, line number, kind, what is wrong, and
//! the line itself (its first 4,096 bytes). Tabs, control characters, backslashes and bytes that
//! are no UTF-8 stand escaped, so that the file is always five columns of text.
//!
//! The file is appended to. The store remembers, in the same batch as the counts, how many bytes of
//! it belong to what is stored; the lines of a batch reach the file before the batch is committed.
//! A run that was killed may have left lines behind that belong to nothing: the next one cuts them
//! off before it writes. It does so only when the file is the same (it is as long as remembered,
//! and begins the same) and the last run on it did not come to its end; otherwise whatever stands
//! in the file is left alone.
//!
//! One thing is not taken back: when the malformed last line of a source had no line ending and
//! turns out longer later, it stays listed as it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use alluvium::{Durability, WriteBatch, WriteOptions};

use crate::error::EventsError;
use crate::format::Reject;
use crate::store::state::{Fingerprint, IDENTITY_BYTES, RejectState};
use crate::store::{EventStore, reject_file_key};

/// How much of a malformed line is kept.
const LINE_BYTES_KEPT: usize = 4096;

/// An open reject file. One serves many ingests into one store, one after the other.
#[derive(Debug)]
pub struct RejectFile {
    file: File,
    path: String,
    key: Vec<u8>,
    state: RejectState,
    /// The first bytes, as far as they count for recognising the file.
    head: Vec<u8>,
    /// Whether `state` has been compared with the store's.
    attached: bool,
    /// Whether the store knows that more is being written.
    announced: bool,
    dirty: bool,
}

impl RejectFile {
    /// Opens a reject file, making it where there is none. What stands in it stays.
    ///
    /// # Errors
    ///
    /// [`EventsError::RejectFile`] when it cannot be opened for writing.
    pub fn open(path: &Path) -> Result<RejectFile, EventsError> {
        let shown = path.display().to_string();
        let failed = |operation| {
            let path = shown.clone();
            move |source| EventsError::RejectFile { operation, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        let canonical = path.canonicalize().map_err(failed("open"))?;
        let mut head = Vec::new();
        (&mut file).take(IDENTITY_BYTES as u64).read_to_end(&mut head).map_err(failed("read"))?;
        let length = file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
        Ok(RejectFile {
            file,
            key: reject_file_key(canonical.as_os_str().as_encoded_bytes()),
            path: shown,
            state: RejectState { length, head: Fingerprint::of(&head), open: false },
            head,
            attached: false,
            announced: false,
            dirty: false,
        })
    }

    /// Cuts off what a killed run wrote too much.
    pub(super) fn attach(&mut self, store: &EventStore) -> Result<(), EventsError> {
        if std::mem::replace(&mut self.attached, true) {
            return Ok(());
        }
        let Some(bytes) = store.families().sources.get(&self.key)? else { return Ok(()) };
        let known = RejectState::decode(&bytes)?;
        let same = known.length <= self.state.length && known.head.matches(&self.head);
        if known.open && same {
            self.file.set_len(known.length).map_err(|error| self.failed("cut", error))?;
            self.file
                .seek(SeekFrom::Start(known.length))
                .map_err(|error| self.failed("cut", error))?;
            self.head.truncate(usize::try_from(known.length).unwrap_or(usize::MAX));
            self.state = known;
            self.announced = true;
        }
        Ok(())
    }

    /// Appends lines. Before the first ones the store is told that it does not know all of the file
    /// from now on.
    pub(super) fn append(
        &mut self,
        store: &EventStore,
        lines: &[u8],
        sync: bool,
    ) -> Result<(), EventsError> {
        if !lines.is_empty() {
            if !std::mem::replace(&mut self.announced, true) {
                let mut batch = WriteBatch::new();
                self.put_state(store, &mut batch, false);
                let durability = if sync { Durability::Disk } else { Durability::Os };
                store.db().write_with(batch, &WriteOptions { durability })?;
            }
            self.file.write_all(lines).map_err(|error| self.failed("append to", error))?;
            let more = IDENTITY_BYTES.saturating_sub(self.head.len()).min(lines.len());
            self.head.extend_from_slice(&lines[..more]);
            self.state.head = Fingerprint::of(&self.head);
            self.state.length += lines.len() as u64;
            self.dirty = true;
        }
        if sync && std::mem::take(&mut self.dirty) {
            self.file.sync_data().map_err(|error| self.failed("sync", error))?;
        }
        Ok(())
    }

    /// Adds to a batch how much of the file belongs to it; `closed` when no more will come.
    pub(super) fn put_state(&mut self, store: &EventStore, batch: &mut WriteBatch, closed: bool) {
        if self.announced {
            self.state.open = !closed;
            self.announced = !closed;
            batch.put_in(&store.families().sources, &self.key, self.state.encode());
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> EventsError {
        EventsError::RejectFile { operation, path: self.path.clone(), source }
    }
}

/// Appends a reject file's line.
pub(super) fn put_line(
    out: &mut Vec<u8>,
    source_name: &str,
    number: u64,
    reject: &Reject,
    line: &[u8],
) {
    put_escaped(out, source_name.as_bytes());
    out.extend_from_slice(format!("\t{number}\t{}\t", reject.kind.name()).as_bytes());
    // What it quotes is escaped already.
    out.extend(reject.detail.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
    out.push(b'\t');
    put_escaped(out, &line[..line.len().min(LINE_BYTES_KEPT)]);
    if line.len() > LINE_BYTES_KEPT {
        out.extend_from_slice("…".as_bytes());
    }
    out.push(b'\n');
}

/// Appends text with everything escaped that would break a line of columns.
fn put_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                out.extend(character.escape_default().map(|c| c as u8));
            } else {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}
