//! A view of the store that serves many reads, for engines whose documents advise to keep one.
//!
//! LMDB, redb and SQLite read inside a transaction, and beginning one costs as much as a lookup.
//! Each reader keeps its own for [`RENEW_AFTER`] reads, so that it also sees what others write, and
//! does not keep old pages from being used again for long. The other engines answer each read from
//! the newest state.

use crate::Result;

/// Reads that one view serves.
const RENEW_AFTER: u32 = 1000;

/// A view, and how many reads it still serves.
pub struct Renewing<V> {
    view: Option<V>,
    left: u32,
}

impl<V> Renewing<V> {
    /// None yet.
    pub fn new() -> Renewing<V> {
        Renewing { view: None, left: 0 }
    }

    /// The view for one read: the one that is there, or, when that has served its time and is
    /// gone, what `begin` makes.
    pub fn get(&mut self, begin: impl FnOnce() -> Result<V>) -> Result<&V> {
        if self.left == 0 {
            self.view = None;
        }
        if self.view.is_none() {
            self.view = Some(begin()?);
            self.left = RENEW_AFTER;
        }
        self.left -= 1;
        self.view.as_ref().ok_or_else(|| "the view was just made".into())
    }

    /// Ends the view: the next read sees what was written before it.
    pub fn end(&mut self) -> Option<V> {
        self.view.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_serves_so_many_reads_and_no_more() {
        let mut made = 0;
        let mut views = Renewing::new();
        let mut read = |views: &mut Renewing<u32>| {
            *views
                .get(|| {
                    made += 1;
                    Ok(made)
                })
                .unwrap()
        };
        let seen: Vec<u32> = (0..2 * RENEW_AFTER + 1).map(|_| read(&mut views)).collect();
        assert_eq!(seen[RENEW_AFTER as usize - 1..=RENEW_AFTER as usize], [1, 2]);
        assert_eq!(seen.last(), Some(&3));
        assert_eq!(views.end(), Some(3));
        assert_eq!((views.end(), read(&mut views)), (None, 4));
    }
}
