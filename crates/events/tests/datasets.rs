//! Real logs, ingested and reported, against what an independent program found in them.
//!
//! The data are not part of this repository. They are looked for in the folder that the environment
//! variable `ALLUVIUM_DATA` names, else in `shared/data` beside the repository; a data set that is
//! not there is skipped with a note.

use std::io::Write;
use std::path::{Path, PathBuf};

use alluvium_events::{
    EventStore, Fields, IngestOptions, Report, ReportOptions, Source, TIME_MAX_MS,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A data set: its folder and files, the fields of an event, and what `expected.json` calls them.
struct DataSet {
    folder: &'static str,
    files: &'static [&'static str],
    fields: [Option<&'static str>; 3],
    user: &'static str,
    path: &'static str,
    milliseconds: bool,
}

const APACHE: DataSet = DataSet {
    folder: "apache_semicomplete",
    files: &["access.log.gz"],
    fields: [None; 3],
    user: "ip",
    path: "path",
    milliseconds: false,
};
const NASA: DataSet = DataSet {
    folder: "nasa_19950801",
    files: &["nasa_19950801.tsv.gz"],
    fields: [None; 3],
    user: "host",
    path: "path",
    milliseconds: false,
};
const WIKITICKER: DataSet = DataSet {
    folder: "wikiticker_20150912",
    files: &["wikiticker.json.gz"],
    fields: [None; 3],
    user: "user",
    path: "page",
    milliseconds: true,
};
const GHARCHIVE: DataSet = DataSet {
    folder: "gharchive_min",
    files: &["2015-02-22-21.json.gz", "2015-02-22-22.json.gz", "2015-02-22-23.json.gz"],
    fields: [Some("dt"), Some("actor"), Some("repo")],
    user: "actor",
    path: "repo",
    milliseconds: false,
};
const MIMIC: DataSet = DataSet {
    folder: "mimic_ui",
    files: &["events_sid1-300.ndjson.gz"],
    fields: [Some("ts"), Some("sid"), Some("{tag}#{id}")],
    user: "sid",
    path: "target",
    milliseconds: true,
};

/// A data set in a store of its own.
struct Ingested {
    store: EventStore,
    expected: Value,
    set: DataSet,
    _directory: tempfile::TempDir,
}

fn data_folder(set: &DataSet) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("ALLUVIUM_DATA").map_or_else(beside, PathBuf::from);
    let folder = data.join(set.folder);
    if folder.join("expected.json").is_file() {
        return Some(folder);
    }
    // Not `eprintln!`: the test harness would keep it to itself.
    let note = format!("skipped: {} is not there\n", folder.display());
    std::io::stderr().write_all(note.as_bytes()).unwrap();
    None
}

fn ingest(set: DataSet, status: Option<&str>, bytes: Option<&str>) -> Option<Ingested> {
    let folder = data_folder(&set)?;
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store =
        EventStore::open(&directory.path().join("store"), true, Default::default()).unwrap();
    let owned = |name: Option<&str>| name.map(str::to_string);
    let [time, user, path] = set.fields.map(owned);
    let fields = Fields { time, user, path, status: owned(status), bytes: owned(bytes) };
    let options = IngestOptions { fields, ..IngestOptions::default() };
    for file in set.files {
        let source = Source::File(folder.join(file));
        store.ingest(&source, &options, None, &mut |_| {}).unwrap();
        // A second time adds nothing.
        let again = store.ingest(&source, &options, None, &mut |_| {}).unwrap();
        assert_eq!((again.events, again.rejected, again.lines), (0, 0, 0));
    }
    Some(Ingested { store, expected, set, _directory: directory })
}

impl Ingested {
    fn report(&self, from: Option<i64>, to: Option<i64>) -> Report {
        self.store.report(&ReportOptions { from, to, top: 10 }).unwrap()
    }

    /// A time of `expected.json` in milliseconds.
    fn ms(&self, time: &Value) -> i64 {
        time.as_i64().unwrap() * if self.set.milliseconds { 1 } else { 1000 }
    }

    /// Everything that every data set has.
    fn check(&self) {
        let (user, path) = (self.set.user, self.set.path);
        let expected = &self.expected;
        let whole = self.report(None, None);
        let report = whole.to_json();
        assert_eq!(report["events"], expected["events_ok"]);
        assert_eq!(report["rejected"], expected["malformed_total"]);
        assert_eq!(whole.first, Some(self.ms(&expected["time"]["min"])));
        assert_eq!(whole.last, Some(self.ms(&expected["time"]["max"])));
        let second = |text: &Value| text.as_str().unwrap()[..19].to_string();
        assert_eq!(second(&report["first"]), second(&expected["time"]["min_iso"]));
        assert_eq!(second(&report["last"]), second(&expected["time"]["max_iso"]));
        assert_eq!(report["hours"], expected["events_per_hour_utc"]);
        assert_eq!(report["distinct_users"], expected[format!("distinct_{user}")]);
        assert_eq!(report["distinct_paths"], expected[format!("distinct_{path}")]);
        assert_eq!(report["top_users"], expected[format!("top10_{user}")]);
        assert_eq!(report["top_paths"], expected[format!("top10_{path}")]);
        assert_eq!(report["sessions"], expected["sessions_gap_1800s"]);
        self.check_ranges();
        self.check_histories();
    }

