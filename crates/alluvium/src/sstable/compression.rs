//! The codecs of blocks: a closed set, each block naming its own in its trailer.
//!
//! A compressed block begins with its uncompressed length, so that the reader allocates once. That
//! length comes from disk: before anything is allocated it is held against the longest block that
//! the table declares to have, against the most that the codec can expand to, and for Zstd against
//! the length in its own frame. What a codec does not make an eighth smaller is kept as it is;
//! reading it back would cost more than its bytes save. Where blocks turn out so one after another,
//! most of the next ones are not tried ([`Pause`]).
//!
//! A [`Compressor`] belongs to one writer and keeps its codec's tables between blocks. Zstd's
//! decompression context is kept for each thread: making one costs more than a 4 KiB block does.
//!
//! Blocks of [`Codec::ZstdDictionary`] need the dictionary of their table (`dictionary.rs`), which
//! an [`Unpacker`] holds.

use std::cell::RefCell;

use zstd::zstd_safe::{DCtx, get_frame_content_size};

use crate::base::coding::{put_varint, take_varint};
use crate::base::limits::BLOCK_BYTES_MAX;
use crate::sstable::block_builder::KEPT_BYTES_MAX;
use crate::sstable::dictionary::{Dictionary, SAMPLES_PER_BYTE};
use crate::sstable::format::Malformed;

/// How the blocks of a table are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all: the least work.
    #[default]
    None,
    /// LZ4: halves typical text at about a gigabyte a second a core.
    Lz4,
    /// Zstd: a third smaller again than LZ4, at a third of its speed. See [`ZstdOptions`].
    Zstd,
    /// Snappy: near LZ4; for those who know it from elsewhere.
    Snappy,
    /// Zstd with a dictionary for each table, trained from its own first blocks: for the oldest
    /// data, where blocks are small and alike. [`ZstdOptions::dictionary_bytes`] times 100 of each
    /// table, a quarter of it at the most, wait in memory for the training; reading costs what Zstd
    /// does. Where a dictionary does not pay for itself the table is written as with
    /// [`Codec::Zstd`].
    ZstdDictionary,
}

/// How hard Zstd tries.
///
/// ```
/// use alluvium::{Codec, ColumnFamilyOptions, ZstdOptions};
/// let options = ColumnFamilyOptions {
///     bottom_codec: Some(Codec::ZstdDictionary),
///     zstd: ZstdOptions { level: 9, ..ZstdOptions::default() },
///     ..ColumnFamilyOptions::default()
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZstdOptions {
    /// Zstd's compression level, 1 to 19. Larger: smaller tables for more work in compactions; to
    /// read them costs the same. Default: 3.
    pub level: i32,
    /// Most bytes of a table's dictionary, for [`Codec::ZstdDictionary`], 1 KiB to 110 KiB. Larger:
    /// smaller blocks, for as much memory for each open table, and 100 times as much while one is
    /// written. Default: 16 KiB.
    pub dictionary_bytes: u32,
}

impl Default for ZstdOptions {
    fn default() -> ZstdOptions {
        ZstdOptions { level: 3, dictionary_bytes: 16 << 10 }
    }
}

impl ZstdOptions {
    /// Bytes of samples that a dictionary is trained from: as many as Zstd's trainer advises.
    pub(super) fn samples_bytes(self) -> usize {
        (self.dictionary_bytes as usize).saturating_mul(SAMPLES_PER_BYTE)
    }
}

