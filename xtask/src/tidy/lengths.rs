//! How long things may get: lines 100 columns, functions 70 lines, files 700 (and 500 is the aim).
//!
//! A function's length is counted from `fn` to its closing brace, comments and blank lines
//! included: it is what has to fit on a screen. A line whose length is a URL's is let go. A file of
//! more than 80 lines opens with what it is.

use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Macro, Signature, TraitItemFn};

use crate::tidy::Report;
use crate::tidy::tokens::{self, Seen};
use crate::tidy::tree::Tree;

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;
const FILE_LINES_AIM: usize = 500;
const FILE_LINES_WITHOUT_DOC: usize = 80;

/// Measures every Rust file.
pub fn check(tree: &Tree, report: &mut Report) {
    for (path, text) in tree.texts("rs") {
        check_file(path, text, report);
        if let Some(syntax) = tree.rust(path) {
            let mut functions = Functions { path, report };
            functions.visit_file(syntax);
        }
    }
}

fn check_file(path: &str, text: &str, report: &mut Report) {
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        report.problem(path, 1, format!("{count} lines: a file has at most {FILE_LINES_MAX}"));
    } else if count > FILE_LINES_AIM {
        report.remark(path, 1, format!("{count} lines: the aim is {FILE_LINES_AIM}"));
    }
    if count > FILE_LINES_WITHOUT_DOC && !text.starts_with("//!") {
        report.problem(path, 1, "does not open with a `//!` comment that says what it is");
    }
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && !has_long_url(line) {
            report.problem(
                path,
                index + 1,
                format!("{columns} columns: a line has at most {COLUMNS_MAX}"),
            );
        }
    }
}

/// Whether the line would be short enough without its longest URL.
fn has_long_url(line: &str) -> bool {
    let url = line
        .split_whitespace()
        .filter(|word| word.contains("https://") || word.contains("http://"))
        .map(|word| word.chars().count())
        .max();
    url.is_some_and(|url| line.chars().count() - url <= COLUMNS_MAX)
}

struct Functions<'a> {
    path: &'a str,
    report: &'a mut Report,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, body: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = body.brace_token.span.close().end().line;
        self.judge(&signature.ident.to_string(), first, last);
    }

    fn judge(&mut self, name: &str, first: usize, last: usize) {
        let count = last + 1 - first;
        if count > FUNCTION_LINES_MAX {
            self.report.problem(
                self.path,
                first,
                format!("`{name}` has {count} lines: a function has at most {FUNCTION_LINES_MAX}"),
            );
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.measure(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        for seen in tokens::scan(&invocation.tokens) {
            if let Seen::Function { name, first, last } = seen {
                self.judge(&name, first, last);
            }
        }
    }
}
