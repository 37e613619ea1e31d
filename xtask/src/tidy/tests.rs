//! Each breach is planted in a small clean workspace and has to be found, at its line; the clean
//! workspace itself passes.

mod documents;
mod engine;
mod whole;

use std::fs;

use tempfile::TempDir;

use crate::tidy::check;

/// A workspace in a temporary folder.
struct Planted {
    root: TempDir,
}

const CLEAN: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[workspace]\nmembers = [\"crates/*\"]\n\n[workspace.dependencies]\nfjall = \"3\"\n",
    ),
    ("README.md", "# Project\n\nSee the [format](docs/format.md#the-log).\n"),
    (
        "docs/format.md",
        "# Format\n\n## The log\n\nWritten by `wal/mod.rs`.\n\n```text\n# no title\n```\n",
    ),
    (
        "crates/alluvium/Cargo.toml",
        "[package]\nname = \"alluvium\"\n[lints]\nworkspace = true\n[dependencies]\n\
         bytes = \"1\"\n",
    ),
    (
        "crates/alluvium/src/lib.rs",
        "//! Engine.\nmod base;\nmod cache;\nmod db;\npub mod env;\nmod memtable;\nmod sstable;\n\
         mod version;\nmod wal;\npub use base::error::Error;\npub use db::Db;\n",
    ),
    ("crates/alluvium/src/base/mod.rs", "pub mod error;\npub mod key;\n"),
    ("crates/alluvium/src/base/error.rs", "pub struct Error;\n"),
    (
        "crates/alluvium/src/base/key.rs",
        "use super::error::Error;\npub fn key() -> Error { Error }\n",
    ),
    ("crates/alluvium/src/cache/mod.rs", "use crate::base::error::Error;\npub type E = Error;\n"),
    (
        "crates/alluvium/src/env/mod.rs",
        "pub use crate::base::key::key;\nuse std::fs::File;\nuse std::time::Instant;\n\
         pub fn now() -> Instant { std::thread::spawn(|| {}); Instant::now() }\n\
         pub fn open() -> File { todo() }\nfn todo() -> File { loop {} }\n",
    ),
    ("crates/alluvium/src/memtable/mod.rs", "mod arena;\n"),
    ("crates/alluvium/src/memtable/arena.rs", "pub fn f() {\n    unsafe { g() }\n}\n"),
    ("crates/alluvium/src/sstable/mod.rs", "use crate::{base::{error, key::*}, cache, env};\n"),
    (
        "crates/alluvium/src/version/mod.rs",
        "mod edit;\nuse crate::wal::Log;\npub(crate) struct Version(pub(in crate::version) Log);\n",
    ),
    (
        "crates/alluvium/src/version/edit.rs",
        "use super::*;\nfn f() { crate::sstable::g(); super::super::wal::h(); self::f() }\n",
    ),
    (
        "crates/alluvium/src/wal/mod.rs",
        "use crate::base::error::Error as Failure;\npub struct Log(Failure);\n\
         // Used by `crate::db` and so on, for reasons:\n\
         /// A [`crate::db::Db`] writes this; `std::fs` does not.\npub fn h() {}\n\
         #[cfg(test)]\nmod tests;\n",
    ),
    (
        "crates/alluvium/src/wal/tests.rs",
        "use super::*;\nuse crate::sstable::g;\nfn f() { std::fs::read(\"x\"); println!(); }\n",
    ),
    ("crates/alluvium/src/db/mod.rs", "use crate::version::Version;\npub struct Db(Version);\n"),
    (
        "crates/alluvium/tests/api.rs",
        "mod common;\nfn f() { std::fs::read(\"golden/log.txt\"); }\n",
    ),
    ("crates/alluvium/tests/common/mod.rs", "pub fn g() {}\n"),
    ("crates/alluvium/tests/golden/log.txt", "bytes\n"),
    (
        "crates/bench/Cargo.toml",
        "[package]\nname = \"bench\"\n[lints]\nworkspace = true\n[dependencies]\n\
         alluvium.workspace = true\nfjall = { workspace = true, optional = true }\n",
    ),
    ("crates/bench/src/main.rs", "fn main() { println!(); }\n"),
    ("xtask/unsafe-ledger.toml", "# Counts.\n\"crates/alluvium/src/memtable/arena.rs\" = 1\n"),
];

impl Planted {
    /// A workspace in which there is nothing to find.
    fn clean() -> Planted {
        let planted = Planted { root: TempDir::new().unwrap() };
        CLEAN.iter().fold(planted, |planted, (path, text)| planted.with(path, text))
    }

    /// Writes a file.
    fn with(self, path: &str, text: &str) -> Planted {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Adds to the end of a file.
    fn adding(self, path: &str, text: &str) -> Planted {
        let before = fs::read_to_string(self.root.path().join(path)).unwrap();
        self.with(path, &(before + text))
    }

    /// Removes a file.
    fn without(self, path: &str) -> Planted {
        fs::remove_file(self.root.path().join(path)).unwrap();
        self
    }

    /// What the checks find, as they print it.
    fn problems(&self) -> Vec<String> {
        let (_, report) = check(self.root.path()).unwrap();
        report.problems.iter().map(ToString::to_string).collect()
    }

    /// Expects exactly these problems, each given by a beginning of its line.
    #[track_caller]
    fn finds(&self, wanted: &[&str]) {
        let found = self.problems();
        let all = found.len() == wanted.len()
            && found.iter().zip(wanted).all(|(found, wanted)| found.starts_with(wanted));
        assert!(all, "found {found:#?}\nwanted {wanted:#?}");
    }
}

#[test]
fn a_clean_workspace_passes() {
    Planted::clean().finds(&[]);
}
