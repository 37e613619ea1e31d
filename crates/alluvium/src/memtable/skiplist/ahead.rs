//! The next nodes of a walk, found many at a time.
//!
//! Nodes of keys in random order lie anywhere, and a walk from each to the next waits for memory
//! at every step. But one node in `4^level` is on a level, and a walk from such a node to the one
//! behind it on that level needs nothing of the walks before it. So [`STRETCHES`] of these go side
//! by side: a step of one asks for the node that it leads to, and lets the others go on meanwhile.
//! (The search for many places, in [`super::insert`], takes turns in the same way.)
//!
//! What was found is remembered, in order, until the walk has come through. Nodes are never
//! unlinked, so it stays true; nodes that are linked in between meanwhile are missing from it, as a
//! walk may miss what was inserted after it began.
//!
//! How far to look depends on how far the walk has come already: what it never comes to was found
//! in vain. Measured, a step in the middle of 1,800,000 nodes in random order takes 37 ns instead
//! of 113.

use std::array;

use super::SkipList;
use super::node::{Node, NodePtr};

/// Stretches that are walked side by side: while the others have their turns, memory answers.
const STRETCHES: usize = 16;
/// The highest level whose nodes part the stretches.
const LEVEL_MAX: usize = 3;
/// Steps of a walk before it looks ahead at all.
const STEPS_BEFORE: usize = if cfg!(any(loom, debug_assertions)) { 2 } else { 16 };
/// How many nodes a stretch may have for each that it has at the mean. Heights are drawn, so that
/// longer ones are rare; but whoever knows the draws could put many low nodes side by side.
const LONGER_THAN_MEAN: usize = 6;

/// Nodes that a walk will come to. See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Of one list, each right behind the one before when it was found.
    nodes: Vec<NodePtr>,
    /// How many of them the walk has come through.
    passed: usize,
}

/// The part of a list from a node to the next on some level.
struct Stretch<'a> {
    /// Where the walk through it is.
    at: Node<'a>,
    /// The node behind it; `None` at the end of the list.
    end: Option<Node<'a>>,
    /// Nodes found, those at both ends not counted.
    found: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Walking,
    /// The walk has come to the end of the stretch.
    Whole,
    /// There was no room for what follows.
    Cut,
}

impl Ahead {
    /// The next node, if it is known.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<NodePtr> {
        let next = self.nodes.get(self.passed).copied();
        self.passed += usize::from(next.is_some());
        next
    }

    /// Forgets what was found: the walk goes on elsewhere.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.passed = 0;
    }

    /// Finds nodes behind `from`, one at least if there is one, for a walk that has come `steps`
    /// steps; how many. Zero, too, where it is too early to look ahead.
    pub(super) fn fill<'a>(&mut self, list: &'a SkipList, from: Node<'a>, steps: usize) -> usize {
        self.clear();
        let Some(level) = level_after(steps) else { return 0 };
        let room = LONGER_THAN_MEAN << (2 * level);
        // One place more for the end of each stretch.
        self.nodes.resize(STRETCHES * (room + 1), from.address());
        let mut stretches = stretches_from(list, from, level);
        let mut walking = true;
        while walking {
            walking = false;
            let rooms = self.nodes.chunks_exact_mut(room + 1);
            for (stretch, found) in stretches.iter_mut().zip(rooms) {
                walking |= stretch.step(&mut found[..room]);
            }
        }
        let mut packed = 0;
        for (index, stretch) in stretches.iter().enumerate() {
            let start = index * (room + 1);
            self.nodes.copy_within(start..start + stretch.found, packed);
            packed += stretch.found;
            match stretch.end {
                Some(end) if stretch.state == State::Whole => self.nodes[packed] = end.address(),
                _ => break,
            }
            packed += 1;
        }
        self.nodes.truncate(packed);
        packed
    }
}

/// The level whose stretches a walk of so many steps looks through: it finds fewer nodes than it
/// has come through, or not many more.
fn level_after(steps: usize) -> Option<usize> {
    let nodes = |level: usize| STRETCHES << (2 * level);
    let level = (2..=LEVEL_MAX).rev().find(|&level| steps >= nodes(level)).unwrap_or(1);
    (steps >= STEPS_BEFORE).then_some(level)
}

/// The stretches from `from` on; where the list ends before the last, that is the same as the one
/// before it.
fn stretches_from<'a>(
    list: &'a SkipList,
    from: Node<'a>,
    level: usize,
) -> [Stretch<'a>; STRETCHES] {
    let mut end = first_high_behind(list, from, level);
    let mut at = from;
    array::from_fn(|index| {
        if index > 0
            && let Some(start) = end
        {
            at = start;
            // SAFETY: `start` was reached by a link at this level.
            end = unsafe { start.peek(level) }.node();
        }
        at.prefetch_entry();
        Stretch { at, end, found: 0, state: State::Walking }
    })
}

