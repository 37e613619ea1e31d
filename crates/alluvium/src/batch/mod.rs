//! Floor 1: write batches, and the bytes that they are in the log.
//!
//! A `WriteBatch` is encoded as it is built, in the very form of a log record's payload, so that
//! committing it copies bytes and never encodes again:
//!
//! ```text
//! offset  size  field
//!      0     8  first sequence number   set by the commit; operation i has first + i
//!      8     8  durable sequence number set by the commit; see docs/durability.md
//!     16     4  count of operations
//!     20     -  operations, each:
//!                 1       kind (ValueKind)
//!                 varint  column family
//!                 varint  key length, then the key
//!                 varint  value length, then the value    only for kinds that have one: of a range
//!                                                         delete, the key where the range ends,
//!                                                         excluded
//! ```
//!
//! Integers are little-endian. The decoder trusts nothing: the bytes come from disk.

mod expiring;

use std::cell::Cell;

use smallvec::SmallVec;

use crate::base::coding::{
    put_prefixed, put_varint, take_prefixed, take_u32, take_u64, take_varint32,
};
use crate::base::error::{Error, Result};
use crate::base::expiry::EXPIRY_BYTES;
use crate::base::key::{SeqNo, ValueKind};
use crate::base::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Bytes before the first operation.
pub(crate) const HEADER_BYTES: usize = 20;
/// Room of a new batch: a small write asks for memory once.
const SMALL_BATCH_BYTES: usize = 232;
/// The most memory that a thread keeps of one batch for the next.
const SPARE_BYTES_MAX: usize = 256 << 10;
/// Most bytes of an operation beside key and value: its kind and three varints of 32 bits.
const OPERATION_HEADER_BYTES_MAX: usize = 16;

thread_local! {
    /// The memory of the batch that this thread has dropped last: the next need not grow its own.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The number by which log records name a column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ColumnFamilyId(pub u32);

impl ColumnFamilyId {
    /// The family that every store has, named `default`.
    pub const DEFAULT: ColumnFamilyId = ColumnFamilyId(0);
}

/// Operations that become visible, and durable, all together or not at all.
///
/// Later operations win over earlier ones on the same key.
///
/// This is the encoding half; `db` wraps it with column-family handles.
#[derive(Debug, Clone)]
pub(crate) struct BatchBuffer {
    bytes: Vec<u8>,
    count: u32,
    /// Bytes of keys and values alone.
    user_bytes: u64,
    /// Each family that an operation names, once.
    families: SmallVec<[ColumnFamilyId; 2]>,
    /// Puts that expire some time after they are written.
    unset: Vec<expiring::Unset>,
    error: Option<Error>,
}

impl Drop for BatchBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if (SMALL_BATCH_BYTES..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            // Refused where the thread ends: then the memory goes as any other.
            let _refusal = SPARE.try_with(|spare| spare.set(bytes));
        }
    }
}

impl Default for BatchBuffer {
    fn default() -> BatchBuffer {
        BatchBuffer::new()
    }
}

impl BatchBuffer {
    pub(crate) fn new() -> BatchBuffer {
        let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        bytes.reserve(SMALL_BATCH_BYTES);
        bytes.resize(HEADER_BYTES, 0);
        BatchBuffer {
            bytes,
            count: 0,
            user_bytes: 0,
            families: SmallVec::new(),
            unset: Vec::new(),
            error: None,
        }
    }

    /// Makes room for `bytes` more.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds a put. A key or value over its limit is remembered and refused by [`Self::check`]; from
    /// there on nothing is copied any more.
    pub(crate) fn put(&mut self, family: ColumnFamilyId, key: &[u8], value: &[u8]) {
        self.begin(ValueKind::Put, family, key, value.len());
        if self.error.is_none() {
            put_prefixed(&mut self.bytes, value);
        }
    }

    /// Adds a delete.
    pub(crate) fn delete(&mut self, family: ColumnFamilyId, key: &[u8]) {
        self.begin(ValueKind::Delete, family, key, 0);
    }

    /// Adds a delete of every key from `start` up to `end`, which is excluded. A range that is
    /// empty or the wrong way round holds no key: nothing is added.
    pub(crate) fn delete_range(&mut self, family: ColumnFamilyId, start: &[u8], end: &[u8]) {
        if self.error.is_none() && end.len() > KEY_BYTES_MAX {
            self.error = limit_breach(end.len(), 0, 0, 0);
        }
        if start >= end {
            return;
        }
        self.begin(ValueKind::RangeDelete, family, start, end.len());
        if self.error.is_none() {
            put_prefixed(&mut self.bytes, end);
        }
    }

    fn begin(&mut self, kind: ValueKind, family: ColumnFamilyId, key: &[u8], value_bytes: usize) {
        if self.error.is_none() {
            self.error = limit_breach(key.len(), value_bytes, self.bytes.len(), self.count);
        }
        self.count = self.count.saturating_add(1);
        self.user_bytes += (key.len() + value_bytes) as u64;
        if !self.families.contains(&family) {
            self.families.push(family);
        }
        if self.error.is_some() {
            return;
        }
        self.bytes.reserve(key.len() + value_bytes + OPERATION_HEADER_BYTES_MAX);
        match (u8::try_from(family.0), u8::try_from(key.len())) {
            // Most often: two varints of a byte each.
            (Ok(family @ ..=0x7f), Ok(key_bytes @ ..=0x7f)) => {
                self.bytes.extend_from_slice(&[kind as u8, family, key_bytes]);
                self.bytes.extend_from_slice(key);
            }
            _ => {
                self.bytes.push(kind as u8);
                put_varint(&mut self.bytes, u64::from(family.0));
                put_prefixed(&mut self.bytes, key);
            }
        }
    }

