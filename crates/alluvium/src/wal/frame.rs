//! The bytes of a log: its header and its frames, as `docs/format.md` draws them.
//!
//! Pure functions over slices; reading and writing files is next door. The first 48 bytes keep
//! their form in every version of the format, so that a newer version (a header that checks) is
//! told apart from a damaged header (one that does not).

use crate::base::checksum::{RunningChecksum, checksum};
use crate::base::error::Error;
use crate::base::file::{FileNumber, LOG_MAGIC};
use crate::base::limits::{EDIT_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX};

/// The format version of log files that this build writes and reads.
pub const LOG_VERSION: u32 = 2;
/// Bytes of a log's header.
pub const LOG_HEADER_BYTES: usize = 48;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 20;

/// The header's bytes that its checksum covers.
const HEADER_COVERED: usize = LOG_HEADER_BYTES - 8;
/// The low seven bytes of the word that holds a file's number and a frame's kind.
const NUMBER_MASK: u64 = FileNumber::MAX.0;

const _: () = assert!(FRAME_PAYLOAD_BYTES_MAX <= u32::MAX as usize - FRAME_HEADER_BYTES);

/// What a log is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LogKind {
    /// A segment of the write-ahead log: batch frames.
    Wal = 1,
    /// A manifest: edit frames.
    Manifest = 2,
}

impl LogKind {
    /// The largest payload that a frame of such a log may have.
    #[must_use]
    pub fn payload_bytes_max(self) -> usize {
        match self {
            LogKind::Wal => FRAME_PAYLOAD_BYTES_MAX,
            LogKind::Manifest => EDIT_BYTES_MAX,
        }
    }

    /// Whether a frame of `kind` may stand in such a log.
    #[must_use]
    pub fn holds(self, kind: FrameKind) -> bool {
        match kind {
            FrameKind::Batch => self == LogKind::Wal,
            FrameKind::Edit => self == LogKind::Manifest,
            FrameKind::End => true,
        }
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A write batch.
    Batch = 1,
    /// A version edit.
    Edit = 2,
    /// Nothing: the log was closed in good order, and all before this frame had been synced.
    End = 3,
}

impl FrameKind {
    /// The kind encoded as `byte`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<FrameKind> {
        match byte {
            1 => Some(FrameKind::Batch),
            2 => Some(FrameKind::Edit),
            3 => Some(FrameKind::End),
            _ => None,
        }
    }
}

/// The header of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHeader {
    /// What the log is for.
    pub kind: LogKind,
    /// The file's own number.
    pub number: FileNumber,
    /// The log before this one; 0 where there is none.
    pub previous: FileNumber,
    /// How many bytes of the log before count.
    pub previous_bytes: u64,
}

