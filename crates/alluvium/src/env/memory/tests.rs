//! What each crash policy keeps and loses, and where a crash point stops the world.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::base::file::{FileId, FileNumber};
use crate::env::{CrashPolicy, Env, MemEnv, WritableFile};

const POWER_CUTS: [CrashPolicy; 6] = [
    CrashPolicy::DropUnsynced,
    CrashPolicy::GlobalPrefix(7),
    CrashPolicy::ObjectPrefix,
    CrashPolicy::ShuffledNames,
    CrashPolicy::TornSectors,
    CrashPolicy::LengthFirst,
];

fn wal(number: u64) -> FileId {
    FileId::Wal(FileNumber(number))
}

fn table(number: u64) -> FileId {
    FileId::Table(FileNumber(number))
}

fn new_env() -> MemEnv {
    let env = MemEnv::new();
    env.create_directory().unwrap();
    env
}

/// A file whose name and content are durable.
fn durable(env: &MemEnv, file: FileId, bytes: &[u8]) -> Arc<dyn WritableFile> {
    let writer = env.create(file).unwrap();
    writer.append(bytes).unwrap();
    writer.sync().unwrap();
    env.sync_directory().unwrap();
    writer
}

/// Everything in the directory.
fn contents(env: &MemEnv) -> Vec<(FileId, Vec<u8>)> {
    env.files().into_iter().map(|file| (file, env.file_bytes(file).unwrap())).collect()
}

#[test]
fn what_is_synced_survives_every_policy_and_seed() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"synced");
    writer.append(&[7; 2000]).unwrap();
    env.create(wal(2)).unwrap();
    for policy in POWER_CUTS.into_iter().chain([CrashPolicy::KeepAll]) {
        for seed in 0..50 {
            let bytes = env.crash_image(policy, seed).file_bytes(wal(1)).unwrap();
            assert!(bytes.starts_with(b"synced"), "{policy:?} {seed}");
            assert!(bytes.len() <= 2006);
        }
    }
}

#[test]
fn a_file_sync_says_nothing_of_the_name_and_a_directory_sync_nothing_of_the_bytes() {
    let env = new_env();
    let first = env.create(wal(1)).unwrap();
    first.append(b"bytes").unwrap();
    first.sync().unwrap();
    assert_eq!(contents(&env.crash_image(CrashPolicy::DropUnsynced, 0)), []);
    let second = env.create(wal(2)).unwrap();
    second.append(b"bytes").unwrap();
    env.sync_directory().unwrap();
    let image = env.crash_image(CrashPolicy::DropUnsynced, 0);
    assert_eq!(contents(&image), [(wal(1), b"bytes".to_vec()), (wal(2), Vec::new())]);
}

#[test]
fn dropping_undoes_creations_removals_and_renames() {
    let env = new_env();
    drop(durable(&env, wal(1), b"removed"));
    drop(durable(&env, table(2), b"renamed"));
    drop(durable(&env, FileId::Current, b"replaced"));
    let before = contents(&env);
    env.remove(wal(1)).unwrap();
    env.rename(table(2), FileId::Current).unwrap();
    env.create(wal(3)).unwrap();
    let after = vec![(wal(3), Vec::new()), (FileId::Current, b"renamed".to_vec())];
    assert_eq!(contents(&env), after);
    assert_eq!(contents(&env.crash_image(CrashPolicy::DropUnsynced, 0)), before);
    assert_eq!(contents(&env.crash_image(CrashPolicy::KeepAll, 0)), after);
}

#[test]
fn a_process_kill_leaves_things_unsynced() {
    let env = new_env();
    drop(durable(&env, wal(1), b"old"));
    let writer = env.create(wal(2)).unwrap();
    writer.append(b"abc").unwrap();
    env.remove(wal(1)).unwrap();
    let killed = env.crash_image(CrashPolicy::KeepAll, 0);
    assert_eq!(contents(&killed), [(wal(2), b"abc".to_vec())]);
    let cut = killed.crash_image(CrashPolicy::DropUnsynced, 0);
    assert_eq!(contents(&cut), [(wal(1), b"old".to_vec())]);
    killed.sync_directory().unwrap();
    let cut = killed.crash_image(CrashPolicy::DropUnsynced, 0);
    assert_eq!(contents(&cut), [(wal(2), Vec::new())], "the original is not touched by its image");
    writer.append(b"def").unwrap();
    assert_eq!(killed.file_bytes(wal(2)).unwrap(), b"abc", "nor an image by its original");
}

