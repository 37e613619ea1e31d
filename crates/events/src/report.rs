//! The report: one scan over a range of time, everything counted on the way.
//!
//! Because the scan is in time order, a visitor's sessions can be counted as their events go by: an
//! event begins a session when the visitor's last one is more than 30 minutes back, or outside
//! the range, or there is none. Memory grows with the *distinct* users and paths of the range,
//! not with its events.

use std::collections::BTreeMap;
use std::ops::Bound;

use alluvium::Snapshot;
use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::error::EventsError;
use crate::store::codec::{Position, Status, damaged, take_details, take_prefixed, time_key};
use crate::store::state::SourceState;
use crate::store::{EventStore, source_range};
use crate::time::format_time;

/// A visitor who is silent for longer than this begins a new session.
const SESSION_GAP_MS: i64 = 30 * 60 * 1000;
const HOUR_MS: i64 = 3_600_000;

/// What to report on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOptions {
    /// The first time that counts, in milliseconds. Default: the beginning.
    pub from: Option<i64>,
    /// The first time that counts no more. Default: the end.
    pub to: Option<i64>,
    /// Length of the top lists. Default: 10.
    pub top: usize,
}

impl Default for ReportOptions {
    fn default() -> ReportOptions {
        ReportOptions { from: None, to: None, top: 10 }
    }
}

/// What the events of a range of time add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Malformed lines in all sources of the store: they have no time, so no range limits them.
    pub rejected: u64,
    /// The time of the first event.
    pub first: Option<i64>,
    /// The time of the last event.
    pub last: Option<i64>,
    /// Events by hour (UTC; its first millisecond). Hours without events are not there.
    pub hours: BTreeMap<i64, u64>,
    /// Different users.
    pub distinct_users: u64,
    /// Different paths.
    pub distinct_paths: u64,
    /// The users with most events; equal counts in byte order.
    pub top_users: Vec<(Vec<u8>, u64)>,
    /// The paths with most events; equal counts in byte order.
    pub top_paths: Vec<(Vec<u8>, u64)>,
    /// Events by status, as far as it is UTF-8. Events without one are not there.
    pub status: BTreeMap<String, u64>,
    /// The sum of all byte counts.
    pub bytes: i128,
    /// Events without a byte count.
    pub missing_bytes: u64,
    /// Sessions: a visitor's events with no gap of more than 30 minutes between them.
    pub sessions: u64,
}

impl EventStore {
    /// Counts the events of a range of time, as they are now: what is ingested meanwhile does not
    /// count.
    ///
    /// # Errors
    ///
    /// Whatever the engine says, or [`EventsError::DamagedRecord`].
    pub fn report(&self, options: &ReportOptions) -> Result<Report, EventsError> {
        let snapshot = self.db().snapshot();
        let mut counting = Counting::default();
        let from = Bound::Included(time_key(options.from.unwrap_or(0)));
        let to = options.to.map_or(Bound::Unbounded, |to| Bound::Excluded(time_key(to)));
        // A range that ends before it begins holds nothing.
        if options.to.is_none_or(|to| options.from.unwrap_or(0) < to) {
            for entry in snapshot.scan_in(&self.families().events, (from, to)) {
                let (key, value) = entry?;
                counting.add(&key, &value)?;
            }
        }
        let rejected = self.rejected_total(&snapshot)?;
        Ok(counting.finish(rejected, options.top))
    }

    fn rejected_total(&self, snapshot: &Snapshot) -> Result<u64, EventsError> {
        let mut total = 0;
        for entry in snapshot.scan_in(&self.families().sources, source_range()) {
            total += SourceState::decode(&entry?.1)?.rejected_total();
        }
        Ok(total)
    }
}

#[derive(Default)]
struct Counting {
    report: Report,
    users: HashMap<Box<[u8]>, Visitor>,
    paths: HashMap<Box<[u8]>, u64>,
    /// The hour of the events going by, and how many it has.
    hour: (i64, u64),
    /// Numeric statuses, which nearly all are, without a map.
    statuses: Vec<u64>,
}

struct Visitor {
    events: u64,
    last: i64,
}

