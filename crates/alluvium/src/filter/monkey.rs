//! How a fixed amount of memory is best divided among the filters of sorted runs.
//!
//! A lookup of a key that is nowhere asks every run, and reads a block for nothing in each whose
//! filter lets the key through: it costs the *sum* of the runs' false-positive rates. A bit more a
//! key lowers the rate of a small run by the same factor as that of a large one, and costs less
//! there. The sum is least where the rate of each run is proportional to its entries, no rate being
//! above 1 (Dayan, Athanassoulis, Idreos: *Monkey: Optimal Navigable Key-Value Store*, 2017).
//! With equal bits everywhere the sum grows with every level; so divided it is hardly more than the
//! rate of the largest run.
//!
//! The curve of rates is that of our own filter (`rate.rs`). It starts flat: a quarter of a bit a
//! key is nearly no filter at all. Where the formula would give a large run as little, leaving it
//! without a filter and giving its bits to the others may be better, and is tried.
//!
//! The division is that of a tree at rest: each run counts with what it will hold when the tables
//! that are written now have long been in it, and not with what it happens to hold meanwhile
//! (`compaction::shape` says how much that is).
//!
//! Pure. Never more memory than given; by the same curve never worse than equal bits, with which
//! the result is compared in the end.

use crate::filter::rate::{BITS_PER_KEY_MAX, bits_for_rate, false_positive_rate};

/// Halvings in the search for the factor of proportion: enough for every digit that counts.
const HALVINGS: usize = 100;
/// Below this many bits a key it is tried to do without a run's filter.
const DOUBTFUL_BITS: f64 = 2.0;

/// The bits a key for each run of `entries`, all filters together within `bits_total`.
pub(crate) fn allocate(entries: &[u64], bits_total: f64) -> Vec<f64> {
    let all: f64 = entries.iter().map(|&count| count as f64).sum();
    if all == 0.0 || bits_total <= 0.0 {
        return vec![0.0; entries.len()];
    }
    let uniform = (bits_total / all).min(BITS_PER_KEY_MAX);
    let mut best = vec![uniform; entries.len()];
    let mut largest_first: Vec<usize> = (0..entries.len()).collect();
    largest_first.sort_by_key(|&run| std::cmp::Reverse(entries[run]));
    let mut left_out = vec![false; entries.len()];
    for &run in &largest_first {
        let found = proportional(entries, &left_out, bits_total);
        let doubtful = found[run] < DOUBTFUL_BITS;
        if needless_reads(&found) < needless_reads(&best) {
            best = found;
        }
        if !doubtful {
            break;
        }
        left_out[run] = true;
    }
    best
}

/// The blocks that a lookup of a key that is nowhere reads for nothing, on average.
pub(crate) fn needless_reads(bits_per_key: &[f64]) -> f64 {
    bits_per_key.iter().map(|&bits| false_positive_rate(bits)).sum()
}

/// Rates in proportion to the entries, the runs that are left out having no filter.
fn proportional(entries: &[u64], left_out: &[bool], bits_total: f64) -> Vec<f64> {
    let bits_at = |factor: f64| -> Vec<f64> {
        let each = entries.iter().zip(left_out);
        let bits =
            each.map(|(&count, &out)| if out { 0.0 } else { bits_for_rate(factor * count as f64) });
        bits.collect()
    };
    let fits = |bits: &[f64]| {
        let used: f64 = entries.iter().zip(bits).map(|(&count, bits)| count as f64 * bits).sum();
        used <= bits_total
    };
    // At a factor of 1 even a run of one entry has no filter; 2^-100 is below every rate.
    let (mut low, mut high) = (-100.0f64, 0.0f64);
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if fits(&bits_at(middle.exp2())) { high = middle } else { low = middle }
    }
    bits_at(high.exp2())
}
