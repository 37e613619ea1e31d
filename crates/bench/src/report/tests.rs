//! Tests of the tables.

use super::format::{count, rate, short};
use super::*;
use crate::workloads;

fn record(engine: &str, round: u32, rate: f64) -> Record {
    Record::sample(engine, "scan", round, rate)
}

#[test]
fn figures_have_three_digits() {
    let rates: Vec<String> = [0.5, 9.999, 99.96, 999.6, 12_345.0, 999_600.0].map(rate).to_vec();
    assert_eq!(rates, ["0.50", "10.0", "100", "1.00 k", "12.3 k", "1.00 M"]);
    assert_eq!(short(1234.5), "1234");
    assert_eq!([count(5), count(1000), count(2_000_000)], ["5", "1,000", "2,000,000"]);
}

#[test]
fn medians_of_odd_even_and_none() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    assert_eq!(median(vec![]), None);
}

/// The machine halves its speed after the first round: the ratio does not notice.
#[test]
fn a_ratio_is_taken_within_a_round() {
    let records = [
        record("a", 1, 200.0),
        record("b", 1, 100.0),
        record("a", 2, 100.0),
        record("b", 2, 50.0),
        record("b", 3, 1.0),
    ];
    let ratios = Ratios::of(&records, "a", "b");
    assert_eq!(ratios.rates, [2.0, 2.0]);
    assert_eq!(ratios.rate_cell(), "2.00 (2.00-2.00)");
    assert_eq!(Ratios::of(&records, "a", "a").rate_cell(), "");
    // The same round of another run is another moment.
    let mut records = records;
    records[3].run = "later".to_owned();
    assert_eq!(Ratios::of(&records, "a", "b").rates, [2.0]);
    // A figure that is nothing says nothing.
    records[1].rate = 0.0;
    assert_eq!(Ratios::of(&records, "a", "b").rates, Vec::<f64>::new());
    let spread = Ratios { rates: vec![2.0, 1.5, 3.0], cpu: vec![1.0, 4.0] };
    assert_eq!((spread.rate_cell(), spread.cpu_cell()), ("2.00 (1.50-3.00)".into(), "2.50".into()));
}

/// Twice as fast at half the processor time is twice ahead in both.
#[test]
fn ratios_above_one_mean_that_the_first_is_ahead() {
    let mut records = [record("a", 1, 200.0), record("b", 1, 100.0)];
    records[0].cpu_settled_us = 3.0;
    records[1].cpu_settled_us = 6.0;
    let ratios = Ratios::of(&records, "a", "b");
    assert_eq!((ratios.rates, ratios.cpu), (vec![2.0], vec![2.0]));
}

#[test]
fn a_summary_has_a_line_a_workload() {
    let measured = [
        (workloads::find("scan").unwrap(), vec![record("a", 1, 6e6), record("b", 1, 3e6)]),
        (workloads::find("deletes").unwrap(), vec![record("a", 1, 5e5)]),
    ];
    let text = summary(&measured, true);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[2].contains("scan") && lines[2].contains("2.00"), "{text}");
    assert!(lines[3].contains("deletes") && lines[3].contains("500 k"), "{text}");
}

#[test]
fn a_markdown_table_has_a_line_an_engine_and_names_what_is_missing() {
    let mut first = record("a", 1, 1_500_000.0);
    first.write_amplification = Some(2.5);
    first.extra.insert("writes/s".to_owned(), 1234.0);
    let records = [first, record("b", 1, 1_000_000.0)];
    let workload = workloads::find("fillseq").unwrap();
    let text = table(workload, &records, true);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[2].contains("1.50 M") && lines[2].contains("2.50"), "{text}");
    assert!(lines[3].contains("1.50 |") && lines[3].contains("- |"), "{text}");
    assert!(text.contains("a: writes/s 1.23 k"), "{text}");
}

/// The engine that began the first round is not always the one that the others are held against.
#[test]
fn alluvium_is_the_first_line_and_the_longest_call_is_that_of_all_rounds() {
    let mut records = [record("b 1", 1, 1.0), record("alluvium 1", 1, 2.0), record("b 1", 2, 1.0)];
    records[2].max_us = 987.0;
    let text = table(workloads::find("scan").unwrap(), &records, true);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(lines[2].contains("alluvium 1"), "{text}");
    assert!(lines[3].contains(" 987 ") && lines[3].contains(" 2.00 "), "{text}");
    assert!(
        text.contains("100 keys, values of 100 bytes, durability Os, 1 thread(s), cache 8 MiB")
    );
}

#[test]
fn records_with_different_settings_are_refused_and_so_are_doubles() {
    let mut records = [record("a", 1, 1.0), record("b", 1, 1.0), record("a", 2, 1.0)];
    records[1].settings.stats = true;
    check(&records).unwrap();
    records[2].settings.keys = 7;
    let error = check(&records).unwrap_err().to_string();
    assert!(error.contains("scan") && error.contains("keys 100 and 7"), "{error}");
    // Another workload may have its own.
    records[2].workload = "fillseq".to_owned();
    check(&records).unwrap();
    records[1].engine = "a".to_owned();
    assert!(check(&records).unwrap_err().to_string().contains("twice"));
    records[1].run = "later".to_owned();
    check(&records).unwrap();
}
