//! The curve of rates is that of the filter, and memory is divided by it as well as can be.

use super::*;
use crate::filter::monkey::{allocate, needless_reads};
use crate::filter::rate::{bits_for_rate, false_positive_rate};

/// The rate by Poisson's law: a line of `j` keys has `probes * j` bits set at random.
fn rate_by_law(bits: f64) -> f64 {
    let (mean, probes) = (512.0 / bits, i32::from(probes_for(bits)));
    let mut weight = (-mean).exp();
    let mut sum = 0.0;
    for j in 0..2_000 {
        let set = 1.0 - (511.0f64 / 512.0).powi(probes * j);
        sum += weight * set.powi(probes);
        weight *= mean / f64::from(j + 1);
    }
    sum
}

#[test]
fn the_rates_are_those_of_the_law() {
    for bits in 1..=32 {
        let (known, law) = (false_positive_rate(f64::from(bits)), rate_by_law(f64::from(bits)));
        assert!((known / law - 1.0).abs() < 1e-3, "{bits} bits: {known} and {law}");
    }
    for bits in [1.5, 2.5, 4.3, 7.7, 9.9] {
        let (known, law) = (false_positive_rate(bits), rate_by_law(bits));
        assert!((known / law - 1.0).abs() < 0.06, "{bits} bits: {known} and {law}");
    }
    // Below a bit the law's sum underflows; the form is its limit for one probe.
    assert!((false_positive_rate(0.999_999) - false_positive_rate(1.0)).abs() < 1e-4);
}

#[test]
fn the_rates_are_those_that_are_counted() {
    for bits in [0.3, 0.7, 1.0, 2.0, 3.5, 5.0, 8.0, 10.0] {
        let filter = filter_of(50_000, bits);
        let passed = (50_000..250_000).filter(|&n| filter.may_contain(hash_of(n))).count();
        let (counted, known) = (passed as f64 / 200_000.0, false_positive_rate(bits));
        assert!((counted / known - 1.0).abs() < 0.07, "{bits} bits: {counted}, not {known}");
    }
}

#[test]
fn the_way_back_from_a_rate_is_the_way() {
    for tenths in 0..=320 {
        let bits = f64::from(tenths) / 10.0;
        let back = bits_for_rate(false_positive_rate(bits));
        // A hundredth of a bit a key lets all but 10^-44 through: that is 1 to a double.
        assert!((back - bits).abs() < 1e-6, "{bits} bits come back as {back}");
    }
    assert_eq!(bits_for_rate(1e-9), 32.0);
    assert_eq!(bits_for_rate(2.0), 0.0);
}

#[test]
fn three_levels_at_ten_bits_cost_little_more_than_the_last_alone() {
    let runs = [100_000, 1_000_000, 10_000_000];
    let bits = allocate(&runs, 10.0 * 11_100_000.0);
    let uniform = needless_reads(&[10.0; 3]);
    let text = format!("{bits:.2?} {:.5} {uniform:.5}", needless_reads(&bits));
    expect_test::expect![["[21.31, 14.88, 9.40] 0.01405 0.02873"]].assert_eq(&text);
}

#[test]
fn a_large_run_gives_its_bits_away_where_there_are_few() {
    let bits = allocate(&[1_000, 10_000, 1_000_000], 50_000.0);
    assert_eq!(bits[2], 0.0, "{bits:?}");
    assert!(bits[0] > bits[1] && bits[1] > 3.0, "{bits:?}");
}

#[test]
fn one_run_gets_all_and_none_gets_nothing() {
    let bits = allocate(&[1 << 40], 7.5 * (1u64 << 40) as f64);
    assert!((bits[0] - 7.5).abs() < 1e-6, "{bits:?}");
    assert_eq!(allocate(&[], 100.0), Vec::<f64>::new());
    assert_eq!(allocate(&[0, 0], 100.0), [0.0, 0.0]);
    assert_eq!(allocate(&[5], 0.0), [0.0]);
    let rich = allocate(&[3, 4_000], f64::MAX);
    assert!(rich.iter().all(|&bits| bits <= 32.0), "{rich:?}");
}

fn shape(runs: &[u64], output_run: usize, kept_filter_bytes: u64) -> FilterShape {
    FilterShape {
        runs: runs.to_vec(),
        output_run,
        output_entries: runs[output_run],
        entries: runs.iter().sum(),
        kept_filter_bytes,
    }
}

#[test]
fn each_policy_says_what_a_table_gets() {
    let bits = |policy: FilterPolicy, shape: &FilterShape| policy.bits_per_key(shape, false);
    let runs = [1_000, 100_000];
    let (upper, lower) = (shape(&runs, 0, 0), shape(&runs, 1, 0));
    assert_eq!(bits(FilterPolicy::None, &upper), 0.0);
    assert_eq!(bits(FilterPolicy::Uniform { bits_per_key: 3.5 }, &upper), 3.5);
    let monkey = FilterPolicy::Monkey { bits_per_key: 10.0 };
    assert!(bits(monkey, &upper) > 18.0 && bits(monkey, &lower) < 10.0);
    let bytes = FilterPolicy::MonkeyBytes { bytes: 101_000 * 10 / 8 * 9 / 8 };
    assert!((bits(bytes, &upper) - bits(monkey, &upper)).abs() < 1e-3);
    let halved = bytes.bits_per_key(&lower, true);
    assert!((halved * 2.0 - bits(bytes, &lower)).abs() < 0.5, "prefixes take their share");
}

