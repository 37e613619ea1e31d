//! Level 0 gathers while nobody reads, and goes down for those who do.

use super::*;

/// Keys that are overwritten: tables of level 0 all meet.
const KEYS: u32 = 2_000;

fn options() -> Options {
    let mut options = small();
    options.column_family.level1_bytes = 64 << 10;
    options
}

fn due() -> usize {
    options().column_family.level0_tables_compact
}

fn runs(db: &Db) -> usize {
    db.stats().families[0].levels[0].runs
}

/// Overwrites keys up and down the whole range. Gives the most runs that level 0 ever held.
fn overwrite(db: &Db, mut after_each: impl FnMut()) -> usize {
    let mut most = 0;
    for index in 0..4 * KEYS {
        let index = index * 389 % KEYS;
        fill(db, index..index + 1, 0);
        after_each();
        most = most.max(runs(db));
    }
    most
}

/// Overwrites until level 0 holds more runs than are due where somebody reads.
fn gather(db: &Db) {
    let found = (0..100 * KEYS).any(|index| {
        let index = index * 389 % KEYS;
        fill(db, index..index + 1, 0);
        runs(db) > due() + 2
    });
    assert!(found, "level 0 never held more than {} runs", due() + 2);
}

#[test]
fn level0_gathers_while_nobody_reads_and_writers_are_not_slowed() {
    let db = open(&MemEnv::new(), options());
    let most = overwrite(&db, || {});
    let slowed = options().column_family.level0_tables_slowdown;
    assert!((2 * due()..=slowed / 2).contains(&most), "{most} runs");
}

#[test]
fn level0_goes_down_with_the_first_job_after_reads() {
    let db = open(&MemEnv::new(), options());
    fill(&db, 0..KEYS, 0);
    gather(&db);
    let before = runs(&db);
    // A flush holds hundreds of entries; these are more than a sixteenth of that.
    for index in 0..200 {
        assert_eq!(db.get(key(index)).unwrap().as_deref(), Some(&value(index, 0)[..]));
    }
    assert_eq!(runs(&db), before, "nothing has run yet");
    // Jobs are chosen behind each write, and this one fills no memtable.
    fill(&db, 0..1, 0);
    assert!(runs(&db) < due(), "{} runs", runs(&db));
}

#[test]
fn reads_keep_level0_lean() {
    let db = open(&MemEnv::new(), options());
    fill(&db, 0..KEYS, 0);
    db.wait_idle().unwrap();
    let most = overwrite(&db, || assert_eq!(db.scan(..).take(2).count(), 2));
    assert!(most <= due(), "{most} runs");
}

#[test]
fn whoever_waits_for_all_work_finds_level0_lean() {
    let db = open(&MemEnv::new(), options());
    gather(&db);
    db.wait_idle().unwrap();
    assert!(runs(&db) < due(), "{} runs", runs(&db));
}
