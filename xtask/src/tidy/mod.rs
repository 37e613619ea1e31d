//! `cargo xtask tidy`: style is a test.
//!
//! Reads every file of the workspace once ([`tree`]), works out which Rust file is which module of
//! which crate ([`modules`]), and hands both to the checks, each of which adds to one [`Report`].
//! Rust is parsed with `syn` and never matched with patterns, so that a breach can't hide in a
//! nested `use` group, an alias or a macro's body, and a word in a comment is no breach.
//!
//! The checks don't know one another, and none of them changes a file. Everything is relative to
//! a root directory, so that the tests plant each breach in a small tree and watch it be found.

mod banned;
mod comments;
mod dead_files;
mod docs;
mod layers;
mod lengths;
mod links;
mod manifests;
mod markdown;
mod modules;
mod paths;
mod tokens;
mod tree;
mod unsafety;

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use modules::Modules;
use tree::Tree;

/// The engine's folder: the floors and the one door to the outside are rules about this crate.
const ENGINE: &str = "crates/alluvium";

/// A breach of a rule, at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// Relative to the root, with `/`.
    path: String,
    /// From 1.
    line: usize,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// What the checks found.
#[derive(Debug, Default)]
struct Report {
    /// Breaches: any one of them fails the run.
    problems: Vec<Problem>,
    /// Remarks that fail nothing.
    remarks: Vec<Problem>,
}

impl Report {
    fn problem(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { path: path.to_owned(), line, message: message.into() });
    }

    fn remark(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.remarks.push(Problem { path: path.to_owned(), line, message: message.into() });
    }
}

/// Runs every check over the tree at `root` and prints what they found.
pub fn command(root: &Path, verbose: bool) -> ExitCode {
    let (files, report) = match check(root) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("tidy: cannot read {}: {error}", root.display());
            return ExitCode::FAILURE;
        }
    };
    if verbose {
        for remark in &report.remarks {
            println!("{remark} (no failure)");
        }
    }
    for problem in &report.problems {
        println!("{problem}");
    }
    println!("tidy: {files} files checked, {} problems", report.problems.len());
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every check over the tree at `root`; the number of files looked at, and what was found.
fn check(root: &Path) -> io::Result<(usize, Report)> {
    let mut report = Report::default();
    let tree = Tree::load(root, &mut report)?;
    let modules = Modules::find(&tree, &mut report);
    manifests::check(&tree, &mut report);
    layers::check(&tree, &modules, &mut report);
    dead_files::check(&tree, &modules, &mut report);
    banned::check(&tree, &modules, &mut report);
    unsafety::check(&tree, &mut report);
    lengths::check(&tree, &mut report);
    comments::check(&tree, &mut report);
    links::check(&tree, &mut report);
    docs::check(&tree, &mut report);
    report.problems.sort();
    report.problems.dedup();
    report.remarks.sort();
    Ok((tree.text_count(), report))
}

#[cfg(test)]
mod tests;
