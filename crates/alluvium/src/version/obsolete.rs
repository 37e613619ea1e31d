//! The end of a file's life: what nobody holds any more, until somebody removes it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::base::file::FileId;
use crate::base::planted;
use crate::base::sync::Mutex;

/// Files of tables and values that nobody needs any more, to be removed by whoever asks.
#[derive(Default)]
pub struct ObsoleteFiles {
    files: Mutex<Vec<FileId>>,
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl ObsoleteFiles {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Arc<ObsoleteFiles> {
        Arc::default()
    }

    /// Calls `wake` after each file that comes in. Only the first call counts.
    ///
    /// `wake` runs on any thread that lets go of a version, readers included, whatever locks that
    /// thread holds: it must take none that is held while a version is dropped.
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.waker.get_or_init(|| Box::new(wake));
    }

    /// Adds a file, or gives one back that could not be removed.
    pub fn push(&self, file: FileId) {
        self.files.lock().push(file);
        if let Some(wake) = self.waker.get() {
            wake();
        }
    }

    /// Whether any file waits.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.files.lock().is_empty()
    }

    /// Takes every file out.
    #[must_use]
    pub fn take(&self) -> Vec<FileId> {
        if planted::in_order("file-removed-twice") {
            let files = self.files.lock().clone();
            self.files.lock().clear();
            return files;
        }
        std::mem::take(&mut *self.files.lock())
    }
}

impl fmt::Debug for ObsoleteFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObsoleteFiles").field("files", &self.files).finish_non_exhaustive()
    }
}
