//! Plans that only drop tables, and what is installed between their picking and their end.

use super::*;
use crate::compaction::strategy::Strategy;
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
