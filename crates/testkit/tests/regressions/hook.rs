//! An environment that asks before each operation, and a gate to stop one at: for tests that need
//! to know where a thread is.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use alluvium::env::{
    Env, FileId, FileKind, Operation, ReadableFile, StoreLock, WorkerThread, WritableFile,
};

type Hook = Arc<dyn Fn(Operation, Option<FileId>) + Send + Sync>;

/// Calls `hook` before each operation on files, in the thread that does it. A hook may wait or
/// panic.
#[derive(Clone)]
pub struct HookEnv {
    inner: Arc<dyn Env>,
    hook: Hook,
}

impl HookEnv {
    pub fn new(
        inner: impl Env,
        hook: impl Fn(Operation, Option<FileId>) + Send + Sync + 'static,
    ) -> HookEnv {
        HookEnv { inner: Arc::new(inner), hook: Arc::new(hook) }
    }
}

impl fmt::Debug for HookEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HookEnv").field(&self.inner).finish()
    }
}

struct HookFile<F: ?Sized> {
    inner: Arc<F>,
    file: FileId,
    hook: Hook,
}

impl<F: ?Sized> fmt::Debug for HookFile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HookFile").field(&self.file).finish()
    }
}

impl WritableFile for HookFile<dyn WritableFile> {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (self.hook)(Operation::Append, Some(self.file));
        self.inner.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        (self.hook)(Operation::Sync, Some(self.file));
        self.inner.sync()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.inner.set_length(length)
    }
}

impl ReadableFile for HookFile<dyn ReadableFile> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (self.hook)(Operation::Read, Some(self.file));
        self.inner.read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
}

impl Env for HookEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        (self.hook)(Operation::Create, Some(file));
        let inner = self.inner.create(file)?;
        Ok(Arc::new(HookFile { inner, file, hook: Arc::clone(&self.hook) }))
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        (self.hook)(Operation::Open, Some(file));
        let inner = self.inner.open(file)?;
        Ok(Arc::new(HookFile { inner, file, hook: Arc::clone(&self.hook) }))
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        (self.hook)(Operation::Rename, Some(from));
        self.inner.rename(from, to)
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        (self.hook)(Operation::Rename, Some(from));
        self.inner.link(from, to)
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        (self.hook)(Operation::Remove, Some(file));
        self.inner.remove(file)
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.inner.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.inner.list_foreign()
    }

    fn sync_directory(&self) -> io::Result<()> {
        (self.hook)(Operation::SyncDirectory, None);
        self.inner.sync_directory()
    }

    fn create_directory(&self) -> io::Result<()> {
        self.inner.create_directory()
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        self.inner.lock()
    }

    fn directory(&self) -> String {
        self.inner.directory()
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

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        self.inner.spawn(name, body)
    }
}

#[derive(Debug, Clone, Copy)]
enum Files {
    OfKind(FileKind),
    One(FileId),
}

impl Files {
    fn include(self, file: FileId) -> bool {
        match self {
            Files::OfKind(kind) => FileKind::of(file) == kind,
            Files::One(one) => one == file,
        }
    }
}

#[derive(Debug, Default)]
struct GateState {
    /// The operation that is stopped while the gate is shut, on which files.
    shut: Option<(Operation, Files)>,
    waiting: bool,
}

/// Stops the threads that come to a chosen operation until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

impl Gate {
    /// An environment that this gate can stop.
    pub fn around(&self, inner: impl Env) -> HookEnv {
        let gate = self.clone();
        HookEnv::new(inner, move |operation, file| gate.pass(operation, file))
    }

    /// From here on, whoever comes to this operation on this kind of file waits.
    pub fn shut(&self, operation: Operation, kind: FileKind) {
        self.set(operation, Files::OfKind(kind));
    }

    /// From here on, whoever comes to this operation on this file waits.
    pub fn shut_for(&self, operation: Operation, file: FileId) {
        self.set(operation, Files::One(file));
    }

    fn set(&self, operation: Operation, files: Files) {
        let mut state = self.0.0.lock().unwrap();
        *state = GateState { shut: Some((operation, files)), waiting: false };
    }

    /// Waits until somebody waits at the gate.
    pub fn wait_for_somebody(&self) {
        let (state, signal) = &*self.0;
        drop(signal.wait_while(state.lock().unwrap(), |state| !state.waiting).unwrap());
    }

    /// Lets everybody through.
    pub fn open(&self) {
        let (state, signal) = &*self.0;
        state.lock().unwrap().shut = None;
        signal.notify_all();
    }

    fn pass(&self, operation: Operation, file: Option<FileId>) {
        let (state, signal) = &*self.0;
        let mut state = state.lock().unwrap();
        let stops = |(shut, files): (Operation, Files)| {
            shut == operation && file.is_some_and(|file| files.include(file))
        };
        while state.shut.is_some_and(stops) {
            state.waiting = true;
            signal.notify_all();
            state = signal.wait(state).unwrap();
        }
    }
}
