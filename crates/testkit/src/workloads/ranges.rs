//! Workloads about range deletes: in the log, in tables that hold nothing else, through levels.

use alluvium::Durability;

use super::{Script, Workload};
use crate::operation::{Change, DEFAULT_FAMILY, Operation};

impl Script {
    fn delete_range(mut self, start: &str, end: &str, durability: Durability) -> Script {
        let change = Change {
            family: DEFAULT_FAMILY.to_owned(),
            key: start.as_bytes().to_vec(),
            value: None,
            end: Some(end.as_bytes().to_vec()),
        };
        self.run.push(Operation::Write { changes: vec![change], durability });
        self
    }
}

pub(super) fn range_workloads() -> Vec<Workload> {
    let (disk, os) = (Durability::Disk, Durability::Os);
    let script = Script::default;
    let keys = ["a", "b", "c", "d", "e", "f"];
    vec![
        script()
            .puts(&keys, 10, disk)
            .delete_range("b", "d", disk)
            .puts(&["c"], 10, os)
            .delete_range("e", "z", os)
            .named("range deletes in the log")
            .left_open(),
        script()
            .delete_range("a", "b", disk)
            .flush()
            .delete_range("b", "c", os)
            .named("tables of range deletes alone"),
        script()
            .puts(&keys, 200, disk)
            .flush()
            .delete_range("b", "e", disk)
            .then(Operation::Snapshot { slot: 0 })
            .puts(&["c"], 200, disk)
            .delete_range("a", "d", disk)
            .flush()
            .compact()
            .then(Operation::Release { slot: 0 })
            .compact()
            .named("range deletes through levels"),
    ]
}
