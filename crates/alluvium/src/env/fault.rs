//! An environment that fails the operations it is told to fail, and counts all of them.
//!
//! It wraps any other [`Env`]. A [`FaultRule`] says which operations it looks at, on which kind of
//! file, which of them it fails, and how. Rules come and go while a store is open. The first rule
//! in order of insertion that fires decides; every rule that matches counts the operation, fired or
//! not, so that rules do not shift each other.
//!
//! Every injected fault is recorded with a token that its error carries in its text (an error that
//! stands for a number of the operating system has no text): a sweep can ask whether each of them
//! came to light. A failed operation did not happen below, but for what the fault says otherwise.
//!
//! Concurrency: one mutex around rules and counters, and one around the removed files that a stale
//! read may show, never held while calling below or while calling the observer.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileId;
use crate::base::sync::Mutex;
use crate::env::{Env, ReadableFile, StoreLock, WorkerThread, WritableFile};
use rule::Rules;
pub use rule::{Fault, FaultRule, FileKind, Injection, Operation, Repeat, RuleId, When};

/// Called after a fault was injected.
type Observer = Arc<dyn Fn(&Injection) + Send + Sync>;

/// An [`Env`] that injects faults. Clones share rules and counters.
#[derive(Clone, Debug)]
pub struct FaultEnv {
    inner: Arc<dyn Env>,
    control: Arc<Control>,
}

struct Control {
    rules: Mutex<Rules>,
    observer: Mutex<Option<Observer>>,
    /// The file of each kind that was removed or replaced last, while a rule may ask for it.
    removed: Mutex<HashMap<FileKind, Arc<dyn ReadableFile>>>,
}

impl FaultEnv {
    /// Wraps `inner`, with no rules yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Env>) -> FaultEnv {
        let control = Control {
            rules: Mutex::new(Rules::default()),
            observer: Mutex::new(None),
            removed: Mutex::new(HashMap::new()),
        };
        FaultEnv { inner, control: Arc::new(control) }
    }

    /// Adds a rule, behind those there are. It counts from here on.
    pub fn add(&self, rule: FaultRule) -> RuleId {
        self.control.rules.lock().add(rule)
    }

    /// Takes a rule back; returns whether it was there.
    pub fn remove_rule(&self, rule: RuleId) -> bool {
        self.control.rules.lock().remove(rule)
    }

    /// Takes all rules back. Counters and records stay.
    pub fn clear(&self) {
        self.control.rules.lock().clear();
    }

    /// How many operations of this kind were asked for, failed ones too.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.control.rules.lock().count(operation, None)
    }

    /// How many operations of this kind were asked for on files of this kind.
    #[must_use]
    pub fn count_on(&self, operation: Operation, kind: FileKind) -> u64 {
        self.control.rules.lock().count(operation, Some(kind))
    }

    /// How many operations of any kind were asked for.
    #[must_use]
    pub fn count_all(&self) -> u64 {
        Operation::ALL.iter().map(|operation| self.count(*operation)).sum()
    }

    /// How many faults were injected.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.control.rules.lock().injections().len() as u64
    }

    /// Every injected fault, in order.
    #[must_use]
    pub fn injections(&self) -> Vec<Injection> {
        self.control.rules.lock().injections().to_vec()
    }

    /// The faults injected behind the first `count`, in order.
    #[must_use]
    pub fn injections_after(&self, count: u64) -> Vec<Injection> {
        let rules = self.control.rules.lock();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        rules.injections().get(count..).unwrap_or_default().to_vec()
    }

    /// What came of it when the thread whose read the fault of this number failed read the same
    /// place again, as its next read of all; `None` where it did not.
    #[must_use]
    pub fn repeat_of(&self, number: u64) -> Option<Repeat> {
        self.control.rules.lock().repeat_of(number)
    }

    /// The next read of the calling thread repeats none before it.
    pub fn forget_failed_read(&self) {
        self.control.rules.lock().forget_failed_read();
    }

    /// `file` is about to go: keeps it readable where a rule may want what it held.
    fn keep_for_stale_reads(&self, file: FileId) {
        if self.control.rules.lock().wants_removed_files()
            && let Ok(opened) = self.inner.open(file)
        {
            self.control.removed.lock().insert(FileKind::of(file), opened);
        }
    }

    /// Keeps every operation from here on, forgetting those kept before.
    pub fn record(&self) {
        self.control.rules.lock().record();
    }

    /// Every operation since [`Self::record`] in order, failed ones too, each with the file that it
    /// was on; a rename's `from`.
    #[must_use]
    pub fn recorded(&self) -> Vec<(Operation, Option<FileId>)> {
        self.control.rules.lock().recorded().to_vec()
    }

    /// Has `observer` called after each injected fault, in the thread that it hits. With
    /// [`MemEnv::lose_unsynced`](super::MemEnv::lose_unsynced), a failed sync forgets its pages as
    /// Linux does.
    pub fn observe(&self, observer: impl Fn(&Injection) + Send + Sync + 'static) {
        *self.control.observer.lock() = Some(Arc::new(observer));
    }
}

