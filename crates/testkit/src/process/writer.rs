//! The writer: a process that writes to a store until it is killed.
//!
//! `child write DIRECTORY PLAN GENERATION [--kill POINT:HIT] [--fsize BYTES] [--nofile N]
//! [--writes N] [--retry]`. It says `opened NUMBER` (the [`fingerprint`] of what it found), then
//! `ack THREAD NUMBER` for each write that was acknowledged, `refused THREAD NUMBER ERROR` for each
//! that failed, `failed ERROR` for anything else that did, and `done` at its end. With `--retry` it
//! tries a write that failed again, until it is acknowledged. Between its writes each thread reads
//! its keys, through snapshots too, and holds them against what it wrote; now and then it flushes
//! or compacts.

use std::thread;
use std::time::Duration;

use alluvium::{ColumnFamily, Db, Error, Scan, Snapshot, WriteBatch, WriteOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::process::channel::say;
use crate::process::history::{REFUSED_MAX, State, apply, differences, fingerprint, of_thread};
use crate::process::looker::{Arguments, read_all};
use crate::process::plan::{FAMILIES, Plan, Write};
use crate::process::value::{Key, Version};
use crate::process::{ended_by, is_excusable, kind_of};
use crate::random::Random;

/// The writes of a thread that nobody kills.
const WRITES: u32 = 2_000;
/// Between two tries of a write that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// What a writer is told besides.
#[derive(Debug, Clone, Copy)]
struct Settings {
    plan: Plan,
    generation: u32,
    writes: u32,
    retry: bool,
}

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let wrong = |text: String| format!("wrong {text}");
    let arguments = Arguments::parse(arguments).map_err(wrong)?;
    let settings = settings(&arguments).map_err(wrong)?;
    let plan = settings.plan;
    let opened = Db::open_env(arguments.env(), plan.options());
    let db = opened.map_err(|error| ended_by("open", &error))?;
    for name in FAMILIES {
        match db.create_column_family(name, plan.options().column_family) {
            Ok(_) | Err(Error::ColumnFamilyExists { .. }) => {}
            Err(error) => return Err(ended_by("create a family", &error)),
        }
    }
    let found = read_all(&db)?;
    say(&format!("opened {}", fingerprint(&found)));
    let worker = |number: u8| -> Result<(), String> {
        let mut worker = Worker::new(&db, settings, number, &found)?;
        let done = (1..=settings.writes).try_for_each(|write| worker.turn(write));
        // At once: the others go on, and a kill may come before their end.
        done.inspect_err(|text| say(&format!("wrong {}", text.replace('\n', "; "))))
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..plan.threads).map(|number| scope.spawn(move || worker(number))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("a thread of the writer panicked".to_owned()))
        });
        joined.collect::<Result<(), String>>()
    })
    .map_err(wrong)?;
    db.close().map_err(|error| ended_by("close", &error))?;
    say("done");
    Ok(())
}

/// Reads what is told besides, and sets the limits.
fn settings(arguments: &Arguments) -> Result<Settings, String> {
    let mut others = arguments.others.iter();
    let number = |text: Option<&String>| -> Result<u64, String> {
        text.and_then(|text| text.parse().ok()).ok_or_else(|| "a number is missing".to_owned())
    };
    let generation = number(others.next())? as u32;
    let mut settings = Settings { plan: arguments.plan, generation, writes: WRITES, retry: false };
    while let Some(option) = others.next() {
        match option.as_str() {
            "--fsize" => limit(Resource::Fsize, number(others.next())?)?,
            "--nofile" => limit(Resource::Nofile, number(others.next())?)?,
            "--writes" => settings.writes = number(others.next())? as u32,
            "--retry" => settings.retry = true,
            _ => return Err(format!("{option}: no such option")),
        }
    }
    limit(Resource::Core, 0)?;
    Ok(settings)
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let limit = Rlimit { current: Some(most), maximum: getrlimit(resource).maximum };
    setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))
}

/// One thread that writes, and what it knows of its keys.
struct Worker<'a> {
    db: &'a Db,
    families: Vec<ColumnFamily>,
    settings: Settings,
    thread: u8,
    random: Random,
    state: State,
    held: Option<(Snapshot, State)>,
    refused: usize,
}

