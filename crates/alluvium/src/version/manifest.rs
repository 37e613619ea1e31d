//! The manifest being written: the state that it begins with, and an edit behind each change.
//!
//! # Invariants
//! - An edit is one frame, written and synced before the next: a frame that is not whole is either
//!   the last one, torn and never acknowledged, or damage (reliability bug m10 is an edit of many
//!   pieces that looks like damage when a crash tears it).
//! - Nothing is put behind an edit that failed (m06): the log writer refuses, and the version set
//!   goes on in a new file.
//! - `CURRENT` is switched to a manifest only when its whole state is synced.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::planted;
use crate::env::Env;
use crate::version::current::{self, SwitchFailure};
use crate::version::edit::VersionEdit;
use crate::wal::{FrameKind, LogHeader, LogKind, LogWriter};

/// About how large a part of the state one frame holds. The state of a large store is larger than
/// any sensible limit for a frame.
const STATE_PART_BYTES: usize = 1 << 20;
/// A manifest is not replaced below this: reading it takes a millisecond.
const ROLL_BYTES_MIN: u64 = 1 << 20;
/// A manifest is replaced when it is this many times the state it began with. Each byte of edits
/// then costs at most a third of a byte of state written again, and opening the store reads at most
/// four times what it needs.
const ROLL_FACTOR: u64 = 4;

/// The manifest that edits go to.
#[derive(Debug)]
pub(super) struct Manifest {
    writer: LogWriter,
    /// When it is larger than this, it is to be replaced.
    roll_bytes: u64,
}

impl Manifest {
    /// Writes manifest `number` with `state` in it, syncs it, and makes `CURRENT` name it.
    pub(super) fn create(
        env: &Arc<dyn Env>,
        number: FileNumber,
        temporary: FileNumber,
        state: &VersionEdit,
    ) -> std::result::Result<Manifest, SwitchFailure> {
        let manifest = Manifest::write(env, number, state)
            .map_err(|error| SwitchFailure { error, may_have_switched: false })?;
        current::switch(env, number, temporary)?;
        Ok(manifest)
    }

    fn write(env: &Arc<dyn Env>, number: FileNumber, state: &VersionEdit) -> Result<Manifest> {
        let name = env.display(FileId::Manifest(number));
        let file = env
            .create(FileId::Manifest(number))
            .map_err(|error| Error::io("create", &name, error))?;
        let header = LogHeader {
            kind: LogKind::Manifest,
            number,
            previous: FileNumber(0),
            previous_bytes: 0,
        };
        let mut writer = LogWriter::create(file, name, header);
        let mut flushed = Ok(());
        state.visit_parts(STATE_PART_BYTES, |part| {
            writer.append(FrameKind::Edit, part);
            flushed = writer.flush();
        });
        flushed?;
        writer.sync()?;
        let roll_bytes = writer.bytes().saturating_mul(ROLL_FACTOR).max(ROLL_BYTES_MIN);
        Ok(Manifest { writer, roll_bytes })
    }

    /// Writes and syncs an edit.
    pub(super) fn append(&mut self, edit: &[u8]) -> Result<()> {
        self.writer.append(FrameKind::Edit, edit);
        if planted::is("manifest-not-synced") { self.writer.flush() } else { self.writer.sync() }
    }

    /// Writes the end frame. Every edit was synced before.
    pub(super) fn close(mut self) -> Result<()> {
        self.writer.close()
    }

    /// Whether it is time for a new manifest.
    pub(super) fn has_outgrown_its_state(&self) -> bool {
        self.writer.bytes() > self.roll_bytes
    }

    /// Does not ask for a new manifest again before this one has doubled.
    pub(super) fn put_off_roll(&mut self) {
        self.roll_bytes = self.writer.bytes().saturating_mul(2);
    }
}
