//! The writer: a process that writes to a store until it is killed.
//!
//! `child write DIRECTORY PLAN GENERATION [--kill POINT:HIT] [--fsize BYTES] [--writes N]`. It says
//! `opened NUMBER` (the [`fingerprint`] of what it found), then `ack THREAD NUMBER` for each write
//! that was acknowledged and `refused THREAD NUMBER ERROR` for each that failed, and `done` at its
//! end. Between its writes each thread reads its keys, through snapshots too, and holds them
//! against what it wrote; other things go on, such as flushes and compactions.

use std::thread;

use alluvium::{ColumnFamily, Db, Error, Snapshot, WriteBatch, WriteOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::process::channel::say;
use crate::process::history::{REFUSED_MAX, State, apply, differences, fingerprint, of_thread};
use crate::process::looker::{Arguments, read_all};
use crate::process::plan::{FAMILIES, Plan, Write};
use crate::process::value::{Key, Version};
use crate::random::Random;

/// The writes of a thread that nobody kills.
const WRITES: u32 = 2_000;

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(arguments)?;
    let mut others = arguments.others.iter();
    let number = |text: Option<&String>| -> Result<u64, String> {
        text.and_then(|text| text.parse().ok()).ok_or_else(|| "a number is missing".to_owned())
    };
    let generation = number(others.next())? as u32;
    let mut writes = WRITES;
    while let Some(option) = others.next() {
        match option.as_str() {
            "--fsize" => limit(Resource::Fsize, number(others.next())?)?,
            "--nofile" => limit(Resource::Nofile, number(others.next())?)?,
            "--writes" => writes = number(others.next())? as u32,
            _ => return Err(format!("{option}: no such option")),
        }
    }
    limit(Resource::Core, 0)?;
    let plan = arguments.plan;
    let opened = Db::open_env(arguments.env(), plan.options());
    let db = opened.map_err(|error| format!("open: {error}"))?;
    for name in FAMILIES {
        match db.create_column_family(name, plan.options().column_family) {
            Ok(_) | Err(Error::ColumnFamilyExists { .. }) => {}
            Err(error) => return Err(format!("create {name}: {error}")),
        }
    }
    let found = read_all(&db)?;
    say(&format!("opened {}", fingerprint(&found)));
    let worker = |number: u8| -> Result<(), String> {
        let mut worker = Worker::new(&db, plan, generation, number, &found)?;
        let done = (1..=writes).try_for_each(|write| worker.turn(write));
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
    })?;
    db.close().map_err(|error| format!("close: {error}"))?;
    say("done");
    Ok(())
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let limit = Rlimit { current: Some(most), maximum: getrlimit(resource).maximum };
    setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))
}

/// One thread that writes, and what it knows of its keys.
struct Worker<'a> {
    db: &'a Db,
    families: Vec<ColumnFamily>,
    plan: Plan,
    generation: u32,
    thread: u8,
    random: Random,
    state: State,
    held: Option<(Snapshot, State)>,
    refused: usize,
}

impl Worker<'_> {
    fn new<'a>(
        db: &'a Db,
        plan: Plan,
        generation: u32,
        thread: u8,
        found: &State,
    ) -> Result<Worker<'a>, String> {
        let families = FAMILIES.into_iter().map(|name| db.column_family(name));
        let families = families.collect::<Result<_, Error>>().map_err(|e| e.to_string())?;
        let random = Random::for_case(&[plan.seed, 4, u64::from(generation), u64::from(thread)]);
        let state = of_thread(found, thread);
        Ok(Worker { db, families, plan, generation, thread, random, state, held: None, refused: 0 })
    }

    /// One write, and now and then something else.
    fn turn(&mut self, number: u32) -> Result<(), String> {
        if self.refused == REFUSED_MAX {
            return Ok(());
        }
        let write = self.plan.write(self.thread, self.generation, number);
        match self.write(&write) {
            Ok(()) => {
                apply(&mut self.state, &write);
                say(&format!("ack {} {number}", self.thread));
            }
            Err(error) => {
                self.refused += 1;
                say(&format!("refused {} {number} {error}", self.thread));
            }
        }
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
        match how(self.db) {
            Ok(()) => Ok(()),
            Err(error @ (Error::Corruption { .. } | Error::Panicked { .. })) => {
                Err(error.to_string())
            }
            Err(error) => {
                say(&format!("failed {error}"));
                Ok(())
            }
        }
    }

    fn read_one(&mut self) -> Result<(), String> {
        let write = self.plan.write(self.thread, self.generation, self.random.below(200) as u32);
        let Some((key, _)) = write.changes.first() else { return Ok(()) };
        let got = self.families[usize::from(key.family)].get(key.bytes());
        let got = match got {
            Ok(Some(value)) => Some(Version::read(*key, &value)?),
            Ok(None) => None,
            Err(error) => return Err(format!("get {key:?}: {error}")),
        };
        let expected = self.state.get(key).copied();
        if got != expected {
            return Err(format!("get {key:?}: {got:?}, not {expected:?}"));
        }
        Ok(())
    }

    fn read_all(&self) -> Result<(), String> {
        let mut found = State::new();
        for (index, family) in self.families.iter().enumerate() {
            for entry in family.prefix(format!("{}:", self.thread)) {
                keep(&mut found, index, entry)?;
            }
        }
        self.compare("scan", &self.state, &found)
    }

    /// Takes a snapshot, or looks whether the one it has still shows the same.
    fn hold_or_look(&mut self) -> Result<(), String> {
        let Some((snapshot, state)) = self.held.take() else {
            self.held = Some((self.db.snapshot(), self.state.clone()));
            return Ok(());
        };
        let mut found = State::new();
        for (index, family) in self.families.iter().enumerate() {
            for entry in snapshot.prefix_in(family, format!("{}:", self.thread)) {
                keep(&mut found, index, entry)?;
            }
        }
        self.compare("snapshot", &state, &found)
    }

    fn compare(&self, what: &str, expected: &State, found: &State) -> Result<(), String> {
        if expected == found {
            return Ok(());
        }
        Err(format!("{what} of thread {}: {}", self.thread, differences(expected, found)))
    }
}

fn keep(
    found: &mut State,
    family: usize,
    entry: Result<(alluvium::Bytes, alluvium::Bytes), Error>,
) -> Result<(), String> {
    let (key, value) = entry.map_err(|error| format!("scan: {error}"))?;
    let key = Key::parse(family as u8, &key).ok_or_else(|| format!("nobody's key {key:?}"))?;
    found.insert(key, Version::read(key, &value)?);
    Ok(())
}
