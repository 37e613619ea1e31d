//! What the crates may depend on.
//!
//! - Other storage engines are for comparison, and only `crates/bench` knows any.
//! - The crates of the workspace have floors as the engine's modules do: one may use those below
//!   it. Tests (dev-dependencies) may use any.
//! - Nothing comes from Git, and every package takes the lints of the workspace.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::tidy::tree::{Tree, folder};
use crate::tidy::{ENGINE, Report};

/// The one folder whose package may depend on [`ENGINES`].
const COMPARISON: &str = "crates/bench";

/// Packages that are storage engines, or doors to one.
const ENGINES: &[&str] = &[
    "agatedb",
    "canopydb",
    "diesel",
    "duckdb",
    "fjall",
    "heed",
    "jammdb",
    "leveldb",
    "libmdbx",
    "librocksdb-sys",
    "libsqlite3-sys",
    "lmdb",
    "lmdb-rkv",
    "lmdb-zero",
    "lsm-tree",
    "mini-lsm",
    "native_db",
    "nebari",
    "parity-db",
    "persy",
    "redb",
    "rocksdb",
    "rusqlite",
    "rust-rocksdb",
    "rusty-leveldb",
    "sanakirja",
    "skytable",
    "slatedb",
    "sled",
    "speedb",
    "sqlite",
    "sqlx",
    "surrealkv",
    "turso",
    "unqlite",
    "wickdb",
];

/// The floors of the workspace, lowest first.
const FLOORS: &[&[&str]] = &[
    &["crates/alluvium"],
    &["crates/events"],
    &["crates/testkit"],
    &["crates/cli", "crates/bench", "crates/simulator", "xtask"],
];

/// How a manifest names a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Development,
    Build,
    /// Named for members to take over; used by nobody through this alone.
    Workspace,
}

/// One entry of a table of dependencies.
#[derive(Debug)]
pub struct Dependency {
    /// What the manifest calls it.
    pub name: String,
    /// The package itself, where the entry renames it.
    pub package: Option<String>,
    pub git: bool,
    /// Whether the workspace's table says the rest.
    pub inherited: bool,
    pub kind: Kind,
    pub line: usize,
}

/// What the checks need of a `Cargo.toml`.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The package's name, unless this is only a workspace's manifest.
    pub package: Option<String>,
    pub lints_inherited: bool,
    pub dependencies: Vec<Dependency>,
    /// The kind (`lib`, `bin`, `test`, …) and the path of every target that names one.
    pub target_paths: Vec<(String, String)>,
}

type Table<'a> = DeTable<'a>;

