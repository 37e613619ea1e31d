//! Every byte of a small store, changed.

use alluvium::{Codec, PerLevel};
use alluvium_testkit::damage::{Flip, Seen, Victim, virtual_bytes_peak};
use alluvium_testkit::runner::number;

const FLIPS: [Flip; 3] = [Flip::Xor(0x01), Flip::Xor(0x80), Flip::Set(0xff)];

/// No length from a damaged file may make the process grow by this much.
const GROWTH_BYTES_MAX: u64 = 768 << 20;

fn sweep(victim: &Victim, flips: &[Flip]) -> Seen {
    let before = virtual_bytes_peak();
    let step = number("ALLUVIUM_DAMAGE_STEP").unwrap_or(1) as usize;
    let seen = victim.sweep_bytes(0, step, flips).unwrap_or_else(|text| panic!("{text}"));
    println!("{:?}: {seen:?}", victim.files());
    let growth = virtual_bytes_peak() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the address space grew by {} MiB", growth >> 20);
    assert!(seen.refused > 0 && seen.failed > 0, "the victim has logs and tables to damage");
    seen
}

#[test]
fn every_byte_of_a_closed_store() {
    let seen = sweep(&Victim::build(true, |_| {}), &FLIPS);
    assert_eq!(seen.shortened, 0, "a closed store loses nothing silently");
}

#[test]
fn every_byte_of_a_store_left_open() {
    let seen = sweep(&Victim::build(false, |_| {}), &FLIPS);
    assert!(seen.shortened > 0, "the last write can't be told from a torn one");
}

#[test]
fn every_byte_of_compressed_tables() {
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Snappy] {
        let victim = Victim::build(true, |options| {
            options.column_family.codecs = PerLevel::all(codec);
            options.column_family.block_bytes = 4096;
        });
        sweep(&victim, &[Flip::Xor(0x10)]);
    }
}

#[test]
fn every_length_of_every_file() {
    let victim = Victim::build(true, |_| {});
    let seen = victim.sweep_lengths(1).unwrap_or_else(|text| panic!("{text}"));
    println!("{seen:?}");
    assert_eq!(seen.shortened, 0);
}
