//! What an ingest has to say at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use alluvium_events::IngestSummary;

use crate::output::bytes::escaped;
use crate::output::numbers::{bytes, counted, duration, grouped, rate};
use crate::output::table::{Column, Lines, shortened};

/// Characters of a source's name.
const NAME_WIDTH: usize = 60;

/// A line a source where there are several, the sum, and the rejected lines by kind.
pub fn text(sources: &[(String, IngestSummary)], time: Duration) -> String {
    let mut text = String::new();
    if sources.len() > 1 {
        text.push_str(&by_source(sources));
    }
    let sum = |value: fn(&IngestSummary) -> u64| sources.iter().map(|(_, s)| value(s)).sum::<u64>();
    let (events, rejected) = (sum(|s| s.events), sum(|s| s.rejected));
    text.push_str(&format!(
        "{} from {} in {}: {} events/s\n",
        counted(events, "event"),
        bytes(sum(|s| s.bytes)),
        duration(time),
        rate(events, time)
    ));
    let skipped = sum(|s| s.skipped_lines);
    if skipped > 0 {
        text.push_str(&format!("{} had been stored before\n", counted(skipped, "line")));
    }
    if rejected > 0 {
        text.push_str(&format!("{} rejected\n", counted(rejected, "line")));
        text.push_str(&by_kind(sources));
    }
    text
}

fn by_source(sources: &[(String, IngestSummary)]) -> String {
    let mut lines = Lines::new(&[Column::Text(NAME_WIDTH as u16), Column::Number, Column::Number]);
    lines.header(&["file", "events", "rejected"]);
    for (name, summary) in sources {
        let name = shortened(&escaped(name.as_bytes()), NAME_WIDTH);
        lines.row([name, grouped(summary.events), grouped(summary.rejected)]);
    }
    lines.text() + "\n"
}

fn by_kind(sources: &[(String, IngestSummary)]) -> String {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in sources.iter().flat_map(|(_, summary)| &summary.rejected_by_kind) {
        *kinds.entry(kind).or_default() += count;
    }
    let mut lines = Lines::new(&[Column::Text(50), Column::Number]);
    for (kind, count) in kinds {
        lines.row([kind.replace('_', " "), grouped(count)]);
    }
    lines.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(events: u64, rejected: u64, kind: &str) -> IngestSummary {
        let rejected_by_kind = BTreeMap::from([(kind.to_owned(), rejected)]);
        IngestSummary { events, rejected, rejected_by_kind, bytes: 1000, ..Default::default() }
    }

    #[test]
    fn one_source_is_a_line_and_several_are_a_table() {
        let one = [("a.log".to_owned(), IngestSummary { skipped_lines: 3, ..summary(1, 0, "x") })];
        assert_eq!(
            text(&one, Duration::from_secs(2)),
            "1 event from 1000 B in 2.00 s: 1 events/s\n3 lines had been stored before\n"
        );
        let two = [
            ("a.log".to_owned(), summary(1000, 2, "bad_time")),
            ("b\n.log".to_owned(), summary(500, 3, "bad_time")),
        ];
        assert_eq!(
            text(&two, Duration::from_secs(1)),
            "  file     events  rejected\n  a.log     1,000         2\n  \
             b\\n.log     500         3\n\n\
             1,500 events from 1.95 KiB in 1.00 s: 1,500 events/s\n\
             5 lines rejected\n  bad time  5\n"
        );
    }
}
