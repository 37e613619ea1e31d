//! Linking nodes in.
//!
//! Two facts shape this file. Keys often come in ascending order: then the new node belongs right
//! behind the last one, whose neighbours on all levels the writer remembers (the *finger*), and no
//! search is needed. And where they do not, a search is a chain of loads from memory, each of which
//! waits for the one before; alone, it leaves the processor idle. So a writer gathers up to
//! [`RECENT`] nodes and searches for all of their places in turns: a search that is about to touch
//! new memory asks for it and lets the others go on meanwhile. Measured, this makes four of one.
//! The group may gather over any number of writers; readers find its nodes in [`super::recent`].
//!
//! Nodes are linked in the order of insertion. A place that was found may lack nodes of the same
//! group, so linking looks forward from it again.

use std::cmp::Ordering as Order;
use std::sync::Arc;

use super::super::arena::{Arena, ChunkPool};
use super::SkipList;
use super::node::{Content, HEIGHT_MAX, Node, NodePtr, Side};
use super::recent::RECENT;
use crate::base::planted;
use crate::base::sync::MutexGuard;
use crate::base::sync::fine_atomic::Ordering;

/// The predecessors of a place on every level. Those above the list's height are the head.
type Path = [NodePtr; HEIGHT_MAX];

/// A node that is written but not linked, and how far the search for its place has come.
#[derive(Debug, Clone, Copy)]
struct Pending {
    node: NodePtr,
    prefix: u64,
    height: usize,
    /// Before the place, with `level` below its height.
    at: NodePtr,
    level: usize,
    /// A node whose key has been asked for, to be compared whole at the next turn.
    asked: NodePtr,
    /// A node that was compared whole and found behind the place.
    behind: NodePtr,
    path: Path,
}

/// What the mutex of a list guards.
#[derive(Debug)]
pub(super) struct WriterState {
    nodes: Arena,
    values: Arena,
    head: NodePtr,
    random: u64,
    /// The last linked node as its successor's predecessor: itself on its own levels.
    finger: Path,
    finger_prefix: u64,
    /// The newest trailer of all entries.
    newest: u64,
    /// The entries of `Recent`. Grows to [`RECENT`]; the first `pending_len` count.
    pending: Vec<Pending>,
    pending_len: usize,
}

impl WriterState {
    pub(super) fn new(pool: Option<Arc<ChunkPool>>) -> WriterState {
        let (mut nodes, mut values) = (Arena::new(pool.clone()), Arena::new(pool));
        // No entry has this trailer, so that the head is before every entry, the empty key's too.
        let content = Content { height: HEIGHT_MAX, user_key: b"", trailer: u64::MAX, value: b"" };
        let head = Node::create(&mut nodes, &mut values, content);
        WriterState {
            nodes,
            values,
            head,
            // Heights need no secret and repeat from run to run. Any number but 0 will do.
            random: 0x9e37_79b9_7f4a_7c15,
            finger: [head; HEIGHT_MAX],
            finger_prefix: 0,
            newest: 0,
            pending: Vec::new(),
            pending_len: 0,
        }
    }

    pub(super) fn head(&self) -> NodePtr {
        self.head
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.allocated_bytes() + self.values.allocated_bytes()
    }

    #[inline]
    fn defer(&mut self, node: NodePtr, prefix: u64, height: usize) {
        if self.pending_len == self.pending.len() {
            self.pending.push(Pending {
                node,
                prefix,
                height,
                at: self.head,
                level: 0,
                asked: self.head,
                behind: self.head,
                path: [self.head; HEIGHT_MAX],
            });
        }
        let pending = &mut self.pending[self.pending_len];
        (pending.node, pending.prefix, pending.height) = (node, prefix, height);
        self.pending_len += 1;
    }

    /// A height: 1, and one more with probability 1/4, again and again (xorshift64*, Vigna 2014).
    #[inline]
    fn random_height(&mut self) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        1 + (bits | 1 << (2 * (HEIGHT_MAX - 1))).trailing_zeros() as usize / 2
    }
}

