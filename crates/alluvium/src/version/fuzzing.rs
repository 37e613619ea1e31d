//! Fuzz targets of this floor: `CURRENT`, edits, the states that they lead to, manifests.

use std::sync::Arc;

use crate::base::checksum::checksum;
use crate::base::error::{Error, Result};
use crate::base::file::{FileId, FileNumber};
use crate::env::{Env, MemEnv};
use crate::version::catalog::Catalog;
use crate::version::edit::VersionEdit;
use crate::version::recovery::{Recovered, read_store};
use crate::version::{Version, current};

const NAME: &str = "memory/000007.manifest";
const CURRENT_NAME: &str = "memory/CURRENT";
/// The number of the manifest that [`manifest`] reads bytes as.
pub const MANIFEST_NUMBER: u64 = 7;
const CHECKSUM: &str = " checksum ";

/// Reads `bytes` as `CURRENT`, as they are and with the checksum that they should have.
///
/// # Panics
/// When a line is taken that would not be written.
pub fn current_file(bytes: &[u8]) {
    read_current(bytes);
    let covered = find(bytes, CHECKSUM.as_bytes()).map_or(bytes, |at| &bytes[..at]);
    let sum = checksum(covered, 0, 0);
    let mut sealed = covered.to_vec();
    sealed.extend_from_slice(format!("{CHECKSUM}{sum:016x}\n").as_bytes());
    read_current(&sealed);
}

fn read_current(bytes: &[u8]) {
    match current::decode(bytes, CURRENT_NAME) {
        Ok(number) => assert_eq!(current::encode(number).as_bytes(), bytes),
        Err(error) => assert_of_bytes(&error, CURRENT_NAME),
    }
}

/// Where `part` begins in `bytes`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Reads `bytes` as one edit.
///
/// # Panics
/// When an edit that was read does not come back from its own bytes, whole or in parts.
pub fn edit(bytes: &[u8]) {
    const OFFSET: u64 = 100;
    let edit = match VersionEdit::decode(bytes, NAME, OFFSET) {
        Ok(edit) => edit,
        Err(error) => {
            assert_of_bytes(&error, NAME);
            if let Error::Corruption { offset, .. } = error {
                let place = OFFSET..=OFFSET + bytes.len() as u64;
                assert!(place.contains(&offset), "damage at {offset}, outside of the edit");
            }
            return;
        }
    };
    let encoded = edit.encode();
    let again = decode(&encoded);
    assert_eq!(again.encode(), encoded, "the edit comes back otherwise");
    assert_eq!(again.fields(), edit.fields(), "the edit's fields come back otherwise");
    assert_eq!(edit.to_string().lines().count(), edit.fields().len(), "a field is not one line");
    let mut parts = Vec::new();
    edit.visit_parts(32, |part| {
        let mut part = decode(part);
        part.more_follows = false;
        parts.extend(part.encode());
    });
    let whole = decode(&parts);
    let expected = VersionEdit { more_follows: false, ..edit };
    assert_eq!(whole.encode(), expected.encode(), "the parts are not the whole");
}

fn decode(bytes: &[u8]) -> VersionEdit {
    match VersionEdit::decode(bytes, NAME, 0) {
        Ok(edit) => edit,
        Err(error) => panic!("own edit is refused: {error}"),
    }
}

/// Reads `bytes` as edits, each behind its length in two bytes, and applies those that may be.
///
/// # Panics
/// When a state that edits led to is not one that a manifest could begin with, or when the versions
/// that were kept up to date differ from those built anew.
pub fn edits(bytes: &[u8]) {
    let mut catalog = Catalog::new_store();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (one, behind) = behind.split_at(length);
        rest = behind;
        if let Ok(edit) = VersionEdit::decode(one, NAME, 0)
            && apply(&mut catalog, &edit)
        {
            check_state(&catalog);
        }
    }
}

/// Does what the version set does with an edit, without the manifest.
fn apply(catalog: &mut Catalog, edit: &VersionEdit) -> bool {
    let before = catalog.snapshot().encode();
    let fits = catalog.check(edit);
    let Ok(versions) = fits.and_then(|()| catalog.versions_after(edit)) else {
        assert_eq!(catalog.snapshot().encode(), before, "an edit that was refused left a trace");
        return false;
    };
    let after = catalog.after(edit).snapshot().encode();
    let gone = catalog.commit(edit, 0);
    assert_eq!(catalog.snapshot().encode(), after, "two ways to the state after an edit");
    for table in gone.tables {
        assert!(!catalog.tables.contains_key(&table.number), "a table is gone and there");
    }
    for (id, version) in versions {
        if let Some(family) = catalog.families.get_mut(&id) {
            family.version = version;
        }
    }
    true
}

/// A state is one that a manifest can begin with, and its versions are those of its tables.
fn check_state(catalog: &Catalog) {
    let snapshot = catalog.snapshot();
    let mut again = Catalog::default();
    let read = decode(&snapshot.encode());
    if let Err(breach) = again.check(&read) {
        panic!("the state cannot be written: {}", breach.detail);
    }
    drop(again.commit(&read, 0));
    assert_eq!(again.snapshot().encode(), snapshot.encode(), "the state comes back otherwise");
    if let Err((_, breach)) = again.build_versions() {
        panic!("the state's versions cannot be built: {}", breach.detail);
    }
    for (id, family) in &catalog.families {
        let built = again.families.get(id).map(|family| shape(&family.version));
        assert_eq!(built, Some(shape(&family.version)), "the version of family {} differs", id.0);
    }
}

/// The tables of each level, in their order.
fn shape(version: &Version) -> Vec<Vec<FileNumber>> {
    let numbers = |level: &super::Level| level.tables().iter().map(|t| t.number).collect();
    version.levels().map(numbers).collect()
}

/// Reads `bytes` as a manifest that `CURRENT` names. The caller seals them, or not.
///
/// # Panics
/// When a state was read that could not be written, or an error is not one of damage.
pub fn manifest(bytes: &[u8]) {
    let env = MemEnv::new();
    let number = FileNumber(MANIFEST_NUMBER);
    env.set_file_bytes(FileId::Current, current::encode(number).into_bytes());
    env.set_file_bytes(FileId::Manifest(number), bytes.to_vec());
    let env: Arc<dyn Env> = Arc::new(env);
    let read: Result<Recovered> = read_store(&*env);
    match read {
        Ok(recovered) => {
            assert!(recovered.report.bytes <= bytes.len() as u64, "more counts than there is");
            if let Some(tail) = &recovered.report.torn_tail {
                assert_eq!(tail.offset + tail.bytes, bytes.len() as u64, "the tail is not the end");
            }
            check_state(&recovered.catalog);
        }
        Err(error) => assert_of_bytes(&error, NAME),
    }
}

/// An error is one that the bytes of `file` can cause.
fn assert_of_bytes(error: &Error, file: &str) {
    match error {
        Error::Corruption { file: found, .. } | Error::UnsupportedFormat { file: found, .. } => {
            assert_eq!(found, file, "the error names another file");
        }
        error => panic!("bytes cannot cause this: {error:?}"),
    }
}
