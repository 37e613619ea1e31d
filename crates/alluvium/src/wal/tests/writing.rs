//! What reaches the file, when, and what a failure leaves.

use expect_test::expect_file;

use super::*;
use crate::base::error::Error;
use crate::base::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::env::{CrashPolicy, Fault, FaultEnv, FaultRule, FileKind, Operation, PosixEnv, When};

#[test]
fn the_bytes_of_a_segment_are_pinned() {
    let bytes = log_bytes(&[b"first batch".to_vec(), vec![], vec![0xa5; 40]], true);
    expect_file!["../../../tests/golden/wal.hex"].assert_eq(&hexdump(&bytes));
}

#[test]
fn nothing_is_in_the_file_before_the_flush_and_a_flush_is_one_append() {
    let memory = new_env();
    let env = FaultEnv::new(Arc::new(memory.clone()));
    let mut writer = LogWriter::create(env.create(WAL).unwrap(), WAL.name(), header());
    writer.append(FrameKind::Batch, b"one");
    writer.append(FrameKind::Batch, b"two");
    assert_eq!((writer.bytes(), writer.flushed_bytes()), (48 + 2 * 23, 0));
    assert_eq!(memory.file_bytes(WAL).unwrap().len(), 0);

    writer.flush().unwrap();
    assert_eq!(env.count(Operation::Append), 1);
    assert_eq!(memory.file_bytes(WAL).unwrap().len() as u64, writer.bytes());
    assert_eq!((writer.flushed_bytes(), writer.synced_bytes()), (writer.bytes(), 0));

    writer.flush().unwrap();
    assert_eq!(env.count(Operation::Append), 1, "an empty buffer is not appended");
    writer.sync().unwrap();
    assert_eq!(writer.synced_bytes(), writer.bytes());
}

#[test]
fn a_large_payload_is_appended_from_where_it_is_and_makes_the_same_bytes() {
    let memory = new_env();
    let env = FaultEnv::new(Arc::new(memory.clone()));
    let mut writer = LogWriter::create(env.create(WAL).unwrap(), WAL.name(), header());
    let payloads: [Vec<u8>; 4] =
        [vec![1; 10], (0..100_000).map(|i| i as u8).collect(), vec![], vec![2; 40_000]];
    let places = payloads.each_ref().map(|payload| writer.append(FrameKind::Batch, payload));
    writer.flush().unwrap();
    // Each large one, and what is before it.
    assert_eq!(env.count(Operation::Append), 4);
    let bytes = memory.file_bytes(WAL).unwrap();
    assert_eq!(writer.bytes(), bytes.len() as u64);
    let mut expected = header().encode().to_vec();
    for (payload, place) in payloads.iter().zip(places) {
        let offset = expected.len() as u64;
        frame::encode_frame(&mut expected, NUMBER, offset, FrameKind::Batch, payload);
        assert_eq!(&bytes[place as usize..][..payload.len()], payload);
    }
    assert_eq!(bytes, expected);
}

#[test]
fn a_large_payload_that_is_refused_is_told_by_the_flush() {
    for nth in 1..=2 {
        let memory = new_env();
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let mut writer = LogWriter::create(env.create(WAL).unwrap(), WAL.name(), header());
        env.add(FaultRule::new(
            &[Operation::Append],
            When::Nth(nth),
            Fault::ShortAppend { bytes: 5 },
        ));
        writer.append(FrameKind::Batch, &[3; 50_000]);
        let at = writer.bytes();
        writer.append(FrameKind::Batch, &[4; 50_000]);
        assert!(writer.check().is_err());
        assert!(matches!(writer.flush(), Err(Error::Io { operation: "append to", .. })));
        assert_eq!((writer.bytes(), env.count(Operation::Append)), (at, nth));
    }
}

#[test]
fn a_log_that_is_synced_is_made_longer_ahead_and_closed_at_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let env = PosixEnv::new(dir.path());
    let length = || std::fs::metadata(dir.path().join(WAL.name())).unwrap().len();
    let contents = || {
        let opened = LogReader::open(env.open(WAL).unwrap(), WAL.name(), NUMBER, LogKind::Wal);
        match opened.unwrap() {
            LogOpen::Whole(mut reader) => read_all(&mut reader).unwrap(),
            LogOpen::TornHeader { detail, .. } => panic!("{detail}"),
        }
    };
    let mut writer = LogWriter::create(env.create(WAL).unwrap(), WAL.name(), header());
    writer.sync().unwrap();
    assert_eq!(length(), 48, "nothing is known of what will come");
    let payloads: Vec<Vec<u8>> = (0..40u8).map(|byte| vec![byte; 60_000]).collect();
    let ends = &offsets(&payloads)[1..];
    let mut seen = std::collections::BTreeSet::new();
    for (written, payload) in payloads.iter().enumerate() {
        writer.append(FrameKind::Batch, payload);
        writer.sync().unwrap();
        assert!(length() >= ends[written]);
        seen.insert(length());
        let (frames, ending) = contents();
        assert_eq!((frames.len(), ending), (written + 1, Ending::End(ends[written])));
    }
    assert_eq!(seen.len(), 3, "two megabytes and a bit: {seen:?}");
    // What is flushed and not synced goes on where the last frame ended, over the end of the file.
    for payload in &payloads {
        writer.append(FrameKind::Batch, payload);
        writer.flush().unwrap();
    }
    assert_eq!(length(), writer.bytes());
    writer.close().unwrap();
    assert_eq!(length(), writer.bytes());
    let (frames, ending) = contents();
    assert_eq!((frames.len(), ending), (80, Ending::Closed(writer.bytes())));
    let again = frames.iter().map(|(_, payload)| payload);
    assert!(again.eq(payloads.iter().chain(&payloads)));
}

