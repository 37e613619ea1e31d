//! What a column family's filters are to cost, and what follows for a table that is being written.
//!
//! The bits of a table are settled when it is written, and are not looked at again before it is
//! rewritten. Tables which only move down keep the many bits of the small run that they were
//! written for. So that these do not add up, a table gets more than the average only where that
//! fits within an eighth above the family's figure, together with the filters that stay.

use crate::filter::monkey::allocate;
use crate::filter::rate::BITS_PER_KEY_MAX;

/// By how much the filters together may be above the figure before a table gets the average at
/// most.
const ABOVE: f64 = 1.125;

/// What lets about 1 in 100 absent keys through.
const USUAL_BITS_PER_KEY: f64 = 10.0;

/// How much memory the filters of a column family take, and how it is divided among its tables.
///
/// Filters stand in the tables; those of open tables are held in memory. A table keeps the filter
/// that it was written with: a change of policy takes effect as tables are rewritten.
///
/// ```
/// use alluvium::{ColumnFamilyOptions, FilterPolicy};
/// let options = ColumnFamilyOptions {
///     filter: FilterPolicy::Monkey { bits_per_key: 5.0 },
///     ..ColumnFamilyOptions::default()
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FilterPolicy {
    /// No filters: every lookup reads a block of every sorted run whose range holds the key.
    None,
    /// The same for every table. 10 bits let about 1 in 100 absent keys through, in every run.
    Uniform {
        /// Bits for each key; a fraction is allowed. At most 32.
        bits_per_key: f64,
    },
    /// So many bits a key on average, more for the keys of small runs and fewer for those of the
    /// largest, so that a lookup of an absent key reads the fewest blocks: half as many as with
    /// [`FilterPolicy::Uniform`] and the same memory where four runs reach over all keys, nothing
    /// to be gained where one run holds nearly everything. Where tables only move down, with the
    /// bits that they were written with, up to an eighth above the figure.
    Monkey {
        /// Bits for each key, on average over the family. At most 32.
        bits_per_key: f64,
    },
    /// The same from one figure for the whole family: the bits a key become fewer as the family
    /// grows. 1.2 GB for a thousand million keys is 10 bits a key.
    MonkeyBytes {
        /// Bytes of all filters of the family together, those left out that recovery and repair
        /// write before any compaction: they have 10 bits a key.
        bytes: u64,
    },
}

impl Default for FilterPolicy {
    /// 10 bits for each key.
    fn default() -> FilterPolicy {
        FilterPolicy::Uniform { bits_per_key: USUAL_BITS_PER_KEY }
    }
}

/// What a family will hold when the table that is being written is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterShape {
    /// Entries that each sorted run holds when the family is at rest, newest first, that of the
    /// output among them.
    pub(crate) runs: Vec<u64>,
    /// The run that the output belongs to.
    pub(crate) output_run: usize,
    /// Entries of the output: all tables that the job will write.
    pub(crate) output_entries: u64,
    /// Entries of all tables.
    pub(crate) entries: u64,
    /// Bytes of the filters of all tables that stay as they are.
    pub(crate) kept_filter_bytes: u64,
}

impl FilterPolicy {
    /// Whether the figure is one that a filter can be made of.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            FilterPolicy::None | FilterPolicy::MonkeyBytes { .. } => true,
            FilterPolicy::Uniform { bits_per_key } | FilterPolicy::Monkey { bits_per_key } => {
                (0.0..=BITS_PER_KEY_MAX).contains(bits_per_key)
            }
        }
    }

    /// The bits a key for a table that stands where nothing is known of the others: one that is
    /// recovered or repaired.
    pub(crate) fn usual_bits_per_key(&self) -> f64 {
        match *self {
            FilterPolicy::None => 0.0,
            FilterPolicy::Uniform { bits_per_key } | FilterPolicy::Monkey { bits_per_key } => {
                bits_per_key
            }
            FilterPolicy::MonkeyBytes { .. } => USUAL_BITS_PER_KEY,
        }
    }

    /// The bits a key for a table that is being written. With `prefixes` a filter may take twice
    /// as much.
    pub(crate) fn bits_per_key(&self, shape: &FilterShape, prefixes: bool) -> f64 {
        let entries = shape.entries.max(1) as f64;
        let (average, above_average) = match *self {
            FilterPolicy::None => return 0.0,
            FilterPolicy::Uniform { bits_per_key } => return bits_per_key,
            FilterPolicy::Monkey { bits_per_key } => (bits_per_key, bits_per_key),
            // With the share that is allowed above, the figure; and none beyond.
            FilterPolicy::MonkeyBytes { bytes } => {
                let bits = bytes as f64 * 8.0 / ABOVE;
                (bits / if prefixes { 2.0 } else { 1.0 } / entries, 0.0)
            }
        };
        let at_rest: f64 = shape.runs.iter().map(|&count| count as f64).sum();
        let bits = allocate(&shape.runs, average * at_rest);
        let wanted = bits.get(shape.output_run).copied().unwrap_or(0.0);
        let left = average * entries * ABOVE - shape.kept_filter_bytes as f64 * 8.0;
        let left = left.max(0.0) / shape.output_entries.max(1) as f64;
        wanted.min(left.max(above_average))
    }
}
