//! What every scenario stands on: the runner, the store's options, and checks of what is left.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use alluvium::env::{CrashPolicy, FileId, MemEnv};
use alluvium::{
    ColumnFamily, Db, Durability, Error, Options, WriteBatch, WriteOptions, verify_env,
};
use alluvium_testkit::configs;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::thread::JoinHandle;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Schedules a scenario, without the variable that says otherwise.
const SCHEDULES: u64 = 2_000;
/// Preemptions that the PCT scheduler places: most bugs need no more.
const DEPTH: usize = 3;
/// A schedule of a healthy store ends long before.
const STEPS_MAX: usize = 400_000;

/// A key and its value, acknowledged.
pub type Entry = (String, String);

/// Runs `scenario` under schedules drawn at random, and as many drawn by PCT.
#[track_caller]
pub fn explore(name: &str, scenario: fn()) {
    if let Some(file) = env::var_os("ALLUVIUM_SCHEDULE") {
        let schedule = ReplayScheduler::new_from_file(file).expect("a schedule in the file");
        Runner::new(schedule, config()).run(scenario);
        return;
    }
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let schedules: u64 = number("ALLUVIUM_SCHEDULES").unwrap_or(SCHEDULES);
    let seed: u64 = number("ALLUVIUM_SEED").unwrap_or(1);
    let each = schedules.div_ceil(2) as usize;
    let begun = Instant::now();
    let (random, first) = run(RandomScheduler::new_from_seed(seed, each), scenario);
    let (pct, second) = run(PctScheduler::new_from_seed(seed, DEPTH, each), scenario);
    let failures = u32::from(first.is_err()) + u32::from(second.is_err());
    let seconds = begun.elapsed().as_secs_f64();
    let counted = random + pct;
    println!("shuttle: {name}: {counted} schedules, {failures} failures, {seconds:.1} s");
    for panic in [first, second].into_iter().filter_map(Result::err) {
        eprintln!("replay: ALLUVIUM_SCHEDULE=FILE (as above) cargo xtask schedules --only {name}");
        std::panic::resume_unwind(panic);
    }
}

/// Runs schedules until one fails; says how many, and what came of them.
fn run<S: Scheduler + 'static>(scheduler: S, scenario: fn()) -> (u64, std::thread::Result<()>) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let body = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario();
    };
    let runner = Runner::new(scheduler, config());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runner.run(body);
    }));
    (runs.load(Ordering::Relaxed), outcome)
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 512 << 10;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = FailurePersistence::File(Some(folder()));
    config.silence_warnings = true;
    config
}

/// Where a schedule that failed is left.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// A number below `bound` that belongs to the schedule.
pub fn draw(bound: u64) -> u64 {
    use shuttle::rand::Rng;
    shuttle::rand::thread_rng().gen_range(0..bound)
}

/// Options that make every write fill a memtable and every second table a compaction.
pub fn options(background_threads: usize) -> Options {
    let mut options = Options { background_threads, ..configs::tiny() };
    options.column_family.memtable_bytes = 1 << 10;
    options.column_family.level0_tables_compact = 2;
    // So that none gathers there.
    options.column_family.level0_tables_slowdown = 4;
    options
}

/// As [`options`], with writers that soon wait for background work.
pub fn pressed(background_threads: usize) -> Options {
    let mut options = options(background_threads);
    options.column_family.memtables_max = 1;
    options.column_family.level0_tables_slowdown = 2;
    options.column_family.level0_tables_stop = 3;
    options
}

pub fn open(env: &MemEnv, options: Options) -> Db {
    Db::open_env(Arc::new(env.clone()), options).expect("the store opens")
}

/// A thread of the schedule.
pub fn go<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    shuttle::thread::spawn(body)
}

pub fn with(durability: Durability) -> WriteOptions {
    WriteOptions { durability }
}

/// A batch that sets `keys` to `value`.
pub fn batch(keys: &[&str], value: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for key in keys {
        batch.put(key, value);
    }
    batch
}

pub fn value(db: &Db, key: &str) -> Option<String> {
    let found = db.get(key).expect("a read");
    found.map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"))
}

/// Everything in a family, ascending.
pub fn everything(family: &ColumnFamily) -> Vec<Entry> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let entries = family.scan(..).map(|entry| entry.expect("a read"));
    entries.map(|(key, value)| (text(&key), text(&value))).collect()
}

/// `keys` are all there with one value, or none is.
pub fn assert_whole(db: &Db, keys: &[&str]) {
    let values = db.multi_get(keys).expect("a read");
    assert!(values.windows(2).all(|two| two[0] == two[1]), "half of a batch: {values:?}");
}

/// Opens what a crash leaves now, and looks for everything that was acknowledged; each of `groups`
/// was always written as one batch.
pub fn check_after_crash(env: &MemEnv, policy: CrashPolicy, kept: &[Entry], groups: &[&[&str]]) {
    let image = env.crash_image(policy, draw(1 << 32));
    let db = open(&image, options(0));
    for (key, written) in kept {
        assert_eq!(value(&db, key).as_ref(), Some(written), "{key} after {policy:?}");
    }
    for group in groups {
        assert_whole(&db, group);
    }
    db.close().expect("the store closes");
    let report = verify_env(Arc::new(image)).expect("the store can be looked at");
    assert!(report.damages.is_empty(), "{:?}", report.damages);
}

/// Waits for background work to end, which leaves the tables on disk that the store has, and no
/// others: nobody reads.
pub fn settle(db: &Db, env: &MemEnv) {
    db.wait_idle().expect("background work ends");
    let stats = db.stats();
    let levels = stats.families.iter().flat_map(|family| &family.levels);
    let live: usize = levels.map(|level| level.tables).sum();
    let is_table = |file: &&FileId| matches!(file, FileId::Table(_));
    let files = env.files().iter().filter(is_table).count();
    assert_eq!(files, live, "files of tables, and tables of the store");
}

/// The answer of a call that a store may refuse because it was closed.
pub fn unless_closed<T>(answer: alluvium::Result<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(Error::Closed) => None,
        Err(error) => panic!("{error}"),
    }
}
