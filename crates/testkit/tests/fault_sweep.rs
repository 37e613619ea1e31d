//! Faults at every operation of the disk, in every workload.

use alluvium_testkit::fault::sweep;
use alluvium_testkit::runner::{number, seeds};
use alluvium_testkit::workloads::{self, Workload};

/// Every n-th workload, so that they share the cores.
fn check_part(part: usize, parts: usize) {
    let wanted = std::env::var("ALLUVIUM_WORKLOAD").unwrap_or_default();
    let step = number("ALLUVIUM_FAULT_STEP").unwrap_or(8) as usize;
    let all = workloads::all().into_iter().skip(part).step_by(parts);
    let wanted = all.filter(|workload| workload.name.contains(&wanted));
    for (begin, workload) in wanted.enumerate() {
        check(&workload, step, begin);
    }
}

fn check(workload: &Workload, step: usize, begin: usize) {
    match sweep(workload, step, begin) {
        Ok(swept) => println!("{}: {swept:?}", workload.name),
        Err(text) => panic!("{text}"),
    }
}

#[test]
fn every_fault_is_answered_1() {
    check_part(0, 4);
}

#[test]
fn every_fault_is_answered_2() {
    check_part(1, 4);
}

#[test]
fn every_fault_is_answered_3() {
    check_part(2, 4);
}

#[test]
fn every_fault_is_answered_4() {
    check_part(3, 4);
}

#[test]
fn every_fault_in_generated_workloads_is_answered() {
    let step = number("ALLUVIUM_FAULT_STEP").unwrap_or(12) as usize;
    for seed in seeds(2) {
        check(&workloads::generated(seed), step, seed as usize);
    }
}

#[test]
fn every_fault_in_short_workloads_is_answered() {
    let step = number("ALLUVIUM_FAULT_STEP").unwrap_or(3) as usize;
    for seed in seeds(8) {
        check(&workloads::short(seed), step, seed as usize);
    }
}

#[test]
fn every_fault_beside_workers_is_answered() {
    let step = number("ALLUVIUM_FAULT_STEP").unwrap_or(67) as usize;
    for seed in seeds(2) {
        check(&workloads::with_workers(seed), step, seed as usize);
    }
}
