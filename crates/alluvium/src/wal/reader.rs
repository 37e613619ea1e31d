//! Reading a log from front to back, and looking for survivors behind damage.
//!
//! [`LogReader::next`] gives frame after frame until the log ends or the bytes stop being frames,
//! and then the same answer for ever: it never steps over anything. What a bad place means is the
//! caller's to say, and [`LogReader::scan_for_valid_after`] is what it needs for that: a write that
//! a crash tore has no valid frame behind it, while damage in the middle has.
//!
//! Zero bytes up to the end of the file are no part of the log: a segment is made longer ahead of
//! what is appended to it, and that may be as far as it got.
//!
//! A place that does not check, and a read that fails, is read a second time before it counts: for
//! the newest log the difference between a torn write and a bit that flipped on its way from the
//! disk is the loss of what was synced.
//!
//! # Bounds
//! The file is hostile. A window of 1 MiB slides over it and grows only for a frame whose claimed
//! length fits both its limit and the rest of the file. The scan looks at every byte offset, but
//! hashes only where the file's number and a kind stand in place, and hashes at most
//! [`SCAN_HASH_FACTOR`] times the file in all: a file made of heads that each claim the rest of it
//! would otherwise take quadratic time. In a file that nobody forged a false candidate has 56 bits
//! against it.
//!
//! # Concurrency
//! One thread, on a file that nobody appends to.

use std::io;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::planted;
use crate::env::ReadableFile;
use crate::wal::frame::{
    self, BadHeader, FRAME_HEADER_BYTES, FrameHead, FrameKind, LOG_HEADER_BYTES, LogHeader, LogKind,
};

/// How much of the file is held at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// How often, on average, a scan may hash each byte of a file.
const SCAN_HASH_FACTOR: u64 = 16;
/// What a scan may hash in a file of any size.
const SCAN_HASH_BYTES_MIN: u64 = 64 << 20;

/// What opening a log found.
#[derive(Debug)]
pub enum LogOpen {
    /// A header that is whole, and a reader behind it.
    Whole(LogReader),
    /// No header that checks: a crash before the first sync, or damage. The reader can only scan.
    TornHeader {
        /// What does not hold.
        detail: String,
        /// Finds frames that show it to be damage.
        reader: LogReader,
    },
}

/// What stands at the reader's place.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadFrame<'a> {
    /// A frame; the reader has moved behind it.
    Frame {
        /// Where it begins.
        offset: u64,
        /// What it holds.
        kind: FrameKind,
        /// Its payload.
        payload: &'a [u8],
    },
    /// Behind the last frame there is nothing more, or in a segment nothing but zero bytes.
    End {
        /// Where the last frame ends.
        offset: u64,
    },
    /// The end of the file behind an end frame: the log was closed in good order.
    Closed {
        /// The file's length.
        offset: u64,
    },
    /// Bytes that are no valid frame. The reader stays here.
    Bad {
        /// Where they begin.
        offset: u64,
        /// Why they are no frame.
        detail: String,
    },
}

/// A valid frame behind a bad place.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Its last byte: to find the next survivor, scan behind it.
    pub last_byte: u64,
    /// What it holds.
    pub kind: FrameKind,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Reads one log file.
#[derive(Debug)]
pub struct LogReader {
    window: Window,
    header: LogHeader,
    position: u64,
    /// Why the header is no header, when it is not.
    torn: Option<&'static str>,
    ended: bool,
    scan_hash_bytes_left: u64,
}