#[test]
fn a_global_prefix_keeps_one_order_across_files_and_names() {
    let env = new_env();
    let a = env.create(wal(1)).unwrap(); // 0
    a.append(b"a").unwrap(); // 1
    let b = env.create(wal(2)).unwrap(); // 2
    b.append(b"b").unwrap(); // 3
    a.append(b"A").unwrap(); // 4
    env.remove(wal(2)).unwrap(); // 5
    assert_eq!(env.operations(), 6);
    let image = |operations| contents(&env.crash_image(CrashPolicy::GlobalPrefix(operations), 0));
    let expected: [&[(u64, &[u8])]; 7] = [
        &[],
        &[(1, b"")],
        &[(1, b"a")],
        &[(1, b"a"), (2, b"")],
        &[(1, b"a"), (2, b"b")],
        &[(1, b"aA"), (2, b"b")],
        &[(1, b"aA")],
    ];
    for (operations, expected) in expected.iter().enumerate() {
        let expected: Vec<_> =
            expected.iter().map(|(n, bytes)| (wal(*n), bytes.to_vec())).collect();
        assert_eq!(image(operations as u64), expected, "{operations}");
    }
    a.sync().unwrap(); // 6
    env.sync_directory().unwrap(); // 7
    assert_eq!(image(0), [(wal(1), b"aA".to_vec())], "what was synced is there under any prefix");
}

#[test]
fn object_prefixes_are_independent_and_cut_within_appends() {
    let env = new_env();
    let a = durable(&env, wal(1), b"");
    let b = durable(&env, wal(2), b"");
    a.append(b"1234").unwrap();
    b.append(b"5678").unwrap();
    let lengths: HashSet<(usize, usize)> = (0..4000)
        .map(|seed| env.crash_image(CrashPolicy::ObjectPrefix, seed))
        .map(|image| {
            let [a, b] = [wal(1), wal(2)].map(|file| image.file_bytes(file).unwrap());
            assert!(b"1234".starts_with(&a) && b"5678".starts_with(&b));
            (a.len(), b.len())
        })
        .collect();
    assert_eq!(lengths.len(), 25, "every pair of lengths from 0 to 4");
}

#[test]
fn shuffled_names_reach_both_and_neither_but_never_lose_the_replaced() {
    let env = new_env();
    drop(durable(&env, FileId::Current, b"old"));
    let temporary = FileId::Temporary(FileNumber(1));
    env.create(temporary).unwrap().append(b"new").unwrap();
    env.rename(temporary, FileId::Current).unwrap();
    env.remove(FileId::Current).unwrap();
    drop(durable(&env, wal(9), b""));
    env.create(temporary).unwrap();
    env.rename(temporary, wal(9)).unwrap();
    let images: HashSet<Vec<FileId>> =
        (0..200).map(|seed| env.crash_image(CrashPolicy::ShuffledNames, seed).files()).collect();
    assert_eq!(images, HashSet::from([vec![wal(9)], vec![wal(9), temporary]]));

    let env = new_env();
    drop(durable(&env, FileId::Current, b"old"));
    let writer = env.create(temporary).unwrap();
    writer.append(b"new").unwrap();
    writer.sync().unwrap();
    env.rename(temporary, FileId::Current).unwrap();
    let images: HashSet<_> =
        (0..200).map(|seed| contents(&env.crash_image(CrashPolicy::ShuffledNames, seed))).collect();
    let [old, new] = [b"old", b"new"].map(|bytes| (FileId::Current, bytes.to_vec()));
    let both = (temporary, b"new".to_vec());
    let expected = [vec![old.clone()], vec![new.clone()], vec![old, both.clone()], vec![new, both]];
    assert_eq!(
        images,
        HashSet::from(expected.map(|mut files| {
            files.sort();
            files
        }))
    );
}

#[test]
fn torn_sectors_are_new_zero_garbage_or_stale_and_nothing_else_changes() {
    let env = new_env();
    drop(durable(&env, wal(8), &[0xdd; 8192]));
    env.remove(wal(8)).unwrap();
    let writer = durable(&env, wal(1), &[0x11; 700]);
    writer.append(&[0x22; 4000]).unwrap();
    let (mut new, mut zero, mut stale, mut garbage) = (0, 0, 0, 0);
    for seed in 0..200 {
        let bytes = env.crash_image(CrashPolicy::TornSectors, seed).file_bytes(wal(1)).unwrap();
        assert_eq!(bytes[..700], [0x11; 700]);
        for sector in bytes.get(1024..).unwrap_or_default().chunks_exact(512) {
            match (sector[0], sector.iter().all(|byte| *byte == sector[0])) {
                (0x22, true) => new += 1,
                (0, true) => zero += 1,
                (0xdd, true) => stale += 1,
                (_, true) => panic!("a sector of {:#x}", sector[0]),
                (_, false) => garbage += 1,
            }
        }
    }
    assert!([new, zero, stale, garbage].iter().all(|count| *count > 20));
}

