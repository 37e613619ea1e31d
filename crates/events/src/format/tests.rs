//! Lines of every format, good, broken and arbitrary.

use proptest::prelude::*;

use super::*;

const LINE: &str = concat!(
    r#"83.149.9.216 - frank [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023"#,
    r#" "http://x/" "Mozilla/5.0 (X; \"q\")""#
);

fn head(bytes: &[u8]) -> Head<'_> {
    Head { bytes, whole: true }
}

fn log_kind(line: &str, combined: bool) -> &'static str {
    match log::parse(line.as_bytes(), combined) {
        Ok(_) => "ok",
        Err(reject) => reject.kind.name(),
    }
}

fn fields(time: &str, user: &str, path: &str) -> Fields {
    let some = |name: &str| Some(name.to_string());
    Fields { time: some(time), user: some(user), path: some(path), ..Fields::default() }
}

/// Chooses a parser for `text` and parses each of its lines: `user path time` or the kind.
fn read(text: &str, format: Format, fields: &Fields) -> Vec<String> {
    let mut chosen = choose(head(text.as_bytes()), format, fields, "test").unwrap();
    let records = &text[usize::try_from(chosen.start).unwrap()..];
    records.lines().map(|line| show(chosen.parser.parse(line.as_bytes()))).collect()
}

fn show(parsed: Result<Parsed<'_>, Reject>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match parsed {
        Err(reject) => reject.kind.name().to_string(),
        Ok(event) => {
            let mut shown = format!("{} {} {}", event.time_ms, text(event.user), text(event.path));
            for part in [event.status, event.method].into_iter().flatten() {
                shown += &format!(" {}", text(part));
            }
            event.bytes.iter().for_each(|bytes| shown += &format!(" {bytes}"));
            shown
        }
    }
}

#[test]
fn a_combined_line() {
    let event = log::parse(LINE.as_bytes(), true).unwrap();
    assert_eq!(event.time_ms, 1_431_857_103_000);
    assert_eq!(event.user, b"83.149.9.216");
    assert_eq!(event.path, b"/a?b=c");
    assert_eq!(event.status, Some(&b"200"[..]));
    assert_eq!(event.bytes, Some(203_023));
    assert_eq!(event.method, Some(&b"GET"[..]));
}

#[test]
fn log_lines_are_valid_only_whole() {
    let common = LINE.split(" \"http").next().unwrap();
    assert_eq!(log_kind(common, false), "ok");
    assert_eq!(log_kind(common, true), "referer_missing");
    assert_eq!(log_kind(LINE, false), "trailing_text");
    for (from, to, kind) in [
        (" frank", "", "time_bracket_missing"),
        ("83.149.9.216 ", " ", "bad_host"),
        ("[17", "17", "time_bracket_missing"),
        ("+0000]", "+0000", "time_bracket_missing"),
        ("May", "Mai", "bad_time"),
        ("2015:10", "1969:10", "time_out_of_range"),
        ("\"GET", "GET", "request_quote_missing"),
        ("] \"", "]\"", "request_quote_missing"),
        (" HTTP/1.1", "", "request_not_three_words"),
        ("/a?b=c", "/a b", "request_not_three_words"),
        ("GET ", " ", "request_not_three_words"),
        (" 200 ", " 20 ", "bad_status"),
        (" 200 ", " 2000 ", "bad_status"),
        ("1\" 200", "1\"200", "bad_status"),
        ("203023", "20x", "bad_bytes"),
        ("203023", "", "bad_bytes"),
        ("203023", "-1", "bad_bytes"),
        ("203023", "99999999999999999999", "bad_bytes"),
        ("203023", "-", "ok"),
        ("203023", "0", "ok"),
        ("\"http://x/\" ", "", "user_agent_missing"),
        ("\"http://x/\"", "http", "referer_missing"),
        ("/\" \"M", "/ M", "user_agent_missing"),
        (")\"", ")", "user_agent_quote_never_closed"),
        (")\"", ")\\\"", "user_agent_quote_never_closed"),
        (")\"", ")\\", "user_agent_quote_never_closed"),
        (")\"", ")\" ", "trailing_text"),
        (")\"", ")\" \"more\"", "trailing_text"),
    ] {
        let line = LINE.replacen(from, to, 1);
        assert_ne!(line, LINE, "{from:?} is not in the line");
        assert_eq!(log_kind(&line, true), kind, "{line}");
    }
    let open = r#"h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1 200 5"#;
    assert_eq!(log_kind(open, true), "request_quote_never_closed");
    let open = r#"h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "x y"#;
    assert_eq!(log_kind(open, true), "referer_quote_never_closed");
}

