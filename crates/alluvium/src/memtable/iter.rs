//! The memtable's cursor, as the engine's one iterator trait.

use std::sync::Arc;

use super::Memtable;
use super::tree::Cursor;
use crate::base::error::Result;
use crate::base::iterator::InternalIterator;
use crate::base::key::SeqNo;

/// A cursor over a memtable, which it keeps alive. It may see entries that are inserted behind its
/// position while it walks; whoever reads a snapshot skips those by their sequence numbers.
///
/// Values are copied by `value_handle`: a handle onto the arena would keep a whole memtable in
/// memory for the sake of one value.
#[derive(Debug)]
pub struct MemtableIterator {
    pub(super) cursor: Cursor,
    pub(super) memtable: Arc<Memtable>,
}

impl InternalIterator for MemtableIterator {
    #[inline]
    fn valid(&self) -> bool {
        self.cursor.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.cursor.seek_to_first();
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.cursor.seek_to_last();
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.cursor.seek(target);
        Ok(())
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.cursor.seek_for_prev(target);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.cursor.next();
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.cursor.prev();
        Ok(())
    }

    fn skip_forward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        if self.memtable.newest() < seq {
            self.cursor.seek(target);
        }
        Ok(())
    }

    fn skip_backward(&mut self, target: &[u8], seq: SeqNo) -> Result<()> {
        if self.memtable.newest() < seq {
            self.cursor.seek_for_prev(target);
        }
        Ok(())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.cursor.key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.cursor.value()
    }
}
