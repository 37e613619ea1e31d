//! Plain values as lines of text, there and back: `path.to.field value`.
//!
//! One function walks over a value and names each field; given a [`Writer`] it writes them, given a
//! [`Reader`] it fills them in. So the two directions cannot differ. A field that is not there
//! keeps what it was: a file of a build with fewer fields can be read.

use std::collections::HashMap;

/// Most elements of a list that is read.
const LIST_MAX: u64 = 1 << 20;

/// What a walk is made with.
pub(crate) trait Archive {
    fn number(&mut self, name: &str, value: &mut u64);
    fn real(&mut self, name: &str, value: &mut f64);
    fn text(&mut self, name: &str, value: &mut String);
    /// How many elements a list has: those that it has, or those that were written.
    fn length(&mut self, name: &str, length: usize) -> usize;
    /// Goes into a field, or an element of a list.
    fn enter(&mut self, name: &str);
    fn leave(&mut self);

    fn size(&mut self, name: &str, value: &mut usize) {
        let mut number = *value as u64;
        self.number(name, &mut number);
        *value = usize::try_from(number).unwrap_or(usize::MAX);
    }
}

/// Walks over a list.
pub(crate) fn list<T: Default + Clone>(
    archive: &mut dyn Archive,
    name: &str,
    values: &mut Vec<T>,
    each: impl Fn(&mut dyn Archive, &mut T),
) {
    let length = archive.length(name, values.len());
    values.resize(length, T::default());
    archive.enter(name);
    for (index, value) in values.iter_mut().enumerate() {
        archive.enter(&index.to_string());
        each(archive, value);
        archive.leave();
    }
    archive.leave();
}

/// The names that a walk has gone into.
#[derive(Debug, Default)]
struct Path(Vec<String>);

impl Path {
    fn to(&self, name: &str) -> String {
        let mut path = self.0.join(".");
        if !path.is_empty() {
            path.push('.');
        }
        path + name
    }
}

/// Writes lines.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    path: Path,
    pub(crate) text: String,
}

impl Writer {
    fn line(&mut self, name: &str, value: &str) {
        self.text.push_str(&self.path.to(name));
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
    }
}

impl Archive for Writer {
    fn number(&mut self, name: &str, value: &mut u64) {
        self.line(name, &value.to_string());
    }

    fn real(&mut self, name: &str, value: &mut f64) {
        self.line(name, &value.to_string());
    }

    fn text(&mut self, name: &str, value: &mut String) {
        self.line(name, &value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"));
    }

    fn length(&mut self, name: &str, length: usize) -> usize {
        self.line(name, &length.to_string());
        length
    }

    fn enter(&mut self, name: &str) {
        self.path.0.push(name.to_owned());
    }

    fn leave(&mut self) {
        self.path.0.pop();
    }
}

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    path: Path,
    lines: HashMap<&'a str, &'a str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Reader<'a> {
        let lines = text.lines().filter_map(|line| line.split_once(' ')).collect();
        Reader { path: Path::default(), lines }
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        self.lines.get(self.path.to(name).as_str()).copied()
    }
}

impl Archive for Reader<'_> {
    fn number(&mut self, name: &str, value: &mut u64) {
        *value = self.find(name).and_then(|text| text.parse().ok()).unwrap_or(*value);
    }

    fn real(&mut self, name: &str, value: &mut f64) {
        *value = self.find(name).and_then(|text| text.parse().ok()).unwrap_or(*value);
    }

    fn text(&mut self, name: &str, value: &mut String) {
        if let Some(text) = self.find(name) {
            *value = unescaped(text);
        }
    }

    fn length(&mut self, name: &str, length: usize) -> usize {
        let mut found = length as u64;
        self.number(name, &mut found);
        // Every element has a line at least, so that no more can be there than there are lines.
        let most = (self.lines.len() as u64).min(LIST_MAX);
        usize::try_from(found.min(most)).unwrap_or(0)
    }

    fn enter(&mut self, name: &str) {
        self.path.0.push(name.to_owned());
    }

    fn leave(&mut self) {
        self.path.0.pop();
    }
}

fn unescaped(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => found.push('\n'),
                Some('r') => found.push('\r'),
                other => found.extend(other),
            },
            other => found.push(other),
        }
    }
    found
}
