//! A leaf: up to [`LEAF`] entries of one range of keys, the first of them in order.
//!
//! An insertion adds an entry behind the others and raises the length. A leaf that is full is not
//! changed: two new ones take its place, each with half of its entries in order. Its memory then
//! serves as another leaf, so that a reader who is still there may find it changed under its eyes.
//!
//! # Concurrency
//!
//! One thread writes, at a time. Every field is atomic, every store a release and every load of a
//! reader an acquire: a slot's entry is whole for whoever meets its address. Before a leaf's memory
//! is used again, its `version` is raised; a reader who meets any store of the new use therefore
//! finds the new version when it looks afterwards, and must forget what it read
//! ([`Leaf::is_still`]).

use std::cmp::Ordering as Order;

use super::entry::{Entry, LINE_BYTES};
use crate::base::planted;
use crate::base::prefetch::prefetch;
use crate::base::sync::fine_atomic::{AtomicPtr, AtomicU64, Ordering};

/// Entries of a leaf: with its header, sixteen lines of the processor's cache.
pub(super) const LEAF: usize = if cfg!(loom) { 3 } else { 63 };

/// What a search looks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'k> {
    /// `Tree::prefix_of` the user key.
    pub(super) prefix: u64,
    pub(super) user_key: &'k [u8],
    pub(super) trailer: u64,
}

/// An entry and the prefix of its user key, which mostly spares looking at the entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) prefix: u64,
    pub(super) entry: Entry<'a>,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(super) fn target(self) -> Target<'a> {
        let (user_key, trailer) = self.entry.parts();
        Target { prefix: self.prefix, user_key, trailer }
    }

    /// The order of internal keys.
    #[inline]
    pub(super) fn order(self, target: &Target<'_>) -> Order {
        match self.prefix.cmp(&target.prefix) {
            Order::Equal => self.entry.order(target.user_key, target.trailer),
            unequal => unequal,
        }
    }

    #[inline]
    pub(super) fn is_before(self, other: Slot<'_>) -> bool {
        match self.prefix.cmp(&other.prefix) {
            Order::Equal => self.order(&other.target()).is_lt(),
            unequal => unequal.is_lt(),
        }
    }

    /// # Safety
    /// It is not used once the arena of its entry is gone.
    #[inline]
    pub(super) unsafe fn detached(self) -> Slot<'static> {
        // SAFETY: the caller's promise.
        Slot { prefix: self.prefix, entry: unsafe { self.entry.detached() } }
    }
}

#[derive(Debug, Default)]
#[repr(C)]
struct SharedSlot {
    prefix: AtomicU64,
    entry: AtomicPtr<u8>,
}

/// See the module's documentation.
///
/// Invariant: the entries live as long as the leaf.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Leaf {
    version: AtomicU64,
    /// How many entries there are, and in the upper half how many of the first are in order.
    lengths: AtomicU64,
    slots: [SharedSlot; LEAF],
}

/// What a leaf's `lengths` say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) sorted: usize,
    pub(super) all: usize,
}

impl Leaf {
    /// A leaf without entries.
    pub(super) fn new() -> Leaf {
        Leaf {
            version: AtomicU64::new(0),
            lengths: AtomicU64::new(0),
            slots: std::array::from_fn(|_| SharedSlot::default()),
        }
    }

    /// Which use of the memory this is. To be loaded before anything else.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether all that was read since `version` was loaded belongs together.
    #[inline]
    pub(super) fn is_still(&self, version: u64) -> bool {
        planted::in_order("leaf-trusted-unseen") || self.version() == version
    }

    #[inline]
    pub(super) fn lengths(&self) -> Lengths {
        let lengths = self.lengths.load(Ordering::Acquire);
        // A reader of a leaf that was used again may meet any two numbers, each of some use.
        Lengths { sorted: (lengths >> 32) as usize, all: lengths as u32 as usize }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.lengths().all == LEAF
    }

