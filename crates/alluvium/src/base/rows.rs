//! Entries that a source hands out many at once.
//!
//! A step of a cursor leads through a merge, a run and a table down to a block and back, and most
//! of its cost is that way. A block that has several entries in a row, each of which is what a
//! reader sees of its key, hands them out together; the cursor then steps among them by itself.
//! And what several values need of slow memory is on its way at once.
//!
//! Keys are put together here, one behind the other. Values stay in the block, of which this holds
//! a part; whoever reads ahead uses the block's memory again, so that it is to be let go
//! ([`Rows::clear`]) before the source moves on.

use std::cell::Cell;

use bytes::Bytes;

/// Entries handed out at once: at first, and at most.
const ROWS_FIRST: usize = 3;
const ROWS_MAX: usize = 32;
/// No entry is added behind so many bytes of keys, and none with a longer key than this: there are
/// copies to be made of it, and memory to be kept.
const KEYS_BYTES_MAX: usize = 2 << 10;
const KEY_BYTES_MAX: usize = 512;
/// A key is copied in pieces of this length, without a call.
const PIECE_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    key_start: u32,
    key_end: u32,
    value_start: u32,
    value_end: u32,
}

/// What entries are put into.
#[derive(Default)]
struct Memory {
    rows: [Row; ROWS_MAX],
    /// The keys, and room behind them.
    keys: Vec<u8>,
}

thread_local! {
    /// Of the rows that a thread dropped last, for those that it begins next: a cursor that makes
    /// few steps would spend more on it than on these.
    static KEPT: Cell<Option<Box<Memory>>> = const { Cell::new(None) };
}

/// Entries of one block, in order: the user key and the value of each.
pub struct Rows {
    /// There from the first row on.
    memory: Option<Box<Memory>>,
    count: usize,
    keys_end: usize,
    /// How many are wanted.
    wanted: usize,
    /// What the values lie in.
    block: Bytes,
    /// Whether that is memory which shall not be kept for long.
    lent: bool,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows {
            memory: None,
            count: 0,
            keys_end: 0,
            wanted: ROWS_FIRST,
            block: Bytes::new(),
            lent: false,
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // Not where the thread is about to end.
            let _ = KEPT.try_with(|kept| kept.set(Some(memory)));
        }
    }
}

impl Rows {
    /// Lets all of them go. More are wanted the next time, if there were as many as were wanted.
    pub fn clear(&mut self) {
        if self.count >= self.wanted {
            self.wanted = (self.wanted * 2).min(ROWS_MAX);
        }
        (self.count, self.keys_end) = (0, 0);
        self.block = Bytes::new();
    }

    /// Lets all of them go; few are wanted at first.
    pub fn restart(&mut self) {
        self.clear();
        self.wanted = ROWS_FIRST;
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether another one may be added.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        self.count < self.wanted && self.keys_end < KEYS_BYTES_MAX
    }

    /// Whether a user key of so many bytes may be added.
    #[must_use]
    #[inline]
    pub fn takes(key_bytes: usize) -> bool {
        key_bytes <= KEY_BYTES_MAX
    }

    /// Those that are added lie in `block`.
    #[inline]
    pub fn begin(&mut self, block: Bytes) {
        self.block = block;
    }

    /// Whether values are to be copied when they are kept: the memory that they lie in is to be
    /// used again.
    pub fn set_lent(&mut self, lent: bool) {
        self.lent = lent;
    }

    /// Adds the entry whose user key is the first `key_bytes` bytes of `key`, and whose value lies
    /// at `value_start..value_end` of the block.
    ///
    /// # Panics
    /// When `key` is shorter, or [`Rows::has_room`] says that there is none.
    #[inline]
    pub fn push(&mut self, key: &[u8], key_bytes: usize, value_start: usize, value_end: usize) {
        let memory = self.memory.get_or_insert_with(take_memory);
        let start = self.keys_end;
        let place = memory.keys.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
        match (place, key.first_chunk::<PIECE_BYTES>()) {
            (Some(place), Some(piece)) if key_bytes <= PIECE_BYTES => *place = *piece,
            _ => copy_exactly(&mut memory.keys, start, &key[..key_bytes]),
        }
        self.keys_end = start + key_bytes;
        // A block is far below 4 GiB, and the keys are few.
        memory.rows[self.count] = Row {
            key_start: start as u32,
            key_end: self.keys_end as u32,
            value_start: value_start as u32,
            value_end: value_end as u32,
        };
        self.count += 1;
    }

    /// Entry `index`.
    #[inline]
    fn row(&self, index: usize) -> (Row, &[u8]) {
        match &self.memory {
            Some(memory) if index < self.count => (memory.rows[index], &memory.keys),
            _ => no_such_row(index),
        }
    }

    /// The user key of entry `index`.
    ///
    /// # Panics
    /// When there is none, as the others.
    #[must_use]
    #[inline]
    pub fn key(&self, index: usize) -> &[u8] {
        let (row, keys) = self.row(index);
        &keys[row.key_start as usize..row.key_end as usize]
    }

    /// The value of entry `index`.
    #[must_use]
    #[inline]
    pub fn value(&self, index: usize) -> &[u8] {
        let (row, _) = self.row(index);
        &self.block[row.value_start as usize..row.value_end as usize]
    }

