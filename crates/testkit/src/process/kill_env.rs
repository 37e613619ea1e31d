//! An environment in which the process dies at a chosen operation: before it, after it, or in the
//! middle of an append.
//!
//! What a kill can leave on disk changes with the operations on files and with nothing else, so the
//! moments between them are all that there are. A moment is called
//! `<kind of file>.<operation>.<before|half|after>`, as in `wal.append.half`, and the process dies
//! when it comes there for the n-th time.

use std::fmt;
use std::io;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alluvium::env::{Env, FileId, FileKind, ReadableFile, StoreLock, WorkerThread, WritableFile};

use crate::process::channel;
use crate::random::Random;

/// When to die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillPoint {
    /// The moment's name.
    pub name: String,
    /// Which time, from 1.
    pub hit: u64,
}

/// The moments that a store at work comes to; `blobs` says whether it has values in blob files.
#[must_use]
pub fn points(blobs: bool) -> Vec<String> {
    let mut points = Vec::new();
    let kinds =
        ["wal", "table", "manifest", "temporary"].into_iter().chain(blobs.then_some("blob"));
    for kind in kinds {
        points.push(format!("{kind}.append.half"));
        for operation in ["create", "append", "sync"] {
            points.push(format!("{kind}.{operation}.before"));
            points.push(format!("{kind}.{operation}.after"));
        }
    }
    // A temporary file is removed only by the open after a death before its rename.
    for place in ["wal.remove", "table.remove", "manifest.remove", "temporary.remove"] {
        points.push(format!("{place}.before"));
        points.push(format!("{place}.after"));
    }
    // A segment of the log gets a second name as a blob file.
    let second_names = ["blob.link", "blob.remove"].into_iter().filter(|_| blobs);
    for place in ["current.rename", "directory.sync"].into_iter().chain(second_names) {
        points.push(format!("{place}.before"));
        points.push(format!("{place}.after"));
    }
    points
}

impl KillPoint {
    /// A moment at random, sooner or later in a life.
    #[must_use]
    pub fn draw(random: &mut Random, points: &[String]) -> KillPoint {
        let name = random.pick(points).clone();
        let often = match name.split('.').next() {
            Some("wal") if name.contains("append") || name.contains("sync") => 200,
            Some("table") => 40,
            Some("wal" | "manifest" | "directory" | "blob") => 12,
            _ => 2,
        };
        let often = if random.one_in(3) { 3 } else { often };
        KillPoint { name, hit: 1 + random.below(often) as u64 }
    }
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.hit)
    }
}

impl FromStr for KillPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<KillPoint, String> {
        let point = text.split_once(':').and_then(|(name, hit)| {
            Some(KillPoint { name: name.to_owned(), hit: hit.parse().ok()? })
        });
        point
            .filter(|point| points(true).contains(&point.name))
            .ok_or_else(|| format!("{text}: a kill point is NAME:HIT, such as wal.append.half:3"))
    }
}

/// An environment that ends the process at its point.
#[derive(Debug)]
pub struct KillEnv {
    inner: Arc<dyn Env>,
    fuse: Arc<Fuse>,
}

#[derive(Debug)]
struct Fuse {
    point: KillPoint,
    hits: AtomicU64,
}

impl Fuse {
    /// Whether this is the moment.
    fn burns(&self, kind: &str, operation: &str, moment: &str) -> bool {
        let mut parts = self.point.name.split('.');
        let is_it = [kind, operation, moment].into_iter().all(|part| parts.next() == Some(part));
        is_it && self.hits.fetch_add(1, Ordering::Relaxed) + 1 == self.point.hit
    }

    fn die(&self) -> ! {
        channel::say(&format!("at {}", self.point.name));
        channel::kill_self()
    }

    fn pass(&self, kind: &str, operation: &str, moment: &str) {
        if self.burns(kind, operation, moment) {
            self.die();
        }
    }

    /// Does `body` with the moments before it and after it.
    fn around<T>(
        &self,
        kind: &str,
        operation: &str,
        body: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.pass(kind, operation, "before");
        let done = body()?;
        self.pass(kind, operation, "after");
        Ok(done)
    }
}

impl KillEnv {
    /// The process dies when `inner` is at `point`.
    #[must_use]
    pub fn new(inner: Arc<dyn Env>, point: KillPoint) -> KillEnv {
        KillEnv { inner, fuse: Arc::new(Fuse { point, hits: AtomicU64::new(0) }) }
    }
}

fn kind_of(file: FileId) -> &'static str {
    match FileKind::of(file) {
        FileKind::Wal => "wal",
        FileKind::Table => "table",
        FileKind::Blob => "blob",
        FileKind::Manifest => "manifest",
        FileKind::Current => "current",
        FileKind::Temporary => "temporary",
        FileKind::Lock => "lock",
        FileKind::Status => "status",
    }
}

impl Env for KillEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        let kind = kind_of(file);
        let inner = self.fuse.around(kind, "create", || self.inner.create(file))?;
        Ok(Arc::new(KillWritable { inner, kind, fuse: Arc::clone(&self.fuse) }))
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        self.inner.open(file)
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.fuse.around(kind_of(to), "rename", || self.inner.rename(from, to))
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.fuse.around(kind_of(to), "link", || self.inner.link(from, to))
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        self.fuse.around(kind_of(file), "remove", || self.inner.remove(file))
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        self.inner.list()
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        self.inner.list_foreign()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.fuse.around("directory", "sync", || self.inner.sync_directory())
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

    fn trim_memory(&self) {
        self.inner.trim_memory();
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        self.inner.spawn(name, body)
    }
}

#[derive(Debug)]
struct KillWritable {
    inner: Arc<dyn WritableFile>,
    kind: &'static str,
    fuse: Arc<Fuse>,
}

impl WritableFile for KillWritable {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if self.fuse.burns(self.kind, "append", "half") {
            self.inner.append(&bytes[..bytes.len() / 2])?;
            self.fuse.die();
        }
        self.fuse.around(self.kind, "append", || self.inner.append(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.fuse.around(self.kind, "sync", || self.inner.sync())
    }

    fn write_back(&self, bytes: Range<u64>) {
        self.inner.write_back(bytes);
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.fuse.around(self.kind, "set length", || self.inner.set_length(length))
    }
}
