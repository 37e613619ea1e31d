//! Where `unsafe` may stand, and how much of it there is.
//!
//! It has its district: a few files, each with a reason. Inside it `xtask/unsafe-ledger.toml` holds
//! the number of times that each file says `unsafe` (blocks, functions, traits and impls alike, in
//! macros, too), so that one more is a line in a diff that somebody reads, never a surprise.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;

use crate::tidy::Report;
use crate::tidy::tokens::{self, Seen};
use crate::tidy::tree::Tree;

/// Each is a file `<name>.rs`, and may have a folder of its own for tests.
const DISTRICT: &[&str] = &[
    "crates/alluvium/src/base/prefetch",
    "crates/alluvium/src/env/pages",
    "crates/alluvium/src/env/trim",
    "crates/alluvium/src/env/write_back",
    "crates/alluvium/src/memtable/arena",
    "crates/alluvium/src/memtable/tree",
    // Opens LMDB's memory map, to measure it.
    "crates/bench/src/engines/lmdb",
];

const LEDGER: &str = "xtask/unsafe-ledger.toml";

/// Checks every Rust file against the district and the ledger.
pub fn check(tree: &Tree, report: &mut Report) {
    let mut ledger = read_ledger(tree, report);
    for (path, text) in tree.texts("rs") {
        let Ok(tokens) = text.parse::<TokenStream>() else { continue };
        let lines: Vec<usize> = tokens::scan(&tokens)
            .into_iter()
            .filter_map(|seen| match seen {
                Seen::Word { name, line } if name == "unsafe" => Some(line),
                _ => None,
            })
            .collect();
        let written = ledger.remove(path);
        let Some(&first) = lines.first() else {
            if let Some((_, line)) = written {
                report.problem(LEDGER, line, format!("{path} has no `unsafe`: strike the line"));
            }
            continue;
        };
        if !in_district(path) {
            report.problem(
                path,
                first,
                "`unsafe` outside its district (xtask/src/tidy/unsafety.rs)",
            );
            continue;
        }
        match written {
            Some((count, _)) if count == lines.len() => {}
            Some((count, line)) => report.problem(
                LEDGER,
                line,
                format!("{path} says `unsafe` {} times, the ledger {count}", lines.len()),
            ),
            None => report.problem(
                LEDGER,
                1,
                format!("add the line: \"{path}\" = {} (and have it reviewed)", lines.len()),
            ),
        }
    }
    for (path, (_, line)) in ledger {
        report.problem(LEDGER, line, format!("{path} does not exist: strike the line"));
    }
}

fn in_district(path: &str) -> bool {
    DISTRICT.iter().any(|place| {
        path.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

/// The lines `"path" = count` of the ledger: each count and the line it stands on.
fn read_ledger(tree: &Tree, report: &mut Report) -> BTreeMap<String, (usize, usize)> {
    let mut ledger = BTreeMap::new();
    for (index, line) in tree.text(LEDGER).unwrap_or_default().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = line.split_once('=').and_then(|(path, count)| {
            let path = path.trim().strip_prefix('"')?.strip_suffix('"')?;
            Some((path.to_owned(), count.trim().parse().ok()?))
        });
        match entry {
            Some((path, count)) => drop(ledger.insert(path, (count, index + 1))),
            None => report.problem(LEDGER, index + 1, "not a line of the form \"path\" = count"),
        }
    }
    ledger
}
