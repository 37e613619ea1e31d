//! Operations files: the text of [`Step`]s, written and read.
//!
//! One step a line; `#` begins a comment line. Words are parted by single spaces:
//!
//! ```text
//! write disk default'a'=v1*20 beta'\x00'-     a batch: put (value of write 1, 20 bytes), delete
//! write own default'a'-'c'                    deletes the range from 'a' up to 'c', excluded
//! get default 'a' at 0                        at the snapshot in slot 0; without: now
//! multi default 'a' 'b' ''
//! scan default incl'a' excl'c' both at 1      bounds: open, incl'KEY', excl'KEY'
//! prefix beta 'a' backward
//! cursor 0 default                            keeps a cursor in slot 0
//! move 0 seek 'a'                             first, last, next, prev, seek 'K', before 'K'
//! hold 1 default open excl'c' at 0            keeps a scan in slot 1
//! take 1 back 3                               front or back
//! close 1
//! snapshot 0
//! release 0
//! create beta
//! drop beta
//! flush beta                                  without a family: all of them; so does compact
//! sync
//! reopen                                      also: abandon, kill, power
//! check
//! ```
//!
//! Durabilities are `own` (what the options say), `buffered`, `os` and `disk`. In a key every byte
//! that is no ASCII letter or digit is `\xNN`. A file may give the options that it failed under in
//! lines `options NAME=NUMBER ...`, see [`super::knobs`]: the first holds at the beginning, each
//! further one from the next restart on.

use std::fmt::{self, Write as _};
use std::ops::Bound;

use alluvium::Durability;

use crate::metamorphic::knobs::Setting;
use crate::metamorphic::step::{Move, Put, Restart, Step, VALUE_BYTES_MAX, Value};
use crate::operation::{Direction, KeyRange};

/// An operations file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The options that it failed under, one set for each life of the store; often none are given.
    pub settings: Vec<Setting>,
    /// What is done.
    pub steps: Vec<Step>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.iter().try_for_each(|setting| writeln!(f, "options{setting}"))?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Script {
    /// Reads an operations file.
    ///
    /// # Errors
    ///
    /// The line that is none, and why.
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = |why: String| format!("line {}, \"{line}\": {why}", index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(setting) = line.strip_prefix("options") {
                script.settings.push(Setting::parse(setting).map_err(wrong)?);
            } else {
                script.steps.push(parse_step(line).map_err(wrong)?);
            }
        }
        Ok(script)
    }
}

/// A key between quotes.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        for &byte in self.0 {
            if byte.is_ascii_alphanumeric() {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('\'')
    }
}

struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |slot| write!(f, " at {slot}"))
    }
}

struct End<'a>(&'a Bound<Vec<u8>>);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Bound::Included(key) => write!(f, "incl{}", Quoted(key)),
            Bound::Excluded(key) => write!(f, "excl{}", Quoted(key)),
            Bound::Unbounded => f.write_str("open"),
        }
    }
}

const DURABILITIES: [(&str, Option<Durability>); 4] = [
    ("own", None),
    ("buffered", Some(Durability::Buffered)),
    ("os", Some(Durability::Os)),
    ("disk", Some(Durability::Disk)),
];
const DIRECTIONS: [(&str, Direction); 3] = [
    ("forward", Direction::Forward),
    ("backward", Direction::Backward),
    ("both", Direction::BothEnds),
];
const RESTARTS: [(&str, Restart); 4] = [
    ("reopen", Restart::Reopen),
    ("abandon", Restart::Abandon),
    ("kill", Restart::Kill),
    ("power", Restart::Power),
];

/// The word for `value` in a table of words.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("?", |(word, _)| word)
}

