//! Breaches of the engine's own rules: its floors, and its one door to the outside.

use super::Planted;

const BASE: &str = "crates/alluvium/src/base/mod.rs";
const LIB: &str = "crates/alluvium/src/lib.rs";
const VERSION: &str = "crates/alluvium/src/version/mod.rs";
const WAL: &str = "crates/alluvium/src/wal/mod.rs";

/// Plants `text` in a fresh file of the module `wal` (floor 2) and expects `message` at `line`.
#[track_caller]
fn in_wal(text: &str, line: usize, message: &str) {
    Planted::clean()
        .with("crates/alluvium/src/wal/new.rs", text)
        .adding(WAL, "mod new;\n")
        .finds(&[&format!("crates/alluvium/src/wal/new.rs:{line}: {message}")]);
}

/// Plants `text` in a fresh file of the module `wal` and expects no problem.
#[track_caller]
fn fine_in_wal(text: &str) {
    Planted::clean()
        .with("crates/alluvium/src/wal/new.rs", text)
        .adding(WAL, "mod new;\n")
        .finds(&[]);
}

#[test]
fn an_upward_use_fails_in_every_form() {
    let upward = "upward use: `wal` (floor 2) may not use `version`";
    in_wal("use crate::version::Version;\n", 1, upward);
    in_wal("use crate::version;\n", 1, upward);
    in_wal("pub use crate::version::Version as _;\n", 1, upward);
    in_wal("use crate::{\n    base::{error::Error},\n    version::{Version},\n};\n", 3, upward);
    in_wal("use super::super::version::Version;\n", 1, upward);
    in_wal("mod a { mod b { use super::super::super::super::version::V; } }\n", 1, upward);
    in_wal("use self::super::super::version::*;\n", 1, upward);
    in_wal("\nfn f() { crate::version::Version::new(); }\n", 2, upward);
    in_wal("fn f() -> Option<crate::version::Version> { None }\n", 1, upward);
    in_wal("impl Clone for crate::version::Version {}\n", 1, upward);
    in_wal("fn f() { <u8 as crate::version::Trait>::g() }\n", 1, upward);
    in_wal("fn f() { use crate::version as v; v::g() }\n", 1, upward);
    in_wal("#[derive(crate::version::Make)]\nstruct S;\n", 1, upward);
    in_wal("pub(crate) struct S { a: [crate::version::V; 1] }\n", 1, upward);
}

#[test]
fn an_upward_use_inside_a_macro_fails() {
    let upward = "upward use: `wal` (floor 2) may not use `db`";
    in_wal("fn f() { assert_eq!(1, crate::db::ONE); }\n", 1, upward);
    in_wal("fn f() {\n    vec![\n        super::super::db::ONE,\n    ];\n}\n", 3, upward);
    in_wal("macro_rules! m { () => { $crate::db::Db } }\n", 1, upward);
    in_wal("thread_local! { static X: Vec<crate::db::Db> = Vec::new(); }\n", 1, upward);
    in_wal("m! { use crate::{base, db::{Db}}; }\n", 1, upward);
}

#[test]
fn a_sideways_use_fails() {
    let sideways = "sideways use: `wal` and `sstable` are neighbours on floor 2";
    in_wal("use crate::sstable::Table;\n", 1, sideways);
    in_wal("use super::super::sstable::Table;\n", 1, sideways);
    Planted::clean()
        .adding("crates/alluvium/src/cache/mod.rs", "use crate::env::Env;\n")
        .finds(&["crates/alluvium/src/cache/mod.rs:3: sideways use: `cache` and `env`"]);
}

