//! Scripts drawn from a seed.

use std::ops::Bound;

use alluvium::Durability;

use crate::generator::FAMILIES;
use crate::metamorphic::step::{Move, Put, Restart, Step, Value};
use crate::operation::{Direction, KeyRange};
use crate::random::Random;

/// Slots for snapshots, and as many for cursors and scans.
const SLOTS: usize = 3;

struct Generator {
    random: Random,
    writes: u64,
}

/// `count` steps that follow from `seed`.
#[must_use]
pub fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut generator = Generator { random: Random::for_case(&[seed, count as u64]), writes: 0 };
    // Most runs have a second family early, or its steps would say little.
    let mut steps = vec![Step::Create { family: FAMILIES[1].to_owned() }];
    steps.extend((1..count).map(|_| generator.step()));
    steps
}

impl Generator {
    fn step(&mut self) -> Step {
        match self.random.below(1000) {
            0..390 => self.write(),
            390..540 => Step::Get { family: self.family(), key: self.key(), at: self.at() },
            540..570 => {
                let count = self.random.below(6);
                let keys = (0..count).map(|_| self.key()).collect();
                Step::Multi { family: self.family(), keys }
            }
            570..640 => {
                let (family, range, direction) = (self.family(), self.range(), self.direction());
                Step::Scan { family, range, direction, at: self.at() }
            }
            640..680 => {
                let (family, prefix, direction) = (self.family(), self.key(), self.direction());
                Step::Prefix { family, prefix, direction, at: self.at() }
            }
            680..700 => Step::Cursor { slot: self.slot(), family: self.family(), at: self.at() },
            700..830 => Step::Move { slot: self.slot(), movement: self.movement() },
            830..845 => {
                let (slot, family, range) = (self.slot(), self.family(), self.range());
                Step::Hold { slot, family, range, at: self.at() }
            }
            845..885 => {
                let (slot, back) = (self.slot(), self.random.one_in(2));
                Step::Take { slot, back, count: 1 + self.random.below(8) }
            }
            885..890 => Step::Close { slot: self.slot() },
            890..908 => Step::Snapshot { slot: self.slot() },
            908..914 => Step::Release { slot: self.slot() },
            rest => self.maintenance(rest - 914),
        }
    }

    fn maintenance(&mut self, choice: usize) -> Step {
        match choice {
            0..9 => Step::Create { family: self.extra_family() },
            9..12 => Step::Drop { family: self.extra_family() },
            12..46 => Step::Flush { family: self.family_or_all() },
            46..64 => Step::Compact { family: self.family_or_all() },
            64..68 => Step::Sync,
            68..72 => Step::Restart(Restart::Reopen),
            72..74 => Step::Restart(Restart::Abandon),
            74..77 => Step::Restart(Restart::Kill),
            77..79 => Step::Restart(Restart::Power),
            79..82 => Step::Check,
            _ => self.write(),
        }
    }

    fn write(&mut self) -> Step {
        let count = match self.random.below(10) {
            0..7 => 1,
            7..9 => 1 + self.random.below(6),
            _ => self.random.below(40),
        };
        self.writes += 1;
        let changes = (0..count).map(|_| self.put()).collect();
        let durabilities =
            [None, None, Some(Durability::Buffered), Some(Durability::Os), Some(Durability::Disk)];
        Step::Write { durability: *self.random.pick(&durabilities), changes }
    }

    fn put(&mut self) -> Put {
        let (family, key) = (self.family(), self.key());
        let length = match self.random.below(24) {
            0 => 0,
            1..16 => 4 + self.random.below(24),
            16..23 => 40 + self.random.below(400),
            _ => self.random.below(6_000),
        };
        let value = Value { number: self.writes, length };
        let value = (!self.random.one_in(4)).then_some(value);
        let is_range = value.is_none() && self.random.one_in(3);
        let end = is_range.then(|| match self.random.below(3) {
            0 => [&key[..], &[0]].concat(),
            _ => self.key(),
        });
        Put { family, key, value, end }
    }

    /// A key: mostly 0 to 4 bytes of four, sometimes long with a common beginning.
    fn key(&mut self) -> Vec<u8> {
        const ALPHABET: [u8; 4] = [0x00, b'a', b'b', 0xff];
        let length = *self.random.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
        let mut key: Vec<u8> = (0..length).map(|_| *self.random.pick(&ALPHABET)).collect();
        if self.random.one_in(10) {
            let mut long = vec![b'a'; *self.random.pick(&[7, 8, 9, 15, 16, 17, 130])];
            long.append(&mut key);
            return long;
        }
        key
    }

    fn slot(&mut self) -> usize {
        self.random.below(SLOTS)
    }

    fn at(&mut self) -> Option<usize> {
        self.random.one_in(3).then(|| self.slot())
    }

    fn family(&mut self) -> String {
        let family = match self.random.below(8) {
            0 => FAMILIES[2],
            1 | 2 => FAMILIES[1],
            _ => FAMILIES[0],
        };
        family.to_owned()
    }

    fn extra_family(&mut self) -> String {
        (*self.random.pick(&FAMILIES[1..])).to_owned()
    }

    fn family_or_all(&mut self) -> Option<String> {
        if self.random.one_in(3) { None } else { Some(self.family()) }
    }

    fn direction(&mut self) -> Direction {
        *self.random.pick(&[Direction::Forward, Direction::Backward, Direction::BothEnds])
    }

    fn range(&mut self) -> KeyRange {
        if self.random.one_in(5) {
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

    fn movement(&mut self) -> Move {
        match self.random.below(16) {
            0 => Move::First,
            1 => Move::Last,
            2..4 => Move::Seek(self.key()),
            4..6 => Move::Before(self.key()),
            6..11 => Move::Next,
            _ => Move::Prev,
        }
    }
}