/// Why bytes are no header of the log that was expected.
#[derive(Debug)]
pub enum BadHeader {
    /// The bytes do not check: a torn or damaged header.
    Torn(&'static str),
    /// The bytes are a header, of a log that should not be here or of an unknown version.
    Refused(Error),
}

impl LogHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; LOG_HEADER_BYTES] {
        let mut out = [0; LOG_HEADER_BYTES];
        out[0..8].copy_from_slice(&LOG_MAGIC);
        out[8..12].copy_from_slice(&LOG_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(self.kind as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.number.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.previous.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.previous_bytes.to_le_bytes());
        let sum = checksum(&out[..HEADER_COVERED], self.number.0, 0);
        out[40..48].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the header of the file called `name`, which must be log `number` of `kind`.
    pub fn decode(
        bytes: &[u8; LOG_HEADER_BYTES],
        name: &str,
        number: FileNumber,
        kind: LogKind,
    ) -> Result<LogHeader, BadHeader> {
        let own = u64_at(bytes, 16);
        if u64_at(bytes, 40) != checksum(&bytes[..HEADER_COVERED], own, 0) {
            return Err(BadHeader::Torn("the checksum of the header does not match"));
        }
        let refuse = |offset, detail: String| {
            Err(BadHeader::Refused(Error::corruption(name, offset, detail)))
        };
        if bytes[0..8] != LOG_MAGIC {
            return refuse(0, "this is no log file of Alluvium".to_owned());
        }
        let found = u32_at(bytes, 8);
        if found != LOG_VERSION {
            return Err(BadHeader::Refused(Error::UnsupportedFormat {
                file: name.to_owned(),
                found,
                supported: LOG_VERSION,
            }));
        }
        // A power cut may leave a new file with the bytes of one that was removed before.
        if own != number.0 {
            return Err(BadHeader::Torn("the header is that of another log"));
        }
        if u32_at(bytes, 12) != kind as u32 {
            return refuse(12, format!("log kind {} where {kind:?} belongs", u32_at(bytes, 12)));
        }
        let previous = FileNumber(u64_at(bytes, 24));
        if previous >= number {
            return refuse(24, format!("log {previous} cannot come before log {number}"));
        }
        Ok(LogHeader { kind, number, previous, previous_bytes: u64_at(bytes, 32) })
    }
}

/// Appends a frame to `out`; its first byte will stand at `offset` of log `number`.
///
/// `payload` is at most [`FRAME_PAYLOAD_BYTES_MAX`] bytes; the writer checks that.
#[inline]
pub fn encode_frame(
    out: &mut Vec<u8>,
    number: FileNumber,
    offset: u64,
    kind: FrameKind,
    payload: &[u8],
) {
    let start = out.len();
    let mut head = [0; FRAME_HEADER_BYTES];
    head[8..16].copy_from_slice(&frame_word(number, kind).to_le_bytes());
    head[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    out.reserve(FRAME_HEADER_BYTES + payload.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    let sum = checksum(&out[start + 8..], number.0, offset);
    out[start..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// The bytes of a frame that stand before its payload, for a frame whose first byte will stand at
/// `offset` of log `number`.
pub fn encode_frame_head(
    number: FileNumber,
    offset: u64,
    kind: FrameKind,
    payload: &[u8],
) -> [u8; FRAME_HEADER_BYTES] {
    let mut head = [0; FRAME_HEADER_BYTES];
    head[8..16].copy_from_slice(&frame_word(number, kind).to_le_bytes());
    head[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut sum = RunningChecksum::new(number.0, offset);
    sum.update(&head[8..]);
    sum.update(payload);
    head[..8].copy_from_slice(&sum.value().to_le_bytes());
    head
}

/// The word of a frame that names its file and its kind.
#[inline]
fn frame_word(number: FileNumber, kind: FrameKind) -> u64 {
    number.0 & NUMBER_MASK | (kind as u64) << 56
}

/// The first bytes of what may be a frame.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead {
    /// The file number in it.
    pub number: FileNumber,
    /// The byte that says its kind.
    pub kind: u8,
    /// The length of the payload that it claims.
    pub payload_bytes: u32,
}

impl FrameHead {
    /// Takes the head apart. Nothing is checked.
    #[must_use]
    #[inline]
    pub fn split(bytes: &[u8; FRAME_HEADER_BYTES]) -> FrameHead {
        let word = u64_at(bytes, 8);
        FrameHead {
            number: FileNumber(word & NUMBER_MASK),
            kind: (word >> 56) as u8,
            payload_bytes: u32_at(bytes, 16),
        }
    }
}

/// Whether `frame`, head and payload, checks at `offset` of log `number`.
#[must_use]
#[inline]
pub fn frame_checks(frame: &[u8], number: FileNumber, offset: u64) -> bool {
    frame.split_first_chunk::<8>().is_some_and(|(sum, covered)| {
        u64::from_le_bytes(*sum) == checksum(covered, number.0, offset)
    })
}

/// The first index in `bytes` at which a frame of log `number` may begin: one where file number and
/// a known kind stand in the right place. Looks at no index whose head is not whole.
#[must_use]
pub fn find_candidate(bytes: &[u8], number: FileNumber) -> Option<usize> {
    let words = bytes.get(8..bytes.len().checked_sub(FRAME_HEADER_BYTES - 16)?)?;
    words.windows(8).position(|window| {
        let word = window.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        word & NUMBER_MASK == number.0 && FrameKind::from_byte((word >> 56) as u8).is_some()
    })
}

#[inline]
fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

#[inline]
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}
