//! The floors of the engine: a module uses the floors below its own, never a neighbour on its own
//! floor, never one above.
//!
//! Every Rust engine that had no such check ended with most of its modules in one knot of mutual
//! imports, which cannot be undone later. The commonest way in is the re-export at the crate root:
//! `crate::Error` looks harmless and hides which floor it reaches for. So inside the engine an item
//! is named by the module that owns it, and the root, by whatever road (`crate::X`, `super::X`, a
//! glob, an alias of the root), is out of bounds. A re-export in a module is itself a use of what
//! it re-exports, and is judged where it stands; no chain of them can therefore carry a name
//! downward.
//!
//! The crate root (`lib.rs`) may use everything. Tests may use their own floor's neighbours, too,
//! but nothing above. Names in doc comments are no uses.

use syn::Item;

use crate::tidy::modules::{Module, Modules, Target};
use crate::tidy::paths::{self, Named};
use crate::tidy::tree::Tree;
use crate::tidy::{ENGINE, Report};

/// The modules of the engine, lowest floor first. `ARCHITECTURE.md` says why each stands where.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["env", "cache", "filter", "batch", "metrics", "ranges"],
    &["memtable", "wal", "sstable", "blob"],
    &["version", "iter"],
    &["compaction"],
    &["options"],
    &["db"],
    &["fuzzing", "simulation"],
];

/// Checks the engine's modules.
pub fn check(tree: &Tree, modules: &Modules, report: &mut Report) {
    for (file, module) in modules.iter() {
        if module.package != ENGINE || module.target != Target::Library {
            continue;
        }
        let Some(syntax) = tree.rust(file) else { continue };
        if module.path.is_empty() {
            check_root(file, syntax, report);
        } else {
            check_module(file, syntax, module, report);
        }
    }
}

fn check_module(file: &str, syntax: &syn::File, module: &Module, report: &mut Report) {
    let own = module.path[0].as_str();
    // A module without a floor is reported where the root declares it.
    let Some(floor) = floor_of(own) else { return };
    for named in paths::collect(syntax, &module.path, module.test).paths {
        if let Some(breach) = breach(&named, own, floor) {
            report.problem(file, named.line, breach);
        }
    }
    for item in &syntax.items {
        if let Item::ExternCrate(item) = item {
            let line = item.extern_token.span.start().line;
            report.problem(file, line, "`extern crate`: it can give the crate root another name");
        }
    }
}

/// What is wrong with naming this path in the module `own` on `floor`.
fn breach(named: &Named, own: &str, floor: usize) -> Option<String> {
    if named.segments.first().is_none_or(|first| first != "crate") {
        return None;
    }
    let Some(top) = named.segments.get(1).map(String::as_str) else {
        return Some("names the crate root: name the module that owns what you need".to_owned());
    };
    if top == own {
        return None;
    }
    if top == "*" {
        return Some(
            "imports the crate root whole: name the module that owns each item".to_owned(),
        );
    }
    let Some(other) = floor_of(top) else {
        return Some(format!(
            "names `{top}` through the crate root: name the module that owns it \
             (`crate::<module>::{top}`)"
        ));
    };
    if other > floor {
        Some(format!("upward use: `{own}` (floor {floor}) may not use `{top}` (floor {other})"))
    } else if other == floor && !named.test {
        Some(format!("sideways use: `{own}` and `{top}` are neighbours on floor {floor}"))
    } else {
        None
    }
}

/// The root declares modules that have a floor, and nothing that would reach into all of them.
fn check_root(file: &str, syntax: &syn::File, report: &mut Report) {
    for item in &syntax.items {
        match item {
            Item::Mod(item) => {
                let name = item.ident.to_string();
                let line = item.ident.span().start().line;
                if floor_of(&name).is_none() {
                    report.problem(
                        file,
                        line,
                        format!("module `{name}` has no floor: see xtask/src/tidy/layers.rs"),
                    );
                }
                if item.content.is_some() {
                    report.problem(
                        file,
                        line,
                        format!("module `{name}` stands in the root itself"),
                    );
                }
                if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_use")) {
                    report.problem(file, line, "`#[macro_use]`: macros would cross the floors");
                }
            }
            Item::Macro(item) if item.mac.path.is_ident("macro_rules") => {
                let line = item.mac.bang_token.span.start().line;
                report.problem(file, line, "a macro in the crate root reaches every floor");
            }
            Item::ExternCrate(item) => {
                let line = item.extern_token.span.start().line;
                report.problem(file, line, "`extern crate`: it can rename the crate root");
            }
            _ => {}
        }
    }
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}