#[test]
fn a_missing_byte_count_is_not_zero_and_bytes_need_not_be_text() {
    let line = LINE.replace("203023", "-");
    assert_eq!(log::parse(line.as_bytes(), true).unwrap().bytes, None);
    let mut line = LINE.as_bytes().to_vec();
    let at = LINE.find("a?b").unwrap();
    line[at] = 0xff;
    assert_eq!(log::parse(&line, true).unwrap().path, b"/\xff?b=c");
    let escaped = LINE.replace("/a?b=c", "/a\\\"b");
    assert_eq!(log::parse(escaped.as_bytes(), true).unwrap().path, b"/a\\\"b");
}

#[test]
fn ndjson_values() {
    let wanted = Fields {
        status: Some("s".into()),
        bytes: Some("n".into()),
        ..fields("t", "who.name", "{tag}#{id}")
    };
    let lines = [
        (r#"{"t":1000,"who":{"name":"ann"},"tag":"DIV","id":"x"}"#, "1000000 ann DIV#x"),
        (r#"{"who.name":7,"t":"1970-01-01T00:00:01.5Z","tag":null}"#, "1500 7 #"),
        (r#" {"t":1,"who":{"name":"a\u00e9\"b"},"id":1.50} "#, "1000 aé\"b #1.50"),
        (r#"{"t":1,"who":{"name":true},"tag":"","s":404,"n":-5}"#, "1000 true # 404 -5"),
        (r#"{"t":1,"who":{"name":"u"},"s":null,"n":null}"#, "1000 u #"),
        (r#"{"t":1,"who":{"name":"u"},"s":"ok","n":"12.0"}"#, "1000 u # ok 12"),
        (r#"{"t":1,"who":{"name":""}}"#, "1000  #"),
        (r#"{"t":2,"t":1,"who":5,"who":{"name":"u"}}"#, "1000 u #"),
        (r#"{"t":1,"who":{"name":null}}"#, "missing_user"),
        (r#"{"t":1,"who":null}"#, "missing_user"),
        (r#"{"t":1,"who":{"name":["u"]}}"#, "user_not_text"),
        (r#"{"t":1,"who":{"name":"u"},"id":{}}"#, "path_not_text"),
        (r#"{"who":{"name":"u"}}"#, "missing_time"),
        (r#"{"t":"soon","who":{"name":"u"}}"#, "bad_time"),
        (r#"{"t":[1],"who":{"name":"u"}}"#, "bad_time"),
        (r#"{"t":-1,"who":{"name":"u"}}"#, "time_out_of_range"),
        (r#"{"t":1,"who":{"name":"u"},"n":"x"}"#, "bad_bytes"),
        (r#"{"t":1,"who":{"name":"u"},"n":1.5}"#, "bad_bytes"),
        (r#"{"t":1,"who":{"name":"u"},"s":[]}"#, "bad_status"),
        (r#"{"t":1,"who":{"name":"u"}"#, "invalid_json"),
        (r#"{"t":1,"who":{"name":"u"}} x"#, "invalid_json"),
        (r#"{"t":1,"who":{"name":"u"},"x":tru}"#, "invalid_json"),
        (r#"{"t":1,"who":{"name":"\ud800"}}"#, "invalid_json"),
        ("[1]", "not_an_object"),
        ("1", "not_an_object"),
        ("null", "not_an_object"),
        ("hello", "invalid_json"),
    ];
    let text: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
    let read = read(&text.join("\n"), Format::Ndjson, &wanted);
    for ((line, expected), got) in lines.iter().zip(read) {
        assert_eq!(got, *expected, "{line}");
    }
}

#[test]
fn csv_quoting() {
    let text = "a,\"b \"\"x\"\"\",t,u,p\r\n";
    let wanted = fields("t", "u", "p");
    let mut chosen = choose(head(text.as_bytes()), Format::Csv, &wanted, "test").unwrap();
    for (record, expected) in [
        ("1,2,3,ann,/x", "3000 ann /x"),
        ("1,2,3,\"ann, b\",\"/\"\"x\"\"\"", "3000 ann, b /\"x\""),
        ("1,2,3,\"a\nb\",/x", "3000 a\nb /x"),
        ("1,2,3,an\"n,/x", "3000 an\"n /x"),
        (",\"\",3,u,/x", "3000 u /x"),
        ("1,2,3,,/x", "missing_user"),
        ("1,2,3,\"\",/x", "missing_user"),
        ("1,2,3,u", "wrong_field_count"),
        ("1,2,3,u,/x,", "wrong_field_count"),
        ("1,2,3,\"u,/x", "quote_never_closed"),
        ("1,2,3,\"u\"v,/x", "text_after_quote"),
        ("", "wrong_field_count"),
    ] {
        assert_eq!(show(chosen.parser.parse(record.as_bytes())), expected, "{record}");
    }
}

#[test]
fn tsv_has_no_quotes_and_guesses_the_usual_names() {
    let text = "host\tTime\turl\tresponse\tbytes\tmethod\n\
                h\t10\t\"/x\"\t200\t-\tGET\n\
                h\t10\t/x\t\tn/a\t\n";
    let read = read(text, Format::Auto, &Fields::default());
    assert_eq!(read, ["10000 h \"/x\" 200 GET", "10000 h /x"]);
}

#[test]
fn quotes_that_are_open_at_the_end_of_a_line() {
    for (line, open, after) in [
        ("a,b", false, false),
        ("a,\"b", false, true),
        ("\"a", false, true),
        ("\"a\"", false, false),
        ("\"a\"\"", false, true),
        ("a\"b,\"c\",d", false, false),
        ("a\"b,c", false, false),
        ("b\",c", true, false),
        ("b", true, true),
        ("", true, true),
        ("b\"\"", true, true),
        ("b\",\"c", true, true),
        ("\"a\"x,\"b", false, true),
    ] {
        assert_eq!(csv_open_after(line.as_bytes(), open), after, "{line:?} {open}");
    }
}

#[test]
fn formats_are_recognised() {
    let common = LINE.split(" \"http").next().unwrap();
    let named = fields("a", "b", "b");
    for (text, expected) in [
        (format!("{LINE}\n"), "combined"),
        (LINE.to_string(), "combined"),
        (format!("garbage\n\n{LINE}\r\n{common}\n"), "combined"),
        (format!("{common}\n{common}\n{LINE}"), "common"),
        ("\u{feff}{\"a\":1}\n".to_string(), "ndjson"),
        ("broken\n{\"a\":1}\n".to_string(), "ndjson"),
        ("a\tb\n1\t2\n".to_string(), "tsv"),
        ("a,b\n1,2\n".to_string(), "csv"),
        ("a,b\n1,\"x\ny\"\n3,4\n".to_string(), "csv"),
        ("a,b".to_string(), "csv"),
    ] {
        let chosen = choose(head(text.as_bytes()), Format::Auto, &named, "test");
        assert_eq!(chosen.map(|chosen| chosen.format.name()).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_is_no_log_is_refused_with_a_sentence() {
    let refuse = |bytes: &[u8]| {
        choose(head(bytes), Format::Auto, &Fields::default(), "x.bin").unwrap_err().to_string()
    };
    for (bytes, part) in [
        (&b"PK\x03\x04..."[..], "a zip archive"),
        (b"\xff\xfeh\0e\0", "UTF-16"),
        (b"\0\x01\x02\x03", "binary data"),
        (b"Dear reader,\nthis is a letter.\nYours", "no known format"),
        (b"one\ntwo\nthree\n", "no known format"),
        (b"\n\n\n", "no known format"),
        (b"1,2,3\n4,5,6\n", "no known format"),
        (b"colour,shape\nred,round\n", "--time, --user and --path"),
        (b"{\"time\":1,\"shape\":{\"edge\":3}}", "shape.edge and time"),
    ] {
        let sentence = refuse(bytes);
        assert!(sentence.contains(part) && sentence.contains("x.bin"), "{sentence}");
    }
    let named = choose(head(b"\0\0\n"), Format::Combined, &Fields::default(), "x").unwrap_err();
    assert!(matches!(named, EventsError::Binary { .. }));
    let header = choose(head(b"a,b\n"), Format::Csv, &fields("a", "b", "c"), "x").unwrap_err();
    assert_eq!(header.to_string(), "x has no field \"c\"; it has a and b");
}

#[test]
fn field_specifications() {
    for (spec, problem) in [
        ("", "empty"),
        ("{}", "empty"),
        ("{a", "never closed"),
        ("a}b", "never opened"),
        ("{a}}", "never opened"),
    ] {
        let wanted = Fields { user: Some(spec.into()), ..fields("t", "", "p") };
        let error = choose(head(b"{}"), Format::Ndjson, &wanted, "x").unwrap_err().to_string();
        assert!(error.contains(problem), "{spec}: {error}");
    }
    let line = r#"{"t":1,"a":"A","{b}":"B"}"#;
    for (spec, user) in [("{{{a}}}", "{A}"), ("{{b}}", "B"), ("x-{a}-{a}", "x-A-A")] {
        let read = read(line, Format::Ndjson, &fields("t", spec, "a"));
        assert_eq!(read, [format!("1000 {user} A")], "{spec}");
    }
}

#[test]
fn kinds_have_their_own_names() {
    let names: std::collections::BTreeSet<&str> =
        RejectKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), RejectKind::ALL.len());
    let document = include_str!("../../../../docs/events.md");
    for name in names {
        assert!(document.contains(&format!("`{name}`")), "docs/events.md does not name {name}");
    }
}

fn parsers() -> Vec<LineParser> {
    let wanted = Fields {
        status: Some("s".into()),
        bytes: Some("n".into()),
        ..fields("t", "u", "{a.b}/{p}")
    };
    let table = Fields { path: Some("{p}".into()), ..wanted.clone() };
    let chosen = |text: &str, format, fields: &Fields| {
        choose(head(text.as_bytes()), format, fields, "test").unwrap().parser
    };
    vec![
        LineParser::Log { combined: true },
        LineParser::Log { combined: false },
        chosen("{}", Format::Ndjson, &wanted),
        chosen("t,u,p,s,n", Format::Csv, &table),
        chosen("t\tu\tp\ts\tn", Format::Tsv, &table),
    ]
}

/// The ways to read a name's dots double with each dot, and the name may come from the log.
#[test]
fn a_name_of_many_dots_does_not_grow_without_end() {
    let name = format!("time{}", ".".repeat(60));
    let line = format!("{{\"{name}\":5,\"user\":\"u\",\"path\":\"/\"}}");
    let mut chosen =
        choose(head(line.as_bytes()), Format::Auto, &Fields::default(), "test").unwrap();
    assert_eq!(chosen.format, Format::Ndjson);
    assert_eq!(chosen.parser.parse(line.as_bytes()).unwrap().time_ms, 5_000);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for parser in &mut parsers() {
            drop(parser.parse(&bytes));
        }
        drop(choose(head(&bytes), Format::Auto, &Fields::default(), "test"));
        csv_open_after(&bytes, false);
    }

    #[test]
    fn broken_lines_are_parsed_or_refused(
        which in 0usize..3, at in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let json = r#"{"t":1442018818771,"u":"a\u00e9","p":[1,{"x":null}],"a":{"b":1e5},"n":-3}"#;
        let csv = "1442018818771,\"an\"\"n\",/x,200,5";
        let mut line = [LINE, json, csv][which].as_bytes().to_vec();
        let at = at.index(line.len());
        line[at] = byte;
        for parser in &mut parsers() {
            drop(parser.parse(&line));
            drop(parser.parse(&line[..cut.index(line.len())]));
        }
    }

    /// A CSV record that is written with all quotes is read back, and ends where it ends.
    #[test]
    fn csv_round_trip(cells in proptest::collection::vec("[a-c,\"\n ]{1,8}", 3)) {
        let quoted: Vec<String> =
            cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        let record = format!("5,{}", quoted.join(","));
        let wanted = fields("t", "a", "b");
        let mut chosen = choose(head(b"t,a,b,c"), Format::Csv, &wanted, "test").unwrap();
        let event = chosen.parser.parse(record.as_bytes()).unwrap();
        prop_assert_eq!(event.user, cells[0].as_bytes());
        prop_assert_eq!(event.path, cells[1].as_bytes());
        let lines = record.split('\n');
        let open = lines.fold(false, |open, line| csv_open_after(line.as_bytes(), open));
        prop_assert!(!open);
    }

    #[test]
    fn whole_numbers(number in any::<i64>()) {
        prop_assert_eq!(parse_whole(number.to_string().as_bytes()), Some(number));
        prop_assert_eq!(parse_whole(format!("{number}.00").as_bytes()), Some(number));
        prop_assert_eq!(parse_whole(format!("{number}.01").as_bytes()), None);
        prop_assert_eq!(parse_whole(format!("{number}0000000000000000000").as_bytes()),
            (number == 0).then_some(0));
    }
}
