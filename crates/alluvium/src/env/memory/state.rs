//! What the in-memory environment knows of its files and names: what is durable, what is pending.
//!
//! A file's bytes are one vector with a synced length and the list of appends behind it; the
//! directory is the durable names, the live names, and the changes that lead from one to the other.
//! Files are only ever appended to, and one that an image inherited has no writer any more, so an
//! image shares the vector and cuts it by a shorter length.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::base::file::FileId;
use crate::base::sync::{Mutex, MutexGuard};

/// How many removed files are remembered, to show up as stale bytes.
const DEAD_FILES_MAX: usize = 8;

/// The names of one moment.
pub(super) type Names = BTreeMap<FileId, Arc<Inode>>;

/// The whole state of an environment but for its lock.
#[derive(Default)]
pub(super) struct World {
    /// Whether the directory was created.
    pub(super) exists: bool,
    pub(super) directory: Directory,
    /// Names that are none of a store's.
    pub(super) foreign: Vec<String>,
    /// How many mutating operations took effect; the number of the next.
    pub(super) operations: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crash_site: Option<String>,
    pub(super) capacity: Option<u64>,
    /// The files removed last, oldest first: where stale bytes come from.
    pub(super) dead: VecDeque<Dead>,
}

/// A file that was removed or replaced, as it was then.
#[derive(Clone)]
pub(super) struct Dead {
    pub(super) file: FileId,
    pub(super) content: Content,
}

/// The directory's entries.
#[derive(Default)]
pub(super) struct Directory {
    /// What the process sees.
    pub(super) live: Names,
    /// What was there at the last sync.
    pub(super) durable: Names,
    /// The changes since, in order: `durable` and these make `live`, but for names that were lost
    /// (see `MemEnv::lose_unsynced_names`).
    pub(super) pending: Vec<PendingName>,
}

/// A change of the directory that no sync covers yet.
#[derive(Clone)]
pub(super) struct PendingName {
    pub(super) operation: u64,
    pub(super) change: NameChange,
}

/// What happens to the entries of a directory.
#[derive(Clone)]
pub(super) enum NameChange {
    Create(FileId, Arc<Inode>),
    Rename(FileId, FileId, Arc<Inode>),
    Remove(FileId),
}

impl NameChange {
    /// The change as entries set and cleared, in order.
    pub(super) fn effects(&self) -> Vec<(FileId, Option<Arc<Inode>>)> {
        match self {
            NameChange::Create(file, inode) => vec![(*file, Some(Arc::clone(inode)))],
            NameChange::Rename(from, to, inode) => {
                vec![(*to, Some(Arc::clone(inode))), (*from, None)]
            }
            NameChange::Remove(file) => vec![(*file, None)],
        }
    }

    /// Does the change to `names`.
    pub(super) fn apply(&self, names: &mut Names) {
        for (file, inode) in self.effects() {
            match inode {
                Some(inode) => names.insert(file, inode),
                None => names.remove(&file),
            };
        }
    }
}

impl World {
    /// The number of an operation that is about to take effect.
    pub(super) fn number_operation(&mut self) -> u64 {
        let operation = self.operations;
        self.operations += 1;
        operation
    }

