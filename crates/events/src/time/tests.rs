//! Times in every shape, with jiff as the oracle.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn ms(text: &str) -> i64 {
    parse_time(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

#[test]
fn shapes_of_one_moment() {
    for text in [
        "1442018818.771",
        "1442018818771",
        "2015-09-12T00:46:58.771Z",
        "2015-09-12t00:46:58.771z",
        "2015-09-12 00:46:58.771",
        "2015-09-12 00:46:58,771",
        "2015-09-12T00:46:58.771999Z",
        "2015-09-12T02:46:58.771+02:00",
        "2015-09-12T02:46:58.771+0200",
        "2015-09-12T02:46:58.771+02",
        "2015-09-11T19:16:58.771-05:30",
        "2015-09-12 00:46:58.771 UTC",
        "20150912T004658.771Z",
        "1.442018818771e12",
    ] {
        assert_eq!(ms(text), 1_442_018_818_771, "{text}");
    }
    assert_eq!(ms("17/May/2015:10:05:03 +0000"), 1_431_857_103_000);
    assert_eq!(ms("17/May/2015:12:05:03 +0200"), 1_431_857_103_000);
    assert_eq!(ms("2015-09-12"), 1_442_016_000_000);
    assert_eq!(ms("2015-09-12T00:46"), 1_442_018_760_000);
    assert_eq!(ms("2016-12-31T23:59:60Z"), 1_483_228_799_000);
}

#[test]
fn bounds() {
    assert_eq!(ms("1970-01-01T00:00:00Z"), 0);
    assert_eq!(ms("0"), 0);
    assert_eq!(ms("-0"), 0);
    assert_eq!(ms("9223372036"), 9_223_372_036_000);
    assert_eq!(ms("2262-04-11T23:47:16.854Z"), TIME_MAX_MS);
    assert_eq!(ms("99999999999999e-2"), 999_999_999_999);
    for text in [
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "31/Dec/1969:23:59:59 +0000",
        "2262-04-11T23:47:16.855Z",
        "9999-12-31T23:59:59Z",
        "9223372037",
        "99999999999",
        "9223372036855",
        "18446744073709551616",
        "-1",
        "-0.5",
        "1e40",
    ] {
        assert_eq!(parse_time(text.as_bytes()), Err(TimeError::OutOfRange), "{text}");
    }
}

#[test]
fn what_is_no_time() {
    for text in [
        "",
        "-",
        "+",
        ".",
        "x",
        "12:30",
        "2015-13-01",
        "2015-02-29",
        "2015-00-10",
        "2015-01-00",
        "2015-01-01T24:00:00Z",
        "2015-01-01T10:60:00Z",
        "2015-01-01X10:00:00Z",
        "2015-01-01T10:00:00.Z",
        "2015-01-01T10:00:00+1",
        "17/Mai/2015:10:05:03 +0000",
        "17/May/2015:10:05:03",
        "17/May/2015:10:05:03 0000",
        "12a",
        "1.2.3",
        "0x10",
        "\u{ff}",
        "2015-01-01T10:00:00Zjunk",
        "NaN",
        "1e",
    ] {
        assert_eq!(parse_time(text.as_bytes()), Err(TimeError::Malformed), "{text}");
    }
}

#[test]
fn written_with_milliseconds_only_where_there_are_any() {
    assert_eq!(format_time(1_431_857_100_000), "2015-05-17T10:05:00Z");
    assert_eq!(format_time(1_442_018_818_771), "2015-09-12T00:46:58.771Z");
    assert_eq!(format_time(TIME_MAX_MS), "2262-04-11T23:47:16.854Z");
}

#[test]
fn an_argument_that_is_no_time_says_what_would_be() {
    let error = parse_time_argument("yesterday").unwrap_err().to_string();
    assert!(error.contains("yesterday") && error.contains("ISO 8601"), "{error}");
    let error = parse_time_argument("1969-01-01").unwrap_err().to_string();
    assert!(error.contains("1970-01-01") && error.contains("2262-04-11"), "{error}");
}

proptest! {
    #[test]
    fn iso_agrees_with_jiff(at in 0..=TIME_MAX_MS, offset_minutes in -1439i64..1440) {
        let time = Timestamp::from_millisecond(at).unwrap();
        prop_assert_eq!(ms(&time.to_string()), at);
        prop_assert_eq!(ms(&format_time(at)), at);
        let local = Timestamp::from_millisecond(at + offset_minutes * 60_000).unwrap();
        let text = local.to_string();
        let sign = if offset_minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
        let zoned = format!("{}{sign}{hours:02}:{minutes:02}", text.trim_end_matches('Z'));
        prop_assert_eq!(parse_time(zoned.as_bytes()), Ok(at), "{}", zoned);
    }

    #[test]
    fn log_time_agrees_with_jiff(at in 0..=TIME_MAX_MS / 1000) {
        let time = Timestamp::from_second(at).unwrap();
        let text = time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        prop_assert_eq!(parse_log_time(text.as_bytes()), Ok(at * 1000));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = parse_time(&bytes);
    }

    #[test]
    fn anything_like_a_time_is_read_or_refused(text in "[0-9TZ:+./ e-]{0,30}") {
        let _ = parse_time(text.as_bytes());
    }
}
