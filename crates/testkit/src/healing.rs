//! A store with workers on a disk that fails for a while: what it reads meanwhile, and whether it
//! gets on by itself afterwards.
//!
//! What must hold:
//!
//! - a get gives the right answer or an error: what can't be read is not taken for missing;
//! - a cursor or scan that met an error gives no wrong entry: the cursor gives the error again
//!   until it is sought anew, the scan has ended;
//! - a flush that failed is done, with nobody asking for it, once the disk is well;
//! - so is a compaction when it is next asked for.
//!
//! The other fault runs do all work on one thread; here it is done by workers, which wait.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use alluvium::env::{Fault, FaultEnv, FaultRule, FileKind, MemEnv, Operation, When};
use alluvium::{Cursor, Db, Durability, Error, Options};

use crate::configs::tiny;
use crate::metamorphic::answer::Entry;
use crate::random::Random;
use crate::runner::panic_text;
use crate::torture::Turn;
use crate::watchdog::Watchdog;

/// How long a case may take before it counts as hung.
const CASE_TIME_MAX: Duration = Duration::from_secs(30);
/// How often a worker's progress is looked at, and how long between two looks: far longer in all
/// than any pause that a worker makes.
const LOOKS: usize = 15_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Keys of a store.
const KEYS: usize = 120;

struct Case {
    random: Random,
    memory: MemEnv,
    env: FaultEnv,
    db: Db,
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    writes: u64,
}

/// Runs the case of `seed`.
///
/// # Errors
///
/// What did not hold.
pub fn check_seed(seed: u64) -> Result<(), String> {
    let watchdog = Watchdog::new(CASE_TIME_MAX);
    watchdog.step(format!("seed {seed}"));
    let body = || {
        let mut case = Case::begin(seed).map_err(|error| error.to_string())?;
        case.get_badly()?;
        case.read_badly()?;
        case.flush_badly()?;
        case.compact_badly()?;
        case.end()
    };
    let result = catch_unwind(AssertUnwindSafe(body));
    let result = result.unwrap_or_else(|panic| Err(panic_text(&*panic)));
    result.map_err(|text| {
        let replay = "cargo test -p alluvium-testkit --test healing";
        format!("seed {seed} (ALLUVIUM_SEED={seed} {replay}): {text}")
    })
}

/// Cases until the turn is over.
pub fn torture(turn: &mut Turn) {
    while turn.goes_on() {
        let seed = turn.seed();
        turn.note(check_seed(seed).map(|()| 1));
    }
}

impl Case {
    /// A store with tables in level 0 and below.
    fn begin(seed: u64) -> Result<Case, Error> {
        let mut random = Random::for_case(&[seed, 8]);
        let mut options = Options { durability: Durability::Os, ..tiny() };
        options.background_threads = 1 + random.below(2);
        options.block_cache_bytes = 0;
        options.column_family.memtables_max = 16;
        options.column_family.restart_interval = 1 + random.below(4);
        options.column_family.level0_tables_slowdown = 50;
        options.column_family.level0_tables_stop = 100;
        let memory = MemEnv::new();
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let db = Db::open_env(Arc::new(env.clone()), options)?;
        let pairs = BTreeMap::new();
        let mut case = Case { random, memory, env, db, pairs, writes: 0 };
        for round in 0..3 {
            for _ in 0..60 {
                case.write(40)?;
            }
            case.db.flush()?;
            if round == 0 {
                case.db.compact()?;
            }
        }
        case.db.wait_idle()?;
        Ok(case)
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key {:03}", self.random.below(KEYS)).into_bytes()
    }

    fn write(&mut self, bytes: usize) -> Result<(), Error> {
        let key = self.key();
        self.writes += 1;
        if self.random.one_in(5) {
            self.pairs.remove(&key);
            return self.db.delete(&key);
        }
        let mut value = format!("w{}.", self.writes).into_bytes();
        value.resize(value.len() + bytes, b'v');
        self.pairs.insert(key.clone(), value.clone());
        self.db.put(key, value)
    }

    fn fail(&self, operations: &[Operation], when: When) {
        self.env.add(FaultRule::new(operations, when, Fault::Io).on(FileKind::Table));
    }

    /// Reads of tables fail while keys are looked up.
    fn get_badly(&mut self) -> Result<(), String> {
        let mut failed = 0;
        for _ in 0..30 {
            let key = self.key();
            // What fails is read a second time, so that two in a row count.
            let first = 1 + self.random.below(2) as u64;
            self.fail(&[Operation::Read], When::Window { first, count: 2 });
            let found = self.db.get(&key);
            self.env.clear();
            match found {
                Ok(found) if found.as_deref() == self.pairs.get(&key).map(|value| &value[..]) => {}
                Ok(_) => return Err(format!("{} reads wrongly", key.escape_ascii())),
                Err(_) => failed += 1,
            }
        }
        if failed == 0 { Err("no get has failed".to_owned()) } else { Ok(()) }
    }

    /// Reads of tables fail while cursors and scans are moved.
    fn read_badly(&mut self) -> Result<(), String> {
        for _ in 0..6 {
            let well = self.env.count_on(Operation::Read, FileKind::Table);
            let mut cursor = self.db.cursor().map_err(|error| format!("a cursor: {error}"))?;
            let first = 1 + self.random.below(12) as u64;
            self.fail(&[Operation::Read], When::Window { first, count: 2 });
            self.walk(&mut cursor)?;
            self.env.clear();
            cursor.seek_to_first().map_err(|error| format!("with the disk well: {error}"))?;
            self.compare(&cursor, self.pairs.iter().next())?;
            if self.env.count_on(Operation::Read, FileKind::Table) == well {
                return Err("nothing is read from tables".to_owned());
            }
            let first = 1 + self.random.below(12) as u64;
            self.fail(&[Operation::Read], When::Window { first, count: 2 });
            self.scan()?;
            self.env.clear();
        }
        Ok(())
    }