#[test]
fn length_first_gives_zeros_or_a_dead_file_in_place_of_the_data() {
    let env = new_env();
    drop(durable(&env, wal(8), b"0123456789"));
    env.remove(wal(8)).unwrap();
    let writer = durable(&env, wal(1), b"abc");
    writer.append(b"defgh").unwrap();
    let images: HashSet<Vec<u8>> = (0..300)
        .map(|seed| env.crash_image(CrashPolicy::LengthFirst, seed).file_bytes(wal(1)).unwrap())
        .collect();
    for expected in [&b"abc"[..], b"abc\0\0\0\0\0", b"abc34567", b"abcde\0\0\0", b"abcde567"] {
        assert!(images.contains(expected), "{expected:?}");
    }
    assert!(images.iter().all(|bytes| bytes.starts_with(b"abc")));
}

#[test]
fn a_removed_file_may_come_back_torn_and_stale_at_once() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"abc");
    writer.append(b"defgh").unwrap();
    env.remove(wal(1)).unwrap();
    for policy in [CrashPolicy::LengthFirst, CrashPolicy::TornSectors] {
        let back = (0..100).filter(|seed| {
            let bytes = env.crash_image(policy, *seed).file_bytes(wal(1));
            bytes.is_some_and(|bytes| bytes.starts_with(b"abc"))
        });
        assert!(back.count() > 5);
    }
}

#[test]
fn two_names_of_one_file_stay_one_file() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"synced");
    env.rename(wal(1), wal(2)).unwrap();
    let killed = env.crash_image(CrashPolicy::KeepAll, 0);
    killed.set_file_bytes(wal(2), b"damaged".to_vec());
    let image = killed.crash_image(CrashPolicy::DropUnsynced, 0);
    assert_eq!(contents(&image), [(wal(1), b"damaged".to_vec())]);
    writer.append(b".").unwrap();
    assert_eq!(env.file_bytes(wal(2)).unwrap(), b"synced.");
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let env = new_env();
    drop(durable(&env, wal(8), &[1; 3000]));
    env.remove(wal(8)).unwrap();
    for number in 1..6 {
        env.create(wal(number)).unwrap().append(&[number as u8; 3000]).unwrap();
    }
    for policy in POWER_CUTS {
        let image = |seed| contents(&env.crash_image(policy, seed));
        assert_eq!(image(1), image(1));
        let different: HashSet<_> = (0..20).map(image).collect();
        let random = !matches!(policy, CrashPolicy::DropUnsynced | CrashPolicy::GlobalPrefix(_));
        assert_eq!(different.len() > 5, random, "{policy:?}");
    }
}

#[test]
fn a_crash_point_stops_the_world_just_before_the_operation() {
    let script = |env: &MemEnv| -> io::Result<()> {
        let file = env.create(wal(1))?;
        file.append(b"a")?;
        file.sync()?;
        env.sync_directory()?;
        file.append(b"b")?;
        env.rename(wal(1), wal(2))?;
        env.remove(wal(2))
    };
    let whole = new_env();
    script(&whole).unwrap();
    assert_eq!(whole.operations(), 7);
    for at in 0..7 {
        let env = new_env();
        let lock = env.lock().unwrap();
        env.crash_at(at);
        assert!(!env.crashed());
        let error = script(&env).unwrap_err();
        assert!(error.to_string().contains("crashed"), "{error}");
        assert!(env.crashed());
        assert_eq!(env.operations(), at);
        let sites = [
            "create 000001.wal",
            "append to 000001.wal",
            "sync 000001.wal",
            "sync the directory",
            "append to 000001.wal",
            "rename to 000002.wal",
            "remove 000002.wal",
        ];
        assert_eq!(env.crash_site().as_deref(), Some(sites[at as usize]));
        assert!(env.list().is_err() && env.open(FileId::Lock).is_err());
        assert!(env.create_directory().is_err() && env.lock().is_err());
        let image = env.crash_image(CrashPolicy::KeepAll, 0);
        assert_eq!(image.operations(), at, "an image counts on");
        assert!(image.lock().is_ok(), "an image is unlocked");
        let expected = match at {
            0 => None,
            1 => Some((wal(1), b"".to_vec())),
            2..5 => Some((wal(1), b"a".to_vec())),
            5 => Some((wal(1), b"ab".to_vec())),
            _ => Some((wal(2), b"ab".to_vec())),
        };
        let lock_file = [(FileId::Lock, Vec::new())];
        let all: Vec<_> = expected.into_iter().chain(lock_file).collect();
        assert_eq!(contents(&image), all);
        drop(lock);
    }
}

