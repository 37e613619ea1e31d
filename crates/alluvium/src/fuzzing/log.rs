//! Logs: frames, and what a reader says of bytes that are none.

use std::sync::Arc;

use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::env::{BytesFile, SPOILT};
use crate::fuzzing::parts::batch;
use crate::wal::frame::{FRAME_HEADER_BYTES, LOG_HEADER_BYTES};
use crate::wal::{FrameKind, LogKind, LogOpen, LogReader, ReadFrame};

/// The number of the log that [`log`] reads bytes as.
const NUMBER: u64 = 7;
const NAME: &str = "fuzz.log";

/// What a log is for.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A segment of the write-ahead log.
    Wal,
    /// A manifest.
    Manifest,
}

/// Reads `bytes` as a log, as they are and sealed.
///
/// # Panics
/// When the reader steps over something, gives bytes that do not stand in the file, or answers
/// differently when asked again.
pub fn log(bytes: &[u8], kind: Kind) {
    settle(read(bytes, kind));
    let mut sealed = bytes.to_vec();
    seal_log(&mut sealed, NUMBER);
    settle(read(&sealed, kind));
}

/// Puts number and checksum into the header, and into each frame from the front on as far as their
/// lengths lead.
pub fn seal_log(bytes: &mut [u8], number: u64) {
    let word = number.to_le_bytes();
    if let Some((header, _)) = bytes.split_first_chunk_mut::<LOG_HEADER_BYTES>()
        && header[40] != SPOILT
    {
        header[16..24].copy_from_slice(&word);
        let sum = checksum(&header[..40], number, 0);
        header[40..].copy_from_slice(&sum.to_le_bytes());
    }
    let mut at = LOG_HEADER_BYTES;
    while let Some(frame) = bytes.get_mut(at..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES) {
        let payload = frame[16..20].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let Some(frame) = frame.get_mut(..FRAME_HEADER_BYTES + payload as usize) else { return };
        if frame[0] != SPOILT {
            frame[8..15].copy_from_slice(&word[..7]);
            let sum = checksum(&frame[8..], number, at as u64);
            frame[..8].copy_from_slice(&sum.to_le_bytes());
        }
        at += frame.len();
    }
}

/// An error is one that bytes can cause.
fn settle(read: Result<()>) {
    match read {
        Ok(()) => {}
        Err(Error::Corruption { file, .. } | Error::UnsupportedFormat { file, .. }) => {
            assert_eq!(file, NAME, "the error names another file");
        }
        Err(error) => panic!("bytes cannot cause this: {error:?}"),
    }
}

fn read(bytes: &[u8], kind: Kind) -> Result<()> {
    let kind = match kind {
        Kind::Wal => LogKind::Wal,
        Kind::Manifest => LogKind::Manifest,
    };
    let file = Arc::new(BytesFile::new(bytes.to_vec()));
    let mut reader = match LogReader::open(file, NAME.to_owned(), FileNumber(NUMBER), kind)? {
        LogOpen::Whole(reader) | LogOpen::TornHeader { reader, .. } => reader,
    };
    if let Some(bad) = read_frames(&mut reader, bytes)? {
        find_survivors(&mut reader, bytes, bad)?;
    }
    Ok(())
}

/// Reads frame after frame; gives the place that is none, where there is one.
fn read_frames(reader: &mut LogReader, bytes: &[u8]) -> Result<Option<u64>> {
    let mut end = LOG_HEADER_BYTES as u64;
    loop {
        match reader.next()? {
            ReadFrame::Frame { offset, kind, payload } => {
                assert_eq!(offset, end, "a frame does not begin where the one before it ends");
                check_frame(bytes, offset, kind, payload);
                end = offset + (FRAME_HEADER_BYTES + payload.len()) as u64;
            }
            ReadFrame::Closed { offset } => {
                assert_eq!(offset, bytes.len() as u64, "the end is not at the end");
                return Ok(None);
            }
            ReadFrame::End { offset } => {
                assert_eq!(offset, end, "the end is not behind the last frame");
                let blank = bytes[end as usize..].iter().all(|byte| *byte == 0);
                assert!(blank, "something is behind the end");
                let again = matches!(reader.next()?, ReadFrame::End { offset: o } if o == end);
                assert!(again, "the end is another when asked for again");
                return Ok(None);
            }
            ReadFrame::Bad { offset, .. } => {
                assert!(offset == 0 || offset >= end, "a bad place before a good one");
                let again =
                    matches!(reader.next()?, ReadFrame::Bad { offset: o, .. } if o == offset);
                assert!(again, "the reader stepped over a bad place");
                return Ok(Some(offset));
            }
        }
    }
}

fn check_frame(bytes: &[u8], offset: u64, kind: FrameKind, payload: &[u8]) {
    let start = offset as usize + FRAME_HEADER_BYTES;
    assert_eq!(bytes.get(start..start + payload.len()), Some(payload), "not the file's bytes");
    if kind == FrameKind::Batch {
        batch(payload);
    }
}

/// Looks for valid frames behind a bad place, each behind the last byte of the one before.
fn find_survivors(reader: &mut LogReader, bytes: &[u8], bad: u64) -> Result<()> {
    let mut behind = bad;
    while let Some(found) = reader.scan_for_valid_after(behind)? {
        assert!(found.offset > behind, "a survivor that is not behind the place");
        let end = found.offset + (FRAME_HEADER_BYTES + found.payload.len()) as u64;
        assert_eq!(found.last_byte + 1, end, "a survivor ends elsewhere");
        check_frame(bytes, found.offset, found.kind, found.payload);
        behind = found.last_byte;
    }
    Ok(())
}
