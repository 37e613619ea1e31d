//! Cutting a stream into lines, or CSV records, with the position of each.
//!
//! One buffer, refilled in large reads, gives out slices of itself: no copy and no allocation a
//! line. It grows up to the longest line that is allowed. A longer one is skipped as it comes, only
//! its beginning is kept, and it is given out as [`Fault::TooLong`]: memory stays bounded whatever
//! the input is.
//!
//! A CSV record goes on over line ends while one of its quotes is open. Where such a quote is not
//! closed within the limit, or at all, the fault is the first line's alone
//! ([`Fault::QuoteNeverClosed`]), and reading goes on with the second: a stray quote costs the
//! lines up to the next quote at most, not the rest of the file.
//!
//! The last line of a stream counts although nothing ends it; [`Line::terminated`] says so, because
//! its writer may not have finished it yet.

use std::io::{self, Read};

use memchr::memchr;

use crate::format::csv_open_after;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// What is kept of a line that is too long.
pub(crate) const SAMPLE_BYTES: usize = 4096;

/// Gives out the lines of a reader.
pub(crate) struct LineReader<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    at_end: bool,
    /// Where `start` is in the stream.
    offset: u64,
    line_bytes_max: usize,
    csv: bool,
    sample: Vec<u8>,
}

/// One line or record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without the line ending (LF or CR LF). With [`Fault::TooLong`] only its beginning.
    pub(crate) bytes: &'a [u8],
    /// Where it begins.
    pub(crate) offset: u64,
    /// Where the next one begins.
    pub(crate) next_offset: u64,
    /// How many lines it covers.
    pub(crate) lines: u64,
    /// Whether a line ending follows it.
    pub(crate) terminated: bool,
    pub(crate) fault: Option<Fault>,
}

/// Why a line is given out that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has this many bytes, more than are allowed.
    TooLong(u64),
    /// CSV: a quote in it is never closed.
    QuoteNeverClosed,
}

/// Where a line ends, in bytes behind `start`.
enum LineEnd {
    Newline(usize),
    EndOfInput(usize),
    TooLong,
}

/// A record's extent in the buffer, before it is given out.
struct Extent {
    /// Bytes without the newline.
    bytes: usize,
    lines: u64,
    terminated: bool,
    fault: Option<Fault>,
}

impl<R: Read> LineReader<R> {
    /// Reads lines from `reader`, which stands at `offset` of its stream.
    pub(crate) fn new(reader: R, offset: u64, line_bytes_max: usize, csv: bool) -> LineReader<R> {
        LineReader {
            reader,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            at_end: false,
            offset,
            line_bytes_max,
            csv,
            sample: Vec::new(),
        }
    }

    pub(crate) fn get_ref(&self) -> &R {
        &self.reader
    }

    /// The next line; `None` at the end of the input. After an error there is no going on.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let extent = if self.csv { self.record()? } else { self.line()? };
        match extent {
            None => self.too_long().map(Some),
            Some(extent) if extent.bytes == 0 && !extent.terminated => Ok(None),
            Some(extent) => Ok(Some(self.give(&extent))),
        }
    }

    /// The extent of the next line; `None` when it is too long.
    fn line(&mut self) -> io::Result<Option<Extent>> {
        let extent = |bytes, terminated| Extent { bytes, lines: 1, terminated, fault: None };
        Ok(match self.find_end(0)? {
            LineEnd::Newline(end) => Some(extent(end, true)),
            LineEnd::EndOfInput(end) => Some(extent(end, false)),
            LineEnd::TooLong => None,
        })
    }

    /// The extent of the next CSV record; `None` when its first line is too long.
    fn record(&mut self) -> io::Result<Option<Extent>> {
        let (mut from, mut open, mut lines) = (0, false, 0);
        let mut first_line = None;
        loop {
            let (end, terminated) = match self.find_end(from)? {
                LineEnd::Newline(end) => (end, true),
                LineEnd::EndOfInput(end) => (end, false),
                LineEnd::TooLong => break,
            };
            lines += 1;
            open = csv_open_after(&self.buffer[self.start + from..self.start + end], open);
            if !open {
                return Ok(Some(Extent { bytes: end, lines, terminated, fault: None }));
            }
            first_line.get_or_insert((end, terminated));
            if !terminated || end >= self.line_bytes_max {
                break;
            }
            from = end + 1;
        }
        Ok(first_line.map(|(bytes, terminated)| Extent {
            bytes,
            lines: 1,
            terminated,
            fault: Some(Fault::QuoteNeverClosed),
        }))
    }

    fn give(&mut self, extent: &Extent) -> Line<'_> {
        let taken = extent.bytes + usize::from(extent.terminated);
        let bytes = &self.buffer[self.start..self.start + extent.bytes];
        let offset = self.offset;
        self.start += taken;
        self.offset += taken as u64;
        Line {
            bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes),
            offset,
            next_offset: self.offset,
            lines: extent.lines,
            terminated: extent.terminated,
            fault: extent.fault,
        }
    }

    /// Looks for the end of the line that begins, or goes on, `from` bytes behind `start`.
    fn find_end(&mut self, from: usize) -> io::Result<LineEnd> {
        let mut scanned = from;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = memchr(b'\n', &unread[scanned..]) {
                let end = scanned + at;
                let fits = end <= self.line_bytes_max;
                return Ok(if fits { LineEnd::Newline(end) } else { LineEnd::TooLong });
            }
            scanned = unread.len();
            if scanned > self.line_bytes_max {
                return Ok(LineEnd::TooLong);
            }
            if self.at_end {
                return Ok(LineEnd::EndOfInput(scanned));
            }
            self.fill()?;
        }
    }

    /// Reads more behind what is unread.
    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + READ_BYTES {
            // Doubling keeps the copying linear while a long line grows.
            self.buffer.resize((self.end + READ_BYTES).max(self.buffer.len() * 2), 0);
        }
        let count = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.at_end = count == 0;
        self.end += count;
        Ok(())
    }

    /// Skips a line that is too long without keeping more than its beginning.
    fn too_long(&mut self) -> io::Result<Line<'_>> {
        let offset = self.offset;
        self.sample.clear();
        let mut length = 0;
        let terminated = loop {
            let unread = &self.buffer[self.start..self.end];
            let end = memchr(b'\n', unread);
            let part = end.unwrap_or(unread.len());
            let kept = part.min(SAMPLE_BYTES - self.sample.len());
            self.sample.extend_from_slice(&unread[..kept]);
            length += part as u64;
            self.start += part + usize::from(end.is_some());
            if end.is_some() || self.at_end {
                break end.is_some();
            }
            self.fill()?;
        };
        self.offset += length + u64::from(terminated);
        Ok(Line {
            bytes: &self.sample,
            offset,
            next_offset: self.offset,
            lines: 1,
            terminated,
            fault: Some(Fault::TooLong(length)),
        })
    }
}

#[cfg(test)]
mod tests;
