//! A B+-tree of entries that one thread at a time inserts into while any number read.
//!
//! Nothing is ever removed. An entry lies in an arena and stays where it is; the tree over the
//! entries is made of addresses and of the first eight bytes of the keys, so that a search looks at
//! entries only where those are equal. The lowest inner nodes and the leaves are all that a search
//! does not find in the processor's cache: one or two waits for memory, where a search in a skip
//! list of a million entries waits ten times.
//!
//! ```text
//! inner     15 children, separators between them         changed by putting a copy in its place
//! inner
//! leaf      63 entries: some in order, the rest as they came      added to until it is full
//! entries   key, trailer, value                                   never changed
//! ```
//!
//! Leaves are put in order when they are full or when an iterator reads them, 63 entries at a time
//! within the processor's cache. That is what makes an insertion cheap: it adds an entry where the
//! others of its range are, and looks at none of them. Keys that ascend need no search, fill their
//! leaves and leave them in order.
//!
//! # Concurrency
//!
//! A reader comes down from the root without a lock. Each node that it meets was whole before it
//! was given away. What it finds below a node whose place a copy has taken is of the moment before,
//! in which all entries stand that it has a right to see: an entry is published by its sequence
//! number, after it was inserted. The one thing that is ever changed for another use is the memory
//! of a leaf that was split. The order of things:
//!
//! ```text
//! writer                                     reader
//! two new leaves, and a copy of the parent   parent
//! copy in the parent's place                 leaf, and its version
//! parent is dead                             is the parent dead? then from the root again
//! leaf's version + 1, new content            content
//!                                            version as before? else from the root again
//! ```
//!
//! A reader that finds a dead parent finds the copy when it begins again; so nobody waits, and
//! who begins again does so because the writer got on.
//!
//! Sources: B+-tree with separators and no removal, Comer 1979; unsorted leaves, Chen, Gibbons and
//! Mowry 2001 and Chen and Jin 2015; versions that readers look at before and after, Leis et al.
//! 2016 (optimistic lock coupling).
//!
//! The road not taken: a skip list, which this was. Its nodes lie anywhere, so that a writer
//! searched for many places in turns to wait less, and a walk looked ahead at many nodes at once.
//! And sorted runs of entries, merged now and then: cheaper to insert into, but a seek looks into
//! each run.

#![expect(unsafe_code, reason = "nodes and entries in arenas; see the invariants of each part")]

mod cursor;
mod entry;
mod inner;
mod insert;
mod leaf;

use std::ptr::NonNull;
use std::sync::Arc;

use super::arena::{ALIGN, Arena, ChunkPool};
use crate::base::key;
use crate::base::sync::Mutex;
use crate::base::sync::fine_atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
pub(super) use cursor::Cursor;
use entry::LINE_BYTES;
use inner::{Inner, Separator};
pub(super) use insert::Writer;
use insert::WriterState;
use leaf::{Leaf, Target};

/// The address of a node, for keeping. [`At::node`] makes it usable.
#[derive(Debug)]
struct At<T>(NonNull<T>);

// SAFETY: an address alone does nothing; using it is `At::node`'s contract, and nodes are made of
// atomics and of what never changes.
unsafe impl<T: Sync> Send for At<T> {}

impl<T> Clone for At<T> {
    fn clone(&self) -> At<T> {
        *self
    }
}

impl<T> Copy for At<T> {}

impl<T> At<T> {
    /// Puts a node into `arena`, where it is never dropped.
    fn new_in(arena: &mut Arena, node: T) -> At<T> {
        const { assert!(align_of::<T>() <= ALIGN && !std::mem::needs_drop::<T>() || cfg!(loom)) };
        // Whole lines: nodes of every kind begin at one, as chunks do.
        let at = arena.allocate(size_of::<T>().next_multiple_of(LINE_BYTES)).cast::<T>();
        // SAFETY: the allocation is new, as long as a node and aligned for it.
        unsafe { at.write(node) };
        At(at)
    }

    fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }

    /// # Safety
    /// The arena that holds the node lives for `'a`.
    unsafe fn node<'a>(self) -> &'a T {
        // SAFETY: the node is initialized and only changed through its atomics; the caller's
        // promise.
        unsafe { self.0.as_ref() }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Tree {
    /// An [`Inner`]; never null.
    root: AtomicPtr<Inner>,
    /// What most keys begin with. Their prefixes are taken behind it; keys without it have the
    /// least or the greatest prefix, in their order.
    anchor: Box<[u8]>,
    entries: AtomicU64,
    memory_bytes: AtomicUsize,
    /// Has the arenas of all nodes and entries.
    writer: Mutex<WriterState>,
}

/// A leaf that a search came to, and the range of keys that it is for.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    leaf: &'a Leaf,
    version: u64,
    /// The first entry of the leaf's range; `None` for the leftmost leaf.
    from: Option<Separator<'a>>,
    /// The first entry behind the range; `None` for the rightmost leaf.
    to: Option<Separator<'a>>,
}

/// To which leaf a search goes.
#[derive(Debug, Clone, Copy)]
enum Route<'k> {
    /// That of the target.
    To(Target<'k>),
    /// That of the entry before the target.
    Before(Target<'k>),
    /// The rightmost.
    Last,
}

impl Tree {
    pub(super) fn new(anchor: &[u8], pool: Option<Arc<ChunkPool>>) -> Tree {
        let state = WriterState::new(pool);
        Tree {
            root: AtomicPtr::new(state.first_root().as_ptr()),
            anchor: anchor.into(),
            entries: AtomicU64::new(0),
            memory_bytes: AtomicUsize::new(state.memory_bytes()),
            writer: Mutex::new(state),
        }
    }

    /// Waits for the writer before this one to be dropped.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer::new(self, self.writer.lock())
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// The newest entry at or behind the encoded internal key `target` that has its user key, as
    /// trailer and value.
    #[inline]
    pub(super) fn get(&self, target: &[u8]) -> Option<(u64, &[u8])> {
        let target = self.target_of(target);
        let (mut found, to) = loop {
            let place = self.place(Route::To(target));
            let found = place.leaf.find(&target);
            if place.leaf.is_still(place.version) {
                break (found, place.to);
            }
        };
        if found.is_none() {
            // All of this leaf is before the target, and what is behind it begins here.
            let next = to.and_then(Separator::slot).map(|to| to.entry);
            found = next.filter(|next| next.parts().0 == target.user_key);
        }
        found.map(|entry| (entry.parts().1, entry.value()))
    }

    /// Asks the processor for what an insertion of the key will need.
    #[inline]
    pub(super) fn prefetch(&self, user_key: &[u8]) {
        let prefix = self.prefix_of(user_key);
        self.place(Route::To(Target { prefix, user_key, trailer: u64::MAX })).leaf.prefetch();
    }

    /// The leaf at the end of the route.
    #[inline]
    fn place(&self, route: Route<'_>) -> Place<'_> {
        loop {
            if let Some(place) = self.try_place(route) {
                return place;
            }
        }
    }

    /// [`Tree::place`]; `None` where the leaf has just been split.
    #[inline]
    fn try_place<'a>(&'a self, route: Route<'_>) -> Option<Place<'a>> {
        let mut node = self.root();
        let (mut from, mut to) = (None, None);
        loop {
            let len = node.len();
            let index = match route {
                Route::To(target) => node.search(len, &target, false),
                Route::Before(target) => node.search(len, &target, true),
                Route::Last => len - 1,
            };
            if index > 0 {
                from = Some(node.separator(index));
            }
            if index + 1 < len {
                to = Some(node.separator(index + 1));
            }
            if node.level() > 0 {
                node = node.inner(index);
                continue;
            }
            let leaf = node.leaf(index);
            let version = leaf.version();
            return (!node.is_dead()).then_some(Place { leaf, version, from, to });
        }
    }

    #[inline]
    fn root(&self) -> &Inner {
        // SAFETY: the root is never null, and its arena is in `self.writer` and goes with `self`.
        unsafe { &*self.root.load(Ordering::Acquire) }
    }

    /// The prefix of a user key.
    #[inline]
    fn prefix_of(&self, user_key: &[u8]) -> u64 {
        if self.anchor.is_empty() {
            return first_eight(user_key);
        }
        match user_key.strip_prefix(&*self.anchor) {
            Some(rest) => first_eight(rest),
            None if user_key < &*self.anchor => u64::MIN,
            None => u64::MAX,
        }
    }

    #[inline]
    fn target_of<'k>(&self, encoded: &'k [u8]) -> Target<'k> {
        let (user_key, trailer) = key::split(encoded);
        Target { prefix: self.prefix_of(user_key), user_key, trailer }
    }
}

/// The first eight bytes as a big-endian integer, zeros behind a shorter key.
#[inline]
fn first_eight(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(eight)
}
