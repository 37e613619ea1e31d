//! The model held against real keys, real stores and theory.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium::env::MemEnv;
use clap::Parser;

use crate::content::{Content, Counts};
use crate::engine::simulate;
use crate::figures::monkey;
use crate::load::{Kind, Load};
use crate::merge::{Outputs, Terms, merge};
use crate::real;
use crate::report::{self, Row};
use crate::settings::{Command, Entry, Policy, Settings};
use crate::theory;

const ENTRY: Entry = Entry { key_bytes: 16, value_bytes: 100, filter_bits: 10.0 };

/// Settings of a command line, for its first strategy, load and size.
fn settings(arguments: &[&str]) -> Settings {
    let words = std::iter::once("alluvium-simulator").chain(arguments.iter().copied());
    let command = Command::try_parse_from(words).unwrap();
    let policy = command.strategies.first().copied().unwrap_or(Policy::Leveled);
    command.settings(policy, command.loads[0], command.sizes[0])
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory;
    Command::command().debug_assert();
    assert_eq!(settings(&["--sizes", "1.5g"]).live_bytes, 3 << 29);
}

/// What `runs`, newest first, hold together.
fn merged(load: &Load, runs: &[Content], hidden: bool) -> Counts {
    let inputs: Vec<Vec<Arc<Content>>> =
        runs.iter().map(|content| vec![Arc::new(content.clone())]).collect();
    let terms =
        Terms { model: &load.model, borders: &[], now_bucket: load.now_bucket(), largest_seq: 1 };
    let mut outputs = Outputs::new(&load.model, 1 << 20, None, None);
    merge(&terms, &inputs, &mut |_, _| hidden, &mut outputs);
    let mut counts = Counts::default();
    outputs.finish().iter().for_each(|content| counts.add(&content.counts(&load.model), 1.0));
    counts
}

/// Five runs of unlike sizes, drawn key by key and merged as maps, beside the same runs as shares.
fn compare_merges(kind: Kind, hidden: bool) {
    let mut load = Load::new(kind, 5 << 20, ENTRY, true, false);
    let mut real = load.clone();
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut contents, mut maps) = (Vec::new(), Vec::new());
    for writes in [40_000, 20_000, 10_000, 5_000, 30_000] {
        let mut map = BTreeMap::new();
        for _ in 0..writes {
            let write = real.draw(&mut rng);
            map.insert(write.key, write.is_delete);
        }
        contents.insert(0, load.next(f64::from(writes)));
        maps.insert(0, map);
    }
    for (content, map) in contents.iter().zip(&maps) {
        close(content.counts(&load.model).entries, map.len(), "entries of a run", kind);
    }
    let mut all: BTreeMap<u64, bool> = BTreeMap::new();
    maps.iter().rev().for_each(|map| all.extend(map));
    all.retain(|_, is_delete| hidden || !*is_delete);
    let counts = merged(&load, &contents, hidden);
    close(counts.entries, all.len(), "entries", kind);
    let tombstones = all.values().filter(|is_delete| **is_delete).count();
    close(counts.tombstones, tombstones, "tombstones", kind);
    if !hidden {
        close(load.live_entries(), all.len(), "live entries", kind);
    }
}

/// Within 2 %, and what sampling noise may do to a small number.
fn close(model: f64, real: usize, what: &str, kind: Kind) {
    let real = real as f64;
    let allowed = real * 0.02 + 3.0 * real.sqrt() + 2.0;
    assert!((model - real).abs() <= allowed, "{kind:?}: {what}: {model} for {real}");
}

#[test]
fn a_merge_of_shares_matches_a_merge_of_real_keys() {
    for kind in [Kind::Uniform, Kind::Zipf, Kind::Deletes, Kind::Ordered, Kind::Queue] {
        compare_merges(kind, true);
        compare_merges(kind, false);
    }
}

#[test]
fn expired_entries_become_tombstones_and_go_at_the_bottom() {
    let mut load = Load::new(Kind::Ttl, 1 << 20, ENTRY, true, false);
    let entries = load.live_entries_when_full();
    let old = load.next(entries);
    let fresh = load.next(entries * 2.0);
    let kept = merged(&load, &[fresh.clone(), old.clone()], true);
    let dropped = merged(&load, &[fresh, old], false);
    assert!((kept.entries - entries * 3.0).abs() < entries * 0.1, "{kept:?} of {entries}");
    // Of three lives' worth of entries two have ended, but for what comes late.
    assert!((kept.tombstones - entries * 2.0).abs() < entries * 0.1, "{kept:?} of {entries}");
    assert!((dropped.entries - entries).abs() < entries * 0.1, "{dropped:?} of {entries}");
    assert!(dropped.tombstones == 0.0);
}

