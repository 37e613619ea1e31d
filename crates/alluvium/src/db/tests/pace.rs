//! Limits, pauses and shared compactions, through the handle.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::metrics::{Event, EventListener, Listeners};
use crate::options::RateLimit;

/// Options under which a manual compaction is cut into several parts.
fn shared() -> Options {
    Options { background_threads: 4, ..small() }
}

/// The same, and level 0 stays as it is until it is asked for.
fn shared_when_asked() -> Options {
    let mut options = shared();
    options.column_family.level0_tables_compact = 100;
    options.column_family.level0_tables_slowdown = 200;
    options.column_family.level0_tables_stop = 300;
    options.column_family.level1_bytes = 1 << 30;
    options
}

fn table_files(env: &MemEnv) -> usize {
    live_files(env).iter().filter(|file| matches!(file, FileId::Table(_))).count()
}

fn tables(db: &Db) -> usize {
    db.stats().families[0].levels.iter().map(|level| level.tables).sum()
}

fn check_round(db: &Db, round: u32) {
    for index in 0..400 {
        assert_eq!(db.get(key(index)).unwrap().as_deref(), Some(&value(index, round)[..]));
    }
    assert_eq!(db.scan(..).count(), 400);
}

/// Waits until no table is left that no version names: whoever helped lets go of them last.
fn wait_for_removals(db: &Db, env: &MemEnv) {
    for _ in 0..10_000 {
        db.wait_idle().unwrap();
        if table_files(env) == tables(db) {
            return;
        }
        env.sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} files of {} tables", table_files(env), tables(db));
}

/// Writes every key twice: once into deeper levels, once above them.
fn prepared(db: &Db) {
    fill(db, 0..400, 0);
    db.compact().unwrap();
    fill(db, 0..400, 1);
}

#[test]
fn a_compaction_that_is_shared_out_keeps_everything() {
    let env = MemEnv::new();
    let db = open(&env, shared_when_asked());
    prepared(&db);
    let before = db.stats().counter("compaction_parts");
    db.compact().unwrap();
    let stats = db.stats();
    assert!(stats.counter("compaction_parts") > before, "nothing was shared: {stats}");
    check_round(&db, 1);
    assert_eq!(stats.families[0].levels.iter().map(|level| level.entries).sum::<u64>(), 400);
    wait_for_removals(&db, &env);
    db.close().unwrap();
    check_round(&open(&env, small()), 1);
}

#[test]
fn one_part_that_fails_undoes_all_of_them() {
    let env = MemEnv::new();
    let faults = Arc::new(FaultEnv::new(Arc::new(env.clone())));
    let options = shared_when_asked();
    let db = Db::open_env(faults.clone(), options).unwrap();
    prepared(&db);
    for nth in [1, 2, 3] {
        fill(&db, 0..400, 1);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        let fails = FaultRule::new(&[Operation::Create], When::Nth(nth), Fault::Io);
        let rule = faults.add(fails.on(FileKind::Table));
        let injected = faults.injected();
        let failed = db.compact().is_err();
        assert_eq!(failed, faults.injected() > injected, "a fault was hidden");
        assert!(failed || nth > 1, "nothing was written");
        faults.remove_rule(rule);
        check_round(&db, 1);
    }
    db.compact().unwrap();
    db.wait_idle().unwrap();
    check_round(&db, 1);
    wait_for_removals(&db, &env);
}

#[test]
fn nothing_begins_while_paused() {
    for threads in [0, 1, 3] {
        let env = MemEnv::new();
        let mut options = Options { background_threads: threads, ..small() };
        options.column_family.memtables_max = 50;
        let db = open(&env, options);
        fill(&db, 0..100, 0);
        let pause = db.pause_background();
        let second = db.pause_background();
        let before = db.stats().counter("flushes");
        fill(&db, 0..300, 1);
        assert_eq!(db.stats().counter("flushes"), before);
        assert!(db.stats().families[0].immutable_memtables > 0);
        for refused in [db.flush(), db.compact(), db.wait_idle()] {
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
        }
        second.resume();
        assert_eq!(db.stats().counter("flushes"), before, "a pause is still there");
        drop(pause);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        assert!(db.stats().counter("flushes") > before);
        assert_eq!(db.get(key(299)).unwrap().as_deref(), Some(&value(299, 1)[..]));
    }
}

#[test]
fn a_store_that_is_held_by_its_limit_closes_and_can_be_let_go() {
    for release in [false, true] {
        let limit = RateLimit::Fixed { bytes_per_second: 1, operations_per_second: 1 };
        let env = MemEnv::new();
        let options = Options { background_threads: 2, rate_limit: limit, ..small() };
        let db = open(&env, options);
        let big = vec![7; 40 << 10];
        for index in 0..40 {
            // More than a quantum of the limit in one memtable, so that its flush has to ask.
            db.put(key(index), &big).unwrap();
        }
        if release {
            db.set_rate_limit(RateLimit::None).unwrap();
            db.flush().unwrap();
            db.wait_idle().unwrap();
        }
        assert!(db.set_rate_limit(RateLimit::Auto { bytes_per_second_max: 0 }).is_err());
        db.close().unwrap();
        let db = open(&env, small());
        for index in 0..40 {
            assert_eq!(db.get(key(index)).unwrap().as_deref(), Some(&big[..]));
        }
    }
}

#[test]
fn a_limit_gives_way_to_writers() {
    // A byte a second would take days; debt lifts the limit.
    let limit = RateLimit::Fixed { bytes_per_second: 1, operations_per_second: 0 };
    let env = MemEnv::new();
    let db = open(&env, Options { background_threads: 2, rate_limit: limit, ..small() });
    let big = vec![7; 20 << 10];
    for index in 0..200 {
        db.put(key(index), &big).unwrap();
    }
    assert_eq!(db.scan(..).count(), 200);
    db.close().unwrap();
}

