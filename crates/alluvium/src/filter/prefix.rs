//! What of a key stands in the filter beside the whole key, so that scans can ask it too.

use crate::base::coding::{put_varint, take_varint};
use crate::base::limits::KEY_BYTES_MAX;

/// Cuts the prefix out of a key by which scans ask filters.
///
/// A scan whose bounds lie within one prefix skips the tables whose filters say that no key of them
/// has it. Each table says how its prefixes were cut; a table written with another extractor, or
/// with none, is not asked, so that the option may be changed at any open.
///
/// ```
/// use alluvium::{ColumnFamilyOptions, PrefixExtractor};
/// // Keys like `user:4711/2026-03-01`, scanned by user.
/// let options = ColumnFamilyOptions {
///     prefix_extractor: Some(PrefixExtractor::UpToByte(b'/')),
///     ..ColumnFamilyOptions::default()
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrefixExtractor {
    /// The first so many bytes, 1 to 65,536; a shorter key has no prefix.
    Fixed(u32),
    /// Everything up to the first byte of this value, that one included; a key without it has no
    /// prefix.
    UpToByte(u8),
}

const FIXED: u64 = 1;
const UP_TO_BYTE: u64 = 2;

impl PrefixExtractor {
    /// The prefix of `key`, where it has one. Every key that begins with what has a prefix has the
    /// same one.
    pub(crate) fn prefix(self, key: &[u8]) -> Option<&[u8]> {
        match self {
            PrefixExtractor::Fixed(bytes) => key.get(..bytes as usize),
            PrefixExtractor::UpToByte(byte) => {
                key.iter().position(|&other| other == byte).and_then(|at| key.get(..=at))
            }
        }
    }

    /// Whether any key can have a prefix.
    pub(crate) fn is_sound(self) -> bool {
        match self {
            PrefixExtractor::Fixed(bytes) => (1..=KEY_BYTES_MAX as u64).contains(&bytes.into()),
            PrefixExtractor::UpToByte(_) => true,
        }
    }

    /// Writes it as a kind and a number.
    pub(crate) fn encode_into(extractor: Option<PrefixExtractor>, out: &mut Vec<u8>) {
        let (kind, number) = match extractor {
            None => (0, 0),
            Some(PrefixExtractor::Fixed(bytes)) => (FIXED, u64::from(bytes)),
            Some(PrefixExtractor::UpToByte(byte)) => (UP_TO_BYTE, u64::from(byte)),
        };
        put_varint(out, kind);
        put_varint(out, number);
    }

    /// Reads what [`Self::encode_into`] wrote; the outer `None` for anything else.
    #[expect(clippy::option_option, reason = "the outer one says whether the bytes are any")]
    pub(crate) fn decode(input: &mut &[u8]) -> Option<Option<PrefixExtractor>> {
        let (kind, number) = (take_varint(input)?, take_varint(input)?);
        let extractor = match kind {
            0 => return (number == 0).then_some(None),
            FIXED => PrefixExtractor::Fixed(u32::try_from(number).ok()?),
            UP_TO_BYTE => PrefixExtractor::UpToByte(u8::try_from(number).ok()?),
            _ => return None,
        };
        extractor.is_sound().then_some(Some(extractor))
    }
}
