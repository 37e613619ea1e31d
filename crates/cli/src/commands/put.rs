//! `alluvium put`: stores one value.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::parse;
use crate::failure::Failure;
use crate::output::bytes::FormArgs;
use crate::store::{FamilyArgs, Missing};

/// The arguments of `put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    form: FormArgs,
    /// How long the value lives: a number and ms, s, m, h or d, as in 90s or 30d
    #[arg(long, value_name = "TIME", value_parser = time_to_live)]
    ttl: Option<Duration>,
    /// The key
    key: OsString,
    /// The value
    value: OsString,
}

/// Stores the value, on disk before it returns.
pub fn run(args: &PutArgs) -> Result<(), Failure> {
    let key = parse(args.form, "KEY", &args.key)?;
    let value = parse(args.form, "VALUE", &args.value)?;
    let (db, family) = args.family.open(Missing::Create, Missing::Create)?;
    match args.ttl {
        Some(ttl) => family.put_with_ttl(&key, &value, ttl)?,
        None => family.put(&key, &value)?,
    }
    Ok(db.close()?)
}

/// A whole number and a unit; one too large to be counted is for ever.
fn time_to_live(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a time is a number and ms, s, m, h or d, as in 90s or 30d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is no number of 64 bits"))?;
    Ok(Duration::from_millis(number.saturating_mul(unit_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_and_a_unit() {
        let ms = |text| time_to_live(text).map(|time| time.as_millis());
        let expected = [("0ms", 0), ("7ms", 7), ("90s", 90_000), ("5m", 300_000)];
        for (text, value) in expected {
            assert_eq!(ms(text), Ok(value), "{text}");
        }
        assert_eq!((ms("2h"), ms("30d")), (Ok(7_200_000), Ok(2_592_000_000)));
        assert_eq!(ms("18446744073709551615d"), Ok(u128::from(u64::MAX)), "for ever");
        for text in ["", "9", "s", "-1s", "1.5h", "1 s", "18446744073709551616s"] {
            assert!(ms(text).is_err(), "{text}");
        }
    }
}
