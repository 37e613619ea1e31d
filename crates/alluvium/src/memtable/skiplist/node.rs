//! How a node of the skip list lies in memory, and the only code that touches those bytes.
//!
//! ```text
//!              link height-1   16 bytes: key prefix of the next node (u64), pointer to it
//!              ...
//!              link 0
//! node ──────> user key length (u32)   value length (u32)
//!              user key, trailer (8 bytes): the encoded internal key
//!              value, or the address of one longer than VALUE_BYTES_INLINE
//! ```
//!
//! A pointer to a node points behind its links, so that link and key are found without the height,
//! and a search that comes down a tower runs through adjacent bytes.
//!
//! Every link carries the key prefix of the node that it leads to: a search knows whether to take
//! the link before it has touched that node. It touches only nodes on its path, not those that turn
//! out to stand behind the target, which are as many.
//!
//! # Concurrency
//!
//! A node is written whole before it is linked, and only its links change afterwards. A link is two
//! atomics. The writer stores the pointer first, then the prefix; readers load the prefix first,
//! then the pointer. Links only ever change to a node nearer by, so a reader sees the prefix P of
//! one successor and a pointer to the same or a *nearer* one, N, with `N <= P's node`:
//!
//! - target prefix > P: N is before the target as well, and it is right to step to it;
//! - target prefix < P: staying is always right, though N, if it is newer, may still be before the
//!   target. Whoever needs the exact neighbour looks at N itself (see `skiplist::first_from`);
//! - equal: N itself is compared.
//!
//! A link that leads nowhere has the greatest prefix.

use std::cmp::Ordering as Order;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use super::super::arena::{ALIGN, Arena};
use crate::base::key::TRAILER_BYTES;
use crate::base::planted;
use crate::base::sync::fine_atomic::{AtomicPtr, AtomicU64, Ordering};

/// The greatest height of a node.
pub(super) const HEIGHT_MAX: usize = 12;
/// Longest value that lies in its node. A longer one lies in an arena of its own, because nodes
/// that lie close together are what makes searching fast.
pub(super) const VALUE_BYTES_INLINE: usize = 32;
/// Most of a key and its trailer that a walk asks for ahead: with link and header no more than two
/// lines of the processor's cache.
const SHORT_KEY_BYTES: usize = 32;
/// Most of a value that a walk asks for ahead; the processor guesses the rest of a longer one.
const VALUE_BYTES_AHEAD: usize = 128;
/// What the processor fetches at once.
const LINE_BYTES: usize = 64;
/// The prefix in a link that leads nowhere.
const PREFIX_NONE: u64 = u64::MAX;

/// One level's way to the next node.
#[repr(C)]
struct Link {
    prefix: AtomicU64,
    next: AtomicPtr<u8>,
}

/// What stands where a node's pointer points.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    user_key_bytes: u32,
    value_bytes: u32,
}

const LINK_BYTES: usize = size_of::<Link>();
const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(align_of::<Link>() <= ALIGN && align_of::<Header>() <= ALIGN);
const _: () = assert!(LINK_BYTES.is_multiple_of(ALIGN) && HEADER_BYTES.is_multiple_of(ALIGN));
const _: () = assert!(VALUE_BYTES_INLINE >= size_of::<NonNull<u8>>());

/// What a search looks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'k> {
    /// `SkipList::prefix_of` the user key.
    pub(super) prefix: u64,
    pub(super) user_key: &'k [u8],
    pub(super) trailer: u64,
}

/// The address of a node, for keeping; [`NodePtr::node`] makes it usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodePtr(NonNull<u8>);

// SAFETY: an address alone does nothing; using it is `NodePtr::node`'s contract.
unsafe impl Send for NodePtr {}
// SAFETY: as above.
unsafe impl Sync for NodePtr {}

/// A node that lives for `'a`.
///
/// Invariant: the pointer leads to a node made by [`Node::create`] in an arena that lives for `'a`,
/// and so do all links that are not null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node<'a> {
    at: NonNull<u8>,
    life: PhantomData<&'a Link>,
}

