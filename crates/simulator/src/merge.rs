//! Merges tables without bytes: which share of their entries survives, and where outputs end.
//!
//! # The rule
//!
//! Inputs come newest first. Of a cohort that is drawn again and again a share `f` of the keys in
//! the newest input hides the same share of every older one, for the samples are independent: what
//! survives of the second is `(1 - f)` of it, and so on, which is the union `1 - Π (1 - fᵢ)`. Keys
//! that are written once are added up, and a share `t` of tombstones meets that share of them. A
//! put that has expired is a tombstone. A tombstone goes where nothing older can lie below, and
//! that and where an output ends is asked of the engine, piece by piece.

use std::sync::Arc;

use alluvium::simulation::Cutter;

use crate::content::{Content, Draws, Model, Part, Segment};

/// What a merge needs besides its inputs.
#[derive(Debug)]
pub struct Terms<'a> {
    pub model: &'a Model,
    /// Keys at which outputs may well be cut, ascending.
    pub borders: &'a [u64],
    /// Puts of this bucket and those before have expired.
    pub now_bucket: u16,
    /// The largest sequence number of the inputs.
    pub largest_seq: u64,
}

/// Merges `inputs`, sorted runs with the newest first, into `outputs`. `may_hold` says whether
/// something that stays may hold a version of a key that is older than a sequence number; it is
/// asked for ascending keys.
pub fn merge(
    terms: &Terms<'_>,
    inputs: &[Vec<Arc<Content>>],
    may_hold: &mut dyn FnMut(u64, u64) -> bool,
    outputs: &mut Outputs<'_>,
) {
    let mut cursors: Vec<Cursor<'_>> = inputs.iter().map(|run| Cursor::new(run)).collect();
    let mut union = Union::new(terms.model);
    let mut borders = terms.borders.iter().peekable();
    let mut at = 0;
    loop {
        cursors.iter_mut().for_each(|cursor| cursor.pass(at));
        let Some(next) = cursors.iter().filter_map(|cursor| cursor.next_change(at)).min() else {
            return;
        };
        while borders.next_if(|border| **border < at).is_some() {}
        let next = borders.peek().map_or(next, |border| next.min(**border + 1));
        let here: Vec<&Arc<[Part]>> =
            cursors.iter().filter_map(|cursor| cursor.parts_at(at)).collect();
        if !here.is_empty() {
            let hidden = may_hold(at + (next - at) / 2, terms.largest_seq);
            let parts = union.of(&here, terms.now_bucket, hidden);
            outputs.append(Segment { start: at, end: next, parts });
        }
        at = next;
    }
}

/// A place in one sorted run.
#[derive(Debug)]
struct Cursor<'a> {
    tables: &'a [Arc<Content>],
    table: usize,
    segment: usize,
}

impl<'a> Cursor<'a> {
    fn new(tables: &'a [Arc<Content>]) -> Cursor<'a> {
        Cursor { tables, table: 0, segment: 0 }
    }

    fn current(&self) -> Option<&'a Segment> {
        self.tables.get(self.table)?.segments.get(self.segment)
    }

    /// Leaves what ends at or before `at` behind.
    fn pass(&mut self, at: u64) {
        while let Some(table) = self.tables.get(self.table) {
            match table.segments.get(self.segment) {
                Some(segment) if segment.end > at => return,
                Some(_) => self.segment += 1,
                None => {
                    self.table += 1;
                    self.segment = 0;
                }
            }
        }
    }

    fn next_change(&self, at: u64) -> Option<u64> {
        self.current().map(|one| if one.start > at { one.start } else { one.end })
    }

    fn parts_at(&self, at: u64) -> Option<&'a Arc<[Part]>> {
        self.current().filter(|one| one.start <= at).map(|one| &one.parts)
    }
}

/// Puts samples of the same keys together.
#[derive(Debug)]
struct Union<'a> {
    model: &'a Model,
    /// The share of each cohort's keys that no newer input has.
    left: Vec<f64>,
    /// The share of tombstones met so far, of cohorts that are written once.
    deleted: Vec<f64>,
    parts: Vec<(u16, u16, f64, f64)>,
    spare: Vec<(u16, u16, f64, f64)>,
}