#[test]
fn readers_fail_after_the_crash() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"abc");
    let reader = env.open(wal(1)).unwrap();
    env.crash_at(env.operations());
    assert_eq!(reader.length().unwrap(), 3, "not yet");
    assert!(writer.append(b"d").is_err());
    assert!(reader.length().is_err());
    assert!(reader.read_at(0, &mut [0; 3]).is_err());
    assert!(writer.sync().is_err());
    assert_eq!(env.file_bytes(wal(1)).unwrap(), b"abc", "the test may still look");
}

#[test]
fn operations_that_fail_are_not_counted() {
    let env = new_env();
    env.create(wal(1)).unwrap();
    assert!(env.create(wal(1)).is_err());
    assert!(env.remove(wal(2)).is_err());
    assert!(env.rename(wal(2), wal(3)).is_err());
    assert_eq!(env.operations(), 1);
}

#[test]
fn a_full_disk_takes_the_part_that_fits_and_removal_makes_room() {
    let env = new_env();
    env.create(wal(1)).unwrap().append(&[1; 60]).unwrap();
    let writer = env.create(wal(2)).unwrap();
    env.set_capacity(Some(100));
    let error = writer.append(&[2; 50]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(env.file_bytes(wal(2)).unwrap(), [2; 40]);
    assert_eq!(env.used_bytes(), 100);
    env.remove(wal(1)).unwrap();
    writer.append(&[3; 60]).unwrap();
    assert!(writer.append(b"x").is_err());
    env.set_capacity(None);
    writer.append(b"x").unwrap();
}

#[test]
fn lost_pages_can_be_read_and_no_later_sync_brings_them_back() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"good");
    writer.append(b"lost").unwrap();
    env.lose_unsynced(wal(1));
    assert_eq!(env.file_bytes(wal(1)).unwrap(), b"goodlost");
    assert_eq!(
        env.crash_image(CrashPolicy::GlobalPrefix(u64::MAX), 0).file_bytes(wal(1)).unwrap(),
        b"good"
    );
    writer.append(b"more").unwrap();
    writer.sync().unwrap();
    for policy in POWER_CUTS {
        let image = env.crash_image(policy, 3);
        assert_eq!(image.file_bytes(wal(1)).unwrap(), b"good\0\0\0\0more", "{policy:?}");
    }
    let killed = env.crash_image(CrashPolicy::KeepAll, 0);
    assert_eq!(killed.file_bytes(wal(1)).unwrap(), b"goodlostmore");
    let cut = killed.crash_image(CrashPolicy::DropUnsynced, 0);
    assert_eq!(cut.file_bytes(wal(1)).unwrap(), b"good\0\0\0\0more", "the loss is inherited");
}

#[test]
fn reverted_bytes_are_gone_at_once_and_lost_names_at_the_crash() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"good");
    writer.append(b"gone").unwrap();
    env.create(wal(2)).unwrap();
    env.revert_unsynced(wal(1));
    env.lose_unsynced_names();
    assert_eq!(contents(&env), [(wal(1), b"good".to_vec()), (wal(2), Vec::new())]);
    env.create(wal(3)).unwrap();
    env.sync_directory().unwrap();
    for policy in POWER_CUTS {
        assert_eq!(env.crash_image(policy, 3).files(), [wal(1), wal(3)], "{policy:?}");
    }
    assert_eq!(env.crash_image(CrashPolicy::KeepAll, 0).files(), [wal(1), wal(2), wal(3)]);
}

#[test]
fn damage_is_durable_and_seen_by_open_readers() {
    let env = new_env();
    drop(durable(&env, wal(1), b"abc"));
    let reader = env.open(wal(1)).unwrap();
    env.set_file_bytes(wal(1), b"x".to_vec());
    env.set_file_bytes(wal(2), b"y".to_vec());
    assert_eq!(reader.length().unwrap(), 1);
    let expected = vec![(wal(1), b"x".to_vec()), (wal(2), b"y".to_vec())];
    assert_eq!(contents(&env.crash_image(CrashPolicy::DropUnsynced, 0)), expected);
}

#[test]
fn a_removed_file_whose_name_is_still_durable_may_lend_its_own_bytes() {
    let env = new_env();
    let writer = durable(&env, wal(1), b"synced");
    writer.append(b"and not").unwrap();
    env.remove(wal(1)).unwrap();
    for seed in 0..20 {
        let image = env.crash_image(CrashPolicy::TornSectors, seed);
        let bytes = image.file_bytes(wal(1));
        assert!(bytes.is_none_or(|bytes| bytes.starts_with(b"synced")));
    }
}
