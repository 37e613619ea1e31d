//! The codecs of blocks: a closed set, each block naming its own in its trailer.
//!
//! A compressed block begins with its uncompressed length, so that the reader allocates once. That
//! length comes from disk: it is held against the limit and against the most that the codec can
//! expand to before anything is allocated. What a codec does not make an eighth smaller is kept as
//! it is; reading it back would cost more than its bytes save.
//!
//! A [`Compressor`] belongs to one writer and keeps its codec's tables between blocks. Zstd's
//! decompression context is kept for each thread: making one costs more than a 4 KiB block does.

use std::cell::RefCell;

use crate::base::coding::{put_varint, take_varint};
use crate::base::limits::BLOCK_BYTES_MAX;
use crate::sstable::block_builder::KEPT_BYTES_MAX;
use crate::sstable::format::Malformed;

/// Compression level of Zstd: the middle of its quick range.
const ZSTD_LEVEL: i32 = 3;

/// How the blocks of a table are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all: the least work, and values are read without a copy.
    #[default]
    None,
    /// LZ4: halves typical text at about a gigabyte a second a core.
    Lz4,
    /// Zstd, level 3: a third smaller again than LZ4, at a third of its speed.
    Zstd,
    /// Snappy: near LZ4; for those who know it from elsewhere.
    Snappy,
}

impl Codec {
    /// The codec's number on disk.
    pub(crate) fn tag(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
            Codec::Snappy => 3,
        }
    }

    pub(super) fn from_tag(tag: u8) -> Option<Codec> {
        match tag {
            0 => Some(Codec::None),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            3 => Some(Codec::Snappy),
            _ => None,
        }
    }

    /// No block of this codec expands to more than this many times its compressed bytes.
    fn expansion_max(self) -> u64 {
        match self {
            Codec::None => 1,
            // A byte of a match's length stands for 255 bytes of output.
            Codec::Lz4 => 256,
            // A block of one repeated byte: 128 KiB in 4 bytes.
            Codec::Zstd => 32 << 10,
            // A copy element: 64 bytes in 3.
            Codec::Snappy => 22,
        }
    }
}

/// The state that a codec keeps between blocks.
enum State {
    None,
    Lz4(lz4_flex::block::CompressTable),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Snappy(Box<snap::raw::Encoder>),
}

/// Compresses one block after another.
pub(super) struct Compressor {
    codec: Codec,
    state: State,
    out: Vec<u8>,
}

impl Compressor {
    pub(super) fn new(codec: Codec) -> Compressor {
        let state = match codec {
            Codec::None => State::None,
            Codec::Lz4 => State::Lz4(lz4_flex::block::CompressTable::default()),
            // Fails for want of memory only; blocks are then stored as they are.
            Codec::Zstd => zstd::bulk::Compressor::new(ZSTD_LEVEL)
                .map_or(State::None, |compressor| State::Zstd(Box::new(compressor))),
            Codec::Snappy => State::Snappy(Box::new(snap::raw::Encoder::new())),
        };
        Compressor { codec, state, out: Vec::new() }
    }

    /// The bytes to store for a block of these `contents`, and their codec: `contents` itself where
    /// compressing does not save an eighth.
    pub(super) fn compress<'a>(
        &'a mut self,
        contents: &'a mut Vec<u8>,
    ) -> (&'a mut Vec<u8>, Codec) {
        match self.try_compress(contents) {
            Some(length) if length <= contents.len() - contents.len() / 8 => {
                self.out.truncate(length);
                (&mut self.out, self.codec)
            }
            _ => (contents, Codec::None),
        }
    }

    /// Fills `out`; returns the length of what counts in it. A codec's refusal (its tables could
    /// not be allocated) is no error: the block is stored as it is.
    fn try_compress(&mut self, contents: &[u8]) -> Option<usize> {
        let out = &mut self.out;
        if out.capacity() > KEPT_BYTES_MAX {
            *out = Vec::new();
        }
        out.clear();
        put_varint(out, contents.len() as u64);
        let start = out.len();
        let room = match &self.state {
            State::None => return None,
            State::Lz4(_) => lz4_flex::block::get_maximum_output_size(contents.len()),
            State::Zstd(_) => zstd::zstd_safe::compress_bound(contents.len()),
            State::Snappy(_) => snap::raw::max_compress_len(contents.len()),
        };
        out.resize(start + room, 0);
        let target = &mut out[start..];
        let written = match &mut self.state {
            State::None => return None,
            State::Lz4(table) => {
                lz4_flex::block::compress_into_with_table(contents, target, table).ok()?
            }
            State::Zstd(compressor) => compressor.compress_to_buffer(contents, target).ok()?,
            State::Snappy(encoder) => encoder.compress(contents, target).ok()?,
        };
        Some(start + written)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compressor({:?})", self.codec)
    }
}

/// The contents of a block that was stored as `stored` with `codec` (not [`Codec::None`], whose
/// contents are the stored bytes).
pub(super) fn decompress(codec: Codec, stored: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut input = stored;
    let declared =
        take_varint(&mut input).ok_or(Malformed("the compressed block has no length"))?;
    let most = codec.expansion_max().saturating_mul(input.len() as u64).min(BLOCK_BYTES_MAX as u64);
    if declared > most {
        return Err(Malformed("the compressed block declares more than it can hold"));
    }
    let length = declared as usize;
    let contents = match codec {
        Codec::None => None,
        Codec::Lz4 => {
            let mut out = vec![0; length];
            let written = lz4_flex::block::decompress_into(input, &mut out).ok();
            written.filter(|&written| written == length).map(|_| out)
        }
        Codec::Zstd => decompress_zstd(input, length),
        Codec::Snappy => decompress_snappy(input, length),
    };
    contents.ok_or(Malformed("the compressed block does not decompress"))
}

fn decompress_zstd(input: &[u8], length: usize) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
    }
    let mut out = Vec::with_capacity(length);
    CONTEXT.with_borrow_mut(|context| context.decompress_to_buffer(input, &mut out)).ok()?;
    (out.len() == length).then_some(out)
}

fn decompress_snappy(input: &[u8], length: usize) -> Option<Vec<u8>> {
    if snap::raw::decompress_len(input).ok()? != length {
        return None;
    }
    let mut out = vec![0; length];
    let written = snap::raw::Decoder::new().decompress(input, &mut out).ok()?;
    (written == length).then_some(out)
}
