//! Floor 1: the filter of a table: says of a key that it is certainly not there, or may be.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): all bits of one key lie in one 64-byte
//! line, so that a probe costs one cache miss whatever the number of bits. Which bits, is drawn in
//! docs/format.md ("Filter block"); it is the scheme of RocksDB's `FastLocalBloom`.
//!
//! Invariant: a key or a prefix that was added is never denied. At 10 bits a key about 1 in 100 of
//! the others is let through.
//!
//! `rate` has the curve of false positives by bits a key, `monkey` divides memory among runs by it,
//! `policy` is what a user chooses, and `prefix` what scans ask filters by.
//!
//! A builder has one owner; a reader is immutable and shared by any number of threads.
//!
//! The roads not taken: a plain Bloom filter lets a fifth fewer through at the same size, but costs
//! a cache miss for each probe; Ribbon and fuse filters save a quarter of the space, for several
//! times the work to build, on the path (flush and compaction) that is short of processor time.

mod monkey;
mod policy;
mod prefix;
mod rate;

use crate::base::checksum::key_hash;
use crate::base::limits::BLOCK_BYTES_MAX;

pub use policy::FilterPolicy;
pub(crate) use policy::FilterShape;
pub use prefix::PrefixExtractor;

const KIND_BLOCKED_BLOOM: u8 = 1;
/// Bytes of a filter block before its lines.
pub(crate) const HEADER_BYTES: usize = 6;
const LINE_BYTES: usize = 64;
const LINE_BITS: u64 = 8 * LINE_BYTES as u64;
const LINES_MAX: u64 = ((BLOCK_BYTES_MAX - HEADER_BYTES) / LINE_BYTES) as u64;
const PROBES_MAX: u8 = 16;
/// Hashes of a piece of those that a builder collects.
const PIECE_HASHES: usize = 8 << 10;
/// 2^32 divided by the golden ratio: successive products spread their upper bits evenly.
const SPREAD: u32 = 0x9e37_79b9;
/// Any odd number with bits all over; on disk by its effect.
const PREFIX_FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// Collects the hashes of a table's keys.
#[derive(Debug)]
pub(crate) struct FilterBuilder {
    bits_per_key: f64,
    /// In pieces of [`PIECE_HASHES`], the last one being filled: half a million of them in one
    /// vector would be copied at each doubling, and need half as much again.
    pieces: Vec<Vec<u64>>,
    hashes: usize,
}

impl FilterBuilder {
    /// A filter of `bits_per_key`; 0 stands for no filter.
    pub(crate) fn new(bits_per_key: f64) -> FilterBuilder {
        FilterBuilder { bits_per_key, pieces: Vec::new(), hashes: 0 }
    }

    /// Adds a key by its [`key_hash`], or a prefix by its [`prefix_hash`].
    #[inline]
    pub(crate) fn add_hash(&mut self, hash: u64) {
        if self.bits_per_key > 0.0 {
            if self.hashes.is_multiple_of(PIECE_HASHES) {
                self.pieces.push(Vec::with_capacity(PIECE_HASHES));
            }
            if let Some(piece) = self.pieces.last_mut() {
                piece.push(hash);
            }
            self.hashes += 1;
        }
    }

    /// About the bytes that [`Self::finish`] would give now.
    pub(crate) fn estimated_bytes(&self) -> usize {
        match self.lines() {
            0 => 0,
            lines => HEADER_BYTES + lines as usize * LINE_BYTES,
        }
    }

    fn lines(&self) -> u64 {
        let lines = self.hashes as f64 * self.bits_per_key / LINE_BITS as f64;
        // To the nearest line, so that many small filters are together what was asked for; but a
        // filter that is asked for is there.
        if lines > 0.0 { (lines.round() as u64).clamp(1, LINES_MAX) } else { 0 }
    }

    /// The filter as it stands on disk; empty when there is none.
    pub(crate) fn finish(self) -> Vec<u8> {
        let lines = self.lines();
        if lines == 0 {
            return Vec::new();
        }
        let probes = probes_for(self.bits_per_key);
        let mut out = vec![0; HEADER_BYTES + lines as usize * LINE_BYTES];
        out[0] = KIND_BLOCKED_BLOOM;
        out[1] = probes;
        out[2..HEADER_BYTES].copy_from_slice(&(lines as u32).to_le_bytes());
        for hash in self.pieces.into_iter().flatten() {
            let start = HEADER_BYTES + line_of(hash, lines) * LINE_BYTES;
            let line = &mut out[start..start + LINE_BYTES];
            let mut h = hash as u32;
            for _ in 0..probes {
                let bit = h >> 23;
                line[(bit >> 3) as usize] |= 1 << (bit & 7);
                h = h.wrapping_mul(SPREAD);
            }
        }
        out
    }
}

/// How long the filter block is that begins so; `None` when none does.
pub(crate) fn block_bytes(header: [u8; HEADER_BYTES]) -> Option<u64> {
    let [kind, probes, lines @ ..] = header;
    let lines = u64::from(u32::from_le_bytes(lines));
    let sound = kind == KIND_BLOCKED_BLOOM && (1..=PROBES_MAX).contains(&probes) && lines > 0;
    sound.then_some(HEADER_BYTES as u64 + lines * LINE_BYTES as u64)
}

/// Fewer probes than the 0.69 a bit of a plain Bloom filter: lines fill unevenly, and the full ones
/// suffer more from a further bit than the empty ones gain.
fn probes_for(bits_per_key: f64) -> u8 {
    let probes = (bits_per_key * 0.6 + 0.5) as u8;
    probes.clamp(1, PROBES_MAX)
}

/// The hash under which a prefix stands in a filter: another than that of a key of the same bytes.
pub(crate) fn prefix_hash(prefix: &[u8]) -> u64 {
    key_hash(prefix).wrapping_mul(PREFIX_FACTOR)
}

#[inline]
fn line_of(hash: u64, lines: u64) -> usize {
    (((hash >> 32) * lines) >> 32) as usize
}

/// One cache line of filter bits. A bit `b` on disk is bit `b % 8` of byte `b / 8`, which in
/// little-endian words is bit `b % 64` of word `b / 64`.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// A filter in memory.
pub(crate) struct FilterReader {
    lines: Box<[Line]>,
    probes: u8,
}

impl FilterReader {
    /// Takes the bytes of a filter block apart; `None` when they are no filter of this format.
    /// The lines are copied, so that each falls on one cache line of the machine.
    pub(crate) fn parse(block: &[u8]) -> Option<FilterReader> {
        let (header, lines) = block.split_first_chunk()?;
        if block_bytes(*header)? != block.len() as u64 {
            return None;
        }
        let lines = lines.chunks_exact(LINE_BYTES).map(line_from).collect();
        Some(FilterReader { lines, probes: header[1] })
    }

    /// Whether a key of this hash may have been added. Never `false` for one that was.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let Line(words) = &self.lines[line_of(hash, self.lines.len() as u64)];
        let mut h = hash as u32;
        for _ in 0..self.probes {
            let bit = h >> 23;
            if words[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
                return false;
            }
            h = h.wrapping_mul(SPREAD);
        }
        true
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES
    }
}

impl std::fmt::Debug for FilterReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FilterReader({} lines, {} probes)", self.lines.len(), self.probes)
    }
}

fn line_from(bytes: &[u8]) -> Line {
    let mut words = [0; 8];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    Line(words)
}

#[cfg(test)]
mod tests;
