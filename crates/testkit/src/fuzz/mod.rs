//! Fuzz targets: every parser of the engine and of the log formats, and whole stores made from
//! bytes.
//!
//! A target is a plain function of bytes that panics when something is wrong, so that anything can
//! drive it: libFuzzer (`fuzz`, guided by coverage), the ordinary tests (the inputs that are
//! checked in under `corpus`), and `torture` (mutants of those, without end). Besides "no panic"
//! each says what must hold; the functions of [`alluvium::fuzzing`] list it for the parsers.

mod input;
mod mutate;
mod options;
mod script;
mod seeds;
mod store;
mod torture;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use alluvium::fuzzing::{self, Kind, tables, versions};
use alluvium_events::fuzzing as events;

pub use mutate::Mutator;
pub use torture::torture;

use crate::runner::panic_text;

/// Something that takes bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Its part of the time beside the others.
    pub share: u32,
    /// Longer inputs find nothing more.
    pub bytes_max: usize,
    /// Returns, or panics.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
#[must_use]
pub fn targets() -> Vec<Target> {
    let target = |name, share, bytes_max, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>| Target {
        name,
        share,
        bytes_max,
        run,
        seeds,
    };
    vec![
        target("wal", 2, 2048, |bytes| fuzzing::log(bytes, Kind::Wal), seeds::logs),
        target("batch", 2, 512, fuzzing::batch, seeds::batches),
        target("coding", 1, 64, fuzzing::coding, seeds::small),
        target("keys", 1, 96, fuzzing::keys, seeds::small),
        target("filter", 1, 512, fuzzing::filter, seeds::filters),
        target("edit", 2, 512, versions::edit, seeds::edits),
        target("edits", 2, 2048, versions::edits, seeds::edit_lists),
        target("manifest", 2, 2048, manifest, seeds::manifests),
        target("current", 1, 128, versions::current_file, seeds::current),
        target("footer", 1, 128, tables::footer, seeds::footers),
        target("properties", 1, 256, tables::properties, seeds::properties),
        target("index", 2, 1024, tables::index, seeds::indexes),
        target("block", 2, 1024, tables::block, seeds::blocks),
        target("frame", 1, 512, tables::frame, seeds::frames),
        target("codec", 1, 4096, tables::codec, seeds::texts),
        target("table", 2, 4096, tables::table, seeds::tables),
        target("build", 2, 1024, tables::build, seeds::small),
        target("source", 2, 2048, events::source, seeds::sources),
        target("stored", 1, 256, events::stored, seeds::small),
        target("time", 1, 64, events::time, seeds::times),
        target("options", 2, 256, options::options, seeds::small),
        target("script", 4, 4096, script::script, seeds::small),
        target("log-replay", 3, 2048, store::log_replay, seeds::small),
        target("store-wal", 3, 4096, store::wal, seeds::store_logs),
        target("store-manifest", 2, 4096, store::manifest, seeds::store_manifests),
        target("store-table", 2, 4096, store::table, seeds::store_tables),
    ]
}

/// The target called `name`.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}

/// A manifest as it is, and with the checksums that would make it whole.
fn manifest(bytes: &[u8]) {
    fuzzing::log(bytes, Kind::Manifest);
    versions::manifest(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_log(&mut sealed, versions::MANIFEST_NUMBER);
    versions::manifest(&sealed);
}

impl Target {
    /// Gives the target these bytes.
    ///
    /// # Errors
    ///
    /// The text of its panic.
    pub fn try_run(&self, bytes: &[u8]) -> Result<(), String> {
        let body = || (self.run)(bytes);
        catch_unwind(AssertUnwindSafe(body)).map_err(|panic| panic_text(&*panic))
    }

    /// Where its inputs are checked in.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// The inputs that are checked in, by name, and those that it begins with.
    ///
    /// # Panics
    ///
    /// When a file of the corpus cannot be read.
    #[must_use]
    pub fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let mut inputs: Vec<(String, Vec<u8>)> =
            (self.seeds)().into_iter().map(|bytes| ("a seed".to_owned(), bytes)).collect();
        let Ok(folder) = fs::read_dir(self.corpus()) else { return inputs };
        let mut paths: Vec<PathBuf> =
            folder.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        for path in paths {
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            inputs.push((path.display().to_string(), bytes));
        }
        inputs
    }

    /// Keeps an input that failed, and says how to give it to the target again.
    #[must_use]
    pub fn keep_failure(&self, bytes: &[u8], text: &str) -> String {
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
        let folder = Path::new(&target).join("fuzz-failures");
        let sum = bytes
            .iter()
            .fold(5381u64, |sum, byte| sum.wrapping_mul(33).wrapping_add(u64::from(*byte)));
        let path = folder.join(format!("{}-{sum:016x}", self.name));
        let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, bytes));
        let path = path.canonicalize().unwrap_or(path);
        let place = match kept {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("(not written: {error}; its bytes are {bytes:?})"),
        };
        format!(
            "fuzz target {}: {text}\nreplay: ALLUVIUM_FUZZ_TARGET={} ALLUVIUM_FUZZ_INPUT={place} \
             cargo test -p alluvium-testkit --test fuzz",
            self.name, self.name
        )
    }
}
