//! What a store must answer: an ordered map for each column family, and the history of them that a
//! crash may cut.
//!
//! Writes form one sequence. A crash leaves the state behind some write S of it, at or behind the
//! last write that was acknowledged as durable enough for the kind of crash; a write that failed or
//! was under way may be there or not, whole either way. Column families are created and dropped in
//! the manifest, which has a sequence of its own: what a crash leaves of it is independent of S.
//! A family that is dropped and created again under its name is another family, so writes name
//! families by `Incarnation`.

mod clock;

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium::Durability;
use alluvium::env::MemEnv;

use crate::operation::{Change, DEFAULT_FAMILY, Short};

/// The contents of a column family.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a reader sees: the contents of each family, by name.
pub type State = BTreeMap<String, Arc<Pairs>>;

/// Tells families of one name apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Incarnation(u32);

type Data = BTreeMap<Incarnation, Arc<Pairs>>;
type Catalog = BTreeMap<String, Incarnation>;
type Resolved = Vec<(Incarnation, Change)>;

/// What a crash spares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// The process died: everything that the operating system has.
    Process,
    /// The power went: everything that was synced.
    Power,
}

/// The model of one store.
#[derive(Debug, Clone)]
pub struct Model {
    /// `histories[i]`: the states that there may be behind the first `i` writes since the last
    /// recovery. More than one where a write's outcome is unknown.
    histories: Vec<Vec<Data>>,
    /// `catalogs[i]`: the families that there may be behind the first `i` creations and drops since
    /// then.
    catalogs: Vec<Vec<Catalog>>,
    /// What readers see now: without writes that failed.
    data: Data,
    catalog: Catalog,
    /// How many writes are sure to survive.
    on_disk: usize,
    with_os: usize,
    catalogs_on_disk: usize,
    next_incarnation: u32,
    under_way: Option<UnderWay>,
    /// The clock of a run that has one.
    clock: Option<MemEnv>,
    /// The latest time that the store has seen, in milliseconds since 1970.
    now_ms: u64,
}

#[derive(Debug, Clone)]
enum UnderWay {
    Write(Resolved),
    Catalog(CatalogChange),
}

#[derive(Debug, Clone)]
enum CatalogChange {
    Create(String, Incarnation),
    Drop(String),
}

impl CatalogChange {
    fn apply(&self, catalog: &mut Catalog) {
        match self {
            CatalogChange::Create(name, incarnation) => {
                catalog.insert(name.clone(), *incarnation);
            }
            CatalogChange::Drop(name) => {
                catalog.remove(name);
            }
        }
    }
}

/// Each of `states` changed, without doubles.
fn changed<T: Clone + PartialEq>(states: &[T], change: impl Fn(&mut T)) -> Vec<T> {
    let mut all: Vec<T> = Vec::with_capacity(states.len());
    for state in states {
        let mut state = state.clone();
        change(&mut state);
        if !all.contains(&state) {
            all.push(state);
        }
    }
    all
}

/// `states` and `more`, without doubles.
fn either<T: PartialEq>(mut states: Vec<T>, more: Vec<T>) -> Vec<T> {
    for state in more {
        if !states.contains(&state) {
            states.push(state);
        }
    }
    states
}

impl Default for Model {
    fn default() -> Model {
        let catalog = Catalog::from([(DEFAULT_FAMILY.to_owned(), Incarnation(0))]);
        Model {
            histories: vec![vec![Data::new()]],
            catalogs: vec![vec![catalog.clone()]],
            data: Data::new(),
            catalog,
            on_disk: 0,
            with_os: 0,
            catalogs_on_disk: 0,
            next_incarnation: 1,
            under_way: None,
            clock: None,
            now_ms: 0,
        }
    }
}

impl Model {
    /// What readers see.
    #[must_use]
    pub fn state(&self) -> State {
        self.visible(&self.catalog, &self.data)
    }

    /// What readers would see if nothing had expired.
    #[must_use]
    pub fn unexpired_state(&self) -> State {
        visible(&self.catalog, &self.data)
    }

    fn visible(&self, catalog: &Catalog, data: &Data) -> State {
        let state = visible(catalog, data).into_iter();
        state.map(|(name, pairs)| (name, self.alive(&pairs))).collect()
    }