#[test]
fn a_name_through_the_root_fails_however_it_gets_there() {
    in_wal("use crate::Error;\n", 1, "names `Error` through the crate root");
    in_wal("use crate::{Db, base};\n", 1, "names `Db` through the crate root");
    in_wal("fn f() -> crate::Db { loop {} }\n", 1, "names `Db` through the crate root");
    in_wal("use super::super::Db;\n", 1, "names `Db` through the crate root");
    in_wal("use crate::*;\n", 1, "imports the crate root whole");
    in_wal(
        "use super::super::*;\nfn f() -> db::Db { loop {} }\n",
        1,
        "imports the crate root whole",
    );
    in_wal("use crate as root;\nfn f() -> root::db::Db { loop {} }\n", 1, "names the crate root");
    in_wal("use crate::{self as root};\n", 1, "names the crate root");
    in_wal("use super::super as root;\n", 1, "names the crate root");
    in_wal("m! { use crate as root; }\n", 1, "names the crate root");
    in_wal("extern crate self as root;\n", 1, "`extern crate`");
    in_wal("fn f() { crate::exported!(); }\n", 1, "names `exported` through the crate root");
    Planted::clean()
        .adding(VERSION, "use super::*;\n")
        .finds(&[&format!("{VERSION}:4: imports the crate root whole")]);
}

#[test]
fn a_chain_of_re_exports_fails_where_it_turns_upward() {
    // `wal` takes the name from `base`, which took it from `db`.
    Planted::clean()
        .adding(BASE, "mod alias;\npub use self::alias::Handle;\n")
        .with("crates/alluvium/src/base/alias.rs", "pub use super::super::db::Db as Handle;\n")
        .adding(WAL, "use crate::base::Handle;\n")
        .finds(&["crates/alluvium/src/base/alias.rs:1: upward use: `base` (floor 0)"]);
    Planted::clean()
        .adding(BASE, "pub use crate::Db;\n")
        .adding(WAL, "use crate::base::Db;\n")
        .finds(&[&format!("{BASE}:3: names `Db` through the crate root")]);
    // `version` takes a neighbour of `wal` from `wal`.
    Planted::clean()
        .adding(WAL, "pub use crate::sstable::Table;\n")
        .adding(VERSION, "use crate::wal::Table;\n")
        .finds(&[&format!("{WAL}:8: sideways use: `wal` and `sstable`")]);
}

#[test]
fn the_root_declares_floors_and_nothing_that_crosses_them() {
    Planted::clean()
        .adding(LIB, "mod utilities;\n")
        .with("crates/alluvium/src/utilities.rs", "use crate::db::Db;\n")
        .finds(&[&format!("{LIB}:12: module `utilities` has no floor")]);
    Planted::clean()
        .adding(LIB, "macro_rules! reach { () => { $crate::db::Db } }\n")
        .finds(&[&format!("{LIB}:12: a macro in the crate root")]);
    Planted::clean()
        .adding(LIB, "extern crate self as alluvium;\n")
        .finds(&[&format!("{LIB}:12: `extern crate`")]);
    Planted::clean().adding(LIB, "mod inline { use crate::db::Db; }\n").finds(&[
        &format!("{LIB}:12: module `inline` has no floor"),
        &format!("{LIB}:12: module `inline` stands in the root"),
    ]);
}

#[test]
fn tests_may_use_neighbours_but_nothing_above() {
    fine_in_wal("#[cfg(test)]\nmod tests {\n    use crate::sstable::Table;\n}\n");
    fine_in_wal("#[cfg(all(test, unix))]\nfn helper() { crate::sstable::g() }\n");
    in_wal("#[cfg(not(test))]\nuse crate::sstable::Table;\n", 2, "sideways use");
    in_wal("#[cfg(any(test, unix))]\nuse crate::sstable::Table;\n", 2, "sideways use");
    in_wal("#[cfg(test)]\nmod tests {\n    use crate::db::Db;\n}\n", 3, "upward use");
}

#[test]
fn names_that_are_no_uses_pass() {
    fine_in_wal("/// See [`crate::db::Db`].\nfn f() {}\n");
    fine_in_wal("// crate::db::Db does this.\nfn f() { g(\"crate::db::Db\") }\n");
    fine_in_wal("pub(crate) fn f(db: u8) { let version = db; self::f(version) }\n");
    fine_in_wal("struct S;\nimpl S { fn f(&self) { self.db.version(); Self::g() } }\n");
    fine_in_wal("fn f() { other::db::g(); ::alloc::version::h() }\n");
}