/// What [`Node::peek`] found behind a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peeked<'a> {
    prefix: u64,
    next: *mut u8,
    life: PhantomData<Node<'a>>,
}

/// What the prefix in a link says about the node that it leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side<'a> {
    /// It is before the key.
    Before(Node<'a>),
    /// It was at or behind the key when the prefix was loaded; or there is none.
    Behind,
    /// Equal prefixes: the whole keys must be compared.
    Open(Node<'a>),
}

impl NodePtr {
    /// The address as a pointer, for [`NodePtr::from_ptr`].
    #[inline]
    pub(super) fn as_ptr(self) -> *mut u8 {
        self.0.as_ptr()
    }

    /// The address that `as_ptr` gave; `None` for null.
    #[inline]
    pub(super) fn from_ptr(at: *mut u8) -> Option<NodePtr> {
        NonNull::new(at).map(NodePtr)
    }

    /// # Safety
    /// The arena that holds the node lives for `'a`.
    #[inline]
    pub(super) unsafe fn node<'a>(self) -> Node<'a> {
        Node { at: self.0, life: PhantomData }
    }
}

/// What a node is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'c> {
    pub(super) height: usize,
    pub(super) user_key: &'c [u8],
    pub(super) trailer: u64,
    pub(super) value: &'c [u8],
}

impl<'a> Node<'a> {
    /// Writes a node, with links that lead nowhere, into `nodes`, and its value into `values` if it
    /// is long. The result must not be used once either arena is gone.
    ///
    /// # Panics
    /// When key and value are longer than an entry can be, or the height is not in
    /// `1..=HEIGHT_MAX`.
    #[inline]
    pub(super) fn create(nodes: &mut Arena, values: &mut Arena, content: Content<'_>) -> NodePtr {
        let Content { height, user_key, trailer, value } = content;
        assert!((1..=HEIGHT_MAX).contains(&height));
        let (Ok(user_key_bytes), Ok(value_bytes)) =
            (u32::try_from(user_key.len()), u32::try_from(value.len()))
        else {
            panic!("an entry of {} and {} bytes is too long", user_key.len(), value.len());
        };
        let inline = value.len() <= VALUE_BYTES_INLINE;
        let tail = if inline { value.len() } else { size_of::<NonNull<u8>>() };
        let fixed = height * LINK_BYTES + HEADER_BYTES + TRAILER_BYTES + tail;
        let Some(bytes) = user_key.len().checked_add(fixed) else {
            panic!("a key of {} bytes is too long", user_key.len());
        };
        let start = nodes.allocate(bytes);
        for level in 0..height {
            let link =
                Link { prefix: AtomicU64::new(PREFIX_NONE), next: AtomicPtr::new(ptr::null_mut()) };
            // SAFETY: `start` has room for `height` links.
            let at = unsafe { start.cast::<Link>().add(level) };
            // SAFETY: it is aligned for them.
            unsafe { at.write(link) };
        }
        // SAFETY: the links are inside the allocation.
        let at = unsafe { start.add(height * LINK_BYTES) };
        // SAFETY: the header lies behind the links; their size keeps it aligned.
        unsafe { at.cast::<Header>().write(Header { user_key_bytes, value_bytes }) };
        // SAFETY: the key lies behind the header, inside the allocation.
        let key_at = unsafe { at.add(HEADER_BYTES) };
        // SAFETY: there is room for the key; the allocation is new, so nothing overlaps.
        unsafe { write_bytes(key_at, user_key) };
        // SAFETY: the trailer lies behind the key, inside the allocation.
        let trailer_at = unsafe { key_at.add(user_key.len()) };
        // SAFETY: there is room for the trailer.
        unsafe { write_bytes(trailer_at, &trailer.to_le_bytes()) };
        // SAFETY: the tail lies behind the trailer, inside the allocation or, if empty, at its end.
        let tail_at = unsafe { trailer_at.add(TRAILER_BYTES) };
        if inline {
            // SAFETY: `tail` is the value's length.
            unsafe { write_bytes(tail_at, value) };
        } else {
            let value_at = values.allocate(value.len());
            // SAFETY: the allocation is new and as long as the value.
            unsafe { write_bytes(value_at, value) };
            // SAFETY: `tail` has room for a pointer; it need not be aligned.
            unsafe { tail_at.cast::<NonNull<u8>>().write_unaligned(value_at) };
        }
        NodePtr(at)
    }

