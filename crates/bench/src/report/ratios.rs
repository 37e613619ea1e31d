//! The one way in which two engines are compared: figure by figure within a moment.
//!
//! A moment is a round of a run: both engines did the same work within the same minutes. Records of
//! other rounds or other runs never meet, whatever file they stand in, and [`check`] refuses those
//! that were made with different settings. A ratio that is no number above zero (a figure that is
//! missing or nothing) is left out: it says nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Result;
use crate::record::Record;
use crate::report::format::short;
use crate::settings::Settings;

/// Settings that change nothing of what is measured.
const IRRELEVANT: [&str; 1] = ["stats"];

/// The figure of `ours` by that of `theirs`, of each moment that has both, oldest first.
pub fn ratios<'a>(
    records: impl IntoIterator<Item = &'a Record> + Clone,
    ours: impl Fn(&Record) -> bool,
    theirs: impl Fn(&Record) -> bool,
    figure: impl Fn(&Record) -> Option<f64>,
) -> Vec<f64> {
    let of = |wanted: &dyn Fn(&Record) -> bool| -> BTreeMap<(&'a str, u32), f64> {
        let own = records.clone().into_iter().filter(|record| wanted(record));
        own.filter_map(|record| Some((record.moment(), figure(record)?))).collect()
    };
    let (ours, theirs) = (of(&ours), of(&theirs));
    let both = ours.iter().filter_map(|(moment, one)| Some(one / theirs.get(moment)?));
    both.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect()
}

/// The median of ratios and, of several, the lowest and the highest.
pub fn spread(ratios: &[f64]) -> String {
    let Some(middle) = median(ratios.to_vec()) else { return String::new() };
    if ratios.len() == 1 {
        return short(middle);
    }
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{middle:.2} ({lowest:.2}-{highest:.2})")
}

/// The median; the mean of the middle two for an even number of figures.
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    if figures.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(figures[middle - 1], upper))
}

/// Whether the records can stand in one report.
///
/// # Errors
///
/// One workload was measured with different settings, or a measurement is there twice.
pub fn check(records: &[Record]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Settings> = BTreeMap::new();
    let mut once = std::collections::BTreeSet::new();
    for record in records {
        let workload = record.workload.as_str();
        let first = *seen.entry(workload).or_insert(&record.settings);
        let differences = differences(first, &record.settings)?;
        if !differences.is_empty() {
            let differences = differences.join(", ");
            return Err(format!(
                "{workload} was measured with different settings ({differences}): keep them in \
                 files of their own"
            )
            .into());
        }
        if !once.insert((workload, &record.engine, record.moment())) {
            let Record { engine, round, run, .. } = record;
            return Err(
                format!("{engine} {workload}, round {round} of {run}, is there twice").into()
            );
        }
    }
    Ok(())
}

/// The settings that differ, with both values.
fn differences(one: &Settings, other: &Settings) -> Result<Vec<String>> {
    let (one, other) = (serde_json::to_value(one)?, serde_json::to_value(other)?);
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        return Err("settings are no object".into());
    };
    let both = one.iter().filter_map(|(name, value)| Some((name, value, other.get(name)?)));
    let differing =
        both.filter(|(name, one, two)| one != two && !IRRELEVANT.contains(&name.as_str()));
    Ok(differing.map(|(name, one, two)| format!("{name} {one} and {two}")).collect())
}