#[test]
fn the_outside_is_reached_through_env_only() {
    in_wal("use std::fs;\n", 1, "`std::fs` outside `env`");
    in_wal("use std::fs::File;\n", 1, "`std::fs` outside `env`");
    in_wal("use std::{io, fs as disk};\n", 1, "`std::fs` outside `env`");
    in_wal("fn f() {\n    std::fs::read(\"x\");\n}\n", 2, "`std::fs` outside `env`");
    in_wal("fn f() { assert!(::std::fs::exists(\"x\")); }\n", 1, "`std::fs` outside `env`");
    in_wal("use std::time::{Duration, Instant};\n", 1, "`std::time::Instant` outside `env`");
    in_wal("fn f() { std::time::SystemTime::now(); }\n", 1, "`std::time::SystemTime` outside");
    in_wal("fn f() { std::thread::sleep(d); }\n", 1, "`std::thread::sleep` outside `env`");
    in_wal("use std::thread::spawn as go;\n", 1, "`std::thread::spawn` outside `env`");
    in_wal("use std::net::TcpStream;\n", 1, "`std::net` outside `env`");
    in_wal("fn f() { std::process::exit(1) }\n", 1, "`std::process` outside `env`");
    in_wal("use std::io;\nfn f() { io::stdout(); }\n", 2, "`io::stdout` outside `env`");
    in_wal("fn f() -> u8 { rand::random() }\n", 1, "`rand` outside `env`");
}

#[test]
fn locks_and_atomics_come_from_one_place() {
    in_wal("use std::sync::{Arc, Mutex};\n", 1, "`std::sync::Mutex` outside `base::sync`");
    in_wal("use core::sync::atomic::Ordering;\n", 1, "`std::sync::atomic` outside `base::sync`");
    in_wal("fn f(swap: arc_swap::ArcSwap<u8>) {}\n", 1, "`arc_swap` outside `base::sync`");
    in_wal("use std::sync;\n", 1, "imports `std::sync` whole");
    fine_in_wal("#[cfg(test)]\nmod tests { use std::sync::atomic::AtomicU64; }\n");
    let text = "pub(crate) use std::sync::{Mutex, atomic};\n";
    Planted::clean()
        .with("crates/alluvium/src/base/sync.rs", text)
        .adding(BASE, "mod sync;\n")
        .finds(&[]);
}

#[test]
fn importing_a_module_whole_that_holds_a_banned_name_fails() {
    in_wal("use std::thread;\n", 1, "imports `std::thread` whole, and `std::thread::spawn` with");
    in_wal("use std::time::{self, Duration};\n", 1, "imports `std::time` whole");
    in_wal("use std::time::*;\n", 1, "imports `std::time` whole");
    in_wal("use std as s;\n", 1, "imports `std` whole");
    in_wal("use std::*;\n", 1, "imports `std` whole");
}

#[test]
fn harmless_parts_of_the_standard_library_pass() {
    fine_in_wal("use std::io::{self, Read};\nuse std::time::Duration;\nuse std::sync::Arc;\n");
    fine_in_wal("fn f() { std::thread::panicking(); std::thread::yield_now(); }\n");
    fine_in_wal("fn f() { g(env!(\"CARGO_PKG_NAME\")); h.spawn(|| {}); }\n");
    fine_in_wal("#[cfg(test)]\nmod tests { use std::{fs, thread}; }\n");
}

#[test]
fn unsafe_stays_in_its_district_and_in_its_ledger() {
    in_wal("fn f() {\n    unsafe { g() }\n}\n", 2, "`unsafe` outside its district");
    in_wal("unsafe impl Send for S {}\n", 1, "`unsafe` outside its district");
    in_wal("fn f() { assert!(unsafe { g() }); }\n", 1, "`unsafe` outside its district");
    let arena = "crates/alluvium/src/memtable/arena.rs";
    let ledger = "xtask/unsafe-ledger.toml";
    Planted::clean()
        .adding(arena, "unsafe fn h() {}\n")
        .finds(&[&format!("{ledger}:2: {arena} says `unsafe` 2 times, the ledger 1")]);
    Planted::clean()
        .with(arena, "pub fn f() {}\n")
        .finds(&[&format!("{ledger}:2: {arena} has no `unsafe`")]);
    Planted::clean()
        .with(ledger, "")
        .finds(&[&format!("{ledger}:1: add the line: \"{arena}\" = 1")]);
}
