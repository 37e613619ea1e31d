//! The memtable's cursor, as the engine's one iterator trait.

use super::skiplist::Cursor;
use crate::base::error::Result;
use crate::base::iterator::InternalIterator;

/// A cursor over a memtable, which it keeps alive. It sees entries that are inserted behind its
/// position while it walks; whoever reads a snapshot skips those by their sequence numbers.
///
/// Values are copied by `value_handle`: a handle onto the arena would keep a whole memtable in
/// memory for the sake of one value.
#[derive(Debug)]
pub struct MemtableIterator(pub(super) Cursor);

impl InternalIterator for MemtableIterator {
    #[inline]
    fn valid(&self) -> bool {
        self.0.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.0.seek_to_first();
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.0.seek_to_last();
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.0.seek(target);
        Ok(())
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.0.seek_for_prev(target);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.0.next();
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.0.prev();
        Ok(())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.0.key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.0.value()
    }
}
