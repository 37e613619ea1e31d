//! Damaged logs: what stands before the damage is read right, the damage is found where it is, and
//! nothing behind it is taken for what it is not.

use proptest::prelude::*;

use super::*;
use crate::base::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::wal::frame::{FRAME_HEADER_BYTES, LOG_HEADER_BYTES, encode_frame};

fn payloads() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), vec![], vec![0; 33], b"last".to_vec()]
}

/// Which frame holds byte `at`.
fn frame_of(offsets: &[u64], at: usize) -> usize {
    offsets.partition_point(|&offset| offset <= at as u64) - 1
}

fn expect_frames(count: usize) -> Vec<(u64, Vec<u8>)> {
    offsets(&payloads()).into_iter().zip(payloads()).take(count).collect()
}

/// amelie #17, facebook/rocksdb#7701 (w08, w03): a log is cut, within a frame and between two.
#[test]
fn reg_w08_every_truncation_is_found_where_it_is() {
    for closed in [false, true] {
        let bytes = log_bytes(&payloads(), closed);
        let mut offsets = offsets(&payloads());
        if closed {
            offsets.push(bytes.len() as u64);
        }
        for cut in 0..bytes.len() {
            if cut < LOG_HEADER_BYTES {
                let open = open_bytes(&bytes[..cut]).unwrap();
                let LogOpen::TornHeader { mut reader, .. } = open else { panic!("cut at {cut}") };
                assert_eq!(read_all(&mut reader).unwrap(), (vec![], Ending::Bad(0)));
                assert_eq!(survivors(&mut reader, 0).unwrap(), []);
                continue;
            }
            let mut reader = reader(&bytes[..cut]);
            let (frames, ending) = read_all(&mut reader).unwrap();
            let frame = frame_of(&offsets, cut);
            assert_eq!(frames, expect_frames(frame), "cut at {cut}");
            if offsets[frame] == cut as u64 {
                assert_eq!(ending, Ending::End(cut as u64));
            } else {
                assert_eq!(ending, Ending::Bad(offsets[frame]), "cut at {cut}");
                assert_eq!(survivors(&mut reader, offsets[frame]).unwrap(), [], "a torn tail");
            }
        }
    }
}

/// badger #1049: a byte flips and nobody notices.
#[test]
fn reg_w26_every_flipped_byte_is_found_and_the_frames_behind_it_survive() {
    let bytes = log_bytes(&payloads(), true);
    let offsets = offsets(&payloads());
    let mut all = expect_frames(payloads().len());
    all.push((offsets[payloads().len()], vec![]));
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            if at < LOG_HEADER_BYTES {
                let open = open_bytes(&damaged).unwrap();
                let LogOpen::TornHeader { mut reader, .. } = open else { panic!("byte {at}") };
                assert_eq!(read_all(&mut reader).unwrap(), (vec![], Ending::Bad(0)));
                assert_eq!(survivors(&mut reader, 0).unwrap(), all, "byte {at}");
                continue;
            }
            let frame = frame_of(&offsets, at);
            let mut reader = reader(&damaged);
            let (frames, ending) = read_all(&mut reader).unwrap();
            assert_eq!(frames, expect_frames(frame), "byte {at}");
            assert_eq!(ending, Ending::Bad(offsets[frame]), "byte {at}");
            let found = survivors(&mut reader, offsets[frame]).unwrap();
            assert_eq!(found, all[frame + 1..], "byte {at}");
            assert_eq!(read_all(&mut reader).unwrap().1, Ending::Bad(offsets[frame]), "it stays");
        }
    }
}

/// cockroachdb/pebble#567: the stale end of an older log in the same file is replayed.
#[test]
fn reg_w01_what_an_older_log_left_behind_the_end_is_no_frame() {
    let mut bytes = log_bytes(&payloads(), false);
    let end = bytes.len() as u64;
    for stale in [FileNumber(6), FileNumber(8)] {
        let offset = bytes.len() as u64;
        encode_frame(&mut bytes, stale, offset, FrameKind::Batch, b"stale");
    }
    let mut reader = reader(&bytes);
    assert_eq!(read_all(&mut reader).unwrap(), (expect_frames(4), Ending::Bad(end)));
    assert_eq!(survivors(&mut reader, end).unwrap(), []);
}

