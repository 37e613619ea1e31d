//! Workloads about values that stand apart from their keys: left in the log, written to blob files,
//! moved out of sparse ones, and gone.

use alluvium::{Durability, Options};

use super::{SECOND, Script, Workload};
use crate::operation::{DEFAULT_FAMILY, Operation};

/// Values from 100 bytes on stand apart.
fn apart(options: &mut Options) {
    options.column_family.blob_bytes_min = Some(100);
}

impl Script {
    /// A batch of small values, and a large one: no log of such is mostly large values.
    fn large_among_small(self, key: &str, durability: Durability) -> Script {
        let small: Vec<String> = (0..8).map(|index| format!("small{index}")).collect();
        let small: Vec<_> = small.iter().map(|key| (DEFAULT_FAMILY, &key[..])).collect();
        self.write(&small, 90, Durability::Os).write(&[(DEFAULT_FAMILY, key)], 200, durability)
    }
}

pub(super) fn blob_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let keys = ["a", "b", "c", "d"];
    let both = [(DEFAULT_FAMILY, "a"), (SECOND, "a")];
    vec![
        script()
            .puts(&keys, 900, os)
            .flush()
            .puts(&["a"], 900, disk)
            .flush()
            .delete(&[(DEFAULT_FAMILY, "b")], os)
            .compact()
            .named("values that stay in the log")
            .with(apart),
        script()
            .puts(&keys, 900, os)
            .flush()
            .then(Operation::DropAndReopen)
            .puts(&["c"], 900, os)
            .flush()
            .named("values that stay in the log of an earlier life")
            .with(apart)
            .left_open(),
        script()
            .large_among_small("a", os)
            .flush()
            .large_among_small("b", disk)
            .flush()
            .compact()
            .named("values in blob files")
            .with(apart),
        script()
            .puts(&keys, 900, os)
            .flush()
            .puts(&keys[1..], 900, os)
            .flush()
            .compact()
            .then(Operation::CheckAll)
            .delete(&[(DEFAULT_FAMILY, "a")], disk)
            .compact()
            .named("a sparse blob file is emptied")
            .with(apart),
        script()
            .create(SECOND)
            .write(&both, 900, os)
            .flush_one(SECOND)
            .write(&both[..1], 900, disk)
            .flush_one(DEFAULT_FAMILY)
            .then(Operation::DropFamily { name: SECOND.to_owned() })
            .puts(&["b"], 10, disk)
            .named("two families lead to one log")
            .with(apart),
        script()
            .puts(&keys, 900, os)
            .puts(&keys, 900, disk)
            .puts(&keys, 900, os)
            .flush()
            .compact()
            .named("values that stand apart, two workers")
            .with(|options| {
                apart(options);
                options.background_threads = 2;
                options.column_family.memtable_bytes = 1 << 10;
                options.column_family.level0_tables_compact = 2;
            }),
    ]
}
