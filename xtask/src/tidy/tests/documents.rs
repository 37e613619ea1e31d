//! Breaches of the rules for documents: links, titles, examples, names that must exist.

use super::Planted;

/// A clean workspace whose format document goes on with `text`, from line 10.
fn document(text: &str) -> Planted {
    Planted::clean().adding("docs/format.md", text)
}

const AT: &str = "docs/format.md:10";

#[test]
fn a_broken_link_fails() {
    document("See [x](gone.md).\n").finds(&[&format!("{AT}: broken link: there is no `docs/gone")]);
    document("See ![x](gone.png).\n").finds(&[&format!("{AT}: broken link")]);
    document("[x]: gone.md\n").finds(&[&format!("{AT}: broken link")]);
    document("<img src=\"gone.svg\">\n").finds(&[&format!("{AT}: broken link")]);
    document("See [x](../README.md#nothing).\n")
        .finds(&[&format!("{AT}: broken link: `README.md` has no `#nothing`")]);
    document("See [x](#nothing).\n").finds(&[&format!("{AT}: broken link")]);
    document("See [x](../Cargo.toml#L6).\n").finds(&[&format!("{AT}: broken link")]);
    document("See [x](../../x.md).\n").finds(&[&format!("{AT}: `../../x.md` leads out of")]);
    document("See [x](/x.md).\n").finds(&[&format!("{AT}: `/x.md` starts at the root")]);
    document("See [x][y].\n").finds(&[&format!("{AT}: `[y]` is not defined")]);
}

#[test]
fn links_that_lead_somewhere_pass() {
    document("[a](../README.md) [b](#the-log) [c](../docs) [d](../Cargo.toml#L1-L5)\n").finds(&[]);
    document("[a](https://example.com/gone.md) [b](mailto:a@example.com)\n").finds(&[]);
    document("[a][b] and [c](<../README.md> \"title\")\n\n[b]: ../README.md 'title'\n").finds(&[]);
    document("`[x](gone.md)` and ``a ` [x](gone.md)``\n\n```text\n[x](gone.md)\n```\n").finds(&[]);
    document("## The `log`, *again* (2)\n\n[a](#the-log-again-2)\n").finds(&[]);
    document("## The log\n\n[a](#the-log-1) <a id=\"here\"></a> [b](#here)\n").finds(&[]);
}

#[test]
fn a_document_that_nothing_leads_to_fails() {
    Planted::clean()
        .with("docs/lost.md", "# Lost\n\nSee [the format](format.md).\n")
        .finds(&["docs/lost.md:1: dead document"]);
    Planted::clean()
        .with("docs/found.md", "# Found\n")
        .adding("docs/format.md", "[x](found.md)\n")
        .finds(&[]);
    Planted::clean().with("docs/lost.png", "").finds(&["docs/lost.png:1: dead document"]);
    Planted::clean().without("README.md").finds(&["README.md:1: missing"]);
}

#[test]
fn a_document_has_one_title() {
    document("# Again\n").finds(&[&format!("{AT}: has a second `# ` title")]);
    Planted::clean()
        .with("docs/format.md", "## The log\n")
        .finds(&["docs/format.md:1: has no `# ` title"]);
}

#[test]
fn examples_that_nobody_compiles_fail() {
    let example = "```rust\nfn f() {}\n```\n";
    document(example).finds(&[&format!("{AT}: Rust examples that nobody compiles")]);
    document(example)
        .adding(
            "crates/alluvium/src/lib.rs",
            "#[cfg(doctest)]\n#[doc = include_str!(\"../../../docs/format.md\")]\nstruct F;\n",
        )
        .finds(&[]);
    document(example)
        .adding(
            "crates/alluvium/src/lib.rs",
            "#[cfg(doctest)]\n#[doc = include_str!(\"../docs/format.md\")]\nstruct F;\n",
        )
        .finds(&[&format!("{AT}: Rust examples that nobody compiles")]);
    document("```\nx\n```\n").finds(&[&format!("{AT}: a code fence without a language")]);
    document("```rust,ignore\nx\n```\n").finds(&[
        &format!("{AT}: Rust examples that nobody compiles"),
        &format!("{AT}: an example that nobody compiles"),
    ]);
}

#[test]
fn a_file_named_in_a_code_span_exists() {
    document("Read `wal/gone.rs`.\n").finds(&[&format!("{AT}: names `wal/gone.rs`")]);
    document("Read `docs/gone.md`.\n").finds(&[&format!("{AT}: names `docs/gone.md`")]);
    document("Read `al/mod.rs`.\n").finds(&[&format!("{AT}: names `al/mod.rs`")]);
    document("Read `wal/mod.rs`, `README.md`, `.rs` and `<name>.rs`.\n").finds(&[]);
}

#[test]
fn a_document_named_in_a_comment_exists() {
    let root = "crates/bench/src/main.rs";
    let planted =
        |comment: &str| Planted::clean().with(root, &format!("{comment}\nfn main() {{}}\n"));
    planted("//! As docs/gone.md says.").finds(&[&format!("{root}:1: names `docs/gone.md`")]);
    planted("// See (`docs/format.md`), docs/format.md.").finds(&[]);
}

#[test]
fn a_folder_of_somebodys_machine_fails() {
    let private = ["/wo", "rk/x"].concat();
    document(&format!("Look in {private}.\n")).finds(&[&format!("{AT}: `/work/…` is a folder")]);
    document(&format!("At https://example.com{private}.\n")).finds(&[]);
    Planted::clean()
        .adding("Cargo.toml", &format!("# {private}\n"))
        .finds(&["Cargo.toml:6: `/work/…` is a folder"]);
}