impl Codec {
    /// The codec's number on disk.
    pub(crate) fn tag(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
            Codec::Snappy => 3,
            Codec::ZstdDictionary => 4,
        }
    }

    pub(super) fn from_tag(tag: u8) -> Option<Codec> {
        match tag {
            0 => Some(Codec::None),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            3 => Some(Codec::Snappy),
            4 => Some(Codec::ZstdDictionary),
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
            Codec::Zstd | Codec::ZstdDictionary => 32 << 10,
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

/// What became of the data blocks of a table whose codec is not [`Codec::None`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CompressionTally {
    /// Blocks stored compressed.
    pub(crate) compressed: u64,
    /// Blocks tried and stored as they are, because compressing did not save an eighth.
    pub(crate) declined: u64,
    /// Blocks stored as they are without a try, because those before had been declined.
    pub(crate) untried: u64,
}

/// When to stop trying: after [`Pause::PATIENCE`] blocks in a row that did not pay, ever more of
/// the next ones are passed over before one is tried again; one that pays ends it.
#[derive(Debug, Default)]
struct Pause {
    declined: u32,
    left: u32,
}

impl Pause {
    const PATIENCE: u32 = 8;
    const BLOCKS_MAX: u32 = 256;

    /// Whether the next block is to be passed over.
    fn skips(&mut self) -> bool {
        let skips = self.left > 0;
        self.left = self.left.saturating_sub(1);
        skips
    }

    fn note(&mut self, paid: bool) {
        if paid {
            self.declined = 0;
            return;
        }
        self.declined = self.declined.saturating_add(1);
        if let Some(more) = self.declined.checked_sub(Pause::PATIENCE) {
            self.left = (Pause::PATIENCE << more.min(16)).min(Pause::BLOCKS_MAX);
        }
    }
}

/// Compresses one block after another.
pub(super) struct Compressor {
    codec: Codec,
    state: State,
    zstd: ZstdOptions,
    pause: Pause,
    tally: CompressionTally,
    out: Vec<u8>,
}

impl Compressor {
    pub(super) fn new(codec: Codec, zstd: ZstdOptions) -> Compressor {
        let (codec, state) = match codec {
            Codec::None => (codec, State::None),
            Codec::Lz4 => (codec, State::Lz4(lz4_flex::block::CompressTable::default())),
            // Until there is a dictionary.
            Codec::Zstd | Codec::ZstdDictionary => (Codec::Zstd, zstd_state(zstd.level, &[])),
            Codec::Snappy => (codec, State::Snappy(Box::new(snap::raw::Encoder::new()))),
        };
        let (pause, tally) = (Pause::default(), CompressionTally::default());
        Compressor { codec, state, zstd, pause, tally, out: Vec::new() }
    }

    /// Compresses with this dictionary from here on.
    pub(super) fn use_dictionary(&mut self, dictionary: &[u8]) {
        self.codec = Codec::ZstdDictionary;
        self.state = zstd_state(self.zstd.level, dictionary);
    }

    /// What became of the data blocks so far.
    pub(super) fn tally(&self) -> CompressionTally {
        self.tally
    }

    /// The bytes to store for a data block of these `contents`, and their codec: `contents` itself
    /// where compressing does not save an eighth, or did not for those before.
    pub(super) fn compress<'a>(
        &'a mut self,
        contents: &'a mut Vec<u8>,
    ) -> (&'a mut Vec<u8>, Codec) {
        if matches!(self.state, State::None) {
            return (contents, Codec::None);
        }
        if self.pause.skips() {
            self.tally.untried += 1;
            return (contents, Codec::None);
        }
        let paid = self.try_compress(contents);
        self.pause.note(paid);
        if paid {
            self.tally.compressed += 1;
            (&mut self.out, self.codec)
        } else {
            self.tally.declined += 1;
            (contents, Codec::None)
        }
    }

    /// The same for the index block and that of range tombstones, which no dictionary serves.
    pub(super) fn compress_index<'a>(
        &'a mut self,
        contents: &'a mut Vec<u8>,
    ) -> (&'a mut Vec<u8>, Codec) {
        if self.codec == Codec::ZstdDictionary {
            self.codec = Codec::Zstd;
            self.state = zstd_state(self.zstd.level, &[]);
        }
        if self.try_compress(contents) {
            (&mut self.out, self.codec)
        } else {
            (contents, Codec::None)
        }
    }

    /// Whether compressing `contents` pays; `out` then is what to store.
    fn try_compress(&mut self, contents: &[u8]) -> bool {
        match self.fill_out(contents) {
            Some(length) if length <= contents.len() - contents.len() / 8 => {
                self.out.truncate(length);
                true
            }
            _ => false,
        }
    }

    /// Fills `out`; returns the length of what counts in it. A codec's refusal (its tables could
    /// not be allocated) is no error: the block is stored as it is.
    fn fill_out(&mut self, contents: &[u8]) -> Option<usize> {
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

/// A Zstd compressor. Making one fails for want of memory only; blocks are then stored as they are.
fn zstd_state(level: i32, dictionary: &[u8]) -> State {
    let made = zstd::bulk::Compressor::with_dictionary(level, dictionary).and_then(|mut made| {
        // Which dictionary it is goes without saying: that of the table.
        made.set_parameter(zstd::zstd_safe::CParameter::DictIdFlag(false))?;
        Ok(made)
    });
    made.map_or(State::None, |made| State::Zstd(Box::new(made)))
}

/// What the blocks of one table are decompressed by.
#[derive(Debug)]
pub(super) struct Unpacker {
    /// What blocks of [`Codec::ZstdDictionary`] were compressed with.
    pub(super) dictionary: Option<Dictionary>,
    /// No block of the table is longer than this, uncompressed.
    pub(super) block_bytes_max: u64,
}

impl Default for Unpacker {
    /// For a table of which nothing is known.
    fn default() -> Unpacker {
        Unpacker { dictionary: None, block_bytes_max: BLOCK_BYTES_MAX as u64 }
    }
}

impl Unpacker {
    /// The contents of a block that was stored as `stored` with `codec` (not [`Codec::None`], whose
    /// contents are the stored bytes).
    pub(super) fn decompress(&self, codec: Codec, stored: &[u8]) -> Result<Vec<u8>, Malformed> {
        const TOO_LONG: Malformed =
            Malformed("the compressed block declares more than it can hold");
        let mut input = stored;
        let declared =
            take_varint(&mut input).ok_or(Malformed("the compressed block has no length"))?;
        let most = codec.expansion_max().saturating_mul(input.len() as u64);
        if declared > most.min(self.block_bytes_max).min(BLOCK_BYTES_MAX as u64) {
            return Err(TOO_LONG);
        }
        let length = declared as usize;
        let contents = match codec {
            Codec::None => None,
            Codec::Lz4 => {
                let mut out = vec![0; length];
                let written = lz4_flex::block::decompress_into(input, &mut out).ok();
                written.filter(|&written| written == length).map(|_| out)
            }
            Codec::Zstd => decompress_zstd(input, length, None),
            Codec::ZstdDictionary => {
                let missing = Malformed("the block's dictionary is missing");
                let dictionary = self.dictionary.as_ref().ok_or(missing)?;
                decompress_zstd(input, length, Some(dictionary))
            }
            Codec::Snappy => decompress_snappy(input, length),
        };
        contents.ok_or(Malformed("the compressed block does not decompress"))
    }
}

fn decompress_zstd(input: &[u8], length: usize, with: Option<&Dictionary>) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    }
    if !matches!(get_frame_content_size(input), Ok(Some(size)) if size == length as u64) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut decompress = |context: &mut Option<DCtx<'static>>| {
        if context.is_none() {
            *context = DCtx::try_create();
        }
        let context = context.as_mut()?;
        let done = match with {
            None => context.decompress(&mut out, input),
            Some(dictionary) => {
                context.decompress_using_ddict(&mut out, input, dictionary.prepared())
            }
        };
        done.ok()
    };
    // What a thread that ends does last may be a lookup: its own is gone by then.
    let kept = CONTEXT.try_with(|context| decompress(&mut context.borrow_mut()));
    kept.unwrap_or_else(|_| decompress(&mut None))?;
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