impl Control {
    /// Counts an operation and asks the rules about it.
    fn ask(&self, operation: Operation, files: &[FileId]) -> Option<Injection> {
        let injection = self.rules.lock().ask(operation, files)?;
        let observer = self.observer.lock().clone();
        if let Some(observer) = observer {
            observer(&injection);
        }
        Some(injection)
    }

    /// As `ask`, for operations that can only fail as a whole.
    fn check(&self, operation: Operation, files: &[FileId]) -> io::Result<()> {
        match self.ask(operation, files) {
            Some(injection) => Err(injection.error()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Env for FaultEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        self.control.check(Operation::Create, &[file])?;
        let inner = self.inner.create(file)?;
        Ok(Arc::new(FaultWritable { inner, file, control: Arc::clone(&self.control) }))
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        self.control.check(Operation::Open, &[file])?;
        let inner = self.inner.open(file)?;
        Ok(Arc::new(FaultReadable { inner, file, control: Arc::clone(&self.control) }))
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.control.check(Operation::Rename, &[from, to])?;
        self.keep_for_stale_reads(to);
        self.inner.rename(from, to)
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.control.check(Operation::Rename, &[from, to])?;
        self.inner.link(from, to)
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        self.control.check(Operation::Remove, &[file])?;
        self.keep_for_stale_reads(file);
        self.inner.remove(file)
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.control.check(Operation::List, &[])?;
        self.inner.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.control.check(Operation::List, &[])?;
        self.inner.list_foreign()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.control.check(Operation::SyncDirectory, &[])?;
        self.inner.sync_directory()
    }

    fn create_directory(&self) -> io::Result<()> {
        self.control.check(Operation::CreateDirectory, &[])?;
        self.inner.create_directory()
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        self.control.check(Operation::Lock, &[FileId::Lock])?;
        self.inner.lock()
    }

    fn directory(&self) -> String {
        self.inner.directory()
    }

    fn display(&self, file: FileId) -> String {
        self.inner.display(file)
    }

    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn unix_time(&self) -> Duration {
        self.inner.unix_time()
    }

    fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration);
    }

    fn trim_memory(&self) {
        self.inner.trim_memory();
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        self.control.check(Operation::Spawn, &[])?;
        self.inner.spawn(name, body)
    }
}

#[derive(Debug)]
struct FaultWritable {
    inner: Arc<dyn WritableFile>,
    file: FileId,
    control: Arc<Control>,
}

impl WritableFile for FaultWritable {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        // The rules are asked first and the short append done after: the observer sees the file
        // before it.
        let Some(injection) = self.control.ask(Operation::Append, &[self.file]) else {
            return self.inner.append(bytes);
        };
        if let Fault::ShortAppend { bytes: written } = injection.fault {
            self.inner.append(&bytes[..written.min(bytes.len())])?;
        }
        Err(injection.error())
    }

    fn sync(&self) -> io::Result<()> {
        self.control.check(Operation::Sync, &[self.file])?;
        self.inner.sync()
    }

    fn write_back(&self, bytes: Range<u64>) {
        self.inner.write_back(bytes);
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.inner.set_length(length)
    }
}

#[derive(Debug)]
struct FaultReadable {
    inner: Arc<dyn ReadableFile>,
    file: FileId,
    control: Arc<Control>,
}

impl ReadableFile for FaultReadable {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let injection = self.control.ask(Operation::Read, &[self.file]);
        self.control.rules.lock().note_read((self.file, offset), injection.as_ref());
        let Some(injection) = injection else {
            return self.inner.read_at(offset, buffer);
        };
        match injection.fault {
            Fault::FlipBit { bit } => {
                let count = self.inner.read_at(offset, buffer)?;
                if count > 0 {
                    let bit = bit % (count as u64 * 8);
                    buffer[(bit / 8) as usize] ^= 1 << (bit % 8);
                }
                Ok(count)
            }
            Fault::ShortRead { bytes } => {
                let wanted = bytes.min(buffer.len());
                self.inner.read_at(offset, &mut buffer[..wanted])
            }
            Fault::Misdirected { bytes } => {
                let length = self.inner.length()?;
                let elsewhere = if offset == 0 { bytes } else { offset.saturating_sub(bytes) };
                let wanted = length.saturating_sub(offset).min(buffer.len() as u64) as usize;
                buffer[..wanted].fill(0);
                self.inner.read_at(elsewhere, &mut buffer[..wanted])?;
                Ok(wanted)
            }
            Fault::Stale => {
                let length = self.inner.length()?;
                let wanted = length.saturating_sub(offset).min(buffer.len() as u64) as usize;
                buffer[..wanted].fill(0);
                let removed = self.control.removed.lock().get(&FileKind::of(self.file)).cloned();
                if let Some(removed) = removed {
                    removed.read_at(offset, &mut buffer[..wanted])?;
                }
                Ok(wanted)
            }
            _ => Err(injection.error()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.control.check(Operation::Length, &[self.file])?;
        self.inner.length()
    }

    fn advise_sequential(&self) {
        self.inner.advise_sequential();
    }
}
