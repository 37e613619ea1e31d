//! Checksums: XXH3-64 over the bytes, bound to where the bytes belong.
//!
//! A checksum covers content and place (file number and offset), so that a block which was written
//! to, or read from, the wrong place is noticed although its bytes are whole.
//!
//! The road not taken: CRC32C detects every burst of up to 32 bits by construction, but costs a
//! further crate with a build script; 64 bits of XXH3 miss one damage in 2^64 and are faster.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The checksum of `bytes` that stand at `offset` of file number `file`.
#[must_use]
#[inline]
pub fn checksum(bytes: &[u8], file: u64, offset: u64) -> u64 {
    xxh3_64(bytes) ^ place(file, offset)
}

/// The [`checksum`] of bytes whose end is not known yet: that of each front of them, for the price
/// of one pass.
pub struct RunningChecksum {
    hash: Xxh3,
    place: u64,
}

impl RunningChecksum {
    /// Begins before the byte at `offset` of file number `file`.
    #[must_use]
    pub fn new(file: u64, offset: u64) -> RunningChecksum {
        RunningChecksum { hash: Xxh3::new(), place: place(file, offset) }
    }

    /// Goes on by `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The checksum of all bytes so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.hash.digest() ^ self.place
    }
}

impl std::fmt::Debug for RunningChecksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningChecksum({:x})", self.value())
    }
}

/// Spreads a place over 64 bits (the finalizer of SplitMix64, by Steele, Lea and Flood 2014).
#[inline]
fn place(file: u64, offset: u64) -> u64 {
    let mut z = file.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(offset).wrapping_add(1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The hash of a user key that every filter and every lookup shares.
#[must_use]
#[inline]
pub fn key_hash(user_key: &[u8]) -> u64 {
    xxh3_64(user_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_binds_content_file_and_offset() {
        let base = checksum(b"block", 3, 4096);
        assert_ne!(base, checksum(b"blocl", 3, 4096));
        assert_ne!(base, checksum(b"block", 4, 4096));
        assert_ne!(base, checksum(b"block", 3, 8192));
        assert_eq!(base, checksum(b"block", 3, 4096));
    }

    #[test]
    fn a_running_checksum_is_that_of_every_front() {
        let bytes: Vec<u8> = (0..3_000u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
        let mut running = RunningChecksum::new(7, 99);
        for end in 0..bytes.len() {
            assert_eq!(running.value(), checksum(&bytes[..end], 7, 99), "{end} bytes");
            running.update(&bytes[end..=end]);
        }
    }

    #[test]
    fn the_checksum_is_pinned_because_it_is_on_disk() {
        assert_eq!(checksum(b"alluvium", 1, 2), 14_221_709_754_452_309_716);
    }
}
