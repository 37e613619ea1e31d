//! Mutants of inputs: a few small changes of one, or two put together.
//!
//! Blind, and therefore quick: what guides is the corpus, which holds an input for every way
//! through the code that coverage has found.

use crate::random::Random;

/// Integers at which comparisons turn.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    7,
    8,
    16,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x00ff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Makes one mutant after another in the same memory.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    bytes_max: usize,
    bytes: Vec<u8>,
}

impl Mutator {
    /// Mutants of at most `bytes_max` bytes, which follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, bytes_max: usize) -> Mutator {
        Mutator { random: Random::for_case(&[seed]), bytes_max, bytes: Vec::new() }
    }

    /// A mutant of one of `inputs`, which are not empty.
    pub fn mutant(&mut self, inputs: &[Vec<u8>]) -> &[u8] {
        let base = self.random.below(inputs.len());
        self.bytes.clear();
        self.bytes.extend_from_slice(&inputs[base]);
        let changes = match self.random.below(8) {
            0..4 => 1,
            4..6 => 2,
            6 => 4,
            _ => 1 + self.random.below(16),
        };
        for _ in 0..changes {
            self.change(inputs);
        }
        self.bytes.truncate(self.bytes_max);
        &self.bytes
    }

    fn change(&mut self, inputs: &[Vec<u8>]) {
        let length = self.bytes.len();
        if length == 0 {
            return self.insert(inputs);
        }
        let at = self.random.below(length);
        match self.random.below(16) {
            0..3 => self.bytes[at] ^= 1 << self.random.below(8),
            3..5 => self.bytes[at] = self.random.next() as u8,
            5 | 6 => {
                let step = 1 + self.random.below(16) as u8;
                let byte = self.bytes[at];
                let up = self.random.one_in(2);
                self.bytes[at] = if up { byte.wrapping_add(step) } else { byte.wrapping_sub(step) };
            }
            7 | 8 => self.put_integer(at),
            9 | 10 => self.insert(inputs),
            11 | 12 => {
                let count = 1 + self.random.below((length - at).min(16));
                self.bytes.drain(at..at + count);
            }
            13 => {
                let from = self.random.below(length);
                let count = 1 + self.random.below((length - at.max(from)).min(64));
                self.bytes.copy_within(from..from + count, at);
            }
            14 => self.splice(inputs, at),
            _ => self.bytes.truncate(at),
        }
    }

    fn put_integer(&mut self, at: usize) {
        let edge = *self.random.pick(&EDGES);
        let near = edge.wrapping_add(self.random.below(3) as u64).wrapping_sub(1);
        let width = 1 << self.random.below(4);
        let bytes = if self.random.one_in(6) { near.to_be_bytes() } else { near.to_le_bytes() };
        let end = (at + width).min(self.bytes.len());
        self.bytes[at..end].copy_from_slice(&bytes[..end - at]);
    }

    fn insert(&mut self, inputs: &[Vec<u8>]) {
        let at = self.random.below(self.bytes.len() + 1);
        let count = 1 + self.random.below(16);
        if self.random.one_in(3) {
            let other = &inputs[self.random.below(inputs.len())];
            let from = self.random.below(other.len());
            let end = (from + count).min(other.len());
            self.bytes.splice(at..at, other[from..end].iter().copied());
        } else {
            let byte = self.random.next() as u8;
            let varied = self.random.one_in(2);
            let random = &mut self.random;
            let fill = (0..count).map(|_| if varied { random.next() as u8 } else { byte });
            let fill: Vec<u8> = fill.collect();
            self.bytes.splice(at..at, fill);
        }
    }

    /// Goes on with the end of another input.
    fn splice(&mut self, inputs: &[Vec<u8>], at: usize) {
        let other = &inputs[self.random.below(inputs.len())];
        let from = if self.random.one_in(2) { at } else { self.random.below(other.len()) };
        self.bytes.truncate(at);
        self.bytes.extend_from_slice(other.get(from..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_many_bounded_and_repeatable() {
        let inputs = vec![Vec::new(), b"one input".to_vec(), vec![7; 40]];
        let draw = |seed| {
            let mut mutator = Mutator::new(seed, 64);
            (0..1_000).map(|_| mutator.mutant(&inputs).to_vec()).collect::<Vec<_>>()
        };
        let mutants = draw(1);
        assert!(mutants.iter().all(|mutant| mutant.len() <= 64));
        assert_eq!(mutants, draw(1));
        assert_ne!(mutants, draw(2));
        let different: std::collections::BTreeSet<_> = mutants.into_iter().collect();
        assert!(different.len() > 700, "{}", different.len());
    }
}
