//! What a step answered: compared as data, printed as one line of a history.

use std::collections::BTreeMap;
use std::fmt;

use crate::operation::Short;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Entries that are listed before the rest is counted.
const LISTED_MAX: usize = 12;

/// The answer to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// There is no such family.
    Missing,
    /// There is such a family already.
    Exists,
    /// There is nothing in that slot.
    Nothing,
    /// The value of a key.
    Value(Option<Vec<u8>>),
    /// The values of several keys.
    Values(Vec<Option<Vec<u8>>>),
    /// Entries, in the order in which they were read.
    Entries(Vec<Entry>),
    /// Where a cursor has come to.
    Moved(Moved),
    /// Everything in every family.
    Everything(BTreeMap<String, Vec<Entry>>),
    /// An error, or two answers that contradict each other. No model gives this.
    Failed(String),
}

/// Where a cursor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// On no entry.
    Off,
    /// On this one.
    On(Entry),
}

impl Answer {
    /// Done where it was there, nothing where it was not.
    #[must_use]
    pub fn is_there(there: bool) -> Answer {
        if there { Answer::Done } else { Answer::Nothing }
    }
}

/// A value in brief: its beginning, and its length where that is not all.
struct Brief<'a>(Option<&'a [u8]>);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{}", Short(value)),
            None => f.write_str("none"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    write!(f, "{} entries", entries.len())?;
    for (key, value) in entries.iter().take(LISTED_MAX) {
        write!(f, " {}={}", Short(key), Short(value))?;
    }
    if entries.len() > LISTED_MAX { f.write_str(" ...") } else { Ok(()) }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done => f.write_str("done"),
            Answer::Missing => f.write_str("no such family"),
            Answer::Exists => f.write_str("the family exists"),
            Answer::Nothing => f.write_str("nothing there"),
            Answer::Value(value) => write!(f, "{}", Brief(value.as_deref())),
            Answer::Values(values) => {
                let values = values.iter().map(|value| Brief(value.as_deref()).to_string());
                f.write_str(&values.collect::<Vec<_>>().join(" "))
            }
            Answer::Entries(entries) => list(f, entries),
            Answer::Moved(Moved::Off) => f.write_str("on no entry"),
            Answer::Moved(Moved::On((key, value))) => write!(f, "{}={}", Short(key), Short(value)),
            Answer::Everything(families) => {
                let counts = families.iter().map(|(name, all)| format!("{name}: {}", all.len()));
                write!(f, "entries of {}", counts.collect::<Vec<_>>().join(", "))
            }
            Answer::Failed(text) => write!(f, "failed: {text}"),
        }
    }
}

/// The first difference of two answers, so that a reader need not compare two long lines.
#[must_use]
pub fn difference(expected: &Answer, found: &Answer) -> String {
    let place = match (expected, found) {
        (Answer::Entries(expected), Answer::Entries(found)) => first_difference(expected, found),
        (Answer::Everything(expected), Answer::Everything(found)) => {
            let mut names = expected.keys().chain(found.keys());
            let name = names.find(|name| expected.get(*name) != found.get(*name));
            let of = |families: &BTreeMap<String, Vec<Entry>>, name: &String| {
                families.get(name).cloned().unwrap_or_default()
            };
            name.map(|name| {
                let inner = first_difference(&of(expected, name), &of(found, name));
                format!("in family {name}{}", inner.unwrap_or_default())
            })
        }
        _ => None,
    };
    format!("expected {expected}\n     got {found}\n{}", place.unwrap_or_default())
}

fn first_difference(expected: &[Entry], found: &[Entry]) -> Option<String> {
    let at = (0..expected.len().max(found.len())).find(|at| expected.get(*at) != found.get(*at))?;
    let show = |entry: Option<&Entry>| match entry {
        Some((key, value)) => format!("{}={}", Short(key), Short(value)),
        None => "the end".to_owned(),
    };
    Some(format!(" at entry {at}: {} instead of {}", show(found.get(at)), show(expected.get(at))))
}
