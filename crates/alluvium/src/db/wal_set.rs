//! The segments of the write-ahead log: one that is written, and older ones that are still needed.
//!
//! # What may be assumed
//!
//! - A segment's header says how many bytes of the segment before it count, so a segment is ended
//!   by the birth of the next: nothing is written to it once it is *sealed*.
//! - Nothing in the log counts as durable while an older segment has unsynced bytes: a `Disk` write
//!   syncs the sealed segments first, then the directory (once a segment), then the current one.
//! - A segment whose append or sync failed is never written or synced again.
//! - The next segment may be there ahead of need, as an empty file: creating one may wait for the
//!   disk, and a writer need not. Recovery leaves out segments without a frame at the end of the
//!   log, and in the middle those that the next one does not name. Its name counts as not synced.
//!
//! # Concurrency
//!
//! One lock around the whole, held by the leader of a commit group from the first append to the
//! publishing of its sequence numbers. Whoever holds it may therefore rotate memtables.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::base::key::SeqNo;
use crate::base::planted;
use crate::base::sync::Mutex;
use crate::batch::ColumnFamilyId;
use crate::env::{Env, WritableFile};
use crate::metrics::Counters;
use crate::wal::{FrameKind, LogHeader, LogKind, LogWriter};

/// A segment that is complete.
#[derive(Debug)]
pub(crate) struct Sealed {
    number: FileNumber,
    bytes: u64,
    file: Arc<dyn WritableFile>,
    /// The outcome of the one sync that it gets, whoever asks for it.
    synced: Mutex<Option<Result<()>>>,
}

impl Sealed {
    /// The segment's number.
    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    /// How many of its bytes count.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the segment durable, once. A failure is the answer for ever: after a failed sync the
    /// kernel may call bytes clean that it has thrown away.
    pub(crate) fn sync(&self, env: &dyn Env) -> Result<()> {
        let mut synced = self.synced.lock();
        let result = synced.get_or_insert_with(|| {
            let name = || env.display(FileId::Wal(self.number));
            self.file.sync().map_err(|error| Error::io("sync", name(), error))
        });
        result.clone()
    }
}

/// A segment that has been created and not begun: an empty file.
#[derive(Debug)]
pub(crate) struct Ahead {
    number: FileNumber,
    name: String,
    file: Arc<dyn WritableFile>,
}

impl Ahead {
    /// Creates the file of segment `number`. Its name is not durable on return.
    pub(crate) fn create(env: &dyn Env, number: FileNumber) -> Result<Ahead> {
        let id = FileId::Wal(number);
        let name = env.display(id);
        let file = env.create(id).map_err(|error| Error::io("create", name.as_str(), error))?;
        Ok(Ahead { number, name, file })
    }

    /// The log in it, behind `bytes` bytes of the segment `previous`.
    fn begin(self, previous: FileNumber, bytes: u64) -> LogWriter {
        let number = self.number;
        let kind = LogKind::Wal;
        let header = LogHeader { kind, number, previous, previous_bytes: bytes };
        LogWriter::create(self.file, self.name, header)
    }

    /// Removes the file, which nothing names.
    pub(crate) fn remove(self, env: &dyn Env, counters: &Counters) {
        if env.remove(FileId::Wal(self.number)).is_err() {
            counters.removals_failed.add(1);
        }
    }
}

/// Why the current segment takes no more.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The disk was full when a group was appended; a new segment heals it.
    NoSpace(Error),
    /// What the file holds is unknown: only reopening the store heals it.
    Fatal(Error),
}

/// The log of a store.
#[derive(Debug)]
pub(crate) struct WalSet {
    env: Arc<dyn Env>,
    counters: Arc<Counters>,
    writer: LogWriter,
    number: FileNumber,
    /// Older segments, ascending.
    sealed: VecDeque<Arc<Sealed>>,
    /// The next segment, where it is there already.
    ahead: Option<Ahead>,
    /// Whether nothing comes any more.
    ended: bool,
    /// Whether the current segment's name has been made durable.
    name_synced: bool,
    /// The length of the current segment up to which every group was handed over whole.
    good_bytes: u64,
    /// The last sequence number of those groups: those behind it were refused, or are buffered.
    good_seq: SeqNo,
    /// The last sequence number of what is in the buffer or the file.
    appended_seq: SeqNo,
    /// The last sequence number given out, to writes that failed too.
    pub(crate) last_seq: SeqNo,
    /// Every operation up to here survives a power cut.
    pub(crate) durable_seq: SeqNo,
    pub(crate) failure: Option<Failure>,
    /// Families whose active memtable is to be closed before the next write.
    pub(crate) full: Vec<ColumnFamilyId>,
}

impl WalSet {
    /// Begins the log of a store that was just opened: everything up to `last_seq` is in tables, so
    /// nothing before this segment is needed. The segment and its name are durable on return.
    pub(crate) fn begin(
        env: Arc<dyn Env>,
        counters: Arc<Counters>,
        number: FileNumber,
        last_seq: SeqNo,
    ) -> Result<WalSet> {
        let mut writer = Ahead::create(env.as_ref(), number)?.begin(FileNumber(0), 0);
        writer.sync()?;
        sync_directory(env.as_ref())?;
        let good_bytes = writer.bytes();
        Ok(WalSet {
            env,
            counters,
            writer,
            number,
            sealed: VecDeque::new(),
            ahead: None,
            ended: false,
            name_synced: true,
            good_bytes,
            good_seq: last_seq,
            appended_seq: last_seq,
            last_seq,
            durable_seq: last_seq,
            failure: None,
            full: Vec::new(),
        })
    }

    /// The number of the current segment.
    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    /// Bytes of all segments that still exist.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.writer.bytes() + self.sealed.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// The oldest segment that still exists.
    pub(crate) fn oldest(&self) -> FileNumber {
        self.sealed.front().map_or(self.number, |segment| segment.number)
    }

