//! What is written: which keys, how often, and what is live afterwards.
//!
//! | load | keys |
//! |---|---|
//! | uniform | overwrites, every key as often as any other |
//! | zipf | overwrites, the key of rank r as often as 1/r^0.99; the hot keys lie anywhere |
//! | ordered | new keys that ascend with time, a share of them late by up to [`LATE_SPAN`] |
//! | deletes | as uniform, but every second write is a tombstone |
//! | queue | new keys at one end, as many deletes at the other |
//! | ttl | as ordered, and every entry expires when as much has been written as is to be live |
//!
//! Keys that are hashed stand anywhere in [`SPACE`]; keys in order one after the other from
//! [`ORIGIN`]. The clock that event times and expiry go by is the number of writes, a millisecond
//! each, so that a load is the same for every strategy, however long its writers wait.
//! [`Load::draw`] gives single writes of the same load, for a real store.

use crate::content::{Cohort, Content, Draws, EntryBytes, Model, Part, Segment};
use crate::settings::Entry;

/// Keys of hashed loads stand in `0..SPACE`.
pub const SPACE: u64 = 1 << 62;

/// The first key of loads in order, and the time of the first write of every load, in milliseconds
/// since 1970: an ordered key *is* its event's time.
pub const ORIGIN: u64 = 1_700_000_000_000;

/// The share of ordered keys that come late, where nothing else is asked for.
pub const LATE_SHARE: f64 = 0.02;

/// Late keys come up to this share of the store's size later.
pub const LATE_SPAN: f64 = 1.0 / 30.0;

/// The exponent of Zipf's law.
const ZIPF_EXPONENT: f64 = 0.99;

/// The tombstones of the load `deletes`, as a share of its writes.
const DELETE_SHARE: f64 = 0.5;

/// Time to live is cut into so many buckets.
const BUCKETS: u64 = 64;

/// The loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Overwrites of uniformly drawn keys
    Uniform,
    /// Overwrites by Zipf's law, exponent 0.99
    Zipf,
    /// New keys that ascend with time, a few of them late
    Ordered,
    /// Uniformly drawn keys, every second write a delete
    Deletes,
    /// New keys at one end, deletes at the other
    Queue,
    /// As ordered, and every entry expires
    Ttl,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Uniform => "uniform",
            Kind::Zipf => "zipf",
            Kind::Ordered => "ordered",
            Kind::Deletes => "deletes",
            Kind::Queue => "queue",
            Kind::Ttl => "ttl",
        }
    }

    /// Whether keys ascend with time.
    pub fn is_ordered(self) -> bool {
        matches!(self, Kind::Ordered | Kind::Queue | Kind::Ttl)
    }
}

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    pub key: u64,
    pub is_delete: bool,
}

/// A load at some moment.
#[derive(Debug, Clone)]
pub struct Load {
    pub kind: Kind,
    pub model: Model,
    /// Writes so far, the bulk load not counted.
    writes: f64,
    /// Of the queue: keys that came, and keys that went, since the beginning.
    queued: f64,
    dequeued: f64,
    /// Entries that are live when the store is as large as was asked for.
    live_target: f64,
    /// Whether the store began full.
    full: bool,
    /// The share of ordered keys that come late.
    late_share: f64,
}

impl Load {
    /// The load whose live entries take `live_bytes` as the user sees them, written to a store that
    /// is `full` of them or empty. Of the load `ttl` each entry expires by itself, or, where it is
    /// not to be one by one, all that is as old as it.
    pub fn new(kind: Kind, live_bytes: u64, entry: Entry, one_by_one: bool, full: bool) -> Load {
        let put = entry.put();
        let live_target = (live_bytes as f64 / put.user).max(1.0);
        let mut load = Load {
            kind,
            model: Model { cohorts: Vec::new(), put, tombstone: entry.tombstone(), bucket_ms: 0 },
            writes: 0.0,
            queued: 0.0,
            dequeued: 0.0,
            live_target,
            full,
            late_share: LATE_SHARE,
        };
        load.model.cohorts = load.cohorts();
        if kind == Kind::Ttl && one_by_one {
            load.model.bucket_ms = (load.ttl_ms() / BUCKETS).max(1);
        }
        load
    }

    /// The same load with this share of late keys, where it has any.
    #[must_use]
    pub fn with_late(self, late_share: f64) -> Load {
        Load { late_share, ..self }
    }

    fn cohorts(&self) -> Vec<Cohort> {
        let again = |keys: f64, weight: f64| Cohort {
            keys_per_unit: keys / SPACE as f64,
            weight,
            draws: Draws::Again,
        };
        match self.kind {
            Kind::Uniform => vec![again(self.live_target, 1.0)],
            Kind::Deletes => vec![again(self.live_target / (1.0 - DELETE_SHARE), 1.0)],
            Kind::Zipf => {
                let classes = zipf_classes(self.live_target);
                classes.into_iter().map(|(keys, weight)| again(keys, weight)).collect()
            }
            Kind::Ordered | Kind::Queue | Kind::Ttl => {
                vec![Cohort { keys_per_unit: 1.0, weight: 1.0, draws: Draws::Once }]
            }
        }
    }

