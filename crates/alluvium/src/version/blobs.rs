//! Blob files of the store: which are live, and how much of each is garbage.
//!
//! A blob file is live while a table needs it. Each table says how much of which files it needs;
//! what no table of the current versions needs of a file is garbage. When the last such table has
//! left, the file is obsolete, and goes when the last reader lets go of the last of those tables,
//! exactly as a table does.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::base::blob::BlobShare;
use crate::base::file::{FileId, FileNumber};
use crate::blob::BLOB_HEADER_BYTES;
use crate::version::obsolete::ObsoleteFiles;
use crate::version::table_meta::TableMeta;
use crate::version::{Breach, Checked};

/// A blob file of which no more than one part in so many is needed is emptied: what is left in it
/// is written anew by the compactions that meet it.
const SPARSE_PART: u64 = 2;

/// A live blob file.
pub struct BlobMeta {
    /// The number of its file.
    pub number: FileNumber,
    /// The length of its file.
    pub bytes: u64,
    /// Where to report when the last holder has gone; set once the file is obsolete.
    obsolete: OnceLock<Arc<ObsoleteFiles>>,
}

impl BlobMeta {
    /// A blob file that was just written, or that a manifest names.
    #[must_use]
    pub fn new(number: FileNumber, bytes: u64) -> BlobMeta {
        BlobMeta { number, bytes, obsolete: OnceLock::new() }
    }

    /// Lets the last holder put the file into `queue`.
    pub(super) fn mark_obsolete(&self, queue: &Arc<ObsoleteFiles>) {
        self.obsolete.get_or_init(|| Arc::clone(queue));
    }
}

impl Drop for BlobMeta {
    fn drop(&mut self) {
        if let Some(queue) = self.obsolete.get() {
            queue.push(FileId::Blob(self.number));
        }
    }
}

impl fmt::Debug for BlobMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_obsolete = self.obsolete.get().is_some();
        f.debug_struct("BlobMeta")
            .field("number", &self.number)
            .field("bytes", &self.bytes)
            .field("obsolete", &is_obsolete)
            .finish()
    }
}

/// What is needed of a blob file.
#[derive(Debug, Clone)]
struct BlobState {
    meta: Arc<BlobMeta>,
    tables: u64,
    /// Bytes of values that tables need.
    needed: u64,
}

/// The blob files of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Blobs(HashMap<FileNumber, BlobState>);

impl Blobs {
    /// Takes in a new file.
    pub(super) fn insert(&mut self, meta: &Arc<BlobMeta>) {
        let state = BlobState { meta: Arc::clone(meta), tables: 0, needed: 0 };
        self.0.insert(meta.number, state);
    }

    /// The file of this number, if it is live.
    pub(super) fn get(&self, number: FileNumber) -> Option<&Arc<BlobMeta>> {
        self.0.get(&number).map(|state| &state.meta)
    }

    /// Takes in what a new table needs, and lets the table hold on to it.
    pub(super) fn add_table(&mut self, table: &TableMeta) {
        for share in &table.blobs {
            if let Some(state) = self.0.get_mut(&share.file) {
                state.tables += 1;
                state.needed = state.needed.saturating_add(share.bytes);
            }
        }
        if !table.blobs.is_empty() {
            let files = table.blobs.iter().filter_map(|share| self.get(share.file));
            table.hold_blobs(|| files.cloned().collect());
        }
    }

    /// Takes out what a table needed that has left; returns the files that nobody needs any more.
    pub(super) fn remove_table(&mut self, table: &TableMeta) -> Vec<Arc<BlobMeta>> {
        let mut gone = Vec::new();
        for BlobShare { file, bytes, .. } in &table.blobs {
            let Some(state) = self.0.get_mut(file) else { continue };
            state.tables = state.tables.saturating_sub(1);
            state.needed = state.needed.saturating_sub(*bytes);
            if state.tables == 0 {
                gone.extend(self.0.remove(file).map(|state| state.meta));
            }
        }
        gone
    }

    /// The files that no table needs.
    pub(super) fn unneeded(&self) -> impl Iterator<Item = FileNumber> {
        self.0.values().filter(|state| state.tables == 0).map(|state| state.meta.number)
    }

    /// Every live file, ascending.
    pub(super) fn all(&self) -> Vec<Arc<BlobMeta>> {
        let mut all: Vec<_> = self.0.values().map(|state| Arc::clone(&state.meta)).collect();
        all.sort_unstable_by_key(|meta| meta.number);
        all
    }

    /// What is needed and what is garbage.
    ///
    /// Files `spared` are not emptied, however little of them is needed.
    pub(super) fn usage(&self, spared: &HashSet<FileNumber>) -> BlobUsage {
        let mut usage = BlobUsage::default();
        for BlobState { meta, needed, .. } in self.0.values() {
            usage.files += 1;
            usage.bytes = usage.bytes.saturating_add(meta.bytes);
            usage.needed = usage.needed.saturating_add(*needed);
            // What every file has is no garbage: one that was just written is never sparse.
            let content = meta.bytes.saturating_sub(BLOB_HEADER_BYTES as u64);
            let is_sparse = needed.saturating_mul(SPARSE_PART) <= content;
            if is_sparse && !spared.contains(&meta.number) {
                usage.sparse.insert(meta.number);
                let garbage = content.saturating_sub(*needed);
                usage.sparse_garbage = usage.sparse_garbage.saturating_add(garbage);
            }
        }
        usage
    }
}

/// Whether `table` can need what it says of these files.
pub(super) fn check_shares<'a>(
    table: &TableMeta,
    file: impl Fn(FileNumber) -> Option<&'a Arc<BlobMeta>>,
) -> Checked<()> {
    for share in &table.blobs {
        let breach = |what: &str| {
            let detail = format!("table {} needs blob file {}, {what}", table.number, share.file);
            Err(Breach::of_table(table.number, detail))
        };
        match file(share.file) {
            None => return breach("which is not there"),
            Some(meta) if share.bytes > meta.bytes => return breach("more of it than there is"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// How much of the blob files is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobUsage {
    /// Live files.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
    /// Bytes of the values in them that tables need.
    pub needed: u64,
    /// Files of which half or less is needed.
    pub sparse: HashSet<FileNumber>,
    /// Bytes in those that nobody needs.
    pub sparse_garbage: u64,
}

impl BlobUsage {
    /// Whether so much is garbage, in files that are worth emptying, that it pays to rewrite tables
    /// for it alone: a quarter of what is needed.
    #[must_use]
    pub fn is_wasteful(&self) -> bool {
        self.sparse_garbage > 0 && self.sparse_garbage >= self.needed / 4
    }

    /// Whether the garbage is more than all that is needed: other work has to wait.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.sparse_garbage > self.needed
    }

    /// How many bytes in sparse files `table` needs.
    #[must_use]
    pub fn sparse_bytes(&self, blobs: &[BlobShare]) -> u64 {
        let sparse = blobs.iter().filter(|share| self.sparse.contains(&share.file));
        sparse.fold(0, |sum, share| sum.saturating_add(share.bytes))
    }
}