impl LogReader {
    /// Opens log `number` of `kind`, called `name` in messages.
    ///
    /// # Errors
    /// `UnsupportedFormat` for a version that this build does not read, and corruption for a
    /// header that is whole and of another log, or for a frame like that later on.
    pub fn open(
        file: Arc<dyn ReadableFile>,
        name: String,
        number: FileNumber,
        kind: LogKind,
    ) -> Result<LogOpen> {
        let length = file.length().map_err(|source| Error::io("read", &name, source))?;
        file.advise_sequential();
        let mut reader = LogReader {
            window: Window { file, name, length, start: 0, bytes: Vec::new() },
            header: LogHeader { kind, number, previous: FileNumber(0), previous_bytes: 0 },
            position: LOG_HEADER_BYTES as u64,
            torn: None,
            ended: false,
            scan_hash_bytes_left: length.saturating_mul(SCAN_HASH_FACTOR).max(SCAN_HASH_BYTES_MIN),
        };
        let header = match reader.read_header() {
            Err(BadHeader::Torn(_)) => {
                reader.window.forget();
                reader.read_header()
            }
            header => header,
        };
        match header {
            Ok(header) => {
                reader.header = header;
                Ok(LogOpen::Whole(reader))
            }
            Err(BadHeader::Torn(detail)) => {
                reader.position = 0;
                reader.torn = Some(detail);
                Ok(LogOpen::TornHeader { detail: detail.to_owned(), reader })
            }
            Err(BadHeader::Refused(error)) => Err(error),
        }
    }

    fn read_header(&mut self) -> std::result::Result<LogHeader, BadHeader> {
        if self.window.length < LOG_HEADER_BYTES as u64 {
            return Err(BadHeader::Torn("the file is shorter than a log's header"));
        }
        let bytes = self.window.at(0, LOG_HEADER_BYTES).map_err(BadHeader::Refused)?;
        let Some(bytes) = bytes.first_chunk().copied() else {
            return Err(BadHeader::Torn("the file is shorter than a log's header"));
        };
        LogHeader::decode(&bytes, &self.window.name, self.header.number, self.header.kind)
    }

