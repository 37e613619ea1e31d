//! The entries that were inserted last and are not linked yet.
//!
//! A search for the place of one entry is a chain of loads from memory; searches for many places
//! take turns, which makes four of one (see [`super::insert`]). Writes of one entry each gather
//! here, until there are enough of them for that. A lookup of a key looks here first; whoever
//! walks the list has it linked first.
//!
//! # Concurrency
//!
//! A ring of [`RECENT`] slots, filled in the order of sequence numbers by whoever holds the list's
//! writer lock. Entries `linked..inserted` are here and perhaps not in the list; those before are
//! in the list. A slot is filled again only when its entry has been linked.
//!
//! A reader takes `linked`, then `inserted`, and looks at the slots between from the newest back,
//! then at the list. It finds the newest entry that it may see:
//!
//! - A slot that was filled again meanwhile has lost an entry that is linked. The slot's stores are
//!   releases and its loads acquires, so that the list, searched afterwards, has the entry.
//! - A reader that has met such a slot cannot take an older entry from a slot behind it for the
//!   newest: slots are filled again in the order of entries, so what stood there is gone as well.
//! - Prefix and pointer may be of two entries. The node is compared whole, and both stores belong
//!   to a slot that is being filled again, or to an entry that the reader need not see yet.

use std::ptr;

use super::node::{Node, NodePtr, Target};
use crate::base::planted;
use crate::base::sync::fine_atomic::{AtomicPtr, AtomicU64, Ordering};

/// Slots, and so the most entries that are not linked.
pub(super) const RECENT: usize = if cfg!(loom) { 3 } else { 32 };

/// See the module's documentation.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Recent {
    linked: AtomicU64,
    inserted: AtomicU64,
    prefixes: [AtomicU64; RECENT],
    nodes: [AtomicPtr<u8>; RECENT],
}

impl Recent {
    pub(super) fn new() -> Recent {
        Recent {
            linked: AtomicU64::new(0),
            inserted: AtomicU64::new(0),
            prefixes: std::array::from_fn(|_| AtomicU64::new(0)),
            nodes: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Whether every entry is linked.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.linked.load(Ordering::Acquire) == self.inserted.load(Ordering::Acquire)
    }

    /// Adds an entry that is newer than all others. The caller holds the writer lock, and fewer
    /// than [`RECENT`] entries are here.
    #[inline]
    pub(super) fn add(&self, node: NodePtr, prefix: u64) {
        let inserted = self.inserted.load(Ordering::Relaxed);
        let slot = inserted as usize % RECENT;
        let relaxed = planted::in_order("recent-slot-relaxed");
        let order = if relaxed { Ordering::Relaxed } else { Ordering::Release };
        self.nodes[slot].store(node.as_ptr(), order);
        self.prefixes[slot].store(prefix, order);
        self.inserted.store(inserted + 1, Ordering::Release);
    }

    /// Takes note that every entry has been linked. The caller holds the writer lock.
    #[inline]
    pub(super) fn clear(&self) {
        self.linked.store(self.inserted.load(Ordering::Relaxed), Ordering::Release);
    }

    /// The newest entry of the target's user key at or behind the target, among those that are
    /// here. Where there is none, the list has what there is.
    ///
    /// # Safety
    /// Every node that was added lives for `'a`.
    #[inline]
    pub(super) unsafe fn find<'a>(&self, target: &Target<'_>) -> Option<Node<'a>> {
        let linked = self.linked.load(Ordering::Acquire);
        let inserted = self.inserted.load(Ordering::Acquire);
        // Both may have moved on between the two loads: older slots are linked by now.
        let here = (inserted - linked).min(RECENT as u64);
        (inserted - here..inserted).rev().find_map(|index| {
            let slot = index as usize % RECENT;
            if self.prefixes[slot].load(Ordering::Acquire) != target.prefix {
                return None;
            }
            let at = NodePtr::from_ptr(self.nodes[slot].load(Ordering::Acquire))?;
            // SAFETY: the caller's promise; a slot holds null or what was added.
            let node = unsafe { at.node() };
            let (user_key, trailer) = node.parts();
            (user_key == target.user_key && trailer <= target.trailer).then_some(node)
        })
    }
}