    /// Appends one batch frame, which ends at sequence number `last`, to the buffer of the current
    /// segment; returns where in that the payload begins.
    pub(crate) fn append(&mut self, payload: &[u8], last: SeqNo) -> u64 {
        self.appended_seq = last;
        self.writer.append(FrameKind::Batch, payload)
    }

    /// Whether every group so far was handed over whole.
    pub(crate) fn is_settled(&self) -> bool {
        self.good_bytes == self.writer.bytes()
    }

    /// Whether all that was not handed over can wait: it is fewer than `most` bytes in the buffer,
    /// and nothing has failed. Where the buffer is empty there may still be groups in the file
    /// that do not count yet.
    pub(crate) fn waits(&self, most: u64) -> bool {
        let buffered = self.writer.bytes() - self.writer.flushed_bytes();
        (1..most).contains(&buffered) && self.writer.check().is_ok()
    }

    /// Hands the buffer to the operating system. A full disk is survivable when the buffer held
    /// nothing that was acknowledged before (`group_only`).
    pub(crate) fn flush(&mut self, group_only: bool) -> Result<()> {
        let before = self.good_bytes;
        match self.writer.flush() {
            Ok(()) => {
                self.good_bytes = self.writer.flushed_bytes();
                self.good_seq = self.appended_seq;
                self.counters.wal_bytes.add_alone(self.good_bytes - before);
                Ok(())
            }
            Err(error) if planted::is("append-after-short-write") => Err(error),
            Err(error) => {
                let full = matches!(error, Error::NoSpace { .. });
                self.failure = Some(if full && group_only {
                    Failure::NoSpace(error.clone())
                } else {
                    Failure::Fatal(error.clone())
                });
                Err(error)
            }
        }
    }

    /// Makes everything flushed so far survive a power cut. Flush first.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let result = self.try_sync();
        if let Err(error) = &result {
            self.failure = Some(Failure::Fatal(error.clone()));
        }
        result
    }

    fn try_sync(&mut self) -> Result<()> {
        if !planted::is("sealed-segments-not-synced") {
            self.sealed.iter().try_for_each(|segment| segment.sync(self.env.as_ref()))?;
        }
        if !self.name_synced && !planted::is("log-name-not-synced") {
            sync_directory(self.env.as_ref())?;
            self.name_synced = true;
        }
        self.writer.sync()?;
        self.counters.wal_syncs.add_alone(1);
        self.durable_seq = self.good_seq;
        Ok(())
    }

    /// Takes a segment that was created ahead of need. Gives it back where it comes too late, even
    /// behind the end of the log, or another is there.
    pub(crate) fn put_ahead(&mut self, ahead: Ahead) -> Option<Ahead> {
        if self.ended || self.ahead.is_some() || ahead.number < self.number {
            return Some(ahead);
        }
        self.ahead = Some(ahead);
        None
    }

    /// Seals the current segment and begins the next, which heals a full disk: the bytes of the
    /// group that failed do not count. The next is the one that is there ahead of need, or is
    /// created, numbered by `new_number`. On an error nothing has changed.
    pub(crate) fn rotate(&mut self, new_number: impl FnOnce() -> FileNumber) -> Result<()> {
        match &self.failure {
            None => self.flush(false)?,
            Some(Failure::Fatal(error)) => return Err(error.clone()),
            // What is in the buffer was refused.
            Some(Failure::NoSpace(_)) => self.appended_seq = self.good_seq,
        }
        let next = match self.ahead.take() {
            Some(ahead) => ahead,
            None => Ahead::create(self.env.as_ref(), new_number())?,
        };
        let number = next.number;
        let counts = match planted::is("failed-append-counts") {
            true => self.writer.bytes(),
            false => self.good_bytes,
        };
        let mut writer = next.begin(self.number, counts);
        if let Err(error) = writer.flush() {
            // Recovery leaves out a segment without a frame, should it stay.
            drop(self.env.remove(FileId::Wal(number)));
            return Err(error);
        }
        let good_bytes = writer.flushed_bytes();
        self.counters.wal_bytes.add_alone(good_bytes);
        self.sealed.push_back(Arc::new(Sealed {
            number: self.number,
            bytes: self.good_bytes,
            file: self.writer.file(),
            synced: Mutex::new(None),
        }));
        self.writer = writer;
        self.number = number;
        self.name_synced = false;
        self.good_bytes = good_bytes;
        self.failure = None;
        Ok(())
    }

    /// The sealed segments, to be synced outside the lock.
    pub(crate) fn sealed(&self) -> Vec<Arc<Sealed>> {
        self.sealed.iter().cloned().collect()
    }

    /// Forgets the segments before `number` and returns them, for their files to be removed.
    pub(crate) fn take_before(&mut self, number: FileNumber) -> Vec<FileNumber> {
        let mut taken = Vec::new();
        while self.sealed.front().is_some_and(|segment| segment.number < number) {
            taken.extend(self.sealed.pop_front().map(|segment| segment.number));
        }
        taken
    }

    /// Ends the log in good order: everything durable, and an end frame that says so.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.ended = true;
        if let Some(ahead) = self.ahead.take() {
            ahead.remove(self.env.as_ref(), &self.counters);
        }
        if let Some(Failure::NoSpace(error) | Failure::Fatal(error)) = &self.failure {
            return Err(error.clone());
        }
        self.flush(false)?;
        self.sync()?;
        self.writer.close()
    }
}

/// Makes the names in the directory durable.
pub(crate) fn sync_directory(env: &dyn Env) -> Result<()> {
    env.sync_directory().map_err(|error| Error::io("sync directory", env.directory(), error))
}
