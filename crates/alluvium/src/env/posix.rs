//! The real outside world: a directory of a POSIX file system, and the standard library's threads.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the one door to the outside that the lint guards"
)]

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::file::FileId;
use crate::base::sync::Mutex;
use crate::env::trim::trim;
use crate::env::write_back::write_back;
use crate::env::{Env, ReadableFile, StoreLock, WorkerThread, WritableFile};

/// The directories locked by this process. A file lock alone does not keep two handles of one
/// process apart everywhere, and opening the lock file a second time only to close it again could
/// give the first lock away.
static LOCKED_HERE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// The moment that [`Env::now`] counts from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A store in a directory of the file system.
#[derive(Debug)]
pub struct PosixEnv {
    directory: PathBuf,
}

impl PosixEnv {
    /// The store in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> PosixEnv {
        LazyLock::force(&START);
        PosixEnv { directory: directory.into() }
    }

    fn path(&self, file: FileId) -> PathBuf {
        self.directory.join(file.name())
    }
}

/// Whether `inner`, which need not exist, is the directory `outer` or lies within it, by whatever
/// links and detours.
pub(crate) fn lies_within(inner: &Path, outer: &Path) -> bool {
    let (Ok(outer), Ok(inner)) = (fs::canonicalize(outer), std::path::absolute(inner)) else {
        return false;
    };
    let existing = inner.ancestors().find_map(|above| fs::canonicalize(above).ok());
    existing.is_some_and(|existing| existing.starts_with(&outer))
}

impl Env for PosixEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(file))?;
        Ok(Arc::new(PosixWritable(file)))
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        Ok(Arc::new(PosixReadable(File::open(self.path(file))?)))
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        fs::hard_link(self.path(from), self.path(to))
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        fs::remove_file(self.path(file))
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        Ok(self.names()?.into_iter().filter_map(|name| FileId::parse(&name)).collect())
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        Ok(self.names()?.into_iter().filter(|name| FileId::parse(name).is_none()).collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    fn create_directory(&self) -> io::Result<()> {
        create_directory_durably(&self.directory)
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        let canonical = fs::canonicalize(&self.directory)?;
        if !LOCKED_HERE.lock().insert(canonical.clone()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut lock = PosixLock { canonical, file: None };
        let path = self.path(FileId::Lock);
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        // Where nothing can be written a store can still be looked at.
        let file = opened.or_else(|error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                File::open(&path)
            }
            _ => Err(error),
        })?;
        match file.try_lock() {
            Ok(()) => lock.file = Some(file),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Box::new(lock))
    }

    fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    fn now(&self) -> Duration {
        monotonic_now()
    }

    fn unix_time(&self) -> Duration {
        unix_time()
    }

    fn sleep(&self, duration: Duration) {
        sleep(duration);
    }

    fn trim_memory(&self) {
        trim();
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        spawn_thread(name, body)
    }
}

impl PosixEnv {
    /// The names in the directory. A name that is not UTF-8 is none of a store's; it is given
    /// lossily.
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }
}

/// Starts a thread of the standard library; shared with the in-memory environment.
pub(super) fn spawn_thread(
    name: &str,
    body: Box<dyn FnOnce() + Send>,
) -> io::Result<Box<dyn WorkerThread>> {
    let handle = thread::Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(Box::new(PosixThread(handle)))
}

/// Time since the process first asked; shared with the in-memory environment.
pub(super) fn monotonic_now() -> Duration {
    START.elapsed()
}

/// The time of day; a clock before 1970 counts as 1970.
pub(super) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Lets the calling thread wait; shared with the in-memory environment.
pub(super) fn sleep(duration: Duration) {
    thread::sleep(duration);
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates `path` and its missing parents, and makes each new name survive a power cut.
fn create_directory_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_directory(parent)
}

#[derive(Debug)]
struct PosixWritable(File);

impl WritableFile for PosixWritable {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write_back(&self, bytes: Range<u64>) {
        write_back(self.0.as_fd(), bytes);
    }

    // Appends go to where the last one ended, and not to the end of the file.
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

#[derive(Debug)]
struct PosixReadable(File);

impl ReadableFile for PosixReadable {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[derive(Debug)]
struct PosixLock {
    canonical: PathBuf,
    file: Option<File>,
}

impl StoreLock for PosixLock {}

impl Drop for PosixLock {
    fn drop(&mut self) {
        drop(self.file.take());
        LOCKED_HERE.lock().remove(&self.canonical);
    }
}

#[derive(Debug)]
struct PosixThread(thread::JoinHandle<()>);

impl WorkerThread for PosixThread {
    fn join(self: Box<Self>) {
        // A panic was already caught and recorded at the root of the thread's body.
        let _already_recorded = self.0.join();
    }
}
