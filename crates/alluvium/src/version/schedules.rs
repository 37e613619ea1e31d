//! When a table's file goes, in every order of those who hold it (docs/testing.md, "Schedules").

use std::collections::BTreeMap;

use super::*;
use crate::base::file::FileId;
use crate::base::key::{SeqNo, ValueKind, encode, pack_trailer};
use crate::base::sync::{ArcSwap, Mutex, explore, thread};

/// The files that are there, and how often each was removed.
#[derive(Default)]
struct Files(Mutex<BTreeMap<FileNumber, u32>>);

impl Files {
    fn holds(&self, version: &Version) -> bool {
        let removed = self.0.lock();
        version.tables().all(|table| !removed.contains_key(&table.number))
    }

    fn purge(&self, obsolete: &ObsoleteFiles) {
        for number in obsolete.take().into_iter().filter_map(FileId::number) {
            *self.0.lock().entry(number).or_default() += 1;
        }
    }
}

fn table(number: u64) -> Arc<TableMeta> {
    let seq = SeqNo::new(number);
    let bound = encode(b"k", pack_trailer(seq, ValueKind::Put));
    Arc::new(
        TableMeta::new(TableFacts {
            number: FileNumber(number),
            bytes: 100,
            entries: 1,
            tombstones: 0,
            smallest: bound.clone(),
            largest: bound,
            smallest_seq: seq,
            largest_seq: seq,
            footer_checksum: 0,
            ..TableFacts::default()
        })
        .unwrap(),
    )
}

/// facebook/rocksdb#782: a file that was in use was removed.
#[test]
fn loom_reg_a_file_goes_once_and_when_nobody_holds_it() {
    explore("files: read, replace and purge", 3, || {
        let obsolete = ObsoleteFiles::new();
        let files = Arc::new(Files::default());
        let old = Version::empty().apply(&[(1, table(20))], &[]).unwrap();
        let current = Arc::new(ArcSwap::from_pointee(old));

        let (swapped, queue, disk) = (current.clone(), obsolete.clone(), files.clone());
        let compaction = thread::spawn(move || {
            let version = swapped.load_full();
            let gone = Arc::clone(&version.level(1).tables()[0]);
            let next = version.apply(&[(1, table(21))], &[(1, FileNumber(20))]).unwrap();
            drop(version);
            gone.mark_obsolete(&queue);
            drop(gone);
            swapped.store(Arc::new(next));
            disk.purge(&queue);
        });
        let (swapped, queue, disk) = (current.clone(), obsolete.clone(), files.clone());
        let reader = thread::spawn(move || {
            let version = swapped.load_full();
            assert!(disk.holds(&version), "a table that was just loaded is gone");
            assert!(disk.holds(&version), "a table that is held went");
            drop(version);
            disk.purge(&queue);
        });
        compaction.join().unwrap();
        reader.join().unwrap();
        files.purge(&obsolete);
        assert_eq!(*files.0.lock(), BTreeMap::from([(FileNumber(20), 1)]));
        drop(current);
        assert!(!obsolete.has_any(), "a table that a version names is obsolete");
    });
}
