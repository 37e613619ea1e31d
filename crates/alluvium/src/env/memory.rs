//! A store's directory in memory, as strict as the worst disk that POSIX allows.
//!
//! It remembers what was synced and what was not, for the bytes of each file and for the names in
//! the directory apart, so that [`MemEnv::crash_image`] can build any state that a power cut could
//! leave behind. A crash costs microseconds here; on a real disk it costs a machine.
//!
//! - Every mutating operation that takes effect (create, append, sync, rename, remove,
//!   sync_directory) has a number, counted from 0. `crash_at(n)` stops the world just before
//!   number `n`: that operation and everything after it, reads included, fail, and the state stays
//!   as it was. Sweeping `n` over a whole run visits every crash point there is.
//! - `sync` makes a file's bytes durable and says nothing of its name, although most file systems
//!   would keep the name too: who relies on that loses files on the others.
//! - An image is a world of its own, unlocked. After a process kill (`KeepAll`) what was not synced
//!   is still not synced in the image; after a power cut all that is there is durable.
//! - Creating the directory and locking it are not counted and are durable at once.
//!
//! Concurrency: one mutex guards the names and the counter, so mutating operations form one
//! order; each file's bytes have their own, so readers of different files do not meet. Order:
//! world, then inode.
//!
//! Not taken: recording every operation and replaying prefixes of the log. Keeping only what is
//! pending is smaller, and images share the bytes of files with their original.

mod clock;
mod image;
#[cfg(any(loom, shuttle))]
mod scheduled;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileId;
use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::{Mutex, MutexGuard};
#[cfg(not(any(loom, shuttle)))]
use crate::env::posix::{sleep, spawn_thread};
use crate::env::{Env, ReadableFile, StoreLock, WorkerThread, WritableFile};
use clock::MemClock;
#[cfg(any(loom, shuttle))]
use scheduled::{sleep, spawn_thread};
use state::{Inode, World};

/// What a crash leaves of that which was not synced. What was synced is always there, whole,
/// except after [`MemEnv::lose_unsynced`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// Nothing: an unsynced creation vanishes, an unsynced removal comes back, an unsynced rename
    /// is undone.
    DropUnsynced,
    /// Everything: the process died, the machine did not. It stays unsynced in the image.
    KeepAll,
    /// The effects of the operations numbered below this: a disk that keeps one order for all.
    GlobalPrefix(u64),
    /// A random prefix for each file, and another for the directory: delayed allocation. A file
    /// may end within an append.
    ObjectPrefix,
    /// As `ObjectPrefix`, and the names lose their order among each other too: a removal may last
    /// and an earlier creation vanish, a rename may leave both names or neither. An entry is
    /// replaced in one step still.
    ShuffledNames,
    /// Unsynced bytes in pages of 4096 that are new, zero, or torn in sectors of 512, each new,
    /// zero, garbage (all of it, its begin, its end), or left by a removed file; bytes before the
    /// synced length are never touched.
    TornSectors,
    /// The length arrived, the data did not: unsynced bytes are zero or left by a removed file.
    LengthFirst,
}

/// An [`Env`] in memory. Clones are handles of the same directory.
#[derive(Clone)]
pub struct MemEnv {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    /// Set under the world's lock, read without it by readers of files.
    crashed: AtomicBool,
    locked: AtomicBool,
    /// One for an environment and all images of it.
    clock: Arc<MemClock>,
}

impl MemEnv {
    /// An environment whose directory does not exist yet.
    #[must_use]
    pub fn new() -> MemEnv {
        MemEnv::from_world(World::default(), Arc::default())
    }

    fn from_world(world: World, clock: Arc<MemClock>) -> MemEnv {
        MemEnv {
            shared: Arc::new(Shared {
                world: Mutex::new(world),
                crashed: AtomicBool::new(false),
                locked: AtomicBool::new(false),
                clock,
            }),
        }
    }

