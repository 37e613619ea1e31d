//! A position in a skip list.

use std::sync::Arc;

use super::SkipList;
use super::ahead::Ahead;
use super::node::{Node, NodePtr, Target};

/// A position in a list that it keeps alive.
#[derive(Debug)]
pub(in super::super) struct Cursor {
    /// A node of `list`, never its head.
    at: Option<NodePtr>,
    /// Nodes behind `at`, the next one first.
    ahead: Ahead,
    /// Steps from node to node since the cursor was put where it began.
    steps: usize,
    list: Arc<SkipList>,
}

impl Cursor {
    /// A cursor that stands nowhere. It sees what was inserted before.
    pub(in super::super) fn new(list: Arc<SkipList>) -> Cursor {
        list.link_recent();
        Cursor { at: None, ahead: Ahead::default(), steps: 0, list }
    }

    pub(in super::super) fn valid(&self) -> bool {
        self.at.is_some()
    }

    /// # Panics
    /// When the cursor stands nowhere.
    #[inline]
    fn node(&self) -> Node<'_> {
        let Some(at) = self.at else { panic!("the cursor stands on no entry") };
        // SAFETY: the arena that holds the node goes with the list, which `self` shares.
        unsafe { at.node() }
    }

    /// The encoded internal key. Panics when the cursor stands nowhere.
    #[inline]
    pub(in super::super) fn key(&self) -> &[u8] {
        self.node().key()
    }

    /// The value. Panics when the cursor stands nowhere.
    #[inline]
    pub(in super::super) fn value(&self) -> &[u8] {
        self.node().value()
    }

    pub(in super::super) fn seek_to_first(&mut self) {
        self.put(|list| list.head().next());
    }

    pub(in super::super) fn seek_to_last(&mut self) {
        self.put(SkipList::last_node);
    }

    /// To the first entry at or behind `target`.
    pub(in super::super) fn seek(&mut self, target: &[u8]) {
        self.put(|list| list.first_node_from(&list.target_of(target)));
    }

    /// To the last entry at or before `target`.
    pub(in super::super) fn seek_for_prev(&mut self, target: &[u8]) {
        self.put(|list| list.last_node_to(&list.target_of(target)));
    }

    /// Puts the cursor on another node.
    #[inline]
    fn put<'a>(&'a mut self, find: impl FnOnce(&'a SkipList) -> Option<Node<'a>>) {
        self.ahead.clear();
        self.steps = 0;
        self.at = find(&self.list).map(Node::address);
    }

    /// Panics when the cursor stands nowhere.
    #[inline]
    pub(in super::super) fn next(&mut self) {
        self.at = match self.ahead.pop() {
            Some(next) => Some(next),
            None => self.find_next(),
        };
    }

    fn find_next(&mut self) -> Option<NodePtr> {
        let Some(at) = self.at else { panic!("the cursor stands on no entry") };
        // SAFETY: the arena that holds the node goes with the list, which `self` shares.
        let node = unsafe { at.node() };
        let found = self.ahead.fill(&self.list, node, self.steps);
        self.steps += found.max(1);
        if found > 0 {
            return self.ahead.pop();
        }
        let next = node.next()?;
        // Nodes that follow one another lie anywhere: while the caller looks at one, the processor
        // fetches the one behind it.
        if let Some(after) = next.next() {
            after.prefetch_entry();
        }
        Some(next.address())
    }

    /// A search from the head: nodes have no links backwards. Panics when the cursor stands
    /// nowhere.
    pub(in super::super) fn prev(&mut self) {
        let Some(at) = self.at else { panic!("the cursor stands on no entry") };
        self.put(|list| {
            // SAFETY: as in `node`.
            let (user_key, trailer) = unsafe { at.node() }.parts();
            let target = Target { prefix: list.prefix_of(user_key), user_key, trailer };
            list.last_node_before(&target)
        });
    }
}