    /// Fails as every call does whose directory is missing.
    pub(super) fn check_exists(&self) -> io::Result<()> {
        if self.exists { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// The file of this name.
    pub(super) fn find(&self, file: FileId) -> io::Result<Arc<Inode>> {
        self.directory.live.get(&file).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, file: FileId) -> io::Result<Arc<Inode>> {
        self.check_exists()?;
        if self.directory.live.contains_key(&file) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Arc::new(Inode::new(Content::default()));
        self.change_names(NameChange::Create(file, Arc::clone(&inode)));
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: FileId, to: FileId) -> io::Result<()> {
        let inode = self.find(from)?;
        if from == to {
            return Ok(());
        }
        if let Some(replaced) = self.directory.live.get(&to).cloned() {
            self.bury(to, &replaced);
        }
        self.change_names(NameChange::Rename(from, to, inode));
        Ok(())
    }

    pub(super) fn link(&mut self, from: FileId, to: FileId) -> io::Result<()> {
        let inode = self.find(from)?;
        if self.directory.live.contains_key(&to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change_names(NameChange::Create(to, inode));
        Ok(())
    }

    pub(super) fn remove(&mut self, file: FileId) -> io::Result<()> {
        let inode = self.find(file)?;
        self.bury(file, &inode);
        self.change_names(NameChange::Remove(file));
        Ok(())
    }

    pub(super) fn sync_directory(&mut self) -> io::Result<()> {
        self.check_exists()?;
        self.number_operation();
        let Directory { durable, pending, .. } = &mut self.directory;
        for pending in pending.drain(..) {
            pending.change.apply(durable);
        }
        Ok(())
    }

    /// Gives `file` this content, durably and past all counting. A name that is missing is created
    /// durably; one that exists stays as durable as it was.
    pub(super) fn set_file_bytes(&mut self, file: FileId, bytes: Vec<u8>) {
        let content = Content::durable(Arc::new(bytes));
        if let Some(inode) = self.directory.live.get(&file) {
            *inode.content() = content;
            return;
        }
        self.exists = true;
        let inode = Arc::new(Inode::new(content));
        self.directory.live.insert(file, Arc::clone(&inode));
        self.directory.durable.insert(file, inode);
    }

    /// The bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        self.directory.live.values().map(|inode| inode.content().length as u64).sum()
    }

    /// How many bytes may still be appended.
    pub(super) fn room_bytes(&self) -> u64 {
        match self.capacity {
            Some(capacity) => capacity.saturating_sub(self.used_bytes()),
            None => u64::MAX,
        }
    }

    fn change_names(&mut self, change: NameChange) {
        let operation = self.number_operation();
        change.apply(&mut self.directory.live);
        self.directory.pending.push(PendingName { operation, change });
    }

    fn bury(&mut self, file: FileId, inode: &Inode) {
        if self.dead.len() == DEAD_FILES_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(Dead { file, content: inode.content().clone() });
    }
}

/// A file, whatever its names are.
pub(super) struct Inode(Mutex<Content>);

impl Inode {
    pub(super) fn new(content: Content) -> Inode {
        Inode(Mutex::new(content))
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock()
    }
}

/// The bytes of a file.
#[derive(Clone, Default)]
pub(super) struct Content {
    /// May be longer than the file and shared with other environments.
    bytes: Arc<Vec<u8>>,
    length: usize,
    /// The bytes before this are durable.
    pub(super) synced: usize,
    /// The appends behind `synced`, in order.
    pub(super) pending: Vec<PendingAppend>,
    /// What counts as synced and is not on the disk (see `MemEnv::lose_unsynced`).
    pub(super) lost: Vec<Range<usize>>,
}

/// An append that no sync covers yet.
#[derive(Clone, Copy)]
pub(super) struct PendingAppend {
    pub(super) operation: u64,
    /// The file's length once it is done.
    pub(super) end: usize,
}

impl Content {
    /// A file of these bytes, all durable.
    pub(super) fn durable(bytes: Arc<Vec<u8>>) -> Content {
        let length = bytes.len();
        Content { bytes, length, synced: length, ..Content::default() }
    }

    /// The first `length` bytes of this file as a durable file, not copied.
    pub(super) fn durable_prefix(&self, length: usize) -> Content {
        let length = length.min(self.length);
        Content { bytes: Arc::clone(&self.bytes), length, synced: length, ..Content::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The length that the appends numbered below `operations` gave the file.
    pub(super) fn length_before(&self, operations: u64) -> usize {
        let kept = self.pending.partition_point(|append| append.operation < operations);
        self.pending[..kept].last().map_or(self.synced, |append| append.end)
    }

    pub(super) fn append(&mut self, operation: u64, bytes: &[u8]) {
        let all = Arc::make_mut(&mut self.bytes);
        all.truncate(self.length);
        all.extend_from_slice(bytes);
        self.length = all.len();
        self.pending.push(PendingAppend { operation, end: self.length });
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.length;
        self.pending.clear();
    }

    pub(super) fn lose_unsynced(&mut self) {
        if self.synced < self.length {
            self.lost.push(self.synced..self.length);
        }
        // No longer pending: no policy may write them any more.
        self.pending.clear();
    }

    pub(super) fn revert_unsynced(&mut self) {
        self.length = self.synced;
        self.pending.clear();
    }
}
