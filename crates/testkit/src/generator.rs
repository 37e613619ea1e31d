//! Random operations, weighted so that short runs meet every part of the engine.
//!
//! Keys come from a tiny alphabet and are mostly short, so that they collide, are prefixes of one
//! another, and differ in the bytes that comparisons get wrong (0x00, 0xff, nothing at all). Values
//! carry the number of the write that made them: an old value is never mistaken for a new one.

use std::ops::Bound;

use alluvium::Durability;

use crate::operation::{Change, ClockStep, DEFAULT_FAMILY, Direction, KeyRange, Move, Operation};
use crate::random::Random;

/// Families that runs create and drop, and use whether they exist or not.
pub const FAMILIES: [&str; 3] = [DEFAULT_FAMILY, "beta", "gamma"];

/// Snapshots held at a time.
pub const SNAPSHOT_SLOTS: usize = 3;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What a generated run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Operations of the run.
    pub operations: usize,
    /// Whether reads are among them; a crash sweep reads by itself.
    pub reads: bool,
    /// The largest value, in bytes.
    pub value_bytes_max: usize,
}

/// Generates runs.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    mix: Mix,
    writes: u64,
}

impl Generator {
    /// The run of `seed`.
    #[must_use]
    pub fn run(seed: u64, mix: Mix) -> Vec<Operation> {
        let mut generator = Generator { random: Random::for_case(&[seed]), mix, writes: 0 };
        (0..mix.operations).map(|_| generator.operation()).collect()
    }

    fn operation(&mut self) -> Operation {
        match self.random.below(if self.mix.reads { 1000 } else { 480 }) {
            0..390 => self.write(),
            390..400 => Operation::Clock(self.clock_step()),
            400..425 => Operation::Flush { family: self.family_or_all() },
            425..440 => Operation::Compact { family: self.family_or_all() },
            440..446 => Operation::Sync,
            446..456 => Operation::CreateFamily { name: self.extra_family() },
            456..461 => Operation::DropFamily { name: self.extra_family() },
            461..467 => Operation::Reopen,
            467..470 => Operation::DropAndReopen,
            470..476 => Operation::Snapshot { slot: self.random.below(SNAPSHOT_SLOTS) },
            476..480 => Operation::Release { slot: self.random.below(SNAPSHOT_SLOTS) },
            480..690 => {
                Operation::Get { family: self.family(), key: self.key(), snapshot: self.snapshot() }
            }
            690..750 => {
                let count = self.random.below(6);
                let keys = (0..count).map(|_| self.key()).collect();
                Operation::MultiGet { family: self.family(), keys }
            }
            750..880 => Operation::Scan {
                family: self.family(),
                range: self.range(),
                direction: self.direction(),
                snapshot: self.snapshot(),
            },
            880..930 => Operation::Prefix {
                family: self.family(),
                prefix: self.key(),
                direction: self.direction(),
            },
            930..992 => self.cursor(),
            _ => Operation::CheckAll,
        }
    }

    fn write(&mut self) -> Operation {
        self.writes += 1;
        let count = match self.random.below(10) {
            0..6 => 1,
            6..9 => 1 + self.random.below(6),
            _ => self.random.below(30),
        };
        let changes = (0..count).map(|_| self.change()).collect();
        let durability = match self.random.below(4) {
            0 => Durability::Buffered,
            1 => Durability::Os,
            _ => Durability::Disk,
        };
        Operation::Write { changes, durability }
    }

    fn change(&mut self) -> Change {
        let (family, key) = (self.family(), self.key());
        let value = (!self.random.one_in(4)).then(|| self.value());
        let end = (value.is_none() && self.random.one_in(4)).then(|| self.end_behind(&key));
        Change { family, key, value, end }
    }

    /// Where a range ends that begins at `key`: often near, now and then before it.
    fn end_behind(&mut self, key: &[u8]) -> Vec<u8> {
        match self.random.below(4) {
            0 => [key, &[0]].concat(),
            1 => {
                let more = self.key();
                [key, &more, &[0xff]].concat()
            }
            _ => self.key(),
        }
    }

