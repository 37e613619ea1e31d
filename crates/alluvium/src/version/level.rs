//! One level of a version: its sorted runs, and the searches over them.
//!
//! # Invariants
//! Checked when a level is built, so that no search has to doubt them: in a run tables are
//! ascending and disjoint in user keys. Level 0 has any number of runs, newest first (largest
//! sequence number, then run number); any other level has one at most.
//!
//! Tables of level 0 say which run they were written with. What shares no key is put end to end, so
//! that a run here may be several of those: a lookup pays for runs, and load in key order makes
//! one.
//!
//! Runs of level 0 may overlap in keys *and* in sequence numbers (the runs of different time
//! windows do): whoever looks for the newest version of a key may stop at a run only when no later
//! run holds anything newer than what was found. [`Run::largest_seq`] tells.
//!
//! # Searching
//! Every point lookup searches every sorted run, so the search is kept off the tables themselves: a
//! key of a table lies two pointers away, and ten of them are ten cache misses. [`Fences`] keeps
//! the eight bytes of each largest key that follow what all of them share, side by side; those
//! decide nearly every comparison.
//!
//! The road not taken: pointers from each table to the part of the next level that it overlaps
//! (fractional cascading) save more comparisons, but tie every version's levels together.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::{KeyEnd, SeqNo};
use crate::base::planted;
use crate::version::table_meta::TableMeta;
use crate::version::{Breach, Checked};

/// Tables that are ascending and share no user key.
#[derive(Debug, Default)]
pub struct Run {
    tables: Vec<Arc<TableMeta>>,
    /// Those that hold range tombstones.
    with_ranges: Vec<Arc<TableMeta>>,
    bytes: u64,
    largest_seq: SeqNo,
    fences: Fences,
}

impl Run {
    /// The run made of `tables`, which are ascending and disjoint.
    fn build(level: usize, tables: Vec<Arc<TableMeta>>) -> Checked<Arc<Run>> {
        let mut bytes = 0u64;
        for table in &tables {
            bytes = bytes.checked_add(table.bytes).ok_or_else(|| {
                Breach::of_table(table.number, format!("level {level} has 2^64 bytes or more"))
            })?;
        }
        let largest_seq = tables.iter().map(|table| table.largest_seq).max();
        let has_ranges = |table: &&Arc<TableMeta>| table.range_tombstones > 0;
        Ok(Arc::new(Run {
            with_ranges: tables.iter().filter(has_ranges).cloned().collect(),
            fences: Fences::build(&tables),
            bytes,
            largest_seq: largest_seq.unwrap_or_default(),
            tables,
        }))
    }

    /// The tables, ascending.
    #[must_use]
    #[inline]
    pub fn tables(&self) -> &[Arc<TableMeta>] {
        &self.tables
    }

    /// The bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those tables that hold range tombstones, ascending.
    #[must_use]
    pub fn tables_with_ranges(&self) -> &[Arc<TableMeta>] {
        &self.with_ranges
    }

    /// The largest sequence number in it.
    #[must_use]
    #[inline]
    pub fn largest_seq(&self) -> SeqNo {
        self.largest_seq
    }

    /// The index of the first table that does not end before `user_key`, which is where a search
    /// for the key begins; the number of tables when there is none.
    #[must_use]
    #[inline]
    pub fn first_ending_at_or_behind(&self, user_key: &[u8]) -> usize {
        self.fences.search(&self.tables, user_key)
    }

    /// The one table that may hold `user_key`.
    #[must_use]
    #[inline]
    pub fn candidate(&self, user_key: &[u8]) -> Option<&Arc<TableMeta>> {
        let table = self.tables.get(self.first_ending_at_or_behind(user_key))?;
        (table.smallest_user_key() <= user_key).then_some(table)
    }

    /// The indexes of the tables that may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn range<'a>(&self, smallest_user_key: &[u8], end: impl Into<KeyEnd<'a>>) -> Range<usize> {
        let end = end.into();
        let first = self.first_ending_at_or_behind(smallest_user_key);
        let count =
            self.tables[first..].partition_point(|table| !end.is_before(table.smallest_user_key()));
        first..first + count
    }

    /// The tables that may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn overlapping<'a>(
        &self,
        smallest_user_key: &[u8],
        end: impl Into<KeyEnd<'a>>,
    ) -> &[Arc<TableMeta>] {
        &self.tables[self.range(smallest_user_key, end)]
    }
}

/// The tables of one level.
#[derive(Debug, Default)]
pub struct Level {
    runs: Vec<Arc<Run>>,
    tables: Vec<Arc<TableMeta>>,
    bytes: u64,
}

impl Level {
    /// Level `index` made of `tables`, in any order.
    pub(super) fn build(index: usize, tables: Vec<Arc<TableMeta>>) -> Checked<Level> {
        let mut groups: BTreeMap<FileNumber, Vec<Arc<TableMeta>>> = BTreeMap::new();
        for table in tables {
            let run = if index == 0 { table.run_number() } else { FileNumber(0) };
            groups.entry(run).or_default().push(table);
        }
        for group in groups.values_mut() {
            group.sort_by(|a, b| a.smallest_user_key().cmp(b.smallest_user_key()));
            check_disjoint(index, group)?;
        }
        let mut runs = Vec::new();
        let mut bytes = 0u64;
        for tables in chain(groups.into_values().collect()) {
            let run = Run::build(index, tables)?;
            bytes = bytes
                .checked_add(run.bytes)
                .ok_or_else(|| Breach::new(format!("level {index} has 2^64 bytes or more")))?;
            runs.push(run);
        }
        runs.sort_by_key(|run| Reverse((run.largest_seq, run.tables.first().map(|t| t.number))));
        if planted::is("level0-oldest-first") {
            runs.reverse();
        }
        let tables = runs.iter().flat_map(|run| run.tables.iter().cloned()).collect();
        Ok(Level { runs, tables, bytes })
    }

