//! Commit, publishing, snapshots and super versions in every order (docs/testing.md, "Schedules").

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::file::FileNumber;
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo, ValueKind, encode, pack_trailer};
use crate::base::sync::{Mutex, explore, thread};
use crate::batch::{BatchBuffer, ColumnFamilyId};
use crate::compaction::retain::{Now, Retain, Verdict};
use crate::db::commit::{CommitQueue, Request};
use crate::db::core::Visible;
use crate::db::family::Family;
use crate::db::snapshot_list::SnapshotList;
use crate::db::super_version::{FlushReason, SuperVersion};
use crate::memtable::{ChunkPool, Memtable};
use crate::options::{ColumnFamilyOptions, Durability};
use crate::version::{TableFacts, TableMeta, Version};

const DEFAULT: ColumnFamilyId = ColumnFamilyId::DEFAULT;

fn request(keys: &[&[u8]]) -> Request {
    let mut batch = BatchBuffer::new();
    for key in keys {
        batch.put(DEFAULT, key, b"v");
    }
    Request { batch, durability: Durability::Os, logged_at: 0 }
}

/// The user keys and sequence numbers up to `seq`.
fn entries(memtable: &Arc<Memtable>, seq: SeqNo) -> Vec<(Vec<u8>, SeqNo)> {
    let mut found = Vec::new();
    let mut iterator = memtable.iter();
    iterator.seek_to_first().unwrap();
    while iterator.valid() {
        let (user_key, trailer) = key::split(iterator.key());
        let at = key::trailer_seq(trailer);
        if at <= seq {
            found.push((user_key.to_vec(), at));
        }
        iterator.next().unwrap();
    }
    found
}

/// What a commit leader does between the log and its followers' answers.
struct Store {
    queue: CommitQueue,
    log: Mutex<SeqNo>,
    memtable: Arc<Memtable>,
    visible: Visible,
}

impl Store {
    fn new() -> Arc<Store> {
        Arc::new(Store {
            queue: CommitQueue::default(),
            log: Mutex::new(SeqNo::ZERO),
            memtable: Arc::new(Memtable::new()),
            visible: Visible::new(SeqNo::ZERO),
        })
    }

    fn write(&self, keys: &[&[u8]]) -> Result<()> {
        self.queue.commit(request(keys), |group| {
            let mut last = self.log.lock();
            let mut writer = self.memtable.writer();
            for operation in group.iter().flat_map(|one| one.batch.operations()).flatten() {
                *last = last.plus(1);
                writer.insert(*last, operation.kind, operation.key, operation.value);
            }
            drop(writer);
            self.visible.publish(*last);
            Ok(())
        })
    }
}

#[test]
fn loom_a_batch_is_seen_whole_and_without_gaps() {
    explore("commit: two writers and a reader", 2, || {
        let store = Store::new();
        let writers = [[b"a1".as_slice(), b"a2"], [b"b1", b"b2"]].map(|keys| {
            let store = Arc::clone(&store);
            thread::spawn(move || store.write(&keys).unwrap())
        });
        let reader = thread::spawn({
            let store = Arc::clone(&store);
            move || {
                let seq = store.visible.get();
                let seen = entries(&store.memtable, seq);
                assert_eq!(seen.len() as u64, seq.get(), "a gap below the visible number");
                let has = |key: &[u8]| seen.iter().any(|(found, _)| found == key);
                assert!(has(b"a1") == has(b"a2") && has(b"b1") == has(b"b2"), "half of a batch");
                assert!(store.visible.get() >= seq);
            }
        });
        for thread in writers.into_iter().chain([reader]) {
            thread.join().unwrap();
        }
        assert_eq!(store.visible.get(), SeqNo::new(4));
    });
}

