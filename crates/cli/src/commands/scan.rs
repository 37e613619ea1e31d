//! `alluvium scan`: prints a range of keys with their values, one entry a line.

use std::ffi::OsString;
use std::io::Write;
use std::ops::Bound;

use clap::Args;

use super::parse;
use crate::failure::Failure;
use crate::output::bytes::FormArgs;
use crate::store::{FamilyArgs, Missing};

/// The arguments of `scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    form: FormArgs,
    /// The first key to print (inclusive)
    #[arg(long, value_name = "KEY")]
    from: Option<OsString>,
    /// Where to stop (exclusive)
    #[arg(long, value_name = "KEY")]
    to: Option<OsString>,
    /// Print only keys that begin with this
    #[arg(long, value_name = "KEY")]
    prefix: Option<OsString>,
    /// Print from the greatest key down
    #[arg(long)]
    reverse: bool,
    /// Print behind each value when it expires, in milliseconds since 1970, or a dash
    #[arg(long)]
    expiry: bool,
    /// Print this many entries at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// Prints key, tab, value for each entry of the range.
pub fn run(args: &ScanArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let key = |flag, argument: &Option<OsString>| {
        argument.as_ref().map(|argument| parse(args.form, flag, argument)).transpose()
    };
    let (from, to) = (key("--from", &args.from)?, key("--to", &args.to)?);
    let range = bounds(from, to, key("--prefix", &args.prefix)?);
    let (db, family) = args.family.open(Missing::Refuse, Missing::Refuse)?;
    if let Some(range) = range {
        let mut scan = family.scan(range);
        let form = args.form.form();
        let mut line = String::new();
        for _ in 0..args.limit.unwrap_or(u64::MAX) {
            let entry = if args.reverse { scan.next_back() } else { scan.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry?;
            line.clear();
            form.print(&mut line, &key);
            line.push('\t');
            form.print(&mut line, &value);
            if args.expiry {
                let expires = scan.expires().map(|time| time.as_millis().to_string());
                line.push('\t');
                line.push_str(expires.as_deref().unwrap_or("-"));
            }
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
    }
    Ok(db.close()?)
}

type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys at or above `from`, below `to` and beginning with `prefix`; `None` where there can be
/// none.
fn bounds(from: Option<Vec<u8>>, to: Option<Vec<u8>>, prefix: Option<Vec<u8>>) -> Option<Range> {
    let prefix = prefix.unwrap_or_default();
    let end = match (successor(&prefix), to) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let start = from.map_or(prefix.clone(), |from| from.max(prefix));
    match end {
        Some(end) if start >= end => None,
        Some(end) => Some((Bound::Included(start), Bound::Excluded(end))),
        None => Some((Bound::Included(start), Bound::Unbounded)),
    }
}

/// The least key above every key that begins with `prefix`, where there is one.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str, prefix: &[u8]) -> Option<Range> {
        let some = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        bounds(some(from), some(to), Some(prefix.to_vec()))
    }

    fn between(start: &[u8], end: &[u8]) -> Option<Range> {
        Some((Bound::Included(start.to_vec()), Bound::Excluded(end.to_vec())))
    }

    #[test]
    fn a_prefix_and_bounds_meet() {
        let all = Some((Bound::Included(Vec::new()), Bound::Unbounded));
        assert_eq!(bounds(None, None, None), all);
        assert_eq!(range("", "", b"ab"), between(b"ab", b"ac"));
        assert_eq!(range("", "", b"a\xff\xff"), between(b"a\xff\xff", b"b"));
        let top = Some((Bound::Included(b"\xff".to_vec()), Bound::Unbounded));
        assert_eq!(range("", "", b"\xff"), top);
        assert_eq!(range("abc", "", b"ab"), between(b"abc", b"ac"));
        assert_eq!(range("aa", "abx", b"ab"), between(b"ab", b"abx"));
        assert_eq!(range("b", "", b"ab"), None);
        assert_eq!(range("", "ab", b"ab"), None);
        assert_eq!(range("b", "a", b""), None);
        assert_eq!(range("a", "a", b""), None);
    }
}
