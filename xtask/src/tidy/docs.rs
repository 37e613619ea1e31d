//! Documents that can't lie.
//!
//! - A document has one title.
//! - Its Rust examples are compiled: each document that has some is included as a doc-test, with
//!   `#[doc = include_str!(…)]`. Every code fence names its language, since rustdoc takes one that
//!   does not for Rust.
//! - A source file or document that it names in a code span (like `db/write.rs`) exists. A name may
//!   leave out the folders that the reader knows. So does a document that a comment in the code
//!   refers to (like `docs/format.md`).
//! - Nothing that a person reads (documents, settings, comments) names a folder of somebody's
//!   machine.

use crate::tidy::Report;
use crate::tidy::markdown::Document;
use crate::tidy::tree::{Tree, extension, folder, join};

/// Starts of paths that are somebody's, in two parts so that this file does not hold them.
const PRIVATE: &[(&str, &str)] =
    &[("/wo", "rk/"), ("/tm", "p/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Use", "rs/")];

/// Checks every document, and every other text for private paths.
pub fn check(tree: &Tree, report: &mut Report) {
    for (path, text) in tree.texts("md") {
        let document = Document::parse(text);
        check_title(path, &document, report);
        check_fences(tree, path, &document, report);
        check_spans(tree, path, &document, report);
    }
    for (path, text) in tree.all_texts() {
        check_private(path, text, report);
    }
    for (path, text) in tree.texts("rs") {
        check_references(tree, path, text, report);
    }
}

fn check_title(path: &str, document: &Document, report: &mut Report) {
    let titles: Vec<_> = document.headings.iter().filter(|(level, _, _)| *level == 1).collect();
    match titles.as_slice() {
        [_] => {}
        [] => report.problem(path, 1, "has no `# ` title"),
        [_, second, ..] => report.problem(path, second.2, "has a second `# ` title"),
    }
}

fn check_fences(tree: &Tree, path: &str, document: &Document, report: &mut Report) {
    let mut first_rust = None;
    for (language, line) in &document.fences {
        let words: Vec<&str> = language.split([',', ' ']).collect();
        if language.is_empty() {
            report.problem(path, *line, "a code fence without a language: write `text`, `sh`, …");
        }
        if words[0] == "rust" || words[0] == "rs" {
            first_rust = first_rust.or(Some(*line));
            if words.contains(&"ignore") {
                report.problem(path, *line, "an example that nobody compiles: drop `ignore`");
            }
        }
    }
    if let Some(line) = first_rust
        && !is_included(tree, path)
    {
        report.problem(
            path,
            line,
            "Rust examples that nobody compiles: include this document as a doc-test \
             (`#[doc = include_str!(…)]`, see the end of crates/alluvium/src/lib.rs)",
        );
    }
}

/// Whether some Rust file has the document at `path` as its documentation.
fn is_included(tree: &Tree, path: &str) -> bool {
    const OPENING: &str = "doc = include_str!(\"";
    tree.texts("rs").any(|(file, text)| {
        text.match_indices(OPENING).any(|(at, _)| {
            let rest = &text[at + OPENING.len()..];
            let relative = rest.split('"').next().unwrap_or(rest);
            join(folder(file), relative).as_deref() == Some(path)
        })
    })
}

fn check_spans(tree: &Tree, path: &str, document: &Document, report: &mut Report) {
    for (span, line) in &document.spans {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let is_path = ["rs", "md"].contains(&extension(span)) && span.chars().all(plain);
        // `.rs` alone names a kind of file.
        if !is_path || span.starts_with('.') {
            continue;
        }
        let ending = format!("/{span}");
        if !tree.files().any(|file| file == span || file.ends_with(&ending)) {
            report.problem(path, *line, format!("names `{span}`, which does not exist"));
        }
    }
}

/// The documents that the comments of a Rust file refer to.
fn check_references(tree: &Tree, path: &str, text: &str, report: &mut Report) {
    for (index, line) in text.lines().enumerate() {
        if !line.trim_start().starts_with("//") {
            continue;
        }
        for (at, _) in line.match_indices("docs/") {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let before = line[..at].chars().next_back();
            let rest = &line[at..];
            let name = rest.split(|c| !plain(c)).next().unwrap_or(rest).trim_end_matches('.');
            let ours = before.is_none_or(|c| !plain(c)) && extension(name) == "md";
            if ours && !tree.has_file(name) {
                report.problem(path, index + 1, format!("names `{name}`, which does not exist"));
            }
        }
    }
}

fn check_private(path: &str, text: &str, report: &mut Report) {
    let code = extension(path) == "rs";
    for (index, line) in text.lines().enumerate() {
        if code && !line.trim_start().starts_with("//") {
            continue;
        }
        for (head, tail) in PRIVATE {
            let private = format!("{head}{tail}");
            let starts = line.match_indices(&private).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"/._-~}$".contains(c))
            });
            if starts {
                let message = format!("`{private}…` is a folder of somebody's machine");
                report.problem(path, index + 1, message);
            }
        }
    }
}
