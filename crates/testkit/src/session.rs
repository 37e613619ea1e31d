//! A store and its model side by side: does an operation to both and compares every answer.
//!
//! The environment may crash or fail under it. Then the store's error comes back as
//! [`Failure::Store`], the model knows what was acknowledged, and what was under way counts as of
//! unknown outcome; whoever runs the session decides whether the error was due.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use alluvium::env::Env;
use alluvium::{
    Bytes, ColumnFamily, ColumnFamilyOptions, Cursor, Db, Durability, Error, Options, Scan,
    Snapshot, WriteBatch, WriteOptions,
};

use crate::model::{Model, Pairs, State, Survival, differences};
use crate::operation::{Change, DEFAULT_FAMILY, Direction, KeyRange, Move, Operation, Short};

/// Why a session stopped.
#[derive(Debug)]
pub enum Failure {
    /// The store answered with an error.
    Store(Error),
    /// The store's answer is not the model's.
    Mismatch(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(error) => write!(f, "the store failed: {error}"),
            Failure::Mismatch(text) => f.write_str(text),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

type Outcome<T = ()> = Result<T, Failure>;

fn mismatch<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::Mismatch(text.into()))
}

/// A snapshot, and what it must show.
#[derive(Debug)]
struct Held {
    snapshot: Snapshot,
    state: State,
    /// The families of that time that were not dropped since.
    families: BTreeSet<String>,
}

/// A store, its model, and the handles between them.
#[derive(Debug)]
pub struct Session {
    env: Arc<dyn Env>,
    options: Options,
    db: Option<Db>,
    handles: BTreeMap<String, ColumnFamily>,
    snapshots: BTreeMap<usize, Held>,
    /// What the store must hold.
    pub model: Model,
}

impl Session {
    /// A session on `env`, where `model` says what there is. Nothing is opened yet.
    #[must_use]
    pub fn new(env: Arc<dyn Env>, options: Options, model: Model) -> Session {
        let (handles, snapshots) = (BTreeMap::new(), BTreeMap::new());
        Session { env, options, db: None, handles, snapshots, model }
    }

