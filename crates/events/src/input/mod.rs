//! Sources: files and standard input, plain, gzip or zstd, as one stream of bytes.
//!
//! Compression is recognised by the first bytes, never by the name, so that a pipe may carry it
//! too. Gzip files of several members and zstd files of several frames are one stream. Positions
//! are always those of the *decompressed* stream: a log keeps its identity when it is compressed,
//! and a position means the same for a file and a pipe. Reaching a position costs a seek in a plain
//! regular file; everything else is decompressed again and thrown away.
//!
//! The first [`HEAD_BYTES`] are read when the source is opened: they decide what the source is and
//! which format it has. An error in them is kept and given only when reading arrives there, so that
//! a short truncated file still yields its whole lines.

pub(crate) mod lines;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::error::EventsError;

/// How much is looked at before anything is decided.
pub(crate) const HEAD_BYTES: usize = 64 << 10;
/// Compressed bytes that are read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or anything else that has a path.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    /// The source of a command-line argument: `-` is standard input.
    #[must_use]
    pub fn from_argument(argument: &str) -> Source {
        if argument == "-" { Source::Stdin } else { Source::File(PathBuf::from(argument)) }
    }

    /// The name for messages and reject files: the path as given, or `-`.
    #[must_use]
    pub fn display_name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Stdin => "-".to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Gzip,
    Zstd,
}