    /// The share of writes that are tombstones.
    fn delete_share(&self) -> f64 {
        match self.kind {
            Kind::Deletes | Kind::Queue => DELETE_SHARE,
            _ => 0.0,
        }
    }

    /// Bytes of a write, puts and tombstones together.
    pub fn mean(&self, of: impl Fn(&EntryBytes) -> f64) -> f64 {
        let deletes = self.delete_share();
        of(&self.model.put) * (1.0 - deletes) + of(&self.model.tombstone) * deletes
    }

    /// How long an entry lives, in milliseconds; no entry of another load than `ttl` ends.
    pub fn ttl_ms(&self) -> u64 {
        (self.live_target / (1.0 - self.delete_share())) as u64 + 1
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        if self.kind.is_ordered() { self.head() } else { ORIGIN + self.writes as u64 }
    }

    /// Keys of the last bucket that has expired.
    pub fn now_bucket(&self) -> u16 {
        if self.model.bucket_ms == 0 {
            return 0;
        }
        ((self.now_ms() - ORIGIN) / self.model.bucket_ms).min(u64::from(u16::MAX)) as u16
    }

    /// When the entries of an expiry bucket end, in milliseconds since 1970.
    pub fn bucket_end_ms(&self, bucket: u16) -> u64 {
        ORIGIN + u64::from(bucket) * self.model.bucket_ms
    }

    fn bucket_of(&self, key: u64) -> u16 {
        if self.model.bucket_ms == 0 {
            return 0;
        }
        let ends = key - ORIGIN + self.ttl_ms();
        (ends.div_ceil(self.model.bucket_ms)).min(u64::from(u16::MAX)) as u16
    }

    /// The ordered key that comes next on time.
    fn head(&self) -> u64 {
        let before = if self.full { self.live_target } else { 0.0 };
        let since = if self.kind == Kind::Queue { self.queued } else { self.writes };
        ORIGIN + (before + since) as u64
    }

    /// The first key of the queue.
    fn tail(&self) -> u64 {
        ORIGIN + self.dequeued as u64
    }

    /// Entries that are live once the store is as large as was asked for.
    #[cfg(test)]
    pub fn live_entries_when_full(&self) -> f64 {
        self.live_target
    }

    /// Entries that are live now.
    pub fn live_entries(&self) -> f64 {
        match self.kind {
            Kind::Uniform | Kind::Zipf | Kind::Deletes => {
                let touched = |cohort: &Cohort| {
                    let keys = cohort.keys_per_unit * SPACE as f64;
                    let share = -(-self.writes * cohort.weight / keys).exp_m1();
                    keys * if self.full { 1.0 } else { share }
                };
                let touched: f64 = self.model.cohorts.iter().map(touched).sum();
                touched * (1.0 - self.delete_share())
            }
            Kind::Ordered => (self.head() - ORIGIN) as f64,
            Kind::Queue => (self.head() - self.tail()) as f64,
            Kind::Ttl => ((self.head() - ORIGIN) as f64).min(self.live_target),
        }
    }

    /// Bytes of tables that hold what is live in a store of full size, and nothing else.
    pub fn live_target_bytes(&self) -> f64 {
        self.live_target * self.model.put.table
    }

    /// Bytes of the live entries in tables that hold nothing else.
    pub fn live_table_bytes(&self) -> f64 {
        self.live_entries() * self.model.put.table
    }

    /// Everything that is live at the start of a full store.
    pub fn bulk(&self) -> Content {
        let mut content = Content::default();
        if !self.full {
            return content;
        }
        if self.kind.is_ordered() {
            let late = if self.has_late() { self.late_share } else { 0.0 };
            let (head, span) = (self.head(), self.late_span());
            self.push(&mut content, (ORIGIN, head - span), 1.0, 0.0);
            self.push(&mut content, (head - span, head), 1.0 - late / 2.0, 0.0);
        } else {
            let puts = 1.0 - self.delete_share();
            let parts = (0..self.model.cohorts.len()).map(|cohort| part(cohort, 0, puts, 0.0));
            let parts = parts.collect();
            content.push(&self.model, Segment { start: 0, end: SPACE, parts });
        }
        content
    }

    /// The next `count` writes, as a memtable keeps them.
    pub fn next(&mut self, count: f64) -> Content {
        let content = match self.kind {
            Kind::Uniform | Kind::Zipf | Kind::Deletes => self.hashed(count),
            Kind::Ordered | Kind::Ttl => self.ordered(count),
            Kind::Queue => self.queue(count),
        };
        self.writes += count;
        content
    }

    fn hashed(&self, count: f64) -> Content {
        let deletes = self.delete_share();
        let sample = |(index, cohort): (usize, &Cohort)| {
            let keys = cohort.keys_per_unit * SPACE as f64;
            let drawn = -(-count * cohort.weight / keys).exp_m1();
            part(index, 0, drawn * (1.0 - deletes), drawn * deletes)
        };
        let parts = self.model.cohorts.iter().enumerate().map(sample).collect();
        Content { segments: vec![Segment { start: 0, end: SPACE, parts }] }
    }

