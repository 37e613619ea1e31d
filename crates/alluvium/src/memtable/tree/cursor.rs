//! A position in a tree.

use std::sync::Arc;

use super::entry::Entry;
use super::inner::{KeptSeparator, Separator};
use super::leaf::{LEAF, Slot, Target};
use super::{Place, Route, Tree};

/// How many entries ahead a walk asks the processor for.
const AHEAD: usize = 8;

/// Which entry of a leaf to stand on, for [`Cursor::load`].
#[derive(Debug, Clone, Copy)]
enum Stand<'k> {
    First,
    Last,
    /// The first at or behind the target.
    From(Target<'k>),
    /// The last at or before the target.
    UpTo(Target<'k>),
}

/// A position in a tree that it keeps alive: a leaf's entries as they were when it came there, in
/// order, and which of them.
#[derive(Debug)]
pub(in super::super) struct Cursor {
    /// The entries live as long as `tree`; none is given away for longer than `self` is borrowed.
    page: Vec<Slot<'static>>,
    at: usize,
    /// The range of the leaf, as in `Place`.
    from: Option<KeptSeparator>,
    to: Option<KeptSeparator>,
    tree: Arc<Tree>,
}

impl Cursor {
    /// A cursor that stands nowhere.
    pub(in super::super) fn new(tree: Arc<Tree>) -> Cursor {
        Cursor { page: Vec::new(), at: 0, from: None, to: None, tree }
    }

    #[inline]
    pub(in super::super) fn valid(&self) -> bool {
        self.at < self.page.len()
    }

    /// # Panics
    /// When the cursor stands nowhere.
    #[inline]
    fn entry(&self) -> Entry<'_> {
        let Some(slot) = self.page.get(self.at) else { panic!("the cursor stands on no entry") };
        slot.entry
    }

    /// The encoded internal key. Panics when the cursor stands nowhere.
    #[inline]
    pub(in super::super) fn key(&self) -> &[u8] {
        self.entry().key()
    }

    /// The value. Panics when the cursor stands nowhere.
    #[inline]
    pub(in super::super) fn value(&self) -> &[u8] {
        self.entry().value()
    }

    pub(in super::super) fn seek_to_first(&mut self) {
        self.load(Route::To(Target { prefix: 0, user_key: b"", trailer: u64::MAX }), Stand::First);
    }

    pub(in super::super) fn seek_to_last(&mut self) {
        self.load(Route::Last, Stand::Last);
    }

    /// To the first entry at or behind `target`.
    pub(in super::super) fn seek(&mut self, target: &[u8]) {
        let target = self.tree.target_of(target);
        self.load(Route::To(target), Stand::From(target));
        if !self.valid() {
            self.load_next();
        }
    }

    /// To the last entry at or before `target`.
    pub(in super::super) fn seek_for_prev(&mut self, target: &[u8]) {
        let target = self.tree.target_of(target);
        self.load(Route::To(target), Stand::UpTo(target));
        if !self.valid() {
            self.load_previous();
        }
    }

    /// Panics when the cursor stands nowhere.
    #[inline]
    pub(in super::super) fn next(&mut self) {
        assert!(self.valid(), "the cursor stands on no entry");
        self.at += 1;
        if let Some(slot) = self.page.get(self.at + AHEAD) {
            slot.entry.prefetch();
        } else if self.at == self.page.len() {
            self.load_next();
        } else if self.at + AHEAD == self.page.len() {
            self.prefetch_next();
        }
    }

    /// Panics when the cursor stands nowhere.
    pub(in super::super) fn prev(&mut self) {
        assert!(self.valid(), "the cursor stands on no entry");
        match self.at.checked_sub(1) {
            Some(before) => self.at = before,
            None => self.load_previous(),
        }
    }

    /// The entry of a separator of the tree's.
    fn slot(&self, kept: Option<KeptSeparator>) -> Option<Slot<'static>> {
        // SAFETY: nodes and entries live as long as the tree, which `self` holds; see `page`.
        kept.and_then(|kept| unsafe { kept.separator() }.slot())
    }

    /// To the first entry behind the leaf.
    fn load_next(&mut self) {
        match self.slot(self.to) {
            // The leaf behind begins with it: separators stay.
            Some(to) => self.load(Route::To(to.target()), Stand::First),
            None => self.page.clear(),
        }
    }

    /// To the last entry before the leaf.
    fn load_previous(&mut self) {
        match self.slot(self.from) {
            Some(from) => self.load(Route::Before(from.target()), Stand::Last),
            None => self.page.clear(),
        }
    }

    /// Asks the processor for the leaf behind this one.
    #[cold]
    fn prefetch_next(&self) {
        if let Some(to) = self.slot(self.to) {
            self.tree.place(Route::To(to.target())).leaf.prefetch_all();
        }
    }

    /// Reads the leaf at the end of the route, and takes a stand in it; nowhere if it has no such
    /// entry.
    fn load(&mut self, route: Route<'_>, stand: Stand<'_>) {
        let (place, page) = read_leaf(&self.tree, route, std::mem::take(&mut self.page));
        self.at = match stand {
            Stand::First => 0,
            Stand::Last => page.len().saturating_sub(1),
            Stand::From(target) => page.partition_point(|slot| slot.order(&target).is_lt()),
            Stand::UpTo(target) => {
                let behind = page.partition_point(|slot| slot.order(&target).is_le());
                behind.checked_sub(1).unwrap_or(page.len())
            }
        };
        for slot in page.iter().skip(self.at).take(AHEAD) {
            slot.entry.prefetch();
        }
        // SAFETY: entries live as long as the tree, which `self` holds; what `self` gives away of
        // them is borrowed from it.
        let keep = |slot: Slot<'_>| unsafe { slot.detached() };
        (self.from, self.to) = (place.from.map(Separator::keep), place.to.map(Separator::keep));
        self.page = page.into_iter().map(keep).collect();
    }
}

/// The leaf at the end of the route, and its entries, in order, in the memory of `page`.
fn read_leaf<'a>(
    tree: &'a Tree,
    route: Route<'_>,
    mut page: Vec<Slot<'a>>,
) -> (Place<'a>, Vec<Slot<'a>>) {
    page.reserve(LEAF);
    loop {
        let place = tree.place(route);
        if place.leaf.read(&mut page) && place.leaf.is_still(place.version) {
            return (place, page);
        }
    }
}
