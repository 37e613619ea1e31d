//! A skip list in arenas: one writer at a time, readers without locks.
//!
//! Pugh's skip list (1990) in the form that LevelDB gave it: nodes are linked in one after the
//! other and never unlinked, so a reader needs no more than acquire loads to walk a list that grows
//! under it. A quarter of the nodes of a level are in the level above.
//!
//! # Prefixes
//!
//! Searches compare 8-byte big-endian prefixes of user keys, which lie in the links (see
//! [`node`]), and whole keys only where prefixes are equal. [`SkipList::prefix_of`] is monotone:
//! a smaller key never has a greater prefix. Keys often begin alike, by far more than 8 bytes; a
//! list can therefore be told an *anchor*, bytes that most of its keys will begin with. The prefix
//! is taken behind them, and a key that does not begin with them has the least or the greatest
//! prefix. An anchor that fits badly costs speed only.
//!
//! # Concurrency
//!
//! Lookups: any number, never blocked, and they see every entry whose insertion happened before
//! their call; of those that are inserted meanwhile, any. Writers: serialised by a mutex. A walk
//! begins by linking what waits in [`recent`], for which it may wait for a writer; it sees every
//! entry whose insertion happened before the cursor was made, and of later ones any. All memory
//! lives until the list is dropped, and whoever holds a node borrows or shares the list.

#![expect(unsafe_code, reason = "nodes in raw memory, read while one thread links new ones in")]

mod ahead;
mod cursor;
mod insert;
mod node;
mod recent;

use std::sync::Arc;

use super::arena::ChunkPool;
use crate::base::key;
use crate::base::sync::Mutex;
use crate::base::sync::fine_atomic::{AtomicU64, AtomicUsize, Ordering};

pub(super) use cursor::Cursor;
pub(super) use insert::Writer;
use insert::WriterState;
use node::{Node, NodePtr, Side, Target};
use recent::Recent;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct SkipList {
    /// A node of the greatest height with a key before all others. Its memory is in `writer`.
    head: NodePtr,
    anchor: Box<[u8]>,
    /// Levels in use; a hint where to start, because the links above lead nowhere.
    height: AtomicUsize,
    entries: AtomicU64,
    memory_bytes: AtomicUsize,
    recent: Recent,
    writer: Mutex<WriterState>,
}

impl SkipList {
    pub(super) fn new(anchor: &[u8], pool: Option<Arc<ChunkPool>>) -> SkipList {
        let state = WriterState::new(pool);
        SkipList {
            head: state.head(),
            anchor: anchor.into(),
            height: AtomicUsize::new(1),
            entries: AtomicU64::new(0),
            memory_bytes: AtomicUsize::new(state.memory_bytes()),
            recent: Recent::new(),
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
        let mut found = None;
        if !self.recent.is_empty() {
            self.link_at_times(&target);
            // SAFETY: nodes live as long as the arena in `self.writer`, which goes with `self`.
            found = unsafe { self.recent.find(&target) };
        }
        let node = match found {
            Some(node) => node,
            None => self.first_node_from(&target)?,
        };
        let (user_key, trailer) = node.parts();
        (user_key == target.user_key).then(|| (trailer, node.value()))
    }

    /// Links what is recent if nobody writes, for about one target in 64: where nothing is written
    /// any more, it does not hold up lookups for long, and where much is, it rarely comes to that.
    #[inline]
    fn link_at_times(&self, target: &Target<'_>) {
        let last = target.user_key.last().copied().map_or(0, u64::from);
        // Fibonacci hashing (Knuth, volume 3, section 6.4); its top bits are the good ones.
        let hash = (target.prefix ^ last << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if hash >> 58 == 0
            && let Some(state) = self.writer.try_lock()
        {
            Writer::new(self, state).link_recent();
        }
    }

    /// Links what is recent.
    fn link_recent(&self) {
        if !self.recent.is_empty() {
            self.writer().link_recent();
        }
    }

    #[inline]
    fn head(&self) -> Node<'_> {
        // SAFETY: the arena that holds the head is in `self.writer`, and goes with `self`.
        unsafe { self.head.node() }
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

    /// A node before `target` such that every entry between the two is one that is being inserted
    /// just now. The second node, if any, was found at or behind the target.
    #[inline]
    fn node_before(&self, target: &Target<'_>) -> (Node<'_>, Option<Node<'_>>) {
        self.node_before_at(target, 0)
    }

    /// [`SkipList::node_before`] among the nodes that have `floor` and the levels below it.
    #[inline]
    fn node_before_at(&self, target: &Target<'_>, floor: usize) -> (Node<'_>, Option<Node<'_>>) {
        let mut node = self.head();
        let mut behind = None;
        let mut level = (self.height.load(Ordering::Relaxed) - 1).max(floor);
        loop {
            // SAFETY: the head is as high as can be; another node was reached by a link at `level`
            // or above, so it is higher than that.
            let step = unsafe { node.peek(level) }.side(target.prefix);
            match step {
                Side::Before(next) => {
                    node = next;
                    continue;
                }
                Side::Open(next) if behind != Some(next) => {
                    if next.is_before(target) {
                        node = next;
                        continue;
                    }
                    behind = Some(next);
                }
                Side::Open(_) | Side::Behind => {}
            }
            if level == floor {
                return (node, behind);
            }
            level -= 1;
        }
    }

    #[inline]
    fn first_node_from(&self, target: &Target<'_>) -> Option<Node<'_>> {
        let (mut node, behind) = self.node_before(target);
        // The prefix that ended the search may be older than the link beside it: look at the node.
        loop {
            let next = node.next()?;
            if behind == Some(next) || !next.is_before(target) {
                return Some(next);
            }
            node = next;
        }
    }

    /// The last node before `target`.
    fn last_node_before(&self, target: &Target<'_>) -> Option<Node<'_>> {
        let (node, _) = self.node_before(target);
        self.unless_head(node)
    }

    /// The last node at or before `target`.
    fn last_node_to(&self, target: &Target<'_>) -> Option<Node<'_>> {
        let (mut node, _) = self.node_before(target);
        while let Some(next) = node.next() {
            if !next.is_before(target) && next.parts() != (target.user_key, target.trailer) {
                break;
            }
            node = next;
        }
        self.unless_head(node)
    }

    fn last_node(&self) -> Option<Node<'_>> {
        let mut node = self.head();
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            // SAFETY: the head is as high as can be; another node was reached by a link at `level`
            // or above, so it is higher than that.
            while let Some(next) = unsafe { node.peek(level) }.node() {
                node = next;
            }
        }
        self.unless_head(node)
    }

    fn unless_head<'a>(&self, node: Node<'a>) -> Option<Node<'a>> {
        (node.address() != self.head).then_some(node)
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
