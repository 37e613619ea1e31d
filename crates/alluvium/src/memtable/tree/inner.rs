//! An inner node: up to [`FAN`] children, and between them the entries that part them.
//!
//! Children and separators are never changed, but that a child that is an inner node may be
//! replaced by one that has the same children and more, and that a child may be added behind the
//! last. For any other change a copy takes the node's place. The old one stays where it is until
//! the tree goes, for readers who are there; it says that it is *dead*, because its leaves may soon
//! be used for something else.

use std::cmp::Ordering as Order;
use std::ptr::{self, NonNull};

use super::At;
use super::entry::Entry;
use super::leaf::{Leaf, Slot, Target};
use crate::base::planted;
use crate::base::sync::fine_atomic::{AtomicPtr, AtomicU64, Ordering};

/// Children of a node: its prefixes and its state lie in two lines of the processor's cache.
pub(super) const FAN: usize = if cfg!(loom) { 3 } else { 15 };

const DEAD: u64 = 1 << 32;

/// One child, of a node whose children are all leaves or all inner nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child<'a> {
    /// The first entry of the child's range; none in the leftmost of all children.
    pub(super) from: Option<Slot<'a>>,
    /// An [`At`] of a leaf or an inner node.
    pub(super) at: *mut u8,
}

/// See the module's documentation.
///
/// Invariant: separators and children live as long as the node; the children are leaves if and only
/// if `level` is 0.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Inner {
    /// How many children there are, and whether the node is dead.
    state: AtomicU64,
    /// Those of `entries`.
    prefixes: [AtomicU64; FAN],
    children: [AtomicPtr<u8>; FAN],
    /// The first entry of each child's range. That of the first child is null where the node is the
    /// leftmost of its level.
    entries: [AtomicPtr<u8>; FAN],
    level: usize,
}

/// The first entry of a child's range, by its place: mostly its prefix says enough, which has been
/// looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Separator<'a> {
    node: &'a Inner,
    index: usize,
}

impl<'a> Separator<'a> {
    /// The entry; `None` for the first child of all.
    #[inline]
    pub(super) fn slot(self) -> Option<Slot<'a>> {
        self.node.from(self.index)
    }

    /// On which side of the separator the entry is. Looks at entries only where prefixes are equal.
    #[inline]
    pub(super) fn order(self, slot: Slot<'_>) -> Order {
        match self.node.prefixes[self.index].load(Ordering::Relaxed).cmp(&slot.prefix) {
            Order::Equal => self.slot().map_or(Order::Less, |own| own.order(&slot.target())),
            unequal => unequal,
        }
    }

    /// The separator, for keeping.
    #[inline]
    pub(super) fn keep(self) -> KeptSeparator {
        KeptSeparator { node: At(NonNull::from(self.node)), index: self.index }
    }
}

/// A separator by the address of its node, which [`KeptSeparator::separator`] makes usable.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptSeparator {
    node: At<Inner>,
    index: usize,
}

impl KeptSeparator {
    /// # Safety
    /// The arena that holds the node lives for `'a`.
    #[inline]
    pub(super) unsafe fn separator<'a>(self) -> Separator<'a> {
        // SAFETY: the caller's promise.
        Separator { node: unsafe { self.node.node() }, index: self.index }
    }
}

impl Inner {
    /// A node of these children, 1 at least, in order.
    ///
    /// # Safety
    /// Children and separators live as long as the node, and the children are leaves if `level` is
    /// 0, else inner nodes.
    ///
    /// # Panics
    /// When there are more than [`FAN`].
    pub(super) unsafe fn new(level: usize, children: &[Child<'_>]) -> Inner {
        assert!(children.len() <= FAN);
        let child = |index: usize| children.get(index);
        let prefix = |child: &Child<'_>| child.from.map_or(0, |from| from.prefix);
        let entry = |child: &Child<'_>| child.from.map(|from| from.entry.as_ptr());
        Inner {
            state: AtomicU64::new(children.len() as u64),
            prefixes: std::array::from_fn(|i| AtomicU64::new(child(i).map_or(0, prefix))),
            children: std::array::from_fn(|i| {
                AtomicPtr::new(child(i).map_or(ptr::null_mut(), |child| child.at))
            }),
            entries: std::array::from_fn(|i| {
                AtomicPtr::new(child(i).and_then(entry).unwrap_or(ptr::null_mut()))
            }),
            level,
        }
    }

    /// 0 where the children are leaves.
    #[inline]
    pub(super) fn level(&self) -> usize {
        self.level
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.state.load(Ordering::Acquire) as u32 as usize
    }

    /// Whether another node has taken this one's place.
    #[inline]
    pub(super) fn is_dead(&self) -> bool {
        self.state.load(Ordering::Acquire) & DEAD != 0
    }

    /// To be called by the writer when readers find another node in this one's place.
    pub(super) fn die(&self) {
        if !planted::in_order("node-dies-in-silence") {
            self.state.store(self.state.load(Ordering::Relaxed) | DEAD, Ordering::Release);
        }
    }

    /// What parts the child at `index` from the one before.
    #[inline]
    pub(super) fn separator(&self, index: usize) -> Separator<'_> {
        Separator { node: self, index }
    }