    /// The address, for keeping.
    #[inline]
    pub(super) fn address(self) -> NodePtr {
        NodePtr(self.at)
    }

    /// # Safety
    /// `level` is below the node's height.
    #[inline]
    unsafe fn link(self, level: usize) -> &'a Link {
        // SAFETY: `height` links lie before the header, in the same allocation.
        let link = unsafe { self.at.cast::<Link>().sub(level + 1) };
        // SAFETY: the link is initialized, aligned, lives for `'a` as the node does, and is only
        // changed through its atomics.
        unsafe { link.as_ref() }
    }

    /// What is behind the link at `level`.
    ///
    /// # Safety
    /// `level` is below the node's height.
    #[inline]
    pub(super) unsafe fn peek(self, level: usize) -> Peeked<'a> {
        // SAFETY: the caller's promise.
        let link = unsafe { self.link(level) };
        let prefix = link.prefix.load(Ordering::Acquire);
        let next = link.next.load(Ordering::Acquire);
        Peeked { prefix, next, life: PhantomData }
    }

    /// The next node at level 0. Every node has that level.
    #[inline]
    pub(super) fn next(self) -> Option<Node<'a>> {
        // SAFETY: every node's height is 1 at least.
        unsafe { self.peek(0) }.node()
    }

    /// Makes this node's link at `level` the one that was peeked. The node is not linked yet.
    ///
    /// # Safety
    /// `level` is below the node's height.
    #[inline]
    pub(super) unsafe fn prepare(self, level: usize, to: Peeked<'a>) {
        // SAFETY: the caller's promise.
        let link = unsafe { self.link(level) };
        link.next.store(to.next, Ordering::Relaxed);
        link.prefix.store(to.prefix, Ordering::Relaxed);
    }

    /// Leads the link at `level` to `node`, whose prefix is `prefix`: publishes it.
    ///
    /// # Safety
    /// `level` is below the height of both. One thread at a time calls this for a list. `node`'s
    /// own link at `level` leads to where this one has led.
    #[inline]
    pub(super) unsafe fn publish(self, level: usize, node: Node<'a>, prefix: u64) {
        // SAFETY: the caller's promise.
        let link = unsafe { self.link(level) };
        // In this order: see the module's documentation. Release, so that whoever sees the node
        // sees its content, and whoever sees the prefix sees this node or a nearer one.
        if planted::in_order("prefix-before-pointer") {
            link.prefix.store(prefix, Ordering::Release);
        }
        let relaxed = planted::in_order("node-linked-relaxed");
        let order = if relaxed { Ordering::Relaxed } else { Ordering::Release };
        link.next.store(node.at.as_ptr(), order);
        link.prefix.store(prefix, order);
    }

    /// Asks the processor for the link at `level`.
    #[inline]
    pub(super) fn prefetch_link(self, level: usize) {
        prefetch(self.at.as_ptr().wrapping_sub((level + 1) * LINK_BYTES));
    }

    /// Asks the processor for what a walk needs of the node: its lowest link and its key, if that
    /// is short.
    #[inline]
    pub(super) fn prefetch_entry(self) {
        self.prefetch_link(0);
        prefetch(self.at.as_ptr().wrapping_add(HEADER_BYTES + SHORT_KEY_BYTES));
    }

    /// Asks the processor for the beginning of a value that does not lie in the node. Looks at the
    /// node, unless its key is long.
    #[inline]
    pub(super) fn prefetch_value(self) {
        let Header { user_key_bytes, value_bytes } = self.header();
        let bytes = value_bytes as usize;
        if bytes > VALUE_BYTES_INLINE && user_key_bytes as usize <= SHORT_KEY_BYTES {
            let value = self.value().as_ptr();
            for offset in (0..bytes.min(VALUE_BYTES_AHEAD)).step_by(LINE_BYTES) {
                prefetch(value.wrapping_add(offset));
            }
        }
    }

    /// Asks the processor for the key.
    #[inline]
    pub(super) fn prefetch_key(self) {
        prefetch(self.at.as_ptr());
    }

    #[inline]
    fn header(self) -> Header {
        // SAFETY: a node points at its initialized header, which never changes.
        unsafe { self.at.cast::<Header>().read() }
    }

    /// `bytes` bytes that lie `offset` bytes behind the node's pointer.
    ///
    /// # Safety
    /// They are inside the node and initialized.
    #[inline]
    unsafe fn content(self, offset: usize, bytes: usize) -> &'a [u8] {
        // SAFETY: the caller's promise.
        let start = unsafe { self.at.add(offset) };
        // SAFETY: the caller's promise; content never changes and lives for `'a`.
        unsafe { slice::from_raw_parts(start.as_ptr(), bytes) }
    }

    /// The encoded internal key.
    #[inline]
    pub(super) fn key(self) -> &'a [u8] {
        let bytes = self.header().user_key_bytes as usize + TRAILER_BYTES;
        // SAFETY: the key and its trailer lie behind the header.
        unsafe { self.content(HEADER_BYTES, bytes) }
    }

    /// The user key and the trailer.
    #[inline]
    pub(super) fn parts(self) -> (&'a [u8], u64) {
        crate::base::key::split(self.key())
    }

    /// The value.
    #[inline]
    pub(super) fn value(self) -> &'a [u8] {
        let Header { user_key_bytes, value_bytes } = self.header();
        let offset = HEADER_BYTES + user_key_bytes as usize + TRAILER_BYTES;
        let bytes = value_bytes as usize;
        if bytes <= VALUE_BYTES_INLINE {
            // SAFETY: a short value lies behind the trailer.
            return unsafe { self.content(offset, bytes) };
        }
        // SAFETY: the tail lies behind the trailer, inside the allocation.
        let tail = unsafe { self.at.add(offset) };
        // SAFETY: the tail of a node with a long value is the value's address.
        let start = unsafe { tail.cast::<NonNull<u8>>().read_unaligned() };
        // SAFETY: `bytes` bytes lie there, initialized, unchanging, and alive as the node is.
        unsafe { slice::from_raw_parts(start.as_ptr(), bytes) }
    }

    /// The node as something to search for. `prefix` is that of its user key.
    #[inline]
    pub(super) fn target(self, prefix: u64) -> Target<'a> {
        let (user_key, trailer) = self.parts();
        Target { prefix, user_key, trailer }
    }

    /// Whether the node stands before `target`. Looks at the whole key.
    #[inline]
    pub(super) fn is_before(self, target: &Target<'_>) -> bool {
        let (user_key, trailer) = self.parts();
        match user_key.cmp(target.user_key) {
            Order::Less => true,
            Order::Equal => trailer > target.trailer,
            Order::Greater => false,
        }
    }
}

impl<'a> Peeked<'a> {
    /// The node that the link leads to.
    #[inline]
    pub(super) fn node(self) -> Option<Node<'a>> {
        Some(Node { at: NonNull::new(self.next)?, life: PhantomData })
    }

    /// On which side of a key with this prefix the node behind the link stands.
    #[inline]
    pub(super) fn side(self, prefix: u64) -> Side<'a> {
        if self.prefix > prefix {
            return Side::Behind;
        }
        let Some(node) = self.node() else { return Side::Behind };
        if self.prefix < prefix { Side::Before(node) } else { Side::Open(node) }
    }
}

/// # Safety
/// `bytes.len()` bytes from `to` on may be written and are apart from `bytes`.
#[inline]
unsafe fn write_bytes(to: NonNull<u8>, bytes: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
}

/// A hint that `at`, which may be any address, will be read soon.
#[inline]
fn prefetch(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is without effect on the program's state.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}