    /// Sets the time of day (since 1970), as an operator or a time server would: [`Env::now`] does
    /// not feel it. From then on it stands still but for [`MemEnv::pass_time`]; before, it is the
    /// system's. Images share the clock.
    pub fn set_unix_time(&self, time: Duration) {
        self.shared.clock.set(time);
    }

    /// Lets time pass: [`Env::now`] and the time of day both go forward by `time`.
    pub fn pass_time(&self, time: Duration) {
        self.shared.clock.pass(time);
    }

    /// Crashes the environment at the mutating operation with this number (see the module): it
    /// does not happen any more, and every later call fails. A number already passed means the
    /// next one.
    pub fn crash_at(&self, operation: u64) {
        self.shared.world.lock().crash_at = Some(operation);
    }

    /// How many mutating operations took effect so far, in this environment and in those that it
    /// is an image of.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared.world.lock().operations
    }

    /// Whether the crash point was reached.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.shared.crashed()
    }

    /// The operation that the crash stopped, in words; `None` before the crash.
    #[must_use]
    pub fn crash_site(&self) -> Option<String> {
        self.shared.world.lock().crash_site.clone()
    }

    /// A state that a crash at this moment could leave, as an environment of its own: unlocked,
    /// without a crash point, with the same capacity. The same policy and seed on the same state
    /// give the same image.
    #[must_use]
    pub fn crash_image(&self, policy: CrashPolicy, seed: u64) -> MemEnv {
        let world = image::build(&self.shared.world.lock(), policy, seed);
        MemEnv::from_world(world, Arc::clone(&self.shared.clock))
    }

    /// All bytes of a file, synced or not; `None` where there is none of that name.
    #[must_use]
    pub fn file_bytes(&self, file: FileId) -> Option<Vec<u8>> {
        let inode = self.shared.world.lock().directory.live.get(&file).cloned()?;
        Some(inode.content().bytes().to_vec())
    }

    /// Gives a file this content, durably: damage from outside, seen by open handles too. Creates
    /// the file, durably, where it is missing.
    pub fn set_file_bytes(&self, file: FileId, bytes: Vec<u8>) {
        self.shared.world.lock().set_file_bytes(file, bytes);
    }

    /// The files in the directory, ordered.
    #[must_use]
    pub fn files(&self) -> Vec<FileId> {
        self.shared.world.lock().directory.live.keys().copied().collect()
    }

    /// Adds a name that is none of a store's, for [`Env::list_foreign`].
    pub fn add_foreign(&self, name: impl Into<String>) {
        self.shared.world.lock().foreign.push(name.into());
    }

    /// Limits the bytes of all files together. An append beyond it writes the part that fits and
    /// fails with [`io::ErrorKind::StorageFull`].
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.world.lock().capacity = bytes;
    }

    /// The bytes of all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.world.lock().used_bytes()
    }

    /// What Linux does to a file when an fsync fails: its dirty pages count as clean without
    /// having been written. They can be read, and no later `sync` makes them durable.
    pub fn lose_unsynced(&self, file: FileId) {
        if let Some(inode) = self.shared.world.lock().directory.live.get(&file) {
            inode.content().lose_unsynced();
        }
    }

    /// What Btrfs does to a file when an fsync fails: what was not on the disk is gone at once, for
    /// readers too.
    pub fn revert_unsynced(&self, file: FileId) {
        if let Some(inode) = self.shared.world.lock().directory.live.get(&file) {
            inode.content().revert_unsynced();
        }
    }

    /// What may come of a failed fsync of the directory: names that were not on the disk can be
    /// used, and no later sync makes them durable.
    pub fn lose_unsynced_names(&self) {
        self.shared.world.lock().directory.pending.clear();
    }
}

impl Default for MemEnv {
    fn default() -> MemEnv {
        MemEnv::new()
    }
}

impl fmt::Debug for MemEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.shared.world.lock();
        f.debug_struct("MemEnv")
            .field("files", &world.directory.live.len())
            .field("operations", &world.operations)
            .field("crashed", &self.crashed())
            .finish()
    }
}

impl Shared {
    /// Locks the world for an operation that does not change it.
    fn look(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world.lock();
        self.check_alive()?;
        Ok(world)
    }

