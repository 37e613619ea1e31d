//! Whole logs: what was written is read, however it lies to the window.

use proptest::prelude::*;

use super::*;
use crate::base::error::Error;
use crate::wal::frame::{FRAME_HEADER_BYTES, LOG_HEADER_BYTES, LOG_VERSION, encode_frame};

#[test]
fn a_header_says_which_log_comes_before() {
    let reader = reader(&log_bytes(&[], false));
    assert_eq!(*reader.header(), header());
}

#[test]
fn the_end_is_the_same_however_often_it_is_asked_for() {
    for closed in [false, true] {
        let bytes = log_bytes(&[b"x".to_vec()], closed);
        let mut reader = reader(&bytes);
        let (_, ending) = read_all(&mut reader).unwrap();
        let end = bytes.len() as u64;
        assert_eq!(ending, if closed { Ending::Closed(end) } else { Ending::End(end) });
        assert_eq!(read_all(&mut reader).unwrap(), (vec![], ending));
    }
}

#[test]
fn zero_bytes_to_the_end_of_an_open_log_are_no_part_of_it() {
    for payloads in [vec![], vec![b"x".to_vec(); 3], vec![vec![0; 40]]] {
        let bytes = log_bytes(&payloads, false);
        let end = bytes.len() as u64;
        let (frames, _) = read_all(&mut reader(&bytes)).unwrap();
        for blank in [1, 19, 20, 4096, 3 << 20] {
            let mut longer = [&bytes[..], &vec![0; blank]].concat();
            let mut reader_of_longer = reader(&longer);
            assert_eq!(
                read_all(&mut reader_of_longer).unwrap(),
                (frames.clone(), Ending::End(end))
            );
            assert_eq!(read_all(&mut reader_of_longer).unwrap(), (vec![], Ending::End(end)));
            assert_eq!(survivors(&mut reader_of_longer, end).unwrap(), []);
            *longer.last_mut().unwrap() = 1;
            let (same, ending) = read_all(&mut reader(&longer)).unwrap();
            assert_eq!((same, ending), (frames.clone(), Ending::Bad(end)));
        }
    }
}

/// reg_w24: a damaged length becomes a giant allocation.
#[test]
fn the_window_is_small_and_grows_for_the_frame_at_hand_only() {
    let large = 3 << 20;
    let mut payloads = vec![vec![1; 1000]; 3000];
    payloads.push(vec![2; large]);
    payloads.extend(vec![vec![3; 1000]; 3000]);
    let bytes = log_bytes(&payloads, true);
    let length = bytes.len() as u64;
    let file = Watched::new(bytes.clone());
    let (frames, ending) = read_all(&mut watch(&file)).unwrap();
    assert_eq!(ending, Ending::Closed(length));
    assert!(frames.iter().map(|(_, payload)| payload).eq(&payloads));
    assert!(file.largest_read.load(Ordering::Relaxed) <= large + FRAME_HEADER_BYTES);
    assert_eq!(file.bytes_read.load(Ordering::Relaxed), length, "no byte is read twice");

    // The same log cut within the large frame, whose length is then a lie.
    let cut = offsets(&payloads)[3001] as usize - 1;
    let file = Watched::new(bytes[..cut].to_vec());
    let (frames, ending) = read_all(&mut watch(&file)).unwrap();
    assert_eq!((frames.len(), ending), (3000, Ending::Bad(offsets(&payloads)[3000])));
    assert!(file.largest_read.load(Ordering::Relaxed) <= 1 << 20);
}