    /// The entry at `index`. `None` only where the leaf is not what the reader took it for.
    #[inline]
    pub(super) fn slot<'a>(&'a self, index: usize) -> Option<Slot<'a>> {
        let slot = self.slots.get(index)?;
        let prefix = slot.prefix.load(Ordering::Acquire);
        // SAFETY: a slot holds null or what `store` put there, which lives as long as the leaf.
        let entry = unsafe { Entry::from_ptr(slot.entry.load(Ordering::Acquire)) }?;
        Some(Slot { prefix, entry })
    }

    /// The prefix at `index`, which is below [`LEAF`].
    #[inline]
    fn prefix(&self, index: usize) -> u64 {
        self.slots[index].prefix.load(Ordering::Acquire)
    }

    #[inline]
    fn store(&self, index: usize, slot: Slot<'_>) {
        let relaxed = planted::in_order("entry-given-away-relaxed");
        let order = if relaxed { Ordering::Relaxed } else { Ordering::Release };
        self.slots[index].prefix.store(slot.prefix, Ordering::Release);
        self.slots[index].entry.store(slot.entry.as_ptr(), order);
    }

    #[inline]
    fn set_lengths(&self, lengths: Lengths) {
        let relaxed = planted::in_order("entry-given-away-relaxed");
        let order = if relaxed { Ordering::Relaxed } else { Ordering::Release };
        self.lengths.store((lengths.sorted as u64) << 32 | lengths.all as u64, order);
    }

    /// Adds an entry, which readers see from then on.
    ///
    /// # Safety
    /// The entry lives as long as the leaf, and the caller is the leaf's only writer.
    ///
    /// # Panics
    /// When the leaf is full.
    #[inline]
    pub(super) unsafe fn add(&self, slot: Slot<'_>) {
        let Lengths { mut sorted, all } = self.lengths();
        if sorted == all {
            let last = all.checked_sub(1).and_then(|last| self.slot(last));
            sorted += usize::from(last.is_none_or(|last| last.is_before(slot)));
        }
        self.store(all, slot);
        self.set_lengths(Lengths { sorted, all: all + 1 });
    }

    /// Makes this the leaf of other entries, which are in order. Readers who are still here will
    /// know by the version.
    ///
    /// # Safety
    /// The entries live as long as the leaf, nobody finds the leaf any more, or not yet, and the
    /// caller is the only writer.
    ///
    /// # Panics
    /// When there are more than [`LEAF`].
    pub(super) unsafe fn fill(&self, slots: &[Slot<'_>]) {
        if !planted::in_order("leaf-used-again-in-silence") {
            self.version.store(self.version() + 1, Ordering::Release);
        }
        for (index, slot) in slots.iter().enumerate() {
            self.store(index, *slot);
        }
        self.set_lengths(Lengths { sorted: slots.len(), all: slots.len() });
    }

    /// The first entry at or behind `target` that has its user key. Only of use if the leaf is
    /// still what it was.
    #[inline]
    pub(super) fn find<'a>(&'a self, target: &Target<'_>) -> Option<Entry<'a>> {
        let Lengths { sorted, all } = self.lengths();
        let (sorted, all) = (sorted.min(LEAF), all.min(LEAF));
        let mut best: Option<Entry<'a>> = None;
        let mut consider = |index: usize| {
            if let Some(Slot { entry, .. }) = self.slot(index) {
                let (user_key, trailer) = entry.parts();
                if user_key == target.user_key
                    && trailer <= target.trailer
                    && best.is_none_or(|best| best.parts().1 < trailer)
                {
                    best = Some(entry);
                }
            }
        };
        // Halving, without a branch that the processor would have to guess.
        let mut first = 0;
        let mut size = sorted;
        while size > 1 {
            let half = size / 2;
            first += if self.prefix(first + half - 1) < target.prefix { half } else { 0 };
            size -= half;
        }
        first += usize::from(first < sorted && self.prefix(first) < target.prefix);
        if first < sorted && self.prefix(first) == target.prefix {
            let mut end = sorted;
            while first < end {
                let middle = first + (end - first) / 2;
                match self.slot(middle).map(|slot| slot.order(target)) {
                    Some(Order::Less) => first = middle + 1,
                    Some(_) | None => end = middle,
                }
            }
            // Behind the ordered entries stands what came later, or what the memory held in an
            // earlier use.
            if first < sorted {
                consider(first);
            }
        }
        for index in sorted..all {
            if self.prefix(index) == target.prefix {
                consider(index);
            }
        }
        best
    }

    /// Replaces `into` by the entries in order. False where the leaf is not what the reader took it
    /// for; true says nothing.
    pub(super) fn read<'a>(&'a self, into: &mut Vec<Slot<'a>>) -> bool {
        into.clear();
        let Lengths { sorted, all } = self.lengths();
        if sorted > all || all > LEAF {
            return false;
        }
        into.extend((0..all).map_while(|index| self.slot(index)));
        if into.len() < all {
            return false;
        }
        if sorted < all {
            merge_tail(into, sorted);
        }
        true
    }

    /// Asks the processor for what tells where the next entry goes.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(&raw const self.version);
    }

    /// Asks the processor for the place of the next entry.
    #[inline]
    pub(super) fn prefetch_next(&self) {
        if let Some(slot) = self.slots.get(self.lengths().all) {
            prefetch(slot);
        }
    }

    /// Asks the processor for the whole leaf.
    pub(super) fn prefetch_all(&self) {
        let start = (&raw const *self).cast::<u8>();
        for offset in (0..size_of::<Leaf>()).step_by(LINE_BYTES) {
            prefetch(start.wrapping_add(offset));
        }
    }
}

/// Puts slots in order whose first `sorted` are in order.
fn merge_tail(slots: &mut [Slot<'_>], sorted: usize) {
    let by_key = |a: &Slot<'_>, b: &Slot<'_>| {
        if a.prefix == b.prefix { a.order(&b.target()) } else { a.prefix.cmp(&b.prefix) }
    };
    slots[sorted..].sort_unstable_by(by_key);
    let Some(&first) = slots.first() else { return };
    let mut tail = [first; LEAF];
    let tail = &mut tail[..slots.len() - sorted];
    tail.copy_from_slice(&slots[sorted..]);
    // From the back: what is moved has room behind it.
    let (mut from_head, mut from_tail) = (sorted, tail.len());
    while from_tail > 0 {
        let to = from_head + from_tail - 1;
        if from_head > 0 && tail[from_tail - 1].is_before(slots[from_head - 1]) {
            slots[to] = slots[from_head - 1];
            from_head -= 1;
        } else {
            slots[to] = tail[from_tail - 1];
            from_tail -= 1;
        }
    }
}
