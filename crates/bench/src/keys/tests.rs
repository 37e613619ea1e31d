//! Tests of the keys, the values, the orders and the distributions.

use super::zipf::Zipf;
use super::*;

#[test]
fn a_permutation_hits_every_number_once() {
    for count in [1, 2, 3, 7, 64, 1000, 4096, 10_007] {
        for seed in 0..4 {
            let permutation = Permutation::new(count, seed);
            let mut seen = vec![false; count as usize];
            for position in 0..count {
                let number = permutation.at(position) as usize;
                assert!(!seen[number], "{number} twice in {count}, seed {seed}");
                seen[number] = true;
            }
        }
    }
}

#[test]
fn a_permutation_is_not_nearly_sorted() {
    let permutation = Permutation::new(100_000, 1);
    let ascending =
        (1..100_000).filter(|&at| permutation.at(at) > permutation.at(at - 1)).count() as f64;
    assert!((0.45..0.55).contains(&(ascending / 99_999.0)), "{ascending} ascending steps");
    let nearby = (1..100_000)
        .filter(|&at| permutation.at(at).abs_diff(permutation.at(at - 1)) < 1000)
        .count();
    assert!(nearby < 5_000, "{nearby} steps to a neighbour, about 2,000 expected");
}

#[test]
fn permutations_of_different_seeds_have_nothing_to_do_with_each_other() {
    let count = 200_000;
    for other in 2..12 {
        let (one, other) = (Permutation::new(count, 1), Permutation::new(count, other));
        for (from, to) in [(0, count / 2), (count / 10 * 8, count)] {
            let first: std::collections::HashSet<u64> =
                (0..count / 2).map(|position| one.at(position)).collect();
            let shared = (from..to).filter(|&position| first.contains(&other.at(position))).count();
            let share = shared as f64 / (to - from) as f64;
            assert!((0.47..0.53).contains(&share), "{share} of {from}..{to} are among the first");
        }
    }
}

#[test]
fn a_missing_key_lies_between_two_that_exist() {
    assert!(key_of(41) < missing_key_of(41) && missing_key_of(41) < key_of(42));
    assert!(key_of(255) < key_of(256) && key_of(65_535) < key_of(65_536));
}

#[test]
fn values_carry_their_number_and_repeat_their_first_half() {
    let mut values = Values::new(100, 7);
    for number in 0..30_000 {
        let mut value = Vec::new();
        values.append(number, &mut value);
        assert_eq!((value.len(), stamp_of(&value)), (100, number));
        assert_eq!(value[8..50], value[58..100]);
    }
    assert_eq!(stamp_of(b"short"), u64::MAX);
}

#[test]
fn values_differ_from_one_another() {
    let mut values = Values::new(100, 7);
    let mut all = std::collections::HashSet::new();
    for _ in 0..10_000 {
        let mut value = Vec::new();
        values.append(0, &mut value);
        all.insert(value);
    }
    assert_eq!(all.len(), 10_000);
}

/// The frequencies of the first ranks against the sum that defines the distribution.
#[test]
fn zipf_draws_ranks_as_often_as_it_says() {
    for exponent in [0.5, 0.99, 1.0, 1.3] {
        let count = 1000;
        let zipf = Zipf::new(count, exponent);
        let total: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
        let mut rng = Rng::new(3);
        let mut drawn = vec![0u64; count as usize];
        let draws = 400_000;
        for _ in 0..draws {
            drawn[zipf.draw(&mut rng) as usize] += 1;
        }
        for rank in [0usize, 1, 2, 9, 99] {
            let expected = draws as f64 * ((rank + 1) as f64).powf(-exponent) / total;
            let tolerance = 6.0 * expected.sqrt();
            let got = drawn[rank] as f64;
            assert!((got - expected).abs() < tolerance, "rank {rank}: {got} for {expected}");
        }
        let last = drawn[count as usize - 1];
        assert!(last > 0, "the last rank is drawn as well");
    }
}

#[test]
fn uniform_draws_fill_the_range_evenly() {
    let mut rng = Rng::new(11);
    let mut drawn = [0u32; 10];
    for _ in 0..100_000 {
        drawn[rng.below(10) as usize] += 1;
    }
    assert!(drawn.iter().all(|&times| (9_500..10_500).contains(&times)), "{drawn:?}");
}