    /// The header. Behind a torn one, `previous` is 0.
    #[must_use]
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// The file's length in bytes when it was opened.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.window.length
    }

    /// Whether an end frame was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The file's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.window.name
    }

    /// Has the next look read from the file again, and not from what is held of it.
    pub fn look_again(&mut self) {
        self.window.forget();
    }

    /// Reads what stands at the reader's place, and moves behind it when it is a frame.
    ///
    /// # Errors
    /// A read that failed, and a frame that checks and yet cannot stand in this log: that is no
    /// torn write.
    pub fn next(&mut self) -> Result<ReadFrame<'_>> {
        let offset = self.position;
        if let Some(detail) = self.torn {
            return Ok(ReadFrame::Bad { offset, detail: detail.to_owned() });
        }
        if offset == self.window.length {
            return Ok(match self.ended {
                true => ReadFrame::Closed { offset },
                false => ReadFrame::End { offset },
            });
        }
        if self.ended {
            let detail = "bytes behind the end frame".to_owned();
            return Ok(ReadFrame::Bad { offset, detail });
        }
        let mut checked = self.check_frame(offset)?;
        if let Checked::Bad(_) = checked {
            // What the disk holds decides, and not a bit that flipped on its way from there.
            self.window.forget();
            checked = self.check_frame(offset)?;
        }
        let (kind, bytes) = match checked {
            Checked::Valid { kind, bytes } => (kind, bytes),
            // Made longer ahead of what would have come.
            Checked::Bad(_) if self.is_blank_from(offset)? => return Ok(ReadFrame::End { offset }),
            Checked::Bad(why) => return Ok(ReadFrame::Bad { offset, detail: why.to_string() }),
        };
        self.position = offset + bytes as u64;
        if kind == FrameKind::End {
            self.ended = true;
            return self.next();
        }
        let payload = &self.window.at(offset, bytes)?[FRAME_HEADER_BYTES..];
        Ok(ReadFrame::Frame { offset, kind, payload })
    }

    /// Whether this is a segment, and all the rest of it is zero.
    fn is_blank_from(&mut self, mut from: u64) -> Result<bool> {
        if self.header.kind != LogKind::Wal {
            return Ok(false);
        }
        while from < self.window.length {
            let bytes = self.window.from(from)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            from += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Finds the first valid frame that begins behind byte `after`; [`Self::next`] is not affected.
    ///
    /// To find every survivor, scan behind each one's [`Found::last_byte`].
    ///
    /// # Errors
    /// A read that failed, and a file so full of heads without a frame that the question cannot be
    /// answered in bounded time; to be taken for damage.
    pub fn scan_for_valid_after(&mut self, after: u64) -> Result<Option<Found<'_>>> {
        let mut from = after.saturating_add(1);
        while let Some(offset) = self.next_candidate(from)? {
            let head = self.head_at(offset)?;
            let claimed = FRAME_HEADER_BYTES as u64 + u64::from(head.payload_bytes);
            if claimed <= self.window.length - offset {
                self.charge(claimed, offset)?;
            }
            // A frame that checks and cannot stand here is an error, as it is for `next`.
            if let Checked::Valid { kind, bytes } = self.check_frame(offset)? {
                let payload = &self.window.at(offset, bytes)?[FRAME_HEADER_BYTES..];
                let last_byte = offset + bytes as u64 - 1;
                return Ok(Some(Found { offset, last_byte, kind, payload }));
            }
            from = offset + 1;
        }
        Ok(None)
    }

    /// The first offset from `from` on that may be a frame's by its head.
    fn next_candidate(&mut self, mut from: u64) -> Result<Option<u64>> {
        loop {
            let rest = self.window.length.saturating_sub(from);
            if rest < FRAME_HEADER_BYTES as u64 {
                return Ok(None);
            }
            let bytes = self.window.from(from)?;
            if let Some(index) = frame::find_candidate(bytes, self.header.number) {
                return Ok(Some(from + index as u64));
            }
            from += (bytes.len() - (FRAME_HEADER_BYTES - 1)) as u64;
        }
    }

    fn charge(&mut self, bytes: u64, offset: u64) -> Result<()> {
        match self.scan_hash_bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.scan_hash_bytes_left = left;
                Ok(())
            }
            None => Err(Error::corruption(
                &self.window.name,
                offset,
                "too many places look like frames to find the true ones among them",
            )),
        }
    }

    fn head_at(&mut self, offset: u64) -> Result<FrameHead> {
        let bytes = self.window.at(offset, FRAME_HEADER_BYTES)?;
        Ok(FrameHead::split(bytes.first_chunk().unwrap_or(&[0; FRAME_HEADER_BYTES])))
    }

    /// Says whether a valid frame stands at `offset`.
    fn check_frame(&mut self, offset: u64) -> Result<Checked> {
        let rest = self.window.length - offset;
        if rest < FRAME_HEADER_BYTES as u64 {
            return Ok(Checked::Bad(Bad::ShortHead { rest }));
        }
        let head = self.head_at(offset)?;
        let LogHeader { number, kind: log, .. } = self.header;
        if head.number != number {
            return Ok(Checked::Bad(Bad::Number { found: head.number }));
        }
        let payload_bytes = head.payload_bytes as usize;
        let unlimited = planted::is("frame-length-not-limited");
        if payload_bytes > log.payload_bytes_max() && !unlimited {
            return Ok(Checked::Bad(Bad::OverLimit { claimed: head.payload_bytes }));
        }
        let bytes = FRAME_HEADER_BYTES + payload_bytes;
        if bytes as u64 > rest && !unlimited {
            return Ok(Checked::Bad(Bad::PastEnd { claimed: bytes as u64, rest }));
        }
        let unchecked = match log {
            LogKind::Wal => planted::is("log-checksum-ignored"),
            LogKind::Manifest => planted::is("manifest-checksum-ignored"),
        };
        if !unchecked && !frame::frame_checks(self.window.at(offset, bytes)?, number, offset) {
            return Ok(Checked::Bad(Bad::Checksum));
        }
        match FrameKind::from_byte(head.kind) {
            Some(kind) if log.holds(kind) && (kind != FrameKind::End || payload_bytes == 0) => {
                Ok(Checked::Valid { kind, bytes })
            }
            _ => Err(Error::corruption(
                &self.window.name,
                offset,
                format!(
                    "a whole frame of kind {} with {payload_bytes} bytes cannot stand in a {log:?} \
                     log",
                    head.kind
                ),
            )),
        }
    }
}

