//! Damaged manifests and `CURRENT`s: found, with file and offset, and never a state that was not.

use proptest::prelude::*;

use super::*;
use crate::base::checksum::checksum;

/// A store after four edits, the state after each, and where in the manifest each ends.
fn store(closed: bool) -> (MemEnv, FileId, Vec<String>, Vec<usize>) {
    let env = new_env();
    let mut set = create(&env);
    let manifest = manifest_of(&set);
    let length = || env.file_bytes(manifest).unwrap().len();
    let (mut states, mut ends) = (vec![show(&set)], vec![length()]);
    for (index, keys) in ["a", "b", "c"].into_iter().enumerate() {
        add_next(&mut set, index, keys, keys).unwrap();
        states.push(show(&set));
        ends.push(length());
    }
    if closed {
        set.close().unwrap();
    }
    (env, manifest, states, ends)
}

fn corruption(result: Result<VersionSet>) -> (String, u64, String) {
    match result {
        Err(Error::Corruption { file, offset, detail }) => (file, offset, detail),
        other => panic!("{other:?}"),
    }
}

/// cockroachdb/pebble#4526: an edit that a crash tore is called damage.
#[test]
fn reg_m10_a_manifest_cut_anywhere_is_a_torn_edit_or_damage_of_the_state() {
    for closed in [false, true] {
        let (env, manifest, states, ends) = store(closed);
        let whole = env.file_bytes(manifest).unwrap();
        for cut in 0..whole.len() {
            env.set_file_bytes(manifest, whole[..cut].to_vec());
            if cut < ends[0] {
                // The state that it begins with was synced before anything named it.
                let (file, offset, _) = corruption(recover(&env));
                assert!(file.ends_with(&manifest.name()));
                assert_eq!(offset, if cut < 48 { 0 } else { 48 }, "cut at {cut}");
                continue;
            }
            let set = recover(&env).unwrap();
            let edits = ends.partition_point(|&end| end <= cut);
            assert_eq!(show(&set), states[edits - 1], "cut at {cut}");
            let report = set.report().unwrap();
            assert_eq!((report.closed, report.edits), (false, edits as u64));
            let torn = report.torn_tail.as_ref().map(|tail| (tail.offset, tail.bytes));
            let (end, rest) = (ends[edits - 1] as u64, (cut - ends[edits - 1]) as u64);
            assert_eq!(torn, (rest > 0).then_some((end, rest)), "cut at {cut}");
            assert_eq!(report.bytes, end);
        }
    }
}

#[test]
fn a_flipped_byte_is_damage_but_in_the_last_edit_which_it_tears() {
    for closed in [false, true] {
        let (env, manifest, states, ends) = store(closed);
        let whole = env.file_bytes(manifest).unwrap();
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                env.set_file_bytes(manifest, bytes);
                let edit = ends.partition_point(|&end| end <= at);
                let begin = if edit == 0 { 48 } else { ends[edit - 1] as u64 };
                let is_tail = if closed { edit == ends.len() } else { edit == ends.len() - 1 };
                if is_tail {
                    let set = recover(&env).unwrap();
                    assert_eq!(show(&set), states[edit - 1], "byte {at}");
                    assert_eq!(set.report().unwrap().torn_tail.as_ref().unwrap().offset, begin);
                } else {
                    let (file, offset, _) = corruption(recover(&env));
                    assert!(file.ends_with(&manifest.name()));
                    assert_eq!(offset, if at < 48 { 0 } else { begin }, "byte {at}");
                }
            }
        }
    }
}

#[test]
fn anything_behind_the_end_frame_is_damage() {
    let (env, manifest, ..) = store(true);
    let mut bytes = env.file_bytes(manifest).unwrap();
    let end = bytes.len() as u64;
    bytes.push(0);
    env.set_file_bytes(manifest, bytes);
    assert_eq!(corruption(recover(&env)).1, end);
}