    /// Locks the world for a mutating operation, which may be the one that the crash stops.
    fn change(&self, verb: &str, file: Option<FileId>) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world.lock();
        if world.crash_at.is_some_and(|at| world.operations >= at) && !self.crashed() {
            let file = file.map_or_else(|| "the directory".to_owned(), FileId::name);
            world.crash_site = Some(format!("{verb} {file}"));
            self.crashed.store(true, Ordering::Release);
        }
        self.check_alive()?;
        Ok(world)
    }

    fn crashed(&self) -> bool {
        self.crashed.load(Ordering::Acquire)
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.crashed() {
            return Err(io::Error::other("the machine crashed (simulated)"));
        }
        Ok(())
    }
}

impl Env for MemEnv {
    fn create(&self, file: FileId) -> io::Result<Arc<dyn WritableFile>> {
        let inode = self.shared.change("create", Some(file))?.create(file)?;
        Ok(Arc::new(MemWritable { shared: Arc::clone(&self.shared), inode, file }))
    }

    fn open(&self, file: FileId) -> io::Result<Arc<dyn ReadableFile>> {
        let inode = self.shared.look()?.find(file)?;
        Ok(Arc::new(MemReadable { shared: Arc::clone(&self.shared), inode }))
    }

    fn rename(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.shared.change("rename to", Some(to))?.rename(from, to)
    }

    fn link(&self, from: FileId, to: FileId) -> io::Result<()> {
        self.shared.change("link to", Some(to))?.link(from, to)
    }

    fn remove(&self, file: FileId) -> io::Result<()> {
        self.shared.change("remove", Some(file))?.remove(file)
    }

    fn list(&self) -> io::Result<Vec<FileId>> {
        let world = self.shared.look()?;
        world.check_exists()?;
        Ok(world.directory.live.keys().copied().collect())
    }

    fn list_foreign(&self) -> io::Result<Vec<String>> {
        let world = self.shared.look()?;
        world.check_exists()?;
        Ok(world.foreign.clone())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.shared.change("sync", None)?.sync_directory()
    }

    fn create_directory(&self) -> io::Result<()> {
        self.shared.look()?.exists = true;
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn StoreLock>> {
        let mut world = self.shared.look()?;
        world.check_exists()?;
        if self.shared.locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !world.directory.live.contains_key(&FileId::Lock) {
            world.set_file_bytes(FileId::Lock, Vec::new());
        }
        Ok(Box::new(MemLock(Arc::clone(&self.shared))))
    }

    fn directory(&self) -> String {
        "memory".to_owned()
    }

    fn now(&self) -> Duration {
        self.shared.clock.now()
    }

    fn unix_time(&self) -> Duration {
        self.shared.clock.unix_time()
    }

    fn sleep(&self, duration: Duration) {
        sleep(duration);
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Box<dyn WorkerThread>> {
        spawn_thread(name, body)
    }
}

struct MemWritable {
    shared: Arc<Shared>,
    inode: Arc<Inode>,
    /// The name that it was created under, for messages.
    file: FileId,
}

impl WritableFile for MemWritable {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.shared.change("append to", Some(self.file))?;
        let room = world.room_bytes();
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let operation = world.number_operation();
        self.inode.content().append(operation, &bytes[..fits]);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.shared.change("sync", Some(self.file))?;
        world.number_operation();
        self.inode.content().sync();
        Ok(())
    }
}

struct MemReadable {
    shared: Arc<Shared>,
    inode: Arc<Inode>,
}

impl ReadableFile for MemReadable {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.shared.check_alive()?;
        let content = self.inode.content();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.bytes().get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        self.shared.check_alive()?;
        Ok(self.inode.content().bytes().len() as u64)
    }
}

impl fmt::Debug for MemWritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemWritable").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemReadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemReadable").finish_non_exhaustive()
    }
}

/// Keeps the directory of one environment locked; an image has its own lock.
struct MemLock(Arc<Shared>);

impl StoreLock for MemLock {}

impl fmt::Debug for MemLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemLock")
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}
