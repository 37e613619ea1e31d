//! What listeners hear, in which state of the store, and what the history makes of it.

use std::sync::{Arc, Mutex, OnceLock};

use crate::base::error::Error;
use crate::base::file::FileId;
use crate::db::Db;
use crate::db::events::history::{ENTRIES_MAX, History};
use crate::env::{Fault, FaultEnv, FaultRule, FileKind, MemEnv, Operation, When};
use crate::metrics::{
    Event, EventListener, Listeners, StallCause, Stalled, TableInfo, TablesMoved,
};
use crate::options::{ColumnFamilyOptions, Options};

/// Keeps what it hears.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<Event>>,
    /// A store to read from while it hears.
    db: OnceLock<Db>,
}

impl EventListener for Ear {
    fn on_event(&self, event: &Event) {
        if let Some(db) = self.db.get() {
            // Any lock of the engine that was held here would be taken a second time.
            db.get("key00001").unwrap();
            assert!(db.scan("key"..).take(9).all(|entry| entry.is_ok()));
            drop((db.stats(), db.history(), db.snapshot()));
            drop((db.core().versions.lock(), db.core().wal.lock()));
        }
        self.heard.lock().unwrap().push(event.clone());
    }
}

impl Ear {
    fn kinds(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .map(|event| format!("{event:?}").split(['(', ' ']).next().unwrap().into())
            .collect()
    }

    fn has_in(&self, heard: &[Event], reason: &str) -> bool {
        heard
            .iter()
            .any(|event| matches!(event, Event::StallEnded(s) if s.reason.starts_with(reason)))
    }

    fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.heard.lock().unwrap().iter().any(wanted)
    }
}

fn options(listener: &Arc<Ear>, threads: usize) -> Options {
    Options {
        background_threads: threads,
        listeners: Listeners::from(Arc::clone(listener)),
        column_family: ColumnFamilyOptions {
            memtable_bytes: 8 << 10,
            table_bytes: 4 << 10,
            level1_bytes: 16 << 10,
            level0_tables_compact: 2,
            ..ColumnFamilyOptions::default()
        },
        ..Options::default()
    }
}

fn fill(db: &Db, keys: std::ops::Range<u32>) {
    for key in keys {
        db.put(format!("key{key:05}"), [7; 100]).unwrap();
    }
}

#[test]
fn a_listener_hears_of_everything_and_may_read_the_store_meanwhile() {
    for threads in [0, 2] {
        let ear = Arc::new(Ear::default());
        let db = Db::open_env(Arc::new(MemEnv::new()), options(&ear, threads)).unwrap();
        assert!(ear.db.set(db.clone()).is_ok());
        fill(&db, 0..200);
        fill(&db, 0..200);
        db.create_column_family("other", ColumnFamilyOptions::default()).unwrap();
        db.drop_column_family("other").unwrap();
        db.compact().unwrap();
        db.close().unwrap();

        let kinds = ear.kinds();
        assert_eq!(kinds.last().unwrap(), "Closed");
        for kind in ["Opened", "FlushBegun", "FlushEnded", "CompactionBegun", "CompactionEnded"] {
            assert!(kinds.iter().any(|known| known == kind), "{kind} of {kinds:?}");
        }
        let heard = ear.heard.lock().unwrap().clone();
        for event in &*heard {
            match event {
                Event::FlushEnded(flush) => {
                    assert!(
                        flush.error.is_none() && !flush.outputs.is_empty() && flush.entries_in > 0
                    );
                    let begun =
                        |one: &Event| matches!(one, Event::FlushBegun(b) if *b == flush.begun);
                    assert!(heard.iter().any(begun), "{flush:?}");
                }
                Event::CompactionEnded(ended) => {
                    assert!(ended.begun.input_bytes() > 0 && ended.begun.reason.len() > 5);
                    assert!(
                        ended
                            .begun
                            .inputs
                            .iter()
                            .all(|table| table.level <= ended.begun.output_level)
                    );
                    let entries: u64 = ended.begun.inputs.iter().map(|table| table.entries).sum();
                    assert_eq!(ended.entries_in, entries);
                }
                _ => {}
            }
        }
        let created = |event: &&Event| matches!(event, Event::FileCreated { file: FileId::Wal(_) });
        assert!(heard.iter().filter(created).count() > 2);
        let removed =
            |event: &&Event| matches!(event, Event::FileDeleted { file: FileId::Table(_) });
        assert!(heard.iter().filter(removed).count() > 2);
    }
}

