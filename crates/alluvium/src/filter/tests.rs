//! No key is lost, and the false-positive rate is what ten bits buy.

mod memory;

use super::*;
use crate::base::checksum::key_hash;
use proptest::prelude::*;

fn hash_of(n: u64) -> u64 {
    key_hash(format!("user:{n:012}").as_bytes())
}

fn filter_of(keys: u64, bits_per_key: f64) -> FilterReader {
    let mut builder = FilterBuilder::new(bits_per_key);
    for n in 0..keys {
        builder.add_hash(hash_of(n));
    }
    FilterReader::parse(&builder.finish()).expect("own filter parses")
}

#[test]
fn ten_bits_let_about_one_in_a_hundred_through_and_no_key_is_denied() {
    let filter = filter_of(100_000, 10.0);
    for n in 0..100_000 {
        assert!(filter.may_contain(hash_of(n)), "key {n} is denied");
    }
    let passed = (100_000..300_000).filter(|&n| filter.may_contain(hash_of(n))).count();
    let percent = passed as f64 / 2_000.0;
    assert!((0.5..=1.5).contains(&percent), "{percent} % let through");
}

#[test]
fn more_bits_let_fewer_through() {
    let passed: Vec<usize> = [4.0, 8.0, 12.0, 16.0]
        .map(|bits| {
            let filter = filter_of(20_000, bits);
            (20_000..120_000).filter(|&n| filter.may_contain(hash_of(n))).count()
        })
        .to_vec();
    assert!(passed.is_sorted_by(|a, b| a > b), "{passed:?}");
}

#[test]
fn no_bits_or_no_keys_make_no_filter() {
    let mut builder = FilterBuilder::new(0.0);
    builder.add_hash(1);
    assert_eq!(builder.estimated_bytes(), 0);
    assert!(builder.finish().is_empty());
    assert!(FilterBuilder::new(10.0).finish().is_empty());
}

#[test]
fn the_bits_are_pinned_because_they_are_on_disk() {
    let mut builder = FilterBuilder::new(10.0);
    builder.add_hash(key_hash(b"alluvium"));
    builder.add_hash(key_hash(b""));
    assert_eq!(builder.estimated_bytes(), 70);
    let bytes = builder.finish();
    let set: Vec<usize> =
        (0..512).filter(|&bit| bytes[6 + bit / 8] >> (bit % 8) & 1 == 1).collect();
    expect_test::expect![
        "[1, 6, 1, 0, 0, 0] [10, 32, 79, 113, 150, 185, 255, 262, 303, 306, 391, 501]"
    ]
    .assert_eq(&format!("{:?} {set:?}", &bytes[..6]));
}

#[test]
fn wrong_headers_are_refused() {
    let mut builder = FilterBuilder::new(10.0);
    builder.add_hash(7);
    let good = builder.finish();
    let parse = |bytes: &[u8]| FilterReader::parse(bytes).is_some();
    assert!(parse(&good));
    for (index, value) in [(0, 2), (1, 0), (1, 17), (2, 0), (2, 2), (5, 1)] {
        let mut bad = good.clone();
        bad[index] = value;
        assert!(!parse(&bad), "byte {index} set to {value}");
    }
    for length in 0..good.len() {
        assert!(!parse(&good[..length]), "cut to {length}");
    }
    let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
    assert!(!parse(&longer));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_or_answer(bytes: Vec<u8>, lines in 1u8..4, hash: u64) {
        if let Some(filter) = FilterReader::parse(&bytes) {
            filter.may_contain(hash);
        }
        let mut shaped = vec![1, 6, lines, 0, 0, 0];
        shaped.resize(6 + 64 * usize::from(lines), 0xa5);
        let filter = FilterReader::parse(&shaped).expect("well formed");
        filter.may_contain(hash);
    }
}