    fn check_ranges(&self) {
        let path = self.set.path;
        let ranges = self.expected["time_range_counts"].as_array().unwrap();
        assert!(!ranges.is_empty());
        for range in ranges {
            let (from, to) = (self.ms(&range["from_inclusive"]), self.ms(&range["to_exclusive"]));
            let report = self.report(Some(from), Some(to));
            assert_eq!(json!(report.events), range["events"], "{range}");
        }
        let hours = self.expected[format!("distinct_{}_per_hour_utc", self.set.user)].as_object();
        for (hour, distinct) in hours.unwrap() {
            let from = alluvium_events::parse_time_argument(hour).unwrap();
            let report = self.report(Some(from), Some(from + 3_600_000));
            assert_eq!(json!(report.distinct_users), *distinct, "{hour}");
        }
        let busiest = &self.expected["busiest_hour"];
        let from = alluvium_events::parse_time_argument(busiest["hour"].as_str().unwrap()).unwrap();
        let options = ReportOptions { from: Some(from), to: Some(from + 3_600_000), top: 5 };
        let report = self.store.report(&options).unwrap().to_json();
        assert_eq!(report["events"], busiest["events"]);
        assert_eq!(report["top_paths"], busiest[format!("top5_{path}")]);
        assert_eq!(self.report(Some(0), Some(0)).events, 0);
        let all = self.report(Some(0), Some(TIME_MAX_MS));
        assert_eq!(json!(all.events), self.expected["events_ok"]);
    }

    fn check_histories(&self) {
        let (user, path) = (self.set.user, self.set.path);
        let checks = self.expected[format!("{user}_history_spot_checks")].as_array().unwrap();
        assert!(!checks.is_empty());
        for check in checks {
            let name = check[user].as_str().unwrap();
            let mut events = self.store.history(name, None).unwrap();
            assert_eq!(json!(events.len()), check["events"], "{name}");
            assert!(events.is_sorted_by_key(|event| (event.time_ms, event.source_id, event.line)));
            assert_eq!(events[0].time_ms, self.ms(&check["first_ts"]), "{name}");
            assert_eq!(events.last().unwrap().time_ms, self.ms(&check["last_ts"]), "{name}");
            assert_eq!(self.store.history(name, Some(1)).unwrap(), events[..1]);
            events.sort_by_key(|event| (event.source_id, event.line));
            let mut hash = Sha256::new();
            for event in &events {
                hash.update(&event.path);
                hash.update(b"\n");
            }
            let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            let key = format!("sha256_of_{path}_values_file_order_each_followed_by_LF");
            assert_eq!(json!(hash), check[key], "{name}");
        }
    }

    /// The sum of the byte field that was chosen.
    fn check_sum(&self, name: &str) {
        let report = self.report(None, None).to_json();
        assert_eq!(report["bytes"], self.expected[format!("sum_{name}")], "{name}");
        assert_eq!(report["missing_bytes"], self.expected[format!("missing_{name}")], "{name}");
    }

    /// The histogram of the status field that was chosen.
    fn check_histogram(&self, name: &str) {
        let report = self.report(None, None).to_json();
        assert_eq!(report["status"], self.expected[format!("hist_{name}")], "{name}");
    }
}

#[test]
fn apache_semicomplete() {
    let Some(ingested) = ingest(APACHE, None, None) else { return };
    ingested.check();
    ingested.check_sum("bytes");
    ingested.check_histogram("status");
}

#[test]
fn nasa_19950801() {
    let Some(ingested) = ingest(NASA, None, None) else { return };
    ingested.check();
    ingested.check_sum("bytes");
    ingested.check_histogram("status");
}

#[test]
fn wikiticker_20150912() {
    let Some(ingested) = ingest(WIKITICKER, Some("channel"), Some("added")) else { return };
    ingested.check();
    ingested.check_sum("added");
    ingested.check_histogram("channel");
    for sum in ["deleted", "delta"] {
        ingest(WIKITICKER, None, Some(sum)).unwrap().check_sum(sum);
    }
}

#[test]
fn gharchive_min() {
    let Some(ingested) = ingest(GHARCHIVE, Some("type"), Some("commits")) else { return };
    ingested.check();
    ingested.check_sum("commits");
    ingested.check_histogram("type");
}

#[test]
fn mimic_ui() {
    let Some(ingested) = ingest(MIMIC, Some("type"), None) else { return };
    ingested.check();
    ingested.check_histogram("type");
}
