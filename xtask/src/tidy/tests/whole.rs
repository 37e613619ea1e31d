//! Breaches of the rules for every crate: manifests, dead files, lengths, banned words.

use super::Planted;

const CLI_MANIFEST: &str =
    "[package]\nname = \"cli\"\n[lints]\nworkspace = true\n[dependencies]\nalluvium = \"0.1\"\n";

/// A clean workspace with one more program, whose root holds `text`.
fn program(text: &str) -> Planted {
    Planted::clean()
        .with("crates/cli/Cargo.toml", CLI_MANIFEST)
        .with("crates/cli/src/main.rs", text)
}

/// A clean workspace with one more library, whose root holds `text`.
fn library(text: &str) -> Planted {
    let manifest = CLI_MANIFEST.replace("cli", "events");
    Planted::clean()
        .with("crates/events/Cargo.toml", &manifest)
        .with("crates/events/src/lib.rs", text)
}

#[test]
fn another_engine_as_a_dependency_fails_outside_bench() {
    let engine = "crates/alluvium/Cargo.toml";
    let message = "is a storage engine: only crates/bench may depend on one";
    let planted = |text: &str| Planted::clean().adding(engine, text);
    planted("fjall.workspace = true\n").finds(&[&format!("{engine}:7: `fjall` {message}")]);
    planted("other = { package = \"redb\", version = \"4\" }\n")
        .finds(&[&format!("{engine}:7: `redb` {message}")]);
    planted("[dev-dependencies]\nrocksdb = \"1\"\n")
        .finds(&[&format!("{engine}:8: `rocksdb` {message}")]);
    planted("[dependencies.heed]\nversion = \"1\"\n")
        .finds(&[&format!("{engine}:7: `heed` {message}")]);
    planted("[target.'cfg(unix)'.dependencies]\nrusqlite = \"1\"\n")
        .finds(&[&format!("{engine}:8: `rusqlite` {message}")]);
}

#[test]
fn crates_depend_downward_and_on_published_packages() {
    Planted::clean()
        .adding("crates/alluvium/Cargo.toml", "bench.workspace = true\n")
        .finds(&["crates/alluvium/Cargo.toml:7: crates/alluvium may not depend on crates/bench"]);
    Planted::clean()
        .adding("crates/alluvium/Cargo.toml", "[dev-dependencies]\nbench.workspace = true\n")
        .finds(&[]);
    Planted::clean()
        .adding("crates/bench/Cargo.toml", "x = { git = \"https://example.com/x\" }\n")
        .finds(&["crates/bench/Cargo.toml:8: `x` comes from Git"]);
    Planted::clean()
        .with("crates/cli/Cargo.toml", "[package]\nname = \"cli\"\n")
        .finds(&["crates/cli/Cargo.toml:1: does not take the workspace's lints"]);
    Planted::clean()
        .with("crates/new/Cargo.toml", &CLI_MANIFEST.replace("cli", "new"))
        .finds(&["crates/new/Cargo.toml:1: this package stands on no floor"]);
    Planted::clean()
        .with("crates/cli/Cargo.toml", "[package\n")
        .finds(&["crates/cli/Cargo.toml:1"]);
}

#[test]
fn a_dead_file_fails() {
    let dead = "crates/alluvium/src/wal/old.rs";
    Planted::clean().with(dead, "").finds(&[&format!("{dead}:1: dead file")]);
    Planted::clean()
        .with(dead, "")
        .adding("crates/alluvium/src/wal/mod.rs", "#[cfg(any())]\nmod old;\n")
        .finds(&[&format!("{dead}:1: dead file")]);
    Planted::clean()
        .with(dead, "mod older;\n")
        .with("crates/alluvium/src/wal/old/older.rs", "")
        .adding("crates/alluvium/src/wal/mod.rs", "mod inner { }\nmod old;\n")
        .finds(&[]);
    Planted::clean().with("scratch.rs", "").finds(&["scratch.rs:1: dead file"]);
    Planted::clean()
        .with("crates/alluvium/tests/common/unused.rs", "")
        .finds(&["crates/alluvium/tests/common/unused.rs:1: dead file"]);
}

#[test]
fn files_of_every_kind_of_target_are_alive() {
    program("mod a { mod b; }\nfn main() {}\n")
        .with("crates/cli/src/a/b.rs", "")
        .with("crates/cli/src/bin/one.rs", "fn main() {}\n")
        .with("crates/cli/src/bin/two/main.rs", "mod part;\nfn main() {}\n")
        .with("crates/cli/src/bin/two/part.rs", "")
        .with("crates/cli/benches/speed.rs", "fn main() {}\n")
        .with("crates/cli/odd/place.rs", "fn main() {}\n")
        .adding("crates/cli/Cargo.toml", "[[bin]]\nname = \"odd\"\npath = \"odd/place.rs\"\n")
        .finds(&[]);
}