impl Codec {
    fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        }
    }

    fn of(head: &[u8]) -> Option<Codec> {
        match head {
            [0x1f, 0x8b, ..] => Some(Codec::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Codec::Zstd),
            // A zstd skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// The decompressed bytes of a source from some position on.
pub(crate) struct Input {
    body: Body,
    /// What has been read ahead, and how much of it was given out.
    head: Vec<u8>,
    head_given: usize,
    /// Comes when the head has been given out.
    head_error: Option<io::Error>,
    /// Whether the head is all there is.
    head_is_all: bool,
    codec: Option<Codec>,
    /// The source's own name: the canonical path, `-`, or what the caller says.
    identity: Vec<u8>,
    display_name: String,
    /// Decompressed bytes that were read from the body, or skipped.
    decompressed: u64,
    meter: Meter,
    bytes_total: Option<u64>,
}

enum Body {
    /// A plain regular file: the only one that can seek.
    File(Metered<File>),
    Stream(Box<dyn Read + Send>),
}

/// Counts the bytes of the input as it lies there, and remembers whether the operating system (and
/// not a decompressor) failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    bytes: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Meter {
    /// Bytes read so far, compressed where the input is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(into) {
                Ok(count) => {
                    self.meter.bytes.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.meter.failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }
}

impl Input {
    /// Opens a source and reads its head.
    pub(crate) fn open(source: &Source) -> Result<Input, EventsError> {
        match source {
            Source::Stdin => {
                Input::from_reader(b"-".to_vec(), source.display_name(), io::stdin(), None)
            }
            Source::File(path) => Input::open_file(path, source.display_name()),
        }
    }

    fn open_file(path: &Path, display_name: String) -> Result<Input, EventsError> {
        let failed = |source| EventsError::Open { source_name: display_name.clone(), source };
        let file = File::open(path).map_err(failed)?;
        // What a shell puts in place of `<(command)` can be opened and has no path of its own.
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(EventsError::Directory { source_name: display_name });
        }
        let identity = canonical.into_os_string().into_encoded_bytes();
        if !metadata.is_file() {
            return Input::from_reader(identity, display_name, file, None);
        }
        let bytes_total = Some(metadata.len());
        let meter = Meter::default();
        let mut file = Metered { inner: file, meter: meter.clone() };
        let mut raw = Vec::new();
        let error = read_to(&mut file, &mut raw, HEAD_BYTES).err();
        if error.is_none() && Codec::of(&raw).is_some() {
            let stream = Box::new(Cursor::new(raw).chain(file));
            return Ok(Input::compressed(identity, display_name, stream, meter, bytes_total));
        }
        Ok(Input {
            head_is_all: error.is_none() && raw.len() < HEAD_BYTES,
            decompressed: raw.len() as u64,
            body: Body::File(file),
            head: raw,
            head_given: 0,
            head_error: error,
            codec: None,
            identity,
            display_name,
            meter,
            bytes_total,
        })
    }

    /// An input from any reader; `identity` tells it from other sources.
    pub(crate) fn from_reader(
        identity: Vec<u8>,
        display_name: String,
        reader: impl Read + Send + 'static,
        bytes_total: Option<u64>,
    ) -> Result<Input, EventsError> {
        let meter = Meter::default();
        let mut reader = Metered { inner: reader, meter: meter.clone() };
        let mut magic = Vec::new();
        let error = read_to(&mut reader, &mut magic, 4).err();
        let stream: Box<dyn Read + Send> = match error {
            None => Box::new(Cursor::new(magic.clone()).chain(reader)),
            Some(source) => return Err(EventsError::Read { source_name: display_name, source }),
        };
        Ok(Input::compressed(identity, display_name, stream, meter, bytes_total))
    }

    /// An input from a stream that may be compressed. Its first bytes tell.
    fn compressed(
        identity: Vec<u8>,
        display_name: String,
        stream: Box<dyn Read + Send>,
        meter: Meter,
        bytes_total: Option<u64>,
    ) -> Input {
        let mut stream = BufReader::with_capacity(CHUNK_BYTES, stream);
        let codec = io::BufRead::fill_buf(&mut stream).ok().and_then(Codec::of);
        let mut body: Box<dyn Read + Send> = match codec {
            None => Box::new(stream),
            Some(Codec::Gzip) => Box::new(MultiGzDecoder::new(stream)),
            Some(Codec::Zstd) => match zstd::stream::read::Decoder::with_buffer(stream) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => Box::new(Failing(Some(error))),
            },
        };
        let mut head = Vec::new();
        let head_error = read_to(&mut body, &mut head, HEAD_BYTES).err();
        Input {
            head_is_all: head_error.is_none() && head.len() < HEAD_BYTES,
            decompressed: head.len() as u64,
            body: Body::Stream(body),
            head,
            head_given: 0,
            head_error,
            codec,
            identity,
            display_name,
            meter,
            bytes_total,
        }
    }

    /// The first bytes, as long as nothing was read or skipped.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether the head is the whole input.
    pub(crate) fn head_is_all(&self) -> bool {
        self.head_is_all
    }

    /// The error that stands right behind the head, if any.
    pub(crate) fn take_head_error(&mut self) -> Option<io::Error> {
        self.head_error.take()
    }

    /// Puts it back.
    pub(crate) fn set_head_error(&mut self, error: Option<io::Error>) {
        self.head_error = error;
    }

    pub(crate) fn identity(&self) -> &[u8] {
        &self.identity
    }

    pub(crate) fn display_name(&self) -> &str {
        &self.display_name
    }

    pub(crate) fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// The size of the input as it lies there, where it is known.
    pub(crate) fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    /// Goes to a position, from the start. Gives how far it got: less when the input is shorter.
    pub(crate) fn skip_to(&mut self, position: u64) -> io::Result<u64> {
        if position <= self.head.len() as u64 {
            self.head_given = position as usize;
            return Ok(position);
        }
        if let Body::File(file) = &mut self.body {
            let length = file.inner.seek(SeekFrom::End(0))?;
            let reached = file.inner.seek(SeekFrom::Start(position.min(length)))?;
            self.head_given = self.head.len();
            self.head_error = None;
            self.decompressed = reached;
            file.meter.bytes.store(reached, Ordering::Relaxed);
            return Ok(reached);
        }
        let mut waste = vec![0; CHUNK_BYTES];
        let mut reached = 0;
        while reached < position {
            let most = (position - reached).min(CHUNK_BYTES as u64) as usize;
            match self.read(&mut waste[..most])? {
                0 => break,
                count => reached += count as u64,
            }
        }
        Ok(reached)
    }

    /// Puts a read error into words: the operating system's, a cut stream or a damaged one.
    pub(crate) fn explain(&self, error: io::Error) -> EventsError {
        let source_name = self.display_name.clone();
        let decompressed = self.decompressed;
        match self.codec {
            Some(codec) if !self.meter.failed.load(Ordering::Relaxed) => {
                let codec = codec.name();
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    EventsError::Truncated { source_name, codec, decompressed }
                } else {
                    let detail = error.to_string();
                    EventsError::DamagedInput { source_name, codec, decompressed, detail }
                }
            }
            _ => EventsError::Read { source_name, source: error },
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = &self.head[self.head_given..];
        if !left.is_empty() {
            let count = left.len().min(into.len());
            into[..count].copy_from_slice(&left[..count]);
            self.head_given += count;
            return Ok(count);
        }
        if let Some(error) = self.head_error.take() {
            return Err(error);
        }
        let count = match &mut self.body {
            Body::File(file) => file.read(into)?,
            Body::Stream(stream) => stream.read(into)?,
        };
        self.decompressed += count as u64;
        Ok(count)
    }
}

/// Reads until there are `most` bytes, the input ends, or an error comes; what was read stays.
fn read_to(reader: &mut impl Read, into: &mut Vec<u8>, most: usize) -> io::Result<()> {
    reader.take(most as u64).read_to_end(into).map(drop)
}

/// A stream of which not even the beginning can be read.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        Err(self.0.take().unwrap_or_else(gone))
    }
}

#[cfg(test)]
mod tests;
