//! Which Rust file is which module of which crate.
//!
//! A crate begins at its roots (Cargo's conventions and the manifest's `path` keys) and goes on
//! through `mod name;`. A file that nothing leads to is compiled by nobody; `dead_files` reports
//! those. `#[path]` would make a file's place in the crate a matter of reading another file, and
//! is refused.

use std::collections::BTreeMap;

use syn::{Attribute, Item, ItemMod, Meta};

use crate::tidy::manifests::Manifest;
use crate::tidy::tree::{Tree, folder};
use crate::tidy::{Report, tokens};

/// What a crate root makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The library of a package.
    Library,
    /// A program, example or build script.
    Program,
    /// An integration test or a benchmark.
    Test,
}

/// A file that is a module.
#[derive(Debug, Clone)]
pub struct Module {
    /// The folder of the package.
    pub package: String,
    pub target: Target,
    /// The names from the crate root down; empty for the root itself.
    pub path: Vec<String>,
    /// Whether it is compiled for tests only.
    pub test: bool,
}

/// Every module of the workspace, by its file.
#[derive(Debug, Default)]
pub struct Modules {
    by_file: BTreeMap<String, Module>,
}

impl Modules {
    /// Follows every crate of the tree from its roots.
    pub fn find(tree: &Tree, report: &mut Report) -> Modules {
        let mut modules = Modules::default();
        for (path, manifest) in tree.manifests() {
            let package = folder(path);
            for (file, target) in roots(tree, package, manifest) {
                let test = target == Target::Test;
                let module = Module { package: package.to_owned(), target, path: vec![], test };
                modules.follow(tree, &file, module, report);
            }
        }
        modules
    }

    /// The module that the file at `path` is.
    pub fn get(&self, path: &str) -> Option<&Module> {
        self.by_file.get(path)
    }

    /// Each module's file and the module.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Module)> {
        self.by_file.iter().map(|(file, module)| (file.as_str(), module))
    }

    fn follow(&mut self, tree: &Tree, file: &str, module: Module, report: &mut Report) {
        let Some(syntax) = tree.rust(file) else { return };
        if self.by_file.contains_key(file) {
            return;
        }
        // Children of a crate root or of a `mod.rs` stand beside it, others' in a folder.
        let beside = module.path.is_empty() || file.ends_with("/mod.rs");
        let stem = file.strip_suffix(".rs").unwrap_or(file);
        let children = if beside { folder(file) } else { stem }.to_owned();
        self.by_file.insert(file.to_owned(), module.clone());
        self.declarations(tree, file, &syntax.items, &children, &module, report);
    }

    fn declarations(
        &mut self,
        tree: &Tree,
        file: &str,
        items: &[Item],
        children: &str,
        module: &Module,
        report: &mut Report,
    ) {
        for item in items {
            let Item::Mod(declaration) = item else { continue };
            if is_never(&declaration.attrs) {
                continue;
            }
            if declaration.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
                let line = declaration.mod_token.span.start().line;
                report.problem(file, line, "`#[path]`: put the file where its module stands");
            }
            let child = child_of(module, declaration);
            let name = child.path.last().cloned().unwrap_or_default();
            match &declaration.content {
                Some((_, items)) => {
                    let inner = format!("{children}/{name}");
                    self.declarations(tree, file, items, &inner, &child, report);
                }
                None => {
                    let flat = format!("{children}/{name}.rs");
                    let deep = format!("{children}/{name}/mod.rs");
                    if let Some(next) = [flat, deep].iter().find(|path| tree.has_file(path)) {
                        self.follow(tree, next, child, report);
                    }
                }
            }
        }
    }
}

fn child_of(module: &Module, declaration: &ItemMod) -> Module {
    let mut child = module.clone();
    let name = declaration.ident.to_string();
    child.path.push(name.trim_start_matches("r#").to_owned());
    child.test |= is_test(&declaration.attrs);
    child
}

/// The crate roots of the package in `package`.
fn roots(tree: &Tree, package: &str, manifest: &Manifest) -> Vec<(String, Target)> {
    let at =
        |path: &str| if package.is_empty() { path.into() } else { format!("{package}/{path}") };
    let mut roots = vec![
        (at("src/lib.rs"), Target::Library),
        (at("src/main.rs"), Target::Program),
        (at("build.rs"), Target::Program),
    ];
    for (directory, target) in [
        ("src/bin", Target::Program),
        ("examples", Target::Program),
        ("tests", Target::Test),
        ("benches", Target::Test),
    ] {
        let prefix = format!("{}/", at(directory));
        for file in tree.files().filter(|file| file.ends_with(".rs")) {
            let Some(rest) = file.strip_prefix(&prefix) else { continue };
            let deep = rest.strip_suffix("/main.rs").is_some_and(|name| !name.contains('/'));
            if deep || !rest.contains('/') {
                roots.push((file.to_owned(), target));
            }
        }
    }
    for (kind, path) in &manifest.target_paths {
        let target = match kind.as_str() {
            "lib" => Target::Library,
            "test" | "bench" => Target::Test,
            _ => Target::Program,
        };
        roots.push((at(path), target));
    }
    roots.retain(|(file, _)| tree.has_file(file));
    roots
}

/// Whether these attributes leave an item to tests: `#[test]`, `#[cfg(test)]`, `#[cfg(doctest)]`,
/// or an `all(…)` that holds one of them.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = words(&list.tokens);
            let first = words.first().map(String::as_str);
            let wanted = |word: &String| word == "test" || word == "doctest";
            words.len() == 1 && words.iter().any(wanted)
                || first == Some("all")
                    && !words.iter().any(|word| word == "any" || word == "not")
                    && words.iter().any(wanted)
        }
        _ => false,
    })
}

/// Whether these attributes leave an item out of every build.
fn is_never(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = words(&list.tokens);
            matches!(words.as_slice(), [one] if ["any", "false", "FALSE"].contains(&one.as_str()))
        }
        _ => false,
    })
}

fn words(tokens: &proc_macro2::TokenStream) -> Vec<String> {
    tokens::scan(tokens)
        .into_iter()
        .filter_map(|seen| match seen {
            tokens::Seen::Word { name, .. } => Some(name),
            _ => None,
        })
        .collect()
}
