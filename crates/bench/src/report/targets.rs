//! What was wanted, beside what was measured: a line a target, met or missed.
//!
//! The targets are ratios: Alluvium's rate by a peer's, taken within a round, the median of the
//! rounds. "The others" is the best of all engines that are neither Alluvium nor RocksDB, where no
//! engine is named. RocksDB with blob files counts as RocksDB, where it is the faster of the two.
//! A missing measurement is neither met nor missed, and is shown as such.

use std::collections::BTreeMap;

use crate::record::Record;
use crate::report::format::rate;
use crate::report::{median, new_table, spread};

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
    rate_of("readrandom", 2.0, 0.7, LMDB),
    rate_of("readrandom-zipf", 2.0, 0.7, LMDB),
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

/// The workloads that a target is about, each with the engines that it needs out of `built`.
pub fn plan<'a>(built: &[&'a str]) -> Vec<(&'static str, Vec<&'a str>)> {
    let mut plan: Vec<(&'static str, Vec<&'a str>)> = Vec::new();
    for target in TARGETS {
        let wanted = |name: &str| match name {
            "alluvium" | "rocksdb" => true,
            "rocksdb-blob" => has_large_values(target.workload),
            other => target.other.is_none_or(|named| named == other),
        };
        let engines = built.iter().copied().filter(|name| wanted(name));
        match plan.iter_mut().find(|(workload, _)| *workload == target.workload) {
            Some((_, all)) => {
                let more: Vec<&str> = engines.filter(|name| !all.contains(name)).collect();
                all.extend(more);
            }
            None => plan.push((target.workload, engines.collect())),
        }
    }
    plan
}

fn has_large_values(workload: &str) -> bool {
    workload.ends_with("-4k") || workload.ends_with("-64k")
}

/// The table of the targets and the table of the bounds, in Markdown.
pub fn tables(records: &[Record]) -> String {
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
        let ours = own.iter().filter(|record| is(record, "alluvium"));
        let ours = median(ours.filter_map(|record| figure(record)).collect());
        let rocksdb = best(&own, figure, |name| name.starts_with("rocksdb"));
        let other = best(&own, figure, |name| match self.other {
            Some(named) => name == named,
            None => name != "alluvium" && !name.starts_with("rocksdb"),
        });
        let name = match self.figure {
            Figure::Rate => self.workload.to_owned(),
            Figure::SettledRate => format!("{}, until idle", self.workload),
            Figure::Extra(name) => format!("{}: {name}", self.workload),
        };
        let mut cells = vec![name, ours.map_or_else(|| "-".to_owned(), rate)];
        cells.push(cell(rocksdb.as_ref(), false));
        cells.push(format!("{:.1}", self.rocksdb));
        cells.push(verdict(rocksdb.as_ref(), |ratio| ratio >= self.rocksdb));
        cells.push(cell(other.as_ref(), true));
        cells.push(format!("{:.1}", self.others));
        cells.push(verdict(other.as_ref(), |ratio| ratio >= self.others));
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
        let faster = best(own, |record| Some(record.rate), |name| name.starts_with("rocksdb"));
        let peer = faster
            .as_ref()
            .and_then(|faster| ratios(own, self.of, |name| name == faster.engine).pop());
        vec![
            workload.to_owned(),
            self.about.to_owned(),
            cell(peer.as_ref(), false),
            format!("{:.1}", self.most),
            verdict(peer.as_ref(), |ratio| ratio <= self.most),
        ]
    }
}

/// Alluvium's figure by one engine's, of each round that has both.
struct Peer {
    engine: String,
    ratios: Vec<f64>,
}

/// The peer out of those that `wanted` names against which Alluvium does worst.
fn best(
    own: &[&Record],
    figure: impl Fn(&Record) -> Option<f64>,
    wanted: impl Fn(&str) -> bool,
) -> Option<Peer> {
    let middle = |peer: &Peer| median(peer.ratios.clone()).unwrap_or(f64::INFINITY);
    let peers = ratios(own, figure, wanted).into_iter();
    peers.min_by(|one, two| middle(one).total_cmp(&middle(two)))
}

