//! Memory for large values, used again.
//!
//! Why: what is freed in large pieces goes back to the system, and the next piece has every page
//! mapped and cleared anew: about a third of the time that reading a value of 64 KiB took. Memory
//! that is used again needs neither, nor does it have to be cleared before a file is read into it.
//!
//! A value takes memory that is hardly larger than it is, since it may be held for long ([`Fit`]).

use std::sync::Arc;

use bytes::Bytes;

use crate::base::sync::Mutex;

/// Smaller values are left to the allocator, which keeps pieces like those.
pub(super) const LENT_BYTES_MIN: usize = 32 << 10;
/// Larger ones, too: reading them takes longer than that does.
const LENT_BYTES_MAX: usize = 1 << 20;
/// So much is kept for values to come.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// How much larger than a value its memory may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// By nothing.
    Exact,
    /// By an eighth.
    Close,
}

/// Memory that is nobody's at the moment, in the order of its return.
#[derive(Debug, Default)]
pub(super) struct SpareMemory(Mutex<Vec<Vec<u8>>>);

impl SpareMemory {
    /// Memory for `bytes` bytes; what is in it is of no meaning.
    pub(super) fn take(self: &Arc<Self>, bytes: usize, fit: Fit) -> Lent {
        let most = if fit == Fit::Exact { bytes } else { bytes.saturating_add(bytes / 8) };
        let mut spare = self.0.lock();
        let fits = |memory: &Vec<u8>| (bytes..=most).contains(&memory.len());
        let found = spare.iter().rposition(fits).map(|place| spare.remove(place));
        drop(spare);
        let memory = found.unwrap_or_else(|| vec![0; bytes]);
        Lent { memory, bytes, home: Arc::clone(self) }
    }

    fn put(&self, memory: Vec<u8>) {
        if !(LENT_BYTES_MIN..=LENT_BYTES_MAX).contains(&memory.len()) {
            return;
        }
        let mut spare = self.0.lock();
        spare.push(memory);
        let mut bytes: usize = spare.iter().map(Vec::len).sum();
        while bytes > SPARE_BYTES_MAX {
            bytes -= spare.remove(0).len();
        }
    }
}

/// Memory that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    memory: Vec<u8>,
    bytes: usize,
    home: Arc<SpareMemory>,
}

impl Lent {
    /// As many bytes as were asked for.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.bytes]
    }

    /// The same as a value, whose last holder gives it back.
    pub(super) fn into_value(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.bytes]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(spare: &SpareMemory) -> Vec<usize> {
        spare.0.lock().iter().map(Vec::len).collect()
    }

    #[test]
    fn memory_comes_back_and_is_used_again() {
        let spare = Arc::new(SpareMemory::default());
        let mut lent = spare.take(70_000, Fit::Close);
        lent.bytes_mut().fill(7);
        let place = lent.as_ref().as_ptr();
        let value = lent.into_value();
        let part = value.slice(1000..2000);
        drop(value);
        assert_eq!(kept(&spare), [0; 0], "a part of it is held");
        assert_eq!(part, vec![7; 1000]);
        drop(part);
        assert_eq!(kept(&spare), [70_000]);
        let lent = spare.take(65_536, Fit::Close);
        assert_eq!((lent.as_ref().len(), lent.as_ref().as_ptr()), (65_536, place));
        assert_eq!(spare.take(65_536, Fit::Close).as_ref(), [0; 65_536], "nobody else's");
    }

    #[test]
    fn a_value_takes_no_memory_that_is_much_larger() {
        let spare = Arc::new(SpareMemory::default());
        drop(spare.take(100_000, Fit::Close));
        assert_eq!(spare.take(80_000, Fit::Close).memory.len(), 80_000);
        assert_eq!(spare.take(99_999, Fit::Exact).memory.len(), 99_999);
        assert_eq!(spare.take(100_000, Fit::Exact).memory.len(), 100_000);
        assert_eq!(spare.take(100_001, Fit::Close).memory.len(), 100_001);
        assert_eq!(spare.take(90_000, Fit::Close).memory.len(), 100_001, "the last one that fits");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let spare = Arc::new(SpareMemory::default());
        drop([LENT_BYTES_MIN - 1, LENT_BYTES_MAX + 1].map(|bytes| spare.take(bytes, Fit::Close)));
        assert_eq!(kept(&spare), [0; 0]);
        let all: Vec<Lent> =
            (0..10).map(|more| spare.take((1 << 20) - 10 + more, Fit::Exact)).collect();
        drop(all);
        let bytes = kept(&spare);
        assert_eq!(bytes, [6, 7, 8, 9].map(|more| (1 << 20) - 10 + more), "the last ones");
    }
}