#[test]
fn loom_two_groups_never_run_at_once() {
    explore("commit: three writers", 3, || {
        let queue = Arc::new(CommitQueue::default());
        let running = Arc::new(Mutex::new(false));
        let committed = Arc::new(Mutex::new(0));
        let writers = [1, 2, 3].map(|_| {
            let (queue, running, committed) = (queue.clone(), running.clone(), committed.clone());
            thread::spawn(move || {
                let run = |group: &mut [Request]| {
                    assert!(!std::mem::replace(&mut *running.lock(), true), "two leaders");
                    *committed.lock() += group.len();
                    *running.lock() = false;
                    Ok(())
                };
                queue.commit(request(&[b"k"]), run).unwrap();
            })
        });
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(*committed.lock(), 3, "each write once");
    });
}

/// facebook/rocksdb#3096: a leader that failed once told its followers that all was well.
#[test]
fn loom_reg_w10_every_writer_of_a_group_gets_its_leaders_answer() {
    explore("commit: a group that fails", 2, || {
        let queue = Arc::new(CommitQueue::default());
        let failed: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let write = |name: &'static [u8]| {
            let (queue, failed) = (Arc::clone(&queue), Arc::clone(&failed));
            thread::spawn(move || {
                let result = queue.commit(request(&[name]), |group| {
                    let all = group.iter().flat_map(|one| one.batch.operations()).flatten();
                    let names: Vec<Vec<u8>> = all.map(|one| one.key.to_vec()).collect();
                    if !names.contains(&b"bad".to_vec()) {
                        return Ok(());
                    }
                    failed.lock().extend(names);
                    Err(Error::Closed)
                });
                (name, result.is_err())
            })
        };
        let writers = [write(b"bad"), write(b"one"), write(b"two")];
        let answers: Vec<(&[u8], bool)> = writers.map(|one| one.join().unwrap()).to_vec();
        let failed = failed.lock();
        for (name, refused) in answers {
            assert_eq!(failed.iter().any(|key| key == name), refused, "{name:?}");
        }
    });
}

#[test]
fn loom_a_leader_that_panics_leaves_nobody_waiting() {
    explore("commit: a leader that panics", 2, || {
        let queue = Arc::new(CommitQueue::default());
        let write = |planned: bool| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let run = AssertUnwindSafe(|| {
                    queue.commit(request(&[b"k"]), |_| {
                        if planned {
                            std::panic::resume_unwind(Box::new("planned"))
                        } else {
                            Ok(())
                        }
                    })
                });
                catch_unwind(run).map_or(planned, |result| {
                    planned
                        || result.is_ok()
                        || result.is_err_and(|error| matches!(error, Error::Panicked { .. }))
                })
            })
        };
        for writer in [write(true), write(false), write(false)] {
            assert!(writer.join().unwrap());
        }
    });
}

/// cockroachdb/pebble#751, facebook/rocksdb#9648: a compaction dropped what a snapshot that was
/// just being taken could see.
#[test]
fn loom_reg_c_a_snapshot_never_loses_what_it_sees() {
    explore("snapshots: take, write and compact", 3, || {
        let store = Store::new();
        store.write(&[b"k"]).unwrap();
        let list = Arc::new(SnapshotList::default());

        let writer = thread::spawn({
            let store = Arc::clone(&store);
            move || store.write(&[b"k"]).unwrap()
        });
        let compaction = thread::spawn({
            let (store, list) = (Arc::clone(&store), Arc::clone(&list));
            move || {
                // A memtable is closed under the log's lock: all in it is published.
                let inputs = {
                    let last = store.log.lock();
                    entries(&store.memtable, *last)
                };
                let mut retain = Retain::new(list.sequences(), Now::UNKNOWN);
                let goes = |(key, seq): &&(Vec<u8>, SeqNo)| {
                    retain.judge(key, *seq, ValueKind::Put, b"", || false) == Verdict::Drop
                };
                inputs.iter().filter(goes).map(|(_, seq)| *seq).collect::<Vec<_>>()
            }
        });
        let seq = list.acquire(|| store.visible.get());
        let dropped = compaction.join().unwrap();
        writer.join().unwrap();
        let newest = entries(&store.memtable, seq).into_iter().map(|(_, seq)| seq).max();
        let newest = newest.expect("the first write was there before the snapshot");
        assert!(!dropped.contains(&newest), "the version at {newest:?} is gone");
    });
}

