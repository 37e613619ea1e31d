//! What the workloads write and ask for: keys, values, and the orders and distributions over them.
//!
//! **Keys** are 16 bytes, as `db_bench` of LevelDB and RocksDB makes them: a number, big-endian, in
//! the first eight, and the character `0` in the rest. The numbers of keys that exist are even, so
//! that a missing key (odd) lies between two that exist: neither the bounds of a table nor those of
//! the key space rule it out, only a filter or a look can.
//!
//! **Values** are half compressible: the second half of each repeats the first, as far as the stamp
//! allows. The stamp, the first eight bytes, is the number of the key, so that every read can tell
//! a right answer from a wrong one at the cost of one comparison.
//!
//! **Orders.** "Random" is a permutation: each key exactly once, so that the live bytes are known
//! exactly. The road not taken is `db_bench`'s draw with replacement, which leaves a third of the
//! keys unwritten and makes every later workload half a test of missing keys. Nothing is
//! precomputed: an array of shuffled numbers would cost a cache miss a key, charged to the engine.

#[cfg(test)]
mod tests;
mod zipf;

pub use zipf::Popular;

/// A key of the benchmark.
pub type Key = [u8; 16];

/// The key of a number, as it is written.
#[inline]
pub fn key_of(number: u64) -> Key {
    plain_key(number * 2)
}

/// A key that no workload writes, between those of `number` and `number + 1`.
#[inline]
pub fn missing_key_of(number: u64) -> Key {
    plain_key(number * 2 + 1)
}

#[inline]
fn plain_key(number: u64) -> Key {
    let mut key = *b"0000000000000000";
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of an event: its time, then its number.
#[inline]
pub fn event_key(time_us: u64, number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&time_us.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The stamp of a value: the number of the key that it was written under.
#[inline]
pub fn stamp_of(value: &[u8]) -> u64 {
    value.first_chunk().map_or(u64::MAX, |stamp| u64::from_le_bytes(*stamp))
}

/// A xoshiro256++ generator (Blackman and Vigna), seeded through splitmix64: a nanosecond a draw.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// A generator whose draws depend on `seed` alone.
    pub fn new(seed: u64) -> Rng {
        let mut state = seed;
        Rng(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        }))
    }

    /// The next 64 bits.
    #[inline]
    pub fn next(&mut self) -> u64 {
        let state = &mut self.0;
        let drawn = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        drawn
    }

    /// A number below `bound`, evenly (to one part in 2⁶⁴ / `bound`).
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in 0..1.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The finisher of splitmix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A permutation of `0..count`, computed and not stored.
///
/// A bijection of the next power of two (odd multiplications and xor-shifts are invertible), walked
/// until it lands inside: fewer than two times on average. Each of its rounds takes in a salt of
/// its own: with one salt before all of them, two permutations would be one with its positions in
/// blocks exchanged, and what one sends first the other might send last.
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    count: u64,
    bits: u32,
    mask: u64,
    salts: [u64; ROUNDS],
}

/// Rounds of a [`Permutation`].
const ROUNDS: usize = 4;

impl Permutation {
    /// The permutation of `0..count` that belongs to `seed`.
    pub fn new(count: u64, seed: u64) -> Permutation {
        let bits = count.next_power_of_two().trailing_zeros().max(2);
        let mut rng = Rng::new(seed ^ 0x5bd1_e995);
        let salts = std::array::from_fn(|_| rng.next());
        Permutation { count, bits, mask: (1 << bits) - 1, salts }
    }

    /// Where `position` is sent.
    #[inline]
    pub fn at(&self, position: u64) -> u64 {
        let mut number = position;
        loop {
            number = self.scramble(number);
            if number < self.count {
                return number;
            }
        }
    }

    #[inline]
    fn scramble(&self, number: u64) -> u64 {
        let half = (self.bits / 2).max(1);
        self.salts.iter().fold(number, |mixed, salt| {
            let mixed = (mixed ^ salt).wrapping_mul(0xbf58_476d_1ce4_e5b9) & self.mask;
            mixed ^ (mixed >> half)
        })
    }
}

/// Makes values out of a pool, as `db_bench` does.
#[derive(Debug, Clone)]
pub struct Values {
    pool: Vec<u8>,
    bytes: usize,
    next: usize,
}

/// The shortest value: a stamp, and as much again.
pub const VALUE_BYTES_MIN: usize = 16;

const POOL_BYTES: usize = 1 << 20;

impl Values {
    /// Values of `bytes` bytes each.
    pub fn new(bytes: usize, seed: u64) -> Values {
        let bytes = bytes.max(VALUE_BYTES_MIN);
        let mut rng = Rng::new(seed ^ 0x7661_6c75_6573);
        let mut pool = Vec::with_capacity(POOL_BYTES + bytes);
        while pool.len() < POOL_BYTES {
            let start = pool.len();
            pool.extend((0..bytes / 2).map(|_| rng.next() as u8));
            pool.extend_from_within(start..start + bytes / 2);
            pool.resize(start + bytes, b'.');
        }
        Values { pool, bytes, next: 0 }
    }

    /// The length of every value.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the next value to `out`, stamped with `number`.
    #[inline]
    pub fn append(&mut self, number: u64, out: &mut Vec<u8>) {
        let piece = &self.pool[self.next..self.next + self.bytes];
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&piece[8..]);
        self.next += self.bytes;
        if self.next + self.bytes > self.pool.len() {
            self.next = 0;
        }
    }
}