#[test]
fn monkey_gives_small_runs_more_bits_and_never_reads_more() {
    let runs = [1e4, 1e5, 1e6, 1e7];
    let log2 = std::f64::consts::LN_2.powi(2);
    for bits in [2.0, 5.0, 10.0] {
        let errors = monkey(&runs, bits);
        let used: f64 = runs.iter().zip(&errors).map(|(n, error)| n * -error.ln() / log2).sum();
        let memory = bits * runs.iter().sum::<f64>();
        assert!((used / memory - 1.0).abs() < 1e-6, "{used} bits of {memory}");
        let uniform = 4.0 * (-bits * log2).exp();
        assert!(errors.iter().sum::<f64>() < uniform * 0.7, "{errors:?} for {uniform}");
        assert!(errors.is_sorted());
    }
    // So little memory that the largest run is better left without a filter.
    assert_eq!(monkey(&runs, 0.05)[3], 1.0);
}

/// The same writes on a real store in memory, whose thread compacts after each write, and on a
/// simulated one whose device is so fast that it does nearly the same.
fn compare_stores(arguments: &[&str]) {
    let common = ["--from-empty", "--device-mb", "1e9", "--thread-mb", "1e9", "--threads", "1"];
    let all: Vec<&str> = arguments.iter().chain(&common).copied().collect();
    let settings = settings(&all);
    let (simulated, _) = simulate(&settings).unwrap();
    let inline = Settings { threads: 0, ..settings };
    let measured = real::run(&inline, Arc::new(MemEnv::new()), 3).unwrap();
    let within = |what: &str, model: f64, real: f64| {
        let detail = format!("{what}: {model:.2} for {real:.2} ({arguments:?}) {measured:?}");
        assert!((model / real - 1.0).abs() < 0.2, "{detail}");
    };
    within("write", simulated.write_amplification(), measured.write);
    within("space", simulated.last().space, measured.space);
}

#[test]
fn a_simulated_store_costs_what_a_real_one_costs() {
    let small = ["--sizes", "40m", "--turnover", "3", "--memtable", "1m", "--value-bytes", "400"];
    let all = [
        ("leveled", "uniform"),
        ("leveled", "zipf"),
        ("leveled", "deletes"),
        ("leveled", "queue"),
        ("tiered", "uniform"),
        ("lazy", "uniform"),
        ("windows", "ordered"),
    ];
    for (strategy, load) in all {
        let chosen = ["--strategies", strategy, "--loads", load];
        let arguments: Vec<&str> = small.iter().copied().chain(chosen).collect();
        compare_stores(&arguments);
    }
}

/// A store of 256 memtables, overwritten or appended to, against what theory expects.
#[test]
fn every_strategy_costs_what_theory_says() {
    let figures = |strategy: &str, load: &str, more: &[&str]| {
        let grain = ["--sizes", "256m", "--memtable", "1m", "--strategies", strategy];
        let all = grain.into_iter().chain(["--loads", load]).chain(more.iter().copied());
        let settings = settings(&all.collect::<Vec<_>>());
        (simulate(&settings).unwrap().0, theory::expected(&settings))
    };
    let within = |strategy: &str, load: &str, more: &[&str]| {
        let (figures, expected) = figures(strategy, load, more);
        let write = figures.write_amplification();
        let (low, high) = expected.write;
        let detail = format!("{strategy}, {load}: {write:.2} for {expected:?}");
        // The low end is that of tables chosen by chance; the least overlap is somewhat less.
        assert!((low * 0.8..=high * 1.1).contains(&write), "{detail}");
        assert!(figures.stall_longest < 0.1, "{strategy}: {figures:?}");
        figures
    };
    let leveled = within("leveled", "uniform", &[]);
    let tiered = within("tiered", "uniform", &[]);
    let lazy = within("lazy", "uniform", &[]);
    let read = within("leveled", "uniform", &["--read"]);
    let saved = 1.0 - leveled.write_amplification() / read.write_amplification();
    assert!(saved > 0.15, "{saved:.2} of what is written where somebody reads");
    let write = [&leveled, &lazy, &tiered].map(crate::figures::Figures::write_amplification);
    assert!((10.0..30.0).contains(&write[0]), "leveled: {write:?}");
    assert!(write.is_sorted_by(|a, b| a > b), "leveled, lazy, tiered: {write:?}");
    let space = [&leveled, &lazy, &tiered].map(|one| one.mean(|sample| sample.space));
    assert!(space[0] < 1.3 && space[1] < 1.4 && space[2] < 5.0, "{space:?}");
    within("windows", "ordered", &[]);
    let fifo = within("fifo", "ttl", &[]);
    assert!(fifo.mean(|sample| sample.space) < 1.1);
}

#[test]
fn a_row_names_what_was_simulated() {
    let settings =
        settings(&["--sizes", "64m", "--memtable", "1m", "--strategies", "fifo", "--loads", "ttl"]);
    let (figures, _) = simulate(&settings).unwrap();
    let row = Row { settings, figures, measured: None };
    let golden = expect_test::expect_file!["../tests/golden/row.txt"];
    golden.assert_eq(&report::table(&[row]));
}

#[test]
fn a_simulation_is_the_same_every_time() {
    let settings = settings(&["--sizes", "4g", "--loads", "zipf", "--turnover", "0.5"]);
    let [one, two] = [(); 2].map(|()| simulate(&settings).unwrap().0);
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}
