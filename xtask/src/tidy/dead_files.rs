//! Files that nothing uses: they rot unseen, and a reader takes them for the truth.
//!
//! - A `.rs` file that no `mod` leads to is compiled by nobody.
//! - A golden file that no test names is compared with nothing.
//! - A document that no chain of links leads to from `README.md` is found by nobody.

use std::collections::BTreeSet;

use crate::tidy::Report;
use crate::tidy::links;
use crate::tidy::modules::Modules;
use crate::tidy::tree::{Tree, extension, folder};

const README: &str = "README.md";

/// Finds the dead files of the tree.
pub fn check(tree: &Tree, modules: &Modules, report: &mut Report) {
    for (path, _) in tree.rust_files() {
        if modules.get(path).is_none() {
            report.problem(path, 1, "dead file: no `mod` leads here");
        }
    }
    check_golden(tree, report);
    check_documents(tree, report);
}

/// A golden file is used when a Rust file of its package says its name, its stem, or, where a test
/// walks a whole folder, the name of the folder below `golden` that holds it.
fn check_golden(tree: &Tree, report: &mut Report) {
    for file in tree.files() {
        let Some((package, inside)) = file.split_once("/tests/golden/") else { continue };
        let name = inside.rsplit('/').next().unwrap_or(inside);
        let stem = name.split('.').next().unwrap_or(name);
        let walked = inside.split_once('/').map(|(first, _)| first);
        let home = format!("{package}/");
        let used = tree.texts("rs").any(|(path, text)| {
            path.starts_with(&home)
                && (text.contains(name)
                    || says_word(text, stem)
                    || walked.is_some_and(|folder| says_word(text, folder)))
        });
        if !used {
            report.problem(file, 1, "dead golden file: no test names it");
        }
    }
}

/// Whether `text` holds `word` between characters that could not go on with it.
fn says_word(text: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(word).any(|(at, _)| {
        !joins(text[..at].chars().next_back()) && !joins(text[at + word.len()..].chars().next())
    })
}

fn check_documents(tree: &Tree, report: &mut Report) {
    if !tree.has_file(README) {
        return report.problem(README, 1, "missing");
    }
    let mut reached = BTreeSet::from([README.to_owned()]);
    let mut open = vec![README.to_owned()];
    while let Some(document) = open.pop() {
        for target in links::targets(tree, &document) {
            if reached.insert(target.clone()) && extension(&target) == "md" {
                open.push(target);
            }
        }
    }
    for file in tree.files() {
        let home = folder(file);
        let document = extension(file) == "md" && !file.starts_with('.');
        let picture = home == "docs" || home.starts_with("docs/");
        if (document || picture) && !reached.contains(file) {
            report.problem(file, 1, "dead document: no chain of links from README.md leads here");
        }
    }
}
