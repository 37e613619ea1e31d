//! What was wanted, beside what was measured: a line a target, met or missed.
//!
//! The targets are ratios: Alluvium's rate by a peer's, taken within a round, the median of the
//! rounds. "The others" is the best of all engines that are neither Alluvium nor RocksDB, where no
//! engine is named: fjall and LMDB at least, redb and SQLite where they ran. For large values
//! RocksDB and fjall count with their blob files as well as without: the faster of the two.
//! Alluvium counts with its blob files alone where values are large.
//!
//! A target is met only if every engine that it names was measured beside Alluvium: a missing one
//! might be the faster. Missed it is by any one of them.

use crate::record::Record;
use crate::report::format::rate;
use crate::report::new_table;
use crate::report::ratios::{median, ratios, spread};

/// What of a record is held against the peers; larger is better.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// Operations a second.
    Rate,
    /// Operations a second until background work is idle.
    SettledRate,
    /// A figure of the workload's own.
    Extra(&'static str),
}

/// One line of what was wanted.
struct Target {
    workload: &'static str,
    figure: Figure,
    /// Alluvium's figure by RocksDB's, at least.
    rocksdb: f64,
    /// Alluvium's figure by the other peer's, at least; and which, unless it is the best of all.
    others: f64,
    other: Option<&'static str>,
}

const fn rate_of(
    workload: &'static str,
    rocksdb: f64,
    others: f64,
    other: Option<&'static str>,
) -> Target {
    Target { workload, figure: Figure::Rate, rocksdb, others, other }
}

/// What of "the others" has to be there.
const OTHERS: [&str; 2] = ["fjall", "lmdb"];
/// Engines with a setup of their own for large values, which has this behind its name.
const WITH_BLOBS: [&str; 2] = ["rocksdb", "fjall"];
const BLOB: &str = "-blob";

const LMDB: Option<&str> = Some("lmdb");
const FJALL: Option<&str> = Some("fjall");

const TARGETS: &[Target] = &[
    rate_of("fillseq-100", 2.0, 1.5, None),
    rate_of("fillrandom", 2.5, 2.0, None),
    rate_of("fillrandom-1000", 3.0, 3.0, None),
    Target { figure: Figure::SettledRate, ..rate_of("fillrandom-1000-5x", 2.5, 2.5, None) },
    rate_of("fillsync", 1.5, 1.2, None),
    rate_of("fillsync-8t", 1.5, 1.5, None),
    rate_of("overwrite", 2.5, 2.5, None),
    rate_of("readrandom-cached", 2.0, 0.7, LMDB),
    rate_of("readrandom-zipf-cached", 2.0, 0.7, LMDB),
    rate_of("readmissing", 2.0, 1.4, FJALL),
    rate_of("seekrandom-10", 2.5, 0.7, LMDB),
    rate_of("seekrandom-100", 2.5, 0.7, LMDB),
    Target { figure: Figure::Extra("first rows/s"), ..rate_of("scan", 2.0, 0.7, LMDB) },
    rate_of("scan", 2.0, 0.7, LMDB),
    Target { figure: Figure::Extra("writes/s"), ..rate_of("readwhilewriting", 1.5, 1.5, FJALL) },
    rate_of("readwhilewriting", 1.5, 1.5, FJALL),
    rate_of("ycsb-a", 1.5, 1.5, FJALL),
    rate_of("ycsb-b", 1.5, 1.5, FJALL),
    rate_of("ycsb-c", 1.5, 1.5, FJALL),
    rate_of("ycsb-d", 1.5, 1.5, FJALL),
    rate_of("ycsb-e", 1.5, 1.5, FJALL),
    rate_of("ycsb-f", 1.5, 1.5, FJALL),
    rate_of("fill-4k", 1.3, 1.3, FJALL),
    rate_of("read-4k", 1.3, 1.3, FJALL),
    rate_of("fill-64k", 1.3, 1.3, FJALL),
    rate_of("read-64k", 1.3, 1.3, FJALL),
    rate_of("ingest", 2.0, 2.0, None),
    Target { figure: Figure::Extra("windows/s"), ..rate_of("ingest", 2.5, 0.7, LMDB) },
    rate_of("recovery", 2.0, 2.0, FJALL),
];

