//! Ingesting whole sources, good and bad.

mod common;

use std::io::{self, Cursor, Read};

use alluvium_events::demo::ClickStream;
use alluvium_events::{
    EventStore, EventsError, Fields, Format, IngestOptions, IngestSummary, OnError, RejectFile,
    ReportOptions, Source,
};
use common::{Place, gzip, log, report};

fn ingest(store: &EventStore, source: &Source) -> Result<IngestSummary, EventsError> {
    store.ingest(source, &IngestOptions::default(), None, &mut |_| {})
}

fn line(user: &str, second: u32, path: &str) -> String {
    format!("{user} - - [17/May/2015:10:05:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 5\n")
}

#[test]
fn the_generator_and_its_log_are_the_same_events() {
    let place = Place::new();
    let mut stream = ClickStream::new(11);
    let mut text = Vec::new();
    (0..5000).for_each(|_| stream.next_click().put_log_line(&mut text));
    let logged = place.store();
    let summary = ingest(&logged, &place.write("log.gz", &gzip(&text))).unwrap();
    assert_eq!((summary.events, summary.rejected, summary.lines), (5000, 0, 5000));
    assert_eq!(summary.bytes, text.len() as u64);

    let generated = common::open(&place.path("generated"));
    generated.ingest_generated(3000, 11, &mut |_| {}).unwrap();
    let rest = generated.ingest_generated(5000, 11, &mut |_| {}).unwrap();
    assert_eq!((rest.events, rest.skipped_lines), (2000, 3000));
    assert_eq!(generated.ingest_generated(5000, 11, &mut |_| {}).unwrap().events, 0);
    assert_eq!(report(&logged), report(&generated));
    let user = &report(&logged).top_users[0].0;
    let times = |store: &EventStore| -> Vec<(i64, Vec<u8>)> {
        let events = store.history(user, None).unwrap();
        events.into_iter().map(|event| (event.time_ms, event.path)).collect()
    };
    assert_eq!(times(&logged), times(&generated));
}

#[test]
fn progress_and_summary_add_up() {
    let place = Place::new();
    let text = log(3000, 1);
    let source = place.write("log", &text);
    let mut rejects = RejectFile::open(&place.path("rejects")).unwrap();
    let mut seen = Vec::new();
    let options = IngestOptions { batch_events: 100, ..IngestOptions::default() };
    let store = place.store();
    let summary =
        store.ingest(&source, &options, Some(&mut rejects), &mut |p| seen.push(*p)).unwrap();
    assert_eq!(summary.lines, 3000);
    let blank = text.split(|byte| *byte == b'\n').filter(|line| line.trim_ascii().is_empty());
    // The last one is what stands behind the last line ending.
    assert_eq!(summary.events + summary.rejected + blank.count() as u64, 3001);
    assert_eq!(summary.rejected_by_kind.values().sum::<u64>(), summary.rejected);
    assert_eq!(summary.bytes, text.len() as u64);
    let last = seen.last().unwrap();
    assert_eq!((last.events, last.rejected), (summary.events, summary.rejected));
    assert_eq!((last.bytes_read, last.bytes_total), (summary.bytes, Some(summary.bytes)));
    assert!(seen.len() > 20 && seen.is_sorted_by_key(|progress| progress.events));

    let report = report(&store);
    assert_eq!((report.events, report.rejected), (summary.events, summary.rejected));
    let listed = std::fs::read_to_string(place.path("rejects")).unwrap();
    let kinds = listed.lines().map(|line| line.split('\t').nth(2).unwrap());
    for (kind, count) in &summary.rejected_by_kind {
        assert_eq!(kinds.clone().filter(|known| known == kind).count() as u64, *count, "{kind}");
    }
}

#[test]
fn a_reject_file_says_where_what_and_why() {
    let place = Place::new();
    let text = format!("{}\n{}a\tb\\c\u{1}é", line("u", 1, "/x"), line("u", 2, "/y"));
    let source = place.write("log", &[text.as_bytes(), b"\xff\n"].concat());
    let mut rejects = RejectFile::open(&place.path("rejects")).unwrap();
    let store = place.store();
    let options = IngestOptions { format: Format::Common, ..IngestOptions::default() };
    store.ingest(&source, &options, Some(&mut rejects), &mut |_| {}).unwrap();
    let listed = std::fs::read_to_string(place.path("rejects")).unwrap();
    let name = place.path("log").display().to_string();
    let detail = "the line does not begin with host, ident and user, a space between";
    assert_eq!(listed, format!("{name}\t4\tbad_host\t{detail}\ta\\tb\\\\c\\u{{1}}é\\xff\n"));
}