#[test]
fn what_the_other_filters_take_counts_against_the_figure() {
    let monkey = FilterPolicy::Monkey { bits_per_key: 10.0 };
    // Tables that only moved down have 20 bits a key: this one gets what they left.
    let full = shape(&[10_000, 90_000], 0, 90_000 * 20 / 8);
    assert_eq!(FilterPolicy::MonkeyBytes { bytes: 125_000 }.bits_per_key(&full, false), 0.0);
    assert_eq!(monkey.bits_per_key(&full, false), 10.0, "the average, and no more");
    let large = shape(&[10_000, 90_000], 1, 10_000 * 200 / 8);
    assert!(monkey.bits_per_key(&large, false) < 10.0, "nor for what wants less");
    let kept = 100_000 * 10 / 8;
    let left = monkey.bits_per_key(&shape(&[10_000, 90_000], 0, kept), false);
    assert!((left - 12.5).abs() < 1e-9, "an eighth of all above the figure: {left}");
}

/// However tables move without being rewritten, what they were given never adds up.
#[test]
fn tables_that_only_move_stay_within_an_eighth_above_the_figure() {
    for bits_per_key in [1.0, 5.0, 10.0] {
        let monkey = FilterPolicy::Monkey { bits_per_key };
        let (mut entries, mut filter_bytes) =
            (1_000_000u64, (1_000_000.0 * bits_per_key / 8.0) as u64);
        for _ in 0..500 {
            entries += 10_000;
            let shape = FilterShape {
                runs: vec![10_000, entries],
                output_run: 0,
                output_entries: 10_000,
                entries,
                kept_filter_bytes: filter_bytes,
            };
            let bits = monkey.bits_per_key(&shape, false);
            assert!(bits >= bits_per_key);
            filter_bytes += (bits * 10_000.0 / 8.0) as u64;
        }
        let figure = entries as f64 * bits_per_key / 8.0;
        let above = filter_bytes as f64 / figure;
        assert!(above > 1.1 && above < 1.126, "{above}");
    }
}

#[test]
fn figures_that_no_filter_can_have_are_refused() {
    for bits_per_key in [-0.1, 32.1, f64::NAN, f64::INFINITY] {
        assert!(!FilterPolicy::Uniform { bits_per_key }.is_sound());
        assert!(!FilterPolicy::Monkey { bits_per_key }.is_sound());
    }
    assert!(FilterPolicy::default().is_sound());
}

#[test]
fn prefixes_are_cut_and_written_down() {
    let fixed = PrefixExtractor::Fixed(3);
    assert_eq!(fixed.prefix(b"abcd"), Some(&b"abc"[..]));
    assert_eq!(fixed.prefix(b"ab"), None);
    let slash = PrefixExtractor::UpToByte(b'/');
    assert_eq!(slash.prefix(b"a/b/c"), Some(&b"a/"[..]));
    assert_eq!(slash.prefix(b"abc"), None);
    for extractor in [None, Some(fixed), Some(slash)] {
        let mut bytes = Vec::new();
        PrefixExtractor::encode_into(extractor, &mut bytes);
        assert_eq!(PrefixExtractor::decode(&mut &bytes[..]), Some(extractor));
    }
    for bad in [&[][..], &[0, 1], &[1, 0], &[1, 0xff, 0xff, 0x7f], &[2, 0x80, 2], &[3, 0]] {
        assert_eq!(PrefixExtractor::decode(&mut &bad[..]), None, "{bad:?}");
    }
    assert_ne!(prefix_hash(b"abc"), key_hash(b"abc"));
}

proptest! {
    #[test]
    fn memory_is_kept_to_and_equal_bits_are_never_better(
        runs in proptest::collection::vec(0u64..1 << 40, 1..12),
        bits in 0.01f64..40.0,
    ) {
        let total = bits * runs.iter().sum::<u64>() as f64;
        let found = allocate(&runs, total);
        let used: f64 = runs.iter().zip(&found).map(|(&count, bits)| count as f64 * bits).sum();
        prop_assert!(used <= total * (1.0 + 1e-9) + 1e-9, "{used} of {total}");
        let uniform = needless_reads(&vec![bits.min(32.0); runs.len()]);
        prop_assert!(needless_reads(&found) <= uniform * (1.0 + 1e-12), "{found:?}");
    }

    #[test]
    fn only_proportions_count(
        runs in proptest::collection::vec(1u64..1 << 30, 1..8),
        bits in 0.1f64..30.0,
        times in 2u64..1000,
    ) {
        let total = bits * runs.iter().sum::<u64>() as f64;
        let larger: Vec<u64> = runs.iter().map(|count| count * times).collect();
        let (a, b) = (allocate(&runs, total), allocate(&larger, total * times as f64));
        let (a, b) = (needless_reads(&a), needless_reads(&b));
        prop_assert!((a / b - 1.0).abs() < 1e-6, "{a} and {b}");
    }

    #[test]
    fn a_smaller_run_never_gets_fewer_bits(
        runs in proptest::collection::vec(1u64..1 << 30, 2..8),
        bits in 0.1f64..30.0,
    ) {
        let found = allocate(&runs, bits * runs.iter().sum::<u64>() as f64);
        let mut sorted: Vec<(u64, f64)> = runs.into_iter().zip(found).collect();
        sorted.sort_by_key(|&(count, _)| count);
        prop_assert!(sorted.is_sorted_by(|a, b| a.1 >= b.1 - 1e-9), "{sorted:?}");
    }

    #[test]
    fn all_keys_of_a_prefix_find_it(key: Vec<u8>, more: Vec<u8>, fixed in 1u32..6, byte: u8) {
        for extractor in [PrefixExtractor::Fixed(fixed), PrefixExtractor::UpToByte(byte)] {
            if let Some(prefix) = extractor.prefix(&key) {
                let longer = [&key[..], &more].concat();
                prop_assert_eq!(extractor.prefix(&longer), Some(prefix));
                prop_assert!(key.starts_with(prefix));
            }
        }
    }
}
