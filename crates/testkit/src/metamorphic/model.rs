//! What a script must answer, from ordered maps: one line for each step, whatever the options.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metamorphic::answer::{Answer, Entry, Moved};
use crate::metamorphic::step::{Move, Put, Step, contains};
use crate::model::{Pairs, remove_range};
use crate::operation::{DEFAULT_FAMILY, Direction};

/// A family's contents, and which family of the name it is.
#[derive(Debug, Clone, Default)]
struct Family {
    incarnation: u64,
    pairs: Arc<Pairs>,
}

type State = BTreeMap<String, Family>;

/// A cursor or scan that is kept.
#[derive(Debug)]
enum Kept {
    Cursor { entries: Vec<Entry>, place: Option<usize> },
    Scan { left: std::vec::IntoIter<Entry> },
}

/// The model of a script.
#[derive(Debug)]
struct Model {
    state: State,
    snapshots: BTreeMap<usize, State>,
    kept: BTreeMap<usize, Kept>,
    families: u64,
}

/// The line that each step must answer with.
#[must_use]
pub fn history(steps: &[Step]) -> Vec<Answer> {
    let state = State::from([(DEFAULT_FAMILY.to_owned(), Family::default())]);
    let (snapshots, kept) = (BTreeMap::new(), BTreeMap::new());
    let mut model = Model { state, snapshots, kept, families: 1 };
    steps.iter().map(|step| model.step(step)).collect()
}

impl Model {
    fn step(&mut self, step: &Step) -> Answer {
        match step {
            Step::Write { changes, .. } => self.write(changes),
            Step::Get { family, key, at } => match self.pairs(family, *at) {
                Some(pairs) => Answer::Value(pairs.get(key).cloned()),
                None => Answer::Missing,
            },
            Step::Multi { family, keys } => match self.pairs(family, None) {
                Some(pairs) => {
                    Answer::Values(keys.iter().map(|key| pairs.get(key).cloned()).collect())
                }
                None => Answer::Missing,
            },
            Step::Scan { family, range, direction, at } => {
                self.scan(family, *at, *direction, |key| contains(range, key))
            }
            Step::Prefix { family, prefix, direction, at } => {
                self.scan(family, *at, *direction, |key| key.starts_with(prefix))
            }
            Step::Cursor { slot, family, at } => {
                let cursor = |entries| Kept::Cursor { entries, place: None };
                self.keep(*slot, family, *at, |_| true, cursor)
            }
            Step::Hold { slot, family, range, at } => {
                let scan = |entries: Vec<Entry>| Kept::Scan { left: entries.into_iter() };
                self.keep(*slot, family, *at, |key| contains(range, key), scan)
            }
            Step::Move { slot, movement } => self.move_cursor(*slot, movement),
            Step::Take { slot, back, count } => match self.kept.get_mut(slot) {
                Some(Kept::Scan { left }) => {
                    let mut take = || if *back { left.next_back() } else { left.next() };
                    Answer::Entries((0..*count).map_while(|_| take()).collect())
                }
                _ => Answer::Nothing,
            },
            Step::Close { slot } => Answer::is_there(self.kept.remove(slot).is_some()),
            Step::Snapshot { slot } => {
                self.snapshots.insert(*slot, self.state.clone());
                Answer::Done
            }
            Step::Release { slot } => Answer::is_there(self.snapshots.remove(slot).is_some()),
            Step::Create { family } => {
                if self.state.contains_key(family) {
                    return Answer::Exists;
                }
                self.families += 1;
                let new = Family { incarnation: self.families, pairs: Arc::default() };
                self.state.insert(family.clone(), new);
                Answer::Done
            }
            Step::Drop { family } => match self.state.remove(family) {
                Some(_) => Answer::Done,
                None => Answer::Missing,
            },
            Step::Flush { family: Some(family) } | Step::Compact { family: Some(family) }
                if !self.state.contains_key(family) =>
            {
                Answer::Missing
            }
            Step::Flush { .. } | Step::Compact { .. } | Step::Sync => Answer::Done,
            Step::Restart(_) => {
                self.snapshots.clear();
                self.kept.clear();
                self.everything()
            }
            Step::Check => self.everything(),
        }
    }

    fn write(&mut self, changes: &[Put]) -> Answer {
        for Put { family, key, value, end } in changes {
            let Some(family) = self.state.get_mut(family) else { continue };
            let pairs = Arc::make_mut(&mut family.pairs);
            match (value, end) {
                (Some(value), _) => drop(pairs.insert(key.clone(), value.bytes())),
                (None, Some(end)) => remove_range(pairs, key, end),
                (None, None) => drop(pairs.remove(key)),
            }
        }
        Answer::Done
    }

    /// What a family holds, now or in a snapshot. A family that is younger than the snapshot is
    /// empty in it.
    fn pairs(&self, name: &str, at: Option<usize>) -> Option<Arc<Pairs>> {
        let family = self.state.get(name)?;
        let Some(snapshot) = at.and_then(|slot| self.snapshots.get(&slot)) else {
            return Some(Arc::clone(&family.pairs));
        };
        let then = snapshot.get(name).filter(|then| then.incarnation == family.incarnation);
        Some(then.map(|then| Arc::clone(&then.pairs)).unwrap_or_default())
    }

    fn entries(
        &self,
        name: &str,
        at: Option<usize>,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<Vec<Entry>> {
        let pairs = self.pairs(name, at)?;
        let wanted = pairs.iter().filter(|(key, _)| wanted(key));
        Some(wanted.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn scan(
        &self,
        name: &str,
        at: Option<usize>,
        direction: Direction,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Answer {
        let Some(entries) = self.entries(name, at, wanted) else { return Answer::Missing };
        let mut left = entries.into_iter();
        let mut from_back = direction == Direction::Backward;
        Answer::Entries(
            std::iter::from_fn(|| {
                let entry = if from_back { left.next_back() } else { left.next() };
                from_back ^= direction == Direction::BothEnds;
                entry
            })
            .collect(),
        )
    }

    fn keep(
        &mut self,
        slot: usize,
        name: &str,
        at: Option<usize>,
        wanted: impl Fn(&[u8]) -> bool,
        kept: impl FnOnce(Vec<Entry>) -> Kept,
    ) -> Answer {
        match self.entries(name, at, wanted) {
            Some(entries) => {
                self.kept.insert(slot, kept(entries));
                Answer::Done
            }
            None => Answer::Missing,
        }
    }

    fn move_cursor(&mut self, slot: usize, movement: &Move) -> Answer {
        let Some(Kept::Cursor { entries, place }) = self.kept.get_mut(&slot) else {
            return Answer::Nothing;
        };
        let at = |index: usize| (index < entries.len()).then_some(index);
        *place = match movement {
            Move::First => at(0),
            Move::Last => entries.len().checked_sub(1),
            Move::Seek(key) => at(entries.partition_point(|(k, _)| k < key)),
            Move::Before(key) => entries.partition_point(|(k, _)| k <= key).checked_sub(1),
            Move::Next => place.and_then(|index| at(index + 1)),
            Move::Prev => place.and_then(|index| index.checked_sub(1)),
        };
        Answer::Moved(place.map_or(Moved::Off, |index| Moved::On(entries[index].clone())))
    }

    fn everything(&self) -> Answer {
        let all = |(name, family): (&String, &Family)| {
            let pairs = family.pairs.iter();
            (name.clone(), pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        Answer::Everything(self.state.iter().map(all).collect())
    }
}