    /// Moves a cursor about; returns behind the first error, which must stay.
    fn walk(&mut self, cursor: &mut Cursor) -> Result<(), String> {
        for _ in 0..40 {
            let key = self.key();
            let (moved, expected) = match self.random.below(4) {
                0 => (cursor.seek(&key), self.pairs.range(key..).next()),
                1 => (cursor.seek_for_prev(&key), self.pairs.range(..=key).next_back()),
                choice if cursor.valid() => {
                    let key = cursor.key().to_vec();
                    let forward = choice == 2;
                    let moved = if forward { cursor.next() } else { cursor.prev() };
                    let behind =
                        (std::ops::Bound::Excluded(key.clone()), std::ops::Bound::Unbounded);
                    let expected = match forward {
                        true => self.pairs.range(behind).next(),
                        false => self.pairs.range(..key).next_back(),
                    };
                    (moved, expected)
                }
                _ => continue,
            };
            if moved.is_err() {
                let stays = !cursor.valid() && cursor.next().is_err() && cursor.prev().is_err();
                return if stays { Ok(()) } else { Err("a cursor forgets its error".to_owned()) };
            }
            self.compare(cursor, expected)?;
        }
        Ok(())
    }

    fn compare(
        &self,
        cursor: &Cursor,
        expected: Option<(&Vec<u8>, &Vec<u8>)>,
    ) -> Result<(), String> {
        let found = cursor.valid().then(|| (cursor.key(), cursor.value()));
        if found == expected.map(|(key, value)| (&key[..], &value[..])) {
            return Ok(());
        }
        let show = |key: Option<&[u8]>| key.map(|key| key.escape_ascii().to_string());
        let (found, expected) = (found.map(|(key, _)| key), expected.map(|(key, _)| &key[..]));
        Err(format!("a cursor is at {:?}, not at {:?}", show(found), show(expected)))
    }

    /// Scans in either direction; what comes before an error is right, and nothing comes behind it.
    fn scan(&mut self) -> Result<(), String> {
        let backward = self.random.one_in(2);
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let mut expected: Vec<Entry> = self.pairs.iter().map(owned).collect();
        if backward {
            expected.reverse();
        }
        let mut expected = expected.into_iter();
        let mut scan = self.db.scan(..);
        loop {
            let found = if backward { scan.next_back() } else { scan.next() };
            match (found, expected.next()) {
                (None, None) => return Ok(()),
                (Some(Ok((key, value))), Some(wanted))
                    if (&key[..], &value[..]) == (&wanted.0, &wanted.1) => {}
                (Some(Err(_)), _) => {
                    let ended = scan.next().is_none() && scan.next_back().is_none();
                    let text = "a scan goes on behind an error";
                    return if ended { Ok(()) } else { Err(text.to_owned()) };
                }
                _ => return Err("a scan gives a wrong entry, or ends too soon".to_owned()),
            }
        }
    }

    /// The disk takes no tables, and then does: the flush that failed is done without a word.
    fn flush_badly(&mut self) -> Result<(), String> {
        let failing = [Operation::Create, Operation::Append, Operation::Sync];
        let operation = *self.random.pick(&failing);
        let before = self.env.injected();
        self.fail(&[operation], When::From(1));
        for _ in 0..12 {
            self.write(1_500).map_err(|error| format!("a write that need not wait: {error}"))?;
        }
        self.look(|case| case.env.injected() > before, "no worker has tried to flush")?;
        self.env.clear();
        let waiting = |case: &Case| {
            let stats = case.db.stats();
            stats.families.iter().map(|family| family.immutable_memtables).sum::<usize>()
        };
        self.look(|case| waiting(case) == 0, "a flush that failed is not tried again")
    }

    fn look(&self, mut done: impl FnMut(&Case) -> bool, text: &str) -> Result<(), String> {
        for _ in 0..LOOKS {
            if done(self) {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
        Err(text.to_owned())
    }

    /// The same for a compaction that somebody asks for: he is told, and may ask again.
    fn compact_badly(&mut self) -> Result<(), String> {
        let idle = self.db.flush().and_then(|()| self.db.wait_idle());
        idle.map_err(|error| format!("with the disk well: {error}"))?;
        self.fail(&[Operation::Create], When::From(1));
        let told = self.db.compact();
        let injected = !self.env.injections().is_empty();
        self.env.clear();
        if told.is_ok() && injected && self.db.stats().error.is_none() {
            let level0 = &self.db.stats().families[0].levels[0];
            if level0.tables > 0 {
                return Err("a compaction failed, and nobody was told".to_owned());
            }
        }
        let mut last = String::new();
        for _ in 0..200 {
            match self.db.compact() {
                Ok(()) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
            thread::sleep(20 * LOOK_EVERY);
        }
        Err(format!("a compaction with the disk well: {last}"))
    }

    fn end(mut self) -> Result<(), String> {
        self.scan()?;
        self.db.close().map_err(|error| format!("closing: {error}"))?;
        let report =
            alluvium::verify_env(Arc::new(self.memory)).map_err(|error| error.to_string())?;
        report.damages.first().map_or(Ok(()), |damage| Err(damage.to_string()))
    }
}