/// Held against RocksDB besides rates, by the workloads that write: Alluvium's figure by
/// RocksDB's, at most.
struct Bound {
    about: &'static str,
    most: f64,
    of: fn(&Record) -> Option<f64>,
}

const BOUNDS: [Bound; 4] = [
    Bound { about: "CPU an operation", most: 0.5, of: |record| Some(record.cpu_settled_us) },
    Bound { about: "write amplification", most: 1.0, of: |record| record.write_amplification },
    Bound { about: "bytes on disk", most: 1.1, of: |record| Some(record.disk_bytes as f64) },
    Bound { about: "peak memory", most: 1.0, of: |record| Some(record.peak_memory_mib) },
];

/// The workloads that a target is about, each with the engines that it needs out of `given`.
pub fn plan(given: &[String]) -> Vec<(&'static str, Vec<String>)> {
    let mut plan: Vec<(&'static str, Vec<String>)> = Vec::new();
    for target in TARGETS {
        let wanted = |name: &str| match base(name) {
            "alluvium" | "rocksdb" => true,
            other => target.other.is_none_or(|named| named == other),
        };
        let engines = given.iter().filter(|name| wanted(name)).cloned();
        match plan.iter_mut().find(|(workload, _)| *workload == target.workload) {
            Some((_, all)) => {
                let more: Vec<String> = engines.filter(|name| !all.contains(name)).collect();
                all.extend(more);
            }
            None => plan.push((target.workload, engines.collect())),
        }
    }
    plan
}

fn is_ours(record: &Record) -> bool {
    base(record.name()) == "alluvium"
}

/// Whether a record counts: of large values, where Alluvium ran with blob files, that alone is held
/// against the others, in fills and in reads.
fn counts(record: &Record, records: &[Record]) -> bool {
    let with_blobs = |other: &Record| {
        other.workload == record.workload && is_ours(other) && other.name() != "alluvium"
    };
    record.name() != "alluvium" || !records.iter().any(with_blobs)
}

fn has_large_values(workload: &str) -> bool {
    workload.ends_with("-4k") || workload.ends_with("-64k")
}

/// The engine of which `name` may be a variant.
fn base(name: &str) -> &str {
    name.strip_suffix(BLOB).unwrap_or(name)
}

/// The names of everything that `engines` stand for in a workload.
fn named(engines: &[&str], workload: &str) -> Vec<String> {
    let mut names: Vec<String> = engines.iter().map(|&name| name.to_owned()).collect();
    if has_large_values(workload) {
        let with_blobs = engines.iter().filter(|name| WITH_BLOBS.contains(name));
        names.extend(with_blobs.map(|name| format!("{name}{BLOB}")));
    }
    names
}

/// The table of the targets and the table of the bounds, in Markdown.
pub fn tables(records: &[Record]) -> String {
    let counted: Vec<Record> =
        records.iter().filter(|record| counts(record, records)).cloned().collect();
    let records = &counted[..];
    let columns =
        ["workload", "Alluvium", "by RocksDB", "wanted", "", "by the other", "wanted", ""];
    let mut rates = new_table(true, columns.map(str::to_owned));
    for target in TARGETS {
        rates.add_row(target.row(records));
    }
    let columns = ["workload", "figure", "by RocksDB's", "at most", ""].map(str::to_owned);
    let mut bounds = new_table(true, columns);
    for workload in workloads_of(records) {
        let own: Vec<&Record> = records.iter().filter(|one| one.workload == workload).collect();
        if own.iter().all(|record| record.write_amplification.is_none()) {
            continue;
        }
        for bound in &BOUNDS {
            bounds.add_row(bound.row(workload, &own));
        }
    }
    format!("{rates}\n\n{bounds}\n")
}

fn workloads_of(records: &[Record]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in records {
        if !names.contains(&record.workload.as_str()) {
            names.push(&record.workload);
        }
    }
    names
}

impl Target {
    fn row(&self, records: &[Record]) -> Vec<String> {
        let own: Vec<&Record> =
            records.iter().filter(|record| record.workload == self.workload).collect();
        let figure = |record: &Record| self.figure.of(record);
        let ours = own.iter().filter(|record| is_ours(record));
        let ours = median(ours.filter_map(|record| figure(record)).collect());
        let rocksdb = Peers::of(&own, figure, &named(&["rocksdb"], self.workload), |_| false);
        let others = self.other.map_or(OTHERS.to_vec(), |named| vec![named]);
        let any =
            |name: &str| self.other.is_none() && !["alluvium", "rocksdb"].contains(&base(name));
        let other = Peers::of(&own, figure, &named(&others, self.workload), any);
        let name = match self.figure {
            Figure::Rate => self.workload.to_owned(),
            Figure::SettledRate => format!("{}, until idle", self.workload),
            Figure::Extra(name) => format!("{}: {name}", self.workload),
        };
        let mut cells = vec![name, ours.map_or_else(|| "-".to_owned(), rate)];
        cells.push(rocksdb.cell(false));
        cells.push(format!("{:.1}", self.rocksdb));
        cells.push(rocksdb.verdict(|ratio| ratio >= self.rocksdb));
        cells.push(other.cell(true));
        cells.push(format!("{:.1}", self.others));
        cells.push(other.verdict(|ratio| ratio >= self.others));
        cells
    }
}

impl Figure {
    fn of(self, record: &Record) -> Option<f64> {
        match self {
            Figure::Rate => Some(record.rate),
            Figure::SettledRate => Some(record.settled_rate),
            Figure::Extra(name) => record.extra.get(name).copied(),
        }
    }
}

impl Bound {
    fn row(&self, workload: &str, own: &[&Record]) -> Vec<String> {
        // Where RocksDB has two ways, the one that was faster is the one to be held against.
        let names = named(&["rocksdb"], workload);
        let mut peers = Peers::of(own, |record| Some(record.rate), &names, |_| false);
        if let Some(faster) = &mut peers.best {
            faster.ratios = against(own, &faster.engine, self.of);
        }
        vec![
            workload.to_owned(),
            self.about.to_owned(),
            peers.cell(false),
            format!("{:.1}", self.most),
            peers.verdict(|ratio| ratio <= self.most),
        ]
    }
}

/// Alluvium's figure by one engine's, of each moment that has both.
struct Peer {
    engine: String,
    ratios: Vec<f64>,
}

/// Whom Alluvium is held against.
struct Peers {
    /// The one against which it does worst.
    best: Option<Peer>,
    /// Names that should have been there, and were not, or not in the same moments.
    lacking: Vec<String>,
}

impl Peers {
    /// Those that are `needed`, and of those that are there all that `welcome` says.
    fn of(
        own: &[&Record],
        figure: impl Fn(&Record) -> Option<f64> + Copy,
        needed: &[String],
        welcome: impl Fn(&str) -> bool,
    ) -> Peers {
        let there = own.iter().map(|record| record.name()).filter(|name| welcome(name));
        let mut names: Vec<&str> = needed.iter().map(String::as_str).chain(there).collect();
        names.sort_unstable();
        names.dedup();
        let mut peers = Peers { best: None, lacking: Vec::new() };
        let mut worst = f64::INFINITY;
        for name in names {
            let ratios = against(own, name, figure);
            match median(ratios.clone()) {
                Some(middle) if middle < worst => {
                    worst = middle;
                    peers.best = Some(Peer { engine: name.to_owned(), ratios });
                }
                Some(_) => {}
                None if needed.iter().any(|one| one == name) => peers.lacking.push(name.to_owned()),
                None => {}
            }
        }
        if !own.iter().any(|record| is_ours(record)) {
            peers.lacking = vec!["alluvium".to_owned()];
        }
        peers
    }

    fn cell(&self, named: bool) -> String {
        match &self.best {
            None => "-".to_owned(),
            Some(peer) if named || peer.engine.ends_with(BLOB) => {
                format!("{} {}", spread(&peer.ratios), peer.engine)
            }
            Some(peer) => spread(&peer.ratios),
        }
    }

    fn verdict(&self, met: impl Fn(f64) -> bool) -> String {
        match self.best.as_ref().and_then(|peer| median(peer.ratios.clone())) {
            Some(ratio) if !met(ratio) => "**missed**".to_owned(),
            _ if !self.lacking.is_empty() => {
                format!("not measured (no {})", self.lacking.join(", "))
            }
            Some(_) => "met".to_owned(),
            None => "not measured".to_owned(),
        }
    }
}

fn against(own: &[&Record], engine: &str, figure: impl Fn(&Record) -> Option<f64>) -> Vec<f64> {
    ratios(own.iter().copied(), is_ours, |record| record.name() == engine, figure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::workloads;

    fn record(engine: &str, workload: &str, round: u32, rate: f64) -> Record {
        Record::sample(&format!("{engine} 1.0"), workload, round, rate)
    }

    fn target(workload: &str) -> &'static Target {
        TARGETS.iter().find(|target| target.workload == workload).unwrap()
    }

    #[test]
    fn every_target_is_about_a_workload_and_a_figure_of_it() {
        let built = ["alluvium", "rocksdb", "fjall", "lmdb", "sqlite"].map(str::to_owned);
        for (workload, engines) in plan(&built) {
            let large = workloads::find(workload).unwrap().settings(&Settings::small(1));
            let large = large.value_bytes >= crate::engines::LARGE_VALUE_BYTES;
            assert_eq!(has_large_values(workload), large, "{workload}");
            assert_eq!(engines[..2], ["alluvium", "rocksdb"], "{workload}");
        }
        let of = |name: &str| plan(&built).into_iter().find(|(one, _)| *one == name).unwrap().1;
        assert_eq!(of("readmissing"), ["alluvium", "rocksdb", "fjall"]);
        assert_eq!(of("overwrite"), built);
        // The stream is held against all, its windows against one of them.
        assert_eq!(of("ingest"), built);
    }

    #[test]
    fn a_target_is_met_or_missed_by_the_best_of_the_others() {
        let mut records = vec![
            record("alluvium", "overwrite", 1, 250.0),
            record("rocksdb", "overwrite", 1, 100.0),
            record("fjall", "overwrite", 1, 50.0),
            record("lmdb", "overwrite", 1, 40.0),
            record("sqlite", "overwrite", 1, 101.0),
        ];
        let overwrite = target("overwrite");
        let row = overwrite.row(&records);
        assert_eq!(row[1..5], ["250", "2.50", "2.5", "met"]);
        assert_eq!(row[5..], ["2.48 sqlite", "2.5", "**missed**"]);
        // Round 2 has no figure of ours: nothing is compared with it. Nor is another run.
        records.push(record("rocksdb", "overwrite", 2, 1_000.0));
        records.push(Record { run: "later".to_owned(), ..record("fjall", "overwrite", 1, 1e6) });
        // A variant of RocksDB is none of the others.
        records.push(record("rocksdb-blob", "overwrite", 1, 1e6));
        assert_eq!(overwrite.row(&records)[2], "2.50");
        assert_eq!(overwrite.row(&records)[5], "2.48 sqlite");
        let row = overwrite.row(&records[..1]);
        assert_eq!([&row[2], &row[4]], ["-", "not measured (no rocksdb)"]);
        assert_eq!(row[7], "not measured (no fjall, lmdb)");
        assert_eq!(overwrite.row(&records[1..3])[4], "not measured (no alluvium)");
    }

    /// What is missing may be the faster: nothing is met without it, though it can be missed.
    #[test]
    fn a_target_is_not_met_while_an_engine_that_it_names_is_missing() {
        let mut records = vec![
            record("alluvium", "overwrite", 1, 300.0),
            record("rocksdb", "overwrite", 1, 100.0),
            record("fjall", "overwrite", 1, 100.0),
        ];
        let verdict = |records: &[Record]| target("overwrite").row(records)[7].clone();
        assert_eq!(verdict(&records), "not measured (no lmdb)");
        records[2].rate = 200.0;
        assert_eq!(verdict(&records), "**missed**");
        records[2].rate = 100.0;
        records.push(record("lmdb", "overwrite", 1, 100.0));
        assert_eq!(verdict(&records), "met");
        // Measured, but in no moment of ours.
        records[3].round = 2;
        assert_eq!(verdict(&records), "not measured (no lmdb)");
    }

    #[test]
    fn bounds_are_ratios_that_may_not_be_exceeded() {
        let mut records = vec![
            record("alluvium", "overwrite", 1, 250.0),
            record("rocksdb", "overwrite", 1, 100.0),
        ];
        (records[0].write_amplification, records[1].write_amplification) = (Some(3.0), Some(2.0));
        (records[0].disk_bytes, records[1].disk_bytes) = (11, 10);
        let text = tables(&records);
        let line = |about: &str| text.lines().find(|line| line.contains(about)).unwrap().to_owned();
        assert!(line("CPU an operation").contains(" 0.40 ") && line("CPU an").contains("met"));
        assert!(line("write amplification").contains("1.50"), "{text}");
        assert!(line("write amplification").contains("missed"), "{text}");
        assert!(line("bytes on disk").contains("met"), "{text}");
    }

    #[test]
    fn large_values_are_held_against_the_better_of_two_setups() {
        let mut records = vec![
            record("alluvium", "read-4k", 1, 200.0),
            record("rocksdb", "read-4k", 1, 100.0),
            record("fjall", "read-4k", 1, 50.0),
            record("rocksdb-blob", "read-4k", 1, 160.0),
            record("fjall-blob", "read-4k", 1, 80.0),
        ];
        let row = target("read-4k").row(&records);
        assert_eq!(row[2..5], ["1.25 rocksdb-blob", "1.3", "**missed**"]);
        assert_eq!(row[5..], ["2.50 fjall-blob", "1.3", "met"]);
        let row = target("read-4k").row(&records[..3]);
        assert_eq!(row[4], "not measured (no rocksdb-blob)");
        assert_eq!(row[7], "not measured (no fjall-blob)");
        records[0].write_amplification = Some(1.0);
        assert!(tables(&records[..3]).contains("not measured (no rocksdb-blob)"));
    }

    #[test]
    fn large_values_are_held_against_others_with_blob_files() {
        let records = vec![
            record("alluvium", "fill-4k", 1, 50.0),
            record("alluvium-blob", "fill-4k", 1, 200.0),
            record("rocksdb", "fill-4k", 1, 80.0),
            record("rocksdb-blob", "fill-4k", 1, 100.0),
            record("fjall", "fill-4k", 1, 40.0),
            record("fjall-blob", "fill-4k", 1, 50.0),
            record("alluvium", "overwrite", 1, 300.0),
            record("rocksdb", "overwrite", 1, 100.0),
        ];
        let text = tables(&records);
        let row = |of: &str| {
            let line = text.lines().find(|line| line.contains(&format!(" {of} "))).unwrap();
            line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(row("fill-4k")[3..5], ["2.00 rocksdb-blob", "1.3"]);
        assert_eq!(row("overwrite")[3..5], ["3.00", "2.5"]);
    }
}