    /// The value of entry `index` as a handle that outlives the rows.
    #[must_use]
    pub fn value_handle(&self, index: usize) -> Bytes {
        if self.lent {
            return Bytes::copy_from_slice(self.value(index));
        }
        let (row, _) = self.row(index);
        self.block.slice(row.value_start as usize..row.value_end as usize)
    }
}

#[cold]
#[inline(never)]
fn no_such_row(index: usize) -> ! {
    panic!("there is no row {index}")
}

/// What the thread kept, or new memory.
#[inline(never)]
fn take_memory() -> Box<Memory> {
    KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Puts `key` at `start` of `keys`, which grow if need be.
#[cold]
#[inline(never)]
fn copy_exactly(keys: &mut Vec<u8>, start: usize, key: &[u8]) {
    let end = start + key.len();
    if keys.len() < end + PIECE_BYTES {
        keys.resize((end + PIECE_BYTES).next_power_of_two().max(1 << 10), 0);
    }
    keys[start..end].copy_from_slice(key);
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({} of a block of {} bytes)", self.count, self.block.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(rows: &mut Rows, key: &[u8], slack: usize, value: std::ops::Range<usize>) {
        let padded = [key, &vec![0xee; slack]].concat();
        rows.push(&padded, key.len(), value.start, value.end);
    }

    #[test]
    fn rows_are_what_was_added() {
        let block = Bytes::from((0..=255).collect::<Vec<u8>>());
        let keys: Vec<Vec<u8>> =
            [0, 1, 31, 32, 33, 7, 200].map(|count| vec![count as u8; count]).to_vec();
        let mut rows = Rows::default();
        for (round, slack) in [0, 40, 3, 40].into_iter().enumerate() {
            rows.restart();
            rows.begin(block.clone());
            rows.set_lent(round % 2 == 0);
            for (at, key) in keys.iter().enumerate() {
                add(&mut rows, key, slack, at..at * 3);
            }
            assert_eq!(rows.count(), keys.len());
            for (at, key) in keys.iter().enumerate() {
                assert_eq!(rows.key(at), key);
                assert_eq!(rows.value(at), &block[at..at * 3]);
                let handle = rows.value_handle(at);
                assert_eq!(handle, rows.value(at));
                if !handle.is_empty() {
                    assert_eq!(handle.as_ptr() == rows.value(at).as_ptr(), round % 2 == 1);
                }
            }
        }
    }

    #[test]
    fn more_are_wanted_each_time_up_to_a_bound() {
        let mut rows = Rows::default();
        let fill = |rows: &mut Rows| {
            rows.clear();
            rows.begin(Bytes::from_static(b"value"));
            while rows.has_room() {
                add(rows, b"key", 0, 0..5);
            }
            rows.count()
        };
        assert_eq!([(); 6].map(|()| fill(&mut rows)), [3, 6, 12, 24, 32, 32]);
        rows.restart();
        assert_eq!(fill(&mut rows), ROWS_FIRST);
        rows.clear();
        add(&mut rows, b"key", 0, 0..0);
        rows.clear();
        assert_eq!(fill(&mut rows), 2 * ROWS_FIRST, "one alone is no reason for more");
    }

    #[test]
    fn long_keys_take_little_memory() {
        let mut rows = Rows::default();
        for _ in 0..10 {
            rows.clear();
            while rows.has_room() {
                add(&mut rows, &[7; 500], 0, 0..0);
            }
            assert_eq!(rows.count(), 5.min(rows.wanted));
        }
        assert_eq!(rows.count(), 5);
        assert!(rows.memory.as_ref().is_some_and(|memory| memory.keys.len() <= 4 << 10));
        assert!(Rows::takes(KEY_BYTES_MAX) && !Rows::takes(KEY_BYTES_MAX + 1));
    }

    #[test]
    fn a_thread_keeps_the_memory_of_one() {
        let fill = || {
            let mut rows = Rows::default();
            rows.begin(Bytes::from_static(b"value"));
            add(&mut rows, b"key", 0, 0..5);
            rows
        };
        let memory_of = |rows: &Rows| rows.memory.as_deref().map(std::ptr::from_ref);
        let (first, second) = (fill(), fill());
        assert_ne!(memory_of(&first), memory_of(&second));
        let kept = memory_of(&first);
        drop(first);
        let third = fill();
        assert_eq!(memory_of(&third), kept);
        assert_eq!((third.key(0), third.value(0)), (&b"key"[..], &b"value"[..]));
        drop((second, third, Rows::default()));
        assert!(KEPT.take().is_some(), "rows without memory leave it");
    }

    #[test]
    #[should_panic(expected = "there is no row 1")]
    fn a_row_that_was_let_go_is_not_handed_out() {
        let mut rows = Rows::default();
        rows.begin(Bytes::from_static(b"value"));
        add(&mut rows, b"first", 0, 0..5);
        add(&mut rows, b"second", 0, 0..5);
        rows.clear();
        add(&mut rows, b"third", 0, 0..0);
        let _ = rows.key(1);
    }

    #[test]
    fn nothing_is_held_once_they_are_cleared() {
        let block = Bytes::from(vec![1; 100]);
        let mut rows = Rows::default();
        rows.begin(block.clone());
        add(&mut rows, b"key", 0, 0..5);
        assert!(!block.is_unique());
        rows.clear();
        assert!(block.is_unique());
    }
}
