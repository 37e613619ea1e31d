//! Logs written to an environment in memory and read back, whole and damaged.

mod damage;
mod reading;
mod writing;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::base::error::Result;
use crate::base::file::{FileId, FileNumber};
use crate::env::{Env, MemEnv, ReadableFile};

const NUMBER: FileNumber = FileNumber(7);
const WAL: FileId = FileId::Wal(NUMBER);

/// An environment whose directory exists.
pub(crate) fn new_env() -> MemEnv {
    let env = MemEnv::new();
    env.create_directory().unwrap();
    env
}

/// Bytes for people: offset, sixteen bytes, and what of them is text.
pub(crate) fn hexdump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| if matches!(byte, b' '..=b'~') { *byte as char } else { '.' };
        let text: String = chunk.iter().map(printable).collect();
        out += &format!("{:06x}  {:47}  {text}\n", line * 16, hex.join(" "));
    }
    out
}

fn header() -> LogHeader {
    LogHeader { kind: LogKind::Wal, number: NUMBER, previous: FileNumber(5), previous_bytes: 4711 }
}

/// A log of batch frames with these payloads, written and synced.
fn write_log(env: &MemEnv, payloads: &[Vec<u8>]) -> LogWriter {
    let mut writer = LogWriter::create(env.create(WAL).unwrap(), env.display(WAL), header());
    for payload in payloads {
        writer.append(FrameKind::Batch, payload);
    }
    writer.sync().unwrap();
    writer
}

/// The bytes of such a log.
fn log_bytes(payloads: &[Vec<u8>], closed: bool) -> Vec<u8> {
    let env = new_env();
    let mut writer = write_log(&env, payloads);
    if closed {
        writer.close().unwrap();
    }
    env.file_bytes(WAL).unwrap()
}

fn open_bytes(bytes: &[u8]) -> Result<LogOpen> {
    let env = new_env();
    env.set_file_bytes(WAL, bytes.to_vec());
    LogReader::open(env.open(WAL).unwrap(), WAL.name(), NUMBER, LogKind::Wal)
}

fn reader(bytes: &[u8]) -> LogReader {
    match open_bytes(bytes).unwrap() {
        LogOpen::Whole(reader) => reader,
        LogOpen::TornHeader { detail, .. } => panic!("{detail}"),
    }
}

/// How reading a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    End(u64),
    Closed(u64),
    Bad(u64),
}

/// Every frame from front to back as offset and payload, and the ending.
fn read_all(reader: &mut LogReader) -> Result<(Vec<(u64, Vec<u8>)>, Ending)> {
    let mut frames = Vec::new();
    loop {
        match reader.next()? {
            ReadFrame::Frame { offset, payload, .. } => frames.push((offset, payload.to_vec())),
            ReadFrame::End { offset } => return Ok((frames, Ending::End(offset))),
            ReadFrame::Closed { offset } => return Ok((frames, Ending::Closed(offset))),
            ReadFrame::Bad { offset, .. } => return Ok((frames, Ending::Bad(offset))),
        }
    }
}

/// Every valid frame behind byte `after`, as offset and payload.
fn survivors(reader: &mut LogReader, mut after: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some(frame) = reader.scan_for_valid_after(after)? {
        found.push((frame.offset, frame.payload.to_vec()));
        after = frame.last_byte;
    }
    Ok(found)
}

/// Where each frame begins, and where the last one ends.
fn offsets(payloads: &[Vec<u8>]) -> Vec<u64> {
    let mut offsets = vec![frame::LOG_HEADER_BYTES as u64];
    for payload in payloads {
        offsets
            .push(offsets[offsets.len() - 1] + (frame::FRAME_HEADER_BYTES + payload.len()) as u64);
    }
    offsets
}

/// A file that remembers how it was read.
#[derive(Debug)]
struct Watched {
    bytes: Vec<u8>,
    largest_read: AtomicUsize,
    bytes_read: AtomicU64,
}

impl Watched {
    fn new(bytes: Vec<u8>) -> Arc<Watched> {
        Arc::new(Watched {
            bytes,
            largest_read: AtomicUsize::new(0),
            bytes_read: AtomicU64::new(0),
        })
    }
}

impl ReadableFile for Watched {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.largest_read.fetch_max(buffer.len(), Ordering::Relaxed);
        self.bytes_read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        let rest = &self.bytes[(offset as usize).min(self.bytes.len())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
}

/// The reader of a watched file whose header is whole.
fn watch(file: &Arc<Watched>) -> LogReader {
    let file = Arc::clone(file) as Arc<dyn ReadableFile>;
    match LogReader::open(file, WAL.name(), NUMBER, LogKind::Wal).unwrap() {
        LogOpen::Whole(reader) => reader,
        LogOpen::TornHeader { detail, .. } => panic!("{detail}"),
    }
}
