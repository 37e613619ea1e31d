//! Builds one block after another in the same memory.
//!
//! The caller hands in keys in order, and with each how much of its user key it shares with the one
//! before; it knows, because it has compared them.

use crate::base::coding::put_varint;
use crate::base::key::TRAILER_BYTES;

/// A block being built.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    buffer: Vec<u8>,
    restarts: Vec<u32>,
    restart_interval: usize,
    since_restart: usize,
}

impl BlockBuilder {
    /// Every `restart_interval`-th entry (at least 1) is a restart point.
    pub(super) fn new(restart_interval: usize) -> BlockBuilder {
        BlockBuilder {
            buffer: Vec::new(),
            restarts: Vec::new(),
            restart_interval: restart_interval.max(1),
            since_restart: 0,
        }
    }

    /// Appends an entry whose user key shares `common` bytes, and no more, with that of the entry
    /// before.
    pub(super) fn add(&mut self, common: usize, internal_key: &[u8], value: &[u8]) {
        let mut shared = common;
        if self.restarts.is_empty() || self.since_restart == self.restart_interval {
            self.restarts.push(self.buffer.len() as u32);
            self.since_restart = 0;
            shared = 0;
        }
        self.since_restart += 1;
        let unshared = &internal_key[shared..];
        put_varint(&mut self.buffer, shared as u64);
        put_varint(&mut self.buffer, (unshared.len() - TRAILER_BYTES) as u64);
        put_varint(&mut self.buffer, value.len() as u64);
        self.buffer.extend_from_slice(unshared);
        self.buffer.extend_from_slice(value);
    }

    /// Bytes of the block if it were finished now.
    pub(super) fn bytes(&self) -> usize {
        self.buffer.len() + 4 * (self.restarts.len() + 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// Closes the block and gives its bytes. [`Self::clear`] must follow before the next entry.
    pub(super) fn finish(&mut self) -> &[u8] {
        for restart in &self.restarts {
            self.buffer.extend_from_slice(&restart.to_le_bytes());
        }
        self.buffer.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        &self.buffer
    }

    /// Starts the next block in the same memory.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.restarts.clear();
        self.since_restart = 0;
    }
}
