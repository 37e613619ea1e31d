//! The table in docs/regressions.md names the tests that there are, and all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of the functions in the Rust files of a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            found.extend(names.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

/// The rows of the tables: the bug's number, and the names in the last column.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (id, tests) = (cells.first()?.to_string(), cells.get(3)?);
        let numbered = id.len() == 3 && id[1..].bytes().all(|byte| byte.is_ascii_digit());
        let name =
            |span: &str| (span.contains('_') && !span.contains(' ')).then(|| span.to_owned());
        numbered.then(|| (id, tests.split('`').skip(1).step_by(2).filter_map(name).collect()))
    };
    text.lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

#[test]
fn the_table_names_every_regression_test_and_no_other() {
    let mut found = BTreeSet::new();
    functions(&root().join("crates"), &mut found);
    let text = fs::read_to_string(root().join("docs/regressions.md")).unwrap();
    let rows = rows(&text);
    let mut named = BTreeSet::new();
    for (id, tests) in &rows {
        for test in tests {
            assert!(found.contains(test), "{id}: there is no test `{test}`");
            named.insert(test.clone());
        }
    }
    let missing: Vec<&String> =
        found.iter().filter(|name| is_of_a_series(name) && !named.contains(*name)).collect();
    assert!(missing.is_empty(), "not in docs/regressions.md: {missing:#?}");
    let numbers: BTreeSet<&String> = rows.iter().map(|(id, _)| id).collect();
    assert_eq!(numbers.len(), rows.len(), "a number stands twice");
    for (series, count) in SERIES {
        for number in 1..=*count {
            let id = format!("{series}{number:02}");
            assert!(numbers.contains(&id), "{id} is missing");
        }
    }
}

/// Whether a test is named after a bug of a series: `reg_w01_…`.
fn is_of_a_series(name: &str) -> bool {
    let id = name.strip_prefix("reg_").and_then(|rest| rest.get(..4)).unwrap_or_default();
    let series = SERIES.iter().any(|(series, _)| id.starts_with(*series));
    series && id[1..3].bytes().all(|byte| byte.is_ascii_digit()) && id.ends_with('_')
}

/// The series and how many bugs each has.
const SERIES: &[(char, usize)] =
    &[('w', 27), ('m', 20), ('c', 27), ('f', 18), ('s', 10), ('e', 15)];