#[test]
fn a_malformed_line_can_stop_the_run() {
    let place = Place::new();
    let text = format!("{}{}junk\n{}", line("u", 1, "/1"), line("u", 2, "/2"), line("u", 3, "/3"));
    let source = place.write("log", text.as_bytes());
    let store = place.store();
    let stop = IngestOptions { on_error: OnError::Stop, ..IngestOptions::default() };
    for _ in 0..2 {
        let error = store.ingest(&source, &stop, None, &mut |_| {}).unwrap_err();
        assert!(matches!(error, EventsError::Stopped { line: 3, kind: "bad_host", .. }), "{error}");
        assert_eq!((report(&store).events, report(&store).rejected), (2, 0));
    }
    let rest = ingest(&store, &source).unwrap();
    assert_eq!((rest.events, rest.rejected, rest.skipped_lines), (1, 1, 2));
    assert_eq!((report(&store).events, report(&store).rejected), (3, 1));
}

#[test]
fn what_is_no_log_leaves_the_store_as_it_was() {
    let place = Place::new();
    let store = place.store();
    ingest(&store, &place.write("log", line("u", 1, "/").as_bytes())).unwrap();
    let before = report(&store);
    for (name, bytes, part) in [
        ("empty", &b""[..], "is empty"),
        ("empty.gz", &gzip(b""), "is empty"),
        ("cut.gz", &gzip(line("u", 1, "/").as_bytes())[..12], "is cut off"),
        ("binary", b"\0\x01\x02\x03\n", "binary data"),
        ("letter", b"Dear all,\nno log here.\n", "no known format"),
        ("zip", b"PK\x03\x04", "a zip archive"),
        ("table", b"colour,shape\nred,round\n", "--time, --user and --path"),
    ] {
        let error = ingest(&store, &place.write(name, bytes)).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(name), "{error}");
    }
    let error = ingest(&store, &Source::File(place.path("none"))).unwrap_err();
    assert!(matches!(error, EventsError::Open { .. }));
    let error = ingest(&store, &Source::File(place.path(""))).unwrap_err();
    assert!(matches!(error, EventsError::Directory { .. }));
    assert_eq!(report(&store), before);
}