/// The version that a flush of the family's first memtable makes.
fn flushed() -> Arc<Version> {
    let seq = SeqNo::new(1);
    let bound = encode(b"k", pack_trailer(seq, ValueKind::Put));
    let facts = TableFacts {
        number: FileNumber(20),
        bytes: 100,
        entries: 1,
        tombstones: 0,
        smallest: bound.clone(),
        largest: bound,
        smallest_seq: seq,
        largest_seq: seq,
        footer_checksum: 0,
        ..TableFacts::default()
    };
    let table = Arc::new(TableMeta::new(facts).unwrap());
    Arc::new(Version::empty().apply(&[(0, table)], &[]).unwrap())
}

/// The sequence numbers that a reader of `current` finds, each with where.
fn found(current: &SuperVersion, seq: SeqNo) -> BTreeMap<SeqNo, usize> {
    let immutables = current.immutables.iter().map(|one| &one.memtable);
    let memtables = std::iter::once(&current.active).chain(immutables);
    let mut found = BTreeMap::new();
    for (_, at) in memtables.flat_map(|memtable| entries(memtable, seq)) {
        *found.entry(at).or_default() += 1;
    }
    for table in current.version.tables() {
        *found.entry(table.largest_seq).or_default() += 1;
    }
    found
}

fn look_twice(family: &Family, visible: &Visible) {
    let first = family.load();
    let seq = visible.get();
    let seen = found(&first, seq);
    assert_eq!(seen.values().copied().max(), Some(1), "an entry is there twice");
    assert!(seen.contains_key(&SeqNo::new(1)));
    let second = family.load();
    assert!(found(&second, seq).len() >= seen.len(), "a later look sees less");
    assert!(second.version.tables().count() >= first.version.tables().count());
}

#[test]
fn loom_a_super_version_holds_everything_once_and_never_goes_back() {
    explore("super versions: rotate, install and read", 3, || {
        let pool = Arc::new(ChunkPool::new(0));
        let options = ColumnFamilyOptions::default();
        let (log, version) = (FileNumber(1), Arc::new(Version::empty()));
        let family = Family::new(DEFAULT, "default".to_owned(), options, version, log, pool);
        let family = Arc::new(family);
        let put = |family: &Family, seq: u64| {
            let current = family.load();
            current.active.writer().insert(SeqNo::new(seq), ValueKind::Put, b"k", b"v");
        };
        put(&family, 1);
        family.rotate(FileNumber(2), SeqNo::new(1), FlushReason::Asked);
        let visible = Arc::new(Visible::new(SeqNo::new(1)));

        let writer = thread::spawn({
            let (family, visible) = (Arc::clone(&family), Arc::clone(&visible));
            move || {
                put(&family, 2);
                family.rotate(FileNumber(3), SeqNo::new(2), FlushReason::Asked);
                visible.publish(SeqNo::new(2));
            }
        });
        let flush = thread::spawn({
            let family = Arc::clone(&family);
            move || {
                let current = family.load();
                let oldest = current.immutables.last().cloned().unwrap();
                family.install(flushed(), &[oldest]);
            }
        });
        let reader = thread::spawn({
            let (family, visible) = (Arc::clone(&family), Arc::clone(&visible));
            move || look_twice(&family, &visible)
        });
        for thread in [writer, flush, reader] {
            thread.join().unwrap();
        }
        let last = found(&family.load(), visible.get());
        assert_eq!(last, BTreeMap::from([(SeqNo::new(1), 1), (SeqNo::new(2), 1)]));
    });
}
