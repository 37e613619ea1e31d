//! Bytes as arguments and as output, and back.

use std::ffi::OsStr;

use super::*;

fn printed(form: Form, bytes: &[u8]) -> String {
    let mut line = String::new();
    form.print(&mut line, bytes);
    line
}

#[test]
fn what_a_terminal_shows_stays_and_the_rest_is_escaped() {
    for (bytes, expected) in [
        (&b"plain text"[..], "plain text"),
        ("Grüße, 世界 🌍".as_bytes(), "Grüße, 世界 🌍"),
        (b"a\tb\nc\rd\\e", r"a\tb\nc\rd\\e"),
        (b"\0\x1b[31m\x7f", r"\x00\x1b[31m\x7f"),
        (b"\xff\xc3", r"\xff\xc3"),
        (b"ok \xe4\xb8 cut", r"ok \xe4\xb8 cut"),
        (
            "\u{85}\u{2028}\u{202e}\u{feff}".as_bytes(),
            r"\xc2\x85\xe2\x80\xa8\xe2\x80\xae\xef\xbb\xbf",
        ),
        (b"", ""),
    ] {
        assert_eq!(printed(Form::Escaped, bytes), expected);
        assert_eq!(printed(Form::Text, bytes), expected);
    }
    assert_eq!(printed(Form::Hex, b"\0k\xff"), "006bff");
}

#[test]
fn every_pair_of_bytes_survives_printing_and_reading() {
    for high in 0..=255_u8 {
        for low in 0..=255_u8 {
            let bytes = [high, low, b'n', low];
            for form in [Form::Escaped, Form::Hex] {
                let line = printed(form, &bytes);
                assert!(!line.contains(['\n', '\t']), "{line}");
                assert_eq!(form.parse(OsStr::new(&line)), Ok(bytes.to_vec()), "{line}");
            }
        }
    }
}

#[test]
fn text_is_taken_byte_for_byte() {
    let argument = OsStr::from_bytes(b"\\n\xff");
    assert_eq!(Form::Text.parse(argument), Ok(b"\\n\xff".to_vec()));
    assert_eq!(Form::Escaped.parse(OsStr::new(r"\n\x0A\0")), Ok(b"\n\n\0".to_vec()));
    assert_eq!(Form::Hex.parse(OsStr::new("00Ff")), Ok(vec![0, 255]));
}

#[test]
fn what_is_no_form_is_refused_with_a_reason() {
    for (form, argument, reason) in [
        (Form::Escaped, r"a\", "a lone \\ at the end"),
        (Form::Escaped, r"a\q", "\\q is no escape"),
        (Form::Escaped, r"a\x4", "two hexadecimal digits"),
        (Form::Escaped, r"a\xg0", "two hexadecimal digits"),
        (Form::Hex, "abc", "3 hexadecimal digits"),
        (Form::Hex, "zz", "zz is no pair"),
        (Form::Hex, "é", "is no pair"),
    ] {
        let error = form.parse(OsStr::new(argument)).expect_err("it must be refused");
        assert!(error.contains(reason), "{error}");
    }
}

/// Whatever stands on the command line is bytes or a sentence, and bytes come back from their text.
#[test]
fn any_argument_is_bytes_or_a_reason() {
    // SplitMix64, so that a failure is the same every time.
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    const PIECES: [&[u8]; 14] = [
        b"\\",
        b"\\x",
        b"\\0",
        b"\\n",
        b"4",
        b"f",
        b"G",
        b"\xff",
        b"\xc3",
        b"\0",
        b"\t",
        b"x",
        "\u{202e}".as_bytes(),
        b" ",
    ];
    for _ in 0..200_000 {
        let mut argument = Vec::new();
        for _ in 0..next() % 9 {
            argument.extend_from_slice(PIECES[(next() % 14) as usize]);
        }
        for form in [Form::Text, Form::Escaped, Form::Hex] {
            match form.parse(OsStr::from_bytes(&argument)) {
                Ok(bytes) if form != Form::Text => {
                    let line = printed(form, &bytes);
                    assert_eq!(form.parse(OsStr::new(&line)), Ok(bytes), "{line}");
                }
                Ok(bytes) => assert_eq!(bytes, argument),
                Err(reason) => assert!(!reason.is_empty() && reason.len() < 200, "{reason}"),
            }
        }
    }
}