/// Notes which jobs end, and holds the thread of the first compaction before it begins.
struct Gate {
    ended: Mutex<Vec<&'static str>>,
    first: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Gate {
    /// The gate, what tells that it was reached, and what opens it.
    fn new() -> (Arc<Gate>, Receiver<()>, Sender<()>) {
        let (reach, reached) = channel();
        let (open, opened) = channel();
        let first = Mutex::new(Some((reach, opened)));
        (Arc::new(Gate { ended: Mutex::default(), first }), reached, open)
    }
}

impl EventListener for Gate {
    fn on_event(&self, event: &Event) {
        match event {
            Event::CompactionBegun(_) => {
                let first = self.first.lock().unwrap().take();
                if let Some((reach, opened)) = first {
                    reach.send(()).unwrap();
                    opened.recv().unwrap();
                }
            }
            Event::FlushEnded(_) => self.ended.lock().unwrap().push("flush"),
            Event::CompactionEnded(_) => self.ended.lock().unwrap().push("compaction"),
            _ => {}
        }
    }
}

#[test]
fn the_only_worker_flushes_in_the_midst_of_a_compaction() {
    let env = MemEnv::new();
    let (gate, reached, open_gate) = Gate::new();
    let mut options = Options { background_threads: 1, ..small() };
    options.listeners = Listeners::from(Arc::clone(&gate));
    // No memtable fills up by itself: each flush makes one table.
    options.column_family.memtable_bytes = 4 << 20;
    options.column_family.level1_bytes = 1 << 30;
    options.column_family.memtables_max = 8;
    options.column_family.level0_tables_slowdown = 1_000;
    options.column_family.level0_tables_stop = 2_000;
    let db = open(&env, options);
    let big = vec![7; 16 << 10];
    for _ in 0..4 {
        for index in 0..60 {
            db.put(key(index), &big).unwrap();
            db.get(key(index)).unwrap();
        }
        db.flush().unwrap();
    }
    // The fourth table of level 0 is due for a compaction of some 4 MB: many steps.
    reached.recv().unwrap();
    assert_eq!(*gate.ended.lock().unwrap(), ["flush"; 4]);
    std::thread::scope(|scope| {
        db.put(key(1), "1").unwrap();
        let flushing = scope.spawn(|| db.flush());
        while db.stats().families[0].immutable_memtables == 0 {
            std::thread::yield_now();
        }
        open_gate.send(()).unwrap();
        flushing.join().unwrap().unwrap();
    });
    db.wait_idle().unwrap();
    let ended = gate.ended.lock().unwrap();
    assert_eq!(ended[4..6], ["flush", "compaction"], "the flush waited for the compaction");
}

#[test]
fn writers_are_slowed_and_not_stopped_before_a_fence() {
    let env = MemEnv::new();
    let mut options = Options { background_threads: 2, ..small() };
    options.column_family.level0_tables_compact = 1;
    options.column_family.level0_tables_slowdown = 3;
    options.column_family.level0_tables_stop = 400;
    options.column_family.memtables_max = 50;
    let db = open(&env, options);
    let pause = db.pause_background();
    fill(&db, 0..1_000, 0);
    let strain = crate::db::limiter::Conditions::strain(db.core().as_ref());
    assert!(strain > 0.0, "several memtables wait: {strain}");
    pause.resume();
    fill(&db, 0..2_000, 1);
    let stats = db.stats();
    assert_eq!(stats.counter("stall_level0_stop_us") + stats.counter("stall_memtables_us"), 0);
    db.flush().unwrap();
    db.wait_idle().unwrap();
    for index in 0..2_000 {
        assert_eq!(db.get(key(index)).unwrap().as_deref(), Some(&value(index, 1)[..]));
    }
}

#[test]
fn keys_that_nearly_ascend_are_hardly_written_again() {
    let mut options = small();
    options.column_family.codecs = PerLevel::new([Codec::None]);
    let db = open(&MemEnv::new(), options);
    for index in 0..20_000u32 {
        // Every twentieth is late, a little.
        let number = if index % 20 == 19 { index.saturating_sub(17) * 2 + 1 } else { index * 2 };
        db.put(key(number), value(number, 0)).unwrap();
    }
    db.flush().unwrap();
    let stats = db.stats();
    let (flushed, written) =
        (stats.counter("flush_bytes"), stats.counter("compaction_write_bytes"));
    assert!(stats.counter("flushes") > 50 && stats.counter("trivial_moves") > 50);
    assert!(written < flushed / 2, "{written} bytes for {flushed}");
    assert_eq!(db.scan(..).count(), 20_000);
}

#[test]
fn a_compaction_while_paused_is_refused_where_there_is_something_to_do() {
    for threads in [0, 2] {
        let env = MemEnv::new();
        let db = open(&env, Options { background_threads: threads, ..shared_when_asked() });
        fill(&db, 0..50, 0);
        db.flush().unwrap();
        fill(&db, 0..50, 1);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        let pause = db.pause_background();
        // Nothing is in memory: no flush refuses it first.
        let refused = db.compact();
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
        drop(pause);
        db.compact().unwrap();
        db.wait_idle().unwrap();
        let pause = db.pause_background();
        db.compact().unwrap();
        drop(pause);
        assert_eq!(db.stats().counter("compactions_manual"), 1, "and nothing is left to do");
    }
}

#[test]
fn a_compaction_without_workers_leaves_no_file_behind() {
    let env = MemEnv::new();
    let db = open(&env, Options { background_threads: 0, ..shared_when_asked() });
    prepared(&db);
    db.compact().unwrap();
    assert_eq!(table_files(&env), tables(&db));
}