/// What a look at one offset found.
#[derive(Debug)]
enum Checked {
    Valid { kind: FrameKind, bytes: usize },
    Bad(Bad),
}

/// Why bytes are no frame. Becomes text only when somebody is told.
#[derive(Debug)]
enum Bad {
    ShortHead { rest: u64 },
    Number { found: FileNumber },
    OverLimit { claimed: u32 },
    PastEnd { claimed: u64, rest: u64 },
    Checksum,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::ShortHead { rest } => {
                write!(f, "{rest} bytes are left, too few for the head of a frame")
            }
            Bad::Number { found: FileNumber(0) } => f.write_str("no frame begins here"),
            Bad::Number { found } => write!(f, "a frame of log {}, if it is one", found.0),
            Bad::OverLimit { claimed } => {
                write!(f, "a frame that claims {claimed} bytes, which is over the limit")
            }
            Bad::PastEnd { claimed, rest } => {
                write!(f, "a frame of {claimed} bytes where {rest} are left")
            }
            Bad::Checksum => f.write_str("the checksum of the frame does not match"),
        }
    }
}

/// A piece of the file in memory that follows what is asked for.
#[derive(Debug)]
struct Window {
    file: Arc<dyn ReadableFile>,
    name: String,
    /// The file's length.
    length: u64,
    /// Where in the file `bytes` begins.
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The `count` bytes at `offset`, which the caller knows to be inside the file.
    fn at(&mut self, offset: u64, count: usize) -> Result<&[u8]> {
        if self.held_from(offset) < count {
            self.slide(offset, count)?;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.bytes[at..at + count])
    }

    /// Holds nothing any more: what is asked for next is read again.
    fn forget(&mut self) {
        self.bytes.clear();
    }

    /// What the window holds from `offset`: a frame's head at least, or the rest of the file.
    fn from(&mut self, offset: u64) -> Result<&[u8]> {
        let rest = self.length - offset;
        if (self.held_from(offset) as u64) < rest.min(FRAME_HEADER_BYTES as u64) {
            self.slide(offset, 1)?;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }

    /// How many bytes from `offset` on the window holds.
    fn held_from(&self, offset: u64) -> usize {
        let skipped = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skipped.map_or(0, |skip| self.bytes.len().saturating_sub(skip))
    }

    /// Moves the window to begin at `offset` and to hold `count` bytes at least. Keeps what it
    /// holds already.
    fn slide(&mut self, offset: u64, count: usize) -> Result<()> {
        let rest = self.length - offset;
        let size = count.max(rest.min(WINDOW_BYTES as u64) as usize);
        let kept = self.held_from(offset).min(size);
        if kept > 0 {
            let skipped = (offset - self.start) as usize;
            self.bytes.copy_within(skipped..skipped + kept, 0);
        }
        self.bytes.truncate(kept);
        if size <= WINDOW_BYTES && self.bytes.capacity() > 4 * WINDOW_BYTES {
            self.bytes.shrink_to(WINDOW_BYTES);
        }
        self.start = offset;
        let fail = |source| Error::io("read", &self.name, source);
        let refused = |_| fail(io::ErrorKind::OutOfMemory.into());
        self.bytes.try_reserve_exact(size - kept).map_err(refused)?;
        self.bytes.resize(size, 0);
        let missing = &mut self.bytes[kept..];
        let read = read_whole(&*self.file, offset + kept as u64, missing)
            .or_else(|_| read_whole(&*self.file, offset + kept as u64, missing));
        if read.is_err() {
            // What was not read is not held.
            self.bytes.truncate(kept);
        }
        read.map_err(fail)
    }
}

/// Fills `buffer` from `offset`, which is known to be that far from the file's end.
fn read_whole(file: &dyn ReadableFile, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    match file.read_at(offset, buffer)? {
        read if read == buffer.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
