//! Versions against a brute-force model; edits and manifests against every damage, fault and crash
//! that the environments can make.

mod blobs;
mod damage;
mod edits;
mod failures;
mod lives;
mod manifests;
mod model;
mod rules;

use std::sync::Arc;

use super::*;
use crate::base::error::Result;
use crate::base::file::FileId;
use crate::base::key::{SeqNo, ValueKind, encode, pack_trailer};
use crate::batch::ColumnFamilyId;
use crate::env::{Env, MemEnv};
use crate::wal::tests::new_env;

const DEFAULT: ColumnFamilyId = ColumnFamilyId::DEFAULT;

fn internal_key(user_key: &[u8], seq: u64) -> Vec<u8> {
    encode(user_key, pack_trailer(SeqNo::new(seq), ValueKind::Put))
}

/// The facts of a table whose keys and sequence numbers lie between these, both included.
fn facts(number: u64, keys: (&[u8], &[u8]), seqs: (u64, u64)) -> TableFacts {
    TableFacts {
        number: FileNumber(number),
        bytes: 1000 + number,
        entries: 10,
        tombstones: 1,
        smallest: internal_key(keys.0, seqs.1),
        largest: internal_key(keys.1, seqs.0),
        smallest_seq: SeqNo::new(seqs.0),
        largest_seq: SeqNo::new(seqs.1),
        footer_checksum: number.wrapping_mul(0x0123_4567_89ab_cdef),
        ..TableFacts::default()
    }
}

/// A table of these keys, with sequence numbers that follow from its number.
fn table(number: u64, smallest: &str, largest: &str) -> Arc<TableMeta> {
    let keys = (smallest.as_bytes(), largest.as_bytes());
    Arc::new(TableMeta::new(facts(number, keys, (10 * number, 10 * number + 9))).unwrap())
}

fn create(env: &MemEnv) -> VersionSet {
    VersionSet::create(Arc::new(env.clone()), ObsoleteFiles::new()).unwrap()
}

fn recover(env: &MemEnv) -> Result<VersionSet> {
    VersionSet::recover(Arc::new(env.clone()), ObsoleteFiles::new())
}

/// An edit that adds these tables to the default family.
fn adding(tables: &[(usize, &Arc<TableMeta>)]) -> VersionEdit {
    let mut edit = VersionEdit::default();
    for (level, table) in tables {
        edit.add(DEFAULT, *level, Arc::clone(table));
    }
    edit
}

/// Adds a table of the set's next number.
fn add_next(set: &mut VersionSet, level: usize, smallest: &str, largest: &str) -> Result<()> {
    let table = table(set.new_file_number().0, smallest, largest);
    set.apply(adding(&[(level, &table)]))
}

/// The state for people and for comparing: one line a family and a table. Tables are told by their
/// keys, so that states of runs that gave out other numbers compare.
fn show(set: &VersionSet) -> String {
    let mut out = String::new();
    for family in set.families().values() {
        out += &format!("{} {:?}\n", family.id.0, family.name);
        for (level, tables) in family.version.levels().enumerate() {
            for table in tables.tables() {
                let (smallest, largest) = (table.smallest_user_key(), table.largest_user_key());
                let (smallest, largest) = (smallest.escape_ascii(), largest.escape_ascii());
                out += &format!("  level {level}: {smallest}..{largest}\n");
            }
        }
    }
    out
}

/// The manifest that the set writes to, or would.
fn manifest_of(set: &VersionSet) -> FileId {
    FileId::Manifest(set.manifest_number())
}

/// Whichever edits a level came by, it is what its tables make it, to its last row and sum.
pub(crate) fn check_edited(index: usize, level: &Level) {
    let fresh = Level::build(index, level.tables().to_vec()).unwrap();
    assert_eq!(format!("{:?}", level.runs()), format!("{:?}", fresh.runs()), "level {index}");
    if index == 0 {
        let (shared, fresh) = (level.windows(300, 1), fresh.windows(300, 1));
        assert_eq!(format!("{shared:?}"), format!("{fresh:?}"));
    }
    assert_eq!((level.sums(), level.digest()), (fresh.sums(), fresh.digest()), "level {index}");
}