/// The right to insert. Entries become visible to readers in the order of insertion, at the latest
/// when the writer is dropped.
#[derive(Debug)]
pub(in super::super) struct Writer<'a> {
    list: &'a SkipList,
    state: MutexGuard<'a, WriterState>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(list: &'a SkipList, state: MutexGuard<'a, WriterState>) -> Writer<'a> {
        Writer { list, state }
    }

    /// Inserts an entry.
    ///
    /// # Panics
    /// When key or value have 2^32 bytes or more.
    #[inline]
    pub(in super::super) fn insert(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        let list = self.list;
        let state = &mut *self.state;
        let height = state.random_height();
        if height > list.height.load(Ordering::Relaxed) {
            list.height.store(height, Ordering::Relaxed);
        }
        let content = Content { height, user_key, trailer, value };
        let node = Node::create(&mut state.nodes, &mut state.values, content);
        list.memory_bytes.store(state.memory_bytes(), Ordering::Relaxed);
        let entries = list.entries.load(Ordering::Relaxed) + 1;
        list.entries.store(entries, Ordering::Relaxed);

        let prefix = list.prefix_of(user_key);
        // Entries come in the order of their sequence numbers; one that does not is linked at once,
        // because what is recent must be newer than what is linked.
        let is_newest = trailer > state.newest;
        state.newest = state.newest.max(trailer);
        if state.pending_len == 0 && self.link_behind_finger(node, prefix, height) {
            return;
        }
        self.state.defer(node, prefix, height);
        if is_newest {
            list.recent.add(node, prefix);
        }
        if !is_newest || self.state.pending_len == RECENT {
            self.link_recent();
        }
    }

    /// Links the node if its place is right behind the node that was linked last.
    #[inline]
    fn link_behind_finger(&mut self, node: NodePtr, prefix: u64, height: usize) -> bool {
        let state = &mut *self.state;
        // SAFETY: as `live` says.
        let node = unsafe { live(self.list, node) };
        // SAFETY: as `live` says.
        let last = unsafe { live(self.list, state.finger[0]) };
        let is_behind = match state.finger_prefix.cmp(&prefix) {
            Order::Less => true,
            Order::Equal => last.is_before(&node.target(prefix)),
            Order::Greater => false,
        };
        // SAFETY: every node has level 0.
        if !is_behind || unsafe { next_before(last, 0, node, prefix) }.is_some() {
            return false;
        }
        // Nothing lies between the two, so the finger is the node's path.
        for level in 0..height {
            // SAFETY: as `live` says.
            let before = unsafe { live(self.list, state.finger[level]) };
            // SAFETY: the finger has a node of sufficient height on each level; `node` has
            // `height`.
            unsafe { link(before, level, node, prefix) };
            state.finger[level] = node.address();
        }
        state.finger_prefix = prefix;
        true
    }

    /// Links every pending node.
    #[inline(never)]
    pub(super) fn link_recent(&mut self) {
        let state = &mut *self.state;
        let Some(last) = state.pending_len.checked_sub(1) else { return };
        state.pending_len = 0;
        if planted::in_order("recent-forgotten-before-linked") {
            self.list.recent.clear();
        }
        let group = &mut state.pending[..=last];
        search(self.list, state.head, group);
        for pending in &mut group[..last] {
            link_found(self.list, pending, pending.height);
        }
        let levels = self.list.height.load(Ordering::Relaxed);
        link_found(self.list, &mut group[last], levels);
        state.finger = group[last].path;
        state.finger[..group[last].height].fill(group[last].node);
        state.finger_prefix = group[last].prefix;
        self.list.recent.clear();
    }
}

/// A node of `list`, for as long as the list.
///
/// # Safety
/// `at` comes from the list's `WriterState`: all of its addresses are those of nodes in its own
/// arenas, which go with the list.
#[inline]
unsafe fn live(_list: &SkipList, at: NodePtr) -> Node<'_> {
    // SAFETY: the caller's promise.
    unsafe { at.node() }
}

