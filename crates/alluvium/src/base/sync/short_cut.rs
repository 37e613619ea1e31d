//! Something that is quicker to have than to do without.

use std::sync::{Mutex, PoisonError, TryLockError};

/// What a look at a [`ShortCut`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look<R> {
    /// There is a value, and this is what it looked like.
    Found(R),
    /// There is none.
    Empty,
    /// Another thread is at it.
    Busy,
}

/// A value that may be there. Whoever looks never waits for another thread that is at it.
#[derive(Debug)]
pub(crate) struct ShortCut<T>(Mutex<Option<T>>);

impl<T> Default for ShortCut<T> {
    fn default() -> ShortCut<T> {
        ShortCut(Mutex::new(None))
    }
}

impl<T> ShortCut<T> {
    /// Shows the value to `look`, which is short and takes no lock.
    #[inline]
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Look<R> {
        let value = match self.0.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Look::Busy,
        };
        value.as_ref().map_or(Look::Empty, |value| Look::Found(look(value)))
    }

    /// Puts a value there, or none. What was there goes when nobody looks any more.
    pub(crate) fn set(&self, value: Option<T>) {
        let before = {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, value)
        };
        drop(before);
    }

    /// Lets go of the value if `is_it`.
    pub(crate) fn empty_if(&self, is_it: impl FnOnce(&T) -> bool) {
        let before = {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if place.as_ref().is_some_and(is_it) { place.take() } else { None }
        };
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_never_waits() {
        let cut = ShortCut::default();
        assert_eq!(cut.look(|value: &u32| *value), Look::Empty);
        cut.set(Some(7));
        assert_eq!(cut.look(|value| *value), Look::Found(7));
        let held = cut.0.lock().unwrap();
        assert_eq!(cut.look(|value| *value), Look::Busy);
        drop(held);
        cut.empty_if(|value| *value == 8);
        assert_eq!(cut.look(|value| *value), Look::Found(7));
        cut.empty_if(|value| *value == 7);
        assert_eq!(cut.look(|value| *value), Look::Empty);
    }
}
