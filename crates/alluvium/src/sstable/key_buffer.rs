//! A key that is put together from the keys before it, entry by entry.
//!
//! The memory is longer than the key, so that what an entry adds is copied as if it had a fixed
//! length, without a call: a little too much, which the key's length leaves out.

/// As many bytes are copied at once.
const PIECE_BYTES: usize = 32;
/// Memory taken for the first key: most keys need no more.
const FIRST_BYTES: usize = 96;

/// An encoded internal key, or nothing.
#[derive(Debug, Default)]
pub(super) struct KeyBuffer {
    /// The key, and whatever was behind it.
    bytes: Vec<u8>,
    length: usize,
}

impl KeyBuffer {
    /// The key.
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The key, and memory behind it.
    #[inline]
    pub(super) fn padded(&self) -> &[u8] {
        &self.bytes
    }

    /// Its length.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Makes it empty.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Makes it a copy of `key`.
    pub(super) fn set(&mut self, key: &[u8]) {
        self.clear();
        self.splice(0, key, key.len());
    }

    /// Keeps `shared` bytes, which it has, and puts the first `count` of `source` behind them.
    #[inline]
    pub(super) fn splice(&mut self, shared: usize, source: &[u8], count: usize) {
        let place = self.bytes.get_mut(shared..).and_then(<[u8]>::first_chunk_mut);
        match (place, source.first_chunk::<PIECE_BYTES>()) {
            (Some(place), Some(piece)) if count <= PIECE_BYTES => {
                *place = *piece;
                self.length = shared + count;
            }
            _ => self.splice_exactly(shared, &source[..count]),
        }
    }

    #[inline(never)]
    fn splice_exactly(&mut self, shared: usize, suffix: &[u8]) {
        let length = shared + suffix.len();
        if self.bytes.len() < length + PIECE_BYTES {
            self.bytes.resize((length + PIECE_BYTES).max(FIRST_BYTES), 0);
        }
        self.bytes[shared..length].copy_from_slice(suffix);
        self.length = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_what_was_kept_and_what_was_added(
            pieces in prop::collection::vec((0usize..200, 0usize..100, any::<u8>()), 0..20),
        ) {
            let (mut buffer, mut expected) = (KeyBuffer::default(), Vec::new());
            for (shared, count, byte) in pieces {
                let shared = shared.min(expected.len());
                let source: Vec<u8> = (0..count + usize::from(byte) % 40)
                    .map(|at| byte.wrapping_add(at as u8))
                    .collect();
                buffer.splice(shared, &source, count);
                expected.truncate(shared);
                expected.extend_from_slice(&source[..count]);
                prop_assert_eq!(buffer.as_slice(), &expected[..]);
                prop_assert_eq!(buffer.len(), expected.len());
            }
            let kept = buffer.as_slice().to_vec();
            buffer.set(&expected);
            prop_assert_eq!(buffer.as_slice(), &kept[..]);
        }
    }
}