    fn ordered(&self, count: f64) -> Content {
        let (head, span) = (self.head(), self.late_span());
        let mut content = Content::default();
        let first = (head - span).max(ORIGIN);
        if first < head && self.late_share > 0.0 {
            let share = count * self.late_share / (head - first) as f64;
            self.push(&mut content, (first, head), share.min(self.late_share), 0.0);
        }
        self.push(&mut content, (head, head + count as u64), 1.0 - self.late_share, 0.0);
        content
    }

    /// Keys come until there are enough, then one goes for each that comes.
    fn queue(&mut self, count: f64) -> Content {
        let missing = (self.live_target - self.live_entries()).clamp(0.0, count);
        let turns = (count - missing) / 2.0;
        let (head, tail) = (self.head(), self.tail());
        self.queued += missing + turns;
        self.dequeued += turns;
        let mut content = Content::default();
        self.push(&mut content, (tail, self.tail().min(head)), 0.0, 1.0);
        self.push(&mut content, (head, self.head()), 1.0, 0.0);
        content
    }

    /// Adds an ordered range, cut where expiry buckets begin.
    fn push(&self, content: &mut Content, range: (u64, u64), puts: f64, tombstones: f64) {
        let (mut start, end) = range;
        while start < end {
            let bucket = self.bucket_of(start);
            let mut stop = end;
            if self.bucket_of(end - 1) != bucket {
                // The first key of another bucket, by halving.
                let (mut low, mut high) = (start, end - 1);
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if self.bucket_of(middle) == bucket { low = middle } else { high = middle }
                }
                stop = high;
            }
            let parts = [part(0, bucket, puts, tombstones)].into();
            content.push(&self.model, Segment { start, end: stop, parts });
            start = stop;
        }
    }

    fn has_late(&self) -> bool {
        matches!(self.kind, Kind::Ordered | Kind::Ttl)
    }

    fn late_span(&self) -> u64 {
        (self.live_target * LATE_SPAN) as u64
    }

    /// A single write of this load.
    pub fn draw(&mut self, rng: &mut fastrand::Rng) -> Write {
        let write = match self.kind {
            Kind::Uniform | Kind::Zipf | Kind::Deletes => self.draw_hashed(rng),
            Kind::Ordered | Kind::Ttl => self.draw_ordered(rng),
            Kind::Queue => self.draw_queue(),
        };
        self.writes += 1.0;
        write
    }

    fn draw_hashed(&self, rng: &mut fastrand::Rng) -> Write {
        let mut ticket = rng.f64();
        let cohorts = &self.model.cohorts;
        let chosen = cohorts.iter().position(|cohort| {
            ticket -= cohort.weight;
            ticket < 0.0
        });
        let chosen = chosen.unwrap_or(cohorts.len() - 1);
        let keys = (cohorts[chosen].keys_per_unit * SPACE as f64).round().max(1.0) as u64;
        let key = scatter((chosen as u64) << 56 | rng.u64(0..keys)) >> 2;
        Write { key, is_delete: rng.f64() < self.delete_share() }
    }

    /// A late write leaves a gap at the head and goes anywhere in the span before it. The lowest
    /// bits keep it from hitting a key that is there.
    fn draw_ordered(&self, rng: &mut fastrand::Rng) -> Write {
        let (head, span) = (self.head() - ORIGIN, self.late_span());
        let late = rng.f64() < self.late_share && head > span;
        let place = if late { head - rng.u64(1..=span.max(1)) } else { head };
        let salt = if late { rng.u64(1..=255) } else { 0 };
        Write { key: place << 8 | salt, is_delete: false }
    }

    fn draw_queue(&mut self) -> Write {
        let is_delete = self.live_entries() >= self.live_target;
        let place = if is_delete { self.tail() } else { self.head() } - ORIGIN;
        if is_delete {
            self.dequeued += 1.0;
        } else {
            self.queued += 1.0;
        }
        Write { key: place << 8, is_delete }
    }
}

fn part(cohort: usize, bucket: u16, puts: f64, tombstones: f64) -> Part {
    Part { cohort: cohort as u16, bucket, puts: puts as f32, tombstones: tombstones as f32 }
}

/// Classes of ranks whose numbers double, each with its keys and its share of all draws.
fn zipf_classes(keys: f64) -> Vec<(f64, f64)> {
    // The sum of 1/r^s from 1 to n, by the integral.
    let sum = |n: f64| {
        let power = 1.0 - ZIPF_EXPONENT;
        ((n + 0.5).powf(power) - 0.5f64.powf(power)) / power
    };
    let total = sum(keys);
    let (mut classes, mut before) = (Vec::new(), 0.0);
    while before < keys {
        let last: f64 = (before * 2.0 + 1.0).min(keys);
        classes.push((last - before, (sum(last) - sum(before)) / total));
        before = last;
    }
    classes
}

/// A bijection of 64 bits that leaves nothing in order: the finisher of splitmix64.
fn scatter(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