    /// Opens the store.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub fn open(&mut self) -> Outcome {
        self.model.wind_clock();
        let db = Db::open_env(Arc::clone(&self.env), self.options.clone())?;
        self.handles.clear();
        for name in db.column_families() {
            self.handles.insert(name.clone(), db.column_family(&name)?);
        }
        self.db = Some(db);
        Ok(())
    }

    /// Closes the store: everything it acknowledged is then on disk.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub fn close(&mut self) -> Outcome {
        self.snapshots.clear();
        self.handles.clear();
        if let Some(db) = self.db.take() {
            db.close()?;
            self.model.acknowledge_all(Durability::Disk);
        }
        Ok(())
    }

    /// Drops every handle without closing.
    pub fn abandon(&mut self) {
        self.snapshots.clear();
        self.handles.clear();
        self.db = None;
    }

    /// Whether the store is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.db.is_some()
    }

    /// Opens the store after its process ended somehow, and compares what is there with what may be
    /// there.
    ///
    /// # Errors
    ///
    /// As the store's, or what differs.
    pub fn open_again(&mut self, survival: Survival) -> Outcome {
        self.open()?;
        let actual = self.read_all()?;
        self.model.recover(&actual, survival).map_err(Failure::Mismatch)
    }

    /// Notes that what was begun has failed with `error`.
    fn failed(&mut self, error: Error) -> Failure {
        match error {
            Error::WriteStopped { .. } | Error::Closed => self.model.refuse(),
            _ => self.model.fail(),
        }
        Failure::Store(error)
    }

    /// The open store.
    ///
    /// # Panics
    ///
    /// Where it is not open.
    #[must_use]
    pub fn db(&self) -> &Db {
        self.db.as_ref().expect("the session is open")
    }

    /// Does one operation to store and model.
    ///
    /// # Errors
    ///
    /// The store's error, or how its answer differs.
    pub fn step(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Write { changes, durability } => self.write(changes, *durability),
            Operation::Get { family, key, snapshot } => self.get(family, key, *snapshot),
            Operation::MultiGet { family, keys } => self.multi_get(family, keys),
            Operation::Scan { family, range, direction, snapshot } => {
                self.scan(family, range, *direction, *snapshot)
            }
            Operation::Prefix { family, prefix, direction } => {
                self.prefix(family, prefix, *direction)
            }
            Operation::Cursor { family, moves } => self.cursor(family, moves),
            Operation::Snapshot { slot } => {
                let (snapshot, state) = (self.db().snapshot(), self.model.unexpired_state());
                let families = self.handles.keys().cloned().collect();
                self.snapshots.insert(*slot, Held { snapshot, state, families });
                Ok(())
            }
            Operation::Release { slot } => {
                self.snapshots.remove(slot);
                Ok(())
            }
            Operation::Flush { family } => self.flush(family.as_deref()),
            Operation::Compact { family } => self.compact(family.as_deref()),
            Operation::Sync => {
                self.db().sync()?;
                self.model.acknowledge_all(Durability::Disk);
                Ok(())
            }
            Operation::CreateFamily { name } => self.create_family(name),
            Operation::DropFamily { name } => self.drop_family(name),
            Operation::Reopen => {
                self.close()?;
                // Strict, but for what failed before: everything is acknowledged by now.
                self.open_again(Survival::Process)
            }
            Operation::DropAndReopen => {
                self.abandon();
                // Handles were dropped in good order, but nothing was promised of buffered writes.
                self.open_again(Survival::Process)
            }
            Operation::Clock(step) => {
                if self.model.move_clock(*step) {
                    // The store looks at it: from here on it is no earlier for it.
                    drop(self.db().cursor()?);
                }
                Ok(())
            }
            Operation::CheckAll => self.check_all(),
        }
    }

    fn write(&mut self, changes: &[Change], durability: Durability) -> Outcome {
        let known = changes.iter().filter(|c| self.handles.contains_key(&c.family)).cloned();
        let settled = |change: Change| Change {
            value: change.value.map(|value| self.model.settled(value)),
            ..change
        };
        let known = known.filter(|change| !change.is_nothing());
        let known: Vec<Change> = known.map(settled).collect();
        if known.is_empty() {
            // Writes nothing, and so says nothing of the writes before it.
            return Ok(self.db().write_with(WriteBatch::new(), &WriteOptions { durability })?);
        }
        self.model.begin_write(&known);
        let result = match (&known[..], durability == self.options.durability) {
            ([Change { family, key, value, end }], true) if self.expiry_of(value).is_none() => {
                let family = &self.handles[family];
                match (value, end) {
                    (Some(value), _) => family.put(key, value),
                    (None, Some(end)) => family.delete_range(key, end),
                    (None, None) => family.delete(key),
                }
            }
            _ => {
                let mut batch = WriteBatch::new();
                for Change { family, key, value, end } in &known {
                    let in_default = family == DEFAULT_FAMILY;
                    let family = &self.handles[family];
                    let expiry = self.expiry_of(value);
                    match (value, end) {
                        (Some(value), _) if expiry.is_some() => {
                            put_expiring(&mut batch, family, key, value, expiry);
                        }
                        (Some(value), _) if in_default => batch.put(key, value),
                        (Some(value), _) => batch.put_in(family, key, value),
                        (None, Some(end)) if in_default => batch.delete_range(key, end),
                        (None, Some(end)) => batch.delete_range_in(family, key, end),
                        (None, None) if in_default => batch.delete(key),
                        (None, None) => batch.delete_in(family, key),
                    }
                }
                self.db().write_with(batch, &WriteOptions { durability })
            }
        };
        match result {
            Ok(()) => self.model.acknowledge(durability),
            Err(error) => return Err(self.failed(error)),
        }
        Ok(())
    }

    fn expiry_of(&self, value: &Option<Vec<u8>>) -> Option<(Duration, Duration)> {
        value.as_ref().and_then(|value| self.model.expiry_of(value))
    }

    fn flush(&mut self, name: Option<&str>) -> Outcome {
        match name {
            None => {
                self.db().flush()?;
                self.model.acknowledge_all(Durability::Disk);
            }
            // One family only: what the others hold may be in the log only, unsynced.
            Some(name) => match self.handles.get(name) {
                Some(family) => family.flush()?,
                None => self.expect_missing(name)?,
            },
        }
        Ok(())
    }

    fn compact(&mut self, name: Option<&str>) -> Outcome {
        match name {
            None => self.db().compact()?,
            Some(name) => match self.handles.get(name) {
                Some(family) => family.compact()?,
                None => self.expect_missing(name)?,
            },
        }
        Ok(())
    }

    fn create_family(&mut self, name: &str) -> Outcome {
        let exists = self.model.family(name).is_some();
        if !exists {
            self.model.begin_create(name);
        }
        let options = self.family_options(name);
        match self.db().create_column_family(name, options) {
            Ok(_) if exists => mismatch(format!("family {name} was created twice")),
            Ok(family) => {
                self.model.acknowledge(Durability::Disk);
                self.handles.insert(name.to_owned(), family);
                Ok(())
            }
            Err(Error::ColumnFamilyExists { .. }) if exists => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn family_options(&self, name: &str) -> ColumnFamilyOptions {
        let own = self.options.column_families.iter().find(|(family, _)| family == name);
        own.map_or_else(|| self.options.column_family.clone(), |(_, options)| options.clone())
    }

    fn drop_family(&mut self, name: &str) -> Outcome {
        if self.model.family(name).is_none() {
            return match self.db().drop_column_family(name) {
                Err(Error::ColumnFamilyMissing { .. }) => Ok(()),
                Err(error) => Err(error.into()),
                Ok(()) => mismatch(format!("dropped family {name}, which does not exist")),
            };
        }
        self.model.begin_drop(name);
        if let Err(error) = self.db().drop_column_family(name) {
            return Err(self.failed(error));
        }
        self.model.acknowledge(Durability::Disk);
        for held in self.snapshots.values_mut() {
            held.families.remove(name);
        }
        let Some(stale) = self.handles.remove(name) else { return Ok(()) };
        match stale.put(b"late", b"") {
            Err(Error::ColumnFamilyMissing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => mismatch(format!("a put in the dropped family {name} succeeds")),
        }
    }

    fn expect_missing(&self, name: &str) -> Outcome {
        match self.db().column_family(name) {
            Err(Error::ColumnFamilyMissing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => mismatch(format!("family {name} should not exist")),
        }
    }

    /// What a family must hold, now or in a snapshot; none where there is nobody to ask.
    fn expected(&self, name: &str, slot: Option<usize>) -> Outcome<Option<Arc<Pairs>>> {
        let held = slot.and_then(|slot| self.snapshots.get(&slot));
        if !self.handles.contains_key(name) {
            self.expect_missing(name)?;
            return Ok(None);
        }
        let Some(held) = held else { return Ok(self.model.family(name)) };
        // A family made behind the snapshot is empty in it, whatever an older one of its name had.
        let there = held.families.contains(name);
        let pairs = held.state.get(name).filter(|_| there).map(|pairs| self.model.alive(pairs));
        Ok(Some(pairs.unwrap_or_default()))
    }

    fn held(&self, slot: Option<usize>) -> Option<&Held> {
        slot.and_then(|slot| self.snapshots.get(&slot))
    }

    fn get(&self, name: &str, key: &[u8], slot: Option<usize>) -> Outcome {
        let Some(expected) = self.expected(name, slot)? else { return Ok(()) };
        let found = match self.held(slot) {
            Some(held) => held.snapshot.get_in(&self.handles[name], key),
            None if name == DEFAULT_FAMILY => self.db().get(key),
            None => self.handles[name].get(key),
        };
        compare_value(name, key, expected.get(key), found?.as_ref())
    }

    fn multi_get(&self, name: &str, keys: &[Vec<u8>]) -> Outcome {
        let Some(expected) = self.expected(name, None)? else { return Ok(()) };
        let found = self.handles[name].multi_get(keys)?;
        if found.len() != keys.len() {
            return mismatch(format!("{} answers to {} keys", found.len(), keys.len()));
        }
        for (key, found) in keys.iter().zip(&found) {
            compare_value(name, key, expected.get(key), found.as_ref())?;
        }
        Ok(())
    }

    fn scan(
        &self,
        name: &str,
        range: &KeyRange,
        direction: Direction,
        slot: Option<usize>,
    ) -> Outcome {
        let Some(expected) = self.expected(name, slot)? else { return Ok(()) };
        let scan = match self.held(slot) {
            Some(held) => held.snapshot.scan_in(&self.handles[name], range.clone()),
            None => self.handles[name].scan(range.clone()),
        };
        let inside = |(key, _): &(&Vec<u8>, &Vec<u8>)| contains(range, key);
        let expected: Vec<_> = expected.iter().filter(inside).collect();
        compare_scan(name, &expected, scan, direction)
    }

    fn prefix(&self, name: &str, prefix: &[u8], direction: Direction) -> Outcome {
        let Some(expected) = self.expected(name, None)? else { return Ok(()) };
        let expected: Vec<_> = expected.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        compare_scan(name, &expected, self.handles[name].prefix(prefix), direction)
    }

    fn cursor(&self, name: &str, moves: &[Move]) -> Outcome {
        let Some(expected) = self.expected(name, None)? else { return Ok(()) };
        let pairs: Vec<_> = expected.iter().collect();
        let mut cursor = self.handles[name].cursor()?;
        // Where the cursor must be: an index of `pairs`, or none.
        let mut place: Option<usize> = None;
        for (step, movement) in moves.iter().enumerate() {
            if place.is_none() && matches!(movement, Move::Next | Move::Prev) {
                continue;
            }
            place = match move_both(&mut cursor, &pairs, place, movement) {
                Ok(place) => place,
                Err(_) if cursor.valid() || cursor.next().is_ok() || cursor.prev().is_ok() => {
                    return mismatch(format!("{name}: the cursor goes on behind an error"));
                }
                Err(failure) => return Err(failure),
            };
            let expected = place.map(|index| pairs[index]);
            let found = cursor.valid().then(|| (cursor.key().to_vec(), cursor.value().to_vec()));
            if found.as_ref().map(|(key, value)| (key, value)) != expected {
                return mismatch(format!(
                    "{name}: the cursor is at {found:?}, not {expected:?}, after move {step}"
                ));
            }
        }
        Ok(())
    }

    /// Everything in the store, read by scanning forward.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub fn read_all(&self) -> Outcome<State> {
        let mut state = State::new();
        for (name, family) in &self.handles {
            let pairs: Result<Pairs, Error> = family
                .scan(..)
                .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect();
            state.insert(name.clone(), Arc::new(pairs?));
        }
        Ok(state)
    }

    /// Closes the store, verifies every byte of it, and opens it again.
    ///
    /// # Errors
    ///
    /// As the store's, or the first damage found.
    pub fn verify(&mut self) -> Outcome {
        self.close()?;
        if let Some(damage) = alluvium::verify_env(Arc::clone(&self.env))?.damages.first() {
            return mismatch(format!("verify finds damage: {damage}"));
        }
        self.open()
    }

    /// Reads every family in every way, and every snapshot.
    ///
    /// # Errors
    ///
    /// As the store's, or what differs.
    pub fn check_all(&self) -> Outcome {
        let (expected, actual) = (self.model.state(), self.read_all()?);
        if expected != actual {
            return mismatch(format!("a full scan:{}", differences(&expected, &actual)));
        }
        for (name, pairs) in &expected {
            let all = (Bound::Unbounded, Bound::Unbounded);
            self.scan(name, &all, Direction::Backward, None)?;
            let keys: Vec<Vec<u8>> = pairs.keys().cloned().collect();
            self.multi_get(name, &keys)?;
            for key in keys {
                self.get(name, &key, None)?;
                // A neighbour that is mostly missing.
                let neighbour = [&key[..], b"\0"].concat();
                self.get(name, &neighbour, None)?;
            }
            for slot in self.snapshots.keys() {
                self.scan(name, &all, Direction::Forward, Some(*slot))?;
            }
        }
        Ok(())
    }
}

/// Puts a value that expires, in one of the ways that there are.
fn put_expiring(
    batch: &mut WriteBatch,
    family: &ColumnFamily,
    key: &[u8],
    value: &[u8],
    expiry: Option<(Duration, Duration)>,
) {
    let Some((time, ttl)) = expiry else { return };
    let in_default = family.name() == DEFAULT_FAMILY;
    match (in_default, key.len().is_multiple_of(2)) {
        (true, true) => batch.put_until(key, value, time),
        (true, false) => batch.put_with_ttl(key, value, ttl),
        (false, true) => batch.put_until_in(family, key, value, time),
        (false, false) => batch.put_with_ttl_in(family, key, value, ttl),
    }
}

fn move_both(
    cursor: &mut Cursor,
    pairs: &[(&Vec<u8>, &Vec<u8>)],
    place: Option<usize>,
    movement: &Move,
) -> Outcome<Option<usize>> {
    let at = |index: usize| (index < pairs.len()).then_some(index);
    Ok(match movement {
        Move::First => {
            cursor.seek_to_first()?;
            at(0)
        }
        Move::Last => {
            cursor.seek_to_last()?;
            pairs.len().checked_sub(1)
        }
        Move::Seek(key) => {
            cursor.seek(key)?;
            at(pairs.partition_point(|(k, _)| *k < key))
        }
        Move::SeekForPrev(key) => {
            cursor.seek_for_prev(key)?;
            pairs.partition_point(|(k, _)| *k <= key).checked_sub(1)
        }
        Move::Next => {
            cursor.next()?;
            place.and_then(|index| at(index + 1))
        }
        Move::Prev => {
            cursor.prev()?;
            place.and_then(|index| index.checked_sub(1))
        }
    })
}

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let above = match &range.0 {
        Bound::Included(from) => key >= &from[..],
        Bound::Excluded(from) => key > &from[..],
        Bound::Unbounded => true,
    };
    above
        && match &range.1 {
            Bound::Included(to) => key <= &to[..],
            Bound::Excluded(to) => key < &to[..],
            Bound::Unbounded => true,
        }
}

fn compare_value(
    name: &str,
    key: &[u8],
    expected: Option<&Vec<u8>>,
    found: Option<&Bytes>,
) -> Outcome {
    if found.map(|value| &value[..]) == expected.map(|value| &value[..]) {
        return Ok(());
    }
    let show = |value: Option<&[u8]>| value.map(|value| Short(value).to_string());
    mismatch(format!(
        "{name}: get {} gives {:?} instead of {:?}",
        Short(key),
        show(found.map(|value| &value[..])),
        show(expected.map(|value| &value[..]))
    ))
}

fn compare_scan(
    name: &str,
    expected: &[(&Vec<u8>, &Vec<u8>)],
    mut scan: Scan,
    direction: Direction,
) -> Outcome {
    let mut left = expected;
    let mut from_back = direction == Direction::Backward;
    loop {
        let found = if from_back { scan.next_back() } else { scan.next() }.transpose()?;
        let wanted = if from_back { left.split_last() } else { left.split_first() };
        let (wanted, rest) = match wanted {
            Some((wanted, rest)) => (Some(*wanted), rest),
            None => (None, left),
        };
        let same = match (&found, wanted) {
            (Some((key, value)), Some((k, v))) => key[..] == k[..] && value[..] == v[..],
            (None, None) => true,
            _ => false,
        };
        if !same {
            let found = found.map(|(key, _)| Short(&key).to_string());
            let wanted = wanted.map(|(key, _)| Short(key).to_string());
            let done = expected.len() - left.len();
            return mismatch(format!(
                "{name}: a scan {direction:?} gives {found:?} instead of {wanted:?} after {done}"
            ));
        }
        if found.is_none() {
            break;
        }
        left = rest;
        from_back ^= direction == Direction::BothEnds;
    }
    // Both ends stay ended.
    if scan.next().is_some() || scan.next_back().is_some() {
        return mismatch(format!("{name}: a scan goes on after its end"));
    }
    Ok(())
}
