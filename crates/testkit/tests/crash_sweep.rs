//! Crashes at every operation of every workload.

use std::sync::Arc;

use alluvium::env::{Env, FileKind, MemEnv};
use alluvium_testkit::crash::{Route, Sweep, Wrap, sweep, sweep_failed_syncs};
use alluvium_testkit::liar::{Lie, LyingEnv};
use alluvium_testkit::runner::{number, seeds};
use alluvium_testkit::workloads::{self, Workload};

/// Sweeps and prints how much that was.
fn check(workload: &Workload, seed: u64) {
    let draws = number("ALLUVIUM_DRAWS").unwrap_or(1);
    let nested_one_in = number("ALLUVIUM_NESTED").unwrap_or(300) as usize;
    let only = Route::from_environment();
    match sweep(workload, &Sweep { seed, draws, nested_one_in, only, ..Sweep::default() }) {
        Ok(swept) => println!("{}, seed {seed}: {swept:?}", workload.name),
        Err(text) => panic!("{text}"),
    }
}

/// Every n-th workload, so that they share the cores.
fn check_part(part: usize, parts: usize) {
    let wanted = std::env::var("ALLUVIUM_WORKLOAD").unwrap_or_default();
    let all = workloads::all();
    assert!(all.len() >= 40);
    for workload in all.iter().skip(part).step_by(parts) {
        if workload.name.contains(&wanted) {
            seeds(1).into_iter().for_each(|seed| check(workload, seed));
        }
    }
}

#[test]
fn every_crash_leaves_the_model_at_one_write_1() {
    check_part(0, 4);
}

#[test]
fn every_crash_leaves_the_model_at_one_write_2() {
    check_part(1, 4);
}

#[test]
fn every_crash_leaves_the_model_at_one_write_3() {
    check_part(2, 4);
}

#[test]
fn every_crash_leaves_the_model_at_one_write_4() {
    check_part(3, 4);
}

#[test]
fn generated_workloads_survive_crashes_too() {
    for seed in seeds(3) {
        check(&workloads::generated(seed), seed);
    }
}

#[test]
fn a_failed_sync_costs_nothing_that_was_acknowledged() {
    for workload in workloads::all() {
        let slow = workload.prelude > 0 || workload.options.background_threads > 0;
        let swept = sweep_failed_syncs(&workload, 1, if slow { 19 } else { 5 }, 1);
        match swept {
            Ok(swept) => println!("{}: {swept:?}", workload.name),
            Err(text) => panic!("{text}"),
        }
    }
}

#[test]
#[ignore = "runs what a failure printed, with the variables that it printed"]
fn replay_a_failed_sync() {
    let name = std::env::var("ALLUVIUM_WORKLOAD").expect("ALLUVIUM_WORKLOAD names a workload");
    let workload = workloads::named(&name).expect("a workload of this name");
    let swept = sweep_failed_syncs(&workload, number("ALLUVIUM_SEED").unwrap_or(0), 1, 2);
    println!("{:?}", swept.unwrap_or_else(|text| panic!("{text}")));
}

#[test]
#[ignore = "runs what a failure printed, with the variables that it printed"]
fn replay() {
    let name = std::env::var("ALLUVIUM_WORKLOAD").expect("ALLUVIUM_WORKLOAD names a workload");
    let workload = workloads::named(&name).expect("a workload of this name");
    check(&workload, number("ALLUVIUM_SEED").unwrap_or(0));
}

/// Whether the sweep of a workload fails on a disk that lies.
fn is_caught(name: &str, wrap: Wrap) -> bool {
    let all = workloads::all();
    let workload = all.iter().find(|workload| workload.name == name).unwrap();
    sweep(workload, &Sweep { nested_one_in: 0, wrap, ..Sweep::default() }).is_err()
}

fn lying(env: MemEnv, lie: Lie) -> Arc<dyn Env> {
    Arc::new(LyingEnv::new(Arc::new(env), lie))
}

#[test]
fn a_disk_that_lies_is_caught() {
    assert!(is_caught("plain puts", |env| lying(env, Lie::File(FileKind::Wal))));
    assert!(is_caught("plain puts", |env| lying(env, Lie::File(FileKind::Manifest))));
    assert!(is_caught("plain puts", |env| lying(env, Lie::File(FileKind::Temporary))));
    assert!(is_caught("plain puts", |env| lying(env, Lie::Directory)));
    assert!(is_caught("flush", |env| lying(env, Lie::File(FileKind::Table))));
}
