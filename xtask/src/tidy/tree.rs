//! Every file of the workspace, read once.
//!
//! What Git ignores is not looked at: build directories (named `target`, or marked as a cache by
//! Cargo's `CACHEDIR.TAG`) and hidden folders, save the few that belong to the project.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::tidy::{Report, manifests};

/// Hidden folders that are part of the project.
const HIDDEN_KEPT: &[&str] = &[".cargo", ".ci", ".config", ".github"];

/// The kinds of file whose text is checked.
const TEXT: &[&str] = &["md", "rs", "toml", "yaml", "yml"];

/// A workspace in memory. Every path is relative to its root and written with `/`.
#[derive(Default)]
pub struct Tree {
    /// The text of each file of a kind in [`TEXT`].
    texts: BTreeMap<String, String>,
    /// Each `.rs` file that parses.
    rust: BTreeMap<String, syn::File>,
    /// Each `Cargo.toml` that parses.
    manifests: BTreeMap<String, manifests::Manifest>,
    /// Every file, text or not.
    files: BTreeSet<String>,
    /// Every folder.
    folders: BTreeSet<String>,
}

impl Tree {
    /// Reads and parses the tree at `root`. A file that does not parse is a problem, not an error.
    pub fn load(root: &Path, report: &mut Report) -> io::Result<Tree> {
        let mut tree = Tree::default();
        tree.folders.insert(String::new());
        tree.walk(root, "")?;
        for (path, text) in &tree.texts {
            if path.ends_with(".rs") {
                match syn::parse_file(text) {
                    Ok(file) => drop(tree.rust.insert(path.clone(), file)),
                    Err(error) => {
                        let line = error.span().start().line;
                        report.problem(path, line, format!("does not parse: {error}"));
                    }
                }
            } else if path.ends_with("Cargo.toml") {
                match manifests::Manifest::parse(path, text) {
                    Ok(manifest) => drop(tree.manifests.insert(path.clone(), manifest)),
                    Err((line, message)) => report.problem(path, line, message),
                }
            }
        }
        Ok(tree)
    }

    fn walk(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let hidden = name.starts_with('.') && !HIDDEN_KEPT.contains(&name.as_str());
                let cache = name == "target" || entry.path().join("CACHEDIR.TAG").exists();
                if hidden || cache {
                    continue;
                }
                self.walk(&entry.path(), &format!("{path}/"))?;
                self.folders.insert(path);
            } else if kind.is_file() {
                if TEXT.contains(&extension(&name)) {
                    let bytes = fs::read(entry.path())?;
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    self.texts.insert(path.clone(), text);
                }
                self.files.insert(path);
            }
        }
        Ok(())
    }

    /// The number of files whose text is checked.
    pub fn text_count(&self) -> usize {
        self.texts.len()
    }

    /// Path and text of every file that has the extension `kind`.
    pub fn texts<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| extension(path) == kind)
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Path and text of every file.
    pub fn all_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of the file at `path`.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Path and syntax of every Rust file.
    pub fn rust_files(&self) -> impl Iterator<Item = (&str, &syn::File)> {
        self.rust.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The syntax of the Rust file at `path`.
    pub fn rust(&self, path: &str) -> Option<&syn::File> {
        self.rust.get(path)
    }

    /// Path and content of every `Cargo.toml`.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, &manifests::Manifest)> {
        self.manifests.iter().map(|(path, manifest)| (path.as_str(), manifest))
    }

    /// Every file's path.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Whether there is a file at `path`.
    pub fn has_file(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// Whether there is a folder at `path`.
    pub fn has_folder(&self, path: &str) -> bool {
        self.folders.contains(path)
    }
}

/// What follows the last dot of a file's name.
pub fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The folder that `path` stands in; empty for the root.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The path that `relative` means when it is written in `folder`; `None` when it leaves the root.
pub fn join(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
