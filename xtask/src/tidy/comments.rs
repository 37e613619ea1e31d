//! What comments may not hold: work left over, and code that was switched off.
//!
//! Git keeps old code; the issue tracker keeps what is to be done.

use crate::tidy::Report;
use crate::tidy::tree::{Tree, extension};

/// Starts of a comment line that is code when it ends as code does.
const CODE: &[&str] = &[
    "let ", "fn ", "mod ", "use ", "pub ", "impl ", "struct ", "enum ", "if ", "for ", "while ",
    "match ", "return ", "self.", "#[",
];

/// Reads every file but the documents.
pub fn check(tree: &Tree, report: &mut Report) {
    // Put together here, so that this file does not hold them.
    let marks = [["FIX", "ME"].concat(), ["X", "XX"].concat(), ["TO", "DO"].concat()];
    for (path, text) in tree.all_texts() {
        if extension(path) == "md" {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| has_word(line, mark)) {
                report.problem(path, index + 1, format!("`{mark}`: finish it, or open an issue"));
            }
            if extension(path) == "rs" && is_switched_off(line) {
                report.problem(path, index + 1, "code in a comment: delete it, Git keeps it");
            }
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !joins(line[..at].chars().next_back()) && !joins(line[at + word.len()..].chars().next())
    })
}

fn is_switched_off(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return false };
    let comment = comment.strip_prefix(' ').unwrap_or(comment);
    let code = CODE.iter().find(|start| comment.starts_with(**start));
    match code {
        Some(&"#[") => comment.ends_with(']'),
        Some(_) => comment.ends_with(';') || comment.ends_with('{'),
        None => false,
    }
}
