//! What a table without bytes holds: shares of cohorts of keys over ranges of the key space.
//!
//! A *cohort* is a class of keys that are written equally often. A [`Segment`] says, for a range of
//! keys, which share of each cohort's keys there has a put or a tombstone in the table. A table of
//! 10 million entries is so a handful of numbers, and a merge is arithmetic on them (`merge.rs`).
//!
//! # Limits
//! Within a segment everything is spread evenly, and one table's share of a cohort says nothing
//! about which keys another one has ([`Draws::Again`]) or everything ([`Draws::Once`]). Tables keep
//! [`SEGMENTS_MAX`] segments: neighbours that differ least are made one, which keeps their entries
//! and evens them out. `tests.rs` holds all of it against merges of real keys.

use std::sync::Arc;

/// Segments that a table keeps.
pub const SEGMENTS_MAX: usize = 8;

/// Neighbouring segments that differ by less than this share of their entries are made one.
const ALIKE: f64 = 0.01;

/// How the keys of a cohort are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draws {
    /// Again and again, each time any of them: two samples are independent of one another.
    Again,
    /// Each key once, and perhaps deleted once later: no two samples share a put.
    Once,
}

/// A class of keys that are written equally often.
#[derive(Debug, Clone, Copy)]
pub struct Cohort {
    /// Its keys for each unit of the key space.
    pub keys_per_unit: f64,
    /// The share of all writes that goes to it.
    pub weight: f64,
    /// How its keys are written.
    pub draws: Draws,
}

/// Bytes that an entry takes, in each place where it is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntryBytes {
    /// As the user sees it: key and value.
    pub user: f64,
    /// In the log.
    pub log: f64,
    /// In a memtable.
    pub memtable: f64,
    /// In a table, with its share of index and filter.
    pub table: f64,
}

/// The keys of a load and the bytes of their entries.
#[derive(Debug, Clone)]
pub struct Model {
    /// At most 2^16 of them.
    pub cohorts: Vec<Cohort>,
    pub put: EntryBytes,
    pub tombstone: EntryBytes,
    /// Expiry times are kept to this many milliseconds; 0 where nothing expires.
    pub bucket_ms: u64,
}

/// What a range of keys holds of one cohort: shares of the cohort's keys there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Index into [`Model::cohorts`].
    pub cohort: u16,
    /// When its puts expire, in units of [`Model::bucket_ms`], rounded up; 0 for never.
    pub bucket: u16,
    /// The share of keys with a put.
    pub puts: f32,
    /// The share of keys with a tombstone.
    pub tombstones: f32,
}

/// A range of keys in which everything is spread evenly.
#[derive(Debug, Clone)]
pub struct Segment {
    pub start: u64,
    /// The first key behind it.
    pub end: u64,
    /// Ascending by cohort and bucket, one for each pair.
    pub parts: Arc<[Part]>,
}

/// Entries and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Tombstones included.
    pub entries: f64,
    pub tombstones: f64,
    /// Puts that expire some day.
    pub expiring: f64,
    /// Bytes in a table.
    pub bytes: f64,
}

impl Counts {
    /// Adds `other`, `times` over.
    pub fn add(&mut self, other: &Counts, times: f64) {
        self.entries += other.entries * times;
        self.tombstones += other.tombstones * times;
        self.expiring += other.expiring * times;
        self.bytes += other.bytes * times;
    }
}

impl Model {
    /// What `parts` amount to for each unit of the key space.
    pub fn per_unit(&self, parts: &[Part]) -> Counts {
        let mut counts = Counts::default();
        for part in parts {
            let keys = self.cohorts[usize::from(part.cohort)].keys_per_unit;
            let puts = keys * f64::from(part.puts);
            let tombstones = keys * f64::from(part.tombstones);
            counts.entries += puts + tombstones;
            counts.tombstones += tombstones;
            counts.expiring += if part.bucket > 0 { puts } else { 0.0 };
            counts.bytes += puts * self.put.table + tombstones * self.tombstone.table;
        }
        counts
    }
}

/// What a table holds.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Ascending, without overlap, none of them empty.
    pub segments: Vec<Segment>,
}

impl Content {
    /// Entries and bytes.
    pub fn counts(&self, model: &Model) -> Counts {
        let mut counts = Counts::default();
        for segment in &self.segments {
            let units = (segment.end - segment.start) as f64;
            counts.add(&model.per_unit(&segment.parts), units);
        }
        counts
    }

