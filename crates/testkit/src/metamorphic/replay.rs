//! A script on a store: the answer to each step, with other options in each life of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use alluvium::env::{CrashPolicy, Env, MemEnv, PosixEnv};
use alluvium::{
    Bytes, ColumnFamily, Cursor, Db, Durability, Error, Options, Scan, Snapshot, WriteBatch,
    WriteOptions,
};

use crate::metamorphic::answer::{Answer, Entry, Moved};
use crate::metamorphic::knobs::{STRATEGIES, Setting, strategy};
use crate::metamorphic::step::{Move, Put, Restart, Step};
use crate::operation::{DEFAULT_FAMILY, Direction};

/// Where a store lives.
#[derive(Debug, Clone)]
pub enum Place {
    /// In memory, where it can be crashed.
    Memory(MemEnv),
    /// In a directory. A crash of it is not simulated: the store is dropped.
    Directory(PathBuf),
}

impl Place {
    fn env(&self) -> Arc<dyn Env> {
        match self {
            Place::Memory(env) => Arc::new(env.clone()),
            Place::Directory(path) => Arc::new(PosixEnv::new(path.clone())),
        }
    }
}

/// A cursor or scan that is kept.
#[derive(Debug)]
enum Kept {
    Cursor(Box<Cursor>),
    Scan(Box<Scan>),
}

/// A store under a script.
#[derive(Debug)]
pub struct Replay<'a> {
    place: Place,
    settings: &'a [Setting],
    life: usize,
    options: Options,
    db: Option<Db>,
    families: BTreeMap<String, ColumnFamily>,
    snapshots: BTreeMap<usize, Snapshot>,
    kept: BTreeMap<usize, Kept>,
    /// Whether there are buffered writes since the last sync.
    buffered: bool,
    /// Whether the strategy changes while the store is open, and how often it has.
    wanders: bool,
    switches: u64,
}

type Outcome = Result<Answer, Error>;

fn owned(value: Option<Bytes>) -> Option<Vec<u8>> {
    value.map(|value| value.to_vec())
}

fn entry((key, value): (Bytes, Bytes)) -> Entry {
    (key.to_vec(), value.to_vec())
}