impl Counting {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), EventsError> {
        let time = Position::of_key(key)?.time_ms;
        let mut path = value;
        let details = take_details(&mut path)?;
        let user = take_prefixed(&mut path).ok_or_else(|| damaged("an event has no user"))?;
        let report = &mut self.report;
        report.events += 1;
        report.first.get_or_insert(time);
        report.last = Some(time);
        let hour = time - time % HOUR_MS;
        if hour != self.hour.0 {
            self.end_hour();
            self.hour.0 = hour;
        }
        self.hour.1 += 1;

        match self.users.get_mut(user) {
            Some(visitor) => {
                visitor.events += 1;
                self.report.sessions += u64::from(time - visitor.last > SESSION_GAP_MS);
                visitor.last = time;
            }
            None => {
                self.report.sessions += 1;
                self.users.insert(user.into(), Visitor { events: 1, last: time });
            }
        }
        match self.paths.get_mut(path) {
            Some(events) => *events += 1,
            None => drop(self.paths.insert(path.into(), 1)),
        }
        self.count_status(details.status);
        match details.bytes {
            Some(bytes) => self.report.bytes += i128::from(bytes),
            None => self.report.missing_bytes += 1,
        }
        Ok(())
    }

    fn count_status(&mut self, status: Option<Status<'_>>) {
        match status {
            None => {}
            Some(Status::Number(number)) => {
                let place = usize::from(number);
                if self.statuses.len() <= place {
                    self.statuses.resize(place + 1, 0);
                }
                self.statuses[place] += 1;
            }
            Some(Status::Text(text)) => {
                let text = String::from_utf8_lossy(text);
                match self.report.status.get_mut(&*text) {
                    Some(events) => *events += 1,
                    None => drop(self.report.status.insert(text.into_owned(), 1)),
                }
            }
        }
    }

    fn end_hour(&mut self) {
        if self.hour.1 > 0 {
            self.report.hours.insert(self.hour.0, self.hour.1);
            self.hour.1 = 0;
        }
    }

    fn finish(mut self, rejected: u64, top: usize) -> Report {
        self.end_hour();
        for (number, events) in (0u16..).zip(&self.statuses) {
            if *events > 0 {
                self.report.status.insert(number.to_string(), *events);
            }
        }
        Report {
            rejected,
            distinct_users: self.users.len() as u64,
            distinct_paths: self.paths.len() as u64,
            top_users: top_of(
                self.users.iter().map(|(user, visitor)| (&**user, visitor.events)),
                top,
            ),
            top_paths: top_of(self.paths.iter().map(|(path, events)| (&**path, *events)), top),
            ..self.report
        }
    }
}

/// The `top` keys with the highest counts; equal counts in byte order.
fn top_of<'k>(counts: impl Iterator<Item = (&'k [u8], u64)>, top: usize) -> Vec<(Vec<u8>, u64)> {
    let mut counts: Vec<(&[u8], u64)> = counts.collect();
    let order = |a: &(&[u8], u64), b: &(&[u8], u64)| b.1.cmp(&a.1).then(a.0.cmp(b.0));
    if top < counts.len() {
        counts.select_nth_unstable_by(top, order);
        counts.truncate(top);
    }
    counts.sort_unstable_by(order);
    counts.into_iter().map(|(key, count)| (key.to_vec(), count)).collect()
}

impl Report {
    /// The report for scripts. Times are ISO 8601 in UTC, with milliseconds only where they are not
    /// zero; users and paths that are no UTF-8 are shown as far as they are. A byte sum
    /// beyond 64 bits is a string.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let time = |time: Option<i64>| time.map(format_time);
        let hours: BTreeMap<String, u64> =
            self.hours.iter().map(|(hour, events)| (format_time(*hour), *events)).collect();
        let top = |list: &[(Vec<u8>, u64)]| -> Vec<Value> {
            list.iter().map(|(key, count)| json!([String::from_utf8_lossy(key), count])).collect()
        };
        let bytes =
            i64::try_from(self.bytes).map_or_else(|_| json!(self.bytes.to_string()), Value::from);
        json!({
            "events": self.events,
            "rejected": self.rejected,
            "first": time(self.first),
            "last": time(self.last),
            "hours": hours,
            "distinct_users": self.distinct_users,
            "distinct_paths": self.distinct_paths,
            "top_users": top(&self.top_users),
            "top_paths": top(&self.top_paths),
            "status": self.status,
            "bytes": bytes,
            "missing_bytes": self.missing_bytes,
            "sessions": self.sessions,
        })
    }
}