    /// Whether `actual` is what readers see of `data`.
    fn same(&self, catalog: &Catalog, data: &Data, actual: &State) -> bool {
        same(catalog, data, actual, &|pairs| self.alive(pairs))
    }

    /// The contents of a family, or `None` where there is none of this name.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<Arc<Pairs>> {
        let incarnation = self.catalog.get(name)?;
        Some(self.data.get(incarnation).map(|pairs| self.alive(pairs)).unwrap_or_default())
    }

    /// How many writes were begun since the last recovery.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.histories.len() - 1
    }

    /// A write begins; its families exist. From here on a crash may leave it or not.
    pub fn begin_write(&mut self, changes: &[Change]) {
        let resolve = |change: &Change| {
            let incarnation = self.catalog[&change.family];
            (incarnation, change.clone())
        };
        let write: Resolved = changes.iter().map(resolve).collect();
        let before = &self.histories[self.histories.len() - 1];
        let after = changed(before, |data| apply(data, &write));
        self.histories.push(either(before.clone(), after));
        self.under_way = Some(UnderWay::Write(write));
    }

    /// How many states the writes of unknown outcome have fanned out to: twice as many with each.
    #[must_use]
    pub fn alternatives(&self) -> usize {
        self.histories[self.histories.len() - 1].len()
    }

    /// A creation begins.
    pub fn begin_create(&mut self, name: &str) {
        let incarnation = Incarnation(self.next_incarnation);
        self.next_incarnation += 1;
        self.begin_catalog(CatalogChange::Create(name.to_owned(), incarnation));
    }

    /// A drop begins.
    pub fn begin_drop(&mut self, name: &str) {
        self.begin_catalog(CatalogChange::Drop(name.to_owned()));
    }

    fn begin_catalog(&mut self, change: CatalogChange) {
        let before = &self.catalogs[self.catalogs.len() - 1];
        let after = changed(before, |catalog| change.apply(catalog));
        self.catalogs.push(either(before.clone(), after));
        self.under_way = Some(UnderWay::Catalog(change));
    }

    /// What was begun last has succeeded, a write with this durability.
    pub fn acknowledge(&mut self, durability: Durability) {
        match self.under_way.take() {
            Some(UnderWay::Write(write)) => {
                let end = self.histories.len() - 1;
                self.histories[end] = changed(&self.histories[end - 1], |data| apply(data, &write));
                apply(&mut self.data, &write);
                self.acknowledge_all(durability);
            }
            Some(UnderWay::Catalog(change)) => {
                let end = self.catalogs.len() - 1;
                self.catalogs[end] =
                    changed(&self.catalogs[end - 1], |catalog| change.apply(catalog));
                change.apply(&mut self.catalog);
                self.catalogs_on_disk = end;
            }
            None => {}
        }
    }

    /// What was begun last has failed: invisible now, there or not after a crash or reopening.
    pub fn fail(&mut self) {
        self.under_way = None;
    }

    /// What was begun last was refused before anything was done: it is not there, now or later.
    pub fn refuse(&mut self) {
        match self.under_way.take() {
            Some(UnderWay::Write(_)) => drop(self.histories.pop()),
            Some(UnderWay::Catalog(_)) => drop(self.catalogs.pop()),
            None => {}
        }
    }

    /// Every write so far has this durability (a flush, a sync, closing).
    pub fn acknowledge_all(&mut self, durability: Durability) {
        let writes = self.writes();
        if durability >= Durability::Os {
            self.with_os = writes;
        }
        if durability >= Durability::Disk {
            self.on_disk = writes;
        }
    }

    /// Compares what a store holds after a crash with what it may hold. On success the model goes
    /// on from there: a state that was recovered once never falls back.
    ///
    /// # Errors
    ///
    /// Says how `actual` differs from the nearest allowed states.
    pub fn recover(&mut self, actual: &State, survival: Survival) -> Result<(), String> {
        let first = match survival {
            Survival::Process => self.with_os,
            Survival::Power => self.on_disk,
        };
        for catalog in self.catalogs[self.catalogs_on_disk..].iter().rev().flatten() {
            if catalog.keys().ne(actual.keys()) {
                continue;
            }
            let allowed = self.histories[first..].iter().rev().flatten();
            if let Some(data) = { allowed }.find(|data| self.same(catalog, data, actual)) {
                let (catalog, data) = (catalog.clone(), data.clone());
                self.rebase(catalog, data);
                return Ok(());
            }
        }
        Err(self.explain(actual, first))
    }

    fn rebase(&mut self, catalog: Catalog, data: Data) {
        *self = Model {
            histories: vec![vec![data.clone()]],
            catalogs: vec![vec![catalog.clone()]],
            data,
            catalog,
            on_disk: 0,
            with_os: 0,
            catalogs_on_disk: 0,
            next_incarnation: self.next_incarnation,
            under_way: None,
            clock: self.clock.take(),
            now_ms: self.now_ms,
        };
    }

    fn explain(&self, actual: &State, first: usize) -> String {
        let last = self.writes();
        let mut text = format!("the store is at no write from {first} (acknowledged) to {last}");
        let catalog = &self.catalogs[self.catalogs.len() - 1][0];
        for (label, write) in [("acknowledged", first), ("last", last)] {
            let allowed = self.visible(catalog, &self.histories[write][0]);
            text += &format!("\n  against the state behind the {label} write, {write}:");
            text += &differences(&allowed, actual);
        }
        // Where an earlier state matches, say so: that is lost data, not mixed-up data.
        let lost = (0..first).rev().find(|write| {
            self.histories[*write].iter().any(|data| self.same(catalog, data, actual))
        });
        if let Some(write) = lost {
            text += &format!("\n  it is the state behind write {write}: acknowledged writes lost");
        }
        text
    }
}