/// The node behind `from` at `level`, if it is before `node`. Only for the writer, to whom links
/// and prefixes are always of one piece.
///
/// # Safety
/// `level` is below the height of `from`.
#[inline]
unsafe fn next_before<'a>(
    from: Node<'a>,
    level: usize,
    node: Node<'_>,
    prefix: u64,
) -> Option<Node<'a>> {
    // SAFETY: the caller's promise.
    match unsafe { from.peek(level) }.side(prefix) {
        Side::Before(next) => Some(next),
        Side::Open(next) if next.is_before(&node.target(prefix)) => Some(next),
        Side::Open(_) | Side::Behind => None,
    }
}

/// Links `node` in behind `before` at `level`.
///
/// # Safety
/// `level` is below the height of both, they belong to one list, and the caller is its writer.
#[inline]
unsafe fn link<'a>(before: Node<'a>, level: usize, node: Node<'a>, prefix: u64) {
    // SAFETY: the caller's promise.
    let next = unsafe { before.peek(level) };
    // SAFETY: the caller's promise.
    unsafe { node.prepare(level, next) };
    // SAFETY: the caller's promise, and `node` leads on to where `before` leads.
    unsafe { before.publish(level, node, prefix) };
}

/// Finds the path of every node of the group, in turns.
fn search(list: &SkipList, head: NodePtr, group: &mut [Pending]) {
    let level = list.height.load(Ordering::Relaxed) - 1;
    for pending in &mut *group {
        (pending.at, pending.level) = (head, level);
        (pending.asked, pending.behind) = (head, head);
    }
    let mut open: [usize; RECENT] = std::array::from_fn(|index| index);
    let mut open_len = group.len();
    while open_len > 0 {
        let mut turn = 0;
        while turn < open_len {
            if advance(list, &mut group[open[turn]]) {
                open_len -= 1;
                open[turn] = open[open_len];
            } else {
                turn += 1;
            }
        }
    }
}

/// Takes a search on, to its end (then true) or to where it must wait for memory.
#[inline]
fn advance(list: &SkipList, pending: &mut Pending) -> bool {
    // SAFETY: as `live` says.
    let mut at = unsafe { live(list, pending.at) };
    loop {
        // SAFETY: `at` is the head, or was reached by a link at this level or above.
        match unsafe { at.peek(pending.level) }.side(pending.prefix) {
            Side::Before(next) => {
                next.prefetch_link(pending.level);
                pending.at = next.address();
                return false;
            }
            Side::Open(next) if pending.behind != next.address() => {
                if pending.asked != next.address() {
                    next.prefetch_key();
                    pending.asked = next.address();
                    pending.at = at.address();
                    return false;
                }
                // SAFETY: as `live` says.
                let node = unsafe { live(list, pending.node) };
                if next.is_before(&node.target(pending.prefix)) {
                    at = next;
                    continue;
                }
                pending.behind = next.address();
            }
            Side::Open(_) | Side::Behind => {}
        }
        pending.path[pending.level] = at.address();
        if pending.level == 0 {
            return true;
        }
        pending.level -= 1;
    }
}

/// Links a node on all of its levels. Its path was found before others of its group were linked,
/// so it is followed up to the place first, on the lowest `levels` levels.
fn link_found(list: &SkipList, pending: &mut Pending, levels: usize) {
    let prefix = pending.prefix;
    // SAFETY: as `live` says.
    let node = unsafe { live(list, pending.node) };
    // From level 0 up: a node that can be reached can be reached on all levels below.
    for (level, step) in pending.path[..levels].iter_mut().enumerate() {
        // SAFETY: as `live` says.
        let mut before = unsafe { live(list, *step) };
        // SAFETY: a path has nodes of sufficient height on each level.
        while let Some(next) = unsafe { next_before(before, level, node, prefix) } {
            before = next;
        }
        *step = before.address();
        if level < pending.height {
            // SAFETY: `before` is from the path; `node` has `height` levels.
            unsafe { link(before, level, node, prefix) };
        }
    }
}