#[test]
fn a_frame_in_another_place_of_its_own_log_is_no_frame() {
    let whole = log_bytes(&payloads(), false);
    let offsets = offsets(&payloads());
    let mut bytes = whole.clone();
    bytes.extend_from_slice(&whole[offsets[0] as usize..]);
    let mut reader = reader(&bytes);
    assert_eq!(read_all(&mut reader).unwrap(), (expect_frames(4), Ending::Bad(offsets[4])));
    assert_eq!(survivors(&mut reader, offsets[4]).unwrap(), []);
}

/// badger #154: a damaged length becomes a giant allocation.
#[test]
fn reg_w24_no_claimed_length_is_believed() {
    let offset = LOG_HEADER_BYTES;
    for claimed in [200, 1 << 20, FRAME_PAYLOAD_BYTES_MAX as u32, u32::MAX] {
        let mut bytes = log_bytes(&[vec![1; 100]], false);
        bytes[offset + 16..offset + 20].copy_from_slice(&claimed.to_le_bytes());
        let length = bytes.len();
        let file = Watched::new(bytes);
        let mut reader = watch(&file);
        assert_eq!(read_all(&mut reader).unwrap().1, Ending::Bad(offset as u64));
        assert_eq!(survivors(&mut reader, offset as u64).unwrap(), []);
        assert!(file.largest_read.load(Ordering::Relaxed) <= length);
    }
}

#[test]
fn a_file_full_of_false_heads_is_given_up_in_bounded_work() {
    let mut bytes = log_bytes(&[], false);
    let length = 2usize << 20;
    while bytes.len() < length {
        // Each claims the rest of the file.
        let claimed = (length - bytes.len()).saturating_sub(FRAME_HEADER_BYTES + 4) as u32;
        let mut head = [0; FRAME_HEADER_BYTES];
        head[8..16].copy_from_slice(&(NUMBER.0 | 1 << 56).to_le_bytes());
        head[16..20].copy_from_slice(&claimed.to_le_bytes());
        bytes.extend_from_slice(&head);
    }
    let file = Watched::new(bytes);
    let error = survivors(&mut watch(&file), LOG_HEADER_BYTES as u64).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    let read = file.bytes_read.load(Ordering::Relaxed);
    assert!(read < 4 * length as u64, "{read} bytes were read");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, with_header: bool) {
        let mut all = if with_header { log_bytes(&[], false) } else { Vec::new() };
        all.extend(bytes);
        if let Ok(LogOpen::Whole(mut reader) | LogOpen::TornHeader { mut reader, .. }) =
            open_bytes(&all)
        {
            let (frames, _) = read_all(&mut reader).unwrap();
            prop_assert_eq!(frames, vec![]);
            prop_assert_eq!(survivors(&mut reader, 0).unwrap(), vec![]);
        }
    }

    /// Pieces of a log overwritten, cut out, doubled and swapped: what is read was written, there.
    #[test]
    fn no_damage_makes_a_payload_that_was_not_written(
        damages in prop::collection::vec((0usize..300, 0usize..300, 0usize..80, 0u8..4), 1..4)
    ) {
        let mut bytes = log_bytes(&payloads(), true);
        for (from, to, count, how) in damages {
            let (from, to) = (from.min(bytes.len()), to.min(bytes.len()));
            let piece = bytes[from..(from + count).min(bytes.len())].to_vec();
            match how {
                0 => drop(bytes.drain(from..from + piece.len())),
                1 => drop(bytes.splice(to..to, piece)),
                2 => bytes[from..from + piece.len()].fill(0),
                _ => {
                    let end = (to + piece.len()).min(bytes.len());
                    bytes[to..end].copy_from_slice(&piece[..end - to]);
                }
            }
        }
        let mut written = expect_frames(4);
        written.push((offsets(&payloads())[4], vec![]));
        let (mut reader, is_whole) = match open_bytes(&bytes).unwrap() {
            LogOpen::Whole(reader) => (reader, true),
            LogOpen::TornHeader { reader, .. } => (reader, false),
        };
        let (frames, _) = read_all(&mut reader).unwrap();
        prop_assert!(written.starts_with(&frames) && (is_whole || frames.is_empty()));
        for found in survivors(&mut reader, 0).unwrap() {
            prop_assert!(written.contains(&found), "{:?}", found);
        }
    }
}