/// A header with `change` made to it, and a checksum that says it was meant.
fn forged_header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = header().encode().to_vec();
    change(&mut bytes);
    let own = u64::from_le_bytes(*bytes[16..].first_chunk().unwrap());
    let sum = crate::base::checksum::checksum(&bytes[..40], own, 0);
    bytes[40..48].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn a_newer_version_is_refused_with_both_numbers() {
    let bytes = forged_header(|bytes| bytes[8] = 9);
    match open_bytes(&bytes) {
        Err(Error::UnsupportedFormat { found, supported, .. }) => {
            assert_eq!((found, supported), (9, LOG_VERSION));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_header_that_no_writer_makes_is_damage_and_not_a_torn_write() {
    let changes: [(u64, fn(&mut [u8])); 3] =
        [(0, |bytes| bytes[0] = b'a'), (12, |bytes| bytes[12] = 2), (24, |bytes| bytes[24] = 7)];
    for (at, change) in changes {
        match open_bytes(&forged_header(change)) {
            Err(Error::Corruption { offset, .. }) => assert_eq!(offset, at),
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

/// A power cut may leave a new file with the bytes of one that was removed before it.
#[test]
fn the_header_of_another_log_is_a_torn_write() {
    let opened = open_bytes(&forged_header(|bytes| bytes[16] = 8));
    assert!(matches!(opened, Ok(LogOpen::TornHeader { .. })), "{opened:?}");
}

#[test]
fn a_whole_frame_that_cannot_stand_here_is_damage_wherever_it_stands() {
    let whole = log_bytes(&[b"x".to_vec()], false);
    let offset = whole.len() as u64;
    for (kind, payload) in [(FrameKind::Edit, &b""[..]), (FrameKind::End, b"more than nothing")] {
        let mut bytes = whole.clone();
        encode_frame(&mut bytes, NUMBER, offset, kind, payload);
        let error = read_all(&mut reader(&bytes)).unwrap_err();
        assert!(matches!(&error, Error::Corruption { offset: at, .. } if *at == offset), "{error}");
    }
    // An unknown kind: the checksum covers it.
    let mut bytes = whole.clone();
    encode_frame(&mut bytes, NUMBER, offset, FrameKind::Batch, b"");
    bytes[offset as usize + 15] = 9;
    let sum = crate::base::checksum::checksum(&bytes[offset as usize + 8..], NUMBER.0, offset);
    bytes[offset as usize..][..8].copy_from_slice(&sum.to_le_bytes());
    assert!(read_all(&mut reader(&bytes)).unwrap_err().is_corruption());
}

#[test]
fn bytes_behind_an_end_frame_are_bad() {
    let mut bytes = log_bytes(&[b"x".to_vec()], true);
    let end = bytes.len() as u64;
    bytes.push(0);
    let mut reader = reader(&bytes);
    assert_eq!(read_all(&mut reader).unwrap().1, Ending::Bad(end));
    assert_eq!(read_all(&mut reader).unwrap(), (vec![], Ending::Bad(end)));
    assert!(reader.has_ended());
}

#[test]
fn a_read_that_fails_is_an_error_and_can_be_tried_again() {
    use crate::env::{Fault, FaultEnv, FaultRule, Operation, When};
    let memory = new_env();
    drop(write_log(&memory, &[vec![1; 2 << 20], vec![2; 10]]));
    let env = FaultEnv::new(Arc::new(memory));
    for fault in [Fault::Io, Fault::ShortRead { bytes: 9 }] {
        env.clear();
        let file = env.open(WAL).unwrap();
        let Ok(LogOpen::Whole(mut reader)) =
            LogReader::open(file, WAL.name(), NUMBER, LogKind::Wal)
        else {
            panic!("the header is whole");
        };
        env.add(FaultRule::new(&[Operation::Read], When::Window { first: 1, count: 2 }, fault));
        assert!(matches!(reader.next(), Err(Error::Io { .. })));
        assert_eq!(read_all(&mut reader).unwrap().0.len(), 2);
    }
}

/// A bit that flips on its way from the disk would else make of synced frames a torn tail.
#[test]
fn a_place_that_does_not_check_is_read_again_before_it_counts() {
    use crate::env::{Fault, FaultEnv, FaultRule, Operation, When};
    let memory = new_env();
    drop(write_log(&memory, &[vec![1; 100], vec![2; 100]]));
    let env = FaultEnv::new(Arc::new(memory));
    // In the header, in the first frame, in the second.
    for bit in [8 * 4, 8 * 70, 8 * 190] {
        env.clear();
        env.add(FaultRule::new(&[Operation::Read], When::Nth(1), Fault::FlipBit { bit }));
        let file = env.open(WAL).unwrap();
        let opened = LogReader::open(file, WAL.name(), NUMBER, LogKind::Wal).unwrap();
        let LogOpen::Whole(mut reader) = opened else { panic!("the header is whole") };
        assert_eq!(read_all(&mut reader).unwrap().0.len(), 2, "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(
        payloads in prop::collection::vec(
            prop_oneof![
                8 => prop::collection::vec(any::<u8>(), 0..200),
                1 => (any::<u8>(), 0usize..300_000).prop_map(|(byte, count)| vec![byte; count]),
            ],
            0..20,
        ),
        flushes: u32,
        closed: bool,
    ) {
        let env = new_env();
        let mut writer = write_log(&env, &[]);
        for (index, payload) in payloads.iter().enumerate() {
            writer.append(FrameKind::Batch, payload);
            if flushes >> (index % 32) & 1 == 1 {
                writer.flush().unwrap();
            }
        }
        if closed {
            writer.close().unwrap();
        }
        writer.flush().or_else(|error| if closed { Ok(()) } else { Err(error) }).unwrap();
        let bytes = env.file_bytes(WAL).unwrap();
        prop_assert_eq!(bytes.len() as u64, writer.bytes());
        let (frames, ending) = read_all(&mut reader(&bytes)).unwrap();
        let expected: Vec<_> = offsets(&payloads).into_iter().zip(payloads).collect();
        prop_assert_eq!(frames, expected);
        let end = bytes.len() as u64;
        prop_assert_eq!(ending, if closed { Ending::Closed(end) } else { Ending::End(end) });
    }

    /// A survivor is found wherever it lies to the edges of the window.
    #[test]
    fn a_scan_finds_a_frame_at_every_offset(shift in 0usize..100, window in 0usize..3) {
        let mut bytes = log_bytes(&[], false);
        bytes.resize(LOG_HEADER_BYTES + window * (1 << 20) + shift, 0xee);
        let at = bytes.len() as u64;
        encode_frame(&mut bytes, NUMBER, at, FrameKind::Batch, b"survivor");
        bytes.extend_from_slice(&[0xee; 30]);
        let found = survivors(&mut reader(&bytes), LOG_HEADER_BYTES as u64).unwrap();
        let is_behind = at > LOG_HEADER_BYTES as u64;
        prop_assert_eq!(found, if is_behind { vec![(at, b"survivor".to_vec())] } else { vec![] });
    }
}
