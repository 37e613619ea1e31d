//! Events over time as rows that fit a screen: hours; days, months or years where there are many.
//!
//! The unit is the finest one with at most [`ROWS_MAX`] rows that hold events. Short holes are rows
//! of zero, because a quiet hour is news; a long one is a single row, because one event with a
//! wrong clock must not push everything else off the screen.

use crate::output::time;

/// The most rows with events before a coarser unit is taken.
const ROWS_MAX: usize = 48;
/// The longest hole shown as rows of zero.
const HOLE_MAX: i64 = 6;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The unit of a histogram's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
    Month,
    Year,
}

impl Unit {
    /// Its name, for the heading.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Month => "month",
            Unit::Year => "year",
        }
    }

    /// The number of the unit that holds `ms`; neighbours differ by one.
    fn index(self, ms: i64) -> i64 {
        let (year, month, _) = time::date(ms).unwrap_or((i16::MAX, 1, 1));
        match self {
            Unit::Hour => ms.div_euclid(HOUR_MS),
            Unit::Day => ms.div_euclid(DAY_MS),
            Unit::Month => i64::from(year) * 12 + i64::from(month) - 1,
            Unit::Year => i64::from(year),
        }
    }

    fn label(self, index: i64) -> String {
        match self {
            Unit::Hour => time::text(index * HOUR_MS, "%Y-%m-%d %H:00"),
            Unit::Day => time::text(index * DAY_MS, "%Y-%m-%d %a"),
            Unit::Month => format!("{:04}-{:02}", index.div_euclid(12), index.rem_euclid(12) + 1),
            Unit::Year => format!("{index:04}"),
        }
    }
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub enum Row {
    /// A unit of time and its events.
    Count { label: String, events: u64 },
    /// A hole of this many units without an event.
    Hole(i64),
}

impl Row {
    /// The events of the row.
    pub fn events(&self) -> u64 {
        match self {
            Row::Count { events, .. } => *events,
            Row::Hole(_) => 0,
        }
    }
}

/// The rows for `hours`: the start of each hour that has events, ascending, and how many.
pub fn rows(hours: &[(i64, u64)]) -> (Unit, Vec<Row>) {
    let mut unit = Unit::Hour;
    let mut counts = merged(hours, unit);
    for coarser in [Unit::Day, Unit::Month, Unit::Year] {
        if counts.len() <= ROWS_MAX {
            break;
        }
        unit = coarser;
        counts = merged(hours, unit);
    }
    let mut rows = Vec::with_capacity(counts.len());
    let mut previous = None;
    for (index, events) in counts {
        let hole = previous.map_or(0, |previous: i64| index - previous - 1);
        if hole > HOLE_MAX {
            rows.push(Row::Hole(hole));
        } else {
            rows.extend(
                (index - hole..index).map(|i| Row::Count { label: unit.label(i), events: 0 }),
            );
        }
        rows.push(Row::Count { label: unit.label(index), events });
        previous = Some(index);
    }
    (unit, rows)
}

fn merged(hours: &[(i64, u64)], unit: Unit) -> Vec<(i64, u64)> {
    let mut counts: Vec<(i64, u64)> = Vec::new();
    for &(ms, events) in hours {
        let index = unit.index(ms);
        match counts.last_mut() {
            Some((last, sum)) if *last == index => *sum += events,
            _ => counts.push((index, events)),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(starts: impl IntoIterator<Item = i64>) -> Vec<(i64, u64)> {
        starts.into_iter().map(|hour| (hour * HOUR_MS, 2)).collect()
    }

    fn labels(rows: &[Row]) -> Vec<String> {
        rows.iter()
            .map(|row| match row {
                Row::Count { label, events } => format!("{label} {events}"),
                Row::Hole(units) => format!("hole of {units}"),
            })
            .collect()
    }

    #[test]
    fn two_days_stay_hours_and_short_holes_are_rows() {
        let (unit, rows) = rows(&hours([-1, 0, 3, 20]));
        assert_eq!(unit, Unit::Hour);
        assert_eq!(
            labels(&rows),
            [
                "1969-12-31 23:00 2",
                "1970-01-01 00:00 2",
                "1970-01-01 01:00 0",
                "1970-01-01 02:00 0",
                "1970-01-01 03:00 2",
                "hole of 16",
                "1970-01-01 20:00 2",
            ]
        );
    }

    #[test]
    fn the_unit_grows_until_the_rows_fit() {
        assert_eq!(rows(&hours(0..48)).0, Unit::Hour);
        let (unit, days) = rows(&hours(0..49));
        assert_eq!(unit, Unit::Day);
        assert_eq!(labels(&days), ["1970-01-01 Thu 48", "1970-01-02 Fri 48", "1970-01-03 Sat 2"]);
        assert_eq!(rows(&hours((0..100).map(|day| day * 24))).0, Unit::Month);
        let (unit, years) = rows(&hours((0..5000).map(|day| day * 24)));
        assert_eq!(unit, Unit::Year);
        assert_eq!(labels(&years)[..2], ["1970 730", "1971 730"]);
        let months = rows(&hours((0..100).map(|day| day * 24))).1;
        assert_eq!(labels(&months)[3], "1970-04 20");
    }

    #[test]
    fn no_events_are_no_rows_and_far_times_are_rows() {
        assert!(rows(&[]).1.is_empty());
        let far = [(i64::MIN / 2, 1), (0, 1), (i64::MAX / 2, 1)];
        assert_eq!(rows(&far).1.len(), 5);
    }
}