impl<'a> Replay<'a> {
    /// Opens a new store; its n-th life has the n-th of `settings`, or the last.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub fn begin(place: Place, settings: &'a [Setting]) -> Result<Replay<'a>, Error> {
        let mut replay = Replay {
            place,
            settings,
            life: 0,
            options: Options::default(),
            db: None,
            families: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            kept: BTreeMap::new(),
            buffered: false,
            wanders: false,
            switches: 0,
        };
        replay.open()?;
        Ok(replay)
    }

    fn open(&mut self) -> Result<(), Error> {
        let setting = self.settings.get(self.life).or(self.settings.last());
        let setting = setting.cloned().unwrap_or_default();
        self.wanders = setting.wanders();
        self.options = setting.options();
        self.life += 1;
        self.buffered = false;
        let db = Db::open_env(self.place.env(), self.options.clone())?;
        for name in db.column_families() {
            self.families.insert(name.clone(), db.column_family(&name)?);
        }
        self.db = Some(db);
        Ok(())
    }

    /// Closes the store in good order.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub fn close(&mut self) -> Result<(), Error> {
        self.let_go();
        self.db.take().map_or(Ok(()), Db::close)
    }

    fn let_go(&mut self) {
        self.kept.clear();
        self.snapshots.clear();
        self.families.clear();
    }

    /// Every byte of the closed store is as it was written.
    ///
    /// # Errors
    ///
    /// The first damage found.
    pub fn verify(&self) -> Result<(), Error> {
        let report = alluvium::verify_env(self.place.env())?;
        report.damages.into_iter().next().map_or(Ok(()), Err)
    }

    /// Gives every family the next strategy, where the options say so.
    fn wander(&mut self) -> Result<(), Error> {
        if self.wanders {
            self.switches += 1;
            for family in self.families.values() {
                family.set_strategy(strategy(self.switches % STRATEGIES))?;
            }
        }
        Ok(())
    }

    /// Does one step.
    pub fn step(&mut self, step: &Step) -> Answer {
        let Some(db) = self.db.clone() else { return Answer::Failed("it is closed".to_owned()) };
        if matches!(step, Step::Flush { .. } | Step::Compact { .. })
            && let Err(error) = self.wander()
        {
            return Answer::Failed(error.to_string());
        }
        let result = match step {
            Step::Write { durability, changes } => self.write(&db, *durability, changes),
            Step::Sync => db.sync().map(|()| Answer::Done),
            Step::Flush { family: None } => db.flush().map(|()| Answer::Done),
            Step::Compact { family: None } => db.compact().map(|()| Answer::Done),
            Step::Snapshot { slot } => {
                self.snapshots.insert(*slot, db.snapshot());
                Ok(Answer::Done)
            }
            Step::Release { slot } => Ok(Answer::is_there(self.snapshots.remove(slot).is_some())),
            Step::Close { slot } => Ok(Answer::is_there(self.kept.remove(slot).is_some())),
            Step::Move { slot, movement } => self.move_cursor(*slot, movement),
            Step::Take { slot, back, count } => self.take(*slot, *back, *count),
            Step::Create { family } => self.create(&db, family),
            Step::Drop { family } => self.drop_family(&db, family),
            Step::Restart(restart) => self.restart(db, *restart),
            Step::Check => self.check(&db),
            _ => self.in_family(&db, step),
        };
        result.unwrap_or_else(|error| Answer::Failed(error.to_string()))
    }

    fn write(&mut self, db: &Db, durability: Option<Durability>, changes: &[Put]) -> Outcome {
        let known: Vec<&Put> =
            changes.iter().filter(|change| self.families.contains_key(&change.family)).collect();
        if durability.unwrap_or(self.options.durability) == Durability::Buffered {
            self.buffered = true;
        }
        if let ([Put { family, key, value, end }], None) = (&known[..], durability) {
            let family = &self.families[family];
            match (value, end) {
                (Some(value), _) => family.put(key, value.bytes())?,
                (None, Some(end)) => family.delete_range(key, end)?,
                (None, None) => family.delete(key)?,
            }
            return Ok(Answer::Done);
        }
        let mut batch = WriteBatch::new();
        for Put { family, key, value, end } in known {
            let in_default = family == DEFAULT_FAMILY;
            let family = &self.families[family];
            match (value, end) {
                (Some(value), _) if in_default => batch.put(key, value.bytes()),
                (Some(value), _) => batch.put_in(family, key, value.bytes()),
                (None, Some(end)) if in_default => batch.delete_range(key, end),
                (None, Some(end)) => batch.delete_range_in(family, key, end),
                (None, None) if in_default => batch.delete(key),
                (None, None) => batch.delete_in(family, key),
            }
        }
        match durability {
            None => db.write(batch)?,
            Some(durability) => db.write_with(batch, &WriteOptions { durability })?,
        }
        Ok(Answer::Done)
    }

    /// Steps that need a family that exists.
    fn in_family(&mut self, db: &Db, step: &Step) -> Outcome {
        let (Step::Get { family, .. }
        | Step::Multi { family, .. }
        | Step::Scan { family, .. }
        | Step::Prefix { family, .. }
        | Step::Cursor { family, .. }
        | Step::Hold { family, .. }
        | Step::Flush { family: Some(family) }
        | Step::Compact { family: Some(family) }) = step
        else {
            return Ok(Answer::Nothing);
        };
        let Some(family) = self.families.get(family) else {
            return match db.column_family(family) {
                Err(Error::ColumnFamilyMissing { .. }) => Ok(Answer::Missing),
                Err(error) => Err(error),
                Ok(_) => Ok(Answer::Failed(format!("there should be no family {family}"))),
            };
        };
        let then = |at: &Option<usize>| at.and_then(|slot| self.snapshots.get(&slot));
        Ok(match step {
            Step::Get { key, at, .. } => Answer::Value(owned(match then(at) {
                Some(snapshot) => snapshot.get_in(family, key)?,
                None if family.name() == DEFAULT_FAMILY => db.get(key)?,
                None => family.get(key)?,
            })),
            Step::Multi { keys, .. } => {
                Answer::Values(family.multi_get(keys)?.into_iter().map(owned).collect())
            }
            Step::Scan { range, direction, at, .. } => {
                let scan = match then(at) {
                    Some(snapshot) => snapshot.scan_in(family, range.clone()),
                    None => family.scan(range.clone()),
                };
                Answer::Entries(read(scan, *direction)?)
            }
            Step::Prefix { prefix, direction, at, .. } => {
                let scan = match then(at) {
                    Some(snapshot) => snapshot.prefix_in(family, prefix),
                    None => family.prefix(prefix),
                };
                Answer::Entries(read(scan, *direction)?)
            }
            Step::Cursor { slot, at, .. } => {
                let cursor = match then(at) {
                    Some(snapshot) => snapshot.cursor_in(family)?,
                    None => family.cursor()?,
                };
                self.kept.insert(*slot, Kept::Cursor(Box::new(cursor)));
                Answer::Done
            }
            Step::Hold { slot, range, at, .. } => {
                let scan = match then(at) {
                    Some(snapshot) => snapshot.scan_in(family, range.clone()),
                    None => family.scan(range.clone()),
                };
                self.kept.insert(*slot, Kept::Scan(Box::new(scan)));
                Answer::Done
            }
            Step::Flush { .. } => family.flush().map(|()| Answer::Done)?,
            _ => family.compact().map(|()| Answer::Done)?,
        })
    }

    fn move_cursor(&mut self, slot: usize, movement: &Move) -> Outcome {
        let Some(Kept::Cursor(cursor)) = self.kept.get_mut(&slot) else {
            return Ok(Answer::Nothing);
        };
        match movement {
            Move::First => cursor.seek_to_first()?,
            Move::Last => cursor.seek_to_last()?,
            Move::Next => cursor.next()?,
            Move::Prev => cursor.prev()?,
            Move::Seek(key) => cursor.seek(key)?,
            Move::Before(key) => cursor.seek_for_prev(key)?,
        }
        if !cursor.valid() {
            return Ok(Answer::Moved(Moved::Off));
        }
        let value = cursor.value().to_vec();
        if value != cursor.value_handle() {
            return Ok(Answer::Failed("value and value_handle differ".to_owned()));
        }
        Ok(Answer::Moved(Moved::On((cursor.key().to_vec(), value))))
    }

    fn take(&mut self, slot: usize, back: bool, count: usize) -> Outcome {
        let Some(Kept::Scan(scan)) = self.kept.get_mut(&slot) else { return Ok(Answer::Nothing) };
        let mut entries = Vec::new();
        for _ in 0..count {
            let next = if back { scan.next_back() } else { scan.next() };
            match next.transpose()? {
                Some(found) => entries.push(entry(found)),
                None => break,
            }
        }
        Ok(Answer::Entries(entries))
    }

    fn create(&mut self, db: &Db, name: &str) -> Outcome {
        let own = self.options.column_families.iter().find(|(family, _)| family == name);
        let options = own.map_or(&self.options.column_family, |(_, options)| options).clone();
        match db.create_column_family(name, options) {
            Err(Error::ColumnFamilyExists { .. }) => Ok(Answer::Exists),
            Err(error) => Err(error),
            Ok(family) => {
                self.families.insert(name.to_owned(), family);
                Ok(Answer::Done)
            }
        }
    }

    fn drop_family(&mut self, db: &Db, name: &str) -> Outcome {
        match db.drop_column_family(name) {
            Err(Error::ColumnFamilyMissing { .. }) => return Ok(Answer::Missing),
            result => result?,
        }
        let Some(stale) = self.families.remove(name) else { return Ok(Answer::Done) };
        match stale.put(b"late", b"") {
            Err(Error::ColumnFamilyMissing { .. }) => Ok(Answer::Done),
            Err(error) => Err(error),
            Ok(()) => Ok(Answer::Failed("a put in a dropped family succeeds".to_owned())),
        }
    }

    fn restart(&mut self, db: Db, restart: Restart) -> Outcome {
        self.db = None;
        if restart == Restart::Power || (restart == Restart::Kill && self.buffered) {
            db.sync()?;
        }
        if let (Restart::Kill | Restart::Power, Place::Memory(env)) = (restart, &self.place) {
            let kill = restart == Restart::Kill;
            let policy = if kill { CrashPolicy::KeepAll } else { CrashPolicy::DropUnsynced };
            self.place = Place::Memory(env.crash_image(policy, 0));
        }
        self.let_go();
        if restart == Restart::Reopen {
            db.close()?;
        } else {
            drop(db);
        }
        self.open()?;
        self.everything()
    }

    fn everything(&self) -> Outcome {
        let mut all = BTreeMap::new();
        for (name, family) in &self.families {
            all.insert(name.clone(), read(family.scan(..), Direction::Forward)?);
        }
        Ok(Answer::Everything(all))
    }

    /// Reads everything in several ways, which must agree.
    fn check(&self, db: &Db) -> Outcome {
        if !db.column_families().iter().eq(self.families.keys()) {
            return Ok(Answer::Failed(format!("the families are {:?}", db.column_families())));
        }
        for (name, family) in &self.families {
            let entries = read(family.scan(..), Direction::Forward)?;
            let mut backward = read(family.scan(..), Direction::Backward)?;
            backward.reverse();
            if entries != backward {
                return Ok(Answer::Failed(format!("{name} reads otherwise backward")));
            }
            for (key, value) in &entries {
                if family.get(key)?.as_deref() != Some(&value[..]) {
                    return Ok(Answer::Failed(format!("{name}: get and scan differ")));
                }
            }
        }
        db.check_manifest()?;
        match Db::open_env(self.place.env(), self.options.clone()) {
            Err(Error::Locked { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(Answer::Failed("the store can be opened twice".to_owned())),
        }
        self.everything()
    }
}

/// The entries of a scan, in the order in which they come.
fn read(mut scan: Scan, direction: Direction) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut from_back = direction == Direction::Backward;
    loop {
        let next = if from_back { scan.next_back() } else { scan.next() };
        match next.transpose()? {
            Some(found) => entries.push(entry(found)),
            None => return Ok(entries),
        }
        from_back ^= direction == Direction::BothEnds;
    }
}
