//! `alluvium repair`: what is left of a damaged store, into a new one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use crate::program::{Ran, command, run};

/// A store of a few values, two of them in tables, and a directory for its copy.
struct Place {
    _directory: TempDir,
    db: PathBuf,
    into: PathBuf,
}

impl Place {
    fn new() -> Place {
        let directory = tempdir().expect("a directory");
        let (db, into) = (directory.path().join("db"), directory.path().join("repaired"));
        run(&db, ["put", "apple", "red"]).ok();
        run(&db, ["put", "--cf", "plants", "oak", "tall"]).ok();
        run(&db, ["compact"]).ok();
        run(&db, ["put", "cherry", "dark"]).ok();
        Place { _directory: directory, db, into }
    }

    fn repair(&self) -> Ran {
        let mut command = command(["repair"]);
        command.arg(&self.db).arg("--into").arg(&self.into);
        command.output().expect("the program starts").into()
    }

    fn file(&self, extension: &str) -> PathBuf {
        let files = fs::read_dir(&self.db).expect("a directory");
        let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        paths.into_iter().find(|p| p.extension().is_some_and(|e| e == extension)).expect(extension)
    }
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(directory).expect("a directory");
    let paths = files.map(|file| file.expect("a file").path());
    paths.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[test]
fn a_store_without_current_is_given_back() {
    let place = Place::new();
    fs::remove_file(place.db.join("CURRENT")).expect("it is there");
    let before = contents(&place.db);
    let out = place.repair().ok();
    assert!(out.contains("CURRENT") && out.contains("everything was given back"), "{out}");
    assert_eq!(contents(&place.db), before, "the damaged store is not changed");
    assert_eq!(run(&place.into, ["scan"]).ok(), "apple\tred\ncherry\tdark\n");
    assert_eq!(run(&place.into, ["get", "--cf", "plants", "oak"]).ok(), "tall\n");
    run(&place.into, ["verify"]).ok();
}

#[test]
fn what_is_gone_is_named_and_the_exit_code_is_3() {
    let place = Place::new();
    let table = place.file("sst");
    fs::remove_file(&table).expect("it is there");
    let before = contents(&place.db);
    let ran = place.repair();
    assert_eq!((ran.code, &ran.err[..]), (3, ""), "{ran:?}");
    let name = table.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert!(ran.out.contains("lost: ") && ran.out.contains(name), "{ran:?}");
    assert_eq!(contents(&place.db), before);
    assert!(run(&place.into, ["scan"]).ok().contains("cherry\tdark\n"));
}

#[test]
fn a_place_that_is_taken_or_a_store_that_is_not_there_is_refused() {
    let place = Place::new();
    fs::create_dir(&place.into).expect("a directory");
    fs::write(place.into.join("letter.txt"), "dear").expect("a file");
    let before = contents(&place.db);
    assert!(place.repair().refused(1).contains("is not empty"));
    assert_eq!(contents(&place.into).len(), 1);

    let within = Place { into: place.db.join("sub"), ..Place::new() };
    let inside = Place { db: place.db.clone(), ..within };
    assert!(inside.repair().refused(1).contains("within"));
    assert_eq!(contents(&place.db), before);

    let nowhere = Place { db: place.into.join("nowhere"), ..Place::new() };
    assert!(nowhere.repair().refused(1).starts_with("there is no store in "));
    assert!(!nowhere.into.exists(), "nothing is made for it");
}
