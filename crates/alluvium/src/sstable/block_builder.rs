//! Builds one block after another in the same memory.
//!
//! The caller hands in keys in order, and with each how much of its user key it shares with the one
//! before; it knows, because it has compared them.

use crate::base::coding::put_varint;
use crate::base::key::TRAILER_BYTES;
use crate::base::planted;

/// Memory that is kept from block to block.
pub(super) const KEPT_BYTES_MAX: usize = 4 << 20;

/// A block being built.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    /// The values; in the end, the whole block.
    values: Vec<u8>,
    entries: Vec<u8>,
    restarts: Vec<u8>,
    restart_interval: usize,
    since_restart: usize,
}

impl BlockBuilder {
    /// Every `restart_interval`-th entry (at least 1) is a restart point.
    pub(super) fn new(restart_interval: usize) -> BlockBuilder {
        BlockBuilder {
            values: Vec::new(),
            entries: Vec::new(),
            restarts: Vec::new(),
            restart_interval: restart_interval.max(1),
            since_restart: 0,
        }
    }

    /// Appends an entry whose user key shares `common` bytes, and no more, with that of the entry
    /// before.
    #[inline]
    pub(super) fn add(&mut self, common: usize, internal_key: &[u8], value: &[u8]) {
        let mut shared = common;
        if self.restarts.is_empty() || self.since_restart == self.restart_interval {
            self.restarts.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
            self.restarts.extend_from_slice(&(self.values.len() as u32).to_le_bytes());
            self.since_restart = 0;
            shared = if planted::is("restart-point-shares") { common.min(1) } else { 0 };
        }
        self.since_restart += 1;
        let unshared = &internal_key[shared..];
        let lengths = [shared, unshared.len() - TRAILER_BYTES, value.len()];
        if lengths.iter().all(|&length| length < 0x80) {
            self.entries.extend_from_slice(&lengths.map(|length| length as u8));
        } else {
            lengths.iter().for_each(|&length| put_varint(&mut self.entries, length as u64));
        }
        self.entries.extend_from_slice(unshared);
        self.values.extend_from_slice(value);
    }

    /// Bytes of the block if it were finished now.
    pub(super) fn bytes(&self) -> usize {
        self.values.len() + self.entries.len() + self.restarts.len() + 8
    }

    pub(super) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// Closes the block and gives its bytes, to which the caller may append. [`Self::clear`] must
    /// follow before the next entry.
    pub(super) fn finish(&mut self) -> &mut Vec<u8> {
        let (values_end, restarts) = (self.values.len() as u32, self.restarts.len() / 8);
        self.values.extend_from_slice(&self.entries);
        self.values.extend_from_slice(&self.restarts);
        self.values.extend_from_slice(&values_end.to_le_bytes());
        self.values.extend_from_slice(&(restarts as u32).to_le_bytes());
        &mut self.values
    }

    /// Starts the next block, in the same memory unless that of the last was of an unusual size.
    pub(super) fn clear(&mut self) {
        if self.values.capacity() > KEPT_BYTES_MAX {
            self.values = Vec::new();
        }
        self.values.clear();
        self.entries.clear();
        self.restarts.clear();
        self.since_restart = 0;
    }
}