impl Worker<'_> {
    fn new<'a>(
        db: &'a Db,
        settings: Settings,
        thread: u8,
        found: &State,
    ) -> Result<Worker<'a>, String> {
        let families = FAMILIES.into_iter().map(|name| db.column_family(name));
        let families = families.collect::<Result<_, Error>>().map_err(|e| e.to_string())?;
        let Settings { plan, generation, .. } = settings;
        let random = Random::for_case(&[plan.seed, 4, u64::from(generation), u64::from(thread)]);
        let state = of_thread(found, thread);
        Ok(Worker { db, families, settings, thread, random, state, held: None, refused: 0 })
    }

    /// One write, and now and then something else.
    fn turn(&mut self, number: u32) -> Result<(), String> {
        if self.refused == REFUSED_MAX {
            return Ok(());
        }
        let write = self.settings.plan.write(self.thread, self.settings.generation, number);
        while let Err(error) = self.write(&write) {
            let (thread, kind) = (self.thread, kind_of(&error));
            say(&format!("refused {thread} {number} {kind} {error}"));
            if !is_excusable(&error) {
                return Err(error.to_string());
            }
            if !self.settings.retry {
                self.refused += 1;
                return Ok(());
            }
            self.read_all()?;
            thread::sleep(RETRY_PAUSE);
        }
        apply(&mut self.state, &write);
        say(&format!("ack {} {number}", self.thread));
        match self.random.below(100) {
            0..15 => self.read_one()?,
            15..18 => self.read_all()?,
            18..21 => self.hold_or_look()?,
            21 => self.settle(Db::flush)?,
            22 if self.random.one_in(4) => self.settle(Db::compact)?,
            _ => {}
        }
        Ok(())
    }

    fn write(&self, write: &Write) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        for (key, version) in &write.changes {
            let family = &self.families[usize::from(key.family)];
            match version {
                Some(version) => batch.put_in(family, key.bytes(), version.value(*key)),
                None => batch.delete_in(family, key.bytes()),
            };
        }
        self.db.write_with(batch, &WriteOptions { durability: write.durability })
    }

    /// Flushes or compacts. That may fail where writes may.
    fn settle(&mut self, how: impl Fn(&Db) -> Result<(), Error>) -> Result<(), String> {
        how(self.db).or_else(|error| excuse("flush or compact", &error))
    }

    fn read_one(&mut self) -> Result<(), String> {
        let Settings { plan, generation, .. } = self.settings;
        let write = plan.write(self.thread, generation, self.random.below(200) as u32);
        let Some((key, _)) = write.changes.first() else { return Ok(()) };
        let got = match self.families[usize::from(key.family)].get(key.bytes()) {
            Ok(Some(value)) => Some(Version::read(*key, &value)?),
            Ok(None) => None,
            Err(error) => return excuse("get", &error),
        };
        let expected = self.state.get(key).copied();
        if got != expected {
            return Err(format!("get {key:?}: {got:?}, not {expected:?}"));
        }
        Ok(())
    }

    /// Every write that failed, too, must not be visible.
    fn read_all(&self) -> Result<(), String> {
        let scan = |family: &ColumnFamily| family.prefix(format!("{}:", self.thread));
        self.compare("scan", &self.state, scan)
    }

    /// Takes a snapshot, or looks whether the one it has still shows the same.
    fn hold_or_look(&mut self) -> Result<(), String> {
        let Some((snapshot, state)) = self.held.take() else {
            self.held = Some((self.db.snapshot(), self.state.clone()));
            return Ok(());
        };
        let scan = |family: &ColumnFamily| snapshot.prefix_in(family, format!("{}:", self.thread));
        self.compare("snapshot", &state, scan)
    }

    /// Reads all keys of this thread and compares.
    fn compare(
        &self,
        what: &str,
        expected: &State,
        scan: impl Fn(&ColumnFamily) -> Scan,
    ) -> Result<(), String> {
        let mut found = State::new();
        for (index, family) in self.families.iter().enumerate() {
            for entry in scan(family) {
                let (key, value) = match entry {
                    Ok(entry) => entry,
                    Err(error) => return excuse(what, &error),
                };
                let parsed = Key::parse(index as u8, &key);
                let key = parsed.ok_or_else(|| format!("{what}: nobody's key {key:?}"))?;
                found.insert(key, Version::read(key, &value)?);
            }
        }
        if *expected == found {
            return Ok(());
        }
        Err(format!("{what} of thread {}: {}", self.thread, differences(expected, &found)))
    }
}

/// Says what failed; whether the disk is an excuse for it, the harness knows.
fn excuse(what: &str, error: &Error) -> Result<(), String> {
    if !is_excusable(error) {
        return Err(format!("{what}: {error}"));
    }
    say(&format!("failed {} {what}: {error}", kind_of(error)));
    Ok(())
}