    /// The sorted runs, newest first: any number in level 0, one at most elsewhere.
    #[must_use]
    #[inline]
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// The tables, run by run, the newest run first; ascending within each.
    #[must_use]
    #[inline]
    pub fn tables(&self) -> &[Arc<TableMeta>] {
        &self.tables
    }

    /// The bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there are no tables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// In any level but 0: the one table that may hold `user_key`.
    #[must_use]
    #[inline]
    pub fn candidate(&self, user_key: &[u8]) -> Option<&Arc<TableMeta>> {
        self.runs.first()?.candidate(user_key)
    }

    /// In any level but 0: the tables that may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn overlapping<'a>(
        &self,
        smallest_user_key: &[u8],
        end: impl Into<KeyEnd<'a>>,
    ) -> &[Arc<TableMeta>] {
        self.runs.first().map_or(&[], |run| run.overlapping(smallest_user_key, end))
    }

    /// The tables that overlap the range from `smallest_user_key` to `end`, or another table that
    /// does, in this level's order.
    pub(super) fn overlapping_expanded(
        &self,
        smallest_user_key: &[u8],
        end: KeyEnd<'_>,
    ) -> Vec<Arc<TableMeta>> {
        let (mut smallest, mut end) = (smallest_user_key, end);
        let mut taken = vec![false; self.tables.len()];
        loop {
            let mut grown = false;
            for (table, taken) in self.tables.iter().zip(&mut taken) {
                if !*taken && table.overlaps(smallest, end) {
                    *taken = true;
                    grown |= table.smallest_user_key() < smallest;
                    grown |= table.end() > end;
                    smallest = smallest.min(table.smallest_user_key());
                    end = end.max(table.end());
                }
            }
            if !grown {
                break;
            }
        }
        let chosen = self.tables.iter().zip(taken).filter(|&(_, taken)| taken);
        chosen.map(|(table, _)| Arc::clone(table)).collect()
    }
}

/// Puts groups of tables end to end where they share no key, so that there are as few runs as that
/// gives: whatever is written in the order of its keys makes one run, however many flushes it took.
/// The newest group is placed first, each into the first chain that has room for it.
#[must_use]
pub fn chain(mut groups: Vec<Vec<Arc<TableMeta>>>) -> Vec<Vec<Arc<TableMeta>>> {
    let newest = |group: &Vec<Arc<TableMeta>>| group.iter().map(|table| table.largest_seq).max();
    groups.sort_by_key(|group| Reverse((newest(group), group.first().map(|t| t.number))));
    // Each chain: where its groups begin, and which they are.
    let mut chains: Vec<BTreeMap<&[u8], usize>> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let has_room = |chain: &BTreeMap<&[u8], usize>| {
            let before = chain.range(..=last.largest_user_key()).next_back();
            let ends = before.and_then(|(_, &other)| groups[other].last());
            ends.is_none_or(|table| table.largest_user_key() < first.smallest_user_key())
        };
        match chains.iter_mut().find(|chain| has_room(chain)) {
            Some(chain) => {
                chain.insert(first.smallest_user_key(), index);
            }
            None => chains.push(BTreeMap::from([(first.smallest_user_key(), index)])),
        }
    }
    let order: Vec<Vec<usize>> =
        chains.into_iter().map(|chain| chain.into_values().collect()).collect();
    let chained = |chain: Vec<usize>| {
        chain.into_iter().flat_map(|index| std::mem::take(&mut groups[index])).collect()
    };
    order.into_iter().map(chained).collect()
}

fn check_disjoint(index: usize, tables: &[Arc<TableMeta>]) -> Checked<()> {
    for pair in tables.windows(2) {
        if !pair[0].end().is_before(pair[1].smallest_user_key()) {
            let (a, b) = (pair[0].number, pair[1].number);
            let detail = format!("tables {a} and {b} of level {index} overlap");
            return Err(Breach::of_table(a.max(b), detail));
        }
    }
    Ok(())
}

/// The largest user keys of a sorted run, cut to what a search looks at first.
#[derive(Debug, Default)]
struct Fences {
    /// What all largest keys begin with.
    common: Vec<u8>,
    /// The eight bytes of each that follow, big-endian, zeros where the key ends. Not descending.
    heads: Vec<u64>,
}

impl Fences {
    fn build(tables: &[Arc<TableMeta>]) -> Fences {
        let (Some(first), Some(last)) = (tables.first(), tables.last()) else {
            return Fences::default();
        };
        // In order, so what the first and the last share, all share.
        let (first, last) = (first.largest_user_key(), last.largest_user_key());
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let heads = tables.iter().map(|table| head(&table.largest_user_key()[shared..])).collect();
        Fences { common: first[..shared].to_vec(), heads }
    }

    /// The first table that does not end before `key`.
    #[inline]
    fn search(&self, tables: &[Arc<TableMeta>], key: &[u8]) -> usize {
        let (begin, rest) = key.split_at(key.len().min(self.common.len()));
        match begin.cmp(&self.common) {
            Ordering::Less => return 0,
            Ordering::Greater => return tables.len(),
            Ordering::Equal => {}
        }
        let head = head(rest);
        let first = self.heads.partition_point(|&other| other < head);
        // Heads that are equal decide nothing: compare the keys. Seldom more than one.
        let equal = self.heads[first..].partition_point(|&other| other == head);
        first + tables[first..first + equal].partition_point(|table| table.end().is_before(key))
    }
}

#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(chunk)
        }
    }
}
