//! The dictionary of a table: what its blocks have in common, for blocks too small to show it.
//!
//! A block of 4 KiB is compressed knowing nothing of the others, and says again in each what all of
//! them say. A dictionary trained from the table's first blocks says it once. It is in the table
//! as a block of its own, so that a table stays readable by itself, and is held in memory with it.
//!
//! Blocks come to a writer one after another, so the first of them wait uncompressed ([`Gather`])
//! until there is enough to train from, or a block comes that is too long to be a sample and cannot
//! wait. A dictionary is kept only where it makes those blocks smaller by more than its own length;
//! then it is worth its bytes whatever follows.
//!
//! The road not taken: one dictionary for a family, in the manifest. It would have to outlive every
//! table that uses it, and grows old with the data.

use zstd::zstd_safe::DDict;

use crate::base::limits::DICTIONARY_BYTES_MAX;
use crate::sstable::compression::{Codec, Compressor, ZstdOptions};
use crate::sstable::format::Malformed;

/// Samples for each byte of a dictionary: what Zstd's trainer advises.
pub(super) const SAMPLES_PER_BYTE: usize = 100;
/// A longer block is no sample: its values are large enough to say what they have in common, and
/// one of them would be much of what may wait.
pub(super) const SAMPLE_BYTES_MAX: usize = 128 << 10;
/// The shortest dictionary that is worth training.
const DICTIONARY_BYTES_MIN: usize = 256;

/// What every dictionary begins with.
pub(super) const MAGIC: [u8; 4] = 0xec30_a437_u32.to_le_bytes();

/// A dictionary as it is used to read.
pub(super) struct Dictionary {
    prepared: DDict<'static>,
}

impl Dictionary {
    /// Takes in the contents of a dictionary block.
    pub(super) fn parse(bytes: &[u8]) -> Result<Dictionary, Malformed> {
        let refused = Malformed("the dictionary is none");
        // Zstd would take bytes that begin otherwise for a dictionary without tables.
        if bytes.len() > DICTIONARY_BYTES_MAX || !bytes.starts_with(&MAGIC) {
            return Err(refused);
        }
        DDict::try_create(bytes).map(|prepared| Dictionary { prepared }).ok_or(refused)
    }

    pub(super) fn prepared(&self) -> &DDict<'static> {
        &self.prepared
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.prepared.sizeof()
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dictionary({} bytes)", self.memory_bytes())
    }
}

/// The first blocks of a table, until there is a dictionary.
#[derive(Debug)]
pub(super) struct Gather {
    zstd: ZstdOptions,
    bytes_max: usize,
    contents: Vec<u8>,
    lengths: Vec<usize>,
    /// The separator behind each block; the last block's is not known yet.
    separators: Vec<Vec<u8>>,
}

impl Gather {
    /// Is full at `bytes_max`.
    pub(super) fn new(zstd: ZstdOptions, bytes_max: usize) -> Gather {
        Gather {
            zstd,
            bytes_max,
            contents: Vec::new(),
            lengths: Vec::new(),
            separators: Vec::new(),
        }
    }

    /// Another, without blocks.
    pub(super) fn emptied(&self) -> Gather {
        Gather::new(self.zstd, self.bytes_max)
    }

    /// Takes a block in.
    pub(super) fn block(&mut self, contents: &[u8]) {
        self.contents.extend_from_slice(contents);
        self.lengths.push(contents.len());
    }

    /// Takes in the separator of the last block.
    pub(super) fn separator(&mut self, separator: &[u8]) {
        self.separators.push(separator.to_vec());
    }

    pub(super) fn bytes(&self) -> usize {
        self.contents.len()
    }

    /// Whether there is enough to train from.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// The blocks in order, each with its separator where that is known.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = &self.contents[..];
        self.lengths.iter().enumerate().map(move |(number, &length)| {
            let (block, behind) = rest.split_at(length);
            rest = behind;
            (block, self.separators.get(number).map(Vec::as_slice))
        })
    }

    /// A dictionary, where one pays for itself by these blocks alone.
    pub(super) fn train(&self) -> Option<Vec<u8>> {
        let most = (self.zstd.dictionary_bytes as usize).min(DICTIONARY_BYTES_MAX);
        let bytes = most.min(self.bytes() / SAMPLES_PER_BYTE * 4);
        if bytes < DICTIONARY_BYTES_MIN {
            return None;
        }
        // Too few or too uniform samples are an error of the trainer, and none here.
        let trained = zstd::dict::from_continuous(&self.contents, &self.lengths, bytes).ok()?;
        let mut with = Compressor::new(Codec::Zstd, self.zstd);
        with.use_dictionary(&trained);
        let mut without = Compressor::new(Codec::Zstd, self.zstd);
        let saves = trained.len() + self.stored_bytes(&mut with) < self.stored_bytes(&mut without);
        (saves && Dictionary::parse(&trained).is_ok()).then_some(trained)
    }

    fn stored_bytes(&self, compressor: &mut Compressor) -> usize {
        let mut buffer = Vec::new();
        let stored = self.blocks().map(|(block, _)| {
            buffer.clear();
            buffer.extend_from_slice(block);
            compressor.compress(&mut buffer).0.len()
        });
        stored.sum()
    }
}