    /// The first entry of the child's range.
    #[inline]
    fn from<'a>(&'a self, index: usize) -> Option<Slot<'a>> {
        let prefix = self.prefixes[index].load(Ordering::Relaxed);
        // SAFETY: null, or an entry that lives as long as the node.
        let entry = unsafe { Entry::from_ptr(self.entries[index].load(Ordering::Acquire)) }?;
        Some(Slot { prefix, entry })
    }

    /// The child at `index`, of which there is one.
    #[inline]
    pub(super) fn child<'a>(&'a self, index: usize) -> Child<'a> {
        Child { from: self.from(index), at: self.children[index].load(Ordering::Acquire) }
    }

    /// The child at `index`, of which there is one, in a node whose level is not 0.
    #[inline]
    pub(super) fn inner(&self, index: usize) -> &Inner {
        assert!(self.level > 0);
        let at = self.children[index].load(Ordering::Acquire).cast::<Inner>();
        // SAFETY: such a node's children are inner nodes that live as long as it does.
        unsafe { &*at }
    }

    /// The child at `index`, of which there is one, in a node whose level is 0.
    #[inline]
    pub(super) fn leaf(&self, index: usize) -> &Leaf {
        assert!(self.level == 0);
        let at = self.children[index].load(Ordering::Acquire).cast::<Leaf>();
        // SAFETY: such a node's children are leaves that live as long as it does.
        unsafe { &*at }
    }

    /// Puts a node of the same children and more in the place of an inner child.
    ///
    /// # Safety
    /// It is an inner node of one level less that lives as long as this one, and the caller is the
    /// only writer.
    pub(super) unsafe fn replace(&self, index: usize, with: *mut u8) {
        self.children[index].store(with, Ordering::Release);
    }

    /// Adds a child behind the last.
    ///
    /// # Safety
    /// As for [`Inner::new`]; the child's range is behind all others, and the caller is the only
    /// writer.
    ///
    /// # Panics
    /// When there are [`FAN`] already.
    pub(super) unsafe fn push(&self, child: Child<'_>) {
        let state = self.state.load(Ordering::Relaxed);
        let index = state as u32 as usize;
        let from = child.from.map(|from| (from.prefix, from.entry.as_ptr()));
        let (prefix, entry) = from.unwrap_or((0, ptr::null_mut()));
        self.prefixes[index].store(prefix, Ordering::Relaxed);
        self.entries[index].store(entry, Ordering::Release);
        self.children[index].store(child.at, Ordering::Release);
        let relaxed = planted::in_order("child-added-relaxed");
        self.state.store(state + 1, if relaxed { Ordering::Relaxed } else { Ordering::Release });
    }

    /// Which of the first `len` children has the target in its range: the last that begins at the
    /// target or before. With `strictly` the last that begins before the target.
    #[inline]
    pub(super) fn search(&self, len: usize, target: &Target<'_>, strictly: bool) -> usize {
        let (mut before, mut not_behind) = (0, 0);
        // Counting has no branch that the processor would have to guess.
        for prefix in &self.prefixes[1..len] {
            let prefix = prefix.load(Ordering::Relaxed);
            before += usize::from(prefix < target.prefix);
            not_behind += usize::from(prefix <= target.prefix);
        }
        if before == not_behind {
            return before;
        }
        // Separators of the same prefix: the whole keys must be compared.
        let (mut low, mut high) = (before, not_behind);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let order = self.from(middle).map(|from| from.order(target));
            if order.is_none_or(|order| order.is_lt() || order.is_eq() && !strictly) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }
}