/// facebook/rocksdb#12448, #6316 (w12, m06): a log goes on after an error, and what it says then
/// stands behind a torn frame.
#[test]
fn reg_w12_after_a_failure_the_file_is_never_touched_again() {
    for operation in [Operation::Append, Operation::Sync] {
        let memory = new_env();
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let mut writer = LogWriter::create(env.create(WAL).unwrap(), WAL.name(), header());
        writer.append(FrameKind::Batch, b"synced");
        writer.sync().unwrap();
        env.add(FaultRule::new(&[operation], When::Nth(1), Fault::ShortAppend { bytes: 5 }));
        writer.append(FrameKind::Batch, b"lost");
        let first = writer.sync().unwrap_err().to_string();
        let (asked, left) = (env.count_all(), memory.file_bytes(WAL).unwrap());

        // The fault has passed, and that must not matter.
        writer.append(FrameKind::Batch, b"too late");
        assert_eq!(writer.flush().unwrap_err().to_string(), first);
        assert_eq!(writer.sync().unwrap_err().to_string(), first);
        assert_eq!(writer.close().unwrap_err().to_string(), first);
        assert_eq!((env.count_all(), memory.file_bytes(WAL).unwrap()), (asked, left));
        assert_eq!(writer.synced_bytes(), 48 + 26);
    }
}

#[test]
fn a_failure_that_the_caller_saw_ends_the_log_too_and_the_first_one_counts() {
    let env = new_env();
    let mut writer = write_log(&env, &[]);
    drop(writer.fail(Error::Closed));
    let counts = writer.fail(Error::invalid("later"));
    assert!(matches!(counts, Error::Closed));
    assert!(matches!(writer.flush(), Err(Error::Closed)));
}

#[test]
fn a_full_disk_is_told_by_its_name() {
    let env = new_env();
    let mut writer = write_log(&env, &[]);
    env.set_capacity(Some(50));
    writer.append(FrameKind::Batch, b"does not fit");
    assert!(matches!(writer.flush(), Err(Error::NoSpace { .. })));
}

#[test]
fn a_payload_over_the_limit_ends_the_log_before_it_is_damaged() {
    let env = new_env();
    let mut writer = write_log(&env, &[]);
    writer.append(FrameKind::Batch, &vec![0; FRAME_PAYLOAD_BYTES_MAX + 1]);
    assert!(matches!(writer.flush(), Err(Error::InvalidArgument { .. })));
    assert_eq!(env.file_bytes(WAL).unwrap().len(), 48);
}

#[test]
fn closing_syncs_what_was_not_and_then_the_end_frame() {
    for (synced_outside, syncs) in [(false, 2), (true, 1)] {
        let env = FaultEnv::new(Arc::new(new_env()));
        let mut writer = LogWriter::create(env.create(WAL).unwrap(), WAL.name(), header());
        writer.append(FrameKind::Batch, b"x");
        writer.flush().unwrap();
        if synced_outside {
            writer.file().sync().unwrap();
            writer.note_synced(writer.flushed_bytes());
        }
        let before = env.count_on(Operation::Sync, FileKind::Wal);
        writer.close().unwrap();
        assert_eq!(env.count_on(Operation::Sync, FileKind::Wal) - before, syncs);
        writer.append(FrameKind::Batch, b"behind the end");
        assert!(matches!(writer.flush(), Err(Error::Closed)));
    }
}

/// cockroachdb/pebble#886: the end of a log comes to disk before what it speaks of.
#[test]
fn reg_w07_an_end_frame_on_disk_means_that_all_before_it_is_there() {
    let policies = [
        CrashPolicy::DropUnsynced,
        CrashPolicy::KeepAll,
        CrashPolicy::ObjectPrefix,
        CrashPolicy::TornSectors,
        CrashPolicy::LengthFirst,
    ];
    let payloads = [vec![1; 700], vec![2; 700], vec![3; 700]];
    let end = offsets(&payloads)[3];
    let mut ends_seen = 0;
    for crash_at in 0..10 {
        let env = new_env();
        let file = env.create(WAL).unwrap();
        env.sync_directory().unwrap();
        env.crash_at(env.operations() + crash_at);
        let mut writer = LogWriter::create(file, WAL.name(), header());
        for payload in &payloads {
            writer.append(FrameKind::Batch, payload);
            drop(writer.flush());
        }
        drop(writer.close());
        for policy in policies {
            for seed in 0..20 {
                let bytes = env.crash_image(policy, seed).file_bytes(WAL).unwrap();
                let mut behind = reader_or_torn(&bytes);
                let has_end = survivors(&mut behind, 0).unwrap().iter().any(|(at, _)| *at == end);
                if has_end {
                    ends_seen += 1;
                    let (frames, ending) = read_all(&mut behind).unwrap();
                    assert_eq!((frames.len(), ending), (3, Ending::Closed(end + 20)));
                }
            }
        }
    }
    assert!(ends_seen > 0);
}

fn reader_or_torn(bytes: &[u8]) -> LogReader {
    match open_bytes(bytes).unwrap() {
        LogOpen::Whole(reader) | LogOpen::TornHeader { reader, .. } => reader,
    }
}