/// The first node behind `from` that is on `level`.
fn first_high_behind<'a>(list: &'a SkipList, from: Node<'a>, level: usize) -> Option<Node<'a>> {
    let target = from.target(list.prefix_of(from.parts().0));
    let (mut node, _) = list.node_before_at(&target, level);
    loop {
        // SAFETY: `node` is the head or was reached by a link at this level.
        let next = unsafe { node.peek(level) }.node()?;
        if next != from && !next.is_before(&target) {
            return Some(next);
        }
        node = next;
    }
}

impl Stretch<'_> {
    /// Goes on by one node, which is noted in `nodes` behind those found before; whether there may
    /// be more.
    #[inline]
    fn step(&mut self, nodes: &mut [NodePtr]) -> bool {
        if self.state != State::Walking {
            return false;
        }
        let next = self.at.next();
        if next == self.end {
            self.state = State::Whole;
            return false;
        }
        let Some(node) = next else {
            self.state = State::Cut;
            return false;
        };
        let Some(free) = nodes.get_mut(self.found) else {
            self.state = State::Cut;
            return false;
        };
        *free = node.address();
        self.found += 1;
        node.prefetch_entry();
        // What this node is made of has come meanwhile.
        self.at.prefetch_value();
        self.at = node;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of these keys, inserted in this order.
    fn list(keys: impl Iterator<Item = [u8; 5]>) -> SkipList {
        let list = SkipList::new(b"", None);
        for (seq, key) in keys.enumerate() {
            list.writer().insert(&key, seq as u64, b"value");
        }
        list.link_recent();
        list
    }

    fn key(kind: u8, number: u32) -> [u8; 5] {
        let [a, b, c, d] = number.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// The numbers of the keys that one look ahead finds behind the key of number `from`, when the
    /// walk has come `steps` steps.
    fn found(list: &SkipList, from: u32, steps: usize) -> Vec<u32> {
        let number = |node: Node<'_>| {
            let (key, _) = node.parts();
            u32::from_be_bytes(key[1..].try_into().unwrap())
        };
        let mut node = list.head().next().unwrap();
        while number(node) != from {
            node = node.next().unwrap();
        }
        let mut ahead = Ahead::default();
        let count = ahead.fill(list, node, steps);
        // SAFETY: the list lives on.
        let found = std::iter::from_fn(|| ahead.pop()).map(|at| number(unsafe { at.node() }));
        let found: Vec<u32> = found.collect();
        assert_eq!(found.len(), count);
        found
    }

    #[test]
    fn every_look_ahead_finds_what_follows_and_nothing_else() {
        let count = if cfg!(miri) { 150 } else { 3000 };
        let list = list((0..count).map(|number| key(0, number)));
        for steps in [STEPS_BEFORE, 300, 3000] {
            for from in (0..count - 1).step_by(7) {
                let found = found(&list, from, steps);
                assert!(!found.is_empty());
                assert!(found.iter().copied().eq(from + 1..=from + found.len() as u32));
            }
            assert_eq!(found(&list, count - 2, steps), [count - 1]);
            assert_eq!(found(&list, count - 1, steps), []);
            let many = found(&list, 0, steps).len();
            let few = if cfg!(miri) { 0 } else { steps.min(1000) / 3 };
            assert!(many > few, "{many} nodes for a walk of {steps} steps");
            assert!(many < 2 * steps + 100, "{many} nodes for a walk of {steps} steps");
        }
        assert_eq!(found(&list, 0, STEPS_BEFORE - 1), []);
    }

    #[test]
    fn a_stretch_of_low_nodes_only_is_cut() {
        let (count, level) = (400, 2);
        let ascending = list((0..count).map(|number| key(0, number)));
        let mut is_high = vec![false; count as usize];
        let mut node = ascending.head();
        // SAFETY: the head has every level, and the others are reached by links at this one.
        while let Some(next) = unsafe { node.peek(level) }.node() {
            let (key, _) = next.parts();
            is_high[u32::from_be_bytes(key[1..].try_into().unwrap()) as usize] = true;
            node = next;
        }
        // The same heights are drawn again; this time the high nodes stand behind all others.
        let kind = |number: u32| u8::from(is_high[number as usize]);
        let list = list((0..count).map(|number| key(kind(number), number)));
        let mut low = (0..count).filter(|&number| kind(number) == 0);
        let first = low.next().unwrap();
        let expected: Vec<u32> = low.take(LONGER_THAN_MEAN << (2 * level)).collect();
        assert_eq!(found(&list, first, 300), expected);
    }
}
