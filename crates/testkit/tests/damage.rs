//! Every byte of a small store, changed.

use alluvium::env::FileId;
use alluvium::{Codec, PerLevel};
use alluvium_testkit::damage::{Flip, Seen, Victim};
use alluvium_testkit::runner::number;
use peak_alloc::PeakAlloc;

const FLIPS: [Flip; 10] = [
    Flip::Xor(1 << 0),
    Flip::Xor(1 << 1),
    Flip::Xor(1 << 2),
    Flip::Xor(1 << 3),
    Flip::Xor(1 << 4),
    Flip::Xor(1 << 5),
    Flip::Xor(1 << 6),
    Flip::Xor(1 << 7),
    Flip::Set(0x00),
    Flip::Set(0xff),
];

/// Counts what is allocated by all tests here together.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// No length from a damaged file may make the process hold this much at once.
const ALLOCATED_BYTES_MAX: usize = 16 << 20;

fn check_allocated() {
    let peak = ALLOCATOR.peak_usage();
    println!("at most {peak} bytes allocated at once");
    assert!(peak < ALLOCATED_BYTES_MAX, "{peak} bytes were allocated at once");
}

fn sweep(victim: &Victim, flips: &[Flip]) -> Seen {
    let step = number("ALLUVIUM_DAMAGE_STEP").unwrap_or(1) as usize;
    let seen = victim.sweep_bytes(0, step, flips).unwrap_or_else(|text| panic!("{text}"));
    println!("{:?}: {seen:?}", victim.files());
    check_allocated();
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

/// Cut, grown, swapped, stale and missing files, sectors gone and out of place.
#[test]
fn every_shape_of_damage_to_a_closed_store() {
    let victim = Victim::build(true, |_| {});
    let step = number("ALLUVIUM_DAMAGE_STEP").unwrap_or(1) as usize;
    let seen = victim.sweep_shapes(step).unwrap_or_else(|text| panic!("{text}"));
    println!("{seen:?}");
    check_allocated();
    assert!(seen.refused > 0 && seen.failed > 0);
}

#[test]
fn every_shape_of_damage_to_a_store_left_open() {
    let victim = Victim::build(false, |options| options.wal_bytes_max = 1);
    let step = number("ALLUVIUM_DAMAGE_STEP").unwrap_or(1) as usize;
    let seen = victim.sweep_shapes(step).unwrap_or_else(|text| panic!("{text}"));
    println!("{:?}: {seen:?}", victim.files());
    check_allocated();
    assert!(seen.shortened > 0, "a log that ends early can't be told from one never longer");
}

/// Values that stand apart from their keys.
#[test]
fn every_byte_and_every_shape_of_blob_files() {
    for closed in [true, false] {
        let victim = Victim::build(closed, |options| {
            options.column_family.blob_bytes_min = Some(100);
        });
        let is_blob = |(file, _): &(FileId, usize)| matches!(file, FileId::Blob(_));
        let blobs = victim.files().into_iter().filter(is_blob).count();
        assert!(blobs > 0, "{:?}", victim.files());
        sweep(&victim, &[Flip::Xor(0x10)]);
        let step = number("ALLUVIUM_DAMAGE_STEP").unwrap_or(1) as usize;
        let seen = victim.sweep_shapes(step).unwrap_or_else(|text| panic!("{text}"));
        assert!(seen.refused > 0 && seen.failed > 0);
    }
}
