//! A made click log, and what is in it, counted independently of the program.
//!
//! The log covers days of May 2015 in the combined format, with skewed users and paths, some
//! disorder in time, equal times, missing byte counts and malformed lines. [`Clicks::expected`]
//! counts with the standard library's maps only, in the form of `report --json`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A generator of random numbers: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}

/// One event, `second` counted from 2015-05-01T00:00:00Z.
#[derive(Debug, Clone)]
pub struct Click {
    pub second: u64,
    pub user: String,
    pub path: String,
    pub status: u64,
    pub bytes: Option<u64>,
}

/// A log: its lines, and the events that are in them.
#[derive(Debug, Clone, Default)]
pub struct Clicks {
    pub lines: Vec<String>,
    pub events: Vec<Click>,
    pub rejected: u64,
}

impl Clicks {
    /// A log of `lines` lines; one in about a hundred is malformed.
    pub fn make(random: &mut Random, lines: u64) -> Clicks {
        let mut clicks = Clicks::default();
        for i in 0..lines {
            let slot = random.below(1000);
            // Squaring makes small numbers frequent.
            let user = slot * slot / 5000;
            let click = Click {
                // About three seconds a line, up to a minute late.
                second: (i * 3).saturating_sub(random.below(60)),
                user: format!("10.0.{}.{}", user / 100, user % 100),
                path: format!("/page/{}?q={}", random.below(40) * random.below(40), user % 7),
                status: [200, 200, 200, 304, 404, 500][random.below(6) as usize],
                bytes: (random.below(20) > 0).then(|| random.below(100_000)),
            };
            if random.below(100) == 0 {
                clicks.lines.push(format!("{} - - no time at all {i}", click.user));
                clicks.rejected += 1;
            } else {
                clicks.lines.push(click.line());
                clicks.events.push(click);
            }
        }
        clicks
    }

    /// The log as a file's bytes.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Both logs, one after the other.
    pub fn and(&self, other: &Clicks) -> Clicks {
        Clicks {
            lines: [&self.lines[..], &other.lines].concat(),
            events: [&self.events[..], &other.events].concat(),
            rejected: self.rejected + other.rejected,
        }
    }

    /// The report that is right, with lists of `top` entries.
    pub fn expected(&self, top: usize) -> Value {
        let mut hours = BTreeMap::new();
        let mut status = BTreeMap::new();
        let mut users: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let mut paths: BTreeMap<&str, u64> = BTreeMap::new();
        for click in &self.events {
            *hours.entry(hour(click.second)).or_insert(0_u64) += 1;
            *status.entry(click.status.to_string()).or_insert(0_u64) += 1;
            users.entry(&click.user).or_default().push(click.second);
            *paths.entry(&click.path).or_default() += 1;
        }
        let seconds: BTreeSet<u64> = self.events.iter().map(|click| click.second).collect();
        let sessions: usize = users.values().map(|times| sessions(times)).sum();
        let counts = users.iter().map(|(user, times)| (*user, times.len() as u64)).collect();
        json!({
            "events": self.events.len(),
            "rejected": self.rejected,
            "first": seconds.first().map(|second| instant(*second)),
            "last": seconds.last().map(|second| instant(*second)),
            "hours": hours,
            "distinct_users": users.len(),
            "distinct_paths": paths.len(),
            "top_users": most(counts, top),
            "top_paths": most(paths, top),
            "status": status,
            "bytes": self.events.iter().filter_map(|click| click.bytes).sum::<u64>(),
            "missing_bytes": self.events.iter().filter(|click| click.bytes.is_none()).count(),
            "sessions": sessions,
        })
    }

    /// A user's paths, in time order and at equal times in the order of the log.
    pub fn history(&self, user: &str) -> Vec<(String, String)> {
        let mut events: Vec<&Click> = self.events.iter().filter(|c| c.user == user).collect();
        events.sort_by_key(|click| click.second);
        events.iter().map(|click| (instant(click.second), click.path.clone())).collect()
    }
}

impl Click {
    /// The event in the combined log format.
    pub fn line(&self) -> String {
        let (day, hour, minute, second) = clock(self.second);
        let bytes = self.bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        format!(
            "{} - - [{day:02}/May/2015:{hour:02}:{minute:02}:{second:02} +0000] \
             \"GET {} HTTP/1.1\" {} {bytes} \"-\" \"Mozilla/5.0 (test; \\\"quoted\\\")\"",
            self.user, self.path, self.status
        )
    }
}

fn clock(second: u64) -> (u64, u64, u64, u64) {
    (second / 86_400 + 1, second / 3600 % 24, second / 60 % 60, second % 60)
}

/// A moment of the log as ISO 8601.
pub fn instant(second: u64) -> String {
    let (day, hour, minute, second) = clock(second);
    assert!(day <= 31, "the log ends in May");
    format!("2015-05-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn hour(second: u64) -> String {
    instant(second / 3600 * 3600)
}

/// Visits with more than 30 minutes between them.
fn sessions(times: &[u64]) -> usize {
    let mut times = times.to_vec();
    times.sort_unstable();
    1 + times.windows(2).filter(|pair| pair[1] - pair[0] > 1800).count()
}

/// The `top` most frequent; at equal counts the smaller key first.
fn most(counts: BTreeMap<&str, u64>, top: usize) -> Vec<(&str, u64)> {
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    counts.truncate(top);
    counts
}
