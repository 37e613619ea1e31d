//! The generator of every random choice here: seeded, small, and the same on every machine.
//!
//! SplitMix64 (Steele, Lea, Flood 2014). Not a crate: a seed printed by a failing test must mean
//! the same run in ten years.

/// A seeded stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A stream for one case of many, from what identifies it.
    #[must_use]
    pub fn for_case(parts: &[u64]) -> Random {
        let mut random = Random(0);
        for part in parts {
            random = Random(random.next() ^ part);
        }
        random
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "an endless stream of plain numbers")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, which are not empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