#[test]
fn a_module_under_a_path_attribute_fails() {
    program("#[path = \"elsewhere.rs\"]\nmod here;\nfn main() {}\n")
        .finds(&["crates/cli/src/main.rs:2: `#[path]`"]);
}

#[test]
fn a_golden_file_that_no_test_names_fails() {
    let golden = "crates/alluvium/tests/golden";
    Planted::clean()
        .with(&format!("{golden}/dialog.txt"), "")
        .finds(&[&format!("{golden}/dialog.txt:1: dead golden file")]);
    Planted::clean()
        .with(&format!("{golden}/picker/one.txt"), "")
        .adding("crates/alluvium/tests/api.rs", "fn g() { walk(\"tests/golden/picker\") }\n")
        .finds(&[]);
}

#[test]
fn a_file_line_or_function_that_is_too_long_fails() {
    let statements = "    f();\n".repeat(69);
    let long = format!("fn main() {{\n{statements}}}\n");
    program(&long).finds(&["crates/cli/src/main.rs:1: `main` has 71 lines"]);
    program(&long.replacen("    f();\n", "", 1)).finds(&[]);
    program(&format!("fn main() {{}}\nproptest! {{\n{long}}}\n"))
        .finds(&["crates/cli/src/main.rs:3: `main` has 71 lines"]);
    program(&format!("fn main() {{}}\nimpl S {{\n{long}}}\n"))
        .finds(&["crates/cli/src/main.rs:3: `main` has 71 lines"]);

    program(&format!("fn main() {{}} // {}\n", "x".repeat(84))).finds(&[]);
    program(&format!("fn main() {{}} // {}\n", "x".repeat(85)))
        .finds(&["crates/cli/src/main.rs:1: 101 columns"]);
    program(&format!("// https://{}\nfn main() {{}}\n", "x".repeat(120))).finds(&[]);

    let opened = |lines: usize| format!("//! X.\nfn main() {{}}\n{}", "\n".repeat(lines - 2));
    program(&opened(700)).finds(&[]);
    program(&opened(701)).finds(&["crates/cli/src/main.rs:1: 701 lines"]);
    program(&opened(81)[7..]).finds(&[]);
    program(&opened(82)[7..]).finds(&["crates/cli/src/main.rs:1: does not open with"]);
}

#[test]
fn banned_calls_and_attributes_fail() {
    let root = "crates/events/src/lib.rs";
    library("fn f() { println!(); }\n").finds(&[&format!("{root}:1: `println!` in a library")]);
    library("fn f() { std::eprintln!(); }\n").finds(&[&format!("{root}:1: `eprintln!` in a lib")]);
    library("fn f() { m!(print!(\"\")); }\n").finds(&[&format!("{root}:1: `print!` in a library")]);
    Planted::clean()
        .with("crates/testkit/Cargo.toml", &CLI_MANIFEST.replace("cli", "testkit"))
        .with("crates/testkit/src/lib.rs", "fn f() { eprintln!(); }\n")
        .finds(&[]);
    library("fn f() { dbg!(1); }\n").finds(&[&format!("{root}:1: `dbg!`")]);
    library("fn f() { todo!() }\n").finds(&[&format!("{root}:1: `todo!`")]);
    library("fn f() { vec![unimplemented!()]; }\n")
        .finds(&[&format!("{root}:1: `unimplemented!`")]);
    library("include!(\"x.rs\");\n").finds(&[&format!("{root}:1: `include!`")]);
    library("\n#[allow(dead_code)]\nfn f() {}\n").finds(&[&format!("{root}:2: `allow`")]);
    library("#![allow(dead_code)]\n").finds(&[&format!("{root}:1: `allow`")]);
    library("#[cfg_attr(unix, allow(x))]\nfn f() {}\n").finds(&[&format!("{root}:1: `allow`")]);
    library("#[expect(dead_code, reason = \"x\")]\nfn f() { g(\"#[allow(x)]\") }\n").finds(&[]);
    library("fn f() {").finds(&[&format!("{root}:1: does not parse")]);
}

#[test]
fn words_for_later_and_switched_off_code_fail() {
    let root = "crates/cli/src/main.rs";
    let later = ["FIX", "ME"].concat();
    program(&format!("fn main() {{}} // {later}: x\n")).finds(&[&format!("{root}:1: `{later}`")]);
    program("fn main() {} // XXXIV\n").finds(&[]);
    let off = format!("{root}:1: code in a comment");
    program("// let x = 1;\nfn main() {}\n").finds(&[&off]);
    program("// mod tiered;\nfn main() {}\n").finds(&[&off]);
    program("//use std::io;\nfn main() {}\n").finds(&[&off]);
    program("// fn f() {\nfn main() {}\n").finds(&[&off]);
    program("// #[test]\nfn main() {}\n").finds(&[&off]);
    program("// let us say that it is so: it is.\n// if it is full, wait\nfn main() {}\n")
        .finds(&[]);
}