    fn clock_step(&mut self) -> ClockStep {
        let ms = *self.random.pick(&[0, 1, 1_000, HOUR_MS, DAY_MS, DAY_MS, 4_000 * DAY_MS]);
        match self.random.below(4) {
            0 => ClockStep::Ahead(ms),
            1 => ClockStep::Back(ms),
            _ => ClockStep::Pass(ms),
        }
    }

    fn family(&mut self) -> String {
        match self.random.below(4) {
            0 => FAMILIES[1].to_owned(),
            1 => FAMILIES[2].to_owned(),
            _ => DEFAULT_FAMILY.to_owned(),
        }
    }

    fn extra_family(&mut self) -> String {
        (*self.random.pick(&FAMILIES[1..])).to_owned()
    }

    fn family_or_all(&mut self) -> Option<String> {
        if self.random.one_in(2) { None } else { Some(self.family()) }
    }

    fn snapshot(&mut self) -> Option<usize> {
        self.random.one_in(3).then(|| self.random.below(SNAPSHOT_SLOTS))
    }

    fn direction(&mut self) -> Direction {
        *self.random.pick(&[Direction::Forward, Direction::Backward, Direction::BothEnds])
    }

    /// A key: mostly 0 to 4 bytes of four, sometimes long with a common beginning.
    pub fn key(&mut self) -> Vec<u8> {
        const ALPHABET: [u8; 4] = [0x00, b'a', b'b', 0xff];
        let length = *self.random.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
        let mut key: Vec<u8> = (0..length).map(|_| *self.random.pick(&ALPHABET)).collect();
        if self.random.one_in(8) {
            let mut long = vec![b'a'; *self.random.pick(&[7, 8, 9, 15, 16, 17, 130, 300])];
            long.append(&mut key);
            return long;
        }
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.below(12) {
            0 => return Vec::new(),
            1..8 => 8 + self.random.below(16),
            8..11 => 40 + self.random.below(400),
            _ => self.random.below(self.mix.value_bytes_max + 1),
        };
        let length = length.min(self.mix.value_bytes_max);
        // One value in six is to expire (`model/clock.rs`).
        let ttl = if self.random.one_in(6) {
            let ms = *self.random.pick(&[0, 1, 1_000, HOUR_MS, DAY_MS, u64::MAX]);
            format!("ttl {ms}.")
        } else {
            String::new()
        };
        let mut value = format!("{ttl}w{}.", self.writes).into_bytes();
        if self.random.one_in(2) {
            value.resize(length.max(value.len()), b'x');
        }
        while value.len() < length {
            value.extend_from_slice(&self.random.next().to_le_bytes());
        }
        value
    }

    fn range(&mut self) -> KeyRange {
        if self.random.one_in(4) {
            return (Bound::Unbounded, Bound::Unbounded);
        }
        let (mut from, mut to) = (self.key(), self.key());
        // Ranges that are the wrong way round stay so now and then: they are empty.
        if from > to && !self.random.one_in(8) {
            std::mem::swap(&mut from, &mut to);
        }
        (self.bound(from), self.bound(to))
    }

    fn bound(&mut self, key: Vec<u8>) -> Bound<Vec<u8>> {
        match self.random.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Excluded(key),
            _ => Bound::Included(key),
        }
    }

    fn cursor(&mut self) -> Operation {
        let mut moves = Vec::new();
        for _ in 0..1 + self.random.below(12) {
            let movement = match self.random.below(12) {
                0 => Move::First,
                1 => Move::Last,
                2 | 3 => Move::Seek(self.key()),
                4 | 5 => Move::SeekForPrev(self.key()),
                6..9 => Move::Next,
                _ => Move::Prev,
            };
            // Steps mostly come several in a row: a cursor is handed several entries at once.
            let is_step = matches!(movement, Move::Next | Move::Prev);
            let times = if is_step { 1 + self.random.below(4) } else { 1 };
            moves.extend((0..times).map(|_| movement.clone()));
        }
        Operation::Cursor { family: self.family(), moves }
    }
}
