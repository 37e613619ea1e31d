//! What the harness knows a store must hold.
//!
//! Each key belongs to one thread of the writer, and a thread makes one write after another. So
//! after a kill the keys of a thread are as some number of its writes left them: at least those up
//! to the last that was acknowledged as more than `Buffered`, at most one more than was
//! acknowledged at all. A write that was refused may be there or not, whole either way.

use std::collections::BTreeMap;

use alluvium::Durability;

use crate::process::plan::{Plan, Write};
use crate::process::value::{Key, Version};
use crate::random::Random;

/// What a store holds.
pub type State = BTreeMap<Key, Version>;

/// A thread refuses no more writes than this in one life: each doubles what may be there.
pub const REFUSED_MAX: usize = 6;

/// A number for a whole state.
#[must_use]
pub fn fingerprint(state: &State) -> u64 {
    let mut sum = Random::new(state.len() as u64).next();
    for (key, version) in state {
        let of_key = [u64::from(key.family), u64::from(key.thread), u64::from(key.number)];
        let of_version = [version.generation, version.write, version.length].map(u64::from);
        sum = Random::for_case(&[&[sum], &of_key[..], &of_version[..]].concat()).next();
    }
    sum
}

/// How one write of a thread ended, as the harness heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was acknowledged.
    Acknowledged,
    /// It was answered with an error.
    Refused,
}

/// What a store must hold, kept over all lives of its writer.
#[derive(Debug)]
pub struct History {
    plan: Plan,
    state: State,
    generation: u32,
    heard: Vec<Vec<Heard>>,
}

impl History {
    /// The history of an empty store.
    #[must_use]
    pub fn new(plan: Plan) -> History {
        History { plan, state: State::new(), generation: 0, heard: Vec::new() }
    }

    /// What the store holds, when its writer is not at work.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The life of the writer that is under way, or ended last.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// A new life begins.
    pub fn begin(&mut self) {
        self.generation += 1;
        self.heard = vec![Vec::new(); usize::from(self.plan.threads)];
    }

    /// The next write of `thread` ended so; `number` is what the writer calls it.
    ///
    /// # Errors
    ///
    /// When it is not the next.
    pub fn hear(&mut self, thread: u8, number: u32, how: Heard) -> Result<(), String> {
        let heard = self.heard.get_mut(usize::from(thread));
        let heard = heard.ok_or_else(|| format!("there is no thread {thread}"))?;
        if number as usize != heard.len() + 1 {
            return Err(format!("thread {thread}: write {number} after {}", heard.len()));
        }
        heard.push(how);
        Ok(())
    }

    /// The writes that were acknowledged in this life.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.heard.iter().flatten().filter(|how| **how == Heard::Acknowledged).count()
    }

    /// Holds what was found after a life against what there may be, and takes it for what there is.
    ///
    /// # Errors
    ///
    /// How the two differ.
    pub fn resolve(&mut self, found: State) -> Result<(), String> {
        for thread in 0..self.plan.threads {
            let here = of_thread(&found, thread);
            let possible = self.possible(thread);
            if !possible.contains(&here) {
                return Err(self.complaint(thread, &possible, &here));
            }
        }
        if let Some(key) = found.keys().find(|key| key.thread >= self.plan.threads) {
            return Err(format!("{key:?} is a key that nobody wrote"));
        }
        self.state = found;
        self.heard.clear();
        Ok(())
    }

    /// Every state of the keys of `thread` that there may be.
    fn possible(&self, thread: u8) -> Vec<State> {
        let nothing = Vec::new();
        let heard = self.heard.get(usize::from(thread)).unwrap_or(&nothing);
        let write = |number: usize| self.plan.write(thread, self.generation, number as u32);
        let is_kept = |index: usize| {
            heard[index] == Heard::Acknowledged
                && write(index + 1).durability != Durability::Buffered
        };
        let kept =
            (0..heard.len()).rev().find(|index| is_kept(*index)).map_or(0, |index| index + 1);
        let mut states = vec![of_thread(&self.state, thread)];
        let mut possible = Vec::new();
        if kept == 0 {
            possible.clone_from(&states);
        }
        // One more than was heard of: the write that was under way.
        let under_way = usize::from(!self.heard.is_empty());
        for number in 1..=heard.len() + under_way {
            let refused = heard.get(number - 1) == Some(&Heard::Refused);
            let mut next = if refused { states.clone() } else { Vec::new() };
            for state in &states {
                let mut state = state.clone();
                apply(&mut state, &write(number));
                if !next.contains(&state) {
                    next.push(state);
                }
            }
            states = next;
            if number >= kept {
                possible.extend(states.iter().cloned());
            }
        }
        possible
    }

    fn complaint(&self, thread: u8, possible: &[State], here: &State) -> String {
        let heard = self.heard.get(usize::from(thread)).map_or(&[][..], Vec::as_slice);
        let (least, most) = match (possible.first(), possible.last()) {
            (Some(least), Some(most)) => (differences(least, here), differences(most, here)),
            _ => (String::new(), String::new()),
        };
        format!(
            "life {}, thread {thread}, {} writes heard of ({} refused): what is found is none of \
             the {} states that may be; against the least: {least}; against the most: {most}",
            self.generation,
            heard.len(),
            heard.iter().filter(|how| **how == Heard::Refused).count(),
            possible.len(),
        )
    }
}

/// The part of a state that is one thread's.
#[must_use]
pub fn of_thread(state: &State, thread: u8) -> State {
    let of_it = state.iter().filter(|(key, _)| key.thread == thread);
    of_it.map(|(key, version)| (*key, *version)).collect()
}

/// Does a write to a state.
pub fn apply(state: &mut State, write: &Write) {
    for (key, version) in &write.changes {
        match version {
            Some(version) => state.insert(*key, *version),
            None => state.remove(key),
        };
    }
}

/// The first few keys in which `found` is not `expected`.
#[must_use]
pub fn differences(expected: &State, found: &State) -> String {
    let mut keys: Vec<&Key> = expected.keys().chain(found.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut lines = Vec::new();
    for key in keys {
        let (expected, found) = (expected.get(key), found.get(key));
        if expected != found {
            lines.push(format!("{key:?}: found {found:?}, not {expected:?}"));
        }
    }
    let count = lines.len();
    lines.truncate(4);
    format!("{count} keys differ [{}]", lines.join(", "))
}

#[cfg(test)]
mod tests;
