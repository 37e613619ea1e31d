//! Figures: what an interval leaves, what is taken for live, and a reader of what Prometheus gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::{SeqNo, ValueKind, encode, pack_trailer};
use crate::db::Db;
use crate::db::stats::live::{debt_bytes, live_bytes};
use crate::db::stats::{LevelStats, Stats};
use crate::env::MemEnv;
use crate::metrics::{COUNTERS, StallStats};
use crate::options::{ColumnFamilyOptions, Options};
use crate::version::{TableFacts, TableMeta, Version};

fn busy_store() -> Db {
    let options = Options {
        background_threads: 0,
        column_family: ColumnFamilyOptions {
            memtable_bytes: 4 << 10,
            table_bytes: 4 << 10,
            level1_bytes: 8 << 10,
            level0_tables_compact: 2,
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    };
    let db = Db::open_env(Arc::new(MemEnv::new()), options).unwrap();
    let strange = "a \"name\" \\ with spaces";
    db.create_column_family(strange, ColumnFamilyOptions::default()).unwrap();
    for round in 0..3_u32 {
        for key in 0..300_u32 {
            db.put(key.to_be_bytes(), [round as u8; 40]).unwrap();
            db.get((2 * key).to_be_bytes()).unwrap();
        }
    }
    db.delete(0_u32.to_be_bytes()).unwrap();
    db
}

#[test]
fn an_interval_has_the_sums_of_its_time_alone() {
    let db = busy_store();
    let first = db.stats();
    for key in 0..300_u32 {
        db.put(key.to_be_bytes(), [9; 40]).unwrap();
    }
    let second = db.stats();
    let between = second.since(&first);
    assert_eq!(between.counter("write_operations"), 300);
    assert_eq!(between.write_latency.count, 300);
    assert_eq!(between.sequence_number, second.sequence_number);
    let sums = |stats: &Stats| {
        let level = &stats.families[0].levels[0];
        (level.jobs, level.written_bytes, level.arrived_bytes, level.entries_in, level.jobs_us)
    };
    let (a, b, c) = (sums(&first), sums(&between), sums(&second));
    assert!(b.0 > 0 && b.1 > 0);
    let sum = (a.0 + b.0, a.1 + b.1, a.2 + b.2, a.3 + b.3, a.4 + b.4);
    assert_eq!(sum, c);
    assert!(between.period_seconds < second.period_seconds);
    assert_eq!(second.since(&second).counter("write_operations"), 0);
    assert_eq!(first.since(&second), first, "a store that was opened anew");
}

#[test]
fn the_table_adds_up() {
    let stats = busy_store().stats();
    let levels = &stats.families[0].levels;
    let written: u64 = levels.iter().map(|level| level.written_bytes).sum();
    assert_eq!(written, stats.counter("flush_bytes") + stats.counter("compaction_write_bytes"));
    assert_eq!(levels[0].arrived_bytes, stats.counter("flush_bytes"));
    let read: u64 = levels.iter().map(|level| level.read_bytes).sum();
    assert_eq!(read, stats.counter("compaction_read_bytes"));
    let jobs: u64 = levels.iter().map(|level| level.jobs).sum();
    assert_eq!(jobs, stats.counter("flushes") + stats.counter("compactions"));
    assert_eq!(stats.flush_duration.count, stats.counter("flushes"));
    assert_eq!(stats.compaction_duration.count, stats.counter("compactions"));
    let text = stats.to_string();
    for part in ["w-amp", "  L0 ", "  sum ", "live data ", "stalls: none", "amplification: write "]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let head = text.lines().nth(1).unwrap();
    let widest = text.lines().filter(|line| line.starts_with("  L")).map(str::len).max().unwrap();
    assert_eq!(head.len(), widest, "{text}");
}

fn table(number: u64, keys: (&str, &str), entries: u64, tombstones: u64) -> Arc<TableMeta> {
    let key = |user_key: &str, seq| {
        encode(user_key.as_bytes(), pack_trailer(SeqNo::new(seq), ValueKind::Put))
    };
    Arc::new(
        TableMeta::new(TableFacts {
            number: FileNumber(number),
            bytes: 1_000,
            entries,
            tombstones,
            smallest: key(keys.0, 10 * number + 9),
            largest: key(keys.1, 10 * number),
            smallest_seq: SeqNo::new(10 * number),
            largest_seq: SeqNo::new(10 * number + 9),
            ..TableFacts::default()
        })
        .unwrap(),
    )
}

fn version(tables: &[(usize, Arc<TableMeta>)]) -> Version {
    Version::empty().apply(tables, &[]).unwrap()
}

#[test]
fn what_no_older_table_covers_is_live_less_what_tombstones_delete() {
    assert_eq!(live_bytes(&version(&[])), 0);
    let bottom = [(2, table(1, ("a", "c"), 10, 0)), (2, table(2, ("d", "f"), 10, 0))];
    assert_eq!(live_bytes(&version(&bottom)), 2_000);
    // New versions of what is below; a table between those below and one behind them are new keys.
    let over = [
        (1, table(3, ("b", "b"), 10, 0)),
        (1, table(4, ("ca", "cz"), 10, 0)),
        (0, table(5, ("g", "h"), 10, 0)),
        (0, table(6, ("h", "i"), 10, 0)),
    ];
    let all = [&bottom[..], &over[..]].concat();
    assert_eq!(live_bytes(&version(&all)), 4_000);
    // Five tombstones over twenty entries of 100 bytes each.
    let deletes = [&bottom[..], &[(1, table(3, ("b", "e"), 5, 5))]].concat();
    assert_eq!(live_bytes(&version(&deletes)), 1_500);
    let more = [&bottom[..], &[(1, table(3, ("b", "e"), 50, 50))]].concat();
    assert_eq!(live_bytes(&version(&more)), 0);
}

#[test]
fn debt_is_what_is_over_the_targets() {
    let level = |bytes, score| LevelStats { bytes, score, ..LevelStats::default() };
    assert_eq!(debt_bytes(&[level(500, 0.9), level(1_000, 0.99)]), 0);
    assert_eq!(debt_bytes(&[level(500, 1.0), level(1_000, 2.0), level(90, 0.1)]), 1_000);
}

/// A metric as the format's grammar has it: kind, and samples with sorted labels.
#[derive(Debug, Default)]
struct Metric {
    kind: String,
    samples: BTreeMap<(String, String), f64>,
}

/// Reads the text format, and refuses what its specification does.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()), "help for {name} twice");
            assert!(sentence.ends_with('.'), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name) && !metrics.contains_key(name), "{line}");
            name.clone_into(&mut current);
            metrics.insert(current.clone(), Metric { kind: kind.to_owned(), ..Metric::default() });
        } else {
            let (name, labels, value) = sample(line);
            let metric = metrics.get_mut(&current).unwrap();
            let rest =
                name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} not in its place"));
            let allowed: &[&str] = match metric.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&rest), "{line}");
            assert!(
                metric.samples.insert((rest.to_owned(), labels), value).is_none(),
                "{line} twice"
            );
        }
    }
    metrics
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> (String, String, f64) {
    let (head, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match head.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        None => (head, ""),
    };
    assert!(is_name(name), "{line}");
    let mut rest = labels;
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"").unwrap();
        assert!(is_name(label), "{line}");
        let mut escaped = false;
        let end = quoted.find(|c| match c {
            '\\' if !escaped => {
                escaped = true;
                false
            }
            '"' if !escaped => true,
            c => {
                assert!(!escaped || ['\\', 'n', '"'].contains(&c), "{line}");
                escaped = false;
                false
            }
        });
        let after = &quoted[end.unwrap() + 1..];
        rest = after.strip_prefix(',').unwrap_or_else(|| {
            assert!(after.is_empty(), "{line}");
            after
        });
    }
    (name.to_owned(), labels.to_owned(), value.parse().unwrap())
}

