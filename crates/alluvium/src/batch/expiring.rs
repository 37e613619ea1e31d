//! Puts that expire, in a batch.
//!
//! What is logged is always the time itself: a log that is replayed a day later must not give an
//! entry another day. A batch is built before it is written, though, and knows no clock; so a put
//! with a time to live leaves the eight bytes of its expiry time open, and the write fills them in.
//! The same write makes plain puts into a column family with a time to live into puts that expire.

use std::time::Duration;

use crate::base::coding::{put_prefixed, put_varint};
use crate::base::expiry::{self, EXPIRY_BYTES};
use crate::base::key::ValueKind;
use crate::batch::{BatchBuffer, ColumnFamilyId, Operation};

/// An expiry time that hangs on the moment of writing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unset {
    /// Where it stands among the batch's bytes.
    at: usize,
    ttl: Duration,
}

impl BatchBuffer {
    /// Adds a put that expires at `expiry_ms`.
    pub(crate) fn put_until(
        &mut self,
        family: ColumnFamilyId,
        key: &[u8],
        value: &[u8],
        expiry_ms: u64,
    ) {
        let stored_bytes = EXPIRY_BYTES + value.len();
        self.begin(ValueKind::PutExpiring, family, key, stored_bytes);
        self.user_bytes -= EXPIRY_BYTES as u64;
        if self.error.is_none() {
            put_varint(&mut self.bytes, stored_bytes as u64);
            self.bytes.extend_from_slice(&expiry_ms.to_le_bytes());
            self.bytes.extend_from_slice(value);
        }
    }

    /// Adds a put that expires when `ttl` has passed since it was written ([`Self::set_times`]).
    pub(crate) fn put_for(
        &mut self,
        family: ColumnFamilyId,
        key: &[u8],
        value: &[u8],
        ttl: Duration,
    ) {
        self.put_until(family, key, value, expiry::NEVER_MS);
        if self.error.is_none() {
            self.unset.push(Unset { at: self.bytes.len() - value.len() - EXPIRY_BYTES, ttl });
        }
    }

    /// Whether an expiry time waits for the moment of writing.
    pub(crate) fn has_unset_times(&self) -> bool {
        !self.unset.is_empty()
    }

    /// Fills in every expiry time that hangs on the moment of writing, which is `now_ms`.
    pub(crate) fn set_times(&mut self, now_ms: u64) {
        for Unset { at, ttl } in self.unset.drain(..) {
            let time = expiry::after(now_ms, ttl).to_le_bytes();
            if let Some(bytes) = self.bytes.get_mut(at..at + EXPIRY_BYTES) {
                bytes.copy_from_slice(&time);
            }
        }
    }

    /// The same batch, in which every plain put into a family for which `expiry_of` has a time
    /// expires then. It may be over a limit now: [`BatchBuffer::check`] it.
    pub(crate) fn expiring(
        &self,
        expiry_of: impl Fn(ColumnFamilyId) -> Option<u64>,
    ) -> BatchBuffer {
        let mut batch = BatchBuffer::new();
        batch.reserve(self.byte_size() + self.count() as usize * EXPIRY_BYTES);
        for Operation { kind, family, key, value } in self.operations().flatten() {
            match expiry_of(family) {
                Some(expiry_ms) if kind == ValueKind::Put => {
                    batch.put_until(family, key, value, expiry_ms);
                }
                _ => {
                    batch.begin(kind, family, key, value.len());
                    if batch.error.is_none() && kind.has_value() {
                        put_prefixed(&mut batch.bytes, value);
                    }
                }
            }
        }
        batch.user_bytes = self.user_bytes;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::VALUE_BYTES_MAX;

    const A: ColumnFamilyId = ColumnFamilyId(0);
    const B: ColumnFamilyId = ColumnFamilyId(1);

    fn operations(batch: &BatchBuffer) -> Vec<(ValueKind, Vec<u8>)> {
        batch.operations().map(|o| o.map(|o| (o.kind, o.value.to_vec())).unwrap()).collect()
    }

    fn until(expiry_ms: u64, value: &[u8]) -> (ValueKind, Vec<u8>) {
        (ValueKind::PutExpiring, [&expiry_ms.to_le_bytes(), value].concat())
    }

    #[test]
    fn times_to_live_become_times_when_the_batch_is_written() {
        let mut batch = BatchBuffer::new();
        batch.put_for(A, b"k", b"one", Duration::from_millis(5));
        batch.put(A, b"k", b"plain");
        batch.put_for(B, b"longer", b"", Duration::MAX);
        batch.put_until(B, b"l", b"two", 3);
        assert!(batch.has_unset_times());
        batch.set_times(1_000);
        assert!(!batch.has_unset_times());
        let plain = (ValueKind::Put, b"plain".to_vec());
        let expected = [until(1_005, b"one"), plain, until(u64::MAX, b""), until(3, b"two")];
        assert_eq!(operations(&batch), expected);
        assert_eq!(batch.user_bytes(), (1 + 3 + 1 + 5 + 6 + 1 + 3) as u64);
    }

    #[test]
    fn plain_puts_into_a_family_with_a_time_expire() {
        let mut batch = BatchBuffer::new();
        batch.put(A, b"a", b"1");
        batch.put(B, b"b", b"2");
        batch.delete(B, b"b");
        batch.put_until(B, b"b", b"3", 3);
        let expiring = batch.expiring(|family| (family == B).then_some(77));
        let put = (ValueKind::Put, b"1".to_vec());
        let delete = (ValueKind::Delete, Vec::new());
        assert_eq!(operations(&expiring), [put, until(77, b"2"), delete, until(3, b"3")]);
        assert_eq!(expiring.families(), batch.families());
        assert_eq!(expiring.user_bytes(), batch.user_bytes());
    }

    #[test]
    fn a_value_that_leaves_no_room_for_its_time_is_refused() {
        let value = vec![0; VALUE_BYTES_MAX - EXPIRY_BYTES + 1];
        let mut batch = BatchBuffer::new();
        batch.put(A, b"k", &value);
        assert!(batch.check().is_ok());
        assert!(batch.expiring(|_| Some(1)).check().is_err());
        batch.clear();
        batch.put_for(A, b"k", &value[1..], Duration::ZERO);
        assert!(batch.check().is_ok());
    }
}
