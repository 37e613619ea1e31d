//! When tables are rewritten for the garbage of their values.

use super::*;
use crate::base::blob::BlobShare;
use crate::base::event_time::EventTime;
use crate::compaction::WindowSplit;
use crate::compaction::blobs::pick_emptying;
use crate::version::BlobUsage;

const SPLIT: WindowSplit = WindowSplit { time: EventTime::big_endian_ms(0), window_ms: 1 };

fn with_values(number: u64, keys: (&str, &str), bytes: u64) -> Arc<TableMeta> {
    let facts: TableFacts = TableFacts::clone(&table(number, keys.0, keys.1, 100, 0));
    let blobs = vec![BlobShare { file: FileNumber(90), values: 1, bytes }];
    Arc::new(TableMeta::new(TableFacts { blobs, ..facts }).unwrap())
}

fn usage(sparse_garbage: u64) -> BlobUsage {
    let sparse = [FileNumber(90)].into_iter().collect();
    BlobUsage { files: 1, bytes: 2_000, needed: 800, sparse, sparse_garbage }
}

fn emptied(tables: &[(usize, Arc<TableMeta>)], usage: &BlobUsage) -> Option<Compaction> {
    let version = version(tables);
    pick_emptying(&view(&version, &Busy::new()), usage, 100, Some(SPLIT))
}

#[test]
fn the_table_that_needs_most_of_sparse_files_goes_first() {
    let tables = [
        (0, with_values(1, ("a", "z"), 100)),
        (6, with_values(2, ("a", "m"), 400)),
        (6, with_values(3, ("n", "z"), 300)),
    ];
    let plan = emptied(&tables, &usage(1_000)).expect("much garbage");
    assert_eq!((taken(&plan, 6), taken(&plan, 0)), (vec![2], vec![]));
    assert!(emptied(&tables, &usage(100)).is_none(), "little garbage");
}

/// What leveled compaction left in a deep level is one sorted run, and stays one: tables of it that
/// were split by the windows of their keys overlapped, and no edit takes those.
#[test]
fn only_tables_of_level_0_are_split_by_window() {
    for (level, splits) in [(0, true), (1, false), (6, false)] {
        let plan = emptied(&[(level, with_values(1, ("a", "z"), 400))], &usage(1_000));
        let plan = plan.expect("much garbage");
        assert_eq!((plan.place.level, plan.windows.is_some()), (level, splits));
    }
}
