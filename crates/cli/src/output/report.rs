//! The report for people: totals, events over time, the busiest users and paths, status codes.
//!
//! At most 100 columns wide. Users and paths come from logs that anybody can write into, so they
//! are escaped like every other stored byte.

use alluvium_events::Report;

use crate::output::bars::bar;
use crate::output::bytes::escaped;
use crate::output::histogram::{self, Row};
use crate::output::numbers::{bytes, grouped, percent};
use crate::output::table::{Column, Lines};
use crate::output::time::instant;

/// Characters of a user or path that are shown.
const NAME_WIDTH: u16 = 44;
/// Characters of the longest bar in the histogram, and in the lists.
const HISTOGRAM_WIDTH: usize = 50;
const LIST_WIDTH: usize = 20;

/// The whole page.
pub fn text(report: &Report) -> String {
    let mut page = totals(report);
    if report.events == 0 {
        return page;
    }
    page.push_str(&over_time(report));
    page.push_str(&most("Top users", report.events, &report.top_users));
    page.push_str(&most("Top paths", report.events, &report.top_paths));
    page.push_str(&by_status(report));
    page
}

fn totals(report: &Report) -> String {
    let mut lines = Lines::new(&[Column::Text(20), Column::Number, Column::Text(50)]);
    let mut row = |name: &str, value: u64, note: String| {
        lines.row([name.to_owned(), grouped(value), note]);
    };
    row("events", report.events, String::new());
    row("rejected lines", report.rejected, String::new());
    row("distinct users", report.distinct_users, String::new());
    row("distinct paths", report.distinct_paths, String::new());
    row("sessions", report.sessions, "more than 30 minutes apart".to_owned());
    if report.missing_bytes < report.events {
        let sum = u64::try_from(report.bytes).map_or_else(|_| String::new(), bytes);
        let missing = match report.missing_bytes {
            0 => String::new(),
            missing => format!("; {} events have none", grouped(missing)),
        };
        lines.row(["bytes".to_owned(), signed(report.bytes), format!("{sum}{missing}")]);
    }
    let mut page = heading("Totals");
    page.push_str(&lines.text());
    if let (Some(first), Some(last)) = (report.first, report.last) {
        page.push_str(&format!("  {} to {} UTC\n", instant(first), instant(last)));
    }
    page
}

fn over_time(report: &Report) -> String {
    let hours: Vec<(i64, u64)> = report.hours.iter().map(|(&hour, &count)| (hour, count)).collect();
    let (unit, rows) = histogram::rows(&hours);
    let largest = rows.iter().map(Row::events).max().unwrap_or(0);
    let mut lines =
        Lines::new(&[Column::Text(20), Column::Number, Column::Text(HISTOGRAM_WIDTH as u16)]);
    for row in rows {
        match row {
            Row::Count { label, events } => {
                let bar = bar(events, largest, HISTOGRAM_WIDTH);
                lines.row([label, grouped(events), bar]);
            }
            Row::Hole(units) => {
                let note = format!("{} {}s without events", grouped(units as u64), unit.name());
                lines.row(["⋮".to_owned(), String::new(), note]);
            }
        }
    }
    heading(&format!("Events per {} (UTC)", unit.name())) + &lines.text()
}

fn most(title: &str, events: u64, list: &[(Vec<u8>, u64)]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let largest = list.first().map_or(0, |(_, count)| *count);
    let mut lines = share_lines();
    for (name, count) in list {
        lines.row(share_row(escaped(name), *count, events, largest));
    }
    heading(title) + &lines.text()
}

fn by_status(report: &Report) -> String {
    if report.status.is_empty() {
        return String::new();
    }
    let largest = report.status.values().copied().max().unwrap_or(0);
    let mut lines = share_lines();
    for (status, &count) in &report.status {
        lines.row(share_row(escaped(status.as_bytes()), count, report.events, largest));
    }
    heading("Status") + &lines.text()
}

fn share_lines() -> Lines {
    let bar = Column::Text(LIST_WIDTH as u16);
    Lines::new(&[Column::Text(NAME_WIDTH), Column::Number, Column::Number, bar])
}

fn share_row(name: String, count: u64, events: u64, largest: u64) -> [String; 4] {
    [name, grouped(count), percent(count, events), bar(count, largest, LIST_WIDTH)]
}

fn heading(title: &str) -> String {
    format!("{}{title}\n", if title == "Totals" { "" } else { "\n" })
}

fn signed(number: i128) -> String {
    let digits = u64::try_from(number.unsigned_abs()).map_or(number.to_string(), grouped);
    if number < 0 { format!("-{digits}") } else { digits }
}

#[cfg(test)]
mod tests;
