//! Plans that only drop tables, and what is installed between their picking and their end.

use super::*;
use crate::compaction::strategy::{Fifo, Strategy};
use crate::compaction::{Action, Compaction, Input, Reason, TablePlace, order};
use crate::db::jobs;
use crate::version::TableMeta;

fn plan(action: Action, tables: &[&Arc<TableMeta>]) -> Compaction {
    let input = |table: &&Arc<TableMeta>| Input { level: 0, tables: vec![Arc::clone(table)] };
    Compaction {
        reason: Reason::Manual,
        action,
        inputs: tables.iter().map(input).collect(),
        place: TablePlace { level: 0, depth: 0, bottom: false },
        table_bytes: 1 << 20,
        grandparents: Vec::new(),
        windows: None,
    }
}

/// A merge of two older tables, one before a newer one and one behind it, ends with one that lies
/// under that, by its bounds: without the newer one it would come to light.
#[test]
fn a_drop_is_given_up_where_something_older_has_come_under_it() {
    let mut options = small();
    options.column_family.strategy = Strategy::Tiered { ratio: 32 };
    let db = open(&MemEnv::new(), options);
    for keys in [["a", "b"], ["y", "z"], ["m", "n"]] {
        for key in keys {
            db.put(key, "value").unwrap();
        }
        db.flush().unwrap();
    }
    let family = Arc::clone(&db.core().families.all()[&crate::batch::ColumnFamilyId(0)]);
    let version = || Arc::clone(&family.peek().version);
    let of = |first: &[u8]| {
        let version = version();
        let found = version.tables().find(|table| table.smallest_user_key() == first);
        Arc::clone(found.unwrap())
    };
    let (low, high, middle) = (of(b"a"), of(b"y"), of(b"m"));
    let drop_middle = plan(Action::Drop, &[&middle]);
    assert!(order::may_drop(&version(), &drop_middle));
    assert!(jobs::compact(db.core(), &family, &plan(Action::Merge, &[&low, &high])).unwrap());
    assert!(!order::may_drop(&version(), &drop_middle));
    let dropped = || db.stats().counter("tables_dropped");
    assert!(!jobs::compact(db.core(), &family, &drop_middle).unwrap(), "given up, and no error");
    assert_eq!((db.scan(..).count(), dropped()), (6, 0));
    // With what lies under it there is nothing against it.
    let wide = of(b"a");
    assert!(jobs::compact(db.core(), &family, &plan(Action::Drop, &[&middle, &wide])).unwrap());
    assert_eq!((db.scan(..).count(), dropped()), (0, 2));
}

/// Damage in one table of a family that keeps so many bytes: it goes when its time has come, and
/// keeps nothing newer from going.
#[test]
fn a_damaged_table_outgrows_its_bound_like_any_other() {
    let env = MemEnv::new();
    let mut options = small();
    let bytes_max = 256 << 10;
    options.column_family.strategy = Strategy::Fifo(Fifo { bytes_max, age_max: None });
    let db = open(&env, options);
    fill(&db, 0..20, 0);
    db.flush().unwrap();
    let table = live_files(&env).into_iter().find(|f| matches!(f, FileId::Table(_))).unwrap();
    let mut bytes = env.file_bytes(table).unwrap();
    bytes[100] ^= 1;
    env.set_file_bytes(table, bytes);
    // Enough of the same keys for a merge of small tables, which finds the damage.
    for round in 0..400 {
        fill(&db, 0..if round < 40 { 20 } else { 100 }, round);
        // It is told once, and everything goes on.
        drop(db.flush());
    }
    assert!(!db.stats().recent_failures.is_empty(), "a merge found the damage");
    let tables = db.stats().families.iter().map(|family| family.levels[0].bytes).sum::<u64>();
    assert!(tables < 2 * bytes_max, "{tables} bytes");
    assert!(!live_files(&env).contains(&table));
    // A merge that found damage took its neighbours with it: all of them have gone since.
    assert_eq!(db.stats().error, None);
}

/// What a snapshot kept is garbage when that goes. Nobody writes, and nobody asks.
#[test]
fn the_space_of_a_snapshot_comes_back_in_an_idle_store() {
    let env = MemEnv::new();
    let db = open(&env, Options { background_threads: 2, ..small() });
    fill(&db, 0..2_000, 0);
    db.compact().unwrap();
    let snapshot = db.snapshot();
    fill(&db, 0..2_000, 1);
    db.compact().unwrap();
    let bytes = || {
        let levels = db.stats().families.into_iter().flat_map(|family| family.levels);
        levels.map(|level| level.bytes).sum::<u64>()
    };
    db.wait_idle().unwrap();
    let held = bytes();
    // The workers have gone to sleep by then.
    env.sleep(std::time::Duration::from_millis(100));
    drop(snapshot);
    while bytes() > held / 3 * 2 {
        env.pass_time(std::time::Duration::from_secs(1));
        std::thread::yield_now();
    }
}
