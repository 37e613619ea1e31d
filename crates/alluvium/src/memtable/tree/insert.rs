//! Inserting.
//!
//! An entry goes behind the others of its leaf; a full leaf is split. Two facts shape the rest of
//! this file. Keys often come in ascending order: then the new entry belongs into the leaf of the
//! last one, which the writer remembers (the *finger*), and no search is needed. And where they do
//! not, a batch's entries go to leaves that are not in the processor's cache: so a writer finds the
//! leaves of up to [`GROUP`] entries, asks for all of them, and then adds the entries, in their
//! order.

use std::ptr::NonNull;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::arena::{Arena, ChunkPool};
use super::entry::Entry;
use super::inner::{Child, FAN, Inner, KeptSeparator, Separator};
use super::leaf::{LEAF, Leaf, Slot, Target};
use super::{At, Place, Route, Tree};
use crate::base::sync::MutexGuard;
use crate::base::sync::fine_atomic::Ordering;

/// Entries whose leaves are waited for together.
const GROUP: usize = if cfg!(loom) { 2 } else { 16 };

/// The inner nodes from the root down to a leaf, and which child leads on.
type Path<'a> = SmallVec<[(&'a Inner, usize); 12]>;

/// An entry that was written but not added to a leaf.
#[derive(Debug, Clone, Copy)]
struct Pending {
    slot: Slot<'static>,
    place: LeafPlace,
    /// The number of splits before its place was found: with one more, it may be another.
    splits: u64,
}

/// A leaf and its range, for keeping; see [`Place`].
#[derive(Debug, Clone, Copy)]
struct LeafPlace {
    leaf: At<Leaf>,
    from: Option<KeptSeparator>,
    to: Option<KeptSeparator>,
}

/// What the mutex of a tree guards.
#[derive(Debug)]
pub(super) struct WriterState {
    entries: Arena,
    nodes: Arena,
    first_root: At<Inner>,
    /// Leaves that nobody finds any more.
    free: Vec<At<Leaf>>,
    /// Where the last entry went, if that leaf was not split since.
    finger: Option<LeafPlace>,
    pending: Vec<Pending>,
    splits: u64,
}

impl WriterState {
    pub(super) fn new(pool: Option<Arc<ChunkPool>>) -> WriterState {
        let mut nodes = Arena::new(pool.clone());
        let leaf = At::new_in(&mut nodes, Leaf::new());
        let child = Child { from: None, at: leaf.as_ptr().cast() };
        // SAFETY: the leaf is in the arena of the node, whose level is 0.
        let root = unsafe { Inner::new(0, &[child]) };
        let first_root = At::new_in(&mut nodes, root);
        WriterState {
            entries: Arena::new(pool),
            nodes,
            first_root,
            free: Vec::new(),
            finger: None,
            pending: Vec::new(),
            splits: 0,
        }
    }

    pub(super) fn first_root(&self) -> At<Inner> {
        self.first_root
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.filled_bytes() + self.nodes.filled_bytes()
    }

