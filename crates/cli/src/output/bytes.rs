//! Keys and values as text: how bytes are read from the command line, and how they are printed.
//!
//! Printing has two forms. The *escaped* form (the default) shows what a terminal can show and
//! escapes the rest, so that one entry is one line, whatever the bytes are, and no stored byte can
//! steer the terminal. The *hex* form is two digits a byte. Both can be read back without loss:
//! [`Form::parse`] is the inverse of [`Form::print`].
//!
//! Reading has one form more, *text*: the argument's bytes as the shell passed them, which need not
//! be UTF-8.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use clap::Args;

/// How keys and values are written on the command line and in the output.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormArgs {
    /// Keys and values are hexadecimal, both as arguments and in the output
    #[arg(long, conflicts_with = "escaped")]
    hex: bool,
    /// Keys and values given as arguments hold escapes: \xNN \t \n \r \0 \\
    #[arg(long)]
    escaped: bool,
}

impl FormArgs {
    /// The form that the flags ask for.
    pub fn form(self) -> Form {
        match (self.hex, self.escaped) {
            (true, _) => Form::Hex,
            (_, true) => Form::Escaped,
            _ => Form::Text,
        }
    }
}

/// A text form of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Arguments are taken byte for byte; output is escaped.
    Text,
    /// Arguments and output are escaped.
    Escaped,
    /// Arguments and output are hexadecimal.
    Hex,
}

impl Form {
    /// The bytes that `argument` stands for, or a sentence saying why it stands for none.
    pub fn parse(self, argument: &OsStr) -> Result<Vec<u8>, String> {
        let bytes = argument.as_bytes();
        match self {
            Form::Text => Ok(bytes.to_vec()),
            Form::Escaped => unescape(bytes),
            Form::Hex => from_hex(bytes),
        }
    }

    /// Appends `bytes` to `line`.
    pub fn print(self, line: &mut String, bytes: &[u8]) {
        match self {
            Form::Text | Form::Escaped => escape(line, bytes),
            Form::Hex => hex(line, bytes),
        }
    }
}

/// `bytes` in escaped form.
pub fn escaped(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    escape(&mut line, bytes);
    line
}

fn escape(line: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => line.push_str("\\\\"),
                '\t' => line.push_str("\\t"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                c if is_shown(c) => line.push(c),
                c => {
                    let mut buffer = [0; 4];
                    escape_bytes(line, c.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        escape_bytes(line, chunk.invalid());
    }
}

fn escape_bytes(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(line, "\\x{byte:02x}").expect("a String takes everything");
    }
}

fn hex(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(line, "{byte:02x}").expect("a String takes everything");
    }
}

/// Whether a terminal shows `c` as itself: no control, no line break, nothing invisible, nothing
/// that turns the direction of the text around it.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn unescape(argument: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(argument.len());
    let mut rest = argument.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let plain = match rest.next() {
            Some(b'\\') => b'\\',
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'0') => 0,
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].map(|d| d.copied().and_then(digit));
                let [Some(high), Some(low)] = digits else {
                    return Err(r"\x is not followed by two hexadecimal digits".to_owned());
                };
                high << 4 | low
            }
            Some(&other) => {
                let other = escaped(&[other]);
                return Err(format!(r"\{other} is no escape: write \\, \t, \n, \r, \0 or \xNN"));
            }
            None => return Err(r"a lone \ at the end: write \\ for a backslash".to_owned()),
        };
        bytes.push(plain);
    }
    Ok(bytes)
}

fn from_hex(argument: &[u8]) -> Result<Vec<u8>, String> {
    let (pairs, odd) = argument.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(format!("{} hexadecimal digits: a byte has two", argument.len()));
    }
    let mut bytes = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let [Some(high), Some(low)] = pair.map(digit) else {
            return Err(format!("{} is no pair of hexadecimal digits", escaped(pair)));
        };
        bytes.push(high << 4 | low);
    }
    Ok(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;