    /// The first key and the last.
    pub fn keys(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.segments.first()?, self.segments.last()?);
        Some((first.start, last.end - 1))
    }

    /// The earliest and the latest expiry bucket, 0 left out.
    pub fn buckets(&self) -> Option<(u16, u16)> {
        let parts = self.segments.iter().flat_map(|segment| segment.parts.iter());
        let expiring = parts.filter(|part| part.bucket > 0 && part.puts > 0.0);
        expiring.fold(None, |range: Option<(u16, u16)>, part| {
            let (low, high) = range.unwrap_or((part.bucket, part.bucket));
            Some((low.min(part.bucket), high.max(part.bucket)))
        })
    }

    /// Adds a range behind all others; one like the last becomes part of it.
    pub fn push(&mut self, model: &Model, segment: Segment) {
        if let Some(last) = self.segments.last_mut()
            && last.end == segment.start
        {
            if Arc::ptr_eq(&last.parts, &segment.parts) {
                last.end = segment.end;
                return;
            }
            let (one, two) = (model.per_unit(&last.parts), model.per_unit(&segment.parts));
            let all = one.entries.max(two.entries);
            if difference(model, &last.parts, &segment.parts) <= ALIKE * all {
                *last = joined(last, &segment);
                return;
            }
        }
        self.segments.push(segment);
    }

    /// Joins neighbours until there are [`SEGMENTS_MAX`] at most, those first that hold least.
    pub fn coarsen(&mut self, model: &Model) {
        while self.segments.len() > SEGMENTS_MAX {
            let cost = |pair: &[Segment]| {
                let units = (pair[0].end - pair[0].start).min(pair[1].end - pair[1].start) as f64;
                let gap = (pair[1].start - pair[0].end) as f64;
                let most = model.per_unit(&pair[0].parts).entries;
                let most = most.max(model.per_unit(&pair[1].parts).entries);
                difference(model, &pair[0].parts, &pair[1].parts) * units + most * gap
            };
            let costs: Vec<f64> = self.segments.windows(2).map(cost).collect();
            let Some(at) = (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])) else {
                return;
            };
            self.segments[at] = joined(&self.segments[at], &self.segments[at + 1]);
            self.segments.remove(at + 1);
        }
    }
}

/// How many entries two ranges differ by, for each unit.
fn difference(model: &Model, one: &[Part], two: &[Part]) -> f64 {
    let mut sum = 0.0;
    zip(one, two, |a, b| {
        let keys = model.cohorts[usize::from(a.cohort)].keys_per_unit;
        sum += keys * f64::from((a.puts - b.puts).abs() + (a.tombstones - b.tombstones).abs());
    });
    sum
}

/// Two neighbours as one range, with the same entries.
fn joined(one: &Segment, two: &Segment) -> Segment {
    let whole = (two.end - one.start) as f64;
    let first = ((one.end - one.start) as f64 / whole) as f32;
    let second = ((two.end - two.start) as f64 / whole) as f32;
    let mut parts = Vec::with_capacity(one.parts.len());
    zip(&one.parts, &two.parts, |a, b| {
        parts.push(Part {
            puts: a.puts * first + b.puts * second,
            tombstones: a.tombstones * first + b.tombstones * second,
            ..a
        });
    });
    Segment { start: one.start, end: two.end, parts: parts.into() }
}

/// Calls `with` for each pair of parts of one cohort and bucket; where one is missing, with zeros.
fn zip(one: &[Part], two: &[Part], mut with: impl FnMut(Part, Part)) {
    let (mut a, mut b) = (one.iter().peekable(), two.iter().peekable());
    let place = |part: &Part| (part.cohort, part.bucket);
    let nothing = |like: Part| Part { puts: 0.0, tombstones: 0.0, ..like };
    loop {
        match (a.peek().copied().copied(), b.peek().copied().copied()) {
            (None, None) => return,
            (Some(left), Some(right)) if place(&left) == place(&right) => {
                with(left, right);
                a.next();
                b.next();
            }
            (Some(left), right) if right.is_none_or(|right| place(&left) < place(&right)) => {
                with(left, nothing(left));
                a.next();
            }
            (_, Some(right)) => {
                with(nothing(right), right);
                b.next();
            }
            (Some(_), None) => return,
        }
    }
}
