//! Every relative link of every document leads somewhere: to a file or folder of the workspace,
//! and where it names an anchor, to a heading or a line that is there.
//!
//! Links to other sites are not followed: a check must not depend on the network.

use std::collections::BTreeMap;

use crate::tidy::Report;
use crate::tidy::markdown::Document;
use crate::tidy::tree::{Tree, extension, folder, join};

/// Follows the links of every document.
pub fn check(tree: &Tree, report: &mut Report) {
    let documents: BTreeMap<&str, Document> =
        tree.texts("md").map(|(path, text)| (path, Document::parse(text))).collect();
    for (path, document) in &documents {
        for (target, line) in &document.links {
            if let Some(message) = broken(tree, &documents, path, target) {
                report.problem(path, *line, message);
            }
        }
        for (name, line) in &document.references {
            if !document.definitions.contains(name) {
                report.problem(path, *line, format!("`[{name}]` is not defined in this document"));
            }
        }
    }
}

/// The files that the document at `path` links to.
pub fn targets(tree: &Tree, path: &str) -> Vec<String> {
    let Some(text) = tree.text(path) else { return Vec::new() };
    Document::parse(text)
        .links
        .iter()
        .filter(|(target, _)| is_relative(target))
        .filter_map(|(target, _)| {
            let (file, _) = split(target);
            join(folder(path), file)
        })
        .filter(|target| tree.has_file(target))
        .collect()
}

/// What is wrong with the link to `target` in the document at `path`.
fn broken(
    tree: &Tree,
    documents: &BTreeMap<&str, Document>,
    path: &str,
    target: &str,
) -> Option<String> {
    if target.is_empty() {
        return Some("a link without a target".to_owned());
    }
    if target.starts_with('/') {
        return Some(format!("`{target}` starts at the root of a disk: make it relative"));
    }
    if !is_relative(target) {
        return None;
    }
    let (file, anchor) = split(target);
    let full = if file.is_empty() { Some(path.to_owned()) } else { join(folder(path), file) };
    let Some(full) = full else {
        return Some(format!("`{target}` leads out of the workspace"));
    };
    if !tree.has_file(&full) && !tree.has_folder(&full) {
        return Some(format!("broken link: there is no `{full}`"));
    }
    let anchor = anchor?;
    let found = match documents.get(full.as_str()) {
        Some(document) => document.all_anchors().iter().any(|known| known == anchor),
        None => has_line(tree, &full, anchor),
    };
    (!found).then(|| format!("broken link: `{full}` has no `#{anchor}`"))
}

/// Whether `anchor` is `L<number>` (or a range of such) and the file has as many lines.
fn has_line(tree: &Tree, file: &str, anchor: &str) -> bool {
    if extension(file) == "md" {
        return false;
    }
    let lines = tree.text(file).map_or(0, |text| text.lines().count());
    anchor.split('-').all(|part| {
        let number = part.strip_prefix('L').and_then(|digits| digits.parse().ok());
        number.is_some_and(|number: usize| (1..=lines).contains(&number))
    })
}

fn is_relative(target: &str) -> bool {
    let scheme = target.split_once(':').map(|(scheme, _)| scheme);
    !target.starts_with('/')
        && scheme.is_none_or(|scheme| !scheme.chars().all(|c| c.is_ascii_alphabetic()))
}

fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (target, None),
    }
}