#[test]
fn a_cut_archive_is_continued_when_it_is_whole() {
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, |bytes| zstd::encode_all(bytes, 1).unwrap()] {
        let place = Place::new();
        let text = log(20_000, 5);
        let packed = pack(&text);
        let store = place.store();
        for _ in 0..2 {
            let source = place.write("log", &packed[..packed.len() / 2]);
            let error = ingest(&store, &source).unwrap_err();
            assert!(matches!(error, EventsError::Truncated { .. }), "{error}");
        }
        let half = report(&store).events;
        assert!(half > 1000, "{half}");
        let source = place.write("log", &packed);
        let rest = ingest(&store, &source).unwrap();
        assert!(rest.skipped_lines > 1000);
        assert_eq!(rest.skipped_lines + rest.lines, 20_000);
        let whole = common::open(&place.path("whole"));
        ingest(&whole, &source).unwrap();
        assert_eq!(report(&store), report(&whole));
        // What was read stays when the file is cut again.
        let error = ingest(&store, &place.write("log", &packed[..packed.len() / 2])).unwrap_err();
        assert!(matches!(error, EventsError::Truncated { .. }), "{error}");
        assert_eq!(report(&store), report(&whole));
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_counted_and_not_held() {
    let text = line("u", 1, "/1").into_bytes();
    let long = io::repeat(b'x').take(100_000_000);
    let rest = Cursor::new(format!("\n{}", line("u", 2, "/2")));
    let place = Place::new();
    let store = place.store();
    let mut rejects = RejectFile::open(&place.path("rejects")).unwrap();
    let reader = Cursor::new(text).chain(long).chain(rest);
    let options = IngestOptions::default();
    let summary =
        store.ingest_reader("pipe", reader, &options, Some(&mut rejects), &mut |_| {}).unwrap();
    assert_eq!((summary.events, summary.rejected, summary.lines), (2, 1, 3));
    assert_eq!(summary.rejected_by_kind.get("line_too_long"), Some(&1));
    let listed = std::fs::read(place.path("rejects")).unwrap();
    assert!(listed.len() < 10_000, "{}", listed.len());
}

#[test]
fn times_that_cannot_be_stored_are_malformed() {
    let place = Place::new();
    let text = "time,user,path\n1969-12-31T23:59:59Z,u,/a\n2262-04-12,u,/b\n1970-01-01,u,/c\n\
                2262-04-11T23:47:16Z,u,/d\n99999999999,u,/e\nnever,u,/f\n";
    let store = place.store();
    let summary = ingest(&store, &place.write("log.csv", text.as_bytes())).unwrap();
    assert_eq!(summary.events, 2);
    assert_eq!(summary.rejected_by_kind.get("time_out_of_range"), Some(&3));
    assert_eq!(summary.rejected_by_kind.get("bad_time"), Some(&1));
    let report = report(&store);
    assert_eq!((report.first, report.last), (Some(0), Some(9_223_372_036_000)));
    let events = store.history("u", None).unwrap();
    let lines: Vec<u64> = events.iter().map(|event| event.line).collect();
    assert_eq!(lines, [4, 5]);
}

#[test]
fn csv_records_over_several_lines_keep_their_numbers() {
    let place = Place::new();
    let text = "time,user,path\r\n1,\"a\nb\",/1\r\n3,c,\"/3\"\"x\"\r\n2,\"open,/2\r\n4,d,/4\r\n";
    let store = place.store();
    let source = place.write("log.csv", text.as_bytes());
    let summary = ingest(&store, &source).unwrap();
    assert_eq!((summary.events, summary.rejected, summary.lines), (3, 1, 6));
    assert_eq!(store.history("a\nb", None).unwrap()[0].line, 2);
    let event = &store.history("c", None).unwrap()[0];
    assert_eq!((event.line, &event.path[..]), (4, &b"/3\"x"[..]));
    assert_eq!(store.history("d", None).unwrap()[0].line, 6);
}

#[test]
fn ties_keep_the_order_of_input_and_ranges_are_half_open() {
    let place = Place::new();
    let store = place.store();
    let first = format!("{}{}", line("u", 5, "/b"), line("u", 5, "/a"));
    let second = format!("{}{}", line("u", 5, "/0"), line("u", 4, "/early"));
    ingest(&store, &place.write("z", first.as_bytes())).unwrap();
    ingest(&store, &place.write("a", second.as_bytes())).unwrap();
    let events = store.history("u", None).unwrap();
    let paths: Vec<String> =
        events.iter().map(|event| String::from_utf8_lossy(&event.path).into()).collect();
    assert_eq!(paths, ["/early", "/b", "/a", "/0"]);
    assert_eq!(events[0].to_json()["time"], "2015-05-17T10:05:04Z");
    assert_eq!(store.history("u", Some(2)).unwrap(), events[..2]);
    assert!(store.history("", None).unwrap().is_empty());

    let at = events[1].time_ms;
    let count = |from, to| store.report(&ReportOptions { from, to, top: 1 }).unwrap().events;
    assert_eq!(count(Some(at), None), 3);
    assert_eq!(count(None, Some(at)), 1);
    assert_eq!(count(Some(at), Some(at + 1)), 3);
    assert_eq!(count(Some(at + 1), Some(at)), 0);
    assert_eq!(count(Some(-5), Some(at)), 1);
    assert_eq!(count(None, Some(-5)), 0);
}

#[test]
fn sessions_end_after_more_than_thirty_minutes() {
    let place = Place::new();
    let mut text = String::from("time,user,path\n");
    for (time, user) in [
        (0, "a"),
        (1_800, "a"), // exactly 30 minutes: the same session
        (3_601, "a"), // a second more: another
        (3_601, "a"),
        (10, "b"),
        (9_000, "b"),
    ] {
        text += &format!("{time},{user},/\n");
    }
    let store = place.store();
    ingest(&store, &place.write("log", text.as_bytes())).unwrap();
    let options = ReportOptions { from: Some(1_000_000), ..ReportOptions::default() };
    assert_eq!(report(&store).sessions, 4);
    assert_eq!(store.report(&options).unwrap().sessions, 3);
}

#[test]
fn top_lists_order_by_count_and_then_by_bytes() {
    let place = Place::new();
    let mut text = String::from("time,user,path\n");
    for (user, events) in [("b", 2), ("a", 2), ("Z", 2), ("é", 3), ("c", 1), ("ba", 1)] {
        (0..events).for_each(|_| text += &format!("1,{user},/\n"));
    }
    let store = place.store();
    ingest(&store, &place.write("log", text.as_bytes())).unwrap();
    let top = |top| {
        let options = ReportOptions { top, ..ReportOptions::default() };
        store.report(&options).unwrap().to_json()["top_users"].clone()
    };
    let all = serde_json::json!([["é", 3], ["Z", 2], ["a", 2], ["b", 2], ["ba", 1], ["c", 1]]);
    for length in 0..8 {
        let expected: Vec<_> = all.as_array().unwrap().iter().take(length).cloned().collect();
        assert_eq!(top(length), serde_json::Value::from(expected));
    }
}

#[test]
fn a_report_of_nothing() {
    let place = Place::new();
    let json = report(&place.store()).to_json();
    assert_eq!(json["events"], 0);
    assert!(json["first"].is_null() && json["last"].is_null());
    assert_eq!(json["top_users"], serde_json::json!([]));
    assert_eq!(json["hours"], serde_json::json!({}));
    assert_eq!(json["bytes"], 0);
}

#[test]
fn byte_counts_may_be_negative_and_missing_is_not_zero() {
    let place = Place::new();
    let text = "{\"time\":1,\"user\":\"u\",\"path\":\"/\",\"d\":-7}\n\
                {\"time\":2,\"user\":\"u\",\"path\":\"/\",\"d\":0}\n\
                {\"time\":3,\"user\":\"u\",\"path\":\"/\",\"d\":null}\n\
                {\"time\":4,\"user\":\"u\",\"path\":\"/\"}\n\
                {\"time\":5,\"user\":\"u\",\"path\":\"/\",\"d\":\"many\"}\n";
    let store = place.store();
    let fields = Fields { bytes: Some("d".into()), ..Fields::default() };
    let options = IngestOptions { fields, ..IngestOptions::default() };
    store.ingest(&place.write("log", text.as_bytes()), &options, None, &mut |_| {}).unwrap();
    let report = report(&store);
    assert_eq!((report.events, report.rejected), (4, 1));
    assert_eq!((report.bytes, report.missing_bytes), (-7, 2));
    assert_eq!(report.to_json()["bytes"], -7);
}

#[test]
fn a_store_without_events_says_so() {
    let place = Place::new();
    let directory = place.path("plain");
    let options = alluvium::Options::default;
    alluvium::Db::open(&directory, options()).unwrap().close().unwrap();
    let error = EventStore::open(&directory, false, options()).unwrap_err();
    assert!(matches!(error, EventsError::NotAnEventStore { .. }), "{error}");
    let missing = EventStore::open(&place.path("missing"), false, options()).unwrap_err();
    assert!(matches!(missing, EventsError::Store(_)), "{missing}");
}

/// Each family has the options of its name from its first moment on.
#[test]
fn families_are_made_with_the_options_of_their_names() {
    let place = Place::new();
    let own = |memtable_bytes| alluvium::ColumnFamilyOptions {
        memtable_bytes,
        ..alluvium::ColumnFamilyOptions::default()
    };
    let options = alluvium::Options {
        column_families: vec![("by_user".to_owned(), own(16 << 10))],
        ..alluvium::Options::default()
    };
    let store = EventStore::open(&place.path("store"), true, options).unwrap();
    store.ingest_generated(20_000, 1, &mut |_| {}).unwrap();
    store.db().wait_idle().unwrap();
    let tables = |name: &str| {
        let stats = store.db().stats();
        let family = stats.families.iter().find(|family| family.name == name).unwrap();
        family.levels.iter().map(|level| level.tables).sum::<usize>()
    };
    assert!(tables("by_user") > 0, "its memtables are small");
    assert_eq!(tables("events"), 0, "those of others are not");
}