fn meaning<T: Clone>(words: &[(&'static str, T)], word: &str) -> Result<T, String> {
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| value.clone()).ok_or_else(|| format!("\"{word}\" is no word here"))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write { durability, changes } => {
                write!(f, "write {}", word(&DURABILITIES, durability))?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
            Step::Get { family, key, at } => write!(f, "get {family} {}{}", Quoted(key), At(*at)),
            Step::Multi { family, keys } => {
                write!(f, "multi {family}")?;
                keys.iter().try_for_each(|key| write!(f, " {}", Quoted(key)))
            }
            Step::Scan { family, range: (low, high), direction, at } => {
                let direction = word(&DIRECTIONS, direction);
                write!(f, "scan {family} {} {} {direction}{}", End(low), End(high), At(*at))
            }
            Step::Prefix { family, prefix, direction, at } => {
                let direction = word(&DIRECTIONS, direction);
                write!(f, "prefix {family} {} {direction}{}", Quoted(prefix), At(*at))
            }
            Step::Cursor { slot, family, at } => write!(f, "cursor {slot} {family}{}", At(*at)),
            Step::Move { slot, movement } => write!(f, "move {slot} {movement}"),
            Step::Hold { slot, family, range: (low, high), at } => {
                write!(f, "hold {slot} {family} {} {}{}", End(low), End(high), At(*at))
            }
            Step::Take { slot, back, count } => {
                write!(f, "take {slot} {} {count}", if *back { "back" } else { "front" })
            }
            Step::Close { slot } => write!(f, "close {slot}"),
            Step::Snapshot { slot } => write!(f, "snapshot {slot}"),
            Step::Release { slot } => write!(f, "release {slot}"),
            Step::Create { family } => write!(f, "create {family}"),
            Step::Drop { family } => write!(f, "drop {family}"),
            Step::Flush { family: None } => f.write_str("flush"),
            Step::Flush { family: Some(family) } => write!(f, "flush {family}"),
            Step::Compact { family: None } => f.write_str("compact"),
            Step::Compact { family: Some(family) } => write!(f, "compact {family}"),
            Step::Sync => f.write_str("sync"),
            Step::Restart(restart) => f.write_str(word(&RESTARTS, restart)),
            Step::Check => f.write_str("check"),
        }
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Put { family, key, value, end } = self;
        match (value, end) {
            (Some(Value { number, length }), _) => {
                write!(f, "{family}{}=v{number}*{length}", Quoted(key))
            }
            (None, Some(end)) => write!(f, "{family}{}-{}", Quoted(key), Quoted(end)),
            (None, None) => write!(f, "{family}{}-", Quoted(key)),
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Move::First => f.write_str("first"),
            Move::Last => f.write_str("last"),
            Move::Next => f.write_str("next"),
            Move::Prev => f.write_str("prev"),
            Move::Seek(key) => write!(f, "seek {}", Quoted(key)),
            Move::Before(key) => write!(f, "before {}", Quoted(key)),
        }
    }
}

/// The words of a line that are left.
struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn any(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn next(&mut self) -> Result<&'a str, String> {
        self.any().ok_or_else(|| "a word is missing".to_owned())
    }

    fn number(&mut self) -> Result<usize, String> {
        let word = self.next()?;
        word.parse().map_err(|_| format!("\"{word}\" is no number"))
    }

    fn family(&mut self) -> Result<String, String> {
        Ok(self.next()?.to_owned())
    }

    fn key(&mut self) -> Result<Vec<u8>, String> {
        parse_key(self.next()?)
    }

    fn range(&mut self) -> Result<KeyRange, String> {
        Ok((parse_end(self.next()?)?, parse_end(self.next()?)?))
    }

    fn at(&mut self) -> Result<Option<usize>, String> {
        match self.any() {
            None => Ok(None),
            Some("at") => self.number().map(Some),
            Some(word) => Err(format!("\"{word}\" instead of \"at\"")),
        }
    }
}