impl<'a> Union<'a> {
    fn new(model: &'a Model) -> Union<'a> {
        let cohorts = model.cohorts.len();
        Union {
            model,
            left: vec![1.0; cohorts],
            deleted: vec![0.0; cohorts],
            parts: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// What survives of `samples`, newest first; `hidden` says that something older may lie below.
    fn of(&mut self, samples: &[&Arc<[Part]>], now_bucket: u16, hidden: bool) -> Arc<[Part]> {
        if let [only] = samples
            && hidden
            && only.iter().all(|part| part.bucket == 0 || part.bucket > now_bucket)
        {
            return Arc::clone(only);
        }
        self.left.fill(1.0);
        self.deleted.fill(0.0);
        self.parts.clear();
        for sample in samples {
            self.add(sample, now_bucket);
        }
        let once = |cohort: u16| self.model.cohorts[usize::from(cohort)].draws == Draws::Once;
        let survivors = self.parts.iter().map(|&(cohort, bucket, puts, tombstones)| {
            let met = if once(cohort) { self.deleted[usize::from(cohort)].min(1.0) } else { 0.0 };
            Part {
                cohort,
                bucket,
                puts: (puts * (1.0 - met)) as f32,
                tombstones: if hidden { tombstones as f32 } else { 0.0 },
            }
        });
        survivors.filter(|part| part.puts + part.tombstones > 0.0).collect()
    }

    fn add(&mut self, sample: &[Part], now_bucket: u16) {
        std::mem::swap(&mut self.parts, &mut self.spare);
        self.parts.clear();
        let mut known = self.spare.iter().copied().peekable();
        for part in sample {
            let cohort = usize::from(part.cohort);
            let expired = part.bucket > 0 && part.bucket <= now_bucket;
            let (mut puts, mut tombstones) = (f64::from(part.puts), f64::from(part.tombstones));
            if expired {
                (puts, tombstones) = (0.0, puts + tombstones);
            }
            if self.model.cohorts[cohort].draws == Draws::Again {
                puts *= self.left[cohort];
                tombstones *= self.left[cohort];
            } else if !expired {
                self.deleted[cohort] += tombstones;
            }
            let place = (part.cohort, part.bucket);
            while let Some(other) = known.next_if(|other| (other.0, other.1) < place) {
                self.parts.push(other);
            }
            if let Some(other) = known.next_if(|other| (other.0, other.1) == place) {
                (puts, tombstones) = (puts + other.2, tombstones + other.3);
            }
            self.parts.push((part.cohort, part.bucket, puts, tombstones));
        }
        self.parts.extend(known);
        // Buckets of a cohort share no key: together they hide what older inputs have.
        for parts in sample.chunk_by(|a, b| a.cohort == b.cohort) {
            let taken: f32 = parts.iter().map(|part| part.puts + part.tombstones).sum();
            self.left[usize::from(parts[0].cohort)] *= 1.0 - f64::from(taken.min(1.0));
        }
    }
}

/// Cuts a stream of ranges into tables.
#[derive(Debug)]
pub struct Outputs<'a> {
    model: &'a Model,
    table_bytes: f64,
    /// The length of a time window, where they are kept apart: in keys, which are times then.
    window: Option<u64>,
    /// `None` cuts at the target size alone.
    cutter: Option<Cutter>,
    open: Content,
    open_bytes: f64,
    done: Vec<Content>,
}

impl<'a> Outputs<'a> {
    /// Tables of `table_bytes` each, cut where `cutter` says and where a `window` of keys ends.
    pub fn new(
        model: &'a Model,
        table_bytes: u64,
        window: Option<u64>,
        cutter: Option<Cutter>,
    ) -> Outputs<'a> {
        Outputs {
            model,
            table_bytes: table_bytes.max(1) as f64,
            window: window.map(|window| window.max(1)),
            cutter,
            open: Content::default(),
            open_bytes: 0.0,
            done: Vec::new(),
        }
    }

    /// Adds a range behind all others, asking the engine before each piece of it.
    pub fn append(&mut self, segment: Segment) {
        let per_unit = self.model.per_unit(&segment.parts).bytes;
        if per_unit <= 0.0 {
            return;
        }
        let mut start = segment.start;
        while start < segment.end {
            let ends = match &mut self.cutter {
                Some(cutter) => cutter.ends_before(start, self.open_bytes as u64),
                None => self.open_bytes >= self.table_bytes,
            };
            let apart = |window: u64| {
                self.open.keys().is_some_and(|(first, _)| first / window != start / window)
            };
            if ends || self.window.is_some_and(apart) {
                self.close();
            }
            let (piece, room) = (self.table_bytes / PIECES, self.table_bytes - self.open_bytes);
            let piece = if room > 0.0 { room.min(piece) } else { piece };
            let units = (piece / per_unit).ceil().max(1.0);
            let stop = self.window.map_or(u64::MAX, |window| (start / window + 1) * window);
            let rest = segment.end.min(stop) - start;
            let units = if units >= rest as f64 { rest } else { units as u64 };
            let parts = Arc::clone(&segment.parts);
            self.open.push(self.model, Segment { start, end: start + units, parts });
            self.open_bytes += per_unit * units as f64;
            start += units;
        }
    }

    fn close(&mut self) {
        let mut content = std::mem::take(&mut self.open);
        content.coarsen(self.model);
        self.open_bytes = 0.0;
        if !content.segments.is_empty() {
            self.done.push(content);
        }
    }

    /// The tables.
    pub fn finish(mut self) -> Vec<Content> {
        self.close();
        self.done
    }
}

/// The engine is asked this often for a table's worth of entries.
const PIECES: f64 = 16.0;