fn ratios(
    own: &[&Record],
    figure: impl Fn(&Record) -> Option<f64>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Peer> {
    let ours = own.iter().filter(|record| is(record, "alluvium"));
    let ours: BTreeMap<u32, f64> =
        ours.filter_map(|record| Some((record.round, figure(record)?))).collect();
    let mut peers: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for record in own.iter().filter(|record| wanted(engine(record))) {
        let (Some(&ours), Some(theirs)) = (ours.get(&record.round), figure(record)) else {
            continue;
        };
        peers.entry(engine(record)).or_default().push(ours / theirs);
    }
    let peer = |(engine, ratios): (&str, Vec<f64>)| Peer { engine: engine.to_owned(), ratios };
    peers.into_iter().map(peer).collect()
}

/// The name of a record's engine without its version.
fn engine(record: &Record) -> &str {
    record.engine.split(' ').next().unwrap_or_default()
}

fn is(record: &Record, name: &str) -> bool {
    engine(record) == name
}

fn cell(peer: Option<&Peer>, named: bool) -> String {
    match peer {
        None => "-".to_owned(),
        Some(peer) if named || peer.engine.ends_with("-blob") => {
            format!("{} {}", spread(&peer.ratios), peer.engine)
        }
        Some(peer) => spread(&peer.ratios),
    }
}

fn verdict(peer: Option<&Peer>, met: impl Fn(f64) -> bool) -> String {
    let middle = peer.and_then(|peer| median(peer.ratios.clone()));
    middle.map_or("not measured", |ratio| if met(ratio) { "met" } else { "**missed**" }).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads;

    fn record(engine: &str, workload: &str, round: u32, rate: f64) -> Record {
        let (engine, workload) = (format!("{engine} 1.0"), workload.to_owned());
        Record { engine, workload, round, rate, cpu_settled_us: 1e6 / rate, ..Record::default() }
    }

    #[test]
    fn every_target_is_about_a_workload_and_a_figure_of_it() {
        let built = ["alluvium", "rocksdb", "fjall", "lmdb", "sqlite", "rocksdb-blob"];
        for (workload, engines) in plan(&built) {
            workloads::find(workload).unwrap();
            assert_eq!(engines[..2], ["alluvium", "rocksdb"], "{workload}");
            let blob = engines.contains(&"rocksdb-blob");
            assert_eq!(blob, workload.ends_with('k'), "{workload} {engines:?}");
        }
        let of = |name: &str| plan(&built).into_iter().find(|(one, _)| *one == name).unwrap().1;
        assert_eq!(of("readmissing"), ["alluvium", "rocksdb", "fjall"]);
        assert_eq!(of("overwrite"), built[..5]);
        // The stream is held against all, its windows against one of them.
        assert_eq!(of("ingest"), built[..5]);
    }

    #[test]
    fn a_target_is_met_or_missed_by_the_best_of_the_others() {
        let mut records = vec![
            record("alluvium", "overwrite", 1, 250.0),
            record("rocksdb", "overwrite", 1, 100.0),
            record("fjall", "overwrite", 1, 50.0),
            record("sqlite", "overwrite", 1, 101.0),
        ];
        let overwrite = TARGETS.iter().find(|target| target.workload == "overwrite").unwrap();
        let row = overwrite.row(&records);
        assert_eq!(row[1..5], ["250", "2.50", "2.5", "met"]);
        assert_eq!(row[5..], ["2.48 sqlite", "2.5", "**missed**"]);
        // Round 2 has no figure of ours: nothing is compared with it.
        records.push(record("rocksdb", "overwrite", 2, 1_000.0));
        assert_eq!(overwrite.row(&records)[2], "2.50");
        let row = overwrite.row(&records[..1]);
        assert_eq!([&row[2], &row[4], &row[7]], ["-", "not measured", "not measured"]);
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
    fn large_values_are_held_against_the_better_rocksdb() {
        let records = [
            record("alluvium", "read-4k", 1, 200.0),
            record("rocksdb", "read-4k", 1, 100.0),
            record("rocksdb-blob", "read-4k", 1, 160.0),
        ];
        let target = TARGETS.iter().find(|target| target.workload == "read-4k").unwrap();
        assert_eq!(target.row(&records)[2..5], ["1.25 rocksdb-blob", "1.3", "**missed**"]);
    }
}