    /// Removes every operation and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        self.count = 0;
        self.user_bytes = 0;
        self.families.clear();
        self.unset.clear();
        self.error = None;
    }

    /// Bytes of keys and values alone.
    pub(crate) fn user_bytes(&self) -> u64 {
        self.user_bytes
    }

    /// Each family that an operation names, once.
    pub(crate) fn families(&self) -> &[ColumnFamilyId] {
        &self.families
    }

    /// The number of operations.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The encoded size in bytes.
    pub(crate) fn byte_size(&self) -> usize {
        self.bytes.len()
    }

    /// Fails when an operation broke a limit as it was added.
    pub(crate) fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Writes the header and gives the finished payload.
    pub(crate) fn seal(&mut self, first: SeqNo, durable: SeqNo) -> &[u8] {
        self.bytes[0..8].copy_from_slice(&first.get().to_le_bytes());
        self.bytes[8..16].copy_from_slice(&durable.get().to_le_bytes());
        self.bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        &self.bytes
    }

    /// Where in the payload `part` begins, a key or a value of one of the operations.
    pub(crate) fn offset_of(&self, part: &[u8]) -> usize {
        part.as_ptr().addr() - self.bytes.as_ptr().addr()
    }

    /// The operations as encoded, without the header.
    pub(crate) fn operations(&self) -> Operations<'_> {
        Operations { input: &self.bytes[HEADER_BYTES..], left: self.count }
    }
}

fn limit_breach(key: usize, value: usize, batch: usize, count: u32) -> Option<Error> {
    if key > KEY_BYTES_MAX {
        Some(Error::invalid(format!("a key of {key} bytes: at most {KEY_BYTES_MAX} are allowed")))
    } else if value > VALUE_BYTES_MAX {
        Some(Error::invalid(format!(
            "a value of {value} bytes: at most {VALUE_BYTES_MAX} are allowed"
        )))
    } else if batch + key + value + 32 > BATCH_BYTES_MAX || count >= BATCH_OPERATIONS_MAX {
        Some(Error::invalid(format!(
            "a batch may hold {BATCH_BYTES_MAX} bytes and {BATCH_OPERATIONS_MAX} operations: \
             split it"
        )))
    } else {
        None
    }
}

/// One operation of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation<'a> {
    pub(crate) kind: ValueKind,
    pub(crate) family: ColumnFamilyId,
    pub(crate) key: &'a [u8],
    /// Empty for a delete; where the range ends for a range delete, behind `key`.
    pub(crate) value: &'a [u8],
}

/// A decoded log payload: the header, and the operations still encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchView<'a> {
    pub(crate) first: SeqNo,
    pub(crate) durable: SeqNo,
    pub(crate) count: u32,
    operations: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Reads the header of a log payload. `None` when it cannot be one.
    pub(crate) fn parse(payload: &'a [u8]) -> Option<BatchView<'a>> {
        let mut input = payload;
        let first = SeqNo::try_new(take_u64(&mut input)?)?;
        let durable = SeqNo::try_new(take_u64(&mut input)?)?;
        let count = take_u32(&mut input)?;
        // Every operation has three bytes at least.
        let fits =
            count as usize <= input.len() / 3 && first.get() <= SeqNo::MAX.get() - u64::from(count);
        fits.then_some(BatchView { first, durable, count, operations: input })
    }

    /// The operations in order. Yields `None` as an item, once, where the bytes are no operation.
    pub(crate) fn operations(&self) -> Operations<'a> {
        Operations { input: self.operations, left: self.count }
    }
}

/// Decodes operations; ends early, with `Err(())`, where the bytes are none.
#[derive(Debug, Clone)]
pub(crate) struct Operations<'a> {
    input: &'a [u8],
    left: u32,
}

/// The bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Iterator for Operations<'a> {
    type Item = std::result::Result<Operation<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.input.is_empty() {
                return None;
            }
            self.input = &[];
            return Some(Err(Malformed));
        }
        self.left -= 1;
        let operation = take_operation(&mut self.input);
        if operation.is_none() {
            self.left = 0;
            self.input = &[];
        }
        Some(operation.ok_or(Malformed))
    }
}

#[inline]
fn take_operation<'a>(input: &mut &'a [u8]) -> Option<Operation<'a>> {
    let (&kind, rest) = input.split_first()?;
    *input = rest;
    let kind = ValueKind::from_byte(kind).filter(|kind| !kind.is_blob())?;
    let family = ColumnFamilyId(take_varint32(input)?);
    let key = take_prefixed(input)?;
    let value = if kind.has_value() { take_prefixed(input)? } else { &[] };
    let fits = match kind {
        ValueKind::RangeDelete => value.len() <= KEY_BYTES_MAX && key < value,
        ValueKind::PutExpiring => (EXPIRY_BYTES..=VALUE_BYTES_MAX).contains(&value.len()),
        _ => value.len() <= VALUE_BYTES_MAX,
    };
    (key.len() <= KEY_BYTES_MAX && fits).then_some(Operation { kind, family, key, value })
}

#[cfg(test)]
mod tests;