impl Manifest {
    /// Parses the manifest `text` of the file at `path`, or gives a line and what is wrong there.
    pub fn parse(path: &str, text: &str) -> Result<Manifest, (usize, String)> {
        let root = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            (line_of(text, start), format!("does not parse: {}", error.message()))
        })?;
        let root = root.get_ref();
        let mut manifest = Manifest::default();
        if let Some(package) = table(root, "package") {
            let name = string(package, "name").unwrap_or_else(|| folder(path).to_owned());
            manifest.package = Some(name);
        }
        manifest.lints_inherited =
            table(root, "lints").is_some_and(|lints| truth(lints, "workspace"));
        manifest.read_dependencies(text, root);
        if let Some(workspace) = table(root, "workspace") {
            manifest.read_table(text, workspace, "dependencies", Kind::Workspace);
        }
        if let Some(targets) = table(root, "target") {
            for (_, target) in targets {
                if let DeValue::Table(target) = target.get_ref() {
                    manifest.read_dependencies(text, target);
                }
            }
        }
        manifest.read_targets(root);
        Ok(manifest)
    }

    fn read_dependencies(&mut self, text: &str, parent: &Table<'_>) {
        self.read_table(text, parent, "dependencies", Kind::Normal);
        for key in ["dev-dependencies", "dev_dependencies"] {
            self.read_table(text, parent, key, Kind::Development);
        }
        for key in ["build-dependencies", "build_dependencies"] {
            self.read_table(text, parent, key, Kind::Build);
        }
    }

    fn read_table(&mut self, text: &str, parent: &Table<'_>, key: &str, kind: Kind) {
        let Some(entries) = table(parent, key) else { return };
        for (name, entry) in entries {
            let details = match entry.get_ref() {
                DeValue::Table(details) => Some(details),
                _ => None,
            };
            self.dependencies.push(Dependency {
                name: name.get_ref().to_string(),
                package: details.and_then(|table| string(table, "package")),
                git: details.is_some_and(|table| table.contains_key("git")),
                inherited: details.is_some_and(|table| truth(table, "workspace")),
                kind,
                line: line_of(text, name.span().start),
            });
        }
    }

    fn read_targets(&mut self, root: &Table<'_>) {
        for kind in ["lib", "bin", "test", "bench", "example"] {
            match root.get(kind).map(Spanned::get_ref) {
                Some(DeValue::Table(target)) => {
                    self.target_paths.extend(string(target, "path").map(|p| (kind.to_owned(), p)));
                }
                Some(DeValue::Array(targets)) => {
                    for target in targets {
                        if let DeValue::Table(target) = target.get_ref() {
                            let path = string(target, "path");
                            self.target_paths.extend(path.map(|p| (kind.to_owned(), p)));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// Checks every manifest of the tree.
pub fn check(tree: &Tree, report: &mut Report) {
    let shared = tree
        .manifests()
        .find(|(path, _)| *path == "Cargo.toml")
        .map_or(&[][..], |(_, root)| &root.dependencies);
    for (path, manifest) in tree.manifests() {
        let home = folder(path);
        if manifest.package.is_some() && !manifest.lints_inherited && !is_own_workspace(home) {
            report.problem(path, 1, "does not take the workspace's lints: `lints.workspace`");
        }
        if manifest.package.is_some() && floor(home).is_none() && !is_own_workspace(home) {
            report.problem(
                path,
                1,
                "this package stands on no floor: give it one in xtask/src/tidy/manifests.rs",
            );
        }
        for dependency in &manifest.dependencies {
            check_dependency(path, dependency, shared, tree, report);
        }
    }
}

/// `fuzz` needs flags of its own for the compiler, and so stands outside the workspace.
fn is_own_workspace(home: &str) -> bool {
    home == "fuzz"
}

fn check_dependency(
    path: &str,
    dependency: &Dependency,
    shared: &[Dependency],
    tree: &Tree,
    report: &mut Report,
) {
    let home = folder(path);
    let origin = shared
        .iter()
        .find(|shared| dependency.inherited && shared.name == dependency.name)
        .unwrap_or(dependency);
    let package = origin.package.as_ref().unwrap_or(&origin.name);
    let line = dependency.line;
    if dependency.git {
        report.problem(path, line, format!("`{package}` comes from Git: take a published release"));
    }
    if dependency.kind == Kind::Workspace {
        return;
    }
    if ENGINES.contains(&package.as_str()) && home != COMPARISON {
        report.problem(
            path,
            line,
            format!("`{package}` is a storage engine: only {COMPARISON} may depend on one"),
        );
    }
    let target = tree
        .manifests()
        .find(|(_, manifest)| manifest.package.as_ref() == Some(package))
        .map(|(path, _)| folder(path));
    let (Some(target), Kind::Normal | Kind::Build) = (target, dependency.kind) else { return };
    if let (Some(own), Some(below)) = (floor(home), floor(target))
        && below >= own
    {
        let what = if home == ENGINE { "the engine knows no other crate" } else { "not below it" };
        report.problem(path, line, format!("{home} may not depend on {target}: {what}"));
    }
}

fn floor(home: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&home))
}

fn table<'a, 'b>(parent: &'a Table<'b>, key: &str) -> Option<&'a Table<'b>> {
    match parent.get(key)?.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

fn string(parent: &Table<'_>, key: &str) -> Option<String> {
    match parent.get(key)?.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

fn truth(parent: &Table<'_>, key: &str) -> bool {
    matches!(parent.get(key).map(Spanned::get_ref), Some(DeValue::Boolean(true)))
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}
