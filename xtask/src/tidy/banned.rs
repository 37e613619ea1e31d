//! Calls that have their place, and words that have none.
//!
//! - In the engine, files, clocks, threads, randomness, the network and processes appear in `env`
//!   only: that is what lets a test crash it a million times. Clippy's `disallowed-methods` says
//!   the same of single calls; here the whole module is out of bounds, whatever it is renamed to.
//! - Locks, atomics and swapped pointers of the engine come from `base::sync`: that is what lets a
//!   test choose the order of its threads.
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

/// Paths that only the engine's `base::sync` names, and what to use.
const SYNC: &[(&str, &str)] = &[
    ("std::sync::atomic", "a scheduled test must see it: use `base::sync::atomic`"),
    ("std::sync::Mutex", "a scheduled test must see it: use `base::sync::Mutex`"),
    ("std::sync::RwLock", "a scheduled test must see it: use `base::sync::Mutex`"),
    ("std::sync::Condvar", "a scheduled test must see it: use `base::sync::Condvar`"),
    ("std::sync::Barrier", "a scheduled test must see it: use `base::sync::Condvar`"),
    ("std::sync::mpsc", "a scheduled test must see it: use `base::sync::Condvar`"),
    ("arc_swap", "a scheduled test must see it: use `base::sync::ArcSwap`"),
    ("loom", "it is there in its own build only: use `base::sync`"),
    ("shuttle", "it is there in its own build only: use `base::sync`"),
];

/// The modules of the engine that have something to themselves, and what.
const DOORS: &[(&str, &[(&str, &str)])] = &[("env", OUTSIDE), ("base::sync", SYNC)];

/// The bugs that are planted for tests: asked for by a variable, and part of no ordinary build.
const PLANTED: &str = "base::planted";

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
        if is_engine(module) {
            check_outside(file, &module.path.join("::"), &names, report);
        }
        check_macros(file, module, &names, report);
        let mut attributes = Attributes { file, report };
        attributes.visit_file(syntax);
    }
}

fn is_engine(module: &Module) -> bool {
    module.package == ENGINE && module.target == Target::Library
}

/// Finds what the module called `own` names although it belongs to another.
fn check_outside(file: &str, own: &str, names: &Names, report: &mut Report) {
    let is_home = |home: &str| {
        own.strip_prefix(home).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            || PLANTED == own && home == "env"
    };
    let foreign: Vec<_> = DOORS.iter().filter(|(home, _)| !is_home(home)).collect();
    for named in names.paths.iter().filter(|named| !named.test) {
        let breach = foreign.iter().find_map(|(home, banned)| {
            banned.iter().find_map(|(path, why)| reaches(named, path, home, why))
        });
        if let Some(breach) = breach {
            report.problem(file, named.line, breach);
        }
    }
}

/// What is wrong when `named` reaches for `banned`: names it or something in it, or imports a
/// module whole that holds it.
fn reaches(named: &Named, banned: &str, home: &str, why: &str) -> Option<String> {
    let banned_parts: Vec<&str> = banned.split("::").collect();
    let whole = named.segments.last().is_some_and(|last| last == "*");
    let stem = &named.segments[..named.segments.len() - usize::from(whole)];
    let mut pairs = stem.iter().zip(&banned_parts);
    if !pairs.all(|(ours, theirs)| same(ours, theirs)) {
        return None;
    }
    if stem.len() >= banned_parts.len() {
        Some(format!("`{banned}` outside `{home}`: {why}"))
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
