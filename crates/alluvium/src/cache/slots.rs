//! The short way from an open table to its blocks in the cache: a slot for each.
//!
//! Why: the cache is a hash table. Whoever looks a block up there waits for the memory of a shard's
//! lock, of its table, of its entry and of the block, one after the other; a slot leads to the
//! block at once, and the index names the slot while it still searches.
//!
//! Nobody waits for a slot: where another thread is at it, a reader goes the long way.
//!
//! A slot never decides what is kept. The cache owns each block through a [`Kept`], which empties
//! the slot when the cache lets go of it, whatever for. Slots go with their table; a table that is
//! opened again begins with empty ones, and finds what the cache still has the long way, once.
//!
//! Invariant: what a slot holds belongs to a [`Kept`] that is in the cache, on its way there, or on
//! its way out; so that slots hold no memory that the cache does not count.

use std::hint::black_box;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::base::planted;
use crate::base::sync::tally::{AtomicBool, AtomicU8, Ordering};
use crate::base::sync::{Look, ShortCut};

/// Of the uses that come the short way one in so many is told to the cache, which decides by them
/// what stays: from the first one on where it is full.
const USES_TOLD_ONE_IN: u8 = 4;
/// One that it is told of though it is not full, for the day when it is made smaller. What is used
/// less often than that is not worth the long way.
const USE_TOLD_ALWAYS: u8 = 4;
/// Slots in a line of the processor's cache.
const SLOTS_A_LINE: usize = 64 / size_of::<Slot>();

/// A block in the cache.
#[derive(Debug)]
pub(super) struct Held {
    block: Bytes,
    /// Where a reader is likely to look first, beside the block's end.
    first_look: u32,
    /// Uses by the slot, a few of them lost where threads meet.
    uses: AtomicU8,
}

impl Held {
    pub(super) fn new(block: Bytes, first_look: u32) -> Held {
        Held { block, first_look, uses: AtomicU8::new(0) }
    }

    pub(super) fn first_look(&self) -> u32 {
        self.first_look
    }

    pub(super) fn bytes(&self) -> usize {
        self.block.len()
    }

    /// Takes a reference. Counting it waits for the memory where the count is, and holds up every
    /// read behind it; so what the reader looks at next is read before, all of it at once.
    #[inline]
    pub(super) fn lend(&self) -> Bytes {
        black_box(self.block.last().copied());
        black_box(self.block.get(self.first_look as usize).copied());
        black_box(self.block.is_unique());
        self.block.clone()
    }

    /// Counts a use, and says who is to hear of it.
    #[inline]
    fn note_use(&self) -> Told {
        let uses = self.uses.load(Ordering::Relaxed);
        self.uses.store(uses.wrapping_add(1), Ordering::Relaxed);
        match uses {
            USE_TOLD_ALWAYS => Told::Always,
            _ if uses.is_multiple_of(USES_TOLD_ONE_IN) => Told::Full,
            _ => Told::Never,
        }
    }
}

/// Whether the cache is to hear of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Always,
    /// If it is full.
    Full,
    Never,
}

/// The cache's own reference to a block, and the way back to the slot that leads to it.
#[derive(Debug)]
pub(super) struct Kept {
    held: Arc<Held>,
    home: Weak<BlockSlots>,
    position: usize,
    /// Of a look at it: whether a slot of an open table leads to it.
    led_to: bool,
}

impl Kept {
    /// A block that no slot leads to.
    pub(super) fn alone(held: Held) -> Kept {
        Kept { held: Arc::new(held), home: Weak::new(), position: 0, led_to: false }
    }

    /// A block that slot `position` leads to from now on.
    pub(super) fn at(slots: &Arc<BlockSlots>, position: usize, held: Held) -> Kept {
        let position = position + usize::from(planted::is("slot-of-the-next-block"));
        let (held, home) = (Arc::new(held), Arc::downgrade(slots));
        let kept = Kept { held, home, position, led_to: true };
        if let Some(slot) = slots.slots.get(position) {
            slot.held.set(Some(Arc::clone(&kept.held)));
        }
        kept
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Whether a slot of a table that is still open led to it when this look was taken.
    pub(super) fn led_to(&self) -> bool {
        self.led_to
    }
}

impl Clone for Kept {
    /// For a look: a reference that empties no slot when it goes.
    fn clone(&self) -> Kept {
        let led_to = self.home.strong_count() > 0;
        Kept { held: Arc::clone(&self.held), home: Weak::new(), position: 0, led_to }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let Some(slot) = home.slots.get(self.position) else { return };
        // Another may have come in its place since.
        slot.held.empty_if(|held| Arc::ptr_eq(held, &self.held));
    }
}

/// A block's place in its file, and the block, if the cache has it.
#[derive(Debug)]
struct Slot {
    offset: u64,
    held: ShortCut<Arc<Held>>,
}

/// Where the blocks of an open table are, by their positions in its index. References to it are
/// counted with every block that comes and goes; aligned, so that readers do not wait for that.
#[repr(align(64))]
pub(crate) struct BlockSlots {
    /// One more than there are blocks: the last says where the last block ends.
    slots: Box<[Slot]>,
    /// Whether the cache has no block of the table that no slot leads to; but for a few that two
    /// threads put in at the same moment.
    all: AtomicBool,
}

impl BlockSlots {
    /// For blocks that begin at these offsets; the last is where the last block ends.
    pub(crate) fn new(offsets: &[u64]) -> BlockSlots {
        let slot = |&offset: &u64| Slot { offset, held: ShortCut::default() };
        BlockSlots { slots: offsets.iter().map(slot).collect(), all: AtomicBool::new(false) }
    }

    /// Whether the cache can have no block that came from another opening of the table.
    pub(crate) fn set_all(&self, all: bool) {
        self.all.store(all, Ordering::Relaxed);
    }

    /// Where block `position` begins, and where it ends.
    #[inline]
    pub(crate) fn ends(&self, position: usize) -> (u64, u64) {
        (self.slots[position].offset, self.slots[position + 1].offset)
    }

    /// Has the memory of `count` slots from `position` on fetched.
    #[inline]
    pub(crate) fn fetch(&self, position: usize, count: usize) {
        for position in (position..position + count).step_by(SLOTS_A_LINE) {
            black_box(self.slots.get(position).map(|slot| slot.offset));
        }
    }

    /// Whether an empty slot says that the cache does not have the block.
    #[inline]
    pub(super) fn lead_to_all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }

    /// The block that slot `position` leads to, and whether the cache is to hear of its use.
    #[inline]
    pub(super) fn get(&self, position: usize) -> Look<(Bytes, Told)> {
        self.slots[position].held.look(|held| (held.lend(), held.note_use()))
    }

    /// Bytes of memory held, blocks not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

impl std::fmt::Debug for BlockSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockSlots({})", self.slots.len())
    }
}