#[test]
fn failures_are_told_and_a_listener_that_panics_is_left_alone() {
    struct Panics;
    impl EventListener for Panics {
        fn on_event(&self, event: &Event) {
            assert!(!matches!(event, Event::FlushEnded(_)), "a listener's own mistake");
        }
    }
    let ear = Arc::new(Ear::default());
    let env = FaultEnv::new(Arc::new(MemEnv::new()));
    let mut options = options(&ear, 0);
    options.listeners = Listeners::from(Arc::new(Panics)).with(ear.clone());
    let db = Db::open_env(Arc::new(env.clone()), options).unwrap();
    db.put("a", "1").unwrap();
    let rule = FaultRule::new(&[Operation::Create], When::Nth(1), Fault::Io).on(FileKind::Table);
    env.add(rule);
    db.flush().unwrap_err();
    db.flush().unwrap();
    db.flush().unwrap();
    assert_eq!(db.stats().counter("listener_panics"), 1);
    let failed = |event: &Event| match event {
        Event::BackgroundError { job, error } => {
            job == "flush of default" && matches!(error, Error::Io { .. })
        }
        _ => false,
    };
    assert!(ear.has(failed));
    let ended = |event: &Event| matches!(event, Event::FlushEnded(flush) if flush.error.is_some());
    assert!(ear.has(ended));
    assert!(ear.has(|event| matches!(event, Event::ListenerPanicked { listener: 0, .. })));
    let rule = FaultRule::new(&[Operation::Sync], When::Nth(1), Fault::Io).on(FileKind::Wal);
    env.add(rule);
    db.put("b", "2").unwrap_err();
    assert!(ear.has(|event| matches!(event, Event::WritesStopped { .. })));
    let texts: Vec<String> = db.history().into_iter().map(|entry| entry.text).collect();
    for part in
        ["flush of default failed: ", "listener 0 panicked and is not called", "writes are stopped"]
    {
        assert!(texts.iter().any(|text| text.starts_with(part)), "{part} in {texts:#?}");
    }
}

#[test]
fn a_write_that_waits_is_one_stall_with_its_cause() {
    let ear = Arc::new(Ear::default());
    let mut options = options(&ear, 0);
    options.column_family.memtables_max = 1;
    options.column_family.memtable_bytes = 4 << 10;
    let db = Db::open_env(Arc::new(MemEnv::new()), options).unwrap();
    let pause = db.pause_background();
    let begun = |event: &Event| matches!(event, Event::StallBegun(_));
    std::thread::scope(|scope| {
        // One memtable waits for its flush, the next is full, and the write behind them waits.
        let writer = scope.spawn(|| {
            for round in 0..200u32 {
                db.put(round.to_be_bytes(), [7; 100]).unwrap();
            }
        });
        while db.stats().counter("stalls") == 0 {
            std::thread::yield_now();
        }
        pause.resume();
        writer.join().unwrap();
    });
    let stats = db.stats();
    let heard = ear.heard.lock().unwrap().clone();
    let ended = |event: &&Event| matches!(event, Event::StallEnded(_));
    let ends = heard.iter().filter(ended).count();
    assert_eq!(heard.iter().filter(|event| begun(event)).count(), ends);
    assert!(ends >= 1);
    assert!(ear.has_in(&heard, "1 memtable of default waited to be flushed, as many as may"));
    let at_fences = stats.stalls.iter().filter(|stall| stall.cause == "memtables");
    assert_eq!(at_fences.map(|stall| stall.count).sum::<u64>() as usize, ends);
}

fn stall(cause: StallCause, micros: u64, reason: &str) -> Event {
    Event::StallEnded(Stalled { cause, reason: reason.to_owned(), micros })
}

fn moved(number: u64) -> Event {
    Event::TablesMoved(TablesMoved {
        family: "default".to_owned(),
        reason: "level 1 held much".to_owned(),
        tables: vec![TableInfo { number, level: 1, bytes: 1 << 20, entries: 9 }],
        output_level: 2,
    })
}

#[test]
fn swarms_are_gathered_and_the_oldest_goes() {
    let mut history = History::default();
    let push = |history: &mut History, at: u64, event: Event| {
        let text = super::words::of(&event).unwrap();
        history.push(at, &event, text);
    };
    push(&mut history, 10, stall(StallCause::Level0Slowdown, 1_000, "first"));
    push(&mut history, 20, moved(1));
    push(&mut history, 30, stall(StallCause::Level0Slowdown, 5_000, "second"));
    push(&mut history, 40, stall(StallCause::Level0Slowdown, 2_000, "third"));
    push(&mut history, 50, moved(2));
    push(&mut history, 60, stall(StallCause::Memtables, 3_000, "fourth"));
    push(&mut history, 9_000, stall(StallCause::Memtables, 4_000, "fifth"));
    let texts: Vec<(u64, u64, String)> = history
        .entries()
        .into_iter()
        .map(|entry| (entry.number, entry.unix_ms, entry.text))
        .collect();
    let expected = [
        (1, 40, "3 writes waited 8.0 ms in all, the longest 5.0 ms, because second"),
        (
            2,
            50,
            "2 tables of default, 2.0 MiB, moved from level 1 to 2 without a rewrite, the last \
             because level 1 held much",
        ),
        (3, 60, "a write waited 3.0 ms because fourth"),
        (4, 9_000, "a write waited 4.0 ms because fifth"),
    ];
    assert_eq!(texts, expected.map(|(number, at, text)| (number, at, text.to_owned())));

    for at in 0..2 * ENTRIES_MAX as u64 {
        push(&mut history, 10_000 * at, Event::Closed);
    }
    let entries = history.entries();
    assert_eq!((entries.len(), entries[0].number), (ENTRIES_MAX, 4 + ENTRIES_MAX as u64 + 1));

    let mut next = History::default();
    push(&mut next, 1, Event::Closed);
    next.inherit(entries);
    push(&mut next, 2, Event::Closed);
    let numbers: Vec<u64> =
        next.entries().into_iter().rev().map(|entry| entry.number).take(3).collect();
    let last = 4 + 2 * ENTRIES_MAX as u64;
    assert_eq!(numbers, [last + 2, last + 1, last]);
}