#[test]
fn prometheus_can_read_it_and_nothing_is_left_out() {
    let mut stats = busy_store().stats();
    let cause = "memtables".to_owned();
    stats.stalls = vec![StallStats { cause, count: 2, us: 1_500_000, longest_us: 1_000_000 }];
    let metrics = parse(&stats.to_prometheus());
    let one = |name: &str, labels: &str| {
        metrics[&format!("alluvium_{name}")].samples[&(String::new(), labels.to_owned())]
    };
    let plain = |name: &str| !name.starts_with("stall") && !name.ends_with("_us");
    for (name, _) in COUNTERS.iter().filter(|(name, _)| plain(name)) {
        assert_eq!(one(&format!("{name}_total"), ""), stats.counter(name) as f64, "{name}");
    }
    for (name, metric) in &metrics {
        assert!(name.starts_with("alluvium_") && is_name(name), "{name}");
        assert_eq!(metric.kind == "counter", name.ends_with("_total"), "{name}");
        assert!(!metric.samples.is_empty(), "{name}");
        assert!(!name.ends_with("_us") && !name.ends_with("_ns"), "{name}");
    }
    assert_eq!(one("stall_seconds_total", "cause=\"memtables\""), 1.5);
    let level = "family=\"default\",level=\"1\"";
    assert_eq!(one("level_size_bytes", level), stats.families[0].levels[1].bytes as f64);
    let filters = stats.families[0].levels.iter().map(|level| level.filter_bytes).enumerate();
    let (number, bytes) = filters.max_by_key(|(_, bytes)| *bytes).expect("levels");
    let level = format!("family=\"default\",level=\"{number}\"");
    assert!(bytes > 0 && one("level_filter_bytes", &level) == bytes as f64);
    assert!(
        metrics["alluvium_live_bytes"]
            .samples
            .keys()
            .any(|(_, labels)| { labels == "family=\"a \\\"name\\\" \\\\ with spaces\"" })
    );
    let histograms = metrics.iter().filter(|(_, metric)| metric.kind == "histogram");
    for (name, metric) in histograms {
        let get = |part: &str, labels: &str| metric.samples[&(part.to_owned(), labels.to_owned())];
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for ((_, labels), count) in metric.samples.iter().filter(|((part, _), _)| part == "_bucket")
        {
            let le = labels.strip_prefix("le=\"").unwrap().strip_suffix('"').unwrap();
            buckets.push((le.replace("+Inf", "inf").parse().unwrap(), *count));
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {buckets:?}");
        assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, get("_count", "")), "{name}");
        assert!(buckets.len() == 25 && (get("_sum", "") > 0.0) == (get("_count", "") > 0.0));
    }
    assert_eq!(metrics.values().filter(|metric| metric.kind == "histogram").count(), 6);
}