    /// A leaf of these entries, which are in order.
    ///
    /// # Safety
    /// They are in `self.entries`.
    unsafe fn new_leaf(&mut self, slots: &[Slot<'_>]) -> At<Leaf> {
        let at = self.free.pop().unwrap_or_else(|| At::new_in(&mut self.nodes, Leaf::new()));
        // SAFETY: the node is in `self.nodes`.
        let leaf = unsafe { at.node() };
        // SAFETY: nobody finds it; the entries live as long as the nodes.
        unsafe { leaf.fill(slots) };
        at
    }
}

/// The right to insert. Entries become visible to readers in the order of insertion, at the latest
/// when the writer is dropped.
#[derive(Debug)]
pub(in super::super) struct Writer<'a> {
    tree: &'a Tree,
    state: MutexGuard<'a, WriterState>,
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.add_pending();
        self.tree.memory_bytes.store(self.state.memory_bytes(), Ordering::Relaxed);
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(tree: &'a Tree, state: MutexGuard<'a, WriterState>) -> Writer<'a> {
        Writer { tree, state }
    }

    /// Inserts an entry.
    ///
    /// # Panics
    /// When key or value have 2^32 bytes or more.
    #[inline]
    pub(in super::super) fn insert(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        let tree = self.tree;
        let state = &mut *self.state;
        // SAFETY: the arena goes with the tree, and nothing else keeps the entry.
        let entry = unsafe { Entry::create(&mut state.entries, user_key, trailer, value) };
        let entries = tree.entries.load(Ordering::Relaxed) + 1;
        tree.entries.store(entries, Ordering::Relaxed);

        let prefix = tree.prefix_of(user_key);
        let slot = Slot { prefix, entry };
        if state.pending.is_empty()
            && let Some(finger) = &state.finger
            // SAFETY: the finger is of this tree.
            && unsafe { finger.holds(slot) }
        {
            let leaf = finger.leaf;
            return self.add(slot, leaf);
        }
        let place = LeafPlace::keep(tree.place(Route::To(Target { prefix, user_key, trailer })));
        // SAFETY: the leaf goes with the tree.
        unsafe { place.leaf.node() }.prefetch();
        let splits = state.splits;
        state.pending.push(Pending { slot, place, splits });
        if state.pending.len() == GROUP {
            self.add_pending();
        }
    }

    /// Adds what was gathered to its leaves.
    #[inline]
    fn add_pending(&mut self) {
        if self.state.pending.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.state.pending);
        for Pending { place, .. } in &pending {
            // SAFETY: the leaf goes with the tree.
            unsafe { place.leaf.node() }.prefetch_next();
        }
        for Pending { slot, place, splits } in &pending {
            let moved = *splits != self.state.splits;
            let leaf = if moved { self.place_of(*slot).leaf } else { place.leaf };
            self.add(*slot, leaf);
        }
        if let Some(last) = pending.last()
            && last.splits == self.state.splits
        {
            self.state.finger = Some(last.place);
        }
        pending.clear();
        self.state.pending = pending;
    }

    fn place_of(&self, slot: Slot<'_>) -> LeafPlace {
        LeafPlace::keep(self.tree.place(Route::To(slot.target())))
    }

    /// Adds an entry to its leaf.
    #[inline]
    fn add(&mut self, slot: Slot<'static>, at: At<Leaf>) {
        // SAFETY: the leaf goes with the tree.
        let leaf = unsafe { at.node() };
        if leaf.is_full() {
            return self.split(slot, at);
        }
        // SAFETY: leaves and entries go with the tree, and this is its only writer.
        unsafe { leaf.add(slot) };
    }

    /// Makes room for an entry whose leaf is full, and adds it.
    #[cold]
    fn split(&mut self, slot: Slot<'static>, at: At<Leaf>) {
        // SAFETY: the leaf goes with the tree.
        let leaf = unsafe { at.node() };
        let path = self.path_to(&slot.target());
        self.state.splits += 1;
        let lengths = leaf.lengths();
        let last = leaf.slot(LEAF - 1);
        let is_behind = lengths.sorted == LEAF && last.is_some_and(|last| last.is_before(slot));
        if is_behind && self.may_begin_leaf(slot) {
            // Keys ascend: the leaf stays as it is.
            // SAFETY: the entry is in this tree's arena.
            let right = unsafe { self.state.new_leaf(&[slot]) };
            self.add_child(path, None, Child { from: Some(slot), at: right.as_ptr().cast() });
            self.state.finger = Some(self.place_of(slot));
            return;
        }
        let mut slots = Vec::with_capacity(LEAF + 1);
        let whole = leaf.read(&mut slots);
        debug_assert!(whole, "only the writer splits leaves");
        slots.insert(slots.partition_point(|other| other.is_before(slot)), slot);
        let (left, right) = slots.split_at(slots.len() / 2);
        let from = right[0];
        // SAFETY: the entries are in this tree's arena.
        let left = unsafe { self.state.new_leaf(left) };
        // SAFETY: as above.
        let right = unsafe { self.state.new_leaf(right) };
        let right = Child { from: Some(from), at: right.as_ptr().cast() };
        self.add_child(path, Some(left.as_ptr().cast()), right);
        self.state.free.push(at);
        self.state.finger = None;
    }

    /// Whether an entry that comes behind all of a full leaf may have a leaf to itself: not before
    /// one that is not half full. Else keys that descend there, such as the versions of one that is
    /// overwritten again and again, would get a leaf each.
    fn may_begin_leaf(&self, slot: Slot<'_>) -> bool {
        let to = self.tree.place(Route::To(slot.target())).to.and_then(Separator::slot);
        to.is_none_or(|to| {
            let behind = self.tree.place(Route::To(to.target()));
            behind.leaf.lengths().all >= LEAF / 2
        })
    }

    fn path_to(&self, target: &Target<'_>) -> Path<'a> {
        let mut path = Path::new();
        let mut node = self.tree.root();
        loop {
            let index = node.search(node.len(), target, false);
            path.push((node, index));
            if node.level() == 0 {
                return path;
            }
            node = node.inner(index);
        }
    }

    /// Puts a node behind the one at the end of the path, and `left` in the place of that one.
    fn add_child(&mut self, mut path: Path<'a>, left: Option<*mut u8>, right: Child<'_>) {
        let Some((node, index)) = path.pop() else {
            unreachable!("a root that is split is dealt with below it");
        };
        let len = node.len();
        let at_end = left.is_none() && index + 1 == len;
        if at_end && len < FAN {
            // SAFETY: the child is of the right kind and in this tree's arena; the writer's call.
            return unsafe { node.push(right) };
        }
        if at_end {
            // Keys ascend: the node stays as it is.
            let right = self.new_inner(node.level(), &[right]);
            return self.add_inner(path, node, None, right);
        }
        let mut children: SmallVec<[Child<'_>; FAN + 1]> =
            (0..len).map(|index| node.child(index)).collect();
        children[index].at = left.unwrap_or(children[index].at);
        children.insert(index + 1, right);
        if children.len() <= FAN {
            let copy = self.new_inner(node.level(), &children);
            self.replace(&path, copy.at);
        } else {
            let (left, right) = children.split_at(children.len() / 2);
            let left = self.new_inner(node.level(), left);
            let right = self.new_inner(node.level(), right);
            self.add_inner(path, node, Some(left), right);
        }
        node.die();
    }

    /// Puts `right` behind `node`, which the path leads to, and `left` in its place.
    fn add_inner(
        &mut self,
        path: Path<'a>,
        node: &'a Inner,
        left: Option<Child<'_>>,
        right: Child<'_>,
    ) {
        if !path.is_empty() {
            return self.add_child(path, left.map(|left| left.at), right);
        }
        let stays = Child { from: None, at: (&raw const *node).cast_mut().cast() };
        let root = self.new_inner(node.level() + 1, &[left.unwrap_or(stays), right]);
        self.tree.root.store(root.at.cast(), Ordering::Release);
    }

    /// Puts an inner node in the place of the one that the path leads to.
    fn replace(&mut self, path: &Path<'a>, with: *mut u8) {
        match path.last() {
            // SAFETY: the node is a copy of the child, of its level, in this tree's arena.
            Some((parent, index)) => unsafe { parent.replace(*index, with) },
            None => self.tree.root.store(with.cast(), Ordering::Release),
        }
    }

    /// An inner node, as a child.
    fn new_inner<'c>(&mut self, level: usize, children: &[Child<'c>]) -> Child<'c> {
        // SAFETY: the callers' children are nodes of this tree, of the level below.
        let node = unsafe { Inner::new(level, children) };
        let at = At::new_in(&mut self.state.nodes, node);
        Child { from: children[0].from, at: at.as_ptr().cast() }
    }
}

impl LeafPlace {
    fn keep(place: Place<'_>) -> LeafPlace {
        LeafPlace {
            leaf: At(NonNull::from(place.leaf)),
            from: place.from.map(Separator::keep),
            to: place.to.map(Separator::keep),
        }
    }

    /// Whether the entry belongs into the leaf.
    ///
    /// # Safety
    /// The tree of the leaf is alive.
    #[inline]
    unsafe fn holds(&self, slot: Slot<'_>) -> bool {
        // SAFETY: separators go with the tree.
        let order = |kept: KeptSeparator| unsafe { kept.separator() }.order(slot);
        self.from.is_none_or(|from| order(from).is_lt())
            && self.to.is_none_or(|to| order(to).is_gt())
    }
}
