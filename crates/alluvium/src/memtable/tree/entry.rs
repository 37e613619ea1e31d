//! How an entry lies in memory, and the only code that touches those bytes.
//!
//! ```text
//! user key length (u32)   value length (u32)
//! user key, trailer (8 bytes): the encoded internal key
//! value
//! ```
//!
//! An entry is written whole before its address is given away, and never changes.

use std::cmp::Ordering as Order;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use super::super::arena::{ALIGN, Arena};
use crate::base::key::{self, TRAILER_BYTES};
use crate::base::prefetch::prefetch;

/// Most of an entry that a walk asks for ahead; the processor guesses the rest of a longer one.
const BYTES_AHEAD: usize = 192;
/// What the processor fetches at once.
pub(super) const LINE_BYTES: usize = 64;

/// What stands at the beginning of an entry.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    user_key_bytes: u32,
    value_bytes: u32,
}

const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(align_of::<Header>() <= ALIGN);

/// An entry that lives for `'a`.
///
/// Invariant: the pointer leads to an entry made by [`Entry::create`] in an arena that lives for
/// `'a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    at: NonNull<u8>,
    life: PhantomData<&'a u8>,
}

// SAFETY: an entry never changes, so that any thread may look at it.
unsafe impl Send for Entry<'_> {}
// SAFETY: as above.
unsafe impl Sync for Entry<'_> {}

impl<'a> Entry<'a> {
    /// Writes an entry into `arena`.
    ///
    /// # Safety
    /// The arena is dropped after `'a`.
    ///
    /// # Panics
    /// When key or value have 2^32 bytes or more.
    #[inline]
    pub(super) unsafe fn create(
        arena: &mut Arena,
        user_key: &[u8],
        trailer: u64,
        value: &[u8],
    ) -> Entry<'a> {
        let (Ok(user_key_bytes), Ok(value_bytes)) =
            (u32::try_from(user_key.len()), u32::try_from(value.len()))
        else {
            panic!("an entry of {} and {} bytes is too long", user_key.len(), value.len());
        };
        let fixed = HEADER_BYTES + TRAILER_BYTES;
        let Some(bytes) =
            user_key.len().checked_add(value.len()).and_then(|bytes| bytes.checked_add(fixed))
        else {
            panic!("an entry of {} and {} bytes is too long", user_key.len(), value.len());
        };
        let at = arena.allocate(bytes);
        // SAFETY: the allocation begins with room for the header and is aligned for it.
        unsafe { at.cast::<Header>().write(Header { user_key_bytes, value_bytes }) };
        // SAFETY: the key lies behind the header, inside the allocation.
        let key_at = unsafe { at.add(HEADER_BYTES) };
        // SAFETY: there is room for the key; the allocation is new, so nothing overlaps.
        unsafe { write_bytes(key_at, user_key) };
        // SAFETY: the trailer lies behind the key, inside the allocation.
        let trailer_at = unsafe { key_at.add(user_key.len()) };
        // SAFETY: there is room for the trailer.
        unsafe { write_bytes(trailer_at, &trailer.to_le_bytes()) };
        // SAFETY: the value lies behind the trailer, inside the allocation or, if empty, at its
        // end.
        let value_at = unsafe { trailer_at.add(TRAILER_BYTES) };
        // SAFETY: there is room for the value.
        unsafe { write_bytes(value_at, value) };
        Entry { at, life: PhantomData }
    }

    /// The address, for keeping.
    #[inline]
    pub(super) fn as_ptr(self) -> *mut u8 {
        self.at.as_ptr()
    }

    /// The entry whose address this is; `None` for null.
    ///
    /// # Safety
    /// `at` is null or came from [`Entry::as_ptr`] of an entry that lives for `'a`.
    #[inline]
    pub(super) unsafe fn from_ptr(at: *mut u8) -> Option<Entry<'a>> {
        Some(Entry { at: NonNull::new(at)?, life: PhantomData })
    }

    /// The same entry, for a holder of the arena who cannot name its own life.
    ///
    /// # Safety
    /// It is not used once the arena is gone.
    #[inline]
    pub(super) unsafe fn detached(self) -> Entry<'static> {
        Entry { at: self.at, life: PhantomData }
    }

    #[inline]
    fn header(self) -> Header {
        // SAFETY: an entry begins with its initialized header, which never changes.
        unsafe { self.at.cast::<Header>().read() }
    }

    /// `bytes` bytes that lie `offset` bytes behind the entry's beginning.
    ///
    /// # Safety
    /// They are inside the entry.
    #[inline]
    unsafe fn content(self, offset: usize, bytes: usize) -> &'a [u8] {
        // SAFETY: the caller's promise.
        let start = unsafe { self.at.add(offset) };
        // SAFETY: the caller's promise; an entry is initialized, never changes and lives for `'a`.
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
        key::split(self.key())
    }

    /// The value.
    #[inline]
    pub(super) fn value(self) -> &'a [u8] {
        let Header { user_key_bytes, value_bytes } = self.header();
        let offset = HEADER_BYTES + user_key_bytes as usize + TRAILER_BYTES;
        // SAFETY: the value lies behind the trailer.
        unsafe { self.content(offset, value_bytes as usize) }
    }

    /// The order of internal keys: by user key, the newest trailer first. Looks at the whole keys.
    #[inline]
    pub(super) fn order(self, user_key: &[u8], trailer: u64) -> Order {
        let (own_key, own_trailer) = self.parts();
        own_key.cmp(user_key).then(trailer.cmp(&own_trailer))
    }

    /// Asks the processor for the entry, without knowing how long it is.
    #[inline]
    pub(super) fn prefetch(self) {
        for offset in (0..BYTES_AHEAD).step_by(LINE_BYTES) {
            prefetch(self.at.as_ptr().wrapping_add(offset));
        }
    }
}

/// # Safety
/// `bytes.len()` bytes from `to` on may be written and are apart from `bytes`.
#[inline]
unsafe fn write_bytes(to: NonNull<u8>, bytes: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
}