fn apply(data: &mut Data, write: &Resolved) {
    for (incarnation, Change { key, value, end, .. }) in write {
        let pairs = Arc::make_mut(data.entry(*incarnation).or_default());
        match (value, end) {
            (Some(value), _) => drop(pairs.insert(key.clone(), value.clone())),
            (None, Some(end)) => remove_range(pairs, key, end),
            (None, None) => drop(pairs.remove(key)),
        }
    }
}

/// Removes every key from `start` up to `end`, excluded; none where that is the wrong way round.
pub fn remove_range(pairs: &mut Pairs, start: &[u8], end: &[u8]) {
    pairs.retain(|key, _| &key[..] < start || &key[..] >= end);
}

fn visible(catalog: &Catalog, data: &Data) -> State {
    let contents = |incarnation| data.get(incarnation).cloned().unwrap_or_default();
    catalog.iter().map(|(name, incarnation)| (name.clone(), contents(incarnation))).collect()
}

fn same(
    catalog: &Catalog,
    data: &Data,
    actual: &State,
    alive: &dyn Fn(&Arc<Pairs>) -> Arc<Pairs>,
) -> bool {
    catalog.len() == actual.len()
        && catalog.iter().all(|(name, incarnation)| {
            actual.get(name).is_some_and(|pairs| match data.get(incarnation) {
                Some(expected) => alive(expected) == *pairs,
                None => pairs.is_empty(),
            })
        })
}

/// The first few differences of two states, a line each.
#[must_use]
pub fn differences(expected: &State, actual: &State) -> String {
    let mut lines = Vec::new();
    for name in expected.keys().chain(actual.keys()) {
        match (expected.get(name), actual.get(name)) {
            (Some(expected), Some(actual)) => pair_differences(name, expected, actual, &mut lines),
            (Some(_), None) => lines.push(format!("family {name} is missing")),
            (None, _) => lines.push(format!("there is a family {name}")),
        }
    }
    lines.dedup();
    let more = lines.len().saturating_sub(8);
    lines.truncate(8);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    if lines.is_empty() {
        lines.push("no difference".to_owned());
    }
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

fn pair_differences(name: &str, expected: &Pairs, actual: &Pairs, lines: &mut Vec<String>) {
    for (key, value) in expected {
        match actual.get(key) {
            Some(found) if found == value => {}
            Some(found) => lines.push(format!(
                "{name} {}: {} instead of {}",
                Short(key),
                Short(found),
                Short(value)
            )),
            None => lines.push(format!("{name} {}: missing", Short(key))),
        }
    }
    for key in actual.keys().filter(|key| !expected.contains_key(*key)) {
        lines.push(format!("{name} {}: should not be there", Short(key)));
    }
}

#[cfg(test)]
mod tests;