#[test]
fn a_manifest_under_another_number_is_damage() {
    let (env, manifest, ..) = store(false);
    let bytes = env.file_bytes(manifest).unwrap();
    let other = FileNumber(90);
    env.set_file_bytes(FileId::Manifest(other), bytes);
    env.set_file_bytes(FileId::Current, current::encode(other).into_bytes());
    let (file, offset, detail) = corruption(recover(&env));
    assert!(file.ends_with("000090.manifest") && offset == 0, "{detail}");
}

/// facebook/rocksdb#8682: an empty `CURRENT`; and every other damage to it.
#[test]
fn reg_m16_a_damaged_current_is_named() {
    let (env, ..) = store(false);
    let whole = env.file_bytes(FileId::Current).unwrap();
    assert_eq!(whole.len(), 53, "as docs/format.md says");
    let mut mutants: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            mutants.push(bytes);
        }
    }
    for more in [&b"\n"[..], b" ", &[b'x'; 200], &whole] {
        mutants.push([&whole, more].concat());
    }
    for bytes in mutants {
        env.set_file_bytes(FileId::Current, bytes.clone());
        let (file, offset, _) = corruption(recover(&env));
        assert!(file.ends_with("/CURRENT"), "{file}");
        assert!(offset <= bytes.len() as u64);
    }
}

/// A `CURRENT` of this text with a checksum that holds.
fn current_of(covered: &str) -> Vec<u8> {
    format!("{covered} checksum {:016x}\n", checksum(covered.as_bytes(), 0, 0)).into_bytes()
}

#[test]
fn a_newer_store_is_refused_with_both_numbers() {
    let (env, manifest, ..) = store(false);
    let newer = current_of("alluvium 3 whatever comes manifest 7");
    env.set_file_bytes(FileId::Current, newer);
    match recover(&env) {
        Err(Error::UnsupportedFormat { found, supported, file }) => {
            assert_eq!((found, supported), (3, 2));
            assert!(file.ends_with("/CURRENT"));
        }
        other => panic!("{other:?}"),
    }
    env.set_file_bytes(FileId::Current, current::encode(manifest.number().unwrap()).into_bytes());
    assert!(recover(&env).is_ok());
}

#[test]
fn there_is_one_way_to_write_current() {
    for covered in [
        "alluvium 2 manifest 1",
        "alluvium 2 manifest 0000001",
        "alluvium 2 manifest +00001",
        "alluvium 02 manifest 000001",
        "alluvium 2  manifest 000001",
        "alluvium 2 manifest 99999999999999999999",
        "alluvium 2 manifest 72057594037927936",
        "alluvium 2 manifest",
        "alluvium x manifest 000001",
        "alluvium ",
        "alluvium",
    ] {
        let result = current::decode(&current_of(covered), "CURRENT");
        assert!(result.is_err_and(|error| error.is_corruption()), "{covered}");
    }
    for number in [1, 999_999, 1_000_000, FileNumber::MAX.0] {
        let text = current::encode(FileNumber(number));
        assert_eq!(current::decode(text.as_bytes(), "CURRENT").unwrap(), FileNumber(number));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_no_current(bytes: Vec<u8>) {
        for bytes in [bytes.clone(), [b"alluvium ", &bytes[..]].concat()] {
            let result = current::decode(&bytes, "CURRENT");
            prop_assert!(result.is_err_and(|error| error.is_corruption()));
        }
    }

    /// Pieces of a manifest overwritten, removed, doubled: a state that was, or damage.
    #[test]
    fn no_damage_makes_a_state_that_was_not(
        damages in prop::collection::vec((0usize..400, 0usize..400, 0usize..120, 0u8..4), 1..4),
        closed: bool,
    ) {
        let (env, manifest, states, _) = store(closed);
        let mut bytes = env.file_bytes(manifest).unwrap();
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
        env.set_file_bytes(manifest, bytes);
        match recover(&env) {
            Ok(set) => prop_assert!(states.contains(&show(&set))),
            Err(error) => prop_assert!(error.is_corruption(), "{}", error),
        }
    }
}
