//! Memory straight from the system, a huge page at a time.
//!
//! Why not from the allocator: what is freed to that stays between pieces that are still in use.
//! glibc besides takes the freeing of a large piece as a sign that such pieces come and go, and
//! from then on cuts those of up to that size from its heap, the buffers of compactions, too: a
//! fill held 50 MiB that nobody used. What comes from the system goes back to it whole.
//!
//! Linux only; elsewhere, and where a test interprets the program, it is the allocator's after all.

#![expect(unsafe_code, reason = "owns memory that no crate hands out aligned and asks for as huge")]

use std::ptr::NonNull;

/// Bytes of [`Pages`], and what they are aligned to: a huge page of the usual processors.
pub(crate) const PAGES_BYTES: usize = 2 << 20;

/// [`PAGES_BYTES`] of memory.
#[derive(Debug)]
pub(crate) struct Pages(NonNull<u8>);

// SAFETY: it is memory that it owns, as a box is, and nothing of it is tied to a thread.
unsafe impl Send for Pages {}

impl Pages {
    /// New memory, not initialized; `None` where there is none.
    pub(crate) fn new() -> Option<Pages> {
        system::take().map(Pages)
    }

    /// Where it starts. It stays there until `self` goes.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it came from `take`, and goes once.
        unsafe { system::give_back(self.0) };
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use std::ptr::{NonNull, null_mut};

    use super::PAGES_BYTES;

    pub(super) fn take() -> Option<NonNull<u8>> {
        // Twice as much has an aligned piece in it. What is around that goes back at once: nobody
        // has touched it, so that this moves nothing but two borders.
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory at a place of the system's choice: nothing that is there changes.
        let mapped = unsafe { libc::mmap(null_mut(), 2 * PAGES_BYTES, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let before = mapped.align_offset(PAGES_BYTES);
        assert!(before < PAGES_BYTES, "a page of memory is aligned to less than a huge one");
        // SAFETY: `before` is less than what was mapped.
        let at = unsafe { mapped.add(before) };
        if before > 0 {
            // SAFETY: the front of what was mapped, which nobody has seen. Refused, it stays.
            let _whether_given = unsafe { libc::munmap(mapped, before) };
        }
        // SAFETY: the end of the piece lies inside what was mapped, or at its end.
        let after = unsafe { at.add(PAGES_BYTES) };
        // SAFETY: the rest of what was mapped, more than nothing; as above.
        let _whether_given = unsafe { libc::munmap(after, PAGES_BYTES - before) };
        // SAFETY: a hint about the piece; a system without huge pages refuses it.
        let _whether_taken = unsafe { libc::madvise(at, PAGES_BYTES, libc::MADV_HUGEPAGE) };
        NonNull::new(at.cast())
    }

    /// # Safety
    /// It came from [`take`], is given back once, and nobody looks into it any more.
    pub(super) unsafe fn give_back(at: NonNull<u8>) {
        // SAFETY: `take` mapped it, and by the promise above nobody needs it. A refusal (more
        // mappings than the system allows, where one is cut in two) leaves it.
        let _whether_given = unsafe { libc::munmap(at.as_ptr().cast(), PAGES_BYTES) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    use std::alloc::{Layout, alloc, dealloc};
    use std::ptr::NonNull;

    use super::PAGES_BYTES;

    const LAYOUT: Layout = match Layout::from_size_align(PAGES_BYTES, PAGES_BYTES) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    pub(super) fn take() -> Option<NonNull<u8>> {
        // SAFETY: the layout's size is not 0.
        NonNull::new(unsafe { alloc(LAYOUT) })
    }

    /// # Safety
    /// It came from [`take`], is given back once, and nobody looks into it any more.
    pub(super) unsafe fn give_back(at: NonNull<u8>) {
        // SAFETY: it came from `alloc` with this very layout, by the promise above.
        unsafe { dealloc(at.as_ptr(), LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_apart_and_can_be_written_to_their_last_byte() {
        let mut held: Vec<Pages> = (0..12).map(|_| Pages::new().unwrap()).collect();
        for round in 0..3 {
            for (number, pages) in held.iter().enumerate() {
                assert_eq!(pages.start().addr().get() % PAGES_BYTES, 0);
                // SAFETY: these bytes are the piece's, which nobody else looks into.
                unsafe { pages.start().write_bytes(number as u8, PAGES_BYTES) };
            }
            for (number, pages) in held.iter().enumerate() {
                let start = pages.start().as_ptr();
                // SAFETY: as above, and they were written.
                let bytes = unsafe { std::slice::from_raw_parts(start, PAGES_BYTES) };
                assert!(bytes.iter().all(|byte| *byte == number as u8));
            }
            // Some go and others come, as memtables do.
            held.drain(round..round + 5);
            held.extend((0..5).map(|_| Pages::new().unwrap()));
        }
    }
}
