//! What can be told of Rust that is only tokens: the bodies of macros and the arguments of
//! attributes, which no parser understands.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Something seen in a token stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// `a::b::c`, two segments at least; the last may be `*`. `import` when it follows `use`.
    Path { segments: Vec<String>, line: usize, import: bool },
    /// `name!`
    Macro { name: String, line: usize },
    /// `fn name … { … }` with the lines of `fn` and of the closing brace.
    Function { name: String, first: usize, last: usize },
    /// Any other word.
    Word { name: String, line: usize },
}

/// Everything to be seen in `tokens`, groups included, in order.
pub fn scan(tokens: &TokenStream) -> Vec<Seen> {
    let mut seen = Vec::new();
    scan_into(tokens, &mut seen);
    seen
}

fn scan_into(tokens: &TokenStream, seen: &mut Vec<Seen>) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    let mut import = false;
    while at < trees.len() {
        match &trees[at] {
            TokenTree::Ident(_) if double_colon(&trees, at + 1) => {
                at = path(&trees, at, &[], import, seen);
                import = false;
                continue;
            }
            TokenTree::Ident(ident) => {
                let line = ident.span().start().line;
                let name = plain(ident);
                if import {
                    seen.push(Seen::Path { segments: vec![name.clone()], line, import });
                }
                import = name == "use";
                if name == "fn" {
                    seen.extend(function(&trees, at));
                }
                seen.push(if punct(&trees, at + 1, '!') && !punct(&trees, at + 2, '=') {
                    Seen::Macro { name, line }
                } else {
                    Seen::Word { name, line }
                });
            }
            TokenTree::Group(group) => {
                if import && group.delimiter() == Delimiter::Brace {
                    branches(&group.stream(), &[], true, seen);
                } else {
                    scan_into(&group.stream(), seen);
                }
                import = false;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// Reads the path that starts at `at`, below the segments `above`; the index behind it.
fn path(
    trees: &[TokenTree],
    mut at: usize,
    above: &[String],
    import: bool,
    seen: &mut Vec<Seen>,
) -> usize {
    let mut segments = above.to_vec();
    let mut line = 0;
    while let Some(tree) = trees.get(at) {
        match tree {
            TokenTree::Ident(ident) => {
                line = ident.span().start().line;
                segments.push(plain(ident));
            }
            TokenTree::Punct(star) if star.as_char() == '*' && import => {
                line = star.span().start().line;
                segments.push("*".to_owned());
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && import => {
                branches(&group.stream(), &segments, import, seen);
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !double_colon(trees, at) {
            break;
        }
        at += 2;
    }
    // The name of a macro ends a path, too.
    if punct(trees, at, '!')
        && !punct(trees, at + 1, '=')
        && let Some(name) = segments.last()
    {
        seen.push(Seen::Macro { name: name.clone(), line });
    }
    seen.push(Seen::Path { segments, line, import });
    at
}

/// Reads the comma-separated paths of a `use` group.
fn branches(tokens: &TokenStream, above: &[String], import: bool, seen: &mut Vec<Seen>) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for branch in trees.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ',')) {
        let start = if double_colon(branch, 0) { 2 } else { 0 };
        if branch.len() > start {
            path(branch, start, above, import, seen);
        }
    }
}

fn function(trees: &[TokenTree], at: usize) -> Option<Seen> {
    let first = trees[at].span().start().line;
    let TokenTree::Ident(name) = trees.get(at + 1)? else { return None };
    for tree in &trees[at + 2..] {
        match tree {
            TokenTree::Punct(end) if end.as_char() == ';' => return None,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => {
                let last = body.span_close().end().line;
                return Some(Seen::Function { name: name.to_string(), first, last });
            }
            _ => {}
        }
    }
    None
}

fn double_colon(trees: &[TokenTree], at: usize) -> bool {
    punct(trees, at, ':') && punct(trees, at + 1, ':')
}

fn punct(trees: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(trees.get(at), Some(TokenTree::Punct(found)) if found.as_char() == wanted)
}

/// An identifier without the `r#` of a raw one.
fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or_else(|| name.clone(), str::to_owned)
}
