//! Ascending integers in a tree that a search goes down without waiting more than once a level.
//!
//! The integers stand side by side, cut into groups of two cache lines. Above them are levels which
//! have the last integer of every group below, up to one that is a single group. A search counts
//! in one group a level what is less than its target, and the count names the group below. The
//! levels above take a fifteenth of the memory and stay in the processor's caches, so that it waits
//! for two neighbouring lines; a binary search of the same integers waits for half a dozen, each of
//! which it only knows when the one before has come.
//!
//! Nothing here can fail: it works on memory that was checked and never changes.

/// Integers in a group.
pub(super) const GROUP: usize = 16;

/// Ascending integers, of which some may be equal.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    all: Box<[u64]>,
    /// The levels above, from the lowest on; the last is one group.
    above: Vec<Box<[u64]>>,
}

impl Prefixes {
    /// Of `all`, which ascend.
    pub(super) fn new(all: Box<[u64]>) -> Prefixes {
        let mut above = Vec::new();
        let mut level = &all;
        while level.len() > GROUP {
            above.push(level.chunks(GROUP).filter_map(|group| group.last().copied()).collect());
            level = &above[above.len() - 1];
        }
        Prefixes { all, above }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[u64] {
        &self.all
    }

    /// How many are less than `target`. `near` is told a place at most [`GROUP`] before it, as soon
    /// as that is known.
    #[inline]
    pub(super) fn before(&self, target: u64, near: impl FnOnce(usize)) -> usize {
        let mut start = 0;
        for level in self.above.iter().rev() {
            start = GROUP * before_in_group(level, start, target);
        }
        near(start);
        before_in_group(&self.all, start, target)
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        let above: usize = self.above.iter().map(|level| size_of_val(&**level)).sum();
        size_of_val(&*self.all) + above
    }
}

/// How many of `level` are less than `target`, where those before `start` are and those behind its
/// group are not.
#[inline]
fn before_in_group(level: &[u64], start: usize, target: u64) -> usize {
    // Behind the last group where all are less.
    let Some(rest) = level.get(start..) else { return level.len() };
    // No comparison waits for another, nor for what it says.
    let less = |other: &u64| usize::from(*other < target);
    let count: usize = match rest.first_chunk::<GROUP>() {
        Some(group) => group.iter().map(less).sum(),
        None => rest.iter().map(less).sum(),
    };
    start + count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_what_a_binary_search_finds() {
        for count in [0, 1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 4_095, 4_096, 4_097, 9_000] {
            for step in [0, 1, 3, u64::MAX / 10_000] {
                // Every fifth is the same as the one before.
                let all: Box<[u64]> = (0..count).map(|n: u64| (n - n % 5 / 4) * step).collect();
                let prefixes = Prefixes::new(all.clone());
                let around =
                    |&other: &u64| [other.saturating_sub(1), other, other.saturating_add(1)];
                let targets = all.iter().flat_map(around).chain([0, u64::MAX]);
                for target in targets {
                    let mut told = usize::MAX;
                    let found = prefixes.before(target, |place| told = place);
                    assert_eq!(found, all.partition_point(|&other| other < target));
                    let near = told <= found && found - told <= GROUP || found == all.len();
                    assert!(near, "{found} of {count}, told {told}");
                }
            }
        }
    }
}
