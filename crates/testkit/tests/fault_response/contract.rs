//! Promises of docs/durability.md that no sweep asks for.

use alluvium::Action;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

/// The line of `CURRENT` for another format version, as docs/format.md draws it.
fn current_of_version(line: &str, version: u32) -> String {
    let covered = line.split_once(" checksum ").unwrap().0;
    let covered = covered.replacen("alluvium 2", &format!("alluvium {version}"), 1);
    // The place of a file without a number: number 0, offset 0.
    let mut place = 1u64;
    place = (place ^ (place >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    place = (place ^ (place >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    place ^= place >> 31;
    format!("{covered} checksum {:016x}\n", xxh3_64(covered.as_bytes()) ^ place)
}

#[test]
fn a_newer_format_is_refused_with_both_numbers_before_anything_is_written() {
    let store = Store::new();
    fill(&store.db, 0..10, 0);
    let memory = store.memory.crash_image(CrashPolicy::KeepAll, 1);
    let line = String::from_utf8(memory.file_bytes(FileId::Current).unwrap()).unwrap();
    assert_eq!(current_of_version(&line, 2), line, "the checksum is understood");
    memory.set_file_bytes(FileId::Current, current_of_version(&line, 3).into_bytes());
    let contents = |memory: &MemEnv| -> Vec<_> {
        memory.files().into_iter().map(|file| (file, memory.file_bytes(file))).collect()
    };
    let before: Vec<_> =
        contents(&memory).into_iter().filter(|(file, _)| *file != FileId::Lock).collect();
    let error = Db::open_env(Arc::new(memory.clone()), tiny()).unwrap_err();
    assert!(matches!(error, Error::UnsupportedFormat { found: 3, supported: 2, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("version 3") && text.contains("up to 2"), "{text}");
    assert_eq!(error.action(), Action::Upgrade);
    let after: Vec<_> =
        contents(&memory).into_iter().filter(|(file, _)| *file != FileId::Lock).collect();
    assert_eq!(before, after);
}

#[test]
fn one_directory_has_one_writer_by_whatever_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let db = Db::open(&path, tiny()).unwrap();
    db.put("a", "1").unwrap();
    let winding = directory.path().join("store/../store/.");
    for second in [&path, &winding] {
        let refused = Db::open(second, tiny()).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused:?}");
        assert_eq!(refused.action(), Action::Retry);
    }
    db.put("b", "2").unwrap();
    // A handle that is still there keeps the store.
    let family = db.default_column_family();
    drop(db);
    assert!(matches!(Db::open(&path, tiny()), Err(Error::Locked { .. })));
    drop(family);
    let db = Db::open(&path, tiny()).unwrap();
    assert_eq!(db.scan(..).count(), 2);
}

/// Every error of the engine that this test can bring about says what to do.
#[test]
fn every_error_says_what_to_do() {
    let store = Store::new();
    let missing = store.db.column_family("none").unwrap_err();
    assert_eq!(missing.action(), Action::FixCall);
    let long = store.db.put(vec![0; 70_000], "").unwrap_err();
    assert_eq!(long.action(), Action::FixCall);
    let strict = Options { create_if_missing: false, ..tiny() };
    let none = Db::open_env(Arc::new(MemEnv::new()), strict).unwrap_err();
    assert_eq!(none.action(), Action::FixCall);
    store.db.clone().close().unwrap();
    assert_eq!(store.db.put("a", "1").unwrap_err().action(), Action::Reopen);
}

/// What looks like a test's name in the document is one.
#[test]
fn every_test_that_the_document_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = std::fs::read_to_string(root.join("docs/durability.md")).unwrap();
    let mut sources = String::new();
    read_sources(&root.join("crates"), &mut sources);
    let named: Vec<&str> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.matches('_').count() > 3)
        .collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        assert!(sources.contains(&format!("#[test]\nfn {name}()")), "{name} is no test");
    }
}

fn read_sources(directory: &std::path::Path, sources: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *sources += &std::fs::read_to_string(path).unwrap();
        }
    }
}
