//! Every path that a Rust file names, resolved as far as the file itself allows.
//!
//! `crate`, `self` and `super` are resolved against the module that the path stands in, nested
//! inline modules included, so that `super::super::db` and `crate::db` are the same thing here.
//! Other paths stay as they are written. The bodies of macros and the arguments of attributes are
//! read as tokens.

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, Path, UseTree, VisRestricted};

use crate::tidy::modules::is_test;
use crate::tidy::tokens::{self, Seen};

/// A path somewhere in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// From `crate` down where it starts at `crate`, `self` or `super`; else as written. The last
    /// segment of a glob import is `*`.
    pub segments: Vec<String>,
    pub line: usize,
    /// Whether a `use` names it.
    pub import: bool,
    /// Whether it stands in code that is compiled for tests only.
    pub test: bool,
}

/// Whatever else a check may care for, as the walk meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// The macro's name, without the path before it.
    pub name: String,
    pub line: usize,
    pub test: bool,
}

/// What a file names.
#[derive(Debug, Default)]
pub struct Names {
    pub paths: Vec<Named>,
    pub macros: Vec<Invoked>,
}

/// Collects what `file`, which is the module `module`, names.
pub fn collect(file: &syn::File, module: &[String], test: bool) -> Names {
    let mut collector = Collector { module: module.to_vec(), test, names: Names::default() };
    collector.visit_file(file);
    collector.names
}

struct Collector {
    module: Vec<String>,
    test: bool,
    names: Names,
}

impl Collector {
    fn name(&mut self, segments: Vec<String>, line: usize, import: bool) {
        // A lone `self` is a value.
        if segments.is_empty() || !import && segments == ["self"] {
            return;
        }
        let segments = resolve(&self.module, segments);
        self.names.paths.push(Named { segments, line, import, test: self.test });
    }

    fn scan(&mut self, tokens: &proc_macro2::TokenStream) {
        for seen in tokens::scan(tokens) {
            match seen {
                Seen::Path { segments, line, import } => self.name(segments, line, import),
                Seen::Macro { name, line } => self.invoke(name, line),
                Seen::Function { .. } | Seen::Word { .. } => {}
            }
        }
    }

    fn invoke(&mut self, name: String, line: usize) {
        self.names.macros.push(Invoked { name, line, test: self.test });
    }

    fn branches(&mut self, above: &[String], tree: &UseTree) {
        let below = |name: &syn::Ident| {
            let mut segments = above.to_vec();
            // `a::{self}` is `a`.
            if name != "self" || above.is_empty() {
                segments.push(plain(name));
            }
            segments
        };
        match tree {
            UseTree::Path(path) => self.branches(&below(&path.ident), &path.tree),
            UseTree::Name(leaf) => {
                self.name(below(&leaf.ident), leaf.ident.span().start().line, true);
            }
            UseTree::Rename(leaf) => {
                self.name(below(&leaf.ident), leaf.ident.span().start().line, true);
            }
            UseTree::Glob(glob) => {
                let mut segments = above.to_vec();
                segments.push("*".to_owned());
                self.name(segments, glob.star_token.spans[0].start().line, true);
            }
            UseTree::Group(group) => {
                for branch in &group.items {
                    self.branches(above, branch);
                }
            }
        }
    }

    fn within(&mut self, attributes: &[Attribute], walk: impl FnOnce(&mut Collector)) {
        let before = self.test;
        self.test |= is_test(attributes);
        walk(self);
        self.test = before;
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        self.within(attributes(item), |collector| visit::visit_item(collector, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => item.attrs.as_slice(),
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        self.within(attributes, |collector| visit::visit_impl_item(collector, item));
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(plain(&item.ident));
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        self.branches(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| plain(&s.ident)).collect();
        let line = path.segments.first().map_or(0, |s| s.ident.span().start().line);
        self.name(segments, line, false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        if let Some(last) = invocation.path.segments.last() {
            self.invoke(plain(&last.ident), last.ident.span().start().line);
        }
        visit::visit_macro(self, invocation);
        self.scan(&invocation.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        visit::visit_attribute(self, attribute);
        if let Meta::List(list) = &attribute.meta {
            self.scan(&list.tokens);
        }
    }

    /// `pub(crate)` and `pub(super)` name nothing.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

/// Turns a leading `crate`, `self` or `super` into a path from the crate root.
fn resolve(module: &[String], segments: Vec<String>) -> Vec<String> {
    let mut at = module.to_vec();
    let mut rest = segments.as_slice();
    let mut relative = false;
    while let Some((first, behind)) = rest.split_first() {
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            _ => break,
        }
        relative = true;
        rest = behind;
    }
    if !relative {
        return segments;
    }
    let mut absolute = vec!["crate".to_owned()];
    absolute.append(&mut at);
    absolute.extend(rest.iter().cloned());
    absolute
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn plain(ident: &syn::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or_else(|| name.clone(), str::to_owned)
}
