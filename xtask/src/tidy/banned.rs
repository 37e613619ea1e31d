//! Calls that have their place, and words that have none.
//!
//! - In the engine, files, clocks, threads, randomness, the network and processes appear in `env`
//!   only: that is what lets a test crash it a million times. Clippy's `disallowed-methods` says
//!   the same of single calls; here the whole module is out of bounds, whatever it is renamed to.
//! - A library prints nothing: what it has to say it returns. The test kit may: it runs under
//!   tests, and tells why one is about to be aborted.
//! - Lints are excepted with `#[expect(…, reason)]`, which complains when it is no longer needed;
//!   `#[allow]` never does.
//! - Nothing is left for later in a macro that panics.
//!
//! Tests may start threads, touch files and print.

use syn::visit::{self, Visit};
use syn::{Attribute, Meta};

use crate::tidy::modules::{Module, Modules, Target};
use crate::tidy::paths::{self, Named, Names};
use crate::tidy::tokens::{self, Seen};
use crate::tidy::tree::Tree;
use crate::tidy::{ENGINE, Report};

/// Paths that only the engine's `env` names, and what to use.
const OUTSIDE: &[(&str, &str)] = &[
    ("std::fs", "files belong to `env`"),
    ("std::net", "the engine has no network"),
    ("std::os", "what differs between systems belongs to `env`"),
    ("std::process", "the engine starts and ends no process"),
    ("std::env", "settings come in through `Options`"),
    ("io::stdin", "the engine reads no terminal"),
    ("std::io::stdin", "the engine reads no terminal"),
    ("io::stdout", "the engine writes to no terminal"),
    ("std::io::stdout", "the engine writes to no terminal"),
    ("io::stderr", "the engine writes to no terminal"),
    ("std::io::stderr", "the engine writes to no terminal"),
    ("std::time::Instant", "the clock belongs to `env`: use `Env::now`"),
    ("std::time::SystemTime", "the clock belongs to `env`"),
    ("std::thread::spawn", "threads belong to `env`: use `Env::spawn`"),
    ("std::thread::scope", "threads belong to `env`: use `Env::spawn`"),
    ("std::thread::Builder", "threads belong to `env`: use `Env::spawn`"),
    ("std::thread::sleep", "waiting belongs to `env`: use `Env::sleep`"),
    ("std::thread::park_timeout", "waiting belongs to `env`: use a `Condvar`"),
    ("fastrand", "randomness belongs to `env`"),
    ("getrandom", "randomness belongs to `env`"),
    ("libc", "the operating system belongs to `env`"),
    ("rand", "randomness belongs to `env`"),
    ("rustix", "the operating system belongs to `env`"),
];

/// A module that may be imported whole although it holds names of [`OUTSIDE`].
const IMPORTED_WHOLE: &str = "std::io";

/// The library that only tests use.
const TEST_KIT: &str = "crates/testkit";

const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln"];
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];
const INCLUDING: &[&str] = &["include"];

/// Checks every module of the tree.
pub fn check(tree: &Tree, modules: &Modules, report: &mut Report) {
    for (file, module) in modules.iter() {
        let Some(syntax) = tree.rust(file) else { continue };
        let names = paths::collect(syntax, &module.path, module.test);
        if is_engine(module) && !is_outside(module) {
            check_outside(file, &names, report);
        }
        check_macros(file, module, &names, report);
        let mut attributes = Attributes { file, report };
        attributes.visit_file(syntax);
    }
}

fn is_engine(module: &Module) -> bool {
    module.package == ENGINE && module.target == Target::Library
}

/// `env`, whose business the outside is; and the bugs that are planted for tests, which are asked
/// for by a variable and are part of no ordinary build.
fn is_outside(module: &Module) -> bool {
    module.path.first().is_some_and(|top| top == "env") || module.path == ["base", "planted"]
}

fn check_outside(file: &str, names: &Names, report: &mut Report) {
    for named in names.paths.iter().filter(|named| !named.test) {
        if let Some(breach) = OUTSIDE.iter().find_map(|(path, why)| reaches(named, path, why)) {
            report.problem(file, named.line, breach);
        }
    }
}

/// What is wrong when `named` reaches for `banned`: names it or something in it, or imports a
/// module whole that holds it.
fn reaches(named: &Named, banned: &str, why: &str) -> Option<String> {
    let banned_parts: Vec<&str> = banned.split("::").collect();
    let whole = named.segments.last().is_some_and(|last| last == "*");
    let stem = &named.segments[..named.segments.len() - usize::from(whole)];
    let mut pairs = stem.iter().zip(&banned_parts);
    if !pairs.all(|(ours, theirs)| same(ours, theirs)) {
        return None;
    }
    if stem.len() >= banned_parts.len() {
        Some(format!("`{banned}` outside `env`: {why}"))
    } else if named.import && !stem.is_empty() {
        let module = stem.join("::");
        (module != IMPORTED_WHOLE).then(|| {
            format!("imports `{module}` whole, and `{banned}` with it: name what you need")
        })
    } else {
        None
    }
}

/// `core` and `alloc` are parts of `std`.
fn same(ours: &str, theirs: &str) -> bool {
    ours == theirs || theirs == "std" && (ours == "core" || ours == "alloc")
}

fn check_macros(file: &str, module: &Module, names: &Names, report: &mut Report) {
    for invoked in &names.macros {
        let name = invoked.name.as_str();
        if UNFINISHED.contains(&name) {
            report.problem(file, invoked.line, format!("`{name}!`: finish it"));
        }
        if INCLUDING.contains(&name) {
            report.problem(file, invoked.line, "`include!`: make the file a module");
        }
        let silent = module.target == Target::Library && module.package != TEST_KIT;
        if PRINTING.contains(&name) && silent && !invoked.test {
            report.problem(file, invoked.line, format!("`{name}!` in a library: return it"));
        }
    }
}

struct Attributes<'a> {
    file: &'a str,
    report: &'a mut Report,
}

impl<'ast> Visit<'ast> for Attributes<'_> {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path = attribute.path();
        let hidden = match &attribute.meta {
            Meta::List(list) if path.is_ident("cfg_attr") => tokens::scan(&list.tokens)
                .iter()
                .any(|seen| matches!(seen, Seen::Word { name, .. } if name == "allow")),
            _ => false,
        };
        if path.is_ident("allow") || hidden {
            let line = attribute.pound_token.span.start().line;
            let message = "`allow`: use `#[expect(lint, reason = \"…\")]`";
            self.report.problem(self.file, line, message);
        }
        visit::visit_attribute(self, attribute);
    }
}