fn parse_step(line: &str) -> Result<Step, String> {
    let mut words = Words(line.split(' '));
    let first = words.next()?;
    let step = match first {
        "write" => {
            let durability = meaning(&DURABILITIES, words.next()?)?;
            let changes = words.0.by_ref().map(parse_put).collect::<Result<_, _>>()?;
            Step::Write { durability, changes }
        }
        "get" => Step::Get { family: words.family()?, key: words.key()?, at: words.at()? },
        "multi" => {
            let family = words.family()?;
            Step::Multi { family, keys: words.0.by_ref().map(parse_key).collect::<Result<_, _>>()? }
        }
        "scan" => Step::Scan {
            family: words.family()?,
            range: words.range()?,
            direction: meaning(&DIRECTIONS, words.next()?)?,
            at: words.at()?,
        },
        "prefix" => Step::Prefix {
            family: words.family()?,
            prefix: words.key()?,
            direction: meaning(&DIRECTIONS, words.next()?)?,
            at: words.at()?,
        },
        "cursor" => {
            Step::Cursor { slot: words.number()?, family: words.family()?, at: words.at()? }
        }
        "move" => Step::Move { slot: words.number()?, movement: parse_move(&mut words)? },
        "hold" => Step::Hold {
            slot: words.number()?,
            family: words.family()?,
            range: words.range()?,
            at: words.at()?,
        },
        "take" => Step::Take {
            slot: words.number()?,
            back: meaning(&[("front", false), ("back", true)], words.next()?)?,
            count: words.number()?,
        },
        "close" => Step::Close { slot: words.number()? },
        "snapshot" => Step::Snapshot { slot: words.number()? },
        "release" => Step::Release { slot: words.number()? },
        "create" => Step::Create { family: words.family()? },
        "drop" => Step::Drop { family: words.family()? },
        "flush" => Step::Flush { family: words.any().map(str::to_owned) },
        "compact" => Step::Compact { family: words.any().map(str::to_owned) },
        "sync" => Step::Sync,
        "check" => Step::Check,
        restart => Step::Restart(meaning(&RESTARTS, restart)?),
    };
    match words.any() {
        Some(word) => Err(format!("\"{word}\" is one word too many")),
        None => Ok(step),
    }
}

fn parse_move(words: &mut Words<'_>) -> Result<Move, String> {
    Ok(match words.next()? {
        "seek" => Move::Seek(words.key()?),
        "before" => Move::Before(words.key()?),
        word => {
            let plain = [
                ("first", Move::First),
                ("last", Move::Last),
                ("next", Move::Next),
                ("prev", Move::Prev),
            ];
            meaning(&plain, word)?
        }
    })
}

fn parse_end(word: &str) -> Result<Bound<Vec<u8>>, String> {
    if word == "open" {
        return Ok(Bound::Unbounded);
    }
    if let Some(key) = word.strip_prefix("incl") {
        return parse_key(key).map(Bound::Included);
    }
    let key = word.strip_prefix("excl").ok_or_else(|| format!("\"{word}\" is no bound"))?;
    parse_key(key).map(Bound::Excluded)
}

fn parse_put(word: &str) -> Result<Put, String> {
    let no_change = || format!("\"{word}\" is no change");
    let (family, rest) = word.split_once('\'').ok_or_else(no_change)?;
    let (_, what) = rest.split_once('\'').ok_or_else(no_change)?;
    let key = parse_key(&word[family.len()..word.len() - what.len()])?;
    let (value, end) = match what.strip_prefix('-') {
        Some("") => (None, None),
        Some(end) => (None, Some(parse_key(end)?)),
        None => {
            let value = parse_value(what).ok_or_else(|| format!("\"{what}\" is no value"))?;
            (Some(value), None)
        }
    };
    Ok(Put { family: family.to_owned(), key, value, end })
}

fn parse_value(text: &str) -> Option<Value> {
    let (number, length) = text.strip_prefix("=v")?.split_once('*')?;
    let value = Value { number: number.parse().ok()?, length: length.parse().ok()? };
    (value.length <= VALUE_BYTES_MAX).then_some(value)
}

fn parse_key(word: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{word} is no key");
    let inner = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let mut left = inner.ok_or_else(wrong)?.as_bytes();
    let mut key = Vec::with_capacity(left.len());
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        if byte.is_ascii_alphanumeric() {
            key.push(byte);
            continue;
        }
        let (code, rest) = left.split_at_checked(3).ok_or_else(wrong)?;
        let digits = (byte == b'\\').then(|| code.strip_prefix(b"x")).flatten();
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        key.push(byte.ok_or_else(wrong)?);
        left = rest;
    }
    Ok(key)
}
